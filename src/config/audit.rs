//! Where every reveal is recorded.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use crate::audit::{AnchorKey, Flush, Settings};
use crate::secret::SecretBytes;

use super::reader::Table;
use super::root_keys::{self, RootKey};

const MIB: u64 = 1 << 20;

/// The record's settings; none where the table is missing.
pub(super) fn audit(root: &Table<'_>, root_keys: &[RootKey]) -> Option<Settings> {
    let table = root.optional_table("audit")?;
    let folder = table.text("folder");
    let folder = (!folder.is_empty()).then(|| table.folder_beside(&folder));
    if let Some(folder) = &folder
        && let Some(complaint) = unusable(folder)
    {
        table.fail("folder", &complaint);
    }
    if !table.has("key") {
        table.fail("key", "is required: { file = \"…\" }, made by `portcullis keygen`");
    }
    let key = root_keys::root_key(&table, "key");
    if key.as_ref().is_some_and(|key| root_keys.iter().any(|root| is_same(key, root))) {
        table.fail("key", "is a root key, too; reviewers get this one, so make another for it");
    }
    let key = key.map(AnchorKey::new);
    let interval = table.number("flush_interval_ms", 1000, 10..=60_000);
    let flush = match table.text_or("flush", "interval").as_str() {
        "interval" => Flush::Interval(Duration::from_millis(interval)),
        "every_record" => Flush::EveryRecord,
        _ => {
            table.fail("flush", "must be interval or every_record");
            Flush::EveryRecord
        }
    };
    let file_bytes = table.number("file_bytes", 64 * MIB, 64 * 1024..=1024 * MIB);
    table.finish();
    Some(Settings { folder: folder?, key: key?, flush, file_bytes })
}

fn is_same(key: &SecretBytes, root: &RootKey) -> bool {
    root.read().is_some_and(|root| root.reveal(|root| key.ct_eq(root)))
}

/// Whoever may write into the folder may put another record there.
fn unusable(folder: &Path) -> Option<String> {
    match std::fs::metadata(folder) {
        Err(error) => Some(format!("cannot be read: {}; make the folder", error.kind())),
        Ok(about) if !about.is_dir() => Some("is not a folder".to_owned()),
        Ok(about) if about.permissions().mode() & 0o002 != 0 => {
            Some("can be written by every user; run chmod o-w on it".to_owned())
        }
        Ok(_) => None,
    }
}
