//! Test vectors in the form of Wycheproof. Origin and licence: tests/vectors/SOURCES.md.

use serde_json::Value;

/// Every case, behind the group that it is in.
pub(crate) fn cases(text: &str) -> Vec<(Value, Value)> {
    let file: Value = serde_json::from_str(text).unwrap();
    let groups = file["testGroups"].as_array().unwrap().clone();
    let pairs = |group: Value| {
        let cases = group["tests"].as_array().unwrap().clone();
        cases.into_iter().map(move |case| (group.clone(), case))
    };
    groups.into_iter().flat_map(pairs).collect()
}

/// The bytes of a field.
pub(crate) fn hex(case: &Value, field: &str) -> Vec<u8> {
    let text = case[field].as_str().unwrap();
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}
