//! Telemetry on its way to a collector: a thread of its own, a client of its own.
//!
//! Nothing waits for the collector. What it does not take after three tries is lost and counted,
//! and so is what finds no room meanwhile. Must never: keep a payment, or the end of the process,
//! waiting for longer than [`FAREWELL`].

use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderName, HeaderValue, Method};
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::config::{Config, Telemetry};
use crate::proxy::exchange::{AddressPolicy, Outgoing, Target, Terms, UpstreamTls, Upstreams};
use crate::proxy::tracing::Tracing;
use crate::secret::{CleartextBody, fill_random};
use crate::telemetry::otlp::{self, Speaker};
use crate::telemetry::{Copies, Levels, Metrics, Signal, Span, Tracer, since_1970};

use super::StartError;
use super::serving::Unusable;

/// How often what waits is taken away.
const EVERY: Duration = Duration::from_millis(500);
/// Spans of one export at most.
const SPANS: usize = 512;
/// Lines of one export at most.
const LINES: usize = 512;
/// Pauses before the second and the third try.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];
/// Bytes of the collector's answer that are read.
const ANSWER_MAX: usize = 64 * 1024;
/// How long the end of the process waits for the last export.
const FAREWELL: Duration = Duration::from_secs(3);

/// What the collector is shown, as the configuration in use has it.
type Shown = Arc<Mutex<Option<HeaderValue>>>;

/// A running export; none when nothing is exported.
#[derive(Default)]
pub(super) struct Export(Option<Running>);

struct Running {
    shown: Shown,
    stop: watch::Sender<bool>,
    done: Mutex<Receiver<()>>,
}

/// Where what is sent comes from.
struct Sources<L> {
    /// Spans, where calls are traced.
    spans: Option<Receiver<Span>>,
    /// Lines of the log, where events are sent.
    copies: Option<Copies>,
    /// How often metrics are sent, where they are.
    every: Option<Duration>,
    levels: L,
}

/// What is to be sent at once.
struct Batch {
    bytes: Vec<u8>,
    /// How much is lost with it.
    count: u64,
    /// Whether more waits.
    more: bool,
}

