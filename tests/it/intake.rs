//! A shop that kept its own form, behind an intake route of the real process: what the shop
//! received is what counts.

use bytes::Bytes;
use http::Method;
use portcullis::card::{Mode, Token};
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::http::Request;
use portcullis_sandbox::once::leak;
use portcullis_sandbox::visitor::CVV;
use portcullis_sandbox::world::Options;

use super::house::{HOLDER, House, assert_problem};
use super::line::{Ask, Framing, Line, Version};

mod passing;

const FORM: &str = "application/x-www-form-urlencoded";
const PARTS: &str = "multipart/form-data; boundary=----WebKitFormBoundaryAb1";
const PAGE: &str = "text/html,application/xhtml+xml";

pub(super) fn form_body(number: &str, cvv: &str) -> String {
    let holder = HOLDER.replace(' ', "+");
    format!("basket=2&number={number}&expiry=10%2F35&cvv={cvv}&holder={holder}&note=%D0%B4%D0%B0")
}

fn json_body(number: &str, cvv: &str) -> String {
    format!(
        "{{\"card\": {{\"holder\":\"{HOLDER}\", \"number\":\"{number}\",\r\n\t\"cvv\":\"{cvv}\",\
         \"expiry\":\"10/2035\"}},\"total\":17.10}}"
    )
}

fn parts_body(number: &str, cvv: &str) -> String {
    let fields = [("number", number), ("expiry", "10 / 35"), ("cvv", cvv), ("holder", HOLDER)];
    let field = |(name, value): (&str, &str)| {
        format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}")
    };
    let file = "Content-Disposition: form-data; name=\"photo\"; filename=\"me.png\"\r\n\
                Content-Type: image/png\r\n\r\n\u{1}PNG\r\n\u{7f}--";
    let parts: Vec<String> = fields.into_iter().map(field).chain([file.to_owned()]).collect();
    let parts: String =
        parts.iter().map(|part| format!("------WebKitFormBoundaryAb1\r\n{part}\r\n")).collect();
    format!("{parts}------WebKitFormBoundaryAb1--\r\n")
}

fn post(target: &str, kind: &str, body: impl Into<Bytes>) -> Ask {
    Ask::new(Method::POST, target).header("content-type", kind).with_body(body)
}

pub(super) fn pay(body: String) -> Ask {
    post("/checkout/17/pay", FORM, body)
}

/// The same in every encoding: the request, and how its body is made.
type Make = fn(&str, &str) -> String;
const ENCODINGS: [(&str, &str, Make); 3] = [
    ("/checkout/17/pay", FORM, form_body),
    ("/checkout/17/pay", PARTS, parts_body),
    ("/api/checkout/17/pay", "application/json", json_body),
];

impl House {
    pub(super) async fn shop(&self, version: Version) -> Line {
        let authority = self.world.own_form_url().replace("https://", "");
        self.public(version).await.calling(&authority)
    }

    fn shop_received(&self) -> Vec<Request> {
        let all = self.world.own_form.received().all();
        all.iter().map(|received| received.request.clone()).collect()
    }

    /// Refused, and the shop has nothing of it.
    async fn assert_refused(&self, name: &str, ask: &Ask, status: u16, code: &str) {
        for version in Version::BOTH {
            // HTTP/2 has no way to spell some of these.
            let before = self.shop_received().len();
            let answer = self.shop(version).await.send(ask).await;
            let problem = answer.json().unwrap_or_else(|_| panic!("{name}: {}", answer.text()));
            assert_eq!(
                (answer.status, problem["code"].as_str().unwrap()),
                (status, code),
                "{name}"
            );
            assert_eq!(problem["forwarded"], "no", "{name}");
            assert_eq!(leak::find(&answer.body), None, "{name}");
            assert_eq!(self.shop_received().len(), before, "{name}: the shop has it");
        }
    }
}

