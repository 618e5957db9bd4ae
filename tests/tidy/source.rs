//! Files of the tree, and as much of Rust's grammar as the rules need.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file that must be there.
pub fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One text file.
pub struct Source {
    /// Relative to the repository.
    pub path: String,
    pub raw: String,
    /// Without comments, texts and characters: spaces stand in their place, positions agree.
    pub code: String,
    /// The same without what is compiled for tests alone.
    pub product: String,
    /// `raw` without what is compiled for tests alone.
    pub product_raw: String,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let code = if path.ends_with(".rs") { without_texts(raw) } else { raw.to_owned() };
        let tests = if path.ends_with(".rs") { test_items(&code) } else { Vec::new() };
        let product = without(&code, &tests);
        let product_raw = without(raw, &tests);
        Self { path: path.to_owned(), raw: raw.to_owned(), code, product, product_raw }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether it is code that runs outside tests: the product and the sandbox.
    pub fn is_product(&self) -> bool {
        self.is_rust() && (self.path.starts_with("src/") || self.path.starts_with("sandbox/src/"))
    }

    /// The room it belongs to.
    pub fn room(&self) -> Option<&str> {
        let place = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let room = place.split('/').next()?;
        (!["lib", "main"].contains(&room)).then_some(room)
    }

    /// Paths that begin outside the room: crates, the standard library, other rooms.
    pub fn outside(&self) -> Vec<(usize, String)> {
        paths(&self.product)
    }

    /// A complaint about the line of this position.
    pub fn at(&self, at: usize, complaint: &str) -> String {
        let before = self.raw.as_bytes().iter().take(at);
        let line = 1 + before.filter(|byte| **byte == b'\n').count();
        format!("{}:{line}: {complaint}", self.path)
    }

    /// Lines with their positions.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let begin = self.raw.as_ptr() as usize;
        self.raw.split('\n').map(move |line| (line.as_ptr() as usize - begin, line))
    }
}

/// Every text file of the repository but lock files and what a fuzzer begins with, which is bytes.
pub fn tree() -> Vec<Source> {
    let mut names = listed().unwrap_or_else(|| walk(&root(), ""));
    names.retain(|name| !name.ends_with("Cargo.lock") && !name.starts_with("fuzz/seeds/"));
    let source =
        |name: &String| Some(Source::new(name, &fs::read_to_string(root().join(name)).ok()?));
    let mut files: Vec<Source> = names.iter().filter_map(source).collect();
    // A file whose `mod` line is for tests alone is for tests as a whole, and so is its folder.
    let mut for_tests = Vec::new();
    for file in files.iter().filter(|file: &&Source| file.is_rust()) {
        for range in test_items(&file.code) {
            let item: Vec<&str> = words(&file.code[range]).map(|(_, word)| word).collect();
            if let Some(at) = item.iter().position(|word| *word == "mod") {
                let folder = Path::new(&file.path).with_extension("");
                let folder = match folder.file_name().and_then(|name| name.to_str()) {
                    Some("mod" | "lib" | "main") => folder.parent().map(Path::to_owned),
                    _ => Some(folder),
                };
                let module = folder.unwrap_or_default().join(item[at + 1]);
                for_tests.push(module);
            }
        }
    }
    let is_for_tests = |file: &&mut Source| {
        let path = Path::new(&file.path).with_extension("");
        for_tests.iter().any(|module| path.starts_with(module))
    };
    for file in files.iter_mut().filter(is_for_tests) {
        let whole = 0..file.raw.len();
        file.product = without(&file.code, std::slice::from_ref(&whole));
        file.product_raw = without(&file.raw, &[whole]);
    }
    files
}

/// What git tracks or would; none when this is no work tree.
fn listed() -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let git = Command::new("git").current_dir(root()).args(arguments).output().ok()?;
    let names = String::from_utf8(git.stdout).ok()?;
    let names: Vec<String> = names.split_terminator('\0').map(str::to_owned).collect();
    (git.status.success() && !names.is_empty()).then_some(names)
}

/// Every file below a folder, but for what is built.
fn walk(folder: &Path, below: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{below}: {error}")) {
        let name = entry.unwrap().file_name().to_string_lossy().into_owned();
        let (inner, path) = (folder.join(&name), format!("{below}{name}"));
        match inner.is_dir() {
            true if [".git", "target"].contains(&path.as_str()) => {}
            true => names.extend(walk(&inner, &format!("{path}/"))),
            false => names.push(path),
        }
    }
    names.sort();
    names
}

/// The same text with spaces in place of these ranges; lines stay where they are.
fn without(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        for byte in &mut bytes[range.clone()] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    }
    String::from_utf8(bytes).expect("whole characters were replaced")
}

/// The code without comments, texts and characters.
fn without_texts(raw: &str) -> String {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(rest) = raw.get(at..) {
        let Some(letter) = rest.chars().next() else { break };
        let length = match letter {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => comment(rest),
            '"' => text(rest),
            '\'' => character(rest),
            'r' if !ends_in_word(&raw[..at], "bc") => raw_text(rest),
            _ => 0,
        };
        if length > 0 {
            ranges.push(at..at + length);
        }
        at += length.max(letter.len_utf8());
    }
    without(raw, &ranges)
}

