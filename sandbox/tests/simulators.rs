//! The simulators on their own, with a merchant's client and a browser straight to them: no proxy
//! anywhere. What passes here is what Portcullis must keep working.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{SOON, card, ear, world};
use portcullis_sandbox::acs::Style;
use portcullis_sandbox::browser::Browser;
use portcullis_sandbox::client::Call;
use portcullis_sandbox::corefy::callback::signature;
use portcullis_sandbox::corefy::cards::{CHALLENGED, CHALLENGED_V2, DECLINED, PLAIN};
use portcullis_sandbox::corefy::faults::{Fault, TermAnswer};
use portcullis_sandbox::random;
use portcullis_sandbox::record::until;
use portcullis_sandbox::shop::gateway::{CardFields, Gateway, NewInvoice, bearer_of};
use portcullis_sandbox::shop::order::Challenge;
use portcullis_sandbox::world::World;
use serde_json::{Value, json};
use std::time::Duration;

fn new_invoice(callback_url: &str) -> NewInvoice {
    NewInvoice {
        reference: format!("ref-{}", random::letters(10)),
        amount: "17".to_owned(),
        return_url: "https://localhost/back".to_owned(),
        callback_url: callback_url.to_owned(),
    }
}

/// An invoice: id and bearer token.
async fn made(gateway: &Gateway) -> (String, String) {
    let answer = gateway.create_invoice(&new_invoice("")).await.unwrap();
    assert_eq!(answer.status, 201);
    let document = answer.json().unwrap();
    let id = document.pointer("/data/id").and_then(Value::as_str).unwrap().to_owned();
    (id, bearer_of(&document).unwrap().to_owned())
}

#[tokio::test]
async fn an_invoice_has_the_shape_of_the_sample() {
    let world = world().await;
    let answer = world.direct("paymega").unwrap().create_invoice(&new_invoice("")).await.unwrap();
    assert_eq!(answer.status, 201);
    let document = answer.json().unwrap();
    let attributes = document.pointer("/data/attributes").unwrap();
    assert_eq!(attributes["status"], "process_pending");
    assert_eq!(attributes["metadata"], json!([]));
    assert_eq!(attributes["flow_data"]["params"], json!([]));
    assert_eq!(attributes["amount"], 17);
    assert!(bearer_of(&document).unwrap().starts_with("eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzUxMiJ9."));
    assert!(document.pointer("/data/links/self").unwrap().as_str().unwrap().starts_with("/api/"));
}

#[tokio::test]
async fn the_private_api_refuses_what_it_must() {
    let world = world().await;
    let mut gateway = world.direct("milkypay").unwrap();
    let twice = new_invoice("");
    assert_eq!(gateway.create_invoice(&twice).await.unwrap().status, 201);
    assert_eq!(gateway.create_invoice(&twice).await.unwrap().status, 429);
    let empty = gateway.post("/payment-invoices", "{}".to_owned()).await.unwrap();
    assert_eq!(empty.status, 422);
    assert!(empty.json().unwrap().pointer("/errors/0/detail").is_some());
    let (id, _) = made(&gateway).await;
    let other = world.direct("milkypay-inline").unwrap();
    assert_eq!(other.invoice(&id).await.unwrap().status, 404);
    gateway.credentials.key = "wrong".to_owned();
    assert_eq!(gateway.invoice(&id).await.unwrap().status, 401);
    let virtual_one = world.account("milkypay").unwrap().shop.clone();
    gateway.credentials = virtual_one;
    assert_eq!(gateway.invoice(&id).await.unwrap().status, 401);
}

