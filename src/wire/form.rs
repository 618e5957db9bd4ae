//! `application/x-www-form-urlencoded`: reading in place by the WHATWG URL standard, and writing.
//!
//! Every byte sequence is a form by those rules, so reading cannot fail; what a receiver could
//! take for one of two values, a doubled name, is refused when that name is asked for. Fields keep
//! the places of their raw bytes for the splice. Values are decoded into memory that wipes itself.

use std::fmt;

use super::{Category, Span, WireError, text};
use crate::secret::CleartextBody;

/// Splits a form into its fields.
///
/// # Errors
/// When the input is longer than any body.
pub fn parse(input: &[u8]) -> Result<FormDocument<'_>, WireError> {
    if u32::try_from(input.len()).is_err() {
        return Err(WireError::at(Category::TooLarge, &[], 0));
    }
    let mut fields = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'&', input).chain([input.len()]) {
        if end > start {
            fields.push(split(input, Span { start, end }));
        }
        start = end + 1;
    }
    Ok(FormDocument { input, fields })
}

/// Writes `text` as a form's name or value.
#[must_use]
pub fn encode(text: &str) -> CleartextBody {
    let mut encoded = CleartextBody::with_capacity(encoded_len(text));
    write_encoded(text, &mut encoded);
    encoded
}

/// No less than the text takes.
fn encoded_len(text: &str) -> usize {
    text.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
}

/// Writes `text` as a form's name or value behind what is there.
pub fn write_encoded(text: &str, encoded: &mut CleartextBody) {
    encoded.reserve(encoded_len(text));
    for byte in text.bytes() {
        match byte {
            b' ' => encoded.push(b'+'),
            byte if is_plain(byte) => encoded.push(byte),
            byte => encoded.extend_from_slice(&percent(byte)),
        }
    }
}

/// A form and where its fields are.
pub struct FormDocument<'a> {
    input: &'a [u8],
    fields: Vec<Places>,
}

#[derive(Clone, Copy)]
struct Places {
    name: Span,
    value: Span,
}

impl<'a> FormDocument<'a> {
    /// The field of that name, if there is one.
    ///
    /// # Errors
    /// [`Category::FormDuplicate`] when there are several: receivers differ in which one counts.
    pub fn find(&self, name: &str) -> Result<Option<Field<'a>>, WireError> {
        let mut named = self.fields().filter(|field| field.is_named(name));
        let found = named.next();
        match named.next() {
            None => Ok(found),
            Some(second) => {
                let offset = second.name_span().start;
                Err(WireError::at(Category::FormDuplicate, self.input, offset))
            }
        }
    }

    /// Every field, in the order of the input.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> {
        self.fields.iter().map(|places| Field { input: self.input, places: *places })
    }

    /// The bytes that were parsed.
    #[must_use]
    pub fn input(&self) -> &'a [u8] {
        self.input
    }
}

impl fmt::Debug for FormDocument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormDocument(..)")
    }
}

/// One field of a form.
#[derive(Clone, Copy)]
pub struct Field<'a> {
    input: &'a [u8],
    places: Places,
}

impl<'a> Field<'a> {
    /// Where the name stands.
    #[must_use]
    pub fn name_span(self) -> Span {
        self.places.name
    }

    /// Where the value stands; empty, right behind the name, for a field without `=`.
    #[must_use]
    pub fn value_span(self) -> Span {
        self.places.value
    }

    /// The name as sent.
    #[must_use]
    pub fn raw_name(self) -> &'a [u8] {
        self.slice(self.places.name)
    }

    /// The value as sent.
    #[must_use]
    pub fn raw_value(self) -> &'a [u8] {
        self.slice(self.places.value)
    }

    /// The decoded name; bytes that are no UTF-8 become U+FFFD, as the standard says.
    #[must_use]
    pub fn name(self) -> FormText {
        FormText::decode(self.raw_name())
    }

    /// The decoded value; bytes that are no UTF-8 become U+FFFD, as the standard says.
    #[must_use]
    pub fn value(self) -> FormText {
        FormText::decode(self.raw_value())
    }

    /// Whether the decoded name is `name`; without a copy.
    #[must_use]
    pub fn is_named(self, name: &str) -> bool {
        Decoder { rest: self.raw_name() }.eq(name.bytes())
    }

    fn slice(self, span: Span) -> &'a [u8] {
        self.input.get(span.start..span.end).unwrap_or_default()
    }
}

