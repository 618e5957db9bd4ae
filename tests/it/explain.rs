//! Explanations: of a call that says `Prefer: dry-run`, and of one that is pasted into
//! `POST /v1/explain`. The provider gets nothing, and nothing is used up.

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::text::quote;
use portcullis_sandbox::world::accounts::App;
use serde_json::{Value, json};

use super::house::{House, Ready, assert_no_card, assert_problem, whole};
use super::line::{Ask, Line, Version};

const APPLIED: &str = "preference-applied";

/// The same call, with the wish that it be explained.
fn preferred(ask: Ask) -> Ask {
    ask.header("prefer", "respond-async, Dry-Run; for=\"me, too\", wait=10")
}

/// The same call, pasted: its body byte for byte, as JSON or as a text.
fn pasted(ask: &Ask, as_text: bool) -> Ask {
    let headers: Value = ask.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let body = std::str::from_utf8(&ask.body).unwrap();
    let body = if as_text { quote(body) } else { body.to_owned() };
    let (method, path) = (ask.method.as_str(), quote(&ask.target));
    Ask::json(
        "/v1/explain",
        format!(r#"{{"method":"{method}","path":{path},"headers":{headers},"body":{body}}}"#),
    )
}

/// Every way to ask.
fn ways(ask: &Ask) -> [Ask; 3] {
    [preferred(ask.clone()), pasted(ask, false), pasted(ask, true)]
}

impl House {
    /// What no explanation may show.
    fn assert_tells_no_secret(&self, answer: &Answer, ready: &Ready) {
        assert_no_card(answer);
        let text = whole(answer);
        let held = self.world.account(ready.account).unwrap();
        let bearers = self.simulator(ready.account).bearers();
        let secrets = [&held.real.id, &held.real.key, &held.shop.id, &held.shop.key];
        let tokens = [&ready.tokens.token, &ready.tokens.cvv_token, &ready.handle];
        for secret in secrets.into_iter().chain(tokens).chain(&bearers) {
            assert!(!text.contains(secret.as_str()), "{secret} in {text}");
        }
        for (id, key) in [(&held.real.id, &held.real.key), (&held.shop.id, &held.shop.key)] {
            let pair = super::house::basic(id, key).replace("Basic ", "");
            assert!(!text.contains(&pair), "{text}");
        }
        assert!(!text.contains("eyJ"), "{text}");
    }

    /// An explanation by every rule of the interface.
    fn explained(&self, answer: &Answer, ready: &Ready, outcome: &str) -> Value {
        let text = whole(answer);
        assert_eq!((answer.status, answer.header(APPLIED)), (200, Some("dry-run")), "{text}");
        assert_eq!(answer.content_type(), Some("application/json"), "{text}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{text}");
        assert_eq!(answer.header("portcullis-forwarded"), Some("no"), "{text}");
        assert!(answer.header("portcullis-request-id").is_some(), "{text}");
        self.assert_tells_no_secret(answer, ready);
        let document = answer.json().unwrap();
        assert_eq!(document["outcome"], outcome, "{text}");
        document
    }
}

async fn send(line: &mut Line, ask: &Ask) -> Answer {
    line.send(ask).await
}

#[tokio::test]
async fn a_sale_is_explained_and_not_sent_and_its_cvv_pays_afterwards_once() {
    let house = House::open().await;
    for version in Version::BOTH {
        let ready = house.ready("paymega").await;
        let mut line = house.private(version).await;
        let (before, reveals) = (house.received(), house.audited("reveal").len());
        for ask in ways(&ready.ask()) {
            let answer = send(&mut line, &ask).await;
            let told = house.explained(&answer, &ready, "would_be_sent");
            let request = &told["request"];
            assert_eq!(request["headers"]["authorization"], "Bearer ***");
            let url = request["url"].as_str().unwrap();
            assert!(url.ends_with("/payment/sale"), "{url}");
            // Byte for byte what the provider is to get, with the card masked.
            let (number, cvv) = (&ready.card.number, &ready.card.cvv);
            let masked = format!("{}******{}", &number[..6], &number[12..]);
            let shown = ready.body_with_card().replace(number, &masked);
            let shown = shown.replace(&format!("\"cvv\":\"{cvv}\""), "\"cvv\":\"***\"");
            assert!(answer.text().contains(shown.trim()), "{}", answer.text());
            let rules: Vec<_> = told["rules"].as_array().unwrap().iter().collect();
            let card = json!({"rule":"card_number","field":"/data/attributes/card_number",
                "file":"paymega.toml","key":"route.reveal",
                "does":"the card number replaces its token"});
            assert!(rules.contains(&&card), "{rules:?}");
        }
        assert_eq!(house.received(), before, "an explanation reached the provider");
        assert_eq!(house.audited("reveal").len(), reveals, "no card left");
        house.assert_pays(&mut line, &ready).await;
        assert_problem(&line.send(&ready.ask()).await, 422, "token_unknown", "no");
    }
}

#[tokio::test]
async fn an_invoice_is_explained_by_basic_credentials_and_by_the_key() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http2).await;
    let before = house.received();
    let key = house.world.key(App::Shop);
    let invoice = house.invoice("paymega", App::Shop);
    let by_key = house.invoice("paymega", App::Shop).without("authorization");
    let by_key = pasted(&by_key, false).header("portcullis-key", key);
    let read = preferred(house.read("paymega", "cpi_1"));
    for ask in ways(&invoice).into_iter().chain([by_key, read]) {
        let told = house.explained(&send(&mut line, &ask).await, &ready, "would_be_sent");
        assert_eq!(told["request"]["headers"]["authorization"], "Basic ***");
    }
    assert_eq!(house.received(), before);
}

