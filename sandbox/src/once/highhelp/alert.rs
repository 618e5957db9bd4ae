//! HighHelp's alerts: verified with the provider's key, re-signed with ours, delivered once, to the
//! address that the app named.

use super::Stage;
use crate::corefy::invoice::unix_now;
use crate::courier::{Delivery, Letter};
use crate::highhelp::alert::letter;
use crate::highhelp::cards::{CHALLENGED, DECLINED, PLAIN};
use crate::json::Json;
use crate::keys::Signer;
use crate::once::leak;
use crate::once::scene::{PATIENCE, clean};
use crate::record::until;
use anyhow::{Context, Result, ensure};

/// The shop verifies with the key that it holds; the provider hears an empty object.
pub(super) async fn delivered(stage: Stage<'_>) -> Result<()> {
    let unverified = stage.world.shop.unverified();
    let cases = [
        (PLAIN, "success", "/success"),
        (DECLINED, "decline", "/decline"),
        (CHALLENGED, "processing:awaiting_3ds_result", "/progress"),
    ];
    for (number, status, path) in cases {
        let id = stage.pay(number).await?;
        let told = stage.scene.told(&id, status).await?;
        ensure!(told.path.ends_with(path), "{status} was told at {}", told.path);
        let sent = stage.acknowledged(&id, 1).await?.pop().context("no alert was sent")?;
        let ours = format!("{}/callbacks/", stage.world.addresses.public);
        ensure!(sent.letter.url.starts_with(&ours), "the provider knows the app's own address");
        ensure!(sent.attempts.len() == 1, "an alert was needed more than once");
        let (_, said) = sent.answer.context("no answer")?;
        ensure!(said == "{}", "the provider did not hear {{}}");
        if status != "processing:awaiting_3ds_result" {
            ensure!(told.body == sent.letter.body, "the body changed on the way");
        }
    }
    ensure!(stage.world.shop.unverified() == unverified, "a signature did not verify at the shop");
    Ok(())
}

/// Floats, numbers beyond any machine type, separators: verified and passed on as they came.
pub(super) async fn spellings(stage: Stage<'_>) -> Result<()> {
    let number = |text: &str| Json::Number(text.to_owned());
    let odd = [
        ("fee", number("1.50")),
        ("rate", number("1E+2")),
        ("big", number("90071992547409931234567890")),
        ("note", Json::Text("a;b:c".to_owned())),
        ("a:b;c", Json::Bool(false)),
    ];
    let odd = odd.map(|(name, value)| (name.to_owned(), value)).to_vec();
    stage.simulator().quirks(|quirks| quirks.extra.clone_from(&odd));
    let id = stage.pay(PLAIN).await?;
    let told = stage.scene.told(&id, "success").await?;
    let body = Json::parse(&told.body).context("not JSON")?;
    let info = body.get("payment_info").map_or(&[][..], Json::members);
    ensure!(odd.iter().all(|member| info.contains(member)), "a value was spelled otherwise");
    Ok(())
}

pub(super) async fn replayed(stage: Stage<'_>) -> Result<()> {
    let id = stage.pay(PLAIN).await?;
    let sent = stage.acknowledged(&id, 1).await?.pop().context("no alert was sent")?;
    for _ in 0..3 {
        let status = stage.simulator().resend(&id).await;
        ensure!(status == Some(200), "a replay was answered {status:?}");
    }
    // Signed anew, as a repetition may be: the same event all the same.
    let status = stage.simulator().post_alert(&signed_anew(stage, &sent, 1)?).await;
    ensure!(status == Some(200), "a repetition with a new date was answered {status:?}");
    stage.scene.told_times(&id, 1).await
}

pub(super) async fn twice(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.twice = true);
    let id = stage.pay(PLAIN).await?;
    stage.acknowledged(&id, 2).await?;
    stage.scene.told_times(&id, 1).await
}

