//! What is explained is what is sent, with a mask where a secret stands; nothing is used up.
//!
//! Beside these every test that prepares a request has it explained before: see `Bench::prepare`.

use http::HeaderMap;
use portcullis::wire::{Pointer, parse};
use serde_json::Value;

use crate::bench::{Bench, CVV, OTHER_KEY, PAN, SHOP, basic, bearer, headers, sale_json, sent};
use crate::{fifth, highhelp, qostiq};

const MASKED: &str = "551928******0000";

/// Explains a call, makes it, and compares the two; `shown` turns what is sent into what may be
/// shown. Returns the explanation.
fn compare(
    bench: &Bench,
    (method, target): (&str, &str),
    headers: &HeaderMap,
    body: &str,
    shown: impl Fn(String) -> String,
) -> Value {
    let told = bench.explain(method, target, headers, body.as_bytes()).unwrap();
    assert_eq!(told.refusal, None);
    let (draft, pending) = bench.prepare(method, target, headers, body.as_bytes()).unwrap();
    let sent = sent(draft);
    bench.answer(pending, 400, b"{}").unwrap();
    let explained: Value = serde_json::from_str(&told.json).unwrap();
    let request = &explained["request"];
    assert_eq!(request["method"], sent.method.as_str());
    assert_eq!(request["url"], format!("https://{}{}", sent.host, sent.target));
    assert_body(&told.json, request, &shown(String::from_utf8(sent.body).unwrap()));
    let mut names: Vec<_> = sent.headers.keys().map(|name| name.as_str()).collect();
    names.push("host");
    names.sort_unstable();
    let told_headers = request["headers"].as_object().unwrap();
    let mut told_names: Vec<_> = told_headers.keys().map(String::as_str).collect();
    told_names.sort_unstable();
    assert_eq!(told_names, names);
    for (name, value) in told_headers.iter().filter(|(name, _)| *name != "host") {
        let (told, real) = (value.as_str().unwrap(), sent.headers[name].to_str().unwrap());
        let masked = ["authorization", "x-access-signature", "x-access-token", "x-acme-signature"];
        match masked.contains(&name.as_str()) {
            true => assert!(told.ends_with("***") && !told.contains(&real[real.len() - 4..])),
            false => assert_eq!(told, real, "{name}"),
        }
    }
    assert_eq!(explained["outcome"], "would_be_sent");
    explained
}

/// JSON byte for byte as it would be sent, a form as a text.
fn assert_body(json: &str, request: &Value, expected: &str) {
    match &request["body"] {
        Value::Null => assert_eq!(expected, ""),
        Value::String(form) => assert_eq!(form, expected),
        _ => {
            let document = parse(json.as_bytes()).unwrap();
            let body = document.find(&Pointer::parse("/request/body").unwrap()).unwrap();
            assert_eq!(std::str::from_utf8(body.raw()).unwrap(), expected.trim());
        }
    }
}

/// The value that begins so, and ends at the quote, becomes this.
fn masked(text: &str, prefix: &str, mask: &str) -> String {
    let mut parts = text.split(prefix);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, rest| text + prefix + mask + &rest[rest.find('"').unwrap()..])
}

/// Rules and where they were at work, one to a line.
fn rules(explained: &Value) -> String {
    let rule = |rule: &Value| {
        let at = rule["field"].as_str().or(rule["header"].as_str()).unwrap();
        let key = rule["key"].as_str().map(|key| format!(" {} {key}", rule["file"]));
        format!("{} {at}{}\n", rule["rule"].as_str().unwrap(), key.unwrap_or_default())
    };
    explained["rules"].as_array().unwrap().iter().map(rule).collect::<String>().replace('"', "")
}

fn hide_card(text: String) -> String {
    text.replace(PAN, MASKED).replace(&format!("\"{CVV}\""), "\"***\"")
}

const INVOICES: [(&str, &str); 3] = [
    ("paymega", include_str!("../fixtures/providers/corefy/paymega-en.invoice-request.json")),
    ("paymega", include_str!("../fixtures/providers/corefy/paymega-ru.invoice-request.json")),
    ("milkypay", include_str!("../fixtures/providers/corefy/milkypay.invoice-request.json")),
];

