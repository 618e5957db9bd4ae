//! A flow over a configuration in a temporary folder: two applications, two providers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use portcullis::card::Timestamp;
use portcullis::config;
use portcullis::flow::{
    Answer, Delivery, Draft, Flow, HandoffPage, HandoffStep, Incoming, Notice, Pending, Prepared,
    Ready, Refusal, Scrubbed, Verdict,
};
use portcullis::secret::CleartextBody;
use portcullis::vault::{Keyring, Vault};

pub const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
pub const PAN: &str = "5519283812030000";
pub const CVV: &str = "123";
pub const SHOP: (&str, &str) = ("coma_shop_virtual", "shop-virtual-key");
pub const OTHER: (&str, &str) = ("coma_other_virtual", "other-virtual-key");
pub const SHOP_KEY: &str = "pk_shop";
pub const OTHER_KEY: &str = "pk_other";

pub struct Bench {
    pub flow: Flow,
    invoices: AtomicU32,
    _folder: tempfile::TempDir,
}

pub struct Sent {
    pub method: Method,
    pub host: String,
    pub target: String,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

/// An explanation as it is answered.
pub struct Explained {
    pub refusal: Option<String>,
    pub json: String,
}

impl Bench {
    pub fn new() -> Self {
        Self::with("", "")
    }

    /// `paymega` and `milkypay` are further lines for those accounts.
    pub fn with(paymega: &str, milkypay: &str) -> Self {
        Self::from(Self::folder(), text(paymega, milkypay))
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        write_profiles(folder.path());
        let secret = |name: &str, text: &str| write_secret(folder.path(), name, text);
        for account in ["paymega", "milkypay"] {
            secret(&format!("{account}.key"), &format!("real-{account}-key"));
            secret(&format!("{account}.public"), &format!("pk_live_real_{account}"));
            secret(&format!("{account}.live"), "live_secret");
            secret(&format!("{account}.test"), "test_secret");
        }
        secret("shop.key", SHOP.1);
        secret("other.key", OTHER.1);
        secret("shop.public", "pk_virtual_shop");
        folder
    }

    /// Both accounts are the shop's, `milkypay` alone is the other application's.
    pub fn apart(paymega: &str) -> Self {
        let granted = app("other", OTHER_KEY);
        let fewer = granted.replace("[\"paymega\", \"milkypay\"]", "[\"milkypay\"]");
        let held = format!(
            "[account.virtual.other]\nid = \"{}\"\nkey = {{ file = \"other.key\" }}\n",
            OTHER.0
        );
        let text = text(paymega, "").replacen(&granted, &fewer, 1).replacen(&held, "", 1);
        Self::from(Self::folder(), text)
    }

    /// A provider of somebody else's, `acme`, beside the two.
    pub fn acme(profile: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("acme.toml", profile),
            ("acme.key", "real-key"),
            ("acme.secret", "real-secret"),
            ("shop-acme.key", "virtual-key"),
            ("shop-acme.secret", "virtual-secret"),
        ] {
            write_secret(folder.path(), name, text);
        }
        let app = app("shop", SHOP_KEY).replace("[\"paymega\", \"milkypay\"]", "[\"acme\"]");
        let text = format!(
            r#"
providers = ["acme.toml"]
[public]
url = "https://pay.test"
certificate = "public.pem"
key = "public.key"
[private]
certificate = "private.pem"
key = "private.key"
{app}
[[account]]
name = "acme"
provider = "acme"
mode = "test"
[account.credentials]
id = "merchant-7"
key = {{ file = "acme.key" }}
secret = {{ file = "acme.secret" }}
[account.virtual.shop]
id = "shop-at-acme"
key = {{ file = "shop-acme.key" }}
secret = {{ file = "shop-acme.secret" }}
"#
        );
        Self::from(folder, text)
    }

