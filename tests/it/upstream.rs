//! Hosts with several addresses: which one a payment goes to, which are left out, and that none of
//! it sends anything twice.

use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::proxy::exchange::{AddressPolicy, Forwarded, SendErrorKind, Target, Upstreams};
use portcullis::proxy::peer::{Check, CheckKind, Names, PeerSettings, Told};
use portcullis::proxy::watch;
use portcullis::telemetry::{Format, Log, Metrics};
use portcullis_sandbox::client::Call;
use portcullis_sandbox::shop::own;
use portcullis_sandbox::world::Options;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::codec::support::{Authority, read_request};
use super::codec::upstream::{provider, sale, tls_provider, upstreams};
use super::house::{House, assert_problem};
use super::line::Version;
use super::upgrade::back_from_the_bank;

const ANY: AddressPolicy = AddressPolicy { allow_private: true };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CLOSING: &str = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
/// Loopback addresses on which nobody listens.
const DEAD: [&str; 2] = ["127.0.0.8", "127.0.0.9"];

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Listeners on several loopback addresses, all on one port.
async fn listen_on<const COUNT: usize>(ips: [&str; COUNT]) -> ([TcpListener; COUNT], u16) {
    loop {
        let first = TcpListener::bind((ips[0], 0)).await.unwrap();
        let port = first.local_addr().unwrap().port();
        let mut listeners = vec![first];
        for ip in &ips[1..] {
            listeners.extend(TcpListener::bind((*ip, port)).await);
        }
        if let Ok(all) = listeners.try_into() {
            return (all, port);
        }
    }
}

fn told() -> Told {
    let log = Arc::new(Log::start(Format::Off, None).unwrap());
    Told { log, metrics: Arc::new(Metrics::new(0).unwrap()) }
}

/// What the metric says of an address.
fn is_up(told: &Told, address: &str) -> Option<bool> {
    let text =
        String::from_utf8(told.metrics.text(&portcullis::telemetry::Levels::default())).unwrap();
    let line = text.lines().find(|line| {
        line.starts_with("portcullis_upstream_up") && line.contains(&format!("\"{address}\""))
    })?;
    Some(line.ends_with(" 1"))
}

fn fixed(port: u16, ips: &[&str], tls: bool) -> (Target, Told) {
    let addresses = ips.iter().map(|text| ip(text)).collect();
    let (settings, told) = (PeerSettings { addresses, ..PeerSettings::default() }, told());
    let target = Target::new("localhost", port, tls).unwrap();
    (target.watched(settings, Some(told.clone())), told)
}

/// A resolver that finds these until it is told otherwise; it is down while there are none.
fn resolver(ips: &[&str]) -> (Names, Arc<Mutex<Vec<IpAddr>>>) {
    let found: Arc<Mutex<Vec<_>>> = Arc::new(Mutex::new(ips.iter().map(|text| ip(text)).collect()));
    let cell = Arc::clone(&found);
    let names: Names = Arc::new(move |_| {
        let found = cell.lock().unwrap().clone();
        Box::pin(
            async move { if found.is_empty() { Err(io::Error::other("")) } else { Ok(found) } },
        )
    });
    (names, found)
}

async fn pays(upstreams: &Upstreams, target: &Target) {
    let answer = upstreams.send(target, ANY, sale()).await.unwrap();
    assert_eq!(answer.body.as_bytes(), b"ok");
}

// ------------------------------------------------------------------------- the shipped program

