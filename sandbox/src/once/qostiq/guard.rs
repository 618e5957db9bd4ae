//! What Portcullis refuses between an app and Qostiq. Every case counts what reached the provider.

use super::pay::pay_token_of;
use super::{Stage, order, succeeded};
use crate::client::Answer;
use crate::corefy::faults::Fault;
use crate::once::scene::{clean, problem, unsent};
use crate::qostiq::cards::PLAIN;
use crate::random;
use crate::shop::piastrix::{Params, Piastrix};
use crate::visitor::TypedCard;
use crate::world::accounts::App;
use anyhow::{Context, Result, ensure};

const SIGNED: [&str; 5] = ["amount", "currency", "payway", "shop_id", "shop_order_id"];

/// A browser that submits twice, and once more: the provider gets one.
pub(super) async fn double_submit(stage: Stage<'_>) -> Result<()> {
    let (client, name, card) = (stage.client()?, order(), TypedCard::number(PLAIN));
    let fields = stage.scene.fields(App::Shop, &card).await?;
    let form = stage.form(&client, &name, &fields, &[]).await?;
    let before = stage.forms_received();
    let (first, second) = tokio::join!(stage.post(&form), stage.post(&form));
    let answers = [first?, second?, stage.post(&form).await?];
    let reached = stage.forms_received() - before;
    ensure!(reached == 1, "{reached} card forms reached the provider");
    stage.got_card(&name, &card)?;
    ensure!(answers.iter().any(|answer| answer.status == 303), "none of them got through");
    answers.iter().try_for_each(clean)
}

/// A code lives for one card form.
pub(super) async fn burned_cvv(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let fields = stage.scene.fields(App::Shop, &TypedCard::number(PLAIN)).await?;
    let first = stage.form(&client, &order(), &fields, &[]).await?;
    let answer = stage.post(&first).await?;
    ensure!(answer.status == 303, "the first form was answered {}", answer.status);
    let second = stage.form(&client, &order(), &fields, &[]).await?;
    refused_form(stage, stage.post(&second)).await
}

pub(super) async fn foreign_token(stage: Stage<'_>) -> Result<()> {
    let fields = stage.scene.fields(App::Stall, &TypedCard::number(PLAIN)).await?;
    let form = stage.form(&stage.client()?, &order(), &fields, &[]).await?;
    refused_form(stage, stage.post(&form)).await
}

/// The money may have moved: the browser is told, nothing is sent again.
pub(super) async fn silent(stage: Stage<'_>) -> Result<()> {
    let (client, name, card) = (stage.client()?, order(), TypedCard::number(PLAIN));
    let fields = stage.scene.fields(App::Shop, &card).await?;
    let form = stage.form(&client, &name, &fields, &[]).await?;
    let before = stage.forms_received();
    stage.simulator().faults().set("payform", Fault::Silent);
    let answer = stage.post(&form).await?;
    stage.simulator().faults().clear();
    // A page that says so: neither the shop's success page nor its failed one fits.
    ensure!(answer.status == 200, "answered {}", answer.status);
    ensure!(answer.header("location").is_none(), "the visitor is sent on");
    ensure!(answer.text().contains("being processed"), "the page does not say what is going on");
    clean(&answer)?;
    clean(&stage.post(&form).await?)?;
    let reached = stage.forms_received() - before;
    ensure!(reached == 1, "{reached} card forms reached the provider");
    stage.got_card(&name, &card)
}

/// No card form is made for a host that nobody vouched for.
pub(super) async fn foreign_payform(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let session = stage.session(&client, &order(), &[]).await?;
    for host in ["https://card.evil.example", "https://localhost", "http://127.0.0.1:1"] {
        stage.simulator().quirks(|quirks| quirks.payform_host = Some(host.to_owned()));
        let answer = client.h2h_data(&session).await?;
        let code = problem(&answer, "yes")?;
        ensure!(code == "answer_withheld", "{host}: refused as {code}");
        ensure!(!answer.text().contains("evil"), "the foreign address was passed on");
    }
    Ok(())
}

/// `h2h_data` is not signed: the handle alone says who asks.
pub(super) async fn foreign_session(stage: Stage<'_>) -> Result<()> {
    let (client, name) = (stage.client()?, order());
    stage.session(&client, &name, &[]).await?;
    let real = stage.simulator().invoice(&name).context("no invoice")?.session;
    let unknown = format!("brr_{}", random::letters(33));
    for session in [real, unknown] {
        let before = stage.simulator().received().all().len();
        let answer = client.h2h_data(&session).await?;
        let code = problem(&answer, "no")?;
        ensure!(code == "handle_unknown", "refused as {code}");
        let after = stage.simulator().received().all().len();
        ensure!(after == before, "it reached the provider");
    }
    Ok(())
}

/// Another tenant's token charges nobody.
pub(super) async fn foreign_pay_token(stage: Stage<'_>) -> Result<()> {
    let name = order();
    stage.pay(&name, &TypedCard::number(PLAIN), &[("required_pay_token", "true")]).await?;
    let told = stage.scene.told(&name, "success").await?;
    let token = pay_token_of(&told.body)?;
    let other = stage.world.piastrix(stage.scene.account, App::Stall)?;
    let before = stage.simulator().received().all().len();
    let answer = other.invoice(&order(), "5", &[("pay_token", &token)]).await?;
    problem(&answer, "no")?;
    let after = stage.simulator().received().all().len();
    ensure!(after == before, "it reached the provider");
    Ok(())
}

