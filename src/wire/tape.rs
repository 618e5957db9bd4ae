//! Where a document's values stand, in memory that is lent: a thread keeps the tape of the last
//! document for its next one. A tape holds offsets and never text.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};

use super::json::Node;

/// The longest tape that is kept, in nodes: 24 KiB.
const KEPT_MAX: usize = 1024;

thread_local! {
    static KEPT: Cell<Vec<Node>> = const { Cell::new(Vec::new()) };
}

/// The nodes of one document.
pub(super) struct Tape(Vec<Node>);

impl Tape {
    /// An empty one with room for so many.
    pub(super) fn with_room(nodes: usize) -> Self {
        // A thread that ends keeps nothing any more.
        let mut kept = KEPT.try_with(Cell::take).unwrap_or_default();
        kept.reserve(nodes);
        Self(kept)
    }
}

impl Drop for Tape {
    fn drop(&mut self) {
        if self.0.capacity() <= KEPT_MAX {
            self.0.clear();
            let nodes = std::mem::take(&mut self.0);
            let _ = KEPT.try_with(|kept| kept.set(nodes));
        }
    }
}

impl Deref for Tape {
    type Target = Vec<Node>;

    fn deref(&self) -> &Vec<Node> {
        &self.0
    }
}

impl DerefMut for Tape {
    fn deref_mut(&mut self) -> &mut Vec<Node> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> usize {
        let nodes = KEPT.take();
        let room = nodes.capacity();
        KEPT.set(nodes);
        room
    }

    #[test]
    fn a_tape_serves_the_next_document_unless_it_is_long() {
        drop(Tape::with_room(100));
        let room = kept();
        assert!((100..=KEPT_MAX).contains(&room));
        let (one, other) = (Tape::with_room(10), Tape::with_room(10));
        assert!(one.is_empty() && other.is_empty());
        assert_eq!((one.capacity(), kept()), (room, 0), "one has it");
        drop((one, other));
        drop(Tape::with_room(KEPT_MAX + 1));
        assert_eq!(kept(), 0, "a long one is given back");
    }
}
