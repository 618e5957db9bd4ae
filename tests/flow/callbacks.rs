//! Callbacks: believed when signed, delivered once, acknowledged after the application has
//! answered.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use portcullis::card::Timestamp;
use portcullis::flow::{Delivery, Refusal, Unverified, Verdict};
use sha1::{Digest as _, Sha1};

use crate::bench::{Bench, NOW, SHOP, Sent, body, headers, member, refusal, sent};

const DEFAULT: &str =
    "[account.callback]\napp = \"shop\"\nurl = \"https://shop.example/hooks/paymega?a=1\"\n";

fn sign(secret: &str, raw: &[u8]) -> String {
    let digest = Sha1::new().chain_update(secret).chain_update(raw).chain_update(secret).finalize();
    STANDARD.encode(digest)
}

fn notice(id: &str, status: &str, updated: u64) -> String {
    format!(
        r#"{{"data":{{"type":"payment-invoices","id":"{id}","attributes":{{"status":"{status}","updated":{updated},"amount":1.10,"flow_data":{{"metadata":{{"token":"jwt.of.one"}}}}}}}}}}"#
    )
}

fn judged(
    bench: &Bench,
    sealed: Option<&str>,
    raw: &[u8],
    signature: &str,
) -> Result<Verdict, Refusal> {
    judged_at(bench, sealed, raw, signature, NOW)
}

fn judged_at(
    bench: &Bench,
    sealed: Option<&str>,
    raw: &[u8],
    signature: &str,
    now: Timestamp,
) -> Result<Verdict, Refusal> {
    let map = headers(&[("x-signature", signature), ("content-type", "application/json")]);
    let callback = Unverified { account: "paymega", sealed, headers: &map, body: body(raw) };
    let verified = bench.flow.verify(callback, now)?;
    bench.flow.judge(verified, now)
}

fn signed(bench: &Bench, raw: &str) -> Result<Verdict, Refusal> {
    signed_at(bench, raw, NOW)
}

fn signed_at(bench: &Bench, raw: &str, now: Timestamp) -> Result<Verdict, Refusal> {
    judged_at(bench, None, raw.as_bytes(), &sign("live_secret", raw.as_bytes()), now)
}

fn delivery(verdict: Result<Verdict, Refusal>) -> (Sent, Delivery) {
    crate::bench::deliver(verdict)
}

fn acknowledged(verdict: Result<Verdict, Refusal>) -> bool {
    matches!(verdict, Ok(Verdict::Acknowledge))
}

#[test]
fn the_application_gets_a_callback_that_its_own_key_verifies() {
    let bench = Bench::with(DEFAULT, "");
    for (id, secret) in [("cpi_1", "live_secret"), ("cpi_2", "test_secret")] {
        let raw = notice(id, "processed", 10);
        let verdict = judged(&bench, None, raw.as_bytes(), &sign(secret, raw.as_bytes()));
        let Sent { method, host, target, headers, body } = delivery(verdict).0;
        assert_eq!((method.as_str(), host.as_str()), ("POST", "shop.example"));
        assert_eq!(target, "/hooks/paymega?a=1");
        let text = String::from_utf8(body).unwrap();
        assert_eq!(headers["x-signature"], sign(SHOP.1, text.as_bytes()).as_str());
        let handle = member(text.as_bytes(), "token");
        assert!(handle.starts_with("brr_"), "{handle}");
        assert_eq!(text.replace(&handle, "jwt.of.one"), raw);
    }
}

#[test]
fn a_callback_url_of_the_applications_own_is_where_it_goes() {
    let bench = Bench::new();
    let request = br#"{"data":{"attributes":{"callback_url":"https://example.com/cb?order=1"}}}"#;
    let (prepared, _) = bench.call("POST", "/paymega/api/payment-invoices", request).unwrap();
    let ours = member(&sent(prepared).body, "callback_url");
    let sealed = ours.rsplit('/').next().unwrap();
    let raw = format!(
        r#"{{"data":{{"id":"cpi_1","attributes":{{"status":"processed","updated":1,"callback_url":"{ours}"}}}}}}"#
    );
    let verdict =
        judged(&bench, Some(sealed), raw.as_bytes(), &sign("live_secret", raw.as_bytes()));
    let sent = delivery(verdict).0;
    assert_eq!((sent.host.as_str(), sent.target.as_str()), ("example.com", "/cb?order=1"));
    assert_eq!(member(&sent.body, "callback_url"), "https://example.com/cb?order=1");
}

