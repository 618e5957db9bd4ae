//! Assembly: a checked configuration becomes listeners on Pingora's server.

mod begin;
mod drain;
mod export;
mod reload;
mod serving;
mod supervised;
pub mod trial;
mod upgrade;
mod upstreams;
mod watch;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server, ShutdownWatch};
use pingora::services::ServiceHandle;
use pingora::services::background::{BackgroundService, background_service};

use crate::audit::{Audit, Hash, JournalError, KeySource, Record};
use crate::card::Timestamp;
use crate::config::{Config, Fixed, Problem};
use crate::limit::{Busy, Limit};
use crate::pci::digest;
use crate::process::{Applied, Guarded, ProcessError, Supervisor};
use crate::proxy::accept::{Listener, Open};
use crate::proxy::admin::{Admin, Changes};
use crate::proxy::desk::Desks;
use crate::proxy::drain::Drain;
use crate::proxy::listening::Bound;
use crate::proxy::message::{Caps, ConnectionEvent, Deadlines};
use crate::proxy::private::Private;
use crate::proxy::public::Public;
use crate::proxy::signing::Signers;
use crate::proxy::tls::TlsSetup;
use crate::secret::{KeyMemory, key_memory};
use crate::telemetry::{
    Copies, Event, Levels, Log, Metrics, Protection, Signal, Warning, export_panics,
};
use crate::vault::{Keyring, Vault};

use begin::{Begin, rehearse, threads};
use drain::{Ending, Last, Stop};
use reload::{Reload, of_keys, versioned};
use serving::Lasting;
use supervised::Supervised;
use trial::Made;
use upgrade::{LastStep, Meeting, Predecessor, Start, UpgradeError};
use upstreams::Hosts;

/// How often a part of the expired records is taken out. They are refused from the moment they
/// expire.
const SWEEP: Duration = Duration::from_secs(1);

/// Parts of a whole sweep: an expired record takes room for half a minute at most.
const SWEEP_PARTS: usize = 30;

/// How often keys are forgotten that have all of their rate again.
const FORGET: Duration = Duration::from_secs(10);

/// The first version of Landlock with rules about ports.
const PORT_RULES: u8 = 4;

/// Why Portcullis cannot start although its configuration is right.
#[derive(Debug)]
pub enum StartError {
    /// What the configuration names cannot be used.
    Unusable(Vec<Problem>),
    /// The process could not be confined.
    Process(ProcessError),
    /// A metric's name is taken: a fault of ours.
    Metrics,
    /// The audit record cannot be continued.
    Audit(JournalError),
    /// Threads could not be started.
    Threads,
    /// The process that runs cannot be taken over.
    Upgrade(UpgradeError),
}

