//! Every way to send the same request: both listeners, both HTTP versions, with and without a
//! length, over a new connection and over one that is kept, TLS 1.2 and 1.3, pipelined.

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::visitor::{TypedCard, tokens_of};
use portcullis_sandbox::world::accounts::App;
use rustls::ProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::house::{House, Ready, card, invoice_of, session_of};
use super::line::{Ask, Framing, Line, Version};

/// A round of calls over one connection, or over one each.
async fn all(house: &House, base: &str, version: Version, keep: bool, asks: &[Ask]) -> Vec<Answer> {
    let tls = house.tls().config(version);
    let mut answers = Vec::new();
    let mut kept = Line::open(base, &tls).await.unwrap();
    for ask in asks {
        answers.push(match keep {
            true => kept.send(ask).await,
            false => Line::open(base, &tls).await.unwrap().send(ask).await,
        });
    }
    answers
}

async fn pays_three_times(house: &House, version: Version, framing: Framing, keep: bool) {
    let (private, public) = (&house.world.addresses.private, &house.world.addresses.public);
    let framed = |ask: Ask| ask.framed(framing);
    let session = framed(house.session(App::Shop));
    let session = session_of(&all(house, private, version, keep, &[session]).await[0]);

    let holders = ["Canary One", "Canary Two", "Canary Three"];
    let cards = holders.map(|name| TypedCard { holder: name.to_owned(), ..card() });
    let captures = cards.each_ref().map(|card| framed(house.capture(&session, card)));
    // HTTP/2 ends a connection after a capture, so there all of them are under way at once.
    let captured = match (version, keep) {
        (Version::Http2, true) => house.public(version).await.send_all(&captures).await,
        _ => all(house, public, version, keep, &captures).await,
    };
    let invoices = [(); 3].map(|()| framed(house.invoice("paymega", App::Shop)));
    let invoices = all(house, private, version, keep, &invoices).await;
    let sales: Vec<Ready> = (0..3)
        .map(|at| {
            let (invoice, handle) = invoice_of(&invoices[at]);
            let tokens = tokens_of(&captured[at]).unwrap();
            Ready { account: "paymega", invoice, handle, tokens, card: cards[at].clone() }
        })
        .collect();
    let asks: Vec<Ask> = sales.iter().map(|ready| framed(holder_by_token(ready))).collect();
    let answers = all(house, private, version, keep, &asks).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200; 3]);
    for ready in &sales {
        house.assert_charged_once(ready);
    }
}

/// The holder comes out of the vault, too: so it is seen that each capture kept its own card.
fn holder_by_token(ready: &Ready) -> Ask {
    let body = ready.body().replace(&ready.card.holder, &ready.tokens.token);
    ready.ask().with_body(body)
}

#[tokio::test]
async fn a_payment_is_the_same_over_http1_and_http2_with_and_without_a_length() {
    let house = House::open().await;
    for version in Version::BOTH {
        for framing in Framing::BOTH {
            for keep in [false, true] {
                let before = house.sales_received();
                pays_three_times(&house, version, framing, keep).await;
                assert_eq!(house.sales_received(), before + 3, "{version:?} {framing:?} {keep}");
            }
        }
    }
}

#[tokio::test]
async fn both_listeners_speak_tls_1_2_and_1_3() {
    let house = House::open().await;
    for (only, expected) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        for version in Version::BOTH {
            let tls = house.tls().only(only).config(version);
            let addresses = &house.world.addresses;
            let mut private = Line::open(&addresses.private, &tls).await.unwrap();
            let mut public = Line::open(&addresses.public, &tls).await.unwrap();
            assert_eq!((private.tls, public.tls), (Some(expected), Some(expected)));
            let shop = App::Shop;
            let ready = house.ready_over(&mut private, &mut public, "milkypay", shop).await;
            house.assert_pays(&mut private, &ready).await;
        }
    }
}

#[tokio::test]
async fn requests_sent_in_one_go_are_answered_in_order() {
    let house = House::open().await;
    for version in Version::BOTH {
        let mut line = house.private(version).await;
        let (first, second) = (house.ready("paymega").await, house.ready("paymega").await);
        let received = house.world.paymega.received();
        received.clear();
        let asks = [
            house.read("paymega", &first.invoice),
            first.ask().framed(Framing::Open),
            house.read("paymega", "cpi_doesnotexist00"),
            second.ask(),
            house.read("paymega", &second.invoice),
        ];
        let answers = line.send_all(&asks).await;
        let seen: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(seen, [200, 200, 404, 200, 200], "{version:?}");
        assert_eq!(answers[0].json().unwrap()["data"]["id"], first.invoice.as_str());
        assert_eq!(answers[4].json().unwrap()["data"]["id"], second.invoice.as_str());
        house.assert_charged_once(&first);
        house.assert_charged_once(&second);
        let mut routes: Vec<_> = received.all().iter().map(|one| one.route).collect();
        let read = "payment-invoices.read";
        if version == Version::Http2 {
            routes.sort_unstable();
            assert_eq!(routes, [read, read, read, "sale", "sale"]);
        } else {
            assert_eq!(routes, [read, "sale", read, "sale", read]);
        }
    }
}

#[tokio::test]
async fn a_hundred_sales_over_one_http2_connection_are_each_charged_once() {
    let house = House::open().await;
    let mut private = house.private(Version::Http2).await;
    let mut setup = house.private(Version::Http1).await;
    let mut public = house.public(Version::Http1).await;
    let mut sales = Vec::new();
    for _ in 0..100 {
        sales.push(house.ready_over(&mut setup, &mut public, "milkypay", App::Shop).await);
    }
    let asks: Vec<Ask> = sales.iter().map(Ready::ask).collect();
    let answers = private.send_all(&asks).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(house.sales_received(), 100);
    for ready in &sales {
        house.assert_charged_once(ready);
    }
}
