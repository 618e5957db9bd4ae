//! The bank's page, there and back: in a frame and in the whole window, with everything that people
//! and browsers do on the way.

use std::time::Duration;

use portcullis_sandbox::corefy::cards::{CHALLENGED, CHALLENGED_DECLINED, CHALLENGED_V2};
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::qostiq;
use portcullis_sandbox::visitor::CVV;
use serde_json::json;

use super::driver::Setup;
use super::stage::{BANK, Stage, scene, scene_with};

const APPROVE: &str = "button[value=approve]";
const WHOLE: &[(&str, &str)] = &[("bank-where", "page")];

/// How often the bank's answer about its newest payment came to the provider.
fn returns(stage: &Stage) -> usize {
    let challenged = stage.world.acs.challenged();
    stage.world.paymega.returns_of(&challenged.last().unwrap().payment_id).len()
}

/// The bank asked, its answer came to the provider once, byte for byte.
fn assert_returned_once(stage: &Stage) {
    assert_eq!(returns(stage), 1);
    let challenged = stage.world.acs.challenged();
    let posted = stage.world.acs.posted(&challenged.last().unwrap().payment_id).unwrap();
    let arrived = stage.world.paymega.received().last("3ds-return").unwrap();
    assert!(posted.arrived_as(&arrived.request), "the bank's answer was changed on the way");
    assert_eq!(arrived.request.header("cookie"), None);
}

/// To the bank's page in the whole window.
async fn to_the_bank(stage: &Stage, number: &str) {
    stage.checkout("paymega-relay", WHOLE).await;
    stage.pay_in_frame(number).await;
    stage.browser.until_url("/acspage/").await;
    stage.browser.find(APPROVE).await;
}

/// Chromium asks before it posts a page of the history once more: yes.
async fn ask_again(stage: &Stage) {
    stage.browser.until_url("/acspage/").await;
    if !stage.browser.has(APPROVE).await {
        stage.browser.reload().await;
    }
}

#[tokio::test]
async fn in_a_frame_the_bank_asks_and_the_shop_goes_on() {
    scene(async |stage| {
        stage.checkout("paymega-relay", &[]).await;
        stage.pay_in_frame(CHALLENGED).await;
        stage.browser.enter(BANK).await;
        stage.browser.press(APPROVE).await;
        stage.browser.leave().await;
        assert_eq!(stage.result().await.status, "processed");
        assert_returned_once(stage);
    })
    .await;
}

#[tokio::test]
async fn in_the_whole_window_the_bank_asks_and_the_shop_goes_on() {
    scene(async |stage| {
        to_the_bank(stage, CHALLENGED).await;
        stage.browser.press(APPROVE).await;
        assert_eq!(stage.result().await.status, "processed");
        assert_returned_once(stage);
    })
    .await;
}

#[tokio::test]
async fn a_return_by_get_and_a_307_arrive_as_they_left() {
    scene(async |stage| {
        to_the_bank(stage, CHALLENGED).await;
        stage.browser.press("button[value=approve_get]").await;
        assert_eq!(stage.result().await.status, "processed");
        assert_returned_once(stage);
        stage.checkout("paymega-redirect", WHOLE).await;
        stage.pay_in_frame(CHALLENGED).await;
        stage.browser.press(APPROVE).await;
        assert_eq!(stage.result().await.status, "processed");
        assert_returned_once(stage);
    })
    .await;
}

#[tokio::test]
async fn the_second_generation_goes_through_a_frame_too() {
    scene(async |stage| {
        stage.checkout("milkypay", &[]).await;
        stage.pay_in_frame(CHALLENGED_V2).await;
        stage.browser.enter(BANK).await;
        stage.browser.press(APPROVE).await;
        stage.browser.leave().await;
        assert_eq!(stage.result().await.status, "processed");
        let challenged = stage.world.acs.challenged();
        assert!(challenged[0].field("creq").is_some());
    })
    .await;
}

#[tokio::test]
async fn a_card_form_that_the_browser_posts_leads_to_the_bank() {
    scene(async |stage| {
        stage.checkout("qostiq-browser", &[]).await;
        let card = qostiq::cards::CARDS.iter().find(|card| card.shows.starts_with("3-D Secure"));
        stage.pay_in_frame(card.unwrap().number).await;
        stage.browser.press(APPROVE).await;
        assert_eq!(stage.result().await.status, "success");
        let payments = stage.world.qostiq.payments();
        assert_eq!(payments.len(), 1);
        assert_eq!(
            (payments[0].number.as_str(), payments[0].cvv.as_str()),
            (card.unwrap().number, CVV)
        );
    })
    .await;
}

