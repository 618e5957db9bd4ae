//! Bytes that must not outlive their use: wiped when dropped, never printed, copied or compared.
//!
//! Two containers. [`SecretBytes`] has a fixed size and is opened by [`SecretBytes::reveal`], a
//! name to search for: keys, kept secrets. [`CleartextBody`] grows: a request or answer body with a
//! card in it. Both overwrite their memory before it goes back to the allocator, also when they
//! grow.
//!
//! This room must never print, log or serialise what it holds, and it knows no other room.

mod hash;
#[cfg(test)]
pub(crate) mod left;
mod locked;
mod split;
mod stack;
#[cfg(test)]
pub(crate) mod wycheproof;

pub use hash::sha256;
pub use locked::{KeyMemory, Locked, key_memory};
pub use split::{Share, interpolate, split};
pub use stack::scoured;

use std::fmt;

use bytes::Bytes;
use subtle::ConstantTimeEq;
use zeroize::optimization_barrier;

/// The smallest room a growing body is given, so that short bodies do not grow twice.
const GROWTH_MIN: usize = 256;

/// Bytes of a fixed size, wiped on drop.
pub struct SecretBytes(Place);

/// Where they are.
enum Place {
    Heap(Box<[u8]>),
    Keys(Locked<Kept>),
}

/// A secret in key memory, with room behind it.
struct Kept {
    len: usize,
    bytes: [u8; Self::BYTES_MAX],
}

impl Kept {
    /// Longer than any shared secret; private keys of RSA are longer.
    const BYTES_MAX: usize = 512;
}

impl SecretBytes {
    /// Takes the bytes over. A vector with spare room is copied and wiped, because giving the spare
    /// room back would move the bytes and leave the old place behind unwiped.
    #[must_use]
    pub fn new(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(Place::Heap(bytes.into_boxed_slice()));
        }
        let exact = Self::from_slice(&bytes);
        wipe_vec(&mut bytes);
        exact
    }

    /// Copies the bytes; wiping the original stays with its owner.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Self {
        Self(Place::Heap(Box::from(bytes)))
    }

    /// Copies bytes that will be kept as long as the process lives: into key memory, if they are
    /// 512 at most. A place there takes whole pages, so it is for secrets of the configuration.
    #[must_use]
    pub fn long_lived(bytes: &[u8]) -> Self {
        if bytes.len() > Kept::BYTES_MAX {
            return Self::from_slice(bytes);
        }
        Self(Place::Keys(Locked::new(|| {
            let mut kept = Kept { len: bytes.len(), bytes: [0; Kept::BYTES_MAX] };
            kept.bytes.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            kept
        })))
    }

    fn bytes(&self) -> &[u8] {
        match &self.0 {
            Place::Heap(bytes) => bytes,
            Place::Keys(kept) => kept.bytes.get(..kept.len).unwrap_or_default(),
        }
    }

    /// Shows the bytes to `look` for as long as it runs.
    pub fn reveal<R>(&self, look: impl FnOnce(&[u8]) -> R) -> R {
        look(self.bytes())
    }

    /// Compares in time that depends on the lengths alone.
    #[must_use]
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        ct_eq(self.bytes(), other)
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        // Key memory wipes itself.
        if let Place::Heap(bytes) = &mut self.0 {
            wipe(bytes);
        }
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

/// Growable bytes, wiped on drop and at every reallocation.
#[derive(Default)]
pub struct CleartextBody(Vec<u8>);

