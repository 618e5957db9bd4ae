//! Cards, security codes and other secrets of a payment, sealed and for minutes.
//!
//! [`Vault`] keeps what it is given under random tokens and hands it out to whom it belongs: to the
//! tenant that owns it, for an account and a mode it was kept for, until its time is over. Unknown,
//! foreign, expired and used up are one answer, [`VaultError::NotFound`].
//!
//! It must never let cleartext reach a store, hand a security code out twice, or give up a live
//! record to make room. It has no clock: every call is told the time.
//!
//! Start reading at `cards.rs`; `seal.rs` has the seal, `sealed.rs` the form of a record,
//! `keyring.rs` the keys, `store.rs` what a backend must do.

mod bearer;
mod cards;
mod code;
mod elsewhere;
mod fingerprint;
mod header;
mod keyring;
mod mark;
mod memory;
mod once;
mod payment;
mod record;
mod relay;
mod seal;
mod sealed;
mod session;
mod store;
mod text;
mod transfer;
mod usage;

pub use bearer::Bearer;
pub use cards::{CvvLease, Found, KeptCard, Metadata, Preview, Redeemed};
pub use fingerprint::Fingerprint;
pub use keyring::{Keyring, KeyringError, Rotation, Versioned};
pub use mark::{CLAIM_LIFE, Mark};
pub use once::{Claim, Once};
pub use payment::{Guarded, Payment, PaymentName};
pub use relay::{Begun, Relay, RelayState};
pub use session::{SeenSession, Session};
pub use transfer::{Ask, HeldVault, Left, NONCE_BYTES, Proofs, Role, TransferError};

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::card::{Mode, Timestamp};
use crate::secret::Random;
use header::{Header, Kind, Scope};
use mark::Stamps;
use seal::{Address, Opened, Root};
use sealed::Sealed;
use session::OpenSessions;
use store::{Bounds, Refused, Store};

/// The name of an application. Cards belong to the one whose session captured them.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

/// The name of a merchant's account at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account(Arc<str>);

macro_rules! names {
    ($name:ident) => {
        impl $name {
            /// A name from the configuration; at most 255 bytes fit into a record.
            #[must_use]
            pub fn new(name: &str) -> Self {
                Self(Arc::from(name))
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

names!(Tenant);
names!(Account);

impl Account {
    /// The same name that others hold, not a copy of it.
    #[must_use]
    pub fn named(name: &Arc<str>) -> Self {
        Self(Arc::clone(name))
    }
}

/// Accounts for which a card may be redeemed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accounts {
    /// Every account of the tenant.
    All,
    /// These.
    Only(Vec<Account>),
}

/// To whom a record belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The application.
    pub tenant: Tenant,
    /// For which of its accounts.
    pub accounts: Accounts,
    /// Live or test.
    pub mode: Mode,
}

/// Who redeems, and for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audience {
    /// The application that asks.
    pub tenant: Tenant,
    /// The account its request goes to.
    pub account: Account,
    /// The mode of that account.
    pub mode: Mode,
}

/// Bounds of a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most cards at a time, each with its security code.
    pub capacity: usize,
    /// The most handles, capture sessions and steps of payments at a time.
    pub states: usize,
    /// The most bytes of those together: a step holds what a provider sent.
    pub states_bytes: usize,
    /// The most marks of callbacks, signed requests and payments under way at a time.
    pub marks: usize,
    /// The most idempotency keys at a time.
    pub idempotency: usize,
    /// The most bytes of the answers that are kept under them.
    pub idempotency_bytes: usize,
    /// The most idempotency keys of one application, which has the same part of the bytes.
    pub idempotency_per_app: usize,
    /// The most capture sessions that one application has open at a time.
    pub sessions_per_app: usize,
    /// How long a card lives.
    pub card_ttl: Duration,
    /// How long a security code lives: 15 minutes at most, whatever is written here.
    pub cvv_ttl: Duration,
}

impl Limits {
    /// A security code never lives longer.
    pub const CVV_TTL_MAX: Duration = Duration::from_secs(900);
}

impl Default for Limits {
    fn default() -> Self {
        let card_ttl = Duration::from_secs(1800);
        Self {
            capacity: 1_000_000,
            states: 200_000,
            states_bytes: 256 << 20,
            marks: 2_000_000,
            idempotency: 1_000_000,
            idempotency_bytes: 128 << 20,
            idempotency_per_app: 500_000,
            sessions_per_app: 20_000,
            card_ttl,
            cvv_ttl: Self::CVV_TTL_MAX,
        }
    }
}

