//! Keys of signed headers: RSA (PKCS#1 v1.5 with SHA-256) and HMAC-SHA-512.
//!
//! RSA is done by aws-lc, in C: in [`Prehash::Double`], the only way in use, nothing but a digest gets
//! there, so no card is ever in memory that the wiping allocator does not see.

use std::fmt;

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::secret::SecretBytes;

/// What RSA signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prehash {
    /// The SHA-256 of the message, hashed once more by the signature: as the provider's client does.
    Double,
    /// The message itself.
    Single,
}

/// A key text that is not one. Holds nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKey;

/// A key that signs.
pub enum SigningKey {
    /// RSA.
    Rsa(Box<RsaKeyPair>),
    /// A shared secret.
    Hmac(SecretBytes),
}

/// A key that verifies.
pub enum VerifyingKey {
    /// RSA, SubjectPublicKeyInfo in DER.
    Rsa(Vec<u8>),
    /// A shared secret.
    Hmac(SecretBytes),
}

impl SigningKey {
    /// An RSA private key in PEM (PKCS#8).
    pub fn rsa_pem(text: &SecretBytes) -> Result<Self, BadKey> {
        let der = text.reveal(PrivatePkcs8KeyDer::from_pem_slice).map_err(|_| BadKey)?;
        let pair = RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).map_err(|_| BadKey)?;
        Ok(Self::Rsa(Box::new(pair)))
    }

    /// The text of an HMAC key.
    pub fn hmac(text: SecretBytes) -> Self {
        Self::Hmac(text)
    }

    /// The signature in base64url without padding. Over a clear card it is as secret as the card.
    pub fn sign(&self, message: &[u8], prehash: Prehash) -> Result<SecretBytes, BadKey> {
        let signature = match self {
            Self::Rsa(pair) => rsa(pair, message, prehash)?,
            Self::Hmac(key) => key.reveal(|key| hmac_sha512(key, message)),
        };
        Ok(SecretBytes::new(URL_SAFE_NO_PAD.encode(signature).into_bytes()))
    }

    /// The public half as the provider wants it beside the signature; none for a shared secret.
    pub fn public_token(&self) -> Option<String> {
        match self {
            Self::Rsa(pair) => {
                let der: PublicKeyX509Der<'_> = pair.public_key().as_der().ok()?;
                Some(URL_SAFE_NO_PAD.encode(der.as_ref()))
            }
            Self::Hmac(_) => None,
        }
    }

    /// The header that names the algorithm, where it is not the usual one.
    pub fn algorithm_header(&self) -> Option<&'static str> {
        match self {
            Self::Rsa(_) => None,
            Self::Hmac(_) => Some("HMAC-SHA512"),
        }
    }
}

impl VerifyingKey {
    /// An RSA public key in PEM (SubjectPublicKeyInfo).
    pub fn rsa_pem(text: &SecretBytes) -> Result<Self, BadKey> {
        let der = text.reveal(SubjectPublicKeyInfoDer::from_pem_slice).map_err(|_| BadKey)?;
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_ref().to_vec());
        let readable = aws_lc_rs::signature::ParsedPublicKey::new(
            &RSA_PKCS1_2048_8192_SHA256,
            key.as_ref().to_vec(),
        );
        readable.map_err(|_| BadKey)?;
        Ok(Self::Rsa(der.as_ref().to_vec()))
    }

    /// The text of an HMAC key.
    pub fn hmac(text: SecretBytes) -> Self {
        Self::Hmac(text)
    }

    /// Whether this key's other half made the signature, padded or not.
    pub fn verify(&self, message: &[u8], presented: &[u8], prehash: Prehash) -> bool {
        let decoded = match presented.ends_with(b"=") {
            true => URL_SAFE.decode(presented),
            false => URL_SAFE_NO_PAD.decode(presented),
        };
        let Ok(presented) = decoded else { return false };
        match self {
            Self::Rsa(der) => {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der);
                let verified = match prehash {
                    Prehash::Double => key.verify(&Sha256::digest(message), &presented),
                    Prehash::Single => key.verify(message, &presented),
                };
                verified.is_ok()
            }
            Self::Hmac(key) => {
                let good = key.reveal(|key| hmac_sha512(key, message));
                !good.is_empty() && bool::from(good.ct_eq(&presented))
            }
        }
    }
}

fn rsa(pair: &RsaKeyPair, message: &[u8], prehash: Prehash) -> Result<Vec<u8>, BadKey> {
    let mut signature = vec![0; pair.public_modulus_len()];
    let random = SystemRandom::new();
    let signed = match prehash {
        Prehash::Double => {
            pair.sign(&RSA_PKCS1_SHA256, &random, &Sha256::digest(message), &mut signature)
        }
        Prehash::Single => pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature),
    };
    signed.map_err(|_| BadKey)?;
    Ok(signature)
}

/// HMAC takes keys of every length (RFC 2104 section 3).
fn hmac_sha512(key: &[u8], message: &[u8]) -> Vec<u8> {
    match Hmac::<Sha512>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        }
        Err(_) => Vec::new(),
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey(..)")
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("VerifyingKey(..)")
    }
}
