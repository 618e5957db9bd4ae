//! The simulated Qostiq on its own, with a merchant's client and a browser straight to it: no proxy
//! anywhere. What passes here is what Portcullis must keep working.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on has failed"
)]

mod common;

use common::{SOON, card, ear, world};
use portcullis_sandbox::browser::{Browser, Form, Page};
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::json::Json;
use portcullis_sandbox::qostiq::cards::{CHALLENGED, DECLINED, PLAIN};
use portcullis_sandbox::qostiq::{Encoding, FormAnswer, SessionAt};
use portcullis_sandbox::record::until;
use portcullis_sandbox::shop::gateway::CardFields;
use portcullis_sandbox::shop::piastrix::{Params, Piastrix, payform, session_of};
use portcullis_sandbox::world::World;
use serde_json::{Value, json};

const SIGNED: [&str; 5] = ["amount", "currency", "payway", "shop_id", "shop_order_id"];

/// `error_code` and `message`, in an answer of status 200.
fn said(answer: &Answer) -> (u64, String) {
    assert_eq!(answer.status, 200);
    let body = answer.json().unwrap();
    let ok = body["error_code"] == 0;
    assert_eq!((&body["result"], body["data"].is_null()), (&json!(ok), !ok));
    (body["error_code"].as_u64().unwrap(), body["message"].as_str().unwrap().to_owned())
}

fn refused(code: u64, message: &str) -> (u64, String) {
    (code, message.to_owned())
}

/// An invoice and its card form, filled in.
async fn form(client: &Piastrix, order: &str, card: &CardFields, more: &[(&str, &str)]) -> Form {
    let urls = [("success_url", "https://localhost/good"), ("failed_url", "https://localhost/bad")];
    let more = [&urls[..], more].concat();
    let made = client.invoice(order, "17.10", &more).await.unwrap();
    let session = session_of(&made.json().unwrap()).unwrap();
    let data = client.h2h_data(&session).await.unwrap();
    assert_eq!(said(&data).0, 0);
    payform(&data.json().unwrap(), &session, card).unwrap()
}

/// Posts a form and follows nothing.
async fn post(world: &World, form: &Form) -> Answer {
    let browser = Browser::new(world.client.clone());
    let page = browser.open(&world.acs.url()).await.unwrap();
    world.client.send(browser.call_of(&page, form, None).unwrap()).await.unwrap()
}

fn location(answer: &Answer) -> &str {
    answer.header("location").unwrap_or_default()
}

#[tokio::test]
async fn a_card_is_paid_by_the_browsers_form() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    let (_server, heard, url) = ear(&world, 3).await;
    let form = form(&client, "ord-1", &card(PLAIN), &[("callback_url", &url)]).await;
    assert!(form.action.ends_with("/payform/"));
    let answer = post(&world, &form).await;
    assert_eq!((answer.status, location(&answer)), (302, "https://localhost/good"));
    assert!(answer.header("set-cookie").is_some());
    assert_eq!(world.qostiq.payments()[0].number, PLAIN);
    until(SOON, || (heard.count("callback") == 3).then_some(())).await.unwrap();
    let callback = client.check_callback(&heard.last("callback").unwrap().request).unwrap();
    assert_eq!(
        (callback["status"].as_str(), callback["shop_amount"].as_str()),
        ("success", "17.10")
    );
    assert_eq!(callback["shop_refund"], "0");
    let status = client.order_status("ord-1").await.unwrap().json().unwrap();
    assert_eq!(status["data"]["status"], 2);
    let read = until(SOON, || world.qostiq.deliveries_of("ord-1").pop().filter(|d| d.delivered()));
    assert_eq!(read.await.unwrap().attempts, [Some(204), Some(204), Some(200)]);
}

#[tokio::test]
async fn three_d_secure_begins_by_redirect_or_by_page() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    for (order, style) in [("a", FormAnswer::Redirect), ("b", FormAnswer::Page)] {
        world.qostiq.quirks(|quirks| quirks.form_answer = style);
        let form = form(&client, order, &card(CHALLENGED), &[]).await;
        let answer = post(&world, &form).await;
        let browser = Browser::new(world.client.clone());
        let bank = match style {
            FormAnswer::Redirect => browser.open(location(&answer)).await.unwrap(),
            FormAnswer::Page => {
                assert_eq!(answer.status, 200);
                let url = world.qostiq.core().parse().unwrap();
                let page = Page { url, answer, trail: Vec::new() };
                browser.submit(&page, &page.form().unwrap(), None).await.unwrap()
            }
        };
        let back = browser.submit(&bank, &bank.form().unwrap(), Some("approve")).await.unwrap();
        let call = browser.call_of(&back, &back.form().unwrap(), None).unwrap();
        let done = world.client.send(call).await.unwrap();
        let good = match style {
            FormAnswer::Redirect => location(&done).to_owned(),
            FormAnswer::Page => Form::first_in(&done.text()).unwrap().action,
        };
        assert_eq!(good, "https://localhost/good");
        assert_eq!(world.qostiq.invoice(order).unwrap().status, "success");
        assert_eq!(world.qostiq.returns().last().unwrap().as_posted, Some(true));
    }
}

