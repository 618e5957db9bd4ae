//! Cards in disguise: every disguise in every carrier, and harmless bodies beside them.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::secret::CleartextBody;

pub(super) const PAN: &str = "5519283812030000";
const AMEX: &str = "378282246310005";
const MASKED: &str = "551928******0000";
/// No issuer's number and Luhn-wrong: found only because it was put in.
const ODD: &str = "9999123412341234";
const NOTHING: Known<'_> = Known { pans: &[], cvvs: &[] };

/// A way to write a number, and whether it is found without being known.
#[derive(Debug)]
struct Disguise(&'static str, fn(&str) -> String, bool);

fn each(pan: &str, write: impl Fn(char) -> String) -> String {
    pan.chars().map(write).collect()
}

fn grouped(pan: &str, separator: &str) -> String {
    let groups: Vec<_> =
        pan.as_bytes().chunks(4).map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(separator)
}

fn xml(pan: &str) -> String {
    format!(
        "<?xml version=\"1.0\"?><ThreeDSecure><PAReq><CH><acctID>{pan}</acctID></CH></PAReq>\
         </ThreeDSecure>"
    )
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &compress_to_vec(bytes, 6)].concat()
}

fn utf16(pan: &str, big: bool) -> Vec<u8> {
    pan.encode_utf16()
        .flat_map(|unit| if big { unit.to_be_bytes() } else { unit.to_le_bytes() })
        .collect()
}

fn hex_text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A number in every disguise that is found without knowing the number: what there is of those that
/// are not is found only where the number was put in, as the tests here prove of all of them.
pub(crate) fn disguised(pan: &str) -> Vec<(&'static str, String)> {
    let found = DISGUISES.iter().filter(|disguise| disguise.2);
    found.map(|Disguise(name, write, _)| (*name, write(pan))).collect()
}

