//! HMAC over a whole body, in a header: the commonest scheme that has no name of its own.

use hmac::digest::FixedOutputReset;
use hmac::{HmacReset, KeyInit, Mac};
use sha2::{Sha256, Sha512};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::secret::{SecretBytes, scoured};

use super::SignatureEncoding;

/// Hash and spelling of the header's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyHmac {
    /// The hash.
    pub hash: Hash,
    /// How the value is written.
    pub spelling: SignatureEncoding,
}

/// The hash inside an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl BodyHmac {
    /// The construction of that name in a profile: `hmac_sha256` or `hmac_sha512`, `hex` or
    /// `base64`.
    pub fn named(algorithm: &str, spelling: &str) -> Option<Self> {
        let hash = match algorithm {
            "hmac_sha256" => Hash::Sha256,
            "hmac_sha512" => Hash::Sha512,
            _ => return None,
        };
        let spelling = match SignatureEncoding::named(spelling)? {
            SignatureEncoding::Base64Url => return None,
            spelling => spelling,
        };
        Some(Self { hash, spelling })
    }

    /// The header's value for this body. Over a clear card it is as secret as the card.
    pub fn sign(self, secret: &SecretBytes, body: &[u8]) -> SecretBytes {
        let mac = Zeroizing::new(secret.reveal(|key| scoured(|| self.mac(key, body))));
        self.spelling.write(&mac)
    }

    /// Whether one of the secrets made this value; compared in constant time.
    pub fn verify(self, secrets: &[SecretBytes], body: &[u8], presented: &[u8]) -> bool {
        secrets.iter().fold(false, |found, secret| {
            let good = self.sign(secret, body);
            good.reveal(|good| bool::from(good.ct_eq(presented))) | found
        })
    }

    fn mac(self, key: &[u8], body: &[u8]) -> Vec<u8> {
        match self.hash {
            Hash::Sha256 => keyed::<HmacReset<Sha256>>(key, body),
            Hash::Sha512 => keyed::<HmacReset<Sha512>>(key, body),
        }
    }
}

/// HMAC takes keys of every length (RFC 2104 section 3); an empty result verifies nothing.
fn keyed<M: Mac + KeyInit + FixedOutputReset>(key: &[u8], body: &[u8]) -> Vec<u8> {
    match <M as KeyInit>::new_from_slice(key) {
        Ok(mut mac) => {
            Mac::update(&mut mac, body);
            // In its place: by value the last block would be moved, and left behind.
            mac.finalize_reset().into_bytes().to_vec()
        }
        Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231, test case 2.
    #[test]
    fn the_values_are_those_of_rfc_4231() {
        let key = SecretBytes::from_slice(b"Jefe");
        let body = b"what do ya want for nothing?";
        for (algorithm, expected) in [
            ("hmac_sha256", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            (
                "hmac_sha512",
                "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
            ),
        ] {
            let hmac = BodyHmac::named(algorithm, "hex").unwrap();
            assert_eq!(hmac.sign(&key, body).reveal(<[u8]>::to_vec), expected.as_bytes());
            let keys = [SecretBytes::from_slice(b"other"), key.reveal(SecretBytes::from_slice)];
            assert!(hmac.verify(&keys, body, expected.as_bytes()));
            assert!(!hmac.verify(&keys[..1], body, expected.as_bytes()));
            assert!(!hmac.verify(&keys, b"x", expected.as_bytes()));
            assert!(!hmac.verify(&keys, body, b""));
        }
    }

    #[test]
    fn only_the_names_of_a_profile_are_known() {
        let hmac = BodyHmac::named("hmac_sha256", "base64").unwrap();
        let value = hmac.sign(&SecretBytes::from_slice(b"Jefe"), b"what do ya want for nothing?");
        let expected = b"W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=";
        assert_eq!(value.reveal(<[u8]>::to_vec), expected);
        for (algorithm, spelling) in [("hmac_sha256", "base64url"), ("hmac_sha1", "hex")] {
            assert_eq!(BodyHmac::named(algorithm, spelling), None, "{algorithm} {spelling}");
        }
    }
}
