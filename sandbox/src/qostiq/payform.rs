//! The card form: `h2h_data` gives out a token, the cardholder's browser posts the card with it,
//! and is taken to the bank or back to the shop.

use super::cards::CARDS;
use super::core::{INCORRECT, failed, succeeded};
use super::{FormAnswer, Invoice, Shared};
use crate::acs::Expected;
use crate::browser::Form;
use crate::corefy::cards::{Outcome, is_card_number};
use crate::corefy::sale::pareq_with;
use crate::corefy::threeds::{self, Return};
use crate::http::{Reply, Request};
use crate::json::Json;
use crate::testcard::{Way, mask, plan};
use crate::text::{encode_form, escape, quote};
use crate::{lock, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use std::sync::Arc;

const FORM: &str = "application/x-www-form-urlencoded";
const FIELDS: [&str; 7] = [
    "session_id",
    "form_token",
    "card_number",
    "card_holder",
    "expiry_month",
    "expiry_year",
    "cvv",
];

/// A card that the form accepted: what it was given, in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// `shop_order_id`.
    pub order: String,
    /// The card number.
    pub number: String,
    /// The holder.
    pub holder: String,
    /// The security code.
    pub cvv: String,
    /// Two digits.
    pub month: String,
    /// Two digits.
    pub year: String,
    /// Of the browser, or of whoever posted.
    pub user_agent: String,
}

