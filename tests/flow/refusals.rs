//! Bad input: refused before anything is sent, and nothing is used up.

use std::time::Duration;

use portcullis::card::Mode;
use portcullis::secret::SecretBytes;
use portcullis::vault::{Account, Audience, Tenant};

use crate::bench::{
    Bench, CVV, NOW, OTHER, OTHER_KEY, PAN, SHOP, SHOP_KEY, basic, bearer, card, headers, refusal,
    sale_json,
};

/// After a refusal the same tokens still pay.
fn still_pays(bench: &Bench, handle: &str, token: &str, cvv: &str) {
    assert!(bench.sale("paymega", handle, &sale_json(token, cvv)).is_ok(), "something was used up");
}

#[test]
fn a_body_that_cannot_be_read_without_doubt_is_refused() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let good = sale_json(&token, &cvv);
    let twice =
        good.replace("\"card_holder\"", &format!("\"card_number\": \"{token}\", \"card_holder\""));
    let escaped_twice = good.replace(
        "\"card_holder\"",
        &format!("\"card_n\\u0075mber\": \"{token}\", \"card_holder\""),
    );
    let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
    for (json, expected) in [
        ("{".to_owned(), "JsonSyntax"),
        (good.replace("\"data\":", "data:"), "JsonSyntax"),
        (good.replace("\"35\",", "\"35\",,"), "JsonSyntax"),
        (twice, "JsonDuplicateKey"),
        (escaped_twice, "JsonDuplicateKey"),
        (deep, "JsonDepth"),
        (format!("\u{feff}{good}"), "Bom"),
        (format!("{good}x"), "JsonTrailing"),
        (format!("{good}{good}"), "JsonTrailing"),
        (good.replace("Card Holder", "\\ud800"), "JsonSurrogate"),
        ("card_number=tok&cvv=1".to_owned(), "JsonSyntax"),
    ] {
        let seen = refusal(bench.sale("paymega", &handle, &json));
        assert!(seen.contains(expected), "{expected}: {seen}");
        still_pays_later(&bench, &token);
    }
    let mut invalid = good.clone().into_bytes();
    let at = good.find("Card Holder").unwrap();
    invalid[at] = 0xff;
    let seen = refusal(bench.prepare(
        "POST",
        "/paymega/cardgate/payment/sale",
        &bearer(&handle),
        &invalid,
    ));
    assert!(seen.contains("Utf8"), "{seen}");
    still_pays(&bench, &handle, &token, &cvv);
}

fn still_pays_later(bench: &Bench, token: &str) {
    let headers = headers(&[("portcullis-key", SHOP_KEY)]);
    assert!(
        bench
            .flow
            .describe(bench.flow.known(&headers, &[]).unwrap(), token, crate::bench::NOW)
            .is_ok()
    );
}

#[test]
fn card_data_in_clear_is_refused_in_every_place_and_disguise() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let escaped: String = PAN.chars().map(|digit| format!("\\u{:04x}", digit as u32)).collect();
    for json in [
        sale_json(PAN, &cvv),
        sale_json("5519 2838 1203 0000", &cvv),
        sale_json("5519-2838-1203-0000", &cvv),
        sale_json(&escaped, &cvv),
        sale_json(&token, CVV),
        sale_json(&token, "1234"),
        sale_json("4111111111111112", &cvv),
        sale_json(&token, &cvv).replace("Card Holder", PAN),
        sale_json(&token, &cvv).replace("Card Holder", &format!("x {PAN} y")),
        sale_json(&token, &cvv).replace("Card Holder", "5519/2838/1203/0000"),
        sale_json(&token, &cvv).replace("Card Holder", "5519,2838,1203,0000"),
        sale_json(&token, &cvv).replace("Card Holder", "5519:2838:1203:0000"),
        sale_json(&token, &cvv).replace("Card Holder", "5519--2838--1203--0000"),
        sale_json(&token, &cvv).replace("Card Holder", "5519    2838    1203    0000"),
        sale_json(&token, &cvv).replace("Card Holder", "5 5 1 9 2 8 3 8 1 2 0 3 0 0 0 0"),
        sale_json(&token, &cvv).replace("Card Holder", &format!("%B{PAN}^DOE/J^3012101?")),
        sale_json(&token, &cvv).replace("\"browser_tz\": \"-60\"", &format!("\"{PAN}\": 1")),
    ] {
        let seen = refusal(bench.sale("paymega", &handle, &json));
        assert!(seen.starts_with("RawCard"), "{json}: {seen}");
        assert!(!seen.contains(PAN) && !seen.contains("4111"), "{seen}");
    }
    let query = format!("/paymega/api/payment-invoices?filter[reference_id]={PAN}");
    assert_eq!(refusal(bench.call("GET", &query, b"")), "RawCard(None)");
    let path = format!("/paymega/api/payment-invoices/{PAN}");
    assert_eq!(refusal(bench.call("GET", &path, b"")), "RawCard(None)");
    still_pays(&bench, &handle, &token, &cvv);
}

