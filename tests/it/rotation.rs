//! What SIGHUP changes while payments go on: root keys and certificates.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::house::{House, Ready, assert_problem};
use super::keys::Keyed;
use super::line::Version;

impl House {
    /// How often the configuration was read again, well or not.
    fn reloads(&self) -> usize {
        ["configuration_read", "reload_refused"].map(|name| self.events(name).len()).iter().sum()
    }

    /// Sends SIGHUP and waits until everything was read again.
    async fn hang_up(&self) {
        self.hang_up_at(self.pid()).await;
    }

    pub(super) async fn hang_up_at(&self, pid: u32) {
        let before = self.reloads();
        kill(Pid::from_raw(pid.cast_signed()), Signal::SIGHUP).unwrap();
        for _ in 0..1000 {
            if self.reloads() > before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("SIGHUP was not answered");
    }

    pub(super) fn last(&self, name: &str) -> Value {
        let mut event = self.events(name).pop().unwrap();
        event.as_object_mut().unwrap().remove("time_ms");
        event
    }

    async fn pays(&self, ready: &Ready) {
        self.assert_pays(&mut self.private(Version::Http1).await, ready).await;
    }
}

/// The certificate that the public listener shows.
pub(super) async fn shown(house: &House) -> Vec<u8> {
    let authority = house.world.addresses.public.trim_start_matches("https://");
    let stream = TcpStream::connect(authority).await.unwrap();
    let connector = TlsConnector::from(house.tls().config(Version::Http1));
    let stream = connector.connect("localhost".try_into().unwrap(), stream).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].to_vec()
}

impl Keyed {
    pub(super) async fn hang_up(&self) {
        self.house.hang_up().await;
    }
}

/// Pays until told to stop; returns how often.
async fn traffic(keyed: Arc<Keyed>, version: Version, done: Arc<AtomicBool>) -> usize {
    let mut private = keyed.house.private(version).await;
    let mut paid = 0;
    while !done.load(Ordering::SeqCst) {
        let ready = keyed.house.ready("paymega").await;
        keyed.house.assert_pays(&mut private, &ready).await;
        paid += 1;
    }
    paid
}

#[tokio::test]
async fn a_new_root_key_seals_and_the_old_one_opens_while_payments_go_on() {
    let mut keyed = Keyed::open().await;
    keyed.keygen("2.key");
    let old = keyed.house.ready("paymega").await;
    let lost = keyed.house.ready("paymega").await;

    let done = Arc::new(AtomicBool::new(false));
    let keyed = Arc::new(keyed);
    let payers = Version::BOTH
        .map(|version| tokio::spawn(traffic(Arc::clone(&keyed), version, Arc::clone(&done))));
    keyed.name(&[(1, "1.key"), (2, "2.key")]);
    keyed.hang_up().await;
    let read = json!({ "event": "root_keys_read", "current": 2, "older": [1] });
    assert_eq!(keyed.house.last("root_keys_read"), read);
    let ids = keyed.house.audited_soon("keyed", 2).await;
    assert_ne!(ids[0]["key_id"], ids[1]["key_id"]);
    let new = keyed.house.ready("paymega").await;
    keyed.house.pays(&old).await;
    done.store(true, Ordering::SeqCst);
    for payer in payers {
        assert!(payer.await.unwrap() > 0);
    }

    keyed.name(&[(2, "2.key")]);
    keyed.hang_up().await;
    let read = json!({ "event": "root_keys_read", "current": 2, "older": [] });
    assert_eq!(keyed.house.last("root_keys_read"), read);
    let removed = keyed.house.last("root_key_removed");
    assert_eq!(removed["version"], 1);
    assert!(removed["live_records"].as_u64().unwrap() >= 3, "card, code and handle: {removed}");
    keyed.house.pays(&new).await;
    let sent = keyed.house.received();
    let answer = keyed.house.private(Version::Http1).await.send(&lost.ask()).await;
    assert_problem(&answer, 401, "handle_unknown", "no");
    assert_eq!(keyed.house.received(), sent);
    assert_eq!(keyed.house.audited("keyed").len(), 2, "the same key seals");
}

