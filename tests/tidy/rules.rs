//! The rules: each looks at one file and returns its complaints.

use std::collections::HashSet;
use std::path::Path;

use super::source::{Source, functions, paths, root, words};
use super::{
    COLUMNS, COPIED, DOORS, EMPTY_WORDS, EMPTY_WORDS_ALLOWED, FILE_LINES, FUNCTION_LINES, OPENERS,
    ROOMS, UNSAFE,
};

pub fn layers(file: &Source) -> Vec<String> {
    let Some(room) = file.room() else { return Vec::new() };
    let Some((_, _, imports)) = ROOMS.iter().find(|(name, ..)| *name == room) else {
        return vec![file.at(0, &format!("room `{room}` is not in the layer table"))];
    };
    let is_room = |name: &str| ROOMS.iter().any(|(room, ..)| *room == name);
    let mut complaints = Vec::new();
    for (at, path) in paths(&file.product) {
        if let Some(import) = path.strip_prefix("crate::") {
            let other = first(import);
            let allowed = other == room || imports.iter().any(|allowed| covers(allowed, import));
            if is_room(other) && !allowed {
                complaints.push(file.at(at, &format!("`{room}` may not import `{import}`")));
            } else if !is_room(other) {
                complaints
                    .push(file.at(at, &format!("`{import}` is not in a room of the layer table")));
            }
        }
        let above = path.trim_start_matches("super::");
        if above.len() < path.len() && is_room(first(above)) && above.contains("::") {
            complaints.push(file.at(at, "a room is named by crate::, not by super::"));
        }
    }
    complaints
}

pub fn unused_imports(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (room, _, imports) in ROOMS {
        let files = tree.iter().filter(|file| file.room() == Some(room));
        let used: Vec<String> = files
            .flat_map(|file| paths(&file.product))
            .filter_map(|(_, path)| path.strip_prefix("crate::").map(str::to_owned))
            .collect();
        for allowed in
            imports.iter().filter(|allowed| !used.iter().any(|path| covers(allowed, path)))
        {
            complaints.push(format!(
                "tests/tidy.rs: `{room}` does not use its permission for `{allowed}`"
            ));
        }
    }
    complaints
}

/// `a::b` covers itself and whatever is below it.
pub fn covers(allowed: &str, path: &str) -> bool {
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

pub fn first(path: &str) -> &str {
    path.split("::").next().unwrap_or(path)
}

pub fn doors(file: &Source) -> Vec<String> {
    let Some(place) = file.path.strip_prefix("src/") else { return Vec::new() };
    let mut complaints = Vec::new();
    for (at, path) in file.outside() {
        for (name, places) in DOORS.iter().filter(|(name, _)| covers(name, &path)) {
            if !places.iter().any(|allowed| place.starts_with(allowed)) {
                let through = if places.is_empty() { "no file".into() } else { places.join(", ") };
                complaints.push(file.at(at, &format!("`{name}` comes in through {through}")));
            }
        }
    }
    complaints
}

pub fn unused_doors(tree: &[Source]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, places) in DOORS {
        for place in *places {
            let here = tree.iter().filter(|file| file.path.starts_with(&format!("src/{place}")));
            if !here.flat_map(Source::outside).any(|(_, path)| covers(name, &path)) {
                complaints.push(format!("tests/tidy.rs: nobody uses `{name}` in {place}"));
            }
        }
    }
    complaints
}

/// Names in `[dependencies]` as code spells them, with their lines.
pub fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let lines = manifest.lines().enumerate().skip_while(|(_, line)| *line != "[dependencies]");
    let section = lines.skip(1).take_while(|(_, line)| !line.starts_with('['));
    let entries = section.filter_map(|(at, line)| {
        let (name, _) = line.split_once(" = ")?;
        (!name.starts_with('#')).then(|| (at + 1, name.replace('-', "_")))
    });
    entries.collect()
}

pub fn openers(file: &Source) -> Vec<String> {
    let Some(place) = file.path.strip_prefix("src/") else { return Vec::new() };
    if OPENERS.iter().any(|allowed| place.starts_with(allowed)) {
        return Vec::new();
    }
    let found = file.product.match_indices(".reveal(");
    found.map(|(at, _)| file.at(at, "secrets are not opened here (OPENERS)")).collect()
}

/// Finishing by value moves the hash, and leaves its last block behind on the stack. Pages hash
/// what everybody may read.
pub fn moved_hashes(file: &Source) -> Vec<String> {
    let Some(place) = file.path.strip_prefix("src/") else { return Vec::new() };
    if place.starts_with("page/") {
        return Vec::new();
    }
    let moving = [".finalize()", ".chain_update(", "::digest(", ".finalize_into("];
    let found = moving.iter().flat_map(|call| file.product.match_indices(call));
    let own = |at: &usize| file.product[..*at].ends_with("_digest");
    found
        .map(|(at, _)| at)
        .filter(|at| !own(at))
        .map(|at| file.at(at, "moves a hash; finish it in its place (finalize_reset)"))
        .collect()
}

