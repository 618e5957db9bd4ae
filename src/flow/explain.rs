//! What would become of a request, without sending it: which rules touch which field, the final
//! request as far as it may be shown, or why it would be refused.
//!
//! It takes the steps of [`Flow::prepare`] up to the one that uses something up. An [`Explanation`]
//! holds no [`Draft`](super::Draft) and can become none, so it cannot be sent. No signature is made
//! for it: one over a card's number would give the number away (threat T6).

use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::caller::App;
use crate::card::Timestamp;
use crate::credential::Scheme;
use crate::limit::Exceeded;
use crate::provider::ProviderHost;
use crate::secret::CleartextBody;
use crate::wire::{Known, contains_card};

use super::forward::{Arrived, Incoming, Place, audience, path_and_query};
use super::object::Object;
use super::outline::{MASK, Outline, Rule, embedded};
use super::pen::Put;
use super::proof::{Signing, masked_headers, signings};
use super::{Flow, Refusal, passed};

/// What would become of a request.
#[derive(Debug)]
pub struct Explanation {
    about: Object,
    rules: CleartextBody,
    told: Told,
}

/// How it would end.
#[derive(Debug)]
enum Told {
    /// The request that would be sent, as far as it may be shown.
    Sent(Object),
    /// With the answer to an earlier one.
    Repeated,
    /// Not at all.
    Refused(Refusal),
}

impl Explanation {
    /// Why it would be refused.
    pub fn refusal(&self) -> Option<&Refusal> {
        match &self.told {
            Told::Refused(refusal) => Some(refusal),
            Told::Sent(_) | Told::Repeated => None,
        }
    }

    /// As it is answered. `problem` is the document that the refusal would be answered with.
    ///
    /// # Errors
    /// A card number is in it, which nothing of the request may have put there.
    pub fn into_json(self, problem: &[u8]) -> Result<CleartextBody, Refusal> {
        let Self { about, rules, told } = self;
        let about = about.raw("rules", rules.as_bytes());
        let told = match told {
            Told::Sent(request) => {
                about.text("outcome", "would_be_sent").object("request", request)
            }
            Told::Repeated => about.text("outcome", "would_be_repeated"),
            Told::Refused(_) => about.text("outcome", "would_be_refused").raw("problem", problem),
        };
        let json = told.close();
        let nothing = Known { pans: &[], cvvs: &[] };
        match contains_card(json.as_bytes(), &nothing) {
            true => Err(Refusal::RawCard(None)),
            false => Ok(json),
        }
    }
}

