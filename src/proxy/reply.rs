//! The only place where a refusal becomes an HTTP answer: RFC 9457 problem documents with a stable
//! code, whose fault it is, whether the provider may have seen the request, and whether to try
//! again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::Serialize;

use crate::card::CardError;
use crate::flow::{Forwarded, Known, Learnt, Refusal};
use crate::limit::{Exceeded, Limit};
use crate::secret::{CleartextBody, fill_random};

use super::exchange::{SendError, SendErrorKind};
use super::message::{Refusal as CodecRefusal, Reply};

mod words;

use words::{advice, detail, field};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Card data stays here until it can be recorded that it leaves.
pub(super) const AUDIT_UNAVAILABLE: &str = "audit_unavailable";

/// Letters of a request's id: the process's random half, then the count of its requests.
const ID_LETTERS: usize = 32;

/// A request's id: unlike any other's, and letters only, so that nobody takes it for a card number.
/// It says nothing and opens nothing, so it is not drawn at random each time.
#[derive(Clone, Copy)]
pub(crate) struct RequestId([u8; ID_LETTERS]);

impl RequestId {
    pub(super) fn next() -> Self {
        static PROCESS: OnceLock<u64> = OnceLock::new();
        static REQUESTS: AtomicU64 = AtomicU64::new(0);
        let process = *PROCESS.get_or_init(|| {
            let mut random = [0; 8];
            fill_random(&mut random);
            u64::from_ne_bytes(random)
        });
        let request = REQUESTS.fetch_add(1, Ordering::Relaxed);
        let number = u128::from(process) << 64 | u128::from(request);
        let mut letters = [b'a'; ID_LETTERS];
        for (at, letter) in letters.iter_mut().rev().enumerate() {
            *letter += u8::try_from(number >> (4 * at) & 15).unwrap_or_default();
        }
        Self(letters)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Whose rule or fault it is.
#[derive(Clone, Copy)]
enum Origin {
    Policy,
    Vault,
    Proxy,
    Upstream,
}

impl Origin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Vault => "vault",
            Self::Proxy => "proxy",
            Self::Upstream => "upstream",
        }
    }
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy)]
enum Retry {
    /// Nothing happened: at any time (once the request itself is right).
    Safe,
    /// Nothing happened; later.
    After,
    /// It may have happened: ask for the status first.
    Unsafe,
}

impl Retry {
    fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "safe",
            Self::After => "after",
            Self::Unsafe => "unsafe",
        }
    }
}

/// One row of the table of errors.
struct Problem {
    status: u16,
    code: &'static str,
    origin: Origin,
    retry: Retry,
    title: &'static str,
}

/// What a problem document says besides its row.
#[derive(Default)]
struct About {
    forwarded: Forwarded,
    detail: Option<String>,
    field: Option<String>,
    status_call: Option<Arc<str>>,
    payment: Option<Payment>,
}

/// What the provider itself knew of the payment when Portcullis asked it.
#[derive(Serialize)]
struct Payment {
    known: &'static str,
    state: BTreeMap<String, String>,
}

impl Payment {
    fn of(learnt: &Learnt) -> Self {
        Self { known: learnt.known.as_str(), state: learnt.state.iter().cloned().collect() }
    }
}

#[derive(Serialize)]
struct Document<'d> {
    r#type: String,
    title: &'d str,
    status: u16,
    detail: String,
    instance: String,
    code: &'d str,
    origin: &'d str,
    forwarded: &'d str,
    retry: &'d str,
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payment: Option<Payment>,
    request_id: &'d str,
}

/// A problem document and its code, for logs and metrics.
pub(super) struct Refused {
    pub reply: Reply,
    pub code: &'static str,
    pub forwarded: Forwarded,
    /// The limit that was met.
    pub limit: Option<&'static str>,
    /// Somebody asked for what nobody knows: a guess, for all that can be told.
    pub guess: bool,
}

/// A refusal of a payment's step.
pub(super) fn refused(refusal: &Refusal, id: &RequestId) -> Refused {
    withheld(refusal, None, None, id)
}

