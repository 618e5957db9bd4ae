//! HTTP Bearer (RFC 6750).

use std::fmt;

use super::basic::after_scheme;

/// What a caller sent in `Authorization: Bearer`, where it stands in the header.
pub struct PresentedBearer<'h>(&'h [u8]);

impl fmt::Debug for PresentedBearer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedBearer(..)")
    }
}

impl<'h> PresentedBearer<'h> {
    /// Reads a header value; `None` when it is not Bearer.
    pub fn parse(value: &'h [u8]) -> Option<Self> {
        after_scheme(value, b"bearer").map(Self)
    }

    /// Looks at the token as text; `None` when it is not text.
    pub fn reveal<R>(&self, look: impl FnOnce(&str) -> R) -> Option<R> {
        std::str::from_utf8(self.0).ok().map(look)
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