/// Starts what the configuration asks for. `copies` are the lines of the log.
pub(super) fn start(
    way: Option<Way>,
    config: &Config,
    metrics: &Arc<Metrics>,
    (copies, levels): (Option<Copies>, impl Fn() -> Levels + Send + 'static),
) -> Result<(Tracing, Arc<Export>), StartError> {
    let Some((way, settings)) = way.zip(config.telemetry.as_ref()) else {
        return Ok((Tracing::off(), Arc::default()));
    };
    let carrier = Carrier::new(way, settings, metrics.clone());
    let (tracer, spans) = match settings.traces {
        true => {
            let (tracer, spans) = Tracer::new(seeds(), settings.sample, carrier.metrics.clone());
            (tracer, Some(spans))
        }
        false => (Tracer::off(), None),
    };
    let told = settings.traceparent_to.iter().map(|host| (host.name(), host.port()));
    let tracing = Tracing::new(tracer, told);
    let sources = Sources { spans, copies, every: settings.metrics, levels };
    let shown = carrier.authorization.clone();
    let (stop, stopping) = watch::channel(false);
    let (done, ended) = channel();
    let run = move || {
        let Ok(runtime) = Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(carrier.carry_all(sources, stopping));
        let _ = done.send(());
    };
    let thread = std::thread::Builder::new().name("export".to_owned());
    thread.spawn(run).map_err(|_| StartError::Threads)?;
    let export = Export(Some(Running { shown, stop, done: Mutex::new(ended) }));
    Ok((tracing, Arc::new(export)))
}

impl Export {
    /// What the collector is shown from now on.
    pub(super) fn show(&self, authorization: Option<HeaderValue>) {
        if let Some(running) = &self.0 {
            *running.shown.lock().unwrap_or_else(PoisonError::into_inner) = authorization;
        }
    }

    /// Sends what waits, and waits for that, but not for long: the process is about to end.
    pub(super) fn close(&self) {
        let Some(running) = &self.0 else { return };
        let _ = running.stop.send(true);
        let done = running.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(FAREWELL);
    }
}

/// The way to the collector. Nothing that is asked for can fail later but threads.
pub(super) struct Way {
    upstreams: Upstreams,
    target: Target,
}

impl Way {
    pub(super) fn to_collector(config: &Config, settings: &Telemetry) -> Result<Self, Unusable> {
        let own = settings.ca_file.is_some();
        let ca_file = settings.ca_file.as_ref().or(config.upstream.ca_file.as_ref()).cloned();
        let timeout = settings.timeout;
        let terms = Terms { connect: timeout, tls: timeout, total: timeout, ..Terms::default() };
        let upstreams = Upstreams::new(&UpstreamTls { ca_file, ..UpstreamTls::default() }, terms)
            .map_err(|error| {
            let key = if own { "telemetry.ca_file" } else { "upstream.ca_file" };
            Unusable { key: key.to_owned(), why: error.to_string() }
        })?;
        let collector = &settings.collector;
        let target = Target::new(&collector.host, collector.port, collector.tls);
        let target = target.map_err(|_| Unusable {
            key: "telemetry.endpoint".to_owned(),
            why: "is no host that could be called".to_owned(),
        })?;
        Ok(Self { upstreams: upstreams.with_answer_max(ANSWER_MAX), target })
    }
}

/// Who carries telemetry to the collector.
struct Carrier {
    way: Way,
    path: String,
    authorization: Shown,
    metrics: Arc<Metrics>,
    speaker: Speaker,
}

impl Carrier {
    fn new(way: Way, settings: &Telemetry, metrics: Arc<Metrics>) -> Self {
        Self {
            way,
            path: settings.collector.path.clone(),
            authorization: Arc::new(Mutex::new(settings.authorization.clone())),
            metrics,
            speaker: Speaker { name: settings.name.clone(), instance: instance() },
        }
    }

    /// Each kind goes its own way: one that is taken later does not hold up another.
    async fn carry_all(
        self,
        sources: Sources<impl Fn() -> Levels>,
        stopping: watch::Receiver<bool>,
    ) {
        let Sources { spans, copies, every, levels } = sources;
        let traces = async {
            let Some(spans) = spans else { return };
            self.carry(Signal::Traces, EVERY, || self.spans(&spans), stopping.clone()).await;
        };
        let metrics = async {
            let Some(every) = every else { return };
            let batch = || Some(self.figures(&levels()));
            self.carry(Signal::Metrics, every, batch, stopping.clone()).await;
        };
        let logs = async {
            let Some(copies) = copies else { return };
            self.carry(Signal::Logs, EVERY, || self.lines(&copies), stopping.clone()).await;
        };
        tokio::join!(traces, metrics, logs);
    }

    fn lines(&self, copies: &Copies) -> Option<Batch> {
        let (lines, lost) = copies.take(LINES);
        self.metrics.export_lost(Signal::Logs, lost);
        let count = lines.iter().filter(|byte| **byte == b'\n').count();
        let more = count == LINES;
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let bytes = || otlp::logs(&self.speaker, &lines, since_1970());
        (count > 0).then(|| Batch { bytes: bytes(), count, more })
    }

    fn spans(&self, waiting: &Receiver<Span>) -> Option<Batch> {
        let spans: Vec<Span> = waiting.try_iter().take(SPANS).collect();
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        let more = spans.len() == SPANS;
        (count > 0).then(|| Batch { bytes: otlp::traces(&self.speaker, &spans), count, more })
    }

    fn figures(&self, levels: &Levels) -> Batch {
        let bytes = self.metrics.export(&self.speaker, levels, since_1970());
        Batch { bytes, count: 1, more: false }
    }

    /// Takes away what has gathered, at intervals and once more at the end.
    async fn carry(
        &self,
        signal: Signal,
        every: Duration,
        next: impl Fn() -> Option<Batch>,
        mut stopping: watch::Receiver<bool>,
    ) {
        loop {
            let stopped = tokio::time::timeout(every, stopping.wait_for(|stop| *stop)).await;
            while let Some(batch) = next() {
                let more = batch.more;
                let lost = self.deliver(signal, batch).await;
                self.metrics.export_lost(signal, lost);
                if !more {
                    break;
                }
            }
            if stopped.is_ok() {
                return;
            }
        }
    }

    /// Brings a batch to the collector; how much of it is lost.
    async fn deliver(&self, signal: Signal, batch: Batch) -> u64 {
        for pause in PAUSES {
            match self.send(signal, batch.bytes.clone()).await {
                Sent::Taken { but } => return but.min(batch.count),
                Sent::Refused => return batch.count,
                Sent::Later => tokio::time::sleep(pause).await,
            }
        }
        match self.send(signal, batch.bytes).await {
            Sent::Taken { but } => but.min(batch.count),
            Sent::Refused | Sent::Later => batch.count,
        }
    }

    async fn send(&self, signal: Signal, body: Vec<u8>) -> Sent {
        let value = HeaderValue::from_static;
        let agent = value(concat!("portcullis/", env!("CARGO_PKG_VERSION")));
        let mut headers: Vec<(HeaderName, HeaderValue)> =
            vec![(CONTENT_TYPE, value("application/x-protobuf")), (USER_AGENT, agent)];
        let shown = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        headers.extend(shown.map(|shown| (AUTHORIZATION, shown)));
        let outgoing = Outgoing {
            method: Method::POST,
            path_and_query: format!("{}/v1/{}", self.path, signal.as_str()),
            headers,
            body: CleartextBody::from(body),
        };
        // Whoever runs Portcullis names the collector: it may be anywhere.
        let policy = AddressPolicy { allow_private: true };
        match self.way.upstreams.send(&self.way.target, policy, outgoing).await {
            Ok(answer) => match answer.status {
                200..300 => Sent::Taken { but: otlp::rejected(answer.body.as_bytes()) },
                429 | 502 | 503 | 504 => Sent::Later,
                _ => Sent::Refused,
            },
            Err(_) => Sent::Later,
        }
    }
}

/// What became of one try.
enum Sent {
    /// The collector has it, but for so many.
    Taken { but: u64 },
    /// It wants it later, or is not there.
    Later,
    /// It does not want it.
    Refused,
}

fn seeds() -> [u64; 3] {
    [(); 3].map(|()| {
        let mut seed = [0; 8];
        fill_random(&mut seed);
        u64::from_ne_bytes(seed)
    })
}

/// Letters, as in the ids of requests: nobody takes them for a card number.
fn instance() -> String {
    let mut random = [0; 12];
    fill_random(&mut random);
    random.iter().map(|byte| char::from(b'a' + byte % 26)).collect()
}
