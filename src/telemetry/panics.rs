//! Panics, told by their place alone.

use std::io::Write as _;

use super::Event;
use super::log::line_of;

/// From now on a panic is one line with its place in the source. A message could quote what was
/// being worked on: an error's text, a piece of a body.
pub fn tell_places_only() {
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
        // At once and not through the log: the process may be about to end.
        let _ = std::io::stderr().lock().write_all(&line_of(&Event::Panicked { file, line }));
    }));
}
