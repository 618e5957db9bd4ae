//! The new process: takes over, or ends without having changed anything.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use super::words::{self, Broken, Hello, Refused, Wire, Word, read_proofs, write_proofs};
use super::{FORMAT, PAUSE_MAX, START_MAX, STEP_MAX, UpgradeError};
use crate::audit::Audit;
use crate::card::Timestamp;
use crate::config::{Config, Fixed};
use crate::process::passing;
use crate::secret::Random;
use crate::vault::{NONCE_BYTES, Role, TransferError, Vault};

/// A process that has the sockets of the one that runs, and nothing else yet.
pub(in crate::app) struct Taker {
    wire: Wire,
    nonces: Vec<u8>,
    /// Since when the records are kept; a process of an older version does not say.
    began: Option<Timestamp>,
    sockets: Vec<(SocketAddr, OwnedFd)>,
    /// On which the other process' lines of the audit record will come.
    lines: UnixStream,
    /// Where the one after this one will come.
    pub(in crate::app) meeting: UnixListener,
}

impl Taker {
    /// Agrees with the process that runs, and asks it for the sockets of these addresses.
    pub(in crate::app) fn greet(
        stream: UnixStream,
        vault: &Vault,
        addresses: &[SocketAddr],
    ) -> Result<Self, UpgradeError> {
        let mut wire = Wire::new(stream);
        let (nonces, began) = agree(wire.within(STEP_MAX), vault)?;
        let lines: String = addresses.iter().map(|address| format!("{address}\n")).collect();
        let proofs = write_proofs(&vault.proofs(Role::Taker, &nonces));
        wire.send(Word::Proofs, &[&proofs, lines.as_bytes()])?;
        let there = answered(&mut wire, Word::Sockets)?;
        let came = passing::receive_descriptors(wire.stream()).map_err(Broken::from)?;
        let mut came = came.into_iter();
        let meeting = UnixListener::from(came.next().ok_or(Broken::Unexpected)?);
        let lines = UnixStream::from(came.next().ok_or(Broken::Unexpected)?);
        let asked = addresses.iter().zip(there).filter(|(_, there)| *there == 1);
        let sockets: Vec<_> = asked.map(|(address, _)| *address).zip(came).collect();
        Ok(Self { wire, nonces, began, sockets, lines, meeting })
    }

