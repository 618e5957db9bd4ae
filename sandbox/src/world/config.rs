//! Writes `portcullis.toml`: the configuration that a running Portcullis of the sandbox reads.

use super::accounts::{App, Held};
use super::signers::{HighHelpHeld, QostiqHeld};
use super::tables;
use crate::random::encode_hex;
use crate::shop::own;
use crate::text::quote;
use ring::digest::{SHA256, digest};
use std::path::PathBuf;
use std::time::Duration;

/// What one Portcullis is told apart by.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Public, private, admin.
    pub ports: [u16; 3],
    /// Life of a card token.
    pub card_ttl: Duration,
    /// Life of a CVV token.
    pub cvv_ttl: Duration,
    /// How long a provider may take.
    pub upstream_timeout: Duration,
}

/// What the configuration speaks of.
pub(super) struct Facts<'a> {
    /// The folder of the audit record: a record is one process's.
    pub(super) audit: &'a str,
    pub(super) settings: &'a Settings,
    pub(super) profiles: &'a [PathBuf],
    pub(super) accounts: &'a [Held],
    pub(super) qostiq: &'a [QostiqHeld],
    pub(super) highhelp: &'a [HighHelpHeld],
    /// `(name, key)` of every app.
    pub(super) apps: &'a [(App, String)],
    /// `https://localhost:port` of the shop.
    pub(super) shop: &'a str,
    /// Port of the shop with a form of its own.
    pub(super) own_form: u16,
    /// Base URLs (core, card) and authority.
    pub(super) qostiq_at: [String; 3],
    /// Base URL and authority.
    pub(super) highhelp_at: [String; 2],
    /// Base URLs (api, public, cardgate) and authority of a Corefy provider.
    pub(super) upstreams: &'a dyn Fn(&str) -> [String; 4],
}

/// The whole file.
pub(super) fn text(facts: &Facts<'_>) -> String {
    let profiles: Vec<String> =
        facts.profiles.iter().map(|path| quote(&path.to_string_lossy())).collect();
    let mut text = format!(
        "# Written by the sandbox; removed with its folder.\nproviders = [{}]\n\n",
        profiles.join(", ")
    );
    text.push_str(&listeners(facts.settings));
    text.push_str(&limits(facts.settings));
    text.push_str(&format!(
        "[audit]\nfolder = {}\nkey = {{ file = \"secrets/audit.key\" }}\n\n",
        quote(facts.audit)
    ));
    for (app, key) in facts.apps {
        text.push_str(&app_table(facts, *app, key));
    }
    text.push_str(&intake(facts.own_form));
    for account in facts.accounts {
        text.push_str(&account_table(facts, account));
    }
    for account in facts.qostiq {
        text.push_str(&tables::qostiq(facts, account));
    }
    for account in facts.highhelp {
        text.push_str(&tables::highhelp(facts, account));
    }
    text
}

fn listeners(settings: &Settings) -> String {
    let [public, private, admin] = settings.ports;
    format!(
        r#"[public]
address = "127.0.0.1:{public}"
url = "https://localhost:{public}"
certificate = "tls/public.pem"
key = "tls/public.key"

[private]
address = "127.0.0.1:{private}"
certificate = "tls/private.pem"
key = "tls/private.key"

[admin]
address = "127.0.0.1:{admin}"

[server]
drain_seconds = 0

"#
    )
}

/// One machine plays all visitors with a handful of cards: nothing that a real shop would allow.
const RATES: &str = r#"[rates]
address = "1000000/s"
callbacks = "1000000/s"
address_cards = "1000000/s"
session_cards = "1000000/s"
card = "1000000/s"
bin = "1000000/s"
app_route = "1000000/s"
unknown_tokens = "1000000/s"
unknown_ids = "1000000/s"
"#;

fn limits(settings: &Settings) -> String {
    format!(
        r#"[vault]
backend = "memory"
capacity = 100000
card_ttl_seconds = {}
cvv_ttl_seconds = {}

[upstream]
ca_file = "tls/ca.pem"
connect_timeout_ms = {}
total_timeout_ms = {}
danger_allow_private_addresses = true

{RATES}
[log]
format = "json"

# A demonstration starts by one command, whoever calls it; in production a user of its own runs it.
[process]
danger_run_as_root = true

"#,
        settings.card_ttl.as_secs(),
        settings.cvv_ttl.as_secs(),
        settings.upstream_timeout.as_millis().min(1_000),
        settings.upstream_timeout.as_millis(),
    )
}

