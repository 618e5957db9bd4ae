//! What the public room shows a browser: our pages with their headers, our script, and what a
//! provider's answer becomes.

use bytes::Bytes;
use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION,
    REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::flow::{HandoffPage, Refusal, Relayed};
use crate::page::{self, Language, Notice, Page, Script};

use super::desk::Call;
use super::message::Reply;
use super::reply::{self, set};

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Nothing that a card form needs.
const NO_PERMISSIONS: &str = "camera=(), display-capture=(), geolocation=(), microphone=(), \
                              payment=(), publickey-credentials-get=(), usb=()";

/// A page of ours.
pub(super) fn shown(status: StatusCode, page: Page) -> Reply {
    let mut reply = Reply::empty(status);
    reply.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    set(&mut reply.headers, CONTENT_SECURITY_POLICY, &page.policy);
    reply.body = Bytes::from(page.html);
    reply
}

/// A page that says one thing.
pub(super) fn notice(status: StatusCode, notice: Notice, language: Language) -> Reply {
    shown(status, page::notice(notice, language))
}

/// The page where a card is typed.
pub(super) fn card_form(page: Page) -> Reply {
    let mut reply = shown(StatusCode::OK, page);
    set(&mut reply.headers, PERMISSIONS_POLICY, NO_PERMISSIONS);
    set(&mut reply.headers, OPENER_POLICY, "same-origin");
    set(&mut reply.headers, RESOURCE_POLICY, "same-origin");
    set(&mut reply.headers, VARY, "accept-language");
    reply
}

/// The page that sends the browser on, with the provider's fields.
pub(super) fn handoff(page: &HandoffPage, language: Language) -> Reply {
    let fields = page.fields.iter().map(|(name, value)| (&**name, &**value));
    let handoff = page::handoff(&page.action, &page.method, fields, &page.ancestors, language);
    shown(StatusCode::OK, handoff)
}

/// A script for pages of any origin: it never changes at its address.
pub(super) fn script(script: Script) -> Reply {
    let mut reply = Reply::empty(StatusCode::OK);
    let headers = &mut reply.headers;
    set(headers, CONTENT_TYPE, "text/javascript; charset=utf-8");
    set(headers, CACHE_CONTROL, "public, max-age=31536000, immutable");
    set(headers, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    set(headers, RESOURCE_POLICY, "cross-origin");
    reply.body = Bytes::from_static(script.text.as_bytes());
    reply
}

/// To another address of ours.
pub(super) fn see_other(location: &str) -> Reply {
    let mut reply = Reply::empty(StatusCode::SEE_OTHER);
    set(&mut reply.headers, LOCATION, location);
    reply
}

/// What the browser is told at the end of a return.
pub(super) fn relayed(relayed: Relayed, language: Language) -> Reply {
    let mut reply = Reply::empty(relayed.status);
    if let Some(location) = &relayed.location {
        set(&mut reply.headers, LOCATION, location);
        return reply;
    }
    if relayed.body.is_empty() {
        return notice(relayed.status, Notice::Landed, language);
    }
    let kind = relayed.content_type.as_deref().unwrap_or("text/plain; charset=utf-8");
    set(&mut reply.headers, CONTENT_TYPE, kind);
    set(&mut reply.headers, CONTENT_SECURITY_POLICY, page::foreign_policy());
    reply.body = relayed.body.into_bytes();
    reply
}

/// The provider was not reached, and nothing was sent.
pub(super) fn unreachable(refusal: &Refusal, language: Language, call: &mut Call) -> Reply {
    call.note(&reply::refused(refusal, &call.id));
    notice(StatusCode::SERVICE_UNAVAILABLE, Notice::Unreachable, language)
}

/// The cardholder is told to start again; the code is in the log.
pub(super) fn form_refused(refusal: &Refusal, language: Language, call: &mut Call) -> Reply {
    let refused = reply::refused(refusal, &call.id);
    call.note(&refused);
    notice(refused.reply.status, Notice::NotSent, language)
}

/// The payment may have been made by another form: the same as at the end of one whose outcome
/// nobody knows.
pub(super) fn in_doubt(refusal: &Refusal, language: Language, call: &mut Call) -> Reply {
    let refused = reply::refused(refusal, &call.id);
    call.note(&refused);
    notice(refused.reply.status, Notice::Landed, language)
}

/// Ended, unknown or never there: all look alike.
pub(super) fn gone(refusal: &Refusal, language: Language, call: &mut Call) -> Reply {
    call.note(&reply::refused(refusal, &call.id));
    notice(StatusCode::NOT_FOUND, Notice::Gone, language)
}

/// Every answer here: not stored unless it says so itself, not guessed at, and the address of a
/// payment step in no `Referer`.
pub(super) fn harden(headers: &mut HeaderMap) {
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::CleartextBody;

    /// It may run scripts and post forms, and has no origin: not ours, nor anybody's.
    #[test]
    fn a_page_that_is_passed_on_has_no_origin() {
        let page = Relayed {
            status: StatusCode::OK,
            location: None,
            content_type: Some("text/html".to_owned()),
            body: CleartextBody::from(b"<p>Bank".to_vec()),
        };
        let reply = relayed(page, Language::English);
        let policy = reply.headers.get(CONTENT_SECURITY_POLICY).unwrap().to_str().unwrap();
        let words: Vec<_> = policy.split(';').next().unwrap().split(' ').collect();
        assert_eq!(words.first(), Some(&"sandbox"), "{policy}");
        assert!(!words.contains(&"allow-same-origin"), "{policy}");
        assert!(policy.contains("base-uri 'none'"), "{policy}");
    }
}
