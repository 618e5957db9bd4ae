//! How much of its bounds a store has used: counted before a record is kept, given back when it is
//! gone. Where a store has shares, each tenant's part is counted beside the whole.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::sealed::Sealed;
use super::store::{Bounds, Refused, Share};

/// What is used of a bound, and the bound.
pub(super) struct Usage {
    records: AtomicUsize,
    bytes: AtomicUsize,
    bounds: Bounds,
    /// Tenants come from the configuration, so there are few.
    tenants: Mutex<HashMap<Box<str>, Amount>>,
}

/// Records, and what counts of their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Amount {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Amount {
    pub(super) const fn add(&mut self, other: Self) {
        self.records = self.records.saturating_add(other.records);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }

    const fn take(&mut self, other: Self) {
        self.records = self.records.saturating_sub(other.records);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }

    const fn fits(self, most: Self) -> bool {
        self.records <= most.records && self.bytes <= most.bytes
    }
}

impl Usage {
    pub(super) fn new(bounds: Bounds) -> Self {
        let (records, bytes) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { records, bytes, bounds, tenants: Mutex::default() }
    }

    /// What a record counts.
    pub(super) fn of(&self, sealed: &Sealed) -> Amount {
        let bytes = match &self.bounds.share {
            None => sealed.len(),
            Some(share) => sealed.sealed_len().saturating_sub(share.bare),
        };
        Amount { records: 1, bytes }
    }

    /// Counts `new`, in place of the record of the same name there was. Where that is beyond a
    /// bound nothing has changed.
    pub(super) fn replace(&self, old: Option<&Sealed>, new: &Sealed) -> Result<(), Refused> {
        let (before, after) = (old.map(|old| self.of(old)).unwrap_or_default(), self.of(new));
        let more = Amount {
            records: after.records.saturating_sub(before.records),
            bytes: after.bytes.saturating_sub(before.bytes),
        };
        let less = Amount { records: 0, bytes: before.bytes.saturating_sub(after.bytes) };
        self.raise_share(new, more)?;
        if let Err(full) = self.raise(more) {
            self.lower_share(new, more);
            return Err(full);
        }
        self.lower_share(new, less);
        self.lower(less);
        Ok(())
    }

    /// Gives back what a record counted.
    pub(super) fn remove(&self, sealed: &Sealed) {
        self.remove_share(sealed);
        self.lower(self.of(sealed));
    }

    /// The part of a tenant alone; the whole is given back with [`Self::lower`], for many at once.
    pub(super) fn remove_share(&self, sealed: &Sealed) {
        self.lower_share(sealed, self.of(sealed));
    }

    pub(super) fn lower(&self, less: Amount) {
        self.records.fetch_sub(less.records, Ordering::Relaxed);
        self.bytes.fetch_sub(less.bytes, Ordering::Relaxed);
    }

    /// Nothing is here any more.
    pub(super) fn clear(&self) {
        self.records.store(0, Ordering::Relaxed);
        self.bytes.store(0, Ordering::Relaxed);
        self.tenants().clear();
    }

    pub(super) fn records(&self) -> usize {
        self.records.load(Ordering::Relaxed)
    }

    /// What may be held and what is left of that, in records and in bytes.
    pub(super) fn room(&self) -> [(usize, usize); 2] {
        let Bounds { records, bytes, .. } = self.bounds;
        left(Amount { records, bytes }, self.used())
    }

    /// The same for the tenant that has the most.
    pub(super) fn share_room(&self) -> [(usize, usize); 2] {
        let Some(share) = &self.bounds.share else { return self.room() };
        let most = self.tenants().values().fold(Amount::default(), |most, used| Amount {
            records: most.records.max(used.records),
            bytes: most.bytes.max(used.bytes),
        });
        left(share.most, most)
    }

    /// Whether more than a sixteenth of the room is free.
    pub(super) fn has_reserve(&self) -> bool {
        let free = |used: usize, bound: usize| used < bound.saturating_sub(bound / 16);
        let used = self.used();
        free(used.records, self.bounds.records) && free(used.bytes, self.bounds.bytes)
    }

    /// Whether one record more of this tenant would find room.
    pub(super) fn has_place(&self, tenant: &str) -> bool {
        let used = self.tenants().get(tenant).map_or(0, |used| used.records);
        let most = self.bounds.share.as_ref().map_or(usize::MAX, |share| share.most.records);
        used < most && self.records() < self.bounds.records
    }

    fn used(&self) -> Amount {
        Amount { records: self.records(), bytes: self.bytes.load(Ordering::Relaxed) }
    }

    fn raise(&self, more: Amount) -> Result<(), Refused> {
        raise(&self.records, more.records, self.bounds.records)?;
        raise(&self.bytes, more.bytes, self.bounds.bytes).inspect_err(|_| {
            self.records.fetch_sub(more.records, Ordering::Relaxed);
        })
    }

    fn raise_share(&self, sealed: &Sealed, more: Amount) -> Result<(), Refused> {
        let raised = self.with_share(sealed, |used, share| {
            let mut raised = *used;
            raised.add(more);
            // What asks for nothing more is never refused: it makes a record no longer.
            let within = more == Amount::default() || raised.fits(share.most);
            if within {
                *used = raised;
            }
            within
        });
        if raised == Some(false) { Err(Refused::Full) } else { Ok(()) }
    }

    fn lower_share(&self, sealed: &Sealed, less: Amount) {
        self.with_share(sealed, |used, _| used.take(less));
    }

    /// What the tenant of a record has used, where the store has shares.
    fn with_share<R>(
        &self,
        sealed: &Sealed,
        change: impl FnOnce(&mut Amount, &Share) -> R,
    ) -> Option<R> {
        let share = self.bounds.share.as_ref()?;
        let header = sealed.header()?;
        let mut tenants = self.tenants();
        if let Some(used) = tenants.get_mut(header.tenant()) {
            return Some(change(used, share));
        }
        Some(change(tenants.entry(header.tenant().into()).or_default(), share))
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<Box<str>, Amount>> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn left(most: Amount, used: Amount) -> [(usize, usize); 2] {
    [
        (most.records, most.records.saturating_sub(used.records)),
        (most.bytes, most.bytes.saturating_sub(used.bytes)),
    ]
}

fn raise(used: &AtomicUsize, more: usize, bound: usize) -> Result<(), Refused> {
    if more == 0 {
        return Ok(());
    }
    let within = |used: usize| used.checked_add(more).filter(|raised| *raised <= bound);
    let raised = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, within);
    raised.map(drop).map_err(|_| Refused::Full)
}
