//! A provider that is not one of ours, in TOML alone: the one that docs/add-a-provider.md adds.

use base64::Engine as _;
use hmac::{Hmac, Mac as _};
use portcullis::flow::Unverified;
use sha2::Sha256;

use crate::bench::{Bench, CVV, NOW, PAN, body, deliver, headers, member, parts, refusal, sent};

const PAGE: &str = include_str!("../../docs/add-a-provider.md");

pub fn profile() -> &'static str {
    let from = PAGE.find("```toml\n").unwrap() + 8;
    &PAGE[from..from + PAGE[from..].find("```").unwrap()]
}

fn mac(secret: &str, raw: &[u8]) -> String {
    let mut mac = <Hmac<Sha256> as hmac::KeyInit>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(raw);
    mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn signed(kind: &str, raw: &str) -> http::HeaderMap {
    let pair = base64::engine::general_purpose::STANDARD.encode("shop-at-acme:virtual-key");
    let (basic, signature) = (format!("Basic {pair}"), mac("virtual-secret", raw.as_bytes()));
    headers(&[("authorization", &basic), ("content-type", kind), ("x-acme-signature", &signature)])
}

#[test]
fn json_and_form_routes_pay_with_the_final_bytes_signed() {
    let bench = Bench::acme(profile());
    let json = |pan: &str, cvv: &str, year: &str| {
        format!(
            r#"{{"amount":1.10, "card":{{"number":"{pan}","cvc":"{cvv}","expiry_year":"{year}"}}}}"#
        )
    };
    let form = |pan: &str, cvv: &str| format!("amount=1.10&pan={pan}&note=a%2Bb+c&cvc={cvv}");
    let (token, cvv) = bench.shop_card();
    let raw = json(&token, &cvv, &token);
    let outcome = bench.prepare(
        "POST",
        "/acme/main/v2/charges",
        &signed("application/json", &raw),
        raw.as_bytes(),
    );
    let seen = sent(outcome.unwrap().0);
    assert_eq!(seen.body, json(PAN, CVV, "2035").as_bytes());
    assert_eq!(seen.headers["x-acme-signature"], mac("real-secret", &seen.body).as_str());
    assert_eq!((seen.host.as_str(), seen.target.as_str()), ("api.acme.example", "/v2/charges"));

    let (token, cvv) = bench.shop_card();
    let raw = form(&token, &cvv);
    let kind = "application/x-www-form-urlencoded";
    let outcome =
        bench.prepare("POST", "/acme/main/legacy/pay", &signed(kind, &raw), raw.as_bytes());
    let seen = sent(outcome.unwrap().0);
    assert_eq!(seen.body, form(PAN, CVV).as_bytes());
    assert_eq!(seen.headers["x-acme-signature"], mac("real-secret", &seen.body).as_str());
}

#[test]
fn a_signature_that_comes_back_withholds_the_answer_without_its_padding_too() {
    let bench = Bench::acme(&profile().replacen("spelling = \"hex\"", "spelling = \"base64\"", 1));
    let (token, _) = bench.shop_card();
    for padding in ["", "="] {
        let raw = format!(r#"{{"card":{{"number":"{token}"}}}}"#);
        let mut map = signed("application/json", &raw);
        let signature = base64_of(&mac("virtual-secret", raw.as_bytes()));
        map.insert("x-acme-signature", signature.parse().unwrap());
        let outcome = bench.prepare("POST", "/acme/main/v2/charges", &map, raw.as_bytes());
        let (draft, mut pending) = outcome.unwrap();
        let signed = draft.sign(NOW).unwrap();
        pending.signed(signed.signature);
        let seen = parts(signed.prepared);
        let signature = seen.headers["x-acme-signature"].to_str().unwrap();
        assert_eq!(signature, base64_of(&mac("real-secret", &seen.body)));
        let echo = format!(r#"{{"error":"{}{padding}"}}"#, signature.trim_end_matches('='));
        let seen = refusal(bench.answer(pending, 200, echo.as_bytes()));
        assert_eq!(seen, "AnswerWithheld(HoldsSignature)", "{padding}");
    }
}

/// Bytes that stand in hexadecimal, in base64 with its padding.
fn base64_of(hex: &str) -> String {
    let bytes = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
    base64::engine::general_purpose::STANDARD.encode(bytes.collect::<Vec<_>>())
}

#[test]
fn forms_are_refused_as_strictly_as_json() {
    let bench = Bench::acme(profile());
    let (token, cvv) = bench.shop_card();
    let kind = "application/x-www-form-urlencoded";
    let spaced = PAN.chars().map(|digit| format!("{digit}+")).collect::<String>();
    for (raw, expected) in [
        (format!("pan={PAN}&cvc={cvv}"), "RawCard"),
        (format!("pan=%35519283812030000&cvc={cvv}"), "RawCard"),
        (format!("note={PAN}&pan={token}"), "RawCard"),
        (format!("pan={spaced}&cvc={cvv}"), "RawCard"),
        (format!("pan={token}&cvc=123"), "RawCard"),
        (format!("pan={token}&pan={token}&cvc={cvv}"), "FormDuplicate"),
        (format!("pan={token}&p%61n={token}"), "FormDuplicate"),
        ("pan=hello".to_owned(), "TokenMalformed"),
    ] {
        let outcome =
            bench.prepare("POST", "/acme/main/legacy/pay", &signed(kind, &raw), raw.as_bytes());
        let seen = refusal(outcome);
        assert!(seen.contains(expected), "{raw}: {seen}");
    }
    let raw = format!("pan={token}&cvc={cvv}");
    let mut wrong = signed(kind, &raw);
    wrong.insert("x-acme-signature", mac("real-secret", raw.as_bytes()).parse().unwrap());
    let outcome = bench.prepare("POST", "/acme/main/legacy/pay", &wrong, raw.as_bytes());
    assert_eq!(refusal(outcome), "CallerSignature", "the real secret is not the application's");
    wrong.remove("x-acme-signature");
    let outcome = bench.prepare("POST", "/acme/main/legacy/pay", &wrong, raw.as_bytes());
    assert_eq!(refusal(outcome), "CallerSignature");
    let good = bench.prepare("POST", "/acme/main/legacy/pay", &signed(kind, &raw), raw.as_bytes());
    assert!(good.is_ok(), "nothing was used up");
}

#[test]
fn its_challenge_is_handed_off_and_its_notification_re_signed() {
    let bench = Bench::acme(profile());
    let (token, cvv) = bench.shop_card();
    let raw = format!(
        r#"{{"notify_url":"https://shop.example/acme","card":{{"number":"{token}","cvc":"{cvv}"}}}}"#
    );
    let outcome = bench.prepare(
        "POST",
        "/acme/main/v2/charges",
        &signed("application/json", &raw),
        raw.as_bytes(),
    );
    let (draft, pending) = outcome.unwrap();
    let ours = member(&sent(draft).body, "notify_url");
    let answer = br#"{"id":"ch_1","next_step":{"url":"https://acs.example/x","method":"POST","form":{"PaReq":"abc","TermUrl":"https://api.acme.example/back"},"hint":"bank"}}"#;
    let scrubbed = bench.answer(pending, 200, answer).unwrap();
    let text = String::from_utf8(scrubbed.into_parts().2.as_bytes().to_vec()).unwrap();
    let start = member(text.as_bytes(), "url");
    assert!(start.starts_with("https://pay.test/3ds/"), "{text}");
    assert!(text.ends_with(r#","method":"GET","form":{},"hint":"bank"}}"#), "{text}");

    let notice = r#"{"charge":"ch_1","state":"paid"}"#;
    let map = headers(&[("x-acme-signature", &mac("real-secret", notice.as_bytes()))]);
    let sealed = ours.rsplit('/').next();
    let callback =
        Unverified { account: "acme", sealed, headers: &map, body: body(notice.as_bytes()) };
    let verified = bench.flow.verify(callback, NOW).unwrap();
    let sent = deliver(bench.flow.judge(verified, NOW)).0;
    assert_eq!((sent.host.as_str(), sent.target.as_str()), ("shop.example", "/acme"));
    assert_eq!(sent.body, notice.as_bytes());
    assert_eq!(sent.headers["x-acme-signature"], mac("virtual-secret", notice.as_bytes()).as_str());
}
