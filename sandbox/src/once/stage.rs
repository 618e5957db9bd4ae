//! One Corefy provider in one world, and the questions that its cases keep asking.

use super::scene::Scene;
pub(super) use super::scene::{PATIENCE, fields, problem, told};
use crate::client::Answer;
use crate::corefy::invoice::Invoice;
use crate::corefy::sale::Sale;
use crate::corefy::{Brand, MILKYPAY, PAYMEGA, Simulator};
use crate::random;
use crate::shop::gateway::{Gateway, NewInvoice, bearer_of};
use crate::shop::order::{Order, Told};
use crate::visitor::{Paid, Tokens, TypedCard, Visitor};
use crate::world::World;
use crate::world::accounts::App;
use crate::world::proxy::Addresses;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

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

    fn scene(&self) -> Scene<'a> {
        Scene { world: self.world, account: self.brand.name }
    }

    /// A card of this app, captured as its page does it.
    pub(super) async fn tokens(&self, app: App, card: &TypedCard) -> Result<Tokens> {
        self.scene().tokens(app, card).await
    }

    pub(super) async fn tokens_at(
        &self,
        at: &Addresses,
        app: App,
        card: &TypedCard,
    ) -> Result<Tokens> {
        self.scene().tokens_at(at, app, card).await
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
        self.scene().order(paid)
    }

    /// Waits until the shop has a verified callback with this status.
    pub(super) async fn told(&self, reference: &str, status: &str) -> Result<Told> {
        self.scene().told(reference, status).await
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
        super::scene::clean(answer)
    }
}

impl<'a> From<Scene<'a>> for Stage<'a> {
    fn from(scene: Scene<'a>) -> Self {
        let brand = if scene.account == MILKYPAY.name { MILKYPAY } else { PAYMEGA };
        Self { world: scene.world, brand }
    }
}
