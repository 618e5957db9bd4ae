//! Root keys by version, and how one replaces another while cards are kept.
//!
//! The highest version seals, the others open. A ring is never changed: its successor takes over
//! the keys that stay, and operations under way end with the ring that they began with.
//!
//! Beside the root keys there are two keys of the vault's own, drawn at start and never replaced.
//! What is found by what it says and not by a random token, a mark, a handle, a fingerprint, has
//! to be found under the same name before and after a rotation: two names for one callback would
//! let it pass twice. Nothing of it outlives the process, so its keys need not either.

use std::fmt;
use std::sync::{Arc, PoisonError};

use arc_swap::Guard;

use super::header::Kind;
use super::seal::{KEY_BYTES, Root};
use super::sealed::Sealed;
use super::{Role, Vault};
use crate::card::Timestamp;
use crate::secret::SecretBytes;

/// The version of a random root key: lower than any that a configuration names.
const RANDOM: u32 = 0;
/// What records under the vault's own keys have for a version: no root key's.
pub(super) const OWN: u32 = u32::MAX;

/// Why root keys were refused. The number is the version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyringError {
    /// Not 32 bytes.
    KeyLength(u32),
    /// The version is there twice.
    DuplicateVersion(u32),
    /// The version has the key of another one.
    SameKey(u32),
    /// The version is in use, with another key.
    Changed(u32),
    /// The key is not at hand, and the version is not in use.
    NotAtHand(u32),
    /// There is none.
    Missing,
    /// Another process has the records: its keys count.
    HandedOver,
}

impl fmt::Display for KeyringError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyLength(version) => write!(f, "root key {version} has not 32 bytes"),
            Self::DuplicateVersion(version) => write!(f, "root key {version} is there twice"),
            Self::SameKey(version) => write!(
                f,
                "root key {version} is the same as another version's; a new version needs a new key"
            ),
            Self::Changed(version) => {
                write!(f, "root key {version} is another one than before; give it a new version")
            }
            Self::NotAtHand(version) => write!(f, "root key {version} can be had at start only"),
            Self::Missing => f.write_str("there is no root key"),
            Self::HandedOver => f.write_str("another process has taken over; it reads root keys"),
        }
    }
}

impl std::error::Error for KeyringError {}

/// A root key with its version, from 1 to [`u32::MAX`] − 1. No key: the one in use stays.
pub type Versioned<'k> = (u32, Option<&'k SecretBytes>);

/// Root keys by version: the current one seals, older ones open until their records have expired.
pub struct Keyring {
    /// The highest version first.
    roots: Vec<Arc<Root>>,
    own: Arc<Own>,
}

/// Keys that stay as long as the process.
struct Own {
    /// Names and keys of marks, bits of handles.
    marks: Root,
    /// Fingerprints of card numbers.
    fingerprints: Root,
}

/// Keys that were drawn and that no configuration has, for the process that takes records over.
pub(super) struct OwnKeys<'k> {
    pub(super) marks: &'k [u8; KEY_BYTES],
    pub(super) fingerprints: &'k [u8; KEY_BYTES],
    /// A random root key that still opens beside configured ones.
    pub(super) random: Option<&'k [u8; KEY_BYTES]>,
}

impl Keyring {
    /// A root key that nobody knows and that dies with the process.
    #[must_use]
    pub fn random() -> Self {
        Self { roots: vec![Arc::new(Root::random(RANDOM))], own: Arc::new(Own::new()) }
    }

