//! What is told, in the words of the OpenTelemetry protocol (OTLP 1, protobuf): closed names of
//! attributes, made on the exporter's own thread.
//!
//! The conventions' attributes that hold text of a request (`url.path`, `url.full`,
//! `user_agent.original`, `client.address`) are left out.

mod logs;
mod metrics;
mod traces;

pub use logs::logs;
pub(super) use metrics::metrics;
pub use traces::traces;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceResponse;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;

/// Who speaks: what the collector is told with everything.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// `service.name`.
    pub name: String,
    /// `service.instance.id`: one process among several.
    pub instance: String,
}

impl Speaker {
    fn resource(&self) -> Resource {
        let attributes = vec![
            text("service.name", &self.name),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("service.instance.id", &self.instance),
            text("telemetry.sdk.language", "rust"),
            text("telemetry.sdk.name", "portcullis"),
            text("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
        ];
        Resource { attributes, ..Resource::default() }
    }
}

/// How many of what was sent the collector did not take, by its answer.
#[must_use]
pub fn rejected(answer: &[u8]) -> u64 {
    // Each kind of export has an answer of its own, of the same form.
    let answer = ExportLogsServiceResponse::decode(answer).ok();
    let partial = answer.and_then(|answer| answer.partial_success);
    partial.map_or(0, |partial| u64::try_from(partial.rejected_log_records).unwrap_or(0))
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "portcullis".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::StringValue(value.to_owned()))
}

fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    pair(key, Value::IntValue(value.try_into().unwrap_or(i64::MAX)))
}

fn pair(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// Nanoseconds, as the protocol counts time.
fn nanos(since: std::time::Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
