//! Corefy's callback signature: base64(SHA-1(secret ‖ raw body ‖ secret)).
//!
//! SHA-1 is the provider's definition, not our choice. There is no timestamp inside, so a replay
//! verifies: whoever calls this must de-duplicate.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};
use subtle::ConstantTimeEq as _;

use crate::secret::{SecretBytes, scoured};

/// The header's value for this body.
pub fn sign(secret: &SecretBytes, body: &[u8]) -> String {
    STANDARD.encode(digest(secret, body))
}

/// Whether one of the secrets made this signature. All are tried, each compared in constant time.
pub fn verify(secrets: &[SecretBytes], body: &[u8], presented: &[u8]) -> bool {
    let Ok(presented) = STANDARD.decode(presented) else { return false };
    secrets
        .iter()
        .fold(false, |found, secret| bool::from(digest(secret, body).ct_eq(&presented)) | found)
}

fn digest(secret: &SecretBytes, body: &[u8]) -> [u8; 20] {
    scoured(|| {
        let mut hash = Sha1::new();
        secret.reveal(|key| [key, body, key].into_iter().for_each(|part| hash.update(part)));
        // In its place: by value the block with the secret would be moved, and left behind.
        hash.finalize_reset().into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"data":{"type":"payment-invoices","id":"cpi_demo"}}"#;

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::from_slice(text.as_bytes())
    }

    /// Computed with another implementation: openssl dgst -sha1 -binary | base64.
    #[test]
    fn the_published_construction_gives_the_known_value() {
        assert_eq!(sign(&secret("test_secret"), BODY), "pPMtVyA72MHD0He+jgIG6yDPdSc=");
    }

    #[test]
    fn either_of_two_secrets_verifies() {
        let both = [secret("live_secret"), secret("test_secret")];
        assert!(verify(&both, BODY, b"pPMtVyA72MHD0He+jgIG6yDPdSc="));
        assert!(!verify(&both[..1], BODY, b"pPMtVyA72MHD0He+jgIG6yDPdSc="));
        assert!(!verify(&[], BODY, b"pPMtVyA72MHD0He+jgIG6yDPdSc="));
    }

    #[test]
    fn no_flipped_bit_of_the_body_verifies() {
        let secrets = [secret("test_secret")];
        let good = sign(&secrets[0], BODY);
        for at in 0..BODY.len() {
            let mut body = BODY.to_vec();
            body[at] ^= 1;
            assert!(!verify(&secrets, &body, good.as_bytes()), "byte {at}");
        }
    }

    #[test]
    fn a_signature_that_is_not_one_is_refused() {
        for bad in ["", "AAAA", "pPMtVyA72MHD0He+jgIG6yDPdSc", "pPMtVyA72MHD0He+jgIG6yDPdSc=="] {
            assert!(!verify(&[secret("test_secret")], BODY, bad.as_bytes()), "{bad}");
        }
    }
}
