//! Signatures over bodies: the application's are checked over what it sent, ours are made over the
//! final bytes and nothing can be edited afterwards.
//!
//! A signature over a clear card narrows the card down to a few guesses, so it is treated as card
//! data: it goes to the provider and nowhere else (threat T6).

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::card::Timestamp;
use crate::credential::access_headers::{self, Scalar, SigningKey, VerifyingKey};
use crate::credential::{Scheme, sorted_digest};
use crate::provider::{Access as Spelled, Account, Api, BodySignature, ProviderHost, Route};
use crate::secret::{CleartextBody, SecretBytes};
use crate::wire::{Document, Kind, Pointer, Step, Text, Value, parse};

use super::Refusal;
use super::changes::Changes;
use super::fields::{self, Content, Fields};
use super::forward::Prepared;
use super::outline::MASK;
use super::packed::Packer;
use super::reveal::Disclosure;

const TIMESTAMP: HeaderName = HeaderName::from_static("x-access-timestamp");
const SIGNATURE: HeaderName = HeaderName::from_static("x-access-signature");
const MERCHANT: HeaderName = HeaderName::from_static("x-access-merchant-id");
const TOKEN: HeaderName = HeaderName::from_static("x-access-token");
const ALGORITHM: HeaderName = HeaderName::from_static("x-access-merchant-algorithm");

/// Values that a sorted digest covers, with their names.
pub(super) struct SignedValues<'d>(Vec<(String, Content<'d>)>);

impl SignedValues<'_> {
    pub(super) fn verify(&self, secret: &SecretBytes, presented: &[u8]) -> bool {
        sorted_digest::verify(&self.pairs(), secret, presented)
    }

    pub(super) fn digest(&self, secret: &SecretBytes) -> SecretBytes {
        sorted_digest::digest(&self.pairs(), secret)
    }

    fn pairs(&self) -> Vec<(&str, &[u8])> {
        self.0
            .iter()
            .filter_map(|(name, content)| Some((name.as_str(), content.signed()?)))
            .collect()
    }
}

/// The values of a method's mandatory parameters, in the spelling that was sent.
pub(super) fn signed_values<'d>(
    fields: &'d Fields<'_>,
    names: &[Pointer],
) -> Result<SignedValues<'d>, Refusal> {
    let mut values = Vec::with_capacity(names.len());
    for pointer in names {
        let name = pointer.to_string();
        let field = fields.find(pointer)?;
        let field = field.ok_or_else(|| Refusal::SignedFieldMissing(name.clone()))?;
        if !matches!(field.content, Content::Text(_) | Content::Number(_)) {
            return Err(Refusal::SignedFieldNotScalar(name));
        }
        values.push((name.trim_start_matches('/').to_owned(), field.content));
    }
    Ok(SignedValues(values))
}

/// All values of a callback that are neither null nor empty, but for the digest itself.
pub(super) fn all_values<'d>(fields: &'d Fields<'_>, digest: &Pointer) -> SignedValues<'d> {
    let digest = digest.to_string();
    let named = |name: &str| name != digest.trim_start_matches('/');
    let full = |content: &Content<'_>| content.signed().is_some_and(|text| !text.is_empty());
    SignedValues(
        fields
            .top()
            .into_iter()
            .map(|(name, field)| (name.as_str().to_owned(), field.content))
            .filter(|(name, content)| named(name) && full(content))
            .collect(),
    )
}

/// What stands in the headers of a signed request or alert.
pub(super) struct Access {
    timestamp: u64,
    signature: Vec<u8>,
}

/// Reads the headers; each may stand once.
pub(super) fn access(headers: &HeaderMap) -> Option<Access> {
    let one = |name: &HeaderName| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none())
    };
    let timestamp = one(&TIMESTAMP)?.to_str().ok()?;
    let plain = timestamp.bytes().all(|byte| byte.is_ascii_digit()) && !timestamp.starts_with('0');
    let timestamp = timestamp.parse().ok().filter(|_| plain)?;
    Some(Access { timestamp, signature: one(&SIGNATURE)?.as_bytes().to_vec() })
}

impl Access {
    /// What was signed: the normalised body and the time.
    pub(super) fn message(&self, body: &Document<'_>, open: Spelled) -> CleartextBody {
        message(body, self.timestamp, open)
    }

    pub(super) fn made_by(&self, key: &VerifyingKey, message: &[u8], open: Spelled) -> bool {
        key.verify(message, &self.signature, open.prehash)
    }

    pub(super) fn is_fresh(&self, tolerance: u64, now: Timestamp) -> bool {
        now.as_secs().abs_diff(self.timestamp) <= tolerance
    }

