//! Counters and histograms, all names in one place. Labels come from closed sets and the
//! configuration: no path, no token, no card prefix (threat T18).

use prometheus::{
    Encoder as _, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    answers: IntCounterVec,
    seconds: HistogramVec,
    connections: IntCounterVec,
    limited: IntCounterVec,
    limit_keys: IntGaugeVec,
    records: IntGauge,
    audit_up: IntGauge,
}

impl Metrics {
    /// Registers every metric.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let answers = IntCounterVec::new(
            Opts::new(
                "portcullis_answers_total",
                "Answers by listener, call, status class and code.",
            ),
            &["listener", "call", "class", "code"],
        )?;
        let buckets =
            vec![0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0];
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "portcullis_seconds",
                "Time of a call: in the provider (upstream) and in Portcullis (proxy).",
            )
            .buckets(buckets),
            &["call", "part"],
        )?;
        let connections = IntCounterVec::new(
            Opts::new(
                "portcullis_connections_ended_total",
                "Connections that ended without a request.",
            ),
            &["listener", "reason"],
        )?;
        let limited = IntCounterVec::new(
            Opts::new("portcullis_limited_total", "Requests that a limit refused, by its name."),
            &["limit"],
        )?;
        let limit_keys = IntGaugeVec::new(
            Opts::new("portcullis_limit_keys", "Keys that a limit counted at its last sweep."),
            &["limit"],
        )?;
        let records = IntGauge::new(
            "portcullis_vault_records",
            "Records in the vault, expired ones included.",
        )?;
        let audit_up = IntGauge::new(
            "portcullis_audit_up",
            "1 when reveals can be recorded; at 0 no card leaves.",
        )?;
        registry.register(Box::new(audit_up.clone()))?;
        registry.register(Box::new(answers.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        registry.register(Box::new(connections.clone()))?;
        registry.register(Box::new(limited.clone()))?;
        registry.register(Box::new(limit_keys.clone()))?;
        registry.register(Box::new(records.clone()))?;
        Ok(Self { registry, answers, seconds, connections, limited, limit_keys, records, audit_up })
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

    /// Counts a connection that ended without a request.
    pub fn connection_ended(&self, listener: &str, reason: &str) {
        self.connections.with_label_values(&[listener, reason]).inc();
    }

    /// Counts a request that a limit refused.
    pub fn limited(&self, limit: &str) {
        self.limited.with_label_values(&[limit]).inc();
    }

    /// Notes how many keys a limit counts.
    pub fn limit_keys(&self, limit: &str, keys: usize) {
        let keys = i64::try_from(keys).unwrap_or(i64::MAX);
        self.limit_keys.with_label_values(&[limit]).set(keys);
    }

    /// The text that Prometheus reads.
    pub fn text(&self, records: usize, audit_up: bool) -> Vec<u8> {
        self.audit_up.set(i64::from(audit_up));
        self.records.set(i64::try_from(records).unwrap_or(i64::MAX));
        let mut text = Vec::new();
        let _ = TextEncoder::new().encode(&self.registry.gather(), &mut text);
        text
    }
}
