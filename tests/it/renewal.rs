//! Certificates and client authorities that are taken up when their files change, with no signal.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use portcullis_sandbox::ca::Identity;
use portcullis_sandbox::record::until;

use super::change::pay;
use super::house::House;
use super::line::Version;
use super::rotation::shown;

/// A file is looked at every two seconds, and taken up at the second look.
const SOON: Duration = Duration::from_secs(40);

/// As a key is taken: not open to every user.
fn write_key(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

impl House {
    fn tls_file(&self, name: &str) -> PathBuf {
        self.world.folder().join("tls").join(name)
    }

    /// Replaces a file as a careful program does: whole, by renaming.
    fn put(&self, name: &str, text: &str) {
        write_key(&self.tls_file("fresh"), text);
        std::fs::rename(self.tls_file("fresh"), self.tls_file(name)).unwrap();
    }

    fn renew(&self, listener: &str, identity: &Identity) {
        self.put(&format!("{listener}.pem"), &identity.certificate);
        self.put(&format!("{listener}.key"), &identity.key);
    }

    /// What the starts warned of, of certificates.
    fn warnings(&self) -> Vec<String> {
        let warned = self.events("warned").into_iter();
        let warnings = warned.map(|event| event["warning"].as_str().unwrap().to_owned());
        warnings.filter(|warning| warning.contains("certificate")).collect()
    }

    /// Waits for events of that name, by file alone.
    async fn taken_up(&self, event: &str, count: usize) {
        let there = || (self.events(event).len() >= count).then_some(());
        until(SOON, there).await.unwrap_or_else(|| panic!("{count} of {event}"));
    }
}

#[tokio::test]
async fn certificates_are_taken_up_from_their_files_while_payments_go_on() {
    let house = Arc::new(House::open().await);
    let done = Arc::new(AtomicBool::new(false));
    let payers = [Version::Http1, Version::Http2]
        .map(|version| tokio::spawn(pay(Arc::clone(&house), version, Arc::clone(&done))));
    let mut seen = vec![shown(&house).await];
    for round in 1..=3 {
        for listener in ["public", "private"] {
            house.renew(listener, &house.world.ca.localhost("its successor").unwrap());
        }
        house.taken_up("certificate_read", 2 * round).await;
        let now = shown(&house).await;
        assert!(!seen.contains(&now), "in round {round}");
        seen.push(now);
    }
    done.store(true, Ordering::SeqCst);
    for payer in payers {
        assert!(payer.await.unwrap() > 5, "nobody paid meanwhile");
    }
    assert!(house.events("reload_refused").is_empty());
    let certified = house.audited_soon("certified", 6).await;
    assert_eq!(certified.len(), 6);
    assert_eq!(house.metric("portcullis_changes_total{of=\"public\",outcome=\"taken\"}").await, 3);
}

#[tokio::test]
async fn a_pair_that_does_not_fit_is_refused_once_and_the_last_good_one_stays() {
    let house = House::open().await;
    let held = shown(&house).await;
    let next = house.world.ca.localhost("its successor").unwrap();
    house.put("public.pem", &next.certificate);
    house.taken_up("reload_refused", 1).await;
    // Two looks later nothing was said again.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let refused = house.events("reload_refused");
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(
        (&refused[0]["key"], &refused[0]["reason"]),
        (&"public.key".into(), &"mismatch".into())
    );
    assert_eq!(refused[0]["file"], house.tls_file("public.key").to_str().unwrap());
    assert_eq!(house.metric("portcullis_change_refused{of=\"public\"}").await, 1);
    assert_eq!(house.metric("portcullis_change_refused{of=\"private\"}").await, 0);
    assert_eq!(shown(&house).await, held);
    house.put("public.key", &next.key);
    house.taken_up("certificate_read", 1).await;
    assert_eq!(house.metric("portcullis_change_refused{of=\"public\"}").await, 0);
    assert_ne!(shown(&house).await, held);
}

#[tokio::test]
async fn a_certificate_that_is_valid_soon_is_taken_up_then() {
    let house = House::open().await;
    let held = shown(&house).await;
    house.renew("public", &house.world.ca.valid_in(Duration::from_secs(10)).unwrap());
    house.taken_up("reload_refused", 1).await;
    assert_eq!(house.events("reload_refused")[0]["reason"], "not_valid");
    assert_eq!(shown(&house).await, held);
    // Refused files are tried again after a quarter of a minute.
    house.taken_up("certificate_read", 1).await;
    assert_ne!(shown(&house).await, held);
    assert_eq!(house.events("reload_refused").len(), 1);
    assert_eq!(house.metric("portcullis_change_refused{of=\"public\"}").await, 0);
}

/// Kubernetes mounts a secret as links through `..data`, and replaces that link alone.
#[tokio::test]
async fn a_certificate_behind_links_is_taken_up_when_a_link_changes() {
    let house = House::open().await;
    let version = |name: &str| {
        let identity = house.world.ca.localhost(name).unwrap();
        std::fs::create_dir(house.tls_file(name)).unwrap();
        std::fs::write(house.tls_file(name).join("tls.crt"), &identity.certificate).unwrap();
        write_key(&house.tls_file(name).join("tls.key"), &identity.key);
    };
    version("..1");
    symlink("..1", house.tls_file("..data")).unwrap();
    for file in ["tls.crt", "tls.key"] {
        symlink(format!("..data/{file}"), house.tls_file(file)).unwrap();
    }
    let text = house.config_text();
    let text =
        text.replace("tls/public.pem", "tls/tls.crt").replace("tls/public.key", "tls/tls.key");
    house.change(&text).await;
    house.taken_up("certificate_read", 1).await;
    let held = shown(&house).await;
    // What is in use was looked at, twice.
    tokio::time::sleep(Duration::from_secs(5)).await;
    version("..2");
    symlink("..2", house.tls_file("..fresh")).unwrap();
    std::fs::rename(house.tls_file("..fresh"), house.tls_file("..data")).unwrap();
    std::fs::remove_dir_all(house.tls_file("..1")).unwrap();
    house.taken_up("certificate_read", 2).await;
    assert_ne!(shown(&house).await, held);
    assert!(house.events("reload_refused").is_empty());
}

#[tokio::test]
async fn a_key_that_every_user_can_read_is_not_taken_up() {
    let house = House::open().await;
    let held = shown(&house).await;
    let identity = house.world.ca.localhost("open").unwrap();
    house.renew("public", &identity);
    let key = house.tls_file("public.key");
    std::fs::set_permissions(&key, Permissions::from_mode(0o604)).unwrap();
    house.taken_up("reload_refused", 1).await;
    let refused = &house.events("reload_refused")[0];
    assert_eq!((&refused["reason"], &refused["key"]), (&"unusable".into(), &"public.key".into()));
    assert_eq!(shown(&house).await, held);
}

#[tokio::test]
async fn a_start_with_a_certificate_that_is_not_valid_says_so_and_serves() {
    let mut house = House::open().await;
    assert!(house.warnings().is_empty(), "{:?}", house.warnings());
    house.world.stop_proxy().await;
    let later = Duration::from_secs(3_600);
    house.renew("private", &house.world.ca.valid_in(later).unwrap());
    house.world.start_proxy().await.unwrap();
    assert_eq!(house.warnings(), ["private_certificate_not_valid"]);
    house.assert_alive().await;
}
