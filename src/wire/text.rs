//! JSON string literals: their escapes, their decoded text, and writing one.
//!
//! The decoded text of a literal with escapes is a copy and wipes itself; without escapes it is
//! the input itself.

use std::fmt;

use crate::secret::CleartextBody;

/// The decoded text of a JSON string.
pub enum Text<'a> {
    /// The literal had no escapes: this is the input.
    Borrowed(&'a str),
    /// The literal had escapes: a decoded copy that wipes itself.
    Decoded(CleartextBody),
}

impl<'a> Text<'a> {
    /// `inner` is what stands between the quotes of a literal that the parser has accepted.
    pub(super) fn decode(inner: &'a [u8], escaped: bool) -> Self {
        Self::of(utf8(inner), escaped)
    }

    /// The same, where its characters are known to be some.
    pub(super) fn of(inner: &'a str, escaped: bool) -> Self {
        if escaped { Self::Decoded(unescape(inner.as_bytes())) } else { Self::Borrowed(inner) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Decoded(body) => utf8(body.as_bytes()),
        }
    }

    /// The text as UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(text) => text.as_bytes(),
            Self::Decoded(body) => body.as_bytes(),
        }
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(..)")
    }
}

/// Writes `text` as a JSON string literal, quotes included.
#[must_use]
pub fn quote(text: &str) -> CleartextBody {
    let mut literal = CleartextBody::with_capacity(quoted_len(text));
    write_quoted(text, &mut literal);
    literal
}

/// No less than a literal takes.
fn quoted_len(text: &str) -> usize {
    let grown = text.bytes().map(|byte| short_escape(byte).map_or(1, |_| 6)).sum::<usize>();
    grown.saturating_add(2)
}

/// Writes `text` as a JSON string literal behind what is there.
pub fn write_quoted(text: &str, literal: &mut CleartextBody) {
    literal.reserve(quoted_len(text));
    literal.push(b'"');
    if text.bytes().all(|byte| short_escape(byte).is_none()) {
        literal.extend_from_slice(text.as_bytes());
        literal.push(b'"');
        return;
    }
    for byte in text.bytes() {
        match short_escape(byte) {
            None => literal.push(byte),
            Some(b'u') => {
                literal.extend_from_slice(b"\\u00");
                literal.extend_from_slice(&[hex_digit(byte >> 4), hex_digit(byte & 15)]);
            }
            Some(short) => literal.extend_from_slice(&[b'\\', short]),
        }
    }
    literal.push(b'"');
}

/// What an escape stands for, and how many bytes of input it takes.
pub(super) struct Escape {
    pub(super) char: char,
    pub(super) len: usize,
}

/// Reads the escape that `bytes` begins with (RFC 8259 §7). A surrogate needs its other half.
pub(super) fn escape(bytes: &[u8]) -> Option<Escape> {
    let short = |char| Some(Escape { char, len: 2 });
    match (bytes.first()?, bytes.get(1)?) {
        (b'\\', b'"') => short('"'),
        (b'\\', b'\\') => short('\\'),
        (b'\\', b'/') => short('/'),
        (b'\\', b'b') => short('\u{8}'),
        (b'\\', b'f') => short('\u{c}'),
        (b'\\', b'n') => short('\n'),
        (b'\\', b'r') => short('\r'),
        (b'\\', b't') => short('\t'),
        (b'\\', b'u') => unicode_escape(bytes),
        _ => None,
    }
}

/// The value of up to eight hexadecimal digits; nothing but digits.
pub(super) fn hex(digits: &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for &digit in digits {
        value = value.checked_shl(4)? | char::from(digit).to_digit(16)?;
    }
    Some(value)
}

fn unicode_escape(bytes: &[u8]) -> Option<Escape> {
    let unit = hex(bytes.get(2..6)?)?;
    if !(0xd800..0xdc00).contains(&unit) {
        return char::from_u32(unit).map(|char| Escape { char, len: 6 });
    }
    if bytes.get(6..8)? != b"\\u" {
        return None;
    }
    let low = hex(bytes.get(8..12)?)?;
    if !(0xdc00..0xe000).contains(&low) {
        return None;
    }
    let point = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    char::from_u32(point).map(|char| Escape { char, len: 12 })
}

/// Decodes what the parser has accepted; a decoded text is never longer than its literal.
fn unescape(inner: &[u8]) -> CleartextBody {
    let mut decoded = CleartextBody::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        let (plain, escaped) = rest.split_at_checked(at).unwrap_or((rest, &[]));
        decoded.extend_from_slice(plain);
        let Some(Escape { char, len }) = escape(escaped) else { return decoded };
        decoded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest = escaped.get(len..).unwrap_or_default();
    }
    decoded.extend_from_slice(rest);
    decoded
}

fn short_escape(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' => Some(byte),
        0x08 => Some(b'b'),
        0x0c => Some(b'f'),
        b'\n' => Some(b'n'),
        b'\r' => Some(b'r'),
        b'\t' => Some(b't'),
        0..0x20 => Some(b'u'),
        _ => None,
    }
}

fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + (nibble - 10) }
}

/// The parser has checked the whole input, and escapes decode to whole characters.
fn utf8(checked: &[u8]) -> &str {
    std::str::from_utf8(checked).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(inner: &str) -> String {
        Text::decode(inner.as_bytes(), true).as_str().to_owned()
    }

    #[test]
    fn every_escape_decodes() {
        assert_eq!(decoded(r#"\"\\\/\b\f\n\r\tA\u00e9"#), "\"\\/\u{8}\u{c}\n\r\tA\u{e9}");
        assert_eq!(decoded(r"a\ud83d\ude00b"), "a\u{1f600}b");
    }

    #[test]
    fn a_surrogate_without_its_other_half_is_no_escape() {
        for lone in [r"\ud800", r"\ud800\n", r"\ud800A", r"\udc00", r"\ud800\ud800"] {
            assert!(escape(lone.as_bytes()).is_none());
        }
    }

    #[test]
    fn a_quoted_text_decodes_to_itself() {
        let text: String = ('\0'..'\u{80}').chain("é\u{2028}😀".chars()).collect();
        let literal = quote(&text);
        let inner = &literal.as_bytes()[1..literal.len() - 1];
        assert_eq!(Text::decode(inner, true).as_str(), text);
        assert!(crate::wire::parse(literal.as_bytes()).is_ok());
    }

    #[test]
    fn debug_prints_a_fixed_text() {
        assert_eq!(format!("{:?}", Text::Borrowed("4111111111111111")), "Text(..)");
    }
}
