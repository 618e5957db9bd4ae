//! Writes lines, and brings them to the disk.

use std::fmt;
use std::fs::File;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::card::Timestamp;

use super::chain::{End, Hash};
use super::handover::{self, Give};
use super::journal::{Flush, Journal, JournalError, Settings, Unwritten};
use super::queue::{Lines, Queue};
use super::{RECORD_MAX, Record};

/// How long a line that nobody waits for waits at most.
const LINGER: Duration = Duration::from_secs(1);

/// Between two looks at how long a line has been waited for.
const LOOK: Duration = Duration::from_millis(500);

/// Lines between two anchors at most.
const ANCHOR_LINES: u64 = 1000;

/// Time between a line and the anchor behind it at most.
const ANCHOR_AFTER: Duration = Duration::from_secs(60);

type Told = Arc<dyn Fn(u64, &Hash) + Send + Sync>;

/// The queue, and whoever writes what waits there: with an interval the first caller of a batch,
/// into the system's memory; else a thread, since the others of an event loop cannot wait for a
/// disk.
pub(super) struct Keeper {
    pub(super) queue: Queue,
    /// None once the last line is written.
    writer: Mutex<Option<Sink>>,
    flush: Arc<Flushing>,
}

impl Keeper {
    pub(super) fn sink(&self) -> Option<MutexGuard<'_, Option<Sink>>> {
        self.writer.lock().ok()
    }

    /// Starts the thread that writes, or the one that brings to the disk what was written.
    pub(super) fn start(writer: Writer) -> Result<Arc<Self>, JournalError> {
        let flush = Arc::clone(&writer.flush);
        let writer = Mutex::new(Some(Sink::Files(Box::new(writer))));
        let keeper = Arc::new(Self { queue: Queue::default(), writer, flush });
        let [own, watched] = [Arc::clone(&keeper), Arc::clone(&keeper)];
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let started = match keeper.flush.after {
            Some(after) => thread("audit").spawn(move || own.flush_every(after)),
            None => thread("audit").spawn(move || own.write_for_ever()),
        };
        let started = started.and_then(|_| thread("audit-watch").spawn(move || watched.watch()));
        started.map(|_| keeper).map_err(|_| JournalError::Thread)
    }

    /// Goes on with these files, and what has waited for them.
    pub(super) fn go_on(&self, writer: Writer) {
        if let Some(mut sink) = self.sink() {
            *sink = Some(Sink::Files(Box::new(writer)));
        }
        self.write_out();
    }

    /// Refuses what waits and may be refused.
    pub(super) fn refuse(&self) {
        let mut lines = Lines::default();
        let taken = self.queue.take(&mut lines);
        self.queue.settled(false, &mut lines, taken.lost);
    }

    /// Whether the disk has failed.
    pub(super) fn has_failed(&self) -> bool {
        self.flush.failed.load(Ordering::Acquire)
    }

    /// Has the lines that wait written; false where others have the files, and who asks has to ask
    /// again.
    pub(super) fn press(&self) -> bool {
        if self.flush.after.is_none() {
            self.queue.wake();
            return true;
        }
        match self.writer.try_lock() {
            Err(TryLockError::WouldBlock) => return false,
            Ok(writer) => self.write_to(Some(writer)),
            Err(TryLockError::Poisoned(_)) => self.write_to(None),
        };
        true
    }

    /// Whether there is no more to come. Files are given up before anybody is told so.
    pub(super) fn write_out(&self) -> bool {
        self.write_to(self.sink())
    }

    fn write_to(&self, writer: Option<MutexGuard<'_, Option<Sink>>>) -> bool {
        // Whoever panicked may have left half a line: nothing may be written behind it.
        let Some(mut writer) = writer else {
            self.queue.end();
            return true;
        };
        let Some(open) = writer.as_mut() else { return true };
        let last = match open {
            Sink::Files(writer) => writer.write_out(&self.queue),
            Sink::Successor(give) => handover::give_out(give, &self.queue),
            Sink::Nowhere => {
                self.queue.put_off();
                false
            }
        };
        if last {
            *writer = None;
            self.queue.end();
        }
        last
    }

    fn flush_every(&self, after: Duration) {
        loop {
            std::thread::sleep(after);
            if self.write_out() || self.flush.failed.load(Ordering::Acquire) {
                return;
            }
            self.flush.sync();
        }
    }

    /// Lets nobody wait for ever. A thread that never touches the disk: any other may hang in it.
    fn watch(&self) {
        while !self.queue.is_closed() {
            std::thread::sleep(LOOK);
            self.queue.give_up(Instant::now(), RECORD_MAX);
        }
    }

    fn write_for_ever(&self) {
        loop {
            self.queue.wait(LINGER);
            if self.write_out() {
                return;
            }
        }
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keeper").field("queue", &self.queue).finish_non_exhaustive()
    }
}

