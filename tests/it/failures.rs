//! A provider in trouble: how to find out what became of a payment, and what its refusals may say.
//! Every way to fail in between is in the fault table (`faults.rs`).

use std::time::Duration;

use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use serde_json::Value;

use super::house::{House, Ready, assert_problem};
use super::line::Version;

const STATUS_CALL: &str = "GET /payment-invoices/{id}";

/// The provider may have seen the sale: said so, and how to find out.
fn assert_in_doubt(problem: &Value) {
    assert_eq!((&problem["retry"], &problem["origin"]), (&"unsafe".into(), &"upstream".into()));
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains(STATUS_CALL), "{detail}");
}

#[tokio::test]
async fn a_silent_provider_leaves_the_outcome_unknown_and_its_status_call_tells() {
    let house = House::impatient().await;
    for version in Version::BOTH {
        for warm in [false, true] {
            let (ready, other) = (house.ready("milkypay").await, house.ready("milkypay").await);
            let mut line = house.private(version).await;
            if warm {
                house.assert_pays(&mut line, &other).await;
            }
            let before = house.sales_received();
            house.world.milkypay.faults().set("sale", Fault::Silent);
            let answer = line.send(&ready.ask()).await;
            house.world.milkypay.faults().clear();
            assert_in_doubt(&assert_problem(&answer, 504, "upstream_silent", "unknown"));
            house.assert_charged_once(&ready);
            let elsewhere = Ready { tokens: ready.tokens.clone(), ..house.ready("milkypay").await };
            let again = line.send(&elsewhere.ask()).await;
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
async fn an_invoice_in_doubt_names_the_call_that_finds_it() {
    let house = House::impatient().await;
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
    let house = House::open().await;
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
            let elsewhere = Ready { tokens: ready.tokens, ..house.ready("paymega").await };
            let again = line.send(&elsewhere.ask()).await;
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
