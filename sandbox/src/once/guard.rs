//! What Portcullis refuses. Every case counts what reached the provider, and most have a control
//! that passes.

use super::stage::{Stage, fields, problem, told};
use crate::client::{Answer, Call};
use crate::corefy::cards::PLAIN;
use crate::random;
use crate::shop::gateway::CardFields;
use crate::text::quote;
use crate::visitor::TypedCard;
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};
use http::Method;
use std::time::Duration;

/// One sale goes through, the other finds its CVV gone.
pub(super) async fn double_sale(stage: Stage<'_>) -> Result<()> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let made = stage.invoice(&gateway, false).await?;
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    let before = stage.sales_received();
    let (first, second) =
        tokio::join!(gateway.sale(&made.bearer, &sale), gateway.sale(&made.bearer, &sale));
    let (first, second) = (first?, second?);
    let reached = stage.sales_received() - before;
    ensure!(reached == 1, "{reached} sales reached the provider");
    stage.got_card(&made.id, &card)?;
    let won = [&first, &second].iter().filter(|answer| answer.status == 200).count();
    ensure!(won == 1, "answered {} and {}", told(&first), told(&second));
    Ok(())
}

pub(super) async fn burned_cvv(stage: Stage<'_>) -> Result<()> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    let made = stage.invoice(&gateway, false).await?;
    let first = gateway.sale(&made.bearer, &sale).await?;
    ensure!(first.status == 200, "the first sale was answered {}", told(&first));
    let made = stage.invoice(&gateway, false).await?;
    nothing_sent(stage, gateway.sale(&made.bearer, &sale)).await.map(drop)
}

/// A second Portcullis, whose cards live for one second.
pub(super) async fn expired_token(stage: Stage<'_>) -> Result<()> {
    let name = format!("short-lived-{}", stage.brand.name);
    let mut other = stage
        .world
        .another(&name, |settings| {
            settings.card_ttl = Duration::from_secs(1);
            settings.cvv_ttl = Duration::from_secs(1);
        })
        .await?;
    let card = TypedCard::number(PLAIN);
    let gateway = stage.world.gateway_at(stage.account(), App::Shop, &other.addresses)?;
    let made = stage.invoice(&gateway, false).await?;
    let tokens = stage.tokens_at(&other.addresses, App::Shop, &card).await?;
    tokio::time::sleep(Duration::from_millis(1_300)).await;
    let refused = nothing_sent(stage, gateway.sale(&made.bearer, &fields(&tokens, &card))).await;
    other.stop().await;
    refused.map(drop)
}

pub(super) async fn raw_card(stage: Stage<'_>) -> Result<()> {
    let gateway = stage.gateway()?;
    let card = TypedCard::number(PLAIN);
    let made = stage.invoice(&gateway, false).await?;
    let raw = CardFields {
        number: card.number,
        holder: card.holder,
        cvv: card.cvv,
        month: card.month,
        year: card.year,
        browser_info: serde_json::Value::Null,
    };
    let answer = nothing_sent(stage, gateway.sale(&made.bearer, &raw)).await?;
    let code = problem(&answer, "no")?;
    ensure!(
        answer.status == 422 && code == "raw_card_refused",
        "answered {} instead of 422 raw_card_refused",
        told(&answer)
    );
    stage.clean(&answer)
}

/// Another tenant's token is nothing here; with its owner it works.
pub(super) async fn foreign_token(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(PLAIN);
    let sale = fields(&stage.tokens(App::Stall, &card).await?, &card);
    let gateway = stage.gateway()?;
    let made = stage.invoice(&gateway, false).await?;
    nothing_sent(stage, gateway.sale(&made.bearer, &sale)).await?;
    let own = stage.world.gateway(stage.account(), App::Stall)?;
    let made = stage.invoice(&own, false).await?;
    let answer = own.sale(&made.bearer, &sale).await?;
    ensure!(answer.status == 200, "the token's owner was answered {}", told(&answer));
    stage.got_card(&made.id, &card)
}

/// Another tenant's bearer handle is nothing here either.
pub(super) async fn foreign_bearer(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(PLAIN);
    let other = stage.world.gateway(stage.account(), App::Stall)?;
    let made = stage.invoice(&other, false).await?;
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    nothing_sent(stage, stage.gateway()?.sale(&made.bearer, &sale)).await.map(drop)
}

