//! Events as lines on standard error.
//!
//! A call leaves its line in a buffer; a thread of its own writes what has gathered, so that
//! neither a slow reader nor a system call per line stands in the way of a payment.

use std::io::Write as _;
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Event;
use super::copies::Copies;
use super::line::pretty;

/// How long lines gather before they are written together.
const GATHER: Duration = Duration::from_millis(20);

/// How long the last lines may take to leave: whoever reads them may not.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// Room that lines are given at once, so that calls seldom wait for a larger buffer.
const BUFFER: usize = 128 * 1024;

/// Bytes that wait at most; a reader that does not read costs lines, not memory.
const WAITING_MAX: usize = 4 * 1024 * 1024;

/// How lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// The same for people at a terminal.
    Pretty,
    /// Nothing is written.
    Off,
}

impl Format {
    /// The format of that name in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "pretty" => Some(Self::Pretty),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

/// Where events are written. Libraries' own log lines are not compiled in: Pingora's print raw
/// input.
#[derive(Debug)]
pub struct Log(Option<Arc<Waiting>>);

/// Lines that wait to be written.
#[derive(Debug)]
struct Waiting {
    lines: Mutex<Lines>,
    some: Condvar,
    flushed: Condvar,
    format: Format,
    copies: Option<Copies>,
}

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    lost: u64,
    /// How often somebody wanted all lines out, and how many of them have them there.
    flushes: u64,
    flushed: u64,
}

impl Log {
    /// A log in that format, and the thread that writes it. A copy of every line is left in
    /// `copies`, whatever the format.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(format: Format, copies: Option<Copies>) -> std::io::Result<Self> {
        if format == Format::Off && copies.is_none() {
            return Ok(Self(None));
        }
        let (lines, some, flushed) = (Mutex::default(), Condvar::new(), Condvar::new());
        let waiting = Arc::new(Waiting { lines, some, flushed, format, copies });
        let writer = Arc::clone(&waiting);
        std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writer.write_for_ever())?;
        Ok(Self(Some(waiting)))
    }

    /// Notes one event. Where too much waits already the line is lost, and the loss is noted.
    pub fn write(&self, event: &Event<'_>) {
        let Some(waiting) = &self.0 else { return };
        let time_ms = now_ms();
        let mut lines = waiting.lock();
        let first = lines.bytes.is_empty();
        lines.push(time_ms, event);
        drop(lines);
        if first {
            waiting.some.notify_one();
        }
    }

    /// Has what waits written at once, and waits for it, a while: the process is about to end.
    pub fn flush(&self) {
        let Some(waiting) = &self.0 else { return };
        let mut lines = waiting.lock();
        lines.flushes += 1;
        let mine = lines.flushes;
        waiting.some.notify_one();
        let pending = |lines: &mut Lines| lines.flushed < mine;
        drop(waiting.flushed.wait_timeout_while(lines, FLUSH_MAX, pending));
    }
}

impl Waiting {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody else writes to the stream: one that is not read holds up this thread alone.
    fn write_for_ever(&self) {
        loop {
            let nothing = |lines: &mut Lines| lines.bytes.is_empty() && !lines.in_a_hurry();
            let lines = self.some.wait_while(self.lock(), nothing);
            let lines = lines.unwrap_or_else(PoisonError::into_inner);
            let gather = |lines: &mut Lines| !lines.in_a_hurry();
            drop(self.some.wait_timeout_while(lines, GATHER, gather));
            self.write_out();
        }
    }

    fn write_out(&self) {
        let mut lines = self.lock();
        let mut bytes = mem::replace(&mut lines.bytes, Vec::with_capacity(BUFFER));
        let (lost, flushes) = (mem::take(&mut lines.lost), lines.flushes);
        drop(lines);
        if lost > 0 {
            bytes.extend_from_slice(&line_of(&Event::LinesLost { count: lost }));
        }
        if let Some(copies) = &self.copies {
            copies.keep(&bytes);
        }
        let mut out = std::io::stderr().lock();
        let _ = match self.format {
            Format::Json => out.write_all(&bytes),
            Format::Pretty => out.write_all(pretty(&bytes).as_bytes()),
            Format::Off => Ok(()),
        };
        drop(out);
        self.lock().flushed = flushes;
        self.flushed.notify_all();
    }
}

impl Lines {
    const fn in_a_hurry(&self) -> bool {
        self.flushed < self.flushes
    }

    fn push(&mut self, time_ms: u64, event: &Event<'_>) {
        let begun = self.bytes.len();
        if begun >= WAITING_MAX {
            self.lost += 1;
        } else if append(&mut self.bytes, time_ms, event).is_ok() {
            self.bytes.push(b'\n');
        } else {
            self.bytes.truncate(begun);
        }
    }
}

/// Appends an event as one JSON object, its time first: an event is an object that has its name.
fn append(bytes: &mut Vec<u8>, time_ms: u64, event: &Event<'_>) -> serde_json::Result<()> {
    // Writing into memory does not fail.
    let _ = write!(bytes, "{{\"time_ms\":{time_ms}");
    let brace = bytes.len();
    serde_json::to_writer(&mut *bytes, event)?;
    if let Some(brace) = bytes.get_mut(brace) {
        *brace = b',';
    }
    Ok(())
}

/// One event as a line, for whoever cannot wait for the log.
pub(super) fn line_of(event: &Event<'_>) -> Vec<u8> {
    let mut lines = Lines::default();
    lines.push(now_ms(), event);
    lines.bytes
}

/// The time since 1970, by the clock of the system.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn now_ms() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_libraries_would_log_is_compiled_in() {
        assert_eq!(::log::STATIC_MAX_LEVEL, ::log::LevelFilter::Off);
        assert_eq!(
            tracing::level_filters::STATIC_MAX_LEVEL,
            tracing::level_filters::LevelFilter::OFF
        );
    }

    #[test]
    fn a_log_that_is_off_still_leaves_copies_and_one_without_readers_starts_nothing() {
        let copies = Copies::default();
        let log = Log::start(Format::Off, Some(copies.clone())).unwrap();
        log.write(&Event::Stopped);
        log.flush();
        let (line, lost) = copies.take(1);
        assert!(line.ends_with(b"\"event\":\"stopped\"}\n") && lost == 0, "{line:?}");
        assert!(Log::start(Format::Off, None).unwrap().0.is_none());
    }

    #[test]
    fn lines_beyond_the_bound_are_counted_instead_of_kept() {
        let mut lines = Lines::default();
        lines.push(1, &Event::Stopped);
        assert_eq!(lines.bytes, b"{\"time_ms\":1,\"event\":\"stopped\"}\n");
        lines.bytes.resize(WAITING_MAX, b'x');
        lines.push(1, &Event::Stopped);
        assert_eq!((lines.bytes.len(), lines.lost), (WAITING_MAX, 1));
    }
}
