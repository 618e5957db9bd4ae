//! Whatever a provider names as its return address (first line) and answers the returning browser
//! with (second line), we dial nothing but a host on the account's list, and send no card on.

#![no_main]

#[path = "../../tests/flow/bench.rs"]
#[allow(dead_code, reason = "the flow's tests use more of it")]
mod bench;
mod canary;
mod lasting;

use bench::{Bench, CVV, PAN, SHOP_KEY, body, member};
use canary::{assert_gone, planted};
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use portcullis::flow::{Answer, Return, Step};

const LISTED: &str = "card.psp.name";
/// The account's own addresses are on its list, too.
const ALLOWED: [&str; 3] = [LISTED, "api.paymega.test", "gate.paymega.test"];

fn id_of(url: &str) -> &str {
    url.split('/').nth(4).unwrap_or_default()
}

fn pay(bench: &Bench, term_url: &str, location: HeaderValue) {
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.capture(SHOP_KEY, PAN, CVV);
    let (_, pending) = bench.sale("paymega", &handle, &bench::sale_json(&token, &cvv)).unwrap();
    let fields = serde_json::json!({ "MD": "1", "PaReq": "eJw", "TermUrl": term_url });
    let challenge = serde_json::json!({
        "auth_payload": { "action": "https://acs.bank.example/", "method": "POST", "params": fields }
    });
    let Ok(answered) = bench.answer(pending, 200, challenge.to_string().as_bytes()) else { return };
    let page =
        bench.handoff_page(id_of(&member(answered.into_parts().2.as_bytes(), "action"))).unwrap();
    let ours = page.fields.iter().find(|(name, _)| name == "TermUrl").unwrap().1.clone();
    assert!(ours.starts_with("https://pay.test/3ds/") && ours.len() <= 200);
    let headers = HeaderMap::new();
    let back = Return {
        method: &Method::POST,
        query: None,
        headers: &headers,
        body: body(b"PaRes=1&MD=1"),
    };
    let step = bench.flow.begin_return(id_of(&ours), back, bench::NOW).unwrap();
    let Step::Send(prepared, ticket) = step else { panic!("not sent") };
    let sent = bench::parts(*prepared);
    assert!(ALLOWED.contains(&sent.host.as_str()), "{}", sent.host);
    assert!(sent.target.starts_with('/'), "{}", sent.target);
    assert!(sent.target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'));
    let mut headers = HeaderMap::new();
    headers.insert("location", location);
    let answer = Answer { status: 302, headers, body: body(b"") };
    let told = bench.flow.finish_return(ticket, Ok(answer), bench::NOW).unwrap();
    let Some(location) = told.location else { return };
    assert!(location.starts_with("https://") || location.starts_with("http://"), "{location}");
    assert_gone(location.as_bytes());
}

fuzz_target!(|input: &[u8]| {
    let input = planted(input);
    let (term_url, location) = match input.iter().position(|byte| *byte == b'\n') {
        Some(at) => (&input[..at], &input[at + 1..]),
        None => (&input[..], &b"https://shop.example/"[..]),
    };
    let Ok(term_url) = std::str::from_utf8(term_url) else { return };
    let Ok(location) = HeaderValue::from_bytes(location) else { return };
    lasting::with(
        || Bench::with(&format!("[account.three_ds]\nhosts = [\"{LISTED}\"]\n"), ""),
        |bench, _| pay(bench, term_url, location),
    );
});
