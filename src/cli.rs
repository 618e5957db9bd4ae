//! The commands: `run`, `check`, `health`, `keygen`, `providers`, `page`, `audit verify`, `pci`.
//!
//! Exit codes: 0 done; 1 the configuration has errors, Portcullis could not start or is not well,
//! the audit record is broken, or standard output did not take what was to be said; 2 wrong usage,
//! or a record or key that cannot be read; 3 the audit record holds but does not prove its own end.

mod said;
mod typed;

use std::io::{self, Read as _, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, value_parser};

use crate::app::{self, StartError, trial};
use crate::audit::{self, AnchorKey, Fault, Hash, Proof};
use crate::card::Timestamp;
use crate::config::{self, Config, Problem};
use crate::page;
use crate::pci;
use crate::process::Guarded;
use crate::provider::{Profile, Route};
use crate::telemetry::tell_places_only;

use said::{complain, failed, misused, printed};

/// How long `health` waits for a connection, and for each part of the answer.
const HEALTH_WAIT: Duration = Duration::from_secs(2);

/// A payment proxy between applications that hold tokens and providers that want cards.
#[derive(Parser)]
#[command(name = "portcullis", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until a signal ends it (SIGTERM: finish what runs first; SIGHUP: read the
    /// configuration again).
    Run {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
        /// Take over from the Portcullis that runs, if one does: its listening sockets and
        /// everything that it keeps, without a payment lost. Both need `[upgrade]`.
        #[arg(long)]
        upgrade: bool,
    },
    /// Check a configuration: every error with file, line and key, or the configuration as used.
    Check {
        /// The configuration file.
        #[arg(long)]
        config: PathBuf,
    },
    /// Ask a running Portcullis whether it is well: for containers that hold no other program.
    Health {
        /// Its admin listener.
        #[arg(long, default_value = "127.0.0.1:9464")]
        admin: SocketAddr,
        /// Whether it is ready to serve, instead of whether it lives.
        #[arg(long)]
        ready: bool,
    },
    /// Make a new root key, whole or in shares for several people.
    Keygen {
        /// The file to write, readable by its owner only; standard output when missing.
        #[arg(long, conflicts_with = "shares")]
        out: Option<PathBuf>,
        /// Print so many shares, a line each, instead of a key (2 to 16).
        #[arg(long, requires = "threshold", value_parser = value_parser!(u8).range(2..=16))]
        shares: Option<u8>,
        /// How many of them give the key (2 to the number of shares).
        #[arg(long, requires = "shares", value_parser = value_parser!(u8).range(2..=16))]
        threshold: Option<u8>,
    },
    /// List provider profiles and what they cover.
    Providers {
        /// Profile files.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Who answers for which requirement of PCI DSS v4.0.1, with inventories of certificates, keys
    /// and pages.
    Pci {
        /// The configuration to fill it from.
        #[arg(long)]
        config: Option<PathBuf>,
        /// As JSON instead of Markdown.
        #[arg(long)]
        json: bool,
    },
    /// What stands in the audit record.
    #[command(subcommand)]
    Audit(Review),
    /// Print digests of what browsers run: the card form's script and style, and what shops load.
    Page,
}

#[derive(Subcommand)]
enum Review {
    /// Walk through the record: the first line that is missing, altered or out of place, or that
    /// all is there. 0: whole, and an anchor proves it to the end; 1: broken; 2: not all
    /// of it could be read, or the key, or `--holds` is no digest; 3: whole as far as it goes, but
    /// without its beginning, or not proved to its end.
    Verify {
        /// The folder of the record, or its files in their order.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// The file of the key that made the anchors (`audit.key`). Without it they prove nothing.
        #[arg(long)]
        key: Option<PathBuf>,
        /// The digest of an anchor that was kept elsewhere (the log's event `anchored`): it has to
        /// be there, or the end was cut off.
        #[arg(long, value_name = "DIGEST")]
        holds: Option<String>,
    },
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    tell_places_only();
    let command = Arguments::parse().command;
    // Before anything secret is read, whatever the command.
    let guarded = match Guarded::begin() {
        Ok(guarded) => guarded,
        Err(error) => return failed(&error),
    };
    match command {
        Command::Run { config, upgrade } => run(&config, guarded, upgrade),
        Command::Check { config } => check(&config),
        Command::Health { admin, ready } => health(admin, ready),
        Command::Keygen { shares: Some(shares), threshold: Some(threshold), .. } => {
            keygen_shares(shares, threshold)
        }
        Command::Keygen { out, .. } => keygen(out.as_deref()),
        Command::Providers { files } => providers(&files),
        Command::Audit(Review::Verify { paths, key, holds }) => {
            review(&paths, key.as_deref(), holds.as_deref())
        }
        Command::Pci { config, json } => matrix(config.as_deref(), json),
        Command::Page => digests(),
    }
}

