//! Checkout on the server's side: opens a capture session, and pays with tokens only.

use super::gateway::CardFields;
use super::order::{Order, problem_of};
use super::{Shared, pages};
use crate::client::Call;
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
    if let Err(error) = offer.till.charge(&mut order, &shared.url, &card).await {
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
        order.challenged |= newer.challenged;
        order.challenge = order.challenge.or_else(|| newer.challenge.clone());
    }
    orders.insert(order.id.clone(), order);
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

/// The 3-D Secure step, or the provider's card form.
pub(super) fn verify(shared: &Shared, id: &str) -> Reply {
    let mut orders = lock(&shared.orders);
    let order = orders.get_mut(id);
    match order.and_then(|order| Some((order.challenge.as_ref()?, &mut order.challenged))) {
        Some((challenge, challenged)) => {
            *challenged = true;
            Reply::html(200, pages::verify(challenge))
        }
        None => {
            Reply::html(404, pages::message("Nothing to confirm", "This order asks for nothing."))
        }
    }
}

/// The result; asks the provider while no callback has come, and sends the visitor to the bank when
/// one has asked for it.
pub(super) async fn result(shared: &Shared, id: &str) -> Reply {
    let known = lock(&shared.orders).get(id).cloned();
    let Some(mut order) = known else {
        return Reply::html(404, pages::message("Not found", "There is no such order."));
    };
    if !order.is_final() && order.challenge.is_some() && !order.challenged {
        return Reply::redirect(303, &format!("/orders/{id}/verify"));
    }
    if !order.is_final() {
        reconcile(shared, &mut order).await;
        keep(shared, order.clone());
    }
    Reply::html(200, pages::result(&order))
}

async fn reconcile(shared: &Shared, order: &mut Order) {
    let Some(offer) = shared.offers.iter().find(|offer| offer.name == order.account) else {
        return;
    };
    if let Some(status) = offer.till.status(order).await {
        order.status = status;
    }
}

fn refusal(status: u16, problem: &str) -> Reply {
    Reply::json(status, json!({ "problem": problem }).to_string())
}
