//! A provider's answer → [`Scrubbed`]: what was put in and whatever looks like a card is removed,
//! bearer tokens become handles, challenges become our hand-off.
//!
//! Every status is treated alike. What cannot be read without doubt is withheld, never passed on.

use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, DATE, ETAG, LAST_MODIFIED,
    RETRY_AFTER,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::card::{Card, Cvv, Pan, Timestamp};
use crate::provider::{Account, AnswerRules};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::Audience;
use crate::wire::{
    Document, Encoding, Finding, Known, Pointer, Spelled, Text, Value, WireError, contains_card,
    parse, scan_json, scan_text, without,
};

use super::challenge::landing_page;
use super::changes::Changes;
use super::conceal::{Concealed, without_padding};
use super::handle_context::HandleContext;
use super::passed;
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

/// Room for so many headers is below a kilobyte, from which on the system's allocator is slow.
const FEW: usize = 6;

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

    /// The parts, for whoever keeps them.
    pub(super) fn parts(&self) -> (u16, &HeaderMap, &CleartextBody) {
        (self.status, &self.headers, &self.body)
    }

    /// Gives the parts to the one that replies.
    pub fn into_parts(self) -> (u16, HeaderMap, CleartextBody) {
        (self.status, self.headers, self.body)
    }
}

/// How a body is to be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Json,
    /// UTF-8.
    Text,
    /// A byte for each character, the lower half ASCII.
    SingleByte,
}

impl Shape {
    /// Searches a text that is no JSON. Beyond ASCII, single bytes may be blanks and no-break
    /// spaces between digits as well as letters; they are taken for blanks.
    pub(super) fn search(
        self,
        text: &[u8],
        scan: impl FnOnce(&[u8]) -> Vec<Finding>,
    ) -> Vec<Finding> {
        if self != Self::SingleByte {
            return scan(text);
        }
        let mut ascii = CleartextBody::from(text.to_vec());
        let beyond = ascii.as_mut_bytes().iter_mut().filter(|byte| !byte.is_ascii());
        beyond.for_each(|byte| *byte = b' ');
        scan(ascii.as_bytes())
    }
}

/// What an answer or a callback is about, while it is rewritten.
pub(super) struct Scope<'s> {
    pub account: &'s Account,
    pub audience: Audience,
    pub context: Option<&'s HandleContext>,
    pub card: Option<&'s Card>,
    pub cvv: Option<&'s Cvv>,
}

impl Scope<'_> {
    /// Where the customer returns to, if the application said so.
    pub(super) fn return_url(&self) -> Option<String> {
        self.context?.return_url(landing_page)
    }
}

impl Pending {
    /// Cleans the answer. Whatever the outcome, the CVV is gone: the provider has seen it.
    pub fn finish(
        mut self,
        answer: Answer,
        flow: &Flow,
        now: Timestamp,
    ) -> Result<Scrubbed, Refusal> {
        let claims = std::mem::take(&mut self.claims);
        let scrubbed = self.scrub(answer, flow, now);
        flow.settle(&claims, &scrubbed, now);
        scrubbed
    }

    fn scrub(self, answer: Answer, flow: &Flow, now: Timestamp) -> Result<Scrubbed, Refusal> {
        let cvv = self.cvv.as_ref().map(|(cvv, _)| cvv);
        let scope = Scope {
            account: &self.account,
            audience: self.audience.clone(),
            context: self.context.as_ref(),
            card: self.card.as_ref(),
            cvv,
        };
        let mut concealed = Concealed::of(&self.account);
        if let Some(token) = &self.bearer {
            concealed.hold(token);
        }
        let rules = self.route().map(|route| &route.answer).filter(|rules| !rules.is_empty());
        let shape = shape(&answer)?;
        let document = match shape {
            Some(Shape::Json) => Some(parse(answer.body.as_bytes()).map_err(unreadable)?),
            _ => None,
        };
        let rewritten = match (&document, rules) {
            (Some(document), Some(rules)) => {
                flow.rewrite(&scope, rules, document, &mut concealed, now)?
            }
            // What the rules would have taken out of a success is somewhere in this text.
            (None, Some(_)) if shape.is_some() && (200..300).contains(&answer.status) => {
                return Err(Refusal::AnswerWithheld(Withheld::Unreadable));
            }
            _ => None,
        };
        self.refuse_signature(&answer)?;
        // A body that stays as it is has been read once, and that is enough.
        let unchanged = document.as_ref().filter(|_| rewritten.is_none());
        let pan = self.card.as_ref().map(|card| &card.pan);
        let findings =
            unchanged.map(|document| with_known(pan, cvv, |known| scan_json(document, known)));
        drop(document);
        let Answer { status, headers, body } = answer;
        let answer = Answer { status, headers, body: rewritten.unwrap_or(body) };
        let clean = |known: &Known<'_>| clean(answer, findings, known, &concealed);
        with_known(pan, cvv, clean)
    }