    /// Root keys from outside.
    ///
    /// # Errors
    /// No key; one that has not 32 bytes; a version that is there twice.
    pub fn of(keys: &[Versioned<'_>]) -> Result<Self, KeyringError> {
        let none = Self { roots: Vec::new(), own: Arc::new(Own::new()) };
        none.successor(keys)
    }

    /// The ring that follows this one: `keys`, and a random one of this ring's, which no
    /// configuration can name.
    fn successor(&self, keys: &[Versioned<'_>]) -> Result<Self, KeyringError> {
        let taken = keys.iter().map(|(version, key)| match (self.root(*version), key) {
            (Some(known), None) => Ok(Arc::clone(known)),
            (None, None) => Err(KeyringError::NotAtHand(*version)),
            (known, Some(key)) => {
                let root = Root::read(*version, key).ok_or(KeyringError::KeyLength(*version))?;
                match known {
                    Some(known) if !known.is_same(&root) => Err(KeyringError::Changed(*version)),
                    Some(known) => Ok(Arc::clone(known)),
                    None => Ok(Arc::new(root)),
                }
            }
        });
        let mut roots = taken.collect::<Result<Vec<_>, _>>()?;
        roots.extend(self.root(RANDOM).cloned());
        roots.sort_by_key(|root| std::cmp::Reverse(root.version()));
        let twice = roots.windows(2).find_map(|pair| match pair {
            [one, next] if one.version() == next.version() => Some(one.version()),
            _ => None,
        });
        match (twice, same_key(&roots)) {
            (Some(version), _) => Err(KeyringError::DuplicateVersion(version)),
            (None, Some(version)) => Err(KeyringError::SameKey(version)),
            (None, None) if roots.is_empty() => Err(KeyringError::Missing),
            (None, None) => Ok(Self { roots, own: Arc::clone(&self.own) }),
        }
    }

    /// Tells the key that seals from others, and says nothing else of it. Letters, so that nobody
    /// takes it for a number.
    #[must_use]
    pub fn id(&self) -> String {
        let derived = self.current(Kind::Card).derive("root key id", &[]);
        let nibbles = derived.iter().take(8).flat_map(|byte| [byte >> 4, byte & 15]);
        nibbles.map(|nibble| char::from(b'a' + nibble)).collect()
    }

    fn root(&self, version: u32) -> Option<&Arc<Root>> {
        self.roots.iter().find(|root| root.version() == version)
    }

    fn versions(&self) -> impl Iterator<Item = u32> {
        self.roots.iter().map(|root| root.version())
    }

    /// Versions that a configuration names, the highest first.
    pub(super) fn versions_configured(&self) -> impl Iterator<Item = u32> {
        self.versions().filter(|version| *version != RANDOM)
    }

    /// What only a holder of this version's key can compute.
    pub(super) fn proof(&self, version: u32, role: Role, nonces: &[u8]) -> [u8; KEY_BYTES] {
        let label = match role {
            Role::Giver => "upgrade giver",
            Role::Taker => "upgrade taker",
        };
        self.root(version).map_or([0; KEY_BYTES], |root| *root.derive(label, &[nonces]))
    }

    pub(super) fn own_keys(&self) -> Option<OwnKeys<'_>> {
        let Own { marks, fingerprints } = &*self.own;
        let random = self.root(RANDOM).and_then(|root| root.drawn_key());
        let (marks, fingerprints) = (marks.drawn_key()?, fingerprints.drawn_key()?);
        Some(OwnKeys { marks, fingerprints, random })
    }

    /// This ring with the keys that another process drew in place of its own.
    pub(super) fn taking_over(&self, keys: &OwnKeys<'_>) -> Self {
        let own = Own {
            marks: Root::drawn(OWN, keys.marks),
            fingerprints: Root::drawn(OWN, keys.fingerprints),
        };
        let mut roots = self.roots.clone();
        roots.extend(keys.random.map(|key| Arc::new(Root::drawn(RANDOM, key))));
        Self { roots, own: Arc::new(own) }
    }

    /// The key that seals records of this kind.
    pub(super) fn current(&self, kind: Kind) -> &Root {
        match (kind, self.roots.first()) {
            (Kind::Mark | Kind::Newest | Kind::Once, _) | (_, None) => &self.own.marks,
            (_, Some(root)) => root,
        }
    }

    /// The keys that open records of this kind, the one that seals first.
    pub(super) fn roots(&self, kind: Kind) -> impl Iterator<Item = &Root> {
        let older = match kind {
            Kind::Mark | Kind::Newest | Kind::Once => None,
            _ => self.roots.get(1..),
        };
        let older = older.unwrap_or_default().iter().map(AsRef::as_ref);
        std::iter::once(self.current(kind)).chain(older)
    }

    /// The key that bits of marks and handles come from.
    pub(super) fn marks(&self) -> &Root {
        &self.own.marks
    }

    /// The key of fingerprints.
    pub(super) fn fingerprints(&self) -> &Root {
        &self.own.fingerprints
    }
}

/// The highest version whose key a lower one has, too.
fn same_key(roots: &[Arc<Root>]) -> Option<u32> {
    let mut roots = roots.iter();
    while let Some(root) = roots.next() {
        if roots.clone().any(|lower| lower.is_same(root)) {
            return Some(root.version());
        }
    }
    None
}

impl Own {
    fn new() -> Self {
        Self { marks: Root::random(OWN), fingerprints: Root::random(OWN) }
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(..)")
    }
}

/// What a rotation came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Rotation {
    /// The version that seals.
    pub current: u32,
    /// Its id, where another key sealed before.
    pub new_id: Option<String>,
    /// Those that open, a random one as 0.
    pub older: Vec<u32>,
    /// Those that are gone, each with how many live records it had sealed, or the security codes
    /// of: nobody finds such a record, or opens such a code, again.
    pub removed: Vec<(u32, usize)>,
}

