//! The browser comes back from the access control server: its request goes on to the provider's own
//! return address, with the same method, the same bytes and the same content type, at most once.
//!
//! State `issued → relaying → done` by compare-and-set. Cookies play no part: the post is
//! cross-site.

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use url::Url;

use crate::card::{RelayId, Timestamp};
use crate::provider::{Account, ProviderHost, RelayMode};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Begun, RelayState};
use crate::wire::{Known, contains_card, scan_shown};

use super::answer::{Shape, clean, shape};
use super::challenge::WayBack;
use super::conceal::Concealed;
use super::forward::Prepared;
use super::packed::{Packer, Unpacker};
use super::passed::PASSED_ON;
use super::{Answer, Flow, Forwarded, Refusal};

/// What the browser brought back.
#[derive(Debug)]
pub struct Return<'r> {
    /// GET or POST.
    pub method: &'r Method,
    /// The query as sent.
    pub query: Option<&'r str>,
    /// All headers.
    pub headers: &'r HeaderMap,
    /// The body as sent.
    pub body: CleartextBody,
}

/// What is to be done about it.
#[derive(Debug)]
pub enum Step {
    /// Send this, then call [`Flow::finish_return`].
    Send(Box<Prepared>, Ticket),
    /// Answer the browser.
    Answer(Relayed),
    /// Another request is being relayed: wait and ask again.
    Wait,
    /// A GET without a result: nothing is relayed, nothing is used up.
    Idle,
}

/// Holds the right to finish one return.
#[derive(Debug)]
pub struct Ticket {
    id: RelayId,
    landing: Landing,
    base: String,
}

/// Where the shop takes its customers back.
#[derive(Debug)]
pub(super) struct Landing {
    /// The page for an outcome that nobody knows; empty where the application named none.
    url: String,
    /// Pages of these are the shop's, too: those that its applications open sessions for.
    origins: Vec<String>,
}

impl Landing {
    pub(super) const fn new(url: String, origins: Vec<String>) -> Self {
        Self { url, origins }
    }

    fn is_at(&self, location: &str) -> bool {
        let Ok(at) = Url::parse(location) else { return false };
        let is_host = |url: Url| url.host_str() == at.host_str();
        let origin = at.origin().ascii_serialization();
        self.origins.contains(&origin) || Url::parse(&self.url).is_ok_and(is_host)
    }

    /// Where the customer goes when nobody knows yet: the shop's own page, which asks for the
    /// status, or a page of ours.
    pub(super) fn relayed(&self) -> Relayed {
        match self.url.is_empty() {
            false => see_other(self.url.clone()),
            true => Relayed {
                status: StatusCode::OK,
                location: None,
                content_type: None,
                body: CleartextBody::new(),
            },
        }
    }
}

/// What the browser is told, now and whenever it asks again.
#[derive(Debug)]
pub struct Relayed {
    /// Status.
    pub status: StatusCode,
    /// Where it goes next.
    pub location: Option<String>,
    /// Type of the body.
    pub content_type: Option<String>,
    /// Body; empty where a page of ours is to be shown.
    pub body: CleartextBody,
}

impl Flow {
    /// Decides what happens to a return; the first one wins.
    pub fn begin_return(
        &self,
        id: &str,
        back: Return<'_>,
        now: Timestamp,
    ) -> Result<Step, Refusal> {
        let id = RelayId::parse(id).map_err(|_| Refusal::SessionUnknown)?;
        let relay = self.vault.relay(&id, now).map_err(|_| Refusal::SessionUnknown)?;
        if relay.state == RelayState::Done {
            return self.look(&id, relay.state, now);
        }
        let kept = relay.payload.reveal(WayBack::unpack).ok_or(Refusal::SessionUnknown)?;
        let account = self.registry.account(&kept.account).ok_or(Refusal::SessionUnknown)?;
        let result_fields = &account.profile.challenge.result_fields;
        if back.method == Method::GET && !carries_result(back.query, result_fields) {
            return self.look(&id, relay.state, now);
        }
        let url = Url::parse(&kept.term_url).map_err(|_| Refusal::SessionUnknown)?;
        let host = ProviderHost::of_url(&url, &account.three_ds.hosts);
        let host = host.ok_or(Refusal::SessionUnknown)?;
        match self.vault.begin_relay(&id, now).map_err(|_| Refusal::SessionUnknown)? {
            Begun::InFlight => Ok(Step::Wait),
            Begun::Done(result) => result.reveal(Relayed::unpack).map(Step::Answer),
            Begun::First(_) => Ok(self.first(id, &kept, account, host, back, now)),
        }
    }

