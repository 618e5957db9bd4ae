//! `Idempotency-Key`: what makes it the same request, and what is told where its answer is not
//! kept.

use http::HeaderMap;

use crate::bench::{Bench, SHOP, basic, refusal};

const INVOICES: &str = "/paymega/api/payment-invoices";
const BODY: &[u8] = br#"{"data":{"attributes":{"reference_id":"order-7"}}}"#;

fn keyed(key: &str) -> HeaderMap {
    let mut headers = basic(SHOP, true);
    headers.insert("idempotency-key", key.parse().unwrap());
    headers
}

#[test]
fn the_same_key_and_body_with_another_path_or_query_is_another_request() {
    let bench = Bench::new();
    let call = |target: &str| bench.prepare("POST", target, &keyed("k"), BODY);
    let _under_way = call(INVOICES).unwrap();
    assert_eq!(refusal(call(INVOICES)), "RepeatedInFlight");
    let queried = format!("{INVOICES}?dry=1");
    for other in [queried.as_str(), "/paymega/api/payout-invoices"] {
        assert_eq!(refusal(call(other)), "RepeatedDiffers", "{other}");
    }
    assert!(call("/milkypay/api/payment-invoices").is_ok(), "another account's key is another");
}

#[test]
fn what_was_answered_at_too_great_length_is_not_sent_again() {
    let bench = Bench::new();
    let call = || bench.prepare("POST", INVOICES, &keyed("k"), BODY);
    let long = format!(r#"{{"errors":"{}"}}"#, "x ".repeat(40_000));
    bench.answer(call().unwrap().1, 400, long.as_bytes()).unwrap();
    assert!(refusal(call()).starts_with("RepeatedUnknown"), "{}", refusal(call()));
}
