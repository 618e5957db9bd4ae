//! What is told, in the words of the OpenTelemetry protocol (OTLP 1, protobuf): closed names of
//! attributes, made on the exporter's own thread.
//!
//! The conventions' attributes that hold text of a request (`url.path`, `url.full`,
//! `user_agent.original`, `client.address`) are left out.

mod logs;
mod messages;
mod metrics;
mod traces;

pub use logs::logs;
pub(super) use metrics::metrics;
pub use traces::traces;

use messages::{AnyValue, KeyValue, Resource, Scope, Value};
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
        Resource { attributes }
    }
}

/// How many of what was sent the collector did not take, by its answer.
#[must_use]
pub fn rejected(answer: &[u8]) -> u64 {
    let partial = messages::Taken::decode(answer).ok().and_then(|taken| taken.partial);
    partial.map_or(0, |partial| u64::try_from(partial.rejected).unwrap_or(0))
}

fn scope() -> Scope {
    Scope { name: "portcullis".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, Value::Text(value.to_owned()))
}

fn number(key: &str, value: impl TryInto<i64>) -> KeyValue {
    pair(key, Value::Number(value.try_into().unwrap_or(i64::MAX)))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// Nanoseconds, as the protocol counts time.
fn nanos(since: std::time::Duration) -> u64 {
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
