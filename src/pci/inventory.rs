//! What there is: certificates with the end of their life, keys by reference, pages by digest.

use std::path::Path;

use serde::Serialize;

use crate::audit::Hash;
use crate::card::Timestamp;
use crate::config::Config;
use crate::page::{self, CardForm, Language};
use crate::proxy::certificates;

/// One certificate.
#[derive(Debug, Serialize)]
pub struct Certificate {
    /// The key of the configuration that names its file.
    pub used_for: String,
    /// The file.
    pub file: String,
    /// DNS names, or the subject where it has none.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Kind and strength of its key.
    pub key: String,
    /// The end of its life.
    pub until: String,
    /// Whole days until then; 0 when it is over.
    pub days_left: u64,
}

/// One key or secret, by the reference that names it.
#[derive(Debug, Serialize)]
pub struct Key {
    /// The key of the configuration.
    pub used_for: String,
    /// A file or an environment variable.
    pub reference: String,
}

/// Something that browsers load from us.
#[derive(Debug, Serialize)]
pub struct Page {
    /// What it is.
    pub name: String,
    /// Why it is there.
    pub why: &'static str,
    /// Its digest.
    pub digest: String,
}

/// Every certificate in the files that the configuration names; one that cannot be read is there
/// without a life.
pub(super) fn certificates(config: &Config, now: Timestamp) -> Vec<Certificate> {
    let files = [
        ("public.certificate", Some(&config.public.certificate)),
        ("private.certificate", Some(&config.private.certificate)),
        ("private.client_ca", config.private.client_ca.as_ref()),
        ("upstream.ca_file", config.upstream.ca_file.as_ref()),
        ("telemetry.ca_file", config.telemetry.as_ref().and_then(|it| it.ca_file.as_ref())),
    ];
    let files = files.into_iter().map(|(used_for, file)| (used_for.to_owned(), file));
    let hosts = config.upstream.hosts.iter().enumerate().flat_map(|(index, host)| {
        let shown = host.client.as_ref().map(|client| &client.certificate);
        let of = |key: &str| format!("upstream.host[{index}].{key}");
        [(of("ca_file"), host.ca_file.as_ref()), (of("client_certificate"), shown)]
    });
    let shops = config.shops.iter().enumerate();
    let shops =
        shops.map(|(index, shop)| (format!("intake[{index}].ca_file"), shop.ca_file.as_ref()));
    let named = files.chain(hosts).chain(shops);
    let named = named.filter_map(|(used_for, file)| Some((used_for, file?)));
    named.flat_map(|(used_for, file)| in_file(&used_for, file, now)).collect()
}

fn in_file(used_for: &str, file: &Path, now: Timestamp) -> Vec<Certificate> {
    let line = |one: certificates::Described| Certificate {
        used_for: used_for.to_owned(),
        file: file.display().to_string(),
        names: one.names,
        issuer: one.issuer,
        key: one.key,
        until: one.until.to_string(),
        days_left: one.until.since(now).as_secs() / 86_400,
    };
    let found = certificates::described(file).unwrap_or_default();
    if found.is_empty() {
        let unreadable = certificates::Described {
            names: vec!["NOT READABLE".to_owned()],
            issuer: String::new(),
            key: String::new(),
            until: Timestamp::from_secs(0),
        };
        return vec![line(unreadable)];
    }
    found.into_iter().map(line).collect()
}

/// Every reference to a secret, and the keys of the listeners.
pub(super) fn keys(config: &Config) -> Vec<Key> {
    let mut keys = Vec::new();
    for value in &config.resolved {
        let (used_for, kind) = value.key.rsplit_once('.').unwrap_or_default();
        let listener = ["public.key", "private.key"].contains(&value.key.as_str());
        if listener || kind == "file" {
            let used_for = if listener { &value.key } else { used_for };
            let reference = format!("file {}", value.value);
            keys.push(Key { used_for: used_for.to_owned(), reference });
        } else if kind == "env" {
            let reference = format!("environment {}", value.value);
            keys.push(Key { used_for: used_for.to_owned(), reference });
        } else if kind == "shares" {
            let reference = format!("{} shares, typed in at start", value.value);
            keys.push(Key { used_for: used_for.to_owned(), reference });
        }
    }
    if config.root_keys.is_empty() {
        let reference = "random at every start, in memory only".to_owned();
        keys.push(Key { used_for: "vault.root_key".to_owned(), reference });
    }
    keys
}

/// What the card form runs, what shops load, and the form's document with nothing filled in.
pub(super) fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    for (name, digest) in page::form_digests() {
        let why = "takes the card in the hosted form; the page's policy lets nothing else run";
        pages.push(Page { name: name.to_owned(), why, digest });
    }
    for script in page::SCRIPTS {
        let why = "mounts the form in a shop's page; pinned there by `integrity`";
        pages.push(Page { name: script.path.to_owned(), why, digest: script.integrity() });
    }
    let languages =
        [("en", Language::English), ("ru", Language::Russian), ("uk", Language::Ukrainian)];
    for (name, language) in languages {
        let empty = CardForm { origin: "", return_url: "", theme: "", accept: "", address: "" };
        let digest = Hash::of(page::card_form(&empty, language).html.as_bytes());
        let why = "the hosted form itself, with nothing of a session filled in";
        pages.push(Page {
            name: format!("form ({name})"),
            why,
            digest: format!("sha256 {digest}"),
        });
    }
    pages
}
