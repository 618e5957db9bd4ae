//! A redeemed card comes out of the vault and from nowhere else.

use portcullis::card::Card;
use portcullis::vault::Redeemed;

fn redeem(card: Card) -> Redeemed {
    Redeemed { card }
}

fn main() {}