pub fn unsafe_code(file: &Source) -> Vec<String> {
    if file.path == UNSAFE {
        return Vec::new();
    }
    let found = words(&file.code).filter(|(_, word)| file.is_rust() && *word == "unsafe");
    found.map(|(at, _)| file.at(at, "unsafe code")).collect()
}

pub fn sizes(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    if !file.is_rust() {
        return complaints;
    }
    for (at, line) in file.lines() {
        // A text is as long as it is; rustfmt does not break it either.
        let text = line.contains('"') || file.code[at..at + line.len()] != *line;
        let comment = line.trim_start().starts_with("//");
        if line.chars().count() > COLUMNS && (comment || !text) {
            complaints.push(file.at(at, &format!("over {COLUMNS} columns")));
        }
    }
    if file.is_product() {
        let lines = file.product_raw.lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FILE_LINES {
            let long = format!("{lines} lines without tests and blank lines, {FILE_LINES} at most");
            complaints.push(file.at(0, &long));
        }
        for (name, body) in functions(&file.product) {
            let lines = file.product[body.clone()].lines().count();
            if lines > FUNCTION_LINES {
                let long = format!("`{name}` has {lines} lines, {FUNCTION_LINES} at most");
                complaints.push(file.at(body.start, &long));
            }
        }
    }
    complaints
}

pub fn opening(file: &Source) -> Vec<String> {
    if !file.is_rust() || file.raw.starts_with("//! ") {
        return Vec::new();
    }
    vec![file.at(0, "does not open with `//!` and what it is")]
}

pub fn names(file: &Source) -> Vec<String> {
    if !file.is_product() {
        return Vec::new();
    }
    let stem = Path::new(&file.path).file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let mut defined = vec![(0, stem)];
    let mut before = "";
    for (at, word) in words(&file.product) {
        let keywords = ["fn", "struct", "enum", "union", "trait", "type", "mod", "const", "static"];
        if keywords.contains(&before) {
            defined.push((at, word));
        }
        before = word;
    }
    defined.retain(|(_, name)| !EMPTY_WORDS_ALLOWED.iter().any(|(allowed, _)| name == allowed));
    let empty = |name: &str| snake(name).split('_').any(|part| EMPTY_WORDS.contains(&part));
    let found = defined.iter().filter(|(_, name)| empty(name));
    found
        .map(|(at, name)| file.at(*at, &format!("`{name}` is a word that names nothing")))
        .collect()
}

/// `CamelCase` → `camel_case`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

pub fn prints(file: &Source) -> Vec<String> {
    let speaks = file.path == "src/cli.rs" || file.path.starts_with("src/cli/");
    let product = file.path.starts_with("src/") && !speaks;
    let macros = ["println!", "eprintln!", "print!", "eprint!", "dbg!"];
    let found = words(&file.product).filter(|(at, word)| {
        product
            && macros.iter().any(|name| name.trim_end_matches('!') == *word)
            && file.product[at + word.len()..].starts_with('!')
    });
    found.map(|(at, word)| file.at(at, &format!("{word}! prints; telemetry speaks"))).collect()
}

/// 13 to 19 digits, as people group them, with a right check digit.
pub fn card_numbers(file: &Source) -> Vec<String> {
    if !["src/", "config/", "deploy/"].iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = file.product_raw.as_bytes();
    let mut complaints = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let mut digits = Vec::new();
        let mut end = at;
        while end < bytes.len()
            && (bytes[end].is_ascii_digit() || (!digits.is_empty() && b" -".contains(&bytes[end])))
        {
            if bytes[end].is_ascii_digit() {
                digits.push(bytes[end] - b'0');
            } else if b" -".contains(&bytes[end - 1]) {
                break;
            }
            end += 1;
        }
        let apart =
            (at == 0 || !inside(bytes[at - 1])) && bytes.get(end).is_none_or(|byte| !inside(*byte));
        if apart && (13..=19).contains(&digits.len()) && luhn(&digits) {
            complaints.push(file.at(at, "looks like a card number"));
        }
        at = end.max(at + 1);
    }
    complaints
}

fn luhn(digits: &[u8]) -> bool {
    let doubled = |(place, digit): (usize, &u8)| match (place % 2, *digit) {
        (0, digit) => u32::from(digit),
        (_, digit) => u32::from(digit) * 2 - if digit > 4 { 9 } else { 0 },
    };
    digits.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
}

