//! The card gate: takes the card of one invoice, whose bearer token opens it.

use super::cards::{CARDS, Challenge, Outcome, Plan, WRONG_CVV, is_card_number, plan};
use super::errors::{error, invalid};
use super::faults::Pareq;
use super::invoice::MaskedCard;
use super::{Shared, Waiting};
use crate::acs::Expected;
use crate::http::{Reply, Request};
use crate::text::quote;
use crate::{lock, random};
use base64::Engine;
use base64::engine::general_purpose::{URL_SAFE, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use std::sync::Arc;

/// A sale that the gate accepted: what it was given, in clear.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sale {
    /// The invoice's id.
    pub invoice: String,
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
    /// Browser data as sent.
    pub browser_info: Value,
}

/// A challenge as the gate handed it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// `pay_…`.
    pub payment_id: String,
    /// The bank's page.
    pub action: String,
    /// The fields for it, in the order sent.
    pub params: Vec<(String, String)>,
}

/// One call of the card gate; `path` is what follows its base.
pub(super) fn serve(shared: &Arc<Shared>, request: &Request, path: &str) -> Reply {
    if path != "/payment/sale" {
        return error(404, "Not Found", "No such endpoint");
    }
    if request.method != Method::POST {
        return error(405, "Method Not Allowed", "Use POST");
    }
    let Some(invoice) = invoice_of(shared, request) else {
        return error(401, "Unauthorized", "Invalid token");
    };
    match parse(request, invoice) {
        Ok(sale) => accept(shared, sale),
        Err(reply) => *reply,
    }
}

fn invoice_of(shared: &Shared, request: &Request) -> Option<String> {
    let token = request.header("authorization")?.strip_prefix("Bearer ")?;
    lock(&shared.book).tokens.get(token).cloned()
}

fn parse(request: &Request, invoice: String) -> Result<Sale, Box<Reply>> {
    let body: Value = serde_json::from_slice(&request.body)
        .map_err(|_| Box::new(error(400, "Bad Request", "The body is not JSON")))?;
    if body.pointer("/data/type").and_then(Value::as_str) != Some("sale-operation") {
        return Err(Box::new(invalid(&[("/data/type".to_owned(), "The type is invalid.")])));
    }
    let attributes = body.pointer("/data/attributes").cloned().unwrap_or_default();
    let text = |name: &str| attributes.get(name).and_then(Value::as_str).unwrap_or_default();
    let sale = Sale {
        invoice,
        number: text("card_number").to_owned(),
        holder: text("card_holder").to_owned(),
        cvv: text("cvv").to_owned(),
        month: text("exp_month").to_owned(),
        year: text("exp_year").to_owned(),
        browser_info: attributes.get("browser_info").cloned().unwrap_or_default(),
    };
    let faults = faults_of(&sale);
    if faults.is_empty() { Ok(sale) } else { Err(Box::new(invalid(&faults))) }
}

fn faults_of(sale: &Sale) -> Vec<(String, &'static str)> {
    let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let month = sale.month.parse::<u8>().is_ok_and(|month| (1..=12).contains(&month));
    let checks = [
        ("card_number", is_card_number(&sale.number), "The card number is invalid."),
        ("card_holder", !sale.holder.is_empty(), "The card holder is required."),
        ("cvv", digits(&sale.cvv, 3..=4), "The cvv must be a string of digits."),
        ("exp_month", digits(&sale.month, 2..=2) && month, "The month must be two digits."),
        ("exp_year", digits(&sale.year, 2..=2), "The year must be two digits."),
        ("browser_info", browser_strings(&sale.browser_info), "Browser values must be strings."),
    ];
    let wrong = checks.into_iter().filter(|(_, good, _)| !good);
    wrong.map(|(name, _, detail)| (format!("/data/attributes/{name}"), detail)).collect()
}

/// All strings, except the one boolean.
fn browser_strings(info: &Value) -> bool {
    let Some(members) = info.as_object() else { return info.is_null() };
    members.iter().all(|(name, value)| match name.as_str() {
        "browser_java_enabled" => value.is_boolean(),
        _ => value.is_string(),
    })
}

fn accept(shared: &Arc<Shared>, sale: Sale) -> Reply {
    let mut plan = plan(&sale.number, &sale.month, &sale.year);
    let quirks = lock(&shared.quirks).clone();
    if let (Some(forced), Some(_)) = (quirks.challenge, plan.challenge) {
        plan.challenge = Some(forced);
    }
    if quirks.strangers.is_some() && !CARDS.iter().any(|card| card.number == sale.number) {
        plan = Plan { challenge: quirks.strangers, outcome: Outcome::Processed };
    }
    if sale.cvv == WRONG_CVV {
        plan = Plan { challenge: None, outcome: Outcome::Failed("invalid_cvv") };
    }
    let id = sale.invoice.clone();
    let mut book = lock(&shared.book);
    if !book.open_for_sale(&id) {
        return error(422, "Unprocessable Entity", "The invoice takes no card any more");
    }
    let masked = MaskedCard::of(&sale.number, &sale.month, &sale.year);
    if let Some(invoice) = book.invoices.get_mut(&id) {
        invoice.card = Some(shared.masked(masked, &sale.number));
    }
    book.sales.push(sale.clone());
    drop(book);
    match plan.challenge {
        Some(challenge) => ask(shared, &sale, challenge, plan.outcome),
        None => {
            let status = shared.finish(&id, plan.outcome);
            let status = quote(status);
            let body = format!(
                "{{\n    \"status\": {status},\n    \"auth_mode\": null,\n    \"auth_payload\": []\n}}\n"
            );
            Reply::json(200, body)
        }
    }
}

