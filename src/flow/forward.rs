//! An application's request → [`Prepared`]: tokens become cards, virtual credentials real ones.
//!
//! Only the bytes of the named values change. Nothing is consumed until everything else has been
//! checked: a request that is refused costs no token and no CVV.

use std::sync::Arc;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::caller::App;
use crate::card::{Card, Cvv, Timestamp};
use crate::credential::Scheme;
use crate::limit::Exceeded;
use crate::provider::{Account, Api, ProviderHost, Reveal, Route, is_plain_path};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Audience, Bearer, CvvLease, VaultError};
use crate::wire::{Encoding, Known, contains_card};

use super::changes::Changes;
use super::fields::{self, Content, Fields};
use super::handle_context::HandleContext;
use super::identify::{Asked, Identified, Shown};
use super::inquiry::Inquiry;
use super::once::{Claimed, Repeated};
use super::passed;
use super::payment::Claims;
use super::pen::{Pen, Put};
use super::proof::Draft;
use super::reveal::{Clear, Disclosure, Revealed, Tokens};
use super::{Flow, Forwarded, Refusal};

/// The longest callback URL of an application: ours holds it sealed and must stay a usable URL.
const CALLBACK_URL_MAX: usize = 2000;

/// A request from an application, as it came in.
#[derive(Debug)]
pub struct Incoming<'c> {
    /// The method.
    pub method: &'c Method,
    /// The whole path: account, interface and the provider's own path.
    pub path: &'c str,
    /// The query as sent.
    pub query: Option<&'c str>,
    /// All headers.
    pub headers: &'c HeaderMap,
    /// Names of a verified client certificate.
    pub client_names: &'c [String],
    /// The body.
    pub body: CleartextBody,
}

/// Where a call goes: the account, its interface and the route that lets it pass.
#[derive(Debug, Clone, Copy)]
pub struct Place<'f> {
    /// The account.
    pub account: &'f Arc<Account>,
    /// The interface, an index into the profile's.
    pub api: usize,
    /// The route.
    pub route: &'f Route,
    /// Its position in the profile.
    pub(super) position: usize,
}

/// A request in its final form. Private and whole: nothing can be edited after it was signed.
#[derive(Debug)]
pub struct Prepared {
    pub(super) target: ProviderHost,
    pub(super) method: Method,
    pub(super) path_and_query: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: CleartextBody,
    /// Where card data is in it.
    pub(super) disclosure: Option<Disclosure>,
}

impl Prepared {
    /// What has to be recorded before it is sent.
    pub fn disclosure(&mut self) -> Option<Disclosure> {
        self.disclosure.take()
    }

    /// Gives the parts to the one that sends them, once.
    pub fn into_parts(
        self,
    ) -> (ProviderHost, Method, String, Vec<(HeaderName, HeaderValue)>, CleartextBody) {
        (self.target, self.method, self.path_and_query, self.headers, self.body)
    }
}

/// How many values were put in: the `Portcullis-Replaced` header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Replaced {
    /// Card numbers.
    pub pan: u32,
    /// Card verification values.
    pub cvv: u32,
}

/// A request of somebody who may make it.
pub(super) struct Arrived<'f, 'b> {
    pub place: Place<'f>,
    pub api: &'f Api,
    pub upstream: &'f ProviderHost,
    pub body: Option<Fields<'b>>,
    pub known: Identified<'f>,
}

/// What must be remembered until the answer is there. Dropping it burns the CVV.
#[derive(Debug)]
pub struct Pending {
    pub(super) account: Arc<Account>,
    pub(super) audience: Audience,
    pub(super) position: usize,
    pub(super) card: Option<Card>,
    pub(super) cvv: Option<(Cvv, CvvLease)>,
    pub(super) context: Option<HandleContext>,
    pub(super) replaced: Replaced,
    pub(super) signature: Option<SecretBytes>,
    pub(super) bearer: Option<SecretBytes>,
    pub(super) once: Option<Vec<u8>>,
    pub(super) claims: Claims,
    pub(super) inquiry: Option<Box<Inquiry>>,
}

