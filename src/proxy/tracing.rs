//! What of a call and of its exchanges becomes spans. Off, a call pays one look at an option.
//!
//! An application's trace is continued: it called us, and finds its payment again. Whoever calls
//! the public listener is a stranger, whose trace is not: what he names would stand in ours. Must
//! never: put a byte of a request or an answer into a span, but for the ids of an application's
//! trace, which are numbers, and hold no card number.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Method, Version};

use crate::flow::holds_card;
use crate::telemetry::{Sent, Served, Side, Span, Steps, TraceContext, Tracer, since_1970};
use crate::vault::Tenant;

use super::desk::{Call, Desk};
use super::exchange::{Forwarded, SendError, Target};
use super::message::Head;
use super::reply::RequestId;

/// W3C Trace Context.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Digits of a card number.
const PAN_MIN: usize = 13;
const PAN_MAX: usize = 19;

/// Where spans go, and who is told in which trace a request of ours stands.
#[derive(Debug)]
pub struct Tracing {
    /// Spans.
    tracer: Tracer,
    /// Hosts from the configuration.
    told: Vec<(Box<str>, u16)>,
}

impl Tracing {
    /// Spans for this tracer; these hosts are told.
    pub fn new<'h>(tracer: Tracer, told: impl Iterator<Item = (&'h str, u16)>) -> Self {
        Self { tracer, told: told.map(|(host, port)| (host.into(), port)).collect() }
    }

    /// None.
    #[must_use]
    pub const fn off() -> Self {
        Self { tracer: Tracer::off(), told: Vec::new() }
    }

    fn tells(&self, host: &str, port: u16) -> bool {
        self.told.iter().any(|(name, at)| **name == *host && *at == port)
    }
}

/// The span of a call while it lasts.
pub(super) struct Traced {
    context: TraceContext,
    parent: Option<[u8; 8]>,
    begun: Duration,
    method: &'static str,
    protocol: Option<&'static str>,
    pub route: Option<Cow<'static, str>>,
    pub steps: Steps,
}

impl Traced {
    /// The span of an application's call; of a call whose head nobody could read.
    pub(super) fn of_application(tracing: &Tracing, head: Option<&Head>) -> Option<Box<Self>> {
        if !tracing.tracer.is_on() {
            return None;
        }
        let parent = head.and_then(|head| head.single(TRACEPARENT)).and_then(parent);
        Self::new(tracing, head, parent)
    }

    /// The span of a stranger's call.
    pub(super) fn of_stranger(tracing: &Tracing, head: Option<&Head>) -> Option<Box<Self>> {
        Self::new(tracing, head, None)
    }

    fn new(
        tracing: &Tracing,
        head: Option<&Head>,
        parent: Option<TraceContext>,
    ) -> Option<Box<Self>> {
        let context = tracing.tracer.call(parent.as_ref())?;
        Some(Box::new(Self {
            context,
            parent: parent.map(|parent| *parent.span()),
            begun: since_1970(),
            method: head.map_or("_OTHER", |head| method(&head.method)),
            protocol: head.map(|head| protocol(head.version)),
            route: None,
            steps: Steps::default(),
        }))
    }

    pub(super) const fn context(&self) -> &TraceContext {
        &self.context
    }

    /// What the caller is told: under which ids the call is found.
    pub(super) fn field(&self) -> Box<str> {
        self.context.field().into()
    }

    /// The call is over.
    pub(super) fn end(self, call: &Call, status: u16, total: Duration, tracing: &Tracing) {
        let upstream = call.upstream();
        let served = Served {
            listener: call.listener,
            protocol: self.protocol,
            route: self.route,
            call: call.name.as_str().into(),
            app: call.app.as_ref().map(|app: &Tenant| app.as_str().into()),
            account: call.account.clone(),
            code: call.code,
            forwarded: call.forwarded,
            upstream_status: call.upstream_status,
            replaced: call.replaced,
            scrubbed: call.scrubbed,
            proxy: total.saturating_sub(upstream.unwrap_or_default()),
            upstream,
            steps: self.steps,
        };
        tracing.tracer.note(Span {
            context: self.context,
            parent: self.parent,
            parent_is_remote: self.parent.is_some(),
            begun: self.begun,
            took: total,
            method: self.method,
            status: Some(status),
            request_id: call.id.as_str().into(),
            side: Side::Server(Box::new(served)),
        });
    }
}

/// The caller's place in its trace. Ids in which a card number stands, as digits or as bytes, are
/// not continued: they would stand in ours.
fn parent(field: &str) -> Option<TraceContext> {
    let parent = TraceContext::read(field)?;
    let ids =
        [parent.field().as_bytes(), parent.trace().as_slice()].iter().any(|ids| has_card(ids));
    (!ids).then_some(parent)
}

