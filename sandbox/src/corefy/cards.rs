//! The platform's test cards and what becomes of a payment with each.

/// Generation of the challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Challenge {
    /// `MD`, `PaReq`, `TermUrl`.
    V1,
    /// `creq` only.
    V2,
}

/// How a payment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// `processed`.
    Processed,
    /// `process_failed`, with its resolution.
    Failed(&'static str),
    /// Stays `process_pending`, with its resolution.
    Pending(&'static str),
}

/// What the simulator does with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Whether and how the cardholder is asked first.
    pub challenge: Option<Challenge>,
    /// Then.
    pub outcome: Outcome,
}

/// A card for people and scripts to pay with.
#[derive(Debug, Clone, Copy)]
pub struct TestCard {
    /// The number.
    pub number: &'static str,
    /// What it shows.
    pub shows: &'static str,
    challenge: Option<Challenge>,
    succeeds: bool,
}

/// 3-D Secure, processed.
pub const CHALLENGED: &str = "5123817234060000";
/// No 3-D Secure, processed.
pub const PLAIN: &str = "5519283812030000";
/// 3-D Secure, declined.
pub const CHALLENGED_DECLINED: &str = "4412397212080000";
/// No 3-D Secure, declined.
pub const DECLINED: &str = "4302912837020000";
/// The sandbox's own addition, for the other shape of the samples: 3-D Secure 2, processed.
pub const CHALLENGED_V2: &str = "4012001037141112";

/// The sandbox's own addition: the bank takes this security code for a wrong one, on every card.
pub const WRONG_CVV: &str = "000";

/// All of them.
pub const CARDS: [TestCard; 5] = [
    TestCard { number: PLAIN, shows: "no 3-D Secure, paid", challenge: None, succeeds: true },
    TestCard {
        number: CHALLENGED,
        shows: "3-D Secure 1, paid",
        challenge: Some(Challenge::V1),
        succeeds: true,
    },
    TestCard {
        number: CHALLENGED_V2,
        shows: "3-D Secure 2, paid (the sandbox's own)",
        challenge: Some(Challenge::V2),
        succeeds: true,
    },
    TestCard {
        number: DECLINED,
        shows: "no 3-D Secure, declined",
        challenge: None,
        succeeds: false,
    },
    TestCard {
        number: CHALLENGED_DECLINED,
        shows: "3-D Secure 1, declined",
        challenge: Some(Challenge::V1),
        succeeds: false,
    },
];

/// The expiry picks the resolution of a failing card.
const RESOLUTIONS: [(&str, &str, &str); 15] = [
    ("05", "29", "insufficient_funds"),
    ("04", "28", "card_expired"),
    ("03", "27", "invalid_cvv"),
    ("02", "26", "invalid_pan"),
    ("09", "33", "declined"),
    ("10", "34", "lost_or_stolen_card"),
    ("06", "42", "antifraud_error"),
    ("11", "47", "issuer_decline"),
    ("07", "31", "invalid_3ds_code"),
    ("04", "52", "duplicated_transaction"),
    ("06", "54", "provider_error"),
    ("05", "41", "invalid_card"),
    ("08", "44", "invalid_details"),
    ("01", "37", "limit_violation"),
    ("11", "35", "invalid_request"),
];

/// What becomes of a payment with this card. A number that is no test card fails.
#[must_use]
pub fn plan(number: &str, month: &str, year: &str) -> Plan {
    let Some(card) = CARDS.iter().find(|card| card.number == number) else {
        return Plan { challenge: None, outcome: Outcome::Failed("general_fatal_error") };
    };
    let pending = month == "07" && year == "77";
    let outcome = match (card.succeeds, card.challenge) {
        (true, Some(_)) if pending => Outcome::Pending("auth_3ds_required"),
        (true, None) if pending => Outcome::Pending("ok"),
        (true, _) => Outcome::Processed,
        (false, _) => Outcome::Failed(resolution(month, year)),
    };
    Plan { challenge: card.challenge, outcome }
}

/// Why a card that fails is refused, by its expiry.
pub(crate) fn resolution(month: &str, year: &str) -> &'static str {
    let named = RESOLUTIONS.iter().find(|(m, y, _)| *m == month && *y == year);
    named.map_or("general_fatal_error", |(_, _, resolution)| resolution)
}

/// The check digit's rule.
#[must_use]
pub fn passes_luhn(number: &str) -> bool {
    let digits = number.bytes().rev().map(|byte| u32::from(byte.wrapping_sub(b'0')));
    let sum: u32 = digits
        .enumerate()
        .map(|(place, digit)| match place % 2 {
            0 => digit,
            _ if digit > 4 => digit * 2 - 9,
            _ => digit * 2,
        })
        .sum();
    number.bytes().all(|byte| byte.is_ascii_digit()) && sum.is_multiple_of(10)
}

/// Digits, the right length, the right check digit: a token in this place is an error.
#[must_use]
pub fn is_card_number(text: &str) -> bool {
    (12..=19).contains(&text.len()) && passes_luhn(text)
}

/// The network's name as the platform spells it.
#[must_use]
pub fn network(number: &str) -> &'static str {
    match number.bytes().next() {
        Some(b'4') => "visa",
        Some(b'2' | b'5') => "mastercard",
        Some(b'3') => "amex",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_card_passes_luhn() {
        assert!(CARDS.iter().all(|card| passes_luhn(card.number)));
        assert!(!passes_luhn("5519283812030001"));
        assert!(!passes_luhn("tok_test_5519283812030000"));
    }

    #[test]
    fn the_table_of_the_platform_holds() {
        let plan_of = |number| plan(number, "10", "35");
        assert_eq!(plan_of(CHALLENGED).challenge, Some(Challenge::V1));
        assert_eq!(plan_of(CHALLENGED).outcome, Outcome::Processed);
        assert_eq!(plan_of(PLAIN), Plan { challenge: None, outcome: Outcome::Processed });
        assert_eq!(plan_of(DECLINED).outcome, Outcome::Failed("general_fatal_error"));
        assert_eq!(plan(DECLINED, "05", "29").outcome, Outcome::Failed("insufficient_funds"));
        assert_eq!(plan(PLAIN, "07", "77").outcome, Outcome::Pending("ok"));
        assert_eq!(plan(CHALLENGED, "07", "77").outcome, Outcome::Pending("auth_3ds_required"));
    }
}
