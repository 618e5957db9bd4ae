//! A card, whose it is, and where it may be used.

use portcullis::card::{Capture, Card, Cvv, Expiry, Holder, Mode, Pan};
use portcullis::vault::{Account, Accounts, Audience, Owner, Tenant};

/// An application with one account.
pub fn owner() -> Owner {
    let accounts = Accounts::Only(vec![Account::new("paymega")]);
    Owner { tenant: Tenant::new("shop"), accounts, mode: Mode::Live }
}

/// That application, at that account.
pub fn audience() -> Audience {
    let (tenant, account) = (Tenant::new("shop"), Account::new("paymega"));
    Audience { tenant, account, mode: Mode::Live }
}

/// Sixteen digits, a holder and a security code.
pub fn capture() -> Capture {
    let card = Card {
        pan: Pan::parse(b"5519283812030000").unwrap(),
        holder: Some(Holder::parse("JANE DOE").unwrap()),
        expiry: Expiry::parse("10", "35").unwrap(),
    };
    Capture { card, cvv: Some(Cvv::parse(b"987").unwrap()) }
}
