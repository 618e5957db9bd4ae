//! Relays: a payload that is passed on at most once, and the answer to it. The state goes
//! issued, relaying, done, each step by compare-and-set; only a relay of which nothing was sent
//! goes back to issued.

use std::time::Duration;

use super::header::{Kind, Scope};
use super::record::{Reader, Writer};
use super::seal::{Address, Opened};
use super::sealed::SALT_BYTES;
use super::{Draft, Vault, VaultError};
use crate::card::{RelayId, Timestamp};
use crate::secret::{CleartextBody, Random, SecretBytes};

/// How far a relay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayState {
    /// Nobody has used it.
    Issued,
    /// It is being passed on, or was and nobody knows what came of it.
    Relaying,
    /// It was passed on, and the answer is here.
    Done,
}

/// A relay as it stands.
#[derive(Debug)]
pub struct Relay {
    /// How far it has come.
    pub state: RelayState,
    /// What was kept; nothing once the relay is done.
    pub payload: SecretBytes,
}

/// What became of the wish to pass a relay on.
#[derive(Debug)]
pub enum Begun {
    /// This caller passes it on, nobody else.
    First(SecretBytes),
    /// Another caller does, or did and never told.
    InFlight,
    /// It was passed on: the answer.
    Done(SecretBytes),
}

impl RelayState {
    const fn code(self) -> u8 {
        match self {
            Self::Issued => 1,
            Self::Relaying => 2,
            Self::Done => 3,
        }
    }

    const fn read(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Issued),
            2 => Some(Self::Relaying),
            3 => Some(Self::Done),
            _ => None,
        }
    }
}

/// The fields of a record, still in the buffer it was opened in.
struct Fields<'a> {
    state: RelayState,
    payload: &'a [u8],
    result: &'a [u8],
}

impl<'a> Fields<'a> {
    fn read(opened: &'a Opened) -> Option<Self> {
        let mut reader = Reader::new(opened.plain());
        let state = RelayState::read(reader.u8()?)?;
        let (payload, result) = (reader.bytes()?, reader.bytes()?);
        reader.end()?;
        Some(Self { state, payload, result })
    }

    fn write(&self) -> CleartextBody {
        Writer::with_capacity(9 + self.payload.len() + self.result.len())
            .u8(self.state.code())
            .bytes(self.payload)
            .bytes(self.result)
            .done()
    }
}

impl Vault {
    /// Keeps a payload to be passed on once.
    ///
    /// # Errors
    /// No room.
    pub fn keep_relay(
        &self,
        payload: SecretBytes,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<RelayId, VaultError> {
        let id = RelayId::random();
        let plain = payload
            .reveal(|payload| Fields { state: RelayState::Issued, payload, result: b"" }.write());
        let draft = Draft {
            address: relay_address(&id),
            scope: Scope::NOBODY,
            expires: now.plus(ttl),
            plain: plain.as_bytes(),
        };
        self.insert(&draft, &mut Random::fetch(SALT_BYTES), now)?;
        Ok(id)
    }

    /// A relay as it stands; changes nothing.
    ///
    /// # Errors
    /// No such relay.
    pub fn relay(&self, id: &RelayId, now: Timestamp) -> Result<Relay, VaultError> {
        let opened = self.open(&relay_address(id), now, |_| true)?;
        let fields = Fields::read(&opened).ok_or(VaultError::NotFound)?;
        let payload = SecretBytes::from_slice(fields.payload);
        Ok(Relay { state: fields.state, payload })
    }

    /// Claims the right to pass a relay on: of any number of callers, one is first.
    ///
    /// # Errors
    /// No such relay.
    pub fn begin_relay(&self, id: &RelayId, now: Timestamp) -> Result<Begun, VaultError> {
        let address = relay_address(id);
        // A round that fails found another caller's step; after three steps there is none left.
        loop {
            let opened = self.open(&address, now, |_| true)?;
            let fields = Fields::read(&opened).ok_or(VaultError::NotFound)?;
            match fields.state {
                RelayState::Relaying => return Ok(Begun::InFlight),
                RelayState::Done => return Ok(Begun::Done(SecretBytes::from_slice(fields.result))),
                RelayState::Issued => {}
            }
            let next = Fields { state: RelayState::Relaying, ..fields };
            if self.advance(&address, &opened, next.write().as_bytes())? {
                return Ok(Begun::First(SecretBytes::from_slice(next.payload)));
            }
        }
    }

    /// Records the answer to a relay that was passed on, in place of the payload.
    ///
    /// # Errors
    /// No such relay, or none that is being passed on; no room for an answer longer than the
    /// payload, which leaves the relay as one that was passed on.
    pub fn finish_relay(
        &self,
        id: &RelayId,
        result: SecretBytes,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let moved =
            result.reveal(|result| self.leave_relaying(id, RelayState::Done, result, now))?;
        if moved { Ok(()) } else { Err(VaultError::NotFound) }
    }

    /// Gives up a relay of which nothing was sent: the next caller is first again.
    pub fn abandon_relay(&self, id: &RelayId, now: Timestamp) {
        // A relay that is gone or was finished has nothing to give up.
        let _ = self.leave_relaying(id, RelayState::Issued, b"", now);
    }

    fn leave_relaying(
        &self,
        id: &RelayId,
        state: RelayState,
        result: &[u8],
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        let address = relay_address(id);
        let opened = self.open(&address, now, |_| true)?;
        let fields = Fields::read(&opened).ok_or(VaultError::NotFound)?;
        if fields.state != RelayState::Relaying {
            return Ok(false);
        }
        // Whatever was passed on, nobody needs any more.
        let payload = if state == RelayState::Done { b"" } else { fields.payload };
        let next = Fields { state, payload, result };
        self.advance(&address, &opened, next.write().as_bytes())
    }
}

fn relay_address(id: &RelayId) -> Address<'_> {
    Address { kind: Kind::Relay, bits: id.random_part(), further: &[] }
}
