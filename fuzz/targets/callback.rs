//! A callback is believed when it is signed and not else, is delivered once and signed anew, and
//! carries no card to the application.

#![no_main]

#[path = "../../tests/flow/bench.rs"]
#[allow(dead_code, reason = "the flow's tests use more of it")]
mod bench;
mod canary;
mod lasting;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bench::{Bench, NOW, SHOP, body, headers};
use canary::{assert_gone, planted};
use libfuzzer_sys::fuzz_target;
use portcullis::flow::{Refusal, Unverified, Verdict};
use sha1::{Digest as _, Sha1};

const RULES: &str = "[account.callback]\napp = \"shop\"\nurl = \"https://shop.example/hooks\"\n";

fn sign(secret: &str, raw: &[u8]) -> String {
    let digest = Sha1::new().chain_update(secret).chain_update(raw).chain_update(secret).finalize();
    STANDARD.encode(digest)
}

fn judged(bench: &Bench, raw: &[u8], signature: &str) -> Result<Verdict, Refusal> {
    let headers = headers(&[("x-signature", signature), ("content-type", "application/json")]);
    let callback =
        Unverified { account: "paymega", sealed: None, headers: &headers, body: body(raw) };
    bench.flow.judge(bench.flow.verify(callback, NOW)?, NOW)
}

fuzz_target!(|input: &[u8]| {
    let raw = planted(input);
    lasting::with(
        || Bench::with(RULES, ""),
        |bench, _| {
            let forged = judged(bench, &raw, &sign("nobody's", &raw));
            assert!(matches!(forged, Err(Refusal::SignatureRefused)));
            let signature = sign("live_secret", &raw);
            let Ok(Verdict::Deliver(notice, delivery)) = judged(bench, &raw, &signature) else {
                return;
            };
            let sent = bench::told(*notice);
            assert_eq!((sent.host.as_str(), sent.target.as_str()), ("shop.example", "/hooks"));
            assert_gone(&sent.body);
            assert_eq!(sent.headers["x-signature"], sign(SHOP.1, &sent.body).as_str());
            let _ = bench.flow.delivered(delivery, Some(200), NOW);
            let again = judged(bench, &raw, &signature);
            assert!(!matches!(again, Ok(Verdict::Deliver(..))), "delivered twice");
        },
    );
});
