//! Checkout on the server's side: opens a capture session, and pays with tokens only.

use super::gateway::CardFields;
use super::order::{Challenge, Order, problem_of};
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
    let order = Order::new(account);
    match open_session(shared, &order).await {
        Ok((session, form_url)) => {
            let reply = json!({
                "order": order.id,
                "session": session,
                "form_url": form_url,
                "tokens_url": format!("{}/v1/tokens", shared.public),
            });
            lock(&shared.orders).insert(order.id.clone(), order);
            Reply::json(200, reply.to_string())
        }
        Err(error) => refusal(502, &format!("{error:#}")),
    }
}

/// The shop's colours in Portcullis' form.
const THEME: &str = r##"{"accent":"#a06a14","radius":8}"##;

async fn open_session(shared: &Shared, order: &Order) -> Result<(String, String)> {
    let body = format!(
        r#"{{"origin":{},"return_url":{},"ttl_seconds":900,"max_cards":3,"theme":{THEME}}}"#,
        quote(&shared.url),
        quote(&format!("{}/orders/{}/card", shared.url, order.id)),
    );
    let url = format!("{}/v1/capture-sessions", shared.private);
    let call = Call::post_json(url, body).header("portcullis-key", &shared.key);
    let answer = shared.client.send(call).await?;
    shared.log.received("answer of /v1/capture-sessions", &answer.headers, &answer.body);
    if answer.status != 201 && answer.status != 200 {
        bail!("no capture session: {}", problem_of(answer.status, &answer.json()?));
    }
    let answer = answer.json()?;
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    text("id").zip(text("form_url")).context("the capture session has no id")
}

/// Another attempt: a new order through the same account.
pub(super) fn again(shared: &Shared, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let id = body.get("order").and_then(Value::as_str).unwrap_or_default();
    let mut orders = lock(&shared.orders);
    let Some(account) = orders.get(id).map(|order| order.account.clone()) else {
        return refusal(404, "unknown order");
    };
    let order = Order::new(&account);
    let reply = json!({ "order": order.id });
    orders.insert(order.id.clone(), order);
    Reply::json(200, reply.to_string())
}

/// The browser comes from Portcullis' own page with a token.
pub(super) async fn come_back(shared: &Shared, request: &Request, id: &str) -> Reply {
    let form = request.form();
    let text = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let token = text("token");
    let card = CardFields {
        number: token.clone(),
        holder: token.clone(),
        cvv: text("cvv_token"),
        month: token.clone(),
        year: token,
        browser_info: serde_json::from_str(&text("browser_info")).unwrap_or_default(),
    };
    match charge(shared, id, card).await {
        Ok(order) => Reply::redirect(303, &next(&order)),
        Err(reply) => *reply,
    }
}

/// The visitor's browser sends tokens; the gateway's own document says what to do with a card.
pub(super) async fn pay(shared: &Shared, request: &Request) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let card = CardFields {
        number: text("token"),
        holder: text("holder"),
        cvv: text("cvv_token"),
        month: text("exp_month"),
        year: text("exp_year"),
        browser_info: body.get("browser_info").cloned().unwrap_or_default(),
    };
    match charge(shared, &text("order"), card).await {
        Ok(order) => Reply::json(200, pay_reply(&order)),
        Err(reply) => *reply,
    }
}

async fn charge(shared: &Shared, id: &str, card: CardFields) -> Result<Order, Box<Reply>> {
    let known = lock(&shared.orders).get(id).cloned();
    let Some(mut order) = known else { return Err(Box::new(refusal(404, "unknown order"))) };
    let Some(offer) = shared.offers.iter().find(|offer| offer.name == order.account) else {
        return Err(Box::new(refusal(404, "unknown account")));
    };
    // A second press of a button, a reload: the card was sent already.
    if order.invoice.is_some() {
        return Ok(order);
    }
    order.seen =
        vec![("card_number".to_owned(), card.number.clone()), ("cvv".to_owned(), card.cvv.clone())];
    if let Err(error) = offer.till.charge(&mut order, &shared.url, &card).await {
        order.problem = Some(format!("{error:#}"));
    }
    // The answer tells the browser; only who hears of a challenge later is sent by the result page.
    order.challenged = order.challenge.is_some();
    keep(shared, order.clone());
    Ok(order)
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

fn next(order: &Order) -> String {
    match (&order.problem, &order.challenge) {
        (None, Some(_)) => format!("/orders/{}/verify", order.id),
        _ => format!("/orders/{}", order.id),
    }
}

/// An address is all that a frame needs; a form with fields takes the whole window.
fn pay_reply(order: &Order) -> String {
    let plain = |challenge: &&Challenge| challenge.method == "GET" && challenge.params.is_empty();
    let frame = order.challenge.as_ref().filter(plain).map(|challenge| challenge.action.as_str());
    json!({
        "next": next(order),
        "frame": frame,
        "declined": order.is_declined(),
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
