//! The card form by itself: what it accepts, says, looks like, and to whom it speaks.

use portcullis::card::Pan;
use portcullis_sandbox::client::Call;
use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::once::leak;
use portcullis_sandbox::visitor::CVV;
use serde_json::{Value, json};

use super::driver::{BACKSPACE, Setup, TAB};
use super::stage::{FORM, Stage, scene, scene_with};

/// A form in the whole window.
async fn open(stage: &Stage, more: serde_json::Value) {
    let url = stage.form_url(more).await;
    stage.browser.open(&url).await;
    stage.browser.find("#number").await;
}

/// Empties a field as a person does.
async fn rewrite(stage: &Stage, css: &str, keys: &str) {
    let clear = "const e = document.querySelector(arguments[0]); e.value = ''; \
                 e.dispatchEvent(new InputEvent('input', {inputType: 'deleteContentBackward'}));";
    stage.browser.run(clear, json!([css])).await;
    stage.browser.write(css, keys).await;
}

/// What a paste does to a field.
async fn paste(stage: &Stage, css: &str, text: &str) -> String {
    let script = "const e = document.querySelector(arguments[0]); e.value = arguments[1]; \
                  e.dispatchEvent(new InputEvent('input', {inputType: 'insertFromPaste'})); \
                  return e.value;";
    stage.browser.run(script, json!([css, text])).await.as_str().unwrap().to_owned()
}