#[tokio::test]
async fn a_refusal_at_the_bank_is_a_declined_payment() {
    scene(async |stage| {
        to_the_bank(stage, CHALLENGED).await;
        stage.browser.press("button[value=decline]").await;
        assert_eq!(stage.result().await.status, "process_failed");
        assert_returned_once(stage);
        to_the_bank(stage, CHALLENGED_DECLINED).await;
        stage.browser.press(APPROVE).await;
        assert_eq!(stage.result().await.status, "process_failed");
        assert_eq!(stage.browser.text("h1").await, "Declined");
    })
    .await;
}

#[tokio::test]
async fn back_and_reload_on_the_way_neither_lose_nor_repeat_the_payment() {
    scene(async |stage| {
        to_the_bank(stage, CHALLENGED).await;
        // The bank's page came by a post: a reload posts it again.
        stage.browser.reload().await;
        stage.browser.find(APPROVE).await;
        // Pages that send themselves on are no steps of the history.
        stage.browser.back().await;
        stage.browser.until_url("/checkout").await;
        stage.browser.forward().await;
        ask_again(stage).await;
        stage.browser.press(APPROVE).await;
        let order = stage.result().await;
        assert_eq!(order.status, "processed");
        assert_returned_once(stage);
        stage.browser.reload().await;
        stage.browser.back().await;
        ask_again(stage).await;
        stage.browser.press(APPROVE).await;
        assert_eq!(stage.result().await.id, order.id, "the bank's second answer changes nothing");
        assert_eq!(returns(stage), 1);
        let start = order.challenge.unwrap().action;
        stage.browser.open(&start).await;
        assert_eq!(
            stage.result().await.id,
            order.id,
            "the way to the bank leads to the outcome now"
        );
        assert_eq!((returns(stage), stage.world.paymega.sales().len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn pressed_twice_at_the_bank_the_answer_is_relayed_once() {
    scene(async |stage| {
        to_the_bank(stage, CHALLENGED).await;
        stage.world.paymega.faults().set("3ds-return", Fault::Slow(Duration::from_millis(700)));
        let twice = "const form = document.forms[0]; const go = document.querySelector(arguments[0]); \
                     form.target = 'second'; go.click(); form.target = ''; setTimeout(() => go.click(), 50);";
        stage.browser.run(twice, json!([APPROVE])).await;
        assert_eq!(stage.result().await.status, "processed");
        assert_eq!(returns(stage), 1);
    })
    .await;
}

#[tokio::test]
async fn a_slow_provider_is_waited_for_on_a_page_that_goes_on_by_itself() {
    scene(async |stage| {
        to_the_bank(stage, CHALLENGED).await;
        stage.world.paymega.faults().set("3ds-return", Fault::Slow(Duration::from_millis(8_500)));
        stage.browser.press(APPROVE).await;
        let waiting = stage.browser.until_text("p[role=status]").await;
        assert_eq!(waiting, "This page goes on by itself. Please do not close it.");
        assert_eq!(stage.result().await.status, "processed");
        assert_returned_once(stage);
    })
    .await;
}

#[tokio::test]
async fn a_field_called_submit_does_not_stop_the_hand_off() {
    scene(async |stage| {
        let named = vec![("submit".to_owned(), "1".to_owned())];
        stage.world.paymega.quirks(|quirks| quirks.extra_params = named);
        to_the_bank(stage, CHALLENGED).await;
        assert_eq!(stage.world.acs.challenged()[0].field("submit"), Some("1"));
        stage.browser.press(APPROVE).await;
        assert_eq!(stage.result().await.status, "processed");
    })
    .await;
}

#[tokio::test]
async fn without_scripts_a_button_leads_to_the_bank_and_back() {
    let setup = Setup { no_scripts: true, ..Setup::default() };
    scene_with(setup, async |stage| {
        let start = stage.challenge("paymega-relay", CHALLENGED).await;
        stage.browser.open(&start).await;
        stage.browser.press("#handoff button").await;
        stage.browser.press(APPROVE).await;
        // The bank's own page posts itself, too, and has a button.
        stage.browser.press("form button").await;
        stage.browser.until_url("/orders/").await;
        assert_returned_once(stage);
    })
    .await;
}