/// A shop that kept its own form: the same fields in three encodings.
fn intake(port: u16) -> String {
    let mut text = format!(
        "[[intake]]\nhosts = [\"{}\"]\nupstream = \"https://localhost:{port}\"\napp = \"shop\"\n\n",
        own::HOST
    );
    for (path, encoding, prefix) in [
        ("/checkout/*/pay", "form", ""),
        ("/checkout/*/pay", "multipart", ""),
        ("/api/checkout/*/pay", "json", "/card/"),
    ] {
        text.push_str(&format!(
            "[[intake.card]]\npath = \"{path}\"\nencoding = \"{encoding}\"\n\
             number = \"{prefix}number\"\nexpiry = \"{prefix}expiry\"\ncvv = \"{prefix}cvv\"\n\
             holder = \"{prefix}holder\"\n\n"
        ));
    }
    text
}

fn app_table(facts: &Facts<'_>, app: App, key: &str) -> String {
    let granted: Vec<String> = granted(facts, app).into_iter().map(quote).collect();
    let hash = encode_hex(digest(&SHA256, key.as_bytes()).as_ref());
    let host = facts.shop.trim_start_matches("https://");
    format!(
        r#"[[app]]
name = "{}"
mode = "test"
key_sha256 = ["{hash}"]
client_names = []
accounts = [{}]
origins = ["{}"]
callback_hosts = ["{host}"]

"#,
        app.name(),
        granted.join(", "),
        facts.shop,
    )
}

fn granted<'a>(facts: &Facts<'a>, app: App) -> Vec<&'a str> {
    let shop = app == App::Shop;
    let corefy = facts.accounts.iter().filter(|held| shop || held.stall.is_some());
    let qostiq = facts.qostiq.iter().filter(|held| shop || held.stall.is_some());
    let highhelp = facts.highhelp.iter().filter(|held| shop || held.stall.is_some());
    let names = corefy.map(|held| held.name.as_str()).chain(qostiq.map(|held| held.name));
    names.chain(highhelp.map(|held| held.name)).collect()
}

fn account_table(facts: &Facts<'_>, account: &Held) -> String {
    let name = account.name.as_str();
    let [api, public, cardgate, authority] = (facts.upstreams)(account.brand.name);
    let mut text = format!(
        r#"[[account]]
name = "{name}"
provider = "{}"
mode = "test"

[account.upstreams]
api = "{api}"
public = "{public}"
cardgate = "{cardgate}"

[account.credentials]
id = "{}"
key = {{ file = "secrets/{name}.key" }}
callback_secrets = [{{ file = "secrets/{name}.live" }}, {{ file = "secrets/{name}.test" }}]
public_key = {{ file = "secrets/{name}.public" }}

"#,
        account.brand.name, account.real.id,
    );
    text.push_str(&virtual_table(account, App::Shop, &account.shop.id));
    if let Some(stall) = &account.stall {
        text.push_str(&virtual_table(account, App::Stall, &stall.id));
    }
    text.push_str(&format!(
        "[account.three_ds]\n{}hosts = [\"{authority}\"]\n\n\
         [account.callback]\napp = \"shop\"\nurl = \"{}/callbacks/{name}\"\n\n",
        account.variant.three_ds(),
        facts.shop,
    ));
    text
}

fn virtual_table(account: &Held, app: App, id: &str) -> String {
    let (name, app) = (account.name.as_str(), app.name());
    format!(
        r#"[account.virtual.{app}]
id = "{id}"
key = {{ file = "secrets/{name}.{app}.key" }}
public_key = {{ file = "secrets/{name}.{app}.public" }}

"#
    )
}

/// Every secret that the configuration refers to: file name, text.
#[must_use]
pub(super) fn secrets(accounts: &[Held]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for account in accounts {
        let mut add = |end: &str, text: &str| {
            files.push((format!("secrets/{}.{end}", account.name), text.to_owned()));
        };
        add("key", &account.real.key);
        add("live", &account.real.live_secret);
        add("test", &account.real.test_secret);
        add("public", &account.real.public_key);
        add("shop.key", &account.shop.key);
        add("shop.public", &account.shop.public_key);
        if let Some(stall) = &account.stall {
            add("stall.key", &stall.key);
            add("stall.public", &stall.public_key);
        }
    }
    files
}
