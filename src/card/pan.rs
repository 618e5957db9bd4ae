//! The card number, and the part of it that may be shown.

use std::fmt;

use zeroize::Zeroize;

use super::{Brand, CardError};

const LENGTH_MIN: usize = 12;
/// ISO/IEC 7812-1: at most 19 digits.
const LENGTH_MAX: usize = 19;

/// A card number: 12 to 19 digits whose check digit is right. Boxed, so that moving it leaves no
/// copy behind.
pub struct Pan {
    digits: Box<[u8; LENGTH_MAX]>,
    len: usize,
}

impl Pan {
    /// Reads a number as people type it: digits, single spaces or hyphens between them, blanks
    /// around them.
    ///
    /// # Errors
    /// Anything else, a wrong length and a wrong check digit.
    pub fn parse(text: &[u8]) -> Result<Self, CardError> {
        // Digits go straight to their final place: an early return drops, and so wipes, them.
        let mut pan = Self { digits: Box::new([0; LENGTH_MAX]), len: 0 };
        let mut after_digit = false;
        for &byte in text.trim_ascii() {
            match byte {
                b'0'..=b'9' => pan.push(byte)?,
                b' ' | b'-' if after_digit => {}
                _ => return Err(CardError::NumberDigits),
            }
            after_digit = byte.is_ascii_digit();
        }
        if !after_digit && pan.len > 0 {
            return Err(CardError::NumberDigits);
        }
        if pan.len < LENGTH_MIN {
            return Err(CardError::NumberLength);
        }
        if !luhn(pan.bytes()) {
            return Err(CardError::NumberLuhn);
        }
        Ok(pan)
    }

    fn push(&mut self, digit: u8) -> Result<(), CardError> {
        let place = self.digits.get_mut(self.len).ok_or(CardError::NumberLength)?;
        *place = digit;
        self.len += 1;
        Ok(())
    }

    fn bytes(&self) -> &[u8] {
        self.digits.get(..self.len).unwrap_or_default()
    }

    /// Shows the digits, without separators, to `look` for as long as it runs.
    pub fn reveal<R>(&self, look: impl FnOnce(&str) -> R) -> R {
        // ASCII by construction; an empty text would be refused by every reader.
        look(std::str::from_utf8(self.bytes()).unwrap_or_default())
    }

    /// The part that may be shown.
    #[must_use]
    pub fn masked(&self) -> Masked {
        let bytes = self.bytes();
        Masked {
            bin: bytes.first_chunk().copied().unwrap_or_default(),
            last4: bytes.last_chunk().copied().unwrap_or_default(),
            len: self.len,
        }
    }

    /// The scheme that issues such numbers.
    #[must_use]
    pub fn brand(&self) -> Brand {
        self.masked().brand()
    }
}

impl Drop for Pan {
    fn drop(&mut self) {
        self.digits.zeroize();
        self.len.zeroize();
    }
}

impl fmt::Debug for Pan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pan(..)")
    }
}

/// ISO/IEC 7812-1 annex B: from the right, every second digit doubled, digit sum divisible by ten.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .zip([false, true].iter().cycle())
        .map(|(digit, &doubled)| {
            let value = u32::from(digit & 0x0f) << u32::from(doubled);
            if value > 9 { value - 9 } else { value }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// First six and last four digits: the most that PCI DSS 3.4.1 lets anyone see.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Masked {
    bin: [u8; 6],
    last4: [u8; 4],
    len: usize,
}

impl Masked {
    /// The first six digits.
    #[must_use]
    pub fn bin(&self) -> &str {
        std::str::from_utf8(&self.bin).unwrap_or_default()
    }

    /// The last four digits.
    #[must_use]
    pub fn last4(&self) -> &str {
        std::str::from_utf8(&self.last4).unwrap_or_default()
    }

    /// The scheme that issues such numbers.
    #[must_use]
    pub fn brand(&self) -> Brand {
        Brand::of(self.bin, self.len)
    }
}

impl fmt::Display for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hidden = self.len.saturating_sub(self.bin.len() + self.last4.len());
        write!(f, "{}{:*<hidden$}{}", self.bin(), "", self.last4())
    }
}