    /// A key that the same signed request has again.
    pub(super) fn once(&self, account: &str) -> Vec<u8> {
        // Padding is another spelling of the same signature.
        let bare = self.signature.trim_ascii_end();
        let bare = bare.strip_suffix(b"==").or(bare.strip_suffix(b"=")).unwrap_or(bare);
        let key = Packer::default().put(account.as_bytes()).put(bare);
        key.close().reveal(<[u8]>::to_vec)
    }
}

/// Signs a body for whoever verifies it, at this time: the headers of the scheme.
pub(super) fn access_headers(
    key: &SigningKey,
    body: &Document<'_>,
    open: Spelled,
    now: Timestamp,
) -> Option<(Vec<(HeaderName, HeaderValue)>, SecretBytes)> {
    let message = message(body, now.as_secs(), open);
    let signature = key.sign(message.as_bytes(), open.prehash).ok()?;
    let mut value = signature.reveal(HeaderValue::from_bytes).ok()?;
    value.set_sensitive(true);
    let time = HeaderValue::from_str(&now.as_secs().to_string()).ok()?;
    Some((vec![(TIMESTAMP, time), (SIGNATURE, value)], signature))
}

fn message(body: &Document<'_>, timestamp: u64, open: Spelled) -> CleartextBody {
    let lines = body.values().map(|value| (Bytes::Own(path(value)), scalar(value)));
    let normalised = access_headers::normalise_by(open.rules, lines);
    access_headers::message(normalised.as_bytes(), timestamp)
}

/// Bytes from wherever they are.
enum Bytes<'b> {
    Own(CleartextBody),
    Text(Text<'b>),
    Raw(&'b [u8]),
}

impl AsRef<[u8]> for Bytes<'_> {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Own(body) => body.as_bytes(),
            Self::Text(text) => text.as_bytes(),
            Self::Raw(raw) => raw,
        }
    }
}

/// `key1:key2:0`, as the scheme writes it.
fn path(value: Value<'_>) -> CleartextBody {
    let mut path = CleartextBody::with_capacity(48);
    for (depth, step) in value.steps().enumerate() {
        if depth > 0 {
            path.push(b':');
        }
        match step {
            Step::Key(key) => {
                if let Some(text) = key.text() {
                    path.extend_from_slice(text.as_bytes());
                }
            }
            Step::Index(index) => path.extend_from_slice(index.to_string().as_bytes()),
        }
    }
    path
}

