//! HTTP Basic (RFC 7617): made with the real account, checked against the virtual one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

/// An account id and its key.
#[derive(Debug)]
pub struct Basic {
    id: String,
    key: SecretBytes,
    header: SecretBytes,
}

impl Basic {
    /// An id holds no colon (RFC 7617 section 2); the configuration has checked that.
    pub fn new(id: String, key: SecretBytes) -> Self {
        let header = header(&id, &key);
        Self { id, key, header }
    }

    /// The account id; not a secret.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key, which also signs callbacks on some platforms.
    pub fn key(&self) -> &SecretBytes {
        &self.key
    }

    /// The value of the `Authorization` header.
    pub fn header_value(&self) -> &SecretBytes {
        &self.header
    }

    /// Whether these are this account's id and key; the key is compared in constant time.
    pub fn accepts(&self, presented: &PresentedBasic) -> bool {
        self.id == presented.id && presented.key.reveal(|key| self.key.ct_eq(key))
    }
}

fn header(id: &str, key: &SecretBytes) -> SecretBytes {
    let mut pair = Zeroizing::new(Vec::with_capacity(id.len() + 1 + key.len()));
    pair.extend_from_slice(id.as_bytes());
    pair.push(b':');
    key.reveal(|key| pair.extend_from_slice(key));
    let mut value = Zeroizing::new(String::with_capacity(6 + pair.len().div_ceil(3) * 4));
    value.push_str("Basic ");
    STANDARD.encode_string(pair.as_slice(), &mut value);
    SecretBytes::from_slice(value.as_bytes())
}

/// What a caller sent in `Authorization: Basic`.
#[derive(Debug)]
pub struct PresentedBasic {
    id: String,
    key: SecretBytes,
}

impl PresentedBasic {
    /// Reads a header value; `None` when it is not Basic or not readable.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let encoded = after_scheme(value, b"basic")?;
        let pair = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let colon = pair.iter().position(|byte| *byte == b':')?;
        let (id, key) = pair.split_at_checked(colon)?;
        let id = std::str::from_utf8(id).ok()?.to_owned();
        let (_, key) = key.split_first()?;
        Some(Self { id, key: SecretBytes::from_slice(key) })
    }

    /// The account id that was sent.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// The part after an authentication scheme's name and one space; names ignore case (RFC 9110 11.1).
pub(super) fn after_scheme<'v>(value: &'v [u8], scheme: &[u8]) -> Option<&'v [u8]> {
    let (name, rest) = value.split_at_checked(scheme.len())?;
    if !name.eq_ignore_ascii_case(scheme) {
        return None;
    }
    let rest = rest.strip_prefix(b" ")?.trim_ascii();
    (!rest.is_empty()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account() -> Basic {
        Basic::new("Aladdin".into(), SecretBytes::from_slice(b"open sesame"))
    }

    #[test]
    fn the_header_is_the_example_of_rfc_7617() {
        let seen = account().header_value().reveal(|value| value.to_vec());
        assert_eq!(seen, b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn what_is_made_is_accepted_and_anything_else_is_not() {
        let account = account();
        let presented = account.header_value().reveal(PresentedBasic::parse).unwrap();
        assert!(account.accepts(&presented));
        for wrong in ["Aladdin:open sesamf", "Aladdin:open sesam", "aladdin:open sesame", ":"] {
            let header = format!("Basic {}", STANDARD.encode(wrong));
            let presented = PresentedBasic::parse(header.as_bytes()).unwrap();
            assert!(!account.accepts(&presented), "{wrong}");
        }
    }

    #[test]
    fn unreadable_headers_are_refused() {
        for bad in ["", "Basic", "Basic ", "Basic !!", "Bearer abc", "Basic QWxhZGRpbg=="] {
            assert!(PresentedBasic::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }
}
