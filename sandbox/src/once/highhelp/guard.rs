//! What Portcullis refuses between an app and HighHelp. Every case counts what reached the
//! provider.

use super::{Stage, began};
use crate::corefy::faults::Fault;
use crate::corefy::invoice::unix_now;
use crate::highhelp::cards::PLAIN;
use crate::json::Json;
use crate::keys::Signer;
use crate::once::explain::explained;
use crate::once::scene::{clean, problem, raw, unsent};
use crate::shop::highhelp::{HighHelp, NewPayment};
use crate::visitor::TypedCard;
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};

const PAYIN: &str = "payment/ecom/payin";
const SIGNATURE: (u16, &str) = (401, "caller_signature_refused");
const TIMESTAMP: (u16, &str) = (401, "caller_timestamp_refused");

/// Another key, the project's real one, a signature of something else, none.
pub(super) async fn wrong_signature(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let card = stage.card(PLAIN).await?;
    let stranger = match client.key {
        Signer::Rsa(_) => Signer::rsa()?,
        Signer::Hmac(_) => Signer::hmac(),
    };
    for key in [stranger, stage.held()?.request.clone()] {
        let foreign = HighHelp { key, ..client.clone() };
        unsent(received, SIGNATURE, foreign.payin(&stage.payment(), &card)).await?;
    }
    let body = client.payin_body(&stage.payment(), &card);
    let changed = body.replace("1700", "1701");
    let good = client.call(PAYIN, body, unix_now());
    let stolen = good.header_value("x-access-signature").unwrap_or_default().to_owned();
    let now = unix_now();
    for signature in [stolen.as_str(), "AAAA", ""] {
        let call = client.call(PAYIN, changed.clone(), now);
        let call = call.replaced("x-access-signature", signature);
        unsent(received, SIGNATURE, client.send(call)).await?;
    }
    began(&client.payin(&stage.payment(), &card).await?)
}

/// Old, of the future, not a time, none.
pub(super) async fn timestamps(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let body = client.payin_body(&stage.payment(), &stage.card(PLAIN).await?);
    for time in [unix_now() - 310, unix_now() + 310, 1] {
        let call = client.call(PAYIN, body.clone(), time);
        unsent(received, TIMESTAMP, client.send(call)).await?;
    }
    for text in ["", "now", "-1"] {
        let call = client.call(PAYIN, body.clone(), unix_now());
        let call = call.replaced("x-access-timestamp", text);
        let before = received.all().len();
        let answer = client.send(call).await?;
        ensure!(answer.status == 401, "a timestamp {text:?} was answered {}", answer.status);
        ensure!(received.all().len() == before, "it reached the provider");
    }
    Ok(())
}

/// An explanation shows no signature, and does not count as the request that it explains.
pub(super) async fn explained_first(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let body = client.payin_body(&stage.payment(), &stage.card(PLAIN).await?);
    let payin = client.call(PAYIN, body, unix_now());
    let before = received.all().len();
    let wished = payin.clone().header("prefer", "dry-run");
    let document = explained(&client.send(wished).await?, "would_be_sent")?;
    ensure!(received.all().len() == before, "an explanation reached the provider");
    let signature = document.pointer("/request/headers/x-access-signature");
    ensure!(signature == Some(&"***".into()), "the signature is shown");
    began(&client.send(payin).await?)
}

