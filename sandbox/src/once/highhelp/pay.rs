//! Payments that go well, or end as they should.

use super::{Stage, began};
use crate::browser::Page;
use crate::highhelp::cards::{CHALLENGED, CODE, DECLINED, DISPUTED, PLAIN, REDIRECTED};
use crate::highhelp::payment::OTP;
use crate::json::Json;
use crate::once::scene::{PATIENCE, accepted, clean, told};
use crate::record::until;
use crate::shop::order::Challenge;
use crate::visitor::{Paid, TypedCard};
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};
use http::Method;

/// Through the shop's pages, from the checkout to the result.
pub(super) async fn no_3ds(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(PLAIN);
    let before = stage.payins_received();
    let paid = bought(stage, &card).await?;
    ensure!(paid.forwarded.as_deref() == Some("yes"), "Portcullis-Forwarded is not yes");
    ensure!(stage.payins_received() == before + 1, "not exactly one payment at the provider");
    stage.got_card(&paid.order, &card)?;
    stage.scene.told(&paid.order, "success").await?;
    stage.scene.result_page(&paid, "Paid").await
}

pub(super) async fn three_ds(stage: Stage<'_>) -> Result<()> {
    let (paid, bank) = to_the_bank(stage, CHALLENGED, "processing:awaiting_3ds_result").await?;
    let came = stage.world.acs.challenged().pop().context("nobody came to the bank's page")?;
    ensure!(came.method == Method::POST, "came to the bank's page by {}", came.method);
    let pareq = include_str!("../../corefy/templates/pareq.txt").trim_end();
    ensure!(came.field("PaReq") == Some(pareq), "PaReq changed on the way to the bank");
    ensure!(came.field("MD").is_some_and(|md| !md.is_empty()), "MD was lost");
    come_back(stage, &paid, &bank, "approve").await?;
    stage.scene.told(&paid.order, "success").await?;
    stage.scene.result_page(&paid, "Paid").await
}

pub(super) async fn three_ds_refused(stage: Stage<'_>) -> Result<()> {
    let (paid, bank) = to_the_bank(stage, CHALLENGED, "processing:awaiting_3ds_result").await?;
    come_back(stage, &paid, &bank, "decline").await?;
    stage.scene.told(&paid.order, "decline").await?;
    stage.scene.result_page(&paid, "Declined").await
}

/// An address alone; what the bank does with it is between the bank and the provider.
pub(super) async fn redirect(stage: Stage<'_>) -> Result<()> {
    let waiting = "processing:awaiting_redirect_result";
    let (paid, bank) = to_the_bank(stage, REDIRECTED, waiting).await?;
    come_back(stage, &paid, &bank, "approve").await?;
    stage.scene.told(&paid.order, "success").await?;
    stage.scene.result_page(&paid, "Paid").await
}

/// Pays by the shop's pages until the bank's page stands open. The app saw our address, nothing
/// of the challenge.
async fn to_the_bank(stage: Stage<'_>, number: &str, waiting: &str) -> Result<(Paid, Page)> {
    let card = TypedCard::number(number);
    let paid = bought(stage, &card).await?;
    let told = stage.scene.told(&paid.order, waiting).await?;
    handed_off(stage, told.challenge.as_ref())?;
    let (acs, body) = (stage.world.acs.url(), String::from_utf8_lossy(&told.body));
    ensure!(!body.contains(&acs) && !body.contains("3ds-return"), "the app saw the challenge");
    stage.got_card(&paid.order, &card)?;
    let bank = stage.scene.visitor().walk(&paid).await?;
    ensure!(bank.url.as_str().starts_with(&acs), "the bank's page was never reached");
    Ok((paid, bank))
}

fn handed_off(stage: Stage<'_>, challenge: Option<&Challenge>) -> Result<()> {
    let challenge = challenge.context("the app was given no challenge")?;
    let ours = format!("{}/3ds/", stage.world.addresses.public);
    ensure!(challenge.action.starts_with(&ours), "the hand-off does not begin at Portcullis");
    ensure!(challenge.params.is_empty(), "the app was given fields of the challenge");
    ensure!(challenge.method == "GET", "the hand-off is by {}", challenge.method);
    Ok(())
}

/// Once, byte for byte, and the browser ends at the shop.
async fn come_back(stage: Stage<'_>, paid: &Paid, bank: &Page, button: &str) -> Result<()> {
    let visitor = stage.scene.visitor();
    let page = visitor.walk_on(visitor.press(bank, button).await?).await?;
    let shop = stage.world.shop.url();
    ensure!(page.url.as_str().starts_with(shop), "the browser did not come back to the shop");
    let payment = stage.simulator().payment(&paid.order).context("no payment")?;
    let returns = stage.simulator().returns_of(&payment.request_id);
    ensure!(returns.len() == 1, "the provider got {} returns", returns.len());
    let same = returns.first().and_then(|arrived| arrived.as_posted);
    ensure!(same == Some(true), "method, content type or bytes changed on the way back");
    Ok(())
}

