//! Cards in disguise where cards and tokens are taken (threat T4): each writing in each place of
//! the body is refused, nobody gets it, and nothing is used up.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::{CHALLENGED, PLAIN};
use portcullis_sandbox::random;
use portcullis_sandbox::text::{encode_form, quote};
use portcullis_sandbox::visitor::CVV;
use portcullis_sandbox::world::accounts::App;

use super::house::{
    HOLDER, House, assert_no_card, assert_problem, card, card_fields, session_of, spaced,
};
use super::intake::{form_body, pay};
use super::line::{Ask, Version};

const BETWEEN: [&str; 19] = [
    " ", "-", ".", "+", "/", ",", ":", "--", "    ", "\u{a0}", "\u{2009}", "\u{2013}", "\u{200b}",
    "\u{ad}", "\u{feff}", "&nbsp;", "&zwnj;", "<wbr>", "%20",
];

/// Where another script has its zero.
const ZEROS: [u32; 4] = [0xff10, 0x660, 0x966, 0x1d7d8];

type Spell = fn(u32) -> String;
const SPELLED: [(&str, Spell); 6] = [
    ("percent", |digit| format!("%{digit:02X}")),
    ("percent twice", |digit| format!("%25{digit:02x}")),
    ("entities", |digit| format!("&#{digit};")),
    ("hexadecimal entities", |digit| format!("&#x{digit:x};")),
    ("unicode escapes", |digit| format!("\\u{digit:04x}")),
    ("hexadecimal escapes", |digit| format!("\\x{digit:02x}")),
];

type Write = fn(&str) -> String;
const WRITTEN: [(&str, Write); 16] = [
    ("plain", str::to_owned),
    ("in a sentence", |card| format!("Card {card} was declined.")),
    ("glued to a word", |card| format!("pan{card}x")),
    ("in a query", |card| format!("https://x.y/?card={card}&a=1")),
    ("in a path", |card| format!("/cards/{card}/3ds")),
    ("a track", |card| format!("%B{card}^DOE/J^3012101?")),
    ("base64", |card| STANDARD.encode(card)),
    ("base64 of the spaced one", |card| STANDARD.encode(spaced(card))),
    ("base64, shifted", |card| STANDARD_NO_PAD.encode(format!("x{card}"))),
    ("base64 twice", |card| URL_SAFE_NO_PAD.encode(STANDARD.encode(format!("\"{card}\"")))),
    ("base64 of UTF-16", |card| {
        STANDARD.encode(card.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>())
    }),
    ("base64 behind a name", |card| format!("req-{}", STANDARD.encode(card))),
    ("a token's part", |card| format!("eyJhIjoxfQ.{}.c2ln", URL_SAFE_NO_PAD.encode(inner(card)))),
    ("zlib", |card| STANDARD.encode(compress_to_vec_zlib(inner(card).as_bytes(), 6))),
    ("deflate", |card| STANDARD.encode(compress_to_vec(inner(card).as_bytes(), 6))),
    ("hexadecimal", |card| card.bytes().map(|byte| format!("{byte:02x}")).collect()),
];

fn inner(text: &str) -> String {
    format!("{{\"pan\":{}}}", quote(text))
}

/// Each way to write a card's number as a text, with its name.
fn writings(card: &str) -> Vec<(String, String)> {
    let of = |digit: char, spell: &dyn Fn(u32) -> String| spell(u32::from(digit));
    let between =
        BETWEEN.iter().map(|mark| (format!("{mark:?} between"), spaced(card).replace(' ', mark)));
    let scripts = ZEROS.iter().map(|zero| {
        let shifted = |digit: u32| char::from_u32(digit - 0x30 + zero).unwrap().to_string();
        (format!("digits from {zero:x}"), card.chars().map(|digit| of(digit, &shifted)).collect())
    });
    let spelled = SPELLED.iter().map(|(name, spell)| {
        ((*name).to_owned(), card.chars().map(|digit| of(digit, spell)).collect())
    });
    let written = WRITTEN.iter().map(|(name, write)| ((*name).to_owned(), write(card)));
    between.chain(scripts).chain(spelled).chain(written).collect()
}

