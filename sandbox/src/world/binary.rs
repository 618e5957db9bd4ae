//! Finds the proxy's binary beside our own, and has cargo build it when it is missing or older than
//! its sources.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

/// The repository that this sandbox was built from.
#[must_use]
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// A binary that is up to date, built if need be. `say` tells the user what takes so long.
pub fn portcullis(say: &dyn Fn(&str)) -> Result<PathBuf> {
    let folder = profile_folder()?;
    let binary = folder.join("portcullis");
    if is_fresh(&binary) {
        return Ok(binary);
    }
    let why = if binary.exists() { "is older than its sources" } else { "is not built yet" };
    say(&format!("{} {why}; cargo builds it now", binary.display()));
    build(&folder)?;
    if !binary.exists() {
        bail!("cargo built no {}", binary.display());
    }
    Ok(binary)
}

/// `target/{profile}`; test executables live one level deeper.
fn profile_folder() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program does not know where it is")?;
    let folder = own.parent().context("this program lies in no folder")?;
    match folder.file_name() {
        Some(name) if name == "deps" || name == "examples" => {
            Ok(folder.parent().unwrap_or(folder).to_owned())
        }
        _ => Ok(folder.to_owned()),
    }
}

fn is_fresh(binary: &Path) -> bool {
    let Ok(built) = std::fs::metadata(binary).and_then(|meta| meta.modified()) else {
        return false;
    };
    let root = repository();
    let sources = ["src", "Cargo.toml", "Cargo.lock"].map(|name| newest(&root.join(name)));
    sources.into_iter().flatten().all(|changed| changed <= built)
}

/// The latest change in a file or in a folder's files.
fn newest(path: &Path) -> Option<SystemTime> {
    let meta = std::fs::metadata(path).ok()?;
    if meta.is_file() {
        return meta.modified().ok();
    }
    let entries = std::fs::read_dir(path).ok()?;
    entries.flatten().filter_map(|entry| newest(&entry.path())).max()
}

fn build(folder: &Path) -> Result<()> {
    let status = cargo_build(folder)?.status().context("cargo cannot be started")?;
    if !status.success() {
        bail!("cargo could not build portcullis; its messages are above");
    }
    Ok(())
}

fn cargo_build(folder: &Path) -> Result<Command> {
    let target = folder.parent().context("no target folder")?;
    let profile = folder.file_name().and_then(|name| name.to_str()).unwrap_or("debug");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "portcullis", "--bin", "portcullis"]);
    command.arg("--manifest-path").arg(repository().join("Cargo.toml"));
    command.arg("--target-dir").arg(target);
    match profile {
        "debug" => {}
        "release" => {
            command.arg("--release");
        }
        other => {
            command.args(["--profile", other]);
        }
    }
    say_nothing_of_us(&mut command);
    // cargo's own progress goes to standard error; standard output stays ours.
    command.current_dir(repository()).stdin(Stdio::null()).stdout(Stdio::null());
    Ok(command)
}

/// Leaves out what cargo says of the package that it runs. The build script of ring takes it for a
/// change, and everything above ring would be built anew, here and at the user's next build.
fn say_nothing_of_us(command: &mut Command) {
    let of_us = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(of_us) {
            command.env_remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_is_told_nothing_of_the_package_that_runs() {
        let cargo = cargo_build(Path::new("target/debug")).unwrap();
        let is_left_out = |name: &str| cargo.get_envs().any(|(left, _)| left == name);
        for name in ["CARGO_MANIFEST_DIR", "CARGO_PKG_NAME"] {
            // They are set where cargo runs this.
            assert_eq!(is_left_out(name), std::env::var_os(name).is_some());
        }
        assert!(!is_left_out("CARGO"));
    }
}
