//! An explanation is no request: it cannot be signed, and nothing of it can be sent.

use portcullis::card::Timestamp;
use portcullis::flow::{Explanation, Prepared};

fn signed(explanation: Explanation, now: Timestamp) {
    let _signed = explanation.sign(now);
}

fn sent(explanation: Explanation) -> Prepared {
    explanation
}

fn main() {}
