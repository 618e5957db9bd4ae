//! Rates against a clock of the test's own.

use std::time::Duration;

use governor::clock::FakeRelativeClock;

use super::{Exceeded, Limit, Limits, Rate, Rates};

fn limits(rate: &str, keys_max: usize) -> (Limits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    clock.advance(Duration::from_secs(1));
    let rates = Rates::new(|_| Rate::parse(rate));
    (Limits::with_clock(rates, keys_max, clock.clone()), clock)
}

/// How many of a thousand pass.
fn passed(limits: &Limits<FakeRelativeClock>, key: &str) -> usize {
    (0..1000).filter(|_| limits.pass(Limit::Card, &key).is_ok()).count()
}

fn keys(limits: &Limits<FakeRelativeClock>, of: Limit) -> usize {
    let mut seen = usize::MAX;
    limits.sweep(|limit, keys| {
        if limit == of {
            seen = keys;
        }
    });
    seen
}

#[test]
fn so_many_pass_at_once_and_then_one_after_the_other() {
    let (limits, clock) = limits("20/15min", 100);
    assert_eq!(passed(&limits, "card"), 20);
    clock.advance(Duration::from_secs(44));
    assert_eq!(passed(&limits, "card"), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(passed(&limits, "card"), 1);
    clock.advance(Duration::from_secs(3600));
    assert_eq!(passed(&limits, "card"), 20, "never more than the count at once");
}

#[test]
fn a_refusal_says_when_to_come_back_and_coming_then_is_enough() {
    let (limits, clock) = limits("3/10s", 100);
    assert_eq!(passed(&limits, "card"), 3);
    let exceeded = limits.pass(Limit::Card, &"card").unwrap_err();
    assert_eq!(exceeded.limit(), Limit::Card);
    assert_eq!(exceeded.retry_after(), 4, "3.33 s in whole seconds");
    assert_eq!(exceeded.rate_limit(), "\"card\";r=0;t=4");
    assert_eq!(exceeded.policy(), "\"card\";q=3;w=10");
    clock.advance(Duration::from_secs(exceeded.retry_after()));
    assert!(limits.pass(Limit::Card, &"card").is_ok());
    let soon = Exceeded { wait: Duration::ZERO, ..exceeded };
    assert_eq!(soon.retry_after(), 1);
}

#[test]
fn a_rate_that_stays_goes_on_counting_and_another_one_begins_anew() {
    let (limits, _clock) = limits("5/min", 100);
    assert_eq!(passed(&limits, "card"), 5);
    assert!(limits.pass(Limit::Bin, &"bin").is_ok());
    let rates =
        |card| Rates::new(|limit| Rate::parse(if limit == Limit::Card { card } else { "5/min" }));
    let same = limits.successor(rates("5/min"), 100);
    assert_eq!(passed(&same, "card"), 0);
    let other = same.successor(rates("7/min"), 100);
    assert_eq!(passed(&other, "card"), 7);
    assert_eq!((0..9).filter(|_| other.pass(Limit::Bin, &"bin").is_ok()).count(), 4);
    assert_eq!(passed(&same, "card"), 0, "whoever began before ends with what was");
    let larger = other.successor(rates("7/min"), 101);
    assert_eq!(passed(&larger, "card"), 7, "room for other keys");
}

#[test]
fn keys_and_limits_do_not_disturb_one_another() {
    let (limits, _clock) = limits("5/min", 100);
    assert_eq!(passed(&limits, "one"), 5);
    assert_eq!(passed(&limits, "two"), 5);
    for limit in Limit::ALL.into_iter().filter(|limit| *limit != Limit::Card) {
        assert!(limits.pass(limit, &"one").is_ok(), "{limit:?}");
    }
    assert!(limits.pass(Limit::Card, &"one").is_err());
}

#[test]
fn looking_uses_nothing_up_and_notices_what_was_noted() {
    let (limits, clock) = limits("2/min", 100);
    let looks = || limits.look(Limit::UnknownTokens, &"shop");
    for _ in 0..100 {
        assert!(looks().is_ok());
    }
    limits.note(Limit::UnknownTokens, &"shop");
    assert!(looks().is_ok());
    limits.note(Limit::UnknownTokens, &"shop");
    assert_eq!(looks().unwrap_err().retry_after(), 30);
    assert!(limits.look(Limit::UnknownTokens, &"stall").is_ok());
    clock.advance(Duration::from_secs(30));
    assert!(looks().is_ok());
}

#[test]
fn what_is_switched_off_limits_nothing() {
    let clock = FakeRelativeClock::default();
    let rates = Rates::new(|limit| (limit != Limit::Card).then(|| Rate::parse("1/h")).flatten());
    let limits = Limits::with_clock(rates, 10, clock);
    assert_eq!(passed(&limits, "card"), 1000);
    assert!(limits.pass(Limit::Bin, &"bin").is_ok());
    assert!(limits.pass(Limit::Bin, &"bin").is_err());
}

#[test]
fn keys_are_bounded_and_whoever_finds_no_place_is_limited_all_the_same() {
    let (limits, clock) = limits("2/min", 1000);
    for key in 0..1000 {
        assert!(limits.pass(Limit::Card, &key).is_ok(), "{key}");
    }
    assert_eq!(keys(&limits, Limit::Card), 1000);
    let passed_more = (1000..100_000).filter(|key| limits.pass(Limit::Card, key).is_ok()).count();
    assert_eq!(passed_more, 2 * 1024, "the shared states and no more");
    assert!(limits.look(Limit::Card, &"another").is_err());
    assert_eq!(keys(&limits, Limit::Card), 1000);
    assert!(limits.pass(Limit::Card, &7).is_ok(), "who has a place keeps it");
    // Every key but the last one has everything again.
    clock.advance(Duration::from_secs(61));
    assert_eq!(keys(&limits, Limit::Card), 1);
    assert_eq!(passed(&limits, "new"), 2);
    assert_eq!(keys(&limits, Limit::Card), 2);
}

#[test]
fn a_sweep_forgets_only_who_has_everything_again() {
    let (limits, clock) = limits("2/min", 100_000);
    for key in 0..50_000 {
        limits.note(Limit::Card, &key);
    }
    assert_eq!(passed(&limits, "busy"), 2);
    clock.advance(Duration::from_secs(45));
    limits.note(Limit::Card, &"busy");
    clock.advance(Duration::from_secs(20));
    assert_eq!(keys(&limits, Limit::Card), 1);
    assert_eq!(passed(&limits, "busy"), 1, "it was not made new");
}

#[test]
fn every_default_is_a_rate_and_every_name_its_own() {
    let names: std::collections::BTreeSet<_> =
        Limit::ALL.iter().map(|limit| limit.name()).collect();
    assert_eq!(names.len(), Limit::ALL.len());
    for (at, limit) in Limit::ALL.into_iter().enumerate() {
        assert_eq!(limit as usize, at, "{limit:?}");
        assert!(Rate::parse(limit.default_rate()).is_some(), "{limit:?}");
        assert!(!limit.code().is_empty());
    }
}

#[test]
fn threads_that_ask_together_get_no_more_than_the_count() {
    let limits = Limits::new(Rates::new(|_| Rate::parse("100/h")), 10);
    let passed: usize = std::thread::scope(|scope| {
        let ask = || (0..1000).filter(|_| limits.pass(Limit::Card, &"card").is_ok()).count();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(passed, 100);
}