    /// A GET that brings no result shows what there is: our waiting page asks that way.
    fn look(&self, id: &RelayId, state: RelayState, now: Timestamp) -> Result<Step, Refusal> {
        match state {
            RelayState::Issued => Ok(Step::Idle),
            RelayState::Relaying => Ok(Step::Wait),
            RelayState::Done => match self.vault.begin_relay(id, now) {
                Ok(Begun::Done(result)) => result.reveal(Relayed::unpack).map(Step::Answer),
                _ => Err(Refusal::SessionUnknown),
            },
        }
    }

    /// The outcome of a return that another request relays, once there is one.
    pub fn return_outcome(&self, id: &str, now: Timestamp) -> Result<Option<Relayed>, Refusal> {
        let id = RelayId::parse(id).map_err(|_| Refusal::SessionUnknown)?;
        let relay = self.vault.relay(&id, now).map_err(|_| Refusal::SessionUnknown)?;
        match self.look(&id, relay.state, now)? {
            Step::Answer(relayed) => Ok(Some(relayed)),
            Step::Wait | Step::Send(..) => Ok(None),
            // The other request sent nothing and gave the return back.
            Step::Idle => Err(Refusal::ReturnNotRelayed),
        }
    }

    fn first(
        &self,
        id: RelayId,
        kept: &WayBack,
        account: &Account,
        host: ProviderHost,
        back: Return<'_>,
        now: Timestamp,
    ) -> Step {
        let landing = Landing::new(kept.return_url.clone(), self.origins_at(&account.name));
        let ticket = Ticket { id, landing, base: kept.term_url.clone() };
        match account.three_ds.relay {
            RelayMode::Server => {
                Step::Send(Box::new(same_request(&kept.term_url, host, back)), ticket)
            }
            RelayMode::Redirect307 => {
                // Whoever asks again is told the same: here the provider sees to it that it acts
                // once.
                let relayed = Relayed {
                    status: StatusCode::TEMPORARY_REDIRECT,
                    location: Some(with_query(&kept.term_url, &back)),
                    content_type: None,
                    body: CleartextBody::new(),
                };
                self.close(&ticket, &relayed, now);
                Step::Answer(relayed)
            }
        }
    }

    /// Turns the provider's answer, or its absence, into what the browser is told.
    pub fn finish_return(
        &self,
        ticket: Ticket,
        outcome: Result<Answer, Forwarded>,
        now: Timestamp,
    ) -> Result<Relayed, Refusal> {
        let relayed = match outcome {
            Err(Forwarded::No) => {
                self.vault.abandon_relay(&ticket.id, now);
                return Err(Refusal::ReturnNotRelayed);
            }
            Err(Forwarded::Unknown | Forwarded::Yes) => ticket.landing.relayed(),
            Ok(answer) => {
                let nothing = Known { pans: &[], cvvs: &[] };
                passed_back(answer, &ticket.base, &ticket.landing, &nothing)
            }
        };
        self.close(&ticket, &relayed, now);
        Ok(relayed)
    }

    fn close(&self, ticket: &Ticket, relayed: &Relayed, now: Timestamp) {
        // A result that cannot be kept leaves the state at `relaying`: a second request waits and
        // is then shown the waiting page, and nothing is relayed twice.
        let _ = self.vault.finish_relay(&ticket.id, relayed.pack(), now);
    }
}

