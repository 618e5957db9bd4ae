//! What would be sent is shown, masked, and not sent; what it needed is still there afterwards.

use super::scene::clean;
use super::stage::{Stage, fields, told};
use crate::client::{Answer, Call};
use crate::corefy::cards::PLAIN;
use crate::text::quote;
use crate::visitor::TypedCard;
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// `Prefer: dry-run` on a sale, twice, and then the sale itself.
pub(super) async fn sale(stage: Stage<'_>) -> Result<()> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let made = stage.invoice(&gateway, false).await?;
    let sale = fields(&stage.tokens(App::Shop, &card).await?, &card);
    let before = stage.simulator().received().all().len();
    for _ in 0..2 {
        let call = gateway.sale_call(&made.bearer, &sale).header("prefer", "dry-run");
        let answer = gateway.send(call).await?;
        let document = explained(&answer, "would_be_sent")?;
        ensure!(
            answer.header("preference-applied") == Some("dry-run"),
            "the wish is not confirmed"
        );
        let text = |pointer: &str| document.pointer(pointer).and_then(Value::as_str);
        let shown = text("/request/body/data/attributes/card_number").context("no card number")?;
        let (first, last) = (card.number.get(..6), card.number.get(12..));
        let mask = format!("{}******{}", first.unwrap_or_default(), last.unwrap_or_default());
        ensure!(shown == mask, "the card number is not masked as metadata masks it");
        ensure!(text("/request/body/data/attributes/cvv") == Some("***"), "the cvv is not masked");
        let credential = text("/request/headers/authorization");
        ensure!(credential == Some("Bearer ***"), "the credential is not masked");
    }
    let reached = stage.simulator().received().all().len() - before;
    ensure!(reached == 0, "{reached} requests reached the provider");
    let paid = gateway.sale(&made.bearer, &sale).await?;
    ensure!(paid.status == 200, "the sale itself was answered {}", told(&paid));
    stage.got_card(&made.id, &card)
}

/// A sale with another tenant's token, pasted: the refusal is foretold.
pub(super) async fn pasted(stage: Stage<'_>) -> Result<()> {
    let (gateway, card) = (stage.gateway()?, TypedCard::number(PLAIN));
    let made = stage.invoice(&gateway, false).await?;
    let foreign = fields(&stage.tokens(App::Stall, &card).await?, &card);
    let body = format!(
        r#"{{"method":"POST","path":"/{}/cardgate/payment/sale","headers":{{"Content-Type":
           "application/json","Authorization":{}}},"body":{}}}"#,
        stage.account(),
        quote(&format!("Bearer {}", made.bearer)),
        foreign.body(),
    );
    let before = stage.sales_received();
    let url = format!("{}/v1/explain", stage.world.addresses.private);
    let answer = gateway.send(Call::post_json(url, body)).await?;
    let document = explained(&answer, "would_be_refused")?;
    let code = document.pointer("/problem/code").and_then(Value::as_str);
    ensure!(code == Some("token_unknown"), "foretold as {code:?}");
    ensure!(stage.sales_received() == before, "it reached the provider");
    Ok(())
}

/// An explanation with this outcome, without a card.
pub(super) fn explained(answer: &Answer, outcome: &str) -> Result<Value> {
    clean(answer)?;
    ensure!(answer.status == 200, "answered {}", told(answer));
    let document = answer.json()?;
    let said = document.get("outcome").and_then(Value::as_str);
    ensure!(said == Some(outcome), "explained as {said:?}");
    Ok(document)
}
