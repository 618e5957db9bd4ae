//! `Idempotency-Key`: what is sent again is answered again, and reaches the provider once.

use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::shop::gateway::bearer_of;
use portcullis_sandbox::world::accounts::App;

use super::house::{House, Ready, assert_problem};
use super::line::{Ask, Version};

const KEY: &str = "idempotency-key";
const REPLAYED: &str = "idempotency-replayed";

fn keyed(ready: &Ready, key: &str) -> Ask {
    ready.ask().header(KEY, key)
}

#[tokio::test]
async fn the_same_key_and_body_are_answered_with_the_first_answer() {
    let house = House::open().await;
    for version in Version::BOTH {
        let ready = house.ready("paymega").await;
        let mut line = house.private(version).await;
        let order = format!("order-{version:?}");
        let quoted = format!("\"{order}\"");
        let first = line.send(&keyed(&ready, &quoted)).await;
        assert_eq!((first.status, first.header(REPLAYED)), (200, None), "{}", first.text());
        // The quotes of a structured field are no part of the key; another connection is no other.
        for key in [&quoted, &order] {
            let again = house.private(version).await.send(&keyed(&ready, key)).await;
            assert_eq!((again.status, again.header(REPLAYED)), (200, Some("true")));
            assert_eq!(again.body, first.body);
            assert_eq!(again.header("portcullis-forwarded"), Some("yes"));
            assert_eq!(again.header("portcullis-upstream-status"), Some("200"));
            assert_eq!(again.header("content-type"), first.header("content-type"));
        }
        house.assert_charged_once(&ready);
        house.move_key_on(&mut line, &ready).await;
    }
}

impl House {
    /// Without a key, and with a new one, a request is a new one: its CVV is gone.
    async fn move_key_on(&self, line: &mut super::line::Line, ready: &Ready) {
        let before = self.sales_received();
        for ask in [ready.ask(), keyed(ready, "order-2")] {
            assert_problem(&line.send(&ask).await, 422, "token_unknown", "no");
        }
        assert_eq!(self.sales_received(), before);
    }
}

#[tokio::test]
async fn another_body_or_query_under_a_key_is_refused() {
    let house = House::open().await;
    let (ready, other) = (house.ready("paymega").await, house.ready("paymega").await);
    let mut line = house.private(Version::Http1).await;
    assert_eq!(line.send(&keyed(&ready, "k")).await.status, 200);
    let before = house.sales_received();
    let changed = ready.ask().with_body(ready.body().replace("-60", "-61")).header(KEY, "k");
    let mut queried = keyed(&ready, "k");
    queried.target.push_str("?again=1");
    for ask in [keyed(&other, "k"), changed, queried] {
        assert_problem(&line.send(&ask).await, 422, "idempotency_key_reused", "no");
    }
    assert_eq!(house.sales_received(), before);
    // What was refused cost nothing, and another application's key is another one.
    house.assert_pays(&mut line, &other).await;
    let stall = house.ready_as("paymega", App::Stall).await;
    let answer = line.send(&keyed(&stall, "k")).await;
    assert_eq!((answer.status, answer.header(REPLAYED)), (200, None));
}

#[tokio::test]
async fn the_same_body_for_another_invoice_is_another_request() {
    let house = House::open().await;
    let (ready, other) = (house.ready("paymega").await, house.ready("paymega").await);
    let mut line = house.private(Version::Http1).await;
    assert_eq!(line.send(&keyed(&ready, "cart-7")).await.status, 200);
    let before = house.sales_received();
    // Corefy's sale names its invoice by the bearer token alone.
    let ask = ready.ask_with(&other.handle).header(KEY, "cart-7");
    assert_problem(&line.send(&ask).await, 422, "idempotency_key_reused", "no");
    assert_eq!(house.sales_received(), before);
    let again = line.send(&keyed(&ready, "cart-7")).await;
    assert_eq!((again.status, again.header(REPLAYED)), (200, Some("true")));
    house.assert_pays(&mut line, &other).await;
}

