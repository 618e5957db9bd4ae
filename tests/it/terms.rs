//! What exchanges are held to, for all hosts and for one: each deadline ends what it is for, and
//! the application is told whether anything left; unused connections are as many, and as old, as
//! they may be.

use std::time::{Duration, Instant};

use portcullis_sandbox::corefy::faults;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::gate::{End, Fault, GOOD, Gate};
use super::house::{House, assert_problem};
use super::line::Version;

/// Far longer than any deadline below, and what all exchanges are held to without them.
const LONG: Duration = Duration::from_secs(8);

struct Case {
    fault: Fault,
    key: &'static str,
    /// The reason in the log, when no connection came about.
    reason: Option<&'static str>,
}

const CASES: [Case; 3] = [
    Case {
        fault: Fault::Unanswered,
        key: "connect_timeout_ms = 1000",
        reason: Some("connect_timeout"),
    },
    Case {
        fault: Fault::SilentHandshake,
        key: "tls_timeout_ms = 1000",
        reason: Some("tls_timeout"),
    },
    Case {
        fault: Fault::Says(Duration::ZERO, b"", End::Silence),
        key: "total_timeout_ms = 1000",
        reason: None,
    },
];

/// A house with a gate that fails, and its configuration with long deadlines.
async fn stage() -> (House, Gate, String) {
    let gate = Gate::open().await;
    let adjust = Some(gate.adjust(true));
    let house = House::with(Options { adjust, upstream_timeout: LONG, ..Options::default() }).await;
    gate.speaks(Some(&house.world.ca));
    let text = house.config_text().replace("\nconnect_timeout_ms = 1000\n", "\n");
    let text = text.replacen("[upstream]\n", "[upstream]\ndown_after_failures = 1\n", 1);
    (house, gate, text)
}

