//! A new process takes over from the one that runs: its listening sockets, the vault, the audit
//! record. Whatever fails on the way, the old one goes on as before.
//!
//! Both read their configuration and root keys for themselves, and prove to each other that the
//! keys are the same before anything is given. Then, over one local socket:
//!
//! | Giver (old) | | Taker (new) |
//! | --- | --- | --- |
//! | | ← | `Hello`: form of the transfer, nonce |
//! | `Hello`: the same, and proofs of the root keys | → | |
//! | | ← | `Proofs`, addresses to listen on |
//! | `Sockets` that it has for these, and one for `Lines` | → | starts as far as it can |
//! | | ← | `Ready` |
//! | holds the vault: its requests wait | | |
//! | `Keys`, `Names`, `Records`, `End` | → | names stand for the same as before |
//! | | ← | `Taken` |
//! | closes the audit record; `Released` | → | opens it |
//! | | ← | `Serving`, once it has all of its threads |
//! | `Go` | → | serves |
//!
//! Until `Go` is sent the giver takes everything back when anything fails. From then on there is
//! one vault, in the taker: the giver accepts no more connections, finishes those that it has,
//! and asks the taker for every record that it needs meanwhile (`Question`). Lines of the audit
//! record (`Lines`) have a socket of their own: a disk may hold them up, and nothing else.

mod giver;
mod taker;
mod words;

pub(super) use giver::Over;
pub(super) use taker::Predecessor;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::time::Duration;

use crate::audit::Audit;
use crate::config::{Config, Fixed, Names, Problem};
use crate::process::passing::{self, LocalError};
use crate::telemetry::{Event, Log};
use crate::vault::{TransferError, Vault};

use giver::Giver;
use taker::{Prepared, Takeover, Taker};
use words::{Broken, Refused};

/// The form of what goes over. Another form gets another number.
const FORMAT: u16 = 6;

/// For each step before records move, except the next.
const STEP_MAX: Duration = Duration::from_secs(5);
/// How long the taker may need to start as far as it can.
const START_MAX: Duration = Duration::from_secs(30);
/// How long requests wait at most: from the hold to the end, whichever that is.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long the giver waits for an answer afterwards.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Where upgrades meet, before the process is confined.
pub(super) enum Meeting {
    /// Nowhere: the configuration names no place.
    Off,
    /// Nobody runs: whoever comes later finds us here.
    First(UnixListener),
    /// The process that runs.
    Running(UnixStream),
}

impl Meeting {
    /// Connects to the process that runs, where one is to be taken over; else listens.
    pub(super) fn at(socket: Option<&Path>, upgrade: bool) -> Result<Self, UpgradeError> {
        let Some(socket) = socket else {
            return if upgrade { Err(UpgradeError::NotConfigured) } else { Ok(Self::Off) };
        };
        let running = if upgrade { passing::connect(socket)? } else { None };
        match running {
            Some(stream) => Ok(Self::Running(stream)),
            None => Ok(Self::First(passing::listen(socket)?)),
        }
    }
}

/// A start, with what another process gives it or without.
pub(super) struct Start {
    from: Before,
    /// Copies of the sockets that are listened on, for the process after this one.
    sockets: Vec<(SocketAddr, OwnedFd)>,
}

/// How far it is.
enum Before {
    Nobody(Option<UnixListener>),
    Agreed(Box<Taker>),
    Taken(Prepared),
}

impl Start {
    /// Agrees with the process that runs, if one does.
    pub(super) fn agree(
        meeting: Meeting,
        vault: &Vault,
        addresses: [SocketAddr; 3],
    ) -> Result<Self, UpgradeError> {
        let from = match meeting {
            Meeting::Off => Before::Nobody(None),
            Meeting::First(meeting) => Before::Nobody(Some(meeting)),
            Meeting::Running(stream) => {
                Before::Agreed(Box::new(Taker::greet(stream, vault, &addresses)?))
            }
        };
        Ok(Self { from, sockets: Vec::new() })
    }

    /// The socket of this address, if the process that runs had one.
    pub(super) fn socket(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        match &mut self.from {
            Before::Agreed(taker) => taker.socket(address),
            Before::Nobody(_) | Before::Taken(_) => None,
        }
    }

    /// Keeps a copy of a socket for the process after this one.
    pub(super) fn keep(&mut self, address: SocketAddr, socket: OwnedFd) {
        self.sockets.push((address, socket));
    }