impl Vault {
    /// Puts these root keys in place of the ones in use. Traffic goes on meanwhile; what was sealed
    /// by a version that is still there opens as before.
    ///
    /// # Errors
    /// As in [`Keyring::of`]; another key under a version that is in use; another process has the
    /// records. Nothing has changed then.
    pub fn rotate(&self, keys: &[Versioned<'_>], now: Timestamp) -> Result<Rotation, KeyringError> {
        // While the vault is held, this waits.
        let handed_over = self.handed_over.lock().unwrap_or_else(PoisonError::into_inner);
        if *handed_over {
            return Err(KeyringError::HandedOver);
        }
        let before = self.keyring.load_full();
        let after = Arc::new(before.successor(keys)?);
        self.keyring.store(Arc::clone(&after));
        let gone = before.versions().filter(|version| after.root(*version).is_none());
        let removed = gone.map(|version| (version, self.sealed_by(version, now))).collect();
        let mut versions = after.versions();
        let current = versions.next().unwrap_or(RANDOM);
        let new_id = Some(after.id()).filter(|id| *id != before.id());
        Ok(Rotation { current, new_id, older: versions.collect(), removed })
    }

    /// Whether [`Vault::rotate`] would take these keys. Nothing changes.
    ///
    /// # Errors
    /// As there.
    pub fn would_rotate(&self, keys: &[Versioned<'_>]) -> Result<(), KeyringError> {
        match *self.handed_over.lock().unwrap_or_else(PoisonError::into_inner) {
            true => Err(KeyringError::HandedOver),
            false => self.keyring.load().successor(keys).map(drop),
        }
    }

    /// Live records under this version, and those with a security code under it.
    fn sealed_by(&self, version: u32, now: Timestamp) -> usize {
        let is_needed = |kept: &Sealed| {
            let by_code = kept.has_code(now) && kept.code_version() == Some(version);
            kept.version() == version || by_code
        };
        let live =
            |store: &super::Store| store.count(|kept| kept.expires() > now && is_needed(kept));
        self.stores().map(live).iter().sum()
    }

    pub(super) fn ring(&self) -> Guard<Arc<Keyring>> {
        self.keyring.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretBytes {
        SecretBytes::from_slice(&[byte; 32])
    }

    fn versions(ring: &Keyring) -> Vec<u32> {
        ring.versions().collect()
    }

    #[test]
    fn a_ring_takes_whole_keys_and_each_version_once() {
        let (one, two) = (key(1), key(2));
        let short = SecretBytes::from_slice(&[1; 31]);
        assert_eq!(Keyring::of(&[(7, Some(&short))]).err(), Some(KeyringError::KeyLength(7)));
        assert_eq!(Keyring::of(&[]).err(), Some(KeyringError::Missing));
        let twice = Keyring::of(&[(2, Some(&one)), (1, Some(&one)), (2, Some(&two))]);
        assert_eq!(twice.err(), Some(KeyringError::DuplicateVersion(2)));
        let three = key(3);
        let ring = Keyring::of(&[(1, Some(&one)), (3, Some(&two)), (2, Some(&three))]).unwrap();
        assert_eq!(versions(&ring), [3, 2, 1]);
        assert_eq!(ring.current(Kind::Card).version(), 3);
    }

    #[test]
    fn a_successor_keeps_known_keys_and_refuses_others_under_their_version() {
        let (one, two) = (key(1), key(2));
        let ring = Keyring::of(&[(1, Some(&one))]).unwrap();
        assert_eq!(ring.successor(&[(1, Some(&two))]).err(), Some(KeyringError::Changed(1)));
        let next = ring.successor(&[(1, Some(&one)), (2, Some(&two))]).unwrap();
        assert_eq!(versions(&next), [2, 1]);
        assert!(Arc::ptr_eq(&ring.roots[0], &next.roots[1]), "one copy of each key");
        let last = next.successor(&[(2, Some(&two))]).unwrap();
        assert_eq!(versions(&last), [2]);
        assert!(Arc::ptr_eq(&ring.own, &last.own));
    }

    #[test]
    fn the_id_is_that_of_the_key_that_seals() {
        let (one, two) = (key(1), key(2));
        let ring = Keyring::of(&[(1, Some(&one))]).unwrap();
        let next = ring.successor(&[(1, Some(&one)), (2, Some(&two))]).unwrap();
        assert_ne!(ring.id(), next.id());
        assert_eq!(next.successor(&[(2, Some(&two))]).unwrap().id(), next.id());
        assert!(ring.id().bytes().all(|byte| byte.is_ascii_lowercase()) && ring.id().len() == 16);
    }

    #[test]
    fn a_removed_key_is_gone_with_the_last_operation_that_uses_it() {
        let (one, two) = (key(1), key(2));
        let ring = Keyring::of(&[(1, Some(&one))]).unwrap();
        let held = Arc::downgrade(&ring.roots[0]);
        let next = ring.successor(&[(2, Some(&two))]).unwrap();
        assert!(held.upgrade().is_some());
        drop(ring);
        assert!(held.upgrade().is_none());
        drop(next);
    }

    #[test]
    fn a_key_that_is_not_at_hand_stays_if_it_is_in_use() {
        let (one, two) = (key(1), key(2));
        let ring = Keyring::of(&[(1, Some(&one))]).unwrap();
        let next = ring.successor(&[(1, None), (2, Some(&two))]).unwrap();
        assert_eq!(versions(&next), [2, 1]);
        assert_eq!(ring.successor(&[(2, None)]).err(), Some(KeyringError::NotAtHand(2)));
    }

    #[test]
    fn a_random_key_opens_on_beside_one_that_was_given_later() {
        let given = key(1);
        let ring = Keyring::random();
        assert_eq!(versions(&ring.successor(&[(1, Some(&given))]).unwrap()), [1, 0]);
        assert_eq!(versions(&ring.successor(&[]).unwrap()), [0]);
    }

    #[test]
    fn marks_know_one_key_whatever_the_version() {
        let (one, two) = (key(1), key(2));
        let ring = Keyring::of(&[(1, Some(&one)), (2, Some(&two))]).unwrap();
        for kind in [Kind::Mark, Kind::Newest, Kind::Once] {
            assert_eq!(ring.roots(kind).map(Root::version).collect::<Vec<_>>(), [OWN]);
        }
        for kind in [Kind::Card, Kind::Cvv, Kind::Bearer, Kind::Session, Kind::Relay, Kind::Text] {
            assert_eq!(ring.roots(kind).map(Root::version).collect::<Vec<_>>(), [2, 1]);
        }
        assert_eq!(format!("{ring:?}"), "Keyring(..)");
    }
}
