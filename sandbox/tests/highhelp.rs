//! The simulated HighHelp on its own, with a merchant's client and a browser straight to it: no
//! proxy anywhere. What passes here is what Portcullis must keep working.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::{SOON, card, ear, world};
use portcullis_sandbox::browser::{Browser, Form, Page};
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::invoice::unix_now;
use portcullis_sandbox::highhelp::cards::{
    CHALLENGED, CHALLENGED_DECLINED, CODE, DECLINED, DISPUTED, PLAIN, REDIRECTED,
};
use portcullis_sandbox::highhelp::payment::OTP;
use portcullis_sandbox::http::Request;
use portcullis_sandbox::json::Json;
use portcullis_sandbox::keys::Signer;
use portcullis_sandbox::record::{Recorder, until};
use portcullis_sandbox::shop::highhelp::{HighHelp, NewPayment};
use portcullis_sandbox::shop::order::Challenge;
use portcullis_sandbox::world::World;

fn payment(id: &str, callbacks: &str) -> NewPayment {
    NewPayment {
        payment_id: id.to_owned(),
        callbacks: callbacks.to_owned(),
        redirect_url: "https://localhost/back".to_owned(),
    }
}

fn description(answer: &Answer) -> String {
    Json::parse(&answer.body).unwrap().text_at("status_description").to_owned()
}

/// The alert with this status and sub-status; its path's end says which address it came to.
async fn alert(client: &HighHelp, heard: &Recorder, status: &str, to: &str) -> Json {
    let found = until(SOON, || {
        heard.all().iter().find_map(|came| {
            let body = client.check_alert(&came.request)?;
            let at = |name: &str| body.text_at(&format!("status/{name}")).to_owned();
            let both = format!("{}:{}", at("status"), at("sub_status"));
            (both == status && came.request.path.ends_with(to)).then_some(body)
        })
    });
    found.await.unwrap()
}

