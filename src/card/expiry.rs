//! The month a card is valid through, in the spellings providers use. Not secret by itself, so it
//! prints; together with a number it belongs to the card and is sealed with it.

use super::time::days_from_civil;
use super::{CardError, Timestamp};

const HOUR_SECS: u64 = 3600;
/// The last place on earth where a day ends is twelve hours behind UTC.
const LAST_ZONE_HOURS: u64 = 12;

/// Month and year, kept as the digits providers want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expiry {
    month: [u8; 2],
    year: [u8; 4],
}

impl Expiry {
    /// Reads a month of one or two digits and a year of two or four, of this century.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(month: &str, year: &str) -> Result<Self, CardError> {
        let month = match *month.as_bytes() {
            [ones] => [b'0', ones],
            [tens, ones] => [tens, ones],
            _ => return Err(CardError::ExpiryFormat),
        };
        let year = match *year.as_bytes() {
            [tens, ones] | [b'2', b'0', tens, ones] => [b'2', b'0', tens, ones],
            _ => return Err(CardError::ExpiryFormat),
        };
        let expiry = Self { month, year };
        let digits = month.iter().chain(&year).all(u8::is_ascii_digit);
        if !digits || !(1..=12).contains(&expiry.month_number()) {
            return Err(CardError::ExpiryFormat);
        }
        Ok(expiry)
    }

    /// The month in two digits.
    #[must_use]
    pub fn month2(&self) -> &str {
        std::str::from_utf8(&self.month).unwrap_or_default()
    }

    /// The year in two digits.
    #[must_use]
    pub fn year2(&self) -> &str {
        let [_, _, short @ ..] = &self.year;
        std::str::from_utf8(short).unwrap_or_default()
    }

    /// The year in four digits.
    #[must_use]
    pub fn year4(&self) -> &str {
        std::str::from_utf8(&self.year).unwrap_or_default()
    }

    /// Whether the month has ended everywhere on earth.
    #[must_use]
    pub fn is_past(&self, now: Timestamp) -> bool {
        let (month, year) = (self.month_number(), number(&self.year));
        let (month, year) = if month == 12 { (1, year + 1) } else { (month + 1, year) };
        let end_utc = days_from_civil(year, month, 1) * 24 * HOUR_SECS;
        now.as_secs() >= end_utc + LAST_ZONE_HOURS * HOUR_SECS
    }

    fn month_number(&self) -> u64 {
        number(&self.month)
    }
}

fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit & 0x0f))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(month: &str, year: &str) -> (String, String, String) {
        let expiry = Expiry::parse(month, year).unwrap();
        (expiry.month2().into(), expiry.year2().into(), expiry.year4().into())
    }

    #[test]
    fn one_or_two_digit_months_and_two_or_four_digit_years_are_read() {
        let expected = ("07".into(), "35".into(), "2035".into());
        for (month, year) in [("7", "35"), ("07", "2035"), ("7", "2035"), ("07", "35")] {
            assert_eq!(parts(month, year), expected);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let cases = [
            ("0", "35"),
            ("00", "35"),
            ("13", "35"),
            ("99", "35"),
            ("", "35"),
            ("007", "35"),
            ("1a", "35"),
            ("-1", "35"),
            ("+1", "35"),
            (" 1", "35"),
            ("10", ""),
            ("10", "5"),
            ("10", "035"),
            ("10", "1935"),
            ("10", "2135"),
            ("10", "20355"),
            ("10", "3x"),
            ("1\u{661}", "35"),
        ];
        for (month, year) in cases {
            assert_eq!(Expiry::parse(month, year), Err(CardError::ExpiryFormat), "{month}/{year}");
        }
    }

    #[test]
    fn a_card_is_valid_through_the_last_day_of_its_month_everywhere() {
        // 2035-11-01T12:00:00Z is midnight at UTC-12.
        let end = Timestamp::from_secs(2_077_531_200);
        assert_eq!(end.to_string(), "2035-11-01T12:00:00Z");
        let expiry = Expiry::parse("10", "35").unwrap();
        assert!(!expiry.is_past(Timestamp::from_millis(end.as_millis() - 1)));
        assert!(expiry.is_past(end));
    }

    #[test]
    fn december_ends_with_the_year() {
        let expiry = Expiry::parse("12", "2027").unwrap();
        let end = days_from_civil(2028, 1, 1) * 86_400 + 43_200;
        assert!(!expiry.is_past(Timestamp::from_secs(end - 1)));
        assert!(expiry.is_past(Timestamp::from_secs(end)));
    }
}
