//! The tables of `portcullis.toml` for accounts whose requests are signed, and their secret files.

use super::accounts::App;
use super::config::Facts;
use super::signers::{HighHelpHeld, QostiqHeld};

const APPS: [App; 2] = [App::Shop, App::Stall];

pub(super) fn qostiq(facts: &Facts<'_>, account: &QostiqHeld) -> String {
    let (name, post, shop) = (account.name, account.post, facts.shop);
    let [core, card, authority] = &facts.qostiq_at;
    let mut text = format!(
        r#"[[account]]
name = "{name}"
provider = "qostiq"
mode = "test"

[account.upstreams]
core = "{core}"
card = "{card}"

[account.credentials]
secret = {{ file = "secrets/{name}.secret" }}

"#
    );
    for app in APPS.iter().filter(|app| account.virtual_secret(**app).is_some()) {
        let app = app.name();
        text.push_str(&format!(
            "[account.virtual.{app}]\nsecret = {{ file = \"secrets/{app}-{name}.secret\" }}\n\n"
        ));
    }
    text.push_str(&format!(
        r#"[account.payform]
hosts = ["{authority}"]
post = "{post}"

[account.callback]
app = "shop"
url = "{shop}/callbacks/{name}"

"#
    ));
    text
}

pub(super) fn highhelp(facts: &Facts<'_>, account: &HighHelpHeld) -> String {
    let (name, shop) = (account.name, facts.shop);
    let [api, authority] = &facts.highhelp_at;
    let mut text = format!(
        r#"[[account]]
name = "{name}"
provider = "highhelp"
mode = "test"

[account.upstreams]
api = "{api}"

[account.credentials]
merchant_id = "{}"
request_key = {{ file = "secrets/{name}.pem" }}
request_algorithm = "{}"
alert_keys = [{{ file = "secrets/{name}-alert.pub" }}]
alert_algorithm = "{}"

"#,
        account.project_id,
        account.request.algorithm(),
        account.alert.algorithm(),
    );
    for app in APPS {
        let Some(keys) = account.virtual_keys(app) else { continue };
        let app = app.name();
        text.push_str(&format!(
            r#"[account.virtual.{app}]
request_key = {{ file = "secrets/{app}-{name}.pub" }}
request_algorithm = "{}"
alert_key = {{ file = "secrets/{app}-{name}-alert.pem" }}
alert_algorithm = "{}"

"#,
            keys.request.algorithm(),
            keys.alert.algorithm(),
        ));
    }
    text.push_str(&format!(
        r#"[account.three_ds]
hosts = ["{authority}"]

[account.callback]
app = "shop"
url = "{shop}/callbacks/{name}"

"#
    ));
    text
}

/// Files below `secrets/` for Portcullis, and below `apps/` for clients of one's own: name, text.
pub(super) fn files(qostiq: &[QostiqHeld], highhelp: &[HighHelpHeld]) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut add = |name: String, text: &str| files.push((name, text.to_owned()));
    for account in qostiq {
        let name = account.name;
        add(format!("secrets/{name}.secret"), &account.real.secret);
        for app in APPS {
            if let Some(secret) = account.virtual_secret(app) {
                add(format!("secrets/{}-{name}.secret", app.name()), secret);
            }
        }
    }
    for account in highhelp {
        let name = account.name;
        add(format!("secrets/{name}.pem"), &account.request.private_file());
        add(format!("secrets/{name}-alert.pub"), &account.alert.public_file());
        for app in APPS {
            let Some(keys) = account.virtual_keys(app) else { continue };
            let app = app.name();
            add(format!("secrets/{app}-{name}.pub"), &keys.request.public_file());
            add(format!("secrets/{app}-{name}-alert.pem"), &keys.alert.private_file());
            add(format!("apps/{app}-{name}.pem"), &keys.request.private_file());
            add(format!("apps/{app}-{name}-alert.pub"), &keys.alert.public_file());
        }
    }
    files
}
