//! The provider's own key of a payment as a guard, through the real process: what is under way or
//! in doubt reaches the provider once, without any header of the application's.

use std::time::Duration;

use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::accounts::App;

use super::house::{House, Ready, assert_problem};
use super::line::{Ask, Version};

impl House {
    /// Another card for the same invoice.
    async fn another_card(&self, ready: &Ready) -> Ready {
        Ready { tokens: self.ready(ready.account).await.tokens, ..ready.clone() }
    }

    /// The tokens of a refused sale pay elsewhere: nothing was used up.
    async fn assert_untouched(&self, refused: Ready) {
        let elsewhere = self.ready(refused.account).await;
        let ready = Ready { tokens: refused.tokens, ..elsewhere };
        let mut line = self.private(Version::Http1).await;
        self.assert_pays(&mut line, &ready).await;
    }
}

#[tokio::test]
async fn of_many_sales_of_one_invoice_at_once_one_reaches_the_provider() {
    let house = House::open().await;
    for version in Version::BOTH {
        let first = house.ready("paymega").await;
        let second = house.another_card(&first).await;
        let before = house.sales_received();
        house.world.paymega.faults().set("sale", Fault::Held);
        let mut line = house.private(version).await;
        let ask = first.ask();
        let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
        line.complete(&mut begun).await.unwrap();
        let arrived = || (house.sales_received() > before).then_some(());
        until(Duration::from_secs(5), arrived).await.unwrap();
        for ask in [first.ask(), second.ask(), second.ask().header("idempotency-key", "k")] {
            let answer = house.private(version).await.send(&ask).await;
            let problem = assert_problem(&answer, 409, "payment_in_flight", "unknown");
            assert_eq!(
                (&problem["retry"], &problem["origin"]),
                (&"after".into(), &"policy".into())
            );
            assert_eq!(answer.header("retry-after"), Some("1"));
        }
        house.world.paymega.faults().clear();
        house.world.paymega.faults().release();
        assert_eq!(line.answer(begun).await.unwrap().status, 200);
        assert_eq!(house.sales_received(), before + 1);
        house.assert_charged_once(&first);
        house.assert_untouched(second).await;
    }
}

#[tokio::test]
async fn a_sale_in_doubt_is_not_sent_again_with_another_card_either() {
    let faults = [
        (Fault::Silent, 504, "upstream_silent"),
        (Fault::Cut, 502, "upstream_broke_off"),
        (Fault::Html500, 500, ""),
    ];
    for (fault, status, code) in faults {
        let house = match fault {
            Fault::Silent => House::impatient().await,
            _ => House::open().await,
        };
        let first = house.ready("paymega").await;
        let second = house.another_card(&first).await;
        house.world.paymega.faults().set("sale", fault);
        let mut line = house.private(Version::Http1).await;
        let answer = line.send(&first.ask()).await;
        house.world.paymega.faults().clear();
        match code {
            "" => assert_eq!(answer.status, status),
            _ => drop(assert_problem(&answer, status, code, "unknown")),
        }
        let before = house.sales_received();
        for version in Version::BOTH {
            let answer = house.private(version).await.send(&second.ask()).await;
            let problem = assert_problem(&answer, 409, "payment_outcome_unknown", "unknown");
            assert_eq!(problem["retry"], "unsafe");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("GET /payment-invoices/{id}"), "{detail}");
        }
        assert_eq!(house.sales_received(), before, "{fault:?}");
        house.assert_untouched(second).await;
    }
}

#[tokio::test]
async fn an_invoice_in_doubt_is_not_made_again_whoever_asks() {
    let house = House::impatient().await;
    let ask = house.invoice("paymega", App::Shop);
    let by_stall = Ask { ..house.invoice("paymega", App::Stall) }.with_body(ask.body.clone());
    let elsewhere = house.invoice("milkypay", App::Shop).with_body(ask.body.clone());
    house.world.paymega.faults().set("payment-invoices.create", Fault::Silent);
    let mut line = house.private(Version::Http2).await;
    assert_problem(&line.send(&ask).await, 504, "upstream_silent", "unknown");
    house.world.paymega.faults().clear();
    for ask in [&ask, &by_stall] {
        let answer = house.private(Version::Http1).await.send(ask).await;
        let problem = assert_problem(&answer, 409, "payment_outcome_unknown", "unknown");
        assert_eq!(problem["field"], "/data/attributes/reference_id");
    }
    assert_eq!(house.world.paymega.received().count("payment-invoices.create"), 1);
    assert_eq!(line.send(&elsewhere).await.status, 201, "another provider's is another one");
}

#[tokio::test]
async fn after_a_definite_answer_the_provider_decides_about_a_second_sale() {
    let house = House::open().await;
    let first = house.ready("paymega").await;
    let second = house.another_card(&first).await;
    house.world.paymega.faults().set("sale", Fault::EchoPan);
    let mut line = house.private(Version::Http1).await;
    assert_eq!(line.send(&first.ask()).await.status, 422);
    house.world.paymega.faults().clear();
    house.assert_pays(&mut line, &second).await;
    assert_eq!(house.sales_received(), 2);
}