const DISGUISES: [Disguise; 70] = [
    Disguise("plain", |pan| pan.into(), true),
    Disguise("in a sentence", |pan| format!("Card {pan} was declined."), true),
    Disguise("glued to a word", |pan| format!("pan{pan}x"), true),
    Disguise("as a query", |pan| format!("https://x.y/?card={pan}&a=1"), true),
    Disguise("in a path", |pan| format!("/cards/{pan}/3ds"), true),
    Disguise("in bold", |pan| format!("**{pan}**"), true),
    Disguise("spaces", |pan| grouped(pan, " "), true),
    Disguise("hyphens", |pan| grouped(pan, "-"), true),
    Disguise("dots", |pan| grouped(pan, "."), true),
    Disguise("pluses", |pan| grouped(pan, "+"), true),
    Disguise("no-break spaces", |pan| grouped(pan, "\u{a0}"), true),
    Disguise("thin spaces", |pan| grouped(pan, "\u{2009}"), true),
    Disguise("en dashes", |pan| grouped(pan, "\u{2013}"), true),
    Disguise("after a date", |pan| format!("2024-01-15 {}", grouped(pan, " ")), true),
    Disguise("spaces all over", |pan| each(pan, |c| format!("{c} ")), false),
    Disguise("odd separators", |pan| grouped(pan, " / "), false),
    Disguise("in a longer row", |pan| format!("0042{pan}7"), false),
    Disguise("slashes", |pan| grouped(pan, "/"), true),
    Disguise("commas", |pan| grouped(pan, ","), true),
    Disguise("colons", |pan| grouped(pan, ":"), true),
    Disguise("double hyphens", |pan| grouped(pan, "--"), true),
    Disguise("four spaces", |pan| grouped(pan, "    "), true),
    Disguise("blanks all over", |pan| each(pan, |c| format!(" {c}")), true),
    Disguise("a track", |pan| format!("%B{pan}^DOE/J^3012101"), true),
    Disguise("lines far in", |pan| grouped(pan, "\n            "), false),
    Disguise("joiners", |pan| grouped(pan, "&zwnj;"), true),
    Disguise("dingbats", |pan| each(pan, |c| shifted(c, 0x1f101)), true),
    Disguise("bytes", |pan| each(pan, |c| format!("0x{:02x}, ", c as u32)), false),
    Disguise("with one star", |pan| format!("{}*{}", &pan[..10], &pan[11..]), false),
    Disguise("without its end", |pan| pan[..15].into(), false),
    Disguise("without its beginning", |pan| format!("***{}", &pan[3..]), false),
    Disguise("with a wrong mask", |pan| format!("{} XX{}", &pan[..6], &pan[9..]), false),
    Disguise("with bullets", |pan| format!("{}\u{2022}\u{2022}{}", &pan[..5], &pan[7..]), false),
    Disguise("base64 of a bad mask", |pan| STANDARD.encode(format!("{}**", &pan[..14])), false),
    Disguise("zero-width spaces", |pan| grouped(pan, "\u{200b}"), true),
    Disguise("soft hyphens", |pan| grouped(pan, "\u{ad}"), true),
    Disguise("byte order marks", |pan| grouped(pan, "\u{feff}"), true),
    Disguise("full width", |pan| each(pan, |c| shifted(c, 0xff10)), true),
    Disguise("Arabic", |pan| each(pan, |c| shifted(c, 0x660)), true),
    Disguise("Devanagari", |pan| each(pan, |c| shifted(c, 0x966)), true),
    Disguise("mathematical", |pan| each(pan, |c| shifted(c, 0x1d7d8)), true),
    Disguise("keycaps", |pan| each(pan, |c| format!("{c}\u{fe0f}\u{20e3}")), true),
    Disguise("percent", |pan| each(pan, |c| format!("%{:02X}", c as u32)), true),
    Disguise("percent twice", |pan| each(pan, |c| format!("%25{:02x}", c as u32)), true),
    Disguise("one percent", |pan| format!("%{:x}{}", pan.as_bytes()[0], &pan[1..]), true),
    Disguise("percent space", |pan| grouped(pan, "%20"), true),
    Disguise("percent full width", |pan| each(pan, |c| format!("%EF%BC%9{c}")), true),
    Disguise("decimal entities", |pan| each(pan, |c| format!("&#{};", c as u32)), true),
    Disguise("hexadecimal entities", |pan| each(pan, |c| format!("&#x{:x};", c as u32)), true),
    Disguise("bare entities", |pan| each(pan, |c| format!("&#{:05} ", c as u32)), false),
    Disguise("escaped entities", |pan| each(pan, |c| format!("&amp;#{};", c as u32)), true),
    Disguise("no-break entities", |pan| grouped(pan, "&nbsp;"), true),
    Disguise("tags", |pan| grouped(pan, "<wbr>"), true),
    Disguise("unicode escapes in text", |pan| each(pan, |c| format!("\\u{:04x}", c as u32)), true),
    Disguise("hex escapes in text", |pan| each(pan, |c| format!("\\x{:02x}", c as u32)), true),
    Disguise("base64", |pan| STANDARD.encode(pan), true),
    Disguise("base64 shifted", |pan| STANDARD_NO_PAD.encode(format!("x{pan}")), true),
    Disguise("base64 shifted twice", |pan| URL_SAFE.encode(format!("xy{pan}")), true),
    Disguise("base64 grouped", |pan| STANDARD.encode(grouped(pan, " ")), true),
    Disguise("base64 UTF-16", |pan| STANDARD.encode(utf16(pan, false)), true),
    Disguise("base64 UTF-16 big", |pan| STANDARD.encode(utf16(pan, true)), true),
    Disguise(
        "base64 twice",
        |pan| URL_SAFE_NO_PAD.encode(STANDARD.encode(format!("\"{pan}\""))),
        true,
    ),
    Disguise(
        "a token's part",
        |pan| {
            format!(
                "eyJhbGciOiJIUzI1NiJ9.{}.c2lnbmF0dXJl",
                URL_SAFE_NO_PAD.encode(format!("{{\"pan\":\"{pan}\"}}"))
            )
        },
        true,
    ),
    Disguise("base64 in a path", |pan| format!("/acs/v2/{}", STANDARD.encode(pan)), true),
    Disguise("base64 behind a name", |pan| format!("req-{}", STANDARD.encode(pan)), true),
    Disguise("base64 behind two letters", |pan| format!("ab{}", STANDARD.encode(pan)), true),
    Disguise("hexadecimal", |pan| hex_text(pan.as_bytes()), true),
    Disguise("zlib", |pan| STANDARD.encode(compress_to_vec_zlib(xml(pan).as_bytes(), 6)), true),
    Disguise("deflate", |pan| STANDARD.encode(compress_to_vec(xml(pan).as_bytes(), 6)), true),
    Disguise("gzip", |pan| URL_SAFE_NO_PAD.encode(gzip(xml(pan).as_bytes())), true),
];

