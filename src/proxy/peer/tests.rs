//! Orders of addresses, and what becomes of them when names move.

use super::*;

const ANY: AddressPolicy = AddressPolicy { allow_private: true };

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A host whose look-ups find what is in the cell; nothing means that they fail.
fn looked_up(check: Option<Check>) -> (Peer, Arc<Mutex<Vec<IpAddr>>>) {
    let found = Arc::new(Mutex::new(Vec::new()));
    let cell = Arc::clone(&found);
    let names: Names = Arc::new(move |_| {
        let found: Vec<_> = cell.lock().unwrap().clone();
        Box::pin(
            async move { if found.is_empty() { Err(io::Error::other("")) } else { Ok(found) } },
        )
    });
    let settings = PeerSettings { names, check, ..PeerSettings::default() };
    (Peer::new("provider.test".into(), "provider.test", settings, None), found)
}

async fn order(peer: &Peer) -> Vec<String> {
    let found = peer.candidates(ANY).await.unwrap();
    found.iter().map(|address| address.shown()).collect()
}

fn address(peer: &Peer, ip: &str) -> Arc<Address> {
    let ip: IpAddr = ip.parse().unwrap();
    peer.addresses().into_iter().find(|address| address.ip == Some(ip)).unwrap()
}

fn take_down(peer: &Peer, ip: &str) {
    (0..3).for_each(|_| peer.failed(&address(peer, ip), "connect"));
}

