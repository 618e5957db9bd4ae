//! Root keys: `vault.root_key`, which is version 1, and further versions in `vault.root_keys`. Read
//! at start, and anew whenever the process is told to.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::secret::SecretBytes;

use super::reader::{Notes, Problem, Table};
use super::secrets;
use super::shares::SHARES_MAX;

/// What stands before the key in a root key file, so that no other file is taken for one.
const PREFIX: &str = "portcullis-root-key-v1:";

const NOT_A_KEY: &str = "is not a key made by `portcullis keygen`";

/// The version of `vault.root_key`.
const FIRST: u32 = 1;

/// One root key.
#[derive(Debug)]
pub struct RootKey {
    /// Its version. The highest one seals.
    pub version: u32,
    /// Its key in the configuration, such as `vault.root_keys[0]`.
    pub path: String,
    /// Where it is.
    pub key: RootKeySource,
}

/// Where a root key is.
#[derive(Debug)]
pub enum RootKeySource {
    /// Here: 32 bytes.
    Read(SecretBytes),
    /// With people, who type in so many shares at start.
    Shares(u8),
}

impl RootKey {
    /// The key, unless it is still to be typed in.
    #[must_use]
    pub const fn read(&self) -> Option<&SecretBytes> {
        match &self.key {
            RootKeySource::Read(key) => Some(key),
            RootKeySource::Shares(_) => None,
        }
    }
}

/// The text of a new root key file.
pub fn new_root_key() -> Zeroizing<String> {
    let mut key = Zeroizing::new([0u8; 32]);
    crate::secret::fill_random(key.as_mut_slice());
    let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + 45));
    text.push_str(PREFIX);
    STANDARD.encode_string(key.as_slice(), &mut text);
    text.push('\n');
    text
}

/// Reads the root keys that a configuration file names, and nothing else of it.
///
/// # Errors
/// Whatever is wrong with the file's spelling, with `[vault]` or with a root key.
pub fn root_keys(file: &Path) -> Result<Vec<RootKey>, Vec<Problem>> {
    let notes = Notes::new(file, super::read_text(file)?);
    let keys = notes.parse().map(|document| super::vault(&Table::root(&notes, &document)).1);
    let (problems, _) = notes.into_parts();
    keys.filter(|_| problems.is_empty()).ok_or(problems)
}

/// All root keys of `[vault]`; none means a random one.
pub(super) fn read(vault: &Table<'_>) -> Vec<RootKey> {
    let first = vault.has("root_key").then(|| {
        let key = source(vault, "root_key")?;
        Some(RootKey { version: FIRST, path: vault.path_of("root_key"), key })
    });
    let mut keys: Vec<RootKey> = first.flatten().into_iter().collect();
    let mut versions: Vec<u32> = vault.has("root_key").then_some(FIRST).into_iter().collect();
    for table in vault.tables("root_keys") {
        let version = version(&table);
        if version.is_some_and(|version| versions.contains(&version)) {
            table.fail("version", "is there twice; `vault.root_key` is version 1");
        }
        versions.extend(version);
        if !table.has("key") {
            table.fail("key", "is required: { file = \"…\" } or { shares = 3 }");
        }
        let key = source(&table, "key");
        let path = table.path_of("key");
        keys.extend(version.zip(key).map(|(version, key)| RootKey { version, path, key }));
        table.finish();
    }
    keys
}

fn version(table: &Table<'_>) -> Option<u32> {
    if !table.has("version") {
        table.fail("version", "is required: a whole number; the highest version seals");
        return None;
    }
    u32::try_from(table.number("version", 0, 1..=1_000_000)).ok()
}

fn source(table: &Table<'_>, key: &str) -> Option<RootKeySource> {
    let reference = table.optional_table(key)?;
    if !reference.has("shares") {
        return root_key(table, key).map(RootKeySource::Read);
    }
    let shares = reference.number("shares", 0, 2..=u64::from(SHARES_MAX));
    reference.finish();
    u8::try_from(shares).ok().map(RootKeySource::Shares)
}

/// The 32 bytes of a root key file, whose text was read as a secret.
pub(super) fn root_key(table: &Table<'_>, key: &str) -> Option<SecretBytes> {
    let text = secrets::optional(table, key)?;
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
    let encoded = text.strip_prefix(PREFIX.as_bytes())?;
    let bytes = STANDARD.decode(encoded).ok().map(Zeroizing::new)?;
    (bytes.len() == 32).then(|| SecretBytes::long_lived(&bytes))
}
