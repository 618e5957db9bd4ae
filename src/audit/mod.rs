//! The record of every time card data left: who asked, when, which card, to whom. A line is written
//! before the bytes leave; where it cannot be written, nothing leaves.
//!
//! Lines are a chain: each carries the digest of the one before, and anchors among them carry a MAC
//! under a key of their own, so that what was taken out, changed or moved is found, and named, by
//! [`verify`]. Must never: hold a byte of a request, a token, or a card; say that a line is written
//! when it is not; give up a line to make room.
//!
//! Start reading at [`Record`] (what is said) and [`Audit`] (who says it); `chain.rs` has the form
//! of a line, `journal.rs` the files, `writer.rs` the one thread that writes them.

mod chain;
mod journal;
mod queue;
mod record;
mod verify;
mod writer;

pub use chain::{AnchorKey, Hash};
pub use journal::{Flush, JournalError, Settings, files_in};
pub use record::{KeySource, Record, Way};
pub use verify::{Broken, Fault, Proof, verify};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::card::Timestamp;

use queue::Queue;
use writer::Writer;

/// How long a stop waits for the last lines.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// The line could not be written, so what it speaks of must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotRecorded;

impl fmt::Display for NotRecorded {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the audit record cannot be written")
    }
}

impl std::error::Error for NotRecorded {}

/// The record, or none where the configuration names none.
#[derive(Debug)]
pub struct Audit(Option<Arc<Queue>>);

impl Audit {
    /// No record.
    #[must_use]
    pub const fn off() -> Self {
        Self(None)
    }

    /// Continues the record in a folder, or begins one. The `opening` lines are on the disk when
    /// this returns; `anchored` is told the position and digest of every anchor, for a copy
    /// elsewhere.
    ///
    /// # Errors
    /// What is there is not whole, somebody else writes it, or it cannot be written.
    pub fn start(
        settings: &Settings,
        opening: &[Record<'_>],
        anchored: impl Fn(u64, &Hash) + Send + 'static,
    ) -> Result<Self, JournalError> {
        let writer = Writer::open(settings, opening, Box::new(anchored))?;
        let queue = Arc::new(Queue::default());
        writer.spawn(Arc::clone(&queue))?;
        Ok(Self(Some(queue)))
    }

    /// Whether there is a record.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether lines can be written, as far as the last attempt tells. True without a record.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.as_ref().is_none_or(|queue| queue.is_up())
    }

    /// Writes a line, together with whatever else waits, and returns when it is written.
    ///
    /// # Errors
    /// It is not, and will not be.
    pub async fn record(&self, record: &Record<'_>, now: Timestamp) -> Result<(), NotRecorded> {
        match &self.0 {
            None => Ok(()),
            Some(queue) => queue.push(record, now)?.written().await,
        }
    }

    /// Leaves a line that is written with the next ones, within a second. For what has happened
    /// already and cannot be held back.
    pub fn note(&self, record: &Record<'_>, now: Timestamp) {
        if let Some(queue) = &self.0 {
            queue.leave(record, now);
        }
    }

    /// Writes what waits, an anchor after it, and nothing any more. Waits for the disk.
    pub fn close(&self, now: Timestamp) {
        if let Some(queue) = &self.0 {
            queue.leave(&Record::Stopped, now);
            queue.close(CLOSE_MAX);
        }
    }
}

#[cfg(test)]
mod tests;
