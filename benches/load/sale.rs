//! The messages of a sale: requests of three sizes, the provider's answers, and made-up cards.

use memchr::memmem;

/// All made-up numbers begin so; a masked one does not.
const PREFIX: &str = "55192800";
/// How the provider's answer shows a card.
pub const MASKED: &str = "551928******0000";
/// Card fields and marks lie within so many bytes.
pub const FIELDS_WITHIN: usize = 1024;
/// A body of about 4 KiB.
pub const PADDED: usize = 4 * 1024;
/// The largest that fits the product's bound on card routes (64 KiB) with room for the head.
pub const LARGE: usize = 60 * 1024;
/// Makes the provider show the number in its answer.
pub const ASKS_ECHO: &str = r#""browser_language":"echo""#;
/// Makes the provider ask for 3-D Secure.
pub const ASKS_CHALLENGE: &str = r#""browser_language":"3ds""#;
/// In an ordinary sale.
const ASKS_NOTHING: &str = r#""browser_language":"en""#;

/// What a sale is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 0.3 KB there, 0.5 KB back.
    Small,
    /// 4 KiB both ways.
    Padded,
    /// 60 KiB both ways.
    Large,
    /// As small, and the provider asks for 3-D Secure.
    Challenge,
    /// As small, and the provider shows the card number in its answer.
    Echo,
}

impl Kind {
    /// In tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Small => "0.3 KB",
            Self::Padded => "4 KiB",
            Self::Large => "60 KiB",
            Self::Challenge => "3DS answer",
            Self::Echo => "echo",
        }
    }

    fn padded_to(self) -> usize {
        match self {
            Self::Padded => PADDED,
            Self::Large => LARGE,
            _ => 0,
        }
    }

    fn mark(self) -> &'static str {
        match self {
            Self::Echo => ASKS_ECHO,
            Self::Challenge => ASKS_CHALLENGE,
            _ => ASKS_NOTHING,
        }
    }
}

/// A number and its CVV: in clear, or tokens.
#[derive(Clone, Debug)]
pub struct CardPair {
    /// Number or token.
    pub number: String,
    /// CVV or its token.
    pub cvv: String,
}

/// The made-up card of an ordinal: the prefix, seven digits, Luhn's digit.
pub fn card(ordinal: usize) -> CardPair {
    let digits = format!("{PREFIX}{:07}", ordinal % 10_000_000);
    let weigh = |(at, digit): (usize, u8)| {
        let digit = u32::from(digit - b'0');
        let doubled = digit * 2;
        if at % 2 == 0 { doubled - if doubled > 9 { 9 } else { 0 } } else { digit }
    };
    let sum: u32 = digits.bytes().rev().enumerate().map(weigh).sum();
    let check = (10 - sum % 10) % 10;
    CardPair { number: format!("{digits}{check}"), cvv: format!("{:03}", ordinal % 1000) }
}

/// The body of a sale.
pub fn body(kind: Kind, card: &CardPair) -> String {
    let mut text = format!(
        r#"{{"data":{{"type":"sale-operation","attributes":{{"card_number":"{}","card_holder":"Card Holder","cvv":"{}","exp_month":"10","exp_year":"35","browser_info":{{{},"browser_tz":"-60","browser_screen_width":"1920""#,
        card.number,
        card.cvv,
        kind.mark()
    );
    pad(&mut text, kind.padded_to(), |text, line| {
        text.push_str(&format!(r#","browser_note_{line:04}":"{FILLING}""#));
    });
    text.push_str("}}}}");
    text
}

/// The body of the provider's answer, at least `size` bytes long.
pub fn answer(size: usize) -> String {
    let mut text = format!(
        r#"{{"status":"processed","auth_mode":null,"auth_payload":[],"payment":{{"id":"pay_lJYu0h0Ux3P0xfLZyzv5XSb2_dx_cn","invoice":"cpi_eqUNbE6SpIEmRB2K","amount":17,"currency":"USD","created":1567434682,"payment_card":{{"last":"0000","mask":"{MASKED}","brand":null,"first":"551928","holder":null,"network":"mastercard","expiry_year":"35","issuer_name":"U.S. BANK, N.A.","expiry_month":"10","issuer_country":"US"}},"descriptor":"SHOP*ORDER 1","rrn":null,"approval_code":null}},"steps":[""#
    );
    pad(&mut text, size, |text, line| {
        text.push_str(&format!(r#"step {line:04}: {FILLING}",""#));
    });
    text.push_str("done\"]}");
    text
}

const FILLING: &str = "Mozilla/5.0 (X11; Linux x86_64) accepted at 2026-11-21T07:00:00Z";

fn pad(text: &mut String, size: usize, mut line: impl FnMut(&mut String, usize)) {
    let mut number = 0;
    while text.len() < size {
        line(text, number);
        number += 1;
    }
}

/// The clear number of a sale as it arrived, if there is one.
pub fn number_of(body: &[u8]) -> Option<&[u8]> {
    const NAME: &[u8] = b"\"card_number\":\"";
    let at = memmem::find(body, NAME)? + NAME.len();
    let number = body.get(at..at + 16)?;
    let is_clear = number.starts_with(PREFIX.as_bytes())
        && number.iter().all(u8::is_ascii_digit)
        && body.get(at + 16) == Some(&b'"');
    is_clear.then_some(number)
}

/// Whether a sale carries three digits of CVV.
pub fn has_cvv(body: &[u8]) -> bool {
    const NAME: &[u8] = b"\"cvv\":\"";
    let Some(at) = memmem::find(body, NAME) else { return false };
    let value = body.get(at + NAME.len()..at + NAME.len() + 4).unwrap_or_default();
    value.len() == 4 && value[..3].iter().all(u8::is_ascii_digit) && value[3] == b'"'
}

/// Whether an answer shows a number that it should not.
pub fn shows_card(answer: &[u8]) -> bool {
    memmem::find(answer, PREFIX.as_bytes()).is_some()
}
