//! A provider in trouble: what the application is told, whether the CVV lives on, and that nothing
//! is ever sent twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use portcullis_sandbox::ca::Ca;
use portcullis_sandbox::corefy::Simulator;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::http::{Reply, Server};
use portcullis_sandbox::record::Recorder;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use super::house::{House, Ready, assert_problem};
use super::line::Version;

const STATUS_CALL: &str = "GET /payment-invoices/{id}";

/// Providers answer here within milliseconds, or not at all.
async fn impatient() -> House {
    let upstream_timeout = Duration::from_millis(400);
    House::with(Options { upstream_timeout, ..Options::default() }).await
}

/// A sale that nobody saw: said so, and the same tokens pay.
fn assert_nothing_sent(problem: &Value) {
    assert_eq!((&problem["retry"], &problem["origin"]), (&"safe".into(), &"upstream".into()));
    assert_eq!(problem["detail"], Value::Null, "there is nothing to ask the provider about");
}

/// The provider may have seen the sale: said so, and how to find out.
fn assert_in_doubt(problem: &Value) {
    assert_eq!((&problem["retry"], &problem["origin"]), (&"unsafe".into(), &"upstream".into()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(STATUS_CALL), "{detail}");
}

/// Takes a provider down and waits until its connections are closed, the pooled ones among them.
async fn go_down(provider: &Simulator) {
    let mut witness = TcpStream::connect(provider.authority()).await.unwrap();
    provider.down();
    let _ = witness.read(&mut [0]).await;
    while TcpStream::connect(provider.authority()).await.is_ok() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_provider_that_refuses_connections_costs_no_cvv() {
    let house = impatient().await;
    for version in Version::BOTH {
        for warm in [false, true] {
            let (ready, other) = (house.ready("paymega").await, house.ready("paymega").await);
            let mut line = house.private(version).await;
            if warm {
                // A connection to the card gate is in the pool, and is closed with the gate.
                house.assert_pays(&mut line, &other).await;
            }
            let before = house.sales_received();
            go_down(house.simulator("paymega")).await;
            for _ in 0..2 {
                let answer = line.send(&ready.ask()).await;
                let problem = assert_problem(&answer, 502, "upstream_unreachable", "no");
                assert_nothing_sent(&problem);
            }
            house.world.paymega.up().await.unwrap();
            assert_eq!(house.sales_received(), before, "{version:?} {warm}");
            house.assert_pays(&mut line, &ready).await;
            assert_eq!(house.sales_received(), before + 1, "{version:?} {warm}");
        }
    }
}

/// A card gate that listens with this certificate, and what it received.
async fn gate_of(ca: &Ca) -> (Server, Arc<Recorder>) {
    let received = Arc::new(Recorder::default());
    let recorder = Arc::clone(&received);
    let serve = move |request| {
        recorder.keep("sale", &request);
        std::future::ready(Reply::json(200, r#"{"status":"processed"}"#))
    };
    let listener = Server::bind(0).await.unwrap();
    let tls = ca.localhost("gate").unwrap().acceptor().unwrap();
    (Server::serve(listener, Some(tls), serve).unwrap(), received)
}

/// Points the card gate of `paymega-relay` elsewhere.
fn with_gate(config: &str, port: u16) -> String {
    let (before, account) = config.split_once("name = \"paymega-relay\"").unwrap();
    let (start, rest) = account.split_once("cardgate = \"").unwrap();
    let (_, end) = rest.split_once('"').unwrap();
    let url = format!("https://localhost:{port}/cardgate");
    format!("{before}name = \"paymega-relay\"{start}cardgate = \"{url}\"{end}")
}

#[tokio::test]
async fn a_certificate_of_a_foreign_authority_gets_no_card() {
    let (gate, received) = gate_of(&Ca::new().unwrap()).await;
    let port = gate.port();
    let adjust = Box::new(move |config: String| with_gate(&config, port));
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let ready = house.ready("paymega-relay").await;
    let mut line = house.private(Version::Http1).await;
    for _ in 0..2 {
        let answer = line.send(&ready.ask()).await;
        let problem = assert_problem(&answer, 502, "upstream_unreachable", "no");
        assert_nothing_sent(&problem);
    }
    assert!(received.all().is_empty(), "a stranger got the card");
    // The CVV was given back: the same tokens pay where the provider is itself.
    let invoice = house.invoice("paymega", App::Shop);
    let (invoice, handle) = super::house::invoice_of(&line.send(&invoice).await);
    let elsewhere = Ready { account: "paymega", invoice, handle, ..ready };
    house.assert_pays(&mut line, &elsewhere).await;
}

#[tokio::test]
async fn a_gate_that_only_moved_gets_the_card() {
    // The control of the test above: the same gate with a certificate of the right authority.
    let port = Arc::new(AtomicU16::new(0));
    let moved = Arc::clone(&port);
    let adjust = Box::new(move |config: String| match moved.load(Ordering::SeqCst) {
        0 => config,
        port => with_gate(&config, port),
    });
    let mut house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let (gate, received) = gate_of(&house.world.ca).await;
    port.store(gate.port(), Ordering::SeqCst);
    let _other = house.move_to_another("moved").await;
    let ready = house.ready("paymega-relay").await;
    let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(received.count("sale"), 1);
    assert_eq!(received.on("sale")[0].request.body, ready.body_with_card().as_bytes());
}

/// A fault after the provider has the sale: told as unknown, sent once, CVV gone for good.
async fn leaves_a_doubt(fault: Fault, status: u16, code: &str) {
    let house = impatient().await;
    for version in Version::BOTH {
        for warm in [false, true] {
            let (ready, other) = (house.ready("milkypay").await, house.ready("milkypay").await);
            let mut line = house.private(version).await;
            if warm {
                house.assert_pays(&mut line, &other).await;
            }
            let before = house.sales_received();
            house.world.milkypay.faults().set("sale", fault);
            let answer = line.send(&ready.ask()).await;
            house.world.milkypay.faults().clear();
            assert_in_doubt(&assert_problem(&answer, status, code, "unknown"));
            house.assert_charged_once(&ready);
            let again = line.send(&ready.ask()).await;
            let problem = assert_problem(&again, 422, "token_unknown", "no");
            assert_eq!(problem["field"], "/data/attributes/cvv");
            assert_eq!(house.sales_received(), before + 1, "{version:?} {warm}");
            // The status call that the answer named works, and tells.
            let read = line.send(&house.read("milkypay", &ready.invoice)).await;
            assert_eq!(read.json().unwrap()["data"]["attributes"]["status"], "processed");
        }
    }
    house.assert_alive().await;
}

#[tokio::test]
async fn a_silent_provider_leaves_the_outcome_unknown_and_burns_the_cvv() {
    leaves_a_doubt(Fault::Silent, 504, "upstream_silent").await;
}

#[tokio::test]
async fn a_provider_that_cuts_the_connection_leaves_the_outcome_unknown_and_burns_the_cvv() {
    leaves_a_doubt(Fault::Cut, 502, "upstream_broke_off").await;
}

#[tokio::test]
async fn half_an_answer_leaves_the_outcome_unknown_and_burns_the_cvv() {
    leaves_a_doubt(Fault::Half, 502, "upstream_broke_off").await;
}

#[tokio::test]
async fn an_invoice_in_doubt_names_the_call_that_finds_it() {
    let house = impatient().await;
    house.world.paymega.faults().set("payment-invoices.create", Fault::Silent);
    let mut line = house.private(Version::Http1).await;
    let answer = line.send(&house.invoice("paymega", App::Shop)).await;
    let problem = assert_problem(&answer, 504, "upstream_silent", "unknown");
    let detail = problem["detail"].as_str().unwrap();
    let call = "GET /payment-invoices/?filter[reference_id]={reference_id}";
    assert!(detail.contains(call), "{detail}");
    assert_eq!(house.world.paymega.received().count("payment-invoices.create"), 1);
}

#[tokio::test]
async fn a_refusal_by_the_provider_comes_through_without_the_card_and_burns_the_cvv() {
    let house = impatient().await;
    for version in Version::BOTH {
        for (fault, status) in
            [(Fault::EchoPan, 422), (Fault::EchoEncoded, 422), (Fault::Html500, 500)]
        {
            let ready = house.ready("paymega").await;
            house.world.paymega.faults().set("sale", fault);
            let before = house.sales_received();
            let mut line = house.private(version).await;
            let answer = line.send(&ready.ask()).await;
            house.world.paymega.faults().clear();
            assert_eq!(answer.status, status, "{fault:?}");
            assert_eq!(answer.header("portcullis-forwarded"), Some("yes"), "{fault:?}");
            assert_eq!(answer.header("portcullis-upstream-status"), Some(&*status.to_string()));
            assert_eq!(answer.header("portcullis-replaced"), Some("pan=1, cvv=1"));
            super::house::assert_no_card(&answer);
            let again = line.send(&ready.ask()).await;
            assert_problem(&again, 422, "token_unknown", "no");
            assert_eq!(house.sales_received(), before + 1);
        }
    }
}

#[tokio::test]
async fn a_card_that_has_lived_its_time_is_refused() {
    let second = Duration::from_secs(1);
    let short = Options { card_ttl: second, cvv_ttl: second, ..Options::default() };
    let house = House::with(short).await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    let look = super::line::Ask::get(&format!("/v1/tokens/{}", ready.tokens.token))
        .header("portcullis-key", house.world.key(App::Shop));
    assert_eq!(line.send(&look).await.status, 200);
    while line.send(&look).await.status == 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let answer = line.send(&ready.ask()).await;
    assert_problem(&answer, 422, "token_unknown", "no");
    assert_eq!(house.sales_received(), 0);
}