    /// Fills the vault, and has the process that runs give up its audit record. Its requests wait
    /// from here to [`LastStep::go`].
    pub(super) fn take(
        &mut self,
        vault: &Vault,
        fixed: &Fixed,
        config: &Config,
    ) -> Result<(), UpgradeError> {
        let from = std::mem::replace(&mut self.from, Before::Nobody(None));
        self.from = match from {
            Before::Agreed(taker) => Before::Taken(taker.take(vault, (fixed, config))?),
            Before::Nobody(_) | Before::Taken(_) => from,
        };
        Ok(())
    }

    /// What serves the last requests of the process before, what says that this one has handed
    /// over, and the last step. Whatever can fail at it here is done: the thread that waits for the
    /// process after this one is there, and waits for the step.
    pub(super) fn ready(
        self,
        vault: &Arc<Vault>,
        names: Names,
        audit: &Arc<Audit>,
        log: &Arc<Log>,
    ) -> io::Result<(Option<Predecessor>, Over, LastStep)> {
        let over = Over::default();
        let (predecessor, meeting, takeover) = match self.from {
            Before::Nobody(meeting) => (None, meeting, None),
            Before::Agreed(taker) => (None, Some(taker.meeting), None),
            Before::Taken(prepared) => {
                let (predecessor, meeting, takeover) = prepared.apart(vault.clone(), audit.clone());
                (Some(predecessor), Some(meeting), Some(takeover))
            }
        };
        let finishing = predecessor.as_ref().map(|before| Arc::clone(&before.finishing));
        let giver = meeting.map(|meeting| {
            let giver = Giver {
                meeting,
                sockets: self.sockets,
                vault: vault.clone(),
                names,
                audit: audit.clone(),
                log: log.clone(),
                finishing: finishing.unwrap_or_else(|| Arc::new(AtomicBool::new(false))),
                over: over.clone(),
            };
            giver.ready()
        });
        Ok((predecessor, over, LastStep { takeover, giver: giver.transpose()?, log: log.clone() }))
    }
}

/// The last step of a start: from then on there is no other process.
pub(super) struct LastStep {
    takeover: Option<Takeover>,
    /// Has the thread wait for the process after this one.
    giver: Option<Sender<()>>,
    log: Arc<Log>,
}

impl LastStep {
    /// Takes over for good, where there is something to take over.
    pub(super) fn go(self) -> Result<(), UpgradeError> {
        if let Some(takeover) = self.takeover {
            let records = takeover.go()?;
            self.log.write(&Event::TakenOver { records });
        }
        // A thread that is gone waits for nobody, and everything else goes on.
        self.giver.map(|giver| giver.send(()));
        Ok(())
    }
}

/// Why nothing was taken over. The process that runs goes on.
#[derive(Debug)]
pub enum UpgradeError {
    /// `--upgrade` without `[upgrade]`.
    NotConfigured,
    /// The socket cannot be used.
    Local(LocalError),
    /// The running process says no, or is of another form; with its version.
    Refused(Refused, String),
    /// The running process has other root keys.
    OtherKeys,
    /// It was gone, late, or said what nobody expects.
    Broken(Broken),
    /// A socket that came is not the one that was asked for.
    Socket(SocketAddr),
    /// What came cannot be kept.
    Transfer(TransferError),
    /// Records that came would belong to others here.
    Names(Vec<Problem>),
}

impl fmt::Display for UpgradeError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConfigured => {
                out.write_str("upgrade.socket: is not set; --upgrade needs it, on both sides")
            }
            Self::Local(error) => write!(out, "upgrade.socket: {}", local(error)),
            Self::Refused(refused, version) => {
                write!(out, "upgrade: refused by the running Portcullis {version}: {refused}")
            }
            Self::OtherKeys => write!(out, "upgrade: {}", Refused::OtherKeys),
            Self::Broken(broken) => write!(
                out,
                "upgrade: broken off ({broken}); the running Portcullis goes on, and its log has \
                 `upgrade_refused`"
            ),
            Self::Socket(address) => {
                write!(out, "upgrade: the socket that came does not listen on {address}")
            }
            Self::Transfer(error) => write!(out, "upgrade: {error}"),
            Self::Names(problems) => {
                let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
                out.write_str(&lines.join("\n"))
            }
        }
    }
}

impl From<LocalError> for UpgradeError {
    fn from(error: LocalError) -> Self {
        Self::Local(error)
    }
}

impl From<Broken> for UpgradeError {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<TransferError> for UpgradeError {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

fn local(error: &LocalError) -> String {
    match error {
        LocalError::Folder => {
            "its folder has to be there, and this user's alone (mode 0700)".into()
        }
        LocalError::Occupied => "something that is no socket is in its place".into(),
        LocalError::InUse => "another Portcullis answers there; take over with --upgrade".into(),
        LocalError::Stranger => "a process of another user answers there".into(),
        LocalError::Io(words) => words.clone(),
    }
}
