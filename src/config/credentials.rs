//! What the provider gave the merchant, and what applications hold in its place.

use std::sync::Arc;

use crate::caller::Apps;
use crate::credential::{Basic, Scheme, SigningKey, VerifyingKey};
use crate::provider::{Access, CallbackKeys, Credentials, Profile, Proof, Virtual};
use crate::secret::SecretBytes;

use super::reader::Table;
use super::secrets;

/// The real credentials and what verifies the provider's callbacks.
pub(super) fn credentials(table: &Table<'_>, profile: &Profile) -> (Credentials, CallbackKeys) {
    let keys = table.table("credentials");
    let mut held = held(&keys, profile);
    let mut callback_keys = CallbackKeys::default();
    if needs(profile, Scheme::AccessHeaders) {
        held.merchant_id = Some(keys.text("merchant_id"));
        let key = signing_key(&keys, "request_key", "request_algorithm", profile.access);
        held.request_key = key.map(Arc::new);
        callback_keys.alerts = alert_keys(&keys, profile.access);
    }
    callback_keys.secrets = callback_secrets(&keys, profile, &held);
    keys.finish();
    (held, callback_keys)
}

/// What each application holds.
pub(super) fn virtuals(table: &Table<'_>, profile: &Profile, apps: &Apps) -> Vec<Virtual> {
    let by_app = table.table_or_empty("virtual");
    let virtuals = by_app.names().into_iter().map(|app| {
        if apps.named(app).is_none() {
            by_app.fail(app, "is not the name of an [[app]]");
        }
        let keys = by_app.table(app);
        let credentials = held(&keys, profile);
        let signs = needs(profile, Scheme::AccessHeaders);
        let check = |key, algorithm| verifying_key(&keys, key, algorithm, profile.access);
        let request_check = signs.then(|| check("request_key", "request_algorithm")).flatten();
        let alert_key = signs
            .then(|| signing_key(&keys, "alert_key", "alert_algorithm", profile.access))
            .flatten();
        keys.finish();
        Virtual { app: app.to_owned(), credentials, request_check, alert_key }
    });
    let virtuals = virtuals.collect();
    by_app.finish();
    virtuals
}

fn needs(profile: &Profile, scheme: Scheme) -> bool {
    profile.apis.iter().any(|api| api.credential == scheme)
}

/// The keys that the profile's schemes need; real and virtual credentials have the same shape.
fn held(table: &Table<'_>, profile: &Profile) -> Credentials {
    let basic = needs(profile, Scheme::Basic).then(|| basic(table)).flatten();
    let public_key =
        needs(profile, Scheme::BodyValue).then(|| secrets::optional(table, "public_key")).flatten();
    let digests = needs(profile, Scheme::SortedDigest)
        || profile.apis.iter().any(|api| api.signature.is_some());
    let secret = digests.then(|| secrets::required(table, "secret")).flatten();
    Credentials { basic, public_key, secret, ..Credentials::default() }
}

fn basic(table: &Table<'_>) -> Option<Basic> {
    let id = table.parsed("id", "must not be empty nor hold a colon (RFC 7617)", |text| {
        (!text.is_empty() && !text.contains(':')).then(|| text.to_owned())
    });
    let key = secrets::required(table, "key");
    Some(Basic::new(id?, key?))
}

/// Secrets of callbacks: those that are named, else the one that requests are proved with.
fn callback_secrets(keys: &Table<'_>, profile: &Profile, held: &Credentials) -> Vec<SecretBytes> {
    let shared = match profile.callback.as_ref().map(|rules| &rules.proof) {
        None | Some(Proof::AccessHeaders(_)) => return Vec::new(),
        Some(Proof::SandwichSha1(_)) => held.basic.as_ref().map(Basic::key),
        Some(Proof::Hmac(_) | Proof::SortedDigest(_)) => held.secret.as_ref(),
    };
    let named = secrets::list(keys, "callback_secrets");
    match (named.is_empty(), shared) {
        (true, Some(shared)) => vec![shared.reveal(SecretBytes::from_slice)],
        _ => named,
    }
}

/// Which algorithm a key is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rsa,
    Hmac,
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Self::Rsa => "rsa",
            Self::Hmac => "hmac",
        }
    }
}

fn algorithm(table: &Table<'_>, key: &str) -> Algorithm {
    let name = table.text_or(key, Algorithm::Rsa.name());
    let known = [Algorithm::Rsa, Algorithm::Hmac].into_iter().find(|known| known.name() == name);
    known.unwrap_or_else(|| {
        table.fail(key, "must be rsa or hmac");
        Algorithm::Rsa
    })
}

fn signing_key(table: &Table<'_>, key: &str, named: &str, access: Access) -> Option<SigningKey> {
    let algorithm = algorithm(table, named);
    let text = secrets::required(table, key)?;
    let made = match algorithm {
        Algorithm::Rsa => SigningKey::rsa_pem(&text).ok(),
        Algorithm::Hmac => SigningKey::hmac_text(&text, access.key_encoding).ok(),
    };
    if made.is_none() {
        table
            .fail(key, "is not an RSA private key in PEM of 2048 bits or more, or not an HMAC key");
    }
    made.map(|key| key.with_encoding(access.signature_encoding))
}

fn verifying_key(
    table: &Table<'_>,
    key: &str,
    named: &str,
    access: Access,
) -> Option<VerifyingKey> {
    let algorithm = algorithm(table, named);
    let text = secrets::required(table, key)?;
    read_verifying_key(algorithm, &text, table, key, access)
}

fn alert_keys(table: &Table<'_>, access: Access) -> Vec<VerifyingKey> {
    let algorithm = algorithm(table, "alert_algorithm");
    let texts = secrets::list(table, "alert_keys");
    if texts.is_empty() {
        table.fail("alert_keys", "is required: the keys that verify the provider's alerts");
    }
    texts
        .into_iter()
        .filter_map(|text| read_verifying_key(algorithm, &text, table, "alert_keys", access))
        .collect()
}

fn read_verifying_key(
    algorithm: Algorithm,
    text: &SecretBytes,
    table: &Table<'_>,
    key: &str,
    access: Access,
) -> Option<VerifyingKey> {
    let made = match algorithm {
        Algorithm::Rsa => VerifyingKey::rsa_pem(text).ok(),
        Algorithm::Hmac => VerifyingKey::hmac_text(text, access.key_encoding).ok(),
    };
    if made.is_none() {
        table.fail(
            key,
            "is not an RSA public key in PEM (SubjectPublicKeyInfo), or not an HMAC key",
        );
    }
    made.map(|key| key.with_encoding(access.signature_encoding))
}