/// From the challenge of an alert to the bank's page, and a button there.
async fn at_the_bank(world: &World, alert: &Json, button: &str) -> Answer {
    let browser = Browser::new(world.client.clone());
    let Challenge { action, method, params } = Challenge::of_alert(alert).unwrap();
    let start = browser.open(&world.acs.url()).await.unwrap();
    let bank = match method.as_str() {
        "GET" => browser.open(&action).await.unwrap(),
        _ => {
            let method = method.to_lowercase();
            let form = Form { action, method, fields: params, buttons: Vec::new() };
            browser.submit(&start, &form, None).await.unwrap()
        }
    };
    let back: Page = browser.submit(&bank, &bank.form().unwrap(), Some(button)).await.unwrap();
    world.client.send(browser.call_of(&back, &back.form().unwrap(), None).unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_payment_begins_new_and_ends_by_alert() {
    let world = world().await;
    for account in ["highhelp", "highhelp-hmac"] {
        let client = world.highhelp_direct(account).unwrap();
        let (_server, heard, url) = ear(&world, 2).await;
        let first = client.payin(&payment(account, &url), &card(PLAIN)).await.unwrap();
        assert_eq!(first.status, 200);
        let first = first.json().unwrap();
        assert_eq!((&first["status"], &first["sub_status"]), (&"processing".into(), &"new".into()));
        let last = alert(&client, &heard, "success:", "/success").await;
        assert_eq!(last.text_at("card/pan"), "424242******4242");
        assert_eq!(last.text_at("general/request_id"), first["request_id"]);
        let charged = world.highhelp.charges().pop().unwrap();
        assert_eq!((charged.number.as_str(), charged.cvv.as_str()), (PLAIN, "123"));
        let info = client.info("ecom/payin", account).await.unwrap();
        assert_eq!(info.json().unwrap()["status"], "success");
        let sent = || world.highhelp.deliveries_of(account).pop().filter(|sent| sent.delivered());
        assert_eq!(until(SOON, sent).await.unwrap().attempts, [Some(204), Some(200)]);
    }
    assert_eq!(world.highhelp.signatures().len(), 2);
}

#[tokio::test]
async fn requests_that_are_not_signed_right_are_refused() {
    let world = world().await;
    for account in ["highhelp", "highhelp-hmac"] {
        let client = world.highhelp_direct(account).unwrap();
        let body = || client.payin_body(&payment("p", "https://localhost/x"), &card(PLAIN));
        let path = "payment/ecom/payin";
        for off in [unix_now() - 301, unix_now() + 302] {
            let stale = client.send(client.call(path, body(), off)).await.unwrap();
            assert_eq!(stale.status, 401);
            assert!(description(&stale).contains("timestamp"));
        }
        let mut foreign = client.clone();
        foreign.key = match client.key {
            Signer::Rsa(_) => Signer::rsa().unwrap(),
            Signer::Hmac(_) => Signer::hmac(),
        };
        assert_eq!(foreign.balance().await.unwrap().status, 401);
        let mut swapped = client.clone();
        swapped.key = Signer::hmac();
        assert_eq!(swapped.balance().await.unwrap().status, 401);
        // One value changed after signing.
        let call = client.call(path, body(), unix_now());
        let changed = client.call(path, body().replace("1700", "1701"), unix_now());
        let stolen = call.header_value("x-access-signature").unwrap().to_owned();
        let answer = client.send(changed.replaced("x-access-signature", &stolen)).await.unwrap();
        assert_eq!((answer.status, description(&answer).contains("signature")), (401, true));
        assert_eq!(client.balance().await.unwrap().status, 200);
    }
    assert!(world.highhelp.charges().is_empty());
}

#[tokio::test]
async fn a_token_is_no_card_and_a_key_is_used_once() {
    let world = world().await;
    let client = world.highhelp_direct("highhelp").unwrap();
    let (_server, _heard, url) = ear(&world, 1).await;
    let token = "tok_test_abcdefghijklmnop";
    let mut wrong = card(PLAIN);
    wrong.cvv = "cvv_test_abcdef".to_owned();
    assert_eq!(client.payin(&payment("a", &url), &card(token)).await.unwrap().status, 422);
    assert_eq!(client.payin(&payment("a", &url), &wrong).await.unwrap().status, 422);
    assert_eq!(client.payout("ecom", &payment("a", &url), token).await.unwrap().status, 422);
    assert_eq!(client.payin(&payment("a", &url), &card(PLAIN)).await.unwrap().status, 200);
    assert_eq!(client.payin(&payment("a", &url), &card(PLAIN)).await.unwrap().status, 409);
    assert_eq!(client.info("ecom/payin", "unknown").await.unwrap().status, 404);
    let mut other = client.clone();
    other.project_id = world.highhelp_account("highhelp-hmac").unwrap().project_id.clone();
    assert_eq!(other.info("ecom/payin", "a").await.unwrap().status, 401);
}

#[tokio::test]
async fn three_d_secure_comes_by_alert_and_returns_byte_for_byte() {
    let world = world().await;
    let client = world.highhelp_direct("highhelp").unwrap();
    let (_server, heard, url) = ear(&world, 1).await;
    for (number, waiting, member, ending) in [
        (CHALLENGED, "processing:awaiting_3ds_result", "acs_info", "success:"),
        (REDIRECTED, "processing:awaiting_redirect_result", "redirect_info", "success:"),
        (
            CHALLENGED_DECLINED,
            "processing:awaiting_3ds_result",
            "acs_info",
            "decline:general_fatal_error",
        ),
    ] {
        heard.clear();
        client.payin(&payment(number, &url), &card(number)).await.unwrap();
        let asked = alert(&client, &heard, waiting, "/progress").await;
        let info = client.info("ecom/payin", number).await.unwrap();
        assert_eq!(Json::parse(&info.body).unwrap().get(member), asked.get(member));
        let back = at_the_bank(&world, &asked, "approve").await;
        let went = (back.status, back.header("location"));
        assert_eq!(went, (302, Some("https://localhost/back")));
        let to = if ending == "success:" { "/success" } else { "/decline" };
        alert(&client, &heard, ending, to).await;
        let returns = world.highhelp.returns_of(asked.text_at("general/request_id"));
        assert_eq!((returns.len(), returns[0].as_posted), (1, Some(true)));
    }
}

#[tokio::test]
async fn codes_disputes_declines_and_requisites() {
    let world = world().await;
    let client = world.highhelp_direct("highhelp-hmac").unwrap();
    let (_server, heard, url) = ear(&world, 1).await;
    client.payin(&payment("code", &url), &card(CODE)).await.unwrap();
    let asked = alert(&client, &heard, "processing:awaiting_3ds_result", "/progress").await;
    assert_eq!((asked.get("acs_info"), asked.get("redirect_info")), (None, None));
    assert_eq!(client.confirm("code", "otp", OTP).await.unwrap().status, 200);
    alert(&client, &heard, "success:", "/success").await;
    client.payin(&payment("dispute", &url), &card(DISPUTED)).await.unwrap();
    alert(&client, &heard, "dispute:wrong_amount", "/progress").await;
    client.payin(&payment("decline", &url), &card(DECLINED)).await.unwrap();
    alert(&client, &heard, "decline:general_fatal_error", "/decline").await;
    client.p2p_payin(&payment("p2p", &url)).await.unwrap();
    alert(&client, &heard, "processing:requisites", "/progress").await;
    heard.clear();
    client.payout("p2p", &payment("out", &url), PLAIN).await.unwrap();
    alert(&client, &heard, "success:", "/success").await;
    assert_eq!(world.highhelp.charges().pop().unwrap().flow, "payout");
}

#[tokio::test]
async fn alerts_may_come_twice_late_and_in_odd_spellings() {
    let world = world().await;
    let client = world.highhelp_direct("highhelp").unwrap();
    let (_server, heard, url) = ear(&world, 1).await;
    let number = |text: &str| Json::Number(text.to_owned());
    world.highhelp.quirks(|quirks| {
        quirks.twice = true;
        quirks.seconds_late = 400;
        quirks.extra = vec![
            ("fee".to_owned(), number("1.50")),
            ("big".to_owned(), number("90071992547409931234567890")),
            ("note".to_owned(), Json::Text("a;b:c".to_owned())),
        ];
    });
    client.payin(&payment("odd", &url), &card(PLAIN)).await.unwrap();
    until(SOON, || (heard.count("callback") == 2).then_some(())).await.unwrap();
    let last = alert(&client, &heard, "success:", "/success").await;
    assert_eq!(last.at("payment_info/fee"), Some(&number("1.50")));
    let request: Request = heard.last("callback").unwrap().request.clone();
    let dated: u64 = request.header("x-access-timestamp").unwrap().parse().unwrap();
    assert!(unix_now() - dated >= 400);
    assert_eq!(world.highhelp.resend("odd").await, Some(200));
    assert_eq!(heard.count("callback"), 3);
    let foreign = world.highhelp_direct("highhelp-hmac").unwrap();
    assert!(foreign.check_alert(&request).is_none());
}
