//! What goes over the socket: a length, a word, bytes. Every wait has an end.

use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::audit::Given;
use crate::vault::Proofs;

/// Longer than any record, and than a part of many.
const LENGTH_MAX: usize = 64 << 20;

/// Length and word.
const HEAD: usize = 5;

/// What a message is. `Hello` and `Refused` look alike in every form of the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    Hello = 1,
    Refused = 2,
    Proofs = 3,
    Sockets = 4,
    Ready = 5,
    Keys = 6,
    Records = 7,
    End = 8,
    Taken = 9,
    Released = 10,
    Serving = 11,
    Go = 12,
    Question = 13,
    Lines = 14,
    Answer = 15,
    Names = 16,
}

impl Word {
    const ALL: [Self; 16] = [
        Self::Hello,
        Self::Refused,
        Self::Proofs,
        Self::Sockets,
        Self::Ready,
        Self::Keys,
        Self::Records,
        Self::End,
        Self::Taken,
        Self::Released,
        Self::Serving,
        Self::Go,
        Self::Question,
        Self::Lines,
        Self::Answer,
        Self::Names,
    ];

    fn of(code: u8) -> Result<Self, Broken> {
        Self::ALL.into_iter().find(|word| *word as u8 == code).ok_or(Broken::Unexpected)
    }
}

/// Why the running process does not hand over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Refused {
    /// The two programs know no common form.
    Format = 1,
    /// No root key is configured: nobody else could open what is sealed.
    NoRootKey = 2,
    /// The root keys or their versions are not the same.
    OtherKeys = 3,
    /// The process before it still finishes requests.
    Finishing = 4,
    /// Its audit record cannot be closed.
    Audit = 5,
}

impl Refused {
    const ALL: [Self; 5] =
        [Self::Format, Self::NoRootKey, Self::OtherKeys, Self::Finishing, Self::Audit];

    pub(super) fn of(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|refused| *refused as u8 == code)
    }

    /// A stable word for the log.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Format => "format",
            Self::NoRootKey => "no_root_key",
            Self::OtherKeys => "other_keys",
            Self::Finishing => "finishing",
            Self::Audit => "audit",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Format => {
                "the two versions know no common form of an upgrade; stop it and start this one"
            }
            Self::NoRootKey => {
                "vault.root_key is not set; nobody else could open what a random key sealed"
            }
            Self::OtherKeys => {
                "vault.root_key or vault.root_keys are not the same; change them before or after, \
                 by SIGHUP"
            }
            Self::Finishing => "it still finishes requests of the one before; try again later",
            Self::Audit => "it cannot close its audit record",
        })
    }
}

/// Why a transfer cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Broken {
    /// The other side is gone.
    Gone,
    /// The other side took too long.
    Late,
    /// The other side said what nobody expects here.
    Unexpected,
    /// The system refuses, in its own words.
    Io(String),
}

impl Broken {
    /// A stable word for the log.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Late => "late",
            Self::Unexpected => "unexpected",
            Self::Io(_) => "system",
        }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => out.write_str("the other side is gone"),
            Self::Late => out.write_str("the other side took too long"),
            Self::Unexpected => out.write_str("the other side says what is not expected here"),
            Self::Io(words) => out.write_str(words),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionReset => Self::Gone,
            // What a timeout of a socket is called.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Io(error.to_string()),
        }
    }
}

/// One end of the socket, with a time at which patience ends.
pub(super) struct Wire {
    stream: UnixStream,
    until: Instant,
    /// The first byte of a message, where it was waited for by itself.
    first: Option<u8>,
}

impl Wire {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, until: Instant::now(), first: None }
    }

    /// Gives what follows so much time, all together.
    pub(super) fn within(&mut self, time: Duration) -> &mut Self {
        self.until = Instant::now() + time;
        self
    }

    pub(super) const fn stream(&self) -> &UnixStream {
        &self.stream
    }

    pub(super) fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn left(&self) -> Result<Option<Duration>, Broken> {
        let left = self.until.saturating_duration_since(Instant::now());
        // No time at all means no end to the kernel.
        if left.is_zero() { Err(Broken::Late) } else { Ok(Some(left)) }
    }

    pub(super) fn send(&mut self, word: Word, parts: &[&[u8]]) -> Result<(), Broken> {
        let message = framed(word, parts)?;
        self.stream.set_write_timeout(self.left()?)?;
        Ok(self.stream.write_all(&message)?)
    }

    /// Whether a message begins in time. Where none does, nothing has been read.
    pub(super) fn is_told(&mut self) -> Result<bool, Broken> {
        let mut first = [0];
        let told = self.left().and_then(|left| {
            self.stream.set_read_timeout(left)?;
            Ok(self.stream.read_exact(&mut first)?)
        });
        match told {
            Ok(()) => {
                self.first = Some(first[0]);
                Ok(true)
            }
            Err(Broken::Late) => Ok(false),
            Err(broken) => Err(broken),
        }
    }

    pub(super) fn receive(&mut self) -> Result<(Word, Vec<u8>), Broken> {
        let mut head = [0; HEAD];
        let known = self.first.take();
        let unread = match (&mut head, known) {
            ([first, rest @ ..], Some(known)) => {
                *first = known;
                rest.as_mut_slice()
            }
            (head, None) => head.as_mut_slice(),
        };
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read_exact(unread)?;
        let (word, length) = opened(head)?;
        let mut body = vec![0; length];
        self.stream.set_read_timeout(self.left()?)?;
        self.stream.read_exact(&mut body)?;
        Ok((word, body))
    }

    /// A message of this word, and no other.
    pub(super) fn expect(&mut self, word: Word) -> Result<Vec<u8>, Broken> {
        let (found, body) = self.receive()?;
        if found == word { Ok(body) } else { Err(Broken::Unexpected) }
    }
}