fn run(file: &Path, guarded: Guarded, upgrade: bool) -> ExitCode {
    let mut config = match config::load(file) {
        Ok(config) => config,
        Err(problems) => return report(&problems),
    };
    if let Err(complaint) = typed::root_keys(&mut config.root_keys) {
        return failed(&complaint);
    }
    match app::run(config, guarded, upgrade) {
        Ok(()) => ExitCode::SUCCESS,
        Err(StartError::Unusable(problems)) => report(&problems),
        Err(error) => failed(&error),
    }
}

/// What a start would make of it is made and thrown away.
fn check(file: &Path) -> ExitCode {
    let mut config = match config::load(file) {
        Ok(config) => config,
        Err(problems) => return report(&problems),
    };
    let problems = trial::problems(&mut config);
    if !problems.is_empty() {
        return report(&problems);
    }
    printed(ExitCode::SUCCESS, |out| print_resolved(&config, out))
}

fn report(problems: &[Problem]) -> ExitCode {
    for problem in problems {
        complain(problem);
    }
    let count = problems.len();
    let s = plural(count);
    complain(&format_args!("{count} error{s} in the configuration; nothing was started"));
    ExitCode::FAILURE
}

/// Values in the order of the file. Secrets show as the reference that names them.
fn print_resolved(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    for value in &config.resolved {
        let note = if value.default { "  # default" } else { "" };
        writeln!(out, "{} = {}{note}", value.key, value.value)?;
    }
    for value in config.resolved.iter().filter(|value| config.dangers.contains(&value.key)) {
        writeln!(out, "# WARNING: {} = {} weakens protection", value.key, value.value)?;
    }
    if config.root_keys.is_empty() {
        let lost = "random at every start, tokens end with the process";
        writeln!(out, "# vault.root_key is not set: {lost}")?;
    }
    writeln!(out, "# the configuration is right")
}

fn health(admin: SocketAddr, ready: bool) -> ExitCode {
    let path = if ready { "/readyz" } else { "/healthz" };
    match status(admin, path) {
        Ok(status) if status == *b"200" => ExitCode::SUCCESS,
        Ok(status) => failed(&format_args!("{admin}{path} answers {}", status.escape_ascii())),
        Err(error) => failed(&format_args!("{admin}{path}: {}", error.kind())),
    }
}

