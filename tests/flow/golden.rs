//! The samples of the providers' own documents as golden exchanges: what the application sends,
//! what the provider gets, what it answers, what the application gets, byte for byte.

use crate::bench::{Bench, PAN, SHOP, bearer, member, sale_json, sent};

const SAMPLES: [(&str, &str, &str, &str, &str); 3] = [
    (
        "paymega",
        include_str!("../fixtures/providers/corefy/paymega-en.invoice-request.json"),
        include_str!("../fixtures/providers/corefy/paymega-en.invoice-answer.json"),
        include_str!("../fixtures/providers/corefy/paymega-en.sale-request.json"),
        include_str!("../fixtures/providers/corefy/paymega-en.sale-answer-done.json"),
    ),
    (
        "paymega",
        include_str!("../fixtures/providers/corefy/paymega-ru.invoice-request.json"),
        include_str!("../fixtures/providers/corefy/paymega-ru.invoice-answer.json"),
        include_str!("../fixtures/providers/corefy/paymega-ru.sale-request.json"),
        include_str!("../fixtures/providers/corefy/paymega-ru.sale-answer-done.json"),
    ),
    (
        "milkypay",
        include_str!("../fixtures/providers/corefy/milkypay.invoice-request.json"),
        include_str!("../fixtures/providers/corefy/milkypay.invoice-answer.json"),
        include_str!("../fixtures/providers/corefy/milkypay.sale-request.json"),
        include_str!("../fixtures/providers/corefy/milkypay.sale-answer-done.json"),
    ),
];

#[test]
fn an_invoice_goes_out_with_the_real_credentials_and_our_callback_url() {
    for (account, request, ..) in SAMPLES {
        let bench = Bench::new();
        let path = format!("/{account}/api/payment-invoices");
        let (prepared, _) = bench.call("POST", &path, request.as_bytes()).unwrap();
        let sent = sent(prepared);
        assert_eq!(sent.host, format!("api.{account}.test"));
        assert_eq!(sent.target, "/api/payment-invoices");
        let real = crate::bench::basic(
            (&format!("coma_real_{account}"), &format!("real-{account}-key")),
            true,
        );
        assert_eq!(sent.headers.get("authorization"), real.get("authorization"));
        let text = String::from_utf8(sent.body).unwrap();
        let ours = member(text.as_bytes(), "callback_url");
        assert!(ours.starts_with(&format!("https://pay.test/callbacks/{account}/")), "{ours}");
        assert!(!ours.contains("example.com"), "the application's URL is sealed");
        assert_eq!(text.replace(&ours, "https://example.com/payments/callback"), request);
    }
}

#[test]
fn the_invoices_answer_comes_back_with_a_handle_in_place_of_the_token_and_nothing_else_changed() {
    for (account, request, answer, ..) in SAMPLES {
        let bench = Bench::new();
        let path = format!("/{account}/api/payment-invoices");
        let (_, pending) = bench.call("POST", &path, request.as_bytes()).unwrap();
        let scrubbed = bench.answer(pending, 201, answer.as_bytes()).unwrap();
        let (status, _, body) = scrubbed.into_parts();
        assert_eq!(status, 201);
        let text = String::from_utf8(body.as_bytes().to_vec()).unwrap();
        let from = text.find("\"brr_").unwrap() + 1;
        let handle = &text[from..from + text[from..].find('"').unwrap()];
        let at = answer.find("\"eyJ0").unwrap() + 1;
        let token = &answer[at..at + answer[at..].find('"').unwrap()];
        assert_eq!(text.replace(handle, token), *answer);
    }
}

