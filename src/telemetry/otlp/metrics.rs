//! Metrics as OTLP: what Prometheus would read, gathered from the same registry, under the same
//! names, so that dashboards and alerts hold whichever way the figures came.

use std::time::Duration;

use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prost::Message as _;

use super::messages::{
    HistogramData, HistogramPoint, KeyValue, MetricData, MetricMessage, Metrics, NumberPoint,
    NumberPoints, ResourceMetrics, ScopeMetrics, Sum,
};
use super::{Speaker, nanos, scope, text};

/// Counts since the start of the process.
const CUMULATIVE: i32 = 2;

/// When what is counted began, and when it was looked at; nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    begun: u64,
    now: u64,
}

/// One export of these figures, which began with the process.
pub(in crate::telemetry) fn metrics(
    speaker: &Speaker,
    families: &[MetricFamily],
    began: Duration,
    now: Duration,
) -> Vec<u8> {
    let times = Times { begun: nanos(began), now: nanos(now) };
    let metrics = families.iter().map(|family| message(family, times)).collect();
    let scopes = vec![ScopeMetrics { scope: Some(scope()), metrics }];
    let resource = ResourceMetrics { resource: Some(speaker.resource()), scopes };
    Metrics { resources: vec![resource] }.encode_to_vec()
}

fn message(family: &MetricFamily, times: Times) -> MetricMessage {
    let all = family.get_metric();
    let data = match family.get_field_type() {
        MetricType::COUNTER => {
            let point = |metric: &Metric| number(metric, metric.get_counter().get_value(), times);
            let points = all.iter().map(point).collect();
            MetricData::Sum(Sum { points, temporality: CUMULATIVE, is_monotonic: true })
        }
        MetricType::HISTOGRAM => {
            let points = all.iter().map(|metric| histogram(metric, times)).collect();
            MetricData::Histogram(HistogramData { points, temporality: CUMULATIVE })
        }
        _ => {
            let point = |metric: &Metric| number(metric, metric.get_gauge().get_value(), times);
            MetricData::Gauge(NumberPoints { points: all.iter().map(point).collect() })
        }
    };
    let unit = if family.name().ends_with("_seconds") { "s" } else { "1" };
    MetricMessage {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "counts and levels are whole numbers")]
fn number(metric: &Metric, value: f64, times: Times) -> NumberPoint {
    NumberPoint {
        begun: times.begun,
        now: times.now,
        value: Some(value as i64),
        attributes: attributes(metric.get_label()),
    }
}

fn histogram(metric: &Metric, times: Times) -> HistogramPoint {
    let histogram: &Histogram = metric.get_histogram();
    let buckets = histogram.get_bucket();
    // Prometheus counts what is below each bound, OTLP what is between two.
    let mut below = 0;
    let mut between = |count: u64| count.saturating_sub(std::mem::replace(&mut below, count));
    let ends = buckets.iter().map(|bucket| bucket.cumulative_count());
    let counts = ends.chain([histogram.get_sample_count()]).map(&mut between).collect();
    HistogramPoint {
        begun: times.begun,
        now: times.now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        counts,
        bounds: buckets.iter().map(|bucket| bucket.upper_bound()).collect(),
        attributes: attributes(metric.get_label()),
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| text(label.name(), label.value())).collect()
}
