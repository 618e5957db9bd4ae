//! Events as OTLP: read off the lines of the log, so that a call writes each of them once.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use prost::Message as _;
use serde_json::Value as Json;

use super::super::line::Line;
use super::super::trace::unhexed;
use super::{Speaker, nanos, pair, scope};

const INFO: (SeverityNumber, &str) = (SeverityNumber::Info, "INFO");
const WARN: (SeverityNumber, &str) = (SeverityNumber::Warn, "WARN");
const ERROR: (SeverityNumber, &str) = (SeverityNumber::Error, "ERROR");

/// One export of these lines, handed on `now`.
#[must_use]
pub fn logs(speaker: &Speaker, lines: &[u8], now: Duration) -> Vec<u8> {
    let lines = lines.split(|byte| *byte == b'\n').filter_map(Line::read);
    let records = lines.map(|line| record(&line, nanos(now))).collect();
    let scopes =
        vec![ScopeLogs { scope: Some(scope()), log_records: records, ..ScopeLogs::default() }];
    let resource = ResourceLogs {
        resource: Some(speaker.resource()),
        scope_logs: scopes,
        ..ResourceLogs::default()
    };
    ExportLogsServiceRequest { resource_logs: vec![resource] }.encode_to_vec()
}

fn record(line: &Line, observed: u64) -> LogRecord {
    let (severity, severity_text) = severity(line);
    let mut attributes = Vec::new();
    for (key, value) in line.fields() {
        match key {
            "trace_id" | "span_id" => {}
            "status" => attribute("http.response.status_code", value, &mut attributes),
            key => attribute(&format!("portcullis.{key}"), value, &mut attributes),
        }
    }
    let id = |name| line.text(name).map(str::as_bytes);
    LogRecord {
        time_unix_nano: nanos(Duration::from_millis(line.time_ms())),
        observed_time_unix_nano: observed,
        severity_number: severity.into(),
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(line.event().to_owned())) }),
        attributes,
        trace_id: id("trace_id").and_then(unhexed::<16>).map(Vec::from).unwrap_or_default(),
        span_id: id("span_id").and_then(unhexed::<8>).map(Vec::from).unwrap_or_default(),
        event_name: format!("portcullis.{}", line.event()),
        ..LogRecord::default()
    }
}

fn severity(line: &Line) -> (SeverityNumber, &'static str) {
    match line.event() {
        "panicked" => ERROR,
        "answered" if line.number("status").is_some_and(|status| status >= 500) => ERROR,
        "warned"
        | "reload_refused"
        | "root_key_removed"
        | "lines_lost"
        | "upstream_down"
        | "upstream_unresolved" => WARN,
        _ => INFO,
    }
}

/// What is inside of another field has a name of its own.
fn attribute(key: &str, value: &Json, to: &mut Vec<KeyValue>) {
    match value {
        Json::Object(fields) => {
            fields.iter().for_each(|(name, value)| attribute(&format!("{key}.{name}"), value, to));
        }
        other => to.extend(any(other).map(|value| pair(key, value))),
    }
}

fn any(value: &Json) -> Option<Value> {
    match value {
        Json::String(text) => Some(Value::StringValue(text.clone())),
        Json::Bool(flag) => Some(Value::BoolValue(*flag)),
        // There are whole numbers alone; the largest one of ours means "no bound".
        Json::Number(number) => Some(Value::IntValue(number.as_i64().unwrap_or(i64::MAX))),
        Json::Array(all) => {
            let values = all.iter().map(|value| AnyValue { value: any(value) }).collect();
            Some(Value::ArrayValue(ArrayValue { values }))
        }
        Json::Null | Json::Object(_) => None,
    }
}
