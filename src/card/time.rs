//! A moment, in milliseconds since 1970. Rooms below the assembly take it as an argument and never
//! ask the system for it, so that a life of half an hour is a unit test of microseconds.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// From whole seconds since 1970.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// From milliseconds since 1970.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// The clock of the system. For the assembly and the edge; everything below is given a moment.
    #[must_use]
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self(millis(since))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1000
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0
    }

    /// The moment `later` after this one; the end of time at most.
    #[must_use]
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
    }

    /// How long ago `earlier` was; zero when it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// RFC 3339 in UTC, to the millisecond: of a year its last four digits.
    #[must_use]
    pub fn to_millis_text(self) -> [u8; 24] {
        let secs = self.as_secs();
        let (year, month, day) = civil_from_days(secs / 86_400);
        let (hour, minute, second) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
        let millis = self.0 % 1000;
        let pairs = [
            (0, year / 100),
            (2, year),
            (5, month),
            (8, day),
            (11, hour),
            (14, minute),
            (17, second),
            (20, millis / 10),
            (21, millis),
        ];
        // Every line of the audit record has a time: one text costs less than nine numbers. The two
        // pairs of the milliseconds share a digit.
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, number) in pairs {
            if let Some(pair) = text.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
                *pair = [digit(number / 10), digit(number)];
            }
        }
        text
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second: what interfaces show.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_millis_text();
        let seconds = text.get(..19).and_then(|text| str::from_utf8(text).ok());
        write!(f, "{}Z", seconds.unwrap_or_default())
    }
}

/// The last digit of a number.
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Days from 1970-01-01 to a day of the Gregorian calendar. Years are counted from March, so that
/// the leap day is the last of its year and months follow one formula.
pub(super) const fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = if month <= 2 { month + 9 } else { month - 3 };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year;
    days - MARCH_0000_TO_1970
}

/// The inverse of [`days_from_civil`].
const fn civil_from_days(days: u64) -> (u64, u64, u64) {
    let days = days + MARCH_0000_TO_1970;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// Days from 1 March of the year 0 to 1 January 1970.
const MARCH_0000_TO_1970: u64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_match_known_dates() {
        assert_eq!(days_from_civil(1970, 1, 1), 0);
        assert_eq!(days_from_civil(2000, 2, 29), 11_016);
        assert_eq!(days_from_civil(2000, 3, 1), 11_017);
        assert_eq!(days_from_civil(2038, 1, 19), 24_855);
        assert_eq!(days_from_civil(2100, 3, 1), 47_541);
    }

    #[test]
    fn every_day_of_five_centuries_comes_back() {
        for days in 0..190_000 {
            let (year, month, day) = civil_from_days(days);
            assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }

    #[test]
    fn a_moment_prints_as_rfc_3339() {
        assert_eq!(Timestamp::from_secs(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::from_secs(951_827_696).to_string(), "2000-02-29T12:34:56Z");
        let last = Timestamp::from_millis(4_102_444_799_907);
        assert_eq!(last.to_string(), "2099-12-31T23:59:59Z");
        assert_eq!(&last.to_millis_text(), b"2099-12-31T23:59:59.907Z");
    }

    #[test]
    fn arithmetic_stops_at_the_ends_of_time() {
        let end = Timestamp::from_millis(u64::MAX);
        assert_eq!(end.plus(Duration::MAX), end);
        assert_eq!(Timestamp::from_secs(u64::MAX), end);
        assert_eq!(Timestamp::from_secs(1).since(end), Duration::ZERO);
        let later = Timestamp::from_secs(5).plus(Duration::from_millis(1500));
        assert_eq!((later.as_millis(), later.as_secs()), (6500, 6));
        assert_eq!(later.since(Timestamp::from_secs(5)), Duration::from_millis(1500));
    }
}
