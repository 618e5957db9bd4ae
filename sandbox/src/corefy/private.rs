//! The private API: invoices are made and read here, with Basic credentials.

use super::cards::{Outcome, is_card_number, plan};
use super::errors::{error, invalid};
use super::invoice::{Invoice, Kind, MaskedCard, unix_now};
use super::{Account, Shared};
use crate::http::{Reply, Request};
use crate::{lock, random};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::Value;
use std::sync::Arc;

type Faulty = Vec<(String, &'static str)>;

/// One call of the private API; `path` is what follows the prefix.
pub(super) fn serve(shared: &Arc<Shared>, request: &Request, path: &str) -> Reply {
    let Some(account) = caller(shared, request) else {
        let reply = error(401, "Unauthorized", "Invalid account or API key");
        return reply.with(http::header::WWW_AUTHENTICATE, "Basic realm=\"api\"");
    };
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let kind = match parts.next() {
        Some("payment-invoices") => Kind::Payment,
        Some("payout-invoices") => Kind::Payout,
        _ => return error(404, "Not Found", "No such endpoint"),
    };
    match (&request.method, parts.next()) {
        (&Method::POST, None) => create(shared, account, kind, request),
        (&Method::GET, None) => list(shared, account, kind, request),
        (&Method::GET, Some(id)) => read(shared, account, kind, id),
        _ => error(405, "Method Not Allowed", "Use GET or POST"),
    }
}

fn caller<'a>(shared: &'a Shared, request: &Request) -> Option<&'a Account> {
    let encoded = request.header("authorization")?.strip_prefix("Basic ")?;
    let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, key) = decoded.split_once(':')?;
    shared.accounts.iter().find(|account| account.id == id && account.key == key)
}

fn read(shared: &Shared, account: &Account, kind: Kind, id: &str) -> Reply {
    let mut book = lock(&shared.book);
    let super::Book { invoices, tokens, .. } = &mut *book;
    let found = invoices.get_mut(id);
    match found.filter(|invoice| invoice.account == account.id && invoice.kind == kind) {
        Some(invoice) => {
            if lock(&shared.quirks).fresh_tokens {
                invoice.token = bearer();
                tokens.insert(invoice.token.clone(), invoice.id.clone());
            }
            Reply::json(200, invoice.document(shared.base()))
        }
        None => error(404, "Not Found", "Invoice is not found"),
    }
}

fn list(shared: &Shared, account: &Account, kind: Kind, request: &Request) -> Reply {
    let Some(reference) = request.query_value("filter[reference_id]") else {
        return Reply::json(200, r#"{"data":[]}"#);
    };
    let book = lock(&shared.book);
    let id = book.references.get(&(account.id.clone(), kind.collection(), reference));
    let found = id.and_then(|id| book.invoices.get(id));
    let resources = found.map_or(String::new(), |invoice| invoice.resource(shared.base()));
    Reply::json(200, format!("{{\"data\":[{resources}],\"included\":[]}}"))
}

fn create(shared: &Arc<Shared>, account: &Account, kind: Kind, request: &Request) -> Reply {
    let attributes = match attributes(kind, request) {
        Ok(attributes) => attributes,
        Err(reply) => return *reply,
    };
    let faults = faults_of(kind, &attributes);
    if !faults.is_empty() {
        return invalid(&faults);
    }
    let mut invoice = new_invoice(account, kind, &attributes);
    let key = (account.id.clone(), kind.collection(), invoice.reference_id.clone());
    let mut book = lock(&shared.book);
    if book.references.contains_key(&key) {
        return error(429, "Too Many Requests", "Duplicate request detected");
    }
    let payout = (kind == Kind::Payout).then(|| take_card(shared, &mut invoice, &attributes));
    let document = invoice.created_document(shared.base());
    let id = invoice.id.clone();
    book.references.insert(key, id.clone());
    book.tokens.insert(invoice.token.clone(), id.clone());
    book.invoices.insert(id.clone(), invoice);
    drop(book);
    shared.emit(&id);
    if let Some(outcome) = payout {
        tokio::spawn(settle_later(Arc::clone(shared), id, outcome));
    }
    Reply::json(201, document)
}

async fn settle_later(shared: Arc<Shared>, id: String, outcome: Outcome) {
    tokio::time::sleep(shared.pace.settle_after).await;
    shared.finish(&id, outcome);
}

fn attributes(kind: Kind, request: &Request) -> Result<Value, Box<Reply>> {
    let kept = ["application/json", "application/vnd.api+json"];
    let content_type = request.header("content-type").unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    if !kept.contains(&media) {
        return Err(Box::new(error(415, "Unsupported Media Type", "Send application/json")));
    }
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| Box::new(error(400, "Bad Request", "The body is not JSON")))?;
    let named = body.pointer("/data/type").and_then(Value::as_str);
    let known = match kind {
        Kind::Payment => named == Some("payment-invoices"),
        Kind::Payout => matches!(named, Some("payout-invoice" | "payout-invoices")),
    };
    if !known {
        return Err(Box::new(invalid(&[("/data/type".to_owned(), "The type is invalid.")])));
    }
    Ok(body.pointer("/data/attributes").cloned().unwrap_or_default())
}

