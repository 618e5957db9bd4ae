//! HighHelp: signed headers both ways, challenges inside alerts.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use portcullis::card::Timestamp;
use portcullis::credential::access_headers::{Prehash, Scalar, message, normalise};
use portcullis::credential::{SigningKey, VerifyingKey};
use portcullis::flow::{Draft, Pending, Refusal, Return, Step, Unverified, Verdict};
use portcullis::secret::SecretBytes;

use crate::bench::{
    Bench, CVV, NOW, PAN, Sent, body, deliver, headers, member, parts, refusal, sent,
};

const REQUEST: &str = include_str!("../vectors/keys/request.pem");
const REQUEST_PUB: &str = include_str!("../vectors/keys/request.pub");
pub const OTHER: &str = include_str!("../vectors/keys/other.pem");
const OTHER_PUB: &str = include_str!("../vectors/keys/other.pub");

/// The account and the provider's alerts are signed with `request`; what the application sends and
/// gets, with `other`.
pub fn bench() -> Bench {
    Bench::one(
        "highhelp",
        r#"
[account.credentials]
merchant_id = "7d0c2f0e"
request_key = { file = "request.pem" }
alert_keys = [{ file = "request.pub" }]
[account.virtual.shop]
request_key = { file = "other.pub" }
alert_key = { file = "other.pem" }
[account.three_ds]
hosts = ["api.highhelp.test"]
"#,
        &[
            ("request.pem", REQUEST),
            ("request.pub", REQUEST_PUB),
            ("other.pem", OTHER),
            ("other.pub", OTHER_PUB),
        ],
    )
}

/// The lines of a body, by an independent parser.
fn lines(value: &serde_json::Value, path: &str, out: &mut Vec<(String, String)>) {
    let below = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}:{key}") };
    match value {
        serde_json::Value::Object(map) => {
            map.iter().for_each(|(key, value)| lines(value, &below(key), out))
        }
        serde_json::Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(at, value)| lines(value, &below(&at.to_string()), out));
        }
        serde_json::Value::String(text) => out.push((path.to_owned(), text.clone())),
        serde_json::Value::Bool(flag) => out.push((path.to_owned(), u8::from(*flag).to_string())),
        serde_json::Value::Null => out.push((path.to_owned(), "None".to_owned())),
        serde_json::Value::Number(number) => out.push((path.to_owned(), number.to_string())),
    }
}

fn signed_text(json: &[u8], time: u64) -> Vec<u8> {
    let mut pairs = Vec::new();
    lines(&serde_json::from_slice(json).unwrap(), "", &mut pairs);
    let scalars = pairs.iter().map(|(path, text)| (path.clone(), Scalar::Text(text.clone())));
    message(normalise(scalars).as_bytes(), time).as_bytes().to_vec()
}

pub fn access(key: &str, json: &[u8], time: u64) -> HeaderMap {
    let key = SigningKey::rsa_pem(&SecretBytes::from_slice(key.as_bytes())).unwrap();
    let signature = key.sign(&signed_text(json, time), Prehash::Double).unwrap();
    let signature = signature.reveal(|text| String::from_utf8(text.to_vec()).unwrap());
    headers(&[
        ("content-type", "application/json"),
        ("x-access-timestamp", &time.to_string()),
        ("x-access-merchant-id", "7d0c2f0e"),
        ("x-access-token", "app"),
        ("x-access-signature", &signature),
    ])
}

fn genuine(key: &str, seen: &Sent) -> bool {
    let key = VerifyingKey::rsa_pem(&SecretBytes::from_slice(key.as_bytes())).unwrap();
    let time = seen.headers["x-access-timestamp"].to_str().unwrap().parse().unwrap();
    let message = signed_text(&seen.body, time);
    key.verify(&message, seen.headers["x-access-signature"].as_bytes(), Prehash::Double)
}

pub fn payin(number: &str, cvv: &str) -> String {
    format!(
        r#"{{"general":{{"project_id":"7d0c2f0e","payment_id":"ord-7","merchant_callback_url":"https://shop.example/a","merchant_success_callback_url":"https://shop.example/s","merchant_decline_callback_url":"https://shop.example/d","redirect_url":"https://shop.example/back"}},"payment":{{"method":"card-ecom","amount":10000,"currency":"RUB"}},"sender":{{"pan":"{number}","cvv":"{cvv}","expiry_month":"10","expiry_year":"35"}},"flags":[true,null,"x;y:z"]}}"#
    )
}

pub const PAYIN: &str = "/highhelp/api/api/v1/payment/ecom/payin";

