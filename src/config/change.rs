//! What a running process can take on from a new configuration, and what needs a restart.
//!
//! Whatever is not named here needs one: a key that somebody adds is never ignored while serving.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::audit::AnchorKey;

use super::{Config, Problem, Resolved};

/// Keys, and tables with all of their keys, that a running process takes on.
const LIVE: &[&str] = &[
    "account",
    "app",
    "intake",
    "limits",
    "private.certificate",
    "private.client_ca",
    "private.key",
    "providers",
    "public.certificate",
    "public.hop_field",
    "public.key",
    "public.trusted_hops",
    "public.url",
    "rates",
    "telemetry.authorization",
    "upstream",
    "vault.root_key",
    "vault.root_keys",
];

const RESTART: &str = "needs a restart to change";

/// Whether a change of this key needs a restart.
#[must_use]
pub fn needs_restart(key: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.starts_with(['.', '[']);
    !LIVE.iter().any(|live| key.strip_prefix(live).is_some_and(below))
}

/// What a running process cannot take back: with which values it was started, and what the names
/// that its vault knows stand for.
#[derive(Debug)]
pub struct Fixed {
    values: BTreeMap<String, String>,
    audit_key: Option<AnchorKey>,
    /// Ports that the kernel lets it connect to, where it asks.
    ports: Option<BTreeSet<u16>>,
    /// Whether it may choose the address that its connections come from.
    leaves_from_own: bool,
    /// Every account and application that there ever was, and what it may not become.
    names: Names,
}

/// What names something that records in the vault belong to: its kind, and the name.
type Named = (String, String);

/// Every name that records in the vault may belong to, and what it stands for, as it is now.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<BTreeMap<Named, String>>>);

