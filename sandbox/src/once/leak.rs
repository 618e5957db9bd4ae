//! Looks for the sandbox's cards in bytes: plain, grouped, escaped, percent-encoded, hex and
//! base64; and for the code.

use crate::random::encode_hex;
use crate::testcard::all_numbers;
use crate::visitor::CVV;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

/// What was found, described without showing it; `None` if there is nothing.
#[must_use]
pub fn find(bytes: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(bytes);
    let unescaped = unescape(&text);
    let joined: String =
        unescaped.chars().filter(|c| !matches!(c, ' ' | '-' | '.' | '+' | '\u{a0}')).collect();
    for number in all_numbers() {
        if joined.contains(number) {
            return Some(format!("the card number that ends in {}", last_four(number)));
        }
        if encodings(number).iter().any(|encoded| text.contains(encoded.as_str())) {
            return Some(format!("an encoded card number ending in {}", last_four(number)));
        }
    }
    holds_code(&unescaped).then(|| "the card's security code".to_owned())
}

fn last_four(number: &str) -> &str {
    number.get(number.len().saturating_sub(4)..).unwrap_or_default()
}

/// `\u0035`, `&#53;` and `%35` made plain.
fn unescape(text: &str) -> String {
    let mut plain = text.to_owned();
    for digit in '0'..='9' {
        let code = u32::from(digit);
        for spelling in [format!("\\u00{code:x}"), format!("&#{code};"), format!("%{code:x}")] {
            plain = plain.replace(&spelling, digit.encode_utf8(&mut [0; 4]));
        }
    }
    plain.replace("%20", " ")
}

/// Hex, and base64 at each of the three places that a run can begin in. Digits encode alike in both
/// alphabets.
fn encodings(number: &str) -> Vec<String> {
    let mut all = vec![encode_hex(number.as_bytes())];
    for shift in 0..3 {
        let padded = format!("{}{number}", "\0".repeat(shift));
        let encoded = STANDARD_NO_PAD.encode(padded);
        // Letters that hold bits of a neighbour are left out at both ends.
        let from = [0, 2, 3].get(shift).copied().unwrap_or(0);
        let whole = (shift + number.len()) * 8 / 6;
        all.push(encoded.get(from..whole).unwrap_or_default().to_owned());
    }
    all
}

/// Three digits stand everywhere; so only as a quoted value of its own, or after a name that says
/// so.
fn holds_code(text: &str) -> bool {
    let quoted = [format!("\"{CVV}\""), format!("'{CVV}'"), format!("\\\"{CVV}\\\"")];
    if quoted.iter().any(|spelling| text.contains(spelling.as_str())) {
        return true;
    }
    let lower = text.to_lowercase();
    ["cvv", "cvc", "csc", "security_code", "securitycode"].iter().any(|name| named(&lower, name))
}

fn named(text: &str, name: &str) -> bool {
    text.match_indices(name).any(|(place, _)| {
        let after = text.get(place + name.len()..).unwrap_or_default();
        let between = after.find(|c: char| c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let value = after.get(between..).unwrap_or_default();
        let digits = value.find(|c: char| !c.is_ascii_digit()).unwrap_or(value.len());
        between <= 6 && value.get(..digits) == Some(CVV)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefy::cards::PLAIN;
    use base64::engine::general_purpose::STANDARD;

    #[test]
    fn a_card_is_found_in_every_disguise() {
        let grouped = "5519 2838 1203 0000";
        let escaped = PLAIN.replacen('5', "\\u0035", 1);
        let percent = PLAIN.replacen('5', "%35", 2);
        let hex = encode_hex(PLAIN.as_bytes());
        let disguises = [PLAIN, grouped, "5519-2838-1203-0000", &escaped, &percent, &hex];
        for disguise in disguises {
            assert!(find(format!("x\": {disguise} y").as_bytes()).is_some(), "{disguise}");
        }
        for before in ["", "a", "ab", "abc"] {
            let encoded = STANDARD.encode(format!("{before}{PLAIN}\", \"x"));
            assert!(find(encoded.as_bytes()).is_some(), "{before}");
        }
    }

    #[test]
    fn the_code_is_found_where_it_means_something() {
        for text in ["\"cvv\": \"739\"", "cvv=739&x", "(cvv 739)", "[\"739\"]", "{\\\"cvv\\\":739}"]
        {
            assert!(find(text.as_bytes()).is_some(), "{text}");
        }
        for text in
            ["content-length: 739", "dur=739", "cvv=1, dur=739", "cvv_token: \"cvv_test_739x\""]
        {
            assert!(find(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn masks_and_tokens_are_no_leak() {
        let text = "551928******0000 tok_test_5519283812030abc 4111111111111112";
        assert_eq!(find(text.as_bytes()), None);
    }
}
