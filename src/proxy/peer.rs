//! One configured host: its addresses, in which order they are tried, and how they have been.
//!
//! Only opening a connection asks here; a connection out of the pool asks whether its address is
//! still one of the host's, which is one flag. Must never: wait while a lock is held.

mod health;
mod skew;

pub use health::HealthRules;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use tokio::net::lookup_host;
use tokio::time::Instant;

use crate::card::Timestamp;
use crate::telemetry::{Event, Log, Metrics};

use super::dial::{AddressPolicy, is_public};
use super::exchange::SendErrorKind;
use health::Health;
use skew::Skew;

/// Addresses of one host that are kept.
const KEPT_MAX: usize = 8;
/// Addresses that are tried for one connection.
const TRIED_MAX: usize = 4;

/// What an address that the proxy finds is called.
const BY_NAME: &str = "by_name";

/// What finds the addresses of a name.
pub type Names = Arc<dyn Fn(Arc<str>) -> Finding + Send + Sync>;

/// A look-up under way.
pub type Finding = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;

/// The machine's own resolver.
#[must_use]
pub fn system_names() -> Names {
    Arc::new(|name| {
        Box::pin(async move {
            let found = lookup_host((&*name, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        })
    })
}

/// A look-up as a task of its own: where the system refuses it a thread, tokio panics, and whoever
/// waits for it learns that it failed. One that nobody waits for any more ends by itself, as the
/// system's call does.
pub(crate) async fn apart<T: Send + 'static>(
    finding: impl Future<Output = io::Result<T>> + Send + 'static,
) -> io::Result<T> {
    tokio::spawn(finding).await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
}

/// How the addresses of a host are found and watched.
#[derive(Clone)]
pub struct PeerSettings {
    /// Addresses that the configuration names; none means that they are looked up.
    pub addresses: Vec<IpAddr>,
    /// Whether the name is left to the proxy: nothing is looked up here.
    pub by_name: bool,
    /// What looks them up.
    pub names: Names,
    /// How often they are looked up again.
    pub resolve_every: Duration,
    /// When an address is left out.
    pub health: HealthRules,
    /// How each address is tried without a payment.
    pub check: Option<Check>,
}

impl PeerSettings {
    /// Whether a configuration says the same; what looks names up is the program's.
    fn is_like(&self, other: &Self) -> bool {
        let Self { addresses, by_name, names: _, resolve_every, health, check } = self;
        (addresses, by_name, check) == (&other.addresses, &other.by_name, &other.check)
            && (resolve_every, health) == (&other.resolve_every, &other.health)
    }

    /// Whether addresses are looked up at all.
    const fn looks_up(&self) -> bool {
        self.addresses.is_empty() && !self.by_name
    }

    /// Where addresses come from: the resolver, the proxy, or else the configuration.
    const fn source(&self) -> (bool, bool) {
        (self.looks_up(), self.by_name)
    }
}

impl Default for PeerSettings {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            by_name: false,
            names: system_names(),
            resolve_every: Duration::from_secs(30),
            health: HealthRules::default(),
            check: None,
        }
    }
}

/// How each address of a host is tried without a payment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How often.
    pub every: Duration,
    /// How far.
    pub kind: CheckKind,
}

/// How far a check goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckKind {
    /// A connection, with TLS where the host has it.
    Connect,
    /// A GET without credentials, and the status it is answered with.
    Get {
        /// The path.
        path: String,
        /// The status.
        status: u16,
    },
}

/// Where changes are noted.
#[derive(Clone)]
pub struct Told {
    /// Events.
    pub log: Arc<Log>,
    /// Which addresses are up.
    pub metrics: Arc<Metrics>,
}

/// A host and its addresses.
pub(crate) struct Peer {
    name: Arc<str>,
    label: String,
    settings: PeerSettings,
    told: Option<Told>,
    known: Mutex<Known>,
    skew: Skew,
}

#[derive(Default)]
struct Known {
    addresses: Vec<Arc<Address>>,
    /// Connections begun, for taking turns.
    turn: usize,
    /// The last look-up found nothing.
    unresolved: bool,
    /// Another configuration is in use, and this is for what began before it.
    left: bool,
}

/// One address of a host.
pub(crate) struct Address {
    /// None: the proxy finds it by name.
    ip: Option<IpAddr>,
    label: String,
    gone: AtomicBool,
    health: Mutex<Health>,
}

impl Address {
    fn new(ip: Option<IpAddr>, label: String) -> Self {
        Self { ip, label, gone: AtomicBool::new(false), health: Mutex::default() }
    }

    pub(crate) const fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// Whether the host has it no longer.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    /// In an event.
    fn shown(&self) -> String {
        self.ip.map_or_else(|| BY_NAME.to_owned(), |ip| ip.to_string())
    }

