//! Where the browser comes back from the bank: `term_url`, and the notification URL of a redirect.

use super::Shared;
use crate::corefy::threeds::{Return, approved};
use crate::http::{Reply, Request};
use crate::lock;

/// The first return decides; those after it change nothing.
pub(super) fn serve(shared: &Shared, request: &Request) -> Reply {
    let arrived = Return::read(&shared.acs, request);
    let mut book = lock(&shared.book);
    book.returns.push(arrived.clone());
    let waiting = book.waiting.remove(&arrived.payment_id);
    let payment = book.payment(&arrived.payment_id).cloned();
    drop(book);
    if let Some((_, planned)) = waiting {
        shared.conclude(&arrived.payment_id, planned, approved(request));
    }
    match payment.map(|payment| payment.general.text_at("redirect_url").to_owned()) {
        Some(target) if !target.is_empty() => Reply::redirect(302, &target),
        Some(_) => Reply::html(200, "<h1>You may close this page</h1>"),
        None => Reply::html(404, "<h1>There is no such payment</h1>"),
    }
}
