//! What the cases share: one provider in one world, and the questions that they keep asking.

use super::leak;
use crate::client::Answer;
use crate::corefy::invoice::Invoice;
use crate::corefy::sale::Sale;
use crate::corefy::{Brand, Simulator};
use crate::random;
use crate::record::until;
use crate::shop::gateway::{CardFields, Gateway, NewInvoice, bearer_of};
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

/// One provider in one world.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    pub(super) world: &'a World,
    pub(super) brand: Brand,
}

/// An invoice as the app knows it.
pub(super) struct Made {
    pub(super) id: String,
    pub(super) reference: String,
    /// What the app takes for the bearer token.
    pub(super) bearer: String,
    pub(super) document: Value,
}

impl<'a> Stage<'a> {
    pub(super) fn simulator(&self) -> &'a Simulator {
        self.world.simulator(self.brand.name)
    }

    /// The provider's standard account.
    pub(super) fn account(&self) -> &'static str {
        self.brand.name
    }

    pub(super) fn variant(&self, suffix: &str) -> String {
        format!("{}-{suffix}", self.brand.name)
    }

    pub(super) fn visitor(&self) -> Visitor {
        Visitor::new(&self.world.client, self.world.shop.url())
    }

    pub(super) fn gateway(&self) -> Result<Gateway> {
        self.world.gateway(self.account(), App::Shop)
    }

    /// How many sales reached the provider, good or bad.
    pub(super) fn sales_received(&self) -> usize {
        self.simulator().received().count("sale")
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

    /// An invoice of the shop; callbacks go to the shop if asked for.
    pub(super) async fn invoice(&self, gateway: &Gateway, callbacks: bool) -> Result<Made> {
        let shop = self.world.shop.url();
        let reference = format!("ref-{}", random::letters(12));
        let callback_url = match callbacks {
            true => format!("{shop}/callbacks/{}", self.account()),
            false => String::new(),
        };
        let new = NewInvoice {
            reference: reference.clone(),
            amount: "17".to_owned(),
            return_url: format!("{shop}/"),
            callback_url,
        };
        let answer = gateway.create_invoice(&new).await?;
        ensure!(answer.status == 201, "the invoice was answered {}", told(&answer));
        let document = answer.json()?;
        let id = document.pointer("/data/id").and_then(Value::as_str);
        Ok(Made {
            id: id.context("the invoice has no id")?.to_owned(),
            reference,
            bearer: bearer_of(&document).context("the invoice has no token")?.to_owned(),
            document,
        })
    }

    /// The provider's own view of an order of the shop.
    pub(super) fn invoice_of(&self, reference: &str) -> Result<Invoice> {
        let found = self.simulator().invoice_by_reference(reference);
        found.context("the provider has no invoice for this order")
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

    /// The provider got exactly this card in its newest sale, and no token in any field.
    pub(super) fn got_card(&self, invoice: &str, card: &TypedCard) -> Result<()> {
        let sales = self.simulator().sales();
        let own: Vec<&Sale> = sales.iter().filter(|sale| sale.invoice == invoice).collect();
        ensure!(own.len() == 1, "the provider accepted {} sales for the invoice", own.len());
        let sale = own.first().context("no sale")?;
        ensure!(sale.number == card.number, "the provider got another card number");
        ensure!(sale.cvv == card.cvv, "the provider got another cvv");
        ensure!(
            (&sale.month, &sale.year) == (&card.month, &card.year),
            "the provider got another expiry"
        );
        ensure!(sale.holder == card.holder, "the provider got another holder");
        Ok(())
    }

    /// Nothing that the app got back holds a card or a code.
    pub(super) fn clean(&self, answer: &Answer) -> Result<()> {
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
}

/// The fields of a sale with tokens in the places of the card.
pub(super) fn fields(tokens: &Tokens, card: &TypedCard) -> CardFields {
    CardFields {
        number: tokens.token.clone(),
        holder: card.holder.clone(),
        cvv: tokens.cvv_token.clone(),
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
