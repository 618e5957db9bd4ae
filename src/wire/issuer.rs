//! What makes a row of digits a card number: the Luhn sum (ISO/IEC 7812-1 annex B) and a range that
//! issuers use, with the lengths they use there.

/// The shortest card number.
pub(super) const LEN_MIN: usize = 12;
/// The longest card number.
pub(super) const LEN_MAX: usize = 19;
/// How many digits may be shown in front (PCI DSS 3.4.1).
const SHOWN_FIRST: usize = 6;
/// How many digits may be shown at the end.
const SHOWN_LAST: usize = 4;

/// What a card number begins with: no range has another first digit.
pub(super) const BEGINS: [u8; 7] = *b"2345689";

/// Six leading digits, both ends included, and the lengths as a set of bits.
struct Range(u32, u32, u32);

const RANGES: [Range; 29] = [
    Range(400_000, 499_999, 1 << 13 | 1 << 16 | 1 << 19), // Visa
    Range(510_000, 559_999, 1 << 16),                     // Mastercard
    Range(222_100, 272_099, 1 << 16),                     // Mastercard
    Range(340_000, 349_999, 1 << 15),                     // American Express
    Range(370_000, 379_999, 1 << 15),                     // American Express
    Range(601_100, 601_199, lengths(16)),                 // Discover
    Range(644_000, 659_999, lengths(16)),                 // Discover
    Range(300_000, 305_999, lengths(14)),                 // Diners Club
    Range(360_000, 369_999, lengths(14)),                 // Diners Club
    Range(380_000, 399_999, lengths(14)),                 // Diners Club
    Range(352_800, 358_999, lengths(16)),                 // JCB
    Range(620_000, 629_999, lengths(16)),                 // UnionPay
    Range(220_000, 220_499, lengths(16)),                 // Mir
    Range(500_000, 509_999, lengths(LEN_MIN)),            // Maestro
    Range(560_000, 589_999, lengths(LEN_MIN)),            // Maestro
    Range(630_400, 630_499, lengths(LEN_MIN)),            // Maestro
    Range(639_000, 639_099, lengths(LEN_MIN)),            // Maestro
    Range(670_000, 679_999, lengths(LEN_MIN)),            // Maestro
    Range(220_500, 220_599, lengths(16)),                 // BORICA
    Range(604_001, 604_200, lengths(16)),                 // UkrCard
    Range(606_282, 606_282, lengths(16)),                 // Hipercard
    Range(606_985, 607_984, lengths(16)),                 // RuPay
    Range(608_001, 608_500, lengths(16)),                 // RuPay
    Range(636_297, 636_297, lengths(16)),                 // Elo
    Range(636_368, 636_368, lengths(16)),                 // Elo
    Range(810_000, 829_999, lengths(16)),                 // UnionPay, RuPay
    Range(860_000, 860_099, lengths(16)),                 // Uzcard
    Range(979_200, 979_289, lengths(16)),                 // Troy
    Range(986_000, 986_099, lengths(16)),                 // Humo
];

/// Whether these ASCII digits, separators already left out, can be a card number.
pub(super) fn is_card(digits: impl DoubleEndedIterator<Item = u8> + Clone) -> bool {
    let len = digits.clone().count();
    if !(LEN_MIN..=LEN_MAX).contains(&len) {
        return false;
    }
    let first = digits.clone().take(6).fold(0u32, |sum, digit| sum * 10 + value(digit));
    let issued = RANGES
        .iter()
        .any(|Range(low, high, lengths)| (low..=high).contains(&&first) && lengths >> len & 1 == 1);
    issued && luhn(digits)
}

/// Whether the digit at `place` of a number of `len` digits may be shown.
pub(super) fn is_shown(place: usize, len: usize) -> bool {
    len >= LEN_MIN && (place < SHOWN_FIRST || place + SHOWN_LAST >= len)
}