/// A good body with a text in one more place. The holder's name stands in it once.
type Put = fn(&str, &str) -> String;

fn at_holder(body: &str, other: &str) -> String {
    let holder = quote(HOLDER);
    assert_eq!(body.matches(&holder).count(), 1, "{body}");
    body.replace(&holder, other)
}

const IN_JSON: [(&str, Put); 5] = [
    ("the holder", |body, text| at_holder(body, &quote(text))),
    ("a field", |body, text| at_holder(body, &format!("\"x\",\"note\":{}", quote(text)))),
    ("a name", |body, text| at_holder(body, &format!("\"x\",{}:null", quote(text)))),
    ("a list", |body, text| {
        at_holder(body, &format!("\"x\",\"a\":[0,[{{\"b\":{}}}]]", quote(text)))
    }),
    ("a document", |body, text| at_holder(body, &format!("\"x\",\"a\":{}", quote(&inner(text))))),
];

fn in_form(body: &str, name: &str, text: &str) -> String {
    format!("{body}&{}", encode_form(&[(name.to_owned(), text.to_owned())]))
}

const IN_FORM: [(&str, Put); 5] = [
    ("the holder", |body, text| {
        let field = |value: &str| in_form("", "holder", value);
        assert_eq!(body.matches(&field(HOLDER)).count(), 1, "{body}");
        body.replace(&field(HOLDER), &field(text))
    }),
    ("a field", |body, text| in_form(body, "note", text)),
    ("a name", |body, text| in_form(body, text, "")),
    ("a list", |body, text| in_form(body, "a[b][]", text)),
    ("a document", |body, text| in_form(body, "a", &inner(text))),
];

/// What providers were sent so far.
fn received(house: &House) -> usize {
    house.received()
        + house.world.highhelp.received().all().len()
        + house.world.qostiq.received().all().len()
}

fn refused(answer: &Answer, _: &str) {
    assert_problem(answer, 422, "raw_card_refused", "no");
}

/// May stand in every place.
const HARMLESS: &str = "Otto Canary";

/// Every writing in every place is refused, which `check` sees to, and no provider gets anything.
async fn none_passes(
    house: &House,
    places: &[(&str, Put)],
    good: &str,
    check: impl Fn(&Answer, &str),
    send: impl AsyncFn(String, Version) -> Answer,
) {
    let before = received(house);
    let mut bodies = 0;
    for (place, put) in places {
        for (name, text) in writings(CHALLENGED) {
            eprintln!("{place}: {name}");
            let version = Version::BOTH[bodies % 2];
            let answer = send(put(good, &text), version).await;
            check(&answer, &text);
            bodies += 1;
        }
    }
    assert_eq!(bodies, 45 * places.len());
    assert_eq!(received(house), before, "a provider got one");
}

async fn gateway(house: &House, ask: &Ask, version: Version) -> Answer {
    house.private(version).await.send(ask).await
}

