//! Forms of shops as browsers send them, and as somebody who hides a card would.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use url::Url;

use super::*;
use crate::caller::Apps;
use crate::card::Mode;
use crate::intake::{PathPattern, ShopHost};
use crate::provider::Registry;
use crate::vault::{Audience, Keyring, Limits, Tenant, Vault};
use crate::wire::corpus::disguised;

const PAN: &str = "5519283812030000";
const CVV: &str = "739";
const BOUNDARY: &str = "----geckoformboundary5f1d";
/// Before the cards of these tests end.
const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

fn limits() -> Limits {
    Limits {
        capacity: 1000,
        states: 1000,
        states_bytes: 1 << 20,
        idempotency: 1000,
        idempotency_bytes: 1 << 20,
        idempotency_per_app: 1000,
        marks: 1000,
        sessions_per_app: 10,
        card_ttl: Duration::from_secs(600),
        cvv_ttl: Duration::from_secs(600),
    }
}

fn flow(limits: Limits) -> Flow {
    let app = App {
        tenant: Tenant::new("shop"),
        mode: Mode::Test,
        key_hashes: Vec::new(),
        client_names: Vec::new(),
        accounts: vec!["gate".to_owned()],
        origins: Vec::new(),
        callback_hosts: Vec::new(),
    };
    let vault = Arc::new(Vault::new(Keyring::random(), limits));
    let url = Url::parse("https://pay.example").unwrap();
    Flow::new(vault, Registry::new(Vec::new()), Apps::new(vec![app]), url)
}

fn intake(cvv_required: bool) -> Intake {
    let card = |encoding: Encoding, prefix: &str| {
        let field = |name: &str| Field::named(&format!("{prefix}{name}"), encoding).unwrap();
        CardPath {
            method: Method::POST,
            path: PathPattern::parse("/pay").unwrap(),
            encoding,
            fields: CardFields {
                number: field("number"),
                cvv: Some(field("cvv")),
                cvv_required,
                expiry: ExpiryFields::Whole(field("expiry")),
                holder: Some(field("holder")),
            },
        }
    };
    Intake {
        names: vec!["shop.example".into()],
        shop: ShopHost { host: "127.0.0.1".into(), port: 1, tls: false },
        tenant: Tenant::new("shop"),
        cards: vec![
            card(Encoding::Json, "/card/"),
            card(Encoding::Form, ""),
            card(Encoding::Multipart, ""),
        ],
    }
}

/// A body and its type.
#[derive(Clone)]
struct Sent {
    kind: String,
    body: Vec<u8>,
}

impl Sent {
    fn json(number: &str, cvv: &str, more: &str) -> Self {
        let body = format!(
            "{{ \"card\" :{{\"number\":\"{number}\",\t\"expiry\":\"10 / 35\",\"cvv\": \"{cvv}\",\
             \"holder\":\"J\\u00e9 D\"}}{more}}}\n"
        );
        Self { kind: "application/json".into(), body: body.into() }
    }

    fn form(number: &str, cvv: &str, more: &str) -> Self {
        let body = format!("a=1&number={number}&expiry=10%2F35&cvv={cvv}&holder=J%C3%A9+D{more}");
        Self { kind: "application/x-www-form-urlencoded".into(), body: body.into() }
    }

    fn multipart(number: &str, cvv: &str, more: &[u8]) -> Self {
        let field = |name: &str, value: &str| {
            format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            )
        };
        let fields = [
            field("number", number),
            field("expiry", "10/35"),
            field("cvv", cvv),
            field("holder", "Jé D"),
        ];
        let end = format!("--{BOUNDARY}--\r\n");
        let body = [fields.concat().as_bytes(), more, end.as_bytes()].concat();
        Self { kind: format!("multipart/form-data; boundary={BOUNDARY}"), body }
    }

    fn part(header: &str, content: &[u8]) -> Vec<u8> {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; {header}\r\n\r\n");
        [head.as_bytes(), content, b"\r\n"].concat()
    }

    fn all(number: &str, cvv: &str) -> [Self; 3] {
        [
            Self::json(number, cvv, ""),
            Self::form(number, cvv, ""),
            Self::multipart(number, cvv, b""),
        ]
    }

    fn tokenise(&self, flow: &Flow, intake: &Intake) -> Result<(String, Replaced), Refusal> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&self.kind).unwrap());
        self.tokenise_with(flow, intake, &headers)
    }

    fn tokenise_with(
        &self,
        flow: &Flow,
        intake: &Intake,
        headers: &HeaderMap,
    ) -> Result<(String, Replaced), Refusal> {
        let body = CleartextBody::from(self.body.clone());
        let (method, path) = (&Method::POST, "/pay");
        let post = CardPost { intake, method, path, headers, body: &body };
        let (body, replaced) = flow.tokenise(&post, |_| Ok(()), NOW)?.into_parts();
        Ok((String::from_utf8_lossy(body.as_bytes()).into_owned(), replaced))
    }
}

