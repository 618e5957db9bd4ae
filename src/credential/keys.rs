//! Keys that sign and verify [`access_headers`](super::access_headers): RSA (PKCS#1 v1.5 with
//! SHA-256) and HMAC-SHA-512.
//!
//! Messages hold cards, so they are hashed here; the RSA library sees digests only. A key is
//! checked when it is read, is wiped when it goes, and cannot be printed.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use hmac::{HmacReset, KeyInit as _, Mac as _};
use sha2::Sha512;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use crate::secret::{SecretBytes, scoured, sha256};

use super::encoding::{BASE64_URL, KeyEncoding, SignatureEncoding};
use super::pem;

/// What RSA signs. HMAC has no such choice and always takes the message itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Prehash {
    /// SHA-256 of the message is what is signed, so SHA-256 is taken twice.
    #[default]
    Double,
    /// The message is what is signed.
    Single,
}

impl Prehash {
    /// The choice of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "double" => Some(Self::Double),
            "single" => Some(Self::Single),
            _ => None,
        }
    }
}

/// Why a key cannot be used; nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// Not one PEM block.
    Pem,
    /// A PEM block of another kind, such as an encrypted key or a certificate.
    Label,
    /// Not an RSA key of 2048 to 8192 bits whose parts fit together.
    Rsa,
    /// An HMAC key that is not written as the configuration says.
    Encoding,
    /// An HMAC key of no bytes.
    Empty,
}

impl KeyError {
    /// The stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pem => "key_pem",
            Self::Label => "key_label",
            Self::Rsa => "key_rsa",
            Self::Encoding => "key_encoding",
            Self::Empty => "key_empty",
        }
    }
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for KeyError {}

/// Nothing was signed: an HMAC key of no bytes, or an RSA operation that failed although the key
/// was checked when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningFailed;

impl fmt::Display for SigningFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("signing_failed")
    }
}

impl std::error::Error for SigningFailed {}

/// A key that signs.
pub struct SigningKey {
    secret: Secret,
    encoding: SignatureEncoding,
}

enum Secret {
    Rsa { pair: Box<RsaKeyPair>, token: Box<str> },
    Hmac(SecretBytes),
}

impl SigningKey {
    /// Reads an RSA private key in PEM: PKCS#8, or PKCS#1 as older tools write it.
    ///
    /// # Errors
    /// [`KeyError`], which holds nothing of the file.
    pub fn rsa_pem(file: &SecretBytes) -> Result<Self, KeyError> {
        let (label, der) = pem::read(file, &["PRIVATE KEY", "RSA PRIVATE KEY"])?;
        let pair = match label {
            "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
            _ => RsaKeyPair::from_der(&der),
        };
        let pair = Box::new(pair.map_err(|_| KeyError::Rsa)?);
        let token = token(pair.public_key())?;
        Ok(Self { secret: Secret::Rsa { pair, token }, encoding: SignatureEncoding::default() })
    }

    /// These bytes as an HMAC key. A key of no bytes signs nothing.
    pub fn hmac(key: SecretBytes) -> Self {
        Self { secret: Secret::Hmac(key), encoding: SignatureEncoding::default() }
    }

    /// Reads an HMAC key that is written in this encoding.
    ///
    /// # Errors
    /// [`KeyError`], which holds nothing of the file.
    pub fn hmac_text(file: &SecretBytes, encoding: KeyEncoding) -> Result<Self, KeyError> {
        encoding.key(file).map(Self::hmac)
    }

    /// Signatures are written this way from now on.
    #[must_use]
    pub fn with_encoding(self, encoding: SignatureEncoding) -> Self {
        Self { encoding, ..self }
    }

    /// The header's value for this message. Over a clear card it is as secret as the card.
    ///
    /// # Errors
    /// [`SigningFailed`]
    pub fn sign(&self, message: &[u8], prehash: Prehash) -> Result<SecretBytes, SigningFailed> {
        let signature = match &self.secret {
            Secret::Rsa { pair, .. } => rsa_signature(pair, message, prehash)?,
            Secret::Hmac(key) => mac(key, message).ok_or(SigningFailed)?,
        };
        Ok(self.encoding.write(&signature))
    }

    /// The value of `x-access-token`: an RSA key's public half.
    pub fn public_token(&self) -> Option<String> {
        match &self.secret {
            Secret::Rsa { token, .. } => Some(token.to_string()),
            Secret::Hmac(_) => None,
        }
    }