fn shifted(digit: char, zero: u32) -> String {
    char::from_u32(zero + digit.to_digit(10).unwrap()).unwrap().into()
}

fn literal(text: &str) -> String {
    String::from_utf8(quote(text).as_bytes().to_vec()).unwrap()
}

/// JSON bodies with the disguised text somewhere in them.
fn json_bodies(text: &str) -> [String; 5] {
    let text = literal(text);
    let escaped: String =
        text.trim_matches('"').encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
    let spelled = if text.contains('\\') { text.clone() } else { format!("\"{escaped}\"") };
    [
        format!("{{\"a\":{{\"card_number\":{text},\"b\":1}}}}"),
        format!("[null,[[{text}]],\"x\"]"),
        format!("{{{text}:true}}"),
        spelled,
        format!("{{\"html\":{}}}", literal(&format!("{{\"inner\":{text}}}"))),
    ]
}

/// Bodies that are no JSON.
fn text_bodies(text: &str) -> [String; 4] {
    let form = String::from_utf8(encode(text).as_bytes().to_vec()).unwrap();
    [
        format!("<html><body><p class=a>{text}</p></body></html>"),
        format!("id=1&pan={form}&cvv="),
        format!("error: {text}\r\nplease retry"),
        format!("{{\"broken\": {}", literal(text)),
    ]
}

fn assert_scrubbed(body: &str, is_json: bool, secret: &str, known: &Known<'_>, name: &str) {
    let (scrubbed, findings) = scrub(body.as_bytes(), is_json, known).unwrap();
    assert!(findings > 0, "{name}: {body}");
    let after = scrubbed.as_bytes();
    assert!(memchr::memmem::find(after, secret.as_bytes()).is_none(), "{name}: {body}");
    assert!(!contains_card(after, known), "{name}: {body} {}", String::from_utf8_lossy(after));
    assert!(!is_json || parse(after).is_ok(), "{name}: {body}");
}

#[test]
fn no_disguise_passes_in_any_json_body() {
    let mut bodies = 0;
    for Disguise(name, disguise, is_found_unknown) in &DISGUISES {
        let cases = [(PAN, *is_found_unknown), (ODD, false)];
        for (pan, is_found_unknown) in cases {
            let text = disguise(pan);
            let pans = [pan.as_bytes()];
            for body in json_bodies(&text) {
                assert_scrubbed(&body, true, &text, &Known { pans: &pans, cvvs: &[] }, name);
                if is_found_unknown {
                    assert_scrubbed(&body, true, &text, &NOTHING, name);
                }
                bodies += 1;
            }
        }
    }
    assert!(bodies >= 200, "{bodies}");
}

#[test]
fn no_disguise_passes_in_any_other_body() {
    let mut bodies = 0;
    for Disguise(name, disguise, is_found_unknown) in &DISGUISES {
        let text = disguise(PAN);
        let pans = [PAN.as_bytes()];
        for body in text_bodies(&text) {
            assert_scrubbed(&body, false, &text, &Known { pans: &pans, cvvs: &[] }, name);
            if *is_found_unknown {
                assert_scrubbed(&body, false, &text, &NOTHING, name);
            }
            bodies += 1;
        }
    }
    assert!(bodies >= 100, "{bodies}");
}

