//! The accessibility checker axe-core finds nothing serious on any page, in light and in dark.

use portcullis_sandbox::corefy::cards::{CHALLENGED, PLAIN};
use serde_json::json;

use super::driver::{Setup, TAB};
use super::install;
use super::stage::{FORM, Stage, scene, scene_with};

/// Complaints of axe-core that are serious or worse, in the current frame, in both schemes.
async fn check(stage: &Stage, page: &str) {
    for dark in [false, true] {
        stage.browser.screen(375, 800, dark).await;
        let script = format!(
            "{}; const done = arguments[0]; axe.run(document, {{iframes: false}}).then((found) => \
             done(found.violations.filter((one) => ['serious', 'critical'].includes(one.impact)) \
             .map((one) => [one.id, one.nodes.map((node) => [node.html, node.failureSummary])])), \
             (error) => done(String(error)));",
            install::axe()
        );
        let found = stage.browser.run_later(&script, json!([])).await;
        assert_eq!(found, json!([]), "{page}, dark: {dark}: {found:#}");
    }
}

#[tokio::test]
async fn the_form_can_be_used_by_everybody() {
    scene(async |stage| {
        let url = stage.form_url(json!({})).await;
        stage.browser.open(&url).await;
        check(stage, "the form").await;
        stage.browser.write("#number", &format!("4111111111111112{TAB}")).await;
        stage.browser.write("#expiry", &format!("0120{TAB}")).await;
        check(stage, "the form with complaints").await;
        stage.checkout("paymega", &[]).await;
        stage.browser.enter(FORM).await;
        stage.browser.write("#number", PLAIN).await;
        check(stage, "the form in a frame").await;
        stage.browser.leave().await;
        check(stage, "the checkout around it").await;
        stage.checkout("paymega", &[]).await;
        stage.pay_in_frame(PLAIN).await;
        stage.result().await;
        check(stage, "the result").await;
        stage.browser.press("a[href$='/sides']").await;
        check(stage, "what each side saw").await;
    })
    .await;
}

#[tokio::test]
async fn the_way_to_the_bank_can_be_used_by_everybody() {
    scene(async |stage| {
        let start = stage.challenge("paymega-relay", CHALLENGED).await;
        // A page that stands still: its script is what would leave it at once.
        let answer = portcullis_sandbox::client::Call::get(&start);
        let html = stage.world.client.send(answer).await.unwrap().text();
        let still = html.split_once("<script>").unwrap().0;
        stage.browser.open("about:blank").await;
        let write = "document.open(); document.write(arguments[0]); document.close();";
        stage.browser.run(write, json!([still])).await;
        check(stage, "the hand-off").await;
        stage.browser.open(&start).await;
        stage.browser.find("button[value=approve]").await;
        check(stage, "the bank's page").await;
        let gone = format!("{}/3ds/nothing", stage.world.addresses.public);
        stage.browser.open(&gone).await;
        check(stage, "a notice").await;
    })
    .await;
}

#[tokio::test]
async fn the_waiting_page_can_be_used_by_everybody() {
    let setup = Setup::default();
    scene_with(setup, async |stage| {
        let waiting =
            portcullis::page::waiting("about:blank#x", portcullis::page::Language::English);
        let still = waiting.html.replace("http-equiv=\"refresh\"", "name=\"x\"");
        stage.browser.open("about:blank").await;
        let write = "document.open(); document.write(arguments[0]); document.close();";
        stage.browser.run(write, json!([still])).await;
        check(stage, "the waiting page").await;
    })
    .await;
}
