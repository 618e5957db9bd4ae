//! How often, and how much at a time: what keeps abuse and runaway clients off (threats T8, T12).
//!
//! [`Limits`] holds one [`Rate`] for each [`Limit`] and counts for each key (an application, an
//! address, a card) by itself; [`Gates`] count what is under way. Both decide at once: nothing here
//! waits, and a check allocates nothing once its key is known.
//!
//! It must never let memory grow with the number of keys, pass a key because there is no room for
//! it, or keep anything from which a key can be read.

mod gate;
mod keys;
mod rate;

pub use gate::{Busy, Concurrency, Crowd, Gates, Pass, Presence};
pub use rate::Rate;

use std::fmt;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use governor::clock::{Clock, MonotonicClock};

use keys::Limiter;

/// What is limited. Each has a rate of its own and counts its keys by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Limit {
    /// Requests of one client address on the public listener, callbacks apart.
    Address,
    /// Callbacks from one address: few providers send them for all payments.
    Callbacks,
    /// Cards from one address.
    AddressCards,
    /// Cards in one capture session.
    SessionCards,
    /// Captures of one card, and new security codes for it, by one application.
    Card,
    /// Cards with the same first six digits, by one application.
    Bin,
    /// Calls of one application on one route.
    AppRoute,
    /// Tokens of one application that nobody knows.
    UnknownTokens,
    /// Sessions, tokens and addresses of payment steps from one address that nobody knows.
    UnknownIds,
}

impl Limit {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Address,
        Self::Callbacks,
        Self::AddressCards,
        Self::SessionCards,
        Self::Card,
        Self::Bin,
        Self::AppRoute,
        Self::UnknownTokens,
        Self::UnknownIds,
    ];

    /// Its name: in the configuration, in `RateLimit-Policy`, in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Callbacks => "callbacks",
            Self::AddressCards => "address_cards",
            Self::SessionCards => "session_cards",
            Self::Card => "card",
            Self::Bin => "bin",
            Self::AppRoute => "app_route",
            Self::UnknownTokens => "unknown_tokens",
            Self::UnknownIds => "unknown_ids",
        }
    }

    /// The code of the problem document.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Address => "too_many_requests",
            Self::Callbacks => "too_many_callbacks",
            Self::AddressCards | Self::SessionCards | Self::Bin => "too_many_cards",
            Self::Card => "card_too_often",
            Self::AppRoute => "too_many_calls",
            Self::UnknownTokens | Self::UnknownIds => "too_many_unknown_tokens",
        }
    }

    /// What is allowed when the configuration is silent; `config/portcullis.toml` has the reasons.
    #[must_use]
    pub const fn default_rate(self) -> &'static str {
        match self {
            Self::Address | Self::Bin => "600/min",
            Self::Callbacks => "6000/min",
            Self::AddressCards => "30/min",
            Self::SessionCards => "20/min",
            Self::Card => "10/h",
            Self::AppRoute => "1000/s",
            Self::UnknownTokens | Self::UnknownIds => "20/15min",
        }
    }
}

/// A rate for each limit; none where it is switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates([Option<Rate>; Limit::ALL.len()]);

impl Rates {
    /// Asks for the rate of each.
    #[must_use]
    pub fn new(rate: impl FnMut(Limit) -> Option<Rate>) -> Self {
        Self(Limit::ALL.map(rate))
    }
}

impl Default for Rates {
    fn default() -> Self {
        Self::new(|limit| Rate::parse(limit.default_rate()))
    }
}

/// A rate is used up; after a wait there is some of it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    limit: Limit,
    rate: Rate,
    wait: Duration,
}

impl Exceeded {
    /// Which one.
    #[must_use]
    pub const fn limit(self) -> Limit {
        self.limit
    }

    /// Whole seconds until there is one again; at least one.
    #[must_use]
    pub fn retry_after(self) -> u64 {
        let whole = self.wait.as_secs();
        (whole + u64::from(self.wait.subsec_nanos() > 0)).max(1)
    }