fn luhn(digits: impl DoubleEndedIterator<Item = u8>) -> bool {
    let sum: u32 = digits
        .rev()
        .enumerate()
        .map(|(place, digit)| match value(digit) {
            digit if place % 2 == 0 => digit,
            digit if digit > 4 => digit * 2 - 9,
            digit => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

fn value(digit: u8) -> u32 {
    u32::from(digit.wrapping_sub(b'0'))
}

/// Every length from `least` to the longest.
const fn lengths(least: usize) -> u32 {
    (1 << (LEN_MAX + 1)) - (1 << least)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn numbers() -> Value {
        serde_json::from_str(include_str!("../../tests/fixtures/cards/numbers.json")).unwrap()
    }

    fn card(number: &str) -> bool {
        is_card(number.bytes())
    }

    #[test]
    fn every_test_number_is_a_card_and_no_near_miss_is() {
        let numbers = numbers();
        let valid = numbers["valid"].as_object().unwrap().values();
        for number in valid.flat_map(|list| list.as_array().unwrap()) {
            assert!(card(number.as_str().unwrap()), "{number}");
        }
        for number in numbers["samples"].as_object().unwrap().values() {
            assert!(card(number.as_str().unwrap()), "{number}");
        }
        for number in numbers["not_pan"].as_object().unwrap().values() {
            assert!(!card(number.as_str().unwrap()), "{number}");
        }
    }

    /// Where ranges of domestic schemes lie, which the table of the large ones leaves out.
    const DOMESTIC: [u32; 10] = [2205, 6040, 6041, 6042, 6062, 6362, 6363, 8600, 9792, 9860];

    /// One number of each domestic scheme's range, made up and given its check digit.
    #[test]
    fn cards_of_domestic_schemes_are_cards() {
        for prefix in [
            "220500", "604001", "606282", "606985", "608001", "636297", "636368", "817200",
            "860012", "979200", "986009",
        ] {
            assert!(card(&luhn_valid(prefix, 16)), "{prefix}");
        }
    }

    #[test]
    fn the_ranges_are_those_of_the_table() {
        let numbers = numbers();
        let schemes: Vec<_> = numbers["iin"].as_object().unwrap().values().collect();
        for first in 0..10_000u32 {
            let prefix = format!("{first:04}");
            for len in 10..=21 {
                let listed = schemes.iter().any(|scheme| {
                    let within = |range: &Value| in_range(range.as_str().unwrap(), &prefix);
                    scheme["prefix"].as_array().unwrap().iter().any(within)
                        && scheme["length"].as_array().unwrap().contains(&len.into())
                });
                let domestic = (DOMESTIC.contains(&first)
                    || (8100..8300).contains(&first)
                    || (6069..6086).contains(&first))
                    && (16..=19).contains(&len);
                let seen = card(&luhn_valid(&prefix, len));
                assert_eq!(seen, listed || (seen && domestic), "{prefix} {len}");
            }
        }
    }

    fn in_range(range: &str, prefix: &str) -> bool {
        let (low, high) = range.split_once('-').unwrap_or((range, range));
        (low..=high).contains(&&prefix[..low.len()])
    }

    fn luhn_valid(prefix: &str, len: usize) -> String {
        let stem = format!("{prefix:0<width$}", width = len - 1);
        let with = |check: char| format!("{stem}{check}");
        ('0'..='9').map(with).find(|number| luhn(number.bytes())).unwrap()
    }

    #[test]
    fn every_range_begins_with_a_digit_that_numbers_begin_with() {
        let firsts = RANGES.iter().flat_map(|Range(low, high, _)| low / 100_000..=high / 100_000);
        let firsts: HashSet<u32> = firsts.collect();
        assert_eq!(firsts, BEGINS.map(value).into_iter().collect());
    }

    #[test]
    fn six_and_four_digits_are_shown_of_a_long_number_and_none_of_a_short_one() {
        let shown = |len| (0..len).filter(|place| is_shown(*place, len)).count();
        assert_eq!([shown(11), shown(12), shown(16), shown(19)], [0, 10, 10, 10]);
    }
}