    /// One account of one of the shipped profiles, named like it.
    pub fn one(provider: &str, account: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| write_secret(folder.path(), name, text));
        write_profiles(folder.path());
        let app = app("shop", SHOP_KEY)
            .replace("[\"paymega\", \"milkypay\"]", &format!("[\"{provider}\"]"));
        let text = format!(
            r#"
providers = ["{provider}.toml"]
[public]
url = "https://pay.test"
certificate = "public.pem"
key = "public.key"
[private]
certificate = "private.pem"
key = "private.key"
{app}
[[account]]
name = "{provider}"
provider = "{provider}"
mode = "test"
{account}
"#
        );
        Self::from(folder, text)
    }

    pub fn from(folder: tempfile::TempDir, text: String) -> Self {
        let config = config::parse(&folder.path().join("portcullis.toml"), text);
        let config = config.unwrap_or_else(|problems| {
            panic!("{}", problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        });
        let vault = Arc::new(Vault::new(Keyring::random(), config.vault));
        let flow = Flow::new(vault, config.registry, config.apps, config.public_url);
        Self { flow, invoices: AtomicU32::new(0), _folder: folder }
    }

    /// Opens a capture session for an application and returns its id.
    pub fn session(&self, key: &str) -> String {
        let headers = headers(&[("portcullis-key", key), ("content-type", "application/json")]);
        let origin = if key == SHOP_KEY { "https://shop.example" } else { "https://other.example" };
        let body = body(format!(r#"{{"origin":"{origin}"}}"#).as_bytes());
        let app = self.flow.known(&headers, &[]).unwrap();
        let opened = self.flow.open_session(app, &headers, &body, NOW).unwrap();
        member(opened.as_bytes(), "id")
    }

    /// Captures a card and returns its token and its CVV's token.
    pub fn capture(&self, key: &str, pan: &str, cvv: &str) -> (String, String) {
        let session = self.session(key);
        let captured = self.capture_raw(&session, &card(pan, cvv)).unwrap();
        (member(&captured, "token"), member(&captured, "cvv_token"))
    }

    pub fn capture_raw(&self, session: &str, json: &str) -> Result<Vec<u8>, Refusal> {
        let bearer = format!("Bearer {session}");
        let headers = headers(&[("authorization", &bearer), ("content-type", "application/json")]);
        let capturing = self.flow.capturing(&headers, NOW)?;
        let body = body(json.as_bytes());
        let captured = self.flow.capture(capturing, &headers, &body, |_| Ok(()), NOW)?;
        Ok(captured.body.as_bytes().to_vec())
    }

    /// The hand-off page, while there is one.
    pub fn handoff_page(&self, id: &str) -> Option<HandoffPage> {
        match self.flow.handoff(id, NOW) {
            Ok(HandoffStep::Page(page)) => Some(page),
            _ => None,
        }
    }

    pub fn shop_card(&self) -> (String, String) {
        self.capture(SHOP_KEY, PAN, CVV)
    }

    pub fn prepare(
        &self,
        method: &str,
        target: &str,
        headers: &HeaderMap,
        json: &[u8],
    ) -> Result<(Draft, Pending), Refusal> {
        self.prepare_at(method, target, headers, json, NOW)
    }

    pub fn prepare_at(
        &self,
        method: &str,
        target: &str,
        headers: &HeaderMap,
        json: &[u8],
        now: Timestamp,
    ) -> Result<(Draft, Pending), Refusal> {
        // Whatever a test prepares is explained before: it costs nothing, and foretells the end.
        let foretold = match self.explain_at(method, target, headers, json, now) {
            Ok(explained) => explained.refusal,
            Err(refusal) => Some(refusal),
        };
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let incoming = incoming(&method, target, headers, json);
        let prepared = match self.flow.prepare(incoming, |_, _| Ok(()), now) {
            Ok(Ready::Send(draft, pending)) => Ok((draft, pending)),
            Ok(Ready::Repeated(_)) => panic!("nothing is sent"),
            Err(refusal) => Err(refusal),
        };
        let refused = prepared.as_ref().err().map(|refusal| format!("{refusal:?}"));
        assert_eq!(foretold, refused, "the explanation is another one than the request");
        prepared
    }

    /// What would become of a call; the error is what is said to whoever may not call.
    pub fn explain(
        &self,
        method: &str,
        target: &str,
        headers: &HeaderMap,
        json: &[u8],
    ) -> Result<Explained, String> {
        self.explain_at(method, target, headers, json, NOW)
    }

    fn explain_at(
        &self,
        method: &str,
        target: &str,
        headers: &HeaderMap,
        json: &[u8],
        now: Timestamp,
    ) -> Result<Explained, String> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let incoming = incoming(&method, target, headers, json);
        let explanation = self.flow.explain(&incoming, |_, _| Ok(()), now);
        let explanation = explanation.map_err(|refusal| format!("{refusal:?}"))?;
        let refusal = explanation.refusal().map(|refusal| format!("{refusal:?}"));
        let json = explanation.into_json(b"{}").unwrap();
        Ok(Explained { refusal, json: String::from_utf8(json.as_bytes().to_vec()).unwrap() })
    }

    /// A call with Basic credentials.
    pub fn call(
        &self,
        method: &str,
        target: &str,
        json: &[u8],
    ) -> Result<(Draft, Pending), Refusal> {
        self.prepare(method, target, &basic(SHOP, !json.is_empty()), json)
    }

    /// Answers a pending call.
    pub fn answer(&self, pending: Pending, status: u16, json: &[u8]) -> Result<Scrubbed, Refusal> {
        let headers = headers(&[("content-type", "application/json")]);
        pending.finish(Answer { status, headers, body: body(json) }, &self.flow, NOW)
    }

    /// Creates an invoice whose answer hands out a bearer token of its own, `jwt.of.one` first;
    /// returns the application's handle.
    pub fn handle(&self, account: &str) -> String {
        let before = self.invoices.fetch_add(1, Ordering::Relaxed);
        let more = "x".repeat(before.try_into().unwrap());
        self.handle_of(account, &format!("jwt.of.one{more}"))
    }

    /// The same with this token.
    pub fn handle_of(&self, account: &str, token: &str) -> String {
        self.handle_back_to("https://shop.example/back", account, token)
    }

    /// The same for an invoice whose customers go back there.
    pub fn handle_back_to(&self, return_url: &str, account: &str, token: &str) -> String {
        let request = format!(r#"{{"data":{{"attributes":{{"return_url":"{return_url}"}}}}}}"#);
        let target = format!("/{account}/api/payment-invoices");
        let (_, pending) = self.call("POST", &target, request.as_bytes()).unwrap();
        let answer = format!(
            r#"{{"data":{{"id":"cpi_{token}","attributes":{{"flow_data":{{"metadata":{{"token":"{token}"}}}}}}}}}}"#
        );
        let scrubbed = self.answer(pending, 201, answer.as_bytes()).unwrap();
        member(scrubbed.into_parts().2.as_bytes(), "token")
    }

    /// A sale with tokens; returns what is sent and what is pending.
    pub fn sale(
        &self,
        account: &str,
        handle: &str,
        json: &str,
    ) -> Result<(Draft, Pending), Refusal> {
        let target = format!("/{account}/cardgate/payment/sale");
        self.prepare("POST", &target, &bearer(handle), json.as_bytes())
    }
}

fn incoming<'c>(
    method: &'c Method,
    target: &'c str,
    headers: &'c HeaderMap,
    json: &[u8],
) -> Incoming<'c> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    Incoming { method, path, query, headers, client_names: &[], body: body(json) }
}

