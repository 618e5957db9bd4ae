//! Requests that are made once. `Idempotency-Key`: a POST that carries one is sent once, and who
//! repeats it is given the answer of the first (draft-ietf-httpapi-idempotency-key-header-07). A
//! signed request that moves money: its repetition is refused.
//!
//! What is kept is the scrubbed answer and a keyed digest of the request as the application sent
//! it, with tokens, and of what its handle stands for: neither says anything about a card (threat
//! T6).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::card::Timestamp;
use crate::provider::Route;
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Bearer, Claim, Mark, Once};

use super::forward::{Incoming, Place};
use super::identify::Identified;
use super::packed::{Packer, Unpacker};
use super::{Flow, Refusal, Scrubbed, handle_context};

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// The longest key.
const KEY_MAX: usize = 255;
/// A longer answer is not kept: whoever asks again is told that it was made.
const ANSWER_MAX: usize = 64 * 1024;
/// How long a signed request is remembered: longer than any clock may be off.
const SIGNED_LIFE: Duration = Duration::from_secs(2 * 86_400);
/// Kind of payload.
const ANSWER: &str = "answer";

/// The answer to the first of several equal requests.
#[derive(Debug)]
pub struct Repeated {
    /// The provider's status.
    pub status: u16,
    /// The headers that were passed on.
    pub headers: HeaderMap,
    /// The body as it was passed on.
    pub body: CleartextBody,
}

impl Flow {
    /// A signed request that moves money comes once; its repetition is refused.
    pub(super) fn mark_once(
        &self,
        once: Option<&[u8]>,
        route: &Route,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(key) = once else { return Ok(()) };
        match self.vault.mark(key, SIGNED_LIFE, now)? {
            Mark::New => Ok(()),
            Mark::InFlight | Mark::Done => {
                Err(Refusal::CallerReplayed { status_call: route.status_call.clone() })
            }
        }
    }

    /// Claims the key of a POST that has one.
    pub(super) fn claim(
        &self,
        incoming: &Incoming<'_>,
        known: &Identified<'_>,
        place: Place<'_>,
        now: Timestamp,
    ) -> Result<Claimed, Refusal> {
        let Some(named) = Named::by(incoming, known, place)? else { return Ok(Claimed::Without) };
        let tenant = &known.app.tenant;
        match named.by_parts(|parts| self.vault.claim_once(tenant, &named.owner, parts, now))? {
            Once::First(claim) => Ok(Claimed::First(claim)),
            once => told(once, place).map(Claimed::Repeated),
        }
    }

    /// Whether a request would be answered with an earlier answer; nothing is claimed.
    pub(super) fn would_repeat(
        &self,
        incoming: &Incoming<'_>,
        known: &Identified<'_>,
        place: Place<'_>,
        now: Timestamp,
    ) -> Result<bool, Refusal> {
        let Some(named) = Named::by(incoming, known, place)? else { return Ok(false) };
        match named.by_parts(|parts| self.vault.look_once(&named.owner, parts, now)) {
            None => Ok(self.vault.room_for_key(&known.app.tenant).map(|()| false)?),
            Some(once) => told(once, place).map(|_| true),
        }
    }

    /// Keeps an answer for whoever asks again.
    pub(super) fn keep_answer(&self, claim: &Claim, scrubbed: &Scrubbed, now: Timestamp) {
        match Repeated::pack(scrubbed) {
            Some(answer) => self.vault.answer_once(claim, &answer, now),
            None => self.vault.lose_once(claim, now),
        }
    }
}

/// A request by its key, its owner and what it says.
struct Named<'n> {
    owner: [&'n [u8]; 3],
    says: [&'n [u8]; 3],
    /// What its handle stands for: that alone may name the payment.
    bearer: Option<&'n Bearer>,
}

impl<'n> Named<'n> {
    fn by(
        incoming: &'n Incoming<'_>,
        known: &'n Identified<'_>,
        place: Place<'n>,
    ) -> Result<Option<Self>, Refusal> {
        let Some(key) = key_of(incoming)? else { return Ok(None) };
        let query = incoming.query.unwrap_or_default();
        let tenant = known.app.tenant.as_str();
        Ok(Some(Self {
            owner: [tenant.as_bytes(), place.account.name.as_bytes(), key],
            says: [incoming.path.as_bytes(), query.as_bytes(), incoming.body.as_bytes()],
            bearer: known.bearer.as_ref(),
        }))
    }

    /// All that makes it the same request.
    fn by_parts<T>(&self, then: impl FnOnce(&[&[u8]]) -> T) -> T {
        let [path, query, body] = self.says;
        match self.bearer {
            None => then(&[path, query, body]),
            Some(bearer) => handle_context::payment(bearer, |secret, id| match id {
                Some(id) => then(&[path, query, body, b"", id]),
                None => then(&[path, query, body, secret, b""]),
            }),
        }
    }
}

/// What whoever is not the first is told.
fn told(once: Once, place: Place<'_>) -> Result<Repeated, Refusal> {
    let unknown = || Refusal::RepeatedUnknown { status_call: place.route.status_call.clone() };
    match once {
        Once::Answered(answer) => answer.reveal(Repeated::unpack).ok_or_else(unknown),
        Once::Other => Err(Refusal::RepeatedDiffers),
        Once::InFlight => Err(Refusal::RepeatedInFlight),
        Once::First(_) | Once::Unknown => Err(unknown()),
    }
}

/// What became of the wish to claim a key.
pub(super) enum Claimed {
    Without,
    First(Claim),
    Repeated(Repeated),
}

/// One key of visible characters; the quotes of a structured field (RFC 9651) are no part of it.
fn key_of<'c>(incoming: &Incoming<'c>) -> Result<Option<&'c [u8]>, Refusal> {
    if *incoming.method != Method::POST {
        return Ok(None);
    }
    let mut values = incoming.headers.get_all(KEY).iter();
    let (first, second) = (values.next(), values.next());
    let Some(value) = first.map(HeaderValue::as_bytes) else { return Ok(None) };
    let quoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let key = quoted.unwrap_or(value);
    let is_visible = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"' && *byte != b'\\';
    let right = (1..=KEY_MAX).contains(&key.len()) && key.iter().all(is_visible);
    if right && second.is_none() { Ok(Some(key)) } else { Err(Refusal::RepeatKeyInvalid) }
}

impl Repeated {
    fn pack(scrubbed: &Scrubbed) -> Option<SecretBytes> {
        let (status, headers, body) = scrubbed.parts();
        let fits = body.len() <= ANSWER_MAX;
        let packer = Packer::of(ANSWER).put(&status.to_be_bytes()).put(body.as_bytes());
        let packed = headers.iter().fold(packer, |packer, (name, value)| {
            packer.put(name.as_str().as_bytes()).put(value.as_bytes())
        });
        fits.then(|| packed.close())
    }

    fn unpack(payload: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker::of(ANSWER, payload)?;
        let status = u16::from_be_bytes(unpacker.bytes()?.try_into().ok()?);
        let body = CleartextBody::from(unpacker.bytes()?.to_vec());
        let mut headers = HeaderMap::new();
        while !unpacker.is_empty() {
            let name = HeaderName::from_bytes(unpacker.bytes()?).ok()?;
            headers.append(name, HeaderValue::from_bytes(unpacker.bytes()?).ok()?);
        }
        Some(Self { status, headers, body })
    }
}
