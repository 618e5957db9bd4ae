//! Spans as OTLP.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{self as otlp, ResourceSpans, ScopeSpans, SpanFlags};
use prost::Message as _;

use super::super::span::{Sent, Served, Side, Span};
use super::{Speaker, nanos, number, scope, text};

/// The flag of a span that was sampled (W3C Trace Context); the protocol names the others.
const SAMPLED: u32 = 1;

/// One export of these spans.
#[must_use]
pub fn traces(speaker: &Speaker, spans: &[Span]) -> Vec<u8> {
    let spans = spans.iter().map(message).collect();
    let scopes = vec![ScopeSpans { scope: Some(scope()), spans, ..ScopeSpans::default() }];
    let resource = ResourceSpans {
        resource: Some(speaker.resource()),
        scope_spans: scopes,
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource] }.encode_to_vec()
}

fn message(span: &Span) -> otlp::Span {
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
            (SpanKind::Server, server(served, span.status, &mut attributes))
        }
        Side::Client(sent) => (SpanKind::Client, client(sent, span.status, &mut attributes)),
    };
    let known = SpanFlags::ContextHasIsRemoteMask as u32;
    let remote = if span.parent_is_remote { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    otlp::Span {
        trace_id: span.context.trace().to_vec(),
        span_id: span.context.span().to_vec(),
        parent_span_id: span.parent.map(|parent| parent.to_vec()).unwrap_or_default(),
        name,
        kind: kind.into(),
        start_time_unix_nano: nanos(span.begun),
        end_time_unix_nano: nanos(span.begun.saturating_add(span.took)),
        attributes,
        status: failed
            .then(|| otlp::Status { code: StatusCode::Error.into(), ..Default::default() }),
        flags: SAMPLED | known | remote,
        ..otlp::Span::default()
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
