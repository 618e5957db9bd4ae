//! The nouns of a card: number, holder, expiry, security code, and the tokens that stand in for it.
//!
//! Pure: no clock, no store, no network. Bytes become one of these types once, by `parse`, and are
//! right from then on. What is secret is boxed, wiped on drop, prints a fixed text and is read by
//! `reveal` alone; what may be shown is another type ([`Masked`], [`TokenId`]).
//!
//! Start reading at [`Pan`]; tokens are in `token.rs`.

mod base62;
mod brand;
mod cvv;
mod expiry;
mod holder;
mod pan;
mod time;
mod token;

pub use brand::Brand;
pub use cvv::Cvv;
pub use expiry::Expiry;
pub use holder::Holder;
pub use pan::{Masked, Pan};
pub use time::Timestamp;
pub use token::{
    CvvToken, Handle, Mode, RelayId, SessionId, Token, TokenError, TokenId, looks_like_token,
};

use std::fmt;

/// What a vault keeps of a card: everything but the security code.
#[derive(Debug)]
pub struct Card {
    /// The number.
    pub pan: Pan,
    /// The name on it, where one was given.
    pub holder: Option<Holder>,
    /// The month it is valid through.
    pub expiry: Expiry,
}

/// What a browser hands in.
#[derive(Debug)]
pub struct Capture {
    /// The card.
    pub card: Card,
    /// Its security code. Apart from the card, because it lives shorter and leaves once.
    pub cvv: Option<Cvv>,
}

/// Why a value is not part of a card. Carries nothing of the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardError {
    /// Fewer than 12 or more than 19 digits.
    NumberLength,
    /// Something other than digits with single spaces or hyphens between them.
    NumberDigits,
    /// The check digit is wrong.
    NumberLuhn,
    /// Not three or four digits, or not as many as the brand prints.
    CvvLength,
    /// Something other than digits.
    CvvDigits,
    /// Not a month and a year of this century.
    ExpiryFormat,
    /// The card is no longer valid anywhere.
    ExpiryPast,
    /// Empty, too long, with control characters, or with a card number inside.
    Holder,
}

impl CardError {
    /// A stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NumberLength => "number_length",
            Self::NumberDigits => "number_digits",
            Self::NumberLuhn => "number_luhn",
            Self::CvvLength => "cvv_length",
            Self::CvvDigits => "cvv_digits",
            Self::ExpiryFormat => "expiry_format",
            Self::ExpiryPast => "expiry_past",
            Self::Holder => "holder",
        }
    }
}

impl fmt::Display for CardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for CardError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_prints_nothing_of_the_card() {
        let capture = Capture {
            card: Card {
                pan: Pan::parse(b"4111111111111111").unwrap(),
                holder: Some(Holder::parse("JANE DOE").unwrap()),
                expiry: Expiry::parse("10", "35").unwrap(),
            },
            cvv: Some(Cvv::parse(b"987").unwrap()),
        };
        let printed = format!("{capture:?}");
        for part in ["4111", "1111", "JANE", "DOE", "987"] {
            assert!(!printed.contains(part), "{printed}");
        }
    }
}
