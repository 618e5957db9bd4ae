//! How often something may happen.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// So many in a time: all of them at once, then evenly restored over that time. Never zero, never
/// endless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    count: NonZeroU32,
    seconds: NonZeroU32,
}

impl Rate {
    /// The largest count.
    pub const COUNT_MAX: u32 = 1_000_000;
    /// The longest time: a day.
    pub const SECONDS_MAX: u32 = 86_400;

    /// Reads `20/min`, `20/15min`, `5/s`, `100/h`: a count, a slash, a time in `s`, `min` or `h`.
    /// No sign, no space, no leading zero; nothing that is zero or beyond the bounds.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (count, time) = text.split_once('/')?;
        let digits = time.bytes().take_while(u8::is_ascii_digit).count();
        let (times, unit) = time.split_at_checked(digits)?;
        let unit = match unit {
            "s" => 1,
            "min" => 60,
            "h" => 3600,
            _ => return None,
        };
        let times = if times.is_empty() { 1 } else { number(times)? };
        Self::of(number(count)?, times.checked_mul(unit)?)
    }

    fn of(count: u32, seconds: u32) -> Option<Self> {
        let bounded = count <= Self::COUNT_MAX && seconds <= Self::SECONDS_MAX;
        let (count, seconds) = (NonZeroU32::new(count)?, NonZeroU32::new(seconds)?);
        bounded.then_some(Self { count, seconds })
    }

    /// How many.
    #[must_use]
    pub const fn count(self) -> NonZeroU32 {
        self.count
    }

    /// In which time.
    #[must_use]
    pub const fn seconds(self) -> u32 {
        self.seconds.get()
    }

    /// After which time one more is restored.
    #[must_use]
    pub fn interval(self) -> Duration {
        Duration::from_secs(u64::from(self.seconds.get())) / self.count.get()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}s", self.count, self.seconds)
    }
}

fn number(digits: &str) -> Option<u32> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_count_and_a_time() {
        for (text, count, seconds) in [
            ("20/min", 20, 60),
            ("20/15min", 20, 900),
            ("1/s", 1, 1),
            ("1000000/24h", 1_000_000, 86_400),
            ("7/90s", 7, 90),
        ] {
            let rate = Rate::parse(text).unwrap();
            assert_eq!((rate.count().get(), rate.seconds()), (count, seconds), "{text}");
        }
        assert_eq!(Rate::parse("20/15min").unwrap().interval(), Duration::from_secs(45));
        assert_eq!(Rate::parse("20/15min").unwrap().to_string(), "20/900s");
    }

    #[test]
    fn whatever_is_zero_endless_or_spelled_otherwise_is_no_rate() {
        for text in [
            "",
            "/",
            "20",
            "20/",
            "/min",
            "0/min",
            "20/0min",
            "-1/s",
            "+1/s",
            "1 /s",
            " 1/s",
            "1/ s",
            "01/s",
            "1/01s",
            "1/m",
            "1/day",
            "1/S",
            "1.5/s",
            "1000001/s",
            "1/25h",
            "1/86401s",
            "4294967297/s",
            "1/4294967297s",
            "1/71582789min",
            "1/s/s",
            "off",
            "１/s",
        ] {
            assert_eq!(Rate::parse(text), None, "{text}");
        }
    }
}
