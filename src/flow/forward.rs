//! An application's request → [`Prepared`]: tokens become cards, virtual credentials real ones.
//!
//! Only the bytes of the named values change. Nothing is consumed until everything else has been
//! checked: a request that is refused costs no token and no CVV.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::caller::App;
use crate::card::{Card, Cvv, Timestamp};
use crate::provider::{Account, Api, ProviderHost, Route, is_plain_path};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Audience, CvvLease, Tenant};
use crate::wire::{Document, Kind, Known, Pointer, Value, contains_card, parse, scan_json};

use super::changes::Changes;
use super::identify::Shown;
use super::{Flow, Forwarded, Refusal, text_at};

/// Request headers that go on to a provider; everything else stays here (threat T13).
const PASSED_ON: [HeaderName; 4] = [
    http::header::ACCEPT,
    http::header::ACCEPT_LANGUAGE,
    http::header::CONTENT_TYPE,
    http::header::USER_AGENT,
];

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
    position: usize,
}

/// A request in its final form. Private and whole: nothing can be edited after it was signed.
#[derive(Debug)]
pub struct Prepared {
    pub(super) target: ProviderHost,
    pub(super) method: Method,
    pub(super) path_and_query: String,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    pub(super) body: CleartextBody,
}

impl Prepared {
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

/// What must be remembered until the answer is there. Dropping it burns the CVV.
#[derive(Debug)]
pub struct Pending {
    pub(super) account: Arc<Account>,
    pub(super) tenant: Tenant,
    pub(super) position: usize,
    pub(super) card: Option<Card>,
    pub(super) cvv: Option<(Cvv, CvvLease)>,
    pub(super) return_url: Option<SecretBytes>,
    pub(super) replaced: Replaced,
}

impl Pending {
    /// The route that the call took.
    pub fn route(&self) -> Option<&Route> {
        self.account.profile.routes.get(self.position)
    }

    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account.name
    }

    /// The application's name.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// What was put in.
    pub fn replaced(&self) -> Replaced {
        self.replaced
    }

    /// Nothing came back. Where no byte left, the CVV goes back into the vault; otherwise it is
    /// gone.
    pub fn unanswered(self, forwarded: Forwarded, flow: &Flow, now: Timestamp) {
        if let (Forwarded::No, Some((_, lease))) = (forwarded, self.cvv) {
            flow.vault.restore_cvv(lease, now);
        }
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

    /// Checks everything, puts the card in and fixes the request that will be sent.
    pub fn prepare(
        &self,
        incoming: Incoming<'_>,
        now: Timestamp,
    ) -> Result<(Prepared, Pending), Refusal> {
        let place = self.place(incoming.method, incoming.path)?;
        let api = place.account.profile.apis.get(place.api).ok_or(Refusal::RouteUnknown)?;
        let upstream = place.account.upstreams.get(place.api).and_then(Option::as_ref);
        let upstream = upstream.ok_or(Refusal::UpstreamMissing)?;
        check_body(&incoming)?;
        let document = match incoming.body.is_empty() {
            true => None,
            false => Some(parse(incoming.body.as_bytes())?),
        };
        let shown = Shown { headers: incoming.headers, client_names: incoming.client_names };
        let known = self.identify(&shown, place.account, api, document.as_ref(), now)?;
        refuse_raw_card(&incoming, document.as_ref(), place.route)?;

        let audience = Audience {
            tenant: known.app.tenant.clone(),
            account: crate::vault::Account::new(&place.account.name),
            mode: place.account.mode,
        };
        let mut changes = Changes::default();
        let return_url = match (&known.bearer, &document) {
            (Some(bearer), _) => Some(bearer.context.reveal(SecretBytes::from_slice)),
            (None, Some(document)) => return_url(document, place.route),
            (None, None) => None,
        };
        if let Some(document) = &document {
            self.swap_callback_url(document, place, known.app, &mut changes)?;
            swap_body_value(document, api, place.account, &mut changes)?;
        }
        let headers = headers(incoming.headers, known.authorization.as_ref());
        let path_and_query = path_and_query(upstream, &incoming);
        let revealed = match &document {
            Some(document) => self.reveal(document, place.route, &audience, &mut changes, now)?,
            None => super::reveal::Revealed::default(),
        };
        let body = match changes.apply(incoming.body.as_bytes()) {
            Ok(body) => body,
            Err(error) => {
                revealed.give_back(&self.vault, now);
                return Err(error.into());
            }
        };
        let prepared = Prepared {
            target: upstream.clone(),
            method: incoming.method.clone(),
            path_and_query,
            headers,
            body,
        };
        let pending = Pending {
            account: place.account.clone(),
            tenant: audience.tenant,
            position: place.position,
            replaced: revealed.replaced,
            card: revealed.card,
            cvv: revealed.cvv,
            return_url,
        };
        Ok((prepared, pending))
    }

    /// Puts our callback URL where the application's is; its own is sealed inside ours.
    fn swap_callback_url(
        &self,
        document: &Document<'_>,
        place: Place<'_>,
        app: &App,
        changes: &mut Changes,
    ) -> Result<(), Refusal> {
        let Some(pointer) = &place.route.request.callback_url else { return Ok(()) };
        let Some(value) = document.find(pointer) else { return Ok(()) };
        let Some(text) = value.text().filter(|text| !text.as_str().is_empty()) else {
            return Ok(());
        };
        let ours = self.callback_url(&place.account.name, app, text.as_str());
        let ours = ours.ok_or_else(|| Refusal::FieldInvalid(pointer.to_string()))?;
        changes.put_text(value.span(), &ours);
        Ok(())
    }
}

/// Account, interface and the provider's own path, which begins with a slash.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (account, rest) = path.strip_prefix('/')?.split_once('/')?;
    let end = rest.find('/')?;
    let (api, below) = rest.split_at_checked(end)?;
    Some((account, api, below))
}