fn scalar(value: Value<'_>) -> Scalar<Bytes<'_>> {
    match value.kind() {
        Kind::String => value.text().map_or(Scalar::Null, |text| Scalar::Text(Bytes::Text(text))),
        Kind::Number => Scalar::Number(Bytes::Raw(value.raw())),
        Kind::Bool => Scalar::Bool(value.raw() == b"true"),
        Kind::Null | Kind::Array | Kind::Object => Scalar::Null,
    }
}

/// A request whose body is final but which is not signed yet.
#[derive(Debug)]
pub struct Draft {
    pub(super) account: Arc<Account>,
    pub(super) api: usize,
    pub(super) position: usize,
    pub(super) target: ProviderHost,
    pub(super) method: Method,
    pub(super) path_and_query: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: CleartextBody,
    pub(super) disclosure: Option<Disclosure>,
}

/// A request that is ready, and the signature in it.
#[derive(Debug)]
pub struct Signed {
    /// What is sent.
    pub prepared: Prepared,
    /// The signature, to be looked for in the answer.
    pub signature: Option<SecretBytes>,
}

impl Draft {
    /// Whether signing takes so long (an RSA operation) that it is done off the event loop.
    pub fn is_slow(&self) -> bool {
        self.scheme() == Some(Scheme::AccessHeaders)
    }

    fn scheme(&self) -> Option<Scheme> {
        self.account.profile.apis.get(self.api).map(|api| api.credential)
    }

    fn route(&self) -> Option<&Route> {
        self.account.profile.routes.get(self.position)
    }

    /// Makes the signature that the provider asks for, over the final bytes, at this time.
    pub fn sign(mut self, now: Timestamp) -> Result<Signed, Refusal> {
        let account = self.account.clone();
        let api = account.profile.apis.get(self.api).ok_or(Refusal::RouteUnknown)?;
        let mut signature = None;
        for signing in signings(&account, api, !self.body.is_empty())?.into_iter().flatten() {
            signature = Some(match signing {
                Signing::Field { place, secret } => self.sign_field(place, secret)?,
                Signing::Headers { key, merchant } => {
                    self.sign_headers(key, merchant, account.profile.access, now)?
                }
                Signing::Body { rule, secret } => self.sign_body(rule, secret)?,
            });
        }
        let Self { target, method, path_and_query, headers, body, disclosure, .. } = self;
        Ok(Signed {
            prepared: Prepared { target, method, path_and_query, headers, body, disclosure },
            signature,
        })
    }

    fn sign_field(
        &mut self,
        place: &Pointer,
        secret: &SecretBytes,
    ) -> Result<SecretBytes, Refusal> {
        let route = self.route().ok_or(Refusal::RouteUnknown)?;
        let fields = fields::read(route.encoding, self.body.as_bytes())?;
        let digest = signed_values(&fields, &route.request.sign)?.digest(secret);
        let field = fields.find(place)?.ok_or(Refusal::CallerSignature)?;
        let mut changes = Changes::to(fields.encoding());
        changes.put_secret(field.span, &digest);
        let body = changes.apply(self.body.as_bytes())?;
        self.body = body;
        Ok(digest)
    }

    fn sign_headers(
        &mut self,
        key: &SigningKey,
        merchant: &str,
        open: Spelled,
        now: Timestamp,
    ) -> Result<SecretBytes, Refusal> {
        let body = parse(self.body.as_bytes())?;
        let signed = access_headers(key, &body, open, now).ok_or(Refusal::SigningFailed)?;
        let (headers, signature) = signed;
        self.headers.extend(headers);
        for (name, value) in named_headers(key, merchant) {
            let value = value.map(|value| HeaderValue::from_str(&value)).transpose();
            self.headers.extend(value.map_err(|_| Refusal::SigningFailed)?.map(|v| (name, v)));
        }
        Ok(signature)
    }

    fn sign_body(
        &mut self,
        rule: &BodySignature,
        secret: &SecretBytes,
    ) -> Result<SecretBytes, Refusal> {
        let signature = rule.hmac.sign(secret, self.body.as_bytes());
        let value = signature.reveal(HeaderValue::from_bytes);
        let mut value = value.map_err(|_| Refusal::SigningFailed)?;
        value.set_sensitive(true);
        self.headers.push((rule.header.clone(), value));
        Ok(signature)
    }
}

/// A signature that a provider asks for, and what makes it.
pub(super) enum Signing<'a> {
    /// A digest in a field of the body.
    Field { place: &'a Pointer, secret: &'a SecretBytes },
    /// Headers over body and time.
    Headers { key: &'a SigningKey, merchant: &'a str },
    /// A header over the body.
    Body { rule: &'a BodySignature, secret: &'a SecretBytes },
}

/// The signatures of an interface's calls, in the order in which they are made.
pub(super) fn signings<'a>(
    account: &'a Account,
    api: &'a Api,
    has_body: bool,
) -> Result<[Option<Signing<'a>>; 2], Refusal> {
    let credentials = &account.credentials;
    let secret = || credentials.secret.as_ref().ok_or(Refusal::UpstreamMissing);
    let by_scheme = match api.credential {
        Scheme::SortedDigest => {
            let place = api.value.as_ref().ok_or(Refusal::UpstreamMissing)?;
            Some(Signing::Field { place, secret: secret()? })
        }
        Scheme::AccessHeaders => {
            let key = credentials.request_key.as_ref().ok_or(Refusal::UpstreamMissing)?;
            let merchant = credentials.merchant_id.as_deref().ok_or(Refusal::UpstreamMissing)?;
            Some(Signing::Headers { key, merchant })
        }
        _ => None,
    };
    let by_body = match api.signature.as_ref().filter(|_| has_body) {
        Some(rule) => Some(Signing::Body { rule, secret: secret()? }),
        None => None,
    };
    Ok([by_scheme, by_body])
}

/// Who signed, and how, in the headers of the scheme.
fn named_headers(key: &SigningKey, merchant: &str) -> [(HeaderName, Option<String>); 3] {
    [
        (MERCHANT, Some(merchant.to_owned())),
        (TOKEN, key.public_token()),
        (ALGORITHM, key.algorithm_header().map(str::to_owned)),
    ]
}

/// The headers of the scheme at this time, with nothing in them that proves anything.
pub(super) fn masked_headers(
    key: &SigningKey,
    merchant: &str,
    now: Timestamp,
) -> Vec<(HeaderName, String)> {
    let known = [(TIMESTAMP, Some(now.as_secs().to_string())), (SIGNATURE, Some(MASK.to_owned()))];
    let named = known.into_iter().chain(named_headers(key, merchant));
    let shown = |(name, value): (HeaderName, Option<String>)| {
        let value = if name == TOKEN { value.map(|_| MASK.to_owned()) } else { value };
        value.map(|value| (name, value))
    };
    named.filter_map(shown).collect()
}
