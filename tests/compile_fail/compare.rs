//! Secrets are not compared with `==`, whose time tells where the difference is.

use portcullis::card::{Cvv, Pan};
use portcullis::secret::{CleartextBody, SecretBytes};

fn pans(a: Pan, b: Pan) -> bool {
    a == b
}

fn cvvs(a: Cvv, b: Cvv) -> bool {
    a == b
}

fn bodies(a: CleartextBody, b: CleartextBody) -> bool {
    a == b
}

fn bytes(a: SecretBytes, b: SecretBytes) -> bool {
    a == b
}

fn main() {}
