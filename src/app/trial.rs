//! What a start makes of a configuration before it takes anything from the machine: TLS of the
//! listeners, keys, the ways out, the way to a collector. `check` makes the same and throws it
//! away, so that it says no where `run` would.
//!
//! Must never: take a port that is configured, call anybody, or write.

use crate::config::{Config, Listen, Problem};
use crate::proxy::tls::TlsSetup;
use crate::vault::{Keyring, KeyringError};

use super::export::Way;
use super::reload::{of_keys, of_listener, versioned};
use super::serving::{self, Ways};

/// What was made.
pub(super) struct Made {
    pub(super) public_tls: TlsSetup,
    pub(super) private_tls: TlsSetup,
    pub(super) ways: Ways,
    /// To the collector, where there is one.
    pub(super) way: Option<Way>,
}

/// Why Portcullis would not start with this configuration; nothing when it would, as far as the
/// files that it names and the addresses of the machine tell. Takes the shops out of it.
pub fn problems(config: &mut Config) -> Vec<Problem> {
    let keyring = keyring(config).err().map(|error| of_keys(config, error).problem);
    keyring.into_iter().chain(make(config).err().into_iter().flatten()).collect()
}

/// The keys that are at hand. Those that people type in are looked at when they have done so.
fn keyring(config: &Config) -> Result<(), KeyringError> {
    let mut read = versioned(&config.root_keys);
    read.retain(|(_, key)| key.is_some());
    if read.is_empty() { Ok(()) } else { Keyring::of(&read).map(drop) }
}

/// All of it, or everything that cannot be used. Takes the shops out of the configuration.
pub(super) fn make(config: &mut Config) -> Result<Made, Vec<Problem>> {
    let public = tls("public", &config.public, config);
    let private = tls("private", &config.private, config);
    let way = config.telemetry.as_ref().map(|settings| Way::to_collector(config, settings));
    let way = way.transpose().map_err(|unusable| unusable.problem(config));
    match (public, private, way, Ways::of(config)) {
        (Ok(public_tls), Ok(private_tls), Ok(way), Ok(ways)) => {
            Ok(Made { public_tls, private_tls, ways, way })
        }
        (public, private, way, ways) => {
            let wrong = [public.err(), private.err(), way.err()].into_iter().flatten();
            Err(wrong.chain(ways.err().into_iter().flatten()).collect())
        }
    }
}

fn tls(which: &str, listen: &Listen, config: &Config) -> Result<TlsSetup, Problem> {
    TlsSetup::load(serving::tls_files(listen))
        .map_err(|error| of_listener(config, which, error).problem)
}
