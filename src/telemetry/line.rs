//! A line of the log, read again where no payment waits for it: for a terminal and for a collector.

use std::fmt::{self, Write as _};

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// The fields of a line in their order.
pub(super) struct Line(pub(super) Vec<(String, Value)>);

impl Line {
    /// Reads one; none of another making.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// When it was written, in milliseconds since 1970.
    pub(super) fn time_ms(&self) -> u64 {
        self.number("time_ms").unwrap_or_default()
    }

    /// What happened.
    pub(super) fn event(&self) -> &str {
        self.text("event").unwrap_or_default()
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.get(name).and_then(Value::as_u64)
    }

    /// All but its time and its event.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &Value)> {
        let named = self.0.iter().map(|(key, value)| (key.as_str(), value));
        named.filter(|(key, _)| !matches!(*key, "time_ms" | "event"))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Line;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a line of the log")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Line(fields))
            }
        }
        from.deserialize_map(Fields)
    }
}

/// Lines for people at a terminal: time of day (UTC), event, fields.
pub(super) fn pretty(lines: &[u8]) -> String {
    let mut text = String::new();
    for line in lines.split(|byte| *byte == b'\n').filter_map(Line::read) {
        let ms = line.time_ms() % 86_400_000;
        let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
        let (seconds, millis) = (ms / 1000 % 60, ms % 1000);
        let _ = write!(text, "{hours:02}:{minutes:02}:{seconds:02}.{millis:03} {}", line.event());
        for (key, value) in line.fields() {
            let _ = match value {
                Value::String(value) => write!(text, " {key}={value}"),
                other => write!(text, " {key}={other}"),
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_shows_time_event_and_fields_in_their_order() {
        let lines =
            b"{\"time_ms\":1795267920102,\"event\":\"answered\",\"status\":201,\"code\":\"ok\",\
            \"b\":[1,\"x\"],\"a\":{\"on\":true}}\n{\"time_ms\":86399999,\"event\":\"stopped\"}\n";
        let shown = "13:32:00.102 answered status=201 code=ok b=[1,\"x\"] a={\"on\":true}\n\
            23:59:59.999 stopped\n";
        assert_eq!(pretty(lines), shown);
    }
}
