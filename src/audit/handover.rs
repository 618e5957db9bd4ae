//! A record whose files go to another process: one writes them at a time.
//!
//! The old process closes them, and hands the lines of what it still finishes to the new one, which
//! puts them into the chain between its own. Where nobody takes the files over the old process
//! opens them again. While they are with nobody, whoever has a line waits, for a while.

use std::fmt;
use std::sync::MutexGuard;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::queue::{Lines, Missed, Queue};
use super::writer::{Closed, Keeper, Sink};
use super::{Audit, JournalError, Pressing, Record};
use crate::card::Timestamp;

/// Between two attempts to open the files again.
const RETRY: Duration = Duration::from_millis(50);
/// The same where the system is in the way, not another process: each attempt reads a whole file.
const RETRY_SYSTEM: Duration = Duration::from_secs(1);
/// How long lines wait for files that are being opened again, before they are refused.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// What became of lines that another process was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// They are in its files.
    Written,
    /// They are not, and will not be.
    Refused,
    /// They may be written yet.
    Unknown,
}

/// Hands lines to the process that has the files.
pub type Give = Box<dyn Fn(&[u8]) -> Given + Send>;

/// Files that were closed for another process.
pub struct Released<'a>(Option<Open<'a>>);

struct Open<'a> {
    keeper: &'a Keeper,
    sink: MutexGuard<'a, Option<Sink>>,
    closed: Closed,
}

impl fmt::Debug for Released<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Released(..)")
    }
}

impl Released<'_> {
    /// From now on lines go to whoever has the files, those first that have waited.
    pub fn give_up(self, give: Give) {
        let Some(Open { keeper, mut sink, .. }) = self.0 else { return };
        keeper.queue.forward();
        *sink = Some(Sink::Successor(give));
        drop(sink);
        keeper.write_out();
    }

    /// Opens the files again, as soon as nobody has them: a process that fails to take them over
    /// may have them locked until it is gone. Whoever has a line waits for it, a while. Returns
    /// when that is done.
    ///
    /// # Errors
    /// What is there is not whole, or the disk has failed; nothing is recorded any more then, and
    /// no card leaves.
    pub fn take_back(self, opening: &[Record<'_>]) -> Result<(), JournalError> {
        let Some(Open { keeper, mut sink, closed }) = self.0 else { return Ok(()) };
        *sink = Some(Sink::Nowhere);
        drop(sink);
        let begun = Instant::now();
        loop {
            let error = match closed.open(opening) {
                Ok(writer) => {
                    keeper.go_on(writer);
                    return Ok(());
                }
                Err(error) => error,
            };
            if matches!(error, JournalError::Broken(_)) || keeper.has_failed() {
                keeper.queue.end();
                return Err(error);
            }
            if begun.elapsed() > WAIT_MAX {
                keeper.refuse();
            }
            let taken = matches!(error, JournalError::Taken(_));
            sleep(if taken { RETRY } else { RETRY_SYSTEM });
        }
    }
}

impl Audit {
    /// Closes the files in order, for another process. Nothing where they cannot be closed so.
    #[must_use]
    pub fn release(&self) -> Option<Released<'_>> {
        let Some(keeper) = &self.0 else { return Some(Released(None)) };
        let mut sink = keeper.sink()?;
        match sink.take() {
            Some(Sink::Files(writer)) => match writer.close(&keeper.queue) {
                Ok(closed) => Some(Released(Some(Open { keeper, sink, closed }))),
                Err(writer) => {
                    *sink = Some(Sink::Files(writer));
                    None
                }
            },
            other => {
                *sink = other;
                None
            }
        }
    }

    /// Writes lines that the process before handed over, between those of this one. What are none
    /// is refused.
    pub async fn record_given(&self, lines: &[u8]) -> Given {
        let Some(keeper) = &self.0 else { return Given::Written };
        let Some(lines) = read(lines) else { return Given::Refused };
        let Ok(batch) = keeper.queue.push_given(&lines) else { return Given::Refused };
        Pressing(Some(keeper)).press(&batch).await;
        match batch.written().await {
            Ok(()) => Given::Written,
            Err(Missed::Failed) => Given::Refused,
            Err(Missed::Late) => Given::Unknown,
        }
    }
}

/// Hands over all lines that wait; says whether they were the last. Where nobody knows what became
/// of them, those that stay are handed over again: twice in the files is better than not at all.
pub(super) fn give_out(give: &Give, queue: &Queue) -> bool {
    let mut lines = Lines::default();
    let taken = queue.take(&mut lines);
    let (lost, last) = (taken.lost, taken.last);
    if lost > 0 {
        lines.push(&Record::Lost { count: lost }, Timestamp::system(), false);
    }
    let given = if lines.is_empty() { Given::Written } else { give(&write(&lines)) };
    queue.settled(given == Given::Written, &mut lines, lost);
    match given {
        Given::Written => taken.written(),
        Given::Unknown => taken.late(),
        Given::Refused => {}
    }
    last
}

/// Time, length, line; and so on.
pub(super) fn write(lines: &Lines) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(lines.bytes.len() + 12 * lines.entries.len());
    for (entry, body) in lines.iter() {
        bytes.extend_from_slice(&entry.time.as_millis().to_be_bytes());
        bytes.extend_from_slice(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(body);
    }
    bytes
}

fn read(mut bytes: &[u8]) -> Option<Vec<(Timestamp, &[u8])>> {
    let mut lines = Vec::new();
    while !bytes.is_empty() {
        let (time, rest) = bytes.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (body, rest) = rest.split_at_checked(length)?;
        let whole = body.starts_with(b"{\"event\":\"") && body.ends_with(b"}");
        if !whole || body.contains(&b'\n') || body.starts_with(b"{\"event\":\"anchor\"") {
            return None;
        }
        lines.push((Timestamp::from_millis(u64::from_be_bytes(*time)), body));
        bytes = rest;
    }
    Some(lines)
}