/// The status of a GET, in its three digits. Nothing else of the answer is read.
fn status(address: SocketAddr, path: &str) -> io::Result<[u8; 3]> {
    let mut line = TcpStream::connect_timeout(&address, HEALTH_WAIT)?;
    line.set_read_timeout(Some(HEALTH_WAIT))?;
    line.set_write_timeout(Some(HEALTH_WAIT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    line.write_all(request.as_bytes())?;
    let (mut version, mut status) = ([0; "HTTP/1.1 ".len()], [0; 3]);
    line.read_exact(&mut version)?;
    line.read_exact(&mut status)?;
    if version == *b"HTTP/1.1 " { Ok(status) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn keygen(out: Option<&Path>) -> ExitCode {
    let key = config::new_root_key();
    let Some(file) = out else {
        return printed(ExitCode::SUCCESS, |out| out.write_all(key.as_bytes()));
    };
    let written = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(key.as_bytes()));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&format_args!("{}: {}", file.display(), error.kind())),
    }
}

fn matrix(file: Option<&Path>, json: bool) -> ExitCode {
    let config = match file.map(config::load).transpose() {
        Ok(config) => config,
        Err(problems) => return report(&problems),
    };
    let report = pci::Report::of(config.as_ref(), Timestamp::system());
    let text = if json { report.json() } else { report.markdown() };
    printed(ExitCode::SUCCESS, |out| writeln!(out, "{}", text.trim_end()))
}

fn keygen_shares(shares: u8, threshold: u8) -> ExitCode {
    if threshold > shares {
        return misused("--threshold: must not be more than --shares");
    }
    let lines = config::new_root_key_shares(shares, threshold);
    printed(ExitCode::SUCCESS, |out| {
        lines.iter().try_for_each(|line| writeln!(out, "{}", line.as_str()))
    })
}

fn review(paths: &[PathBuf], key: Option<&Path>, holds: Option<&str>) -> ExitCode {
    let Asked { files, key, holds } = match asked(paths, key, holds) {
        Ok(asked) => asked,
        Err(complaint) => return misused(&complaint),
    };
    match audit::verify(&files, key.as_ref(), holds) {
        Ok(proof) => report_proof(&proof),
        Err(broken) => {
            complain(&broken);
            let is_read = !matches!(broken.fault, Fault::Unreadable(_));
            if is_read { ExitCode::FAILURE } else { ExitCode::from(2) }
        }
    }
}

/// What is to be reviewed, and with what.
struct Asked {
    files: Vec<PathBuf>,
    key: Option<AnchorKey>,
    holds: Option<Hash>,
}

/// Nothing is said of a record that was not looked at: whatever is wrong here is wrong usage.
fn asked(paths: &[PathBuf], key: Option<&Path>, holds: Option<&str>) -> Result<Asked, String> {
    let key = key.map(config::read_root_key).transpose()?.map(AnchorKey::new);
    let not_hex = || "--holds: is not a digest of 64 hexadecimal digits".to_owned();
    let holds = holds.map(|hex| Hash::parse(hex.as_bytes()).ok_or_else(not_hex)).transpose()?;
    let mut files = Vec::new();
    for path in paths {
        let failed = |error: io::Error| format!("{}: {}", path.display(), error.kind());
        if path.metadata().map_err(failed)?.is_dir() {
            files.extend(audit::files_in(path).map_err(failed)?);
        } else {
            files.push(path.clone());
        }
    }
    Ok(Asked { files, key, holds })
}

fn report_proof(proof: &Proof) -> ExitCode {
    let Some(hash) = proof.hash else {
        complain(&"there is no record");
        return ExitCode::from(3);
    };
    let code = if proof.is_whole() { ExitCode::SUCCESS } else { ExitCode::from(3) };
    printed(code, |out| print_proof(proof, &hash, out))
}

fn print_proof(proof: &Proof, hash: &Hash, out: &mut dyn Write) -> io::Result<()> {
    let (begun, ended) = &proof.times;
    writeln!(out, "{} records in {} files, {begun} to {ended}", proof.records, proof.files)?;
    for (event, count) in &proof.events {
        writeln!(out, "  {event:<11} {count}")?;
    }
    writeln!(out, "record {} is the last; its digest is {hash}", proof.last)?;
    if proof.first > 1 {
        let first = proof.first;
        writeln!(out, "NOT PROVED: it begins with record {first}; what was before is not here")?;
    }
    match (proof.anchors, proof.unanchored) {
        (0, _) => writeln!(out, "NOT PROVED: no anchor was checked; give the key (--key)")?,
        (anchors, 0) => writeln!(out, "{anchors} anchors hold; the last one is the last record")?,
        (anchors, after) => writeln!(
            out,
            "{anchors} anchors hold; NOT PROVED: the last {after} records, which no anchor \
             follows: it is being written, was killed, or its end was cut off"
        )?,
    }
    if proof.holds == Some(false) {
        writeln!(out, "NOT PROVED: no record has the digest of --holds: the end was cut off")?;
    }
    Ok(())
}

fn providers(files: &[PathBuf]) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    let profiles = files.iter().map(|file| config::profile::load(file));
    let profiles: Vec<Profile> = profiles
        .filter_map(|loaded| loaded.map_err(|problems| code = report(&problems)).ok())
        .collect();
    printed(code, |out| profiles.iter().try_for_each(|profile| print_profile(profile, out)))
}

fn print_profile(profile: &Profile, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}: {} ({})", profile.name, profile.title, profile.engine)?;
    for route in &profile.routes {
        writeln!(out, "  {:<20} {}", route.name, described(profile, route))?;
    }
    let relay = if profile.challenge.replace_term_url { "replaced" } else { "left as it is" };
    writeln!(out, "  3-D Secure: hand-off page; return address {relay}")?;
    match &profile.callback {
        Some(callback) => writeln!(out, "  callbacks: {}", callback.proof.name()),
        None => Ok(()),
    }
}

/// As `Content-Security-Policy` and `integrity` attributes spell them.
fn digests() -> ExitCode {
    printed(ExitCode::SUCCESS, |out| {
        for (name, digest) in page::form_digests() {
            writeln!(out, "{name:<22} {digest}")?;
        }
        let mut scripts = page::SCRIPTS.iter();
        scripts.try_for_each(|script| writeln!(out, "{:<22} {}", script.path, script.integrity()))
    })
}

fn described(profile: &Profile, route: &Route) -> String {
    let api = profile.apis.get(route.api);
    let (name, scheme) = api.map_or(("", ""), |api| (&api.name, api.credential.name()));
    let parts: Vec<&str> = route.request.reveal.iter().map(|reveal| reveal.part.name()).collect();
    let reveals =
        if parts.is_empty() { String::new() } else { format!("; reveals {}", parts.join(", ")) };
    format!("{} {name}{} ({scheme}{reveals})", route.method, route.path.as_str())
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}