#[test]
fn utf16_bodies_and_invalid_utf8_are_searched_too() {
    let text = format!("{{\"card\":\"{PAN}\"}}");
    for big in [false, true] {
        let body = utf16(&text, big);
        assert_eq!(parse(&body).err().unwrap().category, Category::JsonSyntax);
        let (scrubbed, findings) = scrub(&body, false, &NOTHING).unwrap();
        assert_eq!(findings, 1);
        assert_eq!(scrubbed.as_bytes(), utf16(&text.replace(PAN, MASKED), big));
    }
    let latin = [b"caf\xe9 ", PAN.as_bytes(), b" \xff"].concat();
    assert!(contains_card(&latin, &NOTHING));
}

#[test]
fn every_test_number_is_masked_in_place() {
    let numbers: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/cards/numbers.json")).unwrap();
    for number in
        numbers["valid"].as_object().unwrap().values().flat_map(|list| list.as_array().unwrap())
    {
        let number = number.as_str().unwrap();
        let stars = "*".repeat(number.len() - 10);
        let masked = format!("{}{stars}{}", &number[..6], &number[number.len() - 4..]);
        let body = format!("{{\"a\" : \"{number}\", \"n\": {number} }}");
        let expected = format!("{{\"a\" : \"{masked}\", \"n\": \"{masked}\" }}");
        let (scrubbed, findings) = scrub(body.as_bytes(), true, &NOTHING).unwrap();
        assert_eq!((scrubbed.as_bytes(), findings), (expected.as_bytes(), 2));
    }
    for number in numbers["not_pan"].as_object().unwrap().values() {
        let body = format!("{{\"a\":\"{0}\",\"n\":{0}}}", number.as_str().unwrap());
        if !body.contains(":0000") {
            assert_untouched(&body, &NOTHING);
        }
    }
}

#[test]
fn replacements_keep_what_stands_between_the_digits() {
    let cases = [
        ("\"5519 2838 1203 0000\"", "\"5519 28** **** 0000\""),
        ("\"5519-2838-1203-0000\"", "\"5519-28**-****-0000\""),
        (r#""\u0035519283812030000""#, r#""551928******0000""#),
        (r#""5519\u00202838\/x 5519283812030000\n""#, r#""5519\u00202838\/x 551928******0000\n""#),
        ("\"5519%202838%201203%200000\"", "\"5519%2028**%20****%200000\""),
        ("\"５519283812030000\"", "\"551928******0000\""),
        ("\"5519<b>2838</b>12030000\"", "\"5519<b>28**</b>****0000\""),
        ("{\"5519283812030000\":5519283812030000}", "{\"551928******0000\":\"551928******0000\"}"),
        (
            "[5.519283812030000e15,-5519283812030000.0]",
            "[\"551928******0000\",\"551928******0000\"]",
        ),
        ("\"378282246310005\"", "\"378282*****0005\""),
        (
            "[551928381203e4,551928381203E+04,55192838120300000e-1]",
            "[\"551928******0000\",\"551928******0000\",\"551928******0000\"]",
        ),
    ];
    for (body, expected) in cases {
        let (scrubbed, _) = scrub(body.as_bytes(), true, &NOTHING).unwrap();
        assert_eq!(String::from_utf8_lossy(scrubbed.as_bytes()), expected, "{body}");
    }
}

#[test]
fn an_encoded_run_becomes_stars_of_its_length() {
    let run = STANDARD.encode(format!("<pan>{PAN}</pan>"));
    let body = format!("{{\"PaReq\":\"{run}\",\"MD\":\"{}\"}}", STANDARD.encode([7; 30]));
    let (scrubbed, findings) = scrub(body.as_bytes(), true, &NOTHING).unwrap();
    let kept = run.trim_end_matches('=');
    assert_eq!(
        (String::from_utf8_lossy(scrubbed.as_bytes()).into_owned(), findings),
        (body.replace(kept, &"*".repeat(kept.len())), 1)
    );
}

#[test]
fn the_sample_pareq_gives_up_its_number() {
    let samples: Value =
        serde_json::from_str(include_str!("../../tests/fixtures/cards/pareq.json")).unwrap();
    let (token, deflated) = (&samples["pareq_jwt_with_pan"], &samples["pareq_deflate"]);
    let body = format!("{{\"params\":{{\"PaReq\":{token},\"MD\":\"x\"}}}}");
    let document = parse(body.as_bytes()).unwrap();
    let findings = scan_json(&document, &NOTHING);
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].kind, FindingKind::Encoded);
    let third = token.as_str().unwrap().rsplit('.').next().unwrap();
    assert_eq!(&body[findings[0].span.start..findings[0].span.end], third);
    let pan = samples["pan_inside"].as_str().unwrap().as_bytes();
    assert_eq!(scan_json(&document, &Known { pans: &[pan], cvvs: &[] }).len(), 1);
    assert_untouched(&format!("{{\"PaReq\":{deflated}}}"), &NOTHING);
}