#[tokio::test]
async fn autofill_and_keyboards_of_telephones_know_the_fields() {
    scene(async |stage| {
        open(stage, json!({})).await;
        for (field, autocomplete, keyboard) in [
            ("#number", "cc-number", "numeric"),
            ("#expiry", "cc-exp", "numeric"),
            ("#cvv", "cc-csc", "numeric"),
            ("#name", "cc-name", ""),
        ] {
            let attribute = async |name: &str| stage.browser.attribute(field, name).await;
            assert_eq!(attribute("autocomplete").await, autocomplete);
            assert_eq!(attribute("inputmode").await, keyboard);
            assert_eq!(attribute("name").await, "", "no form post may carry it");
            let described = attribute("aria-describedby").await;
            assert_eq!(
                stage.browser.attribute(&format!("#{described}"), "aria-live").await,
                "polite"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn numbers_are_grouped_and_named_as_the_vault_knows_them() {
    scene(async |stage| {
        open(stage, json!({})).await;
        for number in [
            "4111111111111111",
            "4222222222222",
            "5555555555554444",
            "2720990000000007",
            "378282246310005",
            "6011000990139424",
            "38520000023237",
            "3530111333300000",
            "6205500000000000004",
            "6759649826438453",
            "5018000000000009",
            "2204000000000000",
            "9999999999999995",
        ] {
            rewrite(stage, "#number", number).await;
            let shown = stage.browser.value("#number").await;
            assert_eq!(shown.replace(' ', ""), number);
            let groups: Vec<usize> = shown.split(' ').map(str::len).collect();
            let expected = if number.starts_with('3') && number.len() == 15 { 6 } else { 4 };
            assert_eq!(groups[1], expected, "{shown}");
            let brand = Pan::parse(number.as_bytes()).unwrap().brand().as_str();
            let mark = stage.browser.attribute("#mark", "data-brand").await;
            assert_eq!(mark, brand, "{number}");
            let label = stage.browser.text("#mark").await.to_lowercase();
            assert_eq!(label, if brand == "unknown" { "" } else { brand }, "{number}");
            stage.browser.keys(TAB).await;
            assert_eq!(stage.browser.text("#number-error").await, "", "{number}");
        }
    })
    .await;
}

#[tokio::test]
async fn whatever_is_pasted_or_corrected_is_read() {
    scene(async |stage| {
        open(stage, json!({})).await;
        for text in
            ["4111-1111-1111-1111", " 4111  1111.1111 1111\n", "４１１１１１１１１１１１１１１１"]
        {
            assert_eq!(paste(stage, "#number", text).await, "4111 1111 1111 1111");
        }
        for text in ["10/35", "10/2035", "1035", "102035", "10 - 35"] {
            assert_eq!(paste(stage, "#expiry", text).await, "10 / 35", "{text}");
        }
        for (keys, shown) in [("1035", "10 / 35"), ("535", "05 / 35"), ("1/35", "01 / 35")] {
            rewrite(stage, "#expiry", keys).await;
            assert_eq!(stage.browser.value("#expiry").await, shown, "{keys}");
        }
        rewrite(stage, "#expiry", "10/2035").await;
        stage.browser.keys(TAB).await;
        assert_eq!(stage.browser.value("#expiry").await, "10 / 35");
        // A digit in the middle is corrected, and the cursor stays there.
        rewrite(stage, "#number", "4111211111111111").await;
        let place = "document.getElementById('number').setSelectionRange(6, 6)";
        stage.browser.run(place, json!([])).await;
        stage.browser.keys(&format!("{BACKSPACE}1")).await;
        assert_eq!(stage.browser.value("#number").await, "4111 1111 1111 1111");
        let cursor = "return document.getElementById('number').selectionStart";
        assert_eq!(stage.browser.run(cursor, json!([])).await, json!(6));
    })
    .await;
}

#[tokio::test]
async fn mistakes_are_named_when_a_field_is_left_and_nothing_is_sent() {
    scene(async |stage| {
        open(stage, json!({})).await;
        for (field, keys, complaint) in [
            ("number", "41111111", "Enter the whole card number."),
            (
                "number",
                "4111111111111112",
                "This card number is not right. Please check its digits.",
            ),
            ("expiry", "1335", "Enter month and year, as on the card."),
            ("expiry", "0120", "This card has expired."),
            ("cvv", "12", "Enter the 3 digits on the back of the card."),
            ("name", "4111111111111111", "Enter the name as it is on the card."),
        ] {
            let css = format!("#{field}");
            rewrite(stage, &css, keys).await;
            stage.browser.keys(TAB).await;
            assert_eq!(stage.browser.text(&format!("#{field}-error")).await, complaint, "{keys}");
            assert_eq!(stage.browser.attribute(&css, "aria-invalid").await, "true");
        }
        rewrite(stage, "#number", "378282246310005").await;
        rewrite(stage, "#cvv", "123").await;
        stage.browser.keys(TAB).await;
        let front = "Enter the 4 digits on the front of the card.";
        assert_eq!(stage.browser.text("#cvv-error").await, front);
        // A complaint goes as soon as it is not true any more.
        stage.browser.write("#cvv", "4").await;
        assert_eq!(stage.browser.text("#cvv-error").await, "");
        stage.browser.press("#pay").await;
        let focused = stage.browser.run("return document.activeElement.id", json!([])).await;
        assert_eq!(focused, "expiry", "the first field that is wrong");
        let log = stage.world.proxy().unwrap().read_log().unwrap();
        assert!(!String::from_utf8(log).unwrap().contains("\"call\":\"capture\""));
    })
    .await;
}

#[tokio::test]
async fn refusals_of_the_server_are_told_in_the_cardholders_words() {
    scene(async |stage| {
        open(stage, json!({ "max_cards": 1 })).await;
        // Too many digits for the server; the form's own check is out of the way.
        stage.fill_in(PLAIN, CVV).await;
        stage.browser.run("checks.name = () => ''", json!([])).await;
        rewrite(stage, "#name", "4111111111111111").await;
        stage.browser.press("#pay").await;
        let complaint = stage.browser.until_text("#name-error").await;
        assert_eq!(complaint, "Enter the name as it is on the card.");
        // The session's only card is used up meanwhile.
        let url = stage.browser.url().await;
        let session = url.rsplit('/').next().unwrap();
        let call = portcullis_sandbox::visitor::capture_call(
            &format!("{}/v1/tokens", stage.world.addresses.public),
            session,
            stage.shop(),
            &super::stage::typed(PLAIN),
        );
        assert_eq!(stage.world.client.send(call).await.unwrap().status, 201);
        rewrite(stage, "#name", "CANARY").await;
        stage.browser.press("#pay").await;
        let over = async || {
            let text = stage.browser.text("#state[data-bad]").await;
            Some(text).filter(|text| text.starts_with("This form is not valid any more."))
        };
        stage.browser.until("the end of the form", over).await;
        stage.browser.reload().await;
        assert_eq!(stage.browser.text("h1").await, "This payment step is not here any more");
    })
    .await;
}

#[tokio::test]
async fn nothing_of_the_card_stays_in_the_form_that_was_sent() {
    scene(async |stage| {
        let session = stage.session(json!({})).await;
        stage.browser.open(&format!("{}/checkout", stage.shop())).await;
        stage.browser.find(FORM).await;
        let mount = "document.querySelector('#card').replaceChildren(); window.mounted = \
                     portcullis.mount('#card', {formUrl: arguments[0]});";
        stage.browser.run(mount, json!([session["form_url"]])).await;
        stage.pay_in_frame(PLAIN).await;
        let told = "window.mounted.token.then(arguments[0])";
        let told = stage.browser.run_later(told, json!([])).await;
        assert!(told["token"].as_str().unwrap().starts_with("tok_test_"), "{told}");
        assert_eq!((&told["bin"], &told["last4"]), (&json!("551928"), &json!("0000")));
        assert!(!told.to_string().contains(PLAIN) && !told.to_string().contains("CANARY"));
        stage.browser.enter(FORM).await;
        assert_eq!(stage.browser.until_text("#state").await, "Card taken. Please wait …");
        assert!(!stage.browser.has("input").await);
        let text = "return document.documentElement.outerHTML";
        let text = stage.browser.run(text, json!([])).await.to_string();
        assert_eq!(leak::find(text.as_bytes()), None);
        assert!(!text.contains("CANARY"));
        stage.browser.leave().await;
        stage.browser.run("window.mounted.destroy()", json!([])).await;
        assert!(!stage.browser.has(FORM).await);
    })
    .await;
}

#[tokio::test]
async fn the_frame_is_as_high_as_the_form() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        stage.browser.enter(FORM).await;
        let inside = async || {
            let height = "return Math.ceil(document.body.getBoundingClientRect().height)";
            stage.browser.run(height, json!([])).await
        };
        let before = inside().await;
        stage.browser.write("#number", &format!("4{TAB}")).await;
        stage.browser.until_text("#number-error").await;
        let after = inside().await;
        assert!(after.as_f64() > before.as_f64(), "a complaint takes room");
        stage.browser.leave().await;
        let fits = async || {
            let height =
                "return document.querySelector('#card iframe').getBoundingClientRect().height";
            (stage.browser.run(height, json!([])).await.as_f64() == after.as_f64()).then_some(())
        };
        stage.browser.until("a frame that fits", fits).await;
    })
    .await;
}

#[tokio::test]
async fn a_page_without_our_script_hears_the_tokens_too() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        let listen = "addEventListener('message', ({data, origin}) => { if (data.type === 'token') \
                      sessionStorage.heard = JSON.stringify({...data, origin}); });";
        stage.browser.run(listen, json!([])).await;
        stage.pay_in_frame(PLAIN).await;
        assert_eq!(stage.result().await.status, "processed");
        let heard = stage.browser.run("return sessionStorage.heard", json!([])).await;
        let heard: Value = serde_json::from_str(heard.as_str().unwrap()).unwrap();
        assert_eq!(heard["origin"], json!(stage.world.addresses.public));
        for name in ["token", "cvv_token", "bin", "last4", "brand"] {
            assert!(heard[name].is_string(), "{name}: {heard}");
            assert_eq!(heard[name], heard["card"][name], "{name}: {heard}");
        }
        assert_eq!([&heard["bin"], &heard["last4"]], [&PLAIN[..6], &PLAIN[12..]]);
    })
    .await;
}