    /// A signature over a clear card is as good as the card to whoever can guess.
    fn refuse_signature(&self, answer: &Answer) -> Result<(), Refusal> {
        let (Some(signature), Some(_)) = (&self.signature, &self.card) else { return Ok(()) };
        let holds = |text: &[u8]| {
            let spelled = Spelled::of(text);
            signature.reveal(|sign| match sign.iter().all(u8::is_ascii_hexdigit) {
                true => spelled.holds_in_any_case(sign),
                false => spelled.holds(without_padding(sign)),
            })
        };
        let in_headers = answer.headers.values().any(|value| holds(value.as_bytes()));
        match in_headers || holds(answer.body.as_bytes()) {
            true => Err(Refusal::AnswerWithheld(Withheld::HoldsSignature)),
            false => Ok(()),
        }
    }
}

/// Removes card data from an answer; `findings` are those of its body where it was searched before.
pub(super) fn clean(
    answer: Answer,
    findings: Option<Vec<Finding>>,
    known: &Known<'_>,
    concealed: &Concealed<'_>,
) -> Result<Scrubbed, Refusal> {
    let shape = shape(&answer)?;
    let Answer { status, headers, mut body } = answer;
    let findings = match (findings, shape) {
        (Some(findings), _) => findings,
        (None, None) => Vec::new(),
        (None, Some(Shape::Json)) => scan_json(&parse(body.as_bytes()).map_err(unreadable)?, known),
        (None, Some(text)) => text.search(body.as_bytes(), |text| scan_text(text, known)),
    };
    if !findings.is_empty() {
        body = without(body.as_bytes(), &findings).map_err(unreadable)?;
    }
    let removed = findings.len() + concealed.star_out(&mut body);
    Ok(Scrubbed { status, headers: passed_on(headers, known, concealed), body, removed })
}

pub(super) fn unreadable(_: WireError) -> Refusal {
    Refusal::AnswerWithheld(Withheld::Unreadable)
}

/// Looks at what was put in, as the scrub wants it.
pub(super) fn with_known<R>(
    pan: Option<&Pan>,
    cvv: Option<&Cvv>,
    look: impl FnOnce(&Known<'_>) -> R,
) -> R {
    let with_cvv = |pans: &[&[u8]]| match cvv {
        Some(cvv) => cvv.reveal(|cvv| look(&Known { pans, cvvs: &[cvv.as_bytes()] })),
        None => look(&Known { pans, cvvs: &[] }),
    };
    match pan {
        Some(pan) => pan.reveal(|pan| with_cvv(&[pan.as_bytes()])),
        None => with_cvv(&[]),
    }
}

const NOT_TEXT: Refusal = Refusal::AnswerWithheld(Withheld::NotText);

/// `None` when there is nothing to read.
pub(super) fn shape(answer: &Answer) -> Result<Option<Shape>, Refusal> {
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
        return Err(NOT_TEXT);
    }
    let kind = match kind {
        Some(Ok(kind)) => kind,
        Some(Err(_)) => return Err(NOT_TEXT),
        None => "",
    };
    let end = memchr::memchr(b';', kind.as_bytes()).unwrap_or(kind.len());
    let (kind, parameters) = kind.split_at_checked(end).unwrap_or((kind, ""));
    let charset = charset(parameters).ok_or(NOT_TEXT)?;
    let kind = kind.trim();
    let bytes = answer.body.as_bytes();
    let is = |whole: &str| kind.eq_ignore_ascii_case(whole);
    let ends = |with: &str| {
        let at = kind.len().checked_sub(with.len());
        at.and_then(|at| kind.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(with))
    };
    if is("application/json") || ends("+json") || begins_like_json(bytes) {
        return Ok(Some(Shape::Json));
    }
    let textual = kind.is_empty()
        || begins(kind, "text/")
        || ends("xml")
        || is("application/x-www-form-urlencoded");
    match (textual, charset) {
        (true, Shape::Text) if std::str::from_utf8(bytes).is_err() => Err(NOT_TEXT),
        (true, charset) => Ok(Some(charset)),
        (false, _) => Err(NOT_TEXT),
    }
}