    /// The socket of this address, if the other process had one.
    pub(in crate::app) fn socket(&mut self, address: SocketAddr) -> Option<OwnedFd> {
        let at = self.sockets.iter().position(|(known, _)| *known == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// Fills the vault. Requests of the other process wait from here on. Whatever can fail at a
    /// start has been done before; the audit record is free afterwards.
    pub(in crate::app) fn take(
        mut self,
        vault: &Vault,
        (fixed, config): (&Fixed, &Config),
    ) -> Result<Prepared, UpgradeError> {
        self.wire.within(START_MAX).send(Word::Ready, &[])?;
        self.wire.within(PAUSE_MAX);
        match self.fill(vault, fixed, config) {
            Ok(records) => {
                self.wire.send(Word::Taken, &[])?;
                answered(&mut self.wire, Word::Released)?;
                self.began.inspect(|began| vault.begin(*began));
                let Self { wire, lines, meeting, .. } = self;
                Ok(Prepared { wire, lines, meeting, records })
            }
            Err(error) => {
                // It learns that we do not go on either way.
                let _ = self.wire.send(Word::Refused, &[&[0]]);
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        vault: &Vault,
        fixed: &Fixed,
        config: &Config,
    ) -> Result<usize, UpgradeError> {
        let keys = answered(&mut self.wire, Word::Keys)?;
        vault.take_keys(&keys, &self.nonces)?;
        let names = answered(&mut self.wire, Word::Names)?;
        let inherited = fixed.inherit(&names, config).ok_or(Broken::Unexpected)?;
        inherited.map_err(UpgradeError::Names)?;
        let now = Timestamp::system();
        let mut count = 0;
        loop {
            match self.wire.receive()? {
                (Word::Records, part) => count += take_part(vault, &part, now)?,
                (Word::End, told) if told == u64::to_be_bytes(count) => break,
                _ => return Err(Broken::Unexpected.into()),
            }
        }
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}

/// Records behind their lengths.
fn take_part(vault: &Vault, mut part: &[u8], now: Timestamp) -> Result<u64, TransferError> {
    let mut count = 0;
    while !part.is_empty() {
        let (length, rest) = part.split_first_chunk().ok_or(TransferError::Malformed)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let (record, rest) = rest.split_at_checked(length).ok_or(TransferError::Malformed)?;
        vault.take_record(record, now)?;
        count += 1;
        part = rest;
    }
    Ok(count)
}

/// Both nonces, once it is clear that the other side has the same keys, and since when its records
/// are kept.
fn agree(wire: &mut Wire, vault: &Vault) -> Result<(Vec<u8>, Option<Timestamp>), UpgradeError> {
    let own: [u8; NONCE_BYTES] = Random::fetch(NONCE_BYTES).take();
    let hello = Hello { format: FORMAT, version: env!("CARGO_PKG_VERSION"), more: &own };
    wire.send(Word::Hello, &[&hello.write()])?;
    let answer = answered(wire, Word::Hello)?;
    let hello = Hello::read(&answer).ok_or(Broken::Unexpected)?;
    if hello.format != FORMAT {
        return Err(UpgradeError::Refused(Refused::Format, hello.version.to_owned()));
    }
    let (nonce, proofs) = hello.more.split_at_checked(NONCE_BYTES).ok_or(Broken::Unexpected)?;
    let nonces = [own.as_slice(), nonce].concat();
    let (proofs, began) = read_proofs(proofs).ok_or(Broken::Unexpected)?;
    if !vault.has_same_keys(Role::Giver, &nonces, &proofs) {
        return Err(UpgradeError::OtherKeys);
    }
    let began = began.first_chunk().map(|began| Timestamp::from_secs(u64::from_be_bytes(*began)));
    Ok((nonces, began))
}

/// A message of this word; a refusal is told with the reason and the other side's version.
fn answered(wire: &mut Wire, word: Word) -> Result<Vec<u8>, UpgradeError> {
    match wire.receive()? {
        (found, body) if found == word => Ok(body),
        (Word::Refused, body) => {
            let (reason, hello) = body.split_first().ok_or(Broken::Unexpected)?;
            let reason = Refused::of(*reason).ok_or(Broken::Unexpected)?;
            let version = Hello::read(hello).map_or("", |hello| hello.version);
            Err(UpgradeError::Refused(reason, version.to_owned()))
        }
        _ => Err(Broken::Unexpected.into()),
    }
}

/// A process that has everything, and that has not said so.
pub(in crate::app) struct Prepared {
    wire: Wire,
    lines: UnixStream,
    meeting: UnixListener,
    records: usize,
}

impl Prepared {
    /// What will serve the other process' last requests, where the one after this one will come,
    /// and the last step.
    pub(in crate::app) fn apart(
        self,
        vault: Arc<Vault>,
        audit: Arc<Audit>,
    ) -> (Predecessor, UnixListener, Takeover) {
        let Self { wire, lines, meeting, records } = self;
        let streams = Streams::default();
        let finishing = Arc::new(AtomicBool::new(true));
        let predecessor = Predecessor { streams: Arc::clone(&streams), vault, audit, finishing };
        (predecessor, meeting, Takeover { wire, lines, streams, records })
    }
}

/// For questions, and for lines; none before the last step.
type Streams = Arc<Mutex<Option<[UnixStream; 2]>>>;

/// The last step.
pub(in crate::app) struct Takeover {
    wire: Wire,
    lines: UnixStream,
    streams: Streams,
    records: usize,
}

impl Takeover {
    /// Ends the other process' part, as soon as it says so. Returns how many records came.
    pub(in crate::app) fn go(mut self) -> Result<usize, UpgradeError> {
        self.wire.within(PAUSE_MAX).send(Word::Serving, &[])?;
        answered(&mut self.wire, Word::Go)?;
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        *streams = Some([self.wire.into_stream(), self.lines]);
        Ok(self.records)
    }
}

/// Answers the process before, which still finishes requests, until it is gone.
pub(in crate::app) struct Predecessor {
    streams: Streams,
    vault: Arc<Vault>,
    audit: Arc<Audit>,
    pub(in crate::app) finishing: Arc<AtomicBool>,
}

impl Predecessor {
    /// Questions are answered at once; lines when they are written, which takes as long as the disk
    /// does.
    async fn serve(&self) -> Option<()> {
        let streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner).take();
        let [questions, lines] = streams?.map(from_std);
        // However they end, the other process is gone, or might as well be.
        let _ = tokio::join!(self.questions(questions.ok()?), self.lines(lines.ok()?));
        Some(())
    }

    async fn questions(&self, mut stream: tokio::net::UnixStream) -> Result<(), Broken> {
        while let (Word::Question, question) = words::receive(&mut stream).await? {
            words::send(&mut stream, Word::Answer, &self.vault.answer(&question)).await?;
        }
        Err(Broken::Unexpected)
    }

    async fn lines(&self, mut stream: tokio::net::UnixStream) -> Result<(), Broken> {
        while let (Word::Lines, lines) = words::receive(&mut stream).await? {
            let given = self.audit.record_given(&lines).await;
            words::send(&mut stream, Word::Answer, &words::write_given(given)).await?;
        }
        Err(Broken::Unexpected)
    }
}

fn from_std(stream: UnixStream) -> std::io::Result<tokio::net::UnixStream> {
    stream.set_nonblocking(true)?;
    tokio::net::UnixStream::from_std(stream)
}

#[async_trait]
impl BackgroundService for Predecessor {
    /// Goes on while this process stops: what the other one finishes still counts.
    async fn start(&self, _: ShutdownWatch) {
        let _ = self.serve().await;
        self.finishing.store(false, Ordering::Release);
    }
}
