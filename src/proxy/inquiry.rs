//! A payment in doubt: the provider is asked once what it knows of it, where the account says so.
//!
//! Whatever goes wrong here leaves the answer that there would have been without it. Must never:
//! ask twice, ask what could move money, or keep anybody waiting longer than the account allows.

use std::time::Instant;

use http::{HeaderName, HeaderValue};
use tokio::time::timeout;

use crate::card::Timestamp;
use crate::flow::{Answer, Inquiry, Learnt};
use crate::limit::Limit;

use super::desk::{Call, Desk, Origin};
use super::message::Reply;

/// What was learnt, for answers of the provider's own as for ours.
const PAYMENT: HeaderName = HeaderName::from_static("portcullis-payment");

/// What can come of it: what the provider knows, or why nobody knows.
pub const RESULTS: [&str; 7] =
    ["yes", "no", "unclear", UNREADABLE, UNANSWERED, LIMITED, INCOMPLETE];
/// The answer says nothing of use.
const UNREADABLE: &str = "unreadable";
/// There was no answer in time.
const UNANSWERED: &str = "unanswered";
/// The application's rate of that call is used up.
const LIMITED: &str = "limited";
/// The request did not have what the payment is asked for by.
const INCOMPLETE: &str = "incomplete";

/// Asks. The time it takes is the provider's.
pub(super) async fn ask(
    desk: &Desk,
    inquiry: &Inquiry,
    sent: Instant,
    call: &mut Call,
) -> Option<Learnt> {
    let learnt = match answer(desk, inquiry, call).await {
        Ok(answer) => inquiry.learn(&answer).ok_or(UNREADABLE),
        Err(reason) => Err(reason),
    };
    call.upstream_since(sent);
    let result = learnt.as_ref().map_or_else(|reason| *reason, |learnt| learnt.known.as_str());
    desk.metrics.status_queried(&inquiry.account().name, result, 1);
    learnt.ok()
}

async fn answer(desk: &Desk, inquiry: &Inquiry, call: &Call) -> Result<Answer, &'static str> {
    let draft = inquiry.draft(Timestamp::system()).ok_or(INCOMPLETE)?;
    let name = inquiry.asked().map_or("", |route| &route.name);
    let account = &inquiry.account().name;
    let allowed = desk.limits.pass(Limit::AppRoute, &(inquiry.tenant().as_str(), &**account, name));
    allowed.map_err(|_| LIMITED)?;
    let answer = async {
        let signed = desk.sign(draft).await.ok()?;
        desk.send(signed.prepared, Origin::Configuration, call.behalf()).await.ok()
    };
    timeout(inquiry.timeout(), answer).await.ok().flatten().ok_or(UNANSWERED)
}

/// Puts what was learnt into the head of an answer: a structured field (RFC 9651).
pub(super) fn tell(learnt: Option<&Learnt>, reply: &mut Reply) {
    let Some(learnt) = learnt else { return };
    let words = learnt.state.iter().map(|(name, word)| format!(";{name}=\"{word}\""));
    let text = std::iter::once(learnt.known.as_str().to_owned()).chain(words);
    if let Ok(value) = HeaderValue::try_from(text.collect::<String>()) {
        reply.headers.insert(PAYMENT, value);
    }
}