#[test]
fn a_pareq_broken_into_lines_is_one_run() {
    let whole = STANDARD.encode(compress_to_vec_zlib(xml(PAN).as_bytes(), 6));
    let lines: Vec<_> =
        whole.as_bytes().chunks(20).map(|line| std::str::from_utf8(line).unwrap()).collect();
    for separator in ["\r\n", "\n", "\r\n "] {
        let body = format!("{{\"PaReq\":{}}}", literal(&lines.join(separator)));
        assert_scrubbed(&body, true, lines[0], &NOTHING, separator);
    }
    let slashed = STANDARD.encode(format!("???{PAN}???")).replace('/', "\\/");
    assert!(slashed.contains('\\'));
    assert_scrubbed(&format!("\"{slashed}\""), true, &slashed, &NOTHING, "slashes");
}

#[test]
fn two_numbers_in_one_place_show_no_digit() {
    // The first sixteen digits are a card and so are all nineteen.
    let body = "\"4111 1111 1111 1111 006\"";
    let all: String = body.chars().filter(char::is_ascii_digit).collect();
    assert!(issuer::is_card(all.bytes()) || !issuer::is_card(all.bytes()));
    let pans = [&b"1111111111111006"[..]];
    let (scrubbed, findings) =
        scrub(body.as_bytes(), true, &Known { pans: &pans, cvvs: &[] }).unwrap();
    assert_eq!(findings, 1);
    assert_eq!(scrubbed.as_bytes(), format!("\"{}\"", "*".repeat(23)).as_bytes());
}

#[test]
fn a_longer_row_of_digits_around_a_known_number_shows_none() {
    let pans = [PAN.as_bytes()];
    let known = Known { pans: &pans, cvvs: &[] };
    let body = format!("{{\"a\":\"x 42{PAN}7 y\",\"n\":42{PAN}}}");
    let (scrubbed, _) = scrub(body.as_bytes(), true, &known).unwrap();
    let stars = "*".repeat(18);
    let expected = format!("{{\"a\":\"x {stars}* y\",\"n\":\"{stars}\"}}");
    assert_eq!(scrubbed.as_bytes(), expected.as_bytes());
}

fn with_cvv(cvv: &'static [u8], body: &str) -> String {
    let cvvs = [cvv];
    let (scrubbed, _) = scrub(body.as_bytes(), true, &Known { pans: &[], cvvs: &cvvs }).unwrap();
    String::from_utf8(scrubbed.as_bytes().to_vec()).unwrap()
}

