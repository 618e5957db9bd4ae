//! A cursor over a TOML document that reads typed values and collects every error with its line.
//!
//! Must never put a value into an error: a value can be a secret in the wrong place. What was read,
//! defaults included, is recorded, so that `check` can print it and a test can compare it with the
//! documented file.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// Line, counted from 1; 0 when the file could not be read.
    pub line: usize,
    /// The key's full path, such as `public.address`.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.file.display())?;
        if self.line > 0 {
            write!(out, ":{}", self.line)?;
        }
        if !self.key.is_empty() {
            write!(out, ": {}", Shown(&self.key))?;
        }
        write!(out, ": {}", Shown(&self.message))
    }
}

/// A text that a terminal only shows: a file may name its keys in control characters.
struct Shown<'t>(&'t str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|sign| match sign.is_control() {
            true => write!(out, "{}", sign.escape_default()),
            false => out.write_char(sign),
        })
    }
}

/// One value as it will be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The key's full path.
    pub key: String,
    /// The value in TOML's spelling; secrets appear as the reference that names them.
    pub value: String,
    /// Whether the file was silent and this is the default.
    pub default: bool,
    /// Its line, counted from 1; where the file was silent, that of its table.
    pub line: usize,
}

/// What reading one file has found so far.
#[derive(Debug)]
pub(super) struct Notes {
    file: PathBuf,
    text: String,
    problems: RefCell<Vec<Problem>>,
    resolved: RefCell<Vec<Resolved>>,
    /// Files that the text names.
    files: RefCell<BTreeSet<PathBuf>>,
}

impl Notes {
    pub(super) fn new(file: &Path, text: String) -> Self {
        let (problems, resolved) = (RefCell::default(), RefCell::default());
        let files = RefCell::new(BTreeSet::from([file.to_owned()]));
        Self { file: file.to_owned(), text, problems, resolved, files }
    }

    /// Reads the document. Every syntax error is noted, and nothing is returned then: what could
    /// not be read would seem to be missing.
    pub(super) fn parse(&self) -> Option<DeTable<'_>> {
        let (table, errors) = DeTable::parse_recoverable(&self.text);
        for error in &errors {
            let span = error.span().unwrap_or_default();
            let is_key = error.message().starts_with("duplicate key");
            let key = self.text.get(span.clone()).filter(|_| is_key);
            self.note(span.start, key.unwrap_or_default(), error.message());
        }
        errors.is_empty().then(|| table.into_inner())
    }

    pub(super) fn into_parts(self) -> (Vec<Problem>, Vec<Resolved>) {
        (self.problems.into_inner(), self.resolved.into_inner())
    }

    /// The file itself and those that [`Table::beside`] was asked for.
    pub(super) fn files(&self) -> BTreeSet<PathBuf> {
        self.files.borrow().clone()
    }

    fn line(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        1 + before.bytes().filter(|byte| *byte == b'\n').count()
    }

    fn note(&self, at: usize, key: &str, message: &str) {
        let line = self.line(at);
        self.problems.borrow_mut().push(Problem {
            file: self.file.clone(),
            line,
            key: key.to_owned(),
            message: message.to_owned(),
        });
    }
}

/// Where a key stands; earlier places are smaller.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    at: usize,
    path: String,
}

impl Place {
    /// The key's full path.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}

/// One table of the document.
#[derive(Debug)]
pub(super) struct Table<'d> {
    notes: &'d Notes,
    path: String,
    at: usize,
    entries: Option<&'d DeTable<'d>>,
    used: RefCell<BTreeSet<&'d str>>,
}

impl<'d> Table<'d> {
    pub(super) fn root(notes: &'d Notes, entries: &'d DeTable<'d>) -> Self {
        let (path, used) = (String::new(), RefCell::default());
        Self { notes, path, at: 0, entries: Some(entries), used }
    }

    fn child(&self, key: &str, at: usize, entries: Option<&'d DeTable<'d>>) -> Self {
        let (path, used) = (self.path_of(key), RefCell::default());
        Self { notes: self.notes, path, at, entries, used }
    }

    /// The full path of a key of this table.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A file that the text names, relative to the one that it stands in.
    pub(super) fn beside(&self, file: &str) -> PathBuf {
        let path = self.notes.file.parent().unwrap_or(Path::new("")).join(file);
        self.notes.files.borrow_mut().insert(path.clone());
        path
    }

    /// The same for a folder, which is not a file that is read.
    pub(super) fn folder_beside(&self, folder: &str) -> PathBuf {
        self.notes.file.parent().unwrap_or(Path::new("")).join(folder)
    }

    fn entry(&self, key: &str) -> Option<(usize, &'d DeValue<'d>)> {
        let (name, value) = self.entries?.iter().find(|(name, _)| name.get_ref() == key)?;
        self.used.borrow_mut().insert(name.get_ref());
        Some((value.span().start, value.get_ref()))
    }