/// Digits between letters count as well: whoever looks at an id sees them.
fn has_card(ids: &[u8]) -> bool {
    let runs = ids.split(|sign| !sign.is_ascii_digit()).filter(|run| run.len() >= PAN_MIN);
    let mut windows =
        runs.flat_map(|run| (PAN_MIN..=PAN_MAX).flat_map(|length| run.windows(length)));
    windows.any(holds_card)
}

/// On whose behalf something is sent.
#[derive(Clone, Copy)]
pub(super) struct Behalf {
    pub id: RequestId,
    pub context: Option<TraceContext>,
}

/// The span of an exchange while it lasts.
pub(super) struct Exchange {
    context: TraceContext,
    parent: [u8; 8],
    id: RequestId,
    begun: Duration,
    since: Instant,
    method: &'static str,
    host: Option<Box<str>>,
    port: u16,
    tls: bool,
    told: bool,
    record: Option<Duration>,
}

impl Exchange {
    /// An exchange with `target`, which is named where its name comes from the configuration.
    pub(super) fn begin(
        desk: &Desk,
        behalf: Behalf,
        method: &Method,
        target: &Target,
        named: bool,
    ) -> Option<Box<Self>> {
        let parent = behalf.context?;
        let context = desk.tracing.tracer.below(&parent)?;
        Some(Box::new(Self {
            context,
            parent: *parent.span(),
            id: behalf.id,
            begun: since_1970(),
            since: Instant::now(),
            method: self::method(method),
            host: named.then(|| target.host().into()),
            port: target.port(),
            tls: target.is_tls(),
            told: desk.tracing.tells(target.host(), target.port()),
            record: None,
        }))
    }

    /// The reveal is recorded; the exchange itself begins.
    pub(super) fn recorded(&mut self) {
        self.record = Some(self.since.elapsed());
        (self.begun, self.since) = (since_1970(), Instant::now());
    }

    /// Tells the other side, where the configuration says so.
    pub(super) fn tell(&self, headers: &mut Vec<(HeaderName, HeaderValue)>) {
        if !self.told {
            return;
        }
        headers.retain(|(name, _)| *name != TRACEPARENT && *name != TRACESTATE);
        let field = HeaderValue::try_from(self.context.field());
        headers.extend(field.ok().map(|field| (TRACEPARENT, field)));
    }

    /// The exchange is over.
    pub(super) fn end(self, outcome: Result<u16, &SendError>, tracing: &Tracing) {
        let forwarded = match outcome.map_err(|error| error.forwarded) {
            Ok(_) | Err(Forwarded::Yes) => "yes",
            Err(Forwarded::No) => "no",
            Err(Forwarded::Unknown) => "unknown",
        };
        let sent = Sent {
            host: self.host,
            port: self.port,
            tls: self.tls,
            error: outcome.err().map(|error| error.kind.as_str()),
            forwarded,
            record: self.record,
        };
        tracing.tracer.note(Span {
            context: self.context,
            parent: Some(self.parent),
            parent_is_remote: false,
            begun: self.begun,
            took: self.since.elapsed(),
            method: self.method,
            status: outcome.ok(),
            request_id: self.id.as_str().into(),
            side: Side::Client(Box::new(sent)),
        });
    }
}

/// The codec lets no other methods in.
fn method(method: &Method) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    known.into_iter().find(|known| method == known).unwrap_or("_OTHER")
}

fn protocol(version: Version) -> &'static str {
    if version == Version::HTTP_2 { "2" } else { "1.1" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hardly_any_trace_is_lost_for_that() {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let random = |seed: (u32, u32)| {
            let mut hasher = DefaultHasher::new();
            seed.hash(&mut hasher);
            hasher.finish()
        };
        let lost = (0..50_000).filter(|at| {
            let [high, low, span] = [0, 1, 2].map(|part| random((*at, part)));
            parent(&format!("00-{high:016x}{low:016x}-{span:016x}-01")).is_none()
        });
        let lost = lost.count();
        assert!(lost < 150, "{lost} of 50,000");
    }

    #[test]
    fn an_id_that_holds_a_card_number_is_not_continued() {
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(parent(good).unwrap().field(), good);
        let bytes = crate::telemetry::Hex(b"4111111111111111").to_string();
        for (trace, span) in [
            ("4111111111111111ffffffffffffffff", "00f067aa0ba902b7"),
            ("0af7651916cd43555555555555554444", "00f067aa0ba902b7"),
            ("ffff012341111111111111111234fffe", "00f067aa0ba902b7"),
            ("4bf92f3577b34da6a3ce929d0e0e4736", "4111111111111111"),
            (bytes.as_str(), "00f067aa0ba902b7"),
        ] {
            let field = format!("00-{trace}-{span}-01");
            assert!(TraceContext::read(&field).is_some(), "{field}");
            assert!(parent(&field).is_none(), "{field}");
        }
    }
}
