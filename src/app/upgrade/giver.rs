//! The old process: hands over, or goes on.

use std::net::SocketAddr;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::words::{self, Broken, Hello, Refused, Wire, Word, read_proofs, write_proofs};
use super::{ANSWER_MAX, FORMAT, PAUSE_MAX, START_MAX, STEP_MAX};
use crate::audit::{Audit, Given, Record, Released};
use crate::card::Timestamp;
use crate::config::Names;
use crate::process::passing;
use crate::secret::Random;
use crate::telemetry::{Event, Log};
use crate::vault::{Ask, HeldVault, Left, NONCE_BYTES, Role, Vault};

/// Bytes of records in one message, about.
const PART: usize = 256 * 1024;

/// How long nobody is listened to when the process has no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);

/// Waits for a process that takes over, on a thread of its own.
pub(in crate::app) struct Giver {
    pub(in crate::app) meeting: UnixListener,
    /// Copies of the listening sockets.
    pub(in crate::app) sockets: Vec<(SocketAddr, OwnedFd)>,
    pub(in crate::app) vault: Arc<Vault>,
    pub(in crate::app) names: Names,
    pub(in crate::app) audit: Arc<Audit>,
    pub(in crate::app) log: Arc<Log>,
    /// Whether the process before this one still finishes requests.
    pub(in crate::app) finishing: Arc<AtomicBool>,
    pub(in crate::app) over: Over,
}

/// Says that this process has handed over: it stops as if it had been told to.
#[derive(Clone, Default)]
pub(in crate::app) struct Over(Arc<Notify>);

impl Over {
    /// Returns when it has. For one who waits.
    pub(in crate::app) async fn over(&self) {
        self.0.notified().await;
    }
}

/// Why a transfer came to nothing.
enum Failure {
    Refused(Refused),
    Broken(Broken),
    /// The taker says no.
    Declined,
    Stranger,
    /// The system has no randomness, or no descriptors.
    System,
}

impl Failure {
    const fn name(&self) -> &'static str {
        match self {
            Self::Refused(refused) => refused.name(),
            Self::Broken(broken) => broken.name(),
            Self::Declined => "declined",
            Self::Stranger => "stranger",
            Self::System => "system",
        }
    }
}

impl From<Broken> for Failure {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

/// What both sides need for the transfer itself.
struct Agreed {
    nonces: Vec<u8>,
    /// The way for lines of the audit record.
    lines: UnixStream,
}

/// What came of one that did not fail.
struct Handed {
    records: usize,
    pause: Duration,
    left: Left,
}

impl Giver {
    /// Makes the thread that serves whoever comes, one after the other, until one has taken over.
    /// It waits until it is told to; where that is never said, it ends.
    pub(in crate::app) fn ready(self) -> std::io::Result<Sender<()>> {
        let (begin, begun) = channel();
        let thread = std::thread::Builder::new().name("upgrade".to_owned());
        let wait = move || {
            if begun.recv().is_ok() {
                self.serve();
            }
        };
        thread.spawn(wait).map(|_| begin)
    }

    fn serve(self) {
        loop {
            let Ok((stream, _)) = self.meeting.accept() else {
                std::thread::sleep(PAUSE);
                continue;
            };
            match self.hand_over(stream) {
                Ok(Handed { records, pause, left }) => {
                    let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
                    self.log.write(&Event::HandedOver { records, pause_us });
                    self.over.0.notify_one();
                    return drop(left);
                }
                Err(failure) => {
                    self.log.write(&Event::UpgradeRefused { reason: failure.name() });
                }
            }
        }
    }

    fn hand_over(&self, stream: UnixStream) -> Result<Handed, Failure> {
        match passing::is_of_this_user(&stream) {
            Ok(true) => {}
            Ok(false) => return Err(Failure::Stranger),
            Err(_) => return Err(Failure::System),
        }
        let mut wire = Wire::new(stream);
        let agreed = self.agree(wire.within(STEP_MAX));
        let agreed = told(&mut wire, agreed)?;
        wire.within(START_MAX).expect(Word::Ready)?;
        self.transfer(wire, agreed)
    }

