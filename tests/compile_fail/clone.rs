//! Secrets are moved, never copied.

use portcullis::card::{Card, Cvv, Holder, Pan, Token};
use portcullis::secret::{CleartextBody, SecretBytes};

fn copies<T: Clone>() {}

fn main() {
    copies::<Pan>();
    copies::<Cvv>();
    copies::<Holder>();
    copies::<Card>();
    copies::<Token>();
    copies::<CleartextBody>();
    copies::<SecretBytes>();
}
