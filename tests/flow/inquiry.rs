//! The question about a payment in doubt: what is asked, and what an answer is taken to say.

use portcullis::flow::{Answer, Inquiry, Known, Learnt};

use crate::bench::{Bench, NOW, PAN, body, headers, member, sale_json, sent};

const INVOICES: &str = "/paymega/api/payment-invoices";
const ASKS: &str = r#"status_query = { routes = ["invoice.create", "sale"], seconds = 2 }"#;

fn asking() -> Bench {
    Bench::with(ASKS, "")
}

/// The question about an invoice with this reference.
fn about(bench: &Bench, reference: &str) -> Option<Box<Inquiry>> {
    let json = format!(r#"{{"data":{{"attributes":{{"reference_id":{reference}}}}}}}"#);
    let (_, mut pending) = bench.call("POST", INVOICES, json.as_bytes()).unwrap();
    pending.inquiry()
}

fn answered(status: u16, json: &str) -> Answer {
    let headers = headers(&[("content-type", "application/json")]);
    Answer { status, headers, body: body(json.as_bytes()) }
}

fn learnt(known: Known, status: Option<&str>) -> Option<Learnt> {
    let state = status.map(|status| ("status".to_owned(), status.to_owned()));
    Some(Learnt { known, state: state.into_iter().collect() })
}

fn list(reference: &str, status: &str) -> String {
    format!(r#"{{"data":[{{"attributes":{{"reference_id":{reference},"status":{status}}}}}]}}"#)
}

#[test]
fn nobody_asks_unless_the_account_says_so() {
    let bench = Bench::new();
    assert!(about(&bench, "\"ord-1\"").is_none());
    let (_, mut pending) = asking().call("GET", INVOICES, b"").unwrap();
    assert!(pending.inquiry().is_none(), "a call that is not named");
}

#[test]
fn a_payment_is_asked_for_by_what_its_request_says_and_with_the_real_credentials() {
    let bench = asking();
    let inquiry = about(&bench, "\"a b&c=\\u00e4/1\"").unwrap();
    let asked = sent(inquiry.draft(NOW).unwrap());
    assert_eq!(asked.method, "GET");
    let target = "/payment-invoices?filter[reference_id]=a+b%26c%3D%C3%A4%2F1";
    assert!(asked.target.ends_with(target), "{}", asked.target);
    let own = asked.headers["authorization"].to_str().unwrap();
    assert!(own.starts_with("Basic ") && asked.headers["authorization"].is_sensitive());
    assert!(asked.body.is_empty());
    // A request that does not name its payment cannot be asked about.
    assert!(about(&bench, "null").unwrap().draft(NOW).is_none());
    assert!(about(&bench, "\"\"").unwrap().draft(NOW).is_none());
}

#[test]
fn a_sale_is_asked_for_by_the_invoice_that_its_handle_came_with() {
    for return_url in ["", r#""return_url":"https://shop.example/back""#] {
        let bench = asking();
        let request = format!(r#"{{"data":{{"attributes":{{{return_url}}}}}}}"#);
        let (_, pending) = bench.call("POST", INVOICES, request.as_bytes()).unwrap();
        let made = r#"{"data":{"id":"cpi_1","attributes":{"flow_data":{"metadata":{"token":"jwt.of.one"}}}}}"#;
        let scrubbed = bench.answer(pending, 201, made.as_bytes()).unwrap();
        let handle = member(scrubbed.into_parts().2.as_bytes(), "token");
        let (token, cvv) = bench.shop_card();
        let bearer = format!("Bearer {handle}");
        let headers = headers(&[("authorization", &bearer), ("content-type", "application/json")]);
        let sale = sale_json(&token, &cvv);
        let prepared =
            bench.prepare("POST", "/paymega/cardgate/payment/sale", &headers, sale.as_bytes());
        let inquiry = prepared.unwrap().1.inquiry().unwrap();
        let asked = sent(inquiry.draft(NOW).unwrap());
        assert!(asked.target.ends_with("/payment-invoices/cpi_1"), "{}", asked.target);
        let state = |id: &str, status: &str| {
            let json =
                format!(r#"{{"data":{{"id":"{id}","attributes":{{"status":"{status}"}}}}}}"#);
            inquiry.learn(&answered(200, &json))
        };
        assert_eq!(state("cpi_1", "processed"), learnt(Known::Yes, Some("processed")));
        let before = learnt(Known::Unclear, Some("process_pending"));
        assert_eq!(state("cpi_1", "process_pending"), before, "an invoice begins with it");
        assert_eq!(state("cpi_2", "processed"), None, "another one's");
    }
}

#[test]
fn an_answer_about_another_payment_or_about_none_teaches_nothing() {
    let bench = asking();
    let inquiry = about(&bench, "\"ord-1\"").unwrap();
    let learn = |status, json: &str| inquiry.learn(&answered(status, json));
    let found = list("\"ord-1\"", "\"processing\"");
    assert_eq!(learn(200, &found), learnt(Known::Yes, Some("processing")));
    assert_eq!(learn(200, r#"{"data":[]}"#), learnt(Known::No, None));
    for (status, json) in [
        (404, found.as_str()),
        (500, found.as_str()),
        (200, ""),
        (200, "<html>"),
        (200, r#"{"data":[}"#),
        (200, r#"{"data":null}"#),
        (200, r#"{"data":{}}"#),
        (200, r#"{"data":[],"data":[]}"#),
        (200, r#"{"errors":[{"detail":"busy"}]}"#),
        (200, list("\"ord-10\"", "\"processed\"").as_str()),
        (200, list("[\"ord-1\"]", "\"processed\"").as_str()),
    ] {
        assert_eq!(learn(status, json), None, "{status} {json}");
    }
}

#[test]
fn no_card_fits_into_the_words_that_are_handed_out() {
    let bench = asking();
    let inquiry = about(&bench, "\"ord-1\"").unwrap();
    let word = |status: &str| {
        let answer = answered(200, &list("\"ord-1\"", status));
        inquiry.learn(&answer).unwrap().state.pop().map(|(_, word)| word)
    };
    assert_eq!(word("\"awaiting_3ds_result\"").as_deref(), Some("awaiting_3ds_result"));
    assert_eq!(word("4").as_deref(), Some("4"));
    let long = format!("\"{}\"", "a".repeat(65));
    let spelled = PAN.chars().map(|digit| format!("\\u00{:x}", digit as u32)).collect::<String>();
    for bad in [
        &format!("\"{PAN}\""),
        PAN,
        &format!("\"{spelled}\""),
        "\"123\"",
        "123",
        "\"a1b2c3\"",
        "\"\"",
        "\"two words\"",
        r#""x\";y=\"1""#,
        "\"line\\r\\nset-cookie:a\"",
        "\"ä\"",
        "null",
        "true",
        "{}",
        &long,
    ] {
        assert_eq!(word(bad), None, "{bad}");
    }
}
