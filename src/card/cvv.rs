//! The security code. It is moved, never copied: from the browser into the vault, from the vault
//! into one request, and is gone with it (PCI DSS 3.3.1).

use std::fmt;

use zeroize::Zeroize;

use super::{Brand, CardError};

const LENGTH_MAX: usize = 4;

/// Three or four digits. Boxed, so that moving it leaves no copy behind.
pub struct Cvv {
    digits: Box<[u8; LENGTH_MAX]>,
    len: usize,
}

impl Cvv {
    /// Reads three or four digits and nothing else.
    ///
    /// # Errors
    /// Another length, other characters.
    pub fn parse(text: &[u8]) -> Result<Self, CardError> {
        if !(3..=LENGTH_MAX).contains(&text.len()) {
            return Err(CardError::CvvLength);
        }
        if !text.iter().all(u8::is_ascii_digit) {
            return Err(CardError::CvvDigits);
        }
        let mut digits = Box::new([0; LENGTH_MAX]);
        for (place, digit) in digits.iter_mut().zip(text) {
            *place = *digit;
        }
        Ok(Self { digits, len: text.len() })
    }

    /// Shows the digits to `look` for as long as it runs.
    pub fn reveal<R>(&self, look: impl FnOnce(&str) -> R) -> R {
        let digits = self.digits.get(..self.len).unwrap_or_default();
        look(std::str::from_utf8(digits).unwrap_or_default())
    }

    /// Whether the brand prints codes of this length.
    #[must_use]
    pub fn matches_brand(&self, brand: Brand) -> bool {
        brand.cvv_len().contains(&self.len)
    }
}

impl Drop for Cvv {
    fn drop(&mut self) {
        self.digits.zeroize();
    }
}

impl fmt::Debug for Cvv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cvv(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_or_four_digits_are_read() {
        for text in ["000", "123", "9876"] {
            Cvv::parse(text.as_bytes()).unwrap().reveal(|digits| assert_eq!(digits, text));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "1", "12", "12345", "000000000"] {
            assert_eq!(Cvv::parse(text.as_bytes()).unwrap_err(), CardError::CvvLength, "{text}");
        }
        for text in ["12a", " 123", "1 23", "-12", "１"] {
            assert_eq!(Cvv::parse(text.as_bytes()).unwrap_err(), CardError::CvvDigits, "{text}");
        }
    }

    #[test]
    fn the_length_belongs_to_the_brand() {
        let fits = |text: &str, brand| Cvv::parse(text.as_bytes()).unwrap().matches_brand(brand);
        assert!(fits("123", Brand::Visa) && !fits("1234", Brand::Visa));
        assert!(fits("1234", Brand::Amex) && !fits("123", Brand::Amex));
        assert!(fits("123", Brand::Unknown) && fits("1234", Brand::Unknown));
    }

    #[test]
    fn debug_prints_a_fixed_text() {
        assert_eq!(format!("{:?}", Cvv::parse(b"123").unwrap()), "Cvv(..)");
    }
}