/// The first token of a kind.
fn token<'b>(body: &'b str, prefix: &str) -> &'b str {
    let start = body.find(prefix).unwrap_or_else(|| panic!("no {prefix} in {body}"));
    let rest = &body[start..];
    &rest[..rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len())]
}

#[tokio::test]
async fn a_card_in_a_form_of_the_shops_own_pays_and_the_shop_gets_tokens() {
    let house = House::open().await;
    for version in Version::BOTH {
        for framing in Framing::BOTH {
            for (target, kind, body) in ENCODINGS {
                let sent = body(PLAIN, CVV);
                let ask = post(target, kind, sent.clone()).framed(framing);
                let answer = house.shop(version).await.send(&ask).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                assert!(answer.text().contains("processed"), "{}", answer.text());
                assert_eq!(answer.headers.get_all("set-cookie").iter().count(), 2);
                let got = house.world.own_form.received().last("card").unwrap();
                let got = String::from_utf8(got.request.body.to_vec()).unwrap();
                let (card, code) = (token(&got, "tok_test_"), token(&got, "cvv_test_"));
                assert_eq!(got.replace(card, PLAIN).replace(code, CVV), sent, "{kind}");
                let sale = house.world.paymega.sales().pop().unwrap();
                assert_eq!((sale.number.as_str(), sale.cvv.as_str()), (PLAIN, CVV));
                assert_eq!(sale.holder, HOLDER);
            }
        }
    }
    assert_eq!(house.world.paymega.sales().len(), 12);
    let log = house.world.shop.log().read().unwrap();
    assert_eq!(leak::find(&log), None, "in the shop's log");
}

#[tokio::test]
async fn the_shop_is_told_who_calls_by_us_alone() {
    let house = House::open().await;
    for version in Version::BOTH {
        for ask in [pay(form_body(PLAIN, CVV)), Ask::get("/checkout/17?from=basket")] {
            let ask = ask
                .header("cookie", "a=1")
                .header("cookie", "b=2; c=3")
                .header("x-forwarded-for", "203.0.113.1")
                .header("x-forwarded-host", "evil.example")
                .header("x_forwarded_proto", "http")
                .header("forwarded", "for=203.0.113.1")
                .header("x-real-ip", "203.0.113.1")
                .header("true-client-ip", "203.0.113.1")
                .header("cf-connecting-ip", "203.0.113.1")
                .header("x_client_ip", "203.0.113.1")
                .header("proxy", "http://203.0.113.1")
                .header("x-original-url", "/admin")
                .header("x-rewrite-url", "/admin")
                .header("x-mine", "stays")
                .header("accept-language", "uk");
            let answer = house.shop(version).await.send(&ask).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let got = house.shop_received().pop().unwrap();
            let authority = house.world.own_form_url().replace("https://", "");
            let headers: Vec<(&str, &str)> = got
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .filter(|(name, _)| !["content-type", "content-length"].contains(name))
                .collect();
            let mut expected = vec![
                ("host", authority.as_str()),
                ("x-mine", "stays"),
                ("accept-language", "uk"),
                ("cookie", "a=1; b=2; c=3"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", &authority),
                ("x-forwarded-proto", "https"),
            ];
            if got.method == Method::POST {
                expected.push(("accept-encoding", "identity"));
            }
            assert_eq!(headers, expected);
        }
    }
}

#[tokio::test]
async fn whatever_leaves_a_doubt_on_a_card_path_stays_here() {
    let house = House::open().await;
    let good = form_body(PLAIN, CVV);
    let with = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        pay(good.replace(from, to))
    };
    let typed = |kind: &str| post("/checkout/17/pay", kind, good.clone());
    for (name, ask, status, code) in [
        ("a second card", pay(format!("{good}&note={PLAIN}")), 422, "raw_card_refused"),
        ("a card in a name", pay(format!("{good}&{PLAIN}=1")), 422, "raw_card_refused"),
        ("a code elsewhere", pay(format!("{good}&cvc2=739")), 422, "raw_card_refused"),
        ("a doubled field", pay(format!("{good}&number=1")), 400, "form_duplicate"),
        ("no number", with(&format!("number={PLAIN}&"), ""), 422, "field_missing"),
        ("a wrong digit", with(PLAIN, "4111111111111112"), 422, "card_number_check_digit"),
        ("a single digit", with(PLAIN, "1"), 422, "card_number_length"),
        ("a past month", with("10%2F35", "10%2F20"), 422, "card_expired"),
        ("a bad escape", with("%D0", "%zz"), 400, "form_syntax"),
        ("no UTF-8", with("%D0", "%FF"), 400, "utf8"),
        ("plain text", typed("text/plain"), 415, "content_type_refused"),
        ("another charset", typed(&format!("{FORM}; charset=utf-16")), 415, "content_type_refused"),
        ("no type", typed(FORM).without("content-type"), 415, "content_type_refused"),
        (
            "JSON where a form is named",
            post("/checkout/17/pay", "application/json", json_body(PLAIN, CVV)),
            415,
            "content_type_refused",
        ),
        (
            "compressed",
            typed(FORM).header("content-encoding", "gzip"),
            415,
            "content_encoding_refused",
        ),
        ("too large", pay(format!("{good}&x={}", "y".repeat(64 * 1024))), 413, "body_too_large"),
        (
            "an unknown token's code",
            with(PLAIN, "tok_test_0000000000000000000000000000000000"),
            422,
            "token_malformed",
        ),
        (
            "a method in disguise",
            typed(FORM).header("x-http-method-override", "PUT"),
            400,
            "path_refused",
        ),
        (
            "a card in the query",
            post(&format!("/checkout/17/pay?n={PLAIN}"), FORM, good.clone()),
            422,
            "raw_card_refused",
        ),
        (
            "a card in another query",
            Ask::get(&format!("/search?q={PLAIN}")),
            422,
            "raw_card_refused",
        ),
        ("a card in a path", Ask::get(&format!("/cards/{PLAIN}")), 422, "raw_card_refused"),
    ] {
        house.assert_refused(name, &ask, status, code).await;
    }
}