#[test]
fn a_callback_url_off_the_list_is_refused_before_the_invoice_is_made() {
    let bench = Bench::new();
    for bad in [
        "https://evil.example/",
        "http://shop.example/",
        "https://10.0.0.1/",
        "shop.example/x",
        "x",
    ] {
        let json = format!(r#"{{"data":{{"attributes":{{"callback_url":"{bad}"}}}}}}"#);
        let seen = refusal(bench.call("POST", "/paymega/api/payment-invoices", json.as_bytes()));
        assert_eq!(seen, "FieldInvalid(\"/data/attributes/callback_url\")", "{bad}");
    }
}

#[test]
fn nothing_unsigned_is_believed() {
    let bench = Bench::with(DEFAULT, "");
    let raw = notice("cpi_1", "processed", 10);
    let good = sign("live_secret", raw.as_bytes());
    for at in 0..raw.len() {
        for bit in 0..8 {
            let mut flipped = raw.clone().into_bytes();
            flipped[at] ^= 1 << bit;
            let seen = refusal(judged(&bench, None, &flipped, &good));
            assert_eq!(seen, "SignatureRefused", "byte {at} bit {bit}");
        }
    }
    for bad in ["", "AAAA", &sign("wrong", raw.as_bytes()), &sign(SHOP.1, raw.as_bytes())] {
        assert_eq!(refusal(judged(&bench, None, raw.as_bytes(), bad)), "SignatureRefused");
    }
    let none = headers(&[]);
    let callback =
        Unverified { account: "paymega", sealed: None, headers: &none, body: body(raw.as_bytes()) };
    assert_eq!(refusal(bench.flow.verify(callback, NOW)), "SignatureRefused");
    let twice = headers(&[("x-signature", &good), ("x-signature", &good)]);
    let callback = Unverified {
        account: "paymega",
        sealed: None,
        headers: &twice,
        body: body(raw.as_bytes()),
    };
    assert_eq!(refusal(bench.flow.verify(callback, NOW)), "SignatureRefused");
}

#[test]
fn a_repeated_callback_is_delivered_once() {
    let bench = Bench::with(DEFAULT, "");
    let raw = notice("cpi_1", "processed", 10);
    let (_, first) = delivery(signed(&bench, &raw));
    assert_eq!(refusal(signed(&bench, &raw)), "CallbackInFlight");
    bench.flow.delivered(first, Some(200), NOW).unwrap();
    for _ in 0..100 {
        assert!(acknowledged(signed(&bench, &raw)));
    }
    // Providers repeat a callback for 14 days.
    let last = NOW.plus(Duration::from_secs(14 * 86_400 - 1));
    assert!(acknowledged(signed_at(&bench, &raw, last)));
}

#[test]
fn a_slow_delivery_gives_up_no_claim_but_its_own() {
    let bench = Bench::with(DEFAULT, "");
    let raw = notice("cpi_1", "processed", 10);
    let (_, slow) = delivery(signed_at(&bench, &raw, NOW));
    // As long as total_timeout_ms may be.
    let late = NOW.plus(Duration::from_secs(300));
    assert_eq!(refusal(signed_at(&bench, &raw, late)), "CallbackInFlight");
    let later = NOW.plus(Duration::from_secs(360));
    let (_, second) = delivery(signed_at(&bench, &raw, later));
    assert_eq!(refusal(bench.flow.delivered(slow, None, later)), "CallbackNotTaken");
    assert_eq!(refusal(signed_at(&bench, &raw, later)), "CallbackInFlight");
    bench.flow.delivered(second, Some(200), later).unwrap();
    assert!(acknowledged(signed_at(&bench, &raw, later)));
}

#[test]
fn a_callback_that_the_application_did_not_take_comes_again() {
    let bench = Bench::with(DEFAULT, "");
    let raw = notice("cpi_1", "processed", 10);
    for status in [None, Some(500), Some(204), Some(201), Some(302)] {
        let (_, attempt) = delivery(signed(&bench, &raw));
        let seen = refusal(bench.flow.delivered(attempt, status, NOW));
        assert_eq!(seen, "CallbackNotTaken", "{status:?}");
    }
    let (_, attempt) = delivery(signed(&bench, &raw));
    bench.flow.delivered(attempt, Some(200), NOW).unwrap();
    assert!(acknowledged(signed(&bench, &raw)));
}

#[test]
fn older_news_is_acknowledged_and_not_delivered() {
    let bench = Bench::with(DEFAULT, "");
    let deliver =
        |status: &str, updated: u64| match signed(&bench, &notice("cpi_1", status, updated)) {
            Ok(Verdict::Deliver(_, attempt)) => {
                bench.flow.delivered(attempt, Some(200), NOW).is_ok()
            }
            Ok(Verdict::Acknowledge) => false,
            Err(refusal) => panic!("{refusal:?}"),
        };
    assert!(deliver("created", 10));
    assert!(deliver("processed", 12));
    assert!(!deliver("process_pending", 11), "overtaken");
    assert!(deliver("refunding", 12), "another change of the same second");
    assert!(!deliver("refunding", 12));
}

#[test]
fn a_callback_that_says_nothing_is_not_acknowledged() {
    let bench = Bench::with(DEFAULT, "");
    for raw in [
        "",
        "{}",
        "{\"data\":[]}",
        r#"{"data":{"id":"x","attributes":{"status":"s","updated":"1"}}}"#,
        r#"{"data":{"id":"x","attributes":{"status":"s","updated":1.5}}}"#,
        r#"{"data":{"id":"x","id":"y","attributes":{"status":"s","updated":1}}}"#,
    ] {
        assert_eq!(refusal(signed(&bench, raw)), "CallbackUnreadable", "{raw}");
    }
}

#[test]
fn a_callback_without_a_destination_is_not_acknowledged() {
    let bench = Bench::new();
    assert_eq!(refusal(signed(&bench, &notice("cpi_1", "created", 1))), "CallbackUndeliverable");
}

#[test]
fn an_address_that_does_not_open_is_not_replaced_by_the_default_one() {
    let bench = Bench::with(DEFAULT, "");
    let raw = notice("cpi_1", "processed", 10);
    let signature = sign("live_secret", raw.as_bytes());
    for sealed in ["AAAA", "", "x.y"] {
        let seen = refusal(judged(&bench, Some(sealed), raw.as_bytes(), &signature));
        assert_eq!(seen, "CallbackUndeliverable", "{sealed}");
    }
    assert!(judged(&bench, None, raw.as_bytes(), &signature).is_ok());
}

#[test]
fn an_address_that_was_sealed_for_another_account_does_not_open() {
    let bench = Bench::with(DEFAULT, "");
    let request = br#"{"data":{"attributes":{"callback_url":"https://example.com/cb"}}}"#;
    let raw = notice("cpi_1", "processed", 10);
    let signature = sign("live_secret", raw.as_bytes());
    for (account, expected) in [("milkypay", "CallbackUndeliverable"), ("paymega", "passed")] {
        let path = format!("/{account}/api/payment-invoices");
        let (prepared, _) = bench.call("POST", &path, request).unwrap();
        let ours = member(&sent(prepared).body, "callback_url");
        let sealed = ours.rsplit('/').next();
        let seen = refusal(judged(&bench, sealed, raw.as_bytes(), &signature));
        assert_eq!(seen, expected, "sealed for {account}");
    }
}

#[test]
fn a_time_of_tomorrow_or_later_does_not_overtake_everything() {
    let bench = Bench::with(DEFAULT, "");
    let far = NOW.as_secs() * 1000;
    assert_eq!(refusal(signed(&bench, &notice("cpi_1", "processed", far))), "CallbackUnreadable");
    assert!(signed(&bench, &notice("cpi_1", "processed", NOW.as_secs())).is_ok());
}

#[test]
fn a_callback_url_that_would_not_fit_is_refused() {
    let bench = Bench::new();
    for bad in [
        format!("\"https://shop.example/{}\"", "x".repeat(2000)),
        "[\"https://shop.example/\"]".to_owned(),
        "{}".to_owned(),
        "1".to_owned(),
    ] {
        let json = format!(r#"{{"data":{{"attributes":{{"callback_url":{bad}}}}}}}"#);
        let seen = refusal(bench.call("POST", "/paymega/api/payment-invoices", json.as_bytes()));
        assert_eq!(seen, "FieldInvalid(\"/data/attributes/callback_url\")", "{bad:.40}");
    }
}
