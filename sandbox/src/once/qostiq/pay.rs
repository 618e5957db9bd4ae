//! Payments that go well, or are declined as they should be.

use super::{Stage, order, succeeded};
use crate::browser::Page;
use crate::corefy::invoice::unix_now;
use crate::once::scene::{accepted, raw};
use crate::qostiq::cards::{CHALLENGED, DECLINED, PLAIN};
use crate::qostiq::{FormAnswer, SessionAt};
use crate::record::until;
use crate::visitor::{Paid, TypedCard};
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Through the shop's pages, from the checkout to the result.
pub(super) async fn no_3ds(stage: Stage<'_>) -> Result<()> {
    let before = stage.forms_received();
    let card = TypedCard::number(PLAIN);
    let paid = bought(stage, &card).await?;
    let form = stage.scene.order(&paid)?.challenge.context("the shop has no card form")?;
    let ours = format!("{}/payform/", stage.world.addresses.public);
    ensure!(form.action.starts_with(&ours), "the card form does not begin at Portcullis");
    let page = stage.scene.visitor().walk(&paid).await?;
    back_at_the_shop(stage, &page)?;
    ensure!(stage.forms_received() == before + 1, "not exactly one card form at the provider");
    stage.got_card(&paid.order, &card)?;
    as_the_browser_sent_it(stage)?;
    stage.scene.told(&paid.order, "success").await?;
    stage.scene.result_page(&paid, "Paid").await
}

/// The cardholder's browser is what the provider sees; the way in between leaves no trace.
fn as_the_browser_sent_it(stage: Stage<'_>) -> Result<()> {
    let arrived = stage.simulator().received().last("payform").context("no card form arrived")?;
    let header = |name: &str| arrived.request.header(name).unwrap_or_default();
    ensure!(header("user-agent").starts_with("Mozilla/5.0"), "the browser's user agent was lost");
    ensure!(header("accept-language") == "en", "the browser's language was lost");
    ensure!(header("cookie").is_empty(), "a cookie reached the provider");
    Ok(())
}

pub(super) async fn by_page(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.form_answer = FormAnswer::Page);
    let card = TypedCard::number(PLAIN);
    let paid = bought(stage, &card).await?;
    let page = stage.scene.visitor().walk(&paid).await?;
    back_at_the_shop(stage, &page)?;
    stage.got_card(&paid.order, &card)?;
    stage.scene.told(&paid.order, "success").await.map(drop)
}

/// Portcullis hands the browser a page that posts to the provider; the provider's cookie is the
/// browser's business then.
pub(super) async fn by_browser(stage: Stage<'_>) -> Result<()> {
    let (client, name) = (stage.client()?, order());
    let card = TypedCard::number(PLAIN);
    let fields = stage.scene.fields(App::Shop, &card).await?;
    let form = stage.form(&client, &name, &fields, &[]).await?;
    let before = stage.forms_received();
    let answer = stage.post(&form).await?;
    ensure!(answer.status == 200, "answered {} instead of a page", answer.status);
    ensure!(stage.forms_received() == before, "Portcullis posted the card form itself");
    let url = form.action.parse()?;
    let page = Page { url, answer, trail: Vec::new() };
    let real = page.form()?;
    let authority = format!("https://{}/payform", stage.simulator().authority());
    ensure!(real.action.starts_with(&authority), "the page does not post to the provider");
    let cached = page.answer.header("cache-control").unwrap_or_default();
    ensure!(cached.contains("no-store"), "a page with a card in it may be stored");
    let page = stage.scene.visitor().walk_on(page).await?;
    back_at_the_shop(stage, &page)?;
    stage.got_card(&name, &card)?;
    stage.scene.told(&name, "success").await.map(drop)
}

pub(super) async fn three_ds(stage: Stage<'_>) -> Result<()> {
    let (paid, _) = at_the_bank(stage, "approve").await?;
    stage.scene.told(&paid.order, "success").await?;
    stage.scene.result_page(&paid, "Paid").await
}

