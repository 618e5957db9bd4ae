//! What was seen before: marks that tell a repeated callback from a new one, and the newest value
//! seen under a key. Keys are hashed under the root key before they name anything.

use std::time::Duration;

use super::record::Reader;
use super::seal::{Address, Kind, Scope};
use super::{Draft, Vault, VaultError};
use crate::card::Timestamp;

const IN_FLIGHT: u8 = 1;
const DONE: u8 = 2;
/// More callers than this never race for one key.
const ROUNDS: usize = 1000;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing until now; from now on it is in flight, by this caller.
    New,
    /// Another caller is at it.
    InFlight,
    /// It was dealt with.
    Done,
}

impl Vault {
    /// Marks a key: of any number of callers, one is told [`Mark::New`].
    ///
    /// # Errors
    /// No room.
    pub fn mark(&self, key: &[u8], ttl: Duration, now: Timestamp) -> Result<Mark, VaultError> {
        let bits = self.key_bits("mark", key);
        let address = Address { kind: Kind::Mark, bits: &bits, further: &[] };
        let draft =
            Draft { address, scope: Scope::NOBODY, expires: now.plus(ttl), plain: &[IN_FLIGHT] };
        match self.open(&address, now, |_| true) {
            Ok(opened) if opened.plain() == [DONE] => return Ok(Mark::Done),
            Ok(_) => return Ok(Mark::InFlight),
            Err(_) => {}
        }
        // Not free: somebody marked it between the look and the insertion.
        let inserted = self.insert_if_free(&draft, now)?;
        Ok(if inserted { Mark::New } else { Mark::InFlight })
    }

    /// Records that a marked key was dealt with; it keeps its old end.
    ///
    /// # Errors
    /// No such mark.
    pub fn mark_done(&self, key: &[u8], now: Timestamp) -> Result<(), VaultError> {
        let bits = self.key_bits("mark", key);
        let address = Address { kind: Kind::Mark, bits: &bits, further: &[] };
        let opened = self.open(&address, now, |_| true)?;
        let done = self.advance(&address, &opened, &[DONE])?;
        if done { Ok(()) } else { Err(VaultError::NotFound) }
    }

    /// Forgets a mark: the next caller is told [`Mark::New`].
    pub fn unmark(&self, key: &[u8]) {
        let bits = self.key_bits("mark", key);
        self.remove(&Address { kind: Kind::Mark, bits: &bits, further: &[] });
    }

    /// Records the greatest value seen under a key; false when `value` is smaller than one seen
    /// before. An equal one is not: whether it is a repetition is a mark's business.
    ///
    /// # Errors
    /// No room.
    pub fn newest(
        &self,
        key: &[u8],
        value: u64,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        let bits = self.key_bits("newest", key);
        let address = Address { kind: Kind::Newest, bits: &bits, further: &[] };
        let plain = value.to_be_bytes();
        let draft = Draft { address, scope: Scope::NOBODY, expires: now.plus(ttl), plain: &plain };
        // A round that fails found another caller's greater value.
        for _ in 0..ROUNDS {
            let Ok(opened) = self.open(&address, now, |_| true) else {
                if self.insert_if_free(&draft, now)? {
                    return Ok(true);
                }
                continue;
            };
            let seen = Reader::new(opened.plain()).u64().ok_or(VaultError::Sealing)?;
            if value <= seen {
                return Ok(value == seen);
            }
            if self.advance(&address, &opened, &plain)? {
                return Ok(true);
            }
        }
        Err(VaultError::Sealing)
    }

    fn key_bits(&self, label: &str, key: &[u8]) -> [u8; 20] {
        let derived = self.keyring.current().derive(label, &[key]);
        derived.first_chunk().copied().unwrap_or_default()
    }
}
