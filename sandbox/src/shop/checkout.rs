//! Checkout on the server's side: opens a capture session, and pays with tokens only.

use super::gateway::{CardFields, NewInvoice, bearer_of};
use super::order::{Challenge, Order, problem_of};
use super::{Offer, Shared, pages};
use crate::client::{Answer, Call};
use crate::http::{Reply, Request};
use crate::lock;
use crate::text::quote;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// A visitor begins to pay: a capture session for the browser, an order for us.
pub(super) async fn open(shared: &Shared, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let account = body.get("account").and_then(Value::as_str).unwrap_or_default();
    if !shared.offers.iter().any(|offer| offer.name == account) {
        return refusal(400, "unknown account");
    }
    match open_session(shared).await {
        Ok(session) => {
            let order = Order::new(account);
            let reply = json!({
                "order": order.id,
                "session": session,
                "tokens_url": format!("{}/v1/tokens", shared.public),
            });
            lock(&shared.orders).insert(order.id.clone(), order);
            Reply::json(200, reply.to_string())
        }
        Err(error) => refusal(502, &format!("{error:#}")),
    }
}

async fn open_session(shared: &Shared) -> Result<String> {
    let body = format!(r#"{{"origin":{},"ttl_seconds":900,"max_cards":3}}"#, quote(&shared.url));
    let url = format!("{}/v1/capture-sessions", shared.private);
    let call = Call::post_json(url, body).header("portcullis-key", &shared.key);
    let answer = shared.client.send(call).await?;
    shared.log.received("answer of /v1/capture-sessions", &answer.headers, &answer.body);
    if answer.status != 201 && answer.status != 200 {
        bail!("no capture session: {}", problem_of(answer.status, &answer.json()?));
    }
    let id = answer.json()?.get("id").and_then(Value::as_str).map(str::to_owned);
    id.context("the capture session has no id")
}

/// The visitor's browser sends tokens; the gateway's own document says what to do with a card.
pub(super) async fn pay(shared: &Shared, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let known = lock(&shared.orders).get(&text("order")).cloned();
    let Some(mut order) = known else { return refusal(404, "unknown order") };
    let Some(offer) = shared.offers.iter().find(|offer| offer.name == order.account) else {
        return refusal(404, "unknown account");
    };
    let card = CardFields {
        number: text("token"),
        holder: text("holder"),
        cvv: text("cvv_token"),
        month: text("exp_month"),
        year: text("exp_year"),
        browser_info: body.get("browser_info").cloned().unwrap_or_default(),
    };
    order.seen =
        vec![("card_number".to_owned(), card.number.clone()), ("cvv".to_owned(), card.cvv.clone())];
    if let Err(error) = charge(shared, offer, &mut order, &card).await {
        order.problem = Some(format!("{error:#}"));
    }
    let reply = pay_reply(&order);
    keep(shared, order);
    Reply::json(200, reply)
}

/// Callbacks may have been faster than the answer: what they brought stays.
fn keep(shared: &Shared, mut order: Order) {
    let mut orders = lock(&shared.orders);
    if let Some(newer) = orders.get(&order.id) {
        order.callbacks = newer.callbacks;
        if newer.is_final() && order.problem.is_none() {
            newer.status.clone_into(&mut order.status);
        }
    }
    orders.insert(order.id.clone(), order);
}

async fn charge(
    shared: &Shared,
    offer: &Offer,
    order: &mut Order,
    card: &CardFields,
) -> Result<()> {
    let invoice = NewInvoice {
        reference: order.id.clone(),
        amount: "17".to_owned(),
        return_url: format!("{}/orders/{}/return", shared.url, order.id),
        callback_url: format!("{}/callbacks/{}", shared.url, offer.name),
    };
    let created = offer.gateway.create_invoice(&invoice).await?;
    note(order, &created);
    let document = created.json()?;
    if created.status != 201 {
        bail!("{}", problem_of(created.status, &document));
    }
    let id = document.pointer("/data/id").and_then(Value::as_str);
    order.invoice = id.map(str::to_owned);
    let bearer = bearer_of(&document).context("the invoice has no bearer token")?.to_owned();
    order.seen.push(("bearer token".to_owned(), bearer.clone()));
    let sold = offer.gateway.sale(&bearer, card).await?;
    note(order, &sold);
    let document = sold.json()?;
    if sold.status != 200 {
        bail!("{}", problem_of(sold.status, &document));
    }
    let status = document.get("status").and_then(Value::as_str).unwrap_or("process_pending");
    status.clone_into(&mut order.status);
    order.challenge = Challenge::of(&document);
    Ok(())
}

fn note(order: &mut Order, answer: &Answer) {
    order.forwarded = answer.header("portcullis-forwarded").map(str::to_owned);
}

fn pay_reply(order: &Order) -> String {
    let next = match (&order.problem, &order.challenge) {
        (None, Some(_)) => format!("/orders/{}/verify", order.id),
        _ => format!("/orders/{}", order.id),
    };
    json!({
        "next": next,
        "status": order.status,
        "problem": order.problem,
        "forwarded": order.forwarded,
    })
    .to_string()
}

/// The 3-D Secure step.
pub(super) fn verify(shared: &Shared, id: &str) -> Reply {
    let order = lock(&shared.orders).get(id).cloned();
    match order.as_ref().and_then(|order| order.challenge.as_ref()) {
        Some(challenge) => Reply::html(200, pages::verify(challenge)),
        None => {
            Reply::html(404, pages::message("Nothing to confirm", "This order asks for nothing."))
        }
    }
}

/// The result; asks the provider while no callback has come.
pub(super) async fn result(shared: &Shared, id: &str) -> Reply {
    let known = lock(&shared.orders).get(id).cloned();
    let Some(mut order) = known else {
        return Reply::html(404, pages::message("Not found", "There is no such order."));
    };
    if !order.is_final() {
        reconcile(shared, &mut order).await;
        keep(shared, order.clone());
    }
    Reply::html(200, pages::result(&order))
}

async fn reconcile(shared: &Shared, order: &mut Order) {
    let offer = shared.offers.iter().find(|offer| offer.name == order.account);
    let (Some(offer), Some(invoice)) = (offer, order.invoice.clone()) else { return };
    let Ok(answer) = offer.gateway.invoice(&invoice).await else { return };
    let document = answer.json().unwrap_or_default();
    if let Some(status) = document.pointer("/data/attributes/status").and_then(Value::as_str) {
        status.clone_into(&mut order.status);
    }
}

fn refusal(status: u16, problem: &str) -> Reply {
    Reply::json(status, json!({ "problem": problem }).to_string())
}
