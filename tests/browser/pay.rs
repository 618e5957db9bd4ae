//! Paying in the shop with Portcullis' card form.

use portcullis_sandbox::corefy::cards::{CHALLENGED, DECLINED, PLAIN, WRONG_CVV};
use portcullis_sandbox::corefy::sale::Sale;
use portcullis_sandbox::visitor::CVV;
use serde_json::json;

use super::driver::{ENTER, TAB};
use super::stage::{BANK, FORM, Stage, scene, typed};

/// The provider got this card, in clear and complete.
fn assert_charged(sale: &Sale, number: &str, cvv: &str) {
    let card = typed(number);
    assert_eq!((sale.number.as_str(), sale.cvv.as_str()), (number, cvv));
    assert_eq!((&sale.month, &sale.year, &sale.holder), (&card.month, &card.year, &card.holder));
}

/// How often a call of Portcullis was answered so.
fn answered(stage: &Stage, call: &str, status: u16) -> usize {
    let log = stage.world.proxy().unwrap().read_log().unwrap();
    let log = String::from_utf8(log).unwrap();
    let wanted = [format!("\"call\":\"{call}\""), format!("\"status\":{status}")];
    log.lines().filter(|line| wanted.iter().all(|part| line.contains(part))).count()
}

#[tokio::test]
async fn a_card_typed_into_the_form_pays_and_the_shop_never_has_it() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.pay_in_frame(PLAIN).await;
        assert_eq!(stage.result().await.status, "processed");
        assert_eq!(stage.browser.text("h1").await, "Paid. Thank you!");
        let sales = stage.world.paymega.sales();
        assert_eq!(sales.len(), 1);
        assert_charged(&sales[0], PLAIN, CVV);
    })
    .await;
}

#[tokio::test]
async fn the_provider_is_told_the_twelve_facts_about_the_browser() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.pay_in_frame(PLAIN).await;
        stage.result().await;
        let told = stage.world.paymega.sales()[0].browser_info.clone();
        let facts = "return {tz: String(new Date().getTimezoneOffset()), agent: navigator.userAgent, \
                     depth: String(screen.colorDepth), width: String(screen.width), \
                     height: String(screen.height), window: String(innerWidth)}";
        let real = stage.browser.run(facts, json!([])).await;
        assert_eq!(told.as_object().unwrap().len(), 12, "{told}");
        assert!(told["browser_accept_header"].as_str().unwrap().starts_with("text/html"), "{told}");
        assert_eq!(told["browser_ip"], "127.0.0.1");
        assert_eq!(told["browser_java_enabled"], false);
        assert_eq!(told["browser_language"], "en-US");
        assert_eq!(told["device_channel"], "02");
        assert_eq!(told["browser_tz"], real["tz"]);
        assert_eq!(told["browser_user_agent"], real["agent"]);
        assert_eq!(told["browser_color_depth"], real["depth"]);
        assert_eq!(told["browser_screen_width"], real["width"]);
        assert_eq!(told["browser_screen_height"], real["height"]);
        assert_eq!(told["window_width"], real["window"], "the shop's window, not the frame's");
        assert!(told["window_height"].is_string());
    })
    .await;
}

#[tokio::test]
async fn a_form_that_is_a_page_of_its_own_pays_too() {
    scene(async |stage| {
        stage.checkout("paymega", &[("where", "page")]).await;
        stage.browser.until_url("/v1/form/cs_").await;
        stage.type_card(PLAIN, CVV).await;
        assert_eq!(stage.result().await.status, "processed");
        let sales = stage.world.paymega.sales();
        assert_eq!(sales.len(), 1);
        assert_charged(&sales[0], PLAIN, CVV);
        assert_eq!(sales[0].browser_info.as_object().unwrap().len(), 12);
        // Whoever goes back finds an empty form.
        stage.browser.back().await;
        stage.browser.until_url("/v1/form/cs_").await;
        assert_eq!(stage.browser.value("#number").await, "");
    })
    .await;
}

