//! What was seen before: marks that tell a repeated callback from a new one, and the newest value
//! seen under a key. Keys are hashed under a key of the vault's own before they name anything.

use std::time::Duration;

use super::header::{Kind, Scope};
use super::record::Reader;
use super::seal::{Address, SALT_BYTES};
use super::{Draft, Vault, VaultError};
use crate::card::Timestamp;
use crate::secret::Random;

const IN_FLIGHT: u8 = 1;
const DONE: u8 = 2;
/// Longer than an exchange may take by default, and short enough for a provider's next attempt.
const CLAIM_LIFE: Duration = Duration::from_secs(180);
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
    /// [`Mark::New`]. A claim whose holder is never heard of again ends after three minutes.
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
        self.contains(&mark_address(&self.key_bits("mark", key)), now)
    }

    fn set_mark(
        &self,
        key: &[u8],
        state: u8,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Mark, VaultError> {
        let bits = self.key_bits("mark", key);
        let plain = [state];
        let draft = mark_draft(&bits, &plain, now.plus(ttl));
        // A round that fails found a mark that another caller set since, or one that ended.
        for _ in 0..ROUNDS {
            match self.open(&draft.address, now, |_| true) {
                Ok(opened) if opened.plain() == [DONE] => return Ok(Mark::Done),
                Ok(_) => return Ok(Mark::InFlight),
                Err(_) => {}
            }
            if self.insert_if_free(&draft, &mut Random::fetch(SALT_BYTES), now)? {
                return Ok(Mark::New);
            }
        }
        Err(VaultError::Sealing)
    }

    /// Records that a claimed key was dealt with, whether or not the claim still stands.
    ///
    /// # Errors
    /// No room, where the claim is gone.
    pub fn mark_done(&self, key: &[u8], ttl: Duration, now: Timestamp) -> Result<(), VaultError> {
        let (bits, end) = (self.key_bits("mark", key), now.plus(ttl));
        self.put(&mark_draft(&bits, &[DONE], end), &mut Random::fetch(SALT_BYTES))
    }

    /// Gives a claim up: the next caller is told [`Mark::New`]. A key that was dealt with
    /// meanwhile, by a caller who claimed it later, stays so.
    pub fn release(&self, key: &[u8], now: Timestamp) {
        let bits = self.key_bits("mark", key);
        let address = mark_address(&bits);
        if let Ok(claim) = self.open(&address, now, |_| true)
            && claim.plain() == [IN_FLIGHT]
        {
            self.place(address.kind).take_if(&claim.name(), claim.stamp());
        }
    }

    /// Forgets a mark: the next caller is told [`Mark::New`].
    pub fn unmark(&self, key: &[u8]) {
        self.remove(&mark_address(&self.key_bits("mark", key)));
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
}

const fn mark_address(bits: &[u8; 20]) -> Address<'_> {
    Address { kind: Kind::Mark, bits, further: &[] }
}

const fn mark_draft<'a>(bits: &'a [u8; 20], plain: &'a [u8], expires: Timestamp) -> Draft<'a> {
    Draft { address: mark_address(bits), scope: Scope::NOBODY, expires, plain }
}