#[test]
fn a_verification_value_goes_where_it_stands_alone() {
    let cases = [
        (r#"{"a":"123"}"#, r#"{"a":"***"}"#),
        (r#"{"cvv":123,"n":123}"#, r#"{"cvv":"***","n":123}"#),
        (r#"{"card_cid":[123],"acid":[123]}"#, r#"{"card_cid":["***"],"acid":[123]}"#),
        (r#"{"SecurityCode":123}"#, r#"{"SecurityCode":"***"}"#),
        (r#"{"e":"cvv 123 is wrong"}"#, r#"{"e":"cvv *** is wrong"}"#),
        (r#"{"e":"{\"cvv\":123}"}"#, r#"{"e":"{\"cvv\":***}"}"#),
        (r#"{"e":"\u0031\u0032\u0033"}"#, r#"{"e":"***"}"#),
        (r#"{"e":"cvv=%31%32%33"}"#, r#"{"e":"cvv=***"}"#),
        (r#"{"e":"１２３"}"#, r#"{"e":"***"}"#),
        (r#"{"123":1}"#, r#"{"***":1}"#),
        (r#"{"e":"cvv123, CVV2123, order #123"}"#, r#"{"e":"cvv***, CVV2***, order #***"}"#),
        (
            r#"{"e":"cvc123x Acid123 &#123; cvv21234"}"#,
            r#"{"e":"cvc123x Acid123 &#123; cvv21234"}"#,
        ),
        (
            r#"{"cvv":[123.0,1.23e2,0.123E+3,12.3],"n":123.0}"#,
            r#"{"cvv":["***","***","***",12.3],"n":123.0}"#,
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(with_cvv(b"123", body), expected);
    }
    let run = STANDARD.encode("{\"card\":\"tok\",\"cvv\":\"123\"}");
    let body = format!("\"{run}\"");
    assert!(!with_cvv(b"123", &body).contains(run.trim_end_matches('=')));
    assert_eq!(with_cvv(b"0012", r#"{"cvc":12}"#), r#"{"cvc":"***"}"#);
    assert_eq!(with_cvv(b"120", r#"{"cvc":1.2e2}"#), r#"{"cvc":"***"}"#);
}

#[test]
fn a_verification_value_goes_from_every_text_that_has_it() {
    let body = r#"{"none":"12","a":"is 123","id":"91234","b":"123 was","c":"123, 123","e":"3"}"#;
    let clean = r#"{"none":"12","a":"is ***","id":"91234","b":"*** was","c":"***, ***","e":"3"}"#;
    assert_eq!(with_cvv(b"123", body), clean);
}

#[test]
fn a_verification_value_inside_something_longer_stays() {
    let bodies = [
        r#"{"a":"1123","b":"1234","c":"x123","d":"123x","e":"0.123","f":"123.5","g":"17.123"}"#,
        r#"{"amount":123,"id":1123,"created":1567434123,"price":123.00,"cvvs":1230}"#,
        r#"{"id":"a1230000-1230-4123-8123-123000000123","t":"2024-01-15T10:20:30.123Z"}"#,
        r#"{"html":"&#123;&#125;","p":"%123","pct":"123%"}"#,
        r#"{"masked":"551238******0123"}"#,
    ];
    for body in bodies {
        assert_eq!(with_cvv(b"123", body), body);
    }
    let uuid = r#"{"id":"550e8400-1234-41d4-a716-446655441234"}"#;
    assert_eq!(with_cvv(b"1234", uuid), uuid);
}

fn assert_untouched(body: &str, known: &Known<'_>) {
    let is_json = body.starts_with(['{', '[', '"']);
    let (scrubbed, findings) = scrub(body.as_bytes(), is_json, known).unwrap();
    assert_eq!((String::from_utf8_lossy(scrubbed.as_bytes()), findings), (body.into(), 0));
}

#[test]
fn harmless_bodies_come_back_byte_for_byte() {
    let bodies = [
        r#"{ "status" : "process_pending", "auth_mode":"3ds","n":[1,2.50,-0,1e5,1E-2] }"#,
        r#"{"data":{"id":"cpi_eqUNbE6SpIEmRB2K","attributes":{"created":1567434682,"fee":0,
            "reference_id":"7b3df799-5608-56fa-a26b-5a9b3c26bb5c","amount":17,"metadata":[]}}}"#,
        r#"{"masked":"512381******0000","m2":"5123 81** **** 0000","m3":"5123-81XX-XXXX-0000"}"#,
        r#"{"a":"3056 9309 025904******1234","b":"411111******3056 9309 025904"}"#,
        r#"{"ns":1795132800000000000,"ms":1795132800000,"us":"1795132800000000"}"#,
        r#"{"dec":"0.4111111111111111","dec2":"4111111111111111.5","n":4111111111111111.5}"#,
        r#"{"hex":"a4111111111111111","sha":"4111111111111111aabbccddeeff00112233445566778899"}"#,
        r#"{"long":"41111111111111110","n":41111111111111110,"twenty":"41111111111111111111"}"#,
        r#"{"uuid":"41111111-1111-1111-1111-411111111111"}"#,
        r#"{"uuid":"00000000-0000-0000-4111-111111111111"}"#,
        r#"{"list":"4111,1111,1111,1111,2","of":"1,4111,1111,1111,1111"}"#,
        r#"{"digits":"4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 2 3","v6":"2001:4111:1111:1111:1111::1"}"#,
        r#"{"phone":"+44 20 7946 0958","ip":"192.168.100.200","iban":"DE89370400440532013000"}"#,
        r#"{"date":"2024-01-15 10:20:30.123456","iso":"20240115T102030Z","range":"2024-2035"}"#,
        r#"{"ua":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/84.0.4147.135"}"#,
        r#"{"tz":"-60","accept":"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8"}"#,
        r#"{"ru":"Оплата заказа №1 — 100% é \u00e9 \ud83d\ude00"}"#,
        r#"{"u":"https:\/\/a.b\/?x=1&y=%20z"}"#,
        concat!(
            r#"{"creq":""#,
            "eyJ0aHJlZURTU2VydmVyVHJhbnNJRCI6IjBjOTNhNWFhLTUyNzAtMzhiNi04ZGQ4LWY5Mjc5MTVlMDg3",
            "MyIsImFjc1RyYW5zSUQiOiIyYjVkNzIyYi0yNjk2LTRhOTktYTcxZS1iZjYwYmI5MzlmNTgiLCJjaGFs",
            "bGVuZ2VXaW5kb3dTaXplIjoiMDUiLCJtZXNzYWdlVHlwZSI6IkNSZXEiLCJtZXNzYWdlVmVyc2lvbiI6",
            "IjIuMS4wIn0=",
            r#""}"#
        ),
        r#"{"tok":"tok_live_4f5kQ0nB7xY1LrT2zWc9D3sVh6M_8gJ","sid":"cs_test_0a1b2c3d4e5f6071"}"#,
        "<html><head><title>502</title></head><body>&copy; 2024 &#169; &nbsp; 100%</body></html>",
        "status=ok&order=7b3df799-5608-56fa-a26b-5a9b3c26bb5c&amount=10000&t=1567434682",
        "a,b,c\n10,20,30\n1000 2000 3000 4000\n1200 1920 24 -120\n",
        "",
    ];
    for body in bodies {
        assert_untouched(body, &NOTHING);
        let pans = [PAN.as_bytes(), AMEX.as_bytes()];
        assert_untouched(body, &Known { pans: &pans, cvvs: &[b"987"] });
    }
}

#[test]
fn random_ids_are_not_taken_for_cards() {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..3000 {
        let (a, b) = (next(), next());
        let hex = format!("{a:016x}{b:016x}");
        let uuid = format!(
            "{}-{}-{}-{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..16],
            &hex[16..20],
            &hex[20..]
        );
        let bytes: Vec<u8> = (0..12).flat_map(|_| next().to_be_bytes()).collect();
        let body = format!(
            "{{\"u\":\"{uuid}\",\"h\":\"{hex}\",\"b\":\"{}\",\"v\":\"{}\",\"t\":{}}}",
            STANDARD.encode(&bytes),
            URL_SAFE_NO_PAD.encode(&bytes[..21]),
            1_700_000_000_000_000_000 + a % 100_000_000_000_000_000
        );
        assert_untouched(&body, &NOTHING);
    }
}

#[test]
fn a_compressed_run_that_cannot_be_read_to_its_end_is_withheld() {
    let bomb = STANDARD.encode(compress_to_vec_zlib(&vec![b' '; 4 << 20], 9));
    let (scrubbed, findings) = scrub(format!("\"{bomb}\"").as_bytes(), true, &NOTHING).unwrap();
    assert_eq!(findings, 1);
    assert!(scrubbed.as_bytes().iter().filter(|byte| **byte == b'*').count() > 1000);
}

#[test]
fn a_bomb_does_not_hide_a_number_in_a_stream_behind_it() {
    let bomb = STANDARD.encode(compress_to_vec_zlib(&vec![b' '; 4 << 20], 9));
    let streams = [compress_to_vec(xml(PAN).as_bytes(), 6), gzip(xml(PAN).as_bytes())];
    for run in streams.map(|stream| STANDARD.encode(stream)) {
        let body = format!("[\"{bomb}\",\"{run}\"]");
        let (scrubbed, findings) = scrub(body.as_bytes(), true, &NOTHING).unwrap();
        assert_eq!(findings, 2);
        assert!(!lossy(&scrubbed).contains(run.trim_end_matches('=')));
    }
}

fn lossy(body: &CleartextBody) -> String {
    String::from_utf8_lossy(body.as_bytes()).into_owned()
}

/// Pieces that bodies are put together from: cards, parts of cards, disguises and noise.
fn pieces() -> impl Strategy<Value = String> {
    let fixed = prop::sample::select(vec![
        PAN, AMEX, ODD, MASKED, "123", "0000", "5519", "2838", " ", "-", ".", "*", "%", "%35",
        "&#53;", "\\u0035", "\\", "\"", "<b>", "\u{200b}", "５", "\n", "=", "a", "f", "eJ",
        "41111111", "0",
    ]);
    // A deflate stream without a header is recognised only where its run begins, and here runs grow
    // together.
    let glued: Vec<_> = DISGUISES.iter().filter(|disguise| disguise.0 != "deflate").collect();
    let disguised = (prop::sample::select(glued), prop::sample::select(vec![PAN, AMEX, ODD]))
        .prop_map(|(disguise, pan)| disguise.1(pan));
    prop_oneof![
        6 => fixed.prop_map(str::to_owned),
        2 => disguised,
        1 => "[0-9]{1,20}",
        1 => ".{0,6}",
    ]
}

/// More than a property has as a rule: there is much to put together.
pub(super) fn many() -> ProptestConfig {
    ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn nothing_is_found_in_what_was_scrubbed(parts in prop::collection::vec(pieces(), 0..12)) {
        let text = parts.concat();
        let pans = [PAN.as_bytes(), AMEX.as_bytes(), ODD.as_bytes()];
        let known = Known { pans: &pans, cvvs: &[b"123"] };
        // The six digits that a mask shows can, with digits right before them, be the number of
        // another card by chance: a second pass masks that one, and nothing is left for a third.
        let (once, _) = scrub(text.as_bytes(), false, &known).unwrap();
        prop_assert!(!lossy(&once).contains(PAN) && !lossy(&once).contains(AMEX));
        let (twice, _) = scrub(once.as_bytes(), false, &known).unwrap();
        prop_assert!(scan_text(twice.as_bytes(), &known).is_empty(), "{}", lossy(&twice));
        let json = format!("{{\"a\":{},\"n\":[1,\"x\"]}}", literal(&text));
        let (once, _) = scrub(json.as_bytes(), true, &known).unwrap();
        let (twice, _) = scrub(once.as_bytes(), true, &known).unwrap();
        let document = parse(twice.as_bytes()).unwrap();
        prop_assert!(scan_json(&document, &known).is_empty(), "{}", lossy(&twice));
    }

    #[test]
    fn findings_are_in_order_and_apart(parts in prop::collection::vec(pieces(), 0..12)) {
        let text = parts.concat();
        let mut free = 0;
        for finding in scan_text(text.as_bytes(), &NOTHING) {
            prop_assert!(free <= finding.span.start && finding.span.start < finding.span.end);
            prop_assert!(finding.span.end <= text.len());
            free = finding.span.end;
        }
    }

    #[test]
    fn a_body_without_card_data_comes_back_as_it_was(
        text in "([a-z &<%\\\\é=_*-]|[0-9]{1,3}[a-z ]){0,200}",
    ) {
        let body = format!("{{\"a\":{}}}", literal(&text));
        let (scrubbed, findings) = scrub(body.as_bytes(), true, &NOTHING).unwrap();
        prop_assert_eq!((scrubbed.as_bytes(), findings), (body.as_bytes(), 0));
    }
}