#[tokio::test]
async fn after_a_decline_another_card_pays() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.pay_in_frame(DECLINED).await;
        stage.browser.press("#retry").await;
        stage.pay_in_frame(PLAIN).await;
        assert_eq!(stage.result().await.status, "processed");
        let sales = stage.world.paymega.sales();
        assert_eq!(sales.len(), 2);
        assert_charged(&sales[0], DECLINED, CVV);
        assert_charged(&sales[1], PLAIN, CVV);
    })
    .await;
}

#[tokio::test]
async fn after_a_wrong_code_the_code_alone_is_asked_for() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.browser.enter(FORM).await;
        stage.type_card(PLAIN, WRONG_CVV).await;
        stage.browser.leave().await;
        stage.browser.press("#retry-cvv").await;
        stage.browser.enter(FORM).await;
        assert_eq!(stage.browser.until_text("#kept").await, "Card ending in 0000");
        assert!(!stage.browser.has(".field:not([hidden]) #number").await);
        stage.browser.write("#cvv", CVV).await;
        stage.browser.press("#pay").await;
        stage.browser.leave().await;
        assert_eq!(stage.result().await.status, "processed");
        let sales = stage.world.paymega.sales();
        assert_eq!(sales.len(), 2);
        assert_charged(&sales[0], PLAIN, WRONG_CVV);
        assert_charged(&sales[1], PLAIN, CVV);
        assert_eq!(answered(stage, "capture", 201), 2);
    })
    .await;
}

#[tokio::test]
async fn a_double_click_is_one_card_and_one_payment() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.browser.enter(FORM).await;
        stage.fill_in(PLAIN, CVV).await;
        let twice = "const pay = document.getElementById('pay'); pay.click(); pay.click(); \
                     document.getElementById('form').requestSubmit();";
        stage.browser.run(twice, json!([])).await;
        stage.browser.leave().await;
        assert_eq!(stage.result().await.status, "processed");
        assert_eq!(answered(stage, "capture", 201), 1);
        assert_eq!(stage.world.paymega.sales().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn everything_can_be_done_with_the_keyboard() {
    scene(async |stage| {
        stage.checkout("paymega-relay", &[]).await;
        stage.browser.enter(FORM).await;
        let focus = "document.getElementById('number').focus()";
        stage.browser.run(focus, json!([])).await;
        let card = typed(CHALLENGED);
        let keys =
            format!("{}{TAB}1035{TAB}{}{TAB}{}{TAB}{ENTER}", card.number, card.cvv, card.holder);
        stage.browser.keys(&keys).await;
        stage.browser.leave().await;
        stage.browser.enter(BANK).await;
        stage.browser.find("button[value=approve]").await;
        stage.browser.run("document.querySelector('main').tabIndex = -1; document.querySelector('main').focus()", json!([])).await;
        stage.browser.keys(&format!("{TAB}{ENTER}")).await;
        stage.browser.leave().await;
        assert_eq!(stage.result().await.status, "processed");
        assert_charged(&stage.world.paymega.sales()[0], CHALLENGED, CVV);
    })
    .await;
}

#[tokio::test]
async fn each_side_saw_what_the_page_shows_and_only_the_provider_the_card() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.pay_in_frame(PLAIN).await;
        let order = stage.result().await;
        stage.browser.press("a[href$='/sides']").await;
        stage.browser.find(".sides").await;
        let side = async |place: u8| {
            stage.browser.text(&format!(".sides section:nth-child({place})")).await
        };
        let (shop, portcullis, provider) = (side(1).await, side(2).await, side(3).await);
        let token = &order.seen[0].1;
        assert!(token.starts_with("tok_test_") && shop.contains(token.as_str()), "{shop}");
        assert!(!portcullis.contains("551928"), "{portcullis}");
        for side in ["section:nth-child(1)", "section:nth-child(2)"] {
            assert!(!stage.browser.has(&format!(".sides {side} mark.clear")).await, "{side}");
        }
        assert!(portcullis.contains("card and code put in: 2"), "{portcullis}");
        assert!(provider.contains("551928******0000"), "{provider}");
        assert!(!provider.contains(PLAIN) && !provider.contains(token.as_str()));
    })
    .await;
}
