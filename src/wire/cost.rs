//! What the room does with hostile input: it takes a bounded time, and never panics.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::corpus::{PAN, many};
use super::*;

#[test]
fn no_input_costs_more_than_its_length() {
    let mib = 1 << 20;
    let repeat = |piece: &str| piece.repeat(mib / piece.len());
    let keys = "\"k\":1,".repeat(20_000);
    let inputs = [
        ("equal keys", format!("{{{keys}\"k\":1}}")),
        (
            "different keys",
            format!(
                "{{{}\"z\":1}}",
                (0..80_000).map(|n| format!("\"k{n}\":1,")).collect::<String>()
            ),
        ),
        ("brackets", "[".repeat(100_000)),
        ("flat brackets", format!("[{}[]]", "[],".repeat(300_000))),
        ("digits", repeat("4")),
        ("digits as JSON", format!("[{}]", repeat("4"))),
        ("digits as a string", format!("\"{}\"", repeat("4"))),
        ("groups", repeat("4111 ")),
        ("cards", repeat("4111111111111111 ")),
        ("hex words", repeat("a4111111111111111")),
        ("base64", format!("\"{}\"", repeat("eyJhIjoxfQab"))),
        ("base64 of base64", STANDARD.encode(STANDARD.encode(repeat("x1")))),
        ("short lines", repeat("abcdefgh\n")),
        ("lines", repeat("abcdefghijklmnop\n")),
        ("zlib headers", repeat("eJwx")),
        ("zlib headers with blocks", repeat("eJwBAAAA")),
        ("percent", repeat("%35")),
        ("nested percent", repeat("%2525252535")),
        ("entities", repeat("&#00000000053;")),
        ("ampersands", repeat("&#")),
        ("tags", repeat("<a")),
        ("comments without an end", repeat("<!--")),
        ("a known number's digits apart", repeat(&format!("4{:250}", ""))),
        ("a known number's digits in masks", repeat("4*")),
        ("a known number's bytes", repeat("34 ")),
        ("a known number's bytes in one row", repeat("35353139323833383132303330303030")),
        ("a long entity", format!("&#{}", repeat("0"))),
        ("full width", repeat("５")),
        ("escapes", format!("\"{}\"", repeat("\\u0035"))),
        ("hexadecimal", repeat("3431")),
        ("a long name over many numbers", format!("{{\"{0}\":[411{0}]}}", ",411".repeat(mib / 8))),
        ("form fields", repeat("a&")),
        ("uuids", repeat("41111111-1111-1111-1111-411111111111 ")),
    ];
    let known = Known { pans: &[b"4444444444444448", PAN.as_bytes()], cvvs: &[b"411"] };
    for (name, input) in inputs {
        let started = Instant::now();
        let is_json = parse(input.as_bytes()).is_ok();
        let _ = form::parse(input.as_bytes()).unwrap().find("a");
        let (scrubbed, _) = scrub(input.as_bytes(), is_json, &known).unwrap();
        drop(scrubbed);
        let took = started.elapsed();
        // A build for tests is slower, and others run beside this one.
        let limit = if cfg!(debug_assertions) { 5 } else { 1 };
        assert!(took < Duration::from_secs(limit), "{name}: {took:?}");
    }
}

proptest! {
    #![proptest_config(many())]

    #[test]
    fn no_bytes_make_the_room_panic(bytes in any::<Vec<u8>>()) {
        let _ = parse(&bytes);
        let _ = form::parse(&bytes);
        let _ = contains_card(&bytes, &Known { pans: &[PAN.as_bytes()], cvvs: &[b"123"] });
    }
}
