//! The stack below a call, where libraries leave copies of what they worked on.

use super::wipe;

/// More than a digest or the AEAD takes: that leaves a key 8 KiB below
/// (`no_key_of_a_record_is_left_in_memory`).
const USED_MAX: usize = 12 * 1024;

/// What `work` returns. The stack that it used is overwritten: hash functions copy their last block
/// there, with the end of what was hashed in it, and the AEAD the keys of its rounds.
pub fn scoured<T>(work: impl FnOnce() -> T) -> T {
    let made = apart(work);
    overwrite_stack();
    made
}

/// A call of its own, so that whatever it puts on the stack lies below its caller's frame.
#[inline(never)]
fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// Overwrites the part of the stack that a call returned from before has used.
#[inline(never)]
fn overwrite_stack() {
    let mut used = [0; USED_MAX];
    wipe(&mut used);
}