#[tokio::test]
async fn a_removed_root_key_takes_the_card_along_and_not_the_way_to_the_provider() {
    let mut keyed = Keyed::open().await;
    keyed.keygen("2.key");
    let card = keyed.house.ready("paymega").await;
    keyed.name(&[(2, "2.key")]);
    keyed.hang_up().await;
    // The old token, with an invoice and a handle of now.
    let now = keyed.house.ready("paymega").await;
    let mixed = Ready { tokens: card.tokens, ..now.clone() };
    let sent = keyed.house.sales_received();
    let answer = keyed.house.private(Version::Http1).await.send(&mixed.ask()).await;
    assert_problem(&answer, 422, "token_unknown", "no");
    assert_eq!(keyed.house.sales_received(), sent);
    keyed.house.pays(&now).await;
}

#[tokio::test]
async fn a_change_that_cannot_be_used_leaves_everything_as_it_is() {
    let mut keyed = Keyed::open().await;
    keyed.keygen("2.key");
    std::fs::write(keyed.path("text.key"), "a canary, and no root key").unwrap();
    std::fs::set_permissions(keyed.path("text.key"), Permissions::from_mode(0o600)).unwrap();
    std::fs::copy(keyed.path("2.key"), keyed.path("open.key")).unwrap();
    std::fs::set_permissions(keyed.path("open.key"), Permissions::from_mode(0o644)).unwrap();
    let ready = keyed.house.ready("paymega").await;
    let further = "vault.root_keys[0].key";
    let file = "vault.root_keys[0].key.file";
    let cases: [(&[_], _, _); 6] = [
        (&[(1, "1.key"), (2, "text.key")], further, "unusable"),
        (&[(1, "1.key"), (2, "absent.key")], file, "unusable"),
        (&[(1, "1.key"), (2, "open.key")], file, "unusable"),
        (&[(1, "1.key"), (2, "2.key"), (2, "2.key")], "vault.root_keys[1].version", "unusable"),
        (&[(1, "2.key")], "vault.root_key", "changed"),
        (&[], "vault.root_key", "missing"),
    ];
    for (index, (keys, key, reason)) in cases.into_iter().enumerate() {
        keyed.name(keys);
        keyed.hang_up().await;
        let refused = keyed.house.last("reload_refused");
        assert_eq!((&refused["key"], &refused["reason"]), (&json!(key), &json!(reason)));
        assert_eq!(keyed.house.events("reload_refused").len(), index + 1);
    }
    assert!(keyed.house.events("root_keys_read").is_empty());
    keyed.house.pays(&ready).await;
    assert!(!String::from_utf8(keyed.house.log()).unwrap().contains("canary"));

    keyed.name(&[(1, "1.key"), (2, "2.key")]);
    keyed.hang_up().await;
    assert_eq!(keyed.house.last("root_keys_read")["current"], 2);
}

#[tokio::test]
async fn a_certificate_is_replaced_while_serving_and_only_with_its_key() {
    let house = House::open().await;
    let other = house.world.ca.localhost("its successor").unwrap();
    let public = |name: &str| house.world.folder().join("tls").join(format!("public.{name}"));
    let held = shown(&house).await;

    std::fs::write(public("pem"), &other.certificate).unwrap();
    house.hang_up().await;
    let refused = house.last("reload_refused");
    assert_eq!((&refused["key"], &refused["reason"]), (&json!("public.key"), &json!("mismatch")));
    assert_eq!(shown(&house).await, held);

    std::fs::write(public("key"), &other.key).unwrap();
    house.hang_up().await;
    let listeners = house.events("certificate_read");
    let listeners: Vec<_> = listeners.iter().map(|event| &event["listener"]).collect();
    assert_eq!(listeners, ["public"], "the other one is what it was");
    assert_ne!(shown(&house).await, held);
    let ready = house.ready("paymega").await;
    house.pays(&ready).await;
}
