//! Callbacks: verified, re-signed for the app, delivered once, acknowledged only when the app has
//! answered.

use super::scene::accepted;
use super::stage::{PATIENCE, Stage};
use crate::corefy::callback::{Delivery, signature};
use crate::corefy::cards::PLAIN;
use crate::record::until;
use crate::visitor::TypedCard;
use anyhow::{Context, Result, ensure};
use bytes::Bytes;

/// On creation and on each change; the shop verifies each with its virtual key.
pub(super) async fn delivered(stage: Stage<'_>) -> Result<()> {
    let unverified = stage.world.shop.unverified();
    let paid = stage.visitor().buy(stage.account(), &TypedCard::number(PLAIN)).await?;
    accepted(&paid, "processed")?;
    stage.told(&paid.order, "process_pending").await?;
    let told = stage.told(&paid.order, "processed").await?;
    let invoice = stage.invoice_of(&paid.order)?;
    ensure!(told.invoice == invoice.id && told.account == stage.account(), "about another invoice");
    let body = String::from_utf8_lossy(&told.body);
    ensure!(!body.contains(&invoice.token), "the callback shows the provider's bearer token");
    for sent in acknowledged(stage, &invoice.id, 2).await? {
        ensure!(sent.attempts.len() == 1, "a callback was needed more than once");
    }
    ensure!(stage.world.shop.unverified() == unverified, "a signature did not verify at the shop");
    Ok(())
}

/// The same bytes again are acknowledged, and not delivered again.
pub(super) async fn replayed(stage: Stage<'_>) -> Result<()> {
    let made = stage.invoice(&stage.gateway()?, true).await?;
    stage.told(&made.reference, "process_pending").await?;
    acknowledged(stage, &made.id, 1).await?;
    for _ in 0..3 {
        let status = stage.simulator().resend(&made.id).await;
        ensure!(status == Some(200), "a replay was answered {status:?}");
    }
    let count = stage.world.shop.told_about(&made.reference).len();
    ensure!(count == 1, "the shop was told {count} times");
    Ok(())
}

/// Wrong secret, no signature, one bit changed.
pub(super) async fn forged(stage: Stage<'_>) -> Result<()> {
    let made = stage.invoice(&stage.gateway()?, true).await?;
    stage.told(&made.reference, "process_pending").await?;
    let sent = acknowledged(stage, &made.id, 1).await?.pop().context("no callback was sent")?;
    let changed = String::from_utf8_lossy(&sent.body).replace("process_pending", "processed");
    let changed = Bytes::from(changed);
    let foreign = signature("another secret", &changed);
    let virtual_key = &stage.world.account(stage.account())?.shop.key;
    let virtually = signature(virtual_key, &changed);
    let forgeries = [Some(foreign), Some(virtually), Some(sent.signature.clone()), None];
    for signature in forgeries {
        let simulator = stage.simulator();
        let answered =
            simulator.post_callback(&sent.url, changed.clone(), signature.as_deref()).await;
        ensure!(
            answered.is_some_and(|status| (400..500).contains(&status)),
            "a forged callback was answered {answered:?}"
        );
    }
    let told = stage.world.shop.told_about(&made.reference);
    ensure!(told.len() == 1, "a forged callback reached the shop");
    Ok(())
}

/// The shop is not ready twice: the provider hears so, and comes again.
pub(super) async fn retried(stage: Stage<'_>) -> Result<()> {
    stage.world.shop.refuse_callbacks(2);
    let made = stage.invoice(&stage.gateway()?, true).await?;
    stage.told(&made.reference, "process_pending").await?;
    let sent = acknowledged(stage, &made.id, 1).await?.pop().context("no callback was sent")?;
    let refused = sent.attempts.iter().filter(|status| **status != Some(200)).count();
    ensure!(refused == 2, "acknowledged before the shop had answered: {:?}", sent.attempts);
    let told = stage.world.shop.told_about(&made.reference).len();
    ensure!(told == 1, "the shop was told {told} times");
    Ok(())
}

/// A provider that prints the whole number in a callback.
pub(super) async fn card_in_callback(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.unmasked = true);
    let paid = stage.visitor().buy(stage.account(), &TypedCard::number(PLAIN)).await?;
    let told = stage.told(&paid.order, "processed").await?;
    let leak = super::leak::find(&told.body);
    ensure!(leak.is_none(), "the shop's callback holds {}", leak.unwrap_or_default());
    ensure!(String::from_utf8_lossy(&told.body).contains("551928******0000"), "it is not masked");
    Ok(())
}

/// Waits until this many callbacks of an invoice were acknowledged.
async fn acknowledged(stage: Stage<'_>, invoice: &str, count: usize) -> Result<Vec<Delivery>> {
    let all = || {
        let sent = stage.simulator().deliveries_of(invoice);
        (sent.len() >= count && sent.iter().all(Delivery::delivered)).then_some(sent)
    };
    until(PATIENCE, all).await.context("callbacks of the invoice were not acknowledged")
}