    /// The value of `RateLimit`, by draft-ietf-httpapi-ratelimit-headers-11: nothing is left for so
    /// many seconds.
    #[must_use]
    pub fn rate_limit(self) -> String {
        format!("\"{}\";r=0;t={}", self.limit.name(), self.retry_after())
    }

    /// The value of `RateLimit-Policy`: so many in so many seconds.
    #[must_use]
    pub fn policy(self) -> String {
        let Self { limit, rate, .. } = self;
        format!("\"{}\";q={};w={}", limit.name(), rate.count(), rate.seconds())
    }
}

/// All rates with the keys that they count.
pub struct Limits<C: Clock = MonotonicClock> {
    limiters: [Option<Arc<Limiter<C>>>; Limit::ALL.len()],
    hash: RandomState,
    keys_max: usize,
    clock: C,
}

impl Limits {
    /// Counts with these rates, for at most `keys_max` keys of each limit.
    #[must_use]
    pub fn new(rates: Rates, keys_max: usize) -> Self {
        Self::with_clock(rates, keys_max, MonotonicClock)
    }
}

impl<C: Clock + Clone> Limits<C> {
    /// The same with a clock of one's own.
    pub fn with_clock(rates: Rates, keys_max: usize, clock: C) -> Self {
        let none = [const { None }; Limit::ALL.len()];
        let none = Self { limiters: none, hash: RandomState::new(), keys_max, clock };
        none.successor(rates, keys_max)
    }

    /// The limits that follow these. A rate that stays goes on counting where it was; another one
    /// begins anew.
    #[must_use]
    pub fn successor(&self, rates: Rates, keys_max: usize) -> Self {
        let kept = self.keys_max == keys_max;
        let limiters = Limit::ALL.map(|limit| {
            let rate = rates.0.get(limit as usize).copied().flatten()?;
            let before = self.limiters.get(limit as usize).and_then(Option::as_ref);
            match before.filter(|before| kept && before.rate() == rate) {
                Some(before) => Some(Arc::clone(before)),
                None => Some(Arc::new(Limiter::new(rate, keys_max, self.clock.clone()))),
            }
        });
        Self { limiters, hash: self.hash.clone(), keys_max, clock: self.clock.clone() }
    }
}

impl<C: Clock> Limits<C> {
    /// Uses up one of this key's. What is refused uses up nothing.
    ///
    /// # Errors
    /// There is none at the moment.
    pub fn pass(&self, limit: Limit, key: &impl Hash) -> Result<(), Exceeded> {
        self.check(limit, key, Limiter::pass)
    }

    /// Whether this key has one left, without using it up.
    ///
    /// # Errors
    /// It has none at the moment.
    pub fn look(&self, limit: Limit, key: &impl Hash) -> Result<(), Exceeded> {
        self.check(limit, key, Limiter::look)
    }

    /// Uses up one of this key's, if there is one: counts what has happened.
    pub fn note(&self, limit: Limit, key: &impl Hash) {
        let _ = self.pass(limit, key);
    }

    /// Forgets keys that have everything again, and tells how many are left of each limit. Takes a
    /// while: not for a thread that serves requests.
    pub fn sweep(&self, mut tell: impl FnMut(Limit, usize)) {
        for limit in Limit::ALL {
            if let Some(limiter) = self.limiter(limit) {
                tell(limit, limiter.sweep());
            }
        }
    }

    fn limiter(&self, limit: Limit) -> Option<&Limiter<C>> {
        self.limiters.get(limit as usize).and_then(Option::as_deref)
    }

    fn check(
        &self,
        limit: Limit,
        key: &impl Hash,
        ask: impl FnOnce(&Limiter<C>, u64) -> Result<(), Duration>,
    ) -> Result<(), Exceeded> {
        let Some(limiter) = self.limiter(limit) else { return Ok(()) };
        let asked = ask(limiter, self.hash.hash_one(key));
        asked.map_err(|wait| Exceeded { limit, rate: limiter.rate(), wait })
    }
}

impl<C: Clock> fmt::Debug for Limits<C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Limits(..)")
    }
}

#[cfg(test)]
mod tests;