/// What is to be done about a request.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the large one is the rule, and moved once")]
pub enum Ready {
    /// Sign it and send it.
    Send(Draft, Pending),
    /// It was sent before under its idempotency key: the answer.
    Repeated(Repeated),
}

impl Pending {
    /// The route that the call took.
    pub fn route(&self) -> Option<&Route> {
        self.account.profile.routes.get(self.position)
    }

    /// What was put in.
    pub fn replaced(&self) -> Replaced {
        self.replaced
    }

    /// The question for the provider should nobody know what became of the payment, where the
    /// account asks it.
    pub fn inquiry(&mut self) -> Option<Box<Inquiry>> {
        self.inquiry.take()
    }

    /// Remembers the signature that was made, to look for it in the answer.
    pub fn signed(&mut self, signature: Option<SecretBytes>) {
        self.signature = signature;
    }

    /// Nothing came back. Where no byte left, the CVV goes back into the vault and the same signed
    /// request may come again; otherwise both are gone.
    pub fn unanswered(self, forwarded: Forwarded, flow: &Flow, now: Timestamp) {
        if forwarded != Forwarded::No {
            flow.lose(&self.claims, now);
            return;
        }
        if let Some((_, lease)) = self.cvv {
            flow.vault.restore_cvv(lease, now);
        }
        if let Some(key) = self.once {
            flow.vault.unmark(&key);
        }
        // Last: who waits for a claim needs the rest as soon as he has it.
        flow.release(&self.claims);
    }
}