fn framed(word: Word, parts: &[&[u8]]) -> Result<Vec<u8>, Broken> {
    let length = parts.iter().map(|part| part.len()).sum::<usize>();
    let counted = u32::try_from(length).ok().filter(|_| length <= LENGTH_MAX);
    let counted = counted.ok_or(Broken::Unexpected)?;
    let mut message = Vec::with_capacity(HEAD + length);
    message.extend_from_slice(&counted.to_be_bytes());
    message.push(word as u8);
    parts.iter().for_each(|part| message.extend_from_slice(part));
    Ok(message)
}

fn opened([a, b, c, d, word]: [u8; HEAD]) -> Result<(Word, usize), Broken> {
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    if length > LENGTH_MAX { Err(Broken::Unexpected) } else { Ok((Word::of(word)?, length)) }
}

/// The same for the end that answers, beside everything else that a process does.
pub(super) async fn receive(
    stream: &mut tokio::net::UnixStream,
) -> Result<(Word, Vec<u8>), Broken> {
    let mut head = [0; HEAD];
    stream.read_exact(&mut head).await?;
    let (word, length) = opened(head)?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((word, body))
}

pub(super) async fn send(
    stream: &mut tokio::net::UnixStream,
    word: Word,
    body: &[u8],
) -> Result<(), Broken> {
    Ok(stream.write_all(&framed(word, &[body])?).await?)
}

/// What every form begins with.
const MAGIC: &[u8; 8] = b"pcupgrad";

/// The first message of each side: the form, the program's version, and what the form adds.
pub(super) struct Hello<'m> {
    pub(super) format: u16,
    pub(super) version: &'m str,
    pub(super) more: &'m [u8],
}

impl<'m> Hello<'m> {
    pub(super) fn write(&self) -> Vec<u8> {
        let length = u8::try_from(self.version.len()).unwrap_or(u8::MAX);
        let version = self.version.as_bytes().get(..usize::from(length)).unwrap_or_default();
        let format = self.format.to_be_bytes();
        [MAGIC.as_slice(), &format, &[length], version, self.more].concat()
    }

    pub(super) fn read(bytes: &'m [u8]) -> Option<Self> {
        let (format, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (length, rest) = rest.split_first()?;
        let (version, more) = rest.split_at_checked(usize::from(*length))?;
        let version = std::str::from_utf8(version).ok()?;
        Some(Self { format: u16::from_be_bytes(*format), version, more })
    }
}

/// Versions of root keys, each with its proof.
pub(super) fn write_proofs(proofs: &[(u32, [u8; 32])]) -> Vec<u8> {
    let count = u8::try_from(proofs.len()).unwrap_or(u8::MAX);
    let mut bytes = vec![count];
    for (version, proof) in proofs {
        bytes.extend_from_slice(&version.to_be_bytes());
        bytes.extend_from_slice(proof);
    }
    bytes
}

/// Those, and what stands behind them.
pub(super) fn read_proofs(bytes: &[u8]) -> Option<(Proofs, &[u8])> {
    let (count, mut rest) = bytes.split_first()?;
    let mut proofs = Proofs::new();
    for _ in 0..*count {
        let (version, behind) = rest.split_first_chunk()?;
        let (proof, behind) = behind.split_first_chunk()?;
        proofs.push((u32::from_be_bytes(*version), *proof));
        rest = behind;
    }
    Some((proofs, rest))
}

/// What became of lines of the audit record, as the answer to them.
pub(super) const fn write_given(given: Given) -> [u8; 1] {
    match given {
        Given::Refused => [0],
        Given::Written => [1],
        Given::Unknown => [2],
    }
}

pub(super) const fn read_given(answer: &[u8]) -> Given {
    match answer {
        [0] => Given::Refused,
        [1] => Given::Written,
        _ => Given::Unknown,
    }
}
