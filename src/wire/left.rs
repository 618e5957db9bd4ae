//! What reading and searching leave on the stack of a card that they came by: nothing. They look at
//! sixteen bytes at a time, which a build without optimisation puts there.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::secret::left::{invert, is_left_on_stack_by};
use crate::secret::{Random, wipe};

/// What stands around a number.
const AROUND: [(&str, &str); 4] =
    [("", ""), ("{\"a\":{\"pan\":\"", "\"}}"), ("a=", "&b=c"), (PART, "\r\n--b--\r\n")];
const PART: &str = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n";

/// A way of writing a number.
type Writing = fn(&[u8]) -> Vec<u8>;

const WRITTEN: [Writing; 4] = [
    <[u8]>::to_vec,
    |number| STANDARD.encode(number).into_bytes(),
    |number| number.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
    |number| number.iter().flat_map(|byte| format!("\\u{byte:04x}").into_bytes()).collect(),
];

#[test]
fn no_number_of_a_searched_text_is_left_on_the_stack() {
    // A number of thirteen digits fits into sixteen bytes at four places.
    for len in [13, 16] {
        for (blanks, write) in (0..16).flat_map(|blanks| WRITTEN.map(|write| (blanks, write))) {
            for (before, behind) in AROUND {
                let inverted = drawn(len);
                let work = || search(&format!("{:blanks$}{before}", ""), &inverted, write, behind);
                let (is_left, ()) = is_left_on_stack_by(&inverted, work);
                assert!(!is_left, "a number behind {blanks} blanks and {before}");
            }
        }
    }
    let inverted = drawn(13);
    let held = || black_box(*invert(&inverted).first_chunk::<13>().unwrap());
    assert!(is_left_on_stack_by(&inverted, held).0, "it is found");
}

/// A card number that no other test has, inverted.
fn drawn(len: usize) -> Vec<u8> {
    let mut digits: Vec<u8> =
        Random::fetch(16).take::<16>().iter().map(|byte| b'0' + byte % 10).collect();
    digits.truncate(len);
    digits[0] = b'4';
    let is_card = |digits: &[u8]| is_card_number(std::str::from_utf8(digits).unwrap());
    while !is_card(&digits) {
        digits[len - 1] = b'0' + (digits[len - 1] - b'0' + 1) % 10;
    }
    let inverted = invert(&digits);
    wipe(&mut digits);
    inverted
}

/// Everything that looks into a text.
fn search(before: &str, inverted: &[u8], write: Writing, behind: &str) {
    let mut number = invert(inverted);
    let mut text = [before.as_bytes(), &write(&number), behind.as_bytes()].concat();
    let known = Known { pans: &[&number], cvvs: &[b"123"] };
    black_box(contains_card(&text, &Known::default()));
    black_box(scan_shown(&text, &known));
    if let Ok(document) = parse(&text) {
        black_box(document.values().filter_map(|value| Some(value.text()?.as_str().len())).max());
    }
    if let Ok(form) = form::parse(&text) {
        black_box(form.find("a").is_ok());
    }
    black_box(multipart::parse(&text, "b").is_ok());
    for is_json in [false, true] {
        black_box(scrub(&text, is_json, &known).is_ok());
    }
    let spelled = Spelled::of(&text);
    black_box((spelled.holds(&number), spelled.holds_digits(&number)));
    drop(spelled);
    wipe(&mut text);
    wipe(&mut number);
}