fn ask(shared: &Arc<Shared>, sale: &Sale, challenge: Challenge, outcome: Outcome) -> Reply {
    let mut book = lock(&shared.book);
    let Some(invoice) = book.invoices.get_mut(&sale.invoice) else {
        return error(404, "Not Found", "Invoice is not found");
    };
    if let Outcome::Pending(resolution) = outcome {
        invoice.move_to("process_pending", resolution);
    }
    let (payment_id, account) = (invoice.payment_id.clone(), invoice.account.clone());
    let amount = format!("{} {}", invoice.amount, invoice.currency);
    let waiting = Waiting { invoice: invoice.id.clone(), outcome };
    book.waiting.insert(payment_id.clone(), waiting);
    drop(book);
    let rid = random::hex(8);
    let notification = format!("{}/3ds2/notify?pid={payment_id}", shared.host);
    shared.acs.expect(Expected {
        rid: rid.clone(),
        payment_id: payment_id.clone(),
        merchant: shared.brand.title.to_owned(),
        amount,
        notification: (challenge == Challenge::V2).then_some(notification),
    });
    let (action, params) = match challenge {
        Challenge::V1 => (shared.acs.v1_url(&rid), v1_params(shared, sale, &account, &payment_id)),
        Challenge::V2 => (shared.acs.v2_url(&rid), vec![("creq".to_owned(), creq())]),
    };
    let action = lock(&shared.quirks).action.clone().unwrap_or(action);
    let document = challenge_document(&action, &params);
    lock(&shared.book).issued.push(Issued { payment_id, action, params });
    Reply::json(200, document)
}

fn challenge_document(action: &str, params: &[(String, String)]) -> String {
    let one =
        |(name, value): &(String, String)| format!("            {}: {}", quote(name), quote(value));
    let params: Vec<String> = params.iter().map(one).collect();
    format!(
        "{{\n    \"status\": \"process_pending\",\n    \"auth_mode\": \"3ds\",\n    \
         \"auth_payload\": {{\n        \"action\": {},\n        \"method\": \"POST\",\n        \
         \"params\": {{\n{}\n        }}\n    }}\n}}\n",
        quote(action),
        params.join(",\n")
    )
}

fn v1_params(
    shared: &Shared,
    sale: &Sale,
    account: &str,
    payment_id: &str,
) -> Vec<(String, String)> {
    let quirks = lock(&shared.quirks).clone();
    let pareq = quirks.pareq.unwrap_or_else(|| shared.pareq_of(account));
    let md = if quirks.empty_md { String::new() } else { URL_SAFE_NO_PAD.encode(payment_id) };
    let host = shared.host.as_str();
    let host = match quirks.schemeless_term_url {
        true => host.trim_start_matches("https://"),
        false => host,
    };
    let own = format!("{host}/3ds-return?pid={payment_id}");
    let mut params = vec![
        ("MD".to_owned(), md),
        ("PaReq".to_owned(), pareq_value(pareq, sale, payment_id)),
        ("TermUrl".to_owned(), quirks.term_url.unwrap_or(own)),
    ];
    params.extend(quirks.extra_params);
    params
}

fn pareq_value(pareq: Pareq, sale: &Sale, payment_id: &str) -> String {
    match pareq {
        Pareq::CarriesPan => {
            let expiry = format!("20{}-{}", sale.year, sale.month);
            pareq_with(&sale.number, &expiry, payment_id)
        }
        Pareq::Harmless => include_str!("templates/pareq.txt").trim_end().to_owned(),
        Pareq::Huge => random::letters(40_000),
    }
}

/// Like the sample, which decodes to the card number.
pub(crate) fn pareq_with(number: &str, expiry: &str, payment_id: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"typ":"JWT","alg":"HS256"}"#);
    let claims = format!(
        r#"{{"code3ds":"{}","payment_id":"{payment_id}","card_number":"{number}","exp_date":"{expiry}"}}"#,
        random::hex(3),
    );
    format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(claims), random::letters(43))
}

/// Padded, though the specification asks for no padding: the sample is.
fn creq() -> String {
    let message = json!({
        "threeDSServerTransID": random::uuid(),
        "acsTransID": random::uuid(),
        "challengeWindowSize": "05",
        "messageType": "CReq",
        "messageVersion": "2.1.0",
    });
    URL_SAFE.encode(message.to_string())
}
