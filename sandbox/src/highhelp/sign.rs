//! What HighHelp signs: the body's values with their paths, sorted, then the time.

use crate::corefy::invoice::unix_now;
use crate::json::Json;
use crate::keys::Verifier;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;

/// How far a request's clock may be off.
const TOLERANCE_SECONDS: u64 = 300;

/// `path:value` of every scalar, sorted as lines, joined by semicolons.
#[must_use]
pub fn normalise(body: &Json) -> String {
    let mut lines = Vec::new();
    collect(body, "", &mut lines);
    lines.sort_unstable();
    lines.join(";")
}

/// The message under a signature.
#[must_use]
pub fn message(body: &Json, timestamp: u64) -> Vec<u8> {
    format!("{}{timestamp}", URL_SAFE_NO_PAD.encode(normalise(body))).into_bytes()
}

fn collect(value: &Json, path: &str, lines: &mut Vec<String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        _ => format!("{path}:{name}"),
    };
    match value {
        Json::Object(members) => {
            // A name that comes twice counts once, with its last value.
            let last = |name: &str| members.iter().rposition(|(key, _)| key == name);
            let kept = members.iter().enumerate().filter(|(at, (name, _))| last(name) == Some(*at));
            for (_, (name, value)) in kept {
                collect(value, &below(name), lines);
            }
        }
        Json::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &below(&index.to_string()), lines);
            }
        }
        Json::Null => lines.push(format!("{path}:None")),
        Json::Bool(value) => lines.push(format!("{path}:{}", u8::from(*value))),
        Json::Number(text) | Json::Text(text) => lines.push(format!("{path}:{text}")),
    }
}

/// Whether a request is signed by this key, now. The reason, if not.
pub(super) fn check(headers: &HeaderMap, body: &Json, key: &Verifier) -> Result<(), &'static str> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let timestamp = header("x-access-timestamp").and_then(|text| text.parse::<u64>().ok());
    let timestamp = timestamp.ok_or("x-access-timestamp is missing")?;
    if timestamp.abs_diff(unix_now()) > TOLERANCE_SECONDS {
        return Err("x-access-timestamp is too old or in the future");
    }
    match (key, header("x-access-merchant-algorithm")) {
        (Verifier::Rsa(_), None) | (Verifier::Hmac(_), Some("HMAC-SHA512")) => {}
        _ => return Err("x-access-merchant-algorithm is not the project's"),
    }
    let token = header("x-access-token").map(|token| token.trim_end_matches('='));
    if key.access_token().is_some_and(|own| token != Some(own.as_str())) {
        return Err("x-access-token is not the project's key");
    }
    let signature = header("x-access-signature").ok_or("x-access-signature is missing")?;
    match key.accepts(&message(body, timestamp), signature) {
        true => Ok(()),
        false => Err("x-access-signature is wrong"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::encode_hex;
    use ring::digest::{SHA256, digest};

    const BODY: &str = r#"{"general":{"project_id":"prj-1","payment_id":"ord-7"},
        "payment":{"method":"card-ecom","amount":10000,"currency":"RUB"},
        "customer":{"id":"c1","ip_address":"203.0.113.7"}}"#;

    #[test]
    fn a_body_is_normalised_hashed_and_hashed_again() {
        let body = Json::parse(BODY.as_bytes()).unwrap();
        let lines = "customer:id:c1;customer:ip_address:203.0.113.7;general:payment_id:ord-7;\
            general:project_id:prj-1;payment:amount:10000;payment:currency:RUB;\
            payment:method:card-ecom";
        assert_eq!(normalise(&body), lines);
        let once = digest(&SHA256, &message(&body, 1_706_182_847));
        let expected = "6ab34036b10ed7f0e7c42c3dfe7322e181c289d66e9ead03bab0ff2db4360f55";
        assert_eq!(encode_hex(once.as_ref()), expected);
        let twice = digest(&SHA256, once.as_ref());
        let expected = "abf809748ddf0af14e1eaaac9f61aac8464860e800adfe8def09a2a01d3ce0af";
        assert_eq!(encode_hex(twice.as_ref()), expected);
    }

    #[test]
    fn scalars_have_their_own_spelling() {
        let body = Json::parse(br#"{"a":true,"b":[1,null],"c":{},"d":1.50,"a":false}"#).unwrap();
        assert_eq!(normalise(&body), "a:0;b:0:1;b:1:None;d:1.50");
    }
}
