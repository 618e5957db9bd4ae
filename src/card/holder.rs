//! The name on a card. ISO/IEC 7813 allows 26 characters; names in life are longer, so the bound is
//! generous. People paste the number into the wrong field: a name with enough digits for one is
//! refused, because a holder is shown and logged elsewhere far more freely than a number.

use std::fmt;

use super::CardError;
use crate::secret::SecretBytes;

const CHARS_MAX: usize = 128;
/// The shortest card number has twelve digits; a name has none.
const DIGITS_MAX: usize = 11;

/// Name of the cardholder, wiped on drop.
pub struct Holder(SecretBytes);

impl Holder {
    /// Reads a name of 1 to 128 characters, kept as it was written.
    ///
    /// # Errors
    /// A blank or longer text, control characters, digits enough for a card number.
    pub fn parse(text: &str) -> Result<Self, CardError> {
        let digits = text.chars().filter(|c| c.is_numeric()).count();
        let fits = !text.trim().is_empty()
            && text.chars().take(CHARS_MAX + 1).count() <= CHARS_MAX
            && !text.chars().any(char::is_control)
            && digits <= DIGITS_MAX;
        if !fits {
            return Err(CardError::Holder);
        }
        Ok(Self(SecretBytes::from_slice(text.as_bytes())))
    }

    /// Shows the name to `look` for as long as it runs.
    pub fn reveal<R>(&self, look: impl FnOnce(&str) -> R) -> R {
        self.0.reveal(|bytes| look(std::str::from_utf8(bytes).unwrap_or_default()))
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Holder(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_as_written() {
        let longest = "é".repeat(CHARS_MAX);
        for name in ["JANE DOE", " o'Neill-Дмитриева 3rd ", "李", longest.as_str()] {
            Holder::parse(name).unwrap().reveal(|seen| assert_eq!(seen, name));
        }
    }

    #[test]
    fn blank_long_and_control_texts_are_refused() {
        let long = "a".repeat(CHARS_MAX + 1);
        for name in ["", "   ", "JANE\nDOE", "JANE\0", "\u{7f}", "\u{85}", long.as_str()] {
            assert_eq!(Holder::parse(name).unwrap_err(), CardError::Holder);
        }
    }

    #[test]
    fn a_card_number_in_any_dress_is_refused() {
        let dressed = [
            "4111111111111111",
            "JANE 4111 1111 1111 1111",
            "4111x1111x1111x1111",
            "676770000009",
            "４１１１１１１１１１１１１１１１",
            "٤١١١١١١١١١١١١١١١",
        ];
        for name in dressed {
            assert_eq!(Holder::parse(name).unwrap_err(), CardError::Holder, "{name}");
        }
        assert!(Holder::parse("AGENT 12345678901").is_ok());
    }

    #[test]
    fn debug_prints_a_fixed_text() {
        assert_eq!(format!("{:?}", Holder::parse("JANE DOE").unwrap()), "Holder(..)");
    }
}
