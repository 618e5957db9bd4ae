//! Metrics as OTLP: what Prometheus would read, gathered from the same registry, under the same
//! names, so that dashboards and alerts hold whichever way the figures came.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{
    self as otlp, AggregationTemporality, Gauge, HistogramDataPoint, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum,
};
use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};
use prost::Message as _;

use super::{Speaker, nanos, scope, text};

/// Counts since the start of the process.
const CUMULATIVE: i32 = AggregationTemporality::Cumulative as i32;

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
    let scopes = vec![ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() }];
    let resource = ResourceMetrics {
        resource: Some(speaker.resource()),
        scope_metrics: scopes,
        ..ResourceMetrics::default()
    };
    ExportMetricsServiceRequest { resource_metrics: vec![resource] }.encode_to_vec()
}

fn message(family: &MetricFamily, times: Times) -> otlp::Metric {
    let all = family.get_metric();
    let data = match family.get_field_type() {
        MetricType::COUNTER => {
            let point = |metric: &Metric| number(metric, metric.get_counter().get_value(), times);
            let points = all.iter().map(point).collect();
            Data::Sum(Sum {
                data_points: points,
                aggregation_temporality: CUMULATIVE,
                is_monotonic: true,
            })
        }
        MetricType::HISTOGRAM => {
            let points = all.iter().map(|metric| histogram(metric, times)).collect();
            Data::Histogram(otlp::Histogram {
                data_points: points,
                aggregation_temporality: CUMULATIVE,
            })
        }
        _ => {
            let point = |metric: &Metric| number(metric, metric.get_gauge().get_value(), times);
            Data::Gauge(Gauge { data_points: all.iter().map(point).collect() })
        }
    };
    let unit = if family.name().ends_with("_seconds") { "s" } else { "1" };
    otlp::Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..otlp::Metric::default()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "counts and levels are whole numbers")]
fn number(metric: &Metric, value: f64, times: Times) -> NumberDataPoint {
    NumberDataPoint {
        start_time_unix_nano: times.begun,
        time_unix_nano: times.now,
        value: Some(Value::AsInt(value as i64)),
        attributes: attributes(metric.get_label()),
        ..NumberDataPoint::default()
    }
}

fn histogram(metric: &Metric, times: Times) -> HistogramDataPoint {
    let histogram: &Histogram = metric.get_histogram();
    let buckets = histogram.get_bucket();
    // Prometheus counts what is below each bound, OTLP what is between two.
    let mut below = 0;
    let mut between = |count: u64| count.saturating_sub(std::mem::replace(&mut below, count));
    let ends = buckets.iter().map(|bucket| bucket.cumulative_count());
    let counts = ends.chain([histogram.get_sample_count()]).map(&mut between).collect();
    HistogramDataPoint {
        start_time_unix_nano: times.begun,
        time_unix_nano: times.now,
        count: histogram.get_sample_count(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: buckets.iter().map(|bucket| bucket.upper_bound()).collect(),
        attributes: attributes(metric.get_label()),
        ..HistogramDataPoint::default()
    }
}

fn attributes(labels: &[LabelPair]) -> Vec<KeyValue> {
    labels.iter().map(|label| text(label.name(), label.value())).collect()
}