impl Names {
    /// All of them, for the process that takes the records over: texts behind their lengths.
    #[must_use]
    pub fn write(&self) -> Vec<u8> {
        let known = self.known();
        let texts = known.iter().flat_map(|((kind, name), is)| [kind, name, is]);
        let mut bytes = Vec::new();
        for text in texts {
            // One that is longer is read as malformed.
            let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        bytes
    }

    fn read(mut bytes: &[u8]) -> Option<BTreeMap<Named, String>> {
        let mut names = BTreeMap::new();
        while !bytes.is_empty() {
            let named = (text(&mut bytes)?, text(&mut bytes)?);
            names.insert(named, text(&mut bytes)?);
        }
        Some(names)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Named, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fixed {
    /// Of a process that starts with this; `ports_are_closed` when the kernel lets it connect to no
    /// others than `config` calls.
    #[must_use]
    pub fn of(config: &Config, ports_are_closed: bool) -> Self {
        let audit_key = config.audit.as_ref().map(|audit| audit.key.clone());
        let ports = ports_are_closed.then(|| config.called().map(|(_, port)| port).collect());
        let leaves_from_own = !ports_are_closed || config.upstream.way_out.leaves_from_own();
        let (values, names) = (fixed(config), Names::default());
        let fixed = Self { values, audit_key, ports, leaves_from_own, names };
        fixed.learn(config);
        fixed
    }

    /// Everything in `config` that needs a restart.
    #[must_use]
    pub fn refuses(&self, config: &Config) -> Vec<Problem> {
        let mut problems = self.changed_values(config);
        let key_of = |config: &Config| config.audit.as_ref().map(|audit| audit.key.clone());
        if problems.is_empty() && key_of(config) != self.audit_key {
            problems.push(config.problem("audit.key", RESTART));
        }
        problems.extend(self.closed_ports(config));
        if config.upstream.way_out.leaves_from_own() && !self.leaves_from_own {
            let message = "was not set at the start, where the process closed it to itself: needs a \
                           restart";
            problems.push(config.problem("upstream.egress_addresses", message));
        }
        problems.extend(changed_names(&self.names.known(), config));
        problems
    }

    /// Remembers the names of a configuration that is in use from now on.
    pub fn learn(&self, config: &Config) {
        self.names
            .known()
            .extend(named(config).map(|(named, (_, stands_for))| (named, stands_for)));
    }

    /// The names that are remembered, now and later.
    #[must_use]
    pub fn names(&self) -> Names {
        self.names.clone()
    }

    /// Remembers the names of the process whose records come here, too. Nothing when these are no
    /// names.
    ///
    /// # Errors
    /// Everything in `config` that is another one there, under the same name.
    #[must_use]
    pub fn inherit(&self, names: &[u8], config: &Config) -> Option<Result<(), Vec<Problem>>> {
        let before = Names::read(names)?;
        let problems = changed_names(&before, config);
        if !problems.is_empty() {
            return Some(Err(problems));
        }
        self.names.known().extend(before);
        Some(Ok(()))
    }

    fn changed_values(&self, config: &Config) -> Vec<Problem> {
        let values = fixed(config);
        let keys: BTreeSet<_> = self.values.keys().chain(values.keys()).collect();
        let changed = keys.into_iter().filter(|key| self.values.get(*key) != values.get(*key));
        changed.map(|key| config.problem(key, RESTART)).collect()
    }

    fn closed_ports(&self, config: &Config) -> Vec<Problem> {
        let Some(ports) = &self.ports else { return Vec::new() };
        let closed = config.called().filter(|(_, port)| !ports.contains(port));
        let message =
            "calls a port that the process closed to itself at its start: needs a restart";
        closed.map(|(key, _)| config.problem(&key, message)).collect()
    }
}

fn changed_names(names: &BTreeMap<Named, String>, config: &Config) -> Vec<Problem> {
    let changed = named(config)
        .filter(|(named, (_, is))| names.get(named).is_some_and(|before| before != is));
    let message = "is another one than before under the same name, and records of it may live: \
                   needs a new name, or a restart that takes nothing over";
    changed.map(|(_, (key, _))| config.problem(&key, message)).collect()
}

/// Takes a text behind its length off the front.
fn text(bytes: &mut &[u8]) -> Option<String> {
    let (length, rest) = bytes.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).ok()
}

/// Values that need a restart.
fn fixed(config: &Config) -> BTreeMap<String, String> {
    let fixed = config.resolved.iter().filter(|value| needs_restart(&value.key));
    fixed.map(|Resolved { key, value, .. }| (key.clone(), value.clone())).collect()
}

/// Accounts and applications: the key to speak of, and what they stand for.
fn named(config: &Config) -> impl Iterator<Item = (Named, (String, String))> {
    let apps = config.apps.iter().enumerate().map(|(index, app)| {
        let named = ("app".to_owned(), app.tenant.as_str().to_owned());
        (named, (format!("app[{index}].mode"), app.mode.as_str().to_owned()))
    });
    let accounts = config.registry.accounts().enumerate().flat_map(|(index, account)| {
        let of = |kind: &str, key: &str, stands_for| {
            let named = (kind.to_owned(), account.name.to_string());
            (named, (format!("account[{index}].{key}"), stands_for))
        };
        [
            of("account", "mode", account.mode.as_str().to_owned()),
            of("provider", "provider", account.profile.name.clone()),
        ]
    });
    apps.chain(accounts)
}

impl Config {
    /// What is wrong with a key, or with the first value below it, and where it stands.
    #[must_use]
    pub fn problem(&self, key: &str, message: &str) -> Problem {
        let is = |value: &&Resolved| value.key == key;
        let is_below = |value: &&Resolved| {
            value.key.strip_prefix(key).is_some_and(|rest| rest.starts_with(['.', '[']))
        };
        let mut values = self.resolved.iter();
        let found = values.find(is).or_else(|| self.resolved.iter().find(is_below));
        Problem {
            file: self.file.clone(),
            line: found.map_or(0, |value| value.line),
            key: key.to_owned(),
            message: message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::needs_restart;

    #[test]
    fn a_table_is_live_with_all_of_its_keys_and_nothing_that_only_begins_like_it() {
        for live in ["app[0].name", "rates.card", "providers", "vault.root_keys[1].key.file"] {
            assert!(!needs_restart(live), "{live}");
        }
        for fixed in ["public.address", "application", "vault.capacity", "", "apps[0].name"] {
            assert!(needs_restart(fixed), "{fixed}");
        }
    }
}
