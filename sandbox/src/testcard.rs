//! Test cards of the providers that publish none: public test numbers, given a meaning here.

use crate::corefy::cards::{Outcome, resolution};

/// What happens on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing.
    Plain,
    /// The bank's page, by a form with `PaReq`.
    Challenge,
    /// The bank's page, by an address alone.
    Redirect,
    /// A code that the bank sends to the cardholder; no page.
    Code,
    /// The provider cannot tell yet: a dispute, until somebody settles it.
    Dispute,
}

/// A card for people and scripts to pay with.
#[derive(Debug, Clone, Copy)]
pub struct TestCard {
    /// The number.
    pub number: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// What happens on the way.
    pub way: Way,
    /// How it ends.
    pub succeeds: bool,
}

/// What becomes of a payment with one of these cards: the way, then the outcome. The expiry picks
/// the reason of a failing card; 07/77 leaves a payable one pending; an unknown number fails.
#[must_use]
pub fn plan(cards: &[TestCard], number: &str, month: &str, year: &str) -> (Way, Outcome) {
    let Some(card) = cards.iter().find(|card| card.number == number) else {
        return (Way::Plain, Outcome::Failed("card_not_supported"));
    };
    let outcome = match card.succeeds {
        true if (month, year) == ("07", "77") => Outcome::Pending("ok"),
        true => Outcome::Processed,
        false => Outcome::Failed(resolution(month, year)),
    };
    (card.way, outcome)
}

/// First six, stars, last four.
#[must_use]
pub fn mask(number: &str) -> String {
    let ends = number.get(..6).zip(number.get(number.len().saturating_sub(4)..));
    ends.map_or_else(String::new, |(bin, last)| {
        format!("{bin}{}{last}", "*".repeat(number.len().saturating_sub(10)))
    })
}

/// Every number that the sandbox pays with, whoever takes it.
pub fn all_numbers() -> impl Iterator<Item = &'static str> {
    let corefy = crate::corefy::cards::CARDS.iter().map(|card| card.number);
    let qostiq = crate::qostiq::cards::CARDS.iter().map(|card| card.number);
    let highhelp = crate::highhelp::cards::CARDS.iter().map(|card| card.number);
    corefy.chain(qostiq).chain(highhelp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corefy::cards::is_card_number;

    #[test]
    fn every_test_card_passes_luhn_and_is_nobody_elses() {
        let all: Vec<&str> = all_numbers().collect();
        assert!(all.iter().all(|number| is_card_number(number)));
        let mut unique = all.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), all.len());
    }

    #[test]
    fn a_mask_keeps_six_and_four() {
        assert_eq!(mask("4111111111111111"), "411111******1111");
    }
}