/// The first token of a kind in a body.
fn token<'b>(body: &'b str, prefix: &str) -> &'b str {
    let start = body.find(prefix).unwrap();
    let rest = &body[start..];
    &rest[..rest.find(|sign: char| !sign.is_alphanumeric() && sign != '_').unwrap_or(rest.len())]
}

#[test]
fn tokens_take_the_places_of_the_card_and_every_other_byte_stays() {
    let (flow, intake) = (flow(limits()), intake(false));
    for sent in Sent::all(PAN, CVV) {
        let (body, replaced) = sent.tokenise(&flow, &intake).unwrap();
        assert_eq!((replaced.pan, replaced.cvv), (1, 1));
        let (card, code) = (token(&body, "tok_test_"), token(&body, "cvv_test_"));
        let back = body.replacen(card, PAN, 1).replacen(code, CVV, 1);
        assert_eq!(back.as_bytes(), sent.body, "{}", sent.kind);
        let card = Token::parse(card).unwrap();
        let (tenant, account) = (Tenant::new("shop"), Account::new("gate"));
        let audience = Audience { tenant, account, mode: Mode::Test };
        let (redeemed, found) = flow.vault.redeem(&card, &audience, NOW).unwrap().into_parts();
        redeemed.pan.reveal(|digits| assert_eq!(digits, PAN));
        assert_eq!((redeemed.expiry.month2(), redeemed.expiry.year4()), ("10", "2035"));
        redeemed.holder.unwrap().reveal(|name| assert_eq!(name, "Jé D"));
        let code = CvvToken::parse(code).unwrap();
        assert!(flow.vault.take_cvv(&code, &card, found, NOW).is_ok());
    }
}

#[test]
fn numbers_are_taken_as_people_type_them_and_an_empty_code_stays_empty() {
    let (flow, intake) = (flow(limits()), intake(false));
    for sent in Sent::all("5519-2838-1203-0000", "") {
        let (body, replaced) = sent.tokenise(&flow, &intake).unwrap();
        assert_eq!((replaced.pan, replaced.cvv), (1, 0), "{}", sent.kind);
        assert!(!body.contains("cvv_"), "{}", sent.kind);
    }
    let needs = super::tests::intake(true);
    for sent in Sent::all(PAN, "") {
        let refusal = sent.tokenise(&flow, &needs).unwrap_err();
        assert!(matches!(refusal, Refusal::FieldMissing(_)), "{refusal}");
    }
}

#[test]
fn a_form_that_is_shown_again_with_its_token_passes_and_takes_a_new_code() {
    let (flow, intake) = (flow(limits()), intake(true));
    let (first, _) = Sent::form(PAN, CVV, "").tokenise(&flow, &intake).unwrap();
    let (card, code) = (token(&first, "tok_test_"), token(&first, "cvv_test_"));
    for sent in Sent::all(card, code) {
        let (body, replaced) = sent.tokenise(&flow, &intake).unwrap();
        assert_eq!((body.as_bytes(), replaced), (sent.body.as_slice(), Replaced::default()));
    }
    for sent in Sent::all(card, "321") {
        let (body, replaced) = sent.tokenise(&flow, &intake).unwrap();
        assert_eq!((replaced.pan, replaced.cvv), (0, 1));
        let new = token(&body, "cvv_test_");
        assert_ne!(new, code);
        assert_eq!(body.replacen(new, "321", 1).as_bytes(), sent.body);
    }
    // A code token without its card's, and a token that nobody made.
    for sent in Sent::all(PAN, code).iter().chain(&Sent::all("tok_test_x", CVV)) {
        assert!(sent.tokenise(&flow, &intake).is_err(), "{}", sent.kind);
    }
}