/// Paymega under a name that is known by addresses alone: all of it, or its card gate.
async fn house_at(addresses: &'static [&str], interface: &'static str) -> House {
    let adjust = Box::new(move |config: String| {
        let key = format!("{interface} = \"https://localhost:");
        let (_, port) = config.split_once(&key).unwrap();
        let port = port.split('/').next().unwrap().to_owned();
        let host = format!("{}:{port}", own::HOST);
        // The first account is Paymega's.
        let config = config.replacen(&key, &key.replace("localhost", own::HOST), 1);
        let config = config.replacen("[upstream]\n", "[upstream]\ndown_after_failures = 1\n", 1);
        format!("{config}\n[[upstream.host]]\nhost = \"{host}\"\naddresses = {addresses:?}\n")
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

async fn metrics(house: &House) -> String {
    let url = format!("{}/metrics", house.world.addresses.admin);
    house.world.client.send(Call::get(url)).await.unwrap().text()
}

#[tokio::test]
async fn with_one_of_two_addresses_dead_a_payment_goes_through_once() {
    let house = house_at(&["127.0.0.9", "127.0.0.1"], "cardgate").await;
    let mut line = house.private(Version::Http1).await;
    for _ in 0..2 {
        let ready = house.ready("paymega").await;
        house.assert_pays(&mut line, &ready).await;
    }
    assert_eq!(house.sales_received(), 2);
    let text = metrics(&house).await;
    for (address, up) in [("127.0.0.9", 0), ("127.0.0.1", 1)] {
        let told = format!("address=\"{address}\",host=\"{}:", own::HOST);
        let line =
            text.lines().find(|line| line.contains(&told)).unwrap_or_else(|| panic!("{text}"));
        assert!(line.ends_with(&format!(" {up}")), "{line}");
    }
    let down = &house.told_soon("upstream_down", 1).await[0];
    assert_eq!((&down["address"], &down["reason"]), (&"127.0.0.9".into(), &"connect".into()));
}

#[tokio::test]
async fn with_all_addresses_dead_nothing_is_sent_and_the_tokens_live() {
    let house = house_at(&DEAD, "cardgate").await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    for _ in 0..3 {
        let answer = line.send(&ready.ask()).await;
        let problem = assert_problem(&answer, 502, "upstream_unreachable", "no");
        assert_eq!(problem["retry"], "safe");
    }
    assert_eq!(house.sales_received(), 0);
}

#[tokio::test]
async fn a_return_goes_where_a_browser_would_whatever_the_configuration_says_of_the_host() {
    let house = House::open().await;
    let text = house.config_text();
    let back = back_from_the_bank(&house).await;
    // What the configuration says of the gate is for payments: its TermUrl has the same name.
    let (_, port) = text.split_once("cardgate = \"https://localhost:").unwrap();
    let port = port.split('/').next().unwrap();
    let host = format!("[[upstream.host]]\nhost = \"localhost:{port}\"");
    let own = format!("\n{host}\naddresses = [\"127.0.0.9\"]\nserver_name = \"other.test\"\n");
    house.change(&text.replacen("[upstream]\n", "[upstream]\ndown_after_failures = 1\n", 1)).await;
    house.change(&(text + &own)).await;
    let returned = house.public(Version::Http1).await.send(&back).await;
    assert!(returned.status < 400, "{} {}", returned.status, returned.text());
    assert_eq!(house.world.paymega.received().count("3ds-return"), 1);
    assert!(house.events("upstream_down").is_empty(), "a return judged an address of payments");
}

// ------------------------------------------------------------------------- the way out alone

#[tokio::test]
async fn connections_take_turns_among_the_addresses() {
    let ([first, second], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let counts = [first, second].map(|listener| provider(listener, CLOSING));
    let (target, _) = fixed(port, &["127.0.0.2", "127.0.0.3"], false);
    let upstreams = upstreams(&Authority::new());
    for _ in 0..6 {
        pays(&upstreams, &target).await;
    }
    assert_eq!(counts.map(|count| count.load(Ordering::SeqCst)), [3, 3]);
}

#[tokio::test]
async fn how_far_a_providers_clock_is_from_ours_is_a_metric() {
    let late =
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 2\r\n\r\nok";
    let ([first, second], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let (_, _) = (provider(first, late), provider(second, OK));
    let authority = Authority::new();
    let skew = |told: &Told| {
        let levels = portcullis::telemetry::Levels::default();
        let text = String::from_utf8(told.metrics.text(&levels)).unwrap();
        let name = format!("portcullis_clock_skew_seconds{{host=\"localhost:{port}\"}} ");
        text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<i64>().ok())
    };
    let (target, told) = fixed(port, &["127.0.0.3"], false);
    pays(&upstreams(&authority), &target).await;
    assert_eq!(skew(&told), None, "an answer without a date");
    let (target, told) = fixed(port, &["127.0.0.2"], false);
    pays(&upstreams(&authority), &target).await;
    assert_eq!(skew(&told), Some(-86_400), "a day at most");
    // The simulators' clock is this machine's.
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    let text = metrics(&house).await;
    let told = text.lines().filter(|line| line.starts_with("portcullis_clock_skew_seconds{"));
    let told: Vec<i64> =
        told.map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap()).collect();
    assert!(!told.is_empty() && told.iter().all(|seconds| seconds.abs() <= 1), "{told:?}");
}

#[tokio::test]
async fn a_request_of_which_a_byte_left_goes_to_no_other_address() {
    let ([first, second], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let (seen, other) = (Arc::new(AtomicUsize::new(0)), provider(second, OK));
    let count = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = first.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            read_request(&mut stream).await;
        }
    });
    let (target, _) = fixed(port, &["127.0.0.2", "127.0.0.3"], false);
    let error = upstreams(&Authority::new()).send(&target, ANY, sale()).await.err().unwrap();
    assert_eq!((error.forwarded, error.kind), (Forwarded::Unknown, SendErrorKind::Reset));
    assert_eq!((seen.load(Ordering::SeqCst), other.load(Ordering::SeqCst)), (1, 0));
}

#[tokio::test]
async fn an_address_with_a_wrong_certificate_is_passed_over_and_taken_out() {
    let authority = Authority::new();
    authority.issue("other", &["other.example"]);
    authority.issue("provider", &["localhost"]);
    let ([first, second], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let mut wrong = tls_provider(&authority, "other", first, true, CLOSING);
    let mut right = tls_provider(&authority, "provider", second, true, CLOSING);
    let (target, told) = fixed(port, &["127.0.0.2", "127.0.0.3"], true);
    let upstreams = upstreams(&authority);
    for paid in 0..6 {
        assert_eq!(is_up(&told, "127.0.0.2"), Some(paid < 5), "{paid}");
        pays(&upstreams, &target).await;
        right.recv().await.unwrap();
    }
    assert!(wrong.try_recv().is_err() && right.try_recv().is_err());
    assert_eq!(is_up(&told, "127.0.0.3"), Some(true));
}

#[tokio::test]
async fn a_check_takes_an_address_out_and_brings_it_back() {
    let healthy = Arc::new(Mutex::new(true));
    let ([first, second], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let state = Arc::clone(&healthy);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let heads = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = first.accept().await {
            let head = String::from_utf8(read_request(&mut stream).await).unwrap();
            let well = *state.lock().unwrap() || head.starts_with("POST");
            heads.lock().unwrap().push(head);
            let status = if well { "200 OK" } else { "503 Away" };
            let answer =
                format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    provider(second, CLOSING);
    let kind = CheckKind::Get { path: "/up?deep=1".to_owned(), status: 200 };
    let settings = PeerSettings {
        addresses: vec![ip("127.0.0.2"), ip("127.0.0.3")],
        check: Some(Check { every: Duration::from_secs(1), kind }),
        ..PeerSettings::default()
    };
    let told = told();
    let target = Target::new("localhost", port, false).unwrap();
    let target = target.watched(settings, Some(told.clone()));
    let upstreams = upstreams(&Authority::new());
    let ups = || (is_up(&told, "127.0.0.2"), is_up(&told, "127.0.0.3"));
    for (well, expected) in [(true, true), (false, true), (false, true), (false, false)] {
        *healthy.lock().unwrap() = well;
        watch::check(&upstreams, &target).await;
        // Payments that it accepts in between do not count.
        pays(&upstreams, &target).await;
        pays(&upstreams, &target).await;
        assert_eq!(ups(), (Some(expected), Some(true)));
    }
    let before = asked.lock().unwrap().len();
    for _ in 0..4 {
        pays(&upstreams, &target).await;
    }
    assert_eq!(asked.lock().unwrap().len(), before, "it is out, and got a payment");
    *healthy.lock().unwrap() = true;
    watch::check(&upstreams, &target).await;
    assert_eq!(ups(), (Some(true), Some(true)));
    let asked = asked.lock().unwrap();
    let check = asked.iter().find(|head| head.starts_with("GET")).unwrap();
    let expected = format!(
        "GET /up?deep=1 HTTP/1.1\r\nhost: localhost:{port}\r\naccept-encoding: identity\r\n\r\n"
    );
    assert_eq!(*check, expected, "nothing else, no credential among it");
}

#[tokio::test]
async fn a_check_that_only_connects_sends_nothing() {
    let ([only], port) = listen_on(["127.0.0.2"]).await;
    let settings = PeerSettings {
        addresses: vec![ip("127.0.0.2"), ip("127.0.0.3")],
        check: Some(Check { every: Duration::from_secs(1), kind: CheckKind::Connect }),
        ..PeerSettings::default()
    };
    let told = told();
    let target = Target::new("localhost", port, false).unwrap();
    let target = target.watched(settings, Some(told.clone()));
    let upstreams = upstreams(&Authority::new());
    for _ in 0..3 {
        watch::check(&upstreams, &target).await;
        let (mut stream, _) = only.accept().await.unwrap();
        let mut got = Vec::new();
        stream.read_to_end(&mut got).await.unwrap();
        assert!(got.is_empty());
    }
    assert_eq!((is_up(&told, "127.0.0.2"), is_up(&told, "127.0.0.3")), (Some(true), Some(false)));
}

#[tokio::test]
async fn a_change_keeps_what_is_known_of_a_host_and_a_move_still_ends_pooled_connections() {
    let ([old, new], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let [old, new] = [old, new].map(|listener| provider(listener, OK));
    let (names, found) = resolver(&["127.0.0.2"]);
    let settings = |every| {
        let resolve_every = Duration::from_secs(every);
        PeerSettings { names: names.clone(), resolve_every, ..PeerSettings::default() }
    };
    let (told, upstreams) = (told(), upstreams(&Authority::new()));
    let connections = || [&old, &new].map(|count| count.load(Ordering::SeqCst));
    let target = || Target::new("provider.test", port, false).unwrap();
    let mut before = target().watched(settings(30), Some(told.clone()));
    pays(&upstreams, &before).await;
    // The resolver is down from here on, and the configuration changes: first nothing of the host.
    found.lock().unwrap().clear();
    for every in [30, 40, 50] {
        before = target().following(&before, settings(every), Some(told.clone()));
        upstreams.close_astray();
        pays(&upstreams, &before).await;
        assert_eq!(connections(), [1, 0], "known, and connected to");
    }
    *found.lock().unwrap() = vec![ip("127.0.0.3")];
    watch::look_up(&before).await;
    pays(&upstreams, &before).await;
    assert_eq!(connections(), [1, 1], "the connection from before the changes is used no more");
    assert_eq!((is_up(&told, "0"), is_up(&told, "1")), (None, Some(true)));
}

#[tokio::test]
async fn a_name_that_moves_takes_new_connections_along_and_pooled_ones_end() {
    let ([old, new], port) = listen_on(["127.0.0.2", "127.0.0.3"]).await;
    let [old, new] = [old, new].map(|listener| provider(listener, OK));
    let (names, found) = resolver(&["127.0.0.2"]);
    let settings = PeerSettings { names, ..PeerSettings::default() };
    let told = told();
    let target = Target::new("provider.test", port, false).unwrap();
    let target = target.watched(settings, Some(told.clone()));
    let upstreams = upstreams(&Authority::new());
    let connections = || [&old, &new].map(|count| count.load(Ordering::SeqCst));
    for moved in [vec![ip("127.0.0.2")], Vec::new()] {
        pays(&upstreams, &target).await;
        *found.lock().unwrap() = moved;
        watch::look_up(&target).await;
        pays(&upstreams, &target).await;
        assert_eq!(connections(), [1, 0], "the pooled connection stays where the name leads");
    }
    *found.lock().unwrap() = vec![ip("127.0.0.3")];
    pays(&upstreams, &target).await;
    assert_eq!(connections(), [1, 0], "nobody looks up while a payment waits");
    watch::look_up(&target).await;
    pays(&upstreams, &target).await;
    pays(&upstreams, &target).await;
    assert_eq!(connections(), [1, 1]);
    assert_eq!((is_up(&told, "0"), is_up(&told, "1")), (None, Some(true)));
    // T9: the address is judged where it is dialled, however the name was known before.
    let strict = AddressPolicy { allow_private: false };
    let error = upstreams.send(&target, strict, sale()).await.err().unwrap();
    assert_eq!((error.forwarded, error.kind), (Forwarded::No, SendErrorKind::PrivateAddress));
}
