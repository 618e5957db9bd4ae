//! A number that was put in comes back in no answer, nor does one that stands by itself; what is
//! cleaned is still what it was.

#![no_main]

mod canary;

use canary::{PAN, assert_gone, contains, planted};
use libfuzzer_sys::fuzz_target;
use portcullis::wire::{Known, is_card_number, parse, scrub};

const KNOWN: Known<'_> = Known { pans: &[PAN], cvvs: &[b"7391"] };
const NOTHING: Known<'_> = Known { pans: &[], cvvs: &[] };

fn is_card(word: &str) -> bool {
    (13..=19).contains(&word.len()) && is_card_number(word)
}

fuzz_target!(|input: &[u8]| {
    let body = planted(input);
    for known in [&KNOWN, &NOTHING] {
        let (text, _) = scrub(&body, false, known).unwrap();
        assert_gone(text.as_bytes());
        assert!(!known.pans.iter().any(|pan| contains(text.as_bytes(), pan)));
        let Ok((json, _)) = scrub(&body, true, known) else { continue };
        assert_gone(json.as_bytes());
        assert!(!known.pans.iter().any(|pan| contains(json.as_bytes(), pan)));
        let (before, after) = (parse(&body).unwrap(), parse(json.as_bytes()).unwrap());
        assert_eq!(before.values().count(), after.values().count());
        for value in after.values() {
            let text = value.text();
            let raw = String::from_utf8_lossy(value.raw());
            let word = text.as_ref().map_or(raw.as_ref(), |text| text.as_str());
            assert!(!is_card(word), "a card number alone in a value");
        }
    }
});