/// Whether the text ends within a word, apart from these letters that may stand before a text.
fn ends_in_word(text: &str, prefixes: &str) -> bool {
    let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut before = text.chars().rev();
    match before.next() {
        Some(letter) if prefixes.contains(letter) => before.next().is_some_and(in_word),
        Some(letter) => in_word(letter),
        None => false,
    }
}

/// The length of a block comment; they nest.
fn comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let step = match rest.as_bytes()[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// The length of a text in quotes.
fn text(rest: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of `r"…"` or `r#"…"#`; 0 when it is a word or a raw name.
fn raw_text(rest: &str) -> usize {
    let marks = rest.bytes().skip(1).take_while(|byte| *byte == b'#').count();
    if rest.as_bytes().get(1 + marks) != Some(&b'"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(marks));
    let begin = marks + 2;
    rest[begin..].find(&end).map_or(rest.len(), |at| begin + at + end.len())
}

/// The length of a character; 0 when it is a lifetime.
fn character(rest: &str) -> usize {
    let mut letters = rest.char_indices().skip(1);
    match letters.next() {
        Some((_, '\\')) => rest[3..].find('\'').map_or(0, |at| at + 4),
        Some(_) => letters.next().filter(|(_, letter)| *letter == '\'').map_or(0, |(at, _)| at + 1),
        None => 0,
    }
}

/// Items behind `#[cfg(test)]`, and everything behind `#![cfg(test)]`.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let mut items = Vec::new();
    if code.contains("#![cfg(test)]") {
        items.push(0..code.len());
        return items;
    }
    for (begin, mark) in code.match_indices("#[cfg(test)]") {
        let end = item_end(code, begin + mark.len());
        if items.last().is_none_or(|last: &Range<usize>| last.end <= begin) {
            items.push(begin..end);
        }
    }
    items
}

/// Where the item that begins here ends: at its `;`, or with its outermost braces.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            b';' if depth == 0 => return at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Words with their positions.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let begin = text.as_ptr() as usize;
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - begin, word))
}

/// Functions with a body: name, and from `fn` to the closing brace.
pub fn functions(code: &str) -> Vec<(&str, Range<usize>)> {
    let mut functions = Vec::new();
    let mut before = (0, "");
    for (at, word) in words(code) {
        if before.1 == "fn" && code[before.0 + 2..at].trim().is_empty() {
            functions.push((word, before.0..item_end(code, at)));
        }
        before = (at, word);
    }
    functions
}

/// Names of the functions that a harness runs.
pub fn tests(file: &Source) -> impl Iterator<Item = &str> {
    let functions = if file.is_rust() { functions(&file.code) } else { Vec::new() };
    let is_test = |at: usize| {
        let attributes = file.code[..at].rsplit(['{', '}', ';']).next().unwrap_or_default();
        ["#[test]", "#[tokio::test"].iter().any(|test| attributes.contains(test))
    };
    functions.into_iter().filter(move |(_, body)| is_test(body.start)).map(|(name, _)| name)
}

/// Paths with their positions, `use` trees spelled out: `use a::{b, c::d}` is `a::b` and `a::c::d`.
pub fn paths(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut end = 0;
    let mut before = "";
    for (at, word) in words(code) {
        let inner = code[..at].ends_with("::") || code[..at].ends_with('.');
        let begins = code[at + word.len()..].starts_with("::") || before == "use";
        if at >= end && !inner && begins {
            end = branch(code, at, "", &mut found);
        }
        before = word;
    }
    found
}

/// One branch of a `use` tree, or a path in code; returns where it ends.
fn branch(code: &str, at: usize, prefix: &str, found: &mut Vec<(usize, String)>) -> usize {
    let in_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    let at = at + code[at..].len() - code[at..].trim_start().len();
    if code[at..].starts_with('{') {
        let mut next = at + 1;
        loop {
            next += code[next..].len() - code[next..].trim_start_matches([' ', '\n', ',']).len();
            if code[next..].is_empty() || code[next..].starts_with('}') {
                return next + 1;
            }
            next = branch(code, next, prefix, found).max(next + 1);
        }
    }
    let end = at + code[at..].find(|letter| !in_word(letter)).unwrap_or(code.len() - at);
    let path = format!("{prefix}{}", &code[at..end]);
    if let Some(rest) = code[end..].strip_prefix("::")
        && rest.trim_start().starts_with(|letter| in_word(letter) || letter == '{')
    {
        return branch(code, end + 2, &format!("{path}::"), found);
    }
    found.push((at, path));
    match code[end..].trim_start().strip_prefix("as ") {
        Some(rest) if !prefix.is_empty() => {
            let alias = code.len() - rest.len();
            alias + rest.find(|letter| !in_word(letter)).unwrap_or(rest.len())
        }
        _ => end,
    }
}
