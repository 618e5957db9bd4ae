//! The rest of the provider's API: payouts, reads, pre-requests.

use super::stage::{PATIENCE, Stage, told};
use crate::client::Answer;
use crate::corefy::cards::PLAIN;
use crate::random;
use crate::record::until;
use crate::visitor::TypedCard;
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Money to a card: the number travels through the private API here. Read by id and by the
/// merchant's key.
pub(super) async fn payout(stage: Stage<'_>) -> Result<()> {
    let gateway = stage.gateway()?;
    let tokens = stage.tokens(App::Shop, &TypedCard::number(PLAIN)).await?;
    let reference = format!("out-{}", random::letters(12));
    let callback = format!("{}/callbacks/{}", stage.world.shop.url(), stage.account());
    let answer = gateway.payout(&reference, &tokens.token, &callback).await?;
    ensure!(answer.status == 201, "the payout was answered {}", told(&answer));
    stage.clean(&answer)?;
    let arrived = stage.simulator().received().last("payout-invoices.create");
    let arrived = arrived.context("no payout reached the provider")?;
    let body: Value = serde_json::from_slice(&arrived.request.body)?;
    let number = body.pointer("/data/attributes/fields/card_number").and_then(Value::as_str);
    ensure!(number == Some(PLAIN), "the provider did not get the card number");
    let id = text(&answer, "/data/id")?;
    let settled = || stage.simulator().invoice(&id).filter(|invoice| invoice.status == "processed");
    until(PATIENCE, settled).await.context("the payout was never settled")?;
    let read = gateway.payout_by_id(&id).await?;
    shows(stage, &read, "/data", &id)?;
    let list = gateway.payouts_by_reference(&reference).await?;
    shows(stage, &list, "/data/0", &id)?;
    verbatim_query(stage, "payout-invoices.list", &reference)?;
    stage.told(&reference, "processed").await.map(drop)
}

/// An invoice read by id and by the merchant's key; what the app sees is what it may have.
pub(super) async fn reads(stage: Stage<'_>) -> Result<()> {
    let gateway = stage.gateway()?;
    let made = stage.invoice(&gateway, true).await?;
    ensure!(made.bearer.starts_with("brr_"), "the app was given something else than a handle");
    let shop = format!("{}/callbacks/{}", stage.world.shop.url(), stage.account());
    let named = made.document.pointer("/data/attributes/callback_url").and_then(Value::as_str);
    ensure!(named == Some(shop.as_str()), "the app's callback_url was not given back");
    stage.simulator().settle(&made.id, "processed", "ok");
    let read = gateway.invoice(&made.id).await?;
    shows(stage, &read, "/data", &made.id)?;
    let list = gateway.invoices_by_reference(&made.reference).await?;
    shows(stage, &list, "/data/0", &made.id)?;
    verbatim_query(stage, "payment-invoices.list", &made.reference)
}

/// The virtual public key goes in, the real one comes out.
pub(super) async fn prerequest(stage: Stage<'_>) -> Result<()> {
    let answer = stage.gateway()?.prerequest("USD", "17").await?;
    ensure!(answer.status == 200, "answered {}", told(&answer));
    let services = answer.json()?.pointer("/data/attributes/services").cloned();
    let known = services.is_some_and(|services| services.get("payment_card_usd_hpp").is_some());
    ensure!(known, "the list of services did not come through");
    let arrived = stage.simulator().received().last("public").context("nothing reached it")?;
    let body: Value = serde_json::from_slice(&arrived.request.body)?;
    let real = &stage.world.account(stage.account())?.real.public_key;
    let key = body.get("public_key").and_then(Value::as_str);
    ensure!(key == Some(real.as_str()), "the provider did not get its own public key");
    Ok(())
}

fn shows(stage: Stage<'_>, answer: &Answer, at: &str, id: &str) -> Result<()> {
    ensure!(answer.status == 200, "a read was answered {}", told(answer));
    ensure!(text(answer, &format!("{at}/id"))? == id, "a read shows another invoice");
    let status = text(answer, &format!("{at}/attributes/status"))?;
    ensure!(status == "processed", "a read shows {status}");
    let body = answer.text();
    let leaked = stage.simulator().bearers().iter().any(|bearer| body.contains(bearer.as_str()));
    ensure!(!leaked, "a read shows the provider's own bearer token");
    stage.clean(answer)
}

fn verbatim_query(stage: Stage<'_>, route: &str, reference: &str) -> Result<()> {
    let arrived = stage.simulator().received().last(route).context("no list was asked for")?;
    let expected = format!("filter[reference_id]={reference}");
    ensure!(arrived.request.query == Some(expected), "the query changed on the way");
    Ok(())
}

fn text(answer: &Answer, pointer: &str) -> Result<String> {
    let document = answer.json()?;
    let value = document.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    value.with_context(|| format!("the answer has no {pointer}"))
}