/// Another key, the one that signs to the app, a changed value, another time, no signature.
pub(super) async fn forged(stage: Stage<'_>) -> Result<()> {
    let id = stage.pay(PLAIN).await?;
    let sent = stage.acknowledged(&id, 1).await?.pop().context("no alert was sent")?;
    let changed = String::from_utf8_lossy(&sent.letter.body).replace("\"success\"", "\"decline\"");
    let document = Json::parse(changed.as_bytes()).context("not JSON")?;
    let held = stage.held()?;
    let stranger = match held.alert {
        Signer::Rsa(_) => Signer::rsa()?,
        Signer::Hmac(_) => Signer::hmac(),
    };
    let by = |key: &Signer| letter(&sent.letter.url, &document, unix_now(), key);
    let mut unsigned = by(&stranger);
    unsigned.headers.retain(|(name, _)| name != "x-access-signature");
    let mut respelled = sent.letter.clone();
    respelled.body = changed.clone().into();
    let mut redated = sent.letter.clone();
    for (name, value) in &mut redated.headers {
        if name == "x-access-timestamp" {
            *value = (unix_now() + 2).to_string();
        }
    }
    let forgeries =
        [by(&stranger), by(&held.shop.alert), by(&held.request), unsigned, respelled, redated];
    for forgery in forgeries {
        let status = stage.simulator().post_alert(&forgery).await;
        ensure!(status == Some(401), "a forged alert was answered {status:?}");
    }
    stage.scene.told_times(&id, 1).await
}

/// Signed right, long ago.
pub(super) async fn stale(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.seconds_late = 310);
    let id = stage.pay(PLAIN).await?;
    let refused = || {
        let sent = stage.simulator().deliveries_of(&id).pop()?;
        sent.attempts.first().copied()
    };
    let status = until(PATIENCE, refused).await.context("no alert was sent")?;
    ensure!(status == Some(401), "a stale alert was answered {status:?}");
    stage.scene.told_times(&id, 0).await?;
    let sent = stage.simulator().deliveries_of(&id).pop().context("no alert was sent")?;
    let status = stage.simulator().post_alert(&signed_anew(stage, &sent, 0)?).await;
    ensure!(status == Some(200), "the same with a fresh date was answered {status:?}");
    stage.scene.told(&id, "success").await.map(drop)
}

/// Signed right, and still of two minds.
pub(super) async fn duplicate_key(stage: Stage<'_>) -> Result<()> {
    let id = stage.pay(PLAIN).await?;
    let sent = stage.acknowledged(&id, 1).await?.pop().context("no alert was sent")?;
    let Some(Json::Object(mut members)) = Json::parse(&sent.letter.body) else {
        anyhow::bail!("the alert is no object")
    };
    members.extend(members.clone().into_iter().filter(|(name, _)| name == "status"));
    let held = stage.held()?;
    let twice = letter(&sent.letter.url, &Json::Object(members), unix_now(), &held.alert);
    let status = stage.simulator().post_alert(&twice).await;
    ensure!(
        status.is_some_and(|status| (400..500).contains(&status)),
        "an alert with a doubled name was answered {status:?}"
    );
    stage.scene.told_times(&id, 1).await
}

/// The shop is not ready twice: the provider hears so, and comes again.
pub(super) async fn retried(stage: Stage<'_>) -> Result<()> {
    stage.world.shop.refuse_callbacks(2);
    let id = stage.pay(PLAIN).await?;
    stage.scene.told(&id, "success").await?;
    let sent = stage.acknowledged(&id, 1).await?.pop().context("no alert was sent")?;
    let refused = sent.attempts.iter().filter(|status| **status != Some(200)).count();
    ensure!(refused == 2, "acknowledged before the shop had answered: {:?}", sent.attempts);
    stage.scene.told_times(&id, 1).await
}

/// A provider that prints the whole number in an alert and in `/info`.
pub(super) async fn card_inside(stage: Stage<'_>) -> Result<()> {
    stage.simulator().quirks(|quirks| quirks.unmasked = true);
    let unverified = stage.world.shop.unverified();
    let id = stage.pay(PLAIN).await?;
    let told = stage.scene.told(&id, "success").await?;
    let leak = leak::find(&told.body);
    ensure!(leak.is_none(), "the shop's alert holds {}", leak.unwrap_or_default());
    ensure!(String::from_utf8_lossy(&told.body).contains("424242******4242"), "it is not masked");
    ensure!(stage.world.shop.unverified() == unverified, "it was signed before it was scrubbed");
    clean(&stage.client()?.info("ecom/payin", &id).await?)
}

/// The same body with the date of now, some seconds on.
fn signed_anew(stage: Stage<'_>, sent: &Delivery, seconds: u64) -> Result<Letter> {
    let document = Json::parse(&sent.letter.body).context("not JSON")?;
    Ok(letter(&sent.letter.url, &document, unix_now() + seconds, &stage.held()?.alert))
}
