//! The working folder: mode 0700, everything in it 0600, gone at the end unless it is kept.

use anyhow::{Context, Result};
use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The folder.
pub(super) struct Folder {
    path: PathBuf,
    _removed_at_end: Option<TempDir>,
}

impl Folder {
    /// Makes one in the system's temporary folder.
    pub(super) fn new(keep: bool) -> Result<Self> {
        let made = tempfile::Builder::new()
            .prefix("portcullis-sandbox-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir();
        let made = made.context("no temporary folder can be made")?;
        let folder = match keep {
            true => Self { path: made.keep(), _removed_at_end: None },
            false => Self { path: made.path().to_owned(), _removed_at_end: Some(made) },
        };
        for name in ["tls", "secrets", "apps", "logs"] {
            let made = DirBuilder::new().mode(0o700).create(folder.path.join(name));
            made.with_context(|| format!("{name} cannot be made in the working folder"))?;
        }
        Ok(folder)
    }

    /// Where it is.
    #[must_use]
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// A path in it.
    #[must_use]
    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that only its owner reads.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let file =
            OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
        written.with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(path)
    }
}
