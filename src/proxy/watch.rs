//! Looks configured hosts up again, tries their addresses and closes unused connections, beside the
//! payments.
//!
//! Must never: send anything of a payment, or hold one up.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::desk::Desk;
use super::exchange::{SendErrorKind, Target, Upstreams};
use super::peer::{Address, CheckKind, Peer};

/// Between two looks for connections that were not used for their time.
const LET_GO: Duration = Duration::from_millis(500);

/// Watches every configured host, until the future is dropped.
pub async fn watch(desk: Arc<Desk>) {
    let mut watches = JoinSet::new();
    watches.spawn(let_go_for_ever(Arc::clone(&desk)));
    for target in desk.targets.all() {
        let Some(peer) = target.peer() else { continue };
        if peer.is_looked_up() {
            watches.spawn(look_up_for_ever(target.clone()));
        }
        if peer.settings().check.is_some() {
            watches.spawn(check_for_ever(Arc::clone(&desk), target.clone()));
        }
    }
    while watches.join_next().await.is_some() {}
    // A fault of ours: the service goes on, as do payments.
    std::future::pending().await
}

async fn let_go_for_ever(desk: Arc<Desk>) {
    loop {
        sleep(LET_GO).await;
        desk.upstreams.let_go();
        desk.outside.let_go();
        desk.shops.let_go();
    }
}

async fn look_up_for_ever(target: Target) {
    while let Some(peer) = target.peer() {
        // A task of its own: where the system refuses it a thread, tokio panics, and the look-up
        // after this one is to come all the same.
        let now = target.clone();
        let _ = tokio::spawn(async move { look_up(&now).await }).await;
        sleep(peer.settings().resolve_every).await;
    }
}

/// Looks the addresses of `target` up again.
pub async fn look_up(target: &Target) {
    if let Some(peer) = target.peer() {
        peer.look_up().await;
    }
}

async fn check_for_ever(desk: Arc<Desk>, target: Target) {
    while let Some(check) = target.peer().and_then(|peer| peer.settings().check.as_ref()) {
        self::check(&desk.upstreams, &target).await;
        sleep(check.every).await;
    }
}

/// Tries every address of `target` once, one after the other.
pub async fn check(upstreams: &Upstreams, target: &Target) {
    let Some(peer) = target.peer() else { return };
    if peer.addresses().is_empty() {
        peer.look_up().await;
    }
    for address in peer.addresses() {
        match checked(upstreams, target, peer, &address).await {
            Ok(()) => peer.is_well(&address),
            Err(reason) => peer.failed(&address, reason),
        }
    }
}

async fn checked(
    upstreams: &Upstreams,
    target: &Target,
    peer: &Peer,
    address: &Address,
) -> Result<(), &'static str> {
    let check = peer.settings().check.as_ref().map(|check| &check.kind);
    let (path, status) = match check {
        Some(CheckKind::Get { path, status }) => (Some(path.as_str()), *status),
        _ => (None, 0),
    };
    let answered = upstreams.probe(target, address.ip(), path).await;
    match answered.map_err(SendErrorKind::as_str)? {
        Some(other) if other != status => Err("check_status"),
        _ => Ok(()),
    }
}