/// The same signature at the same time, while it is fresh: once, however it is spelled.
pub(super) async fn replayed(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let body = client.payin_body(&stage.payment(), &stage.card(PLAIN).await?);
    let payin = client.call(PAYIN, body, unix_now());
    began(&client.send(payin.clone()).await?)?;
    let before = received.all().len();
    problem(&client.send(payin).await?, "no")?;
    ensure!(received.all().len() == before, "a replayed payment reached the provider");
    let tokens = stage.scene.tokens(App::Shop, &TypedCard::number(PLAIN)).await?;
    let body = client.payout_body("ecom", &stage.payment(), &tokens.token);
    let payout = client.call("payment/ecom/payout", body, unix_now());
    began(&client.send(payout.clone()).await?)?;
    // The same bytes spelled in another way are the same signature.
    let plain = payout.header_value("x-access-signature").unwrap_or_default().to_owned();
    for spelling in respelled(&plain).into_iter().chain([plain.clone()]) {
        let call = payout.clone().replaced("x-access-signature", &spelling);
        let before = received.all().len();
        let answer = client.send(call).await?;
        ensure!(received.all().len() == before, "a replay reached the provider, spelled anew");
        if spelling != plain && problem(&answer, "no").is_ok() {
            continue;
        }
        let code = problem(&answer, "unknown")?;
        ensure!(code == "caller_replayed", "the replay of a payout is refused as `{code}`");
        let names_the_call = answer.text().contains("/api/v1/payment/ecom/payout/info");
        ensure!(names_the_call, "nothing says where to ask: {}", answer.text());
    }
    Ok(())
}

/// Padding, the other alphabet, and a last letter whose unused bits are set.
fn respelled(signature: &str) -> [String; 3] {
    let mut open_ended = signature.to_owned();
    if let Some(last) = open_ended.pop() {
        open_ended.push(char::from(last as u8 + 1));
    }
    [format!("{signature}=="), signature.replace('-', "+").replace('_', "/"), open_ended]
}

/// A call is made for the account's own project, whatever its header says.
pub(super) async fn another_project(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let own = client.project_id.clone();
    let other = "highhelp-hmac";
    let other = if stage.scene.account == other { "highhelp" } else { other };
    let other = stage.world.highhelp_account(other)?.project_id.clone();
    let foreign = HighHelp { project_id: other, ..client };
    let answer = foreign.balance().await?;
    ensure!(answer.status >= 400, "the balance of another project was told");
    let arrived = stage.simulator().received().last("balance");
    let named = arrived.as_ref().and_then(|one| one.request.header("x-access-merchant-id"));
    ensure!(named.is_none_or(|named| named == own), "called for another project");
    Ok(())
}

/// Which of two values was signed, and which is read?
pub(super) async fn duplicate_key(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let card = stage.card(PLAIN).await?;
    for name in ["amount", "\\u0061mount"] {
        let twice = format!("\"{name}\": 1, \"amount\": 1700");
        let body = client.payin_body(&stage.payment(), &card).replace("\"amount\": 1700", &twice);
        unsent(received, (400, "json_duplicate_key"), client.post(PAYIN, body)).await?;
    }
    Ok(())
}

/// Numbers that no float holds, separators of the signed text, booleans, nulls, empty blocks.
pub(super) async fn spellings(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let odd = r#""customer": {"score": 1.50, "big": 90071992547409931234567890, "exp": 1E+2,
        "note": "a;b:c", "a:b": "x", "list": [true, null, {}, []], "empty": "","#;
    let body = client.payin_body(&stage.payment(), &stage.card(PLAIN).await?);
    let body = body.replace("\"customer\": {", odd);
    began(&client.post(PAYIN, body.clone()).await?)?;
    let arrived = stage.simulator().received().last("payin").context("nothing arrived")?;
    let sent = Json::parse(body.as_bytes()).context("the case's own body is wrong")?;
    let came = Json::parse(&arrived.request.body).context("not JSON")?;
    for block in ["customer", "payment"] {
        ensure!(came.get(block) == sent.get(block), "{block} changed on the way");
    }
    let raw = String::from_utf8_lossy(&arrived.request.body);
    ensure!(raw.contains(odd), "bytes changed that nobody had to change");
    Ok(())
}

pub(super) async fn raw_card(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let refusal = (422, "raw_card_refused");
    let card = raw(&TypedCard::number(PLAIN));
    unsent(received, refusal, client.payin(&stage.payment(), &card)).await?;
    unsent(received, refusal, client.payout("ecom", &stage.payment(), PLAIN)).await?;
    let noted = stage.card(PLAIN).await?;
    let body = client.payin_body(&stage.payment(), &noted).replace("203.0.113.7", PLAIN);
    unsent(received, refusal, client.post(PAYIN, body)).await.map(drop)
}