impl fmt::Debug for Masked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Masked({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(text: &[u8]) -> CardError {
        Pan::parse(text).unwrap_err()
    }

    #[test]
    fn a_number_is_read_as_people_type_it() {
        for text in [
            "5519283812030000",
            "5519 2838 1203 0000",
            "5519-2838-1203-0000 ",
            " 55192838 12030000",
        ] {
            let pan = Pan::parse(text.as_bytes()).unwrap();
            pan.reveal(|digits| assert_eq!(digits, "5519283812030000"));
        }
    }

    #[test]
    fn misplaced_separators_and_foreign_characters_are_refused() {
        let cases = [
            "5519  283812030000",
            "-5519283812030000",
            "5519283812030000-",
            "5519.2838.1203.0000",
            "5519283812030000x",
            "５519283812030000",
            "5519\u{a0}2838 12030000",
            "5519\n2838 1203 0000",
            "5519- 283812030000",
            "- -",
            "5519283812030000\0",
        ];
        for text in cases {
            assert_eq!(refusal(text.as_bytes()), CardError::NumberDigits, "{text}");
        }
    }

    #[test]
    fn a_number_has_twelve_to_nineteen_digits() {
        for text in
            ["", "  ", "0", "42424242424", "41111111111111111111", "00000000000000000000000000"]
        {
            assert_eq!(refusal(text.as_bytes()), CardError::NumberLength, "{text}");
        }
        for text in ["676770000005", "4000000000000000006"] {
            assert!(Pan::parse(text.as_bytes()).is_ok(), "{text}");
        }
    }

    #[test]
    fn every_single_wrong_digit_fails_the_check() {
        let right = *b"5519283812030000";
        for place in 0..right.len() {
            for digit in b'0'..=b'9' {
                let mut text = right;
                text[place] = digit;
                let verdict = Pan::parse(&text).map(drop);
                let expected = if text == right { Ok(()) } else { Err(CardError::NumberLuhn) };
                assert_eq!(verdict, expected);
            }
        }
    }

    #[test]
    fn the_mask_keeps_length_first_six_and_last_four() {
        let mask = |text: &str| Pan::parse(text.as_bytes()).unwrap().masked();
        assert_eq!(mask("5519283812030000").to_string(), "551928******0000");
        assert_eq!(mask("378282246310005").to_string(), "378282*****0005");
        assert_eq!(mask("4000000000000000006").to_string(), "400000*********0006");
        assert_eq!(mask("4111111111111111").bin(), "411111");
        assert_eq!(mask("5519283812030000").last4(), "0000");
        assert_eq!(format!("{:?}", mask("5519283812030000")), "Masked(551928******0000)");
    }

    #[test]
    fn debug_prints_a_fixed_text() {
        assert_eq!(format!("{:?}", Pan::parse(b"4111111111111111").unwrap()), "Pan(..)");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = Pan::parse(&text);
        }

        #[test]
        fn what_is_read_has_the_digits_that_were_typed(body in "[0-9]{11,18}", gap in "[ -]") {
            for check in 0..10 {
                let number = format!("{body}{check}");
                let groups = number.as_bytes().chunks(4);
                let groups = groups.map(|group| std::str::from_utf8(group).unwrap());
                let typed = groups.collect::<Vec<_>>().join(&gap);
                if let Ok(pan) = Pan::parse(typed.as_bytes()) {
                    pan.reveal(|digits| assert_eq!(digits, number));
                    prop_assert_eq!(pan.masked().to_string().len(), number.len());
                    return Ok(());
                }
            }
            prop_assert!(false, "one of ten check digits is right");
        }
    }
}
