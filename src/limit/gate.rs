//! How much may be under way at a time: altogether, towards one host, of one client.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hash, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dashmap::DashMap;

/// Bounds of what is under way at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concurrency {
    /// Altogether.
    pub all: usize,
    /// Towards one host.
    pub per_host: usize,
}

/// Which bound was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Busy {
    /// The one for everything together.
    All,
    /// The one for this host.
    Host,
    /// The one for requests to a shop.
    Shop,
    /// The one for requests of this client to a shop.
    Client,
}

impl Busy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::All, Self::Host, Self::Shop, Self::Client];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "exchanges",
            Self::Host => "exchanges_per_host",
            Self::Shop => "shop_requests",
            Self::Client => "shop_requests_per_address",
        }
    }
}

/// Counts what is under way. Hosts come from the operator's lists, so there are few.
#[derive(Debug)]
pub struct Gates {
    bounds: Concurrency,
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: Arc<AtomicUsize>,
    hosts: DashMap<u64, Arc<AtomicUsize>>,
    hash: RandomState,
}

impl Gates {
    /// Gates with these bounds.
    #[must_use]
    pub fn new(bounds: Concurrency) -> Self {
        Self { bounds, counts: Arc::default() }
    }

    /// The same gates with other bounds: what is under way goes on counting.
    #[must_use]
    pub fn successor(&self, bounds: Concurrency) -> Self {
        Self { bounds, counts: Arc::clone(&self.counts) }
    }

    /// A place towards `host`, given back when dropped.
    ///
    /// # Errors
    /// All places are taken.
    pub fn enter(&self, host: &impl Hash) -> Result<Pass, Busy> {
        let Counts { all, hosts, hash } = &*self.counts;
        let all = Place::take(all, self.bounds.all).ok_or(Busy::All)?;
        let key = hash.hash_one(host);
        let count = hosts.get(&key).map(|count| Arc::clone(&count));
        let count = count.unwrap_or_else(|| Arc::clone(&hosts.entry(key).or_default()));
        let host = Place::take(&count, self.bounds.per_host).ok_or(Busy::Host)?;
        Ok(Pass { _places: [all, host] })
    }

    /// How much is under way.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.counts.all.load(Ordering::Relaxed)
    }
}

/// The right to be under way.
#[derive(Debug)]
#[must_use]
pub struct Pass {
    _places: [Place; 2],
}

#[derive(Debug)]
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(count: &Arc<AtomicUsize>, max: usize) -> Option<Self> {
        let within = |taken: usize| (taken < max).then_some(taken + 1);
        let taken = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        taken.is_ok().then(|| Self(Arc::clone(count)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Requests to a shop: how many may be under way, and how many of them for one client. Clients are
/// many, so one that has none under way is not known.
#[derive(Debug, Default)]
pub struct Crowd {
    all: Arc<AtomicUsize>,
    clients: Mutex<HashMap<u64, usize>>,
    hash: RandomState,
}

impl Crowd {
    /// A place for `client`, given back when dropped.
    ///
    /// # Errors
    /// All places are taken, or all that one client may have.
    pub fn enter(
        self: &Arc<Self>,
        client: &impl Hash,
        all: usize,
        per_client: usize,
    ) -> Result<Presence, Busy> {
        let place = Place::take(&self.all, all).ok_or(Busy::Shop)?;
        let client = self.hash.hash_one(client);
        let mut clients = self.clients();
        let taken = clients.get(&client).copied().unwrap_or_default();
        if taken >= per_client {
            return Err(Busy::Client);
        }
        clients.insert(client, taken + 1);
        drop(clients);
        Ok(Presence { _place: place, crowd: Arc::clone(self), client })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<u64, usize>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right of a client's request to be under way to a shop.
#[derive(Debug)]
#[must_use]
pub struct Presence {
    _place: Place,
    crowd: Arc<Crowd>,
    client: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut clients = self.crowd.clients();
        match clients.get_mut(&self.client) {
            Some(taken) if *taken > 1 => *taken -= 1,
            _ => drop(clients.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_own_part_of_a_crowd_and_is_forgotten_with_its_last_request() {
        let crowd = Arc::new(Crowd::default());
        let enter = |client: &str| crowd.enter(&client, 3, 2);
        let [first, second] = [enter("one").unwrap(), enter("one").unwrap()];
        assert_eq!(enter("one").unwrap_err(), Busy::Client);
        let third = enter("two").unwrap();
        assert_eq!(enter("two").unwrap_err(), Busy::Shop);
        drop(first);
        let first = enter("one").unwrap();
        drop((first, second, third));
        assert_eq!((crowd.clients().len(), crowd.all.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn places_are_bounded_per_host_and_altogether_and_given_back() {
        let gates = Gates::new(Concurrency { all: 3, per_host: 2 });
        let first = gates.enter(&"one").unwrap();
        let second = gates.enter(&"one").unwrap();
        assert_eq!(gates.enter(&"one").unwrap_err(), Busy::Host);
        assert_eq!(gates.taken(), 2, "a refused one holds no place");
        let _third = gates.enter(&"two").unwrap();
        assert_eq!(gates.enter(&"two").unwrap_err(), Busy::All);
        drop(first);
        assert!(gates.enter(&"two").is_ok());
        drop(second);
        assert!(gates.enter(&"one").is_ok());
        assert_eq!(gates.taken(), 1);
    }

    #[test]
    fn places_taken_before_a_change_count_after_it() {
        let gates = Gates::new(Concurrency { all: 2, per_host: 2 });
        let under_way = gates.enter(&"one").unwrap();
        let narrower = gates.successor(Concurrency { all: 2, per_host: 1 });
        assert_eq!(narrower.enter(&"one").unwrap_err(), Busy::Host);
        drop(under_way);
        assert!(narrower.enter(&"one").is_ok());
    }
}