    fn is_ipv4(&self) -> bool {
        self.ip.is_some_and(|ip| ip.is_ipv4())
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Peer {
    /// The host `name`, called `label` in events and metrics.
    pub(crate) fn new(
        name: Arc<str>,
        label: &str,
        settings: PeerSettings,
        told: Option<Told>,
    ) -> Self {
        let (label, known, skew) = (label.to_owned(), Mutex::default(), Skew::new());
        let peer = Self { name, label, settings, told, known, skew };
        peer.begin();
        peer
    }

    /// The same host in the configuration that follows: this one where nothing changed, else one
    /// that begins with what is known of the addresses.
    pub(crate) fn successor(
        self: &Arc<Self>,
        settings: PeerSettings,
        told: Option<Told>,
    ) -> Arc<Self> {
        if self.settings.is_like(&settings) {
            return Arc::clone(self);
        }
        let (name, label) = (Arc::clone(&self.name), self.label.clone());
        let known = Mutex::new(self.left_behind());
        let next = Self { name, label, settings, told, known, skew: Skew::new() };
        // What is not found the same way is called otherwise: an address of the one is none of the
        // other.
        if next.settings.source() != self.settings.source() {
            let others = std::mem::take(&mut next.known().addresses);
            others.iter().for_each(|address| next.lose(address));
        }
        next.begin();
        Arc::new(next)
    }

    /// No configuration has the host any more.
    pub(crate) fn leave(&self) {
        self.left_behind();
        for address in self.addresses() {
            self.lose(&address);
        }
        if let Some(told) = &self.told {
            told.metrics.clock_gone(&self.label);
        }
    }

    /// What is known, for the one that follows. From now on nothing new is learnt here, unless a
    /// request that began before finds no address at all.
    fn left_behind(&self) -> Known {
        let mut known = self.known();
        known.left = true;
        let Known { addresses, turn, unresolved, .. } = &*known;
        Known { addresses: addresses.clone(), turn: *turn, unresolved: *unresolved, left: false }
    }

    /// What is known without a look-up.
    fn begin(&self) {
        if self.settings.by_name {
            let mut known = self.known();
            if known.addresses.is_empty() {
                let address = Arc::new(Address::new(None, BY_NAME.to_owned()));
                self.show(&address, true);
                known.addresses.push(address);
            }
        } else if !self.is_looked_up() {
            self.learn(&self.settings.addresses);
        }
    }

    /// How it is watched.
    pub(crate) const fn settings(&self) -> &PeerSettings {
        &self.settings
    }

    /// Every address that is known.
    pub(crate) fn addresses(&self) -> Vec<Arc<Address>> {
        self.known().addresses.clone()
    }

    /// Whether its addresses are looked up at all.
    pub(crate) const fn is_looked_up(&self) -> bool {
        self.settings.looks_up()
    }

    /// The addresses to try for a connection, in that order. Waits only as long as none is known.
    pub(crate) async fn candidates(
        &self,
        policy: AddressPolicy,
    ) -> Result<Vec<Arc<Address>>, SendErrorKind> {
        if self.known().addresses.is_empty() {
            self.look_up().await;
        }
        let mut known = self.known();
        if known.addresses.is_empty() {
            return Err(SendErrorKind::Resolve);
        }
        let allowed =
            |address: &&Arc<Address>| policy.allow_private || address.ip.is_some_and(is_public);
        let allowed: Vec<_> = known.addresses.iter().filter(allowed).cloned().collect();
        if allowed.is_empty() {
            return Err(SendErrorKind::PrivateAddress);
        }
        let turn = known.turn;
        known.turn = turn.wrapping_add(1);
        drop(known);
        Ok(in_order(allowed, turn, Instant::now(), self.settings.check.is_some()))
    }

    /// Looks the addresses up again. Where that fails the last ones stay.
    pub(crate) async fn look_up(&self) {
        if !self.is_looked_up() {
            return;
        }
        match apart((self.settings.names)(Arc::clone(&self.name))).await {
            Ok(found) if !found.is_empty() => self.learn(&found),
            _ => {
                if !std::mem::replace(&mut self.known().unresolved, true) {
                    self.tell(&Event::UpstreamUnresolved { host: &self.label });
                }
            }
        }
    }

    /// These are its addresses from now on.
    fn learn(&self, found: &[IpAddr]) {
        let mut known = self.known();
        if known.left && !known.addresses.is_empty() {
            return;
        }
        known.unresolved = false;
        let old = std::mem::take(&mut known.addresses);
        let mut fresh: Vec<Arc<Address>> = Vec::new();
        for ip in found {
            if fresh.len() == KEPT_MAX || fresh.iter().any(|address| address.ip == Some(*ip)) {
                continue;
            }
            let kept = old.iter().find(|address| address.ip == Some(*ip)).cloned();
            let made = || Arc::new(Address::new(Some(*ip), self.label_of(*ip, &old, &fresh)));
            fresh.push(kept.unwrap_or_else(made));
        }
        let kept = |address: &Arc<Address>| fresh.iter().any(|new| Arc::ptr_eq(new, address));
        let (kept, gone): (Vec<_>, Vec<_>) = old.into_iter().partition(kept);
        let changed = !gone.is_empty() || kept.len() < fresh.len();
        let count = fresh.len();
        if known.left {
            // No connection to them outlives its request.
            fresh.iter().for_each(|address| address.gone.store(true, Ordering::Relaxed));
        }
        known.addresses.clone_from(&fresh);
        drop(known);
        gone.iter().for_each(|address| self.lose(address));
        if changed {
            fresh.iter().for_each(|address| self.show(address, address.health().is_up()));
            self.tell(&Event::UpstreamResolved { host: &self.label, addresses: count });
        }
    }

    /// It is the host's no longer.
    fn lose(&self, address: &Address) {
        address.gone.store(true, Ordering::Relaxed);
        if let Some(told) = &self.told {
            told.metrics.upstream_gone(&self.label, &address.label);
        }
    }

    /// The address itself where the configuration names it, else the lowest number that is free.
    fn label_of(&self, ip: IpAddr, old: &[Arc<Address>], fresh: &[Arc<Address>]) -> String {
        if !self.is_looked_up() {
            return ip.to_string();
        }
        let taken = |label: &String| old.iter().chain(fresh).any(|known| known.label == *label);
        (0..).map(|number: usize| number.to_string()).find(|l| !taken(l)).unwrap_or_default()
    }

    /// No connection came about.
    pub(crate) fn failed(&self, address: &Address, reason: &'static str) {
        if address.health().failed(Instant::now(), &self.settings.health) {
            self.show(address, false);
            let ip = address.shown();
            self.tell(&Event::UpstreamDown { host: &self.label, address: &ip, reason });
        }
    }

    /// A connection came about. Where checks are made, only they say that an address is well: it
    /// may accept connections and still not work.
    pub(crate) fn connected(&self, address: &Address) {
        if self.settings.check.is_none() {
            self.is_well(address);
        }
    }

    /// It works.
    pub(crate) fn is_well(&self, address: &Address) {
        if address.health().worked() {
            self.show(address, true);
            let ip = address.shown();
            self.tell(&Event::UpstreamUp { host: &self.label, address: &ip });
        }
    }

    /// Notes how far its clock is from ours, now and then. What is left behind tells nothing more.
    pub(crate) fn answered(&self, headers: &HeaderMap, begun: Instant) {
        let Some(told) = self.told.as_ref().filter(|_| self.skew.is_due(begun)) else { return };
        let known = self.known();
        if let Some(seconds) = skew::seconds(headers, Timestamp::system()).filter(|_| !known.left) {
            told.metrics.clock_ahead(&self.label, seconds);
        }
    }

    fn show(&self, address: &Address, up: bool) {
        if let Some(told) = self.told.as_ref().filter(|_| !address.is_gone()) {
            told.metrics.upstream_up(&self.label, &address.label, up);
        }
    }

    fn tell(&self, event: &Event<'_>) {
        if let Some(told) = &self.told {
            told.log.write(event);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("label", &self.label).finish_non_exhaustive()
    }
}

/// Those that are well first, in turns within each kind of address and the kinds alternating, the
/// resolver's favourite kind first; then those left out, the one whose time is nearest first. Where
/// `checked`, an address is left out until a check says otherwise.
fn in_order(
    addresses: Vec<Arc<Address>>,
    turn: usize,
    now: Instant,
    checked: bool,
) -> Vec<Arc<Address>> {
    let favourite = addresses.first().map(|address| address.is_ipv4());
    let (mut ready, mut others, mut out) = (Vec::new(), Vec::new(), Vec::new());
    for address in addresses {
        let until = address.health().until();
        match until {
            Some(until) if checked || now < until => out.push((until, address)),
            _ if Some(address.is_ipv4()) == favourite => ready.push(address),
            _ => others.push(address),
        }
    }
    for kind in [&mut ready, &mut others] {
        let first = turn.checked_rem(kind.len()).unwrap_or(0);
        kind.rotate_left(first);
    }
    out.sort_by_key(|(until, _)| *until);
    let (mut ready, mut others) = (ready.into_iter(), others.into_iter());
    let mut order = Vec::new();
    loop {
        let two = [ready.next(), others.next()];
        if two.iter().all(Option::is_none) {
            break;
        }
        order.extend(two.into_iter().flatten());
    }
    order.extend(out.into_iter().map(|(_, address)| address));
    order.truncate(TRIED_MAX);
    order
}

#[cfg(test)]
mod tests;
