//! A gateway in trouble: is anything sent twice, is it said whether anything was sent, does the
//! card come back?

use super::stage::{Stage, fields, problem, told};
use crate::client::Answer;
use crate::corefy::cards::PLAIN;
use crate::corefy::faults::Fault;
use crate::visitor::TypedCard;
use crate::world::accounts::App;
use anyhow::{Result, ensure};

/// Nothing was sent: the code lives, and the same tokens pay when the gateway is back.
pub(super) async fn down(stage: Stage<'_>) -> Result<()> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let made = stage.invoice(&gateway, false).await?;
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    let before = stage.sales_received();
    stage.simulator().down();
    let answer = gateway.sale(&made.bearer, &sale).await;
    stage.simulator().up().await?;
    problem(&answer?, "no")?;
    ensure!(stage.sales_received() == before, "the sale reached a gateway that is down");
    let again = gateway.sale(&made.bearer, &sale).await?;
    ensure!(again.status == 200, "the second attempt was answered {}", told(&again));
    stage.got_card(&made.id, &card)
}

pub(super) async fn silent(stage: Stage<'_>) -> Result<()> {
    unknown_outcome(stage, Fault::Silent).await
}

pub(super) async fn half_answer(stage: Stage<'_>) -> Result<()> {
    unknown_outcome(stage, Fault::Half).await
}

pub(super) async fn cut_off(stage: Stage<'_>) -> Result<()> {
    unknown_outcome(stage, Fault::Cut).await
}

/// The money may have moved: said so, sent once, and the code is gone for good.
async fn unknown_outcome(stage: Stage<'_>, fault: Fault) -> Result<()> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let made = stage.invoice(&gateway, false).await?;
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    let before = stage.sales_received();
    stage.simulator().faults().set("sale", fault);
    let answer = gateway.sale(&made.bearer, &sale).await?;
    stage.simulator().faults().clear();
    problem(&answer, "unknown")?;
    stage.clean(&answer)?;
    let reached = stage.sales_received() - before;
    ensure!(reached == 1, "{reached} sales reached the provider");
    stage.got_card(&made.id, &card)?;
    let again = gateway.sale(&made.bearer, &sale).await?;
    let code = problem(&again, "unknown")?;
    ensure!(code == "payment_outcome_unknown", "the same payment again: {code}");
    let other = stage.invoice(&gateway, false).await?;
    problem(&gateway.sale(&other.bearer, &sale).await?, "no")?;
    ensure!(stage.sales_received() == before + 1, "the code was used a second time");
    Ok(())
}

/// The provider's own error comes through, with the card masked and the code gone.
pub(super) async fn echo_in_error(stage: Stage<'_>) -> Result<()> {
    let answer = faulty_sale(stage, Fault::EchoPan).await?;
    ensure!(answer.status == 422, "the provider's 422 became {}", told(&answer));
    let text = answer.text();
    ensure!(text.contains("\"errors\""), "the provider's error did not come through");
    ensure!(text.contains("551928******0000"), "the number is not masked in place");
    Ok(())
}

pub(super) async fn echo_in_base64(stage: Stage<'_>) -> Result<()> {
    faulty_sale(stage, Fault::EchoEncoded).await.map(drop)
}

pub(super) async fn echo_in_header(stage: Stage<'_>) -> Result<()> {
    let answer = faulty_sale(stage, Fault::EchoHeader).await?;
    ensure!(answer.status == 200, "answered {}", told(&answer));
    for name in ["x-debug-card", "x-powered-by", "set-cookie"] {
        ensure!(answer.header(name).is_none(), "the provider's {name} was passed on");
    }
    Ok(())
}

pub(super) async fn html_500(stage: Stage<'_>) -> Result<()> {
    let answer = faulty_sale(stage, Fault::Html500).await?;
    ensure!(answer.status >= 500, "the provider's 500 became {}", told(&answer));
    Ok(())
}

/// One sale at a gateway that misbehaves; what comes back holds no card.
async fn faulty_sale(stage: Stage<'_>, fault: Fault) -> Result<Answer> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let made = stage.invoice(&gateway, false).await?;
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    stage.simulator().faults().set("sale", fault);
    let before = stage.sales_received();
    let answer = gateway.sale(&made.bearer, &sale).await?;
    ensure!(stage.sales_received() == before + 1, "not exactly one sale at the provider");
    stage.clean(&answer)?;
    Ok(answer)
}
