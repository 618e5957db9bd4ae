//! What changes while serving: SIGHUP has root keys and certificates read anew. Whatever cannot be
//! used leaves what is in use as it is.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{SignalKind, signal};

use crate::audit::{Audit, KeySource, Record};
use crate::card::Timestamp;
use crate::config::{self, RootKey};
use crate::proxy::tls::{TlsError, TlsSetup};
use crate::telemetry::{Event, Log, Metrics, Refusal, Warning};
use crate::vault::{KeyringError, Rotation, Vault, Versioned};

/// Waits for SIGHUP, on a thread that serves nobody.
pub(super) struct Reload {
    /// The configuration.
    pub(super) file: PathBuf,
    pub(super) vault: Arc<Vault>,
    pub(super) listeners: [(&'static str, TlsSetup); 2],
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Arc<Log>,
    pub(super) audit: Arc<Audit>,
}

#[async_trait]
impl BackgroundService for Reload {
    /// Ready only when the signal no longer ends the process.
    async fn start_with_ready_notifier(
        &self,
        mut shutdown: ShutdownWatch,
        ready: ServiceReadyNotifier,
    ) {
        let hangups = signal(SignalKind::hangup());
        ready.notify_ready();
        let Ok(mut hangups) = hangups else {
            self.log.write(&Event::Warned { warning: Warning::NoReload });
            return;
        };
        loop {
            tokio::select! {
                _ = hangups.recv() => self.read_again(),
                _ = shutdown.changed() => return,
            }
        }
    }
}

impl Reload {
    fn read_again(&self) {
        self.root_keys();
        for (listener, tls) in &self.listeners {
            match tls.reload() {
                Ok(()) => {
                    super::tell_end(&self.metrics, listener, tls);
                    self.log.write(&Event::CertificateRead { listener });
                }
                Err(error) => {
                    let (key, reason) = told(error);
                    self.refuse(&format!("{listener}.{key}"), reason);
                }
            }
        }
    }

    fn root_keys(&self) {
        let keys = match config::root_keys(&self.file) {
            Ok(keys) => keys,
            Err(problems) => {
                problems.iter().for_each(|problem| self.refuse(&problem.key, Refusal::Unusable));
                return;
            }
        };
        let versioned: Vec<Versioned<'_>> =
            keys.iter().map(|root| (root.version, root.read())).collect();
        match self.vault.rotate(&versioned, Timestamp::system()) {
            Ok(rotation) => self.tell(&rotation),
            Err(error) => {
                let (version, reason) = match error {
                    KeyringError::KeyLength(version) | KeyringError::DuplicateVersion(version) => {
                        (Some(version), Refusal::Unusable)
                    }
                    KeyringError::Changed(version) => (Some(version), Refusal::Changed),
                    KeyringError::NotAtHand(version) => (Some(version), Refusal::TypedAtStart),
                    KeyringError::Missing => (None, Refusal::Missing),
                };
                self.refuse(path(&keys, version), reason);
            }
        }
    }

    fn tell(&self, rotation: &Rotation) {
        let Rotation { current, new_id, older, removed } = rotation;
        if let Some(key_id) = new_id {
            let keyed = Record::Keyed { source: KeySource::Configured, key_id };
            self.audit.note(&keyed, Timestamp::system());
        }
        self.log.write(&Event::RootKeysRead { current: *current, older });
        for (version, live_records) in removed {
            let (version, live_records) = (*version, *live_records);
            self.log.write(&Event::RootKeyRemoved { version, live_records });
        }
    }

    fn refuse(&self, key: &str, reason: Refusal) {
        self.log.write(&Event::ReloadRefused { key, reason });
    }
}

/// Where the root key of this version stands in the configuration.
fn path(keys: &[RootKey], version: Option<u32>) -> &str {
    let found = keys.iter().find(|root| Some(root.version) == version);
    found.map_or("vault.root_key", |root| &root.path)
}

/// The key of a listener that a fault is about.
const fn told(error: TlsError) -> (&'static str, Refusal) {
    match error {
        TlsError::Mismatch => ("key", Refusal::Mismatch),
        TlsError::Key => ("key", Refusal::Unusable),
        TlsError::Certificate | TlsError::Authorities | TlsError::Configuration => {
            ("certificate", Refusal::Unusable)
        }
    }
}