fn carries_result(query: Option<&str>, names: &[String]) -> bool {
    let mut pairs = url::form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs.any(|(name, _)| names.is_empty() || names.iter().any(|known| *known == name))
}

/// The received request at the provider's address: its query stays, a received one is appended.
fn same_request(term_url: &str, host: ProviderHost, back: Return<'_>) -> Prepared {
    let headers = PASSED_ON
        .iter()
        .filter(|name| *name != CONTENT_TYPE || !back.body.is_empty())
        .filter_map(|name| Some((name.clone(), back.headers.get(name)?.clone())))
        .collect();
    let whole = with_query(term_url, &back);
    let path_and_query = path_and_query(&whole);
    // A body on a GET means nothing (RFC 9110 section 9.3.1) and could be read as another request.
    let body = if *back.method == Method::GET { CleartextBody::new() } else { back.body };
    let (method, disclosure) = (back.method.clone(), None);
    Prepared { target: host, method, path_and_query, headers, body, disclosure }
}

fn with_query(term_url: &str, back: &Return<'_>) -> String {
    let base = term_url.split('#').next().unwrap_or_default();
    match back.query.filter(|query| !query.is_empty()) {
        Some(query) if base.contains('?') => format!("{base}&{query}"),
        Some(query) => format!("{base}?{query}"),
        None => base.to_owned(),
    }
}

/// What follows the authority, untouched; a path begins with a slash (RFC 9112 section 3.2.1).
pub(super) fn path_and_query(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let from = rest.find(['/', '?', '#']).and_then(|at| rest.get(at..)).unwrap_or_default();
    let from = from.split('#').next().unwrap_or_default();
    if from.starts_with('/') { from.to_owned() } else { format!("/{from}") }
}

/// The provider's answer for the browser, without cookies and without a card that it would show; a
/// redirect becomes 303, so that the result is not posted to the shop (RFC 9110 section 15.4.4).
///
/// What is encoded goes on as it is: it may be the challenge on its way to the bank, whose `PaReq`
/// holds the number.
pub(super) fn passed_back(
    answer: Answer,
    base: &str,
    landing: &Landing,
    known: &Known<'_>,
) -> Relayed {
    let location =
        location(&answer.headers, base).filter(|location| !takes_card(location, landing, known));
    let redirects = (300..400).contains(&answer.status);
    match (redirects, location) {
        (true, Some(location)) => see_other(location),
        (true, None) => landing.relayed(),
        (false, _) => page(answer, known).unwrap_or_else(|| landing.relayed()),
    }
}

/// The way to the shop takes no card in whatever form, the way to anybody else none in clear.
fn takes_card(location: &str, landing: &Landing, known: &Known<'_>) -> bool {
    match landing.is_at(location) {
        true => contains_card(location.as_bytes(), known),
        false => !scan_shown(location.as_bytes(), known).is_empty(),
    }
}

fn page(answer: Answer, known: &Known<'_>) -> Option<Relayed> {
    let text = shape(&answer).ok()?.filter(|shape| *shape != Shape::Json);
    let body = answer.body.as_bytes();
    let shown = text.map(|text| text.search(body, |text| scan_shown(text, known)));
    let scrubbed = clean(answer, shown, known, &Concealed::default()).ok()?;
    let (status, headers, body) = scrubbed.into_parts();
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    Some(Relayed {
        status: StatusCode::from_u16(status).ok()?,
        location: None,
        content_type: content_type.map(str::to_owned),
        body,
    })
}

/// Where the provider sends the browser: an http(s) address, made whole against the return address.
/// It goes on as it came only where nothing is left to the page that it is read from: `https:a/b`
/// is relative to an https page (WHATWG URL, "special relative or authority state").
fn location(headers: &HeaderMap, base: &str) -> Option<String> {
    let text = headers.get(LOCATION)?.to_str().ok()?;
    let url = Url::parse(base).ok()?.join(text).ok()?;
    let nobody = url.username().is_empty() && url.password().is_none();
    let plain = matches!(url.scheme(), "https" | "http") && nobody;
    let is_whole = ["https://", "http://"].iter().any(|scheme| text.starts_with(scheme));
    let whole = if is_whole { text.to_owned() } else { url.to_string() };
    plain.then_some(whole)
}

