//! `docs/configuration.md`: `config/portcullis.toml` as a document. The tests beside this one hold
//! the file to the code; this one holds the document to the file. `UPDATE=1` writes it anew.

use std::fs;

use portcullis::config::needs_restart;

use super::root;

const HEAD: &str = "\
# Configuration

<!-- Written by `UPDATE=1 cargo test --test config` from config/portcullis.toml; change that file. -->

";

/// A table of the file: its heading, what stands above it, and its rows.
#[derive(Default)]
struct Table {
    heading: String,
    text: String,
    rows: Vec<Row>,
}

/// Keys that one comment speaks for, with the values written.
#[derive(Default)]
struct Row {
    keys: Vec<(String, String)>,
    comment: String,
}

#[test]
fn the_configuration_reference_is_the_documented_file() {
    let source = fs::read_to_string(root().join("config/portcullis.toml")).unwrap();
    let document = reference(&source);
    let place = root().join("docs/configuration.md");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&place, &document).unwrap();
    }
    let there = fs::read_to_string(&place).unwrap_or_default();
    let differs = there.lines().zip(document.lines()).position(|(there, new)| there != new);
    assert!(
        there == document,
        "docs/configuration.md, line {}: differs from config/portcullis.toml; UPDATE=1 writes it",
        differs.map_or(there.lines().count(), |line| line + 1)
    );
}

/// Every key of the file is in a row of its table.
#[test]
fn the_configuration_reference_has_every_key() {
    let source = fs::read_to_string(root().join("config/portcullis.toml")).unwrap();
    let document = reference(&source);
    for key in super::documented_keys(&source) {
        let name = key.path.rsplit('.').next().unwrap();
        assert!(document.contains(&format!("`{name}`")), "{name}");
    }
}

fn reference(source: &str) -> String {
    let (opening, rest) = source.split_once("\n\n").unwrap();
    let mut text = HEAD.to_owned() + &plain(&joined(opening)) + "\n";
    for table in tables(rest) {
        text.push_str(&shown(&table));
    }
    text
}

fn joined(comment: &str) -> String {
    comment.lines().map(|line| line.trim_start_matches("# ")).collect::<Vec<_>>().join(" ")
}

fn tables(source: &str) -> Vec<Table> {
    let mut tables = vec![Table { heading: "At the top".to_owned(), ..Table::default() }];
    let mut comment = String::new();
    // A comment speaks for the lines below it, up to a blank one.
    let mut speaks = false;
    for line in source.lines() {
        if let Some(words) = line.strip_prefix("# ") {
            if !comment.is_empty() {
                comment.push(' ');
            }
            comment.push_str(words);
            speaks = false;
        } else if line.starts_with('[') {
            let text = std::mem::take(&mut comment);
            tables.push(Table { heading: format!("`{line}`"), text, ..Table::default() });
            speaks = false;
        } else if let Some((key, value)) = line.split_once(" = ") {
            let table = tables.last_mut().unwrap();
            if !speaks {
                let comment = std::mem::take(&mut comment);
                table.rows.push(Row { comment, ..Row::default() });
            }
            table.rows.last_mut().unwrap().keys.push((key.to_owned(), value.to_owned()));
            speaks = true;
        } else if line.is_empty() {
            speaks = false;
        }
    }
    assert!(comment.is_empty(), "a comment speaks for nothing: {comment}");
    tables.retain(|table| !table.rows.is_empty() || !table.text.is_empty());
    tables
}

fn shown(table: &Table) -> String {
    let mut text = format!("\n## {}\n", table.heading);
    if !table.text.is_empty() {
        text.push_str(&format!("\n{}\n", plain(&table.text)));
    }
    if table.rows.is_empty() {
        return text;
    }
    text.push_str("\n| Key | Default | Change by | Meaning |\n| --- | --- | --- | --- |\n");
    for row in &table.rows {
        let (meaning, told) = defaults(&row.comment);
        // What stands above the table speaks for keys without words of their own.
        let told = told.or_else(|| defaults(&table.text).1.filter(|_| meaning.is_empty()));
        let keys: Vec<_> = row.keys.iter().map(|(key, _)| format!("`{key}`")).collect();
        let values: Vec<_> = row.keys.iter().map(|(_, value)| format!("`{value}`")).collect();
        let written = values.join("<br>");
        let default =
            told.map_or(written.clone(), |told| format!("{}<br>such as {written}", plain(&told)));
        let meaning = plain(&meaning);
        let change = change(table, row);
        text.push_str(&format!("| {} | {default} | {change} | {meaning} |\n", keys.join("<br>")));
    }
    text
}

/// Whether a running process takes a change of these keys on.
fn change(table: &Table, row: &Row) -> &'static str {
    let place = table.heading.trim_matches(['`', '[', ']']);
    let place = if table.heading.starts_with('`') { format!("{place}.") } else { String::new() };
    let mut kinds = row.keys.iter().map(|(key, _)| needs_restart(&format!("{place}{key}")));
    let first = kinds.next().unwrap();
    assert!(kinds.all(|kind| kind == first), "keys under one comment: {}", row.comment);
    if first { "restart" } else { "reload" }
}

/// What a comment says besides the default, and the default where it says one.
fn defaults(comment: &str) -> (String, Option<String>) {
    let (mut rest, mut told) = (Vec::new(), None);
    for sentence in comment.split_inclusive(". ") {
        let sentence = sentence.trim_end();
        if let Some(default) = sentence.strip_prefix("Default: ") {
            told = Some(default.trim_end_matches('.').to_owned());
        } else if let Some(how) = sentence.strip_prefix("Required") {
            let how = how.trim_start_matches([',', ';', ' ']).trim_end_matches('.');
            let comma = if how.is_empty() { "" } else { ": " };
            told = Some(format!("required{comma}{how}"));
        } else if !sentence.is_empty() {
            rest.push(sentence);
        }
    }
    (rest.join(" "), told)
}

/// As text of a cell.
fn plain(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
