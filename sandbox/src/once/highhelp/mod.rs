//! The cases of HighHelp: every request is signed over every value, everything further comes by
//! signed alerts. Played with RSA keys and with HMAC keys.

mod alert;
mod guard;
mod pay;

use super::Case;
use super::scene::{PATIENCE, Scene, clean, told};
use crate::client::Answer;
use crate::courier::Delivery;
use crate::highhelp::Simulator;
use crate::highhelp::payment::Charge;
use crate::random;
use crate::record::until;
use crate::shop::gateway::CardFields;
use crate::shop::highhelp::{HighHelp, NewPayment};
use crate::visitor::TypedCard;
use crate::world::World;
use crate::world::accounts::App;
use crate::world::signers::HighHelpHeld;
use anyhow::{Context, Result, ensure};

/// Played on every account.
pub(super) const CASES: &[Case] = super::cases![Stage:
    "payment without 3-D Secure" => pay::no_3ds,
    "3DS in an alert, handed off and relayed" => pay::three_ds,
    "3DS in an alert, refused at the bank" => pay::three_ds_refused,
    "redirect in an alert, handed off" => pay::redirect,
    "code instead of a page passed through" => pay::code,
    "declined card" => pay::decline,
    "dispute, settled later" => pay::dispute,
    "requisites of a P2P payment" => pay::requisites,
    "payout to a card, read back" => pay::payout,
    "challenge read by /info" => pay::info,
    "balance" => pay::balance,
    "wrong app signature refused" => guard::wrong_signature,
    "stale or missing timestamp refused" => guard::timestamps,
    "signed payment explained, then made" => guard::explained_first,
    "replayed app request refused" => guard::replayed,
    "another project refused" => guard::another_project,
    "duplicate key refused" => guard::duplicate_key,
    "spellings, : and ; are kept" => guard::spellings,
    "raw card from the app refused" => guard::raw_card,
    "foreign token refused" => guard::foreign_token,
    "burned CVV" => guard::burned_cvv,
    "route that no profile names refused" => guard::unlisted_route,
    "gateway down, then back" => guard::down,
    "gateway silent" => guard::silent,
    "card echoed in an error is scrubbed" => guard::echo,
    "alerts go to their own addresses, re-signed" => alert::delivered,
    "alert keeps every spelling" => alert::spellings,
    "alert replayed, delivered once" => alert::replayed,
    "alert sent twice, delivered once" => alert::twice,
    "alert with a wrong signature refused" => alert::forged,
    "stale alert refused" => alert::stale,
    "alert with a duplicate key refused" => alert::duplicate_key,
    "alert repeated until the shop is ready" => alert::retried,
    "card in an alert is scrubbed" => alert::card_inside,
];

/// One account in one world.
#[derive(Clone, Copy)]
pub(super) struct Stage<'a> {
    scene: Scene<'a>,
    world: &'a World,
}

impl<'a> From<Scene<'a>> for Stage<'a> {
    fn from(scene: Scene<'a>) -> Self {
        Self { scene, world: scene.world }
    }
}

impl<'a> Stage<'a> {
    fn simulator(&self) -> &'a Simulator {
        &self.world.highhelp
    }

    fn held(&self) -> Result<&'a HighHelpHeld> {
        self.world.highhelp_account(self.scene.account)
    }

    fn client(&self) -> Result<HighHelp> {
        self.world.highhelp(self.scene.account, App::Shop)
    }

    /// A new payment of the shop.
    fn payment(&self) -> NewPayment {
        let shop = self.world.shop.url();
        NewPayment {
            payment_id: format!("pay-{}", random::letters(12)),
            callbacks: format!("{shop}/callbacks/{}", self.scene.account),
            redirect_url: format!("{shop}/?back"),
        }
    }

    /// A card of the shop, as tokens.
    async fn card(&self, number: &str) -> Result<CardFields> {
        self.scene.fields(App::Shop, &TypedCard::number(number)).await
    }

    /// Captures a card and pays with it; the payment's key.
    async fn pay(&self, number: &str) -> Result<String> {
        let payment = self.payment();
        let answer = self.client()?.payin(&payment, &self.card(number).await?).await?;
        began(&answer)?;
        Ok(payment.payment_id)
    }

    fn payins_received(&self) -> usize {
        self.simulator().received().count("payin")
    }

    /// The provider got exactly this card for the payment, once.
    fn got_card(&self, id: &str, card: &TypedCard) -> Result<()> {
        let charges = self.simulator().charges();
        let own: Vec<&Charge> = charges.iter().filter(|one| one.payment_id == id).collect();
        ensure!(own.len() == 1, "the provider charged {} cards for the payment", own.len());
        let got = own.first().context("no card")?;
        ensure!((&got.number, &got.cvv) == (&card.number, &card.cvv), "it got another card");
        ensure!((&got.month, &got.year) == (&card.month, &card.year), "it got another expiry");
        ensure!(got.holder == card.holder, "it got another holder");
        Ok(())
    }

    /// Waits until this many alerts of a payment were acknowledged.
    async fn acknowledged(&self, id: &str, count: usize) -> Result<Vec<Delivery>> {
        let all = || {
            let sent = self.simulator().deliveries_of(id);
            (sent.len() >= count && sent.iter().all(Delivery::delivered)).then_some(sent)
        };
        until(PATIENCE, all).await.context("alerts of the payment were not acknowledged")
    }
}

/// The first answer: `processing:new`, with nothing of a card in it.
fn began(answer: &Answer) -> Result<()> {
    clean(answer)?;
    ensure!(answer.status == 200, "answered {}", told(answer));
    let body = answer.json()?;
    let both = (body.get("status").cloned(), body.get("sub_status").cloned());
    ensure!(both == (Some("processing".into()), Some("new".into())), "not processing:new");
    Ok(())
}