#[tokio::test]
async fn a_page_of_another_origin_gets_neither_the_form_nor_a_token() {
    scene(async |stage| {
        // The same shop under another name is another origin.
        let foreign = stage.shop().replace("localhost", "127.0.0.1");
        stage.browser.open(&format!("{foreign}/log")).await;
        let session = stage.session(json!({})).await;
        let frame = "window.heard = []; addEventListener('message', (e) => window.heard.push(e.data)); \
                     const frame = document.createElement('iframe'); frame.src = arguments[0]; \
                     const done = arguments[1]; frame.onload = () => setTimeout(done, 300); \
                     document.body.append(frame);";
        stage.browser.run_later(frame, json!([session["form_url"]])).await;
        assert_eq!(stage.browser.run("return window.heard", json!([])).await, json!([]));
        stage.browser.enter("iframe").await;
        assert!(!stage.browser.has("#number").await);
        stage.expect("frame-ancestors");
    })
    .await;
}

#[tokio::test]
async fn a_message_from_elsewhere_is_not_taken_for_the_forms() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        let fake = "window.taken = 'nothing'; const form = portcullis.mount('#bank', {formUrl: arguments[0]}); \
                    form.token.then((card) => { window.taken = card; }); \
                    postMessage({portcullis: 1, type: 'token', card: {token: 'tok_test_fake', browser_info: {}}}, '*'); \
                    setTimeout(arguments[1], 200);";
        let session = stage.session(json!({})).await;
        stage.browser.run_later(fake, json!([session["form_url"]])).await;
        assert_eq!(stage.browser.run("return window.taken", json!([])).await, "nothing");
        assert!(stage.world.paymega.sales().is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_script_works_as_a_module_too() {
    scene(async |stage| {
        stage.checkout("paymega", &[]).await;
        let load = "const done = arguments[1]; import(arguments[0]).then((module) => \
                    done([typeof module.mount, typeof module.challenge, typeof module.default.mount]));";
        let path = format!("{}/v1/portcullis-1.mjs", stage.world.addresses.public);
        let kinds = stage.browser.run_later(load, json!([path])).await;
        assert_eq!(kinds, json!(["function", "function", "function"]));
        let answer = stage.world.client.send(Call::get(&path)).await.unwrap();
        let for_ever = Some("public, max-age=31536000, immutable");
        assert_eq!(answer.header("cache-control"), for_ever, "it never changes at its address");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    })
    .await;
}

#[tokio::test]
async fn the_theme_of_the_session_is_what_the_form_wears() {
    scene(async |stage| {
        let theme = json!({ "accent": "#ffcc00", "background": "#101010", "surface": "#202020",
            "text": "#fafafa", "border": "#777777", "radius": 3, "font_size": 18, "scheme": "dark" });
        open(stage, json!({ "theme": theme })).await;
        let worn = "const style = (css) => getComputedStyle(document.querySelector(css)); return [\
                    style('#pay').backgroundColor, style('#pay').color, style('body').backgroundColor, \
                    style('#number').backgroundColor, style('body').color, style('#name').borderTopColor, \
                    style('#name').borderTopLeftRadius, style('html').fontSize, style('html').colorScheme]";
        let worn = stage.browser.run(worn, json!([])).await;
        let expected = json!(["rgb(255, 204, 0)", "rgb(0, 0, 0)", "rgb(16, 16, 16)", "rgb(32, 32, 32)",
            "rgb(250, 250, 250)", "rgb(119, 119, 119)", "3px", "18px", "dark"]);
        assert_eq!(worn, expected);
    })
    .await;
}

#[tokio::test]
async fn the_form_speaks_three_languages() {
    scene(async |stage| {
        let url = stage.form_url(json!({})).await;
        for (asked, tag, pay, complaint) in [
            ("", "en", "Pay", "Enter the whole card number."),
            ("?lang=ru", "ru", "Оплатить", "Введите номер карты полностью."),
            ("?lang=uk", "uk", "Сплатити", "Введіть номер картки повністю."),
        ] {
            stage.browser.open(&format!("{url}{asked}")).await;
            assert_eq!(stage.browser.text("#pay").await, pay);
            assert_eq!(stage.browser.attribute("html", "lang").await, tag);
            stage.browser.write("#number", &format!("4{TAB}")).await;
            assert_eq!(stage.browser.until_text("#number-error").await, complaint);
        }
    })
    .await;
}

#[tokio::test]
async fn the_browsers_own_language_decides_when_nothing_else_does() {
    let setup = Setup { languages: "uk-UA,uk,en", ..Setup::default() };
    scene_with(setup, async |stage| {
        open(stage, json!({})).await;
        assert_eq!(stage.browser.text("#pay").await, "Сплатити");
    })
    .await;
}

#[tokio::test]
async fn a_form_that_nobody_opened_is_not_there_and_looking_uses_nothing_up() {
    scene(async |stage| {
        let url = stage.form_url(json!({ "max_cards": 1 })).await;
        let status = async |url: String| {
            let answer = stage.world.client.send(Call::get(url)).await.unwrap();
            (answer.status, answer)
        };
        for _ in 0..3 {
            assert_eq!(status(url.clone()).await.0, 200);
        }
        let guessed = url.rsplit_once('/').unwrap().0;
        let unknown = portcullis::card::SessionId::random().reveal(|id| format!("{guessed}/{id}"));
        let (missing, answer) = status(unknown).await;
        assert_eq!(missing, 404);
        let (malformed, other) = status(format!("{guessed}/cs_x")).await;
        assert_eq!((malformed, other.text()), (404, answer.text()), "both look alike");
        let (_, form) = status(url).await;
        for (name, value) in [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(form.header(name), Some(value), "{name}");
        }
        assert!(form.header("permissions-policy").unwrap().contains("camera=()"));
        let policy = form.header("content-security-policy").unwrap();
        assert!(policy.ends_with(&format!("frame-ancestors {}", stage.shop())), "{policy}");
        open(stage, json!({})).await;
    })
    .await;
}
