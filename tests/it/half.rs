//! A body that has not arrived: nothing of it goes to the provider, whatever becomes of it. And a
//! client that goes away while the provider works: the sale is made once.

use std::time::{Duration, Instant};

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::Options;

use super::house::{House, Ready, assert_problem};
use super::line::{Begun, Framing, Line, Version};
use super::tap::Tap;

const SOON: Duration = Duration::from_secs(10);

/// A sale whose head and half of whose body have arrived at Portcullis.
async fn half_sent(house: &House, version: Version, framing: Framing) -> (Line, Begun, Ready) {
    let ready = house.ready("paymega").await;
    let mut line = house.private(version).await;
    let ask = ready.ask().framed(framing).header("expect", "100-continue");
    let half = ask.body.len() / 2;
    let begun = match version {
        // The interim answer shows that Portcullis has the head and waits for the body.
        Version::Http1 => {
            let begun = line.begin(&ask, 0).await.unwrap();
            line.await_continue().await;
            line.more(begun, half).await
        }
        // Frames are worked on in order: the answer to a later stream shows the same.
        Version::Http2 => {
            let begun = line.begin(&ask, half).await.unwrap();
            let read = house.read("paymega", &ready.invoice);
            assert_eq!(line.send(&read).await.status, 200);
            begun
        }
    };
    // Portcullis has had its turn, more than once.
    for _ in 0..3 {
        let mut other = house.private(version).await;
        assert_eq!(other.send(&house.read("paymega", &ready.invoice)).await.status, 200);
    }
    assert_eq!(house.sales_received(), 0, "half a body went to the provider");
    (line, begun, ready)
}

async fn with_half_a_body(version: Version, framing: Framing) {
    let gate = Tap::open().await;
    let adjust = Some(gate.adjust("/cardgate"));
    let house = House::with(Options { adjust, ..Options::default() }).await;
    let (mut line, mut begun, ready) = half_sent(&house, version, framing).await;
    assert_eq!(gate.bytes(), 0, "the card gate was called with half a body there");
    line.complete(&mut begun).await.unwrap();
    assert_eq!(line.answer(begun).await.unwrap().status, 200);
    house.assert_charged_once(&ready);
    assert_eq!(house.sales_received(), 1);
    let sale = house.world.paymega.received().last("sale").unwrap();
    assert_eq!(sale.request.body, ready.body_with_card().as_bytes());
    assert_eq!(sale.request.header("transfer-encoding"), None);
    let length = ready.body_with_card().len().to_string();
    assert_eq!(sale.request.header("content-length"), Some(length.as_str()));
    house.world.paymega.received().clear();

    let before = gate.bytes();
    assert!(before > 500, "{before} bytes are no handshake and no sale");
    let (mut line, begun, ready) = half_sent(&house, version, framing).await;
    assert_eq!(gate.bytes(), before, "half a body was sent");
    begun.reset();
    if version == Version::Http2 {
        // Behind the reset: it was seen.
        assert_eq!(line.send(&house.read("paymega", &ready.invoice)).await.status, 200);
    }
    drop(line);
    let mut other = house.private(version).await;
    assert_eq!(other.send(&house.read("paymega", &ready.invoice)).await.status, 200);
    assert_eq!(gate.bytes(), before, "an aborted body was sent");
    assert_eq!(house.sales_received(), 0, "an aborted request went to the provider");
    house.assert_pays(&mut other, &ready).await;
    assert_eq!(house.sales_received(), 1);
}

#[tokio::test]
async fn half_a_body_with_a_length_over_http1_goes_nowhere() {
    with_half_a_body(Version::Http1, Framing::Length).await;
}

#[tokio::test]
async fn half_a_chunked_body_over_http1_goes_nowhere() {
    with_half_a_body(Version::Http1, Framing::Open).await;
}

#[tokio::test]
async fn half_a_body_with_a_length_over_http2_goes_nowhere() {
    with_half_a_body(Version::Http2, Framing::Length).await;
}

#[tokio::test]
async fn half_a_body_without_a_length_over_http2_goes_nowhere() {
    with_half_a_body(Version::Http2, Framing::Open).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_the_middle_of_a_sale_is_charged_once() {
    let house = House::open().await;
    house.world.paymega.faults().set("sale", Fault::Slow(Duration::from_millis(150)));
    for version in Version::BOTH {
        for reset_first in [false, true] {
            let ready = house.ready("paymega").await;
            let before = house.sales_received();
            let lines = count_of_sales(&house);
            let mut line = house.private(version).await;
            let ask = ready.ask();
            let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
            line.complete(&mut begun).await.unwrap();
            let arrived = || (house.sales_received() > before).then_some(());
            until(SOON, arrived).await.expect("the sale never reached the provider");
            match (reset_first, version) {
                (true, Version::Http2) => {
                    begun.reset();
                    let read = line.send(&house.read("paymega", &ready.invoice)).await;
                    assert_eq!(read.status, 200);
                }
                _ => drop(begun),
            }
            drop(line);
            // The call is worked on to its end, and noted.
            let noted = || (count_of_sales(&house) > lines).then_some(());
            until(SOON, noted).await.expect("the sale was given up with its client");
            assert_eq!(house.sales_received(), before + 1);
            house.assert_charged_once(&ready);
            house.assert_alive().await;
            let again = house.private(version).await.send(&ready.ask()).await;
            assert_problem(&again, 422, "token_unknown", "no");
            assert_eq!(house.sales_received(), before + 1, "{version:?} {reset_first}");
        }
    }
}

/// The answer to a sale behind one of the same payment, which may still be on its way.
async fn when_not_in_flight(line: &mut Line, ready: &Ready) -> Answer {
    let over = Instant::now() + SOON;
    loop {
        let answer = line.send(&ready.ask()).await;
        if answer.status != 409 || Instant::now() > over {
            return answer;
        }
        assert_problem(&answer, 409, "payment_in_flight", "unknown");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Lines of the log about sales that the provider answered.
fn count_of_sales(house: &House) -> usize {
    let log = String::from_utf8(house.log()).unwrap();
    let of_sale = |line: &&str| {
        line.contains(r#""call":"sale""#) && line.contains(r#""upstream_status":200"#)
    };
    log.lines().filter(of_sale).count()
}

#[tokio::test]
async fn many_clients_that_leave_at_any_moment_cost_nobody_a_second_sale() {
    let house = House::open().await;
    house.world.milkypay.faults().set("sale", Fault::Slow(Duration::from_millis(20)));
    let mut sales = Vec::new();
    for at in 0..40 {
        let ready = house.ready("milkypay").await;
        let mut line = house.private(Version::BOTH[at % 2]).await;
        let ask = ready.ask();
        let upto = (at * ask.body.len() / 35).min(ask.body.len());
        let mut begun = line.begin(&ask, upto).await.unwrap();
        if upto == ask.body.len() {
            line.complete(&mut begun).await.unwrap();
        }
        drop(line);
        sales.push(ready);
    }
    house.world.milkypay.faults().clear();
    let mut line = house.private(Version::Http1).await;
    for ready in &sales {
        let answer = when_not_in_flight(&mut line, ready).await;
        assert!([200, 422].contains(&answer.status), "{}", answer.text());
    }
    for ready in &sales {
        house.assert_charged_once(ready);
    }
    assert_eq!(house.sales_received(), sales.len(), "a sale was sent twice");
    house.assert_alive().await;
}
