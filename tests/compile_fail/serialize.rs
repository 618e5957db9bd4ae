//! Secrets do not serialise, and nothing that holds one can derive it.

use portcullis::card::{Card, Cvv, Holder, Pan, Token};
use portcullis::secret::{CleartextBody, SecretBytes};

fn serialises<T: serde::Serialize>() {}

fn main() {
    serialises::<Pan>();
    serialises::<Cvv>();
    serialises::<Holder>();
    serialises::<Card>();
    serialises::<Token>();
    serialises::<CleartextBody>();
    serialises::<SecretBytes>();
}
