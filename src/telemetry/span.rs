//! What is told of a call and of an exchange: a closed set of attributes, and the queue in which
//! they wait for the collector.
//!
//! A span that finds no room is lost and counted: nothing waits for a collector.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use super::Metrics;
use super::metrics::Signal;
use super::trace::{Ids, TraceContext};

/// Spans that wait at most.
const WAITING_MAX: usize = 8192;

/// Something that took its time.
#[derive(Debug)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The span that it belongs to, ours or the caller's.
    pub parent: Option<[u8; 8]>,
    /// Whether that is the caller's.
    pub parent_is_remote: bool,
    /// When it began, after 1970.
    pub begun: Duration,
    /// How long it took.
    pub took: Duration,
    /// The request's method, of a closed set.
    pub method: &'static str,
    /// The status of the answer, where there is one.
    pub status: Option<u16>,
    /// Our name of the call, for finding its log line.
    pub request_id: Box<str>,
    /// Which side of a request it was.
    pub side: Side,
}

/// Which side of a request a span saw.
#[derive(Debug)]
pub enum Side {
    /// We were called.
    Server(Box<Served>),
    /// We called.
    Client(Box<Sent>),
}

/// A call of one of our listeners.
#[derive(Debug)]
pub struct Served {
    /// `public` or `private`.
    pub listener: &'static str,
    /// `1.1` or `2`.
    pub protocol: Option<&'static str>,
    /// The path as a pattern.
    pub route: Option<Cow<'static, str>>,
    /// What was called, from a closed set or a profile.
    pub call: Arc<str>,
    /// The application, when it is known.
    pub app: Option<Box<str>>,
    /// The account, when there is one.
    pub account: Option<Arc<str>>,
    /// `ok`, or the code of the problem document.
    pub code: &'static str,
    /// Whether the provider may have seen it.
    pub forwarded: Option<&'static str>,
    /// The provider's status.
    pub upstream_status: Option<u16>,
    /// Card numbers and CVVs that were put in.
    pub replaced: u32,
    /// Findings that the scrub removed.
    pub scrubbed: u32,
    /// What we took of the time.
    pub proxy: Duration,
    /// What the other side took.
    pub upstream: Option<Duration>,
    /// What our own steps took.
    pub steps: Steps,
}

/// What the steps of a payment took, where they were taken.
#[derive(Debug, Clone, Copy, Default)]
pub struct Steps {
    /// The request checked, tokens looked up, the card put in.
    pub reveal: Option<Duration>,
    /// The request signed, waiting for a signing thread included.
    pub sign: Option<Duration>,
    /// The answer searched, cleaned and rewritten.
    pub scrub: Option<Duration>,
}

/// A request of ours to a provider, an application or a shop.
#[derive(Debug)]
pub struct Sent {
    /// The host, where it comes from the configuration.
    pub host: Option<Box<str>>,
    /// Its port.
    pub port: u16,
    /// Whether TLS was spoken.
    pub tls: bool,
    /// Why there is no answer, of a closed set.
    pub error: Option<&'static str>,
    /// Whether the other side may have seen it.
    pub forwarded: &'static str,
    /// What it took to record the reveal before the first byte, where there was one.
    pub record: Option<Duration>,
}

/// Makes spans and hands them on; off, it does nothing.
#[derive(Debug)]
pub struct Tracer(Option<Tracing>);

#[derive(Debug)]
struct Tracing {
    ids: Ids,
    spans: SyncSender<Span>,
    metrics: Arc<Metrics>,
}

impl Tracer {
    /// One that makes none.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// One that samples this share of the traces that begin here, and where its spans come out. The
    /// seeds are random.
    pub fn new(seeds: [u64; 3], share: f64, metrics: Arc<Metrics>) -> (Self, Receiver<Span>) {
        let (spans, waiting) = sync_channel(WAITING_MAX);
        (Self(Some(Tracing { ids: Ids::new(seeds, share), spans, metrics })), waiting)
    }

    /// Whether calls are traced.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The span of a call: in its caller's trace, or the first of a new one.
    #[must_use]
    pub fn call(&self, parent: Option<&TraceContext>) -> Option<TraceContext> {
        self.0.as_ref().map(|tracing| tracing.ids.call(parent))
    }

    /// A span below another one.
    #[must_use]
    pub fn below(&self, parent: &TraceContext) -> Option<TraceContext> {
        self.0.as_ref().map(|tracing| tracing.ids.below(parent))
    }

    /// Hands a span on, if its trace is sampled. It is taken away at intervals, so that nobody is
    /// woken here.
    pub fn note(&self, span: Span) {
        let Some(tracing) = self.0.as_ref().filter(|_| span.context.is_sampled()) else { return };
        if tracing.spans.try_send(span).is_err() {
            tracing.metrics.export_lost(Signal::Traces, 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(context: TraceContext) -> Span {
        let sent =
            Sent { host: None, port: 443, tls: true, error: None, forwarded: "yes", record: None };
        Span {
            context,
            parent: None,
            parent_is_remote: false,
            begun: Duration::ZERO,
            took: Duration::ZERO,
            method: "GET",
            status: None,
            request_id: "a".into(),
            side: Side::Client(Box::new(sent)),
        }
    }

    fn lost(metrics: &Metrics) -> bool {
        let text = String::from_utf8(metrics.text(&crate::telemetry::Levels::default())).unwrap();
        text.contains("portcullis_export_lost_total{signal=\"traces\"} 3\n")
    }

    #[test]
    fn spans_beyond_the_bound_are_counted_and_those_not_sampled_are_not_kept() {
        let metrics = Arc::new(Metrics::new(0).unwrap());
        let (tracer, waiting) = Tracer::new([1, 2, 3], 1.0, metrics.clone());
        for _ in 0..WAITING_MAX {
            tracer.note(span(tracer.call(None).unwrap()));
        }
        assert!(!lost(&metrics));
        for _ in 0..3 {
            tracer.note(span(tracer.call(None).unwrap()));
        }
        assert!(lost(&metrics));
        assert_eq!(waiting.try_iter().count(), WAITING_MAX);

        let (unsampled, waiting) = Tracer::new([1, 2, 3], 0.0, metrics);
        unsampled.note(span(unsampled.call(None).unwrap()));
        assert_eq!(waiting.try_iter().count(), 0);
    }

    #[test]
    fn a_tracer_that_is_off_makes_no_ids() {
        assert!(Tracer::off().call(None).is_none() && !Tracer::off().is_on());
    }
}