impl Flow {
    /// Finds where a call goes; anything that no profile names is refused.
    pub fn place(&self, method: &Method, path: &str) -> Result<Place<'_>, Refusal> {
        let (account, api, below) = split(path).ok_or(Refusal::RouteUnknown)?;
        let account = self.registry.account(account).ok_or(Refusal::RouteUnknown)?;
        let api = account.profile.api(api).ok_or(Refusal::RouteUnknown)?;
        if !is_plain_path(below) {
            return Err(Refusal::PathRefused);
        }
        let (position, route) =
            account.profile.route(api, method, below).ok_or(Refusal::RouteUnknown)?;
        Ok(Place { account, api, route, position })
    }

    /// Checks everything, puts the card in and fixes the body that will be sent. `allow` is asked
    /// once it is known who calls, before anything is used up.
    pub fn prepare(
        &self,
        incoming: Incoming<'_>,
        allow: impl FnOnce(&App, Place<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Ready, Refusal> {
        let arrived = self.arrive(&incoming, allow, now)?;
        let tokens = self.check(&incoming, &arrived)?;
        let mut claims = Claims::default();
        match self.claim(&incoming, &arrived.known, arrived.place, now)? {
            Claimed::Without => {}
            Claimed::First(claim) => claims.once = Some(claim),
            Claimed::Repeated(repeated) => return Ok(Ready::Repeated(repeated)),
        }
        let made = self.claim_and_put_in(&incoming, arrived, tokens, &mut claims, now);
        match made {
            Ok((draft, pending)) => Ok(Ready::Send(draft, Pending { claims, ..pending })),
            Err(refusal) => {
                self.release(&claims);
                Err(refusal)
            }
        }
    }

    /// Finds out where a request goes, who makes it, and whether he may.
    pub(super) fn arrive<'f, 'b>(
        &'f self,
        incoming: &'b Incoming<'_>,
        allow: impl FnOnce(&App, Place<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Arrived<'f, 'b>, Refusal> {
        let place = self.place(incoming.method, incoming.path)?;
        let api = place.account.profile.apis.get(place.api).ok_or(Refusal::RouteUnknown)?;
        let upstream = place.account.upstreams.get(place.api).and_then(Option::as_ref);
        let upstream = upstream.ok_or(Refusal::UpstreamMissing)?;
        check_body(incoming, place.route.encoding)?;
        let body = match incoming.body.is_empty() {
            true => None,
            false => Some(fields::read(place.route.encoding, incoming.body.as_bytes())?),
        };
        let shown = Shown { headers: incoming.headers, client_names: incoming.client_names };
        let asked = Asked {
            account: place.account,
            api,
            route: place.route,
            body: body.as_ref(),
            raw: incoming.body.as_bytes(),
        };
        let known = self.identify(&shown, asked, now)?;
        allow(known.app, place)?;
        Ok(Arrived { place, api, upstream, body, known })
    }

    /// Checks what can be checked before anything is claimed or looked up. What is wrong with the
    /// tokens is told when they are needed.
    pub(super) fn check<'f>(
        &self,
        incoming: &Incoming<'_>,
        arrived: &Arrived<'f, '_>,
    ) -> Result<Result<Tokens<'f>, Refusal>, Refusal> {
        let (route, body) = (arrived.place.route, arrived.body.as_ref());
        let tokens = read_tokens(body, &route.request.reveal);
        refuse_raw_card(incoming, body, route, &tokens)?;
        self.vault.room_for_payment().or_else(|full| unless_read(incoming, full))?;
        Ok(tokens)
    }

    /// Writes what the rules of the route put into the body; the card comes last.
    pub(super) fn walk<P: Pen>(
        &self,
        arrived: &Arrived<'_, '_>,
        tokens: Result<Tokens<'_>, Refusal>,
        audience: &Audience,
        pen: &mut P,
        now: Timestamp,
    ) -> Result<Revealed<P::Card, P::Code>, Refusal> {
        let Arrived { place, api, body, known, .. } = arrived;
        if let Some(fields) = body {
            self.swap_callback_urls(fields, *place, known.app, pen)?;
            self.open_sealed(fields, *place, known.app, pen)?;
            swap_value(fields, api, place.account, known.bearer.as_ref(), pen)?;
        }
        self.reveal(tokens?, audience, pen, now)
    }

    /// Claims the payment, then puts the card in.
    fn claim_and_put_in(
        &self,
        incoming: &Incoming<'_>,
        arrived: Arrived<'_, '_>,
        tokens: Result<Tokens<'_>, Refusal>,
        claims: &mut Claims,
        now: Timestamp,
    ) -> Result<(Draft, Pending), Refusal> {
        claims.payment = self.claim_payment(&arrived, now)?;
        self.put_in(incoming, arrived, tokens, now)
    }

    /// Puts the card in and fixes the body that will be sent.
    fn put_in(
        &self,
        incoming: &Incoming<'_>,
        arrived: Arrived<'_, '_>,
        tokens: Result<Tokens<'_>, Refusal>,
        now: Timestamp,
    ) -> Result<(Draft, Pending), Refusal> {
        let mut changes = Changes::to(arrived.place.route.encoding);
        let audience = audience(arrived.known.app, arrived.place.account);
        let revealed = self.walk(&arrived, tokens, &audience, &mut changes, now)?;
        let Arrived { place, upstream, body, known, .. } = arrived;
        let (bearer, context) = match known.bearer {
            Some(Bearer { secret, context, .. }) => {
                (Some(secret), Some(HandleContext::kept(context)))
            }
            None => (None, body.as_ref().and_then(|fields| HandleContext::named(fields, place))),
        };
        let inquiry = Inquiry::about(place, known.app, body.as_ref(), context.as_ref());
        let done = changes.apply(incoming.body.as_bytes()).map_err(Refusal::from);
        let done = done.and_then(|body| {
            self.mark_once(known.once.as_deref(), place.route, now).map(|()| body)
        });
        let (body, mut revealed) = revealed.unless_refused(done, &self.vault, now)?;
        let draft = Draft {
            account: place.account.clone(),
            api: place.api,
            position: place.position,
            target: upstream.clone(),
            method: incoming.method.clone(),
            path_and_query: path_and_query(upstream, incoming),
            headers: passed::headers(incoming.headers, known.authorization, place.route),
            body,
            disclosure: disclosed(&mut revealed, known.app, place),
        };
        let pending = Pending {
            account: place.account.clone(),
            audience,
            position: place.position,
            replaced: revealed.replaced,
            card: revealed.card,
            cvv: revealed.cvv,
            context,
            signature: None,
            bearer,
            once: known.once,
            claims: Claims::default(),
            inquiry,
        };
        Ok((draft, pending))
    }

    /// Puts our callback URLs where the application's are; its own are sealed inside ours.
    fn swap_callback_urls(
        &self,
        fields: &Fields<'_>,
        place: Place<'_>,
        app: &App,
        pen: &mut impl Pen,
    ) -> Result<(), Refusal> {
        for pointer in &place.route.request.callback_url {
            let Some(field) = fields.find(pointer)? else { continue };
            let text = match &field.content {
                Content::Null => continue,
                Content::Text(text) if text.as_str().is_empty() => continue,
                Content::Text(text) if text.as_str().len() <= CALLBACK_URL_MAX => text,
                _ => return Err(Refusal::FieldInvalid(pointer.to_string())),
            };
            let ours = self.callback_url(&place.account.name, app, text.as_str());
            let ours = ours.ok_or_else(|| Refusal::FieldInvalid(pointer.to_string()))?;
            pen.put(Put::CallbackUrl, pointer, field.span, |changes| {
                changes.put_text(field.span, &ours);
            });
        }
        Ok(())
    }

    /// Opens what a callback handed out sealed; other values are passed on as they are.
    fn open_sealed(
        &self,
        fields: &Fields<'_>,
        place: Place<'_>,
        app: &App,
        pen: &mut impl Pen,
    ) -> Result<(), Refusal> {
        for pointer in &place.route.request.sealed {
            let Some(field) = fields.find(pointer)? else { continue };
            let Content::Text(text) = &field.content else { continue };
            let Some(sealed) = text.as_str().strip_prefix(super::SEALED_PREFIX) else { continue };
            let purpose = super::sealed_purpose(place.account, &app.tenant);
            let opened = self.vault.open_text(&purpose, sealed);
            let opened = opened.ok_or_else(|| Refusal::TokenUnknown(pointer.to_string()))?;
            pen.put(Put::Sealed, pointer, field.span, |changes| {
                changes.put_secret(field.span, &opened);
            });
        }
        Ok(())
    }
}

/// What is to be recorded before the request leaves, when a card is in it.
fn disclosed(revealed: &mut Revealed, app: &App, place: Place<'_>) -> Option<Disclosure> {
    let route = (&place.account.name, &place.route.name);
    revealed.card.is_some().then(|| revealed.disclosure(&app.tenant, route.0, route.1))
}

/// A read shows what became of a payment, so it is let through to a vault without room.
fn unless_read(incoming: &Incoming<'_>, full: VaultError) -> Result<(), Refusal> {
    if *incoming.method == Method::GET { Ok(()) } else { Err(full.into()) }
}

/// Who redeems, and for what.
pub(super) fn audience(app: &App, account: &Account) -> Audience {
    Audience {
        tenant: app.tenant.clone(),
        account: crate::vault::Account::named(&account.name),
        mode: account.mode,
    }
}

/// Account, interface and the provider's own path, which begins with a slash.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (account, rest) = path.strip_prefix('/')?.split_once('/')?;
    let end = rest.bytes().position(|byte| byte == b'/')?;
    let (api, below) = rest.split_at_checked(end)?;
    Some((account, api, below))
}