/// A page's script may have put the number where the shop reads it without a form.
#[test]
fn a_header_that_holds_the_number_does_not_reach_the_shop() {
    let (flow, intake) = (flow(limits()), intake(false));
    for (name, value, passes) in [
        ("cookie", format!("a=1; last={PAN}"), false),
        ("referer", "https://shop.example/?n=5519+2838+1203+0000".into(), false),
        ("x-note", "55%3192838120%33 0000".into(), false),
        ("user-agent", "Browser/1 5519283812030001".into(), true),
    ] {
        let sent = Sent::form(PAN, CVV, "");
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_str(&sent.kind).unwrap());
        headers.insert(name, HeaderValue::from_str(&value).unwrap());
        let told = sent.tokenise_with(&flow, &intake, &headers);
        assert_eq!(told.is_ok(), passes, "{name}");
    }
}

/// Threat T4: whatever hides a second card in the body, nothing of it reaches the shop.
#[test]
fn no_disguise_in_any_place_of_a_body_passes() {
    let (flow, intake) = (flow(limits()), intake(false));
    let (mut bodies, mut faults) = (0, Vec::new());
    for (name, hidden) in disguised(PAN) {
        let text = serde_json::Value::from(hidden.clone()).to_string();
        let encoded = form::encode(&hidden);
        let encoded = std::str::from_utf8(encoded.as_bytes()).unwrap();
        let quoted = hidden.replace('"', "%22");
        let carriers = [
            ("a JSON text", Sent::json(PAN, CVV, &format!(",\"note\":{text}"))),
            ("a JSON name", Sent::json(PAN, CVV, &format!(",{text}:1"))),
            ("a deep JSON text", Sent::json(PAN, CVV, &format!(",\"a\":[[{{\"b\":[{text}]}}]]"))),
            ("a form's value", Sent::form(PAN, CVV, &format!("&note={encoded}"))),
            ("a form's name", Sent::form(PAN, CVV, &format!("&{encoded}=1"))),
            ("a part", {
                let part = Sent::part("name=\"note\"", hidden.as_bytes());
                Sent::multipart(PAN, CVV, &part)
            }),
            ("a part's name", {
                let part = Sent::part(&format!("name=\"{quoted}\""), b"1");
                Sent::multipart(PAN, CVV, &part)
            }),
            ("a file", {
                let file = Sent::part("name=\"f\"; filename=\"f.txt\"", hidden.as_bytes());
                Sent::multipart(PAN, CVV, &file)
            }),
        ];
        for (carrier, sent) in carriers {
            bodies += 1;
            if sent.tokenise(&flow, &intake).is_ok() {
                faults.push(format!("{name} in {carrier}"));
            }
        }
    }
    for grouped in [
        "5519/2838/1203/0000",
        "5519, 2838, 1203, 0000",
        "5 5 1 9 2 8 3 8 1 2 0 3 0 0 0 0",
        "5519--2838--1203--0000",
        "15519283812030000",
        "5519283812030000a",
        "55192838120300001230",
        "%B5519283812030000^DOE",
    ] {
        let encoded = form::encode(grouped);
        let encoded = std::str::from_utf8(encoded.as_bytes()).unwrap();
        for (carrier, sent) in [
            ("a JSON text", Sent::json(PAN, CVV, &format!(",\"note\":\"{grouped}\""))),
            ("a form's value", Sent::form(PAN, CVV, &format!("&note={encoded}"))),
            ("a part", {
                let part = Sent::part("name=\"note\"", grouped.as_bytes());
                Sent::multipart(PAN, CVV, &part)
            }),
        ] {
            if sent.tokenise(&flow, &intake).is_ok() {
                faults.push(format!("{grouped} in {carrier}"));
            }
        }
    }
    assert!(bodies >= 350, "{bodies}");
    assert!(faults.is_empty(), "{faults:#?}");
    assert!(flow.vault.is_empty(), "a refused body left a card in the vault");
    // The same carriers with something harmless.
    for sent in [
        Sent::json(PAN, CVV, ",\"note\":\"order 4711\",\"n\":42"),
        Sent::form(PAN, CVV, "&note=order+4711&items%5B%5D=1&items%5B%5D=2"),
        Sent::multipart(PAN, CVV, &Sent::part("name=\"note\"", b"order 4711")),
        Sent::multipart(PAN, CVV, &Sent::part("name=\"f\"; filename=\"f\"", b"\x89PNG\0\xff")),
    ] {
        assert!(sent.tokenise(&flow, &intake).is_ok(), "{}", sent.kind);
    }
}

