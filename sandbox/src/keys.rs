//! Keys and raw signatures of the sandbox's parties: RSA-SHA256 over a digest, and HMAC-SHA512.
//! Keys are made at start and end with the run.

use anyhow::{Result, anyhow};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{KeyPair as Made, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use std::sync::Arc;

const PEM_LINE: usize = 64;

/// An RSA key pair in the spellings that people and programs exchange.
pub struct RsaPair {
    pkcs8: Vec<u8>,
    spki: Vec<u8>,
    signing: RsaKeyPair,
}

impl RsaPair {
    /// Makes one of 2048 bits.
    pub fn generate() -> Result<Self> {
        let failed = |_| anyhow!("no RSA key can be made");
        let made = Made::generate(KeySize::Rsa2048).map_err(failed)?;
        let pkcs8: Pkcs8V1Der<'_> = made.as_der().map_err(failed)?;
        let spki: PublicKeyX509Der<'_> = made.public_key().as_der().map_err(failed)?;
        let signing = RsaKeyPair::from_pkcs8(pkcs8.as_ref())
            .map_err(|error| anyhow!("the new RSA key is refused: {error}"))?;
        Ok(Self { pkcs8: pkcs8.as_ref().to_vec(), spki: spki.as_ref().to_vec(), signing })
    }

    /// PKCS#8, PEM.
    #[must_use]
    pub fn private_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// SubjectPublicKeyInfo, PEM.
    #[must_use]
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &self.spki)
    }
}

/// What a party signs with.
#[derive(Clone)]
pub enum Signer {
    /// RSA-SHA256 of the message's SHA-256.
    Rsa(Arc<RsaPair>),
    /// HMAC-SHA512 under the key's text.
    Hmac(String),
}

impl Signer {
    /// A new RSA key.
    pub fn rsa() -> Result<Self> {
        Ok(Self::Rsa(Arc::new(RsaPair::generate()?)))
    }

    /// A new HMAC key.
    #[must_use]
    pub fn hmac() -> Self {
        Self::Hmac(crate::random::letters(64))
    }

    /// `rsa` or `hmac`, as a configuration spells it.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "rsa",
            Self::Hmac(_) => "hmac",
        }
    }

    /// base64url without padding.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.signing.public().modulus_len()];
                let hashed = digest(&SHA256, message);
                let random = SystemRandom::new();
                let signing = &pair.signing;
                // Nothing but randomness can fail here; an empty signature is refused by everybody.
                match signing.sign(&RSA_PKCS1_SHA256, &random, hashed.as_ref(), &mut signature) {
                    Ok(()) => URL_SAFE_NO_PAD.encode(signature),
                    Err(_) => String::new(),
                }
            }
            Self::Hmac(key) => {
                let key = hmac::Key::new(hmac::HMAC_SHA512, key.as_bytes());
                URL_SAFE_NO_PAD.encode(hmac::sign(&key, message))
            }
        }
    }

    /// What checks these signatures.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        match self {
            Self::Rsa(pair) => Verifier::Rsa(pair.spki.clone()),
            Self::Hmac(key) => Verifier::Hmac(key.clone()),
        }
    }

    /// The file of whoever signs.
    #[must_use]
    pub fn private_file(&self) -> String {
        match self {
            Self::Rsa(pair) => pair.private_pem(),
            Self::Hmac(key) => key.clone(),
        }
    }

    /// The file of whoever checks.
    #[must_use]
    pub fn public_file(&self) -> String {
        match self {
            Self::Rsa(pair) => pair.public_pem(),
            Self::Hmac(key) => key.clone(),
        }
    }
}

/// What checks signatures.
#[derive(Debug, Clone)]
pub enum Verifier {
    /// SubjectPublicKeyInfo, DER.
    Rsa(Vec<u8>),
    /// The key's text.
    Hmac(String),
}

impl Verifier {
    /// Whether a signature in base64url, padded or not, is over this message.
    #[must_use]
    pub fn accepts(&self, message: &[u8], signature: &str) -> bool {
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature.trim_end_matches('=')) else {
            return false;
        };
        match self {
            Self::Rsa(spki) => {
                let Some(key) = pkcs1_of(spki) else { return false };
                let hashed = digest(&SHA256, message);
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
                key.verify(hashed.as_ref(), &signature).is_ok()
            }
            Self::Hmac(key) => {
                let key = hmac::Key::new(hmac::HMAC_SHA512, key.as_bytes());
                hmac::verify(&key, message, &signature).is_ok()
            }
        }
    }

    /// `x-access-token`: the public key; nothing for a shared key.
    #[must_use]
    pub fn access_token(&self) -> Option<String> {
        match self {
            Self::Rsa(spki) => Some(URL_SAFE_NO_PAD.encode(spki)),
            Self::Hmac(_) => None,
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(PEM_LINE)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The RSAPublicKey inside a SubjectPublicKeyInfo: SEQUENCE { SEQUENCE algorithm, BIT STRING }.
fn pkcs1_of(spki: &[u8]) -> Option<&[u8]> {
    let (outer, _) = element(spki, 0x30)?;
    let (_, rest) = element(outer, 0x30)?;
    let (bits, _) = element(rest, 0x03)?;
    bits.strip_prefix(&[0])
}

/// Content of one DER element with this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte)), rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(length) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_key_signs_only_its_own_half_accepts() {
        let (rsa, other, hmac) = (Signer::rsa().unwrap(), Signer::rsa().unwrap(), Signer::hmac());
        for signer in [&rsa, &hmac] {
            let signature = signer.sign(b"message");
            assert!(signer.verifier().accepts(b"message", &signature));
            assert!(signer.verifier().accepts(b"message", &format!("{signature}==")));
            assert!(!signer.verifier().accepts(b"messagf", &signature));
            assert!(!other.verifier().accepts(b"message", &signature));
            assert!(!signer.verifier().accepts(b"message", ""));
        }
    }

    #[test]
    fn keys_are_written_as_the_provider_hands_them_out() {
        let rsa = Signer::rsa().unwrap();
        assert!(rsa.private_file().starts_with("-----BEGIN PRIVATE KEY-----\nMII"));
        assert!(rsa.public_file().starts_with("-----BEGIN PUBLIC KEY-----\nMIIBIjAN"));
        assert!(rsa.verifier().access_token().unwrap().starts_with("MIIBIjAN"));
        assert_eq!(Signer::hmac().verifier().access_token(), None);
    }
}
