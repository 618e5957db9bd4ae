//! Walks through a record and names the first line that is not as it was written.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::chain::{AnchorKey, End, Hash, Line};

/// A record that holds, as far as [`Proof::is_whole`] says.
#[derive(Debug, Default)]
pub struct Proof {
    /// Files.
    pub files: usize,
    /// Lines.
    pub records: u64,
    /// Lines by event.
    pub events: BTreeMap<String, u64>,
    /// Position of the first line in the whole chain; 1 where nothing is missing before it.
    pub first: u64,
    /// Position of the last line.
    pub last: u64,
    /// Times of the first and the last line.
    pub times: (String, String),
    /// Digest of the last line.
    pub hash: Option<Hash>,
    /// Anchors whose MAC was checked.
    pub anchors: u64,
    /// Lines behind the last anchor that was checked.
    pub unanchored: u64,
    /// Whether the line with the digest that was asked for is there.
    pub holds: Option<bool>,
}

impl Proof {
    /// Everything from the first line on is there, and an anchor proves it to the last line.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.first == 1 && self.anchors > 0 && self.unanchored == 0 && self.holds != Some(false)
    }
}

/// The first line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its file.
    pub file: PathBuf,
    /// Its number in the file, counted from 1.
    pub line: u64,
    /// What is wrong.
    pub fault: Fault,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The file cannot be read.
    Unreadable(String),
    /// The line does not end: the machine stopped while it was written, or the end was cut off.
    CutShort,
    /// It is not what was written: the lines around it say so.
    Altered,
    /// It or the line before it is not what was written.
    AlteredHereOrBefore,
    /// Lines are missing before it.
    Missing {
        /// Position of the first one.
        first: u64,
        /// How many.
        count: u64,
    },
    /// The line that belongs here stands further down.
    Moved {
        /// Where it stands now.
        file: PathBuf,
        /// The number of its line.
        line: u64,
    },
    /// It belongs further up: it was moved, or stands there, too.
    OutOfPlace,
    /// The anchor's MAC does not hold: it was altered, the lines before it were written anew, or it
    /// is another key's.
    Forged {
        /// Position of the last line that an anchor proved; 0 for none.
        proved: u64,
    },
}

impl fmt::Display for Broken {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, fault } = self;
        write!(out, "{}:{line}: ", file.display())?;
        match fault {
            Fault::Unreadable(words) => write!(out, "cannot be read: {words}"),
            Fault::CutShort => out.write_str("the line is cut short"),
            Fault::Altered => out.write_str("the line was altered"),
            Fault::AlteredHereOrBefore => out.write_str("this line or the one before was altered"),
            Fault::Missing { first, count: 1 } => {
                write!(out, "record {first} is missing before this line")
            }
            Fault::Missing { first, count } => {
                let last = first + count - 1;
                write!(out, "records {first} to {last} are missing before this line")
            }
            Fault::Moved { file, line } => write!(
                out,
                "the lines were reordered: the record of this place is at {}:{line}",
                file.display()
            ),
            Fault::OutOfPlace => out.write_str("the record is out of place: it belongs further up"),
            Fault::Forged { proved: 0 } => out.write_str(
                "the anchor does not hold: it was altered, the lines before it were written anew, \
                 or the key is another one",
            ),
            Fault::Forged { proved } => write!(
                out,
                "the anchor does not hold: it was altered, or what follows record {proved} was \
                 written anew"
            ),
        }
    }
}

impl std::error::Error for Broken {}

/// Walks through files in this order. Without a key, anchors prove nothing. `holds` is the digest
/// of a line that has to be there.
///
/// # Errors
/// The first line that is wrong.
pub fn verify(
    files: &[PathBuf],
    key: Option<&AnchorKey>,
    holds: Option<Hash>,
) -> Result<Proof, Broken> {
    let mut walk = Walk::new(key);
    walk.wanted = holds;
    walk.proof.holds = holds.map(|_| false);
    for (index, file) in files.iter().enumerate() {
        let bytes = read(file)?;
        if let Err(broken) = walk.file(file, &bytes) {
            return Err(walk.explained(broken, files.get(index..).unwrap_or_default()));
        }
        walk.proof.files += 1;
    }
    Ok(walk.proof)
}

fn read(file: &Path) -> Result<Vec<u8>, Broken> {
    std::fs::read(file).map_err(|error| Broken {
        file: file.to_owned(),
        line: 0,
        fault: Fault::Unreadable(error.to_string()),
    })
}

/// Where a walk has come to.
pub(super) struct Walk<'k> {
    key: Option<&'k AnchorKey>,
    end: Option<End>,
    /// File and line of the last line.
    at: (PathBuf, u64),
    wanted: Option<Hash>,
    proof: Proof,
}

impl<'k> Walk<'k> {
    pub(super) fn new(key: Option<&'k AnchorKey>) -> Self {
        let at = (PathBuf::new(), 0);
        Self { key, end: None, at, wanted: None, proof: Proof::default() }
    }

    pub(super) fn end(&self) -> End {
        self.end.unwrap_or(End::BEGINNING)
    }

