//! The cases of Qostiq: the card goes in by the cardholder's own form, requests are signed over
//! what they say, callbacks over everything.

mod callback;
mod guard;
mod pay;

use super::Case;
use super::scene::{PATIENCE, Scene, clean};
use crate::browser::Form;
use crate::client::Answer;
use crate::courier::Delivery;
use crate::qostiq::Simulator;
use crate::random;
use crate::record::until;
use crate::shop::gateway::CardFields;
use crate::shop::piastrix::{Piastrix, payform, session_of};
use crate::visitor::TypedCard;
use crate::world::World;
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};

/// Played where Portcullis posts the card form.
pub(super) const CASES: &[Case] = super::cases![Stage:
    "card form, paid" => pay::no_3ds,
    "card form answered by a page" => pay::by_page,
    "3-D Secure, paid" => pay::three_ds,
    "3-D Secure begun by a page" => pay::three_ds_by_page,
    "3-D Secure, refused at the bank" => pay::three_ds_refused,
    "declined card, with its reason" => pay::decline,
    "raw card from the browser itself" => pay::raw_from_browser,
    "recurring payment with a token" => pay::recurring,
    "payout to a card, read back" => pay::payout,
    "status calls and tries" => pay::reads,
    "session wherever the answer has it" => pay::session_places,
    "card form submitted twice in parallel" => guard::double_submit,
    "card form, burned CVV" => guard::burned_cvv,
    "card form, gateway silent" => guard::silent,
    "card form on a foreign host withheld" => guard::foreign_payform,
    "foreign token in the card form refused" => guard::foreign_token,
    "session that is no handle refused" => guard::foreign_session,
    "foreign pay token refused" => guard::foreign_pay_token,
    "wrong app signature refused" => guard::wrong_signature,
    "signed parameter missing" => guard::missing_parameter,
    "signed parameter that is no scalar" => guard::nested_parameter,
    "duplicate key refused" => guard::duplicate_key,
    "spellings of numbers are kept" => guard::spellings,
    "values with : and ; are kept" => guard::separators,
    "raw card in a payout refused" => guard::raw_payout,
    "route that no profile names refused" => guard::unlisted_route,
    "card echoed in an error is scrubbed" => guard::echo,
    "callback in JSON, re-signed" => callback::delivered,
    "callback as a form, re-signed" => callback::as_form,
    "callback to the invoice's own address" => callback::own_address,
    "callback keeps every spelling" => callback::spellings,
    "callback replayed, delivered once" => callback::replayed,
    "callback with a wrong signature refused" => callback::forged,
    "callback with a duplicate key refused" => callback::duplicate_key,
    "callback repeated until the shop is ready" => callback::retried,
    "card in a callback is scrubbed" => callback::card_inside,
];

/// Played where the browser posts the card form to the provider.
pub(super) const BROWSER_CASES: &[Case] = super::cases![Stage:
    "card form posted by the browser" => pay::by_browser,
    "3-D Secure after the browser's post" => pay::three_ds,
    "callback as a form, re-signed" => callback::as_form,
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
        &self.world.qostiq
    }

    fn client(&self) -> Result<Piastrix> {
        self.world.piastrix(self.scene.account, App::Shop)
    }

    /// An invoice's session, as the app knows it.
    async fn session(
        &self,
        client: &Piastrix,
        order: &str,
        more: &[(&str, &str)],
    ) -> Result<String> {
        let answer = client.invoice(order, "17.10", more).await?;
        succeeded(&answer)?;
        let session = session_of(&answer.json()?)?;
        ensure!(session.starts_with("brr_"), "the app was given something else than a handle");
        Ok(session)
    }

    /// The card form of a new invoice, filled in.
    async fn form(
        &self,
        client: &Piastrix,
        order: &str,
        card: &CardFields,
        more: &[(&str, &str)],
    ) -> Result<Form> {
        let shop = self.world.shop.url();
        let urls =
            [("success_url", format!("{shop}/?good")), ("failed_url", format!("{shop}/?bad"))];
        let urls = urls.each_ref().map(|(name, url)| (*name, url.as_str()));
        let session = self.session(client, order, &[&urls[..], more].concat()).await?;
        let data = client.h2h_data(&session).await?;
        succeeded(&data)?;
        let form = payform(&data.json()?, &session, card)?;
        let ours = format!("{}/payform/", self.world.addresses.public);
        ensure!(form.action.starts_with(&ours), "payform_url does not begin at Portcullis");
        Ok(form)
    }

    /// Posts a form as a browser does, and follows nothing.
    async fn post(&self, form: &Form) -> Result<Answer> {
        let browser = self.scene.visitor().browser;
        let page = browser.open(self.world.shop.url()).await?;
        self.world.client.send(browser.call_of(&page, form, None)?).await
    }

    /// Captures a card and pays with it, from end to end, with no 3-D Secure.
    async fn pay(&self, order: &str, card: &TypedCard, more: &[(&str, &str)]) -> Result<Answer> {
        let client = self.client()?;
        let fields = self.scene.fields(App::Shop, card).await?;
        let form = self.form(&client, order, &fields, more).await?;
        self.post(&form).await
    }

    fn forms_received(&self) -> usize {
        self.simulator().received().count("payform")
    }

    /// The provider got exactly this card for the order, once.
    fn got_card(&self, order: &str, card: &TypedCard) -> Result<()> {
        let payments = self.simulator().payments();
        let mut own = payments.iter().filter(|payment| payment.order == order);
        let got = own.next().context("the provider got no card for the order")?;
        ensure!(own.next().is_none(), "the provider got more than one card for the order");
        ensure!((&got.number, &got.cvv) == (&card.number, &card.cvv), "it got another card");
        ensure!((&got.month, &got.year) == (&card.month, &card.year), "it got another expiry");
        ensure!(got.holder == card.holder, "it got another holder");
        Ok(())
    }

    /// Waits until this many callbacks of an order were acknowledged.
    async fn acknowledged(&self, order: &str, count: usize) -> Result<Vec<Delivery>> {
        let all = || {
            let sent = self.simulator().deliveries_of(order);
            (sent.len() >= count && sent.iter().all(Delivery::delivered)).then_some(sent)
        };
        until(PATIENCE, all).await.context("callbacks of the order were not acknowledged")
    }
}

fn order() -> String {
    format!("ord-{}", random::letters(12))
}

/// A business answer that says yes, and holds nothing of a card.
fn succeeded(answer: &Answer) -> Result<()> {
    clean(answer)?;
    let body = answer.json()?;
    let message = body.get("message").or_else(|| body.get("code"));
    let said = message.and_then(|text| text.as_str()).unwrap_or("nothing").to_owned();
    ensure!(answer.status == 200, "answered {} ({said})", answer.status);
    ensure!(body.get("result") == Some(&true.into()), "the provider said {said:?}");
    Ok(())
}