#[tokio::test]
async fn the_card_gate_takes_cards_and_no_tokens() {
    let world = world().await;
    let gateway = world.direct("paymega").unwrap();
    let (id, bearer) = made(&gateway).await;
    let wrong = |number: &str, cvv: &str, month: &str, year: &str| CardFields {
        number: number.to_owned(),
        cvv: cvv.to_owned(),
        month: month.to_owned(),
        year: year.to_owned(),
        ..card(PLAIN)
    };
    for bad in [
        wrong("tok_test_abcdefghijklmnop", "123", "10", "35"),
        wrong("5519283812030001", "123", "10", "35"),
        wrong(PLAIN, "cvv_test_abcdef", "10", "35"),
        wrong(PLAIN, "123", "1", "35"),
        wrong(PLAIN, "123", "13", "35"),
        wrong(PLAIN, "123", "10", "2035"),
    ] {
        assert_eq!(gateway.sale(&bearer, &bad).await.unwrap().status, 422);
    }
    assert_eq!(gateway.sale("eyJ.no.body", &card(PLAIN)).await.unwrap().status, 401);
    assert!(world.paymega.sales().is_empty());
    let sold = gateway.sale(&bearer, &card(PLAIN)).await.unwrap();
    let expected = json!({"status": "processed", "auth_mode": null, "auth_payload": []});
    assert_eq!((sold.status, sold.json().unwrap()), (200, expected));
    assert_eq!(world.paymega.sales().len(), 1);
    assert_eq!(world.paymega.invoice(&id).unwrap().status, "processed");
    assert_eq!(gateway.sale(&bearer, &card(PLAIN)).await.unwrap().status, 422);
    assert_eq!(world.paymega.received().count("sale"), 9);
}

#[tokio::test]
async fn values_that_are_no_strings_are_refused() {
    let world = world().await;
    let gateway = world.direct("paymega").unwrap();
    let (_, bearer) = made(&gateway).await;
    let body = json!({"data": {"type": "sale-operation", "attributes": {"card_number": PLAIN,
        "card_holder": "A B", "cvv": 123, "exp_month": "10", "exp_year": "35"}}});
    let call = Call::post_json(format!("{}/payment/sale", gateway.cardgate), body.to_string())
        .header("authorization", &format!("Bearer {bearer}"));
    let answer = gateway.send(call).await.unwrap();
    assert_eq!(answer.status, 422);
    let pointer = answer.json().unwrap().pointer("/errors/0/source/pointer").cloned();
    assert_eq!(pointer, Some(json!("/data/attributes/cvv")));
}

/// Pays up to the challenge; gives the payment's id and the form for the bank.
async fn challenge(world: &World, account: &str, number: &str) -> (String, String, Challenge) {
    let gateway = world.direct(account).unwrap();
    let (id, bearer) = made(&gateway).await;
    let answer = gateway.sale(&bearer, &card(number)).await.unwrap().json().unwrap();
    assert_eq!(answer.get("status"), Some(&json!("process_pending")));
    assert_eq!(answer.get("auth_mode"), Some(&json!("3ds")));
    let brand = world.account(account).unwrap().brand.name;
    let payment_id = world.simulator(brand).invoice(&id).unwrap().payment_id;
    (id, payment_id, Challenge::of(&answer).unwrap())
}

/// Posts the form to the bank, presses a button, and gives what comes then.
async fn at_the_bank(
    world: &World,
    challenge: &Challenge,
    button: &str,
) -> portcullis_sandbox::browser::Page {
    let browser = Browser::new(world.client.clone());
    let mut page = browser.open(&world.acs.url()).await.unwrap();
    let form = portcullis_sandbox::browser::Form {
        action: challenge.action.clone(),
        method: "post".to_owned(),
        fields: challenge.params.clone(),
        buttons: Vec::new(),
    };
    page = browser.submit(&page, &form, None).await.unwrap();
    let form = page.form().unwrap();
    let call = browser.call_of(&page, &form, Some(button)).unwrap();
    let answer = world.client.send(call).await.unwrap();
    portcullis_sandbox::browser::Page { answer, ..page }
}