    /// Whether the file has that key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// Notes that the value of `key` cannot be used.
    pub(super) fn fail(&self, key: &str, message: &str) {
        self.fail_there(&self.place(key), message);
    }

    /// Where a key stands, for what is found out when more of the document has been read.
    pub(super) fn place(&self, key: &str) -> Place {
        let at = self.entry(key).map_or(self.at, |(at, _)| at);
        Place { at, path: self.path_of(key) }
    }

    /// Notes that the value at a place cannot be used.
    pub(super) fn fail_there(&self, place: &Place, message: &str) {
        self.notes.note(place.at, &place.path, message);
    }

    /// The same for one element of a list.
    pub(super) fn fail_at(&self, key: &str, index: usize, message: &str) {
        let (at, value) = self.entry(key).unzip();
        let element = value.and_then(|value| value.get(index)).map(|element| element.span().start);
        let at = element.or(at).unwrap_or(self.at);
        self.notes.note(at, &format!("{}[{index}]", self.path_of(key)), message);
    }

    fn record(&self, key: &str, value: String, default: bool) {
        let line = self.notes.line(self.entry(key).map_or(self.at, |(at, _)| at));
        let key = self.path_of(key);
        let mut resolved = self.notes.resolved.borrow_mut();
        if !resolved.iter().any(|known| known.key == key) {
            resolved.push(Resolved { key, value, default, line });
        }
    }

    fn missing(&self, key: &str) {
        self.fail(key, "is required and missing");
    }

    /// A string that must be there and not be empty.
    pub(super) fn text(&self, key: &str) -> String {
        if !self.has(key) {
            self.missing(key);
        }
        self.optional_text(key).unwrap_or_default()
    }

    /// A string with a default.
    pub(super) fn text_or(&self, key: &str, default: &str) -> String {
        if self.has(key) {
            return self.string(key).unwrap_or_else(|| default.to_owned());
        }
        self.record(key, quoted(default), true);
        default.to_owned()
    }

    /// A string that may be missing, and not be empty: what is not wanted is left out.
    pub(super) fn optional_text(&self, key: &str) -> Option<String> {
        let text = self.string(key)?;
        if text.is_empty() {
            self.fail(key, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// A string that may be missing or empty.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        let (_, value) = self.entry(key)?;
        let DeValue::String(text) = value else {
            self.fail(key, "must be a string");
            return None;
        };
        self.record(key, quoted(text), false);
        Some(text.to_string())
    }

    /// A string that is converted; what cannot be converted is noted with `expected`.
    pub(super) fn parsed<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        if !self.has(key) {
            self.missing(key);
            return None;
        }
        self.optional_parsed(key, expected, convert)
    }

    /// The same, where the key may be missing.
    pub(super) fn optional_parsed<T>(
        &self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.string(key)?;
        let converted = convert(&text);
        if converted.is_none() {
            self.fail(key, expected);
        }
        converted
    }

    /// A whole number within bounds, with a default.
    pub(super) fn number(&self, key: &str, default: u64, bounds: RangeInclusive<u64>) -> u64 {
        let Some((_, value)) = self.entry(key) else {
            self.record(key, default.to_string(), true);
            return default;
        };
        let number = match value {
            DeValue::Integer(number) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            _ => None,
        };
        match number.filter(|number| bounds.contains(number)) {
            Some(number) => {
                self.record(key, number.to_string(), false);
                number
            }
            None => {
                let (low, high) = (bounds.start(), bounds.end());
                self.fail(key, &format!("must be a whole number from {low} to {high}"));
                default
            }
        }
    }

    /// A share from 0.0 to 1.0, with a default.
    pub(super) fn share(&self, key: &str, default: f64) -> f64 {
        let Some((_, value)) = self.entry(key) else {
            self.record(key, format!("{default:?}"), true);
            return default;
        };
        let share = match value {
            DeValue::Float(share) => share.as_str().parse::<f64>().ok(),
            DeValue::Integer(share) => share.as_str().parse::<f64>().ok(),
            _ => None,
        };
        let Some(share) = share.filter(|share| (0.0..=1.0).contains(share)) else {
            self.fail(key, "must be a number from 0.0 to 1.0");
            return default;
        };
        self.record(key, format!("{share:?}"), false);
        share
    }

    /// A yes or no, with a default.
    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        let Some((_, value)) = self.entry(key) else {
            self.record(key, default.to_string(), true);
            return default;
        };
        let DeValue::Boolean(flag) = value else {
            self.fail(key, "must be true or false");
            return default;
        };
        self.record(key, flag.to_string(), false);
        *flag
    }

