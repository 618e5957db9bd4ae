//! A provider's answer → [`Scrubbed`]: what was put in and whatever looks like a card is removed,
//! bearer tokens become handles, challenges become our hand-off.
//!
//! Every status is treated alike. What cannot be read without doubt is withheld, never passed on.

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED,
    RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::card::{Card, Cvv, Timestamp};
use crate::provider::AnswerRules;
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::Audience;
use crate::wire::{Document, Known, Value, contains_card, parse, scrub};

use super::changes::Changes;
use super::{Flow, PAYMENT_LIFE, Pending, Refusal, Withheld};

/// Answer headers that are passed on; everything else stays here (threat T5).
const PASSED_ON: [HeaderName; 8] = [
    CACHE_CONTROL,
    CONTENT_LANGUAGE,
    CONTENT_TYPE,
    DATE,
    ETAG,
    LAST_MODIFIED,
    RETRY_AFTER,
    HeaderName::from_static("x-request-id"),
];

/// What a provider answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: CleartextBody,
}

/// An answer that may be passed on. Comes only from the scrub.
#[derive(Debug)]
pub struct Scrubbed {
    status: u16,
    headers: HeaderMap,
    body: CleartextBody,
    removed: usize,
}

impl Scrubbed {
    /// The provider's status.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// How many findings were removed.
    pub fn removed(&self) -> usize {
        self.removed
    }

    /// Gives the parts to the one that replies.
    pub fn into_parts(self) -> (u16, HeaderMap, CleartextBody) {
        (self.status, self.headers, self.body)
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Json,
    Text,
}

impl Pending {
    /// Cleans the answer. Whatever the outcome, the CVV is gone: the provider has seen it.
    pub fn finish(self, answer: Answer, flow: &Flow, now: Timestamp) -> Result<Scrubbed, Refusal> {
        let rules = self.route().map(|route| &route.answer);
        let rewritten = match (shape(&answer)?, rules) {
            (Some(Shape::Json), Some(rules)) if !rules.is_empty() => {
                flow.rewrite(&self, rules, answer.body.as_bytes(), now)?
            }
            _ => None,
        };
        let card = self.card.as_ref();
        let cvv = self.cvv.as_ref().map(|(cvv, _)| cvv);
        with_known(card, cvv, |known| clean(answer, rewritten, known))
    }
}

/// Removes card data from an answer; `rewritten` stands in for its body where there is one.
pub(super) fn clean(
    answer: Answer,
    rewritten: Option<CleartextBody>,
    known: &Known<'_>,
) -> Result<Scrubbed, Refusal> {
    let shape = shape(&answer)?;
    let headers = passed_on(&answer.headers, known);
    let body = rewritten.unwrap_or(answer.body);
    let (body, removed) = match shape {
        None => (body, 0),
        Some(shape) => scrub(body.as_bytes(), shape == Shape::Json, known)
            .map_err(|_| Refusal::AnswerWithheld(Withheld::Unreadable))?,
    };
    Ok(Scrubbed { status: answer.status, headers, body, removed })
}

/// Looks at what was put in, as the scrub wants it.
pub(super) fn with_known<R>(
    card: Option<&Card>,
    cvv: Option<&Cvv>,
    look: impl FnOnce(&Known<'_>) -> R,
) -> R {
    let with_cvv = |pans: &[&[u8]]| match cvv {
        Some(cvv) => cvv.reveal(|cvv| look(&Known { pans, cvvs: &[cvv.as_bytes()] })),
        None => look(&Known { pans, cvvs: &[] }),
    };
    match card {
        Some(card) => card.pan.reveal(|pan| with_cvv(&[pan.as_bytes()])),
        None => with_cvv(&[]),
    }
}

/// `None` when there is nothing to read.
fn shape(answer: &Answer) -> Result<Option<Shape>, Refusal> {
    let coded = answer.headers.get(CONTENT_ENCODING).is_some_and(|value| value != "identity");
    if coded {
        return Err(Refusal::AnswerWithheld(Withheld::Encoded));
    }
    if answer.body.is_empty() {
        return Ok(None);
    }
    let mut kinds = answer.headers.get_all(CONTENT_TYPE).iter();
    let kind = kinds.next().map(HeaderValue::to_str);
    if kinds.next().is_some() {
        return Err(Refusal::AnswerWithheld(Withheld::NotText));
    }
    let kind = match kind {
        Some(Ok(kind)) => kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
        Some(Err(_)) => return Err(Refusal::AnswerWithheld(Withheld::NotText)),
        None => String::new(),
    };
    if kind == "application/json" || kind.ends_with("+json") {
        return Ok(Some(Shape::Json));
    }
    let bytes = answer.body.as_bytes();
    if matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'[')) && parse(bytes).is_ok() {
        return Ok(Some(Shape::Json));
    }
    let textual = kind.is_empty()
        || kind.starts_with("text/")
        || kind.ends_with("xml")
        || kind == "application/x-www-form-urlencoded";
    match textual && std::str::from_utf8(bytes).is_ok() {
        true => Ok(Some(Shape::Text)),
        false => Err(Refusal::AnswerWithheld(Withheld::NotText)),
    }
}