/// Whatever its type says: a text that begins like JSON is read as JSON, and withheld where it is
/// not.
fn begins_like_json(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// Charsets whose ASCII is ASCII; in others the scan would read something else than the
/// application.
fn charset(parameters: &str) -> Option<Shape> {
    let named = parameters.split(';').find_map(|parameter| {
        let (name, value) = parameter.trim().split_once('=')?;
        name.eq_ignore_ascii_case("charset").then(|| value.trim_matches('"'))
    });
    let Some(named) = named else { return Some(Shape::Text) };
    let is = |name: &str| named.eq_ignore_ascii_case(name);
    if is("utf-8") || is("us-ascii") {
        return Some(Shape::Text);
    }
    (begins(named, "iso-8859-") || begins(named, "windows-125")).then_some(Shape::SingleByte)
}

/// Whether a text begins like this, in whatever case.
fn begins(text: &str, with: &str) -> bool {
    text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with))
}

fn passed_on(mut headers: HeaderMap, known: &Known<'_>, concealed: &Concealed<'_>) -> HeaderMap {
    let mut passed = HeaderMap::with_capacity(headers.len().min(FEW));
    for name in PASSED_ON {
        let Some(value) = headers.remove(&name) else { continue };
        let holds = || contains_card(value.as_bytes(), known) || concealed.is_in_header(&value);
        if is_usual(value.as_bytes()) || !holds() {
            passed.insert(name, value);
        }
    }
    passed
}

/// Values that most answers have, in which nothing can be hidden: JSON's name, or a date (RFC 9110
/// section 5.6.7), whose digits are too few and too far apart.
fn is_usual(value: &[u8]) -> bool {
    const DATE: &[u8; 29] = b"Xxx, 00 Xxx 0000 00:00:00 GMT";
    let fits = |(shape, byte): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'X' => byte.is_ascii_uppercase(),
        b'x' => byte.is_ascii_lowercase(),
        _ => byte == shape,
    };
    let is_date = || value.len() == DATE.len() && DATE.iter().zip(value).all(fits);
    let usual = [passed::JSON, "application/json; charset=utf-8"];
    usual.iter().any(|usual| value == usual.as_bytes()) || is_date()
}

impl Flow {
    /// Applies a route's rules; `None` when there was nothing to change.
    pub(super) fn rewrite(
        &self,
        scope: &Scope<'_>,
        rules: &AnswerRules,
        document: &Document<'_>,
        concealed: &mut Concealed<'_>,
        now: Timestamp,
    ) -> Result<Option<CleartextBody>, Refusal> {
        let mut changes = Changes::to(Encoding::Json);
        self.swap_handles(document, rules, scope, &mut changes, concealed, now)?;
        self.restore_callback_urls(document, rules, scope.account, &mut changes);
        self.seal_values(document, rules, scope, &mut changes);
        for value in rules.challenge.iter().filter_map(|at| document.find(at)) {
            self.hand_off(scope, value, &mut changes, now)?;
        }
        if let Some(value) = rules.payform_url.as_ref().and_then(|at| document.find(at)) {
            self.swap_payform_url(scope, value, &mut changes, now)?;
        }
        if changes.is_empty() {
            return Ok(None);
        }
        changes.apply(document.input()).map(Some).map_err(unreadable)
    }

