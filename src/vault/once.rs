//! Requests that carry a key by which they are made once: the first claims the key, and whoever
//! comes with it later is told what became of the first.

use std::time::Duration;

use super::header::{Kind, Scope};
use super::record::{Reader, Writer};
use super::seal::{Address, Opened};
use super::sealed::SALT_BYTES;
use super::store::{Bounds, Share};
use super::usage::Amount;
use super::{Accounts, Draft, Limits, Tenant, Vault, VaultError};
use crate::card::Timestamp;
use crate::secret::{CleartextBody, Random, SecretBytes};

/// A key lives so long, whatever became of its request.
const LIFE: Duration = Duration::from_secs(86_400);

const PRINT_BYTES: usize = 32;

/// A claim without an answer: state, print, the length of nothing.
const BARE_BYTES: usize = 1 + PRINT_BYTES + 4;

/// A key takes a place of its application's whatever comes of it; bytes are for answers alone, so
/// that these never take a key's place.
pub(super) fn bounds(limits: &Limits) -> Bounds {
    let Limits { idempotency, idempotency_bytes, idempotency_per_app, .. } = *limits;
    let part = idempotency_bytes as u128 * idempotency_per_app as u128 / idempotency.max(1) as u128;
    let bytes = usize::try_from(part).unwrap_or(usize::MAX).min(idempotency_bytes);
    let most = Amount { records: idempotency_per_app, bytes };
    let share = Some(Share { most, bare: BARE_BYTES });
    Bounds { records: idempotency, bytes: idempotency_bytes, share }
}

/// The right to say what became of a request. Losing it says that nobody knows.
#[derive(Debug)]
pub struct Claim {
    bits: [u8; 20],
    print: [u8; PRINT_BYTES],
}

/// What is known of a key.
#[derive(Debug)]
pub enum Once {
    /// Nothing until now: this caller makes the request.
    First(Claim),
    /// Another request came with the same key.
    Other,
    /// It is being made.
    InFlight,
    /// It was made, and its answer is not here.
    Unknown,
    /// It was made: its answer.
    Answered(SecretBytes),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    InFlight = 1,
    Unknown = 2,
    Answered = 3,
}

impl Vault {
    /// Claims `key`, which names whoever asks, for the request of these `parts` of a tenant. Of any
    /// number of callers, one is first.
    ///
    /// # Errors
    /// No room, or as many keys of this tenant as it may have.
    pub fn claim_once(
        &self,
        tenant: &Tenant,
        key: &[&[u8]],
        parts: &[&[u8]],
        now: Timestamp,
    ) -> Result<Once, VaultError> {
        let claim = Claim { bits: self.bits_of(key), print: self.print_of(parts) };
        let plain = claim.plain(State::InFlight, b"");
        let draft = Draft {
            address: claim.address(),
            scope: Scope { tenant: tenant.as_str(), accounts: &Accounts::All, mode: None },
            expires: now.plus(LIFE),
            plain: plain.as_bytes(),
        };
        loop {
            if let Ok(opened) = self.open(&draft.address, now, |_| true) {
                return seen(&opened, &claim.print).ok_or(VaultError::Sealing);
            }
            if self.insert_if_free(&draft, &mut Random::fetch(SALT_BYTES), now)? {
                return Ok(Once::First(claim));
            }
        }
    }

    /// Whether a key of this tenant that nobody has claimed would find room.
    ///
    /// # Errors
    /// As for [`Self::claim_once`].
    pub fn room_for_key(&self, tenant: &Tenant) -> Result<(), VaultError> {
        if self.onces.has_place(tenant.as_str()) { Ok(()) } else { Err(VaultError::Full) }
    }

    /// What whoever comes with `key` and these `parts` would be told; nothing where he would be
    /// the first. Nothing is claimed.
    #[must_use]
    pub fn look_once(&self, key: &[&[u8]], parts: &[&[u8]], now: Timestamp) -> Option<Once> {
        let claim = Claim { bits: self.bits_of(key), print: self.print_of(parts) };
        let opened = self.open(&claim.address(), now, |_| true).ok()?;
        seen(&opened, &claim.print)
    }

    /// Keeps the answer for whoever asks again. Where it finds no room it is not here, and that is
    /// what they are told.
    pub fn answer_once(&self, claim: &Claim, answer: &SecretBytes, now: Timestamp) {
        let kept = answer.reveal(|answer| self.advance_once(claim, State::Answered, answer, now));
        if !matches!(kept, Ok(true)) {
            self.lose_once(claim, now);
        }
    }

