//! The record of every time card data left: who asked, when, which card, to whom. A line is written
//! before the bytes leave; where it cannot be written, nothing leaves.
//!
//! Lines are a chain: each carries the digest of the one before, and anchors among them carry a MAC
//! under a key of their own, so that what was taken out, changed or moved is found, and named, by
//! [`verify`]. Must never: hold a byte of a request, a token, or a card; say that a line is written
//! when it is not; give up a line to make room.
//!
//! Start reading at [`Record`] (what is said) and [`Audit`] (who says it); `chain.rs` has the form
//! of a line, `queue.rs` what waits, `journal.rs` the files, `writer.rs` who writes them.

mod chain;
mod handover;
mod journal;
mod queue;
mod record;
mod verify;
mod writer;

pub use chain::{AnchorKey, Hash};
pub use handover::{Give, Released};
pub use journal::{Flush, JournalError, Settings, files_in};
pub use record::{KeySource, Record, Way};
pub use verify::{Broken, Fault, Proof, verify};

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;

use crate::card::Timestamp;

use writer::{Keeper, Writer};

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
pub struct Audit(Option<Arc<Keeper>>);

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
        anchored: impl Fn(u64, &Hash) + Send + Sync + 'static,
    ) -> Result<Self, JournalError> {
        let writer = Writer::open(settings, opening, Arc::new(anchored))?;
        Keeper::start(writer).map(|keeper| Self(Some(keeper)))
    }

    /// Whether there is a record.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether lines can be written, as far as the last attempt tells. True without a record.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.as_ref().is_none_or(|keeper| keeper.queue.is_up())
    }

    /// Writes a line, together with whatever else waits, and returns when it is written.
    ///
    /// # Errors
    /// It is not, and will not be.
    pub async fn record(&self, record: &Record<'_>, now: Timestamp) -> Result<(), NotRecorded> {
        match &self.0 {
            None => Ok(()),
            Some(keeper) => {
                let (batch, is_first) = keeper.queue.push(record, now)?;
                if is_first {
                    let pressing = Pressing(keeper);
                    // Whoever is ready to run now puts a line beside this one: they are written
                    // together.
                    yield_now().await;
                    drop(pressing);
                }
                batch.written().await
            }
        }
    }

    /// Leaves a line that is written with the next ones, within a second. For what has happened
    /// already and cannot be held back.
    pub fn note(&self, record: &Record<'_>, now: Timestamp) {
        if let Some(keeper) = &self.0 {
            keeper.queue.leave(record, now);
        }
    }

    /// Writes what waits, an anchor after it, and nothing any more. Waits for the disk.
    pub fn close(&self, now: Timestamp) {
        if let Some(keeper) = &self.0 {
            if !keeper.queue.is_forwarding() {
                keeper.queue.leave(&Record::Stopped, now);
            }
            keeper.queue.close();
            keeper.press();
            keeper.queue.wait_for_end(CLOSE_MAX);
        }
    }
}

/// Has a batch written when it goes, whatever becomes of the caller that holds it: others wait for
/// the same batch.
struct Pressing<'k>(&'k Keeper);

impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        self.0.press();
    }
}

#[cfg(test)]
mod tests;
