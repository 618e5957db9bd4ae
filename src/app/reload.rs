//! What changes while serving: SIGHUP and `POST /reload` have the whole configuration read anew;
//! certificates, their keys and client authorities are taken up when their files change.
//!
//! Everything is read and checked first, then put in place of what is in use, which requests under
//! way keep to their end. Whatever cannot be used leaves all of it as it is. One change at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Mutex, Notify, mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::{KeySource, NotRecorded, Record};
use crate::card::Timestamp;
use crate::config::{self, Caps, Config, Fixed, Problem, RootKey};
use crate::pci::digest;
use crate::proxy::accept::Open;
use crate::proxy::admin::Outcome;
use crate::proxy::desk::Desks;
use crate::proxy::tls::{Fresh, News, TlsError, TlsFiles, TlsSetup};
use crate::telemetry::{Event, Refusal, Warning};
use crate::vault::{KeyringError, Rotation, Versioned};

use super::serving::{self, Lasting, Ways};
use super::watch::{LOOK, Watch};

/// The name of the whole in metrics; listeners have their own.
const CONFIGURATION: &str = "configuration";

/// Waits for SIGHUP and for operators, on a thread that serves nobody.
pub(super) struct Reload {
    /// The configuration.
    file: PathBuf,
    lasting: Lasting,
    desks: Arc<Desks>,
    listeners: [(&'static str, TlsSetup); 2],
    open: Vec<Open>,
    /// Told when the signals that stop the process are heard.
    stops: Arc<Notify>,
    state: Mutex<State>,
}

struct State {
    fixed: Fixed,
    watches: [Watch; 2],
    asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
}

/// Something that cannot be used.
pub(super) struct Wrong {
    pub(super) problem: Problem,
    reason: Refusal,
}

/// A configuration that can be used, and is not yet.
struct Ready {
    ways: Ways,
    tls: Vec<Fresh>,
    config: Config,
}

impl Reload {
    pub(super) fn new(
        file: PathBuf,
        fixed: Fixed,
        lasting: Lasting,
        desks: Arc<Desks>,
        listeners: [(&'static str, TlsSetup); 2],
        open: Vec<Open>,
        asked: mpsc::Receiver<oneshot::Sender<Outcome>>,
    ) -> Self {
        let names = listeners.iter().map(|(listener, _)| *listener);
        names.chain([CONFIGURATION]).for_each(|of| lasting.metrics.may_change(of));
        let state = Mutex::new(State { fixed, watches: Default::default(), asked });
        let stops = Arc::default();
        Self { file, lasting, desks, listeners, open, stops, state }
    }

    /// What it waits for before it says that it is ready.
    pub(super) fn stops(&self) -> Arc<Notify> {
        self.stops.clone()
    }
}

#[async_trait]
impl BackgroundService for Reload {
    /// Ready only when neither its signal nor those that stop the process end it at once.
    async fn start_with_ready_notifier(
        &self,
        mut shutdown: ShutdownWatch,
        ready: ServiceReadyNotifier,
    ) {
        let mut hangups = signal(SignalKind::hangup()).ok();
        self.stops.notified().await;
        ready.notify_ready();
        if hangups.is_none() {
            self.lasting.log.write(&Event::Warned { warning: Warning::NoReload });
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut state = self.state.lock().await;
        loop {
            let State { fixed, watches, asked } = &mut *state;
            tokio::select! {
                _ = looks.tick() => self.look(watches),
                () = next(&mut hangups) => drop(self.read_again(fixed).await),
                Some(answer) = asked.recv() => drop(answer.send(self.read_again(fixed).await)),
                _ = shutdown.changed() => break,
            }
        }
        // Whoever still asks is answered that nobody reads any more.
        state.asked.close();
        while state.asked.try_recv().is_ok() {}
    }
}

/// The next signal; never, where the system does not let us wait for it.
pub(super) async fn next(signals: &mut Option<Signal>) {
    match signals {
        Some(signals) => drop(signals.recv().await),
        None => std::future::pending().await,
    }
}

impl Reload {
    async fn read_again(&self, fixed: &Fixed) -> Outcome {
        self.lasting.supervisor.reloading();
        let outcome = match self.prepare(fixed) {
            Ok(ready) => self.take(ready, fixed).await,
            Err(wrongs) => Err(wrongs),
        };
        self.lasting.supervisor.reloaded(outcome.is_ok());
        self.lasting.metrics.changed(CONFIGURATION, outcome.is_ok());
        match outcome {
            Ok(digest) => {
                Outcome { taken: true, document: document(&Taken { configuration: &digest }) }
            }
            Err(wrongs) => {
                wrongs.iter().for_each(|wrong| self.refuse(wrong));
                Outcome { taken: false, document: document(&Refused::of(&wrongs)) }
            }
        }
    }

    /// Reads and checks everything. Nothing changes.
    fn prepare(&self, fixed: &Fixed) -> Result<Ready, Vec<Wrong>> {
        let config = config::load(&self.file);
        let mut config = config.map_err(|problems| all(problems, Refusal::Unusable))?;
        let problems = fixed.refuses(&config);
        if !problems.is_empty() {
            return Err(all(problems, Refusal::NeedsRestart));
        }
        let would = self.lasting.vault.would_rotate(&versioned(&config.root_keys));
        would.map_err(|error| vec![of_keys(&config, error)])?;
        let files = [&config.public, &config.private].map(serving::tls_files);
        let now = Timestamp::system();
        let tls = self.listeners.iter().zip(files).map(|((listener, tls), files)| {
            tls.prepare(files, now).map_err(|error| vec![of_listener(&config, listener, error)])
        });
        let tls = tls.collect::<Result<Vec<_>, _>>()?;
        // Takes the shops out, which are looked at no more.
        let ways = Ways::of(&mut config).map_err(|problems| all(problems, Refusal::Unusable))?;
        Ok(Ready { ways, tls, config })
    }

    /// Puts it in place of what is in use, once the audit record says so. Returns its digest.
    async fn take(&self, ready: Ready, fixed: &Fixed) -> Result<String, Vec<Wrong>> {
        let Ready { ways, tls, mut config } = ready;
        let (now, digest) = (Timestamp::system(), digest(&config));
        let configured = Record::Configured { digest, dangers: &config.dangers };
        let recorded = self.lasting.audit.record(&configured, now).await;
        recorded.map_err(|error @ NotRecorded| {
            let problem = config.problem("audit.folder", &error.to_string());
            vec![Wrong { problem, reason: Refusal::NotRecorded }]
        })?;
        let root_keys = std::mem::take(&mut config.root_keys);
        let rotated = self.lasting.vault.rotate(&versioned(&root_keys), now);
        let rotation = rotated.map_err(|error| {
            self.lasting.audit.note(&Record::NotConfigured { digest }, now);
            vec![of_keys(&config, error)]
        })?;
        fixed.learn(&config);
        let (caps, dangers) = (config.caps, std::mem::take(&mut config.dangers));
        let collector = config.telemetry.take();
        self.lasting.export.show(collector.and_then(|settings| settings.authorization));
        let lasting = self.lasting.clone();
        self.desks.replace(serving::successor(config, ways, lasting, &self.desks.now()));
        self.hold_to(&caps);
        self.tell(&rotation);
        for ((listener, setup), fresh) in self.listeners.iter().zip(tls) {
            self.tell_news(listener, setup, setup.take(fresh));
        }
        let digest = digest.to_string();
        self.lasting.metrics.dangers(&dangers);
        self.lasting.log.write(&Event::ConfigurationRead { digest: &digest, dangers: &dangers });
        Ok(digest)
    }

    fn hold_to(&self, caps: &Caps) {
        let (deadlines, caps) = serving::terms(caps);
        self.open.iter().for_each(|open| open.hold_to(deadlines, caps));
    }

    fn tell(&self, rotation: &Rotation) {
        let Rotation { current, new_id, older, removed } = rotation;
        if let Some(key_id) = new_id {
            let keyed = Record::Keyed { source: KeySource::Configured, key_id };
            self.lasting.audit.note(&keyed, Timestamp::system());
        }
        self.lasting.log.write(&Event::RootKeysRead { current: *current, older });
        for (version, live_records) in removed {
            let (version, live_records) = (*version, *live_records);
            self.lasting.log.write(&Event::RootKeyRemoved { version, live_records });
        }
    }

    /// Takes up certificates, keys and authorities whose files are others now.
    fn look(&self, watches: &mut [Watch; 2]) {
        for ((listener, tls), watch) in self.listeners.iter().zip(watches) {
            let files = tls.files();
            let TlsFiles { certificate, key, client_ca } = files.clone();
            let watched: Vec<_> = [certificate, key].into_iter().chain(client_ca).collect();
            let now = Instant::now();
            if !watch.look(&watched, now) {
                continue;
            }
            let prepared = match config::is_open_to_all(&files.key) {
                true => Err(TlsError::KeyOpen),
                false => tls.prepare(files.clone(), Timestamp::system()),
            };
            match prepared {
                Ok(fresh) => {
                    watch.taken();
                    self.tell_news(listener, tls, tls.take(fresh));
                }
                Err(error) if !watch.refused(error, now) => {}
                Err(error) => {
                    self.lasting.metrics.changed(listener, false);
                    self.refuse(&of_files(files, listener, error));
                }
            }
        }
    }

    fn tell_news(&self, listener: &'static str, tls: &TlsSetup, news: News) {
        match news.any() {
            true => self.lasting.metrics.changed(listener, true),
            false => self.lasting.metrics.unchanged(listener),
        }
        if news.certificate {
            super::tell_end(&self.lasting.metrics, listener, tls);
            let certified = Record::Certified { listener, digest: tls.digest() };
            self.lasting.audit.note(&certified, Timestamp::system());
            self.lasting.log.write(&Event::CertificateRead { listener });
        }
        if news.authorities {
            self.lasting.log.write(&Event::AuthoritiesRead { listener });
        }
    }

    fn refuse(&self, wrong: &Wrong) {
        let Wrong { problem, reason } = wrong;
        self.lasting.log.write(&Event::ReloadRefused {
            file: &problem.file.display().to_string(),
            line: problem.line,
            key: &problem.key,
            reason: *reason,
            message: &problem.message,
        });
    }
}

fn all(problems: Vec<Problem>, reason: Refusal) -> Vec<Wrong> {
    problems.into_iter().map(|problem| Wrong { problem, reason }).collect()
}

pub(super) fn versioned(keys: &[RootKey]) -> Vec<Versioned<'_>> {
    keys.iter().map(|root| (root.version, root.read())).collect()
}

pub(super) fn of_keys(config: &Config, error: KeyringError) -> Wrong {
    let (version, reason) = match error {
        KeyringError::KeyLength(version)
        | KeyringError::DuplicateVersion(version)
        | KeyringError::SameKey(version) => (Some(version), Refusal::Unusable),
        KeyringError::Changed(version) => (Some(version), Refusal::Changed),
        KeyringError::NotAtHand(version) => (Some(version), Refusal::TypedAtStart),
        KeyringError::Missing => (None, Refusal::Missing),
        KeyringError::HandedOver => (None, Refusal::HandedOver),
    };
    let found = config.root_keys.iter().find(|root| Some(root.version) == version);
    let key = found.map_or("vault.root_key", |root| &root.path);
    Wrong { problem: config.problem(key, &error.to_string()), reason }
}

pub(super) fn of_listener(config: &Config, listener: &str, error: TlsError) -> Wrong {
    let (key, reason) = told(error);
    Wrong { problem: config.problem(&format!("{listener}.{key}"), &error.to_string()), reason }
}

/// The same when nobody looked at the configuration: the file itself is named.
fn of_files(files: TlsFiles, listener: &str, error: TlsError) -> Wrong {
    let (key, reason) = told(error);
    let file = match key {
        "key" => files.key,
        "client_ca" => files.client_ca.unwrap_or_default(),
        _ => files.certificate,
    };
    let (key, message) = (format!("{listener}.{key}"), error.to_string());
    Wrong { problem: Problem { file, line: 0, key, message }, reason }
}

/// The key of a listener that a fault is about.
const fn told(error: TlsError) -> (&'static str, Refusal) {
    match error {
        TlsError::Mismatch => ("key", Refusal::Mismatch),
        TlsError::Key | TlsError::KeyOpen => ("key", Refusal::Unusable),
        TlsError::Time => ("certificate", Refusal::NotValid),
        TlsError::Authorities => ("client_ca", Refusal::Unusable),
        TlsError::Certificate | TlsError::Name | TlsError::Configuration => {
            ("certificate", Refusal::Unusable)
        }
    }
}

/// The answer when a change is in use.
#[derive(Serialize)]
struct Taken<'t> {
    configuration: &'t str,
}

/// The answer when it is not: a problem document (RFC 9457).
#[derive(Serialize)]
struct Refused<'w> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'static str,
    code: &'static str,
    errors: Vec<Told<'w>>,
}

#[derive(Serialize)]
struct Told<'w> {
    file: String,
    #[serde(skip_serializing_if = "is_none")]
    line: usize,
    key: &'w str,
    reason: Refusal,
    detail: &'w str,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_none(line: &usize) -> bool {
    *line == 0
}

impl<'w> Refused<'w> {
    fn of(wrongs: &'w [Wrong]) -> Self {
        let told = wrongs.iter().map(|Wrong { problem, reason }| Told {
            file: problem.file.display().to_string(),
            line: problem.line,
            key: &problem.key,
            reason: *reason,
            detail: &problem.message,
        });
        Self {
            r#type: "urn:portcullis:problem:configuration_refused",
            title: "The configuration was not taken",
            status: 422,
            detail: "Nothing has changed; what was in use before stays in use.",
            code: "configuration_refused",
            errors: told.collect(),
        }
    }
}

fn document(answer: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(answer).unwrap_or_default()
}
