//! What was seen before: marks that tell a repeated callback from a new one, and the newest value
//! seen under a key. Keys are hashed under a key of the vault's own before they name anything. A
//! mark is kept in clear, because its state and its end tell nobody anything.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::header::{Kind, Scope};
use super::keyring::OWN;
use super::record::Reader;
use super::seal::Address;
use super::sealed::{Name, SALT_BYTES, Sealed, Stamp};
use super::store::Refused;
use super::{Draft, Vault, VaultError};
use crate::card::Timestamp;
use crate::secret::Random;

const IN_FLIGHT: u8 = 1;
const DONE: u8 = 2;
/// How long dealing with something may take. Longer than any exchange that a configuration allows,
/// and short enough for a provider's next attempt.
pub const CLAIM_LIFE: Duration = Duration::from_secs(360);
/// More callers than this never race for one key.
const ROUNDS: usize = 1000;

/// What is known of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// Nothing until now; from now on it is this caller's.
    New,
    /// Another caller is at it.
    InFlight,
    /// It was dealt with.
    Done,
}

impl Vault {
    /// Claims a key for as long as dealing with it may take: of any number of callers, one is told
    /// [`Mark::New`]. A claim whose holder is never heard of again ends after [`CLAIM_LIFE`].
    ///
    /// # Errors
    /// No room.
    pub fn claim(&self, key: &[u8], now: Timestamp) -> Result<Mark, VaultError> {
        self.set_mark(key, IN_FLIGHT, CLAIM_LIFE, now)
    }

    /// Marks a key as dealt with unless it is already: of any number of callers, one is told
    /// [`Mark::New`].
    ///
    /// # Errors
    /// No room.
    pub fn mark(&self, key: &[u8], ttl: Duration, now: Timestamp) -> Result<Mark, VaultError> {
        self.set_mark(key, DONE, ttl, now)
    }

    /// Whether a key is claimed or dealt with. Nothing is marked.
    #[must_use]
    pub fn is_marked(&self, key: &[u8], now: Timestamp) -> bool {
        self.marks.contains(&self.mark_name("mark", key), now)
    }

    fn set_mark(
        &self,
        key: &[u8],
        state: u8,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Mark, VaultError> {
        let name = self.mark_name("mark", key);
        // A round that fails met a mark that has ended since.
        for _ in 0..ROUNDS {
            if self.set_state_if_free(name, state, now.plus(ttl), now)? {
                return Ok(Mark::New);
            }
            match self.state(name, now) {
                Some(DONE) => return Ok(Mark::Done),
                Some(_) => return Ok(Mark::InFlight),
                None => {}
            }
        }
        Err(VaultError::Sealing)
    }

    /// Records that a claimed key was dealt with, whether or not the claim still stands.
    ///
    /// # Errors
    /// No room, where the claim is gone.
    pub fn mark_done(&self, key: &[u8], ttl: Duration, now: Timestamp) -> Result<(), VaultError> {
        self.set_state(self.mark_name("mark", key), DONE, now.plus(ttl))
    }

    /// Gives up the claim that was made at that time: the next caller is told [`Mark::New`]. A key
    /// that was dealt with meanwhile stays so, and so does the claim of a caller who came when this
    /// one had ended: it ends later.
    pub fn release(&self, key: &[u8], claimed: Timestamp) {
        let name = self.mark_name("mark", key);
        if let Some(claim) = self.marks.get(&name, claimed)
            && claim.state() == Some(IN_FLIGHT)
            && claim.expires() == claimed.plus(CLAIM_LIFE)
        {
            self.marks.take_if(&name, claim.stamp());
        }
    }

    /// Forgets a mark: the next caller is told [`Mark::New`].
    pub fn unmark(&self, key: &[u8]) {
        self.marks.remove(&self.mark_name("mark", key));
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
                if self.insert_if_free(&draft, &mut Random::fetch(SALT_BYTES), now)? {
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
        let derived = self.ring().marks().derive(label, &[key]);
        derived.first_chunk().copied().unwrap_or_default()
    }

    /// What a mark is found by: nobody without the key of this process can tell for what it is.
    pub(super) fn mark_name(&self, label: &str, key: &[u8]) -> Name {
        let derived = self.ring().marks().derive(label, &[key]);
        Name(derived.first_chunk().copied().unwrap_or_default())
    }

    /// The state of a live mark.
    pub(super) fn state(&self, name: Name, now: Timestamp) -> Option<u8> {
        self.marks.get(&name, now)?.state()
    }

    /// Sets a mark unless there is a live one of its name.
    pub(super) fn set_state_if_free(
        &self,
        name: Name,
        state: u8,
        expires: Timestamp,
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        match self.marks.insert(self.new_mark(name, state, expires), now) {
            Ok(()) => Ok(true),
            Err(Refused::Taken) => Ok(false),
            Err(Refused::Full) => Err(VaultError::Full),
        }
    }

    /// Sets a mark in place of the one there may be.
    pub(super) fn set_state(
        &self,
        name: Name,
        state: u8,
        expires: Timestamp,
    ) -> Result<(), VaultError> {
        self.marks.put(self.new_mark(name, state, expires)).map_err(|_| VaultError::Full)
    }

    fn new_mark(&self, name: Name, state: u8, expires: Timestamp) -> Sealed {
        Sealed::mark(name, self.stamps.next(), OWN, expires, state)
    }
}

/// Stamps that differ: the random part is this process's, and the rest counts.
pub(super) struct Stamps {
    process: [u8; STAMP_PART],
    count: AtomicU64,
}

const STAMP_PART: usize = SALT_BYTES / 2;

impl Stamps {
    pub(super) fn draw() -> Self {
        Self { process: Random::fetch(STAMP_PART).take(), count: AtomicU64::new(0) }
    }

    fn next(&self) -> Stamp {
        let count = self.count.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let mut stamp = [0; SALT_BYTES];
        let parts = self.process.iter().chain(&count);
        stamp.iter_mut().zip(parts).for_each(|(place, byte)| *place = *byte);
        Stamp(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_stamps_are_alike_in_one_process_or_in_two() {
        let (one, other) = (Stamps::draw(), Stamps::draw());
        let drawn = [one.next(), one.next(), other.next(), other.next()];
        for (at, stamp) in drawn.iter().enumerate() {
            assert!(!drawn[..at].contains(stamp));
        }
    }
}