/// Another tenant's token is nothing here; with its owner it works.
pub(super) async fn foreign_token(stage: Stage<'_>) -> Result<()> {
    let card = TypedCard::number(PLAIN);
    let fields = stage.scene.fields(App::Stall, &card).await?;
    let client = stage.client()?;
    let before = stage.payins_received();
    problem(&client.payin(&stage.payment(), &fields).await?, "no")?;
    ensure!(stage.payins_received() == before, "it reached the provider");
    if stage.held()?.stall.is_some() {
        let own = stage.world.highhelp(stage.scene.account, App::Stall)?;
        // Its alerts are signed for the other tenant: they are not for the shop to check.
        let callbacks = format!("{}/nobody", stage.world.shop.url());
        let payment = NewPayment { callbacks, ..stage.payment() };
        began(&own.payin(&payment, &fields).await?)?;
        stage.got_card(&payment.payment_id, &card)?;
    }
    Ok(())
}

pub(super) async fn burned_cvv(stage: Stage<'_>) -> Result<()> {
    let (client, card) = (stage.client()?, stage.card(PLAIN).await?);
    began(&client.payin(&stage.payment(), &card).await?)?;
    let before = stage.payins_received();
    problem(&client.payin(&stage.payment(), &card).await?, "no")?;
    ensure!(stage.payins_received() == before, "it reached the provider");
    Ok(())
}

pub(super) async fn unlisted_route(stage: Stage<'_>) -> Result<()> {
    let (client, received) = (stage.client()?, stage.simulator().received());
    let before = received.all().len();
    for path in ["bank/list", "payment/ecom/payin/extra", "payment/../balance/info"] {
        let answer = client.post(path, "{}".to_owned()).await?;
        ensure!((400..500).contains(&answer.status), "{path} was answered {}", answer.status);
    }
    ensure!(received.all().len() == before, "an unlisted route reached the provider");
    Ok(())
}

/// Nothing was sent: the code lives, and the same tokens pay when the gateway is back.
pub(super) async fn down(stage: Stage<'_>) -> Result<()> {
    let (client, typed) = (stage.client()?, TypedCard::number(PLAIN));
    let (payment, card) = (stage.payment(), stage.card(PLAIN).await?);
    stage.simulator().down();
    let answer = client.payin(&payment, &card).await;
    stage.simulator().up().await?;
    problem(&answer?, "no")?;
    // Signed again: a signature is good for one call.
    let later = client.call(PAYIN, client.payin_body(&payment, &card), unix_now() + 1);
    began(&client.send(later).await?)?;
    stage.got_card(&payment.payment_id, &typed)
}

/// The money may have moved: said so, sent once, and `/info` tells.
pub(super) async fn silent(stage: Stage<'_>) -> Result<()> {
    let (client, payment) = (stage.client()?, stage.payment());
    let card = stage.card(PLAIN).await?;
    let before = stage.payins_received();
    stage.simulator().faults().set("payin", Fault::Silent);
    let answer = client.payin(&payment, &card).await?;
    stage.simulator().faults().clear();
    problem(&answer, "unknown")?;
    clean(&answer)?;
    ensure!(stage.payins_received() == before + 1, "not exactly one payment at the provider");
    let read = client.info("ecom/payin", &payment.payment_id).await?;
    ensure!(read.status == 200, "/info does not tell");
    problem(&client.payin(&stage.payment(), &card).await?, "no").map(drop)
}

/// A provider that prints the number and its request in an error.
pub(super) async fn echo(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    for fault in [Fault::EchoPan, Fault::EchoEncoded, Fault::Html500, Fault::EchoHeader] {
        stage.simulator().faults().set("payin", fault);
        let answer = client.payin(&stage.payment(), &stage.card(PLAIN).await?).await?;
        clean(&answer)?;
        for name in ["x-debug-card", "x-served-by", "set-cookie"] {
            ensure!(answer.header(name).is_none(), "the provider's {name} was passed on");
        }
    }
    Ok(())
}
