//! Challenges: handed off, relayed once, never guessed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use portcullis::flow::{Answer, Forwarded, HandoffStep, Relayed, Return, Scrubbed, Step};

use crate::bench::{Bench, NOW, PAN, body, headers, member, parts, refusal, sale_json};
use portcullis::wire::{Known, contains_card};

const WITH_RETURN: &str =
    "https://card.psp.name/complete-auth?pid=pay_lJYu0h0Ux3P0xfLZyzv5XSb2_dx_cn";
const ANSWER: &str = include_str!("../fixtures/providers/corefy/paymega-en.sale-answer-3ds1.json");
const SCHEMELESS: &str =
    include_str!("../fixtures/providers/corefy/paymega-en.auth-payload-3ds1.json");
const CREQ: &str = include_str!("../fixtures/providers/corefy/paymega-en.auth-payload-3ds2.json");
const LISTED: &str = "[account.three_ds]\nhosts = [\"card.psp.name\"]\n";

fn answered(
    bench: &Bench,
    account: &str,
    answer: &str,
) -> Result<Scrubbed, portcullis::flow::Refusal> {
    answered_with(bench, account, &bench.handle(account), answer)
}

fn answered_with(
    bench: &Bench,
    account: &str,
    handle: &str,
    answer: &str,
) -> Result<Scrubbed, portcullis::flow::Refusal> {
    let (token, cvv) = bench.shop_card();
    let (_, pending) = bench.sale(account, handle, &sale_json(&token, &cvv)).unwrap();
    bench.answer(pending, 200, answer.as_bytes())
}

fn text(scrubbed: Scrubbed) -> String {
    String::from_utf8(scrubbed.into_parts().2.as_bytes().to_vec()).unwrap()
}

fn relay_id(action: &str) -> String {
    action.split('/').nth(4).unwrap().to_owned()
}

/// The id of the way back, as the hand-off page carries it in the form.
fn way_back(bench: &Bench, seen: &str) -> String {
    let start = relay_id(&member(seen.as_bytes(), "action"));
    let page = bench.handoff_page(&start).unwrap();
    let ours = &page.fields.iter().find(|(name, _)| name == "TermUrl").unwrap().1;
    let id = relay_id(ours);
    assert_ne!(id, start, "whoever sees the return address cannot look at the page");
    id
}

fn post(raw: &[u8], map: &HeaderMap) -> (Method, Vec<u8>, HeaderMap) {
    (Method::POST, raw.to_vec(), map.clone())
}

fn begin(
    bench: &Bench,
    id: &str,
    method: &Method,
    query: Option<&str>,
    raw: &[u8],
    map: &HeaderMap,
) -> Step {
    let back = Return { method, query, headers: map, body: body(raw) };
    bench.flow.begin_return(id, back, NOW).unwrap()
}

/// What a browser is told that came back from the bank, where the provider answers so.
fn returned(bench: &Bench, answer: Answer) -> Relayed {
    returned_with(bench, &bench.handle("paymega"), answer)
}

fn returned_with(bench: &Bench, handle: &str, answer: Answer) -> Relayed {
    let seen = text(answered_with(bench, "paymega", handle, ANSWER).unwrap());
    let id = way_back(bench, &seen);
    let step = begin(bench, &id, &Method::POST, None, b"PaRes=1", &HeaderMap::new());
    let Step::Send(_, ticket) = step else { panic!("not sent") };
    bench.flow.finish_return(ticket, Ok(answer), NOW).unwrap()
}

fn reply(status: u16, pairs: &[(&str, &str)], raw: &[u8]) -> Answer {
    Answer { status, headers: headers(pairs), body: body(raw) }
}