fn call(
    bench: &Bench,
    path: &str,
    json: &str,
    key: &str,
    time: u64,
) -> Result<(Draft, Pending), Refusal> {
    bench.prepare("POST", path, &access(key, json.as_bytes(), time), json.as_bytes())
}

fn replayed(call: &str) -> String {
    let status_call = Some(format!("POST /api/v1/payment/{call}/info"));
    format!("CallerReplayed {{ status_call: {status_call:?} }}")
}

#[test]
fn the_applications_signature_covers_the_token_and_ours_the_card() {
    let bench = bench();
    let (token, cvv) = bench.shop_card();
    let (draft, _) = call(&bench, PAYIN, &payin(&token, &cvv), OTHER, NOW.as_secs() - 7).unwrap();
    assert!(draft.is_slow());
    let seen = sent(draft);
    let text = String::from_utf8(seen.body.clone()).unwrap();
    assert!(text.contains(&format!(r#""sender":{{"pan":"{PAN}","cvv":"{CVV}""#)), "{text}");
    assert!(text.ends_with(r#""flags":[true,null,"x;y:z"]}"#));
    assert_eq!(text.matches("https://pay.test/callbacks/highhelp/").count(), 3);
    assert!(!text.contains("https://shop.example/a"));
    assert!(genuine(REQUEST_PUB, &seen), "signed with the project's key over the final bytes");
    assert_eq!(
        seen.headers["x-access-timestamp"],
        NOW.as_secs().to_string().as_str(),
        "at this time"
    );
    assert_eq!(seen.headers["x-access-merchant-id"], "7d0c2f0e");
    let token = seen.headers["x-access-token"].to_str().unwrap();
    assert!(URL_SAFE_NO_PAD.decode(token).unwrap().len() > 250, "the public key itself");
    assert_eq!(seen.headers.get_all("x-access-signature").iter().count(), 1);
}

#[test]
fn wrong_stale_and_repeated_requests_are_refused_and_use_nothing_up() {
    let bench = bench();
    let (token, cvv) = bench.shop_card();
    let json = payin(&token, &cvv);
    let now = NOW.as_secs();
    assert_eq!(refusal(call(&bench, PAYIN, &json, REQUEST, now)), "CallerSignature", "not its key");
    for time in [now - 301, now + 301, 1] {
        assert_eq!(refusal(call(&bench, PAYIN, &json, OTHER, time)), "CallerTimestamp", "{time}");
    }
    let none = headers(&[("content-type", "application/json")]);
    assert_eq!(refusal(bench.prepare("POST", PAYIN, &none, json.as_bytes())), "CallerSignature");
    for name in ["x-access-timestamp", "x-access-signature"] {
        let mut map = access(OTHER, json.as_bytes(), now);
        let value = map[name].clone();
        map.append(name, value);
        assert_eq!(refusal(bench.prepare("POST", PAYIN, &map, json.as_bytes())), "CallerSignature");
    }
    let map = access(OTHER, json.as_bytes(), now);
    let changed = json.replace("10000", "10001");
    assert_eq!(refusal(bench.prepare("POST", PAYIN, &map, changed.as_bytes())), "CallerSignature");
    let doubled = json.replace("\"flags\"", "\"payment\":1,\"flags\"");
    let seen = refusal(bench.prepare("POST", PAYIN, &map, doubled.as_bytes()));
    assert!(seen.contains("JsonDuplicateKey"), "{seen}");

    let (_, pending) = call(&bench, PAYIN, &json, OTHER, now).unwrap();
    let other = json.replace("ord-7", "ord-8");
    assert_eq!(refusal(call(&bench, PAYIN, &other, OTHER, now)), "TokenUnknown(\"/sender/cvv\")");
    pending.unanswered(portcullis::flow::Forwarded::No, &bench.flow, NOW);
    let (_, pending) = call(&bench, PAYIN, &json, OTHER, now).unwrap();
    drop(pending);
    let without = payin(&token, "").replace("ord-7", "ord-8");
    let (_, pending) = call(&bench, PAYIN, &without, OTHER, now).unwrap();
    bench.answer(pending, 200, b"{}").unwrap();
    assert_eq!(refusal(call(&bench, PAYIN, &without, OTHER, now)), replayed("ecom/payin"));
    let mut padded = access(OTHER, without.as_bytes(), now);
    let signature = format!("{}==", padded["x-access-signature"].to_str().unwrap());
    padded.insert("x-access-signature", signature.parse().unwrap());
    let again = bench.prepare("POST", PAYIN, &padded, without.as_bytes());
    assert_eq!(refusal(again), replayed("ecom/payin"), "padding is no new signature");
    // It is remembered for as long as its time is believed, from the future as from the past.
    let early = payin(&token, "").replace("ord-7", "ord-9");
    let map = access(OTHER, early.as_bytes(), now + 300);
    let at = |later| {
        let later = NOW.plus(std::time::Duration::from_secs(later));
        bench.prepare_at("POST", PAYIN, &map, early.as_bytes(), later)
    };
    bench.answer(at(0).unwrap().1, 200, b"{}").unwrap();
    assert_eq!(refusal(at(600)), replayed("ecom/payin"), "the last second of it");
    assert_eq!(refusal(at(601)), "CallerTimestamp");
    let info = r#"{"general":{"project_id":"7d0c2f0e","payment_id":"ord-7"}}"#;
    let path = "/highhelp/api/api/v1/payment/ecom/payin/info";
    for _ in 0..3 {
        assert!(call(&bench, path, info, OTHER, now).is_ok(), "reads may come twice");
    }
}

fn alert(more: &str, status: &str, sub_status: &str) -> String {
    format!(
        r#"{{"project_id":"7d0c2f0e","general":{{"payment_id":"ord-7","request_id":"r-1"}},"status":{{"status":"{status}","sub_status":{sub_status},"status_description":"a;b:c"}}{more}}}"#
    )
}

fn judge(
    bench: &Bench,
    json: &str,
    key: &str,
    time: u64,
    now: Timestamp,
) -> Result<Verdict, Refusal> {
    let map = access(key, json.as_bytes(), time);
    let sealed = sealed_url(bench);
    let callback = Unverified {
        account: "highhelp",
        sealed: Some(&sealed),
        headers: &map,
        body: body(json.as_bytes()),
    };
    let verified = bench.flow.verify(callback, now)?;
    bench.flow.judge(verified, now)
}

/// The sealed part of the informative callback URL.
fn sealed_url(bench: &Bench) -> String {
    let (token, _) = bench.shop_card();
    let json = payin(&token, "");
    let (draft, pending) = call(bench, PAYIN, &json, OTHER, NOW.as_secs()).unwrap();
    bench.answer(pending, 200, b"{}").unwrap();
    let ours = member(&sent(draft).body, "merchant_callback_url");
    ours.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn a_challenge_in_an_alert_is_handed_off_and_the_alert_signed_anew() {
    let bench = bench();
    let acs = r#","acs_info":{"acs_url":"https://acs.example/x","pa_req":"eJx+/=","md":"","term_url":"https://api.highhelp.test/term?pid=1","extra":1}"#;
    let json = alert(acs, "processing", "\"awaiting_3ds_result\"");
    let (seen, _) = deliver(judge(&bench, &json, REQUEST, NOW.as_secs(), NOW));
    assert_eq!((seen.host.as_str(), seen.target.as_str()), ("shop.example", "/a"));
    let text = String::from_utf8(seen.body.clone()).unwrap();
    let start = member(text.as_bytes(), "acs_url");
    assert!(start.starts_with("https://pay.test/3ds/") && start.ends_with("/start"), "{text}");
    let expected = json
        .replace("https://acs.example/x", &start)
        .replace("eJx+/=", "")
        .replace("https://api.highhelp.test/term?pid=1", "");
    assert_eq!(text, expected, "unknown members are passed on");
    assert!(genuine(OTHER_PUB, &seen), "what the application verifies with");

    let id = start.split('/').nth(4).unwrap();
    let page = bench.handoff_page(id).unwrap();
    let field = |name: &str| &page.fields.iter().find(|(known, _)| known == name).unwrap().1;
    assert_eq!((page.method.as_str(), page.fields.len()), ("POST", 3));
    assert_eq!((field("PaReq").as_str(), field("MD").as_str()), ("eJx+/=", ""));
    let back = field("TermUrl").rsplit('/').next().unwrap().to_owned();
    let map = HeaderMap::new();
    let back = Return {
        method: &http::Method::POST,
        query: None,
        headers: &map,
        body: body(b"PaRes=1&MD="),
    }
    .pipe(|there| bench.flow.begin_return(&back, there, NOW));
    let Ok(Step::Send(prepared, _)) = back else { panic!("not relayed") };
    let relayed = parts(*prepared);
    assert_eq!(
        (relayed.host.as_str(), relayed.target.as_str()),
        ("api.highhelp.test", "/term?pid=1")
    );
    assert_eq!(relayed.body, b"PaRes=1&MD=");
}

#[test]
fn every_answer_about_a_payment_may_bring_a_challenge() {
    let bench = bench();
    let acs = r#"{"status":"processing","acs_info":{"acs_url":"https://acs.example/x","pa_req":"eJx+/=","md":"m","term_url":"https://api.highhelp.test/term"}}"#;
    let json = r#"{"general":{"project_id":"7d0c2f0e","payment_id":"ord-%"}}"#;
    let calls = ["payin", "payin/info", "payin/confirm-3ds-result", "payout", "payout/info"];
    let products = [("ecom", &calls[..]), ("p2p", &calls[..])];
    let paths = products.iter().flat_map(|(product, calls)| {
        calls.iter().map(move |call| format!("/highhelp/api/api/v1/payment/{product}/{call}"))
    });
    for (at, path) in paths.enumerate() {
        let json = json.replace('%', &at.to_string());
        let (_, pending) = call(&bench, &path, &json, OTHER, NOW.as_secs()).unwrap();
        let text = bench.answer(pending, 200, acs.as_bytes()).unwrap().into_parts().2;
        let start = member(text.as_bytes(), "acs_url");
        assert!(start.starts_with("https://pay.test/3ds/"), "{path}");
        assert_eq!(member(text.as_bytes(), "pa_req"), "", "{path}");
    }
}

#[test]
fn an_address_alone_is_gone_to_by_get_with_its_own_query() {
    let bench = bench();
    for (more, method, fields) in [
        ("", "GET", 2),
        (r#","params":{}"#, "GET", 2),
        (r#","params":{"a":"b"}"#, "POST", 1),
        (r#","method":"post""#, "POST", 0),
    ] {
        let info =
            format!(r#","redirect_info":{{"url":"https://bank.example/pay?x=1&y=2"{more}}}"#);
        let json = alert(&info, "processing", "\"awaiting_redirect_result\"");
        let (seen, delivery) = deliver(judge(&bench, &json, REQUEST, NOW.as_secs(), NOW));
        let start = member(&seen.body, "url");
        let page = bench.handoff_page(start.split('/').nth(4).unwrap()).unwrap();
        assert_eq!((page.method.as_str(), page.fields.len()), (method, fields), "{more}");
        bench.flow.delivered(delivery, None, NOW).unwrap_err();
    }
}

trait Pipe: Sized {
    fn pipe<R>(self, then: impl FnOnce(Self) -> R) -> R {
        then(self)
    }
}

impl Pipe for Return<'_> {}

#[test]
fn an_otp_challenge_without_an_address_passes_through() {
    let bench = bench();
    let otp = r#","acs_info":{"otp_length":6,"masked_phone":"+7***"}"#;
    let json = alert(otp, "processing", "\"awaiting_3ds_result\"");
    let (seen, _) = deliver(judge(&bench, &json, REQUEST, NOW.as_secs(), NOW));
    assert_eq!(String::from_utf8(seen.body).unwrap(), json);
}

#[test]
fn forged_stale_and_repeated_alerts_are_not_delivered() {
    let bench = bench();
    let now = NOW.as_secs();
    let json = alert("", "success", "null");
    assert_eq!(refusal(judge(&bench, &json, OTHER, now, NOW)), "SignatureRefused");
    assert_eq!(refusal(judge(&bench, &json, REQUEST, now - 301, NOW)), "CallbackStale");
    let map = access(REQUEST, json.as_bytes(), now);
    let changed = json.replace("success", "decline");
    let callback = Unverified {
        account: "highhelp",
        sealed: None,
        headers: &map,
        body: body(changed.as_bytes()),
    };
    assert_eq!(refusal(bench.flow.verify(callback, NOW)), "SignatureRefused");

    let (_, delivery) = deliver(judge(&bench, &json, REQUEST, now, NOW));
    bench.flow.delivered(delivery, Some(200), NOW).unwrap();
    for later in 0..5 {
        let at = Timestamp::from_secs(now + later);
        let verdict = judge(&bench, &json, REQUEST, now + later, at);
        assert!(
            matches!(verdict, Ok(Verdict::Acknowledge)),
            "its key is project, payment and status"
        );
    }
    let other = alert("", "dispute", "\"wrong_amount\"");
    assert!(matches!(judge(&bench, &other, REQUEST, now, NOW), Ok(Verdict::Deliver(..))));
    let without = alert("", "decline", "null").replace(r#""sub_status":null,"#, "");
    assert!(matches!(judge(&bench, &without, REQUEST, now, NOW), Ok(Verdict::Deliver(..))));
    let nobody = without.replace(r#""payment_id":"ord-7","#, "");
    assert_eq!(refusal(judge(&bench, &nobody, REQUEST, now, NOW)), "CallbackUnreadable");
}