fn changed(sent: &Sent, from: &str, to: &str) -> Sent {
    let at = memchr::memmem::find(&sent.body, from.as_bytes());
    let at = at.unwrap_or_else(|| panic!("{from}"));
    let body = [&sent.body[..at], to.as_bytes(), &sent.body[at + from.len()..]].concat();
    Sent { body, ..sent.clone() }
}

/// Threat T4: bodies that two readers could take for two things.
#[test]
fn a_body_that_can_be_read_in_two_ways_is_refused() {
    let (flow, intake) = (flow(limits()), intake(false));
    let [json, form, parts] = Sent::all(PAN, CVV);
    let of = |kind: &str, sent: &Sent| Sent { kind: kind.to_owned(), ..sent.clone() };
    let raw = |sent: &Sent, body: &[u8]| Sent { body: body.to_vec(), ..sent.clone() };
    let utf16 = |sent: &Sent| {
        let text = String::from_utf8(sent.body.clone()).unwrap();
        let units = text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        raw(sent, &units)
    };
    let wrapped =
        |sent: &Sent, before: &[u8], after: &[u8]| raw(sent, &[before, &sent.body, after].concat());
    let number = format!("\"{PAN}\"");
    let bodies = [
        // Another type than the body's, none, or one in doubt.
        of("text/plain", &json),
        of("text/plain", &form),
        of("application/json", &form),
        of("application/x-www-form-urlencoded", &json),
        of("application/x-www-form-urlencoded", &parts),
        of("application/json; charset=utf-16", &json),
        of("application/x-www-form-urlencoded; charset=iso-8859-1", &form),
        of("multipart/form-data", &parts),
        of("multipart/form-data; boundary=other", &parts),
        of("multipart/mixed; boundary=----geckoformboundary5f1d", &parts),
        of("application/json, application/x-www-form-urlencoded", &json),
        of("", &json),
        // Other bytes than UTF-8 without a mark.
        utf16(&json),
        utf16(&form),
        utf16(&parts),
        wrapped(&json, b"\xef\xbb\xbf", b""),
        wrapped(&form, b"\xef\xbb\xbf", b""),
        wrapped(&parts, b"\xef\xbb\xbf", b""),
        wrapped(&json, b"", b"{}"),
        wrapped(&json, b"", b"\0"),
        wrapped(&form, b"", b"\0"),
        wrapped(&form, b"", b"\r\n"),
        wrapped(&parts, b"", b"x"),
        wrapped(&parts, b"\r\n", b""),
        changed(&json, "\\u00e9", "\\ud800"),
        changed(&form, "%C3%A9", "%C3"),
        changed(&form, "%C3%A9", "%"),
        changed(&form, "%C3%A9", "%zz"),
        changed(&form, "%C3%A9", "é"),
        changed(&form, "%C3%A9", "%00"),
        changed(&form, "a=1", "_charset_=utf-16"),
        changed(&form, "a=1", "_charset_=iso-8859-1"),
        changed(&parts, "Jé", "J\0"),
        // The same field twice, in whatever spelling.
        changed(&json, "\"cvv\"", "\"n\\u0075mber\""),
        changed(&json, "\"cvv\"", &format!("\"number\":{number},\"cvv\"")),
        changed(&form, "a=1", &format!("number={PAN}")),
        changed(&form, "a=1", "number="),
        changed(&form, "a=1", "n%75mber=1"),
        changed(&form, "a=1", "cvv=123"),
        changed(&form, "a=1", &format!("a=1;number={PAN}")),
        changed(&parts, "name=\"holder\"", "name=\"number\""),
        changed(&parts, "name=\"holder\"", "name=\"holder\"; name=\"number\""),
        // Another type of value, or none.
        changed(&json, &number, PAN),
        changed(&json, &number, "null"),
        changed(&json, &number, "[\"5519283812030000\"]"),
        changed(&json, &number, "{\"a\":\"5519283812030000\"}"),
        changed(&json, &number, "true"),
        changed(&json, &number, "\"\""),
        changed(&json, "\"739\"", "739"),
        changed(&json, "\"card\"", "\"Card\""),
        changed(&json, "\"number\"", "\"Number\""),
        changed(&form, "number=", "Number="),
        changed(&form, "number=", "number%5B%5D="),
        changed(&form, PAN, ""),
        changed(&parts, "name=\"number\"", "name=\"number\"; filename=\"a\""),
        changed(&parts, "name=\"number\"", "name=\"n%75mber\""),
        changed(&parts, "name=\"cvv\"", "name=\"cvv2\""),
        changed(&form, "cvv=", "cvc="),
        changed(&json, "\"cvv\"", "\"security_code\""),
        // No card.
        changed(&json, PAN, "5519283812030001"),
        changed(&json, PAN, "9999123412341234"),
        changed(&json, "10 / 35", "10 / 25"),
        changed(&json, "10 / 35", "13/35"),
        changed(&json, "10 / 35", "1035x"),
        changed(&form, "739", "73"),
        changed(&form, "739", "7390"),
        raw(&json, b""),
        raw(&form, b""),
        raw(&parts, b""),
        raw(&json, &[b'['; 100]),
    ];
    let passed: Vec<usize> =
        (0..bodies.len()).filter(|at| bodies[*at].tokenise(&flow, &intake).is_ok()).collect();
    assert_eq!(passed, Vec::<usize>::new(), "of {}", bodies.len());
    assert!(flow.vault.is_empty());
    let mut doubled = HeaderMap::new();
    for _ in 0..2 {
        doubled.append(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    assert!(json.tokenise_with(&flow, &intake, &doubled).is_err());
}

#[test]
fn a_full_vault_and_a_rate_refuse_before_anything_is_kept() {
    let intake = intake(false);
    let full = flow(Limits { capacity: 0, ..limits() });
    let sent = Sent::form(PAN, CVV, "");
    assert!(matches!(sent.tokenise(&full, &intake), Err(Refusal::VaultFull)));
    let flow = flow(limits());
    let body = CleartextBody::from(sent.body.clone());
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(&sent.kind).unwrap());
    let mut asked = Vec::new();
    let post = CardPost {
        intake: &intake,
        method: &Method::POST,
        path: "/pay",
        headers: &headers,
        body: &body,
    };
    let allow = |offer: Offer<'_>| {
        if let Offered::Number { bin, .. } = offer.card {
            asked.push((offer.app.as_str().to_owned(), bin.to_owned()));
        }
        Ok(())
    };
    assert!(flow.tokenise(&post, allow, NOW).is_ok());
    assert_eq!(asked, [("shop".to_owned(), "551928".to_owned())]);
}