/// One content type, JSON in UTF-8, no coding; a body exactly where the method has one.
fn check_body(incoming: &Incoming<'_>) -> Result<(), Refusal> {
    if incoming.headers.contains_key(CONTENT_ENCODING) {
        return Err(Refusal::ContentEncodingRefused);
    }
    let with_body = *incoming.method != Method::GET && *incoming.method != Method::DELETE;
    if with_body == incoming.body.is_empty() {
        return Err(Refusal::BodyUnexpected);
    }
    match with_body {
        true => json_only(incoming.headers),
        false => Ok(()),
    }
}

/// Refuses anything but one `Content-Type` that says JSON, without a charset or in UTF-8.
pub(super) fn json_only(headers: &HeaderMap) -> Result<(), Refusal> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok());
    let (Some(value), None) = (value, values.next()) else {
        return Err(Refusal::ContentTypeRefused);
    };
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = kind == "application/json" || kind == "application/vnd.api+json";
    let utf8 = parts.all(|parameter| {
        let parameter = parameter.to_ascii_lowercase();
        matches!(parameter.as_str(), "charset=utf-8" | "charset=\"utf-8\"")
    });
    if json && utf8 { Ok(()) } else { Err(Refusal::ContentTypeRefused) }
}

/// The application must not have a card number, so none may come from it, in no place and disguise.
fn refuse_raw_card(
    incoming: &Incoming<'_>,
    document: Option<&Document<'_>>,
    route: &Route,
) -> Result<(), Refusal> {
    let nothing = Known { pans: &[], cvvs: &[] };
    let query = incoming.query.unwrap_or_default().as_bytes();
    if contains_card(query, &nothing) || contains_card(incoming.path.as_bytes(), &nothing) {
        return Err(Refusal::RawCard(None));
    }
    let Some(document) = document else { return Ok(()) };
    for reveal in &route.request.reveal {
        let kind = document.find(&reveal.pointer).map_or(Kind::Null, Value::kind);
        if !matches!(kind, Kind::String | Kind::Null) {
            return Err(Refusal::FieldNotText(reveal.pointer.to_string()));
        }
    }
    let findings = scan_json(document, &nothing);
    let Some(first) = findings.first() else { return Ok(()) };
    let at_field = route.request.reveal.iter().find(|reveal| {
        document.find(&reveal.pointer).is_some_and(|value| {
            let (field, found) = (value.span(), first.span);
            field.start <= found.start && found.end <= field.end
        })
    });
    Err(Refusal::RawCard(at_field.map(|reveal| reveal.pointer.to_string())))
}

/// Puts the real value where the application holds a virtual one.
fn swap_body_value(
    document: &Document<'_>,
    api: &Api,
    account: &Account,
    changes: &mut Changes,
) -> Result<(), Refusal> {
    let Some(pointer) = &api.body_value else { return Ok(()) };
    let real = account.credentials.public_key.as_ref().ok_or(Refusal::UpstreamMissing)?;
    let value = document.find(pointer).ok_or_else(|| Refusal::FieldMissing(pointer.to_string()))?;
    real.reveal(|real| changes.put_text(value.span(), &String::from_utf8_lossy(real)));
    Ok(())
}

/// Where the customer goes when the outcome of a challenge is not known.
fn return_url(document: &Document<'_>, route: &Route) -> Option<SecretBytes> {
    let text_of = |pointer: &Pointer| text_at(document, pointer);
    let text = route.request.return_url.iter().find_map(text_of)?;
    Some(SecretBytes::from_slice(text.as_bytes()))
}

/// The allow-listed headers, then ours, so that nothing of the application's can override ours.
fn headers(
    incoming: &HeaderMap,
    authorization: Option<&SecretBytes>,
) -> Vec<(HeaderName, HeaderValue)> {
    let mut headers: Vec<(HeaderName, HeaderValue)> = PASSED_ON
        .iter()
        .filter_map(|name| Some((name.clone(), incoming.get(name)?.clone())))
        .collect();
    let value = authorization.and_then(|value| value.reveal(|v| HeaderValue::from_bytes(v).ok()));
    if let Some(mut value) = value {
        value.set_sensitive(true);
        headers.push((AUTHORIZATION, value));
    }
    headers
}

/// The provider's own path and the query, as sent.
fn path_and_query(upstream: &ProviderHost, incoming: &Incoming<'_>) -> String {
    let below = split(incoming.path).map_or("/", |(_, _, below)| below);
    let mut target = format!("{}{below}", upstream.base_path());
    if let Some(query) = incoming.query {
        target.push('?');
        target.push_str(query);
    }
    target
}
