//! Bodies of a sale that cannot be read, or say what may not be said.

use portcullis::card::{CvvToken, Mode, Token};
use portcullis_sandbox::corefy::cards::{CHALLENGED, PLAIN};
use portcullis_sandbox::world::accounts::App;

use super::super::house::{assert_problem, escaped, gzip, spaced};
use super::super::line::{Ask, Framing, Version};
use super::{Row, Scene, Table, all_are_refused};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

fn typed(scene: &Scene<'_>, content_type: &str) -> Ask {
    scene.ready.ask().without("content-type").header("content-type", content_type)
}

/// Four levels of the sale itself, and `depth` more.
fn nested(scene: &Scene<'_>, depth: usize) -> Ask {
    let deep = format!("{}\"Canary\"{}", "[".repeat(depth), "]".repeat(depth));
    scene.with("\"1920\"", &deep)
}

fn form(scene: &Scene<'_>) -> String {
    let tokens = &scene.ready.tokens;
    format!("card_number={}&cvv={}&card_holder=Canary+Holder", tokens.token, tokens.cvv_token)
}

fn token(mode: Mode) -> String {
    Token::random(mode).reveal(|text| format!("\"{text}\""))
}

#[rustfmt::skip]
const UNREADABLE: &[Row] = &[
    ("no JSON", 400, "json_syntax", |s| s.sale("Canary {\"data\"")),
    ("cut short", 400, "json_syntax", |s| { let body = s.ready.body(); s.sale(body[..body.len() - 3].to_owned()) }),
    ("single quotes", 400, "json_syntax", |s| s.sale(s.ready.body().replace('"', "'"))),
    ("a comment", 400, "json_syntax", |s| s.sale(format!("/* Canary */{}", s.ready.body()))),
    ("a trailing comma", 400, "json_syntax", |s| s.with("\"1920\"", "\"1920\",")),
    ("a form with JSON's type", 400, "json_syntax", |s| s.sale(form(s))),
    ("UTF-16", 400, "utf8", |s| s.sale(std::iter::once(0xfeff).chain(s.ready.body().encode_utf16()).flat_map(u16::to_le_bytes).collect::<Vec<u8>>())),
    ("two card_number", 400, "json_duplicate_key", |s| s.with("\"card_holder\"", &format!("\"card_number\":\"{PLAIN}\",\"card_holder\""))),
    ("two card_number, one escaped", 400, "json_duplicate_key", |s| s.with("\"card_holder\"", "\"card\\u005fnumber\":\"Canary\",\"card_holder\"")),
    ("two of another key", 400, "json_duplicate_key", |s| s.with("\"browser_tz\"", "\"browser_screen_width\":\"Canary\",\"browser_tz\"")),
    ("nested 65 deep", 400, "json_depth", |s| nested(s, 61)),
    ("nested 30,000 deep", 400, "json_depth", |s| nested(s, 30_000)),
    ("a byte order mark", 400, "bom", |s| s.sale(format!("\u{feff}{}", s.ready.body()))),
    ("trailing bytes", 400, "json_trailing", |s| s.sale(format!("{}Canary", s.ready.body()))),
    ("two documents", 400, "json_trailing", |s| s.sale(s.ready.body().repeat(2))),
    ("a NUL at the end", 400, "json_trailing", |s| s.sale(format!("{}\0", s.ready.body()))),
    ("half a surrogate pair", 400, "json_surrogate", |s| s.with("\"1920\"", "\"Canary\\ud83d\"")),
    ("bytes that are not UTF-8", 400, "utf8", |s| { let mut body = s.ready.body().into_bytes(); let at = s.ready.body().find("Canary").unwrap(); body[at] = 0xff; s.sale(body) }),
    ("compressed, unsaid", 400, "utf8", |s| s.sale(gzip(&s.ready.body()))),
    ("compressed, said", 415, "content_encoding_refused", |s| s.sale(gzip(&s.ready.body())).header("content-encoding", "gzip")),
    ("not compressed, said", 415, "content_encoding_refused", |s| s.ready.ask().header("content-encoding", "gzip")),
    ("no body", 400, "body_unexpected", |s| s.sale("")),
    ("no type", 415, "content_type_refused", |s| s.ready.ask().without("content-type")),
    ("JSON with a form's type", 415, "content_type_refused", |s| typed(s, FORM)),
    ("a form", 415, "content_type_refused", |s| typed(s, FORM).with_body(form(s))),
    ("plain text", 415, "content_type_refused", |s| typed(s, "text/plain")),
    ("another character set", 415, "content_type_refused", |s| typed(s, "application/json; charset=utf-16")),
    ("two types in one", 415, "content_type_refused", |s| typed(s, "application/json, text/plain")),
    ("the type twice", 400, "bad_field", |s| s.ready.ask().header("content-type", JSON)),
    ("two types", 400, "bad_field", |s| s.ready.ask().header("content-type", FORM)),
];

/// A call of ours by an application that is known.
fn own(scene: &Scene<'_>, ask: Ask) -> Ask {
    ask.header("portcullis-key", scene.house.world.key(App::Shop))
}