/// At ten million cards a shard has twelve hundred records, so the one insertion that makes it grow
/// moves no more than that.
const CARD_SHARDS: usize = 16_384;
const SHARDS: usize = 2048;

/// Why the vault did not do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VaultError {
    /// Unknown, foreign, expired or used up: nobody learns which.
    NotFound,
    /// No room for another record.
    Full,
    /// A security code of a length that the card's brand does not print.
    CvvLength,
    /// The record could not be sealed: a bug, or a name of more than 255 bytes.
    Sealing,
}

impl VaultError {
    /// A stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Full => "vault_full",
            Self::CvvLength => "cvv_length",
            Self::Sealing => "sealing",
        }
    }
}

impl fmt::Display for VaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for VaultError {}

/// Rooms by name, with what each may hold and what is left of that.
pub type Rooms = [(&'static str, usize, usize); 8];

/// Keeps records sealed and hands them to whom they belong.
pub struct Vault {
    keyring: ArcSwap<Keyring>,
    /// Whether another process has the records. Locked while the ring is replaced and while the
    /// vault is held: what is handed over is of one ring.
    handed_over: Mutex<bool>,
    cards: Store,
    states: Store,
    marks: Store,
    onces: Store,
    stamps: Stamps,
    open_sessions: OpenSessions,
    limits: Limits,
    /// Since when it keeps what it is given, in UNIX seconds; 0 where nobody said.
    began: AtomicU64,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Vault {
    /// An empty vault.
    #[must_use]
    pub fn new(keyring: Keyring, limits: Limits) -> Self {
        let cvv_ttl = limits.cvv_ttl.min(Limits::CVV_TTL_MAX);
        let limits = Limits { cvv_ttl, ..limits };
        let states = Bounds { bytes: limits.states_bytes, ..Bounds::records(limits.states) };
        Self {
            keyring: ArcSwap::from_pointee(keyring),
            handed_over: Mutex::default(),
            cards: Store::new(CARD_SHARDS, Bounds::records(limits.capacity)),
            states: Store::new(SHARDS, states),
            marks: Store::new(SHARDS, Bounds::records(limits.marks)),
            onces: Store::new(SHARDS, once::bounds(&limits)),
            stamps: Stamps::draw(),
            open_sessions: OpenSessions::default(),
            limits,
            began: AtomicU64::new(0),
        }
    }

    /// Says since when it keeps what it is given: this process' start, or that of the first one
    /// whose records were handed on up to here.
    pub fn begin(&self, began: Timestamp) {
        self.began.store(began.as_secs(), Ordering::Relaxed);
    }

    /// Since when it keeps what it is given.
    pub fn began(&self) -> Timestamp {
        Timestamp::from_secs(self.began.load(Ordering::Relaxed))
    }

    /// Removes what has expired, a part at a time; returns how many records that were. Traffic goes
    /// on meanwhile. Expired records are never handed out, swept or not; they only take room.
    pub fn sweep(&self, now: Timestamp) -> usize {
        self.sweep_part(now, 0, 1)
    }

    /// One of `parts` parts of a sweep, numbered from 0; all of them together remove what has
    /// expired. With ten million cards a whole sweep keeps a core busy for seconds.
    pub fn sweep_part(&self, now: Timestamp, part: usize, parts: usize) -> usize {
        self.stores().map(|store| store.sweep_part(now, part, parts)).iter().sum()
    }

    const fn stores(&self) -> [&Store; 4] {
        [&self.cards, &self.states, &self.marks, &self.onces]
    }

    /// How many records there are, expired ones included until they are swept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.stores().map(Store::len).iter().sum()
    }

    /// Its rooms by name, each with what it may hold and what is left of that: records, or bytes
    /// where the name says so. What has expired takes room until it is swept. Of the shares of
    /// applications it is the one of which least is left.
    #[must_use]
    pub fn rooms(&self) -> Rooms {
        let [cards, states, marks, onces] = self.stores().map(Store::usage);
        let ([cards, _], [marks, _]) = (cards.room(), marks.room());
        let [states, states_bytes] = states.room();
        let [[keys, keys_bytes], [of_app, bytes_of_app]] = [onces.room(), onces.share_room()];
        let named = |name, (size, free)| (name, size, free);
        [
            named("cards", cards),
            named("states", states),
            named("states_bytes", states_bytes),
            named("marks", marks),
            named("idempotency", keys),
            named("idempotency_bytes", keys_bytes),
            named("idempotency_per_app", of_app),
            named("idempotency_bytes_per_app", bytes_of_app),
        ]
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether what a payment's answer brings will find room: handles, the way back. Asked before
    /// the payment leaves, because afterwards money has moved. The last sixteenth of the room is
    /// kept for answers to what has left; nothing else that is new gets into it.
    ///
    /// # Errors
    /// No room.
    pub fn room_for_payment(&self) -> Result<(), VaultError> {
        if self.states.has_reserve() { Ok(()) } else { Err(VaultError::Full) }
    }

    /// Each kind has its place, so that none takes another one's room.
    const fn place(&self, kind: Kind) -> &Store {
        match kind {
            Kind::Card | Kind::Cvv => &self.cards,
            Kind::Bearer | Kind::Session | Kind::Relay | Kind::Text => &self.states,
            Kind::Mark | Kind::Newest => &self.marks,
            Kind::Once => &self.onces,
        }
    }

    /// Seals and keeps a record under a name drawn for it.
    fn insert(
        &self,
        record: &Draft<'_>,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        self.keep_new(record.address.kind, self.sealed(record, random)?, now)
    }

    /// Names come from 160 random bits: one that is in use means randomness that repeats, and
    /// nothing may be sealed under it.
    fn keep_new(&self, kind: Kind, sealed: Sealed, now: Timestamp) -> Result<(), VaultError> {
        if self.keep_if_free(kind, sealed, now)? { Ok(()) } else { Err(VaultError::Sealing) }
    }

    /// Seals and keeps a record unless there is a live one of its name.
    fn insert_if_free(
        &self,
        record: &Draft<'_>,
        random: &mut Random,
        now: Timestamp,
    ) -> Result<bool, VaultError> {
        self.keep_if_free(record.address.kind, self.sealed(record, random)?, now)
    }

    fn keep_if_free(&self, kind: Kind, sealed: Sealed, now: Timestamp) -> Result<bool, VaultError> {
        match self.place(kind).insert(sealed, now) {
            Ok(()) => Ok(true),
            Err(Refused::Taken) => Ok(false),
            Err(Refused::Full) => Err(VaultError::Full),
        }
    }

    /// Seals and keeps a record in place of the one there may be.
    fn put(&self, record: &Draft<'_>, random: &mut Random) -> Result<(), VaultError> {
        let sealed = self.sealed(record, random)?;
        self.place(record.address.kind).put(sealed).map_err(|_| VaultError::Full)
    }

    fn sealed(&self, record: &Draft<'_>, random: &mut Random) -> Result<Sealed, VaultError> {
        record.seal(self.ring().current(record.address.kind), random)
    }

    /// Finds and opens a live record that `admits` whoever asks.
    fn open(
        &self,
        address: &Address<'_>,
        now: Timestamp,
        admits: impl Fn(&Header<'_>) -> bool,
    ) -> Result<Opened, VaultError> {
        for root in self.ring().roots(address.kind) {
            let name = root.name(address);
            let Some(sealed) = self.place(address.kind).get(&name, now) else { continue };
            let header = sealed.header().ok_or(VaultError::NotFound)?;
            if header.expires <= now || !admits(&header) {
                return Err(VaultError::NotFound);
            }
            return root.open(address, name, sealed).ok_or(VaultError::NotFound);
        }
        Err(VaultError::NotFound)
    }

    /// Replaces an opened record by its next state, unless somebody else did so first.
    fn advance(
        &self,
        address: &Address<'_>,
        opened: &Opened,
        plain: &[u8],
    ) -> Result<bool, VaultError> {
        let header = opened.header().ok_or(VaultError::Sealing)?;
        let next = self
            .ring()
            .roots(address.kind)
            .find(|root| root.version() == header.version)
            .and_then(|root| root.reseal(address, opened, plain))
            .ok_or(VaultError::Sealing)?;
        Ok(self.place(address.kind).replace_if(opened.stamp(), next))
    }

    /// Removes the record whatever key it was sealed under; tells whether there was one.
    fn remove(&self, address: &Address<'_>) -> bool {
        let place = self.place(address.kind);
        let ring = self.ring();
        let removals = ring.roots(address.kind).map(|root| place.remove(&root.name(address)));
        removals.fold(false, |any, removed| any | removed)
    }
}

/// A record about to be sealed.
struct Draft<'a> {
    address: Address<'a>,
    scope: Scope<'a>,
    expires: Timestamp,
    plain: &'a [u8],
}

impl Draft<'_> {
    fn seal(&self, root: &Root, random: &mut Random) -> Result<Sealed, VaultError> {
        let named = (root.name(&self.address), random.take());
        let sealed = root.seal(&self.address, named, &self.scope, self.expires, self.plain);
        sealed.ok_or(VaultError::Sealing)
    }
}

#[cfg(test)]
mod tests;
