//! Text as a reader would see it: escapes, percent signs, entities and foreign digits undone.
//!
//! Each fold undoes one layer and remembers where every byte came from, so that a finding in the
//! folded text names its bytes in the body. Folded text is never longer than what it came from, and
//! wipes itself. A fold that changes nothing allocates nothing.

use memchr::memmem;

use super::{Span, text};
use crate::secret::CleartextBody;

/// How a comment of HTML and XML begins.
const COMMENT: &[u8] = b"<!--";
/// So many bytes are looked at before it is asked whether one was found.
const BLOCK: usize = 256;

/// A text one layer below another.
pub(super) struct Folded {
    bytes: CleartextBody,
    jumps: Vec<Jump>,
}

/// A piece that changed. Between two jumps the bytes are the same.
struct Jump {
    /// Where what it became begins, and its length; nothing, if it was left out.
    out: u32,
    out_len: u32,
    /// Where it came from.
    from: u32,
    from_len: u32,
}

/// A piece at the beginning of some bytes and what it becomes.
struct Piece {
    len: usize,
    becomes: [u8; 4],
    becomes_len: usize,
}

impl Folded {
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.as_bytes()
    }

    /// Where the byte at `at` came from.
    pub(super) fn source(&self, at: usize) -> Span {
        let index = self.jumps.partition_point(|jump| jump.out as usize <= at);
        let Some(jump) = index.checked_sub(1).and_then(|index| self.jumps.get(index)) else {
            return Span { start: at, end: at + 1 };
        };
        let (from, behind) = (jump.from as usize, (jump.from + jump.from_len) as usize);
        let past = at - jump.out as usize;
        match past.checked_sub(jump.out_len as usize) {
            None => Span { start: from, end: behind },
            Some(past) => Span { start: behind + past, end: behind + past + 1 },
        }
    }
}

/// Undoes the escapes of a JSON string.
pub(super) fn json_escapes(inner: &[u8]) -> Option<Folded> {
    fold(inner, |rest| memchr::memchr(b'\\', rest), json_escape)
}

/// Undoes one layer of whatever hides digits in text.
pub(super) fn disguises(bytes: &[u8]) -> Option<Folded> {
    fold(bytes, |rest| rest.iter().position(|byte| is_disguise(*byte)), disguise)
}

/// Leaves out the tags, as HTML has them, and as XML has them where that may be something else.
pub(super) fn tags(bytes: &[u8]) -> [Option<Folded>; 2] {
    let read = |comments| {
        // Where one comment has no end, none behind it has.
        let mut unclosed = false;
        fold(bytes, |rest| memchr::memchr(b'<', rest), |rest| tag(rest, comments, &mut unclosed))
    };
    let html = read(Comments::Html);
    let mut short = [b"<!-->".as_slice(), b"<!--->"].into_iter();
    let differs = html.is_some() && short.any(|short| memmem::find(bytes, short).is_some());
    [html, differs.then(|| read(Comments::Xml)).flatten()]
}

/// Where comments end.
#[derive(Clone, Copy)]
enum Comments {
    /// As in browsers (HTML, 13.2.5.43 to 13.2.5.52): `<!-->` and `<!--->` are whole ones, and
    /// `--!>` ends one, too.
    Html,
    /// At the first `-->` behind their beginning (XML, 2.5).
    Xml,
}

impl Comments {
    /// The end of the comment that the bytes begin with.
    fn end(self, bytes: &[u8]) -> Option<usize> {
        let inside = |from: usize, at: usize| bytes.get(from..at).unwrap_or_default();
        let ends = |at: &usize| match self {
            Self::Html => {
                inside(b"<!".len(), *at).ends_with(b"--")
                    || inside(COMMENT.len(), *at).ends_with(b"--!")
            }
            Self::Xml => inside(COMMENT.len(), *at).ends_with(b"--"),
        };
        memchr::memchr_iter(b'>', bytes).find(ends).map(|at| at + 1)
    }
}

/// Whether a disguise may begin anywhere in the bytes. All are looked at, many at a time.
pub(super) fn may_disguise(bytes: &[u8]) -> bool {
    let blocks = bytes.chunks(BLOCK);
    blocks.into_iter().any(|block| block.iter().fold(false, |any, byte| any | is_disguise(*byte)))
}

/// Whether a byte may begin a disguise.
fn is_disguise(byte: u8) -> bool {
    matches!(byte, b'%' | b'&' | b'\\' | 0 | 0x80..)
}

