//! Panics, told by their place alone.

use std::io::Write as _;
use std::sync::OnceLock;

use super::Event;
use super::copies::Copies;
use super::log::line_of;

/// Where a collector finds them, too.
static COPIES: OnceLock<Copies> = OnceLock::new();

/// What a program ends with whose main thread panics.
const PANICKED: i32 = 101;

/// From now on a panic is one line with its place in the source. A message could quote what was
/// being worked on: an error's text, a piece of a body. One of the main thread ends the process at
/// once: unwinding it could wait for ever for threads that were to serve.
pub fn tell_places_only() {
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
        tell(file, line);
        if std::thread::current().name() == Some("main") {
            std::process::exit(PANICKED);
        }
    }));
}

/// From now on it is a line for the collector as well.
pub fn export_panics(copies: &Copies) {
    let _ = COPIES.set(copies.clone());
}

fn tell(file: &str, line: u32) {
    let line = line_of(&Event::Panicked { file, line });
    // At once and not through the log: the process may be about to end.
    let _ = std::io::stderr().lock().write_all(&line);
    if let Some(copies) = COPIES.get() {
        copies.keep_unless_held(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_line_for_the_collector_and_waits_for_nobody() {
        let copies = Copies::default();
        export_panics(&copies);
        tell("src/a.rs", 7);
        let (lines, lost) = copies.take(9);
        let lines = String::from_utf8(lines).unwrap();
        assert!(lines.ends_with("\"event\":\"panicked\",\"file\":\"src/a.rs\",\"line\":7}\n"));
        assert_eq!((lines.lines().count(), lost), (1, 0));
        // Whoever panics may hold the lines.
        copies.while_held(|| tell("src/b.rs", 8));
        assert!(copies.take(9).0.is_empty());
    }
}
