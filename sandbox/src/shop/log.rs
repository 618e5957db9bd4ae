//! The shop's log: everything that its server received, raw, so that a visitor can look for a card
//! in it.

use crate::lock;
use anyhow::{Context, Result};
use http::HeaderMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// An append-only file.
pub struct Log {
    path: PathBuf,
    file: Mutex<File>,
}

impl Log {
    /// Opens it, readable by its owner only.
    pub fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Writes one message down as it came.
    pub fn received(&self, what: &str, headers: &HeaderMap, body: &[u8]) {
        let mut entry = format!("<<< {what}\n").into_bytes();
        for (name, value) in headers {
            entry.extend_from_slice(name.as_str().as_bytes());
            entry.extend_from_slice(b": ");
            entry.extend_from_slice(value.as_bytes());
            entry.push(b'\n');
        }
        entry.push(b'\n');
        entry.extend_from_slice(body);
        entry.extend_from_slice(b"\n\n");
        if let Err(error) = lock(&self.file).write_all(&entry) {
            eprintln!("shop: its log cannot be written: {error}");
        }
    }

    /// Everything written so far.
    pub fn read(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.path).context("the shop's log cannot be read")
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}