/// A challenge without an address: nothing to hand off, nothing to lose.
pub(super) async fn code(stage: Stage<'_>) -> Result<()> {
    let id = stage.pay(CODE).await?;
    let asked = stage.scene.told(&id, "processing:awaiting_3ds_result").await?;
    ensure!(asked.challenge.is_none(), "a challenge came out of nowhere");
    let answer = stage.client()?.confirm(&id, "otp", OTP).await?;
    clean(&answer)?;
    ensure!(answer.status == 200, "the code was answered {}", told(&answer));
    stage.scene.told(&id, "success").await.map(drop)
}

pub(super) async fn decline(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(DECLINED).expiring("05", "29");
    let paid = bought(stage, &card).await?;
    stage.got_card(&paid.order, &card)?;
    let told = stage.scene.told(&paid.order, "decline").await?;
    let body = String::from_utf8_lossy(&told.body);
    ensure!(body.contains("insufficient_funds"), "the reason was lost");
    stage.scene.result_page(&paid, "Declined").await
}

pub(super) async fn dispute(stage: Stage<'_>) -> Result<()> {
    let id = stage.pay(DISPUTED).await?;
    let told = stage.scene.told(&id, "dispute:wrong_amount").await?;
    ensure!(told.path.ends_with("/progress"), "told at another address");
    stage.simulator().settle(&id, "success");
    stage.scene.told(&id, "success").await.map(drop)
}

pub(super) async fn requisites(stage: Stage<'_>) -> Result<()> {
    let payment = stage.payment();
    began(&stage.client()?.p2p_payin(&payment).await?)?;
    let id = &payment.payment_id;
    let told = stage.scene.told(id, "processing:requisites").await?;
    let body = String::from_utf8_lossy(&told.body);
    ensure!(body.contains("+7 900 000-00-00; bank: test"), "the requisites changed");
    stage.simulator().settle(id, "success");
    stage.scene.told(id, "success").await.map(drop)
}

/// The card is the receiver's; no code, no bank's page.
pub(super) async fn payout(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    for product in ["ecom", "p2p"] {
        let tokens = stage.scene.tokens(App::Shop, &TypedCard::number(PLAIN)).await?;
        let payment = stage.payment();
        began(&client.payout(product, &payment, &tokens.token).await?)?;
        let charges = stage.simulator().charges();
        let got = charges.iter().find(|one| one.payment_id == payment.payment_id);
        let number = got.map(|one| one.number.as_str());
        ensure!(number == Some(PLAIN), "the provider did not get the card number");
        stage.scene.told(&payment.payment_id, "success").await?;
        let kind = format!("{product}/payout");
        let read = client.info(&kind, &payment.payment_id).await?;
        clean(&read)?;
        let status = read.json()?.get("status").cloned();
        ensure!(status == Some("success".into()), "read back as another status");
    }
    Ok(())
}

/// The fallback when an alert was lost: the same hand-off.
pub(super) async fn info(stage: Stage<'_>) -> Result<()> {
    let id = stage.pay(CHALLENGED).await?;
    let asked = || stage.simulator().payment(&id).filter(|payment| payment.challenge.is_some());
    until(PATIENCE, asked).await.context("the provider never asked")?;
    let read = stage.client()?.info("ecom/payin", &id).await?;
    clean(&read)?;
    ensure!(read.status == 200, "answered {}", told(&read));
    let body = Json::parse(&read.body).context("not JSON")?;
    handed_off(stage, Challenge::of_alert(&body).as_ref())?;
    ensure!(!read.text().contains("3ds-return"), "the app saw the challenge");
    Ok(())
}

pub(super) async fn balance(stage: Stage<'_>) -> Result<()> {
    let answer = stage.client()?.balance().await?;
    ensure!(answer.status == 200, "answered {}", told(&answer));
    let amount = answer.json()?.pointer("/balance/0/amount").cloned();
    ensure!(amount == Some(1_050_000.into()), "the balance changed on the way");
    Ok(())
}

async fn bought(stage: Stage<'_>, card: &TypedCard) -> Result<Paid> {
    let paid = stage.scene.visitor().buy(stage.scene.account, card).await?;
    accepted(&paid, "processing:new")?;
    Ok(paid)
}