impl Flow {
    /// Tells what would become of a request. `allow` is asked as for the real one.
    ///
    /// # Errors
    /// What is wrong before it is known who asks is answered as it would be for the real request:
    /// explanations are for those who may call.
    pub fn explain(
        &self,
        incoming: &Incoming<'_>,
        allow: impl FnOnce(&App, Place<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Explanation, Refusal> {
        let arrived = self.arrive(incoming, allow, now)?;
        let Place { account, route, .. } = arrived.place;
        let (profile, api) = (&account.profile, &arrived.api.name);
        let about = Object::new()
            .text("app", arrived.known.app.tenant.as_str())
            .text("account", &account.name)
            .text("provider", &profile.name)
            .text("profile", &profile.file)
            .text("api", api)
            .text("route", &route.name)
            .text("mode", account.mode.as_str());
        let ours = self.public(&format!("/callbacks/{}/{MASK}", account.name));
        let mut outline = Outline::new(route.encoding, ours);
        let told = self.outline(incoming, &arrived, &mut outline, now);
        let told = told.unwrap_or_else(Told::Refused);
        Ok(Explanation { about, rules: outline.rules(&profile.file, api), told })
    }

    /// The steps of a real request, in their order, as far as they use nothing up.
    fn outline(
        &self,
        incoming: &Incoming<'_>,
        arrived: &Arrived<'_, '_>,
        outline: &mut Outline,
        now: Timestamp,
    ) -> Result<Told, Refusal> {
        let Arrived { place, api, known, .. } = arrived;
        let tokens = self.check(incoming, arrived)?;
        if self.would_repeat(incoming, known, *place, now)? {
            return Ok(Told::Repeated);
        }
        self.check_payment(arrived, now)?;
        let audience = audience(known.app, place.account);
        self.walk(arrived, tokens, &audience, outline, now)?;
        note_return_url(arrived, outline)?;
        let signings = signings(place.account, api, !incoming.body.is_empty());
        if let Ok([Some(Signing::Field { place, .. }), _]) = &signings
            && let Some(field) = arrived.body.as_ref().map(|body| body.find(place)).transpose()?
            && let Some(field) = field
        {
            outline.show(Rule::Signature, place, field.span, MASK);
        }
        let body = outline.body(incoming.body.as_bytes())?;
        if known.once.as_ref().is_some_and(|key| self.vault.is_marked(key, now)) {
            return Err(Refusal::CallerReplayed { status_call: place.route.status_call.clone() });
        }
        let headers = headers(incoming, arrived, signings?, outline, now);
        let request = Object::new()
            .text("method", incoming.method.as_str())
            .text("url", &url(arrived.upstream, incoming))
            .object("headers", headers);
        Ok(Told::Sent(match body.is_empty() {
            true => request,
            false => request.raw("body", embedded(place.route.encoding, &body).as_bytes()),
        }))
    }
}

/// The first of the fields that name a page to return to is remembered.
fn note_return_url(arrived: &Arrived<'_, '_>, outline: &mut Outline) -> Result<(), Refusal> {
    let Some(fields) = &arrived.body else { return Ok(()) };
    for pointer in &arrived.place.route.request.return_url {
        if fields.text(pointer)?.is_some() {
            outline.note(Rule::ReturnUrl, pointer);
            break;
        }
    }
    Ok(())
}

fn url(upstream: &ProviderHost, incoming: &Incoming<'_>) -> String {
    let scheme = if upstream.tls() { "https" } else { "http" };
    let authority = upstream.host().authority(upstream.tls());
    [scheme, "://", &authority, &path_and_query(upstream, incoming)].concat()
}

/// The headers that would be sent, with the place of each secret; framing is the connection's.
fn headers(
    incoming: &Incoming<'_>,
    arrived: &Arrived<'_, '_>,
    signings: [Option<Signing<'_>>; 2],
    outline: &mut Outline,
    now: Timestamp,
) -> Object {
    let Arrived { place, api, upstream, known, .. } = arrived;
    let authorization = known.authorization.as_ref().map(masked);
    let passed = passed::headers(incoming.headers, authorization, place.route);
    note_headers(incoming.headers, &passed, api.credential, outline);
    let mut object = Object::new().text("host", &upstream.host().authority(upstream.tls()));
    for (name, value) in &passed {
        object = object.text(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
    }
    for signing in signings.into_iter().flatten() {
        let made = match signing {
            Signing::Field { .. } => continue,
            Signing::Headers { key, merchant } => masked_headers(key, merchant, now),
            Signing::Body { rule, .. } => vec![(rule.header.clone(), MASK.to_owned())],
        };
        for (name, value) in made {
            object = object.text(name.as_str(), &value);
            outline.note_header(Rule::Signature, name);
        }
    }
    object
}

/// What became of the application's own headers.
fn note_headers(
    theirs: &HeaderMap,
    passed: &[(HeaderName, HeaderValue)],
    credential: Scheme,
    outline: &mut Outline,
) {
    let goes_on = |name: &HeaderName| passed.iter().find(|(passed, _)| passed == name);
    let authorized = goes_on(&AUTHORIZATION).is_some();
    if authorized {
        let rule = match credential {
            Scheme::BearerHandle => Put::Handle,
            _ => Put::Credential,
        };
        outline.note_header(Rule::Put(rule), AUTHORIZATION);
    }
    if goes_on(&ACCEPT).is_some_and(|(_, value)| theirs.get(ACCEPT) != Some(value)) {
        outline.note_header(Rule::Accept, ACCEPT);
    }
    for name in theirs.keys().filter(|name| **name != HOST && goes_on(name).is_none()) {
        outline.note_header(Rule::Dropped, name.clone());
    }
}

/// The scheme of a credential, without what it proves.
fn masked(authorization: &HeaderValue) -> HeaderValue {
    let scheme = authorization.as_bytes().split(|byte| *byte == b' ').next().unwrap_or_default();
    let masked = [scheme, b" ", MASK.as_bytes()].concat();
    HeaderValue::from_bytes(&masked).unwrap_or(HeaderValue::from_static(MASK))
}
