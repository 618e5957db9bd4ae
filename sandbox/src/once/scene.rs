//! What all cases share, whoever the provider is: a world, one account of it, and the questions
//! that every case keeps asking.

use super::leak;
use crate::client::Answer;
use crate::record::{Recorder, until};
use crate::shop::gateway::CardFields;
use crate::shop::order::{Order, Told};
use crate::visitor::{Paid, Tokens, TypedCard, Visitor, capture_call, open_session, tokens_of};
use crate::world::World;
use crate::world::accounts::App;
use crate::world::proxy::Addresses;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

/// Callbacks and the like come within this time.
pub(super) const PATIENCE: Duration = Duration::from_secs(8);

/// One account in one world.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) world: &'a World,
    /// Its name in the configuration.
    pub(super) account: &'static str,
}

impl Scene<'_> {
    pub(super) fn visitor(&self) -> Visitor {
        Visitor::new(&self.world.client, self.world.shop.url())
    }

    /// A card of this app, captured as its page does it.
    pub(super) async fn tokens(&self, app: App, card: &TypedCard) -> Result<Tokens> {
        self.tokens_at(&self.world.addresses, app, card).await
    }

    pub(super) async fn tokens_at(
        &self,
        at: &Addresses,
        app: App,
        card: &TypedCard,
    ) -> Result<Tokens> {
        let (client, origin) = (&self.world.client, self.world.shop.url());
        let session = open_session(client, &at.private, self.world.key(app), origin).await?;
        let call = capture_call(&format!("{}/v1/tokens", at.public), &session, origin, card);
        tokens_of(&client.send(call).await?)
    }

    /// The card's tokens in the places of the card.
    pub(super) async fn fields(&self, app: App, card: &TypedCard) -> Result<CardFields> {
        Ok(fields(&self.tokens(app, card).await?, card))
    }

    pub(super) fn order(&self, paid: &Paid) -> Result<Order> {
        self.world.shop.order(&paid.order).context("the shop has lost the order")
    }

    /// Waits until the shop has a verified callback with this status.
    pub(super) async fn told(&self, reference: &str, status: &str) -> Result<Told> {
        let shop = &self.world.shop;
        let found = until(PATIENCE, || {
            shop.told_about(reference).into_iter().find(|told| told.status == status)
        });
        let found = found.await;
        found.with_context(|| format!("the shop never got a verified callback with {status}"))
    }

    /// How often the shop was told, after a moment in which more could come.
    pub(super) async fn told_times(&self, reference: &str, expected: usize) -> Result<()> {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let count = self.world.shop.told_about(reference).len();
        ensure!(count == expected, "the shop was told {count} times instead of {expected}");
        Ok(())
    }

    /// What the shop says to the visitor.
    pub(super) async fn result_page(&self, paid: &Paid, says: &str) -> Result<()> {
        let url = format!("{}/orders/{}", self.world.shop.url(), paid.order);
        let page = self.visitor().browser.open(&url).await?;
        ensure!(page.answer.text().contains(says), "the shop's result page does not say {says:?}");
        Ok(())
    }
}

/// Counts what reaches a provider during a call that must be refused.
pub(super) async fn unsent(
    received: &Recorder,
    (status, code): (u16, &str),
    call: impl Future<Output = Result<Answer>>,
) -> Result<Answer> {
    let before = received.all().len();
    let answer = call.await?;
    let reached = received.all().len() - before;
    ensure!(reached == 0, "{reached} requests reached the provider");
    let said = problem(&answer, "no")?;
    ensure!(
        answer.status == status && said == code,
        "answered {} instead of {status} ({code})",
        told(&answer)
    );
    clean(&answer)?;
    Ok(answer)
}

/// Nothing that the app got back holds a card or a code.
pub(super) fn clean(answer: &Answer) -> Result<()> {
    let mut all = answer.body.to_vec();
    for (name, value) in &answer.headers {
        all.extend_from_slice(format!("\n{name}: ").as_bytes());
        all.extend_from_slice(value.as_bytes());
    }
    match leak::find(&all) {
        Some(found) => anyhow::bail!("the app's answer ({}) holds {found}", answer.status),
        None => Ok(()),
    }
}

/// The fields of a sale with tokens in the places of the card.
pub(super) fn fields(tokens: &Tokens, card: &TypedCard) -> CardFields {
    CardFields { number: tokens.token.clone(), cvv: tokens.cvv_token.clone(), ..raw(card) }
}

/// The card itself, as no app should have it.
pub(super) fn raw(card: &TypedCard) -> CardFields {
    CardFields {
        number: card.number.clone(),
        holder: card.holder.clone(),
        cvv: card.cvv.clone(),
        month: card.month.clone(),
        year: card.year.clone(),
        browser_info: Value::Null,
    }
}

/// A problem document that says whether the provider may have seen the request.
pub(super) fn problem(answer: &Answer, forwarded: &str) -> Result<String> {
    ensure!(answer.status >= 400, "answered {} instead of an error", answer.status);
    let kind = answer.content_type().unwrap_or_default();
    ensure!(
        kind.starts_with("application/problem+json"),
        "an error of type {kind:?}: {}",
        told(answer)
    );
    let document = answer.json()?;
    let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
    let (code, said) = (text("code"), text("forwarded"));
    ensure!(said == forwarded, "`{code}` says forwarded: {said:?}, expected {forwarded:?}");
    Ok(code.to_owned())
}

/// Status and code of an answer, for messages. Never its body.
pub(super) fn told(answer: &Answer) -> String {
    let document = answer.json().unwrap_or_default();
    let code = document.get("code").and_then(Value::as_str).unwrap_or("no code");
    format!("{} ({code})", answer.status)
}

/// The shop took the payment for accepted, with this status.
pub(super) fn accepted(paid: &Paid, status: &str) -> Result<()> {
    if let Some(problem) = &paid.problem {
        anyhow::bail!("the shop could not pay: {problem}");
    }
    ensure!(paid.status == status, "the shop holds the payment for {}", paid.status);
    Ok(())
}
