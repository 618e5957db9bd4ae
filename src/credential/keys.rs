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

use super::encoding::{self, BASE64, BASE64_URL};
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

/// How a signature is written in its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignatureEncoding {
    /// Base64 with the alphabet of URLs; written without padding, read with or without.
    #[default]
    Base64Url,
    /// Base64; written with padding, read with or without.
    Base64,
    /// Hexadecimal; written in lower case, read in either.
    Hex,
}

impl SignatureEncoding {
    /// The encoding of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "base64url" => Some(Self::Base64Url),
            "base64" => Some(Self::Base64),
            "hex" => Some(Self::Hex),
            _ => None,
        }
    }

    fn write(self, signature: &[u8]) -> SecretBytes {
        let text = match self {
            Self::Base64Url => encoding::base64(&BASE64_URL, signature, 0),
            Self::Base64 => encoding::base64(&BASE64, signature, 0),
            Self::Hex => encoding::hex(signature),
        };
        SecretBytes::from_slice(text.as_bytes())
    }

    fn read(self, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Base64Url => encoding::from_base64(&BASE64_URL, text),
            Self::Base64 => encoding::from_base64(&BASE64, text),
            Self::Hex => encoding::from_hex(text),
        }
    }
}

/// How an HMAC key is written in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyEncoding {
    /// The text itself is the key.
    #[default]
    Utf8,
    /// Hexadecimal digits.
    Hex,
    /// Base64 of either alphabet, with or without padding.
    Base64,
}

