//! Where the browser comes back: the TermUrl of 3DS1 and the notification URL of 3DS2.

use super::Shared;
use super::cards::Outcome;
use super::faults::TermAnswer;
use crate::acs::{self, Acs};
use crate::http::{Reply, Request};
use crate::lock;
use bytes::Bytes;
use http::Method;
use http::header::SET_COOKIE;
use std::sync::Arc;

/// A return as it arrived.
#[derive(Debug, Clone)]
pub struct Return {
    /// `pay_…` of the query.
    pub payment_id: String,
    /// As received.
    pub method: Method,
    /// As received.
    pub content_type: Option<String>,
    /// As received, raw.
    pub query: Option<String>,
    /// As received, raw.
    pub body: Bytes,
    /// Whether method, content type and bytes are those that the ACS made the browser send; `None`
    /// if it made none.
    pub as_posted: Option<bool>,
}

impl Return {
    /// Reads one; `pid` in the query names the payment.
    pub(crate) fn read(acs: &Acs, request: &Request) -> Self {
        let payment_id = request.query_value("pid").unwrap_or_default();
        let as_posted = acs.posted(&payment_id).map(|posted| posted.arrived_as(request));
        Self {
            payment_id,
            method: request.method.clone(),
            content_type: request.header("content-type").map(str::to_owned),
            query: request.query.clone(),
            body: request.body.clone(),
            as_posted,
        }
    }
}

/// What the bank says: in `PaRes`, by POST or GET, or in `cres`.
pub(crate) fn approved(request: &Request) -> Option<bool> {
    let fields = match request.method {
        Method::POST => request.form(),
        _ => request.query_pairs(),
    };
    let field = |name: &str| fields.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    match field("PaRes") {
        Some(pares) => acs::status_of_pares(pares),
        None => acs::status_of_cres(field("cres")?),
    }
}

/// `TermUrl`.
pub(super) fn term_url(shared: &Arc<Shared>, request: &Request) -> Reply {
    let arrived = keep(shared, request);
    conclude(shared, &arrived, approved(request));
    reply(shared, &arrived.payment_id)
}

/// The notification URL that the ACS was given before the challenge.
pub(super) fn notification(shared: &Arc<Shared>, request: &Request) -> Reply {
    let arrived = keep(shared, request);
    conclude(shared, &arrived, approved(request));
    reply(shared, &arrived.payment_id)
}

fn keep(shared: &Shared, request: &Request) -> Return {
    let arrived = Return::read(&shared.acs, request);
    lock(&shared.book).returns.push(arrived.clone());
    arrived
}

/// The first return decides; those after it change nothing.
fn conclude(shared: &Arc<Shared>, arrived: &Return, approved: Option<bool>) {
    let waiting = lock(&shared.book).waiting.remove(&arrived.payment_id);
    let Some(waiting) = waiting else { return };
    let outcome = match approved {
        Some(true) => waiting.outcome,
        Some(false) => Outcome::Failed("declined"),
        None => Outcome::Failed("invalid_3ds_code"),
    };
    shared.finish(&waiting.invoice, outcome);
}

fn reply(shared: &Shared, payment_id: &str) -> Reply {
    let target = lock(&shared.book).return_target(payment_id);
    let Some(target) = target else { return Reply::html(404, "<h1>Payment is not found</h1>") };
    let reply = match lock(&shared.quirks).term_answer {
        TermAnswer::Redirect(status) => Reply::redirect(status, &target),
        TermAnswer::Page => Reply::html(200, "<h1>Thank you</h1><p>You may close this page.</p>"),
        TermAnswer::Error500 => Reply::html(500, "<h1>Whoops</h1>"),
    };
    reply.with(SET_COOKIE, "psp_session=not-for-the-proxy; path=/; secure; httponly")
}
