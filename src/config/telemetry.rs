//! Where traces, metrics and logs are exported to.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use url::{Host, Url};

use crate::provider::HostPort;

use super::profile::hosts;
use super::reader::Table;
use super::secrets;

/// What is exported, and to whom.
#[derive(Debug)]
pub struct Telemetry {
    /// The collector.
    pub collector: Collector,
    /// Authorities of its certificate; those of the upstreams when unset.
    pub ca_file: Option<PathBuf>,
    /// What it is shown (`Authorization`).
    pub authorization: Option<HeaderValue>,
    /// Until it has answered.
    pub timeout: Duration,
    /// What this Portcullis is called (`service.name`).
    pub name: String,
    /// How often metrics are told; never when unset.
    pub metrics: Option<Duration>,
    /// Whether events are told.
    pub logs: bool,
    /// Whether calls are traced.
    pub traces: bool,
    /// The share of new traces that is exported.
    pub sample: f64,
    /// Hosts that are told in which trace a request stands.
    pub traceparent_to: Vec<HostPort>,
}

/// A collector's base URL.
#[derive(Debug)]
pub struct Collector {
    /// DNS name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
    /// The path's beginning, without a slash at its end.
    pub path: String,
}

pub(super) fn telemetry(root: &Table<'_>) -> Option<Telemetry> {
    let table = root.table_or_empty("telemetry");
    let danger = table.flag("danger_plain_endpoint", false);
    let expected = "must be the base URL of a collector, such as https://collector.internal:4318, \
                    without user, query and /v1/…; http:// needs a loopback address, or \
                    danger_plain_endpoint = true";
    let collector =
        table.optional_parsed("endpoint", expected, |text| Collector::parse(text, danger));
    let telemetry = Telemetry {
        ca_file: table.optional_text("ca_file").map(|file| table.beside(&file)),
        authorization: authorization(&table),
        timeout: Duration::from_millis(table.number("timeout_ms", 5_000, 100..=60_000)),
        name: name(&table),
        logs: table.flag("logs", true),
        metrics: metrics(&table),
        traces: table.flag("traces", true),
        sample: table.share("sample", 1.0),
        traceparent_to: hosts(&table, "traceparent_to"),
        collector: collector.unwrap_or_else(Collector::none),
    };
    let exports = table.has("endpoint");
    if !exports && !telemetry.traceparent_to.is_empty() {
        table.fail("traceparent_to", "needs endpoint: without a collector nothing is traced");
    }
    table.finish();
    exports.then_some(telemetry)
}

impl Collector {
    fn parse(text: &str, danger: bool) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let tls = match url.scheme() {
            "https" => true,
            "http" if danger || is_loopback(&url) => false,
            _ => return None,
        };
        let bare = url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        let path = url.path().trim_end_matches('/');
        let signal =
            ["/v1/traces", "/v1/metrics", "/v1/logs"].iter().any(|end| path.ends_with(end));
        let host = url.host_str().filter(|host| !host.ends_with('.'))?;
        let port = url.port_or_known_default()?;
        (bare && nobody && !signal).then(|| Self {
            host: host.to_owned(),
            port,
            tls,
            path: path.to_owned(),
        })
    }

    /// Stands for one that could not be read.
    fn none() -> Self {
        Self { host: String::new(), port: 0, tls: true, path: String::new() }
    }
}

/// By address, or the name that every system keeps for it.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn authorization(table: &Table<'_>) -> Option<HeaderValue> {
    let secret = secrets::optional(table, "authorization")?;
    let value = secret.reveal(|bytes| HeaderValue::from_bytes(bytes).ok());
    let Some(mut value) = value else {
        table.fail("authorization", "is no value of a header, such as Bearer … or Basic …");
        return None;
    };
    value.set_sensitive(true);
    Some(value)
}

fn metrics(table: &Table<'_>) -> Option<Duration> {
    let on = table.flag("metrics", true);
    let every = table.number("metrics_seconds", 30, 1..=3600);
    on.then(|| Duration::from_secs(every))
}

fn name(table: &Table<'_>) -> String {
    let name = table.text_or("service", "portcullis");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        table.fail("service", "must be 1 to 64 of a-z, A-Z, 0-9 and -_.");
    }
    name
}
