//! Secret references: `{ file = "…" }` or `{ env = "…" }`, read once at start.
//!
//! Must never put a secret, or a part of one, into an error.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

use super::reader::Table;

/// What stands before the key in a root key file, so that no other file is taken for one.
const ROOT_KEY_PREFIX: &str = "portcullis-root-key-v1:";

const NOT_A_KEY: &str = "is not a root key; make one with `portcullis keygen`";

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

/// The text of a new root key file.
pub fn new_root_key() -> Zeroizing<String> {
    let mut key = Zeroizing::new([0u8; 32]);
    crate::secret::fill_random(key.as_mut_slice());
    let mut text = Zeroizing::new(String::with_capacity(ROOT_KEY_PREFIX.len() + 45));
    text.push_str(ROOT_KEY_PREFIX);
    STANDARD.encode_string(key.as_slice(), &mut text);
    text.push('\n');
    text
}

/// The 32 bytes of a root key file, whose text was read as a secret.
pub(super) fn root_key(table: &Table<'_>, key: &str) -> Option<SecretBytes> {
    let text = optional(table, key)?;
    let decoded = text.reveal(decode);
    if decoded.is_none() {
        table.fail(key, NOT_A_KEY);
    }
    decoded
}

/// The same for a file that no configuration names.
///
/// # Errors
/// It cannot be read, or is none.
pub fn read_root_key(file: &Path) -> Result<SecretBytes, String> {
    let failed = |what: &str| format!("{}: {what}", file.display());
    let text = std::fs::read(file).map(Zeroizing::new);
    let text = text.map_err(|error| failed(&error.kind().to_string()))?;
    decode(text.trim_ascii()).ok_or_else(|| failed(NOT_A_KEY))
}

fn decode(text: &[u8]) -> Option<SecretBytes> {
    let encoded = text.strip_prefix(ROOT_KEY_PREFIX.as_bytes())?;
    let bytes = STANDARD.decode(encoded).ok().map(Zeroizing::new)?;
    (bytes.len() == 32).then(|| SecretBytes::long_lived(&bytes))
}

fn from_reference(reference: &Table<'_>) -> Option<SecretBytes> {
    match (reference.optional_text("file"), reference.optional_text("env")) {
        (Some(file), None) => from_file(reference, &file),
        (None, Some(name)) => from_environment(reference, &name),
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
        Ok(about) if about.permissions().mode() & 0o007 != 0 => {
            reference.fail("file", "is open to every user; run chmod o-rwx on it");
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