#[tokio::test]
async fn no_card_in_disguise_passes_in_a_sale() {
    let house = House::open().await;
    for account in ["paymega", "milkypay"] {
        let ready = house.ready(account).await;
        let before = house.sales_received();
        let send =
            async |body, version| gateway(&house, &ready.ask().with_body(body), version).await;
        none_passes(&house, &IN_JSON, &ready.body(), refused, send).await;
        for (name, text) in writings(CHALLENGED) {
            let body = ready.body().replace(&quote(&ready.tokens.token), &quote(&text));
            let answer = gateway(&house, &ready.ask().with_body(body), Version::Http1).await;
            let code = answer.json().unwrap()["code"].clone();
            let codes = ["raw_card_refused", "token_malformed"];
            assert!(codes.iter().any(|of| code == *of), "{name} for the token: {code}");
            assert_eq!(house.sales_received(), before, "{name} for the token");
        }
        house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
        for (place, put) in IN_JSON {
            let ready = house.ready(account).await;
            let ask = ready.ask().with_body(put(&ready.body(), HARMLESS));
            let answer = gateway(&house, &ask, Version::Http1).await;
            assert_eq!(
                answer.header("portcullis-forwarded"),
                Some("yes"),
                "{place}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn no_card_in_disguise_passes_in_what_is_explained() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let pasted = |body: String| {
        let call = format!(
            r#"{{"method":"POST","path":"/paymega/cardgate/payment/sale","headers":{{"authorization":"Bearer {}","content-type":"application/json"}},"body":{body}}}"#,
            ready.handle
        );
        Ask::json("/v1/explain", call).header("portcullis-key", house.world.key(App::Shop))
    };
    let send = async |body, version| gateway(&house, &pasted(body), version).await;
    let would_be_refused = |answer: &Answer, _: &str| {
        assert_no_card(answer);
        let told = answer.json().unwrap();
        assert_eq!(told["outcome"], "would_be_refused");
        assert_eq!(told["problem"]["code"], "raw_card_refused");
    };
    none_passes(&house, &IN_JSON, &ready.body(), would_be_refused, send).await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
}

#[tokio::test]
async fn no_card_in_disguise_passes_at_highhelp() {
    let house = House::open().await;
    let highhelp = house.world.highhelp("highhelp", App::Shop).unwrap();
    let payment = house.new_payment();
    let good = highhelp.payin_body(&payment, &card_fields(&house.captured().await));
    let pay = async |body: String| highhelp.post("payment/ecom/payin", body).await.unwrap();
    none_passes(&house, &IN_JSON, &good, refused, async |body, _| pay(body).await).await;
    let answer = pay(good).await;
    assert_eq!(answer.header("portcullis-forwarded"), Some("yes"), "{}", answer.text());
}

#[tokio::test]
async fn no_card_in_disguise_passes_at_qostiq() {
    let house = House::open().await;
    let qostiq = house.world.piastrix("qostiq", App::Shop).unwrap();
    for (name, text) in writings(CHALLENGED) {
        eprintln!("{name}");
        // Where the token of a card stands, and beside it.
        let order = random::letters(12);
        refused(&qostiq.withdraw(&order, &text).await.unwrap(), &text);
        refused(&qostiq.withdraw(&text, "380501234567").await.unwrap(), &text);
    }
    assert!(house.world.qostiq.received().all().is_empty());
    let token = house.captured().await.token;
    assert_eq!(qostiq.withdraw(&random::letters(12), &token).await.unwrap().status, 200);
}

#[tokio::test]
async fn no_card_in_disguise_passes_in_a_form_of_the_shops_own() {
    let house = House::open().await;
    let good = form_body(PLAIN, CVV);
    // Readers differ in whether they drop a byte order mark.
    let refused = |answer: &Answer, text: &str| match text.contains('\u{feff}') {
        true => drop(assert_problem(answer, 400, "utf8", "no")),
        false => refused(answer, text),
    };
    let send = async |body: String, version| house.shop(version).await.send(&pay(body)).await;
    none_passes(&house, &IN_FORM, &good, refused, &send).await;
    assert!(house.world.own_form.received().all().is_empty());
    for (place, put) in IN_FORM {
        let answer = send(put(&good, HARMLESS), Version::Http1).await;
        assert_eq!(answer.status, 200, "{place}: {}", answer.text());
    }
}

#[tokio::test]
async fn no_card_in_disguise_passes_in_a_capture() {
    let house = House::open().await;
    let session = session_of(&gateway(&house, &house.session(App::Shop), Version::Http1).await);
    let ask = house.capture(&session, &card());
    let good = String::from_utf8(ask.body.to_vec()).unwrap();
    let send = async |body: String, version| {
        house.public(version).await.send(&ask.clone().with_body(body)).await
    };
    let wrong =
        |code| move |answer: &Answer, _: &str| drop(assert_problem(answer, 422, code, "no"));
    let [holder, others @ ..] = IN_JSON;
    none_passes(&house, &[holder], &good, wrong("card_holder"), &send).await;
    // A card has these members and no others.
    none_passes(&house, &others, &good, wrong("field_invalid"), &send).await;
    assert_eq!(send(holder.1(&good, HARMLESS), Version::Http1).await.status, 201);
}
