//! What these tests need beside Rust: Chromium with its driver (Debian's packages), and axe-core
//! from the npm registry. What is missing is installed when the first test asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use super::packages::{apt_get, is_there, run};

/// The checker of accessibility; a released version, so that a new one cannot fail an old commit.
const AXE: &str = "axe-core@4.14.1";

/// Chromium and chromedriver are there.
pub(crate) fn chromium() {
    static THERE: LazyLock<()> = LazyLock::new(|| {
        if !is_there("chromedriver") || !is_there("chromium") {
            apt_get(&["chromium", "chromium-driver"]);
        }
    });
    LazyLock::force(&THERE);
}

/// The text of axe-core.
pub(crate) fn axe() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(AXE.replace('@', "-"));
        let file = folder.join("package/axe.min.js");
        if !file.exists() {
            fetch_axe(&folder);
        }
        fs::read_to_string(&file).unwrap()
    });
    &TEXT
}

/// Unpacked beside its place and moved there whole: another run may be doing the same.
fn fetch_axe(folder: &Path) {
    if !is_there("npm") {
        apt_get(&["npm"]);
    }
    let fresh: PathBuf = folder.with_extension(std::process::id().to_string());
    fs::create_dir_all(&fresh).unwrap();
    run(Command::new("npm").args(["pack", "--silent", AXE]).current_dir(&fresh));
    let archive = format!("{}.tgz", AXE.replace('@', "-"));
    run(Command::new("tar").args(["-xzf", &archive]).current_dir(&fresh));
    if fs::rename(&fresh, folder).is_err() {
        fs::remove_dir_all(&fresh).unwrap();
    }
}
