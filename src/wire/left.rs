//! What reading and searching leave on the stack of a card that they came by: nothing. They look at
//! sixteen bytes at a time, which a build without optimisation puts there.

use std::hint::black_box;

use super::corpus::PAN;
use super::*;
use crate::secret::left::{invert, is_left_on_stack_by};
use crate::secret::wipe;

/// Texts around a number.
const AROUND: [(&str, &str); 4] =
    [("", ""), ("{\"a\":{\"pan\":\"", "\"}}"), ("a=", "&b=c"), ("%20", "")];

#[test]
fn no_number_of_a_searched_text_is_left_on_the_stack() {
    // A number of thirteen digits fits into sixteen bytes at four places.
    for number in [PAN, "4222222222222"] {
        let inverted = invert(number.as_bytes());
        for ((before, behind), blanks) in
            AROUND.into_iter().flat_map(|around| (0..16).map(move |blanks| (around, blanks)))
        {
            let work = || search(&format!("{:blanks$}{before}", ""), &inverted, behind);
            let (is_left, ()) = is_left_on_stack_by(&inverted, work);
            assert!(!is_left, "a number behind {blanks} blanks and {before}");
        }
        let held = || *invert(&inverted).first_chunk::<13>().unwrap();
        assert!(is_left_on_stack_by(&inverted[..13], || black_box(held())).0, "it is found");
    }
}

/// Everything that looks into a text.
fn search(before: &str, inverted: &[u8], behind: &str) {
    let mut text = [before.as_bytes(), &invert(inverted), behind.as_bytes()].concat();
    let mut number = invert(inverted);
    let known = Known { pans: &[&number], cvvs: &[b"123"] };
    black_box(contains_card(&text, &Known::default()));
    black_box(scan_shown(&text, &known));
    if let Ok(document) = parse(&text) {
        black_box(
            document.values().filter_map(|value| Some(value.text()?.as_str().len())).sum::<usize>(),
        );
    }
    if let Ok(form) = form::parse(&text) {
        black_box(form.find("a").is_ok());
    }
    for is_json in [false, true] {
        black_box(scrub(&text, is_json, &known).is_ok());
    }
    let spelled = Spelled::of(&text);
    black_box((spelled.holds(&number), spelled.holds_digits(&number)));
    drop(spelled);
    wipe(&mut text);
    wipe(&mut number);
}