#[tokio::test]
async fn a_3ds1_challenge_comes_back_byte_for_byte() {
    let world = world().await;
    let (id, payment_id, form) = challenge(&world, "milkypay", CHALLENGED).await;
    let back = at_the_bank(&world, &form, "approve").await;
    let browser = Browser::new(world.client.clone());
    let call = browser.call_of(&back, &back.form().unwrap(), None).unwrap();
    let answer = world.client.send(call).await.unwrap();
    assert_eq!(answer.status, 302);
    assert_eq!(answer.header("location"), Some("https://localhost/back"));
    let returns = world.milkypay.returns_of(&payment_id);
    assert_eq!(returns.len(), 1);
    assert_eq!(returns[0].as_posted, Some(true));
    assert_eq!(world.milkypay.invoice(&id).unwrap().status, "processed");
}

#[tokio::test]
async fn a_return_that_was_encoded_again_is_noticed() {
    let world = world().await;
    let (id, payment_id, form) = challenge(&world, "milkypay", CHALLENGED).await;
    at_the_bank(&world, &form, "approve").await;
    let posted = world.acs.posted(&payment_id).unwrap();
    let body = posted.fields.replace("%0D%0A", "%0A");
    let call = Call::post(&posted.url, "application/x-www-form-urlencoded", body);
    world.client.send(call).await.unwrap();
    assert_eq!(world.milkypay.returns_of(&payment_id)[0].as_posted, Some(false));
    let invoice = world.milkypay.invoice(&id).unwrap();
    assert_eq!(
        (invoice.status.as_str(), invoice.resolution.as_str()),
        ("process_failed", "invalid_3ds_code")
    );
}

#[tokio::test]
async fn a_return_by_get_keeps_the_term_urls_own_query() {
    let world = world().await;
    world.milkypay.quirks(|quirks| quirks.term_answer = TermAnswer::Redirect(303));
    world.acs.style(Style { pares_bytes: 2_000, md_first: true, extra: Vec::new() });
    let (_, payment_id, form) = challenge(&world, "milkypay", CHALLENGED).await;
    let sent_back = at_the_bank(&world, &form, "approve_get").await.answer;
    assert_eq!(sent_back.status, 303);
    let target = sent_back.header("location").unwrap();
    assert!(target.contains(&format!("?pid={payment_id}&MD=")));
    let answer = world.client.send(Call::get(target)).await.unwrap();
    assert_eq!(answer.status, 303);
    assert_eq!(world.milkypay.returns_of(&payment_id)[0].as_posted, Some(true));
}

#[tokio::test]
async fn paymegas_term_url_has_no_scheme_and_its_pareq_carries_the_card() {
    let world = world().await;
    let (_, _, form) = challenge(&world, "paymega", CHALLENGED).await;
    let value = |name: &str| form.params.iter().find(|(key, _)| key == name).unwrap().1.clone();
    let expected = format!("{}/3ds-return?pid=pay_", world.paymega.authority());
    assert!(value("TermUrl").starts_with(&expected));
    assert!(portcullis_sandbox::once::leak::find(value("PaReq").as_bytes()).is_some());
    let (_, _, form) = challenge(&world, "paymega-inline", CHALLENGED).await;
    let pareq = &form.params.iter().find(|(key, _)| key == "PaReq").unwrap().1;
    assert!(portcullis_sandbox::once::leak::find(pareq.as_bytes()).is_none());
}

#[tokio::test]
async fn a_3ds2_challenge_is_creq_alone_and_ends_at_the_notification_url() {
    let world = world().await;
    let (id, payment_id, form) = challenge(&world, "paymega", CHALLENGED_V2).await;
    let names: Vec<_> = form.params.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["creq"]);
    let back = at_the_bank(&world, &form, "approve").await;
    let form = back.form().unwrap();
    assert!(form.action.contains("/3ds2/notify?pid=pay_"));
    let browser = Browser::new(world.client.clone());
    world.client.send(browser.call_of(&back, &form, None).unwrap()).await.unwrap();
    assert_eq!(world.paymega.invoice(&id).unwrap().status, "processed");
    assert_eq!(world.paymega.returns_of(&payment_id)[0].as_posted, Some(true));
}

