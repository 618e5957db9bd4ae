//! Records in this process: a table in many shards, each behind its own lock. Bytes are copied out
//! under the lock and opened outside of it; nothing here waits for anything but a lock.
//!
//! An entry is a pointer and a length, and the name is read off the record behind it: with names in
//! the table, as in a map, the free places of a table that has just grown would cost more than the
//! records.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::code::Code;
use super::elsewhere::Elsewhere;
use super::sealed::{Name, Sealed, Stamp};
use super::store::{Bounds, Refused};
use super::usage::{Amount, Usage};
use crate::card::Timestamp;

pub(super) type Records = HashTable<Sealed>;

/// Sealed records by name.
pub(super) struct MemoryStore {
    /// Apart, so that there is a shard for every name whatever the number of the others.
    first: Mutex<Records>,
    others: Box<[Mutex<Records>]>,
    usage: Usage,
    /// Who has the records once they were handed over. Set while every shard is held.
    elsewhere: OnceLock<Elsewhere>,
}

/// All shards of a store, locked: whoever wants a record waits.
pub(super) struct Held<'s> {
    store: &'s MemoryStore,
    shards: Vec<MutexGuard<'s, Records>>,
}

impl Held<'_> {
    pub(super) fn records(&self) -> impl Iterator<Item = &Sealed> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// From now on the records are elsewhere. Returns what was here, to be dropped by a caller who
    /// holds nobody up.
    pub(super) fn give_up(self, elsewhere: Elsewhere) -> Vec<Records> {
        let Held { store, shards } = self;
        // Told before the first shard is let go.
        let _ = store.elsewhere.set(elsewhere);
        store.usage.clear();
        shards.into_iter().map(|mut shard| std::mem::take(&mut *shard)).collect()
    }
}

impl MemoryStore {
    /// With many shards, growing or sweeping one holds up few: whoever inserts into a shard that
    /// is full moves the entries of that shard alone.
    pub(super) fn new(shards: usize, bounds: Bounds) -> Self {
        let shard = || Mutex::new(Records::new());
        Self {
            first: shard(),
            others: (1..shards).map(|_| shard()).collect(),
            usage: Usage::new(bounds),
            elsewhere: OnceLock::new(),
        }
    }