/// One content type, the route's own, no coding; a body exactly where the method has one.
fn check_body(incoming: &Incoming<'_>, encoding: Encoding) -> Result<(), Refusal> {
    if incoming.headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::ContentEncodingRefused);
    }
    let with_body = *incoming.method != Method::GET && *incoming.method != Method::DELETE;
    if with_body == incoming.body.is_empty() {
        return Err(Refusal::BodyUnexpected);
    }
    match (with_body, encoding) {
        (false, _) => Ok(()),
        (true, Encoding::Json) => json_only(incoming.headers),
        (true, Encoding::Form) => form_only(incoming.headers),
    }
}

/// Refuses anything but one `Content-Type` that says JSON, without a charset or in UTF-8.
pub(super) fn json_only(headers: &HeaderMap) -> Result<(), Refusal> {
    one_of(headers, &[passed::JSON, "application/vnd.api+json"])
}

/// Refuses anything but one `Content-Type` that says a URL-encoded form.
pub(super) fn form_only(headers: &HeaderMap) -> Result<(), Refusal> {
    one_of(headers, &["application/x-www-form-urlencoded"])
}

fn one_of(headers: &HeaderMap, kinds: &[&str]) -> Result<(), Refusal> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let (Some(value), None) = (value, values.next()) else {
        return Err(Refusal::ContentTypeRefused);
    };
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let is =
        |text: &str, known: &[&str]| known.iter().any(|known| known.eq_ignore_ascii_case(text));
    let utf8 = parts.all(|parameter| is(parameter, &["charset=utf-8", "charset=\"utf-8\""]));
    if is(kind, kinds) && utf8 { Ok(()) } else { Err(Refusal::ContentTypeRefused) }
}

