//! Lines of the log that wait for a collector.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

/// Bytes that wait at most; a collector that does not take them costs lines, not memory.
const WAITING_MAX: usize = 4 * 1024 * 1024;

/// Whole lines, up to a bound. Filled by the thread that writes the log and by panics, never by a
/// call.
#[derive(Debug, Clone, Default)]
pub struct Copies(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    lost: u64,
}

impl Waiting {
    fn keep(&mut self, lines: &[u8]) {
        if self.bytes.len() + lines.len() > WAITING_MAX {
            self.lost += ends(lines).fold(0, |count, _| count + 1);
        } else {
            self.bytes.extend_from_slice(lines);
        }
    }
}

impl Copies {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps these lines, or counts them.
    pub(super) fn keep(&self, lines: &[u8]) {
        self.lock().keep(lines);
    }

    /// The same for whoever may hold them already: then nothing is kept.
    pub(super) fn keep_unless_held(&self, lines: &[u8]) {
        match self.0.try_lock() {
            Ok(mut waiting) => waiting.keep(lines),
            Err(TryLockError::Poisoned(waiting)) => waiting.into_inner().keep(lines),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// What happens while somebody holds them.
    #[cfg(test)]
    pub(super) fn while_held(&self, happens: impl FnOnce()) {
        let _held = self.lock();
        happens();
    }

    /// Takes so many lines away, and the count of those that were lost meanwhile.
    #[must_use]
    pub fn take(&self, lines: usize) -> (Vec<u8>, u64) {
        let mut waiting = self.lock();
        let lost = mem::take(&mut waiting.lost);
        let end = ends(&waiting.bytes).take(lines).last().unwrap_or(0);
        let rest = waiting.bytes.split_off(end);
        (mem::replace(&mut waiting.bytes, rest), lost)
    }
}

/// Where each line ends.
fn ends(lines: &[u8]) -> impl Iterator<Item = usize> {
    let newlines = lines.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
    newlines.map(|(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_in_their_order_and_those_beyond_the_bound_are_counted() {
        let copies = Copies::default();
        copies.keep(b"a\nb\n");
        copies.keep(b"c\n");
        assert_eq!(copies.take(2), (b"a\nb\n".to_vec(), 0));
        copies.keep(&vec![b'\n'; WAITING_MAX]);
        assert_eq!(copies.take(9), (b"c\n".to_vec(), u64::try_from(WAITING_MAX).unwrap()));
        assert_eq!(copies.take(9), (Vec::new(), 0));
    }
}
