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

/// Secrets of one holder, each under its key. An RSA key that requests are signed with stands here
/// as its public half, which both of its halves have; with the public half of others nobody can
/// do anything.
struct Secrets(Vec<(&'static str, SecretBytes)>);

impl Secrets {
    fn of(held: &Credentials) -> Self {
        let basic = held.basic.as_ref().map(Basic::key);
        let named = [
            ("key", basic),
            ("public_key", held.public_key.as_ref()),
            ("secret", held.secret.as_ref()),
        ];
        let named = named.into_iter().filter_map(|(name, secret)| Some((name, copy(secret?))));
        Self(named.collect())
    }

    /// What an account has of its provider.
    fn real(table: &Table<'_>, real: &Credentials, callbacks: &CallbackKeys) -> Self {
        let keys = table.table("credentials");
        let mut all = Self::of(real);
        all.0.extend(callbacks.secrets.iter().map(|secret| ("callback_secrets", copy(secret))));
        if let Some(key) = &real.request_key {
            all.add_request_key(&keys, key.public_token());
        }
        if callbacks.alerts.iter().any(|key| key.public_token().is_none()) {
            let texts = secrets::list(&keys, "alert_keys").into_iter();
            all.0.extend(texts.map(|text| ("alert_keys", text)));
        }
        all
    }

    /// What an application has of us.
    fn lent(keys: &Table<'_>, held: &Virtual) -> Self {
        let mut all = Self::of(&held.credentials);
        if let Some(key) = &held.request_check {
            all.add_request_key(keys, key.public_token());
        }
        if held.alert_key.as_ref().is_some_and(|key| key.public_token().is_none()) {
            all.0.extend(secrets::optional(keys, "alert_key").map(|text| ("alert_key", text)));
        }
        all
    }

    fn add_request_key(&mut self, keys: &Table<'_>, public: Option<String>) {
        let half = public.map(|half| SecretBytes::from_slice(half.as_bytes()));
        let key = half.or_else(|| secrets::optional(keys, "request_key"));
        self.0.extend(key.map(|key| ("request_key", key)));
    }

    /// The first of its keys whose secret another holder has, under whatever key.
    fn shared(&self, other: &Self) -> Option<&'static str> {
        let has = |secret: &SecretBytes| {
            other.0.iter().any(|(_, other)| other.reveal(|other| secret.ct_eq(other)))
        };
        self.0.iter().find_map(|(name, secret)| has(secret).then_some(*name))
    }
}

fn copy(secret: &SecretBytes) -> SecretBytes {
    secret.reveal(SecretBytes::from_slice)
}

const REAL: &str = "is the account's real one; give the app one of its own";

/// What each application holds: its own, and never the account's real ones.
pub(super) fn virtuals(
    table: &Table<'_>,
    profile: &Profile,
    apps: &Apps,
    (real, callbacks): (&Credentials, &CallbackKeys),
) -> Vec<Virtual> {
    let by_app = table.table_or_empty("virtual");
    let real = Secrets::real(table, real, callbacks);
    let (mut virtuals, mut lent): (Vec<Virtual>, Vec<Secrets>) = Default::default();
    for app in by_app.names() {
        if apps.named(app).is_none() {
            by_app.fail(app, "is not the name of an [[app]]");
        }
        let keys = by_app.table(app);
        let held = held_by(app, &keys, profile);
        let own = Secrets::lent(&keys, &held);
        if let Some(key) = own.shared(&real) {
            keys.fail(key, REAL);
        } else if let Some(key) = lent.iter().find_map(|other| own.shared(other)) {
            keys.fail(key, "is another app's, too; give each its own");
        }
        keys.finish();
        lent.push(own);
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