    /// The request may have been made, and there is no answer to keep.
    pub fn lose_once(&self, claim: &Claim, now: Timestamp) {
        // A record that is gone cannot say anything any more.
        let _ = self.advance_once(claim, State::Unknown, b"", now);
    }

    /// Nothing was sent: the next caller is first again.
    pub fn release_once(&self, claim: &Claim) {
        self.remove(&claim.address());
    }

    fn advance_once(
        &self,
        claim: &Claim,
        state: State,
        answer: &[u8],
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        let opened = self.open(&claim.address(), now, |_| true)?;
        self.advance(&claim.address(), &opened, claim.plain(state, answer).as_bytes())
    }

    fn bits_of(&self, key: &[&[u8]]) -> [u8; 20] {
        let derived = self.ring().marks().derive("once", &[lengths(key).as_bytes()]);
        derived.first_chunk().copied().unwrap_or_default()
    }

    fn print_of(&self, parts: &[&[u8]]) -> [u8; PRINT_BYTES] {
        *self.ring().marks().derive("request", &[lengths(parts).as_bytes()])
    }
}

/// Parts, each behind its length, so that no two lists read alike.
fn lengths(parts: &[&[u8]]) -> CleartextBody {
    parts.iter().fold(Writer::default(), |writer, part| writer.bytes(part)).done()
}

fn seen(opened: &Opened, print: &[u8; PRINT_BYTES]) -> Option<Once> {
    let mut reader = Reader::new(opened.plain());
    let (state, first) = (reader.u8()?, reader.raw(PRINT_BYTES)?);
    let answer = reader.bytes()?;
    if first != print {
        return Some(Once::Other);
    }
    Some(match state {
        state if state == State::InFlight as u8 => Once::InFlight,
        state if state == State::Answered as u8 => Once::Answered(SecretBytes::from_slice(answer)),
        _ => Once::Unknown,
    })
}