pub fn sent(draft: Draft) -> Sent {
    parts(draft.sign(NOW).unwrap().prepared)
}

pub fn told(notice: Notice) -> Sent {
    parts(notice.sign(NOW).unwrap())
}

pub fn deliver(verdict: Result<Verdict, Refusal>) -> (Sent, Delivery) {
    match verdict {
        Ok(Verdict::Deliver(notice, delivery)) => (told(*notice), delivery),
        other => panic!("not delivered: {other:?}"),
    }
}

pub fn parts(prepared: Prepared) -> Sent {
    let (host, method, target, headers, body) = prepared.into_parts();
    Sent {
        method,
        host: host.host().authority(host.tls()),
        target,
        headers: headers.into_iter().collect(),
        body: body.as_bytes().to_vec(),
    }
}

pub fn answer(status: u16, pairs: &[(&str, &str)], raw: &[u8]) -> Answer {
    Answer { status, headers: headers(pairs), body: body(raw) }
}

pub fn refusal<T>(outcome: Result<T, Refusal>) -> String {
    match outcome {
        Ok(_) => "passed".to_owned(),
        Err(refusal) => format!("{refusal:?}"),
    }
}

pub fn body(bytes: &[u8]) -> CleartextBody {
    CleartextBody::from(bytes.to_vec())
}