impl CleartextBody {
    /// An empty body that owns no memory yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty body with room for `capacity` bytes.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    /// Appends. When the room does not suffice the bytes move to a new place and the old one is
    /// wiped, which `Vec` would not do.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) {
        self.reserve(bytes.len());
        self.0.extend_from_slice(bytes);
    }

    /// Appends zeros.
    pub fn extend_zeros(&mut self, count: usize) {
        self.reserve(count);
        self.0.resize(self.0.len() + count, 0);
    }

    /// Appends one byte.
    pub fn push(&mut self, byte: u8) {
        self.extend_from_slice(&[byte]);
    }

    /// Makes room for `additional` bytes more.
    pub fn reserve(&mut self, additional: usize) {
        let needed = self.0.len().saturating_add(additional);
        if needed <= self.0.capacity() {
            return;
        }
        let roomy = needed.max(self.0.capacity().saturating_mul(2)).max(GROWTH_MIN);
        let mut moved = Vec::with_capacity(roomy);
        moved.extend_from_slice(&self.0);
        std::mem::swap(&mut self.0, &mut moved);
        wipe_vec(&mut moved);
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be changed in place.
    pub fn as_mut_bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Shortens to `len` bytes and wipes the tail; does nothing when there are fewer.
    pub fn truncate(&mut self, len: usize) {
        if let Some(tail) = self.0.get_mut(len..) {
            wipe(tail);
        }
        self.0.truncate(len);
    }

    /// Wipes everything and keeps the room for the next use.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes fit without moving.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.0.capacity()
    }

    /// Hands the bytes to the network stack without copying them; they are wiped when the last
    /// `Bytes` that refers to them goes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(Lent(self))
    }
}

impl From<Vec<u8>> for CleartextBody {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Drop for CleartextBody {
    fn drop(&mut self) {
        wipe_vec(&mut self.0);
    }
}

impl fmt::Debug for CleartextBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CleartextBody(..)")
    }
}

/// What `Bytes` owns. A type of its own, so that the body itself has no `AsRef` that a formatter
/// or a hasher could be handed by accident.
struct Lent(CleartextBody);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Overwrites with zeros in a way the compiler keeps. A block fill behind a barrier: bodies are
/// wiped on every request, and a volatile write per byte would cost more than sealing them.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    optimization_barrier(bytes);
}

/// Overwrites a vector with its spare room, where bytes of an earlier use may lie, and empties it.
pub fn wipe_vec(bytes: &mut Vec<u8>) {
    bytes.clear();
    // Never more than there is room for, so the bytes do not move.
    bytes.resize(bytes.capacity(), 0);
    optimization_barrier(bytes.as_slice());
    bytes.clear();
}

/// Compares in time that depends on the lengths alone.
#[must_use]
pub fn ct_eq(a: &[u8], b: &[u8]) -> bool {
    a.ct_eq(b).into()
}

/// Fills the buffer with randomness of the operating system. Without it no key and no token is
/// safe, so the process ends at once when there is none.
pub fn fill_random(buffer: &mut [u8]) {
    if getrandom::fill(buffer).is_err() {
        std::process::abort();
    }
}

/// Randomness that is fetched from the operating system in one call and handed out in pieces, each
/// once. A call into the kernel costs more than what it brings; nothing is kept between requests,
/// so there is no state that a fork could copy or that would have to be seeded anew.
pub struct Random {
    bytes: [u8; Self::BYTES_MAX],
    left: usize,
}

impl Random {
    const BYTES_MAX: usize = 72;

    /// Fetches `len` bytes, 72 at most.
    #[must_use]
    pub fn fetch(len: usize) -> Self {
        let mut fetched = Self { bytes: [0; Self::BYTES_MAX], left: len.min(Self::BYTES_MAX) };
        fill_random(fetched.bytes.get_mut(..fetched.left).unwrap_or_default());
        fetched
    }

    /// Hands out the next bytes; when too few are left, they are fetched.
    pub fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut taken = [0; N];
        let rest = self.left.checked_sub(N);
        match rest.and_then(|rest| self.bytes.get_mut(rest..self.left)) {
            Some(bytes) => {
                taken.copy_from_slice(bytes);
                wipe(bytes);
                self.left -= N;
            }
            None => fill_random(&mut taken),
        }
        taken
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        wipe(&mut self.bytes);
    }
}

