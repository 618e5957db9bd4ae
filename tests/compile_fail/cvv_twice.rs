//! A security code that went into a request is gone.

use portcullis::card::Cvv;

fn send(_: Cvv) {}

fn main() {
    if let Ok(cvv) = Cvv::parse(b"123") {
        send(cvv);
        send(cvv);
    }
}
