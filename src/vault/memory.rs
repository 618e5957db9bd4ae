//! Records in this process: a map in many shards, each behind its own lock. Bytes are copied out
//! under the lock and opened outside of it; nothing here waits for anything but a lock.

use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;

use super::seal::{Name, Sealed, Stamp};
use super::store::{Kept, Refused};
use crate::card::Timestamp;

/// Many, so that growing or sweeping one shard holds up few: at ten million records a shard has
/// ten thousand.
const SHARDS: usize = 1024;

/// Sealed records by name.
pub(super) struct MemoryStore {
    records: DashMap<Name, Kept, BuildHasherDefault<NameHasher>>,
    count: AtomicUsize,
    capacity: usize,
}

impl MemoryStore {
    pub(super) fn new(capacity: usize) -> Self {
        let records = DashMap::with_hasher_and_shard_amount(BuildHasherDefault::default(), SHARDS);
        Self { records, count: AtomicUsize::new(0), capacity }
    }

    /// Keeps a record under a name that is free, or whose record has expired.
    pub(super) fn insert(&self, name: Name, kept: Kept, now: Timestamp) -> Result<(), Refused> {
        match self.records.entry(name) {
            Entry::Occupied(old) if old.get().expires > now => return Err(Refused::Taken),
            Entry::Occupied(mut old) => drop(old.insert(kept)),
            Entry::Vacant(free) => {
                self.reserve()?;
                free.insert(kept);
            }
        }
        Ok(())
    }

    /// Keeps a record under a name, whatever was there.
    pub(super) fn put(&self, name: Name, kept: Kept) -> Result<(), Refused> {
        match self.records.entry(name) {
            Entry::Occupied(mut old) => drop(old.insert(kept)),
            Entry::Vacant(free) => {
                self.reserve()?;
                free.insert(kept);
            }
        }
        Ok(())
    }

    /// Puts a record that was taken back, unless its time is over or its name is in use. Goes over
    /// the bound if it must: by no more than the requests under way.
    pub(super) fn put_back(&self, name: Name, kept: Kept, now: Timestamp) -> bool {
        if kept.expires <= now {
            return false;
        }
        match self.records.entry(name) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                self.count.fetch_add(1, Ordering::Relaxed);
                free.insert(kept);
                true
            }
        }
    }

    /// A copy of a live record.
    pub(super) fn get(&self, name: &Name, now: Timestamp) -> Option<Sealed> {
        let kept = self.records.get(name)?;
        (kept.expires > now).then(|| kept.sealed.copied())
    }

    pub(super) fn contains(&self, name: &Name, now: Timestamp) -> bool {
        self.records.get(name).is_some_and(|kept| kept.expires > now)
    }

    /// Replaces the record that carries this stamp.
    pub(super) fn replace_if(&self, name: &Name, seen: Stamp, next: Kept) -> bool {
        let Some(mut kept) = self.records.get_mut(name) else { return false };
        if kept.sealed.stamp() != seen {
            return false;
        }
        *kept = next;
        true
    }

    /// Removes the record that carries this stamp and hands it over: of any number of callers, one.
    pub(super) fn take_if(&self, name: &Name, seen: Stamp) -> Option<Kept> {
        let (_, kept) = self.records.remove_if(name, |_, kept| kept.sealed.stamp() == seen)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(kept)
    }

    pub(super) fn remove(&self, name: &Name) -> bool {
        let removed = self.records.remove(name).is_some();
        self.count.fetch_sub(usize::from(removed), Ordering::Relaxed);
        removed
    }

    /// Removes what has expired, one shard after the other; returns how many there were.
    pub(super) fn sweep(&self, now: Timestamp) -> usize {
        let mut removed = 0;
        self.records.retain(|_, kept| {
            let live = kept.expires > now;
            removed += usize::from(!live);
            live
        });
        self.count.fetch_sub(removed, Ordering::Relaxed);
        removed
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    fn reserve(&self) -> Result<(), Refused> {
        let within = |count: usize| (count < self.capacity).then_some(count + 1);
        let reserved = self.count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
        reserved.map(drop).map_err(|_| Refused::Full)
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let half = self.0.first_chunk().copied().unwrap_or_default();
        state.write_u64(u64::from_ne_bytes(half));
    }
}

/// Names come out of HMAC under a key that nobody outside knows: they are as good as hashed, and
/// nobody can choose them to collide.
#[derive(Default)]
pub(super) struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, half: u64) {
        self.0 = half;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
