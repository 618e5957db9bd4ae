//! Events as lines on standard error.

use std::io::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::Event;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// Nothing is written.
    Off,
}

impl Format {
    /// The format of that name in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// Where events are written. Libraries' own log lines go nowhere: Pingora's print raw input.
#[derive(Debug)]
pub struct Log(Format);

#[derive(Serialize)]
struct Line<'e> {
    time_ms: u64,
    #[serde(flatten)]
    event: &'e Event<'e>,
}

impl Log {
    /// A log in that format.
    pub fn new(format: Format) -> Self {
        Self(format)
    }

    /// Writes one event. A line that cannot be written is lost: serving goes on.
    pub fn write(&self, event: &Event<'_>) {
        if self.0 == Format::Off {
            return;
        }
        let time_ms = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        if let Ok(mut line) = serde_json::to_vec(&Line { time_ms, event }) {
            line.push(b'\n');
            let _ = std::io::stderr().lock().write_all(&line);
        }
    }
}