#[tokio::test]
async fn addresses_take_turns_and_the_two_kinds_alternate() {
    let (peer, found) = looked_up(None);
    *found.lock().unwrap() = ips(&["2a00::1", "2a00::2", "9.9.9.1", "9.9.9.2", "9.9.9.3"]);
    assert_eq!(order(&peer).await, ["2a00::1", "9.9.9.1", "2a00::2", "9.9.9.2"]);
    assert_eq!(order(&peer).await, ["2a00::2", "9.9.9.2", "2a00::1", "9.9.9.3"]);
    // The resolver puts first what this machine can reach.
    *found.lock().unwrap() = ips(&["9.9.9.1", "2a00::1"]);
    peer.look_up().await;
    for _ in 0..3 {
        assert_eq!(order(&peer).await, ["9.9.9.1", "2a00::1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_address_that_fails_comes_last_until_its_time_has_passed() {
    let (peer, found) = looked_up(None);
    *found.lock().unwrap() = ips(&["9.9.9.1", "9.9.9.2"]);
    peer.look_up().await;
    take_down(&peer, "9.9.9.1");
    for _ in 0..3 {
        assert_eq!(order(&peer).await, ["9.9.9.2", "9.9.9.1"]);
    }
    tokio::time::advance(HealthRules::default().first).await;
    let firsts = [order(&peer).await[0].clone(), order(&peer).await[0].clone()];
    assert!(firsts.contains(&"9.9.9.1".to_owned()), "it is never tried again: {firsts:?}");
    // All are out: the one that comes back first is tried first.
    take_down(&peer, "9.9.9.1");
    take_down(&peer, "9.9.9.2");
    assert_eq!(order(&peer).await, ["9.9.9.2", "9.9.9.1"]);
}

#[tokio::test(start_paused = true)]
async fn where_checks_are_made_only_a_check_brings_an_address_back() {
    let check = Check { every: Duration::from_secs(5), kind: CheckKind::Connect };
    let (peer, found) = looked_up(Some(check));
    *found.lock().unwrap() = ips(&["9.9.9.1", "9.9.9.2"]);
    peer.look_up().await;
    take_down(&peer, "9.9.9.1");
    tokio::time::advance(HealthRules::default().longest).await;
    peer.connected(&address(&peer, "9.9.9.1"));
    for _ in 0..2 {
        assert_eq!(order(&peer).await, ["9.9.9.2", "9.9.9.1"]);
    }
    peer.is_well(&address(&peer, "9.9.9.1"));
    let firsts = [order(&peer).await[0].clone(), order(&peer).await[0].clone()];
    assert!(firsts.contains(&"9.9.9.1".to_owned()), "{firsts:?}");
}

#[tokio::test]
async fn a_changed_answer_is_taken_over_and_a_failed_look_up_changes_nothing() {
    let (peer, found) = looked_up(None);
    assert_eq!(peer.candidates(ANY).await.err(), Some(SendErrorKind::Resolve));
    *found.lock().unwrap() = ips(&["9.9.9.1", "9.9.9.2"]);
    assert_eq!(order(&peer).await, ["9.9.9.1", "9.9.9.2"]);
    let [first, second] = ["9.9.9.1", "9.9.9.2"].map(|ip| address(&peer, ip));
    found.lock().unwrap().clear();
    peer.look_up().await;
    assert_eq!(peer.addresses().len(), 2);
    assert!(!first.is_gone() && !second.is_gone());
    *found.lock().unwrap() = ips(&["9.9.9.2", "9.9.9.3"]);
    peer.look_up().await;
    assert!(first.is_gone() && !second.is_gone());
    assert!(Arc::ptr_eq(&second, &address(&peer, "9.9.9.2")), "what is known of it is kept");
    // Numbers stay with their addresses, and one that was in use is not given to another at once.
    let labels = |ip| address(&peer, ip).label.clone();
    assert_eq!([labels("9.9.9.2"), labels("9.9.9.3")], ["1", "2"]);
}

#[tokio::test]
async fn a_look_up_that_panics_is_one_that_failed() {
    let found = Arc::new(Mutex::new(Err("no thread")));
    let cell = Arc::clone(&found);
    let names: Names = Arc::new(move |_| {
        let found = cell.lock().unwrap().clone();
        Box::pin(async move { Ok(found.unwrap()) })
    });
    let settings = PeerSettings { names, ..PeerSettings::default() };
    let peer = Peer::new("provider.test".into(), "provider.test", settings, None);
    assert_eq!(peer.candidates(ANY).await.err(), Some(SendErrorKind::Resolve));
    *found.lock().unwrap() = Ok(ips(&["9.9.9.1"]));
    assert_eq!(order(&peer).await, ["9.9.9.1"]);
    *found.lock().unwrap() = Err("no thread");
    peer.look_up().await;
    assert_eq!(order(&peer).await, ["9.9.9.1"], "the last ones stay");
}

#[tokio::test]
async fn private_addresses_are_left_out_where_they_are_not_allowed() {
    let (peer, found) = looked_up(None);
    *found.lock().unwrap() = ips(&["10.0.0.1", "9.9.9.1", "::1"]);
    let strict = AddressPolicy { allow_private: false };
    let allowed = peer.candidates(strict).await.unwrap();
    assert_eq!(allowed.iter().filter_map(|a| a.ip()).collect::<Vec<_>>(), ips(&["9.9.9.1"]));
    *found.lock().unwrap() = ips(&["10.0.0.1"]);
    peer.look_up().await;
    assert_eq!(peer.candidates(strict).await.err(), Some(SendErrorKind::PrivateAddress));
}

#[tokio::test]
async fn no_more_addresses_are_kept_than_the_bound() {
    let (peer, found) = looked_up(None);
    *found.lock().unwrap() = (0..200).map(|last| IpAddr::from([9, 9, 9, last])).collect();
    peer.look_up().await;
    assert_eq!((peer.addresses().len(), order(&peer).await.len()), (KEPT_MAX, TRIED_MAX));
}

#[tokio::test]
async fn a_name_that_is_left_to_the_proxy_is_looked_up_by_nobody() {
    let names: Names = Arc::new(|_| Box::pin(async { panic!("looked up") }));
    let settings = PeerSettings { names, by_name: true, ..PeerSettings::default() };
    let peer = Peer::new("provider.test".into(), "provider.test", settings, None);
    peer.look_up().await;
    assert_eq!(order(&peer).await, [BY_NAME]);
    // Nobody could say whether it is public.
    let strict = AddressPolicy { allow_private: false };
    assert_eq!(peer.candidates(strict).await.err(), Some(SendErrorKind::PrivateAddress));
}

fn followed(peer: &Arc<Peer>, change: impl FnOnce(&mut PeerSettings)) -> Arc<Peer> {
    let mut settings = peer.settings().clone();
    change(&mut settings);
    peer.successor(settings, None)
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_host_outlives_a_change_of_the_configuration() {
    let (peer, found) = looked_up(None);
    let peer = Arc::new(peer);
    *found.lock().unwrap() = ips(&["9.9.9.1", "9.9.9.2"]);
    peer.look_up().await;
    take_down(&peer, "9.9.9.1");
    let known = [address(&peer, "9.9.9.1"), address(&peer, "9.9.9.2")];
    assert!(Arc::ptr_eq(&followed(&peer, |_| {}), &peer), "nothing changed");
    // Other settings, and a resolver that is down: the addresses stay, and how they have been.
    *found.lock().unwrap() = Vec::new();
    let next = followed(&peer, |settings| settings.resolve_every *= 2);
    next.look_up().await;
    assert_eq!(order(&next).await, ["9.9.9.2", "9.9.9.1"]);
    assert!(known.iter().all(|address| !address.is_gone()));
    // What began before learns nothing more, and whoever follows does.
    *found.lock().unwrap() = ips(&["9.9.9.2", "9.9.9.3"]);
    peer.look_up().await;
    assert!(known.iter().all(|address| !address.is_gone()));
    next.look_up().await;
    assert_eq!(known.each_ref().map(|address| address.is_gone()), [true, false]);
    assert_eq!(order(&peer).await, ["9.9.9.2", "9.9.9.1"]);
}

#[tokio::test]
async fn what_a_configuration_takes_out_is_gone_and_so_is_what_is_found_another_way() {
    let (peer, found) = looked_up(None);
    *found.lock().unwrap() = ips(&["9.9.9.1"]);
    peer.look_up().await;
    let by_look_up = address(&peer, "9.9.9.1");
    let two = followed(&Arc::new(peer), |s| s.addresses = ips(&["9.9.9.1", "9.9.9.2"]));
    assert!(by_look_up.is_gone(), "what was looked up has another name");
    let configured = [address(&two, "9.9.9.1"), address(&two, "9.9.9.2")];
    let one = followed(&two, |settings| settings.addresses = ips(&["9.9.9.2"]));
    assert_eq!(configured.each_ref().map(|address| address.is_gone()), [true, false]);
    let by_proxy = followed(&one, |settings| {
        settings.addresses.clear();
        settings.by_name = true;
    });
    assert!(configured[1].is_gone());
    assert_eq!(order(&by_proxy).await, ["by_name"]);
    by_proxy.leave();
    assert!(by_proxy.addresses().iter().all(|address| address.is_gone()));
}

#[tokio::test]
async fn a_request_that_began_before_its_host_was_left_finds_an_address_for_itself_alone() {
    let (peer, found) = looked_up(None);
    peer.leave();
    *found.lock().unwrap() = ips(&["9.9.9.1"]);
    assert_eq!(order(&peer).await, ["9.9.9.1"]);
    assert!(address(&peer, "9.9.9.1").is_gone(), "a connection to it is not kept");
}
