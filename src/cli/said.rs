//! What the commands say: answers on standard output, complaints on standard error.
//!
//! Must never end the process because nobody takes it: a reader may stop in the middle, and a disk
//! may be full.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

/// The command could not do what it was called for.
pub(super) fn failed(why: &dyn Display) -> ExitCode {
    complain(&format_args!("portcullis: {why}"));
    ExitCode::FAILURE
}

/// A line on standard error; where nobody takes it the exit code has to do.
pub(super) fn complain(line: &dyn Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// The answer of a command that ends with this code; where it is not taken, with 1.
pub(super) fn printed(
    code: ExitCode,
    print: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> ExitCode {
    let mut out = io::stdout().lock();
    match print(&mut out).and_then(|()| out.flush()) {
        Ok(()) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        Err(error) => failed(&format_args!("standard output: {}", error.kind())),
    }
}

/// The command was called in a wrong way.
pub(super) fn misused(why: &str) -> ExitCode {
    failed(&why);
    ExitCode::from(2)
}

/// A question, which the cursor stays behind.
pub(super) fn ask(text: &dyn Display) {
    let mut out = io::stderr().lock();
    let _ = write!(out, "{text}").and_then(|()| out.flush());
}