pub(super) async fn three_ds_by_page(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.form_answer = FormAnswer::Page);
    let (paid, _) = at_the_bank(stage, "approve").await?;
    stage.scene.told(&paid.order, "success").await.map(drop)
}

pub(super) async fn three_ds_refused(stage: Stage<'_>) -> Result<()> {
    let (paid, _) = at_the_bank(stage, "decline").await?;
    stage.scene.told(&paid.order, "rejected").await?;
    stage.scene.result_page(&paid, "Declined").await
}

/// The provider takes the browser to the bank and back by itself: the way is its own.
async fn at_the_bank(stage: Stage<'_>, button: &str) -> Result<(Paid, Page)> {
    let card = TypedCard::number(CHALLENGED);
    let paid = bought(stage, &card).await?;
    let visitor = stage.scene.visitor();
    let bank = visitor.walk(&paid).await?;
    let acs = stage.world.acs.url();
    ensure!(bank.url.as_str().starts_with(&acs), "the bank's page was never reached");
    let came = stage.world.acs.challenged().pop().context("nobody came to the bank's page")?;
    let own = format!("https://{}/3ds-return", stage.simulator().authority());
    let term_url = came.field("TermUrl").unwrap_or_default();
    ensure!(term_url.starts_with(&own), "the provider's own return address was changed");
    let pareq = came.field("PaReq").unwrap_or_default();
    ensure!(holds(pareq, &card.number), "the PaReq did not reach the bank as the provider made it");
    stage.got_card(&paid.order, &card)?;
    let back = visitor.press(&bank, button).await?;
    let page = visitor.walk_on(back).await?;
    back_at_the_shop(stage, &page)?;
    Ok((paid, page))
}

pub(super) async fn decline(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(DECLINED).expiring("05", "29");
    let paid = bought(stage, &card).await?;
    stage.scene.visitor().walk(&paid).await?;
    stage.got_card(&paid.order, &card)?;
    let told = stage.scene.told(&paid.order, "rejected").await?;
    let body = String::from_utf8_lossy(&told.body);
    ensure!(body.contains("insufficient_funds"), "the reason was lost");
    stage.scene.result_page(&paid, "Declined").await
}

/// The form may carry the card itself: it comes from the cardholder, not from the app.
pub(super) async fn raw_from_browser(stage: Stage<'_>) -> Result<()> {
    let (client, name) = (stage.client()?, order());
    let card = TypedCard::number(PLAIN);
    let form = stage.form(&client, &name, &raw(&card), &[]).await?;
    let answer = stage.post(&form).await?;
    ensure!(answer.status == 303, "answered {} instead of 303", answer.status);
    stage.got_card(&name, &card)
}

/// The token for later payments is the provider's secret; the app holds another one.
pub(super) async fn recurring(stage: Stage<'_>) -> Result<()> {
    let (client, first, second) = (stage.client()?, order(), order());
    stage.pay(&first, &TypedCard::number(PLAIN), &[("required_pay_token", "true")]).await?;
    let told = stage.scene.told(&first, "success").await?;
    let token = pay_token_of(&told.body)?;
    let real = stage.simulator().invoice(&first).and_then(|invoice| invoice.pay_token);
    let real = real.context("the provider issued no pay_token")?;
    ensure!(token.starts_with("pyt_"), "the app was given something else than a handle");
    let answer = client.invoice(&second, "5", &[("pay_token", &token)]).await?;
    succeeded(&answer)?;
    let method = answer.json()?.pointer("/data/method").cloned();
    ensure!(method == Some("OFFLINE".into()), "the OFFLINE answer did not come through");
    let used = stage.simulator().offline().pop();
    ensure!(used == Some((real, second.clone())), "the provider did not get its own token");
    stage.scene.told(&second, "success").await.map(drop)
}

