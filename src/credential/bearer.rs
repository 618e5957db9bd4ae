//! HTTP Bearer (RFC 6750).

use crate::secret::SecretBytes;

use super::basic::after_scheme;

/// What a caller sent in `Authorization: Bearer`.
#[derive(Debug)]
pub struct PresentedBearer(SecretBytes);

impl PresentedBearer {
    /// Reads a header value; `None` when it is not Bearer.
    pub fn parse(value: &[u8]) -> Option<Self> {
        after_scheme(value, b"bearer").map(|token| Self(SecretBytes::from_slice(token)))
    }

    /// Looks at the token as text; `None` when it is not text.
    pub fn reveal<R>(&self, look: impl FnOnce(&str) -> R) -> Option<R> {
        self.0.reveal(|bytes| std::str::from_utf8(bytes).ok().map(look))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_ignores_case_and_the_token_does_not() {
        let bearer = PresentedBearer::parse(b"bearer aBc").unwrap();
        assert_eq!(bearer.reveal(str::to_owned).as_deref(), Some("aBc"));
        assert!(PresentedBearer::parse(b"Basic abc").is_none());
        assert!(PresentedBearer::parse(b"Bearer").is_none());
    }
}
