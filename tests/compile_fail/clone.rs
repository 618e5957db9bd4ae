//! Secrets are moved, never copied, and so is the right to do something once.

use portcullis::card::{Card, Cvv, Holder, Pan, Token};
use portcullis::flow::{Draft, FormTicket, Prepared, Signed, Ticket, Verified};
use portcullis::secret::{CleartextBody, SecretBytes};
use portcullis::vault::{CvvLease, Found, Redeemed};

fn copies<T: Clone>() {}

fn main() {
    copies::<Pan>();
    copies::<Cvv>();
    copies::<Holder>();
    copies::<Card>();
    copies::<Token>();
    copies::<Found>();
    copies::<CvvLease>();
    copies::<CleartextBody>();
    copies::<SecretBytes>();
    copies::<Redeemed>();
    copies::<Draft>();
    copies::<Signed>();
    copies::<Prepared>();
    copies::<Verified<'_>>();
    copies::<Ticket>();
    copies::<FormTicket>();
}
