//! Lines between those who cause them and the thread that writes them. Bounded: what finds no room
//! is refused at once.

use std::mem;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::card::Timestamp;

use super::{NotRecorded, Record};

/// Bytes that wait at most before reveals are refused.
const REVEALS_MAX: usize = 1024 * 1024;
/// Bytes that wait at most in all: what has happened already has room of its own.
const WAITING_MAX: usize = 2 * REVEALS_MAX;

const OPEN: u8 = 0;
const WRITTEN: u8 = 1;
const FAILED: u8 = 2;
const LATE: u8 = 3;

/// Why a line that was waited for does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missed {
    /// It is not written, and will not be.
    Failed,
    /// It may be written yet.
    Late,
}

/// Lines that are written together, for those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    outcome: AtomicU8,
    over: Notify,
}

impl Batch {
    /// Returns when the lines are written, or cannot be, or were waited for long enough.
    pub(super) async fn written(&self) -> Result<(), Missed> {
        // Made before the look, so that what comes between is not missed.
        let over = self.over.notified();
        if self.outcome.load(Ordering::Acquire) == OPEN {
            over.await;
        }
        match self.outcome.load(Ordering::Acquire) {
            WRITTEN => Ok(()),
            LATE => Err(Missed::Late),
            _ => Err(Missed::Failed),
        }
    }

    /// Whether nobody has to wait for it any more.
    pub(super) fn is_over(&self) -> bool {
        self.outcome.load(Ordering::Acquire) != OPEN
    }

    fn settle(&self, outcome: u8) {
        if self.outcome.compare_exchange(OPEN, outcome, Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            self.over.notify_waiters();
        }
    }
}

/// One line: where it ends in the bytes, and whether it may be dropped when it cannot be written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) end: usize,
    pub(super) time: Timestamp,
    /// It speaks of what has happened, and is tried again.
    pub(super) stays: bool,
}

/// Lines in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) bytes: Vec<u8>,
    pub(super) entries: Vec<Entry>,
}

impl Lines {
    pub(super) fn push(&mut self, record: &Record<'_>, time: Timestamp, stays: bool) -> bool {
        let begun = self.bytes.len();
        if record.write_to(&mut self.bytes).is_err() {
            self.bytes.truncate(begun);
            return false;
        }
        self.entries.push(Entry { end: self.bytes.len(), time, stays });
        true
    }

    fn push_given(&mut self, body: &[u8], time: Timestamp) {
        self.bytes.extend_from_slice(body);
        self.entries.push(Entry { end: self.bytes.len(), time, stays: false });
    }

    /// Every line with its time and whether it stays.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Entry, &[u8])> {
        let mut begun = 0;
        self.entries.iter().map(move |entry| {
            let body = self.bytes.get(begun..entry.end).unwrap_or_default();
            begun = entry.end;
            (*entry, body)
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }
}

#[derive(Debug, Default)]
struct Waiting {
    lines: Lines,
    batch: Arc<Batch>,
    /// Somebody waits for this batch.
    pressing: bool,
    /// Since when; and the same of the one that is being written.
    since: Option<Instant>,
    writing: Option<(Arc<Batch>, Instant)>,
    /// Lines that stay and found no room.
    lost: u64,
    /// The last attempt failed.
    down: bool,
    /// The attempt under way takes too long.
    stalled: bool,
    closing: bool,
    closed: bool,
    /// The files are another process's.
    forwarding: bool,
}

impl Waiting {
    fn has_room(&self) -> bool {
        let open = !self.stalled && !self.closing && !self.closed;
        open && self.lines.bytes.len() < REVEALS_MAX
    }
}

/// What the writing thread was given.
#[derive(Debug)]
pub(super) struct Taken {
    batch: Arc<Batch>,
    pub(super) lost: u64,
    /// Nothing comes after it.
    pub(super) last: bool,
}

impl Taken {
    pub(super) fn written(self) {
        self.batch.settle(WRITTEN);
    }

    pub(super) fn late(self) {
        self.batch.settle(LATE);
    }
}

/// Whoever waits is told, also when the thread ends in a panic.
impl Drop for Taken {
    fn drop(&mut self) {
        self.batch.settle(FAILED);
    }
}

/// The way to the writing thread.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    some: Condvar,
    closed: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_up(&self) -> bool {
        let waiting = self.lock();
        !waiting.down && !waiting.stalled && !waiting.closed
    }

    /// Puts a line into the next batch, and says whether it is the first that somebody waits for.
    pub(super) fn push(
        &self,
        record: &Record<'_>,
        now: Timestamp,
    ) -> Result<(Arc<Batch>, bool), NotRecorded> {
        let mut waiting = self.lock();
        if !waiting.has_room() || !waiting.lines.push(record, now, false) {
            return Err(NotRecorded);
        }
        waiting.since.get_or_insert_with(Instant::now);
        let is_first = !mem::replace(&mut waiting.pressing, true);
        Ok((Arc::clone(&waiting.batch), is_first))
    }

