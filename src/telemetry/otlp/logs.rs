//! Events as OTLP: read off the lines of the log, so that a call writes each of them once.

use std::time::Duration;

use prost::Message as _;
use serde_json::Value as Json;

use super::super::line::Line;
use super::super::trace::unhexed;
use super::messages::{AnyValue, Array, KeyValue, LogRecord, Logs, ResourceLogs, ScopeLogs, Value};
use super::{Speaker, nanos, pair, scope};

const INFO: (i32, &str) = (9, "INFO");
const WARN: (i32, &str) = (13, "WARN");
const ERROR: (i32, &str) = (17, "ERROR");

/// One export of these lines, handed on `now`.
#[must_use]
pub fn logs(speaker: &Speaker, lines: &[u8], now: Duration) -> Vec<u8> {
    let lines = lines.split(|byte| *byte == b'\n').filter_map(Line::read);
    let records = lines.map(|line| record(&line, nanos(now))).collect();
    let scopes = vec![ScopeLogs { scope: Some(scope()), records }];
    let resource = ResourceLogs { resource: Some(speaker.resource()), scopes };
    Logs { resources: vec![resource] }.encode_to_vec()
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
        time: nanos(Duration::from_millis(line.time_ms())),
        observed,
        severity,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::Text(line.event().to_owned())) }),
        attributes,
        trace: id("trace_id").and_then(unhexed::<16>).map(Vec::from).unwrap_or_default(),
        span: id("span_id").and_then(unhexed::<8>).map(Vec::from).unwrap_or_default(),
        event: format!("portcullis.{}", line.event()),
    }
}

fn severity(line: &Line) -> (i32, &'static str) {
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
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Bool(flag) => Some(Value::Flag(*flag)),
        // There are whole numbers alone; the largest one of ours means "no bound".
        Json::Number(number) => Some(Value::Number(number.as_i64().unwrap_or(i64::MAX))),
        Json::Array(all) => {
            let values = all.iter().map(|value| AnyValue { value: any(value) }).collect();
            Some(Value::Array(Array { values }))
        }
        Json::Null | Json::Object(_) => None,
    }
}