/// Builds the folded text, from the first piece on; none if there is no piece.
fn fold(
    bytes: &[u8],
    find: impl Fn(&[u8]) -> Option<usize>,
    mut piece: impl FnMut(&[u8]) -> Option<Piece>,
) -> Option<Folded> {
    let (mut folded, mut copied, mut from) = (None, 0, 0);
    while let Some(rest) = bytes.get(from..) {
        let Some(skipped) = find(rest) else { break };
        let at = from + skipped;
        from = at + 1;
        let Some(found) = bytes.get(at..).and_then(&mut piece) else { continue };
        let folded = folded.get_or_insert_with(|| Folded {
            bytes: CleartextBody::with_capacity(bytes.len()),
            jumps: Vec::new(),
        });
        folded.bytes.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
        folded.push(at, &found);
        from = at + found.len;
        copied = from;
    }
    let mut folded = folded?;
    folded.bytes.extend_from_slice(bytes.get(copied..).unwrap_or_default());
    Some(folded)
}

impl Folded {
    fn push(&mut self, at: usize, piece: &Piece) {
        // Bodies are bounded far below four gigabytes; a longer one is refused before it is read.
        let small = |value: usize| u32::try_from(value).unwrap_or(u32::MAX);
        let becomes = piece.becomes.get(..piece.becomes_len).unwrap_or_default();
        self.jumps.push(Jump {
            out: small(self.bytes.len()),
            out_len: small(becomes.len()),
            from: small(at),
            from_len: small(piece.len),
        });
        self.bytes.extend_from_slice(becomes);
    }
}

impl Piece {
    fn char(len: usize, char: char) -> Self {
        let mut becomes = [0; 4];
        let becomes_len = char.encode_utf8(&mut becomes).len();
        Self { len, becomes, becomes_len }
    }

    fn byte(len: usize, byte: u8) -> Self {
        Self { len, becomes: [byte, 0, 0, 0], becomes_len: 1 }
    }

    fn nothing(len: usize) -> Self {
        Self { len, becomes: [0; 4], becomes_len: 0 }
    }
}

fn json_escape(bytes: &[u8]) -> Option<Piece> {
    text::escape(bytes).map(|escape| Piece::char(escape.len, escape.char))
}

fn disguise(bytes: &[u8]) -> Option<Piece> {
    match bytes.first()? {
        b'%' => percent(bytes),
        b'&' => entity(bytes),
        b'\\' => json_escape(bytes).or_else(|| hex_escape(bytes)),
        // UTF-16 and UTF-32 write a digit with zeros around it.
        0 => Some(Piece::nothing(1)),
        _ => foreign(bytes),
    }
}

fn percent(bytes: &[u8]) -> Option<Piece> {
    if bytes.get(1).is_some_and(|byte| matches!(byte, b'u' | b'U')) {
        let char = char::from_u32(text::hex(bytes.get(2..6)?)?)?;
        return Some(Piece::char(6, char));
    }
    let byte = text::hex(bytes.get(1..3)?)?;
    Some(Piece::byte(3, u8::try_from(byte).ok()?))
}

fn hex_escape(bytes: &[u8]) -> Option<Piece> {
    if bytes.get(1) != Some(&b'x') {
        return None;
    }
    let byte = text::hex(bytes.get(2..4)?)?;
    Some(Piece::byte(4, u8::try_from(byte).ok()?))
}

fn entity(bytes: &[u8]) -> Option<Piece> {
    if bytes.get(1) != Some(&b'#') {
        let named = ENTITIES.iter().find(|(name, _)| bytes.starts_with(name.as_bytes()))?;
        return Some(Piece::char(named.0.len(), named.1));
    }
    let is_hex = matches!(bytes.get(2), Some(b'x' | b'X'));
    let (radix, start) = if is_hex { (16, 3) } else { (10, 2) };
    let mut digits = bytes.get(start..)?.iter();
    let mut point = 0u32;
    let mut len = start;
    while let Some(digit) = digits.next().and_then(|byte| char::from(*byte).to_digit(radix)) {
        point = point.saturating_mul(radix).saturating_add(digit);
        len += 1;
    }
    let char = if len > start { char::from_u32(point)? } else { return None };
    Some(Piece::char(len + usize::from(bytes.get(len) == Some(&b';')), char))
}