#[test]
fn our_callback_url_in_an_answer_becomes_the_applications_own_again() {
    let bench = Bench::new();
    let (_, request, ..) = SAMPLES[0];
    let (prepared, pending) =
        bench.call("POST", "/paymega/api/payment-invoices", request.as_bytes()).unwrap();
    let ours = member(&sent(prepared).body, "callback_url");
    let answer = format!(r#"{{"data":{{"attributes":{{"callback_url":"{ours}","amount":17}}}}}}"#);
    let (_, _, body) = bench.answer(pending, 201, answer.as_bytes()).unwrap().into_parts();
    let expected = r#"{"data":{"attributes":{"callback_url":"https://example.com/payments/callback","amount":17}}}"#;
    assert_eq!(body.as_bytes(), expected.as_bytes());
}

#[test]
fn a_sale_goes_out_as_the_document_prints_it() {
    for (account, _, _, sale, _) in SAMPLES {
        let bench = Bench::new();
        let handle = bench.handle(account);
        let (token, cvv_token) = bench.shop_card();
        let tokenised = sale
            .replace(PAN, &token)
            .replace("\"cvv\": \"123\"", &format!("\"cvv\": \"{cvv_token}\""));
        assert!(!tokenised.contains(PAN));
        let (prepared, pending) = bench.sale(account, &handle, &tokenised).unwrap();
        assert_eq!((pending.replaced().pan, pending.replaced().cvv), (1, 1));
        let sent = sent(prepared);
        assert_eq!(std::str::from_utf8(&sent.body).unwrap(), sale);
        assert_eq!(sent.host, format!("gate.{account}.test"));
        assert_eq!(sent.target, "/payment/sale");
        assert_eq!(sent.headers.get("authorization").unwrap(), "Bearer jwt.of.one");
    }
}

#[test]
fn a_sales_answer_without_a_challenge_passes_untouched() {
    for (account, _, _, _, done) in SAMPLES {
        let bench = Bench::new();
        let handle = bench.handle(account);
        let (token, cvv) = bench.shop_card();
        let (_, pending) = bench.sale(account, &handle, &sale_json(&token, &cvv)).unwrap();
        let (status, _, body) = bench.answer(pending, 200, done.as_bytes()).unwrap().into_parts();
        assert_eq!((status, body.as_bytes()), (200, done.as_bytes()));
    }
}

#[test]
fn a_token_in_every_card_field_reveals_that_part_of_the_card() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let all = sale_json(&token, &cvv)
        .replace("Card Holder", &token)
        .replace("\"10\"", &format!("\"{token}\""))
        .replace("\"35\"", &format!("\"{token}\""));
    let (prepared, _) = bench.sale("paymega", &handle, &all).unwrap();
    let expected = include_str!("../fixtures/providers/corefy/paymega-en.sale-request.json");
    assert_eq!(std::str::from_utf8(&sent(prepared).body).unwrap(), expected);
}

#[test]
fn reads_pass_with_their_query_as_sent() {
    let bench = Bench::new();
    for (target, expected) in [
        (
            "/paymega/api/payment-invoices/cpi_eqUNbE6SpIEmRB2K",
            "/api/payment-invoices/cpi_eqUNbE6SpIEmRB2K",
        ),
        (
            "/paymega/api/payment-invoices/?filter[reference_id]=ord-1&x=%41+b",
            "/api/payment-invoices/?filter[reference_id]=ord-1&x=%41+b",
        ),
        ("/paymega/api/payout-invoices/coi_1", "/api/payout-invoices/coi_1"),
    ] {
        let (prepared, _) = bench.call("GET", target, b"").unwrap();
        assert_eq!(sent(prepared).target, expected);
    }
}

#[test]
fn tokens_in_lists_become_handles_too() {
    let bench = Bench::new();
    let (_, pending) = bench.call("GET", "/paymega/api/payment-invoices", b"").unwrap();
    let list = br#"{"data":[{"attributes":{"flow_data":{"metadata":{"token":"a.b.c"}}}},{"attributes":{"flow_data":{"metadata":{"token":"d.e.f"}}}},{"attributes":{"metadata":[]}}]}"#;
    let (_, _, body) = bench.answer(pending, 200, list).unwrap().into_parts();
    let text = String::from_utf8(body.as_bytes().to_vec()).unwrap();
    assert_eq!(text.matches("\"brr_").count(), 2);
    assert!(!text.contains("a.b.c") && !text.contains("d.e.f"));
}

#[test]
fn the_same_bearer_token_is_the_same_handle_and_another_applications_is_not() {
    let bench = Bench::new();
    let handle = |account| bench.handle_of(account, "jwt.of.one");
    assert_eq!(handle("paymega"), handle("paymega"));
    assert_ne!(handle("paymega"), handle("milkypay"));
}