/// From `ps_data`, a string that holds JSON.
pub(super) fn pay_token_of(callback: &[u8]) -> Result<String> {
    let body: Value = serde_json::from_slice(callback)?;
    let ps_data = body.get("ps_data").and_then(Value::as_str).context("no ps_data")?;
    let ps_data: Value = serde_json::from_str(ps_data)?;
    let token = ps_data.get("pay_token").and_then(Value::as_str);
    token.map(str::to_owned).context("no pay_token in ps_data")
}

/// Revealed first, signed then: the number is part of what is signed.
pub(super) async fn payout(stage: Stage<'_>) -> Result<()> {
    let (client, name) = (stage.client()?, order());
    let tokens = stage.scene.tokens(App::Shop, &TypedCard::number(PLAIN)).await?;
    let answer = client.withdraw(&name, &tokens.token).await?;
    succeeded(&answer)?;
    let id = answer.json()?.pointer("/data/id").map(ToString::to_string);
    let id = id.context("the payout has no id")?;
    let settled = || {
        let all = stage.simulator().withdrawals();
        all.into_iter().find(|one| one.payment == name && one.status == 5)
    };
    let settled = until(crate::once::scene::PATIENCE, settled).await;
    let settled = settled.context("the payout was never settled")?;
    ensure!(settled.account == PLAIN, "the provider did not get the card number");
    for read in [client.withdraw_status(&id).await?, client.payment_status(&name).await?] {
        succeeded(&read)?;
        let status = read.json()?.pointer("/data/status").cloned();
        ensure!(status == Some(5.into()), "a read shows another status");
    }
    Ok(())
}

pub(super) async fn reads(stage: Stage<'_>) -> Result<()> {
    let (client, name) = (stage.client()?, order());
    succeeded(&client.invoice_try("17.10").await?)?;
    succeeded(&client.withdraw_try("17.10").await?)?;
    succeeded(&client.balance().await?)?;
    stage.pay(&name, &TypedCard::number(PLAIN), &[]).await?;
    let read = client.order_status(&name).await?;
    succeeded(&read)?;
    let status = read.json()?.pointer("/data/status").cloned();
    ensure!(status == Some(2.into()), "the order is not shown as paid");
    // `now` is text: whatever is sent is signed, and spelled the same at the provider.
    let now = unix_now().to_string();
    let params = [("now", now.as_str()), ("shop_id", &client.shop_id)];
    let params = params.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let body = client.signed(params.into_iter().collect(), &["now", "shop_id"]);
    succeeded(&client.post("shop_balance", body).await?)
}

/// No document shows where the session is.
pub(super) async fn session_places(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    for place in [SessionAt::Flat, SessionAt::Id, SessionAt::Nested] {
        stage.simulator().quirks(|quirks| quirks.session_at = place);
        let name = order();
        let session = stage.session(&client, &name, &[]).await?;
        let real = stage.simulator().invoice(&name).context("no invoice")?.session;
        ensure!(session != real, "the app was given the provider's session");
        succeeded(&client.h2h_data(&session).await?)?;
    }
    Ok(())
}

async fn bought(stage: Stage<'_>, card: &TypedCard) -> Result<Paid> {
    let paid = stage.scene.visitor().buy(stage.scene.account, card).await?;
    accepted(&paid, "waiting")?;
    ensure!(paid.next.ends_with("/verify"), "the shop has no card form");
    Ok(paid)
}

/// Whether the middle one of its three parts says so.
fn holds(pareq: &str, number: &str) -> bool {
    let claims = pareq.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    claims.is_some_and(|claims| String::from_utf8_lossy(&claims).contains(number))
}

fn back_at_the_shop(stage: Stage<'_>, page: &Page) -> Result<()> {
    let shop = stage.world.shop.url();
    ensure!(page.url.as_str().starts_with(shop), "the browser did not come back to the shop");
    Ok(())
}