fn see_other(location: String) -> Relayed {
    Relayed {
        status: StatusCode::SEE_OTHER,
        location: Some(location),
        content_type: None,
        body: CleartextBody::new(),
    }
}

impl Relayed {
    pub(super) fn pack(&self) -> SecretBytes {
        Packer::default()
            .put(self.status.as_str().as_bytes())
            .put(self.location.as_deref().unwrap_or_default().as_bytes())
            .put(self.content_type.as_deref().unwrap_or_default().as_bytes())
            .put(self.body.as_bytes())
            .close()
    }

    pub(super) fn unpack(payload: &[u8]) -> Result<Self, Refusal> {
        let mut unpacker = Unpacker::new(payload);
        let mut read = || {
            let status = StatusCode::from_bytes(unpacker.bytes()?).ok()?;
            let location = unpacker.owned()?;
            let content_type = unpacker.owned()?;
            let mut body = CleartextBody::new();
            body.extend_from_slice(unpacker.bytes()?);
            Some(Self {
                status,
                location: Some(location).filter(|text| !text.is_empty()),
                content_type: Some(content_type).filter(|text| !text.is_empty()),
                body,
            })
        };
        read().ok_or(Refusal::SessionUnknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_providers_query_stays_and_the_browsers_is_appended() {
        let headers = HeaderMap::new();
        let back = |query| Return {
            method: &Method::GET,
            query,
            headers: &headers,
            body: CleartextBody::new(),
        };
        let whole = |url, query| with_query(url, &back(query));
        assert_eq!(whole("https://a.b/c?pid=1", Some("MD=x%2B")), "https://a.b/c?pid=1&MD=x%2B");
        assert_eq!(whole("https://a.b/c", Some("MD=")), "https://a.b/c?MD=");
        assert_eq!(whole("https://a.b/c?pid=%41+b", None), "https://a.b/c?pid=%41+b");
        assert_eq!(path_and_query("https://a.b/c?pid=%41+b"), "/c?pid=%41+b");
        assert_eq!(path_and_query("https://a.b"), "/");
        assert_eq!(path_and_query("https://a.b:9/"), "/");
        assert_eq!(path_and_query("https://a.b?x=/y#z"), "/?x=/y");
    }

    #[test]
    fn a_get_without_a_result_is_not_one() {
        let names = ["PaRes", "cres", "MD"].map(str::to_owned);
        for (query, named, any) in [
            (None, false, false),
            (Some(""), false, false),
            (Some("&"), false, false),
            (Some("pares=1"), false, true),
            (Some("PaRes=1"), true, true),
            (Some("a=b&MD="), true, true),
            (Some("cres=x"), true, true),
        ] {
            assert_eq!(carries_result(query, &names), named, "{query:?}");
            assert_eq!(carries_result(query, &[]), any, "{query:?}");
        }
    }

    #[test]
    fn only_web_addresses_are_passed_back() {
        let at = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(LOCATION, text.parse().unwrap());
            location(&headers, "https://psp.example/3ds?x=1")
        };
        assert_eq!(at("https://shop.example/a?b#c").as_deref(), Some("https://shop.example/a?b#c"));
        assert_eq!(at("/done").as_deref(), Some("https://psp.example/done"));
        for relative in ["https:done", "https:/done", " /done", "\\done"] {
            assert_eq!(at(relative).as_deref(), Some("https://psp.example/done"), "{relative}");
        }
        let other = Some("https://bank.example/a");
        for whole in ["//bank.example/a", "HTTPS://bank.example/a", "\\/bank.example/a"] {
            assert_eq!(at(whole).as_deref(), other, "{whole}");
        }
        assert_eq!(at("javascript:alert(1)"), None);
        assert_eq!(at("data:text/html,x"), None);
    }
}
