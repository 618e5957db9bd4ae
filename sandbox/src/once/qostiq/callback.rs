//! Qostiq's callbacks: verified over everything not empty, re-signed for the app, delivered once.

use super::{Stage, order};
use crate::json::Json;
use crate::once::{leak, scene::PATIENCE};
use crate::qostiq::Encoding;
use crate::qostiq::callback::letter;
use crate::qostiq::cards::PLAIN;
use crate::record::until;
use crate::visitor::TypedCard;
use anyhow::{Context, Result, ensure};

type Fields = Vec<(String, Json)>;

/// The shop verifies with its virtual secret; the provider hears `OK`.
pub(super) async fn delivered(stage: Stage<'_>) -> Result<()> {
    let unverified = stage.world.shop.unverified();
    let name = paid(stage).await?;
    let told = stage.scene.told(&name, "success").await?;
    ensure!(told.account == stage.scene.account, "it came for another account");
    let sent = stage.acknowledged(&name, 1).await?.pop().context("no callback was sent")?;
    ensure!(sent.attempts.len() == 1, "a callback was needed more than once");
    let (kind, said) = sent.answer.context("no answer")?;
    ensure!(kind.starts_with("text/plain") && said == "OK", "the provider did not hear OK");
    ensure!(stage.world.shop.unverified() == unverified, "a signature did not verify at the shop");
    let (signed, came) = (fields(&sent.letter.body)?, fields(&told.body)?);
    let rest = |fields: Fields| -> Fields {
        fields.into_iter().filter(|(name, _)| name != "sign").collect()
    };
    ensure!(rest(signed) == rest(came), "more than the signature changed");
    Ok(())
}

pub(super) async fn as_form(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.callbacks = Some(Encoding::Form));
    let unverified = stage.world.shop.unverified();
    let name = order();
    settled(stage, &name).await?;
    let told = stage.scene.told(&name, "success").await?;
    ensure!(!told.body.starts_with(b"{"), "a form became JSON on the way");
    stage.acknowledged(&name, 1).await?;
    ensure!(stage.world.shop.unverified() == unverified, "a signature did not verify at the shop");
    Ok(())
}

/// An invoice may name an address; the provider gets ours, and the app its own.
pub(super) async fn own_address(stage: Stage<'_>) -> Result<()> {
    let (client, name) = (stage.client()?, order());
    let url = format!("{}/callbacks/{}/own", stage.world.shop.url(), stage.scene.account);
    stage.session(&client, &name, &[("callback_url", &url)]).await?;
    let known = stage.simulator().invoice(&name).and_then(|invoice| invoice.callback_url);
    let known = known.context("the provider was told no address")?;
    let ours = format!("{}/callbacks/", stage.world.addresses.public);
    ensure!(known.starts_with(&ours), "the provider was told the app's own address");
    stage.simulator().settle(&name, "success");
    let told = stage.scene.told(&name, "success").await?;
    ensure!(told.path.ends_with("/own"), "delivered to another address");
    Ok(())
}

/// Floats, numbers beyond any machine type, separators, new fields: verified and passed on as
/// they came.
pub(super) async fn spellings(stage: Stage<'_>) -> Result<()> {
    let number = |text: &str| Json::Number(text.to_owned());
    let odd = [
        ("fee", number("1.10")),
        ("rate", number("1E+2")),
        ("trace", number("90071992547409931234567890")),
        ("note", Json::Text("a:b;c & \"d\"".to_owned())),
        ("flag", number("0.00")),
    ];
    let odd = odd.map(|(name, value)| (name.to_owned(), value)).to_vec();
    for encoding in [Encoding::Json, Encoding::Form] {
        stage.simulator().quirks(|quirks| {
            quirks.extra.clone_from(&odd);
            quirks.callbacks = Some(encoding);
        });
        let name = paid(stage).await?;
        let told = stage.scene.told(&name, "success").await?;
        if encoding == Encoding::Json {
            let came = fields(&told.body)?;
            ensure!(odd.iter().all(|field| came.contains(field)), "a value was spelled otherwise");
        }
    }
    Ok(())
}

/// The signature knows no time: the same bytes verify for ever, and are delivered once.
pub(super) async fn replayed(stage: Stage<'_>) -> Result<()> {
    let name = paid(stage).await?;
    stage.acknowledged(&name, 1).await?;
    for _ in 0..3 {
        let status = stage.simulator().resend(&name).await;
        ensure!(status == Some(200), "a replay was answered {status:?}");
    }
    stage.scene.told_times(&name, 1).await
}

