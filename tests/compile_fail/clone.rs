//! Secrets are moved, never copied.

use portcullis::card::{Card, Cvv, Holder, Pan, Token};
use portcullis::secret::{CleartextBody, SecretBytes};
use portcullis::vault::{CvvLease, Found};

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
}