    /// Locks every shard. No operation holds two, so this waits for those under way and no longer.
    pub(super) fn hold(&self) -> Held<'_> {
        let shards = std::iter::once(&self.first).chain(&self.others).map(locked).collect();
        Held { store: self, shards }
    }

    /// Keeps a record under a name that is free, or whose record has expired.
    pub(super) fn insert(&self, sealed: Sealed, now: Timestamp) -> Result<(), Refused> {
        match self.shard(&sealed.name()) {
            Ok(records) => self.keep(records, sealed, |old| old.expires() <= now),
            Err(elsewhere) => elsewhere.insert(&sealed, now),
        }
    }

    /// Keeps a record under its name, whatever was there.
    pub(super) fn put(&self, sealed: Sealed) -> Result<(), Refused> {
        match self.shard(&sealed.name()) {
            Ok(records) => self.keep(records, sealed, |_| true),
            Err(elsewhere) => elsewhere.put(&sealed),
        }
    }

    fn keep(
        &self,
        mut records: MutexGuard<'_, Records>,
        sealed: Sealed,
        yields: impl Fn(&Sealed) -> bool,
    ) -> Result<(), Refused> {
        let name = sealed.name();
        // What is replaced is wiped after the lock is gone.
        let _old = match records.entry(hash(&name), |kept| kept.name() == name, rehash) {
            Entry::Occupied(old) if !yields(old.get()) => return Err(Refused::Taken),
            Entry::Occupied(mut old) => {
                self.usage.replace(Some(old.get()), &sealed)?;
                Some(std::mem::replace(old.get_mut(), sealed))
            }
            Entry::Vacant(free) => {
                self.usage.replace(None, &sealed)?;
                free.insert(sealed);
                None
            }
        };
        drop(records);
        Ok(())
    }

    /// A copy of a live record.
    pub(super) fn get(&self, name: &Name, now: Timestamp) -> Option<Sealed> {
        match self.shard(name) {
            Ok(records) => {
                found(&records, name).filter(|kept| kept.expires() > now).map(Sealed::copied)
            }
            Err(elsewhere) => elsewhere.get(name, now),
        }
    }

    pub(super) fn contains(&self, name: &Name, now: Timestamp) -> bool {
        match self.shard(name) {
            Ok(records) => found(&records, name).is_some_and(|kept| kept.expires() > now),
            Err(elsewhere) => elsewhere.contains(name, now),
        }
    }

    /// Replaces the record of the same name that carries this stamp.
    pub(super) fn replace_if(&self, seen: Stamp, next: Sealed) -> bool {
        let name = next.name();
        let mut records = match self.shard(&name) {
            Ok(records) => records,
            Err(elsewhere) => return elsewhere.replace_if(seen, &next),
        };
        let kept = records.find_mut(hash(&name), |kept| kept.name() == name);
        let Some(kept) = kept.filter(|kept| kept.stamp() == seen) else { return false };
        if self.usage.replace(Some(kept), &next).is_err() {
            return false;
        }
        *kept = next;
        true
    }

    /// Removes the record that carries this stamp and hands it over: of any number of callers, one.
    pub(super) fn take_if(&self, name: &Name, seen: Stamp) -> Option<Sealed> {
        match self.shard(name) {
            Ok(records) => self.take(records, name, |kept| kept.stamp() == seen),
            Err(elsewhere) => elsewhere.take_if(name, seen),
        }
    }

    pub(super) fn remove(&self, name: &Name) -> bool {
        match self.shard(name) {
            Ok(records) => self.take(records, name, |_| true).is_some(),
            Err(elsewhere) => elsewhere.remove(name),
        }
    }

    fn take(
        &self,
        mut records: MutexGuard<'_, Records>,
        name: &Name,
        wanted: impl Fn(&Sealed) -> bool,
    ) -> Option<Sealed> {
        let found = records.find_entry(hash(name), |kept| kept.name() == *name && wanted(kept));
        let (sealed, _) = found.ok()?.remove();
        self.usage.remove(&sealed);
        drop(records);
        Some(sealed)
    }

    /// Gives a live card another security code.
    pub(super) fn set_code(&self, name: &Name, code: &Code, now: Timestamp) -> bool {
        self.change(name, |card| card.expires() > now && card.set_code(code))
            .unwrap_or_else(|elsewhere| elsewhere.set_code(name, code, now))
    }

    /// Removes the security code that carries this stamp: of any number of callers, one does.
    pub(super) fn take_code(&self, name: &Name, seen: Stamp) -> bool {
        self.change(name, |card| card.take_code(seen))
            .unwrap_or_else(|elsewhere| elsewhere.take_code(name, seen))
    }

    /// Puts a security code back that was taken, unless its card is gone, another code was there
    /// since, or its own time is over.
    pub(super) fn put_code_back(&self, name: &Name, code: &Code, now: Timestamp) -> bool {
        self.change(name, |card| card.expires() > now && card.put_code_back(code, now))
            .unwrap_or_else(|elsewhere| elsewhere.put_code_back(name, code, now))
    }

    /// Whether there is such a record and it was changed.
    fn change(
        &self,
        name: &Name,
        change: impl FnOnce(&mut Sealed) -> bool,
    ) -> Result<bool, &Elsewhere> {
        let mut records = self.shard(name)?;
        Ok(records.find_mut(hash(name), |kept| kept.name() == *name).is_some_and(change))
    }

    /// Removes what has expired from every `parts`-th shard, beginning with `part`, one after the
    /// other; returns how many records that were. Security codes go before their cards do.
    pub(super) fn sweep_part(&self, now: Timestamp, part: usize, parts: usize) -> usize {
        let shards = std::iter::once(&self.first).chain(&self.others);
        let chosen = shards.skip(part).step_by(parts.max(1));
        chosen.map(|shard| self.sweep_shard(&mut locked(shard), now)).sum()
    }

    fn sweep_shard(&self, records: &mut Records, now: Timestamp) -> usize {
        let mut gone = Amount::default();
        records.retain(|kept| {
            let live = kept.expires() > now;
            if live {
                kept.expire_code(now);
            } else {
                gone.add(self.usage.of(kept));
                self.usage.remove_share(kept);
            }
            live
        });
        self.usage.lower(gone);
        gone.records
    }

    /// How many records are so. Shards are looked at one after the other, while others change.
    pub(super) fn count(&self, is: impl Fn(&Sealed) -> bool) -> usize {
        let shards = std::iter::once(&self.first).chain(&self.others);
        shards.map(|shard| locked(shard).iter().filter(|kept| is(kept)).count()).sum()
    }

    pub(super) fn len(&self) -> usize {
        self.usage.records()
    }

    /// How much of it is used.
    pub(super) const fn usage(&self) -> &Usage {
        &self.usage
    }

    /// Whether more than a sixteenth of the room is free.
    pub(super) fn has_reserve(&self) -> bool {
        if let Some(elsewhere) = self.elsewhere.get() {
            return elsewhere.has_reserve();
        }
        self.usage.has_reserve()
    }

    /// Whether one record more of this tenant would find room.
    pub(super) fn has_place(&self, tenant: &str) -> bool {
        match self.elsewhere.get() {
            Some(elsewhere) => elsewhere.has_place(tenant),
            None => self.usage.has_place(tenant),
        }
    }

    /// The shard comes from other bits than the place in it does.
    fn shard(&self, name: &Name) -> Result<MutexGuard<'_, Records>, &Elsewhere> {
        let bits = name.0.last_chunk().copied().map_or(0, u64::from_ne_bytes);
        let place = usize::try_from(bits).unwrap_or(usize::MAX) % (self.others.len() + 1);
        let records = locked(self.others.get(place).unwrap_or(&self.first));
        // Under the lock: whoever hands records over holds it, and sets this before letting go.
        match self.elsewhere.get() {
            None => Ok(records),
            Some(elsewhere) => Err(elsewhere),
        }
    }
}

fn found<'r>(records: &'r Records, name: &Name) -> Option<&'r Sealed> {
    records.find(hash(name), |kept| kept.name() == *name)
}

/// Nothing that runs under a lock panics half way through a change.
fn locked(shard: &Mutex<Records>) -> MutexGuard<'_, Records> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Names come out of HMAC under a key that nobody outside knows: they are as good as hashed, and
/// nobody can choose them to collide.
fn hash(name: &Name) -> u64 {
    u64::from_ne_bytes(name.0.first_chunk().copied().unwrap_or_default())
}

fn rehash(kept: &Sealed) -> u64 {
    hash(&kept.name())
}
