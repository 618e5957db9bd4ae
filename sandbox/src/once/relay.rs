//! The way back from the bank: relayed once, byte for byte, whatever the browser does.

use super::pay::{challenged, reached_the_bank, returned_once};
use super::stage::Stage;
use crate::acs::Style;
use crate::browser::Page;
use crate::client::Answer;
use crate::corefy::cards::CHALLENGED;
use crate::corefy::faults::Pareq;
use crate::corefy::invoice::Invoice;
use crate::shop::order::Challenge;
use crate::visitor::{Paid, TypedCard};
use anyhow::{Context, Result, ensure};
use http::Method;

const TERM_URL_MAX: usize = 200;

pub(super) async fn by_post(stage: Stage<'_>) -> Result<()> {
    let walk = Walk::to_bank(stage, "relay").await?;
    let back = walk.press("approve").await?;
    let answer = walk.come_back(&back).await?;
    ensure!(answer.headers.get("set-cookie").is_none(), "the provider's cookie was passed on");
    walk.arrived(Method::POST)?;
    stage.told(&walk.paid.order, "processed").await.map(drop)
}

pub(super) async fn by_get(stage: Stage<'_>) -> Result<()> {
    let walk = Walk::to_bank(stage, "relay").await?;
    walk.press("approve_get").await?;
    walk.arrived(Method::GET)?;
    stage.told(&walk.paid.order, "processed").await.map(drop)
}

/// Forty kilobytes, another order of fields, an unknown one twice.
pub(super) async fn large(stage: Stage<'_>) -> Result<()> {
    let twice = ["", "a=b&c"].map(|value| ("acs unknown".to_owned(), value.to_owned()));
    let style = Style { pares_bytes: 40_000, md_first: true, extra: twice.to_vec() };
    stage.world.acs.style(style);
    let walk = Walk::to_bank(stage, "relay").await?;
    let back = walk.press("approve").await?;
    stage.world.acs.style(Style::default());
    walk.come_back(&back).await?;
    walk.arrived(Method::POST)
}

pub(super) async fn double_submit(stage: Stage<'_>) -> Result<()> {
    let walk = Walk::to_bank(stage, "relay").await?;
    let back = walk.press("approve").await?;
    let answers = tokio::join!(
        walk.come_back(&back),
        walk.come_back(&back),
        walk.come_back(&back),
        walk.come_back(&back)
    );
    let (first, second, third, fourth) = (answers.0?, answers.1?, answers.2?, answers.3?);
    let late = walk.come_back(&back).await?;
    walk.arrived(Method::POST)?;
    let place = |answer: &Answer| (answer.status, answer.header("location").map(str::to_owned));
    let same = [&second, &third, &fourth, &late].iter().all(|one| place(one) == place(&first));
    ensure!(same, "the same return was answered in different ways");
    Ok(())
}

pub(super) async fn redirect307(stage: Stage<'_>) -> Result<()> {
    let walk = Walk::to_bank(stage, "redirect").await?;
    let back = walk.press("approve").await?;
    let answer = walk.come_back(&back).await?;
    ensure!(answer.status == 307, "answered {} instead of 307", answer.status);
    let target = answer.header("location").unwrap_or_default().to_owned();
    let authority = format!("https://{}/3ds-return?pid=", stage.simulator().authority());
    ensure!(target.starts_with(&authority), "307 leads somewhere else than the original TermUrl");
    let none = stage.simulator().returns_of(&walk.invoice.payment_id);
    ensure!(none.is_empty(), "Portcullis called the TermUrl itself");
    walk.visitor_follows(&back).await?;
    walk.arrived(Method::POST)?;
    stage.told(&walk.paid.order, "processed").await.map(drop)
}

/// The app gets the provider's own fields, with one of them replaced.
pub(super) async fn inline(stage: Stage<'_>) -> Result<()> {
    let walk = Walk::to_bank(stage, "inline").await?;
    let Challenge { action, method, params } =
        stage.order(&walk.paid)?.challenge.context("no challenge in the order")?;
    ensure!(action.starts_with(&stage.world.acs.url()), "the action is not the bank's own");
    ensure!(method == "POST", "the method changed");
    let value = |name: &str| params.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    let harmless = include_str!("../corefy/templates/pareq.txt").trim_end();
    ensure!(value("PaReq") == Some(harmless), "PaReq was not passed on as it came");
    ensure!(value("MD").is_some(), "MD was not passed on");
    let back = walk.press("approve").await?;
    walk.come_back(&back).await?;
    walk.arrived(Method::POST)
}

/// A PaReq with a card in it is not handed to the app.
pub(super) async fn inline_with_card(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.pareq = Some(Pareq::CarriesPan));
    let card = TypedCard::number(CHALLENGED);
    let paid = stage.visitor().buy(&stage.variant("inline"), &card).await?;
    let order = stage.order(&paid)?;
    let given = order.challenge.map(|challenge| challenge.params).unwrap_or_default();
    let leaked = given.iter().any(|(_, value)| super::leak::find(value.as_bytes()).is_some());
    ensure!(!leaked, "the app was given a PaReq that carries the card number");
    ensure!(paid.problem.is_some() || given.is_empty(), "the challenge was passed on all the same");
    Ok(())
}

struct Walk<'a> {
    stage: Stage<'a>,
    paid: Paid,
    invoice: Invoice,
    bank: Page,
}

impl<'a> Walk<'a> {
    /// Pays through a variant of the account, as far as the bank's page.
    async fn to_bank(stage: Stage<'a>, variant: &str) -> Result<Self> {
        let card = TypedCard::number(CHALLENGED);
        let paid = challenged(stage, &stage.variant(variant), &card).await?;
        let invoice = stage.invoice_of(&paid.order)?;
        let bank = stage.visitor().to_the_bank(&paid).await?;
        let came = reached_the_bank(stage, &invoice.payment_id)?;
        let term_url = came.field("TermUrl").unwrap_or_default();
        let ours = format!("{}/3ds/", stage.world.addresses.public);
        ensure!(term_url.starts_with(&ours), "TermUrl was not replaced");
        ensure!(term_url.len() <= TERM_URL_MAX, "TermUrl has {} characters", term_url.len());
        Ok(Self { stage, paid, invoice, bank })
    }

    async fn press(&self, button: &str) -> Result<Page> {
        self.stage.visitor().press(&self.bank, button).await
    }

    /// Sends the bank's form, follows nothing.
    async fn come_back(&self, back: &Page) -> Result<Answer> {
        let call = self.stage.visitor().browser.call_of(back, &back.form()?, None)?;
        self.stage.world.client.send(call).await
    }

    async fn visitor_follows(&self, back: &Page) -> Result<Page> {
        self.stage.visitor().browser.submit(back, &back.form()?, None).await
    }

    fn arrived(&self, method: Method) -> Result<()> {
        returned_once(self.stage, &self.invoice.payment_id)?;
        let returns = self.stage.simulator().returns_of(&self.invoice.payment_id);
        let arrived = returns.first().context("no return")?;
        ensure!(arrived.method == method, "came back by {}", arrived.method);
        let query = arrived.query.as_deref().unwrap_or_default();
        let own = format!("pid={}", self.invoice.payment_id);
        let kept = match method {
            Method::GET => query.starts_with(&format!("{own}&")),
            _ => query == own,
        };
        ensure!(kept, "the TermUrl's own query did not survive");
        let status = self.stage.simulator().invoice(&self.invoice.id).map(|i| i.status);
        ensure!(status.as_deref() == Some("processed"), "the provider could not read the return");
        Ok(())
    }
}
