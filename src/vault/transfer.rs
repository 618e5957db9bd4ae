//! A vault that goes from one process to the next, whole: records as they lie sealed in memory, and
//! the keys that no configuration has, sealed under the root key that both read for themselves.
//!
//! While a vault is held nobody changes it, and whoever wants to waits. It is let go in one of two
//! ways: as it was, or handed over, and then there is one store again, in the other process
//! (`elsewhere.rs`). Bytes go in and out here; sockets are somebody else's.

use std::fmt;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::elsewhere::{Elsewhere, Place};
use super::header::{Kind, Scope};
use super::keyring::{Keyring, OwnKeys};
use super::memory::{Held, Records};
use super::record::{Reader, Writer};
use super::seal::{Address, KEY_BYTES};
use super::sealed::{SALT_BYTES, Sealed};
use super::store::Refused;
use super::{Tenant, Vault};
use crate::card::Timestamp;
use crate::secret::{CleartextBody, Random, ct_eq};

/// Asks the process that has the records. Nothing when it does not answer.
pub type Ask = Arc<dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync>;

/// Bytes that each side draws, so that no proof serves twice.
pub const NONCE_BYTES: usize = 32;

/// For each configured root key its version and what only a holder of the key can compute.
pub type Proofs = Vec<(u32, [u8; KEY_BYTES])>;

/// Which side proves that it has the root keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The process that has the records.
    Giver,
    /// The process that takes them over.
    Taker,
}

/// Why a vault cannot be taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TransferError {
    /// What came is no record, or no keys.
    Malformed,
    /// The bounds of this vault are narrower than what the other one holds.
    NoRoom,
}

impl fmt::Display for TransferError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Malformed => "what came is no record of a vault",
            Self::NoRoom => {
                "more records than vault.capacity, vault.states, vault.marks or vault.idempotency \
                 allow"
            }
        })
    }
}

impl std::error::Error for TransferError {}

/// A vault that nobody can use until this is dropped or given up.
pub struct HeldVault<'v> {
    vault: &'v Vault,
    handed_over: MutexGuard<'v, bool>,
    stores: [Held<'v>; 4],
}

impl fmt::Debug for HeldVault<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("HeldVault(..)")
    }
}

/// Records that were handed over, to be dropped where that holds nobody up.
#[must_use = "dropping takes a while"]
pub struct Left(#[expect(dead_code, reason = "is there to be dropped")] Vec<Records>);

impl HeldVault<'_> {
    /// Every record that still lives, sealed.
    pub fn records(&self, now: Timestamp) -> impl Iterator<Item = &[u8]> {
        let all = self.stores.iter().flat_map(Held::records);
        all.filter(move |sealed| sealed.expires() > now).map(Sealed::bytes)
    }

    /// The keys that no configuration has, sealed under the root key for this transfer alone. None
    /// where there is no configured root key.
    #[must_use]
    pub fn keys(&self, nonces: &[u8]) -> Option<Vec<u8>> {
        let ring = self.vault.ring();
        ring.versions_configured().next()?;
        let mut random = Random::fetch(BITS_BYTES + SALT_BYTES);
        let bits = random.take();
        let address = keys_address(&bits, nonces);
        let root = ring.current(Kind::Text);
        let named = (root.name(&address), random.take());
        let plain = ring.own_keys()?.write();
        let never = Timestamp::from_millis(u64::MAX);
        let sealed = root.seal(&address, named, &Scope::NOBODY, never, plain.as_bytes())?;
        Some([&bits, sealed.bytes()].concat())
    }

    /// Lets everybody go on, with the records of the process that answers.
    pub fn give_up(mut self, ask: &Ask) -> Left {
        *self.handed_over = true;
        let places = [Place::Cards, Place::States, Place::Marks, Place::Onces];
        let stores = self.stores.into_iter().zip(places);
        let left = stores.flat_map(|(held, place)| held.give_up(Elsewhere::new(ask, place)));
        Left(left.collect())
    }
}

const BITS_BYTES: usize = 20;

fn keys_address<'a>(bits: &'a [u8; BITS_BYTES], nonces: &'a [u8]) -> Address<'a> {
    Address { kind: Kind::Text, bits, further: nonces }
}