pub fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        headers.append(name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

pub fn basic(credentials: (&str, &str), with_body: bool) -> HeaderMap {
    let pair = STANDARD.encode(format!("{}:{}", credentials.0, credentials.1));
    let mut map = headers(&[("authorization", &format!("Basic {pair}"))]);
    if with_body {
        map.insert("content-type", HeaderValue::from_static("application/json"));
    }
    map
}

pub fn bearer(handle: &str) -> HeaderMap {
    let bearer = format!("Bearer {handle}");
    headers(&[("authorization", &bearer), ("content-type", "application/json")])
}

pub fn card(pan: &str, cvv: &str) -> String {
    format!(
        r#"{{"card":{{"number":"{pan}","cvv":"{cvv}","exp_month":"10","exp_year":"35","holder":"Card Holder"}}}}"#
    )
}

/// The seed's sale with two values replaced.
pub fn sale_json(number: &str, cvv: &str) -> String {
    include_str!("../fixtures/providers/corefy/paymega-en.sale-request.json")
        .replace(PAN, number)
        .replace("\"cvv\": \"123\"", &format!("\"cvv\": \"{cvv}\""))
}

/// The first string member of that name, wherever it is.
pub fn member(json: &[u8], name: &str) -> String {
    let text = std::str::from_utf8(json).unwrap();
    let from = text.find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("no {name} in {text}"));
    let rest = text[from + name.len() + 3..].trim_start().strip_prefix('"').unwrap();
    rest[..rest.find('"').unwrap()].to_owned()
}

/// The shipped ones, beside the configuration.
fn write_profiles(folder: &Path) {
    for (name, text) in [
        ("paymega.toml", include_str!("../../config/providers/paymega.toml")),
        ("milkypay.toml", include_str!("../../config/providers/milkypay.toml")),
        ("qostiq.toml", include_str!("../../config/providers/qostiq.toml")),
        ("highhelp.toml", include_str!("../../config/providers/highhelp.toml")),
    ] {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

pub fn write_secret(folder: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join(name);
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn sha256(text: &str) -> String {
    use sha2::{Digest as _, Sha256};
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(paymega: &str, milkypay: &str) -> String {
    let account = |name: &str, more: &str| {
        format!(
            r#"
[[account]]
name = "{name}"
provider = "{name}"
mode = "test"
{more}
[account.upstreams]
api = "https://api.{name}.test/api"
public = "https://api.{name}.test/public-api"
cardgate = "https://gate.{name}.test"
[account.credentials]
id = "coma_real_{name}"
key = {{ file = "{name}.key" }}
public_key = {{ file = "{name}.public" }}
callback_secrets = [{{ file = "{name}.live" }}, {{ file = "{name}.test" }}]
[account.virtual.shop]
id = "{}"
key = {{ file = "shop.key" }}
public_key = {{ file = "shop.public" }}
[account.virtual.other]
id = "{}"
key = {{ file = "other.key" }}
"#,
            SHOP.0, OTHER.0
        )
    };
    format!(
        r#"
providers = ["paymega.toml", "milkypay.toml"]
[public]
url = "https://pay.test"
certificate = "public.pem"
key = "public.key"
[private]
certificate = "private.pem"
key = "private.key"
{}{}{}{}"#,
        app("shop", SHOP_KEY),
        app("other", OTHER_KEY),
        account("paymega", paymega),
        account("milkypay", milkypay)
    )
}

pub fn app(name: &str, key: &str) -> String {
    let hash = sha256(key);
    format!(
        r#"
[[app]]
name = "{name}"
mode = "test"
key_sha256 = ["{hash}"]
accounts = ["paymega", "milkypay"]
origins = ["https://{name}.example"]
callback_hosts = ["{name}.example", "example.com"]
"#
    )
}