#[test]
fn a_payout_reveals_the_number_on_the_private_interface() {
    let bench = Bench::new();
    let (token, _) = bench.shop_card();
    let payout = |number: &str| {
        format!(
            "{{\"data\":{{\"type\":\"payout-invoice\",\"attributes\":{{\"amount\":1.10,\"fields\":{{\"card_number\":\"{number}\"}}}}}}}}"
        )
    };
    let (prepared, pending) =
        bench.call("POST", "/paymega/api/payout-invoices", payout(&token).as_bytes()).unwrap();
    assert_eq!((pending.replaced().pan, pending.replaced().cvv), (1, 0));
    assert_eq!(sent(prepared).body, payout(PAN).as_bytes());
}

#[test]
fn a_prerequest_carries_the_real_public_key() {
    let bench = Bench::new();
    let asked = |key: &str| format!(r#"{{"public_key":"{key}","currency":"USD","amount":1.10}}"#);
    let headers = crate::bench::headers(&[("content-type", "application/json")]);
    let (prepared, pending) = bench
        .prepare(
            "POST",
            "/paymega/public/payment-prerequest",
            &headers,
            asked("pk_virtual_shop").as_bytes(),
        )
        .unwrap();
    let sent = sent(prepared);
    assert_eq!(sent.body, asked("pk_live_real_paymega").as_bytes());
    assert!(sent.headers.get("authorization").is_none());
    let echo = bench.answer(pending, 400, &sent.body).unwrap().into_parts().2;
    assert_eq!(echo.as_bytes(), asked("********************").as_bytes());
}

#[test]
fn only_listed_headers_go_on_and_ours_cannot_be_overridden() {
    let bench = Bench::new();
    let mut headers = crate::bench::basic(SHOP, false);
    for (name, value) in [
        ("accept", "application/json"),
        ("user-agent", "shop/1"),
        ("cookie", "a=b"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-access-signature", "forged"),
        ("portcullis-key", crate::bench::SHOP_KEY),
    ] {
        headers.append(name, value.parse().unwrap());
    }
    let (prepared, _) =
        bench.prepare("GET", "/paymega/api/payment-invoices/cpi_1", &headers, b"").unwrap();
    let sent = sent(prepared);
    let mut names: Vec<_> = sent.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["accept", "authorization", "user-agent"]);
    assert_eq!(sent.headers.get_all("authorization").iter().count(), 1);
    assert_eq!(sent.method, "GET");
}

#[test]
fn answers_of_every_status_lose_what_was_put_in() {
    for status in [200, 201, 400, 401, 422, 429, 500, 502] {
        let bench = Bench::new();
        let handle = bench.handle("paymega");
        let (token, cvv) = bench.shop_card();
        let (_, pending) = bench.sale("paymega", &handle, &sale_json(&token, &cvv)).unwrap();
        let echo = format!(
            r#"{{"errors":[{{"detail":"card {PAN} with cvv 123 refused","meta":{{"cvv":"123","n":{PAN}}}}}],"amount":17}}"#
        );
        let scrubbed = bench.answer(pending, status, echo.as_bytes()).unwrap();
        let (seen, _, body) = scrubbed.into_parts();
        let text = String::from_utf8(body.as_bytes().to_vec()).unwrap();
        assert_eq!(seen, status);
        assert!(!text.contains(PAN) && !text.contains("123"), "{text}");
        assert!(text.contains("551928******0000") && text.ends_with(r#""amount":17}"#), "{text}");
    }
}

#[test]
fn a_client_with_a_handle_needs_nothing_else() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    assert!(handle.starts_with("brr_"));
    let headers = bearer(&handle);
    assert_eq!(headers.len(), 2, "authorization and content type, as the document says");
}

/// An invoice's success that is not clearly JSON cannot be rewritten, so it cannot be passed on.
#[test]
fn a_success_that_cannot_be_rewritten_is_withheld_whatever_its_type_says() {
    let json = r#"{"data":{"attributes":{"flow_data":{"metadata":{"token":"jwt.of.one"}}}}}"#;
    for (kind, raw) in [
        ("text/html", format!("\u{feff}{json}")),
        ("text/html", format!("Warning: x in y.php\n{json}")),
        ("application/json", format!("{json} // done")),
        ("text/json", json.replace("{\"data\"", "{\"x\":1,\"x\":2,\"data\"")),
        ("application/xml", "<token>jwt.of.one</token>".to_owned()),
        ("text/plain; charset=utf-16", json.to_owned()),
    ] {
        let bench = Bench::new();
        let (_, pending) =
            bench.call("POST", "/paymega/api/payment-invoices", b"{\"data\":{}}").unwrap();
        let answer = crate::bench::answer(201, &[("content-type", kind)], raw.as_bytes());
        let seen = crate::bench::refusal(pending.finish(answer, &bench.flow, crate::bench::NOW));
        assert!(seen.starts_with("AnswerWithheld"), "{kind}: {seen}");
    }
    let bench = Bench::new();
    let (_, pending) =
        bench.call("POST", "/paymega/api/payment-invoices", b"{\"data\":{}}").unwrap();
    let answer = crate::bench::answer(201, &[("content-type", "text/html")], json.as_bytes());
    let scrubbed = pending.finish(answer, &bench.flow, crate::bench::NOW).unwrap();
    let text = String::from_utf8(scrubbed.into_parts().2.as_bytes().to_vec()).unwrap();
    assert!(text.contains("brr_") && !text.contains("jwt.of.one"), "{text}");
}

#[test]
fn the_providers_credentials_do_not_come_back() {
    let bench = Bench::new();
    let real = crate::bench::basic(("coma_real_paymega", "real-paymega-key"), false);
    let real = real["authorization"].to_str().unwrap();
    let (_, pending) =
        bench.call("POST", "/paymega/api/payment-invoices", b"{\"data\":{}}").unwrap();
    let bare = real[6..].trim_end_matches('=');
    let html = format!(
        "<p>Authorization: {real} key real-paymega-key live_secret {bare} {bare}%3D%3d \
         real&#45;paymega%2Dkey \\u0072eal\\u002dpaymega\\u002Dkey</p>"
    );
    let headers = [("content-type", "text/html"), ("x-request-id", "real%2dpaymega-key")];
    let answer = crate::bench::answer(500, &headers, html.as_bytes());
    let scrubbed = pending.finish(answer, &bench.flow, crate::bench::NOW).unwrap();
    let (_, headers, body) = scrubbed.into_parts();
    let text = String::from_utf8(body.as_bytes().to_vec()).unwrap();
    assert!(!text.contains(bare) && !text.contains("paymega"), "{text}");
    assert!(!text.contains("live_secret") && !headers.contains_key("x-request-id"), "{text}");

    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let (_, pending) = bench.sale("paymega", &handle, &sale_json(&token, &cvv)).unwrap();
    let echo = br#"{"error":"Invalid token: jwt.of.one"}"#;
    let text = bench.answer(pending, 401, echo).unwrap().into_parts().2;
    assert_eq!(text.as_bytes(), br#"{"error":"Invalid token: **********"}"#);

    let (_, pending) =
        bench.call("POST", "/paymega/api/payment-invoices", b"{\"data\":{}}").unwrap();
    let twice = br#"{"data":{"attributes":{"flow_data":{"metadata":{"token":"jwt.of.one"}},"hpp_url":"https://x/?t=jwt.of.one"}}}"#;
    let text = bench.answer(pending, 201, twice).unwrap().into_parts().2;
    let text = std::str::from_utf8(text.as_bytes()).unwrap();
    assert!(text.contains("brr_") && text.contains("https://x/?t=**********"), "{text}");
}

#[test]
fn an_application_cannot_ask_for_an_answer_that_cannot_be_rewritten() {
    let bench = Bench::new();
    for (wish, sent_on) in [
        ("application/xml", "application/json"),
        ("text/html, */*;q=0.1", "application/json"),
        ("application/vnd.api+json", "application/vnd.api+json"),
        ("*/*", "*/*"),
    ] {
        let mut headers = crate::bench::basic(SHOP, false);
        headers.insert("accept", wish.parse().unwrap());
        let path = "/paymega/api/payment-invoices/cpi_1";
        let (draft, _) = bench.prepare("GET", path, &headers, b"").unwrap();
        assert_eq!(sent(draft).headers["accept"], sent_on, "{wish}");
    }
}
