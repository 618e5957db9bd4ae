//! What of an application's headers goes on to a provider, and what we add.

use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::provider::Route;
use crate::wire::{Known, contains_card};

/// A scheme adds so many headers at most.
const SIGNED_HEADERS: usize = 5;

/// Request headers that go on to a provider, an application's and a browser's: no cookies, no
/// credentials, nothing else (threat T13).
pub(super) const PASSED_ON: [HeaderName; 4] = [
    http::header::ACCEPT,
    http::header::ACCEPT_LANGUAGE,
    http::header::CONTENT_TYPE,
    http::header::USER_AGENT,
];

/// The content type of most calls.
pub(super) const JSON: &str = "application/json";
/// The wish of a client that has none.
const ANYTHING: &str = "*/*";

/// Whether a card number stands in a header that would go on.
pub(super) fn holds_card(headers: &HeaderMap) -> bool {
    let nothing = Known { pans: &[], cvvs: &[] };
    let mut passed = PASSED_ON.iter().filter_map(|name| headers.get(name));
    let is_usual = |value: &HeaderValue| value == JSON || value == ANYTHING;
    passed.any(|value| !is_usual(value) && contains_card(value.as_bytes(), &nothing))
}

/// The allow-listed headers, then ours, so that nothing of the application's can override ours.
pub(super) fn headers(
    incoming: &HeaderMap,
    authorization: Option<HeaderValue>,
    route: &Route,
) -> Vec<(HeaderName, HeaderValue)> {
    // Room for what a scheme adds when it signs.
    let mut headers = Vec::with_capacity(PASSED_ON.len() + SIGNED_HEADERS);
    let allowed = PASSED_ON.iter();
    headers.extend(allowed.filter_map(|name| Some((name.clone(), copied(incoming.get(name)?)))));
    if !route.answer.is_empty() {
        want_json(&mut headers);
    }
    headers.extend(authorization.map(|value| (AUTHORIZATION, value)));
    headers
}

/// What most requests say needs no copy.
fn copied(value: &HeaderValue) -> HeaderValue {
    let usual = [JSON, ANYTHING].into_iter().find(|usual| value == usual);
    usual.map_or_else(|| value.clone(), HeaderValue::from_static)
}

/// An answer that is to be rewritten must be JSON: no other wish is passed on.
fn want_json(headers: &mut [(HeaderName, HeaderValue)]) {
    for (name, value) in headers.iter_mut().filter(|(name, _)| name == ACCEPT) {
        let wish = value.as_bytes();
        let fits = memchr::memmem::find(wish, b"json").is_some() || wish == b"*/*";
        if *name == ACCEPT && !fits {
            *value = HeaderValue::from_static("application/json");
        }
    }
}
