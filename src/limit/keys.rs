//! One state per key, for a bounded number of keys.
//!
//! A key is 64 bits of a keyed hash: what was hashed cannot be read out of the map, and nobody
//! outside can choose keys that collide. When all places are taken, a key that has none shares one
//! of a few states with others: never more memory, never an unlimited key.

use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use governor::clock::{Clock, Reference as _};
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::keyed::ShrinkableKeyedStateStore;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::Rate;

/// Many, so that a sweep or a growing shard holds up few.
const SHARDS: usize = 256;

/// States for keys that found no place.
const SHARED: usize = 1024;

/// Room for fewer keys than this is not given back.
const ROOM_KEPT: usize = 64 * SHARDS;

/// A key, and whether asking uses anything up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Ask {
    key: u64,
    uses: bool,
}

/// A rate for each of many keys.
pub(super) struct Limiter<C: Clock> {
    rate: Rate,
    keys: RateLimiter<Ask, Keys, C, NoOpMiddleware<C::Instant>>,
}

impl<C: Clock> Limiter<C> {
    pub(super) fn new(rate: Rate, keys_max: usize, clock: C) -> Self {
        let quota = Quota::with_period(rate.interval())
            .unwrap_or(Quota::per_second(rate.count()))
            .allow_burst(rate.count());
        Self { rate, keys: RateLimiter::new(quota, Keys::new(keys_max), clock) }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Uses up one, or says how long until there is one.
    pub(super) fn pass(&self, key: u64) -> Result<(), Duration> {
        self.check(Ask { key, uses: true })
    }

    /// Whether there is one, without using it up.
    pub(super) fn look(&self, key: u64) -> Result<(), Duration> {
        self.check(Ask { key, uses: false })
    }

    fn check(&self, ask: Ask) -> Result<(), Duration> {
        let from = |not_until: governor::NotUntil<C::Instant>| {
            let now = self.keys.clock().now();
            not_until.earliest_possible().duration_since(now).into()
        };
        self.keys.check_key(&ask).map_err(from)
    }

    /// Forgets keys whose state is that of a new one; returns how many are left.
    pub(super) fn sweep(&self) -> usize {
        self.keys.retain_recent();
        self.keys.len()
    }
}

struct Keys {
    states: DashMap<u64, InMemoryState, BuildHasherDefault<AsIs>>,
    count: AtomicUsize,
    max: usize,
    shared: Box<[InMemoryState; SHARED]>,
}

impl Keys {
    fn new(max: usize) -> Self {
        let states = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS);
        let shared = Box::new(std::array::from_fn(|_| InMemoryState::default()));
        Self { states, count: AtomicUsize::new(0), max, shared }
    }

    fn reserve(&self) -> bool {
        let within = |count: usize| (count < self.max).then_some(count + 1);
        self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within).is_ok()
    }

    fn is_full(&self) -> bool {
        self.count.load(Ordering::Relaxed) >= self.max
    }

    /// The state of a key without a place.
    #[expect(clippy::indexing_slicing, reason = "there are SHARED of them")]
    fn shared(&self, key: u64) -> &InMemoryState {
        let at = usize::try_from(key >> 32).unwrap_or_default() % SHARED;
        &self.shared[at]
    }

    fn measure<T, F, E>(&self, key: u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(state) = self.states.get(&key) {
            return state.measure_and_replace(&NotKeyed::NonKey, f);
        }
        if !self.reserve() {
            return self.shared(key).measure_and_replace(&NotKeyed::NonKey, f);
        }
        match self.states.entry(key) {
            Entry::Occupied(state) => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                state.get().measure_and_replace(&NotKeyed::NonKey, f)
            }
            Entry::Vacant(place) => {
                place.insert(InMemoryState::default()).measure_and_replace(&NotKeyed::NonKey, f)
            }
        }
    }

    /// What the measure says, with the state left as it is.
    fn look<T, F, E>(&self, key: u64, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(state) = self.states.get(&key) {
            return f(read(&state)).map(|(told, _)| told);
        }
        let state = if self.is_full() { read(self.shared(key)) } else { None };
        f(state).map(|(told, _)| told)
    }
}

fn read(state: &InMemoryState) -> Option<Nanos> {
    let told = state.measure_and_replace(&NotKeyed::NonKey, Err::<((), Nanos), _>);
    told.err().flatten()
}

impl StateStore for Keys {
    type Key = Ask;

    fn measure_and_replace<T, F, E>(&self, ask: &Ask, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if ask.uses { self.measure(ask.key, f) } else { self.look(ask.key, f) }
    }
}

impl ShrinkableKeyedStateStore<Ask> for Keys {
    /// One shard after the other. Room is given back once most of it is unused.
    fn retain_recent(&self, drop_below: Nanos) {
        let mut removed = 0;
        self.states.retain(|_, state| {
            let recent = read(state).is_some_and(|tat| tat.as_u64() > drop_below.as_u64());
            removed += usize::from(!recent);
            recent
        });
        self.count.fetch_sub(removed, Ordering::Relaxed);
        let (room, used) = (self.states.capacity(), self.len());
        if room > ROOM_KEPT && room / 8 > used {
            self.states.shrink_to_fit();
        }
    }

    fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Keys are hashed already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.iter().fold(self.0, |hash, byte| hash.rotate_left(8) ^ u64::from(*byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