/// A sale that fails as the case says, within its deadline; the same tokens pay if nothing left.
async fn fails(house: &House, gate: &mut Gate, case: &Case) {
    let ready = house.ready("paymega").await;
    gate.hang_up().await;
    gate.set(case.fault).await;
    let (before, begun) = (gate.reached(), Instant::now());
    let mut line = house.private(Version::Http1).await;
    let answer = line.send(&ready.ask()).await;
    let took = begun.elapsed();
    let reached = gate.reached().whole - before.whole;
    gate.set(Fault::None).await;
    assert!(took > Duration::from_millis(990) && took < LONG / 2, "{} took {took:?}", case.key);
    let Some(reason) = case.reason else {
        let problem = assert_problem(&answer, 504, "upstream_silent", "unknown");
        assert_eq!((&problem["retry"], reached), (&"unsafe".into(), 1), "{}", case.key);
        return;
    };
    let problem = assert_problem(&answer, 502, "upstream_unreachable", "no");
    assert_eq!((&problem["retry"], reached), (&"safe".into(), 0), "{}", case.key);
    let is_told = || house.events("upstream_down").iter().any(|event| event["reason"] == reason);
    let told = until(LONG, || is_told().then_some(())).await;
    told.unwrap_or_else(|| panic!("no upstream_down because of {reason}"));
    let answer = line.send(&ready.ask()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn each_deadline_of_all_hosts_ends_what_it_is_for() {
    let (house, mut gate, text) = stage().await;
    for case in &CASES {
        let all = text.replace("\ntotal_timeout_ms = 8000\n", "\n");
        let own = format!("[upstream]\n{}\n", case.key);
        house.change(&all.replacen("[upstream]\n", &own, 1)).await;
        fails(&house, &mut gate, case).await;
    }
}

#[tokio::test]
async fn each_deadline_of_a_host_ends_what_it_is_for_and_no_other_host_has_it() {
    let (house, mut gate, text) = stage().await;
    let host = format!("\n[[upstream.host]]\nhost = \"localhost:{}\"\n", gate.port());
    for case in &CASES {
        house.change(&format!("{text}{host}{}\n", case.key)).await;
        fails(&house, &mut gate, case).await;
        let slow = faults::Fault::Slow(Duration::from_millis(600));
        house.world.paymega.faults().set("payment-invoices.create", slow);
        let invoice = house.invoice("paymega", App::Shop);
        let answer = house.private(Version::Http1).await.send(&invoice).await;
        house.world.paymega.faults().clear();
        assert_eq!(answer.status, 201, "{}: {}", case.key, answer.text());
    }
}

#[tokio::test]
async fn a_deadline_of_a_host_may_be_longer_than_that_of_all() {
    let (house, mut gate, text) = stage().await;
    let text = text.replace("\ntotal_timeout_ms = 8000\n", "\ntotal_timeout_ms = 1000\n");
    let host = format!("\n[[upstream.host]]\nhost = \"localhost:{}\"\n", gate.port());
    house.change(&format!("{text}{host}total_timeout_ms = 8000\n")).await;
    let ready = house.ready("paymega").await;
    gate.set(Fault::Says(Duration::from_millis(2_000), GOOD, End::Keep)).await;
    let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

// ------------------------------------------------------------------------- unused connections

/// Sales at the same time; each is answered after all of them have begun.
async fn pay_at_once(house: &House, gate: &mut Gate, count: usize) {
    let mut begun = Vec::new();
    let before = gate.reached().whole;
    gate.set(Fault::Together(before + count)).await;
    for _ in 0..count {
        let ask = house.ready("paymega").await.ask();
        begun.push((house.private(Version::Http1).await, ask));
    }
    let mut sales = JoinSet::new();
    for (mut line, ask) in begun {
        sales.spawn(async move { line.send(&ask).await.status });
    }
    assert!(sales.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(gate.reached().whole, before + count);
}

async fn open_soon(gate: &Gate, count: usize) {
    let there = || (gate.open_now() == count).then_some(());
    let seen = until(LONG, there).await;
    seen.unwrap_or_else(|| panic!("{} are open, not {count}", gate.open_now()));
}

#[tokio::test]
async fn as_many_unused_connections_to_a_host_are_kept_as_its_key_says() {
    let (house, mut gate, text) = stage().await;
    let all = text.replacen("[upstream]\n", "[upstream]\nkeep_alive_ms = 60000\n", 1);
    let host = format!("\n[[upstream.host]]\nhost = \"localhost:{}\"\n", gate.port());
    for (text, kept) in [
        (all.replacen("[upstream]\n", "[upstream]\nkeep_alive_connections = 3\n", 1), 3),
        (format!("{all}{host}keep_alive_connections = 1\n"), 1),
        (format!("{all}{host}keep_alive_connections = 0\n"), 0),
    ] {
        gate.hang_up().await;
        house.change(&text).await;
        let before = gate.reached().connections;
        pay_at_once(&house, &mut gate, 4).await;
        assert_eq!(gate.reached().connections, before + 4);
        open_soon(&gate, kept).await;
        // The kept ones are used, and no more are needed.
        pay_at_once(&house, &mut gate, kept.max(1)).await;
        let further = usize::from(kept == 0);
        assert_eq!(gate.reached().connections, before + 4 + further, "of {kept}");
        open_soon(&gate, kept).await;
    }
}

#[tokio::test]
async fn an_unused_connection_is_closed_when_its_time_is_over_and_not_before() {
    let (house, mut gate, text) = stage().await;
    let all = text.replacen("[upstream]\n", "[upstream]\nkeep_alive_ms = 700\n", 1);
    let host = format!("\n[[upstream.host]]\nhost = \"localhost:{}\"\n", gate.port());
    house.change(&all).await;
    let begun = Instant::now();
    pay_at_once(&house, &mut gate, 1).await;
    // Nothing is sent any more, and the other end sees it go all the same.
    open_soon(&gate, 0).await;
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(700) && took < LONG / 2, "{took:?}");
    house.change(&format!("{all}{host}keep_alive_ms = 60000\n")).await;
    let before = gate.reached().connections;
    pay_at_once(&house, &mut gate, 1).await;
    sleep(Duration::from_millis(1_600)).await;
    assert_eq!(gate.open_now(), 1);
    pay_at_once(&house, &mut gate, 1).await;
    assert_eq!(gate.reached().connections, before + 1);
}