#[rustfmt::skip]
const FORBIDDEN: &[Row] = &[
    ("a card's number as a number", 422, "raw_card_refused", |s| s.number(PLAIN)),
    ("a list with a card's number", 422, "raw_card_refused", |s| s.number(&format!("[{PLAIN}]"))),
    ("a number", 422, "field_not_text", |s| s.number("17")),
    ("true", 422, "field_not_text", |s| s.number("true")),
    ("a list with the token", 422, "field_not_text", |s| { let token = format!("[\"{}\"]", s.ready.tokens.token); s.number(&token) }),
    ("an object", 422, "field_not_text", |s| s.number("{\"Canary\":1}")),
    ("the CVV as a number", 422, "raw_card_refused", |s| s.cvv("739")),
    ("a raw card where its token belongs", 422, "raw_card_refused", |s| own(s, Ask::get(&format!("/v1/tokens/{PLAIN}")))),
    ("a raw card in a session", 422, "raw_card_refused", |s| own(s, Ask::json("/v1/capture-sessions", format!("{{\"origin\":\"https://canary.example\",\"x\":\"{PLAIN}\"}}")))),
    ("a capture by an application", 422, "raw_card_refused", |s| own(s, Ask::json("/v1/tokens", format!("{{\"card\":{{\"number\":\"{PLAIN}\"}}}}")))),
    ("a capture without a card by an application", 404, "route_unknown", |s| own(s, Ask::json("/v1/tokens", "{}"))),
    ("a raw card", 422, "raw_card_refused", |s| s.number(&format!("\"{PLAIN}\""))),
    ("a raw card, spaced", 422, "raw_card_refused", |s| s.number(&format!("\"{}\"", spaced(PLAIN)))),
    ("a raw card, hyphens", 422, "raw_card_refused", |s| s.number(&format!("\"{}\"", spaced(PLAIN).replace(' ', "-")))),
    ("a raw card, escaped", 422, "raw_card_refused", |s| s.number(&format!("\"{}\"", escaped(PLAIN)))),
    ("a raw CVV", 422, "raw_card_refused", |s| s.cvv("\"739\"")),
    ("a raw card as the holder", 422, "raw_card_refused", |s| s.with("\"Canary Holder\"", &format!("\"{CHALLENGED}\""))),
    ("a raw card as a field of its own", 422, "raw_card_refused", |s| s.with("\"1920\"", &format!("\"1920\",\"x\":\"{PLAIN}\""))),
    ("a raw card as a field's name", 422, "raw_card_refused", |s| s.with("\"browser_tz\"", &format!("\"{PLAIN}\""))),
    ("a raw card in the query", 422, "raw_card_refused", |s| { let mut ask = s.ready.ask(); ask.target.push_str(&format!("?canary={PLAIN}")); ask }),
    ("no token", 422, "token_malformed", |s| s.number("\"Canary\"")),
    ("a token with a typing error", 422, "token_malformed", |s| { let t = &s.ready.tokens.token; let end = if t.ends_with('a') { 'b' } else { 'a' }; s.number(&format!("\"{}{end}\"", &t[..t.len() - 1])) }),
    ("the CVV token as the card's", 422, "token_malformed", |s| { let t = format!("\"{}\"", s.ready.tokens.cvv_token); s.sale(s.ready.body().replacen(&format!("\"{}\"", s.ready.tokens.token), &t, 1)) }),
    ("a token that was never given", 422, "token_unknown", |s| s.number(&token(Mode::Test))),
    ("a token of the other mode", 422, "token_unknown", |s| s.number(&token(Mode::Live))),
    ("a CVV token that was never given", 422, "token_unknown", |s| s.cvv(&CvvToken::random(Mode::Test).reveal(|text| format!("\"{text}\"")))),
    ("another application's token", 422, "token_unknown", |s| s.number(&format!("\"{}\"", s.foreign.tokens.token))),
    ("another application's CVV token", 422, "token_unknown", |s| s.cvv(&format!("\"{}\"", s.foreign.tokens.cvv_token))),
    ("a revoked token", 422, "token_unknown", |s| s.number(&format!("\"{}\"", s.revoked.token))),
    ("another card's CVV token", 422, "token_unknown", |s| s.cvv(&format!("\"{}\"", s.second.cvv_token))),
    ("two cards' tokens", 422, "tokens_of_two_cards", |s| s.with("\"Canary Holder\"", &format!("\"{}\"", s.second.token))),
];

#[tokio::test]
async fn a_body_that_cannot_be_read_without_doubt_is_refused() {
    all_are_refused(UNREADABLE).await;
}

#[tokio::test]
async fn clear_cards_and_tokens_that_may_not_be_used_are_refused() {
    all_are_refused(FORBIDDEN).await;
}

#[tokio::test]
async fn nested_64_deep_is_still_read() {
    let mut table = Table::set(Version::Http1).await;
    let ready = table.ready().await;
    let ask = nested(&table.scene(&ready), 60);
    // The provider wants strings there: its own refusal shows that the body went on.
    let answer = table.private.send(&ask).await;
    assert_eq!((answer.status, answer.header("portcullis-forwarded")), (422, Some("yes")));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_before_it_is_there() {
    for version in Version::BOTH {
        let mut table = Table::set(version).await;
        let ready = table.ready().await;
        let filled = ready.body().replace("1920", &"x".repeat(70_000));
        let before = table.house.received();
        // By its length: nothing of it has been sent when the answer comes. Without one: as soon as
        // the limit is passed, long before the end.
        for (framing, upto) in [(Framing::Length, 0), (Framing::Open, 66_000)] {
            let ask = ready.ask().with_body(filled.clone()).framed(framing);
            let mut line = table.house.private(version).await;
            let begun = line.begin(&ask, upto).await.unwrap();
            let answer = line.answer(begun).await.unwrap();
            assert_problem(&answer, 413, "body_too_large", "no");
            assert_eq!(table.house.received(), before);
        }
        let room = 64 * 1024 - ready.body().len();
        let full = ready.body() + &" ".repeat(room);
        let answer = table.private.send(&ready.ask().with_body(full)).await;
        assert_eq!(answer.status, 200, "exactly the limit");
        table.house.assert_charged_once(&ready);
    }
}