#[test]
fn the_seeds_challenge_stays_here_and_the_application_gets_the_same_shape() {
    let bench = Bench::with(LISTED, "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    assert!(!seen.contains("PaReq") && !seen.contains("card.psp.name"), "{seen}");
    let action = member(seen.as_bytes(), "action");
    assert!(action.starts_with("https://pay.test/3ds/") && action.ends_with("/start"), "{action}");
    let from = ANSWER.find("{\n            \"MD\"").unwrap();
    let to = ANSWER.rfind("        }\n    }\n}").unwrap() + 9;
    let expected = ANSWER
        .replace(&ANSWER[from..to], "{}")
        .replace("https://card.psp.name/acs/auth", &action)
        .replace("\"POST\"", "\"GET\"");
    assert_eq!(seen, expected, "everything else as it was");

    let page = bench.handoff_page(&relay_id(&action)).unwrap();
    assert_eq!(page.action, "https://card.psp.name/acs/auth");
    assert_eq!(page.method, "POST");
    let names: Vec<_> = page.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["MD", "PaReq", "TermUrl"]);
    let field = |name: &str| page.fields.iter().find(|(known, _)| known == name).unwrap().1.clone();
    assert_eq!(field("PaReq"), member(ANSWER.as_bytes(), "PaReq"), "opaque");
    let ours = field("TermUrl");
    assert!(ours.starts_with("https://pay.test/3ds/") && !ours.ends_with("/start"), "{ours}");
    assert!(ours.len() <= 200);
    assert_eq!(page.ancestors, ["https://shop.example", "https://other.example"]);
}

#[test]
fn pages_of_an_application_that_may_not_use_the_account_do_not_frame_its_steps() {
    let bench = Bench::apart(LISTED);
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let page = bench.handoff_page(&relay_id(&member(seen.as_bytes(), "action"))).unwrap();
    assert_eq!(page.ancestors, ["https://shop.example"]);
}

