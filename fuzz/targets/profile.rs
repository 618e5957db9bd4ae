//! A profile is taken, or refused with a place and without its values.

#![no_main]

mod canary;

use std::path::Path;

use canary::{PAN, contains, planted};
use libfuzzer_sys::fuzz_target;
use portcullis::config::profile;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = String::from_utf8(planted(input)) else { return };
    let lines = text.lines().count();
    let Err(problems) = profile::parse(Path::new("profile.toml"), text) else { return };
    assert!(!problems.is_empty());
    for problem in problems {
        assert!(problem.line <= lines + 1, "{problem}");
        let file = format!("profile.toml:{}", problem.line);
        assert!(problem.to_string().starts_with(&file), "{problem}");
        assert!(!contains(problem.message.as_bytes(), PAN), "a value is told");
    }
});