impl OwnKeys<'_> {
    fn write(&self) -> CleartextBody {
        let writer = Writer::with_capacity(3 * KEY_BYTES).raw(self.marks).raw(self.fingerprints);
        match self.random {
            Some(random) => writer.raw(random),
            None => writer,
        }
        .done()
    }

    fn read(bytes: &[u8]) -> Option<OwnKeys<'_>> {
        let mut reader = Reader::new(bytes);
        let (marks, fingerprints) = (reader.chunk()?, reader.chunk()?);
        let random = reader.chunk();
        reader.end()?;
        Some(OwnKeys { marks, fingerprints, random })
    }
}

impl Vault {
    /// Waits for the operations under way, and has all others wait.
    #[must_use]
    pub fn hold(&self) -> HeldVault<'_> {
        let handed_over = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        let stores = self.stores().map(super::Store::hold);
        HeldVault { vault: self, handed_over, stores }
    }

    /// What shows the other side that this vault has the same root keys, and shows nobody a key.
    /// `nonces` are both sides'.
    #[must_use]
    pub fn proofs(&self, role: Role, nonces: &[u8]) -> Proofs {
        let ring = self.ring();
        ring.versions_configured()
            .map(|version| (version, ring.proof(version, role, nonces)))
            .collect()
    }

    /// Whether the other side has the same root keys under the same versions, at least one.
    #[must_use]
    pub fn has_same_keys(
        &self,
        role: Role,
        nonces: &[u8],
        proofs: &[(u32, [u8; KEY_BYTES])],
    ) -> bool {
        let own = self.proofs(role, nonces);
        let pairs = || own.iter().zip(proofs);
        !own.is_empty()
            && own.len() == proofs.len()
            && pairs().all(|(own, given)| own.0 == given.0 && ct_eq(&own.1, &given.1))
    }

    /// Takes over the keys of the process before. Done before any record is taken.
    ///
    /// # Errors
    /// They are not what [`HeldVault::keys`] made for these nonces.
    pub fn take_keys(&self, keys: &[u8], nonces: &[u8]) -> Result<(), TransferError> {
        let opened = || {
            let (bits, sealed) = keys.split_first_chunk()?;
            let address = keys_address(bits, nonces);
            let ring = self.ring();
            let root = ring.current(Kind::Text);
            let opened = root.open(&address, root.name(&address), Sealed::given(sealed)?)?;
            OwnKeys::read(opened.plain()).map(|keys| ring.taking_over(&keys))
        };
        let ring: Keyring = opened().ok_or(TransferError::Malformed)?;
        self.keyring.store(Arc::new(ring));
        Ok(())
    }

    /// Takes over a record of the process before.
    ///
    /// # Errors
    /// It is none, or finds no room.
    pub fn take_record(&self, bytes: &[u8], now: Timestamp) -> Result<(), TransferError> {
        let mut sealed = Sealed::given(bytes).ok_or(TransferError::Malformed)?;
        sealed.expire_code(now);
        let header = sealed.header().ok_or(TransferError::Malformed)?;
        let kind = header.kind().ok_or(TransferError::Malformed)?;
        let session =
            (kind == Kind::Session).then(|| (Tenant::new(header.tenant()), header.expires));
        match self.place(kind).insert(sealed, now) {
            Ok(()) => {}
            Err(Refused::Full) => return Err(TransferError::NoRoom),
            Err(Refused::Taken) => return Err(TransferError::Malformed),
        }
        if let Some((tenant, expires)) = session {
            self.open_sessions.taken_over(tenant, expires);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::super::code::CODE_BYTES;
    use super::super::sealed::TAG_BYTES;
    use super::super::{
        Account, Accounts, Audience, CvvLease, Guarded, KeyringError, Limits, Mark, Once, Owner,
        Session, VaultError,
    };
    use super::*;
    use crate::card::{Capture, Card, Cvv, CvvToken, Expiry, Mode, Pan, Token};
    use crate::secret::SecretBytes;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const NONCES: &[u8] = &[7; 2 * NONCE_BYTES];
    const TTL: Duration = Duration::from_secs(600);

    fn vault(key: u8) -> Arc<Vault> {
        bounded(key, Limits::default())
    }

    fn bounded(key: u8, limits: Limits) -> Arc<Vault> {
        let key = SecretBytes::from_slice(&[key; 32]);
        Arc::new(Vault::new(Keyring::of(&[(1, Some(&key))]).unwrap(), limits))
    }

    fn owner() -> Owner {
        Owner { tenant: Tenant::new("shop"), accounts: Accounts::All, mode: Mode::Test }
    }

    fn audience() -> Audience {
        let (tenant, account) = (Tenant::new("shop"), Account::new("paymega"));
        Audience { tenant, account, mode: Mode::Test }
    }

    fn capture() -> Capture {
        let pan = Pan::parse(b"4111111111111111").unwrap();
        let card = Card { pan, holder: None, expiry: Expiry::parse("10", "35").unwrap() };
        Capture { card, cvv: Some(cvv()) }
    }

    fn cvv() -> Cvv {
        Cvv::parse(b"123").unwrap()
    }

    fn take(
        vault: &Vault,
        cvv_token: &CvvToken,
        token: &Token,
    ) -> Result<(Cvv, CvvLease), VaultError> {
        let (_, found) = vault.redeem(token, &audience(), NOW)?.into_parts();
        vault.take_cvv(cvv_token, token, found, NOW)
    }

    fn session() -> Session {
        Session {
            owner: owner(),
            origin: "https://shop.test".to_owned(),
            return_url: String::new(),
            theme: String::new(),
            cards_left: 2,
            expires: NOW.plus(TTL),
        }
    }

    /// Everything goes over; what is left holds nothing.
    fn hand_over(giver: &Vault, taker: &Arc<Vault>) -> usize {
        let held = giver.hold();
        taker.take_keys(&held.keys(NONCES).unwrap(), NONCES).unwrap();
        let count = held.records(NOW).map(|record| taker.take_record(record, NOW).unwrap()).count();
        let answering = Arc::clone(taker);
        let ask: Ask = Arc::new(move |question| Some(answering.answer(question)));
        drop(held.give_up(&ask));
        count
    }

    #[test]
    fn everything_is_found_in_the_new_vault_and_by_the_old_process_through_it() {
        let (giver, taker) = (vault(1), vault(1));
        let kept = giver.keep_card(capture(), &owner(), NOW).unwrap();
        let cvv_token = kept.cvv_token.unwrap();
        let id = giver.open_session(session(), NOW).unwrap();
        assert_eq!(giver.claim(b"callback", NOW), Ok(Mark::New));
        let Ok(Guarded::First(payment)) = giver.claim_payment(giver.payment_name(b"p"), None, NOW)
        else {
            panic!()
        };
        let shop = Tenant::new("shop");
        let claimed = giver.claim_once(&shop, &[b"k"], &[b"sale"], NOW);
        let Ok(Once::First(claim)) = claimed else { panic!() };
        let relay = giver.keep_relay(SecretBytes::from_slice(b"PaReq"), TTL, NOW).unwrap();
        let handle = giver
            .keep_bearer(b"jwt", &audience(), |_| SecretBytes::from_slice(b""), TTL, NOW)
            .unwrap();
        let pan = Pan::parse(b"4111111111111111").unwrap();
        assert_eq!(hand_over(&giver, &taker), 7);
        assert_eq!((giver.len(), taker.len()), (0, 7));
        assert_eq!(giver.fingerprint(&pan), taker.fingerprint(&pan));

        for vault in [&giver, &taker] {
            assert!(vault.redeem(&kept.token, &audience(), NOW).is_ok());
            let seen = vault.session(&id, NOW).unwrap();
            assert_eq!(seen.session.owner, owner());
            vault.use_session(&id, &seen, NOW).unwrap();
            assert_eq!(vault.claim(b"callback", NOW), Ok(Mark::InFlight));
            assert!(matches!(
                vault.claim_payment(vault.payment_name(b"p"), None, NOW),
                Ok(Guarded::UnderWay)
            ));
            assert!(vault.open_bearer(&handle, "paymega", Mode::Test, NOW).is_ok());
            let again = vault
                .keep_bearer(b"jwt", &audience(), |_| SecretBytes::from_slice(b""), TTL, NOW)
                .unwrap();
            assert_eq!(again.random_part(), handle.random_part());
            assert_eq!(vault.room_for_payment(), Ok(()));
            assert_eq!(vault.room_for_key(&shop), Ok(()));
        }
        let used_up = taker.session(&id, NOW).unwrap();
        assert_eq!(taker.use_session(&id, &used_up, NOW), Err(VaultError::NotFound));
        // What either of them does the other one sees, and a code is handed out once.
        giver.lose_payment(&payment, NOW);
        assert!(matches!(
            taker.claim_payment(taker.payment_name(b"p"), None, NOW),
            Ok(Guarded::Unknown)
        ));
        giver.release(b"callback", NOW);
        assert_eq!(taker.claim(b"callback", NOW), Ok(Mark::New));
        let (_, lease) = take(&giver, &cvv_token, &kept.token).unwrap();
        assert!(take(&taker, &cvv_token, &kept.token).is_err());
        giver.restore_cvv(lease, NOW);
        drop(take(&taker, &cvv_token, &kept.token).unwrap());
        assert!(take(&giver, &cvv_token, &kept.token).is_err());
        let third = giver.refresh_cvv(&kept.token, cvv(), &shop, NOW).unwrap();
        let (_, lease) = take(&taker, &third, &kept.token).unwrap();
        let fourth = giver.refresh_cvv(&kept.token, cvv(), &shop, NOW).unwrap();
        giver.restore_cvv(lease, NOW);
        assert!(take(&taker, &third, &kept.token).is_err());
        assert!(take(&taker, &fourth, &kept.token).is_ok());
        giver.answer_once(&claim, &SecretBytes::from_slice(b"200"), NOW);
        let again = taker.claim_once(&shop, &[b"k"], &[b"sale"], NOW);
        assert!(matches!(again, Ok(Once::Answered(_))));
        assert!(matches!(taker.begin_relay(&relay, NOW), Ok(super::super::Begun::First(_))));
        giver.finish_relay(&relay, SecretBytes::from_slice(b"302"), NOW).unwrap();
        assert!(matches!(taker.begin_relay(&relay, NOW), Ok(super::super::Begun::Done(_))));
        let later = giver.keep_card(capture(), &owner(), NOW).unwrap();
        assert!(taker.redeem(&later.token, &audience(), NOW).is_ok());
        giver.revoke(&kept.token, &Tenant::new("shop"), NOW).unwrap();
        assert!(taker.redeem(&kept.token, &audience(), NOW).is_err());
        assert_eq!(giver.len(), 0);
    }

    #[test]
    fn while_a_vault_is_held_everybody_waits_and_nothing_is_lost_when_it_is_let_go() {
        let vault = vault(1);
        let kept = vault.keep_card(capture(), &owner(), NOW).unwrap();
        let (told, tells) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let held = vault.hold();
            let (vault, token) = (&vault, &kept.token);
            scope.spawn(move || {
                told.send(vault.redeem(token, &audience(), NOW).is_ok()).unwrap();
            });
            assert!(tells.recv_timeout(Duration::from_millis(100)).is_err());
            drop(held);
            assert_eq!(tells.recv(), Ok(true));
        });
        let cvv_token = kept.cvv_token.unwrap();
        assert!(take(&vault, &cvv_token, &kept.token).is_ok());
    }

    #[test]
    fn root_keys_stay_while_a_vault_is_held_and_for_good_once_it_was_handed_over() {
        let (vault, taker) = (vault(1), vault(1));
        let [one, two] = [1, 2].map(|byte| SecretBytes::from_slice(&[byte; 32]));
        let (told, tells) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let held = vault.hold();
            let (vault, one) = (&vault, &one);
            scope.spawn(move || told.send(vault.rotate(&[(1, Some(one))], NOW)).unwrap());
            let early = tells.recv_timeout(Duration::from_millis(100));
            assert!(early.is_err(), "keys change behind those that go over: {early:?}");
            drop(held);
            assert_eq!(tells.recv().unwrap().unwrap().current, 1);
        });
        hand_over(&vault, &taker);
        let late = vault.rotate(&[(1, Some(&one)), (2, Some(&two))], NOW);
        assert_eq!(late, Err(KeyringError::HandedOver));
        assert_eq!(vault.would_rotate(&[(1, Some(&one))]), Err(KeyringError::HandedOver));
        let kept = vault.keep_card(capture(), &owner(), NOW).unwrap();
        assert!(taker.redeem(&kept.token, &audience(), NOW).is_ok());
    }

    #[test]
    fn a_security_code_that_both_sides_want_at_once_goes_to_one() {
        let (giver, taker) = (vault(1), vault(1));
        let kept = (0..1000).map(|_| giver.keep_card(capture(), &owner(), NOW).unwrap());
        let kept: Vec<_> = kept.collect();
        let (taken, over) = (Mutex::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    while !over.load(Ordering::SeqCst) {
                        for card in &kept {
                            let cvv_token = card.cvv_token.as_ref().unwrap();
                            let got = take(&giver, cvv_token, &card.token);
                            *taken.lock().unwrap() += usize::from(got.is_ok());
                        }
                    }
                });
            }
            hand_over(&giver, &taker);
            for card in &kept {
                let cvv_token = card.cvv_token.as_ref().unwrap();
                let got = take(&taker, cvv_token, &card.token);
                *taken.lock().unwrap() += usize::from(got.is_ok());
            }
            over.store(true, Ordering::SeqCst);
        });
        assert_eq!(*taken.lock().unwrap(), kept.len());
    }

    #[test]
    fn whoever_gets_no_answer_has_nothing_and_keeps_nothing() {
        let vault = vault(1);
        let kept = vault.keep_card(capture(), &owner(), NOW).unwrap();
        drop(vault.hold().give_up(&(Arc::new(|_: &[u8]| None) as Ask)));
        let gone = Some(VaultError::NotFound);
        assert_eq!(vault.redeem(&kept.token, &audience(), NOW).err(), gone);
        assert_eq!(vault.revoke(&kept.token, &Tenant::new("shop"), NOW).err(), gone);
        let refused = vault.keep_card(capture(), &owner(), NOW).map(drop);
        assert_eq!(refused, Err(VaultError::Full));
        assert_eq!(vault.claim(b"callback", NOW), Err(VaultError::Full));
        assert_eq!(vault.room_for_payment(), Err(VaultError::Full));
        assert_eq!(vault.room_for_key(&Tenant::new("shop")), Err(VaultError::Full));
    }

    #[test]
    fn proofs_are_of_the_same_keys_for_one_side_and_one_transfer() {
        let (one, same, other) = (vault(1), vault(1), vault(2));
        let proofs = one.proofs(Role::Giver, NONCES);
        assert!(same.has_same_keys(Role::Giver, NONCES, &proofs));
        assert!(!other.has_same_keys(Role::Giver, NONCES, &proofs));
        assert!(!same.has_same_keys(Role::Taker, NONCES, &proofs), "sent back as it came");
        assert!(!same.has_same_keys(Role::Giver, &[8; 64], &proofs));
        assert!(!same.has_same_keys(Role::Giver, NONCES, &[]));
        let two = SecretBytes::from_slice(&[2; 32]);
        same.rotate(&[(1, None), (2, Some(&two))], NOW).unwrap();
        assert!(!same.has_same_keys(Role::Giver, NONCES, &proofs), "a version more");
        let random = Vault::new(Keyring::random(), Limits::default());
        assert!(!random.has_same_keys(Role::Giver, NONCES, &[]));
        assert!(random.hold().keys(NONCES).is_none());
    }

    #[test]
    fn keys_open_with_the_root_key_in_their_own_transfer_and_what_a_random_key_sealed_opens_on() {
        let giver = Vault::new(Keyring::random(), Limits::default());
        let kept = giver.keep_card(capture(), &owner(), NOW).unwrap();
        let one = SecretBytes::from_slice(&[1; 32]);
        giver.rotate(&[(1, Some(&one))], NOW).unwrap();
        let keys = giver.hold().keys(NONCES).unwrap();
        let malformed = Err(TransferError::Malformed);
        assert_eq!(vault(2).take_keys(&keys, NONCES), malformed);
        assert_eq!(vault(1).take_keys(&keys, &[8; 64]), malformed);
        assert_eq!(vault(1).take_keys(&keys[1..], NONCES), malformed);
        let taker = vault(1);
        hand_over(&giver, &taker);
        assert!(taker.redeem(&kept.token, &audience(), NOW).is_ok());
    }

    #[test]
    fn a_record_that_is_none_comes_twice_or_finds_no_room_is_refused() {
        let giver = vault(1);
        for _ in 0..2 {
            giver.keep_card(capture(), &owner(), NOW).unwrap();
        }
        let records: Vec<_> = giver.hold().records(NOW).map(<[u8]>::to_vec).collect();
        let taker = vault(1);
        // Up to the code's place; whole but for a byte there is no room for card and code.
        for length in 0..52 + TAG_BYTES + CODE_BYTES {
            let cut = taker.take_record(&records[0][..length], NOW);
            assert_eq!(cut, Err(TransferError::Malformed), "{length}");
        }
        taker.take_record(&records[0], NOW).unwrap();
        assert_eq!(taker.take_record(&records[0], NOW), Err(TransferError::Malformed));
        let narrow = bounded(1, Limits { capacity: 1, ..Limits::default() });
        narrow.take_record(&records[0], NOW).unwrap();
        assert_eq!(narrow.take_record(&records[1], NOW), Err(TransferError::NoRoom));
        assert!(taker.answer(b"").is_empty() && taker.answer(&[99, 0]).is_empty());
        let later = NOW.plus(Duration::from_secs(86_400));
        assert_eq!(giver.hold().records(later).count(), 0, "what has ended stays behind");
        let (late, quarter) = (vault(1), NOW.plus(Duration::from_secs(900)));
        late.take_record(&records[0], quarter).unwrap();
        let code = late.hold().records(NOW).next().unwrap().last_chunk::<CODE_BYTES>().copied();
        assert!(
            code.unwrap()[SALT_BYTES..].iter().all(|byte| *byte == 0),
            "and what has in a card"
        );
    }

    #[test]
    fn the_share_of_an_application_counts_on_whichever_process_it_asks() {
        let limits = Limits { idempotency: 9, idempotency_per_app: 3, ..Limits::default() };
        let (giver, taker) = (bounded(1, limits), bounded(1, limits));
        let claim = |vault: &Vault, key: &[u8]| {
            vault.claim_once(&Tenant::new("shop"), &[key], &[b"sale"], NOW).map(drop)
        };
        claim(&giver, b"1").unwrap();
        hand_over(&giver, &taker);
        assert_eq!((claim(&giver, b"2"), claim(&taker, b"3")), (Ok(()), Ok(())));
        for vault in [&giver, &taker] {
            assert_eq!(claim(vault, b"4"), Err(VaultError::Full));
            assert_eq!(vault.room_for_key(&Tenant::new("shop")), Err(VaultError::Full));
            assert_eq!(vault.room_for_key(&Tenant::new("other")), Ok(()));
        }
        let narrow = Limits { idempotency_per_app: 2, ..limits };
        let records: Vec<_> = taker.hold().records(NOW).map(<[u8]>::to_vec).collect();
        let taken = records.iter().map(|record| bounded(1, narrow).take_record(record, NOW));
        assert_eq!(taken.collect::<Vec<_>>(), [Ok(()); 3]);
        let narrow = bounded(1, narrow);
        let taken: Vec<_> = records.iter().map(|record| narrow.take_record(record, NOW)).collect();
        assert_eq!(taken, [Ok(()), Ok(()), Err(TransferError::NoRoom)]);
    }

    #[test]
    fn open_sessions_count_on() {
        let limits = Limits { sessions_per_app: 1, ..Limits::default() };
        let (giver, taker) = (bounded(1, limits), bounded(1, limits));
        giver.open_session(session(), NOW).unwrap();
        hand_over(&giver, &taker);
        assert_eq!(taker.open_session(session(), NOW).err(), Some(VaultError::Full));
    }
}