fn read_tokens<'r>(body: Option<&Fields<'_>>, rules: &'r [Reveal]) -> Result<Tokens<'r>, Refusal> {
    body.map_or_else(|| Ok(Tokens::default()), |fields| Tokens::read(fields, rules, Clear::Refused))
}

/// The application must not have a card number, so none may come from it, in no place and disguise.
fn refuse_raw_card(
    incoming: &Incoming<'_>,
    body: Option<&Fields<'_>>,
    route: &Route,
    tokens: &Result<Tokens<'_>, Refusal>,
) -> Result<(), Refusal> {
    let nothing = Known { pans: &[], cvvs: &[] };
    let holds = |text: &str| contains_card(text.as_bytes(), &nothing);
    if incoming.query.is_some_and(holds) || (!route.path.is_literal() && holds(incoming.path)) {
        return Err(Refusal::RawCard(None));
    }
    if passed::holds_card(incoming.headers) {
        return Err(Refusal::RawCard(None));
    }
    let Some(fields) = body else { return Ok(()) };
    let tokens = tokens.as_ref().ok();
    // Before it is asked whether the field is text: a number, too, may be a card's.
    if route.reveals() && fields.raw_cvv() {
        return Err(Refusal::RawCard(None));
    }
    if let Some(found) = fields.raw_card(tokens) {
        let at_field = route.request.reveal.iter().find(|reveal| {
            let field = fields.find(&reveal.pointer).ok().flatten();
            field.is_some_and(|f| f.span.start <= found.start && found.end <= f.span.end)
        });
        return Err(Refusal::RawCard(at_field.map(|reveal| reveal.pointer.to_string())));
    }
    // Where tokens were read, every field that may hold one was looked at.
    let not_text = if tokens.is_none() { fields.not_text(route) } else { None };
    not_text.map_or(Ok(()), |pointer| Err(Refusal::FieldNotText(pointer)))
}

/// Puts the real value where the application holds a virtual one, or a handle.
fn swap_value(
    fields: &Fields<'_>,
    api: &Api,
    account: &Account,
    bearer: Option<&Bearer>,
    pen: &mut impl Pen,
) -> Result<(), Refusal> {
    let Some(pointer) = &api.value else { return Ok(()) };
    let field = fields.find(pointer)?;
    let field = field.ok_or_else(|| Refusal::FieldMissing(pointer.to_string()))?;
    let (rule, real) = match (api.credential, bearer) {
        (Scheme::BodyValue, _) => {
            let real = account.credentials.public_key.as_ref().ok_or(Refusal::UpstreamMissing)?;
            (Put::Credential, real)
        }
        (Scheme::HandleValue, Some(bearer)) => (Put::Handle, &bearer.secret),
        // A digest is put in when the body is final.
        _ => return Ok(()),
    };
    pen.put(rule, pointer, field.span, |changes| changes.put_secret(field.span, real));
    Ok(())
}

/// The provider's own path and the query, as sent.
pub(super) fn path_and_query(upstream: &ProviderHost, incoming: &Incoming<'_>) -> String {
    let below = split(incoming.path).map_or("/", |(_, _, below)| below);
    let (mark, query) = incoming.query.map_or(("", ""), |query| ("?", query));
    [upstream.base_path(), below, mark, query].concat()
}
