//! A shop that kept its own form, paid in a browser: its record has tokens only.

use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::http::Request;
use portcullis_sandbox::once::leak;
use portcullis_sandbox::visitor::CVV;
use serde_json::json;

use super::stage::{HOLDER, Stage, scene};

impl Stage {
    /// Fills in one of the three forms of the page and sends it.
    async fn pay_in(&self, form: &str, number: &str) {
        self.browser.open(&format!("{}/checkout/17", self.world.own_form_url())).await;
        for (name, text) in
            [("number", number), ("expiry", "10/35"), ("cvv", CVV), ("holder", HOLDER)]
        {
            self.browser.write(&format!("#{form} [name={name}]"), text).await;
        }
        self.browser.press(&format!("#{form} button")).await;
    }

    /// Waits for a text: the page before it has another one in the same place.
    async fn reads(&self, css: &str, text: &str) {
        let is_there = async || (self.browser.text(css).await == text).then_some(());
        self.browser.until(text, is_there).await;
    }

    fn got(&self) -> Vec<Request> {
        let got = self.world.own_form.received().on("card");
        got.iter().map(|received| received.request.clone()).collect()
    }
}

#[tokio::test]
async fn a_shop_with_a_form_of_its_own_is_paid_and_never_has_the_card() {
    scene(async |stage| {
        stage.pay_in("form", PLAIN).await;
        stage.reads("h1", "Payment: processed").await;
        // The browser sends the photo that nobody chose as a file without a name.
        stage.pay_in("multipart", PLAIN).await;
        stage.reads("h1", "Payment: processed").await;
        stage.pay_in("json", PLAIN).await;
        stage.reads("#outcome", "Payment: processed").await;
        let kinds = [
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=----WebKitFormBoundary",
            "application/json",
        ];
        let got = stage.got();
        assert_eq!(got.len(), kinds.len());
        for (request, kind) in got.iter().zip(kinds) {
            assert!(request.header("content-type").unwrap().starts_with(kind), "{kind}");
            let body = String::from_utf8(request.body.to_vec()).unwrap();
            assert!(body.contains("tok_test_") && body.contains("cvv_test_"), "{body}");
            assert_eq!(leak::find(&request.body), None, "{kind}");
        }
        let sales = stage.world.paymega.sales();
        assert_eq!(sales.len(), 3);
        for sale in sales {
            assert_eq!((sale.number.as_str(), sale.cvv.as_str()), (PLAIN, CVV));
            assert_eq!(sale.holder, HOLDER);
        }
        // These are the shop's own.
        let cookies = stage.browser.cookies().await;
        assert_eq!(cookies.as_array().unwrap().len(), 2, "{cookies}");
        stage.browser.devtools("Network.clearBrowserCookies", json!({})).await;
    })
    .await;
}

#[tokio::test]
async fn a_mistyped_number_is_told_on_a_page_and_goes_nowhere() {
    scene(async |stage| {
        stage.expect("the server responded with a status of 422");
        stage.pay_in("form", "5519283812030001").await;
        stage.reads("h1", "Please check your card details").await;
        assert_eq!(stage.got().len(), 0);
        stage.pay_in("form", PLAIN).await;
        stage.reads("h1", "Payment: processed").await;
        stage.browser.devtools("Network.clearBrowserCookies", json!({})).await;
    })
    .await;
}
