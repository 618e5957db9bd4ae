//! Qostiq: digests over sorted values, the card form, tokens for later payments.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, Method};
use portcullis::flow::{Answer, Form, FormStep, Forwarded, Unverified};
use sha2::{Digest as _, Sha256};

use crate::bench::{Bench, CVV, NOW, PAN, body, deliver, headers, member, parts, refusal, sent};

pub const REAL: &str = "real-shop-secret";
pub const VIRTUAL: &str = "virtual-shop-secret";
const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

/// As the family's published clients do it: values sorted by name, the secret behind them.
pub fn digest(pairs: &[(&str, &str)], secret: &str) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort();
    let values: Vec<_> = pairs.iter().map(|(_, value)| *value).collect();
    let hash = Sha256::digest(format!("{}{secret}", values.join(":")));
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn bench() -> Bench {
    bench_with("")
}

fn bench_with(more: &str) -> Bench {
    Bench::one(
        "qostiq",
        &format!(
            r#"
[account.credentials]
secret = {{ file = "real" }}
[account.virtual.shop]
secret = {{ file = "virtual" }}
[account.callback]
url = "https://shop.example/hooks"
{more}
"#
        ),
        &[("real", REAL), ("virtual", VIRTUAL)],
    )
}

pub fn invoice(secret: &str, more: &str) -> String {
    let signed = [
        ("amount", "1.10"),
        ("currency", "980"),
        ("payway", "card_uah"),
        ("shop_id", "158"),
        ("shop_order_id", "49135760"),
    ];
    let sign = digest(&signed, secret);
    format!(
        r#"{{"amount": 1.10,"currency":"980", "description":"a;b:c"{more},"payway":"card_uah","shop_id":158,"shop_order_id":"49135760","sign":"{sign}"}}"#
    )
}

fn call(
    bench: &Bench,
    path: &str,
    json: &str,
) -> Result<(portcullis::flow::Draft, portcullis::flow::Pending), portcullis::flow::Refusal> {
    let map = headers(&[("content-type", JSON)]);
    bench.prepare("POST", &format!("/qostiq/{path}"), &map, json.as_bytes())
}

/// A signed order of a withdrawal to this card or wallet.
pub fn withdrawal(id: &str, account: &str, secret: &str) -> String {
    let signed = [
        ("account", account),
        ("amount", "10.00"),
        ("amount_type", "ps_amount"),
        ("payway", "card_uah"),
        ("shop_currency", "980"),
        ("shop_id", "158"),
        ("shop_payment_id", id),
    ];
    format!(
        r#"{{"account":"{account}","amount":"10.00","amount_type":"ps_amount","payway":"card_uah","shop_currency":"980","shop_id":"158","shop_payment_id":"{id}","sign":"{}"}}"#,
        digest(&signed, secret)
    )
}

/// A session as the provider opens it; returns the application's handle.
pub fn session(bench: &Bench) -> String {
    let (_, pending) = call(bench, "core/invoice/create", &invoice(VIRTUAL, "")).unwrap();
    let answer = br#"{"data":{"data":{"session_id":"26d90ef012e34b44aa9d74a3556e15a6"},"id":77,"method":"GET","url":"https://pay.qostiq.com/x"},"error_code":0,"message":"Ok","result":true}"#;
    let text = bench.answer(pending, 200, answer).unwrap().into_parts().2;
    member(text.as_bytes(), "session_id")
}