#[tokio::test]
async fn no_spelling_of_a_card_path_gets_a_card_to_the_shop() {
    let house = House::open().await;
    for path in [
        "/checkout/17/pay/",
        "/checkout//17/pay",
        "/checkout/17/%70ay",
        "/checkout/17/%2570ay",
        "/Checkout/17/PAY",
        "/checkout/17/pay;jsessionid=1",
        "/checkout/17/pay.json",
        "/api/checkout/17/pay/",
    ] {
        let ask = post(path, FORM, form_body(PLAIN, CVV));
        house.assert_refused(path, &ask, 400, "path_refused").await;
    }
    // What no path may hold, whoever it is for.
    for path in ["/checkout/17/./pay", "/checkout/x/../17/pay", "/checkout/17%2fpay", "//checkout"]
    {
        let ask = post(path, FORM, form_body(PLAIN, CVV));
        let before = house.shop_received().len();
        let answer = house.shop(Version::Http1).await.send(&ask).await;
        assert_problem(&answer, 400, "bad_request_line", "no");
        assert_eq!(house.shop_received().len(), before, "{path}");
    }
    let authority = house.world.own_form_url().replace("https://", "");
    let absolute = format!("https://{authority}/checkout/17/%70ay");
    let ask = post(&absolute, FORM, form_body(PLAIN, CVV));
    let answer = house.shop(Version::Http1).await.send(&ask).await;
    assert_problem(&answer, 400, "path_refused", "no");
}

