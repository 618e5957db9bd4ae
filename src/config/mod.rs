//! Text → types: the configuration file and the profiles that it names.
//!
//! [`load`] returns either a whole [`Config`] or every error with file, line and key; nothing in
//! between starts. No room knows this one.
//! Must never: ignore a key, or put a value into an error.

mod apart;
mod audit;
mod change;
mod credentials;
mod grants;
mod intake;
mod listener;
mod merchant;
pub mod profile;
mod rates;
mod reach;
mod reader;
mod root_keys;
mod secrets;
mod shares;
mod status;
mod telemetry;
mod upstream;

pub use change::{Fixed, Names, needs_restart};
pub use intake::Shop;
pub use listener::Listen;
pub use reader::{Problem, Resolved};
pub use root_keys::{RootKey, RootKeySource, new_root_key, read_root_key, root_keys};
pub use secrets::is_open_to_all;
pub use shares::{Gathering, SHARES_MAX, ShareError, new_root_key_shares};
pub use telemetry::{Collector, Telemetry};
pub use upstream::{Host, Upstream};

use std::collections::BTreeSet;
use std::fs::{File, Metadata};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::audit::Settings;
use crate::caller::Apps;
use crate::limit::{Concurrency, Rates};
use crate::process;
use crate::provider::{Profile, Registry};
use crate::proxy::address::Hops;
use crate::telemetry::Format;
use crate::vault::Limits;

use reader::{Notes, Table};

/// Everything that a running Portcullis needs to know.
#[derive(Debug)]
pub struct Config {
    /// Browsers, access control servers, provider callbacks.
    pub public: Listen,
    /// How the public listener is reached from outside.
    pub public_url: Url,
    /// The merchant's applications.
    pub private: Listen,
    /// Operators.
    pub admin: SocketAddr,
    /// Bounds and lives of what is kept.
    pub vault: Limits,
    /// Root keys; none when it is to be random.
    pub root_keys: Vec<RootKey>,
    /// How providers and applications are called.
    pub upstream: Upstream,
    /// Applications.
    pub apps: Apps,
    /// Accounts with their profiles.
    pub registry: Registry,
    /// Shops that Portcullis stands in front of.
    pub shops: Vec<Shop>,
    /// Profiles, whether used or not.
    pub profiles: Vec<Arc<Profile>>,
    /// Worker threads of each listener.
    pub threads: usize,
    /// Bounds of connections and requests.
    pub caps: Caps,
    /// How often something may happen.
    pub rates: Rates,
    /// Keys that each rate counts at most.
    pub rate_keys: usize,
    /// How much may be under way towards others.
    pub concurrency: Concurrency,
    /// Whose word about a client's address is taken on the public listener.
    pub hops: Hops,
    /// How long everybody is still served once a stop was asked for.
    pub drain: Duration,
    /// How long running requests get at shutdown.
    pub shutdown: Duration,
    /// How events are written.
    pub log: Format,
    /// Where telemetry is exported to, if anywhere.
    pub telemetry: Option<Telemetry>,
    /// The local socket at which a new process takes over, if any.
    pub upgrade: Option<PathBuf>,
    /// Where every reveal is recorded, if anywhere.
    pub audit: Option<Settings>,
    /// Which protections of the process are switched off.
    pub process: process::Dangers,
    /// The file itself.
    pub file: PathBuf,
    /// The file itself and every file that it names.
    pub files: BTreeSet<PathBuf>,
    /// Every value as it is used, for `check`.
    pub resolved: Vec<Resolved>,
    /// Keys that weaken protection: dangers that are on, rates that are off.
    pub dangers: Vec<String>,
}

impl Config {
    /// Whether events are written nowhere on this machine.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.log == Format::Off
    }
}

/// Bounds of connections and requests.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Connections of a listener.
    pub connections: usize,
    /// Connections of one client address (an IPv6 /64 counts as one).
    pub connections_per_address: usize,
    /// Whole TLS handshake.
    pub handshake: Duration,
    /// Whole request head.
    pub head: Duration,
    /// Whole request body.
    pub body: Duration,
    /// Between requests.
    pub idle: Duration,
}

/// Reads a configuration file and the profiles that it names.
pub fn load(file: &Path) -> Result<Config, Vec<Problem>> {
    let text = read_text(file)?;
    parse(file, text)
}