/// The same for an answer that is not passed on. `status_call` is the provider's call that tells
/// what became of the payment, `learnt` what it told already.
pub(super) fn withheld(
    refusal: &Refusal,
    status_call: Option<Arc<str>>,
    learnt: Option<&Learnt>,
    id: &RequestId,
) -> Refused {
    let forwarded = match refusal {
        Refusal::AnswerWithheld(_) => Forwarded::Yes,
        // The first request with the same key or signature: it is the same payment.
        Refusal::RepeatedInFlight | Refusal::RepeatedUnknown { .. } => Forwarded::Unknown,
        Refusal::CallerReplayed { .. } => Forwarded::Unknown,
        Refusal::PaymentInFlight { .. } | Refusal::PaymentUnknown { .. } => Forwarded::Unknown,
        _ => Forwarded::No,
    };
    let about = About {
        forwarded,
        detail: detail(refusal),
        field: field(refusal),
        status_call: match refusal {
            Refusal::PaymentUnknown { status_call, .. }
            | Refusal::RepeatedUnknown { status_call }
            | Refusal::CallerReplayed { status_call } => status_call.clone(),
            _ => status_call,
        },
        payment: learnt.map(Payment::of),
    };
    let mut refused = build(&row(refusal), about, id);
    refused.guess = is_guess(refusal);
    if let Refusal::TooMany(exceeded) = refusal {
        refused.limit = Some(exceeded.limit().name());
        tell_rate(&mut refused.reply.headers, *exceeded);
    }
    refused
}

fn is_guess(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::SessionUnknown | Refusal::TokenUnknown(_) | Refusal::HandleUnknown)
}

/// When to come again, and by which rule.
fn tell_rate(headers: &mut HeaderMap, exceeded: Exceeded) {
    set(headers, RETRY_AFTER, &exceeded.retry_after().to_string());
    set(headers, RATE_LIMIT, &exceeded.rate_limit());
    set(headers, RATE_LIMIT_POLICY, &exceeded.policy());
}

/// An exchange that brought no answer. `status_call` is the provider's call that tells the outcome,
/// `learnt` what it told already.
pub(super) fn unanswered(
    error: &SendError,
    status_call: Option<Arc<str>>,
    learnt: Option<&Learnt>,
    id: &RequestId,
) -> Refused {
    let has_it = learnt.is_some_and(|learnt| learnt.known == Known::Yes);
    let before = forwarded(error);
    let now = if has_it { Forwarded::Yes } else { before };
    let about = About {
        forwarded: now,
        detail: None,
        field: None,
        status_call,
        payment: learnt.map(Payment::of),
    };
    build(&unanswered_row(error.kind, before), about, id)
}

/// The code of the same, where nobody is shown the document.
pub(super) fn unanswered_code(error: &SendError) -> &'static str {
    unanswered_row(error.kind, forwarded(error)).code
}

/// A request to a shop that brought no answer.
pub(super) fn shop_unanswered(error: &SendError, id: &RequestId) -> Refused {
    let forwarded = forwarded(error);
    let (status, code, title) = match error.kind {
        SendErrorKind::Busy => (503, "shop_busy", "Too many requests are under way to the shop."),
        SendErrorKind::Silent => (504, "shop_silent", "The shop did not answer in time."),
        _ => (502, "shop_unreachable", "The shop could not be reached, or broke off."),
    };
    let retry = if forwarded == Forwarded::No { Retry::After } else { Retry::Unsafe };
    let row = Problem { status, code, origin: Origin::Upstream, retry, title };
    build(&row, About { forwarded, ..About::default() }, id)
}

/// A request that the codec refused.
pub(super) fn codec(refusal: CodecRefusal, id: &RequestId) -> Refused {
    let row = Problem {
        status: refusal.status().as_u16(),
        code: refusal.as_str(),
        origin: Origin::Policy,
        retry: Retry::Safe,
        title: "The request cannot be read without doubt.",
    };
    build(&row, About::default(), id)
}

/// Whether the provider may have seen the request, in the words of the flow.
pub(super) fn forwarded(error: &SendError) -> Forwarded {
    match error.forwarded {
        super::exchange::Forwarded::No => Forwarded::No,
        super::exchange::Forwarded::Unknown => Forwarded::Unknown,
        super::exchange::Forwarded::Yes => Forwarded::Yes,
    }
}

