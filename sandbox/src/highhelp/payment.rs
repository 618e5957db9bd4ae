//! The API: a request is checked by its signature, a payment begins as `processing:new`, and what
//! follows comes by alerts.

use super::cards::CARDS;
use super::{Account, Shared, sign};
use crate::corefy::cards::{Outcome, is_card_number};
use crate::corefy::threeds;
use crate::http::{Reply, Request};
use crate::json::Json;
use crate::testcard::{Way, mask, plan};
use crate::text::quote;
use crate::{lock, random};
use http::Method;
use std::sync::Arc;

/// The code that a bank of this sandbox sends to every cardholder.
pub const OTP: &str = "804213";
const AMOUNT_MAX: u64 = 10_000_000_000_000;

/// A card as it arrived, in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The merchant's key.
    pub payment_id: String,
    /// `payin` or `payout`.
    pub flow: &'static str,
    /// The card number.
    pub number: String,
    /// The holder.
    pub holder: String,
    /// The security code; none for a payout.
    pub cvv: String,
    /// As sent.
    pub month: String,
    /// As sent.
    pub year: String,
}

/// A payment.
#[derive(Debug, Clone)]
pub struct Payment {
    /// The provider's own key.
    pub request_id: String,
    /// Whose.
    pub project_id: String,
    /// The merchant's key.
    pub payment_id: String,
    /// `payin` or `payout`.
    pub flow: &'static str,
    /// Block `general` as sent: addresses.
    pub general: Json,
    /// Block `payment` as sent.
    pub payment: Json,
    /// Block `customer` as sent.
    pub customer: Json,
    /// What is printed of the card.
    pub card: Option<(String, String)>,
    /// `processing`, `success`, `decline`, `dispute`.
    pub status: &'static str,
    /// Beside it.
    pub sub_status: Option<&'static str>,
    /// What the cardholder's browser is to be sent to: member name and content.
    pub challenge: Option<(&'static str, Json)>,
    /// How it ends when the cardholder has answered.
    pub planned: Outcome,
}

/// An error; no document shows one.
pub(super) fn error(status: u16, description: &str) -> Reply {
    let body = format!(
        r#"{{"status":"error","sub_status":null,"status_description":{}}}"#,
        quote(description)
    );
    Reply::json(status, body)
}

/// One call of the API.
pub(super) fn serve(shared: &Arc<Shared>, request: &Request, route: &'static str) -> Reply {
    let done = caller(shared, request).and_then(|(account, body)| match route {
        "payin" | "payout" => create(shared, account, &body, route, request),
        "info" => info(shared, account, &body),
        "confirm" => confirm(shared, account, request, &body),
        _ => Ok(Reply::json(
            200,
            r#"{"balance":[{"amount":1050000,"currency":"RUB","locked_amount":0}]}"#,
        )),
    });
    done.unwrap_or_else(|(status, description)| error(status, description))
}

type Refused = (u16, &'static str);

fn caller<'a>(shared: &'a Shared, request: &Request) -> Result<(&'a Account, Json), Refused> {
    if request.method != Method::POST {
        return Err((405, "Use POST"));
    }
    let media = request.header("content-type").unwrap_or_default();
    if media.split(';').next().map(str::trim) != Some("application/json") {
        return Err((415, "Send application/json"));
    }
    let body = Json::parse(&request.body).ok_or((400, "The body is not JSON"))?;
    let project = request.header("x-access-merchant-id").unwrap_or_default();
    let account = shared.account(project).ok_or((401, "x-access-merchant-id is unknown"))?;
    sign::check(&request.headers, &body, &account.requests).map_err(|why| (401, why))?;
    if body.text_at("general/project_id") != project {
        return Err((403, "project_id is not the caller's"));
    }
    let clear = ["sender/pan", "receiver/pan"].iter().any(|at| is_card_number(body.text_at(at)));
    if let (true, Some(signature)) = (clear, request.header("x-access-signature")) {
        lock(&shared.book).signatures.push(signature.to_owned());
    }
    Ok((account, body))
}

fn create(
    shared: &Arc<Shared>,
    account: &Account,
    body: &Json,
    flow: &'static str,
    request: &Request,
) -> Result<Reply, Refused> {
    plausible(body)?;
    let charge = if request.path.contains("/p2p/payin") { None } else { Some(card(body, flow)?) };
    let mut payment = new_payment(account, body, flow);
    let mut way = None;
    if let Some(charge) = &charge {
        let (chosen, planned) = plan(&CARDS, &charge.number, &charge.month, year2(&charge.year));
        // Nobody asks the cardholder when money comes to a card.
        way = Some(if flow == "payout" { Way::Plain } else { chosen });
        payment.planned = planned;
        let unmasked = lock(&shared.quirks).unmasked;
        let shown = if unmasked { charge.number.clone() } else { mask(&charge.number) };
        payment.card = Some((shown, charge.holder.clone()));
    }
    let mut book = lock(&shared.book);
    let same = |known: &Payment| {
        known.project_id == payment.project_id && known.payment_id == payment.payment_id
    };
    if book.payments.iter().any(same) {
        return Err((409, "payment_id is not unique"));
    }
    book.charges.extend(charge);
    book.payments.push(payment.clone());
    drop(book);
    let id = payment.request_id.clone();
    tokio::spawn(go_on(Arc::clone(shared), id, way));
    Ok(Reply::json(200, payment.document(false).render()))
}

async fn go_on(shared: Arc<Shared>, request_id: String, way: Option<Way>) {
    tokio::time::sleep(shared.courier.pace().settle_after).await;
    shared.proceed(&request_id, way);
}

fn plausible(body: &Json) -> Result<(), Refused> {
    let amount = match body.at("payment/amount") {
        Some(Json::Number(lexeme)) => lexeme.parse::<u64>().unwrap_or_default(),
        _ => 0,
    };
    let currency = body.text_at("payment/currency");
    let wrong = [
        (body.text_at("general/payment_id").is_empty(), "general.payment_id is required"),
        (body.text_at("payment/method").is_empty(), "payment.method is required"),
        (!(1..=AMOUNT_MAX).contains(&amount), "payment.amount must be minor units"),
        (
            currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_uppercase()),
            "payment.currency must be alpha-3",
        ),
    ];
    match wrong.into_iter().find(|(wrong, _)| *wrong) {
        Some((_, why)) => Err((422, why)),
        None => Ok(()),
    }
}

