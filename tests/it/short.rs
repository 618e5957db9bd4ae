//! A machine that is short of memory: the system makes no thread for a look-up, and tokio panics
//! in whoever asked for it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// More than the system's C library keeps of stacks that are free, so that each takes memory anew.
pub(crate) const STACK: &str = "RUST_MIN_STACK=67108864";
/// What the process may have beyond what it has: no such stack, and everything else.
const SPARE: u64 = 32 << 20;

/// The program with a variable of the environment.
pub(crate) fn with_variable(folder: &Path, variable: &str, program: &Path) -> PathBuf {
    let script = folder.join("portcullis");
    let text = format!("#!/bin/sh\n{variable} exec '{}' \"$@\"\n", program.display());
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    script
}

/// The card form of the first account that has one may be at this port, too.
pub(crate) fn payform_also_at(config: &str, port: u16) -> String {
    let hosts = "[account.payform]\nhosts = [";
    assert!(config.contains(hosts));
    config.replacen(hosts, &format!("{hosts}\"localhost:{port}\", "), 1)
}

/// From now on the process gets no thread.
pub(crate) fn take_threads(pid: u32) {
    limit(pid, &(size(pid) + SPARE).to_string());
}

/// It gets them again.
pub(crate) fn give_threads(pid: u32) {
    limit(pid, "unlimited");
}

/// Bytes of address space that the process has.
fn size(pid: u32) -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"));
    let size = status.unwrap().lines().find_map(|line| {
        line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
    });
    size.unwrap() << 10
}

fn limit(pid: u32, bytes: &str) {
    let output = Command::new("prlimit")
        .args(["--pid", &pid.to_string(), &format!("--as={bytes}:unlimited")])
        .output();
    let output = output.unwrap_or_else(|_| panic!("this test needs prlimit of util-linux"));
    assert!(output.status.success(), "{output:?}");
}
