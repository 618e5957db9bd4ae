//! When an address is left out, and for how long. No clock of its own: the time is an argument.

use std::mem;
use std::time::Duration;

use tokio::time::Instant;

/// When an address is taken out, and when it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthRules {
    /// Failures one after the other.
    pub after: u32,
    /// How long it is left out at first; twice as long after each further failure.
    pub first: Duration,
    /// How long at most.
    pub longest: Duration,
}

impl Default for HealthRules {
    fn default() -> Self {
        Self { after: 3, first: Duration::from_secs(2), longest: Duration::from_secs(60) }
    }
}

/// How an address has been of late.
#[derive(Debug, Default)]
pub(super) struct Health {
    failures: u32,
    rests: u32,
    until: Option<Instant>,
}

impl Health {
    /// It could not be connected to. Returns whether that takes it out. While it is left out
    /// nothing is counted: many calls that fail together are one failure.
    pub(super) fn failed(&mut self, now: Instant, rules: &HealthRules) -> bool {
        if self.until.is_some_and(|until| now < until) {
            return false;
        }
        self.failures = self.failures.saturating_add(1);
        if self.until.is_none() && self.failures < rules.after {
            return false;
        }
        let rest = rules.first.saturating_mul(1 << self.rests.min(20)).min(rules.longest);
        self.rests = self.rests.saturating_add(1);
        self.until.replace(now + rest).is_none()
    }

    /// It was connected to. Returns whether that brings it back.
    pub(super) fn worked(&mut self) -> bool {
        mem::take(self).until.is_some()
    }

    /// Whether it has not failed too often since it last worked.
    pub(super) const fn is_up(&self) -> bool {
        self.until.is_none()
    }

    /// Until when it is left out; none when it is up.
    pub(super) const fn until(&self) -> Option<Instant> {
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: HealthRules =
        HealthRules { after: 3, first: Duration::from_secs(2), longest: Duration::from_secs(10) };

    /// How long it is left out from `now` on, in seconds.
    fn rest(health: &Health, now: Instant) -> u64 {
        health.until().unwrap().saturating_duration_since(now).as_secs()
    }

    #[test]
    fn failures_in_a_row_take_it_out_and_any_success_starts_the_count_anew() {
        let (now, mut health) = (Instant::now(), Health::default());
        assert!(!health.failed(now, &RULES) && !health.failed(now, &RULES));
        assert!(!health.worked(), "it was never out");
        assert!(!health.failed(now, &RULES) && !health.failed(now, &RULES) && health.is_up());
        assert!(health.failed(now, &RULES) && !health.is_up());
        assert!(health.worked() && health.is_up());
    }

    #[test]
    fn every_further_failure_doubles_the_rest_up_to_the_longest() {
        let (mut now, mut health) = (Instant::now(), Health::default());
        health.failed(now, &RULES);
        health.failed(now, &RULES);
        for expected in [2, 4, 8, 10, 10] {
            health.failed(now, &RULES);
            assert_eq!(rest(&health, now), expected);
            assert!(!health.failed(now, &RULES), "calls that fail together count once");
            assert_eq!(rest(&health, now), expected);
            now += Duration::from_secs(expected);
        }
        health.worked();
        assert!((0..3).any(|_| health.failed(now, &RULES)));
        assert_eq!(rest(&health, now), 2, "the rests start anew");
    }
}