fn faults_of(kind: Kind, attributes: &Value) -> Faulty {
    let mut faults = Faulty::new();
    for name in ["reference_id", "currency", "service"] {
        if attributes.get(name).and_then(Value::as_str).is_none_or(str::is_empty) {
            faults.push((format!("/data/attributes/{name}"), "The field is required."));
        }
    }
    if amount_of(attributes).is_none() {
        faults.push(("/data/attributes/amount".to_owned(), "The amount must be a number."));
    }
    let number = attributes.pointer("/fields/card_number").and_then(Value::as_str);
    if kind == Kind::Payout && !number.is_some_and(is_card_number) {
        let pointer = "/data/attributes/fields/card_number".to_owned();
        faults.push((pointer, "The card number is invalid."));
    }
    faults
}

fn amount_of(attributes: &Value) -> Option<String> {
    match attributes.get("amount")? {
        Value::Number(number) => Some(number.to_string()),
        Value::String(text) => text.parse::<f64>().ok().map(|_| text.clone()),
        _ => None,
    }
}

fn new_invoice(account: &Account, kind: Kind, attributes: &Value) -> Invoice {
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).map(str::to_owned);
    let required = |name: &str| text(name).unwrap_or_default();
    let prefix = if kind == Kind::Payment { "cpi" } else { "cpoi" };
    let now = unix_now();
    let test_mode = attributes.get("test_mode").and_then(Value::as_bool).unwrap_or(true);
    Invoice {
        id: format!("{prefix}_{}", random::letters(16)),
        kind,
        account: account.id.clone(),
        reference_id: required("reference_id"),
        status: "process_pending".to_owned(),
        resolution: "ok".to_owned(),
        amount: amount_of(attributes).unwrap_or_default(),
        currency: required("currency").to_uppercase(),
        service: required("service").to_lowercase(),
        test_mode,
        description: text("description"),
        callback_url: text("callback_url"),
        return_url: text("return_url"),
        return_urls: attributes.get("return_urls").cloned().unwrap_or_default(),
        metadata: attributes.get("metadata").cloned().unwrap_or_default(),
        sid: random::uuid(),
        token: bearer(),
        payment_id: format!("pay_{}", random::letters(26)),
        created: now,
        updated: now,
        processed: None,
        card: None,
    }
}

/// Looks like the sample's: a JWT by its header, opaque by its contract.
fn bearer() -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"RS512"}"#);
    format!("{header}.{}.{}", random::letters(64), random::letters(86))
}

fn take_card(shared: &Shared, invoice: &mut Invoice, attributes: &Value) -> Outcome {
    let text = |pointer: &str| attributes.pointer(pointer).and_then(Value::as_str);
    let number = text("/fields/card_number").unwrap_or_default();
    invoice.card = Some(shared.masked(MaskedCard::of(number, "", ""), number));
    plan(number, "", "").outcome
}