#[test]
fn the_end_of_a_card_is_read_in_the_spellings_of_forms() {
    for text in ["10/35", "10 / 35", "10-35", "1035", "10/2035", "102035", "2035-10"] {
        let (month, year) = whole_expiry(text).unwrap();
        let expiry = crate::card::Expiry::parse(&month, &year).unwrap();
        assert_eq!((expiry.month2(), expiry.year4()), ("10", "2035"), "{text}");
    }
    for text in ["", "1", "35/10", "10/35/1", "10 35", "Oct 35", "é1"] {
        let read = whole_expiry(text);
        let read = read.map(|(month, year)| crate::card::Expiry::parse(&month, &year));
        assert!(!matches!(read, Some(Ok(_))), "{text}");
    }
}

#[test]
fn a_card_in_the_address_is_seen() {
    for (path, query) in [
        ("/pay", Some("number=5519283812030000")),
        ("/pay", Some("number=%355%319+2838+1203+0000&a")),
        ("/pay", Some("a=b&c=5519+2838+1203+0000")),
        ("/5519283812030000", None),
    ] {
        assert!(target_holds_card(path, query), "{path} {query:?}");
    }
    for query in ["page=2&q=brass+gate", "order=4711", "id=018f3c5e-7b1a-7000-8000-1f2e3d4c5b6a"] {
        assert!(!target_holds_card("/orders/17", Some(query)), "{query}");
    }
}