/// In a field that no profile names, a token is text.
pub(super) async fn token_elsewhere(stage: Stage<'_>) -> Result<()> {
    let gateway = stage.gateway()?;
    let tokens = stage.tokens(App::Shop, &TypedCard::number(PLAIN)).await?;
    let reference = format!("ref-{}", random::letters(12));
    let body = format!(
        r#"{{"data":{{"type":"payment-invoices","attributes":{{"reference_id":{},"currency":"USD","amount":17.10,"service":"payment_card_usd_hpp","description":{}}}}}}}"#,
        quote(&reference),
        quote(&tokens.token)
    );
    let answer = gateway.post("/payment-invoices", body.clone()).await?;
    ensure!(answer.status == 201, "answered {}", told(&answer));
    let arrived = stage.simulator().received().last("payment-invoices.create");
    let arrived = arrived.context("nothing reached the provider")?;
    ensure!(arrived.request.body == body.as_bytes(), "the body changed on the way");
    Ok(())
}

/// Credentials that are not the app's own.
pub(super) async fn wrong_key(stage: Stage<'_>) -> Result<()> {
    let mut gateway = stage.gateway()?;
    gateway.credentials.key = random::letters(40);
    let before = stage.simulator().received().all().len();
    let answer = gateway.invoice("cpi_doesnotexist00").await?;
    ensure!(answer.status == 401 || answer.status == 403, "answered {}", told(&answer));
    let held = stage.world.account(stage.account())?;
    gateway.credentials.id.clone_from(&held.real.id);
    gateway.credentials.key.clone_from(&held.real.key);
    let answer = gateway.invoice("cpi_doesnotexist00").await?;
    ensure!(answer.status >= 400, "the provider's real credentials were accepted from an app");
    let after = stage.simulator().received().all().len();
    ensure!(after == before, "a request with wrong credentials reached the provider");
    Ok(())
}

/// A path that the profile does not name goes nowhere.
pub(super) async fn unlisted_route(stage: Stage<'_>) -> Result<()> {
    let gateway = stage.gateway()?;
    let before = stage.simulator().received().all().len();
    let answer = gateway.post("/api-keys", "{}".to_owned()).await?;
    problem(&answer, "no")?;
    let after = stage.simulator().received().all().len();
    ensure!(after == before, "the request reached the provider");
    Ok(())
}

/// The shop's page may hand over cards, another origin may not.
pub(super) async fn cross_origin(stage: Stage<'_>) -> Result<()> {
    let shop = stage.world.shop.url();
    let tokens_url = format!("{}/v1/tokens", stage.world.addresses.public);
    let key = stage.world.key(App::Shop);
    let private = &stage.world.addresses.private;
    let session = crate::visitor::open_session(&stage.world.client, private, key, shop).await?;
    let preflight = Call::new(Method::OPTIONS, &tokens_url)
        .header("origin", shop)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type");
    let answer = stage.world.client.send(preflight).await?;
    ensure!((200..300).contains(&answer.status), "the preflight was answered {}", answer.status);
    ensure!(allows(&answer, shop), "the shop's origin is not allowed");
    let card = TypedCard::number(PLAIN);
    let foreign = "https://evil.example";
    let call = crate::visitor::capture_call(&tokens_url, &session, foreign, &card);
    let answer = stage.world.client.send(call).await?;
    ensure!(!allows(&answer, foreign), "a foreign origin may read the answer");
    ensure!(answer.status >= 400, "a foreign origin was answered {}", answer.status);
    Ok(())
}

fn allows(answer: &Answer, origin: &str) -> bool {
    matches!(answer.header("access-control-allow-origin"), Some(allowed) if allowed == origin || allowed == "*")
}

/// The call is refused, says that nothing was sent, and nothing was.
async fn nothing_sent(
    stage: Stage<'_>,
    call: impl Future<Output = Result<Answer>>,
) -> Result<Answer> {
    let before = stage.sales_received();
    let answer = call.await?;
    let reached = stage.sales_received() - before;
    ensure!(reached == 0, "{reached} sales reached the provider");
    problem(&answer, "no")?;
    Ok(answer)
}