impl Claim {
    fn address(&self) -> Address<'_> {
        Address { kind: Kind::Once, bits: &self.bits, further: &[] }
    }

    fn plain(&self, state: State, answer: &[u8]) -> CleartextBody {
        Writer::with_capacity(BARE_BYTES + answer.len())
            .u8(state as u8)
            .raw(&self.print)
            .bytes(answer)
            .done()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Keyring;
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const KEY: &[&[u8]] = &[b"shop", b"order-1"];
    const SALE: &[&[u8]] = &[b"POST", b"/sale", b"body"];

    fn vault() -> Vault {
        Vault::new(Keyring::random(), Limits::default())
    }

    fn shop() -> Tenant {
        Tenant::new("shop")
    }

    fn first(vault: &Vault) -> Claim {
        match vault.claim_once(&shop(), KEY, SALE, NOW).unwrap() {
            Once::First(claim) => claim,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_key_goes_from_claimed_to_answered() {
        let vault = vault();
        let claim = first(&vault);
        assert!(matches!(vault.claim_once(&shop(), KEY, SALE, NOW), Ok(Once::InFlight)));
        vault.answer_once(&claim, &SecretBytes::from_slice(b"200 ok"), NOW);
        let Ok(Once::Answered(answer)) = vault.claim_once(&shop(), KEY, SALE, NOW) else {
            panic!()
        };
        answer.reveal(|answer| assert_eq!(answer, b"200 ok"));
        assert!(matches!(vault.claim_once(&shop(), KEY, SALE, NOW.plus(LIFE)), Ok(Once::First(_))));
    }

    #[test]
    fn looking_claims_nothing_and_is_told_the_same() {
        let vault = vault();
        assert!(vault.look_once(KEY, SALE, NOW).is_none());
        let claim = first(&vault);
        assert!(matches!(vault.look_once(KEY, SALE, NOW), Some(Once::InFlight)));
        assert!(matches!(vault.look_once(KEY, &[b"other"], NOW), Some(Once::Other)));
        vault.answer_once(&claim, &SecretBytes::from_slice(b"200 ok"), NOW);
        assert!(matches!(vault.look_once(KEY, SALE, NOW), Some(Once::Answered(_))));
        assert!(vault.look_once(KEY, SALE, NOW.plus(LIFE)).is_none());
    }

    #[test]
    fn another_request_or_key_is_told_apart_wherever_its_parts_are_cut() {
        let vault = vault();
        first(&vault);
        let other: &[&[u8]] = &[b"POST", b"/saleb", b"ody"];
        assert!(matches!(vault.claim_once(&shop(), KEY, other, NOW), Ok(Once::Other)));
        let stranger: &[&[u8]] = &[b"shopo", b"rder-1"];
        assert!(matches!(vault.claim_once(&shop(), stranger, SALE, NOW), Ok(Once::First(_))));
    }

    #[test]
    fn what_was_not_sent_may_come_again_and_what_nobody_knows_may_not() {
        let vault = vault();
        vault.release_once(&first(&vault));
        let claim = first(&vault);
        vault.lose_once(&claim, NOW);
        assert!(matches!(vault.claim_once(&shop(), KEY, SALE, NOW), Ok(Once::Unknown)));
        let late = NOW.plus(LIFE - Duration::from_secs(1));
        assert!(matches!(vault.claim_once(&shop(), KEY, SALE, late), Ok(Once::Unknown)));
    }

    #[test]
    fn an_answer_that_finds_no_room_is_told_as_unknown_and_not_as_under_way() {
        let limits = Limits { idempotency_bytes: 2000, ..Limits::default() };
        let vault = Vault::new(Keyring::random(), limits);
        let claim = first(&vault);
        vault.answer_once(&claim, &SecretBytes::from_slice(&[b'x'; 1001]), NOW);
        assert!(matches!(vault.claim_once(&shop(), KEY, SALE, NOW), Ok(Once::Unknown)));
        assert!(matches!(vault.look_once(KEY, SALE, NOW), Some(Once::Unknown)));
    }

    #[test]
    fn one_application_cannot_take_all_keys_nor_all_bytes_of_answers() {
        let limits = Limits {
            idempotency: 3,
            idempotency_per_app: 2,
            idempotency_bytes: 300,
            ..Limits::default()
        };
        let vault = Vault::new(Keyring::random(), limits);
        let claim = |tenant: &str, key: &str| {
            vault.claim_once(&Tenant::new(tenant), &[tenant.as_bytes(), key.as_bytes()], SALE, NOW)
        };
        let keep = |tenant: &str, key: &str, bytes: usize| {
            let Ok(Once::First(claim)) = claim(tenant, key) else { panic!("{tenant} {key}") };
            vault.answer_once(&claim, &SecretBytes::from_slice(&vec![b'x'; bytes]), NOW);
            claim
        };
        let told = |tenant: &str, key: &str| match claim(tenant, key) {
            Ok(Once::Answered(answer)) => format!("{} bytes", answer.reveal(<[u8]>::len)),
            Ok(other) => format!("{other:?}"),
            Err(error) => error.to_string(),
        };
        // Two thirds of the bytes are one application's.
        keep("shop", "1", 150);
        keep("shop", "2", 51);
        assert_eq!([told("shop", "1"), told("shop", "2")], ["150 bytes", "Unknown"]);
        assert_eq!(claim("shop", "3").err(), Some(VaultError::Full));
        assert_eq!(vault.room_for_key(&shop()), Err(VaultError::Full));
        let other = keep("other", "1", 150);
        assert_eq!(told("other", "1"), "150 bytes");
        // All are used now, and what is known stays known.
        assert_eq!(claim("third", "1").err(), Some(VaultError::Full));
        assert_eq!([told("shop", "1"), told("shop", "2")], ["150 bytes", "Unknown"]);
        vault.release_once(&other);
        keep("third", "1", 0);
        // With the end of a key's life its place and its bytes are free again.
        let late = NOW.plus(LIFE);
        assert_eq!((vault.sweep(late), vault.len()), (3, 0));
        let again = vault.claim_once(&shop(), KEY, SALE, late);
        assert!(matches!(again, Ok(Once::First(_))), "{again:?}");
    }

    #[test]
    fn answers_never_take_the_place_of_a_key() {
        let limits = Limits {
            idempotency: 9,
            idempotency_per_app: 9,
            idempotency_bytes: 100,
            ..Limits::default()
        };
        let vault = Vault::new(Keyring::random(), limits);
        let key = |key: u8| vault.claim_once(&shop(), &[&[key]], SALE, NOW);
        let Ok(Once::First(claim)) = key(0) else { panic!() };
        vault.answer_once(&claim, &SecretBytes::from_slice(&[b'x'; 100]), NOW);
        assert!((1..9).all(|other| matches!(key(other), Ok(Once::First(_)))));
        assert_eq!(key(9).err(), Some(VaultError::Full));
        assert!(matches!(key(0), Ok(Once::Answered(_))));
    }

    #[test]
    fn of_a_hundred_callers_one_is_first() {
        let vault = vault();
        let count = std::thread::scope(|scope| {
            let claim = || matches!(vault.claim_once(&shop(), KEY, SALE, NOW), Ok(Once::First(_)));
            let threads: Vec<_> = (0..100).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().map(|thread| usize::from(thread.join().unwrap())).sum::<usize>()
        });
        assert_eq!(count, 1);
    }
}