/// The named entities that may stand in a written number or hide another layer.
const ENTITIES: [(&str, char); 37] = [
    ("&amp;", '&'),
    ("&Tab;", '\t'),
    ("&NewLine;", '\n'),
    ("&NonBreakingSpace;", ' '),
    ("&numsp;", ' '),
    ("&puncsp;", ' '),
    ("&hairsp;", ' '),
    ("&emsp13;", ' '),
    ("&emsp14;", ' '),
    ("&zwnj;", '\u{200c}'),
    ("&zwj;", '\u{200d}'),
    ("&lrm;", '\u{200e}'),
    ("&rlm;", '\u{200f}'),
    ("&ZeroWidthSpace;", '\u{200b}'),
    ("&NoBreak;", '\u{2060}'),
    ("&mdash;", '-'),
    ("&minus;", '-'),
    ("&middot;", '.'),
    ("&bull;", '.'),
    ("&bsol;", '\\'),
    ("&num;", '#'),
    ("&ast;", '*'),
    ("&nbsp;", ' '),
    ("&ensp;", ' '),
    ("&emsp;", ' '),
    ("&thinsp;", ' '),
    ("&shy;", '\u{ad}'),
    ("&hyphen;", '-'),
    ("&dash;", '-'),
    ("&ndash;", '-'),
    ("&period;", '.'),
    ("&lt;", '<'),
    ("&gt;", '>'),
    ("&quot;", '"'),
    ("&plus;", '+'),
    ("&sol;", '/'),
    ("&percnt;", '%'),
];

/// Digits of other scripts, and characters that look like a separator or like nothing.
fn foreign(bytes: &[u8]) -> Option<Piece> {
    let char = first_char(bytes)?;
    let len = char.len_utf8();
    if let Some(digit) = digit(char) {
        return Some(Piece::byte(len, digit));
    }
    match char {
        '\u{85}'
        | '\u{a0}'
        | '\u{1680}'
        | '\u{2000}'..='\u{200a}'
        | '\u{2028}'
        | '\u{2029}'
        | '\u{202f}'
        | '\u{205f}'
        | '\u{2800}'
        | '\u{3000}'
        | '\u{3164}' => Some(Piece::byte(len, b' ')),
        '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' => {
            Some(Piece::byte(len, b'-'))
        }
        '\u{b7}' | '\u{2022}' | '\u{2024}' | '\u{2027}' | '\u{22c5}' | '\u{ff0e}' => {
            Some(Piece::byte(len, b'.'))
        }
        '\u{ff05}' => Some(Piece::byte(len, b'%')),
        '\u{ad}'
        | '\u{300}'..='\u{36f}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2069}'
        | '\u{20e3}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{feff}'
        | '\u{e0001}'..='\u{e01ef}' => Some(Piece::nothing(len)),
        _ => None,
    }
}