/// Another secret, the app's own virtual one, a changed value, no signature.
pub(super) async fn forged(stage: Stage<'_>) -> Result<()> {
    let name = paid(stage).await?;
    let sent = stage.acknowledged(&name, 1).await?.pop().context("no callback was sent")?;
    let held = stage.world.qostiq_account(stage.scene.account)?;
    let mut changed = fields(&sent.letter.body)?;
    changed.retain(|(name, _)| name != "sign");
    for (field, value) in &mut changed {
        if field == "payment_id" {
            *value = Json::Number("999001".to_owned());
        }
    }
    let url = &sent.letter.url;
    let mut unsigned = letter(url, Encoding::Json, &changed, "");
    unsigned.body = Json::Object(changed.clone()).render().into();
    let mut same = sent.letter.clone();
    same.body = String::from_utf8_lossy(&same.body).replace("17.10", "1710").into();
    let another = letter(url, Encoding::Json, &changed, "another secret");
    let virtually = letter(url, Encoding::Form, &changed, &held.shop);
    for forgery in [another, virtually, unsigned, same] {
        let status = stage.simulator().post_callback(&forgery).await;
        ensure!(status == Some(401), "a forged callback was answered {status:?}");
    }
    stage.scene.told_times(&name, 1).await
}

/// Signed right, and still of two minds.
pub(super) async fn duplicate_key(stage: Stage<'_>) -> Result<()> {
    let name = paid(stage).await?;
    let sent = stage.acknowledged(&name, 1).await?.pop().context("no callback was sent")?;
    let held = stage.world.qostiq_account(stage.scene.account)?;
    let mut twice = fields(&sent.letter.body)?;
    twice.retain(|(name, _)| name != "sign");
    twice.push(("status".to_owned(), Json::Text("rejected".to_owned())));
    for encoding in [Encoding::Json, Encoding::Form] {
        let letter = letter(&sent.letter.url, encoding, &twice, &held.real.secret);
        let status = stage.simulator().post_callback(&letter).await;
        ensure!(
            status.is_some_and(|status| (400..500).contains(&status)),
            "a callback with a doubled name was answered {status:?}"
        );
    }
    stage.scene.told_times(&name, 1).await
}

/// The shop is not ready twice: the provider hears so, and comes again.
pub(super) async fn retried(stage: Stage<'_>) -> Result<()> {
    stage.world.shop.refuse_callbacks(2);
    let name = paid(stage).await?;
    stage.scene.told(&name, "success").await?;
    let sent = stage.acknowledged(&name, 1).await?.pop().context("no callback was sent")?;
    let refused = sent.attempts.iter().filter(|status| **status != Some(200)).count();
    ensure!(refused == 2, "acknowledged before the shop had answered: {:?}", sent.attempts);
    stage.scene.told_times(&name, 1).await
}

/// A provider that prints the whole number in `ps_data`.
pub(super) async fn card_inside(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.unmasked = true);
    let unverified = stage.world.shop.unverified();
    let name = paid(stage).await?;
    let told = stage.scene.told(&name, "success").await?;
    let leak = leak::find(&told.body);
    ensure!(leak.is_none(), "the shop's callback holds {}", leak.unwrap_or_default());
    ensure!(String::from_utf8_lossy(&told.body).contains("411111******1111"), "it is not masked");
    ensure!(stage.world.shop.unverified() == unverified, "it was signed before it was scrubbed");
    Ok(())
}

/// A payment whose callback is on its way.
async fn paid(stage: Stage<'_>) -> Result<String> {
    let name = order();
    stage.pay(&name, &TypedCard::number(PLAIN), &[]).await?;
    until(PATIENCE, || stage.simulator().deliveries_of(&name).pop())
        .await
        .context("the provider sent no callback")?;
    Ok(name)
}

/// An invoice that is settled by hand, for accounts whose card form is the browser's.
async fn settled(stage: Stage<'_>, name: &str) -> Result<()> {
    stage.session(&stage.client()?, name, &[]).await?;
    ensure!(stage.simulator().settle(name, "success"), "the provider has no such order");
    Ok(())
}

fn fields(body: &[u8]) -> Result<Fields> {
    let body = Json::parse(body).context("the callback is not JSON")?;
    Ok(body.members().to_vec())
}
