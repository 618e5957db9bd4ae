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

const REAL: &str = "is the account's real one; give the app one of its own";

/// What each application holds: its own, and never the account's real ones.
pub(super) fn virtuals(
    table: &Table<'_>,
    profile: &Profile,
    apps: &Apps,
    real: &Credentials,
) -> Vec<Virtual> {
    let by_app = table.table_or_empty("virtual");
    let mut virtuals: Vec<Virtual> = Vec::new();
    for app in by_app.names() {
        if apps.named(app).is_none() {
            by_app.fail(app, "is not the name of an [[app]]");
        }
        let keys = by_app.table(app);
        let held = held_by(app, &keys, profile);
        if let Some(key) = shared(&held.credentials, real) {
            keys.fail(key, REAL);
        }
        let others = || virtuals.iter().map(|other| &other.credentials);
        if let Some(key) = others().find_map(|other| shared(&held.credentials, other)) {
            keys.fail(key, "is another app's, too; give each its own");
        }
        if held.request_check.is_some() && is_real_key(&keys, table, real) {
            keys.fail("request_key", REAL);
        }
        keys.finish();
        virtuals.push(held);
    }
    by_app.finish();
    virtuals
}

fn held_by(app: &str, keys: &Table<'_>, profile: &Profile) -> Virtual {
    let credentials = held(keys, profile);
    let signs = needs(profile, Scheme::AccessHeaders);
    let check = |key, algorithm| verifying_key(keys, key, algorithm, profile.access);
    let request_check = signs.then(|| check("request_key", "request_algorithm")).flatten();
    let alert_key =
        signs.then(|| signing_key(keys, "alert_key", "alert_algorithm", profile.access)).flatten();
    Virtual { app: app.to_owned(), credentials, request_check, alert_key }
}

/// Whether both sign with one HMAC key: its file is the same text, which two halves of an RSA key
/// never are.
fn is_real_key(keys: &Table<'_>, account: &Table<'_>, real: &Credentials) -> bool {
    let text = |table: &Table<'_>| secrets::optional(table, "request_key");
    let real = real.request_key.as_ref().and_then(|_| text(&account.table("credentials")));
    let same = |(one, other): (SecretBytes, SecretBytes)| other.reveal(|other| one.ct_eq(other));
    text(keys).zip(real).is_some_and(same)
}

/// The key of the first secret that both have.
fn shared(one: &Credentials, other: &Credentials) -> Option<&'static str> {
    let pairs = secrets_of(one).into_iter().zip(secrets_of(other));
    let pairs = pairs.map(|(one, other)| one.zip(other));
    let names = ["key", "public_key", "secret"].into_iter();
    let same = |(one, other): (&SecretBytes, &SecretBytes)| other.reveal(|other| one.ct_eq(other));
    names.zip(pairs).find_map(|(name, pair)| pair.is_some_and(same).then_some(name))
}

fn secrets_of(held: &Credentials) -> [Option<&SecretBytes>; 3] {
    [held.basic.as_ref().map(Basic::key), held.public_key.as_ref(), held.secret.as_ref()]
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
