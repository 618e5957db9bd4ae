//! The files of a record: `audit-000001.jsonl` and on in one folder. Lines go to the last one; when
//! it has its size the next one is begun, and the chain goes on across them.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::chain::{AnchorKey, End};
use super::verify::{Broken, Walk};

/// When lines are on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Before a reveal that they speak of.
    EveryRecord,
    /// So much later at most; a loss of power can cost the lines of that time. A process that ends,
    /// however it ends, costs none.
    Interval(Duration),
}

/// Where and how a record is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The folder of its files.
    pub folder: PathBuf,
    /// Makes anchors.
    pub key: AnchorKey,
    /// When lines are on the disk.
    pub flush: Flush,
    /// A file that has so many bytes gets no more.
    pub file_bytes: u64,
}

/// Why a record cannot be continued.
#[derive(Debug)]
pub enum JournalError {
    /// What is there is not whole.
    Broken(Broken),
    /// Another process writes it.
    Taken(PathBuf),
    /// The system refuses.
    Io(PathBuf, io::Error),
    /// The thread that writes cannot be started.
    Thread,
}

impl fmt::Display for JournalError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => write!(
                out,
                "audit.folder: {broken}. Keep the files as evidence: move them to another folder \
                 and start again; a new record begins"
            ),
            Self::Taken(folder) => {
                write!(out, "audit.folder: {}: another process writes there", folder.display())
            }
            Self::Io(path, error) => write!(out, "audit.folder: {}: {error}", path.display()),
            Self::Thread => out.write_str("audit: the writing thread cannot be started"),
        }
    }
}

impl std::error::Error for JournalError {}

/// Bytes of a file from which no more can be written in this process.
#[derive(Debug)]
pub(super) struct Unwritten;

/// The open end of a record.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    number: u32,
    file: Arc<File>,
    /// Bytes that are whole lines.
    length: u64,
    /// The file holds, or may hold, half a line that could not be taken back.
    spoilt: bool,
    /// The next file, made by an attempt to begin it that failed afterwards.
    next: Option<File>,
    _lock: File,
}

impl Journal {
    /// Opens the last file, after its whole content was walked through; or the first one.
    pub(super) fn open(folder: &Path, key: &AnchorKey) -> Result<(Self, End), JournalError> {
        let lock = lock(folder)?;
        let numbers = numbers_in(folder).map_err(|error| failed(folder, error))?;
        let mut walk = Walk::new(Some(key));
        // The chain comes from the file before, and its last line is enough to know it.
        if let [.., before, _] = numbers.as_slice() {
            let path = path_of(folder, *before);
            let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
            walk.begin_behind(&path, &bytes).map_err(JournalError::Broken)?;
        }
        let number = numbers.last().copied().unwrap_or(1);
        let path = path_of(folder, number);
        let file = open(&path, numbers.is_empty()).map_err(|error| failed(&path, error))?;
        let bytes = fs::read(&path).map_err(|error| failed(&path, error))?;
        walk.file(&path, &bytes).map_err(JournalError::Broken)?;
        sync_folder(folder).map_err(|error| failed(folder, error))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let folder = folder.to_owned();
        let file = Arc::new(file);
        let journal = Self { folder, number, file, length, spoilt: false, next: None, _lock: lock };
        Ok((journal, walk.end()))
    }

    /// The file that lines go to, for whoever brings it to the disk.
    pub(super) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    pub(super) const fn has(&self, bytes: u64) -> bool {
        self.length >= bytes
    }

    /// Writes whole lines, or none of them.
    pub(super) fn append(&mut self, lines: &[u8]) -> Result<(), Unwritten> {
        if self.spoilt {
            self.take_back()?;
        }
        if (&*self.file).write_all(lines).is_err() {
            self.take_back()?;
            return Err(Unwritten);
        }
        self.length += u64::try_from(lines.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn take_back(&mut self) -> Result<(), Unwritten> {
        self.spoilt = self.file.set_len(self.length).is_err();
        if self.spoilt { Err(Unwritten) } else { Ok(()) }
    }

    /// Brings what was written to the disk.
    pub(super) fn sync(&self) -> Result<(), Unwritten> {
        self.file.sync_data().map_err(|_| Unwritten)
    }

    /// Begins the next file. One that was made and whose folder could not be synced is kept: it
    /// would be in the way of the next attempt.
    pub(super) fn rotate(&mut self) -> Result<(), Unwritten> {
        self.sync()?;
        let number = self.number + 1;
        let made = self.next.take().map_or_else(|| open(&path_of(&self.folder, number), true), Ok);
        let file = made.map_err(|_| Unwritten)?;
        if sync_folder(&self.folder).is_err() {
            self.next = Some(file);
            return Err(Unwritten);
        }
        self.number = number;
        self.file = Arc::new(file);
        self.length = 0;
        Ok(())
    }
}

/// The files of a record in their order.
///
/// # Errors
/// The folder cannot be read.
pub fn files_in(folder: &Path) -> io::Result<Vec<PathBuf>> {
    Ok(numbers_in(folder)?.into_iter().map(|number| path_of(folder, number)).collect())
}

fn numbers_in(folder: &Path) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_str().and_then(|name| name.strip_prefix("audit-"));
        let number = name.and_then(|name| name.strip_suffix(".jsonl"));
        numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

fn path_of(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("audit-{number:06}.jsonl"))
}

/// For appending; readable by the owner and its group, where an auditor's account may be.
fn open(path: &Path, new: bool) -> io::Result<File> {
    File::options().append(true).create_new(new).mode(0o640).open(path)
}

/// Held for as long as the process lives.
fn lock(folder: &Path) -> Result<File, JournalError> {
    let path = folder.join("audit.lock");
    let file = File::options().create(true).append(true).mode(0o640).open(&path);
    let file = file.map_err(|error| failed(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(JournalError::Taken(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(failed(&path, error)),
    }
}

/// A new file is there after a loss of power only when its folder is on the disk, too.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn failed(path: &Path, error: io::Error) -> JournalError {
    JournalError::Io(path.to_owned(), error)
}
