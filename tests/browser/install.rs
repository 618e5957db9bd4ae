//! What these tests need beside Rust: Chromium with its driver (Debian's packages), and axe-core
//! from the npm registry. What is missing is installed when the first test asks for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

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

fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

fn apt_get(packages: &[&str]) {
    eprintln!("installing with apt-get: {}", packages.join(" "));
    let program = |arguments: &[&str]| {
        let root = Command::new("id").arg("-u").output().is_ok_and(|id| id.stdout == b"0\n");
        let mut command = Command::new(if root { "apt-get" } else { "sudo" });
        if !root {
            command.args(["-n", "apt-get"]);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments);
        run(&mut command);
    };
    program(&["update", "-q"]);
    program(&[&["install", "-y", "-q", "--no-install-recommends"], packages].concat());
}

fn run(command: &mut Command) {
    let status = command.status();
    let done = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(done, "{command:?} failed ({status:?}); run it by hand and start the tests again");
}
