//! Telemetry of the real process at a real collector: what comes out is read with the types of the
//! OpenTelemetry project, and payments do not wait for it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::Method;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint, number_data_point};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use portcullis_sandbox::client::{Answer, Call};
use portcullis_sandbox::collector::Collector;
use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Adjust, Options};
use prost::Message as _;

use super::house::{House, Ready, invoice_of, session_of};
use super::line::{Ask, Version};

const SOON: Duration = Duration::from_secs(20);
/// How long one try to reach the collector lasts, where it matters that no payment lasts as long.
const A_TRY: Duration = Duration::from_secs(10);
const SPANS_LOST: &str = "portcullis_export_lost_total{signal=\"traces\"}";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A house whose Portcullis exports to this collector, with further lines of `[telemetry]`.
async fn house(collector: &Collector, more: &str) -> House {
    let adjust = adjusted(format!("http://127.0.0.1:{}", collector.port()), more.to_owned());
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

fn adjusted(endpoint: String, more: String) -> Adjust {
    Box::new(move |config| {
        format!("{config}\n[telemetry]\nendpoint = \"{endpoint}\"\nservice = \"it\"\n{more}\n")
    })
}

fn field(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

impl House {
    /// A whole sale in the trace of the application; returns the answer.
    async fn sale(&self, traceparent: &str) -> (Ready, Answer) {
        let ready = self.ready("paymega").await;
        let ask = ready.ask().header("traceparent", traceparent).header("tracestate", "shop=1");
        let answer = self.private(Version::Http1).await.send(&ask).await;
        (ready, answer)
    }

    /// The headers of the last sale that reached the provider.
    fn headers_sent(&self) -> http::HeaderMap {
        let all = self.world.paymega.received().all();
        let sale = all.iter().rev().find(|call| call.request.path.ends_with("/payment/sale"));
        sale.unwrap().request.headers.clone()
    }

    /// Waits until spans are counted as lost.
    async fn loses_spans(&self) {
        let end = Instant::now() + SOON;
        while self.counted(SPANS_LOST).await == 0 {
            assert!(Instant::now() < end, "what was lost is not counted");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn counted(&self, line: &str) -> u64 {
        let url = format!("{}/metrics", self.world.addresses.admin);
        let text = self.world.client.send(Call::get(url)).await.unwrap().text();
        let value = text.lines().find_map(|seen| seen.strip_prefix(line));
        value.map_or(0, |value| value.trim().parse().unwrap())
    }
}

fn spans(collector: &Collector) -> Vec<(Resource, Span)> {
    let exports = collector.exports();
    let traces = exports.iter().filter(|export| export.path == "/v1/traces");
    traces
        .flat_map(|export| {
            assert_eq!(export.header("content-type"), Some("application/x-protobuf"));
            ExportTraceServiceRequest::decode(export.body.clone()).unwrap().resource_spans
        })
        .flat_map(|of| {
            let resource = of.resource.clone().unwrap();
            of.scope_spans
                .into_iter()
                .flat_map(|scope| scope.spans)
                .map(move |span| (resource.clone(), span))
        })
        .collect()
}

/// The span of that kind and call, when it has come.
async fn span(collector: &Collector, is: impl Fn(&Span) -> bool) -> Span {
    let found = || spans(collector).into_iter().map(|(_, span)| span).find(&is);
    until(SOON, found).await.expect("the span never came")
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|pair| pair.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(flag) => Some(flag.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

fn is_server(span: &Span, call: &str) -> bool {
    span.kind == SpanKind::Server as i32
        && attribute(&span.attributes, "portcullis.call").as_deref() == Some(call)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn assert_attributes(span: &Span, wanted: &[(&str, &str)]) {
    for (key, value) in wanted {
        assert_eq!(attribute(&span.attributes, key).as_deref(), Some(*value), "{key}: {span:?}");
    }
}

#[tokio::test]
async fn a_sale_is_a_span_of_the_applications_trace_with_the_exchange_below_it() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "").await;
    let (_, answer) = house.sale(&field("01")).await;
    assert_eq!(answer.status, 200, "{}", answer.text());

    let server = span(&collector, |span| is_server(span, "sale")).await;
    assert_eq!((hex(&server.trace_id), hex(&server.parent_span_id)), (TRACE.into(), PARENT.into()));
    assert_eq!(server.flags, 0x301, "sampled, and its parent is another process's");
    assert_eq!(server.name, "POST /{account}/cardgate/payment/sale");
    assert!(server.end_time_unix_nano > server.start_time_unix_nano);
    assert_attributes(
        &server,
        &[
            ("http.request.method", "POST"),
            ("http.route", "/{account}/cardgate/payment/sale"),
            ("http.response.status_code", "200"),
            ("url.scheme", "https"),
            ("network.protocol.version", "1.1"),
            ("portcullis.listener", "private"),
            ("portcullis.app", "shop"),
            ("portcullis.account", "paymega"),
            ("portcullis.code", "ok"),
            ("portcullis.forwarded", "yes"),
            ("portcullis.upstream_status", "200"),
            ("portcullis.replaced", "2"),
            ("portcullis.request_id", answer.header("portcullis-request-id").unwrap()),
        ],
    );
    for time in ["proxy_us", "upstream_us", "reveal_us", "sign_us", "scrub_us"] {
        let time = attribute(&server.attributes, &format!("portcullis.{time}")).expect(time);
        assert!(time.parse::<u64>().unwrap() < 10_000_000);
    }
    let told = answer.header("traceparent").unwrap();
    assert_eq!(told, format!("00-{TRACE}-{}-01", hex(&server.span_id)), "the answer tells it");

    let client = span(&collector, |span| span.parent_span_id == server.span_id).await;
    assert_eq!((client.kind, &client.trace_id), (SpanKind::Client as i32, &server.trace_id));
    assert!(client.start_time_unix_nano >= server.start_time_unix_nano);
    let port = house.world.paymega.authority().rsplit_once(':').unwrap().1.to_owned();
    assert_attributes(
        &client,
        &[
            ("http.request.method", "POST"),
            ("http.response.status_code", "200"),
            ("server.address", "localhost"),
            ("server.port", &port),
            ("url.scheme", "https"),
            ("portcullis.forwarded", "yes"),
        ],
    );
    assert!(attribute(&client.attributes, "portcullis.record_us").is_some());
    let (resource, _) = spans(&collector).remove(0);
    assert_eq!(attribute(&resource.attributes, "service.name").unwrap(), "it");
    let version = attribute(&resource.attributes, "service.version").unwrap();
    assert_eq!(version, env!("CARGO_PKG_VERSION"));
    let line = format!("\"trace_id\":\"{TRACE}\",\"span_id\":\"{}\"", hex(&server.span_id));
    assert!(String::from_utf8(house.log()).unwrap().contains(&line), "{line}");
    let headers = house.headers_sent();
    assert!(!headers.contains_key("traceparent") && !headers.contains_key("tracestate"));
}

#[tokio::test]
async fn an_upstream_is_told_the_trace_where_it_is_named_and_a_failure_is_told_by_its_code() {
    let collector = Collector::start(None).await.unwrap();
    let endpoint = format!("http://127.0.0.1:{}", collector.port());
    let adjust: Adjust = Box::new(move |config| {
        // Every simulator is on localhost; the port tells them apart.
        let (_, account) = config.split_once("name = \"paymega\"\n").unwrap();
        let (_, url) = account.split_once("cardgate = \"https://").unwrap();
        let (authority, _) = url.split_once('/').unwrap();
        let more = format!("traceparent_to = [\"{authority}\"]");
        adjusted(endpoint.clone(), more)(config)
    });
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    house.world.paymega.faults().set("sale", Fault::Cut);
    let (_, answer) = house.sale(&field("01")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());

    let server = span(&collector, |span| is_server(span, "sale")).await;
    let code = answer.json().unwrap()["code"].as_str().unwrap().to_owned();
    assert_attributes(
        &server,
        &[
            ("error.type", &code),
            ("portcullis.code", &code),
            ("portcullis.forwarded", "unknown"),
            ("http.response.status_code", "502"),
        ],
    );
    assert_eq!(server.status.as_ref().unwrap().code, 2);
    let client = span(&collector, |span| span.parent_span_id == server.span_id).await;
    assert_attributes(&client, &[("error.type", "reset"), ("portcullis.forwarded", "unknown")]);
    assert_eq!(attribute(&client.attributes, "http.response.status_code"), None);
    let headers = house.headers_sent();
    let told = headers.get("traceparent").unwrap().to_str().unwrap();
    assert_eq!(told, format!("00-{TRACE}-{}-01", hex(&client.span_id)));
    assert!(!headers.contains_key("tracestate"));
}

#[tokio::test]
async fn who_does_not_sample_is_not_exported_and_a_wrong_parent_begins_a_new_trace() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "sample = 0.0").await;
    let mut line = house.private(Version::Http2).await;
    let read = |parent: &str| house.session(App::Shop).header("traceparent", parent);
    let unsampled = line.send(&read(&field("00"))).await;
    let told = unsampled.header("traceparent").unwrap().to_owned();
    assert!(told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-00"), "{told}");
    let card = format!("00-{PLAIN}ffffffffffffffff-{PARENT}-01");
    for wrong in
        ["", "00", "canary", &field("01").to_uppercase(), &format!("{}-x", field("01")), &card]
    {
        let answer = line.send(&read(wrong)).await;
        let told = answer.header("traceparent").unwrap();
        assert!(!told.contains(TRACE) && !told.contains(PLAIN), "{wrong}: {told}");
        assert!(told.ends_with("-00"), "{told}");
    }
    let doubled = read(&field("01")).header("traceparent", &field("01"));
    assert!(!line.send(&doubled).await.header("traceparent").unwrap().contains(TRACE));
    assert_eq!(line.send(&read(&field("01"))).await.status, 201);
    let server = span(&collector, |span| is_server(span, "session.open")).await;
    assert_attributes(&server, &[("network.protocol.version", "2")]);
    let all = spans(&collector);
    assert_eq!(all.len(), 1, "{all:?}");
}

#[tokio::test]
async fn a_browsers_trace_is_not_continued_and_no_text_of_a_request_is_exported() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "").await;
    let ready = house.ready("paymega").await;
    let mut public = house.public(Version::Http1).await;
    let mut private = house.private(Version::Http1).await;
    let session = session_of(&private.send(&house.session(App::Shop)).await);
    let capture = house.capture(&session, &ready.card).header("traceparent", &field("01"));
    assert_eq!(public.send(&capture).await.header("traceparent"), None);
    for target in ["/3ds/canary", "/callbacks/canary/canary", "/canary", "/v1/form/canary?canary=1"]
    {
        let ask =
            Ask::get(target).header("user-agent", "canary").header("traceparent", &field("01"));
        public.send(&ask).await;
        private.send(&ask).await;
        private.send(&Ask::new(Method::POST, target).header("x-request-id", PLAIN)).await;
    }
    house.assert_pays(&mut private, &ready).await;
    let sale = span(&collector, |span| is_server(span, "sale")).await;
    assert_ne!(hex(&sale.trace_id), TRACE);
    assert!(sale.parent_span_id.is_empty());
    let capture = spans(&collector).into_iter().filter(|(_, span)| is_server(span, "capture"));
    let capture: Vec<_> = capture.map(|(_, span)| span).collect();
    assert_eq!(capture.len(), 2);
    for span in &capture {
        assert!(hex(&span.trace_id) != TRACE && span.parent_span_id.is_empty(), "{span:?}");
        assert_attributes(span, &[("http.route", "/v1/tokens")]);
    }
    let form = span(&collector, |span| is_server(span, "form")).await;
    assert_attributes(&form, &[("http.route", "/v1/form/{capture_session}")]);
    assert_exports_hold_nothing(&house, &collector);
}

/// No card, no token, no credential, no word of a request.
fn assert_exports_hold_nothing(house: &House, collector: &Collector) {
    let bodies: Vec<u8> =
        collector.exports().iter().flat_map(|export| export.body.to_vec()).collect();
    assert!(bodies.len() > 500, "{} bytes prove nothing", bodies.len());
    assert_eq!(house.leak_in(&bodies), None, "in the exports");
    assert!(!String::from_utf8_lossy(&bodies).contains("canary"));
}

#[tokio::test]
async fn payments_do_not_wait_for_a_collector_that_is_silent_or_away() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, &format!("timeout_ms = {}", A_TRY.as_millis())).await;
    let mut private = house.private(Version::Http1).await;
    collector.fall_silent();
    house.assert_pays(&mut private, &house.ready("paymega").await).await;
    let asked = || spans(&collector).first().map(|_| ());
    until(SOON, asked).await.expect("no spans were brought");
    for down in [false, true] {
        if down {
            collector.down();
        }
        for _ in 0..5 {
            let ready = house.ready("paymega").await;
            let begun = Instant::now();
            house.assert_pays(&mut private, &ready).await;
            assert!(begun.elapsed() < A_TRY / 2, "{:?}", begun.elapsed());
        }
    }
    house.loses_spans().await;
    collector.answer_with(200);
    collector.up().await.unwrap();
    let before = collector.exports().len();
    house.assert_pays(&mut private, &house.ready("paymega").await).await;
    let back = || (collector.exports().len() > before).then_some(());
    until(SOON, back).await.expect("nothing came after the collector was back");
}