impl fmt::Debug for Random {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Random(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_random_byte_is_handed_out_twice() {
        let mut random = Random::fetch(40);
        let pieces: Vec<[u8; 16]> = (0..6).map(|_| random.take()).collect();
        for (place, piece) in pieces.iter().enumerate() {
            assert_ne!(piece, &[0; 16]);
            assert!(!pieces[..place].contains(piece));
        }
        assert_eq!((random.left, &random.bytes[8..]), (8, [0; 64].as_slice()));
        assert_eq!(format!("{random:?}"), "Random(..)");
    }

    #[test]
    fn debug_prints_a_fixed_text() {
        let secret = SecretBytes::from_slice(b"4111111111111111");
        let body = CleartextBody::from(b"4111111111111111".to_vec());
        assert_eq!(format!("{secret:?} {body:?}"), "SecretBytes(..) CleartextBody(..)");
    }

    #[test]
    fn a_vector_with_spare_room_keeps_its_bytes() {
        let mut bytes = Vec::with_capacity(64);
        bytes.extend_from_slice(b"key");
        let secret = SecretBytes::new(bytes);
        assert_eq!(secret.len(), 3);
        assert!(!secret.is_empty());
        secret.reveal(|seen| assert_eq!(seen, b"key"));
    }

    #[test]
    fn an_exact_vector_is_taken_over_in_place() {
        let bytes = vec![7u8; 32];
        let address = bytes.as_ptr();
        SecretBytes::new(bytes).reveal(|seen| assert_eq!(seen.as_ptr(), address));
    }

    #[test]
    fn comparison_sees_every_difference() {
        let secret = SecretBytes::from_slice(b"secret");
        assert!(secret.ct_eq(b"secret"));
        for other in [&b"secreT"[..], b"Secret", b"secre", b"secret1", b""] {
            assert!(!secret.ct_eq(other));
        }
    }

    #[test]
    fn a_body_keeps_its_bytes_while_it_grows() {
        let mut body = CleartextBody::new();
        let mut expected = Vec::new();
        for round in 0..2000u32 {
            body.extend_from_slice(&round.to_be_bytes());
            expected.extend_from_slice(&round.to_be_bytes());
        }
        body.push(9);
        expected.push(9);
        assert_eq!(body.as_bytes(), expected);
    }

    #[test]
    fn a_body_with_room_does_not_move() {
        let mut body = CleartextBody::with_capacity(100);
        body.push(1);
        let address = body.as_bytes().as_ptr();
        body.extend_from_slice(&[2; 99]);
        assert_eq!(body.as_bytes().as_ptr(), address);
    }

    #[test]
    fn truncating_wipes_the_tail_and_keeps_the_rest() {
        let mut body = CleartextBody::from(b"keep4111".to_vec());
        body.truncate(4);
        assert_eq!(body.as_bytes(), b"keep");
        body.truncate(40);
        assert_eq!(body.len(), 4);
        body.clear();
        assert!(body.is_empty());
        assert!(body.capacity() >= 8);
    }

    #[test]
    fn wiping_covers_the_spare_room_and_does_not_move_the_bytes() {
        let mut bytes = b"4111111111111111".to_vec();
        let (address, room) = (bytes.as_ptr(), bytes.capacity());
        bytes.truncate(4);
        wipe_vec(&mut bytes);
        assert_eq!((bytes.as_ptr(), bytes.capacity(), bytes.len()), (address, room, 0));
        let mut digits = *b"4111";
        wipe(&mut digits);
        assert_eq!(digits, [0; 4]);
    }

    #[test]
    fn a_body_travels_as_bytes_without_a_copy() {
        let body = CleartextBody::from(b"card_number=4111".to_vec());
        let address = body.as_bytes().as_ptr();
        let bytes = body.into_bytes();
        assert_eq!(bytes.as_ptr(), address);
        assert_eq!(bytes.clone().as_ptr(), address);
        assert_eq!(&bytes[..], b"card_number=4111");
    }

    #[test]
    fn randomness_differs_from_call_to_call() {
        let (mut first, mut second) = ([0u8; 32], [0u8; 32]);
        fill_random(&mut first);
        fill_random(&mut second);
        assert_ne!(first, second);
        assert_ne!(first, [0; 32]);
    }
}
