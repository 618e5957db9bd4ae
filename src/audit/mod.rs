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
pub use handover::{Give, Given, Released};
pub use journal::{Flush, JournalError, Settings, files_in};
pub use record::{KeySource, Record, Way};
pub use verify::{Broken, Fault, Proof, verify};

use std::fmt;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep;

use crate::card::Timestamp;

use queue::{Batch, Missed};
use writer::{Keeper, Writer};

/// How long a line is waited for: as long as a hand-over of the files takes at most. A disk that
/// takes longer hangs.
const RECORD_MAX: Duration = Duration::from_secs(10);
/// How long a stop waits for the last lines.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// Looks for the files without a pause, before there is one between two looks.
const LOOKS: usize = 64;
/// That pause.
const PAUSE: Duration = Duration::from_millis(1);

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

    /// Writes a line, together with whatever else waits, and returns when it is written, or once a
    /// disk that hangs was waited for long enough. Such a line may be written yet: one behind it
    /// withdraws it. Until the disk is back, others are refused at once.
    ///
    /// # Errors
    /// It is not written, and what it speaks of must not happen.
    pub async fn record(&self, record: &Record<'_>, now: Timestamp) -> Result<(), NotRecorded> {
        let Some(keeper) = &self.0 else { return Ok(()) };
        let (batch, is_first) = keeper.queue.push(record, now)?;
        if is_first {
            let pressing = Pressing(Some(keeper));
            // Whoever is ready to run now puts a line beside this one: they are written together.
            yield_now().await;
            pressing.press(&batch).await;
        }
        let Err(missed) = batch.written().await else { return Ok(()) };
        if let (Missed::Late, Some(withdrawn)) = (missed, record.withdrawn()) {
            self.note(&withdrawn, now);
        }
        Err(NotRecorded)
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
            let begun = Instant::now();
            while !keeper.press() && begun.elapsed() < CLOSE_MAX {
                thread::sleep(PAUSE);
            }
            keeper.queue.wait_for_end(CLOSE_MAX.saturating_sub(begun.elapsed()));
        }
    }
}

/// Has a batch written, whatever becomes of the caller that holds it: others wait for the same
/// batch. Where the caller goes while the files are in use, the next line takes its part.
struct Pressing<'k>(Option<&'k Keeper>);

impl Pressing<'_> {
    /// Waits for the files while somebody else writes, and holds no thread up.
    async fn press(mut self, batch: &Batch) {
        let Some(keeper) = self.0 else { return };
        let mut looks = 0;
        while !keeper.press() {
            if batch.is_over() {
                return;
            }
            looks += 1;
            if looks < LOOKS { yield_now().await } else { sleep(PAUSE).await }
        }
        self.0 = None;
    }
}

impl Drop for Pressing<'_> {
    fn drop(&mut self) {
        if let Some(keeper) = self.0
            && !keeper.press()
        {
            keeper.queue.put_off();
        }
    }
}

#[cfg(test)]
mod tests;