#[tokio::test]
async fn the_form_opens_once_and_takes_no_tokens() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    let good = form(&client, "ord-1", &card(PLAIN), &[]).await;
    let other = form(&client, "ord-2", &card(PLAIN), &[]).await;
    let mut crossed = good.clone();
    crossed.fields[1] = other.fields[1].clone();
    assert_eq!(post(&world, &crossed).await.status, 403);
    assert_eq!(post(&world, &good).await.status, 302);
    assert_eq!(post(&world, &good).await.status, 403);
    for token in ["tok_test_abcdefghijklmnop", "4111111111111112"] {
        let order = format!("ord-{token}");
        let bad = form(&client, &order, &card(token), &[]).await;
        assert_eq!(post(&world, &bad).await.status, 422);
        assert_eq!(post(&world, &bad).await.status, 403);
    }
    let mut doubled = other.clone();
    doubled.fields.push(doubled.fields[2].clone());
    assert_eq!(post(&world, &doubled).await.status, 400);
    assert_eq!(world.qostiq.payments().len(), 1);
    let unknown = client.h2h_data("0123456789abcdef0123456789abcdef").await.unwrap();
    assert_eq!(said(&unknown), refused(1, "IncorrectRequestParam"));
}

#[tokio::test]
async fn declines_carry_a_reason() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq-browser").unwrap();
    let (_server, heard, url) = ear(&world, 1).await;
    let card = CardFields { month: "05".into(), year: "29".into(), ..card(DECLINED) };
    let answer =
        post(&world, &form(&client, "ord-1", &card, &[("callback_url", &url)]).await).await;
    assert_eq!(location(&answer), "https://localhost/bad");
    let came = until(SOON, || heard.last("callback")).await.unwrap();
    let kind = came.request.header("content-type");
    assert_eq!(kind, Some("application/x-www-form-urlencoded"));
    let fields = client.check_callback(&came.request).unwrap();
    assert_eq!(fields["status"], "rejected");
    let ps_data: Value = serde_json::from_str(&fields["ps_data"]).unwrap();
    assert_eq!(ps_data["reason"], "insufficient_funds");
    assert_eq!(ps_data["ps_payer_account"], "400005******5556");
}

#[tokio::test]
async fn requests_are_signed_over_what_was_sent() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    let base = |amount: &str| -> Params {
        let own = [("amount", amount), ("currency", "980"), ("payway", "card_uah")];
        let ids = [("shop_id", "158"), ("shop_order_id", "ord-1")];
        own.iter().chain(&ids).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    // The SDK's strings become numbers in the document; their spelling is what was signed.
    for (amount, sent) in [("1.00", "1.00"), ("1e1", "1e1"), ("10.0", "10.0")] {
        let body = client.signed(base(amount), &SIGNED).replace(&format!("\"{amount}\""), sent);
        assert_eq!(said(&client.post("invoice/try", body).await.unwrap()).0, 0, "{amount}");
    }
    let respelled = client.signed(base("1.00"), &SIGNED).replace("\"1.00\"", "1.0");
    let invalid = refused(1, "invalid sign");
    assert_eq!(said(&client.post("invoice/try", respelled).await.unwrap()), invalid);
    let mut foreign = client.clone();
    foreign.secret = "another".to_owned();
    assert_eq!(said(&foreign.balance().await.unwrap()), invalid);
    let mut missing = base("1.00");
    missing.remove("payway");
    let body = client.signed(missing, &SIGNED);
    let incorrect = refused(1, "IncorrectRequestParam");
    assert_eq!(said(&client.post("invoice/try", body).await.unwrap()), incorrect);
    assert_eq!(said(&client.invoice_try("0.99").await.unwrap()), refused(4, "amount is too small"));
    assert_eq!(said(&client.invoice("twice", "1", &[]).await.unwrap()).0, 0);
    assert_eq!(said(&client.invoice("twice", "1", &[]).await.unwrap()).0, 6);
    assert_eq!(client.post("no/such", "{}".to_owned()).await.unwrap().status, 404);
}