#[test]
fn an_invoice_is_explained_as_it_is_sent() {
    for (account, request) in INVOICES {
        let bench = Bench::new();
        let target = format!("/{account}/api/payment-invoices");
        let ours = format!("https://pay.test/callbacks/{account}/");
        let mut map = basic(SHOP, true);
        map.insert("cookie", "a=b".parse().unwrap());
        map.insert("accept", "text/html".parse().unwrap());
        let shown = |text: String| masked(&text, &ours, "***");
        let told = compare(&bench, ("POST", &target), &map, request, shown);
        assert_eq!(told["request"]["headers"]["authorization"], "Basic ***");
        let mut expected = format!(
            "callback_url /data/attributes/callback_url {account}.toml route.callback_url\n"
        );
        if request.contains("return_url") {
            let field = told["rules"][1]["field"].as_str().unwrap();
            expected += &format!("return_url {field} {account}.toml route.return_url\n");
        }
        expected += &format!("credential authorization {account}.toml api.api.credential\n");
        expected += &format!("accept accept {account}.toml route.answer\nheader_dropped cookie\n");
        assert_eq!(rules(&told), expected);
        let about = ["app", "account", "provider", "profile", "api", "route", "mode"];
        let about: Vec<_> = about.iter().map(|name| told[*name].as_str().unwrap()).collect();
        let profile = format!("{account}.toml");
        assert_eq!(about, ["shop", account, account, &profile, "api", "invoice.create", "test"]);
    }
}

#[test]
fn a_sale_is_explained_as_it_is_sent_and_pays_afterwards() {
    for account in ["paymega", "milkypay"] {
        let bench = Bench::new();
        let handle = bench.handle(account);
        let (token, cvv) = bench.shop_card();
        let json = sale_json(&token, &cvv)
            .replace("Card Holder", &token)
            .replace("\"10\"", &format!("\"{token}\""))
            .replace("\"35\"", &format!("\"{token}\""));
        let shown = |text: String| hide_card(text).replace("Card Holder", "***");
        let target = format!("/{account}/cardgate/payment/sale");
        let told = compare(&bench, ("POST", &target), &bearer(&handle), &json, shown);
        assert_eq!(told["request"]["headers"]["authorization"], "Bearer ***");
        let file = format!("{account}.toml");
        let field = |rule: &str, name: &str| {
            format!("{rule} /data/attributes/{name} {file} route.reveal\n")
        };
        let expected = [
            field("card_number", "card_number"),
            field("card_holder", "card_holder"),
            field("card_expiry_month", "exp_month"),
            field("card_expiry_year2", "exp_year"),
            field("card_cvv", "cvv"),
            format!("handle authorization {file} api.cardgate.credential\n"),
        ];
        assert_eq!(rules(&told), expected.concat());
        let spent = bench.explain("POST", &target, &bearer(&handle), json.as_bytes()).unwrap();
        let burned = "TokenUnknown(\"/data/attributes/cvv\")".to_owned();
        assert_eq!(spent.refusal, Some(burned), "the real one used it up");
    }
}

