//! SHA-256 over what may be secret.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The digest of the parts, one behind the other.
///
/// A hash keeps the last, unfinished block of its input as it is. It is finished here in its place,
/// where its drop wipes it (finishing by value moves it); over a secret or a card, call this in
/// [`scoured`](super::scoured), for what it copies to the stack.
#[must_use]
pub fn sha256(parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    Zeroizing::new(hash.finalize_reset().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4, the one-block example of its validation suite.
    #[test]
    fn parts_are_hashed_as_one_text() {
        let expected = [
            0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae,
            0x22, 0x23, 0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61,
            0xf2, 0x00, 0x15, 0xad,
        ];
        assert_eq!(*sha256(&[b"abc"]), expected);
        assert_eq!(*sha256(&[b"a", b"", b"bc"]), expected);
    }
}