    /// Puts lines of another process into the next batch.
    pub(super) fn push_given(
        &self,
        lines: &[(Timestamp, &[u8])],
    ) -> Result<Arc<Batch>, NotRecorded> {
        let mut waiting = self.lock();
        if !waiting.has_room() {
            return Err(NotRecorded);
        }
        lines.iter().for_each(|(time, body)| waiting.lines.push_given(body, *time));
        waiting.pressing = true;
        waiting.since.get_or_insert_with(Instant::now);
        Ok(Arc::clone(&waiting.batch))
    }

    /// Lines go to another process: that this one stops is not said in its files any more.
    pub(super) fn forward(&self) {
        self.lock().forwarding = true;
    }

    pub(super) fn is_forwarding(&self) -> bool {
        self.lock().forwarding
    }

    /// Puts a line beside those of the next batch, whenever that is.
    pub(super) fn leave(&self, record: &Record<'_>, now: Timestamp) {
        let mut waiting = self.lock();
        let room = waiting.lines.bytes.len() < WAITING_MAX && !waiting.closed;
        if !room || !waiting.lines.push(record, now, true) {
            waiting.lost += 1;
        }
    }

    /// Waits until somebody presses or the oldest line has lingered.
    pub(super) fn wait(&self, linger: Duration) {
        let idle = |waiting: &mut Waiting| !waiting.pressing && !waiting.closing;
        drop(self.some.wait_timeout_while(self.lock(), linger, idle));
    }

    /// Lets those go who have waited for so long, and takes nothing more on until an attempt is
    /// over, however it ends.
    pub(super) fn give_up(&self, now: Instant, at_most: Duration) {
        let mut waiting = self.lock();
        let is_late = |since: &Instant| now.saturating_duration_since(*since) >= at_most;
        let writing = waiting.writing.take_if(|(batch, since)| is_late(since) || batch.is_over());
        let writing = writing.map(|(batch, _)| batch).filter(|batch| !batch.is_over());
        let next = waiting.since.take_if(|since| is_late(since));
        // Lines that come later are another batch's, though they are written together.
        let next = next.map(|_| mem::take(&mut waiting.batch));
        for batch in writing.into_iter().chain(next) {
            waiting.stalled = true;
            batch.settle(LATE);
        }
    }

    /// Nothing is written any more.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Leaves what waits where it is until somebody presses again.
    pub(super) fn put_off(&self) {
        self.lock().pressing = false;
    }

    /// Ends a wait.
    pub(super) fn wake(&self) {
        self.some.notify_one();
    }

    /// Takes all lines in exchange for empty ones.
    pub(super) fn take(&self, lines: &mut Lines) -> Taken {
        let mut waiting = self.lock();
        waiting.pressing = false;
        mem::swap(&mut waiting.lines, lines);
        let batch = mem::take(&mut waiting.batch);
        waiting.writing = waiting.since.take().map(|since| (Arc::clone(&batch), since));
        Taken { batch, lost: mem::take(&mut waiting.lost), last: waiting.closing }
    }

    /// Notes how an attempt went. Lines that stay come before those that came meanwhile.
    pub(super) fn settled(&self, written: bool, lines: &mut Lines, lost: u64) {
        let mut waiting = self.lock();
        waiting.down = !written;
        waiting.stalled = false;
        waiting.writing = None;
        if written {
            return;
        }
        let mut kept = Lines::default();
        waiting.lost += lost;
        let later = mem::take(&mut waiting.lines);
        let staying = lines.iter().filter(|(entry, _)| entry.stays);
        for (entry, body) in staying.chain(later.iter()) {
            if kept.bytes.len() + body.len() > WAITING_MAX + REVEALS_MAX {
                waiting.lost += 1;
                continue;
            }
            kept.bytes.extend_from_slice(body);
            kept.entries.push(Entry { end: kept.bytes.len(), ..entry });
        }
        waiting.lines = kept;
    }

    /// Nothing comes after the next batch.
    pub(super) fn close(&self) {
        self.lock().closing = true;
    }

    /// Waits until the last batch is written.
    pub(super) fn wait_for_end(&self, at_most: Duration) {
        let ended = |waiting: &mut Waiting| !waiting.closed;
        let _ = self.closed.wait_timeout_while(self.lock(), at_most, ended);
    }

    /// Nothing is written any more; whatever comes now is refused.
    pub(super) fn end(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.batch.settle(FAILED);
        drop(waiting);
        self.closed.notify_all();
    }
}