#[tokio::test]
async fn a_refusal_is_told_inside_the_explanation_as_it_would_be_answered() {
    let house = House::open().await;
    for version in Version::BOTH {
        let ready = house.ready("paymega").await;
        let foreign = house.ready_as("paymega", App::Stall).await;
        let other = ready.ask().with_body(foreign.body());
        let raw = ready.ask().with_body(ready.body_with_card());
        let hello = ready.body().replace(&ready.tokens.token, "hello");
        for (ask, code) in [
            (other, "token_unknown"),
            (raw, "raw_card_refused"),
            (ready.ask().with_body(hello), "token_malformed"),
        ] {
            let mut line = house.private(version).await;
            let mut real = assert_problem(&line.send(&ask).await, 422, code, "no");
            for ask in ways(&ask) {
                let mut line = house.private(version).await;
                let answer = send(&mut line, &ask).await;
                let mut told = house.explained(&answer, &ready, "would_be_refused");
                assert!(told["request"].is_null());
                let problem = &mut told["problem"];
                let id = answer.header("portcullis-request-id");
                assert_eq!(problem["request_id"].as_str(), id);
                for name in ["request_id", "instance"] {
                    (problem[name], real[name]) = (Value::Null, Value::Null);
                }
                assert_eq!(*problem, real, "as the real one is answered");
            }
        }
        assert_eq!(house.sales_received(), 0);
    }
}

#[tokio::test]
async fn strangers_get_the_answer_of_the_real_call_and_no_explanation() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let nobody = ready.ask().without("authorization");
    let wrong = nobody.clone().header("authorization", "Bearer brr_test_x");
    let route = Ask { target: "/paymega/cardgate/payment/void".to_owned(), ..ready.ask() };
    let gone = Ask { target: "/nobody/cardgate/payment/sale".to_owned(), ..ready.ask() };
    for (ask, status, code) in [
        (nobody, 401, "caller_unknown"),
        (wrong, 401, "handle_unknown"),
        (route, 404, "route_unknown"),
        (gone, 404, "route_unknown"),
        (ready.ask().with_body("{"), 400, "json_syntax"),
    ] {
        let [preferred, _, text] = ways(&ask);
        for ask in [preferred, text] {
            let mut line = house.private(Version::Http1).await;
            assert_problem(&line.send(&ask).await, status, code, "no");
        }
    }
    // A key of another application beside this one's handle.
    let both = pasted(&ready.ask(), false).header("portcullis-key", house.world.key(App::Stall));
    let mut line = house.private(Version::Http1).await;
    assert_problem(&line.send(&both).await, 401, "caller_unknown", "no");
    assert_eq!(house.sales_received(), 0);
    house.assert_pays(&mut line, &ready).await;
}

#[tokio::test]
async fn a_wish_that_cannot_be_read_is_refused_and_nothing_is_sent() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    for value in ["dry-run=false", "\"dry-run\"", "dry-run, x=\"open"] {
        let ask = ready.ask().header("prefer", value);
        assert_problem(&line.send(&ask).await, 400, "preference_unclear", "no");
    }
    assert_eq!(house.sales_received(), 0);
    let other = ready.ask().header("prefer", "respond-async, x=\"dry-run\"");
    let answer = line.send(&other).await;
    assert_eq!((answer.status, answer.header(APPLIED)), (200, None), "{}", answer.text());
    house.assert_charged_once(&ready);
}