    /// The value of `x-access-merchant-algorithm`; RSA goes without saying.
    pub fn algorithm_header(&self) -> Option<&'static str> {
        match &self.secret {
            Secret::Rsa { .. } => None,
            Secret::Hmac(_) => Some("HMAC-SHA512"),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A key that verifies.
pub struct VerifyingKey {
    check: Check,
    encoding: SignatureEncoding,
}

enum Check {
    Rsa { key: Box<ParsedPublicKey>, token: Box<str> },
    Hmac(SecretBytes),
}

impl VerifyingKey {
    /// Reads an RSA public key in PEM (SubjectPublicKeyInfo, RFC 5280 section 4.1).
    ///
    /// # Errors
    /// [`KeyError`], which holds nothing of the file.
    pub fn rsa_pem(file: &SecretBytes) -> Result<Self, KeyError> {
        let (_, der) = pem::read(file, &["PUBLIC KEY"])?;
        // Reading it for encryption is what checks the size; verifying would only refuse later.
        let checked = PublicEncryptingKey::from_der(&der).map_err(|_| KeyError::Rsa)?;
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der.as_slice());
        let key = Box::new(key.map_err(|_| KeyError::Rsa)?);
        let token = token(&checked)?;
        Ok(Self { check: Check::Rsa { key, token }, encoding: SignatureEncoding::default() })
    }

    /// These bytes as an HMAC key. A key of no bytes verifies nothing.
    pub fn hmac(key: SecretBytes) -> Self {
        Self { check: Check::Hmac(key), encoding: SignatureEncoding::default() }
    }

    /// Reads an HMAC key that is written in this encoding.
    ///
    /// # Errors
    /// [`KeyError`], which holds nothing of the file.
    pub fn hmac_text(file: &SecretBytes, encoding: KeyEncoding) -> Result<Self, KeyError> {
        encoding.key(file).map(Self::hmac)
    }

    /// Signatures are read this way from now on.
    #[must_use]
    pub fn with_encoding(self, encoding: SignatureEncoding) -> Self {
        Self { encoding, ..self }
    }

    /// Whether the presented header value is this key's signature over this message.
    pub fn verify(&self, message: &[u8], presented: &[u8], prehash: Prehash) -> bool {
        let Some(signature) = self.encoding.read(presented) else { return false };
        match &self.check {
            Check::Rsa { key, .. } => digest(message, prehash)
                .is_ok_and(|digest| key.verify_digest_sig(&digest, &signature).is_ok()),
            Check::Hmac(key) => {
                mac(key, message).is_some_and(|good| good.as_slice().ct_eq(&signature).into())
            }
        }
    }

    /// The `x-access-token` that belongs to an RSA key's signatures.
    pub fn public_token(&self) -> Option<String> {
        match &self.check {
            Check::Rsa { token, .. } => Some(token.to_string()),
            Check::Hmac(_) => None,
        }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(..)")
    }
}

/// The key's SubjectPublicKeyInfo in unpadded base64url.
fn token(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Result<Box<str>, KeyError> {
    use base64::Engine as _;
    let der = key.as_der().map_err(|_| KeyError::Rsa)?;
    Ok(BASE64_URL.encode(der.as_ref()).into_boxed_str())
}

fn rsa_signature(
    pair: &RsaKeyPair,
    message: &[u8],
    prehash: Prehash,
) -> Result<Zeroizing<Vec<u8>>, SigningFailed> {
    let digest = digest(message, prehash)?;
    let mut signature = Zeroizing::new(vec![0; pair.public_modulus_len()]);
    pair.sign_digest(&RSA_PKCS1_SHA256, &digest, &mut signature).map_err(|_| SigningFailed)?;
    Ok(signature)
}

/// The digest that PKCS#1 encodes.
fn digest(message: &[u8], prehash: Prehash) -> Result<Digest, SigningFailed> {
    let once = scoured(|| sha256(&[message]));
    let last = match prehash {
        Prehash::Single => once,
        Prehash::Double => sha256(&[once.as_slice()]),
    };
    Digest::import_less_safe(last.as_slice(), &SHA256).map_err(|_| SigningFailed)
}

/// HMAC takes keys of every length (RFC 2104 section 3), the empty one too: that is no secret.
fn mac(key: &SecretBytes, message: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if key.is_empty() {
        return None;
    }
    scoured(|| {
        let mut mac = key.reveal(HmacReset::<Sha512>::new_from_slice).ok()?;
        mac.update(message);
        // In its place: by value the last block would be moved, and left behind.
        Some(Zeroizing::new(mac.finalize_reset().into_bytes().to_vec()))
    })
}

#[cfg(test)]
mod tests;