#[test]
fn a_card_field_that_is_not_a_string_is_refused() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let sent = |value: &str| {
        let json = sale_json(&token, &cvv).replace(&format!("\"{token}\""), value);
        refusal(bench.sale("paymega", &handle, &json))
    };
    for value in ["1", "true", "[]", "{}", "[\"x\"]"] {
        assert_eq!(sent(value), "FieldNotText(\"/data/attributes/card_number\")", "{value}");
    }
    for value in [PAN.to_owned(), format!("[{PAN}]"), format!("{{\"x\":{PAN}}}")] {
        let seen = sent(&value);
        assert_eq!(seen, "RawCard(Some(\"/data/attributes/card_number\"))", "a card as {value}");
    }
    still_pays(&bench, &handle, &token, &cvv);
}

#[test]
fn tokens_that_are_wrong_foreign_or_gone_are_refused() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let (foreign, foreign_cvv) = bench.capture(OTHER_KEY, PAN, CVV);
    let (second, second_cvv) = bench.shop_card();
    let typo =
        format!("{}{}", &token[..token.len() - 1], if token.ends_with('a') { 'b' } else { 'a' });
    for (number, code, expected) in [
        (typo.as_str(), cvv.as_str(), "TokenMalformed"),
        ("tok_test_", cvv.as_str(), "TokenMalformed"),
        ("hello", cvv.as_str(), "TokenMalformed"),
        (token.as_str(), "hello", "TokenMalformed"),
        (cvv.as_str(), token.as_str(), "TokenMalformed"),
        (foreign.as_str(), foreign_cvv.as_str(), "TokenUnknown"),
        (foreign.as_str(), cvv.as_str(), "TokenUnknown"),
        (token.as_str(), foreign_cvv.as_str(), "TokenUnknown"),
        (token.as_str(), second_cvv.as_str(), "TokenUnknown"),
    ] {
        let seen = refusal(bench.sale("paymega", &handle, &sale_json(number, code)));
        assert!(seen.starts_with(expected), "{number} {code}: {seen}");
    }
    let two = sale_json(&token, &cvv).replace("Card Holder", &second);
    assert!(refusal(bench.sale("paymega", &handle, &two)).starts_with("TokensOfTwoCards"));
    still_pays(&bench, &handle, &token, &cvv);
    still_pays(&bench, &bench.handle("paymega"), &second, &second_cvv);
}

#[test]
fn a_cvv_pays_once_and_comes_back_only_when_nothing_was_sent() {
    use portcullis::flow::Forwarded;
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let elsewhere = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let json = sale_json(&token, &cvv);
    let (_, pending) = bench.sale("paymega", &handle, &json).unwrap();
    let seen = refusal(bench.sale("paymega", &elsewhere, &json));
    assert!(seen.starts_with("TokenUnknown"), "in use");
    pending.unanswered(Forwarded::No, &bench.flow, crate::bench::NOW);
    let (_, pending) = bench.sale("paymega", &handle, &json).unwrap();
    pending.unanswered(Forwarded::Unknown, &bench.flow, crate::bench::NOW);
    let seen = refusal(bench.sale("paymega", &elsewhere, &json));
    assert_eq!(seen, "TokenUnknown(\"/data/attributes/cvv\")", "burned");
    let without = json.replace(&format!("\"{cvv}\""), "\"\"");
    assert!(bench.sale("paymega", &elsewhere, &without).is_ok(), "the card itself is still kept");
}

