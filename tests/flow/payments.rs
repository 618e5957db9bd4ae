//! The provider's own key of a payment as a guard: what is under way, or may have been made, is not
//! made again, whatever else the request says.

use std::sync::{Arc, Mutex};

use portcullis::flow::Forwarded;
use portcullis::vault::{Ask, Keyring, Limits, Vault};

use crate::bench::{Bench, NOW, OTHER, basic, refusal, sale_json};
use crate::highhelp;

const INVOICES: &str = "/paymega/api/payment-invoices";

fn invoice(reference: &str, amount: &str) -> String {
    format!(r#"{{"data":{{"attributes":{{"reference_id":{reference},"amount":{amount}}}}}}}"#)
}

const UNDER_WAY: &str = r#"PaymentInFlight { field: Some("/data/attributes/reference_id") }"#;

#[test]
fn an_invoice_under_way_is_not_made_again_by_anybody_who_shares_the_account() {
    let bench = Bench::new();
    let (first, second) = (invoice("\"ord-1\"", "17"), invoice("\"ord-1\"", "18"));
    let (_, pending) = bench.call("POST", INVOICES, first.as_bytes()).unwrap();
    for body in [&first, &second] {
        assert_eq!(refusal(bench.call("POST", INVOICES, body.as_bytes())), UNDER_WAY);
        let other = bench.prepare("POST", INVOICES, &basic(OTHER, true), body.as_bytes());
        assert_eq!(refusal(other), UNDER_WAY);
    }
    // Another payment, another account and another call are others.
    for (target, reference) in [
        (INVOICES, "\"ord-2\""),
        ("/milkypay/api/payment-invoices", "\"ord-1\""),
        ("/paymega/api/payout-invoices", "\"ord-1\""),
    ] {
        assert!(bench.call("POST", target, invoice(reference, "17").as_bytes()).is_ok());
    }
    // What the provider has answered it knows, and answers itself when it comes again.
    bench.answer(pending, 422, b"{}").unwrap();
    assert!(bench.call("POST", INVOICES, second.as_bytes()).is_ok());
}

#[test]
fn what_nobody_knows_is_not_made_again_and_names_the_call_that_tells() {
    let bench = Bench::new();
    let unknown = |field: &str, call: &str| {
        format!("PaymentUnknown {{ field: {field}, status_call: Some({call:?}) }}")
    };
    let of_invoice = unknown(
        r#"Some("/data/attributes/reference_id")"#,
        "GET /payment-invoices/?filter[reference_id]={reference_id}",
    );
    // No answer, a failure of the provider's, and an answer that was withheld.
    for (at, reference) in ["\"a\"", "\"b\"", "\"c\""].into_iter().enumerate() {
        let body = invoice(reference, "17");
        let (_, pending) = bench.call("POST", INVOICES, body.as_bytes()).unwrap();
        match at {
            0 => pending.unanswered(Forwarded::Unknown, &bench.flow, NOW),
            1 => drop(bench.answer(pending, 502, b"{}").unwrap()),
            _ => drop(bench.answer(pending, 201, b"{").unwrap_err()),
        }
        let again = bench.call("POST", INVOICES, invoice(reference, "18").as_bytes());
        assert_eq!(refusal(again), of_invoice, "{reference}");
    }
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let (_, pending) = bench.sale("paymega", &handle, &sale_json(&token, &cvv)).unwrap();
    pending.unanswered(Forwarded::Unknown, &bench.flow, NOW);
    let (token, cvv) = bench.shop_card();
    let again = sale_json(&token, &cvv);
    let seen = refusal(bench.sale("paymega", &handle, &again));
    assert_eq!(seen, unknown("None", "GET /payment-invoices/{id}"));
    // The card that was refused is as it was.
    assert!(bench.sale("paymega", &bench.handle("paymega"), &again).is_ok());
}

#[test]
fn what_was_refused_here_or_not_sent_is_given_back() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let bad = sale_json(&token, "cvv_test_0");
    for _ in 0..2 {
        assert!(refusal(bench.sale("paymega", &handle, &bad)).starts_with("TokenMalformed"));
    }
    for _ in 0..2 {
        let sale = bench.sale("paymega", &handle, &sale_json(&token, &cvv));
        sale.unwrap().1.unanswered(Forwarded::No, &bench.flow, NOW);
    }
}

#[test]
fn claims_are_given_back_last_so_that_a_retry_that_waits_for_them_finds_the_rest() {
    const PUT_CODE_BACK: [u8; 2] = [10, 0];
    const REMOVE: u8 = 7;
    let bench = highhelp::bench();
    // A vault that is elsewhere is asked for each thing, in order.
    let keeper = Vault::new(Keyring::random(), Limits::default());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let asks = asked.clone();
    let ask: Ask = Arc::new(move |question| {
        asks.lock().unwrap().push([question[0], question[1]]);
        Some(keeper.answer(question))
    });
    drop(bench.flow.vault().hold().give_up(&ask));
    let (token, cvv) = bench.shop_card();
    let json = highhelp::payin(&token, &cvv);
    let mut headers = highhelp::access(highhelp::OTHER, json.as_bytes(), NOW.as_secs());
    headers.insert("idempotency-key", "order-7".parse().unwrap());
    let payin = || bench.prepare("POST", highhelp::PAYIN, &headers, json.as_bytes()).unwrap();
    let (_, pending) = payin();
    asked.lock().unwrap().clear();
    pending.unanswered(Forwarded::No, &bench.flow, NOW);
    let mut seen: Vec<_> = asked.lock().unwrap().drain(..).collect();
    seen.retain(|question| *question == PUT_CODE_BACK || question[0] == REMOVE);
    let [code, signed, key, payment] = seen[..] else { panic!("{seen:?}") };
    let (marks, onces) = (signed[1], key[1]);
    assert_eq!(code, PUT_CODE_BACK);
    assert_eq!([signed, key, payment], [[REMOVE, marks], [REMOVE, onces], [REMOVE, marks]]);
    assert_ne!(marks, onces);
    payin();
}

#[test]
fn a_request_without_all_of_the_key_is_not_guarded() {
    let bench = Bench::new();
    for reference in ["null", "\"\""] {
        let body = invoice(reference, "17");
        let _under_way = bench.call("POST", INVOICES, body.as_bytes()).unwrap();
        assert!(bench.call("POST", INVOICES, body.as_bytes()).is_ok(), "{reference}");
    }
    // A number and the text of it are one key.
    let _under_way = bench.call("POST", INVOICES, invoice("7", "17").as_bytes()).unwrap();
    let seen = refusal(bench.call("POST", INVOICES, invoice("\"7\"", "17").as_bytes()));
    assert_eq!(seen, UNDER_WAY);
}
