//! The one thread that writes lines, and the one that brings them to the disk.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::card::Timestamp;

use super::Record;
use super::chain::{AnchorKey, End, Hash};
use super::journal::{Flush, Journal, JournalError, Settings, Unwritten};
use super::queue::{Lines, Queue};

/// Lines between two anchors at most.
const ANCHOR_LINES: u64 = 1000;

/// Time between a line and the anchor behind it at most.
const ANCHOR_AFTER: Duration = Duration::from_secs(60);

type Told = Box<dyn Fn(u64, &Hash) + Send>;

/// Everything that writing needs.
pub(super) struct Writer {
    journal: Journal,
    end: End,
    /// The last line that an anchor proves, and when it was written.
    anchored: (u64, Instant),
    key: AnchorKey,
    file_bytes: u64,
    flush: Arc<Flushing>,
    told: Told,
    /// Lines as they go to the file.
    out: Vec<u8>,
}

impl Writer {
    /// Opens the record and writes its opening lines, to the disk.
    pub(super) fn open(
        settings: &Settings,
        opening: &[Record<'_>],
        told: Told,
    ) -> Result<Self, JournalError> {
        let (journal, end) = Journal::open(&settings.folder, &settings.key)?;
        let flush = Arc::new(Flushing::of(settings.flush, journal.file()));
        let mut writer = Self {
            journal,
            end,
            anchored: (end.sequence, Instant::now()),
            key: settings.key.clone(),
            file_bytes: settings.file_bytes,
            flush,
            told,
            out: Vec::new(),
        };
        let now = Timestamp::system();
        let mut lines = Lines::default();
        let pushed = opening.iter().all(|record| lines.push(record, now, true));
        let written = pushed && writer.write(&lines, 0, true).is_ok();
        if !written || writer.journal.sync().is_err() {
            return Err(JournalError::Io(settings.folder.clone(), std::io::ErrorKind::WriteZero));
        }
        Ok(writer)
    }

    /// Starts the thread, and the one that brings lines to the disk.
    pub(super) fn spawn(self, queue: Arc<Queue>) -> Result<(), JournalError> {
        let flush = Arc::clone(&self.flush);
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        if flush.after.is_some() {
            thread("audit-flush")
                .spawn(move || flush.for_ever())
                .map_err(|_| JournalError::Thread)?;
        }
        let serve = move || {
            let ended = Ended(Arc::clone(&queue));
            self.serve(&queue);
            drop(ended);
        };
        thread("audit").spawn(serve).map(drop).map_err(|_| JournalError::Thread)
    }

    /// Gives the files up before anybody is told that it has ended.
    fn serve(mut self, queue: &Queue) {
        let mut lines = Lines::default();
        loop {
            lines.clear();
            let taken = queue.take(&mut lines);
            let (lost, last) = (taken.lost, taken.last);
            let written = self.write(&lines, lost, last).is_ok();
            queue.settled(written, &mut lines, lost);
            if written {
                taken.written();
            }
            if last {
                let _ = self.journal.sync();
                return;
            }
        }
    }

    /// Writes these lines, and an anchor when it is time for one.
    fn write(&mut self, lines: &Lines, lost: u64, last: bool) -> Result<(), Unwritten> {
        if self.flush.failed.load(Ordering::Acquire) {
            return Err(Unwritten);
        }
        let now = Timestamp::system();
        if self.journal.has(self.file_bytes) && !lines.is_empty() {
            self.rotate(now)?;
        }
        let mut end = self.end;
        self.out.clear();
        for (entry, body) in lines.iter() {
            end.push(&mut self.out, entry.time, body);
        }
        if lost > 0 {
            let mut body = Vec::new();
            if (Record::Lost { count: lost }).write_to(&mut body).is_ok() {
                end.push(&mut self.out, now, &body);
            }
        }
        let (proved, since) = self.anchored;
        let due = end.sequence > proved
            && (last || end.sequence - proved >= ANCHOR_LINES || since.elapsed() >= ANCHOR_AFTER);
        if due {
            end.push_anchor(&mut self.out, now, &self.key);
        }
        if self.out.is_empty() {
            return Ok(());
        }
        self.append(end, due)
    }

    fn append(&mut self, end: End, anchor: bool) -> Result<(), Unwritten> {
        self.journal.append(&self.out)?;
        // The lines are in the file, whatever becomes of the disk.
        self.end = end;
        if anchor {
            self.anchored = (end.sequence, Instant::now());
            (self.told)(end.sequence, &end.hash);
        }
        if self.flush.after.is_none() {
            let synced = self.journal.sync();
            // What a failed flush left on the disk nobody knows; a second one would say it is well.
            self.flush.failed.fetch_or(synced.is_err(), Ordering::AcqRel);
            return synced;
        }
        self.flush.dirty.store(true, Ordering::Release);
        Ok(())
    }

    /// The old file ends with an anchor.
    fn rotate(&mut self, now: Timestamp) -> Result<(), Unwritten> {
        if self.end.sequence > self.anchored.0 {
            let mut end = self.end;
            self.out.clear();
            end.push_anchor(&mut self.out, now, &self.key);
            self.append(end, true)?;
        }
        self.journal.rotate()?;
        self.flush.file(self.journal.file());
        Ok(())
    }
}

/// Refuses what comes after the thread, however it ended.
struct Ended(Arc<Queue>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// What the thread that brings lines to the disk knows.
struct Flushing {
    /// None where nobody waits for an interval.
    after: Option<Duration>,
    file: Mutex<Arc<File>>,
    dirty: AtomicBool,
    /// The disk failed; the record is not continued in this process.
    failed: AtomicBool,
}

impl Flushing {
    fn of(flush: Flush, file: Arc<File>) -> Self {
        let after = match flush {
            Flush::EveryRecord => None,
            Flush::Interval(after) => Some(after),
        };
        let (dirty, failed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { after, file: Mutex::new(file), dirty, failed }
    }

    fn file(&self, file: Arc<File>) {
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = file;
    }

    fn for_ever(&self) {
        let Some(after) = self.after else { return };
        while !self.failed.load(Ordering::Acquire) {
            std::thread::sleep(after);
            if !self.dirty.swap(false, Ordering::AcqRel) {
                continue;
            }
            let file = Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner));
            self.failed.fetch_or(file.sync_data().is_err(), Ordering::AcqRel);
        }
    }
}