fn first_char(bytes: &[u8]) -> Option<char> {
    let len = match bytes.first()? {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    std::str::from_utf8(bytes.get(..len)?).ok()?.chars().next()
}

/// The zeros of the scripts that have decimal digits (Unicode 16, general category Nd, without
/// ASCII); nine more digits follow each.
const ZEROS: [u32; 75] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6,
    0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50,
    0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10,
    0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0,
    0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50, 0x11d50,
    0x11da0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8,
    0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

/// The ASCII digit that a digit of another script, raised, lowered or circled, stands for.
fn digit(char: char) -> Option<u8> {
    let point = u32::from(char);
    let value = match point {
        0xb9 => 1,
        0xb2 | 0xb3 => point - 0xb0,
        0x2070 | 0x2074..=0x2079 => point - 0x2070,
        0x2080..=0x2089 => point - 0x2080,
        0x24ea | 0x24ff => 0,
        0x2460..=0x2468 => point - 0x245f,
        0x2474..=0x247c => point - 0x2473,
        0x2488..=0x2490 => point - 0x2487,
        0x24f5..=0x24fd => point - 0x24f4,
        0x2776..=0x277e => point - 0x2775,
        0x2780..=0x2788 => point - 0x277f,
        0x278a..=0x2792 => point - 0x2789,
        0x1f101..=0x1f10a => point - 0x1f101,
        0x1f10b | 0x1f10c => 0,
        _ => {
            let index = ZEROS.partition_point(|zero| *zero <= point).checked_sub(1)?;
            point - ZEROS.get(index)?
        }
    };
    let value = u8::try_from(value).ok().filter(|value| *value < 10)?;
    Some(b'0' + value)
}

/// A tag goes to its end, however far, and a comment to its own.
fn tag(bytes: &[u8], comments: Comments, unclosed: &mut bool) -> Option<Piece> {
    if !bytes.get(1)?.is_ascii_alphabetic() && !matches!(bytes.get(1)?, b'/' | b'!' | b'?') {
        return None;
    }
    if bytes.starts_with(COMMENT) && !*unclosed {
        if let Some(end) = comments.end(bytes) {
            return Some(Piece::nothing(end));
        }
        *unclosed = true;
    }
    let end = memchr::memchr2(b'<', b'>', bytes.get(1..)?)? + 1;
    (bytes.get(end) == Some(&b'>')).then(|| Piece::nothing(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        let mut bytes = text.as_bytes().to_vec();
        while let Some(folded) = disguises(&bytes) {
            bytes = folded.bytes().to_vec();
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn every_disguise_folds_to_digits() {
        let disguised = [
            "%35123",
            "%2535123",
            "%u0035123",
            "&#53;123",
            "&#x35;123",
            "&amp;#53;123",
            r"\u0035123",
            r"\\u0035123",
            r"\x35123",
            "５１２３",
            "٥١٢٣",
            "𝟓𝟙𝟤𝟹",
            "⁵¹²³",
            "⑤①②③",
            "5\u{200b}1\u{fe0f}\u{20e3}2\u{ad}3",
            "5\x001\x002\x003\x00",
            "%EF%BC%95123",
            "&#65301;123",
            "&#0000000000000000000000000000053;123",
            "&#92;u0035&bsol;x3123",
            "\u{2784}\u{2780}\u{2781}\u{2782}",
            "\u{24f9}\u{24f5}\u{24f6}\u{24f7}",
            "\u{278e}\u{2474}\u{2489}\u{1f104}",
            "5&zwnj;1&ZeroWidthSpace;2\u{34f}\u{e0100}3",
        ];
        for text in disguised {
            assert_eq!(folded(text), "5123", "{text}");
        }
        assert_eq!(folded("51\u{a0}2&nbsp;3\u{2013}4"), "51 2 3-4");
        assert_eq!(folded("5&Tab;1&NewLine;2\u{2028}3\u{2800}4"), "5\t1\n2 3 4");
    }

    #[test]
    fn what_hides_nothing_is_left_alone() {
        for text in ["a&b=c", "100%", "%zz", "\\q", "Оплата заказа é 😀", "&#;", "&#xg", "a < b"]
        {
            assert!(disguises(text.as_bytes()).is_none(), "{text}");
            assert!(untagged(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn every_byte_knows_where_it_came_from() {
        let text = "a%31\u{200b}b&#53;c";
        let folded = disguises(text.as_bytes()).unwrap();
        assert_eq!(folded.bytes(), b"a1b5c");
        let sources: Vec<_> = (0..5).map(|at| folded.source(at)).collect();
        let expected = [(0, 1), (1, 4), (7, 8), (8, 13), (13, 14)];
        assert_eq!(sources, expected.map(|(start, end)| Span { start, end }));
    }

    #[test]
    fn tags_are_left_out() {
        assert_eq!(untagged("4111<b class=x>1111</b>"), ["41111111"]);
        assert_eq!(untagged("<!-- a -->1<br/>2"), ["12"]);
        let long = format!("1<!-- a < > b {0} -->2<td class=\"{0}\">3<!-- 4", "x".repeat(5000));
        assert_eq!(untagged(&long), ["123<!-- 4"]);
    }

    #[test]
    fn comments_end_as_in_html_and_as_in_xml() {
        for comment in ["<!---->", "<!-- a --!>", "<!----!>", "<!--!>-->", "<!---!>-->"] {
            assert_eq!(untagged(&format!("1{comment}2<!-- b -->3")), ["123"], "{comment}");
        }
        for short in ["<!-->", "<!--->"] {
            assert_eq!(untagged(&format!("1{short}2<!-- b -->3")), ["123", "13"], "{short}");
        }
    }

    fn untagged(text: &str) -> Vec<String> {
        let read = |folded: Folded| String::from_utf8(folded.bytes().to_vec()).unwrap();
        tags(text.as_bytes()).into_iter().flatten().map(read).collect()
    }

    #[test]
    fn every_zero_begins_ten_digits_of_unicode() {
        assert!(ZEROS.is_sorted());
        for zero in ZEROS {
            let chars = (zero..zero + 10).map(|point| char::from_u32(point).unwrap());
            let digits: Vec<u8> = chars.map(|char| digit(char).unwrap()).collect();
            assert_eq!(digits, b"0123456789");
        }
        assert_eq!(digit('\u{66a}'), None);
    }
}
