//! Which scheme issued a number, by its leading digits and its length. Only the shape of the number
//! is known here; whether the card exists is the provider's to say.

use std::fmt;
use std::ops::RangeInclusive;

/// A card scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Brand {
    /// Visa.
    Visa,
    /// Mastercard.
    Mastercard,
    /// American Express.
    Amex,
    /// Discover.
    Discover,
    /// Diners Club.
    Diners,
    /// JCB.
    Jcb,
    /// UnionPay.
    UnionPay,
    /// Maestro.
    Maestro,
    /// Mir.
    Mir,
    /// None of the above; domestic schemes are cards too.
    Unknown,
}

/// Numbers of one scheme: the first `digits` digits lie between `first` and `last`.
struct Range {
    brand: Brand,
    digits: u32,
    first: u32,
    last: u32,
    lengths: &'static [usize],
}

const fn range(
    brand: Brand,
    digits: u32,
    first: u32,
    last: u32,
    lengths: &'static [usize],
) -> Range {
    Range { brand, digits, first, last, lengths }
}

const FROM_12: &[usize] = &[12, 13, 14, 15, 16, 17, 18, 19];
const FROM_14: &[usize] = &[14, 15, 16, 17, 18, 19];
const FROM_16: &[usize] = &[16, 17, 18, 19];

/// ISO/IEC 7812 ranges as the schemes publish them. They do not overlap.
const RANGES: &[Range] = &[
    range(Brand::Visa, 1, 4, 4, &[13, 16, 19]),
    range(Brand::Mastercard, 2, 51, 55, &[16]),
    range(Brand::Mastercard, 4, 2221, 2720, &[16]),
    range(Brand::Amex, 2, 34, 34, &[15]),
    range(Brand::Amex, 2, 37, 37, &[15]),
    range(Brand::Discover, 4, 6011, 6011, FROM_16),
    range(Brand::Discover, 3, 644, 649, FROM_16),
    range(Brand::Discover, 2, 65, 65, FROM_16),
    range(Brand::Diners, 3, 300, 305, FROM_14),
    range(Brand::Diners, 2, 36, 36, FROM_14),
    range(Brand::Diners, 2, 38, 39, FROM_14),
    range(Brand::Jcb, 4, 3528, 3589, FROM_16),
    range(Brand::UnionPay, 2, 62, 62, FROM_16),
    range(Brand::Maestro, 2, 50, 50, FROM_12),
    range(Brand::Maestro, 2, 56, 58, FROM_12),
    range(Brand::Maestro, 4, 6304, 6304, FROM_12),
    range(Brand::Maestro, 4, 6390, 6390, FROM_12),
    range(Brand::Maestro, 2, 67, 67, FROM_12),
    range(Brand::Mir, 4, 2200, 2204, FROM_16),
];

impl Brand {
    /// The scheme of a number with these first six digits and this many digits in all.
    pub(super) fn of(bin: [u8; 6], length: usize) -> Self {
        let bin = bin.iter().fold(0, |number, digit| number * 10 + u32::from(digit & 0x0f));
        let within = |range: &&Range| {
            let prefix = bin / 10u32.pow(6 - range.digits);
            (range.first..=range.last).contains(&prefix) && range.lengths.contains(&length)
        };
        RANGES.iter().find(within).map_or(Self::Unknown, |range| range.brand)
    }

    /// The name in lower case, as interfaces and metrics spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Discover => "discover",
            Self::Diners => "diners",
            Self::Jcb => "jcb",
            Self::UnionPay => "unionpay",
            Self::Maestro => "maestro",
            Self::Mir => "mir",
            Self::Unknown => "unknown",
        }
    }

    /// How many digits its security code has. American Express prints four on the front.
    #[must_use]
    pub const fn cvv_len(self) -> RangeInclusive<usize> {
        match self {
            Self::Amex => 4..=4,
            Self::Unknown => 3..=4,
            Self::Visa
            | Self::Mastercard
            | Self::Discover
            | Self::Diners
            | Self::Jcb
            | Self::UnionPay
            | Self::Maestro
            | Self::Mir => 3..=3,
        }
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Pan;

    fn brand(number: &str) -> &'static str {
        Pan::parse(number.as_bytes()).unwrap().brand().as_str()
    }

    #[test]
    fn the_published_test_numbers_have_their_brand() {
        let cases = [
            ("visa", "4111111111111111 4222222222222 4000000000000000006"),
            ("mastercard", "5555555555554444 2221000000000009 2720990000000007"),
            ("amex", "378282246310005 371449635398431"),
            ("discover", "6011111111111117 6011000990139424"),
            ("diners", "30569309025904 38520000023237 36227206271667"),
            ("jcb", "3530111333300000 3566002020360505"),
            ("unionpay", "6200000000000005 6205500000000000004"),
            ("maestro", "6759649826438453 5018000000000009"),
            ("mir", "2200000000000004 2204000000000000"),
            ("unknown", "9999999999999995"),
        ];
        for (expected, numbers) in cases {
            for number in numbers.split(' ') {
                assert_eq!(brand(number), expected, "{number}");
            }
        }
    }

    #[test]
    fn ranges_end_where_the_schemes_say() {
        let of = |bin: &[u8; 6], length| Brand::of(*bin, length);
        assert_eq!(of(b"222099", 16), Brand::Unknown);
        assert_eq!(of(b"222100", 16), Brand::Mastercard);
        assert_eq!(of(b"272099", 16), Brand::Mastercard);
        assert_eq!(of(b"272100", 16), Brand::Unknown);
        assert_eq!(of(b"220499", 16), Brand::Mir);
        assert_eq!(of(b"220500", 16), Brand::Unknown);
        assert_eq!(of(b"352800", 16), Brand::Jcb);
        assert_eq!(of(b"352799", 16), Brand::Unknown);
        assert_eq!(of(b"411111", 15), Brand::Unknown);
    }

    #[test]
    fn a_security_code_has_the_length_its_brand_prints() {
        assert_eq!(Brand::Visa.cvv_len(), 3..=3);
        assert_eq!(Brand::Amex.cvv_len(), 4..=4);
        assert_eq!(Brand::Unknown.cvv_len(), 3..=4);
    }
}