/// Another secret, the provider's real one, a signature of something else, none.
pub(super) async fn wrong_signature(stage: Stage<'_>) -> Result<()> {
    let refusal = (401, "caller_signature_refused");
    let received = stage.simulator().received();
    let client = stage.client()?;
    let real = &stage.world.qostiq_account(stage.scene.account)?.real.secret;
    for secret in [random::letters(40), real.clone()] {
        let foreign = Piastrix { secret, ..client.clone() };
        unsent(received, refusal, foreign.invoice(&order(), "17.10", &[])).await?;
    }
    let body = client.signed(params(&client, "17.10", &order()), &SIGNED);
    let changed = body.replace("17.10", "17.11");
    unsent(received, refusal, client.post("invoice/create", changed)).await?;
    let unsigned = body.replace("\"sign\"", "\"sing\"");
    unsent(received, refusal, client.post("invoice/create", unsigned)).await?;
    succeeded(&client.post("invoice/create", body).await?)
}

pub(super) async fn missing_parameter(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let mut params = params(&client, "17.10", &order());
    params.remove("payway");
    let body = client.signed(params, &SIGNED);
    let call = client.post("invoice/create", body);
    unsent(stage.simulator().received(), (422, "signed_field_missing"), call).await.map(drop)
}

pub(super) async fn nested_parameter(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let body = client.signed(params(&client, "17.10", &order()), &SIGNED);
    for odd in [r#"["17.10"]"#, r#"{"a":1}"#] {
        let call = client.post("invoice/create", body.replace("\"17.10\"", odd));
        unsent(stage.simulator().received(), (422, "signed_field_not_scalar"), call).await?;
    }
    Ok(())
}

/// Which of two values was signed, and which is read?
pub(super) async fn duplicate_key(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let body = client.signed(params(&client, "17.10", &order()), &SIGNED);
    for twice in [r#"{"amount":"1.00","#, r#"{"\u0061mount":"1.00","#] {
        let call = client.post("invoice/create", body.replacen('{', twice, 1));
        unsent(stage.simulator().received(), (400, "json_duplicate_key"), call).await?;
    }
    Ok(())
}

/// The provider signs what was sent: `1.00` is not `1.0`, and no number goes through a float.
pub(super) async fn spellings(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let numbers = ["1.00", "10.0", "1e1", "17", "9007199254740993", "12345678901234567890.10"];
    for amount in numbers {
        let body = client.signed(params(&client, amount, &order()), &SIGNED);
        let body = body.replace(&format!("\"{amount}\""), amount);
        let sent = client.post("invoice/create", body).await?;
        succeeded(&sent).with_context(|| format!("amount {amount}"))?;
        let arrived = stage.simulator().received().last("core.invoice/create");
        let arrived = arrived.context("nothing arrived")?;
        let arrived = String::from_utf8_lossy(&arrived.request.body).into_owned();
        ensure!(arrived.contains(&format!(":{amount},")), "{amount} was spelled otherwise");
    }
    Ok(())
}

/// The joint of the signed text, and HighHelp's, inside values.
pub(super) async fn separators(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let name = format!("a:b;{}:c \"ä\"", order());
    stage.session(&client, &name, &[("description", "x;y:z")]).await?;
    let invoice = stage.simulator().invoice(&name).context("the order's name changed")?;
    ensure!(invoice.description == "x;y:z", "a value changed on the way");
    Ok(())
}

/// A clear card from an app never leaves, signed or not.
pub(super) async fn raw_payout(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let name = order();
    let call = client.withdraw(&name, PLAIN);
    unsent(stage.simulator().received(), (422, "raw_card_refused"), call).await.map(drop)
}

pub(super) async fn unlisted_route(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let body = client.signed(params(&client, "17.10", &order()), &SIGNED);
    let before = stage.simulator().received().all().len();
    let answer = client.post("invoice/refund", body).await?;
    let code = problem(&answer, "no")?;
    ensure!(code == "route_unknown", "refused as {code}");
    ensure!(stage.simulator().received().all().len() == before, "it reached the provider");
    Ok(())
}

/// A provider that prints the number and its request in an error.
pub(super) async fn echo(stage: Stage<'_>) -> Result<()> {
    let client = stage.client()?;
    let tokens = stage.scene.tokens(App::Shop, &TypedCard::number(PLAIN)).await?;
    for fault in [Fault::EchoPan, Fault::EchoEncoded, Fault::Html500, Fault::EchoHeader] {
        stage.simulator().faults().set("core.withdraw/create", fault);
        clean(&client.withdraw(&order(), &tokens.token).await?)?;
    }
    for fault in [Fault::EchoPan, Fault::Html500, Fault::EchoHeader] {
        stage.simulator().faults().set("payform", fault);
        let fields = stage.scene.fields(App::Shop, &TypedCard::number(PLAIN)).await?;
        let form = stage.form(&client, &order(), &fields, &[]).await?;
        clean(&stage.post(&form).await?)?;
    }
    Ok(())
}

fn params(client: &Piastrix, amount: &str, order: &str) -> Params {
    let given = [
        ("amount", amount),
        ("currency", "980"),
        ("payway", "card_uah"),
        ("shop_id", client.shop_id.as_str()),
        ("shop_order_id", order),
    ];
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A browser is told by a page; the provider hears nothing.
async fn refused_form(stage: Stage<'_>, call: impl Future<Output = Result<Answer>>) -> Result<()> {
    let before = stage.forms_received();
    let answer = call.await?;
    ensure!((400..600).contains(&answer.status), "answered {}", answer.status);
    ensure!(stage.forms_received() == before, "the card form reached the provider");
    clean(&answer)
}
