//! Pictures for the documents: `PORTCULLIS_PICTURES=folder cargo test --test browser pictures`.

use std::path::PathBuf;

use portcullis_sandbox::corefy::cards::{CHALLENGED, PLAIN};
use serde_json::json;

use super::stage::{BANK, FORM, Stage, scene};

const SIZES: [(u32, u32); 2] = [(375, 812), (1280, 860)];

async fn take(stage: &Stage, folder: &std::path::Path, name: &str) {
    for (width, height) in SIZES {
        for dark in [false, true] {
            stage.browser.screen(width, height, dark).await;
            // Two frames later everything has its place and its colour.
            let settled = "const done = arguments[0]; setTimeout(() => \
                           requestAnimationFrame(() => requestAnimationFrame(done)), 300);";
            stage.browser.run_later(settled, json!([])).await;
            let scheme = if dark { "dark" } else { "light" };
            let file = folder.join(format!("{name}-{width}-{scheme}.png"));
            std::fs::write(file, stage.browser.picture().await).unwrap();
        }
    }
}

#[tokio::test]
async fn pictures_of_every_page_are_taken_when_asked_for() {
    let Some(folder) = std::env::var_os("PORTCULLIS_PICTURES").map(PathBuf::from) else { return };
    std::fs::create_dir_all(&folder).unwrap();
    scene(async |stage| {
        take_all(stage, &folder).await;
    })
    .await;
}

async fn take_all(stage: &Stage, folder: &std::path::Path) {
    let browser = &stage.browser;
    browser.open(stage.shop()).await;
    take(stage, folder, "product").await;
    let url = stage.form_url(json!({})).await;
    browser.open(&url).await;
    browser.write("#number", "5519283812030000").await;
    take(stage, folder, "form-alone").await;
    stage.checkout("paymega-relay", &[]).await;
    browser.enter(FORM).await;
    browser.write("#number", "5519283812030000").await;
    browser.write("#expiry", "0120\u{e004}").await;
    browser.leave().await;
    take(stage, folder, "form").await;
    stage.checkout("paymega-relay", &[]).await;
    stage.pay_in_frame(CHALLENGED).await;
    browser.enter(BANK).await;
    browser.find("button[value=approve]").await;
    browser.leave().await;
    take(stage, folder, "challenge").await;
    browser.enter(BANK).await;
    browser.press("button[value=approve]").await;
    browser.leave().await;
    stage.result().await;
    take(stage, folder, "result").await;
    stage.checkout("paymega", &[]).await;
    stage.pay_in_frame(PLAIN).await;
    stage.result().await;
    browser.press("a[href$='/sides']").await;
    take(stage, folder, "sides").await;
}