#[tokio::test]
async fn what_a_silent_collector_does_not_take_is_counted() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "timeout_ms = 100").await;
    collector.fall_silent();
    house.private(Version::Http1).await.send(&house.session(App::Shop)).await;
    house.loses_spans().await;
}

#[tokio::test]
async fn what_a_collector_takes_later_is_brought_again_and_what_it_refuses_is_counted() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "").await;
    let traces = |at: usize| {
        let all = collector.exports().into_iter().filter(|export| export.path == "/v1/traces");
        all.collect::<Vec<_>>().get(at).cloned()
    };
    collector.answer_with(503);
    let mut private = house.private(Version::Http1).await;
    private.send(&house.session(App::Shop)).await;
    let first = until(SOON, || traces(0)).await.unwrap();
    collector.answer_with(200);
    let second = until(SOON, || traces(1)).await.unwrap();
    assert_eq!(first.body, second.body);
    assert_eq!(house.counted(SPANS_LOST).await, 0);
    collector.answer_with(400);
    private.send(&house.session(App::Shop)).await;
    until(SOON, || traces(2)).await.unwrap();
    house.loses_spans().await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(traces(3).is_none(), "what is refused is not brought again");
}

#[tokio::test]
async fn the_last_spans_are_brought_at_the_end_to_a_collector_that_is_known_by_its_certificate() {
    let endpoint: Arc<OnceLock<String>> = Arc::default();
    let told = endpoint.clone();
    let adjust: Adjust = Box::new(move |config| match told.get() {
        Some(endpoint) => {
            let shown = "authorization = { file = \"secrets/collector\" }";
            adjusted(endpoint.clone(), shown.to_owned())(config)
        }
        None => config,
    });
    let mut house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let identity = house.world.ca.localhost("collector").unwrap();
    let collector = Collector::start(Some(identity.acceptor().unwrap())).await.unwrap();
    let secret = house.world.folder().join("secrets/collector");
    std::fs::write(&secret, "Bearer it-collector\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    endpoint.set(format!("https://localhost:{}/otlp", collector.port())).unwrap();
    let mut other = house.move_to_another("with-collector").await;
    let mut private = house.private(Version::Http1).await;
    let (invoice, _) = invoice_of(&private.send(&house.invoice("paymega", App::Shop)).await);
    assert!(!invoice.is_empty());
    drop(private);
    let pid = other.pid().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    let status = tokio::time::timeout(SOON, other.ended()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(0));
    let exports = collector.exports();
    let traces = exports.iter().filter(|export| export.path == "/otlp/v1/traces");
    let spans = traces
        .map(|export| {
            assert_eq!(export.header("authorization"), Some("Bearer it-collector"));
            ExportTraceServiceRequest::decode(export.body.clone()).unwrap()
        })
        .flat_map(|request| request.resource_spans)
        .flat_map(|of| of.scope_spans)
        .flat_map(|scope| scope.spans)
        .count();
    assert_eq!(spans, 2, "the call and its exchange");
    assert!(exports.iter().any(|export| export.path == "/otlp/v1/metrics"));
}

#[tokio::test]
async fn what_the_collector_is_shown_is_read_anew_while_serving() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("collector");
    std::fs::write(&secret, "Bearer it-collector\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&secret, mode).unwrap();
    let collector = Collector::start(None).await.unwrap();
    let more = format!("authorization = {{ file = {secret:?} }}\nmetrics_seconds = 1");
    let house = house(&collector, &more).await;
    let shown = async |wanted: &str| {
        let shown = || {
            let exports = collector.exports();
            let last = exports.last().and_then(|export| export.header("authorization"));
            (last == Some(wanted)).then_some(())
        };
        until(SOON, shown).await.unwrap_or_else(|| panic!("{wanted} is not shown"));
    };
    shown("Bearer it-collector").await;
    std::fs::write(&secret, "Bearer it-another\n").unwrap();
    assert_eq!(house.reload().await.status, 200);
    shown("Bearer it-another").await;
}

/// The last export of metrics.
fn figures(collector: &Collector) -> Option<Vec<Metric>> {
    let exports = collector.exports();
    let last = exports.iter().rev().find(|export| export.path == "/v1/metrics")?;
    let request = ExportMetricsServiceRequest::decode(last.body.clone()).unwrap();
    let scopes = request.resource_metrics.into_iter().flat_map(|of| of.scope_metrics);
    Some(scopes.flat_map(|scope| scope.metrics).collect())
}

fn has(attributes: &[KeyValue], wanted: &[(&str, &str)]) -> bool {
    wanted.iter().all(|(key, value)| attribute(attributes, key).as_deref() == Some(*value))
}

fn whole_number(point: &NumberDataPoint) -> i64 {
    match point.value {
        Some(number_data_point::Value::AsInt(number)) => number,
        ref other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn what_prometheus_reads_is_exported_under_the_same_names() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "metrics_seconds = 1\ntraces = false\nlogs = false").await;
    let ready = house.ready("paymega").await;
    let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
    assert_eq!(answer.header("traceparent"), None);
    let sale = [("listener", "private"), ("call", "sale"), ("class", "2xx"), ("code", "ok")];
    let counted = || {
        let all = figures(&collector)?;
        let answers = all.iter().find(|metric| metric.name == "portcullis_answers_total")?;
        let Some(Data::Sum(sum)) = &answers.data else { panic!("{answers:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2, "{sum:?}");
        let point = sum.data_points.iter().find(|point| has(&point.attributes, &sale))?;
        assert!(point.start_time_unix_nano > 0, "{point:?}");
        assert!(point.time_unix_nano > point.start_time_unix_nano, "{point:?}");
        assert_eq!(whole_number(point), 1);
        Some(all)
    };
    let all = until(SOON, counted).await.expect("the sale was never counted");

    let url = format!("{}/metrics", house.world.addresses.admin);
    let text = house.world.client.send(Call::get(url)).await.unwrap().text();
    let named = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let named: Vec<&str> = named.collect();
    let exported: Vec<&str> = all.iter().map(|metric| metric.name.as_str()).collect();
    assert_eq!(exported, named);

    let seconds = all.iter().find(|metric| metric.name == "portcullis_seconds").unwrap();
    assert_eq!(seconds.unit, "s");
    let Some(Data::Histogram(histogram)) = &seconds.data else { panic!("{seconds:?}") };
    assert_eq!(histogram.aggregation_temporality, 2);
    let part = [("call", "sale"), ("part", "upstream")];
    let point = histogram.data_points.iter().find(|point| has(&point.attributes, &part)).unwrap();
    assert_eq!((point.count, point.bucket_counts.iter().sum::<u64>()), (1, 1), "{point:?}");
    assert_eq!(point.bucket_counts.len(), point.explicit_bounds.len() + 1);
    let line = "portcullis_seconds_sum{call=\"sale\",part=\"upstream\"} ";
    let sum = text.lines().find_map(|seen| seen.strip_prefix(line)).unwrap();
    assert_eq!(point.sum, Some(sum.parse().unwrap()));
    let bound = point.bucket_counts.iter().position(|count| *count == 1).unwrap();
    assert!(point.explicit_bounds.get(bound).is_none_or(|end| point.sum.unwrap() <= *end));

    let records = all.iter().find(|metric| metric.name == "portcullis_vault_records").unwrap();
    let Some(Data::Gauge(gauge)) = &records.data else { panic!("{records:?}") };
    assert!(whole_number(&gauge.data_points[0]) > 0);
    assert!(collector.exports().iter().all(|export| export.path == "/v1/metrics"));
    assert_exports_hold_nothing(&house, &collector);
}

fn records(collector: &Collector) -> Vec<LogRecord> {
    let exports = collector.exports();
    let logs = exports.iter().filter(|export| export.path == "/v1/logs");
    logs.flat_map(|export| {
        ExportLogsServiceRequest::decode(export.body.clone()).unwrap().resource_logs
    })
    .flat_map(|of| of.scope_logs)
    .flat_map(|scope| scope.log_records)
    .collect()
}

/// Time and name of every event in the log.
fn written(house: &House) -> Vec<(u64, String)> {
    let lines = house.log();
    // The last line may be on its way.
    let whole = lines.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let events = whole.map(|line| {
        let line: serde_json::Value = serde_json::from_slice(line).unwrap();
        let event = format!("portcullis.{}", line["event"].as_str().unwrap());
        (line["time_ms"].as_u64().unwrap() * 1_000_000, event)
    });
    events.collect()
}

#[tokio::test]
async fn every_event_of_the_log_is_exported_in_its_trace() {
    let collector = Collector::start(None).await.unwrap();
    let house = house(&collector, "").await;
    let (_, answer) = house.sale(&field("01")).await;
    let id = answer.header("portcullis-request-id").unwrap();
    house.private(Version::Http1).await.send(&Ask::get("/canary/api/x")).await;
    let has_id = |record: &LogRecord| has(&record.attributes, &[("portcullis.request_id", id)]);
    let sale = until(SOON, || records(&collector).into_iter().find(has_id)).await.unwrap();
    let server = span(&collector, |span| is_server(span, "sale")).await;
    assert_eq!((&sale.trace_id, &sale.span_id), (&server.trace_id, &server.span_id));
    assert_eq!(
        (sale.event_name.as_str(), sale.severity_text.as_str()),
        ("portcullis.answered", "INFO")
    );
    assert!(sale.time_unix_nano > 0 && sale.observed_time_unix_nano >= sale.time_unix_nano);
    let told = [
        ("portcullis.call", "sale"),
        ("portcullis.app", "shop"),
        ("portcullis.code", "ok"),
        ("http.response.status_code", "200"),
        ("portcullis.replaced", "2"),
    ];
    assert!(has(&sale.attributes, &told), "{sale:?}");

    // What stands in the log is what came, in its order. Both grow while this waits.
    let came = || {
        let came = records(&collector).into_iter().map(|one| (one.time_unix_nano, one.event_name));
        let came: Vec<_> = came.collect();
        (came == written(&house)).then_some(())
    };
    until(SOON, came).await.expect("the export is not the log");
    let started =
        records(&collector).into_iter().find(|one| one.event_name == "portcullis.started");
    let confined =
        [("portcullis.process.seccomp", "true"), ("portcullis.process.no_new_privs", "true")];
    assert!(has(&started.unwrap().attributes, &confined));
    assert_exports_hold_nothing(&house, &collector);
}

#[tokio::test]
async fn a_terminal_is_shown_lines_for_people_while_a_collector_gets_the_events() {
    let collector = Collector::start(None).await.unwrap();
    let endpoint = format!("http://127.0.0.1:{}", collector.port());
    let adjust: Adjust = Box::new(move |config| {
        assert!(config.contains("format = \"json\""));
        let config = config.replace("format = \"json\"", "format = \"pretty\"");
        adjusted(endpoint.clone(), "traces = false".to_owned())(config)
    });
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let answer = house.private(Version::Http1).await.send(&house.session(App::Shop)).await;
    let id = answer.header("portcullis-request-id").unwrap().to_owned();
    let answered =
        || records(&collector).into_iter().find(|one| one.event_name.ends_with("answered"));
    let record = until(SOON, answered).await.unwrap();
    assert!(record.trace_id.is_empty() && record.span_id.is_empty());
    let log = String::from_utf8(house.log()).unwrap();
    let line = log.lines().find(|line| line.contains(&id)).unwrap();
    let wanted =
        "answered listener=private call=session.open app=shop status=201 code=ok request_id=";
    assert_eq!(line.get(13..13 + wanted.len()), Some(wanted), "{line}");
    assert!(!log.contains("\"event\""), "{log}");
}
