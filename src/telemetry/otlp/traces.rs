//! Spans as OTLP.

use prost::Message as _;

use super::super::span::{Sent, Served, Side, Span};
use super::messages::{KeyValue, ResourceSpans, ScopeSpans, SpanMessage, Status, Traces};
use super::{Speaker, nanos, number, scope, text};

const KIND_SERVER: i32 = 2;
const KIND_CLIENT: i32 = 3;
const STATUS_ERROR: i32 = 2;

/// Flags of a span: sampled; whether its parent is another process's is known; it is.
const SAMPLED: u32 = 1;
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// One export of these spans.
#[must_use]
pub fn traces(speaker: &Speaker, spans: &[Span]) -> Vec<u8> {
    let spans = spans.iter().map(message).collect();
    let scopes = vec![ScopeSpans { scope: Some(scope()), spans }];
    let resource = ResourceSpans { resource: Some(speaker.resource()), scopes };
    Traces { resources: vec![resource] }.encode_to_vec()
}

fn message(span: &Span) -> SpanMessage {
    let mut attributes = vec![
        text("http.request.method", span.method),
        text("portcullis.request_id", &span.request_id),
    ];
    attributes.extend(span.status.map(|status| number("http.response.status_code", status)));
    let mut name = span.method.to_owned();
    let (kind, failed) = match &span.side {
        Side::Server(served) => {
            if let Some(route) = &served.route {
                name = format!("{name} {route}");
            }
            (KIND_SERVER, server(served, span.status, &mut attributes))
        }
        Side::Client(sent) => (KIND_CLIENT, client(sent, span.status, &mut attributes)),
    };
    let remote = if span.parent_is_remote { REMOTE } else { 0 };
    SpanMessage {
        trace: span.context.trace().to_vec(),
        span: span.context.span().to_vec(),
        parent: span.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        name,
        kind,
        begun: nanos(span.begun),
        ended: nanos(span.begun.saturating_add(span.took)),
        attributes,
        status: failed.then_some(Status { code: STATUS_ERROR }),
        flags: SAMPLED | REMOTE_KNOWN | remote,
    }
}

/// Whether it counts as failed: by the conventions only what is our own fault does.
fn server(served: &Served, status: Option<u16>, to: &mut Vec<KeyValue>) -> bool {
    to.push(text("url.scheme", "https"));
    to.push(text("portcullis.listener", served.listener));
    to.push(text("portcullis.call", &served.call));
    to.push(text("portcullis.code", served.code));
    let mut texts = vec![
        ("network.protocol.version", served.protocol),
        ("http.route", served.route.as_deref()),
        ("portcullis.app", served.app.as_deref()),
        ("portcullis.account", served.account.as_deref()),
        ("portcullis.forwarded", served.forwarded),
    ];
    let failed = status.is_some_and(|status| status >= 500);
    texts.push(("error.type", failed.then_some(served.code)));
    to.extend(texts.into_iter().filter_map(|(key, value)| Some(text(key, value?))));
    let upstream_status = served.upstream_status;
    to.extend(upstream_status.map(|status| number("portcullis.upstream_status", status)));
    for (key, count) in
        [("portcullis.replaced", served.replaced), ("portcullis.scrubbed", served.scrubbed)]
    {
        to.extend((count > 0).then(|| number(key, count)));
    }
    for (key, took) in [
        ("portcullis.proxy_us", Some(served.proxy)),
        ("portcullis.upstream_us", served.upstream),
        ("portcullis.reveal_us", served.steps.reveal),
        ("portcullis.sign_us", served.steps.sign),
        ("portcullis.scrub_us", served.steps.scrub),
    ] {
        to.extend(took.map(|took| number(key, took.as_micros())));
    }
    failed
}

fn client(sent: &Sent, status: Option<u16>, to: &mut Vec<KeyValue>) -> bool {
    to.push(text("url.scheme", if sent.tls { "https" } else { "http" }));
    to.push(text("network.protocol.version", "1.1"));
    to.push(number("server.port", sent.port));
    to.push(text("portcullis.forwarded", sent.forwarded));
    to.extend(sent.host.as_ref().map(|host| text("server.address", host)));
    to.extend(sent.record.map(|took| number("portcullis.record_us", took.as_micros())));
    let failed = status.filter(|status| *status >= 400);
    let error = sent.error.map(|error| text("error.type", error));
    to.extend(error.or_else(|| failed.map(|status| text("error.type", &status.to_string()))));
    sent.error.is_some() || failed.is_some()
}