#[test]
fn a_fresh_cvv_can_be_captured_for_a_kept_card() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    drop(bench.sale("paymega", &handle, &sale_json(&token, &cvv)).unwrap());
    let session = bench.session(SHOP_KEY);
    let again = format!(r#"{{"card":{{"token":"{token}","cvv":"321"}}}}"#);
    let captured = bench.capture_raw(&session, &again).unwrap();
    let fresh = crate::bench::member(&captured, "cvv_token");
    assert_eq!(crate::bench::member(&captured, "token"), token);
    let of_the_card = ["bin", "last4", "brand", "exp_month", "exp_year"];
    assert_eq!(
        of_the_card.map(|name| crate::bench::member(&captured, name)),
        ["551928", "0000", "mastercard", "10", "2035"]
    );
    let handle = bench.handle("paymega");
    let (prepared, _) = bench.sale("paymega", &handle, &sale_json(&token, &fresh)).unwrap();
    let body = crate::bench::sent(prepared).body;
    assert!(String::from_utf8(body).unwrap().contains("\"cvv\": \"321\""));
}

#[test]
fn a_token_outside_a_card_field_is_text() {
    let bench = Bench::new();
    let (token, cvv) = bench.shop_card();
    let json = format!(
        r#"{{"data":{{"attributes":{{"description":"{token}","return_url":"https://shop.example/?{cvv}"}}}}}}"#
    );
    let (prepared, pending) =
        bench.call("POST", "/paymega/api/payment-invoices", json.as_bytes()).unwrap();
    assert_eq!(pending.replaced().pan, 0);
    assert_eq!(crate::bench::sent(prepared).body, json.as_bytes());
}

#[test]
fn only_calls_that_a_profile_names_may_pass() {
    let bench = Bench::new();
    let expect = |method: &str, target: &str, expected: &str| {
        let body: &[u8] = if method == "GET" || method == "DELETE" { b"" } else { b"{}" };
        let seen = refusal(bench.call(method, target, body));
        assert_eq!(seen, expected, "{method} {target}");
    };
    for target in
        ["/", "/nobody/api/payment-invoices", "/paymega/nothing/x", "/paymega/api", "/paymega"]
    {
        expect("GET", target, "RouteUnknown");
    }
    expect("DELETE", "/paymega/api/payment-invoices/cpi_1", "RouteUnknown");
    expect("PUT", "/paymega/api/payment-invoices", "RouteUnknown");
    expect("GET", "/paymega/cardgate/payment/sale", "RouteUnknown");
    expect("POST", "/paymega/api/payment/sale", "RouteUnknown");
    expect("GET", "/paymega/api/payment-invoices/a/b", "RouteUnknown");
    expect("GET", "/paymega/api/payment-invoices/../secrets", "PathRefused");
    expect("GET", "/paymega/api/payment-invoices/%2e%2e", "PathRefused");
    expect("GET", "/paymega/api//payment-invoices", "PathRefused");
}