impl fmt::Display for StartError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable(problems) => {
                problems.iter().try_for_each(|problem| writeln!(out, "{problem}"))
            }
            Self::Process(error) => write!(out, "{error}"),
            Self::Audit(error) => write!(out, "{error}"),
            Self::Upgrade(error) => write!(out, "{error}"),
            Self::Threads => write!(out, "threads could not be started"),
            Self::Metrics => write!(out, "metrics could not be registered"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<UpgradeError> for StartError {
    fn from(error: UpgradeError) -> Self {
        Self::Upgrade(error)
    }
}

/// Serves until a signal ends it. Returns only when it could not start, or has stopped. With
/// `upgrade` it takes over from the process that runs, where one does.
pub fn run(mut config: Config, guarded: Guarded, upgrade: bool) -> Result<(), StartError> {
    let threads = threads(config.threads);
    // The confined process makes no sockets in folders.
    let meeting = Meeting::at(config.upgrade.as_deref(), upgrade)?;
    let supervisor = Arc::new(Supervisor::of_environment());
    // Before the first thread: threads have what their parent had.
    let applied = guarded.confine(config.process, &config.reach()).map_err(StartError::Process)?;
    rehearse(threads).map_err(|_| StartError::Threads)?;
    let random_root_key = config.root_keys.is_empty();
    let keyring = keyring(&config)?;
    // Taken out: from here on they are in the keyring alone.
    drop(std::mem::take(&mut config.root_keys));
    let key_id = keyring.id();
    let vault = Arc::new(Vault::new(keyring, config.vault));
    vault.begin(Timestamp::system());
    let (log, copies) = log(&config)?;
    let fixed = Fixed::of(&config, applied.landlock >= PORT_RULES);
    let made = trial::make(&mut config).map_err(StartError::Unusable)?;
    let Made { public_tls, private_tls, ways, way } = made;
    let listeners = [("public", public_tls.clone()), ("private", private_tls.clone())];
    let metrics = Arc::new(metrics(&listeners)?);
    metrics.dangers(&config.dangers);
    let (mut upgrade, sockets) = sockets(&config, meeting, &vault)?;
    let signers = Arc::new(Signers::new(threads).map_err(|_| StartError::Threads)?);
    // Last before the record, which the other process gives up now: its requests wait.
    upgrade.take(&vault, &fixed, &config)?;
    metrics.vault_began(vault.began().as_secs());
    let audit = Arc::new(audit(&config, random_root_key, &key_id, &log)?);
    let (tracing, export) =
        export::start(way, &config, &metrics, (copies, levels(&vault, &audit)))?;
    let ready = upgrade.ready(&vault, fixed.names(), &audit, &log);
    let (predecessor, over, step) = ready.map_err(|_| StartError::Threads)?;
    let missing = supervisor.is_unreachable().then_some(Warning::NoSupervisor);
    let warned = missing.into_iter().chain(not_valid(&listeners)).collect();
    let announce = announcement(&config, &applied, random_root_key, warned);
    let took_over = predecessor.is_some();
    let begin = beginning(step, announce, log.clone(), took_over);
    let tracing = Arc::new(tracing);
    let lasting = Lasting { vault, signers, audit, metrics, log, tracing, supervisor, export };

    let mut server = server(threads, config.shutdown);
    let (terms, file) = (serving::terms(&config.caps), config.file.clone());
    let (grace, drain) = (config.drain, Arc::new(Drain::default()));
    let desks = Arc::new(Desks::new(serving::desk(config, ways, lasting.clone())));
    let (changes, asked) = Changes::channel();
    let ([public, private, to_admin], listeners_begun) =
        listen(&mut server, &desks, (changes, &drain), [&public_tls, &private_tls], terms, sockets);
    let (log, audit) = (lasting.log.clone(), lasting.audit.clone());
    let last = Last { log, audit, export: lasting.export.clone() };
    let open = vec![public.clone(), private.clone()];
    let before = predecessor.as_ref().map(|before| before.finishing.clone());
    let ending = Ending { open, desks: desks.clone(), before, last: last.clone() };
    let open = vec![public, private, to_admin];
    let reload = Reload::new(file, fixed, lasting.clone(), desks.clone(), listeners, open, asked);
    let (log, supervisor) = (lasting.log.clone(), lasting.supervisor.clone());
    let heard = reload.stops();
    let stop = Stop { begin: begin.clone(), drain, grace, log, supervisor, heard, over };
    // Who is told that this process is ready may send it SIGHUP or SIGTERM; and nothing is done
    // before serving begins.
    let reload = server.add_service(background_service("reload", reload));
    server.add_service(background_service("ending", ending));
    listeners_begun.iter().for_each(|listener| listener.add_dependency(&reload));
    look_after(&mut server, &reload, (lasting.vault, desks, predecessor));
    supervised(&mut server, lasting.supervisor, took_over, &listeners_begun);
    server.bootstrap();
    server.run(RunArgs { shutdown_signal: Box::new(stop) });
    begin.outcome()?;
    last.lines();
    Ok(())
}

/// Adds the listeners; returns the connections of each, and what can wait for them.
fn listen(
    server: &mut Server,
    desks: &Arc<Desks>,
    (changes, drain): (Changes, &Arc<Drain>),
    [public_tls, private_tls]: [&TlsSetup; 2],
    (deadlines, caps): (Deadlines, Caps),
    [public_socket, private_socket, admin_socket]: [Bound; 3],
) -> ([Open; 3], [ServiceHandle; 3]) {
    let [for_public, for_private, for_admin] = [0; 3].map(|_| Arc::clone(desks));
    let public = move || Public(for_public.now());
    let public = Listener::new(public, Some(public_tls), deadlines, caps).until(drain.clone());
    let private = move || Private(for_private.now());
    let private = Listener::new(private, Some(private_tls), deadlines, caps).until(drain.clone());
    let drain = drain.clone();
    let admin =
        move || Admin { desk: for_admin.now(), changes: changes.clone(), drain: drain.clone() };
    let admin = Listener::new(admin, None, deadlines, caps);
    let open = [public.open(), private.open(), admin.open()];
    let begun = [
        server.add_service(public.into_service("public", public_socket)),
        server.add_service(private.into_service("private", private_socket)),
        server.add_service(admin.into_service("admin", admin_socket).on_one_thread()),
    ];
    (open, begun)
}

/// Has the supervisor told, where there is one, once all of these have begun.
fn supervised(
    server: &mut Server,
    supervisor: Arc<Supervisor>,
    took_over: bool,
    begun: &[ServiceHandle],
) {
    if supervisor.is_there() {
        let supervised = Supervised { supervisor, took_over };
        let supervised = server.add_service(background_service("supervised", supervised));
        begun.iter().for_each(|begun| supervised.add_dependency(begun));
    }
}

/// Adds what works beside the listeners, from when these have begun to.
fn look_after(
    server: &mut Server,
    begun: &ServiceHandle,
    (vault, desks, predecessor): (Arc<Vault>, Arc<Desks>, Option<Predecessor>),
) {
    server.add_service(background_service("sweep", Sweep(vault))).add_dependency(begun);
    server.add_service(background_service("forget", Forget(desks.clone()))).add_dependency(begun);
    server.add_service(background_service("hosts", Hosts(desks))).add_dependency(begun);
    if let Some(predecessor) = predecessor {
        let before = server.add_service(background_service("predecessor", predecessor));
        before.add_dependency(begun);
    }
}

/// The record, with what this start is: a change of the configuration or of the key shows as a
/// difference to the start before.
fn audit(
    config: &Config,
    random_root_key: bool,
    key_id: &str,
    log: &Arc<Log>,
) -> Result<Audit, StartError> {
    let Some(settings) = &config.audit else { return Ok(Audit::off()) };
    let digest = digest(config);
    let source = if random_root_key { KeySource::Random } else { KeySource::Configured };
    let opening = [
        Record::Started { version: env!("CARGO_PKG_VERSION") },
        Record::Configured { digest, dangers: &config.dangers },
        Record::Keyed { source, key_id },
    ];
    let log = log.clone();
    let anchored = move |sequence, hash: &Hash| {
        log.write(&Event::Anchored { sequence, hash: &hash.to_string() });
    };
    Audit::start(settings, &opening, anchored).map_err(StartError::Audit)
}

/// What seals, and what opens.
fn keyring(config: &Config) -> Result<Keyring, StartError> {
    if config.root_keys.is_empty() {
        return Ok(Keyring::random());
    }
    let keys = versioned(&config.root_keys);
    Keyring::of(&keys).map_err(|error| StartError::Unusable(vec![of_keys(config, error).problem]))
}

/// The log, and where it leaves its lines if they are exported.
fn log(config: &Config) -> Result<(Arc<Log>, Option<Copies>), StartError> {
    let exported = config.telemetry.as_ref().filter(|settings| settings.logs);
    let copies = exported.map(|_| Copies::default());
    copies.iter().for_each(export_panics);
    let log = Log::start(config.log, copies.clone()).map_err(|_| StartError::Threads)?;
    Ok((Arc::new(log), copies))
}

/// What is known elsewhere and counted with the metrics.
fn levels(vault: &Arc<Vault>, audit: &Arc<Audit>) -> impl Fn() -> Levels + use<> {
    let (vault, audit) = (vault.clone(), audit.clone());
    move || Levels { records: vault.len(), audit_up: audit.is_up(), rooms: vault.rooms() }
}

/// Metrics that know when the listeners' certificates end, and what can be counted.
fn metrics(listeners: &[(&str, TlsSetup)]) -> Result<Metrics, StartError> {
    let metrics = Metrics::new(Timestamp::system().as_secs()).map_err(|_| StartError::Metrics)?;
    for (listener, tls) in listeners {
        tell_end(&metrics, listener, tls);
        for event in ConnectionEvent::ALL {
            metrics.connections_ended(listener, event.as_str(), 0);
        }
    }
    for signal in Signal::ALL {
        metrics.export_lost(signal, 0);
    }
    let bounds = Busy::ALL.map(Busy::as_str);
    for limit in Limit::ALL.map(Limit::name).into_iter().chain(bounds) {
        metrics.limited(limit, 0);
    }
    Ok(metrics)
}

/// When the certificate of a listener ends, for the metrics.
fn tell_end(metrics: &Metrics, listener: &str, tls: &TlsSetup) {
    if let Some(ends) = tls.ends() {
        metrics.certificate_ends(listener, ends);
    }
}

/// The end of the start: takes over for good, and says so.
fn beginning(
    step: LastStep,
    announce: impl FnOnce(&Log) + Send + 'static,
    log: Arc<Log>,
    took_over: bool,
) -> Arc<Begin> {
    Begin::with(move || {
        step.go()?;
        announce(&log);
        if !took_over {
            // Who reaches the process finds in the log how it began. After a hand-over requests
            // wait.
            log.flush();
        }
        Ok(())
    })
}

/// Says what starts, and how well it is protected.
fn announcement(
    config: &Config,
    applied: &Applied,
    random_root_key: bool,
    warned: Vec<Warning>,
) -> impl FnOnce(&Log) + Send + use<> {
    let addresses = [config.public.address, config.private.address, config.admin];
    let [public, private, admin] = addresses.map(|address| address.to_string());
    let (dangers, process) = (config.dangers.clone(), protection(applied));
    let warnings: Vec<_> = warnings(applied, config).into_iter().chain(warned).collect();
    move |log| {
        let (version, dangers) = (env!("CARGO_PKG_VERSION"), dangers.as_slice());
        let started =
            Event::Started { version, public, private, admin, dangers, random_root_key, process };
        log.write(&started);
        warnings.into_iter().for_each(|warning| log.write(&Event::Warned { warning }));
    }
}

/// Listeners whose certificate is not valid now. They are served: a restart must not take away what
/// a running process would go on with, and a clock may be wrong.
fn not_valid(listeners: &[(&str, TlsSetup); 2]) -> impl Iterator<Item = Warning> {
    let now = Timestamp::system();
    let warnings = [Warning::PublicCertificateNotValid, Warning::PrivateCertificateNotValid];
    let found = listeners.iter().zip(warnings).filter(move |((_, tls), _)| !tls.is_valid(now));
    found.map(|(_, warning)| warning)
}

fn protection(applied: &Applied) -> Protection {
    Protection {
        dumpable: applied.dumpable,
        core_limit: applied.core_limit,
        no_new_privs: applied.no_new_privs,
        capabilities: applied.capabilities,
        seccomp: applied.seccomp,
        landlock: applied.landlock,
        swap: applied.swap,
        key_memory: key_memory().name(),
    }
}

/// What the machine lacks. What the configuration switched off is among the dangers.
fn warnings(applied: &Applied, config: &Config) -> Vec<Warning> {
    let dangers = config.process;
    let ports = !(1..PORT_RULES).contains(&applied.landlock);
    let found = [
        (applied.swap, Warning::SwapIsOn),
        (applied.landlock == 0 && !dangers.no_landlock, Warning::NoLandlock),
        (!ports, Warning::NoPortRules),
        (key_memory() == KeyMemory::Swappable, Warning::KeysNotLocked),
        (config.audit.is_none(), Warning::NoAudit),
    ];
    found.into_iter().filter_map(|(is, warning)| is.then_some(warning)).collect()
}

/// The sockets of the public, the private and the admin listener, those of the process that runs
/// where it is taken over.
fn sockets(
    config: &Config,
    meeting: Meeting,
    vault: &Vault,
) -> Result<(Start, [Bound; 3]), StartError> {
    let [public, private, admin] = [config.public.address, config.private.address, config.admin];
    let mut upgrade = Start::agree(meeting, vault, [public, private, admin])?;
    let mut socket = |which: &str, address: SocketAddr| {
        bind(address, &mut upgrade).map_err(|error| {
            let message = format!("cannot listen on {address}: {}", error.kind());
            StartError::Unusable(vec![config.problem(&format!("{which}.address"), &message)])
        })
    };
    let sockets = [socket("public", public)?, socket("private", private)?, socket("admin", admin)?];
    Ok((upgrade, sockets))
}

/// The socket that was handed over, or a new one: whoever connects from now on waits until the
/// server runs.
fn bind(address: SocketAddr, upgrade: &mut Start) -> std::io::Result<Bound> {
    let bound = match upgrade.socket(address) {
        Some(socket) => Bound::given(socket, address),
        None => Bound::to(address),
    }?;
    upgrade.keep(address, bound.copy()?);
    Ok(bound)
}

/// Pingora's chassis: no daemon, no pid file, and no upgrade socket in a folder that all can write.
fn server(threads: usize, shutdown: Duration) -> Server {
    let conf = ServerConf {
        threads,
        daemon: false,
        grace_period_seconds: Some(shutdown.as_secs()),
        graceful_shutdown_timeout_seconds: Some(1),
        upgrade_sock: String::new(),
        pid_file: String::new(),
        ..ServerConf::default()
    };
    Server::new_with_opt_and_conf(None, conf)
}

/// Takes expired records out of the vault.
struct Sweep(Arc<Vault>);

#[async_trait]
impl BackgroundService for Sweep {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        for part in (0..SWEEP_PARTS).cycle() {
            tokio::select! {
                () = tokio::time::sleep(SWEEP) => {
                    self.0.sweep_part(Timestamp::system(), part, SWEEP_PARTS);
                }
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// Forgets keys of rates, on a thread that serves nobody.
struct Forget(Arc<Desks>);

#[async_trait]
impl BackgroundService for Forget {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let desk = self.0.now();
            desk.limits.sweep(|limit, keys| desk.metrics.limit_keys(limit.name(), keys));
            drop(desk);
            tokio::select! {
                () = tokio::time::sleep(FORGET) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