#[tokio::test]
async fn an_idempotency_key_is_not_claimed_by_an_explanation() {
    let house = House::open().await;
    let (ready, other) = (house.ready("paymega").await, house.ready("paymega").await);
    let mut line = house.private(Version::Http1).await;
    let keyed = |ready: &Ready| ready.ask().header("idempotency-key", "order-1");
    for ask in ways(&keyed(&ready)) {
        house.explained(&send(&mut line, &ask).await, &ready, "would_be_sent");
    }
    assert_eq!(line.send(&keyed(&other)).await.status, 200, "the key is another request's now");
    for ask in ways(&keyed(&ready)) {
        let answer = send(&mut line, &ask).await;
        let told = house.explained(&answer, &ready, "would_be_refused");
        assert_eq!(told["problem"]["code"], "idempotency_key_reused");
    }
    let again = preferred(keyed(&other));
    house.explained(&send(&mut line, &again).await, &other, "would_be_repeated");
    house.assert_charged_once(&other);
    house.assert_pays(&mut line, &ready).await;
}

#[tokio::test]
async fn explanations_are_counted_and_guesses_in_them_are_braked() {
    let house = super::limits::house(&["app_route = \"25/h\"", "unknown_tokens = \"20/15min\""]);
    let house = house.await;
    let (ready, stall) =
        (house.ready("paymega").await, house.ready_as("paymega", App::Stall).await);
    let mut line = house.private(Version::Http1).await;
    let guess = ready.ask().with_body(stall.body());
    for ask in ways(&guess).iter().cycle().take(20) {
        let told = house.explained(&send(&mut line, ask).await, &ready, "would_be_refused");
        assert_eq!(told["problem"]["code"], "token_unknown");
    }
    for ask in [ready.ask(), preferred(ready.ask()), pasted(&ready.ask(), true)] {
        assert_problem(&line.send(&ask).await, 429, "too_many_unknown_tokens", "no");
    }
    for _ in 0..2 {
        line.send(&preferred(ready.ask())).await;
    }
    assert_problem(&line.send(&ready.ask()).await, 429, "too_many_calls", "no");
    assert_eq!(house.sales_received(), 0);
}

#[tokio::test]
async fn a_paste_that_is_none_is_refused() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let good = r#""method":"GET","path":"/paymega/api/payment-invoices""#;
    for (body, status, code) in [
        ("", 400, "json_syntax"),
        ("[]", 422, "field_missing"),
        ("{}", 422, "field_missing"),
        (r#"{"method":"GET"}"#, 422, "field_missing"),
        (r#"{"path":"/x/y/z"}"#, 422, "field_missing"),
        (&format!("{{{good},\"more\":1}}"), 422, "field_invalid"),
        (&format!("{{{good},\"body\":1}}"), 422, "field_invalid"),
        (&format!("{{{good},\"headers\":[]}}"), 422, "field_invalid"),
        (&format!("{{{good},\"headers\":{{\"a b\":\"c\"}}}}"), 422, "field_invalid"),
        (&format!("{{{good},\"headers\":{{\"a\":\"b\\nc\"}}}}"), 422, "field_invalid"),
        (&format!("{{{good},\"headers\":{{\"a\":1}}}}"), 422, "field_invalid"),
        (
            &format!("{{{good},\"headers\":{{\"content-encoding\":\"gzip\"}}}}"),
            415,
            "content_encoding_refused",
        ),
        (&format!("{{{good},\"headers\":{{\"connection\":\"x-a\"}}}}"), 400, "bad_field"),
        (
            &good
                .replace("GET", "GE T")
                .replace("\"method", "{\"method")
                .replace("invoices\"", "invoices\"}"),
            422,
            "field_invalid",
        ),
        (r#"{"method":"GET","path":"/a/../b"}"#, 400, "bad_request_line"),
        (r#"{"method":"GET","path":"paymega"}"#, 400, "bad_request_line"),
        (r#"{"method":"GET","path":"/v1/tokens/x"}"#, 404, "route_unknown"),
    ] {
        let mut line = house.private(Version::Http1).await;
        let answer = line.send(&Ask::json("/v1/explain", body.to_owned())).await;
        assert_problem(&answer, status, code, "no");
    }
    let more = Ask::json("/v1/explain", format!("{{{good},\"more\":1}}"));
    let answer = house.private(Version::Http1).await.send(&more).await;
    let problem = assert_problem(&answer, 422, "field_invalid", "no");
    assert_eq!(problem["field"], "", "the body itself");
    assert_eq!(problem["detail"], "Known are: method, path, headers, body.");
    let form = Ask::json("/v1/explain", "a=b").without("content-type");
    let mut line = house.private(Version::Http1).await;
    assert_problem(&line.send(&form).await, 415, "content_type_refused", "no");
    let long = ready.ask().with_body(" ".repeat(70_000) + &ready.body());
    let mut line = house.private(Version::Http1).await;
    assert_problem(&line.send(&pasted(&long, true)).await, 413, "body_too_large", "no");
    let mut line = house.private(Version::Http1).await;
    let get = Ask::get("/v1/explain");
    assert_problem(&line.send(&get).await, 404, "route_unknown", "no");
}