#[test]
fn content_type_and_coding_must_be_plain() {
    let bench = Bench::new();
    for (pairs, expected) in [
        (vec![], "ContentTypeRefused"),
        (vec![("content-type", "text/plain")], "ContentTypeRefused"),
        (vec![("content-type", "application/x-www-form-urlencoded")], "ContentTypeRefused"),
        (vec![("content-type", "application/json; charset=utf-16")], "ContentTypeRefused"),
        (
            vec![("content-type", "application/json"), ("content-type", "application/json")],
            "ContentTypeRefused",
        ),
        (
            vec![("content-type", "application/json"), ("content-encoding", "gzip")],
            "ContentEncodingRefused",
        ),
        (
            vec![("content-type", "application/json"), ("content-encoding", "identity")],
            "ContentEncodingRefused",
        ),
    ] {
        let mut map = basic(crate::bench::SHOP, false);
        for (name, value) in &pairs {
            map.append(*name, value.parse().unwrap());
        }
        let seen = refusal(bench.prepare("POST", "/paymega/api/payment-invoices", &map, b"{}"));
        assert_eq!(seen, expected, "{pairs:?}");
    }
    let mut map = basic(crate::bench::SHOP, false);
    map.insert("content-type", "Application/JSON; Charset=UTF-8".parse().unwrap());
    assert!(bench.prepare("POST", "/paymega/api/payment-invoices", &map, b"{}").is_ok());
    assert_eq!(refusal(bench.call("POST", "/paymega/api/payment-invoices", b"")), "BodyUnexpected");
    assert_eq!(
        refusal(bench.call("GET", "/paymega/api/payment-invoices", b"{}")),
        "BodyUnexpected"
    );
}

#[test]
fn nobody_calls_without_credentials_or_with_the_wrong_ones() {
    let bench = Bench::new();
    let path = "/paymega/api/payment-invoices/cpi_1";
    let none = headers(&[]);
    assert_eq!(refusal(bench.prepare("GET", path, &none, b"")), "CallerUnknown");
    for wrong in [
        ("coma_shop_virtual", "x"),
        ("coma_real_paymega", "real-paymega-key"),
        (OTHER.0, crate::bench::SHOP.1),
        ("", ""),
    ] {
        let seen = refusal(bench.prepare("GET", path, &basic(wrong, false), b""));
        assert_eq!(seen, "CallerUnknown", "{wrong:?}");
    }
    let mut twice = basic(crate::bench::SHOP, false);
    twice.append("authorization", "Basic eDp5".parse().unwrap());
    assert_eq!(refusal(bench.prepare("GET", path, &twice, b"")), "CallerUnknown");
    let mut two = basic(crate::bench::SHOP, false);
    two.insert("portcullis-key", OTHER_KEY.parse().unwrap());
    assert_eq!(refusal(bench.prepare("GET", path, &two, b"")), "CallerUnknown", "two applications");
    let keyed = headers(&[("portcullis-key", SHOP_KEY)]);
    assert!(bench.prepare("GET", path, &keyed, b"").is_ok(), "the key alone is enough");
}

#[test]
fn a_handle_is_for_its_own_account_and_no_key_of_another_application() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let json = sale_json(&token, &cvv);
    assert_eq!(refusal(bench.sale("milkypay", &handle, &json)), "HandleUnknown");
    assert_eq!(refusal(bench.sale("paymega", "jwt.of.one", &json)), "HandleUnknown");
    let mut map = bearer(&handle);
    map.insert("portcullis-key", OTHER_KEY.parse().unwrap());
    let seen =
        refusal(bench.prepare("POST", "/paymega/cardgate/payment/sale", &map, json.as_bytes()));
    assert_eq!(seen, "CallerUnknown");
    still_pays(&bench, &handle, &token, &cvv);
}