fn passed_on(headers: &HeaderMap, known: &Known<'_>) -> HeaderMap {
    let harmless = |value: &HeaderValue| !contains_card(value.as_bytes(), known);
    PASSED_ON
        .iter()
        .filter_map(|name| Some((name.clone(), headers.get(name)?.clone())))
        .filter(|(_, value)| harmless(value))
        .collect()
}

impl Flow {
    /// Applies the route's rules; `None` when there was nothing to change.
    fn rewrite(
        &self,
        pending: &Pending,
        rules: &AnswerRules,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<CleartextBody>, Refusal> {
        let document = parse(body).map_err(|_| Refusal::AnswerWithheld(Withheld::Unreadable))?;
        let mut changes = Changes::default();
        let audience = audience_of(pending);
        let return_url = pending.return_url.as_ref();
        self.swap_bearers(&document, rules, &audience, return_url, &mut changes, now)?;
        self.restore_callback_urls(&document, rules, &pending.account.name, &mut changes);
        if let Some(value) = rules.challenge.as_ref().and_then(|at| document.find(at)) {
            self.hand_off(pending, value, &mut changes, now)?;
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let rewritten = changes.apply(body);
        rewritten.map(Some).map_err(|_| Refusal::AnswerWithheld(Withheld::Unreadable))
    }

    /// Keeps each bearer token here and puts its handle in its place.
    pub(super) fn swap_bearers(
        &self,
        document: &Document<'_>,
        rules: &AnswerRules,
        audience: &Audience,
        return_url: Option<&SecretBytes>,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let values = rules.bearer.iter().flat_map(|pointer| document.select(pointer));
        for value in values {
            let Some(token) = value.text().filter(|text| !text.as_str().is_empty()) else {
                continue;
            };
            let keep = |context: &[u8]| {
                let life = super::bearer::life(token.as_str(), now).unwrap_or(PAYMENT_LIFE);
                self.vault.keep_bearer(token.as_bytes(), audience, context, life, now)
            };
            let handle = match return_url {
                Some(url) => url.reveal(keep),
                None => keep(b""),
            };
            let handle = handle.map_err(|_| Refusal::AnswerWithheld(Withheld::NotKept))?;
            handle.reveal(|text| changes.put_text(value.span(), text));
        }
        Ok(())
    }

    /// Puts the application's own callback URL back where ours comes back.
    pub(super) fn restore_callback_urls(
        &self,
        document: &Document<'_>,
        rules: &AnswerRules,
        account: &str,
        changes: &mut Changes,
    ) {
        let values = rules.callback_url.iter().flat_map(|pointer| document.select(pointer));
        values.for_each(|value| self.restore_callback_url(value, account, changes));
    }

    fn restore_callback_url(&self, value: Value<'_>, account: &str, changes: &mut Changes) {
        let theirs = value.text().and_then(|text| self.own_callback_url(account, text.as_str()));
        if let Some(url) = theirs {
            changes.put_text(value.span(), &url);
        }
    }
}

fn audience_of(pending: &Pending) -> Audience {
    Audience {
        tenant: pending.tenant.clone(),
        account: crate::vault::Account::new(&pending.account.name),
        mode: pending.account.mode,
    }
}