/// The same payment by the bearer token that a read of its invoice brings.
async fn read_again(house: &House, ready: &Ready) -> Ready {
    let mut line = house.private(Version::Http1).await;
    let answer = line.send(&house.read("paymega", &ready.invoice)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let handle = bearer_of(&answer.json().unwrap()).unwrap().to_owned();
    assert_ne!(handle, ready.handle);
    Ready { handle, ..ready.clone() }
}

#[tokio::test]
async fn an_invoice_whose_token_is_another_one_now_is_the_same_payment() {
    let house = House::impatient().await;
    house.world.paymega.quirks(|quirks| quirks.fresh_tokens = true);
    let mut line = house.private(Version::Http1).await;
    let ready = house.ready("paymega").await;
    assert_eq!(line.send(&keyed(&ready, "cart")).await.status, 200);
    let anew = read_again(&house, &ready).await;
    let again = line.send(&keyed(&anew, "cart")).await;
    assert_eq!((again.status, again.header(REPLAYED)), (200, Some("true")), "{}", again.text());
    house.assert_charged_once(&ready);

    let lost = house.ready("paymega").await;
    house.world.paymega.faults().set("sale", Fault::Silent);
    let silent = line.send(&keyed(&lost, "lost")).await;
    house.world.paymega.faults().clear();
    assert_problem(&silent, 504, "upstream_silent", "unknown");
    let before = house.sales_received();
    let anew = read_again(&house, &lost).await;
    let again = house.private(Version::Http2).await.send(&keyed(&anew, "lost")).await;
    assert_problem(&again, 409, "idempotency_outcome_unknown", "unknown");
    // With another card, and another key or none.
    let anew = Ready { tokens: house.ready("paymega").await.tokens, ..anew };
    for ask in [keyed(&anew, "other"), anew.ask()] {
        let answer = house.private(Version::Http2).await.send(&ask).await;
        assert_problem(&answer, 409, "payment_outcome_unknown", "unknown");
    }
    assert_eq!(house.sales_received(), before);
}

#[tokio::test]
async fn of_many_at_once_one_reaches_the_provider() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let calls = (0..20).map(|_| async {
        let mut line = house.private(Version::Http1).await;
        line.send(&keyed(&ready, "at-once")).await
    });
    for answer in futures_of(calls).await {
        match answer.status {
            200 => {}
            _ => drop(assert_problem(&answer, 409, "idempotency_in_flight", "unknown")),
        }
    }
    house.assert_charged_once(&ready);
    let last = house.private(Version::Http2).await.send(&keyed(&ready, "at-once")).await;
    assert_eq!((last.status, last.header(REPLAYED)), (200, Some("true")));
}

/// What all of them come to, which run beside one another.
pub(super) async fn futures_of<T>(calls: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut calls: Vec<_> = calls.map(Box::pin).collect();
    let mut answers = Vec::new();
    std::future::poll_fn(|cx| {
        calls.retain_mut(|call| match call.as_mut().poll(cx) {
            std::task::Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            std::task::Poll::Pending => true,
        });
        if calls.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    answers
}

#[tokio::test]
async fn what_nobody_knows_is_not_sent_again_and_what_was_not_sent_is() {
    let house = House::impatient().await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    house.world.paymega.faults().set("sale", Fault::Silent);
    let silent = line.send(&keyed(&ready, "lost")).await;
    house.world.paymega.faults().clear();
    assert_problem(&silent, 504, "upstream_silent", "unknown");
    let before = house.sales_received();
    for _ in 0..3 {
        let again = line.send(&keyed(&ready, "lost")).await;
        let problem = assert_problem(&again, 409, "idempotency_outcome_unknown", "unknown");
        assert_eq!(problem["retry"], "unsafe");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.contains("GET /payment-invoices/{id}"), "{detail}");
    }
    assert_eq!(house.sales_received(), before, "nothing was sent again");

    let ready = house.ready("paymega").await;
    house.world.paymega.down();
    let refused = house.private(Version::Http1).await.send(&keyed(&ready, "down")).await;
    assert_problem(&refused, 502, "upstream_unreachable", "no");
    house.world.paymega.up().await.unwrap();
    let paid = house.private(Version::Http1).await.send(&keyed(&ready, "down")).await;
    assert_eq!((paid.status, paid.header(REPLAYED)), (200, None), "{}", paid.text());
    house.assert_charged_once(&ready);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_costs_nothing() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    let before = house.sales_received();
    let long = "k".repeat(256);
    for key in ["", "\"\"", "two words", "half\"quoted", &long] {
        let answer = line.send(&keyed(&ready, key)).await;
        assert_problem(&answer, 400, "idempotency_key_invalid", "no");
    }
    let twice = keyed(&ready, "a").header(KEY, "b");
    assert_problem(&line.send(&twice).await, 400, "idempotency_key_invalid", "no");
    assert_eq!(house.sales_received(), before);
    // A read has no key: it may be sent as often as one likes.
    let read = house.read("paymega", &ready.invoice).header(KEY, "two words");
    assert_eq!(line.send(&read).await.status, 200);
    house.assert_pays(&mut line, &ready).await;
}
