//! Whatever a provider answers to a sale, the application sees no card, no code and no token of the
//! provider's, and the browser is sent to nothing but an https address.

#![no_main]

#[path = "../../tests/flow/bench.rs"]
#[allow(dead_code, reason = "the flow's tests use more of it")]
mod bench;
mod canary;
mod lasting;

use bench::{Bench, CVV, PAN, SHOP_KEY};
use canary::{contains, planted};
use libfuzzer_sys::fuzz_target;

fn handed_off(bench: &Bench, answer: &str) {
    for id in answer.split("https://pay.test/3ds/").skip(1).map(|rest| rest.split('/').next()) {
        let Some(page) = id.and_then(|id| bench.handoff_page(id)) else { continue };
        assert!(page.action.trim_start().to_ascii_lowercase().starts_with("https:"));
        assert!(matches!(page.method.as_str(), "GET" | "POST"));
    }
}

fuzz_target!(|input: &[u8]| {
    lasting::with(
        || Bench::with("[account.three_ds]\nhosts = [\"card.psp.name\"]\n", ""),
        |bench, input_number| {
            let secret = format!("jwt.of.one.{input_number:08}");
            let handle = bench.handle_of("paymega", &secret);
            let (token, cvv) = bench.capture(SHOP_KEY, PAN, CVV);
            let (draft, pending) =
                bench.sale("paymega", &handle, &bench::sale_json(&token, &cvv)).unwrap();
            let sent = bench::sent(draft);
            assert!(String::from_utf8(sent.body).unwrap().contains(PAN));
            let Ok(scrubbed) = bench.answer(pending, 200, &planted(input)) else { return };
            let body = scrubbed.into_parts().2;
            for known in [PAN, &secret] {
                assert!(!contains(body.as_bytes(), known.as_bytes()), "{known} came back");
            }
            handed_off(bench, &String::from_utf8_lossy(body.as_bytes()));
        },
    );
});