#[test]
fn the_browsers_return_goes_on_unchanged_to_the_providers_own_address() {
    let bench = Bench::with(LISTED, "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let id = way_back(&bench, &seen);
    let raw = b"PaRes=eJ%2B%2F%3D%0D%0A+x&MD=&extra=1&MD=2&\xff".as_slice();
    let map = headers(&[
        ("content-type", "application/x-www-form-urlencoded"),
        ("user-agent", "Browser/1"),
        ("cookie", "session=1"),
        ("origin", "https://acs.example"),
        ("referer", "https://acs.example/x"),
    ]);
    let (method, raw, map) = post(raw, &map);
    let Step::Send(prepared, ticket) = begin(&bench, &id, &method, None, &raw, &map) else {
        panic!("not sent")
    };
    let sent = parts(*prepared);
    assert_eq!(format!("https://{}{}", sent.host, sent.target), WITH_RETURN);
    assert_eq!((sent.method.as_str(), &sent.body), ("POST", &raw));
    let mut names: Vec<_> = sent.headers.keys().map(|name| name.as_str()).collect();
    names.sort();
    assert_eq!(names, ["content-type", "user-agent"]);

    assert!(matches!(begin(&bench, &id, &method, None, &raw, &map), Step::Wait), "in flight");
    let answer =
        reply(302, &[("location", "https://shop.example/back?x=1"), ("set-cookie", "a=b")], b"");
    let told = bench.flow.finish_return(ticket, Ok(answer), NOW).unwrap();
    assert_eq!(told.status, 303);
    assert_eq!(told.location.as_deref(), Some("https://shop.example/back?x=1"));
    for _ in 0..3 {
        let Step::Answer(again) = begin(&bench, &id, &method, None, &raw, &map) else {
            panic!("relayed twice")
        };
        assert_eq!((again.status, again.location), (told.status, told.location.clone()));
    }
}

#[test]
fn a_get_return_appends_its_query_and_one_without_a_result_uses_nothing_up() {
    let bench = Bench::with(LISTED, "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let id = way_back(&bench, &seen);
    let map = HeaderMap::new();
    for query in [None, Some(""), Some("utm=1")] {
        assert!(matches!(begin(&bench, &id, &Method::GET, query, b"", &map), Step::Idle));
    }
    let query = Some("MD=a%2Bb&PaRes=x+y");
    let Step::Send(prepared, _) = begin(&bench, &id, &Method::GET, query, b"", &map) else {
        panic!("not sent")
    };
    let sent = parts(*prepared);
    assert_eq!(sent.method, "GET");
    assert!(sent.target.ends_with("_cn&MD=a%2Bb&PaRes=x+y"), "{}", sent.target);
    assert!(sent.body.is_empty());
}

#[test]
fn a_return_that_was_not_sent_can_be_tried_again_and_one_in_doubt_cannot() {
    let bench = Bench::with(LISTED, "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let id = way_back(&bench, &seen);
    let map = headers(&[("content-type", "application/x-www-form-urlencoded")]);
    let step = || begin(&bench, &id, &Method::POST, None, b"PaRes=1", &map);
    let Step::Send(_, ticket) = step() else { panic!() };
    assert!(
        refusal(bench.flow.finish_return(ticket, Err(Forwarded::No), NOW))
            .contains("ReturnNotRelayed")
    );
    let Step::Send(_, ticket) = step() else { panic!("given back") };
    let told: Relayed = bench.flow.finish_return(ticket, Err(Forwarded::Unknown), NOW).unwrap();
    assert_eq!(
        told.location.as_deref(),
        Some("https://shop.example/back"),
        "the shop asks for the status"
    );
    assert!(matches!(step(), Step::Answer(_)));
}

#[test]
fn a_page_of_the_provider_is_passed_back_clean() {
    let bench = Bench::with(LISTED, "");
    let html = format!("<p>card {PAN} done</p>");
    let answer =
        reply(200, &[("content-type", "text/html"), ("set-cookie", "a=b")], html.as_bytes());
    let told = returned(&bench, answer);
    assert_eq!(told.body.as_bytes(), b"<p>card 551928******0000 done</p>");
    assert_eq!(told.content_type.as_deref(), Some("text/html"));
}

#[test]
fn a_challenge_on_its_way_to_the_bank_goes_on_as_it_is() {
    let bench = Bench::with(LISTED, "");
    let pareq = member(ANSWER.as_bytes(), "PaReq");
    assert!(contains_card(pareq.as_bytes(), &Known::default()), "the sample's holds a number");
    let html = format!(r#"<form action="https://acs.example/"><input value="{pareq}">{PAN}"#);
    let told = returned(&bench, reply(200, &[("content-type", "text/html")], html.as_bytes()));
    let page = html.replace(PAN, "551928******0000");
    assert_eq!(told.body.as_bytes(), page.as_bytes(), "only what the page shows is masked");
    let to_bank = format!("https://acs.example/?PaReq={pareq}");
    let told = returned(&bench, reply(302, &[("location", &to_bank)], b""));
    assert_eq!(told.location.as_deref(), Some(to_bank.as_str()));
    let to_shop = format!("https://shop.example/back?x={pareq}");
    for bad in [to_shop, format!("https://acs.example/?pan={PAN}")] {
        let told = returned(&bench, reply(302, &[("location", &bad)], b""));
        assert_eq!(told.location.as_deref(), Some("https://shop.example/back"), "{bad}");
    }
}

#[test]
fn a_page_in_single_bytes_is_passed_back_and_searched() {
    let bench = Bench::with(LISTED, "");
    // Windows-1251: "карта", and the number with no-break spaces.
    let html = b"<p>\xea\xe0\xf0\xf2\xe0 5519\xa02838\xa01203\xa00000";
    let kind = [("content-type", "text/html; charset=Windows-1251")];
    let told = returned(&bench, reply(200, &kind, html));
    let masked = b"<p>\xea\xe0\xf0\xf2\xe0 5519 28** **** 0000";
    assert_eq!(told.body.as_bytes(), masked);
    assert_eq!(told.content_type.as_deref(), Some(kind[0].1));
}

#[test]
fn a_return_address_without_a_scheme_is_https_on_a_listed_host() {
    let bench = Bench::new();
    let answer = SCHEMELESS.replacen('{', r#"{"status":"process_pending","auth_mode":"3ds","#, 1);
    let seen = text(answered(&bench, "paymega", &answer).unwrap());
    let id = relay_id(&member(seen.as_bytes(), "action"));
    let page = bench.handoff_page(&id).unwrap();
    assert_eq!(page.action, "https://acs.pay_domain/acspage/cap?RID=8&VAA=A", "escapes are read");
    let id = way_back(&bench, &seen);
    let map = HeaderMap::new();
    let Step::Send(prepared, _) = begin(&bench, &id, &Method::POST, None, b"PaRes=1", &map) else {
        panic!()
    };
    let sent = parts(*prepared);
    assert_eq!(sent.host, "api.paymega.io");
    assert_eq!(sent.target, "/3ds-return?pid=pay_Hjh3kMlNdqE4WpOmNPCoIgFU_K1_nM");

    let answer = answer.replace("?pid=", "?back=https://shop.example/&pid=");
    let seen = text(answered(&bench, "paymega", &answer).unwrap());
    let id = way_back(&bench, &seen);
    let step = begin(&bench, &id, &Method::POST, None, b"PaRes=1", &map);
    let Step::Send(prepared, _) = step else { panic!("not sent") };
    let sent = parts(*prepared);
    assert_eq!(sent.host, "api.paymega.io", "an address in the query is not the scheme");
    assert!(sent.target.starts_with("/3ds-return?back=https://shop.example/&pid=pay_"));
}

#[test]
fn return_addresses_anywhere_else_withhold_the_answer() {
    let bench = Bench::with(LISTED, "");
    for bad in [
        "https://evil.example/x",
        "http://card.psp.name/x",
        "ftp://card.psp.name/x",
        "https://card.psp.name.evil.example/x",
        "https://card.psp.name@evil.example/x",
        "https://evil.example\\\\@card.psp.name/x",
        "https://card.psp.name:8443/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://2130706433/x",
        "https://card.psp.name./x",
        "//card.psp.name/x",
        "javascript:alert(1)",
        "card.psp.name.evil.example/x",
        "https://card.psp.name/x y",
        "https://card.psp.name/\\r\\nHost: evil",
        "",
    ] {
        let answer = ANSWER.replace(WITH_RETURN, bad);
        let seen = refusal(answered(&bench, "paymega", &answer));
        assert_eq!(seen, "AnswerWithheld(ReturnHost)", "{bad}");
    }
}

/// Each is another host, another port or another spelling than the one that is listed (threat T9).
const ELSEWHERE: [&str; 44] = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "0.0.0.0",
    "127.1",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "3232235777",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[fe80::1]",
    "[fd00::1]",
    "[fe80::1%25eth0]",
    "localhost",
    "localhost.",
    "localhost:9464",
    "metadata.google.internal",
    "psp.name",
    "xcard.psp.name",
    "card-psp.name",
    "card.psp.name.",
    "card.psp.name..",
    "card.psp.name:80",
    "card.psp.name:0",
    "card.psp.name:65536",
    "card.psp.name:443:443",
    "user@card.psp.name",
    "user:word@card.psp.name",
    "evil.example:card.psp.name",
    "card.psp.name@",
    "card.psp.name@127.0.0.1",
    "evil.example#@card.psp.name",
    "evil.example?@card.psp.name",
    "evil.example/@card.psp.name",
    "evil.example;card.psp.name",
    "card.psp.name,evil.example",
    "card.psp.name%2eevil.example",
    "card.psp.name%00.evil.example",
    "card.psp.name%0d%0aevil.example",
    "card\u{3002}psp.name.evil.example",
    "c\u{430}rd.psp.name",
];

#[test]
fn no_spelling_of_another_host_takes_a_return() {
    let bench = Bench::with(LISTED, "");
    let mut addresses = 0;
    for host in ELSEWHERE {
        for bad in [format!("https://{host}/x"), format!("https://{host}"), format!("{host}/x")] {
            let answer = ANSWER.replace(WITH_RETURN, &bad);
            let seen = refusal(answered(&bench, "paymega", &answer));
            assert_eq!(seen, "AnswerWithheld(ReturnHost)", "{bad}");
            addresses += 1;
        }
    }
    assert!(addresses > 100);
    assert!(answered(&bench, "paymega", ANSWER).is_ok());
}

#[test]
fn a_challenge_that_is_not_https_is_withheld() {
    let bench = Bench::with(LISTED, "");
    for bad in ["http://card.psp.name/acs", "javascript:alert(1)", "data:text/html,x", "/acs", ""] {
        let answer = ANSWER.replace("https://card.psp.name/acs/auth", bad);
        assert_eq!(
            refusal(answered(&bench, "paymega", &answer)),
            "AnswerWithheld(ChallengeUrl)",
            "{bad}"
        );
    }
    let answer = ANSWER.replace("\"POST\"", "\"DELETE\"");
    assert_eq!(refusal(answered(&bench, "paymega", &answer)), "AnswerWithheld(ChallengeUrl)");
}

#[test]
fn a_creq_is_handed_off_and_there_is_nothing_to_relay() {
    let bench = Bench::new();
    let answer = CREQ.replacen('{', r#"{"status":"process_pending","auth_mode":"3ds","#, 1);
    let seen = text(answered(&bench, "paymega", &answer).unwrap());
    assert!(!seen.contains("creq"));
    let id = relay_id(&member(seen.as_bytes(), "action"));
    let page = bench.handoff_page(&id).unwrap();
    assert_eq!(page.fields, [("creq".to_owned(), member(CREQ.as_bytes(), "creq"))]);
    assert!(page.fields[0].1.ends_with('='), "padding stays");
    let map = HeaderMap::new();
    let back = Return { method: &Method::POST, query: None, headers: &map, body: body(b"cres=1") };
    assert!(refusal(bench.flow.begin_return(&id, back, NOW)).contains("SessionUnknown"));
}

#[test]
fn milkypays_return_address_stays_until_the_account_says_otherwise() {
    let bench = Bench::new();
    let seen = text(answered(&bench, "milkypay", ANSWER).unwrap());
    let id = relay_id(&member(seen.as_bytes(), "action"));
    let page = bench.handoff_page(&id).unwrap();
    let term_url = &page.fields.iter().find(|(name, _)| name == "TermUrl").unwrap().1;
    assert_eq!(term_url, WITH_RETURN);

    let on = "[account.three_ds]\nreplace_term_url = true\nhosts = [\"card.psp.name\"]\n";
    let bench = Bench::with("", on);
    let seen = text(answered(&bench, "milkypay", ANSWER).unwrap());
    let id = relay_id(&member(seen.as_bytes(), "action"));
    let page = bench.handoff_page(&id).unwrap();
    let term_url = &page.fields.iter().find(|(name, _)| name == "TermUrl").unwrap().1;
    assert!(term_url.starts_with("https://pay.test/3ds/") && !term_url.contains(&id));
}

#[test]
fn inline_changes_the_return_address_alone_and_refuses_a_card_in_the_payload() {
    let inline = "[account.three_ds]\nhandoff = \"inline\"\nhosts = [\"card.psp.name\"]\n";
    let bench = Bench::with(inline, "");
    assert_eq!(
        refusal(answered(&bench, "paymega", ANSWER)),
        "AnswerWithheld(ChallengeHoldsCard)",
        "the sample's PaReq decodes to one"
    );
    let harmless = ANSWER.replace(&member(ANSWER.as_bytes(), "PaReq"), "eJzT0yMAAGTvBe8=");
    let seen = text(answered(&bench, "paymega", &harmless).unwrap());
    let ours = member(seen.as_bytes(), "TermUrl");
    assert!(ours.starts_with("https://pay.test/3ds/"), "{ours}");
    assert_eq!(seen.replace(&ours, WITH_RETURN), harmless);
}

#[test]
fn redirect307_sends_the_browser_itself() {
    let mode = "[account.three_ds]\nrelay = \"redirect307\"\nhosts = [\"card.psp.name\"]\n";
    let bench = Bench::with(mode, "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let id = way_back(&bench, &seen);
    let map = HeaderMap::new();
    for _ in 0..2 {
        let step = begin(&bench, &id, &Method::POST, None, b"PaRes=1", &map);
        let Step::Answer(told) = step else { panic!() };
        assert_eq!((told.status.as_u16(), told.location.as_deref()), (307, Some(WITH_RETURN)));
    }
}

#[test]
fn unknown_challenges_and_empty_ones_pass_as_they_are() {
    let bench = Bench::new();
    for answer in [
        r#"{"status":"process_pending","auth_mode":null,"auth_payload":[]}"#,
        r#"{"status":"process_pending","auth_mode":"otp","auth_payload":{"length":6}}"#,
        r#"{"status":"process_pending","auth_mode":null,"auth_payload":null}"#,
    ] {
        assert_eq!(text(answered(&bench, "paymega", answer).unwrap()), answer);
    }
}

#[test]
fn answers_that_cannot_be_read_are_withheld() {
    let bench = Bench::new();
    for (pairs, raw, reason) in [
        (vec![("content-type", "application/json")], "{\"a\":1,\"a\":2}", "Unreadable"),
        (vec![("content-type", "application/json")], "{\"a\":", "Unreadable"),
        (vec![("content-type", "application/json"), ("content-encoding", "gzip")], "x", "Encoded"),
        (vec![("content-type", "application/octet-stream")], "abc", "NotText"),
        (
            vec![("content-type", "application/json"), ("content-type", "text/html")],
            "{}",
            "NotText",
        ),
    ] {
        let handle = bench.handle("paymega");
        let (token, cvv) = bench.shop_card();
        let (_, pending) = bench.sale("paymega", &handle, &sale_json(&token, &cvv)).unwrap();
        let seen = refusal(pending.finish(reply(200, &pairs, raw.as_bytes()), &bench.flow, NOW));
        assert_eq!(seen, format!("AnswerWithheld({reason})"), "{raw}");
    }
}

#[test]
fn answer_headers_are_those_of_the_list_and_carry_no_card() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let (_, pending) = bench.sale("paymega", &handle, &sale_json(&token, &cvv)).unwrap();
    let answer = reply(
        429,
        &[
            ("content-type", "application/json"),
            ("retry-after", "3"),
            ("set-cookie", "a=b"),
            ("server", "x"),
            ("x-request-id", PAN),
            ("x-debug", PAN),
        ],
        b"{}",
    );
    let (_, headers, _) = pending.finish(answer, &bench.flow, NOW).unwrap().into_parts();
    let mut names: Vec<_> = headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["content-type", "retry-after"]);
}

#[test]
fn the_hand_off_page_is_gone_once_the_browser_has_come_back() {
    let bench = Bench::with(LISTED, "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let start = relay_id(&member(seen.as_bytes(), "action"));
    let id = way_back(&bench, &seen);
    assert!(bench.handoff_page(&start).is_some(), "a reload is fine before");
    let map = HeaderMap::new();
    let Step::Send(_, ticket) = begin(&bench, &id, &Method::POST, None, b"PaRes=1", &map) else {
        panic!()
    };
    assert!(bench.handoff_page(&start).is_none());
    let answer = reply(302, &[("location", "https://shop.example/back")], b"");
    bench.flow.finish_return(ticket, Ok(answer), NOW).unwrap();
    assert!(bench.handoff_page(&start).is_none());
    let step = bench.flow.handoff(&start, NOW).unwrap();
    let HandoffStep::Over(there) = step else { panic!() };
    assert_eq!(relay_id(&there), id, "whoever goes back is shown what came of it");
}

#[test]
fn a_page_is_not_a_way_back_nor_the_other_way_round() {
    let bench = Bench::with("[account.three_ds]\nhosts = [\"card.psp.name\"]\n", "");
    let seen = text(answered(&bench, "paymega", ANSWER).unwrap());
    let start = relay_id(&member(seen.as_bytes(), "action"));
    let back = way_back(&bench, &seen);
    let map = HeaderMap::new();
    let there =
        Return { method: &Method::POST, query: None, headers: &map, body: body(b"PaRes=1") };
    assert!(refusal(bench.flow.begin_return(&start, there, NOW)).contains("SessionUnknown"));
    assert!(bench.handoff_page(&back).is_none());
}

#[test]
fn a_return_takes_no_card_to_the_shop() {
    let bench = Bench::with(LISTED, "");
    for bad in [
        format!("https://shop.example/back?pan={PAN}"),
        "https://user@evil.example/".to_owned(),
        "https://user:pass@evil.example/".to_owned(),
    ] {
        let told = returned(&bench, reply(302, &[("location", &bad)], b""));
        assert_eq!(told.location.as_deref(), Some("https://shop.example/back"), "{bad}");
    }
    // An encoded number goes on to a bank, and to no host where the shop takes customers back: one
    // that sessions are opened for, or the one that the invoice named.
    let encoded = STANDARD.encode(format!("pan={PAN};"));
    for (host, page) in [
        ("bank.example", "https://bank.example/"),
        ("shop.example", "https://back.example/paid"),
        ("back.example", "https://back.example/paid"),
    ] {
        let handle = bench.handle_back_to("https://back.example/paid", "paymega", host);
        let location = format!("https://{host}/?state={encoded}");
        let answer = reply(302, &[("location", &location)], b"");
        let told = returned_with(&bench, &handle, answer).location.unwrap();
        assert!(told.starts_with(page), "{host}: {told}");
        assert_eq!(told.contains(&encoded), host == "bank.example", "{host}: {told}");
    }
}
