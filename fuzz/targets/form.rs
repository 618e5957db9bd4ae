//! A form has the fields that the WHATWG's algorithm finds, and a value that is put in is read back
//! from its own field alone.

#![no_main]

use form_urlencoded::parse as standard;
use libfuzzer_sys::fuzz_target;
use portcullis::wire::{Edit, encode, form, splice};

type Fields = Vec<(String, String)>;

fn ours(input: &[u8]) -> Fields {
    let document = form::parse(input).unwrap();
    let pair = |field: form::Field<'_>| {
        (field.name().as_str().to_owned(), field.value().as_str().to_owned())
    };
    document.fields().map(pair).collect()
}

fn theirs(input: &[u8]) -> Fields {
    standard(input).into_owned().collect()
}

fuzz_target!(|input: &[u8]| {
    let expected = theirs(input);
    assert_eq!(ours(input), expected);
    let document = form::parse(input).unwrap();
    for (name, value) in &expected {
        let same = expected.iter().filter(|(other, _)| other == name).count();
        match document.find(name) {
            // By bytes: two names that are no UTF-8 may look alike and are two.
            Err(_) => assert!(same > 1),
            Ok(Some(field)) => assert!(same > 1 || field.value().as_str() == value),
            Ok(None) => assert!(name.contains('\u{fffd}')),
        }
    }
    let Some(field) = document.fields().nth(input.len() % expected.len().max(1)) else { return };
    let text = String::from_utf8_lossy(input);
    let bytes = encode(&text);
    // A field without `=` has no place for a value.
    if !field.raw_value().is_empty() {
        let edit = Edit { span: field.value_span(), bytes: bytes.as_bytes() };
        let spliced = theirs(splice(input, &[edit]).unwrap().as_bytes());
        let changed = expected.iter().zip(&spliced).filter(|(before, after)| before != after);
        assert!(changed.count() <= 1 && spliced.len() == expected.len());
        assert!(spliced.iter().any(|(_, value)| *value == text));
    }
});
