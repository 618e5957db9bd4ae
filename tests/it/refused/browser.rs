//! The public listener: captures that are refused, and which pages may call at all.

use http::Method;
use portcullis::card::{RelayId, SessionId};
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::visitor::{TypedCard, tokens_of};
use portcullis_sandbox::world::accounts::App;

use super::super::house::{House, Ready, assert_problem, card, invoice_of, session_of};
use super::super::line::{Ask, Framing, Line, Version};
use super::super::upgrade::back_from_the_bank;

/// A capture session and the call that a good page would make.
struct Page {
    house: House,
    version: Version,
    private: Line,
    session: String,
}

impl Page {
    async fn open(version: Version) -> Self {
        let house = House::open().await;
        let mut private = house.private(Version::Http1).await;
        let session = session_of(&private.send(&house.session(App::Shop)).await);
        Self { house, version, private, session }
    }

    fn capture(&self, card: &TypedCard) -> Ask {
        self.house.capture(&self.session, card)
    }

    async fn send(&self, ask: &Ask) -> Answer {
        self.house.public(self.version).await.send(ask).await
    }

    /// How many records the vault holds, as operators see it.
    async fn records(&self) -> String {
        let url = format!("{}/metrics", self.house.world.addresses.admin);
        let call = portcullis_sandbox::client::Call::get(url);
        let text = self.house.world.client.send(call).await.unwrap().text();
        let mut lines = text.lines();
        lines.find(|line| line.starts_with("portcullis_vault_records ")).unwrap().to_owned()
    }

    /// The session still takes a card, and the card pays.
    async fn still_pays(&mut self) {
        let tokens = tokens_of(&self.send(&self.capture(&card())).await).unwrap();
        let made = self.private.send(&self.house.invoice("paymega", App::Shop)).await;
        let (invoice, handle) = invoice_of(&made);
        let ready = Ready { account: "paymega", invoice, handle, tokens, card: card() };
        self.house.assert_pays(&mut self.private, &ready).await;
    }

    fn shop(&self) -> String {
        self.house.world.shop.url().to_owned()
    }

    fn preflight(origin: &str) -> Ask {
        Ask::new(Method::OPTIONS, "/v1/tokens")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
    }

    fn from(&self, origin: &str) -> Ask {
        self.capture(&card()).without("origin").header("origin", origin)
    }
}

type Row = (&'static str, u16, &'static str, fn(&Page) -> Ask);

fn other(change: impl FnOnce(&mut TypedCard)) -> TypedCard {
    let mut card = card();
    change(&mut card);
    card
}

fn authorized(page: &Page, value: &str) -> Ask {
    page.capture(&card()).without("authorization").header("authorization", value)
}

fn body(page: &Page, piece: &str, by: &str) -> Ask {
    let body = card().body();
    assert!(body.contains(piece), "{piece}");
    page.capture(&card()).with_body(body.replacen(piece, by, 1))
}

fn typed(page: &Page, content_type: &str) -> Ask {
    page.capture(&card()).without("content-type").header("content-type", content_type)
}

