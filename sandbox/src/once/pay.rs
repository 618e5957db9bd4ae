//! Payments through the shop, from the product page to the callback.

use super::scene::{Scene, accepted};
use super::stage::Stage;
use crate::acs::Challenged;
use crate::corefy::cards::{CHALLENGED, CHALLENGED_V2, DECLINED, PLAIN};
use crate::shop::order::Challenge;
use crate::visitor::{Paid, TypedCard};
use anyhow::{Context, Result, ensure};
use http::Method;

pub(super) async fn no_3ds(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(PLAIN);
    let before = stage.sales_received();
    let paid = stage.visitor().buy(stage.account(), &card).await?;
    accepted(&paid, "processed")?;
    ensure!(paid.forwarded.as_deref() == Some("yes"), "Portcullis-Forwarded is not yes");
    let invoice = stage.invoice_of(&paid.order)?;
    ensure!(stage.sales_received() == before + 1, "not exactly one sale at the provider");
    stage.got_card(&invoice.id, &card)?;
    stage.told(&paid.order, "processed").await?;
    result_page(stage, &paid, "Paid").await
}

pub(super) async fn three_ds1(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(CHALLENGED);
    let paid = challenged(stage, stage.account(), &card).await?;
    kept_from_the_app(stage, &paid)?;
    let invoice = stage.invoice_of(&paid.order)?;
    stage.got_card(&invoice.id, &card)?;
    let visitor = stage.visitor();
    let bank = visitor.to_the_bank(&paid).await?;
    reached_the_bank(stage, &invoice.payment_id)?;
    let back = visitor.press(&bank, "approve").await?;
    visitor.browser.submit(&back, &back.form()?, None).await?;
    returned_once(stage, &invoice.payment_id)?;
    stage.told(&paid.order, "processed").await?;
    result_page(stage, &paid, "Paid").await
}

pub(super) async fn three_ds1_refused(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(CHALLENGED);
    let paid = challenged(stage, stage.account(), &card).await?;
    let invoice = stage.invoice_of(&paid.order)?;
    let visitor = stage.visitor();
    let bank = visitor.to_the_bank(&paid).await?;
    let back = visitor.press(&bank, "decline").await?;
    visitor.browser.submit(&back, &back.form()?, None).await?;
    returned_once(stage, &invoice.payment_id)?;
    stage.told(&paid.order, "process_failed").await?;
    result_page(stage, &paid, "Declined").await
}

pub(super) async fn three_ds2(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(CHALLENGED_V2);
    let paid = challenged(stage, stage.account(), &card).await?;
    let invoice = stage.invoice_of(&paid.order)?;
    stage.got_card(&invoice.id, &card)?;
    let visitor = stage.visitor();
    let bank = visitor.to_the_bank(&paid).await?;
    let came = reached_the_bank(stage, &invoice.payment_id)?;
    let names: Vec<&str> = came.fields.iter().map(|(name, _)| name.as_str()).collect();
    ensure!(names == ["creq"], "the bank's page got {names:?} instead of creq alone");
    let back = visitor.press(&bank, "approve").await?;
    visitor.browser.submit(&back, &back.form()?, None).await?;
    returned_once(stage, &invoice.payment_id)?;
    stage.told(&paid.order, "processed").await?;
    result_page(stage, &paid, "Paid").await
}

pub(super) async fn decline(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(DECLINED).expiring("05", "29");
    let paid = stage.visitor().buy(stage.account(), &card).await?;
    accepted(&paid, "process_failed")?;
    let invoice = stage.invoice_of(&paid.order)?;
    stage.got_card(&invoice.id, &card)?;
    ensure!(invoice.resolution == "insufficient_funds", "the expiry did not arrive as typed");
    stage.told(&paid.order, "process_failed").await?;
    result_page(stage, &paid, "Declined").await
}

pub(super) async fn pending(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(PLAIN).expiring("07", "77");
    let paid = stage.visitor().buy(stage.account(), &card).await?;
    accepted(&paid, "process_pending")?;
    ensure!(stage.order(&paid)?.challenge.is_none(), "a challenge came out of nowhere");
    let invoice = stage.invoice_of(&paid.order)?;
    stage.got_card(&invoice.id, &card)?;
    stage.told(&paid.order, "process_pending").await?;
    stage.simulator().settle(&invoice.id, "processed", "ok");
    stage.told(&paid.order, "processed").await?;
    result_page(stage, &paid, "Paid").await
}

/// Pays with a card that asks for 3-D Secure, up to the challenge.
pub(super) async fn challenged(stage: Stage<'_>, account: &str, card: &TypedCard) -> Result<Paid> {
    let paid = stage.visitor().buy(account, card).await?;
    accepted(&paid, "process_pending")?;
    ensure!(paid.next.ends_with("/verify"), "the shop was given no challenge");
    Ok(paid)
}

/// The app got our address, by GET, and nothing else.
fn kept_from_the_app(stage: Stage<'_>, paid: &Paid) -> Result<()> {
    let Challenge { action, method, params } =
        stage.order(paid)?.challenge.context("no challenge in the order")?;
    let ours = format!("{}/3ds/", stage.world.addresses.public);
    ensure!(action.starts_with(&ours), "the hand-off does not begin at Portcullis");
    ensure!(method == "GET" && params.is_empty(), "the app was given fields of the challenge");
    Ok(())
}

/// The bank's page got the provider's fields, all of them and byte for byte, save that `TermUrl`
/// may be ours.
pub(super) fn reached_the_bank(stage: Stage<'_>, payment_id: &str) -> Result<Challenged> {
    let came = stage.world.acs.challenged().pop().context("nobody came to the bank's page")?;
    ensure!(came.payment_id == payment_id, "another payment came to the bank's page");
    let issued = stage.simulator().issued(payment_id).context("no challenge was handed out")?;
    ensure!(came.method == Method::POST, "came to the bank's page by {}", came.method);
    ensure!(came.fields.len() == issued.params.len(), "fields were added or lost");
    for (name, value) in issued.params.iter().filter(|(name, _)| name != "TermUrl") {
        ensure!(came.field(name) == Some(value), "{name} changed on the way to the bank");
    }
    Ok(came)
}

/// The browser's return reached the provider once, as the bank sent it.
pub(super) fn returned_once(stage: Stage<'_>, payment_id: &str) -> Result<()> {
    let returns = stage.simulator().returns_of(payment_id);
    ensure!(returns.len() == 1, "the provider got {} returns", returns.len());
    let same = returns.first().and_then(|arrived| arrived.as_posted);
    ensure!(same == Some(true), "method, content type or bytes changed on the way back");
    Ok(())
}

async fn result_page(stage: Stage<'_>, paid: &Paid, says: &str) -> Result<()> {
    Scene { world: stage.world, account: stage.account() }.result_page(paid, says).await
}
