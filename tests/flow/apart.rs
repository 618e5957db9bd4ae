//! What applications and accounts keep from one another: an account that was not granted, a handle
//! of another application, a sealed value of another application or account.

use http::HeaderMap;
use portcullis::flow::Unverified;

use crate::bench::{
    Bench, CVV, NOW, OTHER_KEY, PAN, SHOP_KEY, body, deliver, headers, member, refusal, sent,
};
use crate::qostiq::{self, REAL, VIRTUAL, digest, fields, invoice};

const OTHER_VIRTUAL: &str = "virtual-other-secret";

/// Two accounts with one provider, each for both applications.
fn shared() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("real", REAL), ("virtual", VIRTUAL), ("other", OTHER_VIRTUAL)] {
        crate::bench::write_secret(folder.path(), name, text);
    }
    let accounts = ["qostiq", "second"].map(|name| {
        format!(
            r#"
[[account]]
name = "{name}"
provider = "qostiq"
mode = "test"
[account.credentials]
secret = {{ file = "real" }}
[account.virtual.shop]
secret = {{ file = "virtual" }}
[account.virtual.other]
secret = {{ file = "other" }}
[account.callback]
app = "shop"
url = "https://shop.example/hooks"
"#
        )
    });
    let apps = [("shop", SHOP_KEY), ("other", OTHER_KEY)].map(|(name, key)| {
        let app = crate::bench::app(name, key);
        app.replace("[\"paymega\", \"milkypay\"]", "[\"qostiq\", \"second\"]")
    });
    let profiles = concat!(env!("CARGO_MANIFEST_DIR"), "/config/providers");
    let [apps, accounts] = [apps.concat(), accounts.concat()];
    let text = format!(
        r#"
providers = ["{profiles}/qostiq.toml"]
[public]
url = "https://pay.test"
certificate = "public.pem"
key = "public.key"
[private]
certificate = "private.pem"
key = "private.key"
{apps}{accounts}"#
    );
    Bench::from(folder, text)
}

fn invoice_at(bench: &Bench, account: &str, json: &str) -> Result<Vec<u8>, String> {
    let map = headers(&[("content-type", "application/json")]);
    let path = format!("/{account}/core/invoice/create");
    let prepared = bench.prepare("POST", &path, &map, json.as_bytes());
    prepared.map(|(draft, _)| sent(draft).body).map_err(|refusal| format!("{refusal:?}"))
}

#[test]
fn an_application_has_nothing_of_an_account_that_it_may_not_use() {
    let bench = Bench::apart("");
    let keyed = headers(&[("portcullis-key", OTHER_KEY), ("content-type", "application/json")]);
    let app = bench.flow.known(&keyed, &[]).unwrap();
    for (account, expected) in [("paymega", "AccountNotGranted"), ("milkypay", "passed")] {
        let path = format!("/{account}/api/payment-invoices/cpi_1");
        assert_eq!(refusal(bench.prepare("GET", &path, &keyed, b"")), expected);
        let session = format!(r#"{{"origin":"https://other.example","account":"{account}"}}"#);
        let opened = bench.flow.open_session(app, &keyed, &body(session.as_bytes()), NOW);
        assert_eq!(refusal(opened), expected);
    }
}

#[test]
fn a_sealed_value_opens_for_its_own_application_at_its_own_account_alone() {
    let bench = shared();
    let data = r#"{"pay_token":"9af6e26f"}"#;
    let signed =
        [("payment_id", "7"), ("ps_data", data), ("shop_id", "158"), ("status", "success")];
    let sign = digest(&signed, REAL);
    let raw = format!(
        r#"{{"payment_id":7,"shop_id":158,"status":"success","ps_data":{data},"sign":"{sign}"}}"#
    );
    let map = headers(&[("content-type", "application/json")]);
    let body = body(raw.as_bytes());
    let callback = Unverified { account: "qostiq", sealed: None, headers: &map, body };
    let verified = bench.flow.verify(callback, NOW).unwrap();
    let (seen, _) = deliver(bench.flow.judge(verified, NOW));
    let sealed = member(&seen.body, "pay_token");
    assert!(sealed.starts_with("pyt_"), "{sealed}");
    let more = format!(r#","pay_token":"{sealed}""#);
    let [own, others] = [VIRTUAL, OTHER_VIRTUAL].map(|secret| invoice(secret, &more));
    let unknown = "TokenUnknown(\"/pay_token\")";
    assert_eq!(invoice_at(&bench, "qostiq", &others).unwrap_err(), unknown, "another application");
    assert_eq!(invoice_at(&bench, "second", &own).unwrap_err(), unknown, "another account");
    let sent = invoice_at(&bench, "qostiq", &own).unwrap();
    assert_eq!(member(&sent, "pay_token"), "9af6e26f");
}

#[test]
fn a_card_form_takes_no_handle_of_another_application() {
    let bench = shared();
    let map: HeaderMap = headers(&[("content-type", "application/json")]);
    let others = {
        let json = invoice(OTHER_VIRTUAL, "");
        let path = "/qostiq/core/invoice/create";
        let (_, pending) = bench.prepare("POST", path, &map, json.as_bytes()).unwrap();
        let answer = br#"{"data":{"data":{"session_id":"session-of-the-other"},"id":78,"method":"GET","url":"https://pay.qostiq.com/x"},"result":true}"#;
        let text = bench.answer(pending, 400, answer).unwrap().into_parts().2;
        member(text.as_bytes(), "session_id")
    };
    assert!(others.starts_with("brr_"), "{others}");
    let own = qostiq::session(&bench);
    let id = qostiq::form(&bench, &own);
    let seen = refusal(qostiq::post(&bench, &id, &fields(&others, PAN, CVV)));
    assert_eq!(seen, "HandleUnknown");
    assert!(qostiq::post(&bench, &id, &fields(&own, PAN, CVV)).is_ok());
}