/// A token in the place of a number is an error here.
fn card(body: &Json, flow: &'static str) -> Result<Charge, Refused> {
    let at = if flow == "payin" { "sender" } else { "receiver" };
    let text = |name: &str| body.text_at(&format!("{at}/{name}")).to_owned();
    let charge = Charge {
        payment_id: body.text_at("general/payment_id").to_owned(),
        flow,
        number: text("pan"),
        holder: text("card_holder"),
        cvv: text("cvv"),
        month: text("expiry_month"),
        year: text("expiry_year"),
    };
    let digits = |text: &str, lengths: &[usize]| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    if !is_card_number(&charge.number) {
        return Err((422, "pan is not a card number"));
    }
    if flow == "payout" {
        return Ok(charge);
    }
    if !digits(&charge.month, &[2]) || !digits(&charge.year, &[2, 4]) {
        return Err((422, "expiry_month and expiry_year must be digits"));
    }
    if digits(&charge.cvv, &[3, 4]) { Ok(charge) } else { Err((422, "cvv must be digits")) }
}

fn year2(year: &str) -> &str {
    year.get(year.len().saturating_sub(2)..).unwrap_or_default()
}

fn new_payment(account: &Account, body: &Json, flow: &'static str) -> Payment {
    let block = |name: &str| body.get(name).cloned().unwrap_or(Json::Null);
    Payment {
        request_id: random::uuid(),
        project_id: account.project_id.clone(),
        payment_id: body.text_at("general/payment_id").to_owned(),
        flow,
        general: block("general"),
        payment: block("payment"),
        customer: block("customer"),
        card: None,
        status: "processing",
        sub_status: Some("new"),
        challenge: None,
        planned: Outcome::Pending("ok"),
    }
}

