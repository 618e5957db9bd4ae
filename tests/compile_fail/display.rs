//! Secrets have no text form.

use portcullis::card::{Cvv, Holder, Pan, Token};
use portcullis::secret::{CleartextBody, SecretBytes};

fn prints<T: std::fmt::Display>() {}

fn main() {
    prints::<Pan>();
    prints::<Cvv>();
    prints::<Holder>();
    prints::<Token>();
    prints::<CleartextBody>();
    prints::<SecretBytes>();
}