    /// Until both know that they have the same keys, and the taker has the sockets.
    fn agree(&self, wire: &mut Wire) -> Result<Agreed, Failure> {
        let hello = wire.expect(Word::Hello)?;
        let hello = Hello::read(&hello).ok_or(Broken::Unexpected)?;
        if hello.format != FORMAT {
            return Err(Failure::Refused(Refused::Format));
        }
        if self.finishing.load(Ordering::Acquire) {
            return Err(Failure::Refused(Refused::Finishing));
        }
        if hello.more.len() != NONCE_BYTES {
            return Err(Broken::Unexpected.into());
        }
        let own: [u8; NONCE_BYTES] = Random::fetch(NONCE_BYTES).take();
        let nonces = [hello.more, &own].concat();
        let proofs = self.vault.proofs(Role::Giver, &nonces);
        if proofs.is_empty() {
            return Err(Failure::Refused(Refused::NoRootKey));
        }
        let began = self.vault.began().as_secs().to_be_bytes();
        let more = [&own, write_proofs(&proofs).as_slice(), &began].concat();
        let hello = Hello { format: FORMAT, version: env!("CARGO_PKG_VERSION"), more: &more };
        wire.send(Word::Hello, &[&hello.write()])?;

        let answer = wire.expect(Word::Proofs)?;
        let (proofs, addresses) = read_proofs(&answer).ok_or(Broken::Unexpected)?;
        if !self.vault.has_same_keys(Role::Taker, &nonces, &proofs) {
            return Err(Failure::Refused(Refused::OtherKeys));
        }
        let lines = self.send_sockets(wire, addresses)?;
        Ok(Agreed { nonces, lines })
    }

    /// The meeting place, one end of the way for lines, and the sockets of the addresses that the
    /// taker names. Returns the other end.
    fn send_sockets(&self, wire: &mut Wire, addresses: &[u8]) -> Result<UnixStream, Failure> {
        let addresses = std::str::from_utf8(addresses).map_err(|_| Broken::Unexpected)?;
        let (lines, theirs) = UnixStream::pair().map_err(Broken::from)?;
        let mut sockets: Vec<BorrowedFd<'_>> = vec![self.meeting.as_fd(), theirs.as_fd()];
        let mut there = Vec::new();
        for address in addresses.lines() {
            let known = self.sockets.iter().find(|(known, _)| known.to_string() == address);
            there.push(u8::from(known.is_some()));
            sockets.extend(known.map(|(_, socket)| socket.as_fd()));
        }
        wire.send(Word::Sockets, &[&there])?;
        passing::send_descriptors(wire.stream(), &sockets).map_err(Broken::from)?;
        Ok(lines)
    }

    /// The vault, and once that was taken the audit record.
    fn give(
        &self,
        wire: &mut Wire,
        held: &HeldVault<'_>,
        nonces: &[u8],
    ) -> Result<(usize, Released<'_>), Failure> {
        let records = match send_vault(wire, held, &self.names, nonces) {
            // Whoever says no does not read to the end.
            Err(Failure::Broken(Broken::Gone))
                if matches!(wire.receive(), Ok((Word::Refused, _))) =>
            {
                return Err(Failure::Declined);
            }
            sent => sent?,
        };
        match wire.receive()? {
            (Word::Taken, _) => {}
            (Word::Refused, _) => return Err(Failure::Declined),
            _ => return Err(Broken::Unexpected.into()),
        }
        let released = self.audit.release().ok_or(Failure::Refused(Refused::Audit))?;
        Ok((records, released))
    }