#[tokio::test]
async fn callbacks_are_signed_and_come_on_creation_and_on_change() {
    let world = world().await;
    let (_server, heard, url) = ear(&world, 1).await;
    let gateway = world.direct("paymega").unwrap();
    let answer = gateway.create_invoice(&new_invoice(&url)).await.unwrap().json().unwrap();
    let bearer = bearer_of(&answer).unwrap();
    gateway.sale(bearer, &card(DECLINED)).await.unwrap();
    until(SOON, || (heard.count("callback") == 2).then_some(())).await.unwrap();
    let secret = &world.account("paymega").unwrap().real.test_secret;
    let statuses: Vec<String> = heard
        .all()
        .iter()
        .map(|entry| {
            let body = &entry.request.body;
            assert_eq!(entry.request.header("x-signature").unwrap(), signature(secret, body));
            let body: Value = serde_json::from_slice(body).unwrap();
            body.pointer("/data/attributes/status").unwrap().as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(statuses, ["process_pending", "process_failed"]);
}

#[tokio::test]
async fn live_operations_are_signed_with_the_live_secret() {
    let world = world().await;
    let (_server, heard, url) = ear(&world, 1).await;
    let body = json!({"data": {"type": "payment-invoices", "attributes": {"reference_id": "r-live",
        "currency": "USD", "amount": 1, "service": "payment_card_usd_hpp", "test_mode": false,
        "callback_url": url}}});
    let gateway = world.direct("paymega").unwrap();
    gateway.post("/payment-invoices", body.to_string()).await.unwrap();
    let entry = until(SOON, || heard.last("callback")).await.unwrap();
    let secret = &world.account("paymega").unwrap().real.live_secret;
    let signed = signature(secret, &entry.request.body);
    assert_eq!(entry.request.header("x-signature"), Some(signed.as_str()));
}

#[tokio::test]
async fn a_callback_is_repeated_with_growing_delays_until_exactly_200() {
    let world = world().await;
    let (_server, heard, url) = ear(&world, 4).await;
    let gateway = world.direct("paymega").unwrap();
    let answer = gateway.create_invoice(&new_invoice(&url)).await.unwrap().json().unwrap();
    let id = answer.pointer("/data/id").unwrap().as_str().unwrap();
    let done = || world.paymega.deliveries_of(id).pop().filter(|sent| sent.delivered());
    let sent = until(SOON, done).await.unwrap();
    assert_eq!(sent.attempts, [Some(204), Some(204), Some(204), Some(200)]);
    let all = heard.all();
    let bodies: Vec<_> = all.iter().map(|entry| entry.request.body.clone()).collect();
    assert!(bodies.iter().all(|body| *body == sent.body));
    let gaps: Vec<_> = all.windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    assert!(gaps[0] >= Duration::from_millis(40) && gaps[2] >= Duration::from_millis(120));
}

#[tokio::test]
async fn a_payout_takes_a_card_and_is_settled_and_read() {
    let world = world().await;
    let gateway = world.direct("milkypay").unwrap();
    let token = gateway.payout("out-1", "tok_test_abcdef", "").await.unwrap();
    assert_eq!(token.status, 422);
    let answer = gateway.payout("out-1", PLAIN, "").await.unwrap();
    assert_eq!(answer.status, 201);
    assert_eq!(answer.json().unwrap()["data"]["type"], "payout-invoice");
    assert!(answer.text().contains("551928******0000") && !answer.text().contains(PLAIN));
    let id = answer.json().unwrap()["data"]["id"].as_str().unwrap().to_owned();
    let settled = || world.milkypay.invoice(&id).filter(|invoice| invoice.status == "processed");
    until(SOON, settled).await.unwrap();
    let list = gateway.payouts_by_reference("out-1").await.unwrap().json().unwrap();
    assert_eq!(list["data"][0]["attributes"]["status"], "processed");
    assert_eq!(gateway.payout_by_id(&id).await.unwrap().status, 200);
}

#[tokio::test]
async fn a_pre_request_wants_the_accounts_own_public_key() {
    let world = world().await;
    let mut gateway = world.direct("paymega").unwrap();
    let answer = gateway.prerequest("USD", "17").await.unwrap().json().unwrap();
    let code = &answer["data"]["attributes"]["services"]["payment_card_usd_hpp"]["code"];
    assert_eq!(code, "payment_card_usd_hpp");
    gateway.credentials.public_key = world.account("paymega").unwrap().shop.public_key.clone();
    assert_eq!(gateway.prerequest("USD", "17").await.unwrap().status, 401);
}

#[tokio::test]
async fn every_fault_does_what_it_says() {
    let world = world().await;
    let mut gateway = world.direct("paymega").unwrap();
    gateway.client = world.client.patient(Duration::from_millis(400));
    let sale = async |fault| {
        let (_, bearer) = made(&gateway).await;
        world.paymega.faults().set("sale", fault);
        let answer = gateway.sale(&bearer, &card(PLAIN)).await;
        world.paymega.behave();
        answer
    };
    for fault in [Fault::Silent, Fault::Half, Fault::Cut] {
        assert!(sale(fault).await.is_err(), "{fault:?}");
    }
    assert_eq!(world.paymega.sales().len(), 3);
    assert_eq!(sale(Fault::Slow(Duration::from_millis(50))).await.unwrap().status, 200);
    let echoed = sale(Fault::EchoPan).await.unwrap();
    assert!(echoed.status == 422 && echoed.text().contains(PLAIN));
    assert!(sale(Fault::Html500).await.unwrap().text().contains("5519 2838 1203 0000"));
    assert_eq!(sale(Fault::EchoHeader).await.unwrap().header("x-debug-card"), Some(PLAIN));
    let encoded = sale(Fault::EchoEncoded).await.unwrap();
    assert!(!encoded.text().contains(PLAIN));
    assert!(portcullis_sandbox::once::leak::find(&encoded.body).is_some());
}

#[tokio::test]
async fn a_gateway_goes_down_and_comes_back_on_its_port() {
    let world = world().await;
    let gateway = world.direct("paymega").unwrap();
    made(&gateway).await;
    world.paymega.down();
    assert!(gateway.create_invoice(&new_invoice("")).await.is_err());
    world.paymega.up().await.unwrap();
    made(&gateway).await;
}

#[tokio::test]
async fn the_control_server_drives_the_simulators() {
    let world = world().await;
    let url = world.control.url();
    let post = async |path: &str| {
        let call = Call::post(format!("{url}{path}"), "text/plain", "");
        world.client.send(call).await.unwrap().status
    };
    assert_eq!(post("/paymega/fault?route=sale&kind=html_500").await, 200);
    assert_eq!(post("/paymega/fault?route=sale&kind=nonsense").await, 400);
    let gateway = world.direct("paymega").unwrap();
    let (id, bearer) = made(&gateway).await;
    assert_eq!(gateway.sale(&bearer, &card(PLAIN)).await.unwrap().status, 500);
    assert_eq!(post("/paymega/behave").await, 200);
    assert_eq!(gateway.sale(&bearer, &card(PLAIN)).await.unwrap().status, 200);
    assert_eq!(post(&format!("/paymega/settle?invoice={id}&status=refunded")).await, 200);
    assert_eq!(world.paymega.invoice(&id).unwrap().status, "refunded");
    let received = world.client.send(Call::get(format!("{url}/paymega/received"))).await.unwrap();
    assert_eq!(received.json().unwrap().as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_working_folder_is_private_and_gone_at_the_end() {
    use std::os::unix::fs::PermissionsExt;
    let world = world().await;
    let folder = world.folder().to_owned();
    let mode =
        |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    for name in ["portcullis.toml", "secrets/paymega.key", "tls/public.key", "logs/shop.log"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
    let config = std::fs::read_to_string(world.config()).unwrap();
    let secret = &world.account("paymega").unwrap().real.key;
    assert!(config.contains("[account.virtual.shop]") && !config.contains(secret.as_str()));
    drop(world);
    assert!(!folder.exists());
}