#[tokio::test]
async fn a_browser_is_shown_a_page_in_its_language_and_a_script_a_problem() {
    let house = House::open().await;
    let wrong = pay(form_body("4111111111111112", CVV));
    for (language, title) in [
        ("en", "Please check your card details"),
        ("ru", "Проверьте данные карты"),
        ("uk", "Перевірте дані картки"),
    ] {
        let ask = wrong.clone().header("accept", PAGE).header("accept-language", language);
        let answer = house.shop(Version::Http1).await.send(&ask).await;
        assert_eq!(answer.status, 422);
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
        assert!(answer.text().contains(title), "{}", answer.text());
        assert!(answer.header("content-security-policy").unwrap().contains("default-src 'none'"));
    }
    let answer = house.shop(Version::Http1).await.send(&wrong.header("accept", "*/*")).await;
    assert_problem(&answer, 422, "card_number_check_digit", "no");
}

#[tokio::test]
async fn a_shop_that_is_away_is_told_and_costs_no_card() {
    let adjust = Box::new(|config: String| {
        let at = config.find("[[intake]]").unwrap();
        let (before, intake) = config.split_at(at);
        let port = intake.split("upstream = \"https://localhost:").nth(1).unwrap();
        let port = &port[..port.find('"').unwrap()];
        // Nobody listens there.
        let intake = intake.replacen(&format!("localhost:{port}"), "localhost:1", 1);
        format!("{before}{intake}")
    });
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    for version in Version::BOTH {
        for ask in [pay(form_body(PLAIN, CVV)), Ask::get("/")] {
            let answer = house.shop(version).await.send(&ask).await;
            assert_problem(&answer, 502, "shop_unreachable", "no");
            let page = ask.header("accept", PAGE).header("accept-language", "ru");
            let answer = house.shop(version).await.send(&page).await;
            assert!(answer.text().contains("Магазин сейчас недоступен"), "{}", answer.text());
        }
    }
    assert!(house.shop_received().is_empty());
}

#[tokio::test]
async fn the_rates_of_cards_hold_for_forms_of_the_shops_own_too() {
    let adjust = Box::new(|config: String| {
        let config = config.replacen("\ncard = \"1000000/s\"", "\ncard = \"2/h\"", 1);
        assert!(config.contains("2/h"));
        config
    });
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    let send = async |ask: &Ask| -> Answer { house.shop(Version::Http1).await.send(ask).await };
    let ask = pay(form_body(PLAIN, CVV));
    for _ in 0..2 {
        assert_eq!(send(&ask).await.status, 200);
    }
    let before = house.shop_received().len();
    let answer = send(&ask).await;
    let problem = assert_problem(&answer, 429, "card_too_often", "no");
    assert_eq!(problem["retry"], "after");
    assert!(answer.header("retry-after").is_some());
    let page = send(&ask.header("accept", PAGE)).await;
    assert_eq!(page.status, 429);
    assert!(page.header("retry-after").is_some(), "the page says when to come again, too");
    assert_eq!(house.shop_received().len(), before);
}

#[tokio::test]
async fn an_address_over_its_rates_hands_in_no_form_of_the_shops_own() {
    let token = Token::random(Mode::Test).reveal(str::to_owned);
    let guess = (token.as_str(), 422, "too_many_unknown_tokens");
    for (limit, (number, status, code)) in
        [("address_cards", (PLAIN, 200, "too_many_cards")), ("unknown_ids", guess)]
    {
        let adjust = Box::new(move |config: String| {
            let before = format!("\n{limit} = \"1000000/s\"");
            assert!(config.contains(&before), "{limit}");
            config.replacen(&before, &format!("\n{limit} = \"2/h\""), 1)
        });
        let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
        let send = async |ask: &Ask| -> Answer { house.shop(Version::Http1).await.send(ask).await };
        for _ in 0..2 {
            let answer = send(&pay(form_body(number, CVV))).await;
            assert_eq!(answer.status, status, "{limit}: {}", answer.text());
        }
        let before = house.shop_received().len();
        let answer = send(&pay(form_body(PLAIN, CVV))).await;
        assert_problem(&answer, 429, code, "no");
        assert_eq!(house.shop_received().len(), before, "{limit}");
    }
}