#[rustfmt::skip]
const CAPTURES: &[Row] = &[
    ("no session", 401, "session_unknown", |p| p.capture(&card()).without("authorization")),
    ("an unknown session", 401, "session_unknown", |p| authorized(p, "Bearer cs_Canary")),
    ("an application's key", 401, "session_unknown", |p| authorized(p, &format!("Bearer {}", p.house.world.key(App::Shop)))),
    ("a foreign origin", 403, "origin_refused", |p| p.from("https://canary.example")),
    ("the origin null", 403, "origin_refused", |p| p.from("null")),
    ("the shop's origin with a port more", 403, "origin_refused", |p| p.from(&format!("{}0", p.shop()))),
    ("two origins", 400, "bad_field", |p| p.capture(&card()).header("origin", "https://canary.example")),
    ("plain text", 415, "content_type_refused", |p| typed(p, "text/plain")),
    ("plain text, as a form can send it", 415, "content_type_refused", |p| typed(p, "text/plain;charset=UTF-8")),
    ("a form", 415, "content_type_refused", |p| typed(p, "application/x-www-form-urlencoded")),
    ("parts", 415, "content_type_refused", |p| typed(p, "multipart/form-data; boundary=x")),
    ("no type", 415, "content_type_refused", |p| p.capture(&card()).without("content-type")),
    ("compressed", 415, "content_encoding_refused", |p| p.capture(&card()).header("content-encoding", "gzip")),
    ("no JSON", 400, "json_syntax", |p| p.capture(&card()).with_body(format!("number={PLAIN}&cvv=739"))),
    ("trailing bytes", 400, "json_trailing", |p| p.capture(&card()).with_body(card().body() + PLAIN)),
    ("two numbers", 400, "json_duplicate_key", |p| body(p, "\"cvv\"", "\"n\\u0075mber\":\"Canary\",\"cvv\"")),
    ("no card", 422, "field_missing", |p| p.capture(&card()).with_body("{}")),
    ("something else than a card", 422, "field_invalid", |p| p.capture(&card()).with_body("{\"canary\":{}}")),
    ("a member that no card has", 422, "field_invalid", |p| body(p, "\"cvv\"", "\"canary\":1,\"cvv\"")),
    ("a token beside a number", 422, "field_invalid", |p| body(p, "\"cvv\"", "\"token\":\"Canary\",\"cvv\"")),
    ("a number as a number", 422, "field_not_text", |p| body(p, &format!("\"{PLAIN}\""), PLAIN)),
    ("a wrong digit", 422, "card_number_check_digit", |p| p.capture(&other(|card| card.number = format!("{}1", &PLAIN[..15])))),
    ("a short number", 422, "card_number_length", |p| p.capture(&other(|card| card.number = PLAIN[..9].to_owned()))),
    ("letters in the number", 422, "card_number_digits", |p| p.capture(&other(|card| card.number = format!("{}x", &PLAIN[..15])))),
    ("a long CVV", 422, "card_cvv_length", |p| p.capture(&other(|card| card.cvv = "73912".to_owned()))),
    ("letters in the CVV", 422, "card_cvv_digits", |p| p.capture(&other(|card| card.cvv = "7a9".to_owned()))),
    ("month 13", 422, "card_expiry_format", |p| p.capture(&other(|card| card.month = "13".to_owned()))),
    ("a card of the past", 422, "card_expired", |p| p.capture(&card().expiring("01", "20"))),
    ("a holder of several lines", 422, "card_holder", |p| p.capture(&other(|card| card.holder = "Canary\nHolder".to_owned()))),
    ("a token that is none", 422, "token_malformed", |p| p.capture(&card()).with_body(r#"{"card":{"token":"Canary","cvv":"739"}}"#)),
    ("an unknown path", 404, "route_unknown", |p| Ask { target: format!("/canary/{PLAIN}"), ..p.capture(&card()) }),
    ("a read of tokens", 404, "route_unknown", |p| Ask { method: Method::GET, ..p.capture(&card()) }.with_body("")),
    ("a gateway call", 404, "route_unknown", |p| Ask { target: "/paymega/cardgate/payment/sale".to_owned(), ..p.capture(&card()) }),
    ("a session from outside", 404, "route_unknown", |p| p.house.session(App::Shop)),
];

#[tokio::test]
async fn a_capture_that_is_wrong_keeps_nothing_and_costs_the_session_nothing() {
    for version in Version::BOTH {
        let mut page = Page::open(version).await;
        for (name, status, code, make) in CAPTURES {
            eprintln!("{version:?}: {name}");
            let (before, records) = (page.house.received(), page.records().await);
            let answer = page.send(&make(&page)).await;
            assert_problem(&answer, *status, code, "no");
            assert_eq!(page.records().await, records, "{name}: something was kept");
            assert_eq!(page.house.received(), before, "{name}");
        }
        for (framing, upto) in [(Framing::Length, 0), (Framing::Open, 16_500)] {
            let large = other(|card| card.holder = "Canary ".repeat(3_000));
            let ask = page.capture(&large).framed(framing);
            let mut line = page.house.public(version).await;
            let begun = line.begin(&ask, upto).await.unwrap();
            assert_problem(&line.answer(begun).await.unwrap(), 413, "body_too_large", "no");
        }
        page.still_pays().await;
    }
}

fn allowed(answer: &Answer) -> Option<&str> {
    answer.header("access-control-allow-origin")
}

#[tokio::test]
async fn only_the_pages_of_an_application_may_capture_and_read_the_answer() {
    for version in Version::BOTH {
        let mut page = Page::open(version).await;
        let shop = page.shop();
        let answer = page.send(&Page::preflight(&shop)).await;
        assert_eq!((answer.status, allowed(&answer)), (204, Some(shop.as_str())));
        assert_eq!(answer.header("access-control-allow-methods"), Some("POST"));
        let headers = answer.header("access-control-allow-headers").unwrap();
        assert!(headers.contains("authorization") && headers.contains("content-type"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
        assert_eq!(answer.header("vary"), Some("origin"));

        for origin in ["https://canary.example", "null", "http://localhost", &format!("{shop}.x")] {
            let answer = page.send(&Page::preflight(origin)).await;
            assert_eq!(allowed(&answer), None, "{origin}");
            assert_eq!(answer.header("access-control-allow-methods"), None, "{origin}");
            let answer = page.send(&page.from(origin)).await;
            assert_problem(&answer, 403, "origin_refused", "no");
            assert_eq!(allowed(&answer), None, "{origin}");
        }

        // Nor may such a page read what is wrong with a session that it guessed.
        let guessed = authorized(&page, "Bearer cs_Canary").without("origin");
        let answer = page.send(&guessed.header("origin", "https://canary.example")).await;
        assert_problem(&answer, 401, "session_unknown", "no");
        assert_eq!(allowed(&answer), None);

        // The shop's own page may read why a capture was refused.
        let answer = page.send(&typed(&page, "text/plain")).await;
        assert_problem(&answer, 415, "content_type_refused", "no");
        assert_eq!(allowed(&answer), Some(shop.as_str()));
        let answer = page.send(&page.capture(&card())).await;
        assert_eq!((answer.status, allowed(&answer)), (201, Some(shop.as_str())));
        assert!(!answer.text().contains(PLAIN) && !answer.text().contains("739"));
        page.still_pays().await;
    }
}

#[tokio::test]
async fn a_session_takes_as_many_cards_as_it_was_opened_for() {
    let house = House::open().await;
    let one = format!(r#"{{"origin":"{}","max_cards":1}}"#, house.world.shop.url());
    let mut private = house.private(Version::Http1).await;
    let session = session_of(&private.send(&house.session(App::Shop).with_body(one)).await);
    let mut public = house.public(Version::Http1).await;
    assert_eq!(public.send(&house.capture(&session, &card())).await.status, 201);
    let answer = public.send(&house.capture(&session, &card())).await;
    assert_problem(&answer, 401, "session_unknown", "no");
}

#[tokio::test]
async fn a_head_request_at_the_way_back_reaches_nobody_and_uses_nothing_up() {
    for version in Version::BOTH {
        let house = House::open().await;
        let back = back_from_the_bank(&house).await;
        let mut public = house.public(version).await;
        for query in ["", "?PaRes=1&MD=2"] {
            let target = format!("{}{query}", back.target);
            let answer = public.send(&Ask::new(Method::HEAD, &target)).await;
            assert_eq!((answer.status, answer.body.len()), (200, 0), "{query}");
        }
        assert_eq!(house.world.paymega.received().count("3ds-return"), 0);
        assert_eq!(public.send(&back).await.status, 303);
        assert_eq!(house.world.paymega.received().count("3ds-return"), 1);
    }
}

#[tokio::test]
async fn no_answer_to_a_browser_is_stored_or_guessed_at_or_tells_its_address_on() {
    for version in Version::BOTH {
        let page = Page::open(version).await;
        let unknown = RelayId::random().reveal(str::to_owned);
        let ended = SessionId::random().reveal(str::to_owned);
        let shown = [
            ("a preflight", Page::preflight(&page.shop()), 204),
            ("a form", Ask::get(&format!("/v1/form/{}", page.session)), 200),
            ("a form that has ended", Ask::get(&format!("/v1/form/{ended}")), 404),
            ("an unknown hand-off", Ask::get(&format!("/3ds/{unknown}/start")), 404),
            ("an unknown way back", Ask::get(&format!("/3ds/{unknown}")), 404),
            ("an unknown card form", Ask::get(&format!("/payform/{unknown}")), 404),
            ("an unknown path", Ask::get("/canary"), 404),
            ("a foreign page", page.from("https://canary.example"), 403),
            ("a capture", page.capture(&card()), 201),
            ("a return", back_from_the_bank(&page.house).await, 303),
        ];
        for (name, ask, status) in shown {
            let answer = page.send(&ask).await;
            assert_eq!(answer.status, status, "{name}");
            for (header, value) in [
                ("cache-control", "no-store"),
                ("referrer-policy", "no-referrer"),
                ("x-content-type-options", "nosniff"),
            ] {
                assert_eq!(answer.header(header), Some(value), "{name}: {header}");
            }
        }
    }
}