/// The id of the card form's address, as the application gets it.
pub fn form(bench: &Bench, handle: &str) -> String {
    let json = format!(r#"{{"session_id": "{handle}"}}"#);
    let (draft, pending) = call(bench, "card/h2h_data", &json).unwrap();
    let seen = sent(draft);
    assert_eq!(seen.body, br#"{"session_id": "26d90ef012e34b44aa9d74a3556e15a6"}"#);
    let answer = br#"{"data":{"form_token":"uerh","payform_url":"https://card.qostiq.com/payform/?x=1"},"error_code":0,"message":"success","result":true}"#;
    let text = bench.answer(pending, 200, answer).unwrap().into_parts().2;
    let ours = member(text.as_bytes(), "payform_url");
    assert!(ours.starts_with("https://pay.test/payform/"), "{ours}");
    ours.rsplit('/').next().unwrap().to_owned()
}

pub fn post(bench: &Bench, id: &str, raw: &str) -> Result<FormStep, portcullis::flow::Refusal> {
    let map = headers(&[("content-type", FORM), ("cookie", "a=b"), ("user-agent", "Browser/1")]);
    bench.flow.begin_form(id, Form { headers: &map, body: body(raw.as_bytes()) }, NOW)
}

pub fn fields(handle: &str, number: &str, cvv: &str) -> String {
    format!(
        "session_id={handle}&form_token=uerh&card_number={number}&card_holder=TEST+TEST&expiry_month=12&expiry_year=35&cvv={cvv}"
    )
}

#[test]
fn the_applications_digest_is_checked_and_the_real_one_made() {
    let bench = bench();
    let (draft, _) = call(&bench, "core/invoice/create", &invoice(VIRTUAL, "")).unwrap();
    let seen = sent(draft);
    assert_eq!(String::from_utf8(seen.body).unwrap(), invoice(REAL, ""), "only the digest differs");
    for bad in [
        invoice(REAL, ""),
        invoice("other", ""),
        invoice(VIRTUAL, "").replace("1.10", "1.1"),
        invoice(VIRTUAL, "").replace(r#""sign":""#, r#""sign":"0"#),
        invoice(VIRTUAL, "").replace(r#""sign""#, r#""Sign""#),
    ] {
        assert_eq!(refusal(call(&bench, "core/invoice/create", &bad)), "CallerSignature", "{bad}");
    }
}

/// The family's published table of methods and of the parameters that each signs.
const METHODS: [(&str, &[&str]); 12] = [
    ("invoice/try", &["amount", "currency", "payway", "shop_id", "shop_order_id"]),
    ("invoice/create", &["amount", "currency", "payway", "shop_id", "shop_order_id"]),
    ("invoice/shop_order_status", &["now", "shop_id", "shop_order_id"]),
    (
        "bill/create",
        &["payer_currency", "shop_amount", "shop_currency", "shop_id", "shop_order_id"],
    ),
    ("bill/shop_order_status", &["now", "shop_id", "shop_order_id"]),
    ("withdraw/try", &["amount", "amount_type", "payway", "shop_currency", "shop_id"]),
    ("check_account", &["account", "amount", "payway", "shop_id"]),
    ("withdraw/status", &["now", "shop_id", "withdraw_id"]),
    ("withdraw/shop_payment_status", &["now", "shop_id", "shop_payment_id"]),
    (
        "transfer/create",
        &[
            "amount",
            "amount_type",
            "payee_account",
            "payee_currency",
            "shop_currency",
            "shop_id",
            "shop_payment_id",
        ],
    ),
    ("transfer/shop_payment_status", &["now", "shop_id", "shop_payment_id"]),
    ("shop_balance", &["now", "shop_id"]),
];

#[test]
fn every_method_signs_its_own_parameters_and_no_others() {
    let bench = bench();
    for (method, names) in METHODS {
        // Values that sort otherwise than their names, and one that is not signed.
        let values: Vec<_> = names.iter().rev().map(|name| format!("v-{name}")).collect();
        let pairs: Vec<_> = names.iter().copied().zip(values.iter().map(String::as_str)).collect();
        let written = |secret: &str| {
            let fields: String =
                pairs.iter().map(|(name, value)| format!(r#""{name}":"{value}","#)).collect();
            format!(r#"{{{fields}"description":"extra","sign":"{}"}}"#, digest(&pairs, secret))
        };
        let (draft, pending) = call(&bench, &format!("core/{method}"), &written(VIRTUAL)).unwrap();
        assert_eq!(String::from_utf8(sent(draft).body).unwrap(), written(REAL), "{method}");
        bench.answer(pending, 200, b"{}").unwrap();
    }
}

#[test]
fn signed_fields_must_be_there_once_and_plain() {
    let bench = bench();
    let good = invoice(VIRTUAL, "");
    for (bad, expected) in [
        (good.replace(r#""payway":"card_uah","#, ""), "SignedFieldMissing(\"/payway\")"),
        (good.replace(r#""card_uah""#, "null"), "SignedFieldNotScalar(\"/payway\")"),
        (good.replace(r#""card_uah""#, "[1]"), "SignedFieldNotScalar(\"/payway\")"),
        (good.replace(r#""card_uah""#, "true"), "SignedFieldNotScalar(\"/payway\")"),
        (good.replace(r#""payway""#, r#""amount":1,"payway""#), "JsonDuplicateKey"),
    ] {
        let seen = refusal(call(&bench, "core/invoice/create", &bad));
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    assert_eq!(refusal(call(&bench, "core/invoice/destroy", &good)), "RouteUnknown");
}

#[test]
fn big_and_odd_numbers_are_signed_as_they_were_written() {
    let bench = bench();
    for amount in ["1", "1.0", "1.00", "\"1.00\"", "12345678901234567890.000000000001", "1e2"] {
        let text = amount.trim_matches('"');
        let pairs = |secret| {
            let signed = [
                ("amount", text),
                ("currency", "1"),
                ("payway", "p"),
                ("shop_id", "5"),
                ("shop_order_id", "o"),
            ];
            format!(
                r#"{{"amount":{amount},"currency":1,"payway":"p","shop_id":5,"shop_order_id":"o","sign":"{}"}}"#,
                digest(&signed, secret)
            )
        };
        let (draft, pending) = call(&bench, "core/invoice/create", &pairs(VIRTUAL)).unwrap();
        assert_eq!(String::from_utf8(sent(draft).body).unwrap(), pairs(REAL), "{amount}");
        bench.answer(pending, 400, b"{}").unwrap();
    }
}

#[test]
fn a_withdrawal_to_a_card_is_revealed_and_then_signed() {
    let bench = bench();
    let (token, _) = bench.shop_card();
    let (draft, mut pending) =
        call(&bench, "core/withdraw/create", &withdrawal("w-1", &token, VIRTUAL)).unwrap();
    let signed = draft.sign(NOW).unwrap();
    pending.signed(signed.signature);
    let seen = parts(signed.prepared);
    assert_eq!(String::from_utf8(seen.body).unwrap(), withdrawal("w-1", PAN, REAL));
    bench.answer(pending, 200, b"{}").unwrap();
    let escaped = |sign: &str| sign.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
    let percent = |sign: &str| {
        sign.bytes().map(|byte| format!("%{:02X}", byte.to_ascii_uppercase())).collect()
    };
    let spellings: [&dyn Fn(&str) -> String; 4] =
        [&str::to_owned, &str::to_uppercase, &escaped, &percent];
    for (at, spelled) in spellings.iter().enumerate() {
        let order = format!("w-1{at}");
        let (draft, mut pending) =
            call(&bench, "core/withdraw/create", &withdrawal(&order, &token, VIRTUAL)).unwrap();
        pending.signed(draft.sign(NOW).unwrap().signature);
        let sign = member(withdrawal(&order, PAN, REAL).as_bytes(), "sign");
        let spelled = spelled(&sign);
        let echo = format!(r#"{{"data":null,"message":"bad sign {spelled}","result":false}}"#);
        let seen = refusal(bench.answer(pending, 200, echo.as_bytes()));
        assert_eq!(seen, "AnswerWithheld(HoldsSignature)", "{spelled} narrows the card down");
    }
    let (draft, mut pending) =
        call(&bench, "core/withdraw/create", &withdrawal("w-1h", &token, VIRTUAL)).unwrap();
    pending.signed(draft.sign(NOW).unwrap().signature);
    let sign = member(withdrawal("w-1h", PAN, REAL).as_bytes(), "sign");
    let map = headers(&[("content-type", JSON), ("etag", &sign)]);
    let echo = Answer { status: 200, headers: map, body: body(b"{}") };
    let seen = refusal(pending.finish(echo, &bench.flow, NOW));
    assert_eq!(seen, "AnswerWithheld(HoldsSignature)", "in a header, too");

    let wallet = withdrawal("w-2", "U123456789", VIRTUAL);
    let (draft, _) = call(&bench, "core/withdraw/create", &wallet).unwrap();
    assert_eq!(String::from_utf8(sent(draft).body).unwrap(), withdrawal("w-2", "U123456789", REAL));
    let raw = refusal(call(&bench, "core/withdraw/create", &withdrawal("w-2", PAN, VIRTUAL)));
    assert!(raw.starts_with("RawCard"), "{raw}");
}

#[test]
fn the_card_form_is_filled_in_and_posted_once() {
    let bench = bench();
    let handle = session(&bench);
    assert!(handle.starts_with("brr_"), "{handle}");
    let id = form(&bench, &handle);
    let (token, cvv) = bench.shop_card();
    let Ok(FormStep::Send(prepared, ticket)) = post(&bench, &id, &fields(&handle, &token, &cvv))
    else {
        panic!("not sent")
    };
    let seen = parts(*prepared);
    let expected = fields("26d90ef012e34b44aa9d74a3556e15a6", PAN, CVV);
    assert_eq!(String::from_utf8(seen.body).unwrap(), expected);
    assert_eq!((seen.host.as_str(), seen.target.as_str()), ("card.qostiq.com", "/payform/?x=1"));
    let mut names: Vec<_> = seen.headers.keys().map(|name| name.as_str()).collect();
    names.sort();
    assert_eq!(names, ["content-type", "user-agent"], "no cookies");
    assert!(matches!(post(&bench, &id, "x=1"), Ok(FormStep::Wait)));
    let answer = Answer {
        status: 302,
        headers: headers(&[("location", "https://acs.example/challenge"), ("set-cookie", "a=b")]),
        body: body(b""),
    };
    let told = bench.flow.finish_form(*ticket, Ok(answer), NOW).unwrap();
    assert_eq!(
        (told.status.as_u16(), told.location.as_deref()),
        (303, Some("https://acs.example/challenge"))
    );
    let Ok(FormStep::Answer(again)) = post(&bench, &id, "x=1") else { panic!("sent twice") };
    assert_eq!(again.location, told.location);
}

#[test]
fn a_card_straight_from_the_browser_may_stand_in_the_form() {
    let bench = bench();
    let handle = session(&bench);
    let id = form(&bench, &handle);
    let Ok(FormStep::Send(prepared, _)) = post(&bench, &id, &fields(&handle, PAN, CVV)) else {
        panic!("not sent")
    };
    let expected = fields("26d90ef012e34b44aa9d74a3556e15a6", PAN, CVV);
    assert_eq!(parts(*prepared).body, expected.as_bytes());
}

/// What the browser is told at the end of a form that `raw` makes of its handle.
fn told(raw: impl Fn(&str) -> String, answer: Answer) -> portcullis::flow::Relayed {
    let bench = bench();
    let handle = session(&bench);
    let id = form(&bench, &handle);
    let Ok(FormStep::Send(_, ticket)) = post(&bench, &id, &raw(&handle)) else {
        panic!("not sent")
    };
    bench.flow.finish_form(*ticket, Ok(answer), NOW).unwrap()
}

#[test]
fn a_card_that_was_typed_into_the_form_is_not_shown_again() {
    let dotted = spaced(PAN).replace('+', ".");
    for (number, cvv) in [(PAN.to_owned(), CVV), (spaced(PAN), "737+"), (dotted, "+4321")] {
        let shown = cvv.replace('+', "");
        let page = format!("<p>Card {PAN} (cvv {shown})</p>");
        let answer = Answer {
            status: 200,
            headers: headers(&[("content-type", "text/html")]),
            body: body(page.as_bytes()),
        };
        let told = told(|handle| fields(handle, &number, cvv), answer);
        let page = String::from_utf8(told.body.as_bytes().to_vec()).unwrap();
        assert!(page.starts_with("<p>Card "), "{page}");
        assert!(!page.contains(PAN) && !page.contains(&shown), "{page}");
    }
}

fn spaced(number: &str) -> String {
    number
        .as_bytes()
        .chunks(4)
        .map(|four| str::from_utf8(four).unwrap())
        .collect::<Vec<_>>()
        .join("+")
}

#[test]
fn the_way_to_the_shop_takes_no_typed_card_in_any_form() {
    let encoded = STANDARD.encode(format!("pan={PAN};"));
    let to = |host: &str| {
        let location = format!("https://{host}/done?state={encoded}");
        let headers = headers(&[("location", &location)]);
        let told = told(
            |handle| fields(handle, PAN, CVV),
            Answer { status: 302, headers, body: body(b"") },
        );
        (told.status.as_u16(), told.location.is_some())
    };
    assert_eq!(to("acs.example"), (303, true), "to the bank as it is");
    assert_eq!(to("shop.example"), (200, false), "the shop's own: our page");
}

#[test]
fn a_form_in_doubt_or_under_way_is_not_sent_by_another_form_either() {
    let bench = bench();
    let handle = session(&bench);
    let forms: Vec<_> = (0..4).map(|_| form(&bench, &handle)).collect();
    let typed = fields(&handle, PAN, CVV);
    let with = |at: usize, raw: &str| post(&bench, &forms[at], raw);
    let (token, cvv) = bench.shop_card();
    let other = fields(&handle, &token, &cvv);
    let Ok(FormStep::Send(_, first)) = with(0, &other) else { panic!("not sent") };
    assert_eq!(refusal(with(1, &other)), "PaymentInFlight { field: None }");
    let _ = bench.flow.finish_form(*first, Err(Forwarded::No), NOW);

    let Ok(FormStep::Send(_, second)) = with(1, &other) else { panic!("nothing was sent before") };
    let declined = Answer { status: 200, headers: headers(&[]), body: body(b"") };
    assert!(bench.flow.finish_form(*second, Ok(declined), NOW).is_ok());

    let Ok(FormStep::Send(_, third)) = with(2, &typed) else { panic!("the answer was definite") };
    assert!(bench.flow.finish_form(*third, Err(Forwarded::Unknown), NOW).is_ok());
    let unknown = "PaymentUnknown { field: None, status_call: None }";
    assert_eq!(refusal(with(3, &typed)), unknown);
    assert_eq!(refusal(with(0, &typed)), unknown);
    let (token, cvv) = bench.shop_card();
    for _ in 0..2 {
        assert_eq!(refusal(with(3, &fields(&handle, &token, &cvv))), unknown, "the code is kept");
    }
}

#[test]
fn a_failure_of_the_providers_own_leaves_the_form_in_doubt() {
    let bench = bench();
    let handle = session(&bench);
    let [one, other] = [form(&bench, &handle), form(&bench, &handle)];
    let typed = fields(&handle, PAN, CVV);
    let Ok(FormStep::Send(_, ticket)) = post(&bench, &one, &typed) else { panic!("not sent") };
    let failed = Answer { status: 502, headers: headers(&[]), body: body(b"") };
    assert!(bench.flow.finish_form(*ticket, Ok(failed), NOW).is_ok());
    assert!(refusal(post(&bench, &other, &typed)).starts_with("PaymentUnknown"));
}

#[test]
fn a_form_that_was_not_sent_uses_nothing_up() {
    let bench = bench();
    let handle = session(&bench);
    let id = form(&bench, &handle);
    let (token, cvv) = bench.shop_card();
    for (raw, expected) in [
        (fields("brr_x", &token, &cvv), "HandleUnknown"),
        (fields(&handle, "tok_test_x", &cvv), "TokenMalformed"),
        (fields(&handle, &token, &cvv) + "&cvv=123", "FormDuplicate"),
    ] {
        let seen = refusal(post(&bench, &id, &raw));
        assert!(seen.contains(expected), "{expected}: {seen}");
    }
    let good = fields(&handle, &token, &cvv);
    let Ok(FormStep::Send(_, ticket)) = post(&bench, &id, &good) else { panic!("used up") };
    let seen = refusal(bench.flow.finish_form(*ticket, Err(Forwarded::No), NOW));
    assert_eq!(seen, "ReturnNotRelayed");
    let Ok(FormStep::Send(_, ticket)) = post(&bench, &id, &good) else { panic!("not given back") };
    assert!(bench.flow.finish_form(*ticket, Err(Forwarded::Unknown), NOW).is_ok());
    assert!(matches!(post(&bench, &id, &good), Ok(FormStep::Answer(_))), "never twice");
}

#[test]
fn the_browser_can_post_the_form_itself() {
    let bench = bench_with("[account.payform]\npost = \"browser\"\n");
    let handle = session(&bench);
    let id = form(&bench, &handle);
    let (token, cvv) = bench.shop_card();
    let good = fields(&handle, &token, &cvv);
    let Ok(FormStep::Page(_, ticket)) = post(&bench, &id, &good) else { panic!("no page") };
    // The page could not be recorded, and was not shown: nothing is used up.
    let seen = refusal(bench.flow.finish_form(*ticket, Err(Forwarded::No), NOW));
    assert_eq!(seen, "ReturnNotRelayed");
    let Ok(FormStep::Page(page, mut ticket)) = post(&bench, &id, &good) else { panic!("no page") };
    assert!(matches!(post(&bench, &id, &good), Ok(FormStep::Wait)), "one at a time");
    let (disclosure, host) = ticket.disclosure().unwrap();
    assert_eq!((host.name(), disclosure.replaced.pan), ("card.qostiq.com", 1));
    bench.flow.show_form(&ticket, NOW);
    assert_eq!(
        (page.action.as_str(), page.method.as_str()),
        ("https://card.qostiq.com/payform/?x=1", "POST")
    );
    let value =
        |name: &str| page.fields.iter().find(|(known, _)| known == name).unwrap().1.as_str();
    assert_eq!((value("card_number"), value("cvv")), (PAN, CVV));
    assert_eq!(
        (value("session_id"), value("card_holder")),
        ("26d90ef012e34b44aa9d74a3556e15a6", "TEST TEST")
    );
    assert!(matches!(post(&bench, &id, "x=1"), Ok(FormStep::Answer(_))), "once");
    let (another, typed) = (form(&bench, &handle), fields(&handle, PAN, CVV));
    assert!(
        refusal(post(&bench, &another, &typed)).starts_with("PaymentUnknown"),
        "not ours to tell"
    );
}

#[test]
fn a_form_on_a_foreign_host_is_withheld() {
    let bench = bench();
    let handle = session(&bench);
    for bad in [
        "https://evil.example/payform",
        "http://card.qostiq.com/payform",
        "http://card.qostiq.com:443/payform",
        "https://card.qostiq.com:81/",
        "https://card.qostiq.com@evil.example/",
        "x",
    ] {
        let json = format!(r#"{{"session_id":"{handle}"}}"#);
        let (_, pending) = call(&bench, "card/h2h_data", &json).unwrap();
        let answer = format!(r#"{{"data":{{"form_token":"t","payform_url":"{bad}"}}}}"#);
        let seen = refusal(bench.answer(pending, 200, answer.as_bytes()));
        assert_eq!(seen, "AnswerWithheld(FormHost)", "{bad}");
    }
    let unknown = refusal(call(
        &bench,
        "card/h2h_data",
        r#"{"session_id":"26d90ef012e34b44aa9d74a3556e15a6"}"#,
    ));
    assert_eq!(unknown, "HandleUnknown");
}

#[test]
fn callbacks_in_json_and_form_are_verified_sealed_and_signed_anew() {
    let bench = bench();
    let shown = [
        ("payment_id", "1001"),
        ("shop_id", "158"),
        ("shop_order_id", "o-1"),
        ("zero", "0"),
        ("shop_amount", "100.50"),
    ];
    for (kind, status) in [(JSON, "success"), (FORM, "rejected")] {
        let write = |token: &str, sign: &str| match kind {
            JSON => format!(
                r#"{{"payment_id":1001,"shop_id":158,"shop_order_id":"o-1","shop_amount":100.50,"status":"{status}","zero":0,"description":"","addons":null,"ps_data":"{{\"a\":1, \"pay_token\":\"{token}\"}}","sign":"{sign}"}}"#
            ),
            _ => {
                let inside = format!(r#"{{"a":1, "pay_token":"{token}"}}"#);
                let inside: String =
                    url::form_urlencoded::byte_serialize(inside.as_bytes()).collect();
                format!(
                    "payment_id=1001&shop_id=158&shop_order_id=o-1&shop_amount=100.50&status={status}&zero=0&description=&ps_data={inside}&sign={sign}"
                )
            }
        };
        let signed = |token: &str, secret: &str| {
            let inside = format!(r#"{{"a":1, "pay_token":"{token}"}}"#);
            let mut pairs = shown.to_vec();
            pairs.extend([("status", status), ("ps_data", inside.as_str())]);
            write(token, &digest(&pairs, secret))
        };
        let judge = |raw: &str| {
            let map = headers(&[("content-type", kind)]);
            let callback = Unverified {
                account: "qostiq",
                sealed: None,
                headers: &map,
                body: body(raw.as_bytes()),
            };
            let verified = bench.flow.verify(callback, NOW)?;
            bench.flow.judge(verified, NOW)
        };
        for wrong in [
            signed("9af6", VIRTUAL),
            signed("9af6", REAL).replace("100.50", "100.5"),
            write("9af6", ""),
        ] {
            assert_eq!(refusal(judge(&wrong)), "SignatureRefused", "{kind}");
        }
        let (seen, delivery) = deliver(judge(&signed("9af6", REAL)));
        assert_eq!(seen.headers["content-type"], kind);
        let text = String::from_utf8(seen.body).unwrap();
        let from = text.find("pyt_").unwrap();
        let sealed: String = text[from..]
            .chars()
            .take_while(|sign| sign.is_ascii_alphanumeric() || "_-".contains(*sign))
            .collect();
        assert_eq!(text, signed(&sealed, VIRTUAL), "signed so that the application can check it");
        bench.flow.delivered(delivery, Some(200), NOW).unwrap();

        let again = invoice(VIRTUAL, &format!(r#","pay_token":"{sealed}""#));
        let map = headers(&[("content-type", JSON)]);
        let path = "/qostiq/core/invoice/create";
        let told = bench.explain("POST", path, &map, again.as_bytes()).unwrap().json;
        assert_eq!(member(told.as_bytes(), "pay_token"), "***");
        assert!(told.contains(r#""rule":"sealed","field":"/pay_token""#), "{told}");
        let (draft, pending) = call(&bench, "core/invoice/create", &again).unwrap();
        assert_eq!(member(&sent(draft).body, "pay_token"), "9af6");
        bench.answer(pending, 400, b"{}").unwrap();
    }
    let foreign = invoice(VIRTUAL, r#","pay_token":"pyt_AAAA""#);
    assert!(refusal(call(&bench, "core/invoice/create", &foreign)).starts_with("TokenUnknown"));
}

#[test]
fn a_token_in_an_object_is_sealed_like_one_in_a_string() {
    let bench = bench();
    let map = headers(&[("content-type", JSON)]);
    let data = r#"{"pay_token":"9af6e26f"}"#;
    let signed =
        [("payment_id", "7"), ("ps_data", data), ("shop_id", "158"), ("status", "success")];
    let sign = digest(&signed, REAL);
    let raw = format!(
        r#"{{"payment_id":7,"shop_id":158,"status":"success","ps_data":{data},"sign":"{sign}"}}"#
    );
    let body = body(raw.as_bytes());
    let callback = Unverified { account: "qostiq", sealed: None, headers: &map, body };
    let verified = bench.flow.verify(callback, NOW).unwrap();
    let (seen, _) = deliver(bench.flow.judge(verified, NOW));
    let text = String::from_utf8(seen.body).unwrap();
    assert!(text.contains(r#""ps_data":{"pay_token":"pyt_"#), "{text}");
    assert!(!text.contains("9af6e26f"), "{text}");
}

#[test]
fn an_offline_answer_passes_as_it_is() {
    let bench = bench();
    let (_, pending) = call(&bench, "core/invoice/create", &invoice(VIRTUAL, "")).unwrap();
    let answer = r#"{"data": {"data": {"en": "No manual. Please, pay invoice"}, "id": "OFFLINE", "method": "OFFLINE", "url": "OFFLINE"}, "error_code": 0, "message": "Ok", "result": true, "shop_id": 158, "transfer_id": null}"#;
    let text = bench.answer(pending, 200, answer.as_bytes()).unwrap().into_parts().2;
    assert_eq!(text.as_bytes(), answer.as_bytes());
}

#[test]
fn a_challenge_in_the_familys_envelope_is_handed_off() {
    let bench = bench();
    let (_, pending) = call(&bench, "core/invoice/create", &invoice(VIRTUAL, "")).unwrap();
    let answer = br#"{"data":{"id":5,"method":"POST","url":"https://acs.example/x","data":{"MD":"m","PaReq":"p","TermUrl":"https://card.qostiq.com/r"}},"result":true}"#;
    let text = bench.answer(pending, 200, answer).unwrap().into_parts().2;
    let text = std::str::from_utf8(text.as_bytes()).unwrap();
    assert!(
        text.starts_with(r#"{"data":{"id":5,"method":"GET","url":"https://pay.test/3ds/"#),
        "{text}"
    );
    assert!(text.ends_with(r#""data":{}},"result":true}"#), "{text}");
    let _ = (Method::GET, HeaderMap::new());
}

#[test]
fn the_shared_secret_does_not_come_back_where_callbacks_have_their_own() {
    const NEWS: &str = "secret-of-callbacks-1";
    let bench = Bench::one(
        "qostiq",
        r#"
[account.credentials]
secret = { file = "real" }
callback_secrets = [{ file = "news" }]
[account.virtual.shop]
secret = { file = "virtual" }
"#,
        &[("real", REAL), ("virtual", VIRTUAL), ("news", NEWS)],
    );
    let (_, pending) = call(&bench, "core/invoice/create", &invoice(VIRTUAL, "")).unwrap();
    let echo = format!(r#"{{"message":"{REAL}, {NEWS}"}}"#);
    let text = bench.answer(pending, 400, echo.as_bytes()).unwrap().into_parts().2;
    assert_eq!(
        std::str::from_utf8(text.as_bytes()).unwrap(),
        format!(r#"{{"message":"{}, {}"}}"#, "*".repeat(REAL.len()), "*".repeat(NEWS.len()))
    );
}