#[tokio::test]
async fn a_payout_takes_a_card_number_and_is_read_back() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    let token = client.withdraw("out-1", "tok_test_abcdefghijklmnop").await.unwrap();
    assert_eq!(said(&token), refused(1, "IncorrectRequestParam"));
    let made = client.withdraw("out-1", PLAIN).await.unwrap().json().unwrap();
    assert_eq!(made["data"]["status"], 1);
    let id = made["data"]["id"].to_string();
    let settled = || world.qostiq.withdrawals().pop().filter(|one| one.status == 5);
    assert_eq!(until(SOON, settled).await.unwrap().account, PLAIN);
    let by_id = client.withdraw_status(&id).await.unwrap().json().unwrap();
    let by_key = client.payment_status("out-1").await.unwrap().json().unwrap();
    assert_eq!((&by_id["data"]["status"], &by_id["data"]), (&json!(5), &by_key["data"]));
    assert_eq!(said(&client.withdraw_try("10").await.unwrap()).0, 0);
    assert_eq!(said(&client.balance().await.unwrap()).0, 0);
    let foreign = world.piastrix_direct("qostiq-browser").unwrap();
    assert_eq!(said(&foreign.payment_status("out-1").await.unwrap()).0, 7);
    assert_eq!(world.qostiq.signatures().len(), 2);
}

#[tokio::test]
async fn a_pay_token_pays_without_the_cardholder() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    let (_server, heard, url) = ear(&world, 1).await;
    let more = [("required_pay_token", "true"), ("callback_url", url.as_str())];
    post(&world, &form(&client, "first", &card(PLAIN), &more).await).await;
    let came = until(SOON, || heard.last("callback")).await.unwrap();
    let fields = client.check_callback(&came.request).unwrap();
    let ps_data: Value = serde_json::from_str(&fields["ps_data"]).unwrap();
    let token = ps_data["pay_token"].as_str().unwrap();
    let more = [("pay_token", token), ("callback_url", url.as_str())];
    let answer = client.invoice("second", "5", &more).await.unwrap().json().unwrap();
    assert_eq!(answer["data"]["method"], "OFFLINE");
    until(SOON, || (heard.count("callback") == 2).then_some(())).await.unwrap();
    assert_eq!(world.qostiq.offline(), [(token.to_owned(), "second".to_owned())]);
    let stolen = world.piastrix_direct("qostiq-browser").unwrap();
    assert_eq!(said(&stolen.invoice("x", "5", &[("pay_token", token)]).await.unwrap()).0, 1);
}

#[tokio::test]
async fn the_quirks_do_what_they_say() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    for (order, place, pointer) in [
        ("n", SessionAt::Nested, "/data/data/session_id"),
        ("f", SessionAt::Flat, "/data/session_id"),
        ("i", SessionAt::Id, "/data/id"),
    ] {
        world.qostiq.quirks(|quirks| quirks.session_at = place);
        let made = client.invoice(order, "1", &[]).await.unwrap().json().unwrap();
        let session = made.pointer(pointer).and_then(Value::as_str).unwrap();
        assert_eq!(session, world.qostiq.invoice(order).unwrap().session);
    }
    world.qostiq.quirks(|quirks| quirks.payform_host = Some("https://evil.example".to_owned()));
    let session = world.qostiq.invoice("n").unwrap().session;
    let data = client.h2h_data(&session).await.unwrap().json().unwrap();
    assert_eq!(data["data"]["payform_url"], "https://evil.example/payform/");
    world.qostiq.faults().set("core.other", Fault::Html500);
    assert_eq!(client.balance().await.unwrap().status, 500);
    world.qostiq.behave();
    assert_eq!(client.balance().await.unwrap().status, 200);
}

#[tokio::test]
async fn callbacks_keep_every_spelling_and_every_new_field() {
    let world = world().await;
    let client = world.piastrix_direct("qostiq").unwrap();
    let (_server, heard, url) = ear(&world, 1).await;
    let number = |text: &str| Json::Number(text.to_owned());
    for (order, encoding) in [("j", Encoding::Json), ("f", Encoding::Form)] {
        world.qostiq.quirks(|quirks| {
            quirks.callbacks = Some(encoding);
            quirks.extra = vec![
                ("fee".to_owned(), number("1.10")),
                ("trace".to_owned(), number("90071992547409931234567890")),
                ("note".to_owned(), Json::Text("a:b;c & d".to_owned())),
            ];
        });
        let form = form(&client, order, &card(PLAIN), &[("callback_url", &url)]).await;
        post(&world, &form).await;
        let seen = || (world.qostiq.deliveries_of(order).pop()?.delivered()).then_some(());
        until(SOON, seen).await.unwrap();
        let fields = client.check_callback(&heard.last("callback").unwrap().request).unwrap();
        assert_eq!((fields["fee"].as_str(), fields["note"].as_str()), ("1.10", "a:b;c & d"));
        assert_eq!(fields["trace"], "90071992547409931234567890");
    }
}