#[test]
fn a_payout_and_a_prerequest_are_explained_as_they_are_sent() {
    let bench = Bench::new();
    let (token, _) = bench.shop_card();
    let payout = format!(r#"{{"data":{{"attributes":{{"fields":{{"card_number":"{token}"}}}}}}}}"#);
    let target = "/paymega/api/payout-invoices";
    compare(&bench, ("POST", target), &basic(SHOP, true), &payout, hide_card);
    let asked = r#"{"public_key":"pk_virtual_shop","currency":"USD","amount":1.10}"#;
    let map = headers(&[("content-type", "application/json")]);
    let target = "/paymega/public/payment-prerequest";
    let told = compare(&bench, ("POST", target), &map, asked, |text| {
        text.replace("pk_live_real_paymega", "***")
    });
    assert_eq!(rules(&told), "credential /public_key paymega.toml api.public.credential\n");
    let read = "/paymega/api/payment-invoices/?filter[reference_id]=ord-1&x=%41+b";
    compare(&bench, ("GET", read), &basic(SHOP, false), "", |text| text);
}

#[test]
fn digests_handles_and_sealed_values_of_qostiq_are_not_shown() {
    let bench = qostiq::bench();
    let map = headers(&[("content-type", "application/json")]);
    let target = "/qostiq/core/invoice/create";
    let real = |text: String| masked(&text, r#""sign":""#, "***");
    let order = qostiq::invoice(qostiq::VIRTUAL, "");
    let told = compare(&bench, ("POST", target), &map, &order, real);
    assert_eq!(rules(&told), "signature /sign qostiq.toml api.core\n");

    let (token, _) = bench.shop_card();
    let order = qostiq::withdrawal("w-1", &token, qostiq::VIRTUAL);
    let target = "/qostiq/core/withdraw/create";
    let told = compare(&bench, ("POST", target), &map, &order, |t| real(hide_card(t)));
    let expected =
        "card_number /account qostiq.toml route.reveal\nsignature /sign qostiq.toml api.core\n";
    assert_eq!(rules(&told), expected);

    let handle = qostiq::session(&bench);
    let json = format!(r#"{{"session_id": "{handle}"}}"#);
    let told = compare(&bench, ("POST", "/qostiq/card/h2h_data"), &map, &json, |text| {
        text.replace("26d90ef012e34b44aa9d74a3556e15a6", "***")
    });
    assert_eq!(rules(&told), "handle /session_id qostiq.toml api.card.credential\n");
}

#[test]
fn a_signed_request_of_highhelp_is_explained_and_may_be_sent_afterwards_once() {
    let bench = highhelp::bench();
    let (token, cvv) = bench.shop_card();
    let json = highhelp::payin(&token, &cvv);
    let now = crate::bench::NOW.as_secs();
    let map = highhelp::access(highhelp::OTHER, json.as_bytes(), now);
    let shown =
        |text: String| masked(&hide_card(text), "https://pay.test/callbacks/highhelp/", "***");
    let told = compare(&bench, ("POST", highhelp::PAYIN), &map, &json, shown);
    let rules = rules(&told);
    for line in [
        "callback_url /general/merchant_decline_callback_url highhelp.toml route.callback_url\n",
        "card_number /sender/pan highhelp.toml route.reveal\n",
        "card_cvv /sender/cvv highhelp.toml route.reveal\n",
        "return_url /general/redirect_url highhelp.toml route.return_url\n",
        "signature x-access-signature highhelp.toml api.api\n",
        "header_dropped x-access-token\n",
    ] {
        assert!(rules.contains(line), "{line}{rules}");
    }
    // The CVV's token is told first; without one it is the signature that came before.
    let without = highhelp::payin(&token, "");
    let map = highhelp::access(highhelp::OTHER, without.as_bytes(), now);
    let sent = bench.prepare("POST", highhelp::PAYIN, &map, without.as_bytes());
    bench.answer(sent.unwrap().1, 400, b"{}").unwrap();
    let again = bench.explain("POST", highhelp::PAYIN, &map, without.as_bytes()).unwrap();
    assert!(again.refusal.unwrap().starts_with("CallerReplayed"));
}

#[test]
fn a_form_with_a_signature_over_its_body_is_explained_as_it_is_sent() {
    let bench = Bench::acme(fifth::profile());
    let (token, cvv) = bench.shop_card();
    let raw = format!("amount=1.10&pan={token}&note=a%2Bb+c&cvc={cvv}");
    let map = fifth::signed("application/x-www-form-urlencoded", &raw);
    let told = compare(&bench, ("POST", "/acme/main/legacy/pay"), &map, &raw, |text| {
        text.replace(PAN, MASKED).replace(&format!("cvc={CVV}"), "cvc=***")
    });
    assert!(rules(&told).contains("signature x-acme-signature acme.toml api.main\n"));
}

#[test]
fn a_refusal_comes_with_the_rules_that_ran_before_it_and_nothing_of_the_request() {
    let bench = highhelp::bench();
    let (token, cvv) = bench.shop_card();
    let (_, gone) = bench.shop_card();
    let now = crate::bench::NOW.as_secs();
    let json = highhelp::payin(&token, &gone);
    let map = highhelp::access(highhelp::OTHER, json.as_bytes(), now);
    let told = bench.explain("POST", highhelp::PAYIN, &map, json.as_bytes()).unwrap();
    assert_eq!(told.refusal.as_deref(), Some("TokenUnknown(\"/sender/cvv\")"));
    let explained: Value = serde_json::from_str(&told.json).unwrap();
    assert_eq!(explained["outcome"], "would_be_refused");
    assert_eq!(explained["problem"], serde_json::json!({}));
    assert!(explained["request"].is_null());
    let rules = rules(&explained);
    assert!(rules.contains("card_number /sender/pan") && !rules.contains("cvv"), "{rules}");
    assert!(!told.json.contains("tok_") && !told.json.contains("cvv_test"), "{}", told.json);

    let raw = highhelp::payin(PAN, &cvv);
    let map = highhelp::access(highhelp::OTHER, raw.as_bytes(), now);
    let told = bench.explain("POST", highhelp::PAYIN, &map, raw.as_bytes()).unwrap();
    assert_eq!(told.refusal.as_deref(), Some("RawCard(Some(\"/sender/pan\"))"));
    assert!(!told.json.contains("5519"), "{}", told.json);
}

#[test]
fn who_may_not_call_gets_no_explanation() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let (foreign, foreign_cvv) = bench.capture(OTHER_KEY, PAN, CVV);
    let json = sale_json(&token, &cvv);
    let target = "/paymega/cardgate/payment/sale";
    let none = headers(&[("content-type", "application/json")]);
    let stranger =
        headers(&[("authorization", "Bearer brr_x"), ("content-type", "application/json")]);
    let mut two = bearer(&handle);
    two.insert("portcullis-key", OTHER_KEY.parse().unwrap());
    for (map, expected) in
        [(&none, "CallerUnknown"), (&stranger, "HandleUnknown"), (&two, "CallerUnknown")]
    {
        let seen = bench.explain("POST", target, map, json.as_bytes()).err();
        assert_eq!(seen.as_deref(), Some(expected));
    }
    // Another application's card is as unknown as none: the same words, and the same fields.
    let foreign = sale_json(&foreign, &foreign_cvv);
    let unknown = bench.explain("POST", target, &bearer(&handle), foreign.as_bytes()).unwrap();
    let expected = "TokenUnknown(\"/data/attributes/card_number\")";
    assert_eq!(unknown.refusal.as_deref(), Some(expected));
}

#[test]
fn rates_are_asked_and_their_refusal_is_no_explanation() {
    use portcullis::flow::Incoming;
    let bench = Bench::new();
    let map = basic(SHOP, false);
    let (method, path) = (http::Method::GET, "/paymega/api/payment-invoices/cpi_1");
    let incoming = Incoming {
        method: &method,
        path,
        query: None,
        headers: &map,
        client_names: &[],
        body: crate::bench::body(b""),
    };
    let mut asked = Vec::new();
    let allow = |app: &portcullis::caller::App, place: portcullis::flow::Place<'_>| {
        asked.push(format!("{} {}", app.tenant, place.route.name));
        Ok(())
    };
    bench.flow.explain(&incoming, allow, crate::bench::NOW).unwrap();
    assert_eq!(asked, ["shop invoice.read"]);
}

#[test]
fn a_key_is_looked_at_and_not_claimed() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let json = sale_json(&token, &cvv);
    let target = "/paymega/cardgate/payment/sale";
    let mut map = bearer(&handle);
    map.insert("idempotency-key", "order-1".parse().unwrap());
    let told = |json: &str| {
        let told = bench.explain("POST", target, &map, json.as_bytes()).unwrap();
        let outcome: Value = serde_json::from_str(&told.json).unwrap();
        (outcome["outcome"].as_str().unwrap().to_owned(), told.refusal.unwrap_or_default())
    };
    for _ in 0..3 {
        assert_eq!(told(&json), ("would_be_sent".to_owned(), String::new()));
    }
    let (_, pending) = bench.prepare("POST", target, &map, json.as_bytes()).unwrap();
    let refused = |why: &str| ("would_be_refused".to_owned(), why.to_owned());
    assert_eq!(told(&json), refused("RepeatedInFlight"));
    bench.answer(pending, 200, b"{}").unwrap();
    assert_eq!(told(&json), ("would_be_repeated".to_owned(), String::new()));
    assert_eq!(told(&json.replace("-60", "-61")), refused("RepeatedDiffers"));
    map.insert("idempotency-key", "two words".parse().unwrap());
    let bad = bench.explain("POST", target, &map, json.as_bytes()).unwrap();
    assert_eq!(bad.refusal.as_deref(), Some("RepeatKeyInvalid"));
}

#[test]
fn a_name_of_a_header_that_is_a_card_is_not_repeated() {
    let bench = Bench::new();
    let mut map = basic(SHOP, false);
    map.insert(http::HeaderName::from_static(PAN), "x".parse().unwrap());
    let method = http::Method::GET;
    let incoming = portcullis::flow::Incoming {
        method: &method,
        path: "/paymega/api/payment-invoices/cpi_1",
        query: None,
        headers: &map,
        client_names: &[],
        body: crate::bench::body(b""),
    };
    let explanation = bench.flow.explain(&incoming, |_, _| Ok(()), crate::bench::NOW).unwrap();
    let withheld = explanation.into_json(b"").map(drop);
    assert_eq!(crate::bench::refusal(withheld), "RawCard(None)");
}
