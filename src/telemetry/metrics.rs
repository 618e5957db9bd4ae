//! Counters and histograms, all names in one place. Labels come from closed sets and the
//! configuration: no path, no token, no card prefix (threat T18).

use std::time::Duration;

use prometheus::core::Collector as _;
use prometheus::proto::MetricFamily;
use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::otlp::{self, Speaker};

/// Upper ends of the histogram's buckets, in seconds.
const SECONDS: [f64; 12] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0];

/// What is exported to a collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Metrics.
    Metrics,
    /// Events.
    Logs,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Traces, Self::Metrics, Self::Logs];

    /// Its name in labels, and in the collector's paths.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Metrics => "metrics",
            Self::Logs => "logs",
        }
    }
}

/// Figures that somebody else knows, as they are when they are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Levels {
    /// Records in the vault.
    pub records: usize,
    /// Whether reveals can be recorded.
    pub audit_up: bool,
    /// Bounds of the vault by name: what fits, and what is left of it.
    pub rooms: [(&'static str, usize, usize); 8],
}

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    start: IntGauge,
    vault_start: IntGauge,
    answers: IntCounterVec,
    seconds: HistogramVec,
    status_queries: IntCounterVec,
    connections: IntCounterVec,
    limited: IntCounterVec,
    limit_keys: IntGaugeVec,
    limit_keys_max: IntGauge,
    vault: VaultLevels,
    audit_up: IntGauge,
    certificates: IntGaugeVec,
    export_lost: IntCounterVec,
    upstreams: IntGaugeVec,
    clocks: IntGaugeVec,
    dangers: IntGaugeVec,
    changes: Changes,
}

/// Changes that were read while serving.
#[derive(Debug)]
struct Changes {
    count: IntCounterVec,
    refused: IntGaugeVec,
}

