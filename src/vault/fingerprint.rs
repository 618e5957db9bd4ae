//! Fingerprints of card numbers, for counting how often one comes.

use std::fmt;

use super::Vault;
use crate::card::Pan;
use crate::secret::scoured;

/// Tells a card number from others without being one: equal for equal numbers as long as the
/// process lives.
///
/// To be treated as card data all the same: whoever has the key, and first six and last four
/// digits, soon finds the number. So it is never printed, and leaves the process nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl Vault {
    /// The fingerprint of a card number, under a key that serves nothing else.
    #[must_use]
    pub fn fingerprint(&self, pan: &Pan) -> Fingerprint {
        let ring = self.ring();
        let derive = |digits: &str| {
            scoured(|| ring.fingerprints().derive("fingerprint", &[digits.as_bytes()]))
        };
        let derived = pan.reveal(derive);
        Fingerprint(derived.first_chunk().copied().unwrap_or_default())
    }
}
