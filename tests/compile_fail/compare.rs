//! Secrets are not compared with `==`, whose time tells where the difference is.

use portcullis::card::{Card, Cvv, Holder, Pan, Token};
use portcullis::secret::{CleartextBody, SecretBytes};

fn pans(a: Pan, b: Pan) -> bool {
    a == b
}

fn cvvs(a: Cvv, b: Cvv) -> bool {
    a == b
}

fn holders(a: Holder, b: Holder) -> bool {
    a == b
}

fn cards(a: Card, b: Card) -> bool {
    a == b
}

fn tokens(a: Token, b: Token) -> bool {
    a == b
}

fn bodies(a: CleartextBody, b: CleartextBody) -> bool {
    a == b
}

fn bytes(a: SecretBytes, b: SecretBytes) -> bool {
    a == b
}

fn main() {}
