//! How far a provider's clock is ahead of ours, by the `Date` of its answers (RFC 9110, section
//! 6.6.1): it judges signatures that hold a time by its own (PCI DSS 10.6).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use http::HeaderMap;
use http::header::DATE;
use tokio::time::Instant;

use crate::card::Timestamp;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(5);
/// An answer that took longer says less than that: its date is of some moment between.
const LONG: Duration = Duration::from_secs(5);
/// What is farther off is told as this, in seconds.
const MOST: i64 = 86_400;

/// When it is looked at next.
pub(super) struct Skew {
    since: Instant,
    next_millis: AtomicU64,
}

impl Skew {
    pub(super) fn new() -> Self {
        Self { since: Instant::now(), next_millis: AtomicU64::new(0) }
    }

    /// Whether it is time to look at the answer to a request that began then, for the one who asks
    /// first.
    pub(super) fn is_due(&self, begun: Instant) -> bool {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let at = millis(begun.saturating_duration_since(self.since));
        let due = self.next_millis.load(Ordering::Relaxed);
        let next = at.saturating_add(millis(EVERY));
        let (done, relaxed) = (Ordering::Relaxed, Ordering::Relaxed);
        due <= at
            && begun.elapsed() <= LONG
            && self.next_millis.compare_exchange(due, next, done, relaxed).is_ok()
    }
}

/// Seconds that the date is ahead of `now`; none where it is no date.
pub(super) fn seconds(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let date = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()?;
    let date = i64::try_from(date.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    let now = i64::try_from(now.as_secs()).ok()?;
    Some(date.saturating_sub(now).clamp(-MOST, MOST))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_date_is_compared_with_our_clock_in_whole_seconds() {
        let now = Timestamp::from_millis(784_111_777_900);
        for (date, ahead) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:38 GMT", Some(1)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(-60)),
            ("Sunday, 06-Nov-94 08:49:40 GMT", Some(3)),
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(86_400)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(-86_400)),
            ("yesterday", None),
            ("", None),
        ] {
            let value = HeaderValue::from_static(date);
            let headers = HeaderMap::from_iter([(DATE, value)]);
            assert_eq!(seconds(&headers, now), ahead, "{date}");
        }
        assert_eq!(seconds(&HeaderMap::new(), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_at_once_in_five_seconds() {
        let skew = Skew::new();
        let mut due = Vec::new();
        for millis in [0, 1, 4_999, 5_000, 5_001, 10_000] {
            tokio::time::sleep_until(skew.since + Duration::from_millis(millis)).await;
            due.push(skew.is_due(Instant::now()));
        }
        assert_eq!(due, [true, false, false, true, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_took_long_is_passed_over() {
        let skew = Skew::new();
        let begun = Instant::now();
        tokio::time::sleep(LONG + Duration::from_millis(2)).await;
        assert!(!skew.is_due(begun));
        assert!(skew.is_due(begun + Duration::from_millis(2)));
    }
}