    /// A list of strings; missing means empty.
    pub(super) fn texts(&self, key: &str) -> Vec<String> {
        let Some((_, value)) = self.entry(key) else {
            self.record(key, "[]".to_owned(), true);
            return Vec::new();
        };
        let texts = match value {
            DeValue::Array(items) => items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::String(text) => Some(text.to_string()),
                    _ => None,
                })
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        let Some(texts) = texts else {
            self.fail(key, "must be a list of strings");
            return Vec::new();
        };
        let shown: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
        self.record(key, format!("[{}]", shown.join(", ")), false);
        texts
    }

    /// A table that must be there.
    pub(super) fn table(&self, key: &str) -> Table<'d> {
        if !self.has(key) {
            self.missing(key);
        }
        self.optional_table(key).unwrap_or_else(|| self.child(key, self.at, None))
    }

    /// A table whose keys all have defaults, so that it may be missing.
    pub(super) fn table_or_empty(&self, key: &str) -> Table<'d> {
        self.optional_table(key).unwrap_or_else(|| self.child(key, self.at, None))
    }

    /// A table that may be missing.
    pub(super) fn optional_table(&self, key: &str) -> Option<Table<'d>> {
        let (at, value) = self.entry(key)?;
        let DeValue::Table(entries) = value else {
            self.fail(key, "must be a table");
            return None;
        };
        Some(self.child(key, at, Some(entries)))
    }

    /// Tables written as `[[key]]`, or a list of inline tables.
    pub(super) fn tables(&self, key: &str) -> Vec<Table<'d>> {
        let Some((_, value)) = self.entry(key) else { return Vec::new() };
        let DeValue::Array(items) = value else {
            self.fail(key, &format!("must be written as [[{key}]]"));
            return Vec::new();
        };
        let tables = items.iter().enumerate().map(|(index, item)| match item.get_ref() {
            DeValue::Table(entries) => {
                Some(self.child(&format!("{key}[{index}]"), item.span().start, Some(entries)))
            }
            _ => None,
        });
        tables.collect::<Option<Vec<_>>>().unwrap_or_else(|| {
            self.fail(key, "must be a list of tables");
            Vec::new()
        })
    }

    /// The keys of a table whose keys are the user's own names.
    pub(super) fn names(&self) -> Vec<&'d str> {
        self.entries.map_or_else(Vec::new, |entries| {
            entries.keys().map(|name| name.get_ref().as_ref()).collect()
        })
    }

    /// Says which keys nobody asked for. Called when a table has been read.
    pub(super) fn finish(self) {
        let used = self.used.borrow();
        for (name, _) in self.entries.into_iter().flatten() {
            if !used.contains(name.get_ref().as_ref()) {
                let key = self.path_of(name.get_ref());
                self.notes.note(name.span().start, &key, "is not a key that Portcullis knows");
            }
        }
    }
}

/// A string in TOML's spelling.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, look: impl FnOnce(&Table<'_>)) -> Vec<String> {
        let notes = Notes::new(Path::new("test.toml"), text.to_owned());
        if let Some(document) = notes.parse() {
            let table = Table::root(&notes, &document);
            look(&table);
            table.finish();
        }
        notes.into_parts().0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_error_names_file_line_and_key_and_not_the_value() {
        let problems = read("a = 1\nport = 'a secret'\n", |table| {
            table.number("a", 0, 0..=9);
            table.number("port", 1, 1..=10);
        });
        assert_eq!(problems, ["test.toml:2: port: must be a whole number from 1 to 10"]);
    }

    #[test]
    fn an_unknown_key_is_an_error_and_a_missing_one_too() {
        let problems = read("[one]\nx = 1\n\n[two]\ny = 2\n", |table| {
            let one = table.table("one");
            one.text("needed");
            one.finish();
            table.table("two").finish();
        });
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert!(problems[0].starts_with("test.toml:1: one.needed: is required"), "{problems:?}");
        assert!(problems[1].starts_with("test.toml:2: one.x: is not a key"), "{problems:?}");
        assert!(problems[2].starts_with("test.toml:5: two.y: is not a key"), "{problems:?}");
    }

    #[test]
    fn a_syntax_error_has_its_line_and_hides_nothing_behind_what_it_made_unreadable() {
        let unread = |_: &Table<'_>| panic!("what could be read is not all there is");
        let problems = read("a = 1\nb = \nc = 2\n", unread);
        assert!(problems.iter().all(|line| line.starts_with("test.toml:2: ")), "{problems:?}");
        let problems = read("a = 1\n[b]\nport = 3\nport = 4\n", unread);
        assert_eq!(problems, ["test.toml:4: port: duplicate key"]);
    }

    #[test]
    fn a_key_cannot_move_the_cursor() {
        let problems = read("\"\\u001b[31mred\\n\" = 1\n", |_| {});
        assert_eq!(problems.len(), 1);
        let shown = "test.toml:1: \\u{1b}[31mred\\n: is not a key";
        assert!(problems[0].starts_with(shown), "{problems:?}");
    }
}