/// The same for a text that has been read; other files are found relative to `file`.
pub fn parse(file: &Path, text: String) -> Result<Config, Vec<Problem>> {
    let notes = Notes::new(file, text);
    let mut elsewhere = Vec::new();
    let config = notes.parse().and_then(|document| {
        let root = Table::root(&notes, &document);
        let config = config(&root, &mut elsewhere);
        root.finish();
        config
    });
    let files = notes.files();
    let (mut problems, resolved) = notes.into_parts();
    problems.append(&mut elsewhere);
    match config {
        Some(mut config) if problems.is_empty() => {
            config.dangers = dangers(&resolved);
            config.resolved = resolved;
            config.file = file.to_owned();
            config.files = files;
            Ok(config)
        }
        _ => Err(problems),
    }
}

pub(crate) fn read_text(file: &Path) -> Result<String, Vec<Problem>> {
    let problem =
        |line, message| vec![Problem { file: file.to_owned(), line, key: String::new(), message }];
    let bytes = std::fs::read(file)
        .map_err(|error| problem(0, format!("cannot be read: {}", error.kind())))?;
    String::from_utf8(bytes).map_err(|error| {
        let good = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = 1 + good.filter(|byte| **byte == b'\n').count();
        problem(line, "is not text in UTF-8".to_owned())
    })
}

const TOO_SHORT: &str = "must be longer than upstream.total_timeout_ms, any host's too, and what \
                         account.status_query.seconds adds to it";

fn config(root: &Table<'_>, elsewhere: &mut Vec<Problem>) -> Option<Config> {
    let profiles = profiles(root, elsewhere);
    let (public, public_url, hops) = listener::public(root);
    let private = listener::private(root);
    let admin = listener::admin(root);
    listener::check_apart(root, public.as_ref(), private.as_ref(), admin);
    let (vault, root_keys) = vault(root);
    let way_out = root.table_or_empty("upstream");
    let mut upstream = upstream::upstream(&way_out);
    let (caps, concurrency) = limits(root);
    let (rates, rate_keys) = rates::rates(root);
    let server = root.table_or_empty("server");
    let threads = server.number("threads", 0, 0..=256);
    let drain = server.number("drain_seconds", 5, 0..=300);
    let shutdown = server.number("shutdown_seconds", 70, 1..=600);
    let log = log(root);
    let telemetry = telemetry::telemetry(root);
    let upgrade = upgrade(root, !root_keys.is_empty());
    let audit = audit::audit(root, &root_keys);
    let process = process(root);
    let apps = merchant::apps(root);
    let registry = merchant::accounts(root, &profiles, &apps, upstream.danger_plain_http);
    grants::check(root, &apps, &registry, private.as_ref());
    upstream.hosts = upstream::hosts(&way_out, &registry, &upstream.terms);
    let longest = upstream.longest().max(upstream.longest_asked(&registry));
    if Duration::from_secs(shutdown) <= longest {
        server.fail("shutdown_seconds", TOO_SHORT);
    }
    server.finish();
    upstream::check_proxy(&way_out, &upstream.way_out, &registry);
    way_out.finish();
    let shops = intake::shops(root, &apps, public_url.as_ref());
    Some(Config {
        public: public?,
        public_url: public_url?,
        private: private?,
        admin: admin?,
        vault,
        root_keys,
        upstream,
        apps,
        registry,
        shops,
        profiles,
        threads: usize::try_from(threads).unwrap_or(0),
        caps,
        rates,
        rate_keys,
        concurrency,
        hops,
        drain: Duration::from_secs(drain),
        shutdown: Duration::from_secs(shutdown),
        log,
        telemetry,
        upgrade,
        audit,
        process,
        file: PathBuf::new(),
        files: BTreeSet::new(),
        resolved: Vec::new(),
        dangers: Vec::new(),
    })
}

fn profiles(root: &Table<'_>, elsewhere: &mut Vec<Problem>) -> Vec<Arc<Profile>> {
    let files = root.texts("providers");
    if files.is_empty() {
        root.fail("providers", "is required: the profiles of the providers in use");
    }
    let mut profiles: Vec<Arc<Profile>> = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let file = root.beside(file);
        if let Err(error) = File::open(&file).and_then(|file| file.metadata()).and_then(is_file) {
            root.fail_at("providers", index, &format!("cannot be read: {}", error.kind()));
            continue;
        }
        match profile::load(&file) {
            Ok(profile) if profiles.iter().any(|known| known.name == profile.name) => {
                root.fail_at("providers", index, "is a second profile of the same provider");
            }
            Ok(profile) => profiles.push(Arc::new(profile)),
            Err(mut problems) => elsewhere.append(&mut problems),
        }
    }
    profiles
}

