//! Programs that tests need beside Rust and a C compiler, from Debian's packages. What is missing
//! is installed when the first test asks for it.

use std::process::Command;
use std::sync::LazyLock;

/// A debugger is there, with its `gcore`.
pub(crate) fn debugger() {
    static THERE: LazyLock<()> = LazyLock::new(|| {
        if !is_there("gdb") {
            apt_get(&["gdb"]);
        }
    });
    LazyLock::force(&THERE);
}

/// Whether this machine has the program.
pub(crate) fn is_there(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Installs Debian's packages, as root or by `sudo`.
pub(crate) fn apt_get(packages: &[&str]) {
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

/// Runs it to a good end.
pub(crate) fn run(command: &mut Command) {
    let status = command.status();
    let done = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(done, "{command:?} failed ({status:?}); run it by hand and start the tests again");
}
