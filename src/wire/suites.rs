//! The public suites: JSONTestSuite and the web platform's form tests.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{Category, form, parse};

const JSON_SUITE: &str = include_str!("../../tests/fixtures/jsontestsuite/cases.jsonl");
const FORM_SUITE: &str = include_str!("../../tests/fixtures/wpt/urlencoded-parser-data.json");

#[test]
fn the_json_suite_is_answered_as_it_demands() {
    let (mut accepted, mut rejected, mut either, mut duplicates) = (0, 0, 0, 0);
    for line in JSON_SUITE.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (name, bytes) =
            (&case["name"], STANDARD.decode(case["b64"].as_str().unwrap()).unwrap());
        match (case["expect"].as_str().unwrap(), parse(&bytes)) {
            ("accept", Ok(document)) => {
                assert_eq!(document.root().raw(), bytes.trim_ascii(), "{name}");
                accepted += 1;
            }
            // RFC 8259 leaves duplicate names to the receiver; this one refuses them.
            ("accept", Err(error)) => {
                assert_eq!(error.category, Category::JsonDuplicateKey, "{name}");
                duplicates += 1;
            }
            ("reject", Err(_)) => rejected += 1,
            ("either", _) => either += 1,
            _ => panic!("{name}"),
        }
    }
    assert_eq!((accepted, duplicates, rejected, either), (93, 2, 188, 35));
}

#[test]
fn what_is_accepted_means_the_same_to_another_parser() {
    for line in JSON_SUITE.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let bytes = STANDARD.decode(case["b64"].as_str().unwrap()).unwrap();
        let Ok(document) = parse(&bytes) else { continue };
        // Numbers out of range are no business of ours.
        let Ok(theirs) = serde_json::from_slice::<Value>(&bytes) else { continue };
        let mut texts = Vec::new();
        collect(&theirs, &mut texts);
        let mut ours: Vec<String> = document
            .entries()
            .filter_map(|value| Some(value.text()?.as_str().to_owned()))
            .collect();
        texts.sort();
        ours.sort();
        assert_eq!(ours, texts, "{}", case["name"]);
    }
}

fn collect(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, texts)),
        Value::Object(members) => members.iter().for_each(|(name, member)| {
            texts.push(name.clone());
            collect(member, texts);
        }),
        _ => {}
    }
}

#[test]
fn the_form_suite_is_answered_as_it_demands() {
    let cases: Vec<Value> = serde_json::from_str(FORM_SUITE).unwrap();
    for case in &cases {
        let input = case["input"].as_str().unwrap();
        let form = form::parse(input.as_bytes()).unwrap();
        let fields: Vec<_> = form
            .fields()
            .map(|field| Value::from(vec![field.name().as_str(), field.value().as_str()]))
            .collect();
        assert_eq!(Value::from(fields), case["output"], "{input}");
    }
    assert_eq!(cases.len(), 35);
}