fn own(shared: &Shared, account: &Account, body: &Json) -> Result<Payment, Refused> {
    let book = lock(&shared.book);
    let id = body.text_at("general/payment_id");
    let own = |one: &&Payment| one.project_id == account.project_id && one.payment_id == id;
    book.payments.iter().find(own).cloned().ok_or((404, "The payment is not found"))
}

/// The same as an alert says; the fallback for alerts that never came.
fn info(shared: &Shared, account: &Account, body: &Json) -> Result<Reply, Refused> {
    let payment = own(shared, account, body)?;
    Ok(Reply::json(200, payment.document(true).render()))
}

/// The result of the cardholder's confirmation: `pares` or `cres` of the bank's page, or the code.
fn confirm(
    shared: &Arc<Shared>,
    account: &Account,
    request: &Request,
    body: &Json,
) -> Result<Reply, Refused> {
    let payment = own(shared, account, body)?;
    let planned = lock(&shared.book).waiting.remove(&payment.request_id);
    let Some((_, planned)) = planned else { return Err((409, "Nothing is waited for")) };
    let code = body.text_at("otp");
    let approved = match code {
        "" => threeds::approved(&as_form(request, body)),
        _ => Some(code == OTP),
    };
    shared.conclude(&payment.request_id, planned, approved);
    let after = own(shared, account, body)?;
    Ok(Reply::json(200, after.document(false).render()))
}

/// The bank's fields as its own form would have brought them.
fn as_form(request: &Request, body: &Json) -> Request {
    let names = [("PaRes", "pares"), ("cres", "cres")];
    let given = names.into_iter().filter(|(_, at)| !body.text_at(at).is_empty());
    let fields: Vec<(String, String)> =
        given.map(|(name, at)| (name.to_owned(), body.text_at(at).to_owned())).collect();
    let body = crate::text::encode_form(&fields).into();
    Request { body, ..request.clone() }
}

impl Payment {
    /// What the provider says about it; an answer to its creation says less than an alert.
    #[must_use]
    pub fn document(&self, full: bool) -> Json {
        let text = |value: &str| Json::Text(value.to_owned());
        let mut members = vec![
            ("project_id", text(&self.project_id)),
            ("payment_id", text(&self.payment_id)),
            ("request_id", text(&self.request_id)),
            ("status", text(self.status)),
            ("sub_status", self.sub_status.map_or(Json::Null, text)),
            ("status_description", text(self.description())),
        ];
        if full {
            members.push(("payment_info", self.payment_info()));
            members.extend(self.card_block().map(|card| ("card", card)));
            members.extend(self.challenge.clone());
        }
        object(members)
    }

    /// For people.
    #[must_use]
    pub fn description(&self) -> &'static str {
        match (self.status, self.planned) {
            ("success", _) => "Payment is done",
            ("decline", Outcome::Failed(reason)) => reason,
            ("decline", _) => "Declined",
            ("dispute", _) => "Needs clarification",
            _ => "In progress",
        }
    }

    pub(super) fn payment_info(&self) -> Json {
        let own = |name: &str| self.payment.get(name).cloned().unwrap_or(Json::Null);
        object(vec![
            ("amount", own("amount")),
            ("currency", own("currency")),
            ("method", own("method")),
            ("is_test", Json::Bool(true)),
            ("rrn", Json::Null),
        ])
    }

    pub(super) fn card_block(&self) -> Option<Json> {
        let (shown, holder) = self.card.clone()?;
        Some(object(vec![("pan", Json::Text(shown)), ("card_holder", Json::Text(holder))]))
    }
}

pub(super) fn object(members: Vec<(&str, Json)>) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
