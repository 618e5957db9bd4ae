//! The way to a stop: first everybody is asked to go elsewhere, and still served; then nobody new
//! is heard, and the process ends when nothing runs any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::audit::Audit;
use crate::card::Timestamp;
use crate::process::Supervisor;
use crate::proxy::accept::Open;
use crate::proxy::desk::Desks;
use crate::proxy::drain::Drain;
use crate::telemetry::{Event, Log};

use super::begin::Begin;
use super::export::Export;
use super::reload::next;
use super::upgrade::Over;

/// Has serving begin; then waits for a signal that ends the process, or for an operator who asks it
/// to stop.
pub(super) struct Stop {
    pub(super) begin: Arc<Begin>,
    pub(super) drain: Arc<Drain>,
    /// How long everybody is still served.
    pub(super) grace: Duration,
    pub(super) log: Arc<Log>,
    pub(super) supervisor: Arc<Supervisor>,
    /// Told when the signals no longer end the process at once.
    pub(super) heard: Arc<Notify>,
    /// Another process serves: nobody is to be asked to go.
    pub(super) over: Over,
}

#[async_trait]
impl ShutdownSignalWatch for Stop {
    async fn recv(&self) -> ShutdownSignal {
        let [mut terminate, mut interrupt, mut quit] =
            [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::quit()]
                .map(|kind| signal(kind).ok());
        // Pingora has made every thread when it asks for this.
        if !self.begin.begin() {
            return ShutdownSignal::FastShutdown;
        }
        self.heard.notify_one();
        let mut asked_by_call = false;
        tokio::select! {
            () = either(&mut terminate, &mut quit) => {}
            () = self.drain.begun() => asked_by_call = true,
            () = next(&mut interrupt) => {
                self.supervisor.stopping();
                return ShutdownSignal::FastShutdown;
            }
            // Said of the process that serves now, if both are of one unit: it is not said.
            () = self.over.over() => return ShutdownSignal::GracefulTerminate,
        }
        self.supervisor.stopping();
        self.drain.begin();
        self.log.write(&Event::Draining { seconds: self.grace.as_secs() });
        let hurried = async {
            // What stops processes sends its signal after its hook has called.
            if asked_by_call {
                either(&mut terminate, &mut quit).await;
            }
            // Whoever asks twice is in a hurry.
            either(&mut terminate, &mut quit).await;
        };
        tokio::select! {
            () = sleep(self.grace) => {}
            () = hurried => {}
            () = next(&mut interrupt) => return ShutdownSignal::FastShutdown,
            () = self.over.over() => {}
        }
        ShutdownSignal::GracefulTerminate
    }
}

/// SIGTERM, or SIGQUIT, which some send for a stop that finishes what runs.
async fn either(terminate: &mut Option<Signal>, quit: &mut Option<Signal>) {
    tokio::select! {
        () = next(terminate) => {}
        () = next(quit) => {}
    }
}

/// How often it is looked whether anything runs.
const LOOK: Duration = Duration::from_millis(20);

/// Ends the process when it was asked to stop and nothing runs any more. Pingora alone would wait
/// out the whole period.
pub(super) struct Ending {
    pub(super) open: Vec<Open>,
    /// A sale whose client is gone has no connection, and is to end, too.
    pub(super) desks: Arc<Desks>,
    /// Whether the process before this one still finishes, with this one's vault and record.
    pub(super) before: Option<Arc<AtomicBool>>,
    pub(super) last: Last,
}

/// Where the last lines go.
#[derive(Clone)]
pub(super) struct Last {
    pub(super) log: Arc<Log>,
    pub(super) audit: Arc<Audit>,
    pub(super) export: Arc<Export>,
}

impl Last {
    pub(super) fn lines(&self) {
        self.audit.close(Timestamp::system());
        self.log.write(&Event::Stopped);
        self.log.flush();
        self.export.close();
    }
}

impl Ending {
    /// Connections first: a request holds a desk before its connection can be gone.
    fn runs(&self) -> bool {
        self.open.iter().any(|open| open.connections() > 0)
            || self.desks.held() > 0
            || self.before.as_ref().is_some_and(|before| before.load(Ordering::Acquire))
    }
}

#[async_trait]
impl BackgroundService for Ending {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        while !*shutdown.borrow() {
            if shutdown.changed().await.is_err() {
                return;
            }
        }
        // Not at once: what was accepted last is about to take its place.
        sleep(LOOK).await;
        while self.runs() {
            sleep(LOOK).await;
        }
        self.last.lines();
        std::process::exit(0);
    }
}