impl Metrics {
    /// Registers every metric. `started` is now, in UNIX seconds.
    pub fn new(started: u64) -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let answers = counts(
            &registry,
            "portcullis_answers_total",
            "Answers by listener, call, status class and code.",
            &["listener", "call", "class", "code"],
        )?;
        let connections = counts(
            &registry,
            "portcullis_connections_ended_total",
            "Connections that ended without a request.",
            &["listener", "reason"],
        )?;
        let limit_keys = levels(
            &registry,
            "portcullis_limit_keys",
            "Keys that a limit counted at its last sweep.",
            &["limit"],
        )?;
        let certificates = levels(
            &registry,
            "portcullis_certificate_expires_seconds",
            "When a listener's certificate ends, in UNIX seconds.",
            &["listener"],
        )?;
        let export_lost = counts(
            &registry,
            "portcullis_export_lost_total",
            "Spans, log lines and exports of metrics that no collector took.",
            &["signal"],
        )?;
        let start = level(
            &registry,
            "portcullis_start_time_seconds",
            "When this process started, in UNIX seconds.",
        )?;
        start.set(i64::try_from(started).unwrap_or(i64::MAX));
        let vault = VaultLevels::new(&registry)?;
        let audit_up = level(
            &registry,
            "portcullis_audit_up",
            "1 when reveals can be recorded; at 0 no card leaves.",
        )?;
        Ok(Self {
            upstreams: addresses(&registry)?,
            clocks: clocks(&registry)?,
            start,
            vault_start: kept_since(&registry)?,
            answers,
            seconds: times(&registry)?,
            status_queries: questions(&registry)?,
            connections,
            limited: refusals(&registry)?,
            limit_keys,
            limit_keys_max: most(&registry)?,
            vault,
            audit_up,
            certificates,
            export_lost,
            dangers: weakened(&registry)?,
            changes: Changes::new(&registry)?,
            registry,
        })
    }

    /// Counts one answer.
    pub fn answered(&self, listener: &str, call: &str, status: u16, code: &str) {
        let class = match status {
            200..300 => "2xx",
            300..400 => "3xx",
            400..500 => "4xx",
            _ => "5xx",
        };
        self.answers.with_label_values(&[listener, call, class, code]).inc();
    }

    /// Notes how long a call took, in seconds.
    pub fn took(&self, call: &str, proxy: f64, upstream: Option<f64>) {
        self.seconds.with_label_values(&[call, "proxy"]).observe(proxy);
        if let Some(upstream) = upstream {
            self.seconds.with_label_values(&[call, "upstream"]).observe(upstream);
        }
    }

    /// Counts payments in doubt that the provider was to be asked about; none, so that a count that
    /// starts at nothing is served.
    pub fn status_queried(&self, account: &str, result: &str, count: u64) {
        self.status_queries.with_label_values(&[account, result]).inc_by(count);
    }

    /// Counts connections that ended without a request. None: a count that starts at nothing is
    /// served, so that its first step is seen as one.
    pub fn connections_ended(&self, listener: &str, reason: &str, count: u64) {
        self.connections.with_label_values(&[listener, reason]).inc_by(count);
    }

    /// Counts requests that a limit refused; none, as above.
    pub fn limited(&self, limit: &str, count: u64) {
        self.limited.with_label_values(&[limit]).inc_by(count);
    }

    /// Counts what was to be exported and is lost; none, as above.
    pub fn export_lost(&self, signal: Signal, count: u64) {
        self.export_lost.with_label_values(&[signal.as_str()]).inc_by(count);
    }

    /// Notes how many keys a limit counts.
    pub fn limit_keys(&self, limit: &str, keys: usize) {
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.limit_keys.with_label_values(&[limit]).set(keys);
    }

    /// Notes how many keys each limit counts at most.
    pub fn limit_keys_max(&self, keys: usize) {
        self.limit_keys_max.set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// Since when tokens are kept, in UNIX seconds.
    pub fn vault_began(&self, began: u64) {
        self.vault_start.set(i64::try_from(began).unwrap_or(i64::MAX));
    }

    /// Notes when a listener's certificate ends, in UNIX seconds.
    pub fn certificate_ends(&self, listener: &str, ends: i64) {
        self.certificates.with_label_values(&[listener]).set(ends);
    }

    /// Notes whether an address of a configured host is in use.
    pub fn upstream_up(&self, host: &str, address: &str, up: bool) {
        self.upstreams.with_label_values(&[host, address]).set(i64::from(up));
    }

    /// A configured host has that address no longer.
    pub fn upstream_gone(&self, host: &str, address: &str) {
        let _ = self.upstreams.remove_label_values(&[host, address]);
    }

    /// Notes how many seconds the clock of a configured host is ahead of ours.
    pub fn clock_ahead(&self, host: &str, seconds: i64) {
        self.clocks.with_label_values(&[host]).set(seconds);
    }

    /// A host is configured no longer.
    pub fn clock_gone(&self, host: &str) {
        let _ = self.clocks.remove_label_values(&[host]);
    }

    /// Notes the keys that weaken protection and are on (threat T22). Those that stay on are told
    /// at every moment.
    pub fn dangers(&self, keys: &[String]) {
        for key in keys {
            self.dangers.with_label_values(&[key]).set(1);
        }
        let families = self.dangers.collect();
        let told = families.iter().flat_map(|family| family.get_metric());
        for key in told.flat_map(|metric| metric.get_label()).map(|label| label.value()) {
            if !keys.iter().any(|on| on == key) {
                let _ = self.dangers.remove_label_values(&[key]);
            }
        }
    }

    /// Serves the counts of a kind of change, at nothing.
    pub fn may_change(&self, of: &str) {
        for outcome in ["taken", "refused"] {
            self.changes.count.with_label_values(&[of, outcome]).inc_by(0);
        }
        self.changes.refused.with_label_values(&[of]).set(0);
    }

    /// Counts a change that was read while serving.
    pub fn changed(&self, of: &str, taken: bool) {
        let outcome = if taken { "taken" } else { "refused" };
        self.changes.count.with_label_values(&[of, outcome]).inc();
        self.changes.refused.with_label_values(&[of]).set(i64::from(!taken));
    }

    /// What is in use is what the files hold, though nothing was taken.
    pub fn unchanged(&self, of: &str) {
        self.changes.refused.with_label_values(&[of]).set(0);
    }

    /// The text that Prometheus reads.
    pub fn text(&self, levels: &Levels) -> Vec<u8> {
        let mut text = Vec::new();
        let _ = TextEncoder::new().encode(&self.gather(levels), &mut text);
        text
    }

    /// The same as an export for a collector, `now`.
    pub fn export(&self, speaker: &Speaker, levels: &Levels, now: Duration) -> Vec<u8> {
        let began = u64::try_from(self.start.get()).unwrap_or_default();
        let began = Duration::from_secs(began);
        otlp::metrics(speaker, &self.gather(levels), began, now)
    }

    /// Every figure; some of them are levels that somebody else knows.
    fn gather(&self, levels: &Levels) -> Vec<MetricFamily> {
        self.audit_up.set(i64::from(levels.audit_up));
        self.vault.set(levels);
        self.registry.gather()
    }
}

