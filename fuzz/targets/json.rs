//! What is read as JSON is read so by another strict reader, too, and a splice changes the value
//! that it was to change and no other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::wire::{Category, Document, Edit, Kind, Value, parse, quote, splice};
use serde_json::Value as Other;

const TOKEN: &str = "tok_\"live\\\u{e9}";

fn other(value: Value<'_>) -> Option<Other> {
    Some(match value.kind() {
        Kind::Null => Other::Null,
        Kind::Bool => Other::Bool(value.raw() == b"true"),
        Kind::Number => serde_json::from_slice(value.raw()).ok()?,
        Kind::String => Other::String(value.text()?.as_str().to_owned()),
        Kind::Array => Other::Array(value.items().map(other).collect::<Option<_>>()?),
        Kind::Object => {
            let member = |(key, value): (Value<'_>, _)| {
                Some((key.text()?.as_str().to_owned(), other(value)?))
            };
            Other::Object(value.members().map(member).collect::<Option<_>>()?)
        }
    })
}

fn assert_spliced(document: &Document<'_>, at: usize) {
    let Some(value) = document.values().nth(at) else { return };
    let bytes = quote(TOKEN);
    let edit = Edit { span: value.span(), bytes: bytes.as_bytes() };
    let spliced = splice(document.input(), &[edit]).unwrap();
    let again = parse(spliced.as_bytes()).unwrap();
    assert_eq!(document.values().count(), again.values().count());
    for (nth, (before, after)) in document.values().zip(again.values()).enumerate() {
        match nth == at {
            true => assert!(after.is_text(TOKEN)),
            false => assert_eq!(before.raw(), after.raw()),
        }
        assert_eq!(document.path_of(before), again.path_of(after));
    }
}

fuzz_target!(|input: &[u8]| {
    let theirs = serde_json::from_slice::<Other>(input);
    match parse(input) {
        // Stricter in these three; a number may be longer than another reader has room for.
        Err(error) => assert!(
            theirs.is_err()
                || matches!(error.category, Category::JsonDuplicateKey | Category::JsonDepth),
            "{error}"
        ),
        Ok(document) => {
            let ours = other(document.root());
            assert_eq!(ours, theirs.ok());
            let places = document.values().count();
            assert_spliced(&document, input.len().checked_rem(places).unwrap_or(0));
        }
    }
});