fn is_file(about: Metadata) -> io::Result<()> {
    if about.is_dir() { Err(io::ErrorKind::IsADirectory.into()) } else { Ok(()) }
}

fn vault(root: &Table<'_>) -> (Limits, Vec<RootKey>) {
    let table = root.table_or_empty("vault");
    if table.text_or("backend", "memory") != "memory" {
        table.fail("backend", "must be memory");
    }
    let count = |key, default, range| {
        usize::try_from(table.number(key, default, range)).unwrap_or(usize::MAX)
    };
    let limits = Limits {
        capacity: count("capacity", 1_000_000, 1..=100_000_000),
        states: count("states", 200_000, 1000..=100_000_000),
        states_bytes: count("states_bytes", 256 << 20, 16 << 20..=1 << 40),
        marks: count("marks", 2_000_000, 1000..=1_000_000_000),
        idempotency: count("idempotency", 1_000_000, 1000..=100_000_000),
        idempotency_bytes: count("idempotency_bytes", 128 << 20, 16 << 20..=1 << 40),
        idempotency_per_app: count("idempotency_per_app", 500_000, 1..=100_000_000),
        sessions_per_app: count("sessions_per_app", 20_000, 1..=10_000_000),
        card_ttl: Duration::from_secs(table.number("card_ttl_seconds", 1800, 1..=86_400)),
        cvv_ttl: Duration::from_secs(table.number("cvv_ttl_seconds", 900, 1..=900)),
    };
    if limits.idempotency_per_app > limits.idempotency {
        table.fail("idempotency_per_app", "must not be more than vault.idempotency");
    }
    let root_keys = root_keys::read(&table);
    table.finish();
    (limits, root_keys)
}

fn limits(root: &Table<'_>) -> (Caps, Concurrency) {
    let table = root.table_or_empty("limits");
    let seconds = |key, default| Duration::from_secs(table.number(key, default, 1..=600));
    let count = |key, default| {
        usize::try_from(table.number(key, default, 1..=1_000_000)).unwrap_or(usize::MAX)
    };
    let caps = Caps {
        connections: count("connections", 10_000),
        connections_per_address: count("connections_per_address", 256),
        handshake: seconds("handshake_seconds", 10),
        head: seconds("head_seconds", 10),
        body: seconds("body_seconds", 30),
        idle: seconds("idle_seconds", 75),
    };
    let concurrency =
        Concurrency { all: count("exchanges", 4096), per_host: count("exchanges_per_host", 1024) };
    table.finish();
    (caps, concurrency)
}

fn log(root: &Table<'_>) -> Format {
    let table = root.table_or_empty("log");
    let format = Format::named(&table.text_or("format", "json")).unwrap_or_else(|| {
        table.fail("format", "must be json, pretty or off");
        Format::Off
    });
    table.finish();
    format
}

/// A path longer than the kernel takes for a local socket could never be used.
fn upgrade(root: &Table<'_>, has_root_key: bool) -> Option<PathBuf> {
    let table = root.optional_table("upgrade")?;
    let socket = table.text("socket");
    let path = table.folder_beside(&socket);
    if !has_root_key {
        table.fail("socket", "needs vault.root_key: what a random key sealed nobody else opens");
    }
    if !socket.is_empty() && path.as_os_str().len() > SOCKET_PATH_MAX {
        table.fail("socket", "is longer than 107 bytes, which is the most for a local socket");
    }
    table.finish();
    (!socket.is_empty()).then_some(path)
}

/// Bytes of a local socket's path (unix(7)).
const SOCKET_PATH_MAX: usize = 107;

fn process(root: &Table<'_>) -> process::Dangers {
    let table = root.table_or_empty("process");
    let dangers = process::Dangers {
        no_seccomp: table.flag("danger_no_seccomp", false),
        no_landlock: table.flag("danger_no_landlock", false),
        allow_core_dumps: table.flag("danger_allow_core_dumps", false),
        run_as_root: table.flag("danger_run_as_root", false),
    };
    table.finish();
    dangers
}

/// What weakens protection and is to be reported at start: keys that begin with `danger_` and are
/// on, and rates that are off.
fn dangers(resolved: &[Resolved]) -> Vec<String> {
    let weakens = |value: &&Resolved| {
        let last = value.key.rsplit('.').next().unwrap_or_default();
        let on = last.starts_with("danger_") && value.value == "true";
        on || value.key.starts_with("rates.") && value.value.trim_matches('"') == rates::OFF
    };
    resolved.iter().filter(weakens).map(|value| value.key.clone()).collect()
}