    /// Begins behind the last line of a file without walking through it.
    pub(super) fn begin_behind(&mut self, file: &Path, bytes: &[u8]) -> Result<(), Broken> {
        let number = bytes.iter().filter(|byte| **byte == b'\n').count();
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        let broken = |line, fault| Broken { file: file.to_owned(), line, fault };
        let text = bytes.strip_suffix(b"\n").ok_or_else(|| broken(number + 1, Fault::CutShort))?;
        let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default();
        let line = Line::parse(last).ok_or_else(|| broken(number, Fault::Altered))?;
        self.end = Some(line.as_end());
        self.at = (file.to_owned(), number);
        Ok(())
    }

    /// Walks through one file.
    pub(super) fn file(&mut self, file: &Path, bytes: &[u8]) -> Result<(), Broken> {
        let mut rest = bytes;
        let mut number = 0;
        while !rest.is_empty() {
            number += 1;
            let broken = |fault| Broken { file: file.to_owned(), line: number, fault };
            let length = rest.iter().position(|byte| *byte == b'\n');
            let length = length.ok_or_else(|| broken(Fault::CutShort))?;
            let (bytes, behind) = rest.split_at_checked(length).unwrap_or_default();
            rest = behind.get(1..).unwrap_or_default();
            let line = Line::parse(bytes).ok_or_else(|| broken(Fault::Altered))?;
            self.line(&line, rest).map_err(|(here, fault)| match here {
                true => broken(fault),
                false => Broken { file: self.at.0.clone(), line: self.at.1, fault },
            })?;
            self.at = (file.to_owned(), number);
        }
        Ok(())
    }

    /// One line; a fault is here, or in the line before.
    fn line(&mut self, line: &Line<'_>, rest: &[u8]) -> Result<(), (bool, Fault)> {
        let before = match self.end {
            Some(end) => end,
            // A record whose first files were put away begins anywhere.
            None if line.sequence > 1 && line.before != Hash::NONE => {
                End { sequence: line.sequence - 1, hash: line.before }
            }
            None => End::BEGINNING,
        };
        let (follows, is_next) = (line.before == before.hash, line.sequence == before.sequence + 1);
        match (is_next, follows) {
            (true, true) => {}
            (true, false) => return Err(self.altered(line, rest)),
            (false, true) => return Err((true, Fault::Altered)),
            (false, false) if line.sequence <= before.sequence => {
                return Err((true, Fault::OutOfPlace));
            }
            (false, false) => {
                let first = before.sequence + 1;
                return Err((true, Fault::Missing { first, count: line.sequence - first }));
            }
        }
        self.anchor(line, before)?;
        self.count(line);
        self.end = Some(line.as_end());
        Ok(())
    }

    /// The digest does not fit: either the line before is another one, or this one says so wrongly.
    /// What knows this line tells which: an anchor's own MAC, or the line behind it.
    fn altered(&self, line: &Line<'_>, rest: &[u8]) -> (bool, Fault) {
        if let (Some(anchor), Some(key)) = (line.anchor, self.key) {
            return match key.made(&anchor) && self.end.is_some() {
                true => (false, Fault::Altered),
                false => (true, Fault::AlteredHereOrBefore),
            };
        }
        let next = rest.split(|byte| *byte == b'\n').next().and_then(Line::parse);
        match next {
            Some(next) if next.before == line.hash => (self.end.is_none(), Fault::Altered),
            Some(_) => (true, Fault::Altered),
            None => (true, Fault::AlteredHereOrBefore),
        }
    }

    fn anchor(&mut self, line: &Line<'_>, before: End) -> Result<(), (bool, Fault)> {
        let (Some(anchor), Some(key)) = (line.anchor, self.key) else {
            self.proof.unanchored += 1;
            return Ok(());
        };
        if !key.made(&anchor) {
            let proved = if self.proof.anchors > 0 {
                before.sequence.saturating_sub(self.proof.unanchored)
            } else {
                0
            };
            return Err((true, Fault::Forged { proved }));
        }
        self.proof.anchors += 1;
        self.proof.unanchored = 0;
        Ok(())
    }

    fn count(&mut self, line: &Line<'_>) {
        let proof = &mut self.proof;
        if proof.records == 0 {
            proof.first = line.sequence;
            line.time.clone_into(&mut proof.times.0);
        }
        proof.records += 1;
        proof.last = line.sequence;
        line.time.clone_into(&mut proof.times.1);
        proof.hash = Some(line.hash);
        *proof.events.entry(line.event.to_owned()).or_default() += 1;
        if self.wanted == Some(line.hash) {
            proof.holds = Some(true);
        }
    }

    /// Whether lines that seem to be missing stand further down, in one of these files.
    fn explained(&self, broken: Broken, files: &[PathBuf]) -> Broken {
        let Fault::Missing { first, .. } = broken.fault else { return broken };
        for file in files {
            let bytes = std::fs::read(file).unwrap_or_default();
            for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
                let found = Line::parse(line).filter(|line| line.sequence == first);
                if found.is_some_and(|line| line.before == self.end().hash) {
                    let line = u64::try_from(index).unwrap_or(u64::MAX) + 1;
                    let fault = Fault::Moved { file: file.clone(), line };
                    return Broken { fault, ..broken };
                }
            }
        }
        broken
    }
}