/// Where lines go.
pub(super) enum Sink {
    /// Into the files.
    Files(Box<Writer>),
    /// To the process that has the files now.
    Successor(Give),
    /// They wait, until the files are this process's again.
    Nowhere,
}

/// Everything that writing needs.
pub(super) struct Writer {
    journal: Journal,
    end: End,
    /// The last line that an anchor proves, and when it was written.
    anchored: (u64, Instant),
    settings: Settings,
    flush: Arc<Flushing>,
    told: Told,
    /// Lines as they came, and as they go to the file.
    lines: Lines,
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
        let closed = Closed { settings: settings.clone(), flush, told };
        let mut writer = Self::on(journal, end, closed);
        writer.begin(opening).map(|()| writer)
    }

    fn on(journal: Journal, end: End, closed: Closed) -> Self {
        let Closed { settings, flush, told } = closed;
        let (anchored, lines, out) = ((end.sequence, Instant::now()), Lines::default(), Vec::new());
        Self { journal, end, anchored, settings, flush, told, lines, out }
    }

    /// Writes the opening lines, to the disk.
    fn begin(&mut self, opening: &[Record<'_>]) -> Result<(), JournalError> {
        let now = Timestamp::system();
        let mut lines = Lines::default();
        let pushed = opening.iter().all(|record| lines.push(record, now, true));
        let written = pushed && self.write(&lines, 0, true).is_ok();
        if !written || self.journal.sync().is_err() {
            let folder = self.settings.folder.clone();
            let error = io::Error::other("its first lines cannot be written");
            return Err(JournalError::Io(folder, error));
        }
        Ok(())
    }

    /// Writes what waits and that this process stops, with an anchor, and closes the files. What
    /// it takes to open them again is left.
    pub(super) fn close(mut self: Box<Self>, queue: &Queue) -> Result<Closed, Box<Self>> {
        self.write_out(queue);
        let mut lines = Lines::default();
        lines.push(&Record::Stopped, Timestamp::system(), true);
        if self.write(&lines, 0, true).and_then(|()| self.journal.sync()).is_err() {
            return Err(self);
        }
        let Self { settings, flush, told, .. } = *self;
        Ok(Closed { settings, flush, told })
    }

    /// Writes all lines that wait; says whether they were the last.
    fn write_out(&mut self, queue: &Queue) -> bool {
        let mut lines = mem::take(&mut self.lines);
        lines.clear();
        let taken = queue.take(&mut lines);
        let (lost, last) = (taken.lost, taken.last);
        let written = self.write(&lines, lost, last).is_ok();
        queue.settled(written, &mut lines, lost);
        self.lines = lines;
        if written {
            taken.written();
        }
        if last {
            let _ = self.journal.sync();
        }
        last
    }

    /// Writes these lines, and an anchor when it is time for one.
    fn write(&mut self, lines: &Lines, lost: u64, last: bool) -> Result<(), Unwritten> {
        if self.flush.failed.load(Ordering::Acquire) {
            return Err(Unwritten);
        }
        let now = Timestamp::system();
        if self.journal.has(self.settings.file_bytes) && !lines.is_empty() {
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
            end.push_anchor(&mut self.out, now, &self.settings.key);
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
            end.push_anchor(&mut self.out, now, &self.settings.key);
            self.append(end, true)?;
        }
        self.journal.rotate()?;
        self.flush.file(self.journal.file());
        Ok(())
    }
}

/// What is left of a writer whose files are closed.
#[derive(Clone)]
pub(super) struct Closed {
    settings: Settings,
    flush: Arc<Flushing>,
    told: Told,
}

impl Closed {
    /// Goes on where another process may have written since.
    pub(super) fn open(&self, opening: &[Record<'_>]) -> Result<Writer, JournalError> {
        let (journal, end) = Journal::open(&self.settings.folder, &self.settings.key)?;
        self.flush.file(journal.file());
        let mut writer = Writer::on(journal, end, self.clone());
        writer.begin(opening).map(|()| writer)
    }
}

/// How lines come to the disk.
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

    /// Brings what was written to the disk.
    fn sync(&self) {
        if self.dirty.swap(false, Ordering::AcqRel) {
            let file = Arc::clone(&self.file.lock().unwrap_or_else(PoisonError::into_inner));
            self.failed.fetch_or(file.sync_data().is_err(), Ordering::AcqRel);
        }
    }
}