impl KeyEncoding {
    /// The encoding of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "utf8" => Some(Self::Utf8),
            "hex" => Some(Self::Hex),
            "base64" => Some(Self::Base64),
            _ => None,
        }
    }

    /// The key; a line end behind it in its file is not part of it.
    fn key(self, file: &SecretBytes) -> Result<SecretBytes, KeyError> {
        let key = file.reveal(|text| {
            let text = text.trim_ascii();
            let decoded = match self {
                Self::Utf8 => return Some(SecretBytes::long_lived(text)),
                Self::Hex => encoding::from_hex(text),
                Self::Base64 => encoding::from_base64(&BASE64, text)
                    .or_else(|| encoding::from_base64(&BASE64_URL, text)),
            };
            decoded.map(|bytes| SecretBytes::long_lived(&bytes))
        });
        let key = key.ok_or(KeyError::Encoding)?;
        if key.is_empty() { Err(KeyError::Empty) } else { Ok(key) }
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
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::secret::SecretBytes;

    const REQUEST: &str = include_str!("../../tests/vectors/keys/request.pem");
    const REQUEST_PKCS1: &str = include_str!("../../tests/vectors/keys/request-pkcs1.pem");
    const REQUEST_PUBLIC: &str = include_str!("../../tests/vectors/keys/request.pub");
    const OTHER: &str = include_str!("../../tests/vectors/keys/other.pem");
    const OTHER_PUBLIC: &str = include_str!("../../tests/vectors/keys/other.pub");
    const SHORT: &str = include_str!("../../tests/vectors/keys/short.pem");
    const SHORT_PUBLIC: &str = include_str!("../../tests/vectors/keys/short.pub");
    const CURVE: &str = include_str!("../../tests/vectors/keys/curve.pem");
    const CURVE_PUBLIC: &str = include_str!("../../tests/vectors/keys/curve.pub");

    /// The message of the provider's example and what openssl made of it with `request.pem`; the
    /// commands stand in tests/vectors/keys/README.md.
    const MESSAGE: &[u8] = include_bytes!("../../tests/vectors/keys/message.txt");
    const DOUBLE: &str = include_str!("../../tests/vectors/keys/message.double");
    const SINGLE: &str = include_str!("../../tests/vectors/keys/message.single");
    const MAC: &str = include_str!("../../tests/vectors/keys/message.hmac");
    const TOKEN: &str = include_str!("../../tests/vectors/keys/request.token");
    const HMAC_KEY: &str = "throw-away hmac key";

    fn secret(text: &str) -> SecretBytes {
        SecretBytes::from_slice(text.as_bytes())
    }

    fn signing(pem: &str) -> SigningKey {
        SigningKey::rsa_pem(&secret(pem)).unwrap()
    }

    fn verifying(pem: &str) -> VerifyingKey {
        VerifyingKey::rsa_pem(&secret(pem)).unwrap()
    }

    fn hmac() -> (SigningKey, VerifyingKey) {
        let key = secret(HMAC_KEY);
        (SigningKey::hmac(key), VerifyingKey::hmac(secret(HMAC_KEY)))
    }

    fn sign(key: &SigningKey, message: &[u8], prehash: Prehash) -> String {
        let signature = key.sign(message, prehash).unwrap();
        signature.reveal(|text| String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn rsa_signatures_are_those_that_openssl_makes() {
        for pem in [REQUEST, REQUEST_PKCS1] {
            assert_eq!(sign(&signing(pem), MESSAGE, Prehash::Double), DOUBLE.trim_end());
            assert_eq!(sign(&signing(pem), MESSAGE, Prehash::Single), SINGLE.trim_end());
        }
    }

    #[test]
    fn hmac_signatures_are_those_that_openssl_makes() {
        let (made, checked) = hmac();
        for prehash in [Prehash::Double, Prehash::Single] {
            assert_eq!(sign(&made, MESSAGE, prehash), MAC.trim_end());
            assert!(checked.verify(MESSAGE, MAC.trim_end().as_bytes(), prehash));
        }
    }

    #[test]
    fn what_is_signed_verifies_in_every_encoding() {
        use SignatureEncoding::{Base64, Base64Url, Hex};
        let pairs = || [(signing(REQUEST), verifying(REQUEST_PUBLIC)), hmac()];
        for encoding in [Base64Url, Base64, Hex] {
            for (made, checked) in pairs() {
                let (made, checked) =
                    (made.with_encoding(encoding), checked.with_encoding(encoding));
                for prehash in [Prehash::Double, Prehash::Single] {
                    let signature = sign(&made, b"card", prehash);
                    assert!(checked.verify(b"card", signature.as_bytes(), prehash));
                    assert!(!checked.verify(b"carD", signature.as_bytes(), prehash));
                }
            }
        }
    }

    #[test]
    fn padded_and_bare_signatures_verify_and_other_spellings_do_not() {
        for (key, signature) in [(verifying(REQUEST_PUBLIC), DOUBLE), (hmac().1, MAC)] {
            let bare = signature.trim_end();
            let padded = format!("{bare}==");
            assert_eq!(padded.len() % 4, 0);
            assert!(key.verify(MESSAGE, bare.as_bytes(), Prehash::Double));
            assert!(key.verify(MESSAGE, padded.as_bytes(), Prehash::Double));
            let standard = bare.replace('-', "+").replace('_', "/");
            assert_ne!(standard, bare);
            let spaced = format!(" {bare}");
            let shorter = &bare[..bare.len() - 4];
            for bad in ["", "=", &standard, &spaced, shorter, &format!("{bare}=")] {
                assert!(!key.verify(MESSAGE, bad.as_bytes(), Prehash::Double), "{bad}");
            }
        }
    }

    #[test]
    fn another_key_another_prehash_or_any_flipped_bit_is_refused() {
        let key = verifying(REQUEST_PUBLIC);
        let good = DOUBLE.trim_end();
        assert!(!verifying(OTHER_PUBLIC).verify(MESSAGE, good.as_bytes(), Prehash::Double));
        assert!(!key.verify(MESSAGE, good.as_bytes(), Prehash::Single));
        let by_other = sign(&signing(OTHER), MESSAGE, Prehash::Double);
        assert!(!key.verify(MESSAGE, by_other.as_bytes(), Prehash::Double));
        let raw = SignatureEncoding::Base64Url.read(good.as_bytes()).unwrap();
        flipped(&raw, |bytes| {
            let text = SignatureEncoding::Base64Url.write(bytes);
            assert!(!text.reveal(|text| key.verify(MESSAGE, text, Prehash::Double)));
        });
        flipped(MESSAGE, |bytes| {
            assert!(!key.verify(bytes, good.as_bytes(), Prehash::Double));
        });
    }

    #[test]
    fn an_hmac_refuses_another_key_a_cut_tag_and_any_flipped_bit() {
        let (_, key) = hmac();
        let good = MAC.trim_end().as_bytes();
        let other = VerifyingKey::hmac(secret("throw-away hmac keY"));
        assert!(!other.verify(MESSAGE, good, Prehash::Double));
        let raw = SignatureEncoding::Base64Url.read(good).unwrap();
        let refused = |bytes: &[u8]| {
            let text = SignatureEncoding::Base64Url.write(bytes);
            !text.reveal(|text| key.verify(MESSAGE, text, Prehash::Double))
        };
        flipped(&raw, |bytes| assert!(refused(bytes)));
        for length in 0..raw.len() {
            assert!(refused(&raw[..length]), "{length} bytes");
        }
        flipped(MESSAGE, |bytes| assert!(!key.verify(bytes, good, Prehash::Double)));
    }

    /// Shows the bytes with one bit changed, for each byte.
    fn flipped(bytes: &[u8], mut look: impl FnMut(&[u8])) {
        for at in 0..bytes.len() {
            let mut changed = bytes.to_vec();
            changed[at] ^= 1 << (at % 8);
            look(&changed);
        }
    }

    #[test]
    fn the_token_is_the_public_half_and_hmac_has_a_name_instead() {
        let (pair, public) = (signing(REQUEST), verifying(REQUEST_PUBLIC));
        assert_eq!(pair.public_token().as_deref(), Some(TOKEN.trim_end()));
        assert_eq!(public.public_token().as_deref(), Some(TOKEN.trim_end()));
        assert_eq!(pair.algorithm_header(), None);
        let (made, checked) = hmac();
        assert_eq!((made.public_token(), checked.public_token()), (None, None));
        assert_eq!(made.algorithm_header(), Some("HMAC-SHA512"));
    }

    #[test]
    fn keys_of_another_kind_or_size_are_refused() {
        let private = |pem: &str| SigningKey::rsa_pem(&secret(pem)).unwrap_err();
        let public = |pem: &str| VerifyingKey::rsa_pem(&secret(pem)).unwrap_err();
        assert_eq!([private(SHORT), private(CURVE)], [KeyError::Rsa; 2]);
        assert_eq!([public(SHORT_PUBLIC), public(CURVE_PUBLIC)], [KeyError::Rsa; 2]);
        assert_eq!([private(REQUEST_PUBLIC), public(REQUEST)], [KeyError::Label; 2]);
        let encrypted = REQUEST.replace("PRIVATE", "ENCRYPTED PRIVATE");
        assert_eq!(private(&encrypted), KeyError::Label);
        let mislabelled = REQUEST_PKCS1.replace("RSA PRIVATE", "PRIVATE");
        assert_eq!(private(&mislabelled), KeyError::Rsa);
    }

    #[test]
    fn a_damaged_key_is_refused_and_the_error_holds_nothing_of_it() {
        let lines: Vec<&str> = REQUEST.lines().collect();
        let without = |line: usize| {
            let mut kept = lines.clone();
            kept.remove(line);
            kept.join("\n")
        };
        for line in 0..lines.len() {
            let error = SigningKey::rsa_pem(&secret(&without(line))).unwrap_err();
            assert!(["key_pem", "key_rsa"].contains(&error.to_string().as_str()), "{line}");
            assert!(["Pem", "Rsa"].contains(&format!("{error:?}").as_str()), "{line}");
        }
        let canary = "-----BEGIN CANARY-----\ncanary\n-----END CANARY-----";
        for text in ["canary", canary] {
            let private = SigningKey::rsa_pem(&secret(text)).unwrap_err();
            let public = VerifyingKey::rsa_pem(&secret(text)).unwrap_err();
            let hmac = SigningKey::hmac_text(&secret(text), KeyEncoding::Hex).unwrap_err();
            let shown = format!("{private:?} {private} {public:?} {public} {hmac:?} {hmac}");
            assert!(!shown.to_lowercase().contains("canary"));
        }
    }

    /// Of the private numbers each is checked against the others, so that a signature never leaves
    /// with a fault in it that gives the key away.
    #[test]
    fn a_private_key_whose_parts_do_not_fit_is_refused() {
        let (_, der) = pem::read(&secret(REQUEST_PKCS1), &["RSA PRIVATE KEY"]).unwrap();
        for at in (300..der.len()).step_by(37) {
            let mut changed = der.to_vec();
            changed[at] ^= 1;
            let body = SignatureEncoding::Base64.write(&changed);
            let body = body.reveal(|text| String::from_utf8(text.to_vec()).unwrap());
            let file =
                format!("-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----");
            assert_eq!(SigningKey::rsa_pem(&secret(&file)).unwrap_err(), KeyError::Rsa, "{at}");
        }
    }

    #[test]
    fn an_hmac_key_is_read_in_its_encoding_and_without_its_line_end() {
        let expected = sign(&hmac().0, MESSAGE, Prehash::Double);
        let hex = "7468726f772d6177617920686d6163206b6579";
        for (encoding, text) in [
            (KeyEncoding::Utf8, HMAC_KEY),
            (KeyEncoding::Utf8, "\nthrow-away hmac key\r\n"),
            (KeyEncoding::Hex, hex),
            (KeyEncoding::Hex, &format!("{}\n", hex.to_uppercase())),
            (KeyEncoding::Base64, "dGhyb3ctYXdheSBobWFjIGtleQ=="),
            (KeyEncoding::Base64, "dGhyb3ctYXdheSBobWFjIGtleQ\n"),
        ] {
            let key = SigningKey::hmac_text(&secret(text), encoding).unwrap();
            assert_eq!(sign(&key, MESSAGE, Prehash::Double), expected, "{encoding:?}");
        }
        let either = ["+/+/+/8=", "-_-_-_8="].map(|text| {
            let key = SigningKey::hmac_text(&secret(text), KeyEncoding::Base64).unwrap();
            sign(&key, MESSAGE, Prehash::Double)
        });
        assert_eq!(either[0], either[1]);
    }

    #[test]
    fn an_empty_hmac_key_neither_signs_nor_verifies() {
        assert_eq!(
            SigningKey::hmac(secret("")).sign(b"x", Prehash::Double).err(),
            Some(SigningFailed)
        );
        // HMAC-SHA-512 of `x` with the empty key, and no signature at all.
        let forged = "aee650458ddcbcd4557531b27f1cded4c577f576079b086f57f3c6b9e037a7c0b3cdf7ff58afa09fe279076d1107d5d554f4d34fc6f03d8fd12f93d892802ac3";
        let key = VerifyingKey::hmac(secret("")).with_encoding(SignatureEncoding::Hex);
        for presented in [forged, ""] {
            assert!(!key.verify(b"x", presented.as_bytes(), Prehash::Double));
        }
    }

    #[test]
    fn an_hmac_key_that_is_empty_or_not_in_its_encoding_is_refused() {
        let read = |text: &str, encoding| {
            let error = SigningKey::hmac_text(&secret(text), encoding).unwrap_err();
            assert_eq!(VerifyingKey::hmac_text(&secret(text), encoding).unwrap_err(), error);
            error
        };
        for encoding in [KeyEncoding::Utf8, KeyEncoding::Hex, KeyEncoding::Base64] {
            assert_eq!(read(" \n", encoding), KeyError::Empty);
        }
        assert_eq!(read("0g", KeyEncoding::Hex), KeyError::Encoding);
        assert_eq!(read("+_+_", KeyEncoding::Base64), KeyError::Encoding);
    }

    #[test]
    fn the_names_of_a_profile_are_known_and_no_others() {
        assert_eq!(Prehash::named("double"), Some(Prehash::Double));
        assert_eq!(Prehash::named("single"), Some(Prehash::Single));
        assert_eq!(SignatureEncoding::named("base64url"), Some(SignatureEncoding::Base64Url));
        assert_eq!(SignatureEncoding::named("base64"), Some(SignatureEncoding::Base64));
        assert_eq!(SignatureEncoding::named("hex"), Some(SignatureEncoding::Hex));
        assert_eq!(KeyEncoding::named("utf8"), Some(KeyEncoding::Utf8));
        assert_eq!(KeyEncoding::named("hex"), Some(KeyEncoding::Hex));
        assert_eq!(KeyEncoding::named("base64"), Some(KeyEncoding::Base64));
        let unknown = (Prehash::named(""), SignatureEncoding::named("HEX"), KeyEncoding::named(""));
        assert_eq!(unknown, (None, None, None));
    }

    #[test]
    fn debug_prints_a_fixed_text_and_keys_may_be_shared_between_threads() {
        fn shared<T: Send + Sync>(_: &T) {}
        for (made, checked) in [(signing(REQUEST), verifying(REQUEST_PUBLIC)), hmac()] {
            shared(&made);
            shared(&checked);
            assert_eq!(format!("{made:?} {checked:?}"), "SigningKey(..) VerifyingKey(..)");
            let signature = made.sign(MESSAGE, Prehash::Double).unwrap();
            assert_eq!(format!("{signature:?}"), "SecretBytes(..)");
        }
    }

    // Vectors. Origin and licence: tests/vectors/SOURCES.md.

    fn cases(text: &str) -> Vec<(Value, Value)> {
        let file: Value = serde_json::from_str(text).unwrap();
        let groups = file["testGroups"].as_array().unwrap().clone();
        let pairs = |group: Value| {
            let cases = group["tests"].as_array().unwrap().clone();
            cases.into_iter().map(move |case| (group.clone(), case))
        };
        groups.into_iter().flat_map(pairs).collect()
    }

    fn hex(case: &Value, field: &str) -> Vec<u8> {
        encoding::from_hex(case[field].as_str().unwrap().as_bytes()).unwrap().to_vec()
    }

    /// The one `acceptable` case leaves a NULL out of the encoding (RFC 8017 appendix A.2.4 has
    /// it); it is refused.
    #[test]
    fn rsa_agrees_with_wycheproof() {
        let (mut run, mut accepted) = (0, 0);
        let vectors = include_str!("../../tests/vectors/rsa_signature_2048_sha256_test.json");
        for (group, case) in cases(vectors) {
            let pem = group["publicKeyPem"].as_str().unwrap();
            let key = verifying(pem).with_encoding(SignatureEncoding::Hex);
            let signature = case["sig"].as_str().unwrap().as_bytes();
            let agrees = key.verify(&hex(&case, "msg"), signature, Prehash::Single);
            assert_eq!(agrees, case["result"] == "valid", "case {}", case["tcId"]);
            run += 1;
            accepted += u32::from(agrees);
        }
        assert_eq!((run, accepted), (259, 9));
    }

    /// Half of the cases have tags of 32 bytes: right ones are the start of ours, and all of them
    /// are refused, because a tag is whole or it is none.
    #[test]
    fn hmac_sha_512_agrees_with_wycheproof() {
        let (mut run, mut accepted) = (0, 0);
        let vectors = include_str!("../../tests/vectors/hmac_sha512_test.json");
        for (group, case) in cases(vectors) {
            let file = secret(case["key"].as_str().unwrap());
            let key = VerifyingKey::hmac_text(&file, KeyEncoding::Hex).unwrap();
            let key = key.with_encoding(SignatureEncoding::Hex);
            let (message, tag) = (hex(&case, "msg"), hex(&case, "tag"));
            let valid = case["result"] == "valid";
            let made = mac(&SecretBytes::new(hex(&case, "key")), &message).unwrap();
            assert_eq!(made.starts_with(&tag), valid, "case {}", case["tcId"]);
            let presented = case["tag"].as_str().unwrap().as_bytes();
            let agrees = key.verify(&message, presented, Prehash::Double);
            assert_eq!(agrees, valid && group["tagSize"] == 512, "case {}", case["tcId"]);
            run += 1;
            accepted += u32::from(agrees);
        }
        assert_eq!((run, accepted), (174, 33));
    }
}
