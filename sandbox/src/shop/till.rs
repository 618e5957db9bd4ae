//! One way to pay: a provider's client, and what the shop makes of its answers and callbacks.

use super::gateway::{CardFields, Gateway, NewInvoice, bearer_of};
use super::highhelp::{HighHelp, NewPayment};
use super::order::{Challenge, Order, Told, problem_of};
use super::piastrix::{Piastrix, payform, session_of};
use crate::client::Answer;
use crate::corefy::callback::signature;
use crate::http::{Reply, Request};
use crate::json::Json;
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The client of one account.
#[derive(Clone)]
pub enum Till {
    /// Paymega, MilkyPay.
    Corefy(Gateway),
    /// Qostiq.
    Qostiq(Piastrix),
    /// HighHelp.
    HighHelp(HighHelp),
}

impl Till {
    /// Pays an order, as far as the shop's server can.
    pub(super) async fn charge(
        &self,
        order: &mut Order,
        shop: &str,
        card: &CardFields,
    ) -> Result<()> {
        match self {
            Self::Corefy(gateway) => corefy(gateway, order, shop, card).await,
            Self::Qostiq(client) => qostiq(client, order, shop, card).await,
            Self::HighHelp(client) => highhelp(client, order, shop, card).await,
        }
    }

    /// The order's status as the provider has it; asked while no callback has come.
    pub(super) async fn status(&self, order: &Order) -> Option<String> {
        let text = |document: &Value, at: &str| {
            document.pointer(at).and_then(Value::as_str).map(str::to_owned)
        };
        match self {
            Self::Corefy(gateway) => {
                let answer = gateway.invoice(order.invoice.as_deref()?).await.ok()?;
                text(&answer.json().ok()?, "/data/attributes/status")
            }
            Self::Qostiq(client) => {
                let answer = client.order_status(&order.id).await.ok()?.json().ok()?;
                let status = match answer.pointer("/data/status")?.as_u64()? {
                    1 => "waiting",
                    2 => "success",
                    _ => "rejected",
                };
                Some(status.to_owned())
            }
            Self::HighHelp(client) => {
                let answer = client.info("ecom/payin", &order.id).await.ok()?;
                let answer = Json::parse(&answer.body)?;
                Some(joined(answer.text_at("status"), answer.text_at("sub_status")))
                    .filter(|status| !status.is_empty())
            }
        }
    }

    /// A callback whose signature holds, as the provider's documentation has it checked.
    pub(super) fn verified(&self, account: &str, request: &Request) -> Option<Told> {
        let told = |invoice: &str, reference: &str, status: &str| Told {
            account: account.to_owned(),
            invoice: invoice.to_owned(),
            reference: reference.to_owned(),
            status: status.to_owned(),
            path: request.path.clone(),
            challenge: None,
            body: request.body.clone(),
        };
        match self {
            Self::Corefy(gateway) => {
                let expected = signature(&gateway.credentials.key, &request.body);
                if request.header("x-signature") != Some(expected.as_str()) {
                    return None;
                }
                let body = Json::parse(&request.body)?;
                let text = |at: &str| body.text_at(at);
                let reference = text("data/attributes/reference_id");
                Some(told(text("data/id"), reference, text("data/attributes/status")))
            }
            Self::Qostiq(client) => {
                let fields = client.check_callback(request)?;
                let text = |name: &str| fields.get(name).map_or("", String::as_str);
                Some(told(text("payment_id"), text("shop_order_id"), text("status")))
            }
            Self::HighHelp(client) => {
                let body = client.check_alert(request)?;
                let text = |at: &str| body.text_at(at);
                let status = joined(text("status/status"), text("status/sub_status"));
                let told = told(text("general/request_id"), text("general/payment_id"), &status);
                Some(Told { challenge: Challenge::of_alert(&body), ..told })
            }
        }
    }

    /// What the provider wants to hear.
    pub(super) fn acknowledgement(&self) -> Reply {
        match self {
            Self::Corefy(_) => Reply::text(200, "ok"),
            Self::Qostiq(_) => Reply::text(200, "OK"),
            Self::HighHelp(_) => Reply::json(200, "{}"),
        }
    }
}

/// `processing:new`; a final status stands alone.
fn joined(status: &str, sub_status: &str) -> String {
    match (status, sub_status) {
        ("processing" | "dispute", sub) if !sub.is_empty() => format!("{status}:{sub}"),
        _ => status.to_owned(),
    }
}

async fn corefy(gateway: &Gateway, order: &mut Order, shop: &str, card: &CardFields) -> Result<()> {
    let invoice = NewInvoice {
        reference: order.id.clone(),
        amount: "17".to_owned(),
        return_url: order.return_url(shop),
        callback_url: format!("{shop}/callbacks/{}", order.account),
    };
    let document = expected(order, gateway.create_invoice(&invoice).await?, 201)?;
    let id = document.pointer("/data/id").and_then(Value::as_str);
    order.invoice = id.map(str::to_owned);
    let bearer = bearer_of(&document).context("the invoice has no bearer token")?.to_owned();
    order.seen.push(("bearer token".to_owned(), bearer.clone()));
    let document = expected(order, gateway.sale(&bearer, card).await?, 200)?;
    let status = document.get("status").and_then(Value::as_str).unwrap_or("process_pending");
    status.clone_into(&mut order.status);
    order.challenge = Challenge::of(&document);
    Ok(())
}

/// The card is not sent from here: the visitor's browser posts the form.
async fn qostiq(client: &Piastrix, order: &mut Order, shop: &str, card: &CardFields) -> Result<()> {
    let back = order.return_url(shop);
    let more = [("success_url", back.as_str()), ("failed_url", &back), ("description", "A gate")];
    let document = succeeded(order, client.invoice(&order.id.clone(), "17.10", &more).await?)?;
    let session = session_of(&document)?;
    order.invoice = document.pointer("/data/id").map(ToString::to_string);
    order.seen.push(("session_id".to_owned(), session.clone()));
    let document = succeeded(order, client.h2h_data(&session).await?)?;
    let form = payform(&document, &session, card)?;
    "waiting".clone_into(&mut order.status);
    let (action, params) = (form.action, form.fields);
    order.challenge = Some(Challenge { action, method: "POST".to_owned(), params });
    Ok(())
}

/// Asynchronous: whatever the cardholder has to do comes by an alert.
async fn highhelp(
    client: &HighHelp,
    order: &mut Order,
    shop: &str,
    card: &CardFields,
) -> Result<()> {
    let payment = NewPayment {
        payment_id: order.id.clone(),
        callbacks: format!("{shop}/callbacks/{}", order.account),
        redirect_url: order.return_url(shop),
    };
    let document = expected(order, client.payin(&payment, card).await?, 200)?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    order.invoice = Some(text("request_id").to_owned());
    order.status = joined(text("status"), text("sub_status"));
    Ok(())
}

fn expected(order: &mut Order, answer: Answer, status: u16) -> Result<Value> {
    order.forwarded = answer.header("portcullis-forwarded").map(str::to_owned);
    let document = answer.json()?;
    if answer.status != status {
        bail!("{}", problem_of(answer.status, &document));
    }
    Ok(document)
}

/// Business errors come with status 200.
fn succeeded(order: &mut Order, answer: Answer) -> Result<Value> {
    let document = expected(order, answer, 200)?;
    if document.get("result") != Some(&Value::Bool(true)) {
        bail!("{}", problem_of(200, &document));
    }
    Ok(document)
}
