//! A payment world that serves many inputs, and is made anew before its vault is full.

use std::cell::RefCell;

use crate::bench::Bench;

const INPUTS: u32 = 500;

/// Runs `with` in a world that `make` makes, and tells it how many inputs it has seen.
pub fn with(make: impl Fn() -> Bench, with: impl FnOnce(&Bench, u32)) {
    thread_local!(static WORLD: RefCell<Option<(Bench, u32)>> = const { RefCell::new(None) });
    WORLD.with_borrow_mut(|world| {
        let (bench, inputs) = world.get_or_insert_with(|| (make(), 0));
        *inputs += 1;
        with(bench, *inputs);
        if *inputs == INPUTS {
            *world = None;
        }
    });
}