    /// Keeps each secret of this payment here and puts its handle in its place. Pointers are
    /// alternatives: the first that names anything counts.
    fn swap_handles(
        &self,
        document: &Document<'_>,
        rules: &AnswerRules,
        scope: &Scope<'_>,
        changes: &mut Changes,
        concealed: &mut Concealed<'_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let secret = |value: &Value<'_>| {
            let text = value.text();
            text.is_some_and(|text| {
                let text = text.as_str();
                !text.is_empty() && rules.handle_except.iter().all(|word| word != text)
            })
        };
        let found = rules.handle.iter().map(|pointer| {
            let values = document.select(pointer).into_iter();
            values.filter(|value| secret(value)).map(|value| (pointer, value)).collect::<Vec<_>>()
        });
        for (pointer, value) in
            found.into_iter().find(|found| !found.is_empty()).unwrap_or_default()
        {
            let Some(token) = value.text() else { continue };
            let life = super::bearer::life(token.as_str(), now).unwrap_or(PAYMENT_LIFE);
            let secret = token.as_bytes();
            let id = rules.handle_id.as_ref().and_then(|id| id.beside(pointer, value)?.text());
            let context = |earlier: Option<SecretBytes>| {
                let earlier = earlier.map(HandleContext::kept);
                HandleContext::to_keep(scope.context, earlier.as_ref(), id.as_ref())
            };
            let handle = self.vault.keep_bearer(secret, &scope.audience, context, life, now);
            let handle = handle.map_err(|_| Refusal::AnswerWithheld(Withheld::NotKept))?;
            handle.reveal(|text| changes.put_text(value.span(), text));
            concealed.add(secret);
        }
        Ok(())
    }

    /// Puts the application's own callback URL back where ours comes back.
    fn restore_callback_urls(
        &self,
        document: &Document<'_>,
        rules: &AnswerRules,
        account: &Account,
        changes: &mut Changes,
    ) {
        for value in rules.callback_url.iter().flat_map(|pointer| document.select(pointer)) {
            let text = value.text();
            let own = text.and_then(|ours| self.own_callback_url(&account.name, ours.as_str()));
            if let Some(url) = own {
                changes.put_text(value.span(), &url);
            }
        }
    }

    /// Seals secrets for later payments, so that the application can keep them and nobody else can
    /// use them. A value inside a string that holds JSON is replaced there.
    fn seal_values(
        &self,
        document: &Document<'_>,
        rules: &AnswerRules,
        scope: &Scope<'_>,
        changes: &mut Changes,
    ) {
        for inside in &rules.sealed {
            let Some(value) = document.find(&inside.outer) else { continue };
            let Some(text) = value.text() else { continue };
            if let Some(sealed) = self.sealed_text(scope, &text, inside.inner.as_ref()) {
                changes.put_text(value.span(), &sealed);
            }
        }
    }

    /// A text with its secret sealed; `None` when there is none in it.
    pub(super) fn sealed_text(
        &self,
        scope: &Scope<'_>,
        text: &Text<'_>,
        inner: Option<&Pointer>,
    ) -> Option<String> {
        if text.as_str().is_empty() {
            return None;
        }
        let purpose = super::sealed_purpose(scope.account, &scope.audience.tenant);
        let seal = |text: &Text<'_>| {
            let sealed = self.vault.seal_text(&purpose, text.as_bytes());
            format!("{}{sealed}", super::SEALED_PREFIX)
        };
        match inner {
            None => Some(seal(text)),
            Some(pointer) => seal_inside(text.as_bytes(), pointer, &seal),
        }
    }
}

/// The JSON text inside a string, with one of its values sealed.
fn seal_inside(
    text: &[u8],
    pointer: &Pointer,
    seal: &impl Fn(&Text<'_>) -> String,
) -> Option<String> {
    let document = parse(text).ok()?;
    let value = document.find(pointer)?;
    let secret = value.text().filter(|text| !text.as_str().is_empty())?;
    let mut changes = Changes::to(Encoding::Json);
    changes.put_text(value.span(), &seal(&secret));
    let body = changes.apply(text).ok()?;
    String::from_utf8(body.as_bytes().to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_dates_are_usual_and_nothing_like_them() {
        for usual in
            ["application/json", "application/json; charset=utf-8", "Sat, 21 Nov 2026 09:46:31 GMT"]
        {
            assert!(is_usual(usual.as_bytes()), "{usual}");
        }
        for other in [
            "",
            "application/json; note=4000000000000002",
            "Sat, 21 Nov 2026 09:46:31 GMT4",
            "400, 00 000 0000 00:00:02 GMT",
            "Sat, 21 Nov 2026 09:46:31 CET",
        ] {
            assert!(!is_usual(other.as_bytes()), "{other}");
        }
    }
}
