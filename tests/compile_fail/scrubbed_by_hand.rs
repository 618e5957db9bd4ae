//! An answer that was not cleaned cannot be passed off as one that was.

use portcullis::flow::{Answer, Scrubbed};

fn pass_on(answer: Answer) -> Scrubbed {
    Scrubbed { status: answer.status, headers: answer.headers, body: answer.body, removed: 0 }
}

fn main() {}