impl Changes {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let count = counts(
            registry,
            "portcullis_changes_total",
            "Changes that were read while serving, and whether they were taken.",
            &["of", "outcome"],
        )?;
        let refused = levels(
            registry,
            "portcullis_change_refused",
            "1 when the files hold something that was refused, and what was there before is in use.",
            &["of"],
        )?;
        Ok(Self { count, refused })
    }
}

/// What is in the vault, and what still fits.
#[derive(Debug)]
struct VaultLevels {
    records: IntGauge,
    room: IntGaugeVec,
    free: IntGaugeVec,
}

impl VaultLevels {
    fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let records = level(
            registry,
            "portcullis_vault_records",
            "Records in the vault, expired ones included.",
        )?;
        let room = levels(
            registry,
            "portcullis_vault_room",
            "What a room of the vault may hold, in records, or bytes where its name says so.",
            &["room"],
        )?;
        let free = levels(
            registry,
            "portcullis_vault_free",
            "What is left of a room of the vault, in records, or bytes where its name says so.",
            &["room"],
        )?;
        Ok(Self { records, room, free })
    }

    fn set(&self, levels: &Levels) {
        let whole = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.records.set(whole(levels.records));
        for (room, size, free) in levels.rooms {
            self.room.with_label_values(&[room]).set(whole(size));
            self.free.with_label_values(&[room]).set(whole(free));
        }
    }
}

fn weakened(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let help = "1 for each key that weakens protection: a danger that is on, a rate that is off.";
    levels(registry, "portcullis_danger", help, &["key"])
}

fn counts(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntCounterVec, prometheus::Error> {
    let counts = IntCounterVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(counts.clone()))?;
    Ok(counts)
}

fn levels(
    registry: &Registry,
    name: &str,
    help: &str,
    labels: &[&str],
) -> Result<IntGaugeVec, prometheus::Error> {
    let levels = IntGaugeVec::new(Opts::new(name, help), labels)?;
    registry.register(Box::new(levels.clone()))?;
    Ok(levels)
}

fn addresses(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let help = "1 when an address of a configured host can be connected to, as far as is known.";
    levels(registry, "portcullis_upstream_up", help, &["host", "address"])
}

fn refusals(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let help = "Requests that a limit refused, by its name.";
    counts(registry, "portcullis_limited_total", help, &["limit"])
}

fn clocks(registry: &Registry) -> Result<IntGaugeVec, prometheus::Error> {
    let help = "Seconds by which a configured host's clock is ahead of ours, by its answers' Date.";
    levels(registry, "portcullis_clock_skew_seconds", help, &["host"])
}

fn kept_since(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    let help = "Since when tokens are kept, in UNIX seconds: a process that takes over keeps them.";
    level(registry, "portcullis_vault_start_time_seconds", help)
}

fn most(registry: &Registry) -> Result<IntGauge, prometheus::Error> {
    level(registry, "portcullis_limit_keys_max", "Keys that each limit counts at most.")
}

fn questions(registry: &Registry) -> Result<IntCounterVec, prometheus::Error> {
    let help = "Payments in doubt that the provider was to be asked about, and what came of it.";
    counts(registry, "portcullis_status_queries_total", help, &["account", "result"])
}

fn level(registry: &Registry, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
    let level = IntGauge::new(name, help)?;
    registry.register(Box::new(level.clone()))?;
    Ok(level)
}

fn times(registry: &Registry) -> Result<HistogramVec, prometheus::Error> {
    let help = "Time of a call: in the provider (upstream) and in Portcullis (proxy).";
    let opts = HistogramOpts::new("portcullis_seconds", help).buckets(SECONDS.to_vec());
    let times = HistogramVec::new(opts, &["call", "part"])?;
    registry.register(Box::new(times.clone()))?;
    Ok(times)
}