    fn transfer(&self, mut wire: Wire, agreed: Agreed) -> Result<Handed, Failure> {
        wire.within(PAUSE_MAX);
        let begun = Instant::now();
        let held = self.vault.hold();
        let given = self.give(&mut wire, &held, &agreed.nonces);
        let (records, released) = told(&mut wire, given)?;
        if let Err(broken) = settle(&mut wire) {
            // The taker learns that it comes to nothing, and ends: it may have the record's lock.
            drop(wire);
            drop(held);
            let started = Record::Started { version: env!("CARGO_PKG_VERSION") };
            // What cannot be opened again is told by `portcullis_audit_up`, and no card leaves.
            let _ = released.take_back(&[started]);
            return Err(broken.into());
        }
        let (questions, lines) = (Link::over(wire), Link::over(Wire::new(agreed.lines)));
        let ask: Ask = Arc::new(move |question| match questions.ask(Word::Question, question) {
            Asked::Answered(answer) => Some(answer),
            Asked::Unanswered | Asked::Unasked => None,
        });
        let left = held.give_up(&ask);
        let pause = begun.elapsed();
        released.give_up(Box::new(move |given| match lines.ask(Word::Lines, given) {
            Asked::Answered(answer) => words::read_given(&answer),
            Asked::Unanswered => Given::Unknown,
            Asked::Unasked => Given::Refused,
        }));
        Ok(Handed { records, pause, left })
    }
}

/// Has the other side told why, where it is refused. The refusal stays the reason where the other
/// side is gone by then.
fn told<T>(wire: &mut Wire, outcome: Result<T, Failure>) -> Result<T, Failure> {
    if let Err(Failure::Refused(refused)) = &outcome {
        let hello = Hello { format: FORMAT, version: env!("CARGO_PKG_VERSION"), more: &[] };
        let _ = wire.send(Word::Refused, &[&[*refused as u8], &hello.write()]);
    }
    outcome
}

/// What names stand for, then every record that lives, behind its length, in messages of some size.
fn send_vault(
    wire: &mut Wire,
    held: &HeldVault<'_>,
    names: &Names,
    nonces: &[u8],
) -> Result<usize, Failure> {
    let keys = held.keys(nonces).ok_or(Failure::Refused(Refused::NoRootKey))?;
    wire.send(Word::Keys, &[&keys])?;
    wire.send(Word::Names, &[&names.write()])?;
    let (mut part, mut count) = (Vec::with_capacity(PART + PART / 4), 0);
    for record in held.records(Timestamp::system()) {
        let length = u32::try_from(record.len()).map_err(|_| Broken::Unexpected)?;
        part.extend_from_slice(&length.to_be_bytes());
        part.extend_from_slice(record);
        count += 1;
        if part.len() >= PART {
            wire.send(Word::Records, &[&part])?;
            part.clear();
        }
    }
    wire.send(Word::Records, &[&part])?;
    wire.send(Word::End, &[&u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes()])?;
    Ok(count)
}

/// The last steps: with `Go` everything is the taker's.
fn settle(wire: &mut Wire) -> Result<(), Broken> {
    wire.send(Word::Released, &[])?;
    wire.expect(Word::Serving)?;
    wire.send(Word::Go, &[])
}

/// A way to the process that has the vault: one question at a time. An answer that is late is
/// passed over when it comes, and the way stays; once half a message is missing there is none any
/// more, because nobody could tell where the next one begins.
struct Link(Mutex<Option<Way>>);

struct Way {
    wire: Wire,
    /// Answers that nobody waits for any more.
    late: usize,
}

/// What came of a question.
enum Asked {
    Answered(Vec<u8>),
    /// It went out, and nobody knows more.
    Unanswered,
    /// It did not go out whole.
    Unasked,
}

impl Link {
    fn over(wire: Wire) -> Self {
        Self(Mutex::new(Some(Way { wire, late: 0 })))
    }

    fn ask(&self, word: Word, question: &[u8]) -> Asked {
        let mut link = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(way) = link.as_mut() else { return Asked::Unasked };
        if way.ask(word, question).is_err() {
            *link = None;
            return Asked::Unasked;
        }
        match way.answer() {
            Ok(Some(answer)) => Asked::Answered(answer),
            Ok(None) => Asked::Unanswered,
            Err(_) => {
                *link = None;
                Asked::Unanswered
            }
        }
    }
}

impl Way {
    fn ask(&mut self, word: Word, question: &[u8]) -> Result<(), Broken> {
        self.wire.within(ANSWER_MAX).send(word, &[question])?;
        self.late += 1;
        Ok(())
    }

    /// The answer to the last question, if it comes in time.
    fn answer(&mut self) -> Result<Option<Vec<u8>>, Broken> {
        while self.wire.is_told()? {
            let answer = self.wire.expect(Word::Answer)?;
            self.late -= 1;
            if self.late == 0 {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }
}