/// `POST h2h_data`: not signed, the session alone opens it.
pub(super) fn h2h_data(shared: &Shared, request: &Request) -> Reply {
    let params = Json::parse(&request.body).unwrap_or(Json::Null);
    let session = params.text_at("session_id");
    let mut book = lock(&shared.book);
    let open = |invoice: &&mut Invoice| invoice.session == session && invoice.status == "created";
    let Some(invoice) = book.invoices.iter_mut().find(open) else { return failed(INCORRECT) };
    let token = random::letters(43);
    invoice.form_token = Some(token.clone());
    let host = lock(&shared.quirks).payform_host.clone().unwrap_or_else(|| shared.host.clone());
    let url = quote(&format!("{host}/payform/"));
    succeeded(&format!(r#"{{"form_token":{},"payform_url":{url}}}"#, quote(&token)), None)
}

/// The form's target.
pub(super) fn serve(shared: &Arc<Shared>, request: &Request) -> Reply {
    let media = request.header("content-type").unwrap_or_default();
    if request.method != Method::POST || media.split(';').next().map(str::trim) != Some(FORM) {
        return page(415, "This form is posted by a browser");
    }
    let form = request.form();
    let Some(values) = exactly_once(&form) else { return page(400, "The form is incomplete") };
    let [session, token, number, holder, month, year, cvv] = values;
    let Some(invoice) = take_token(shared, session, token) else {
        return page(403, "The payment session is not valid any more");
    };
    let payment = Payment {
        order: invoice.order.clone(),
        number: number.to_owned(),
        holder: holder.to_owned(),
        cvv: cvv.to_owned(),
        month: month.to_owned(),
        year: year.to_owned(),
        user_agent: request.header("user-agent").unwrap_or_default().to_owned(),
    };
    if !plausible(&payment) {
        return page(422, "The card is not valid");
    }
    accept(shared, invoice, payment)
}

/// All fields, none of them twice.
fn exactly_once(form: &[(String, String)]) -> Option<[&str; 7]> {
    let mut values = [""; 7];
    for (name, value) in FIELDS.iter().zip(&mut values) {
        let mut found = form.iter().filter(|(key, _)| key == name);
        *value = found.next()?.1.as_str();
        if found.next().is_some() {
            return None;
        }
    }
    Some(values)
}

/// A token opens the form once, with its own session, whatever comes of it.
fn take_token(shared: &Shared, session: &str, token: &str) -> Option<Invoice> {
    let mut book = lock(&shared.book);
    let invoice = book.invoices.iter_mut().find(|invoice| invoice.session == session)?;
    invoice.form_token.take_if(|own| own == token)?;
    Some(invoice.clone())
}

fn plausible(payment: &Payment) -> bool {
    let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    is_card_number(&payment.number)
        && digits(&payment.cvv, 3..=4)
        && digits(&payment.month, 2..=2)
        && digits(&payment.year, 2..=2)
        && !payment.holder.is_empty()
}

fn accept(shared: &Arc<Shared>, invoice: Invoice, payment: Payment) -> Reply {
    let (way, outcome) = plan(&CARDS, &payment.number, &payment.month, &payment.year);
    let unmasked = lock(&shared.quirks).unmasked;
    let shown = if unmasked { payment.number.clone() } else { mask(&payment.number) };
    let (number, expiry) =
        (payment.number.clone(), format!("20{}-{}", payment.year, payment.month));
    let mut book = lock(&shared.book);
    if let Some(own) = book.invoice(invoice.id) {
        own.card = Some(shown);
        own.status = "waiting";
    }
    book.payments.push(payment);
    drop(book);
    if way == Way::Challenge {
        return ask(shared, &invoice, (&number, &expiry), outcome);
    }
    shared.finish(invoice.id, outcome);
    back_to_shop(shared, &invoice, outcome)
}

/// To the bank, with the provider's own return address.
fn ask(
    shared: &Shared,
    invoice: &Invoice,
    (number, expiry): (&str, &str),
    outcome: Outcome,
) -> Reply {
    let (rid, payment_id) = (random::hex(8), format!("qst_{}", random::letters(20)));
    lock(&shared.book).waiting.insert(payment_id.clone(), (invoice.id, outcome));
    shared.acs.expect(Expected {
        rid: rid.clone(),
        payment_id: payment_id.clone(),
        merchant: super::TITLE.to_owned(),
        amount: format!("{} {}", invoice.amount, invoice.currency),
        notification: None,
    });
    let fields = vec![
        ("PaReq".to_owned(), pareq_with(number, expiry, &payment_id)),
        ("MD".to_owned(), URL_SAFE_NO_PAD.encode(&payment_id)),
        ("TermUrl".to_owned(), format!("{}/3ds-return?pid={payment_id}", shared.host)),
    ];
    send_on(shared, &shared.acs.v1_url(&rid), "post", fields)
}

/// `TermUrl`: the first return decides; those after it change nothing.
pub(super) fn term_url(shared: &Arc<Shared>, request: &Request) -> Reply {
    let arrived = Return::read(&shared.acs, request);
    let mut book = lock(&shared.book);
    book.returns.push(arrived.clone());
    let Some((id, planned)) = book.waiting.remove(&arrived.payment_id) else {
        return page(410, "This payment was answered already");
    };
    let invoice = book.invoice(id).cloned();
    drop(book);
    let outcome = match threeds::approved(request) {
        Some(true) => planned,
        Some(false) => Outcome::Failed("declined"),
        None => Outcome::Failed("invalid_3ds_code"),
    };
    shared.finish(id, outcome);
    match invoice {
        Some(invoice) => back_to_shop(shared, &invoice, outcome),
        None => page(404, "There is no such payment"),
    }
}

fn back_to_shop(shared: &Shared, invoice: &Invoice, outcome: Outcome) -> Reply {
    let target = match outcome {
        Outcome::Failed(_) => invoice.failed_url.as_deref(),
        _ => invoice.success_url.as_deref(),
    };
    match target {
        Some(target) => send_on(shared, target, "get", Vec::new()),
        None => page(200, "You may close this page"),
    }
}

fn send_on(shared: &Shared, url: &str, method: &str, fields: Vec<(String, String)>) -> Reply {
    match lock(&shared.quirks).form_answer {
        FormAnswer::Redirect if fields.is_empty() => Reply::redirect(302, url),
        FormAnswer::Redirect => {
            let joint = if url.contains('?') { '&' } else { '?' };
            Reply::redirect(302, &format!("{url}{joint}{}", encode_form(&fields)))
        }
        FormAnswer::Page => {
            let form = Form {
                action: url.to_owned(),
                method: method.to_owned(),
                fields,
                buttons: Vec::new(),
            };
            Reply::html(200, form.self_submitting("Processing …"))
        }
    }
}

fn page(status: u16, says: &str) -> Reply {
    Reply::html(status, format!("<!doctype html><title>Qostiq</title><h1>{}</h1>", escape(says)))
}
