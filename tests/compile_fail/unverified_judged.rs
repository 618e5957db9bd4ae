//! A callback is not acted on before its signature was checked.

use portcullis::card::Timestamp;
use portcullis::flow::{Flow, Unverified};

fn act(flow: &Flow, callback: Unverified<'_>, now: Timestamp) {
    let _ = flow.judge(callback, now);
}

fn main() {}