impl fmt::Debug for Field<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Field({:?}, {:?})", self.places.name, self.places.value)
    }
}

/// The decoded text of a name or a value; wipes itself.
pub struct FormText(CleartextBody);

impl FormText {
    fn decode(raw: &[u8]) -> Self {
        let mut bytes = CleartextBody::with_capacity(raw.len());
        Decoder { rest: raw }.for_each(|byte| bytes.push(byte));
        if std::str::from_utf8(bytes.as_bytes()).is_ok() {
            return Self(bytes);
        }
        let mut replaced = CleartextBody::with_capacity(raw.len().saturating_mul(3));
        for chunk in bytes.as_bytes().utf8_chunks() {
            replaced.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                replaced.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
        Self(replaced)
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Made of valid pieces alone.
        std::str::from_utf8(self.0.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for FormText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FormText(..)")
    }
}

/// Percent-decoding with `+` for a space; a `%` that escapes nothing stands for itself.
struct Decoder<'a> {
    rest: &'a [u8],
}

impl Iterator for Decoder<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        if *first == b'%'
            && let Some(byte) = rest.get(..2).and_then(text::hex)
        {
            self.rest = rest.get(2..).unwrap_or_default();
            return u8::try_from(byte).ok();
        }
        self.rest = rest;
        Some(if *first == b'+' { b' ' } else { *first })
    }
}

fn split(input: &[u8], field: Span) -> Places {
    let bytes = input.get(field.start..field.end).unwrap_or_default();
    let Some(equals) = memchr::memchr(b'=', bytes) else {
        return Places { name: field, value: Span { start: field.end, end: field.end } };
    };
    let equals = field.start + equals;
    Places {
        name: Span { start: field.start, end: equals },
        value: Span { start: equals + 1, end: field.end },
    }
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'-' | b'.' | b'_' | b' ')
}

fn percent(byte: u8) -> [u8; 3] {
    let digit = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) };
    [b'%', digit(byte >> 4), digit(byte & 15)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SALE: &[u8] = b"a=1&card%5Fnumber=tok%2D1&&b&=x&holder=A+B%20C&a=2";

    #[test]
    fn a_field_is_found_by_its_decoded_name_with_its_raw_place() {
        let form = parse(SALE).unwrap();
        let card = form.find("card_number").unwrap().unwrap();
        assert_eq!(card.value().as_str(), "tok-1");
        let span = card.value_span();
        assert_eq!(&SALE[span.start..span.end], b"tok%2D1");
        assert_eq!(form.find("holder").unwrap().unwrap().value().as_str(), "A B C");
        assert_eq!(form.find("b").unwrap().unwrap().raw_value(), b"");
        assert!(form.find("none").unwrap().is_none());
    }

    #[test]
    fn a_doubled_name_is_refused_when_asked_for() {
        let form = parse(SALE).unwrap();
        let error = form.find("a").err().unwrap();
        assert_eq!((error.category, error.offset), (Category::FormDuplicate, 47));
        assert_eq!(parse(b"pan=1&p%61n=2").unwrap().find("pan").err().unwrap().offset, 6);
    }

    #[test]
    fn a_name_that_is_no_utf8_equals_nothing() {
        let form = parse(b"pan%FF=1&%EF%BF%BDx=2").unwrap();
        assert!(form.find("pan\u{fffd}").unwrap().is_none());
        assert!(form.find("\u{fffd}x").unwrap().is_some());
    }

    #[test]
    fn debug_shows_places_and_no_input() {
        let form = parse(b"number=4111111111111111").unwrap();
        let field = form.fields().next().unwrap();
        let shown = format!("{form:?} {field:?} {:?}", field.value());
        assert!(!shown.contains("4111") && !shown.contains("number"), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn what_was_encoded_decodes_to_itself(name in ".{1,40}", value in ".{0,40}") {
            let body = [encode(&name).as_bytes(), b"=", encode(&value).as_bytes()].concat();
            prop_assert!(body.iter().all(|byte| byte.is_ascii_graphic()));
            let form = parse(&body).unwrap();
            let field = form.find(&name).unwrap().unwrap();
            let (found_name, found_value) = (field.name(), field.value());
            prop_assert_eq!(found_name.as_str(), name);
            prop_assert_eq!(found_value.as_str(), value);
        }
    }
}