/// Paths of a developer's machine, hosts of package mirrors, and who or what wrote a line. Written
/// in two halves, so that this file does not contain what it looks for.
pub fn foreign_words(file: &Source) -> Vec<String> {
    let anywhere = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/Us", "ers/"),
        concat!("/fa", "rm/"),
        concat!("/tmp/", "lab"),
        concat!("/tmp/", "studio"),
        concat!("spar", "se+http"),
        concat!("steering ", "repo"),
    ];
    let whole = [
        concat!("cla", "ude"),
        concat!("anth", "ropic"),
        concat!("open", "ai"),
        concat!("chat", "gpt"),
        concat!("copi", "lot"),
        concat!("sub", "agent"),
        concat!("subag", "ents"),
        concat!("l", "lm"),
    ];
    let mut complaints = Vec::new();
    for (at, line) in file.lines() {
        let low = line.to_lowercase();
        let own = words(&low).find(|(_, word)| whole.contains(word)).map(|(_, word)| word);
        let place = anywhere.into_iter().find(|word| line.contains(word) && !copied(file));
        let word = place.or(own);
        if let Some(word) = word.or_else(|| mirror(&low)) {
            complaints.push(file.at(at, &format!("`{word}` is not for this repository")));
        }
    }
    complaints
}

fn copied(file: &Source) -> bool {
    COPIED.iter().any(|place| file.path.starts_with(place))
}

/// A host name that begins with the word and goes on for two more labels.
fn mirror(line: &str) -> Option<&str> {
    let plain =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase());
    let name = line
        .split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '.' && letter != '-');
    name.into_iter().find(|host| {
        let labels: Vec<&str> = host.split(['.', '-']).collect();
        let at = labels.iter().position(|label| *label == "registry");
        at.is_some_and(|at| {
            labels[at + 1..].len() >= 2 && labels[at + 1..].iter().all(|label| plain(label))
        })
    })
}

pub fn unfinished(file: &Source) -> Vec<String> {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
        concat!("unimpl", "emented"),
    ];
    let found = words(&file.raw).filter(|(_, word)| marks.contains(word));
    let ignored =
        file.code.match_indices(concat!("#[ign", "ore")).map(|(at, _)| file.at(at, "ignored test"));
    found.map(|(at, word)| file.at(at, &format!("{word} is unfinished"))).chain(ignored).collect()
}

/// Endings of lines and files; samples, the compiler's answers and copied data stay as they are.
pub fn hygiene(file: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let sample = [".json", ".jsonl", ".stderr", ".txt"].iter().any(|end| file.path.ends_with(end));
    if sample || copied(file) {
        return complaints;
    }
    for (at, line) in file.lines() {
        if line.ends_with([' ', '\t', '\r']) {
            complaints.push(file.at(at, "space at the end of the line"));
        }
        if file.is_rust() && line.contains('\t') {
            complaints.push(file.at(at, "a tab"));
        }
    }
    if !file.raw.is_empty() && (!file.raw.ends_with('\n') || file.raw.ends_with("\n\n")) {
        complaints.push(file.at(file.raw.len(), "a file ends with one line end"));
    }
    complaints
}

/// In Markdown: relative links, and the paths that a sentence names in backticks, from the root or
/// from `src/`.
pub fn links(file: &Source) -> Vec<String> {
    if !file.path.ends_with(".md") {
        return Vec::new();
    }
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let mut complaints = Vec::new();
    for (at, line) in file.lines() {
        for target in line.split("](").skip(1).filter_map(|rest| rest.split([')', '#', ' ']).next())
        {
            let outside = target.is_empty() || target.contains(':');
            if !outside && !root().join(folder).join(target).exists() {
                complaints.push(file.at(at, &format!("the link to {target} leads nowhere")));
            }
        }
        for named in line.split('`').skip(1).step_by(2) {
            let ours =
                ["src/", "tests/", "config/", "sandbox/", "deploy/", "benches/", "fuzz/", ".ci/"];
            let plain =
                named.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            let path = ours.iter().any(|ours| named.starts_with(ours)) && plain;
            let there = |below: &str| root().join(below).join(named).exists();
            if path && !there("") && !there("src") {
                complaints.push(file.at(at, &format!("{named} does not exist")));
            }
        }
    }
    complaints
}

/// Tests that a table of promises names, in its last column.
pub fn promised_tests(file: &Source, there: &HashSet<&str>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (at, line) in file.lines().filter(|(_, line)| line.starts_with('|')) {
        let last = line.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or_default();
        let named = last.split('`').skip(1).step_by(2);
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let tests = named.filter(|name| name.contains('_') && name.bytes().all(is_name));
        for test in tests.filter(|test| !there.contains(test)) {
            complaints.push(file.at(at, &format!("there is no test `{test}`")));
        }
    }
    complaints
}