#[test]
fn a_card_that_is_not_one_is_not_captured() {
    let bench = Bench::new();
    let session = bench.session(SHOP_KEY);
    let good = card(PAN, CVV);
    for (json, expected) in [
        (card("5519283812030001", CVV), "Card(NumberLuhn)"),
        (card("55192838", CVV), "Card(NumberLength)"),
        (card("5519x83812030000", CVV), "Card(NumberDigits)"),
        (card(PAN, "12"), "Card(CvvLength)"),
        (card(PAN, "1234"), "Card(CvvLength)"),
        (card(PAN, "12a"), "Card(CvvDigits)"),
        (good.replace("\"35\"", "\"20\""), "Card(ExpiryPast)"),
        (good.replace("\"10\"", "\"13\""), "Card(ExpiryFormat)"),
        (good.replace("\"number\"", "\"nummer\""), "MemberUnknown { at: \"/card\""),
        (good.replacen('{', "{\"x\":1,", 1), "MemberUnknown { at: \"\""),
        (good.replace("\"holder\"", "\"token\""), "FieldInvalid(\"/card/number\")"),
        (good.replace("\"number\":", "\"token\":"), "FieldInvalid(\"/card/exp_month\")"),
        (r#"{"card":{}}"#.to_owned(), "FieldMissing(\"/card/number\")"),
        (good.replace(&format!("\"{PAN}\""), PAN), "FieldNotText(\"/card/number\")"),
        (r#"{"card":[]}"#.to_owned(), "FieldMissing(\"/card\")"),
        ("{}".to_owned(), "FieldMissing(\"/card\")"),
        (good.replace("\"cvv\"", "\"number\""), "JsonDuplicateKey"),
    ] {
        let seen = refusal(bench.capture_raw(&session, &json));
        assert!(seen.contains(expected), "{expected}: {seen}");
        assert!(!seen.contains("5519"), "{seen}");
    }
    assert!(bench.capture_raw(&session, &good).is_ok(), "the session is not used up by refusals");
}

#[test]
fn a_capture_session_counts_its_cards_and_knows_its_origin() {
    let bench = Bench::new();
    let keyed = headers(&[("portcullis-key", SHOP_KEY), ("content-type", "application/json")]);
    let open = |json: &str| {
        let body = crate::bench::body(json.as_bytes());
        let app = bench.flow.known(&keyed, &[])?;
        bench.flow.open_session(app, &keyed, &body, crate::bench::NOW)
    };
    assert!(refusal(open(r#"{"origin":"https://evil.example"}"#)).contains("OriginRefused"));
    assert!(
        refusal(open(r#"{"origin":"https://shop.example","max_cards":0}"#))
            .contains("FieldInvalid")
    );
    assert!(
        refusal(open(r#"{"origin":"https://shop.example","ttl_seconds":86401}"#))
            .contains("FieldInvalid")
    );
    assert!(
        refusal(open(r#"{"origin":"https://shop.example","ttl_second":60}"#))
            .starts_with(r#"MemberUnknown { at: "", known: ["origin", "ttl_seconds", "#)
    );
    let opened = open(r#"{"origin":"https://shop.example","max_cards":3}"#).unwrap();
    let session = crate::bench::member(opened.as_bytes(), "id");
    let with = |origin: &[(&str, &str)]| {
        let bearer = format!("Bearer {session}");
        let known = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let map = headers(&[known.as_slice(), origin].concat());
        let body = crate::bench::body(card(PAN, CVV).as_bytes());
        let capturing = bench.flow.capturing(&map, crate::bench::NOW).unwrap();
        refusal(bench.flow.capture(capturing, &map, &body, |_| Ok(()), crate::bench::NOW))
    };
    let from = |origin: &str| with(&[("origin", origin)]);
    assert_eq!(from("https://evil.example"), "OriginRefused");
    assert_eq!(from("null"), "OriginRefused");
    assert_eq!(from("https://other.example"), "OriginRefused", "another application's");
    let twice = [("origin", "https://shop.example"), ("origin", "https://shop.example")];
    assert_eq!(with(&twice), "OriginRefused");
    assert_eq!(from("https://shop.example"), "passed");
    assert_eq!(with(&[]), "passed", "no browser: it holds the session, and names no page");
    let form = || refusal(bench.flow.card_form(&session, crate::bench::NOW));
    assert_eq!(form(), "passed", "one card is left");
    assert_eq!(from("https://pay.test"), "passed", "our own form");
    assert_eq!(form(), "SessionUnknown", "a form that could take no card is not shown");
    assert_eq!(from("https://shop.example"), "SessionUnknown", "three cards are three cards");
}

#[test]
fn a_form_takes_the_token_to_its_own_origin_only() {
    let bench = Bench::new();
    let keyed = headers(&[("portcullis-key", SHOP_KEY), ("content-type", "application/json")]);
    let open = |more: &str| {
        let json = format!(r#"{{"origin":"https://shop.example",{more}}}"#);
        let app = bench.flow.known(&keyed, &[])?;
        bench.flow.open_session(app, &keyed, &crate::bench::body(json.as_bytes()), NOW)
    };
    for bad in [
        "https://evil.example/",
        "http://shop.example/",
        "https://shop.example:444/",
        "https://user@shop.example/",
        "https://shop.example/#x",
        "javascript:alert(1)",
        "/paid",
    ] {
        let refused = refusal(open(&format!(r#""return_url":"{bad}""#)));
        assert_eq!(refused, r#"FieldInvalid("/return_url")"#, "{bad}");
    }
    assert_eq!(refusal(open(r#""return_url":7"#)), r#"FieldNotText("/return_url")"#);
    assert_eq!(refusal(open(r#""theme":{"accent":"red"}"#)), r#"FieldInvalid("/theme/accent")"#);
    let good = r##""return_url":"https://shop.example/a?b=c","theme":{"accent":"#1F5FBF"}"##;
    let id = crate::bench::member(open(good).unwrap().as_bytes(), "id");
    let form = bench.flow.card_form(&id, NOW).unwrap();
    assert_eq!(form.return_url, "https://shop.example/a?b=c");
    assert_eq!(
        (form.origin.as_str(), form.theme.as_str()),
        ("https://shop.example", "accent=#1f5fbf")
    );
    assert_eq!(bench.flow.card_form(&bench.session(SHOP_KEY), NOW).unwrap().return_url, "");
}

#[test]
fn a_revoked_card_is_gone_and_metadata_shows_first_six_and_last_four_only() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let mine = headers(&[("portcullis-key", SHOP_KEY)]);
    let theirs = headers(&[("portcullis-key", OTHER_KEY)]);
    let now = crate::bench::NOW;
    let shown = bench.flow.describe(bench.flow.known(&mine, &[]).unwrap(), &token, now).unwrap();
    let text = std::str::from_utf8(shown.as_bytes()).unwrap();
    assert!(text.contains(r#""bin":"551928","last4":"0000","brand":"mastercard""#), "{text}");
    assert!(!text.contains("3812"), "{text}");
    assert!(
        refusal(bench.flow.describe(bench.flow.known(&theirs, &[]).unwrap(), &token, now))
            .starts_with("TokenUnknown")
    );
    assert!(
        refusal(bench.flow.revoke(bench.flow.known(&theirs, &[]).unwrap(), &token, now))
            .starts_with("TokenUnknown")
    );
    bench.flow.revoke(bench.flow.known(&mine, &[]).unwrap(), &token, now).unwrap();
    assert!(
        refusal(bench.flow.describe(bench.flow.known(&mine, &[]).unwrap(), &token, now))
            .starts_with("TokenUnknown")
    );
    let seen = refusal(bench.sale("paymega", &handle, &sale_json(&token, &cvv)));
    assert!(seen.starts_with("TokenUnknown"), "{seen}");
}

#[test]
fn card_data_in_headers_and_under_other_names_is_refused_too() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let json = sale_json(&token, &cvv);
    for name in ["user-agent", "accept-language", "accept"] {
        let mut map = bearer(&handle);
        map.insert(name, PAN.parse().unwrap());
        let path = "/paymega/cardgate/payment/sale";
        let seen = refusal(bench.prepare("POST", path, &map, json.as_bytes()));
        assert_eq!(seen, "RawCard(None)", "{name}");
    }
    for other in ["CVV2", "cvc", "card_cvv", "csc", "securityCode_cvn"] {
        for value in ["\"123\"", "123", "\"1234\""] {
            let extra = format!("\"browser_info\": {{ \"{other}\": {value},");
            let json = json.replace("\"browser_info\": {", &extra);
            let seen = refusal(bench.sale("paymega", &handle, &json));
            assert!(seen.starts_with("RawCard"), "{other} {value}: {seen}");
        }
    }
    still_pays(&bench, &handle, &token, &cvv);
}

#[test]
fn a_fresh_cvv_counts_as_one_of_the_sessions_cards() {
    let bench = Bench::new();
    let (token, _) = bench.shop_card();
    let session = bench.session(SHOP_KEY);
    let again = format!(r#"{{"card":{{"token":"{token}","cvv":"321"}}}}"#);
    let taken = (0..20).take_while(|_| bench.capture_raw(&session, &again).is_ok()).count();
    assert_eq!(taken, 5, "the session's number of cards");
}

#[test]
fn an_unknown_public_key_is_nobody_even_beside_a_known_key() {
    let bench = Bench::new();
    let map = headers(&[("portcullis-key", SHOP_KEY), ("content-type", "application/json")]);
    let path = "/paymega/public/payment-prerequest";
    for (json, expected) in [
        (r#"{"public_key":"pk_virtual_shop"}"#, "passed"),
        (r#"{"public_key":"pk_live_real_paymega"}"#, "CallerUnknown"),
        (r#"{"public_key":"x"}"#, "CallerUnknown"),
        ("{}", "FieldMissing(\"/public_key\")"),
    ] {
        assert_eq!(refusal(bench.prepare("POST", path, &map, json.as_bytes())), expected, "{json}");
    }
}

#[test]
fn a_payment_without_room_for_its_answer_does_not_leave() {
    let bench = Bench::with("", "[vault]\nstates = 1000");
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    // With the handle and the card's session, one more than leaves a sixteenth free.
    for _ in 0..936 {
        bench.session(SHOP_KEY);
    }
    let sale = sale_json(&token, &cvv);
    assert_eq!(refusal(bench.sale("paymega", &handle, &sale)), "VaultFull");
    still_pays_later(&bench, &token);
    let read = bench.call("GET", "/paymega/api/payment-invoices/cpi_1", b"");
    assert!(read.is_ok(), "what became of a payment can be read: {}", refusal(read));
}

#[test]
fn a_handle_of_the_other_mode_is_nobodys() {
    let bench = Bench::new();
    let (token, cvv) = bench.shop_card();
    let json = sale_json(&token, &cvv);
    for (mode, expected) in [(Mode::Live, "HandleUnknown"), (Mode::Test, "passed")] {
        let (tenant, account) = (Tenant::new("shop"), Account::new("paymega"));
        let audience = Audience { tenant, account, mode };
        let life = Duration::from_secs(60);
        let handle = bench
            .flow
            .vault()
            .keep_bearer(b"jwt", &audience, |_| SecretBytes::from_slice(b""), life, NOW)
            .unwrap();
        let seen = handle.reveal(|handle| refusal(bench.sale("paymega", handle, &json)));
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_full_room_of_keys_refuses_requests_with_a_new_one_and_no_others() {
    const INVOICES: &str = "/paymega/api/payment-invoices";
    let vault = "[vault]\nstates = 1000\nidempotency = 1000\nidempotency_per_app = 950";
    let bench = Bench::with("", vault);
    let invoice = |holder, key: Option<&str>, reference: &str| {
        let body = format!(r#"{{"data":{{"attributes":{{"reference_id":"{reference}"}}}}}}"#);
        let mut headers = basic(holder, true);
        key.map(|key| headers.insert("idempotency-key", key.parse().unwrap()));
        bench.prepare("POST", INVOICES, &headers, body.as_bytes())
    };
    for number in 0..950 {
        let number = number.to_string();
        let (_, pending) = invoice(SHOP, Some(&number), &number).unwrap();
        bench.answer(pending, 422, b"{}").unwrap();
    }
    assert_eq!(refusal(invoice(SHOP, Some("950"), "950")), "VaultFull");
    // A known key is known, a payment without one and another application's are none of it.
    assert_eq!(refusal(invoice(SHOP, Some("7"), "8")), "RepeatedDiffers");
    assert!(invoice(SHOP, None, "951").is_ok());
    assert!(invoice(OTHER, Some("950"), "952").is_ok());
    bench.session(SHOP_KEY);
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    assert!(bench.sale("paymega", &handle, &sale_json(&token, &cvv)).is_ok());
}