fn build(row: &Problem, about: About, id: &RequestId) -> Refused {
    let forwarded = about.forwarded;
    let ask = about.status_call.as_deref().filter(|_| forwarded != Forwarded::No);
    let ask = ask.map(|call| to_ask(call, about.payment.as_ref()));
    let mut detail = about.detail.into_iter().chain(ask).collect::<Vec<_>>().join(" ");
    if detail.is_empty() {
        advice(forwarded, row.retry).clone_into(&mut detail);
    }
    let document = Document {
        r#type: format!("urn:portcullis:problem:{}", row.code),
        title: row.title,
        status: row.status,
        detail,
        instance: format!("urn:portcullis:request:{}", id.as_str()),
        code: row.code,
        origin: row.origin.as_str(),
        forwarded: forwarded.as_str(),
        retry: row.retry.as_str(),
        field: about.field,
        payment: about.payment,
        request_id: id.as_str(),
    };
    let status = StatusCode::from_u16(row.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut reply = Reply::empty(status);
    reply.body = serde_json::to_vec(&document).map(Bytes::from).unwrap_or_default();
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.notes.forwarded = Some(forwarded.as_str());
    if status == StatusCode::UNAUTHORIZED {
        reply.headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if matches!(row.retry, Retry::After) {
        reply.headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    Refused { reply, code: row.code, forwarded, limit: None, guess: false }
}

/// What is to be done before anything else, by the provider's own call.
fn to_ask(call: &str, payment: Option<&Payment>) -> String {
    match payment.is_some_and(|payment| payment.known == Known::Yes.as_str()) {
        true => format!(
            "The provider has the payment, and `payment` says how far it is. Ask for more: {call}."
        ),
        false => format!(
            "The provider may have acted on it. Before anything else ask what became of it: {call}."
        ),
    }
}

/// The table of errors: status, code, origin, retry, title.
#[rustfmt::skip]
fn row(refusal: &Refusal) -> Problem {
    use Origin::{Policy, Proxy, Upstream, Vault};
    use Retry::{After, Safe, Unsafe};
    let (status, code, origin, retry, title) = match refusal {
        Refusal::CallerUnknown => (401, "caller_unknown", Policy, Safe, "Nobody we know calls: the credentials are missing, doubled or wrong."),
        Refusal::AccountNotGranted => (403, "account_not_granted", Policy, Safe, "This application may not use this account."),
        Refusal::RouteUnknown => (404, "route_unknown", Policy, Safe, "No profile lets this call pass."),
        Refusal::PathRefused => (400, "path_refused", Policy, Safe, "The path could mean another one to the provider."),
        Refusal::UpstreamMissing => (503, "account_incomplete", Proxy, After, "The account lacks the base URL or the credential of this interface."),
        Refusal::ContentTypeRefused => (415, "content_type_refused", Policy, Safe, "One Content-Type is needed, the one of this call, in UTF-8."),
        Refusal::ContentEncodingRefused => (415, "content_encoding_refused", Policy, Safe, "Bodies are taken as they are, not compressed."),
        Refusal::BodyUnexpected => (400, "body_unexpected", Policy, Safe, "This call has a body where it should not, or none where it should."),
        Refusal::BodyMalformed(error) => return malformed(error),
        Refusal::FieldNotText(_) => (422, "field_not_text", Policy, Safe, "A field must be a string."),
        Refusal::FieldMissing(_) => (422, "field_missing", Policy, Safe, "A field is missing."),
        Refusal::FieldInvalid(_) => (422, "field_invalid", Policy, Safe, "A field's value is not accepted here."),
        Refusal::MemberUnknown { .. } => (422, "field_invalid", Policy, Safe, "The body has a member that is not known here."),
        Refusal::RawCard(_) => (422, "raw_card_refused", Policy, Safe, "Card data in clear is not taken from applications: send the token."),
        Refusal::TokenMalformed(_) => (422, "token_malformed", Policy, Safe, "What stands in this field is not a token."),
        Refusal::TokenUnknown(_) => (422, "token_unknown", Vault, Safe, "The token is not known here, or no longer."),
        Refusal::TokensOfTwoCards(_) => (422, "tokens_of_two_cards", Policy, Safe, "The fields name tokens of more than one card."),
        Refusal::HandleUnknown => (401, "handle_unknown", Vault, Safe, "The bearer handle is not known for this account, or no longer."),
        Refusal::CallerSignature => (401, "caller_signature_refused", Policy, Safe, "The application's signature is missing or wrong."),
        Refusal::CallerTimestamp => (401, "caller_timestamp_refused", Policy, Safe, "The application's signature is too old, or from the future."),
        Refusal::CallerReplayed { .. } => (409, "caller_replayed", Policy, Unsafe, "The same signed request came before; nothing was sent again."),
        Refusal::PreferenceUnclear => (400, "preference_unclear", Policy, Safe, "A Prefer names dry-run and cannot be read as that preference, which has no value; nothing was sent."),
        Refusal::RepeatKeyInvalid => (400, "idempotency_key_invalid", Policy, Safe, "The Idempotency-Key must be one value of 1 to 255 visible characters."),
        Refusal::RepeatedDiffers => (422, "idempotency_key_reused", Policy, Unsafe, "Another request came with the same Idempotency-Key."),
        Refusal::RepeatedInFlight => (409, "idempotency_in_flight", Policy, After, "The first request with this Idempotency-Key has no answer yet."),
        Refusal::RepeatedUnknown { .. } => (409, "idempotency_outcome_unknown", Policy, Unsafe, "The first request with this Idempotency-Key may have reached the provider; ask it what became of the payment."),
        Refusal::PaymentInFlight { .. } => (409, "payment_in_flight", Policy, After, "A request about this payment has no answer yet; nothing was sent again."),
        Refusal::PaymentUnknown { .. } => (409, "payment_outcome_unknown", Policy, Unsafe, "A request about this payment may have reached the provider; nothing was sent again. Pay anew, under a new key, only if the provider has no such payment."),
        Refusal::SignedFieldMissing(_) => (422, "signed_field_missing", Policy, Safe, "A field that the signature covers is missing."),
        Refusal::SignedFieldNotScalar(_) => (422, "signed_field_not_scalar", Policy, Safe, "A field that the signature covers must be a string or a number."),
        Refusal::SigningFailed => (500, "signing_failed", Proxy, After, "The provider's signature could not be made."),
        Refusal::SigningBusy => (503, "signing_busy", Proxy, After, "All signing threads are busy; nothing was sent."),
        Refusal::CallbackStale => (401, "callback_stale", Policy, Safe, "The callback's time is outside the window."),
        Refusal::SessionUnknown => (401, "session_unknown", Vault, Safe, "The capture session is not known, has expired or is used up."),
        Refusal::OriginRefused => (403, "origin_refused", Policy, Safe, "The page's origin is not one that may capture cards here."),
        Refusal::Card(error) => (422, card_code(*error), Policy, Safe, "The card data is not valid."),
        Refusal::CardUnsupported => (422, "card_number_unsupported", Policy, Safe, "Cards of this issuer range are not taken."),
        Refusal::TooMany(exceeded) => return too_many(exceeded.limit()),
        Refusal::VaultFull => (503, "vault_full", Vault, After, "The vault has no room; nothing was dropped."),
        Refusal::VaultFailed => (500, "vault_failed", Vault, After, "The vault could not seal the record."),
        Refusal::AnswerWithheld(_) => (502, "answer_withheld", Upstream, Unsafe, "The provider answered, and the answer is not safe to pass on."),
        Refusal::SignatureRefused => (401, "signature_refused", Policy, Safe, "The signature is missing, doubled or wrong."),
        Refusal::CallbackUnreadable => (400, "callback_unreadable", Policy, Safe, "The callback names no subject, status or time."),
        Refusal::CallbackInFlight => (409, "callback_in_flight", Proxy, After, "The same callback is being delivered."),
        Refusal::CallbackNotTaken => (502, "callback_not_taken", Upstream, After, "The application did not take the callback."),
        Refusal::CallbackUndeliverable => (502, "callback_undeliverable", Policy, After, "There is no address to deliver the callback to."),
        Refusal::ReturnNotRelayed => (503, "return_not_relayed", Upstream, After, "The provider could not be reached."),
    };
    Problem { status, code, origin, retry, title }
}

/// One address has as much under way as it may.
pub(super) fn crowded(id: &RequestId) -> Refused {
    build(&too_many(Limit::Address), About::default(), id)
}

fn too_many(limit: Limit) -> Problem {
    let title = match limit {
        Limit::Address => "Too many requests come from this address.",
        Limit::Callbacks => "Too many callbacks come from this address.",
        Limit::AddressCards => "Too many cards come from this address.",
        Limit::SessionCards => "Too many cards come in this capture session.",
        Limit::Card => "This card comes too often.",
        Limit::Bin => "Too many cards of this kind come.",
        Limit::AppRoute => "The application makes this call too often.",
        Limit::UnknownTokens => "The application sent too many tokens that are not known here.",
        Limit::UnknownIds => "This address asked for too much that is not known here.",
    };
    let (origin, retry) = (Origin::Policy, Retry::After);
    Problem { status: 429, code: limit.code(), origin, retry, title }
}

fn card_code(error: CardError) -> &'static str {
    match error {
        CardError::NumberLength => "card_number_length",
        CardError::NumberDigits => "card_number_digits",
        CardError::NumberLuhn => "card_number_check_digit",
        CardError::CvvLength => "card_cvv_length",
        CardError::CvvDigits => "card_cvv_digits",
        CardError::ExpiryFormat => "card_expiry_format",
        CardError::ExpiryPast => "card_expired",
        CardError::Holder => "card_holder",
    }
}

fn malformed(error: &crate::wire::WireError) -> Problem {
    Problem {
        status: 400,
        code: error.category.as_str(),
        origin: Origin::Policy,
        retry: Retry::Safe,
        title: "The body cannot be read without doubt.",
    }
}

fn unanswered_row(kind: SendErrorKind, forwarded: Forwarded) -> Problem {
    let (status, code, title) = match (forwarded, kind) {
        (Forwarded::No, SendErrorKind::Busy) => {
            (503, "upstream_busy", "Too many requests are under way; nothing was sent.")
        }
        (Forwarded::No, SendErrorKind::NotRecorded) => {
            (503, AUDIT_UNAVAILABLE, "The audit record cannot be written; nothing was sent.")
        }
        (Forwarded::No, SendErrorKind::ProxyRefused) => {
            (502, "egress_proxy_refused", "The proxy on the way out said no; nothing was sent.")
        }
        (Forwarded::No, SendErrorKind::ProxyFailed) => (
            502,
            "egress_proxy_failed",
            "The proxy on the way out could not be reached, or gave no answer; nothing was sent.",
        ),
        (Forwarded::No, _) => {
            (502, "upstream_unreachable", "The provider could not be reached; nothing was sent.")
        }
        (_, SendErrorKind::Silent) => {
            (504, "upstream_silent", "The provider did not answer in time.")
        }
        (
            Forwarded::Unknown,
            SendErrorKind::BadAnswer | SendErrorKind::AnswerTooLarge | SendErrorKind::Encoded,
        ) => {
            (502, "answer_withheld", "What the provider answered cannot be read, or is too large.")
        }
        (Forwarded::Unknown, _) => {
            (502, "upstream_broke_off", "The connection ended before the provider had answered.")
        }
        (Forwarded::Yes, _) => (
            502,
            "answer_withheld",
            "The provider answered, and the answer is not safe to pass on.",
        ),
    };
    let (origin, retry) = match (forwarded, kind) {
        (Forwarded::No, SendErrorKind::Busy | SendErrorKind::NotRecorded) => {
            (Origin::Proxy, Retry::After)
        }
        (Forwarded::No, SendErrorKind::ProxyRefused | SendErrorKind::ProxyFailed) => {
            (Origin::Proxy, Retry::Safe)
        }
        (Forwarded::No, _) => (Origin::Upstream, Retry::Safe),
        (Forwarded::Unknown | Forwarded::Yes, _) => (Origin::Upstream, Retry::Unsafe),
    };
    Problem { status, code, origin, retry, title }
}

/// A JSON answer of our own.
pub(super) fn json(status: StatusCode, body: CleartextBody) -> Reply {
    let mut reply = Reply::empty(status);
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply.body = body.into_bytes();
    reply
}

/// Sets a header whose value is made of numbers and fixed words.
pub(super) fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
