//! Bytes and fields: reading, splicing and searching request and answer bodies.
//!
//! One strict parser decides what a body says, and the splice changes exactly the bytes that parser
//! pointed at; nothing is ever parsed twice by different rules or written anew from a tree. The
//! scan looks for card numbers in everything a body may hide them in.
//!
//! This room must never put a byte of its input into an error, a `Debug` text or a log line, and it
//! must do work in proportion to the input, whatever the input is. Start reading at [`json`].

pub mod form;
pub mod json;
mod lanes;
pub mod multipart;
pub mod scan;

mod fold;
mod glance;
mod inflate;
mod issuer;
mod known;
mod layers;
mod lexeme;
mod numbers;
mod parser;
mod pointer;
mod runs;
mod spelled;
mod splice;
mod tape;
mod text;
mod unique;

#[cfg(test)]
pub(crate) mod corpus;
#[cfg(test)]
mod cost;
#[cfg(test)]
mod left;
#[cfg(test)]
mod suites;

use std::fmt;

pub use form::{Field, FormDocument, encode, write_encoded};
pub use json::{Document, Kind, Step, Value, parse};
pub use pointer::Pointer;
pub use scan::{
    Finding, FindingKind, Known, Replacement, contains_card, scan_json, scan_json_beside,
    scan_shown, scan_text, scrub, without,
};
pub use spelled::Spelled;
pub use splice::{Edit, splice};
pub use text::{Text, quote, write_quoted};

/// Whether these digits are what the scan takes for a card number: the Luhn sum and an issuer's
/// range. Only such numbers are captured, since others would come back from a provider
/// unrecognised.
#[must_use]
pub fn is_card_number(digits: &str) -> bool {
    digits.bytes().all(|byte| byte.is_ascii_digit()) && issuer::is_card(digits.bytes())
}

/// A range of bytes of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// How many bytes the span covers.
    #[must_use]
    pub const fn len(self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Whether it covers none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// How a body writes its fields down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// RFC 8259.
    Json,
    /// `application/x-www-form-urlencoded` as the WHATWG URL standard has it.
    Form,
}

/// What was wrong with the input, without any of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Category {
    /// Not a JSON text.
    JsonSyntax,
    /// Containers nested deeper than [`json::DEPTH_MAX`].
    JsonDepth,
    /// Two members of one object have the same name.
    JsonDuplicateKey,
    /// Bytes after the JSON text.
    JsonTrailing,
    /// A surrogate escape without its other half.
    JsonSurrogate,
    /// A byte order mark.
    Bom,
    /// Not UTF-8.
    Utf8,
    /// A form that cannot be read.
    FormSyntax,
    /// Two fields of a form have the name that was asked for.
    FormDuplicate,
    /// A multipart body that two readers could read differently.
    MultipartSyntax,
    /// Two parts have the same name.
    MultipartDuplicate,
    /// Longer than a body can be.
    TooLarge,
    /// Not a JSON pointer.
    Pointer,
    /// Edits of one body overlap.
    SpliceOverlap,
    /// An edit lies outside its body.
    SpliceRange,
}

impl Category {
    /// The stable name, for answers and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::JsonSyntax => "json_syntax",
            Self::JsonDepth => "json_depth",
            Self::JsonDuplicateKey => "json_duplicate_key",
            Self::JsonTrailing => "json_trailing",
            Self::JsonSurrogate => "json_surrogate",
            Self::Bom => "bom",
            Self::Utf8 => "utf8",
            Self::FormSyntax => "form_syntax",
            Self::FormDuplicate => "form_duplicate",
            Self::MultipartSyntax => "multipart_syntax",
            Self::MultipartDuplicate => "multipart_duplicate",
            Self::TooLarge => "too_large",
            Self::Pointer => "pointer",
            Self::SpliceOverlap => "splice_overlap",
            Self::SpliceRange => "splice_range",
        }
    }
}

/// Where the input is wrong and how; never what it says there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireError {
    /// What is wrong.
    pub category: Category,
    /// The byte it is wrong at, from zero.
    pub offset: usize,
    /// Its line, from one.
    pub line: u32,
    /// Its byte within the line, from one.
    pub column: u32,
}

impl WireError {
    /// Finds line and column of `offset`; a walk over the input, once per error.
    pub(crate) fn at(category: Category, input: &[u8], offset: usize) -> Self {
        let before = input.get(..offset).unwrap_or(input);
        let line = memchr::memchr_iter(b'\n', before).count().saturating_add(1);
        let line_start = memchr::memrchr(b'\n', before).map_or(0, |at| at.saturating_add(1));
        let column = before.len().saturating_sub(line_start).saturating_add(1);
        Self { category, offset, line: clamp(line), column: clamp(column) }
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at line {} column {}", self.category.as_str(), self.line, self.column)
    }
}

impl std::error::Error for WireError {}

fn clamp(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_place_and_never_the_input() {
        let error = WireError::at(Category::JsonSyntax, b"{\n \"pan\": 4111x}", 14);
        assert_eq!((error.line, error.column), (2, 13));
        assert_eq!(error.to_string(), "json_syntax at line 2 column 13");
        assert!(!format!("{error:?} {error}").contains("4111"));
    }

    #[test]
    fn an_offset_behind_the_input_is_reported_at_its_end() {
        let error = WireError::at(Category::JsonSyntax, b"ab", 10);
        assert_eq!((error.line, error.column), (1, 3));
    }
}
