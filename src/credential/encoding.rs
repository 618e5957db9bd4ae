//! Bytes as text, for signatures and keys: hexadecimal and base64, by the names that profiles use.
//!
//! What passes here may be a card or a digest over one: everything is written into memory that is
//! wiped.

use base16ct::{lower, mixed};
use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::secret::{CleartextBody, SecretBytes};

use super::keys::KeyError;

const TOLERANT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);

/// Written with padding, read with or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, TOLERANT);

/// Written without padding, read with or without.
pub(super) const BASE64_URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, TOLERANT.with_encode_padding(false));

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

    pub(super) fn write(self, signature: &[u8]) -> SecretBytes {
        let text = match self {
            Self::Base64Url => base64(&BASE64_URL, signature, 0),
            Self::Base64 => base64(&BASE64, signature, 0),
            Self::Hex => hex(signature),
        };
        SecretBytes::from_slice(text.as_bytes())
    }

    pub(super) fn read(self, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        match self {
            Self::Base64Url => from_base64(&BASE64_URL, text),
            Self::Base64 => from_base64(&BASE64, text),
            Self::Hex => from_hex(text),
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
    ///
    /// # Errors
    /// [`KeyError`], which holds nothing of the file.
    pub fn key(self, file: &SecretBytes) -> Result<SecretBytes, KeyError> {
        let key = file.reveal(|text| {
            let text = text.trim_ascii();
            let decoded = match self {
                Self::Utf8 => return Some(SecretBytes::long_lived(text)),
                Self::Hex => from_hex(text),
                Self::Base64 => {
                    from_base64(&BASE64, text).or_else(|| from_base64(&BASE64_URL, text))
                }
            };
            decoded.map(|bytes| SecretBytes::long_lived(&bytes))
        });
        let key = key.ok_or(KeyError::Encoding)?;
        if key.is_empty() { Err(KeyError::Empty) } else { Ok(key) }
    }
}

/// Base64, with `room` bytes left for what the caller appends.
#[expect(clippy::expect_used, reason = "every three bytes, also begun ones, have four characters")]
pub(super) fn base64(engine: &GeneralPurpose, bytes: &[u8], room: usize) -> CleartextBody {
    let mut text = CleartextBody::from(vec![0; bytes.len().div_ceil(3) * 4 + room]);
    let written = engine.encode_slice(bytes, text.as_mut_bytes()).expect("the text fits");
    text.truncate(written);
    text
}

/// The bytes behind base64; `None` when it is not that. Padding is whole or it is not there, so
/// that nothing has more than these two spellings.
pub(super) fn from_base64(engine: &GeneralPurpose, text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    if text.ends_with(b"=") && !text.len().is_multiple_of(4) {
        return None;
    }
    let mut bytes = Zeroizing::new(vec![0; text.len().div_ceil(4) * 3]);
    let written = engine.decode_slice(text, &mut bytes).ok()?;
    bytes.truncate(written);
    Some(bytes)
}

/// Lower-case hexadecimal.
#[expect(clippy::expect_used, reason = "every byte has two digits")]
pub(super) fn hex(bytes: &[u8]) -> CleartextBody {
    let mut text = CleartextBody::from(vec![0; bytes.len() * 2]);
    lower::encode(bytes, text.as_mut_bytes()).expect("the text fits");
    text
}

/// The bytes behind hexadecimal digits of either case; `None` when they are not that.
pub(super) fn from_hex(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(vec![0; text.len() / 2]);
    mixed::decode(text, &mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 section 10.
    const RFC: [(&str, &str, &str); 7] = [
        ("", "", ""),
        ("f", "Zg==", "66"),
        ("fo", "Zm8=", "666f"),
        ("foo", "Zm9v", "666f6f"),
        ("foob", "Zm9vYg==", "666f6f62"),
        ("fooba", "Zm9vYmE=", "666f6f6261"),
        ("foobar", "Zm9vYmFy", "666f6f626172"),
    ];

    #[test]
    fn the_examples_of_rfc_4648_are_written_and_read() {
        for (bytes, padded, digits) in RFC {
            let (bytes, bare) = (bytes.as_bytes(), padded.trim_end_matches('='));
            assert_eq!(base64(&BASE64, bytes, 0).as_bytes(), padded.as_bytes());
            assert_eq!(base64(&BASE64_URL, bytes, 9).as_bytes(), bare.as_bytes());
            assert_eq!(hex(bytes).as_bytes(), digits.as_bytes());
            for text in [padded, bare] {
                assert_eq!(*from_base64(&BASE64, text.as_bytes()).unwrap(), bytes);
                assert_eq!(*from_base64(&BASE64_URL, text.as_bytes()).unwrap(), bytes);
            }
            assert_eq!(*from_hex(digits.as_bytes()).unwrap(), bytes);
            assert_eq!(*from_hex(digits.to_uppercase().as_bytes()).unwrap(), bytes);
        }
    }

    #[test]
    fn every_byte_survives() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(*from_hex(hex(&all).as_bytes()).unwrap(), all);
        for engine in [BASE64, BASE64_URL] {
            assert_eq!(*from_base64(&engine, base64(&engine, &all, 0).as_bytes()).unwrap(), all);
        }
    }

    #[test]
    fn what_is_not_the_encoding_is_refused() {
        for bad in ["0", "0g", "0x00", "00 ", " 00", "é"] {
            assert!(from_hex(bad.as_bytes()).is_none(), "{bad}");
        }
        // A length that cannot be, a stray sign, padding inside, bits that no encoder leaves.
        for bad in ["Z", "Zm9v\n", "Zg==Zg==", "Zh==", "Zh", "Zg=", "Zm9v====", "é"] {
            assert!(from_base64(&BASE64, bad.as_bytes()).is_none(), "{bad}");
            assert!(from_base64(&BASE64_URL, bad.as_bytes()).is_none(), "{bad}");
        }
        assert!(from_base64(&BASE64, b"-_-_").is_none());
        assert!(from_base64(&BASE64_URL, b"+/+/").is_none());
    }

    #[test]
    fn the_names_of_a_profile_are_known_and_no_others() {
        assert_eq!(SignatureEncoding::named("base64url"), Some(SignatureEncoding::Base64Url));
        assert_eq!(SignatureEncoding::named("base64"), Some(SignatureEncoding::Base64));
        assert_eq!(SignatureEncoding::named("hex"), Some(SignatureEncoding::Hex));
        assert_eq!(KeyEncoding::named("utf8"), Some(KeyEncoding::Utf8));
        assert_eq!(KeyEncoding::named("hex"), Some(KeyEncoding::Hex));
        assert_eq!(KeyEncoding::named("base64"), Some(KeyEncoding::Base64));
        assert_eq!((SignatureEncoding::named("HEX"), KeyEncoding::named("")), (None, None));
    }
}
