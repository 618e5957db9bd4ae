//! What the provider gave the merchant, and what applications hold in its place.

use std::sync::Arc;

use crate::caller::Apps;
use crate::credential::{Basic, Scheme, SigningKey, VerifyingKey};
use crate::provider::{Access, CallbackKeys, Credentials, Profile, Proof, Virtual};
use crate::secret::SecretBytes;

use super::apart::{Keys, Known};
use super::reader::Table;
use super::secrets;

/// The real credentials and what verifies the provider's callbacks.
pub(super) fn credentials(
    table: &Table<'_>,
    profile: &Profile,
    known: &Known,
) -> (Credentials, CallbackKeys) {
    let table = table.table("credentials");
    let keys = Keys { table: &table, app: None, known };
    let mut held = held(&keys, profile);
    let mut callback_keys = CallbackKeys::default();
    if needs(profile, Scheme::AccessHeaders) {
        held.merchant_id = Some(table.text("merchant_id"));
        let key = signing_key(&keys, "request_key", "request_algorithm", profile.access);
        held.request_key = key.map(Arc::new);
        callback_keys.alerts = alert_keys(&keys, profile.access);
    }
    callback_keys.secrets = callback_secrets(&keys, profile, &held);
    table.finish();
    (held, callback_keys)
}

/// What each application holds.
pub(super) fn virtuals(
    table: &Table<'_>,
    profile: &Profile,
    apps: &Apps,
    known: &Known,
) -> Vec<Virtual> {
    let by_app = table.table_or_empty("virtual");
    let mut virtuals: Vec<Virtual> = Vec::new();
    for app in by_app.names() {
        if apps.named(app).is_none() {
            by_app.fail(app, "is not the name of an [[app]]");
        }
        let table = by_app.table(app);
        virtuals.push(held_by(app, &Keys { table: &table, app: Some(app), known }, profile));
        table.finish();
    }
    by_app.finish();
    virtuals
}

fn held_by(app: &str, keys: &Keys<'_, '_>, profile: &Profile) -> Virtual {
    let credentials = held(keys, profile);
    let signs = needs(profile, Scheme::AccessHeaders);
    let check = |key, algorithm| verifying_key(keys, key, algorithm, profile.access);
    let request_check = signs.then(|| check("request_key", "request_algorithm")).flatten();
    let alert_key =
        signs.then(|| signing_key(keys, "alert_key", "alert_algorithm", profile.access)).flatten();
    Virtual { app: app.to_owned(), credentials, request_check, alert_key }
}

fn needs(profile: &Profile, scheme: Scheme) -> bool {
    profile.apis.iter().any(|api| api.credential == scheme)
}

/// The keys that the profile's schemes need; real and virtual credentials have the same shape.
fn held(keys: &Keys<'_, '_>, profile: &Profile) -> Credentials {
    let basic = needs(profile, Scheme::Basic).then(|| basic(keys)).flatten();
    let public_key =
        needs(profile, Scheme::BodyValue).then(|| keys.optional("public_key")).flatten();
    let digests = needs(profile, Scheme::SortedDigest)
        || profile.apis.iter().any(|api| api.signature.is_some());
    let secret = digests.then(|| keys.required("secret")).flatten();
    Credentials { basic, public_key, secret, ..Credentials::default() }
}

fn basic(keys: &Keys<'_, '_>) -> Option<Basic> {
    let id = keys.table.parsed("id", "must not be empty nor hold a colon (RFC 7617)", |text| {
        (!text.is_empty() && !text.contains(':')).then(|| text.to_owned())
    });
    let key = keys.required("key");
    Some(Basic::new(id?, key?))
}

/// Secrets of callbacks: those that are named, else the one that requests are proved with.
fn callback_secrets(
    keys: &Keys<'_, '_>,
    profile: &Profile,
    held: &Credentials,
) -> Vec<SecretBytes> {
    let shared = match profile.callback.as_ref().map(|rules| &rules.proof) {
        None | Some(Proof::AccessHeaders(_)) => return Vec::new(),
        Some(Proof::SandwichSha1(_)) => held.basic.as_ref().map(Basic::key),
        Some(Proof::Hmac(_) | Proof::SortedDigest(_)) => held.secret.as_ref(),
    };
    let named = keys.list("callback_secrets");
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

fn signing_key(keys: &Keys<'_, '_>, key: &str, named: &str, access: Access) -> Option<SigningKey> {
    let algorithm = algorithm(keys.table, named);
    let text = secrets::required(keys.table, key)?;
    let made = match algorithm {
        Algorithm::Rsa => SigningKey::rsa_pem(&text).ok(),
        Algorithm::Hmac => SigningKey::hmac_text(&text, access.key_encoding).ok(),
    };
    let Some(made) = made else {
        let expected = "is not an RSA private key in PEM of 2048 bits or more, or not an HMAC key";
        keys.table.fail(key, expected);
        return None;
    };
    note_key(keys, key, made.public_token(), &text, access);
    Some(made.with_encoding(access.signature_encoding))
}

fn verifying_key(
    keys: &Keys<'_, '_>,
    key: &str,
    named: &str,
    access: Access,
) -> Option<VerifyingKey> {
    let algorithm = algorithm(keys.table, named);
    let text = secrets::required(keys.table, key)?;
    read_verifying_key(algorithm, &text, keys, key, access)
}

fn alert_keys(keys: &Keys<'_, '_>, access: Access) -> Vec<VerifyingKey> {
    let algorithm = algorithm(keys.table, "alert_algorithm");
    let texts = secrets::list(keys.table, "alert_keys");
    if texts.is_empty() {
        let missing = "is required: the keys that verify the provider's alerts";
        keys.table.fail("alert_keys", missing);
    }
    texts
        .into_iter()
        .filter_map(|text| read_verifying_key(algorithm, &text, keys, "alert_keys", access))
        .collect()
}

fn read_verifying_key(
    algorithm: Algorithm,
    text: &SecretBytes,
    keys: &Keys<'_, '_>,
    key: &str,
    access: Access,
) -> Option<VerifyingKey> {
    let made = match algorithm {
        Algorithm::Rsa => VerifyingKey::rsa_pem(text).ok(),
        Algorithm::Hmac => VerifyingKey::hmac_text(text, access.key_encoding).ok(),
    };
    let Some(made) = made else {
        let expected = "is not an RSA public key in PEM (SubjectPublicKeyInfo), or not an HMAC key";
        keys.table.fail(key, expected);
        return None;
    };
    note_key(keys, key, made.public_token(), text, access);
    Some(made.with_encoding(access.signature_encoding))
}

/// One key has many files: an RSA key is known by its public half, an HMAC key by its bytes.
fn note_key(
    keys: &Keys<'_, '_>,
    key: &str,
    public: Option<String>,
    text: &SecretBytes,
    access: Access,
) {
    let spelling = match public {
        Some(public) => Some(SecretBytes::from_slice(public.as_bytes())),
        None => access.key_encoding.key(text).ok(),
    };
    keys.note(key, text, spelling.as_ref());
}
