//! Secret references: `{ file = "…" }` or `{ env = "…" }`, read with the configuration.
//!
//! Must never put a secret, or a part of one, into an error.

use std::fs::Metadata;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::secret::SecretBytes;

use super::reader::Table;

/// A secret that must be there.
pub(super) fn required(table: &Table<'_>, key: &str) -> Option<SecretBytes> {
    if !table.has(key) {
        table.fail(key, "is required: { file = \"…\" } or { env = \"…\" }");
        return None;
    }
    optional(table, key)
}

/// A secret that may be missing.
pub(super) fn optional(table: &Table<'_>, key: &str) -> Option<SecretBytes> {
    if !table.has(key) {
        return None;
    }
    let reference = table.optional_table(key)?;
    let secret = from_reference(&reference);
    reference.finish();
    secret
}

/// A list of secrets; missing means empty.
pub(super) fn list(table: &Table<'_>, key: &str) -> Vec<SecretBytes> {
    let references = table.tables(key);
    references
        .into_iter()
        .filter_map(|reference| {
            let secret = from_reference(&reference);
            reference.finish();
            secret
        })
        .collect()
}

fn from_reference(reference: &Table<'_>) -> Option<SecretBytes> {
    match (reference.has("file"), reference.has("env")) {
        (true, false) => from_file(reference, &reference.optional_text("file")?),
        (false, true) => from_environment(reference, &reference.optional_text("env")?),
        _ => {
            reference.fail("file", "name either a file or an environment variable (env)");
            None
        }
    }
}

fn from_file(reference: &Table<'_>, file: &str) -> Option<SecretBytes> {
    let path = reference.beside(file);
    match std::fs::metadata(&path) {
        Err(error) => {
            reference.fail("file", &format!("cannot be read: {}", error.kind()));
            return None;
        }
        Ok(about) if gives_all(&about) => {
            reference.fail("file", OPEN_TO_ALL);
            return None;
        }
        Ok(_) => {}
    }
    match std::fs::read(&path).map(Zeroizing::new) {
        Ok(bytes) => not_empty(reference, "file", &bytes),
        Err(error) => {
            reference.fail("file", &format!("cannot be read: {}", error.kind()));
            None
        }
    }
}

/// What is said of one.
pub(super) const OPEN_TO_ALL: &str = "is open to every user; run chmod o-rwx on it";

/// Whether every user of the machine may do something with a file that is there.
#[must_use]
pub fn is_open_to_all(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|about| gives_all(&about))
}

fn gives_all(about: &Metadata) -> bool {
    about.permissions().mode() & 0o007 != 0
}

fn from_environment(reference: &Table<'_>, name: &str) -> Option<SecretBytes> {
    match std::env::var(name).map(Zeroizing::new) {
        Ok(text) => not_empty(reference, "env", text.as_bytes()),
        Err(_) => {
            reference.fail("env", "is not set, or is not text");
            None
        }
    }
}

fn not_empty(reference: &Table<'_>, key: &str, bytes: &[u8]) -> Option<SecretBytes> {
    let trimmed = bytes.trim_ascii();
    if trimmed.is_empty() {
        reference.fail(key, "is empty");
        return None;
    }
    Some(SecretBytes::long_lived(trimmed))
}
