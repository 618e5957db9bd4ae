//! `multipart/form-data` (RFC 7578) as browsers write it: reading in place, nothing else accepted.
//!
//! Readers of this format disagree about nearly every liberty that RFC 2046 gives, so none is
//! taken: the body begins with its first delimiter and ends with its last, lines end in CRLF, the
//! delimiter stands nowhere else, a part says its name once and in quotes. What a receiver could
//! read as another part, another name or another text is refused.

use std::fmt;

use super::{Category, Span, WireError};
use crate::secret::CleartextBody;

/// Bytes of a boundary (RFC 2046 section 5.1.1).
const BOUNDARY_MAX: usize = 70;
/// Bytes of one part's headers.
const HEADERS_MAX: usize = 2 * 1024;
/// Parts of one body.
const PARTS_MAX: usize = 256;

/// The boundary that a `Content-Type` names: `multipart/form-data` with one boundary, and nothing
/// else but `charset=utf-8`.
#[must_use]
pub fn boundary(content_type: &str) -> Option<&str> {
    let mut parts = content_type.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case("multipart/form-data") {
        return None;
    }
    let mut found = None;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        let inner = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = inner.unwrap_or(value);
        if name.eq_ignore_ascii_case("boundary") {
            if found.replace(value).is_some() {
                return None;
            }
        } else if !is_utf8(name, value) {
            return None;
        }
    }
    found.filter(|boundary| is_boundary(boundary))
}

fn is_utf8(name: &str, value: &str) -> bool {
    name.eq_ignore_ascii_case("charset") && value.eq_ignore_ascii_case("utf-8")
}

/// What browsers and libraries make, without the characters that would need quotes.
fn is_boundary(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"'+_-.".contains(&byte);
    (1..=BOUNDARY_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Splits a body into its parts.
///
/// # Errors
/// [`Category::MultipartSyntax`] for anything that two readers could take for two things,
/// [`Category::MultipartDuplicate`] for a name that comes twice, [`Category::Utf8`].
pub fn parse<'a>(input: &'a [u8], boundary: &str) -> Result<MultipartDocument<'a>, WireError> {
    let reader = Reader { input };
    let mut parts: Vec<Part<'a>> = Vec::new();
    for region in reader.regions(boundary)? {
        if parts.len() == PARTS_MAX {
            return Err(reader.wrong(region.start));
        }
        let part = reader.part(region)?;
        if parts.iter().any(|known| known.name() == part.name()) {
            return Err(WireError::at(Category::MultipartDuplicate, input, region.start));
        }
        parts.push(part);
    }
    Ok(MultipartDocument { input, parts })
}

/// A body and where its parts are.
pub struct MultipartDocument<'a> {
    input: &'a [u8],
    parts: Vec<Part<'a>>,
}

impl<'a> MultipartDocument<'a> {
    /// The part of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Part<'a>> {
        self.parts.iter().find(|part| part.name() == name)
    }

    /// Every part, in the order of the body.
    pub fn parts(&self) -> impl Iterator<Item = &Part<'a>> {
        self.parts.iter()
    }

    /// The bytes that were parsed.
    #[must_use]
    pub fn input(&self) -> &'a [u8] {
        self.input
    }
}

impl fmt::Debug for MultipartDocument<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MultipartDocument(..)")
    }
}

/// One part.
pub struct Part<'a> {
    name: CleartextBody,
    is_file: bool,
    content: Span,
    bytes: &'a [u8],
}

impl<'a> Part<'a> {
    /// The field's name.
    #[must_use]
    pub fn name(&self) -> &str {
        std::str::from_utf8(self.name.as_bytes()).unwrap_or_default()
    }

    /// Whether it is a file: its content is bytes and may be anything.
    #[must_use]
    pub fn is_file(&self) -> bool {
        self.is_file
    }

    /// Where the content stands.
    #[must_use]
    pub fn span(&self) -> Span {
        self.content
    }

    /// The content.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The content as text; none for a file.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        if self.is_file { None } else { std::str::from_utf8(self.bytes).ok() }
    }
}

impl fmt::Debug for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Part({:?})", self.content)
    }
}

/// What the headers of a part say.
#[derive(Default)]
struct Headers {
    name: Option<CleartextBody>,
    is_file: bool,
    kind: Option<PartKind>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum PartKind {
    /// Text in UTF-8.
    Text,
    /// Anything else, for files only.
    Other,
}

struct Reader<'a> {
    input: &'a [u8],
}

impl<'a> Reader<'a> {
    fn wrong(&self, offset: usize) -> WireError {
        WireError::at(Category::MultipartSyntax, self.input, offset)
    }

    fn slice(&self, span: Span) -> &'a [u8] {
        self.input.get(span.start..span.end).unwrap_or_default()
    }

    /// What stands between the delimiters. A delimiter that is none, after a bare line feed or with
    /// anything behind it, would be one for somebody else.
    fn regions(&self, boundary: &str) -> Result<Vec<Span>, WireError> {
        let delimiter = [b"--", boundary.as_bytes()].concat();
        let mut regions = Vec::new();
        let mut start = None;
        for at in memchr::memmem::find_iter(self.input, &delimiter) {
            let before = self.input.get(..at).unwrap_or_default();
            let after = self.input.get(at + delimiter.len()..).unwrap_or_default();
            match start {
                None if at == 0 => {}
                Some(start) if before.ends_with(b"\r\n") && at >= start + 2 => {
                    regions.push(Span { start, end: at - 2 });
                }
                _ => return Err(self.wrong(at)),
            }
            if matches!(after, b"--" | b"--\r\n") {
                return if regions.is_empty() { Err(self.wrong(at)) } else { Ok(regions) };
            }
            if !after.starts_with(b"\r\n") {
                return Err(self.wrong(at));
            }
            start = Some(at + delimiter.len() + 2);
        }
        Err(self.wrong(self.input.len()))
    }

    fn part(&self, region: Span) -> Result<Part<'a>, WireError> {
        let wrong = || self.wrong(region.start);
        let bytes = self.slice(region);
        let end = memchr::memmem::find(bytes, b"\r\n\r\n").ok_or_else(wrong)?;
        let (lines, content) = (bytes.get(..end), bytes.get(end + 4..));
        let (lines, content) = lines.zip(content).ok_or_else(wrong)?;
        if lines.len() > HEADERS_MAX {
            return Err(wrong());
        }
        let lines = std::str::from_utf8(lines)
            .map_err(|_| WireError::at(Category::Utf8, self.input, region.start))?;
        let headers = headers(lines).ok_or_else(wrong)?;
        let Headers { name: Some(name), is_file, kind } = headers else { return Err(wrong()) };
        let content_span = Span { start: region.start + end + 4, end: region.end };
        if !is_file {
            self.check_text(content, content_span)?;
            if kind == Some(PartKind::Other) {
                return Err(wrong());
            }
        }
        Ok(Part { name, is_file, content: content_span, bytes: content })
    }

    fn check_text(&self, content: &[u8], at: Span) -> Result<(), WireError> {
        if content.contains(&0) {
            return Err(self.wrong(at.start));
        }
        if content.starts_with("\u{feff}".as_bytes()) {
            return Err(WireError::at(Category::Bom, self.input, at.start));
        }
        match std::str::from_utf8(content) {
            Ok(_) => Ok(()),
            Err(error) => {
                let offset = at.start + error.valid_up_to();
                Err(WireError::at(Category::Utf8, self.input, offset))
            }
        }
    }
}

/// Reads a part's headers. Another than these two could change what the content means.
fn headers(lines: &str) -> Option<Headers> {
    let mut headers = Headers::default();
    for line in lines.split("\r\n") {
        if line.chars().any(|char| char.is_control() && char != '\t') {
            return None;
        }
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-disposition") && headers.name.is_none() {
            let (name, is_file) = disposition(value.trim())?;
            (headers.name, headers.is_file) = (Some(name), is_file);
        } else if name.eq_ignore_ascii_case("content-type") && headers.kind.is_none() {
            headers.kind = Some(kind(value.trim())?);
        } else {
            return None;
        }
    }
    Some(headers)
}

/// `form-data; name="…"` or with `filename="…"` besides: the name, and whether it is a file.
fn disposition(value: &str) -> Option<(CleartextBody, bool)> {
    let prefix = value.get(.."form-data".len())?;
    if !prefix.eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut name, mut is_file) = (None, false);
    let mut rest = value.get(prefix.len()..)?.trim();
    while !rest.is_empty() {
        let (key, quoted) = rest.strip_prefix(';')?.trim_start().split_once("=\"")?;
        let (text, after) = quoted.split_once('"')?;
        // A backslash escapes the quote for some readers and nothing for others.
        if text.contains('\\') {
            return None;
        }
        if key.eq_ignore_ascii_case("name") && name.is_none() {
            name = Some(unescaped(text));
        } else if key.eq_ignore_ascii_case("filename") && !is_file {
            is_file = true;
        } else {
            return None;
        }
        rest = after.trim_start();
    }
    name.filter(|name| !name.is_empty()).map(|name| (name, is_file))
}

/// Browsers escape three characters in a name (HTML, multipart form data) and no other.
fn unescaped(text: &str) -> CleartextBody {
    let mut name = CleartextBody::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escaped = match rest.get(..3) {
            Some(b"%22") => Some(b'"'),
            Some(b"%0D" | b"%0d") => Some(b'\r'),
            Some(b"%0A" | b"%0a") => Some(b'\n'),
            _ => None,
        };
        name.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { rest.get(3..).unwrap_or_default() } else { after };
    }
    name
}

/// A part with parts of its own, or in another charset, would have to be read by other rules.
fn kind(value: &str) -> Option<PartKind> {
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next()?.to_ascii_lowercase();
    let mut utf8 = true;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        utf8 &= !name.eq_ignore_ascii_case("charset") || is_utf8(name, value);
    }
    match kind.as_str() {
        _ if !utf8 || kind.starts_with("multipart/") || kind.starts_with("message/") => None,
        "text/plain" | "application/json" => Some(PartKind::Text),
        _ => Some(PartKind::Other),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::{Edit, splice};

    const B: &str = "----WebKitFormBoundary7MA4YWxkTrZu0gW";

    fn body(parts: &[&str]) -> String {
        let parts: String = parts.iter().map(|part| format!("--{B}\r\n{part}\r\n")).collect();
        format!("{parts}--{B}--\r\n")
    }

    fn field(name: &str, content: &str) -> String {
        format!("Content-Disposition: form-data; name=\"{name}\"\r\n\r\n{content}")
    }

    fn category(body: &str) -> Option<Category> {
        parse(body.as_bytes(), B).err().map(|error| error.category)
    }

    #[test]
    fn what_browsers_send_is_read_with_its_exact_bytes() {
        let file = "Content-Disposition: form-data; name=\"photo\"; filename=\"a b.png\"\r\n\
                    Content-Type: image/png\r\n\r\n\u{1}\r\n--x\r\n";
        let body = body(&[&field("card[number]", "4111 1111"), &field("имя %22q%22", ""), file]);
        let read = parse(body.as_bytes(), B).unwrap();
        let number = read.find("card[number]").unwrap();
        assert_eq!(number.text(), Some("4111 1111"));
        assert_eq!(&body[number.span().start..number.span().end], "4111 1111");
        assert_eq!(read.find("имя \"q\"").unwrap().text(), Some(""));
        let photo = read.find("photo").unwrap();
        assert_eq!((photo.is_file(), photo.text()), (true, None));
        assert_eq!(photo.bytes(), b"\x01\r\n--x\r\n");
        assert_eq!(read.parts().count(), 3);
    }

    #[test]
    fn a_content_type_names_one_boundary() {
        assert_eq!(boundary(&format!("multipart/form-data; boundary={B}")), Some(B));
        assert_eq!(boundary("Multipart/Form-Data;boundary=\"a\"; charset=UTF-8"), Some("a"));
        for bad in [
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; boundary=a; boundary=a",
            "multipart/form-data; boundary=a b",
            "multipart/form-data; boundary=a; charset=utf-16",
            "multipart/form-data; boundary=a; x=y",
            "multipart/form-data; boundary*=a",
            "multipart/mixed; boundary=a",
            "multipart/form-data, multipart/form-data; boundary=a",
        ] {
            assert_eq!(boundary(bad), None, "{bad}");
        }
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "a".repeat(71))), None);
    }

    #[test]
    fn whatever_two_readers_could_read_differently_is_refused() {
        let good = body(&[&field("a", "1"), &field("b", "2")]);
        assert_eq!(category(&good), None);
        assert_eq!(category(good.trim_end()), None);
        let swap = |from: &str, to: &str| {
            assert!(good.contains(from), "{from}");
            good.replacen(from, to, 1)
        };
        for bad in [
            String::new(),
            format!("preamble\r\n{good}"),
            format!("\r\n{good}"),
            format!("{good}epilogue"),
            format!("{good}\r\n"),
            format!("--{B}--\r\n"),
            good.replace("\r\n", "\n"),
            swap("\r\n\r\n1", "\n\n1"),
            swap("1\r\n--", "1\n--"),
            swap("1\r\n--", "1--"),
            swap(&format!("{B}\r\n"), &format!("{B} \r\n")),
            swap(&format!("{B}\r\n"), &format!("{B}x\r\n")),
            swap("2\r\n--", &format!("2 --{B}\r\n--")),
            swap("2\r\n--", &format!("2\n--{B}\r\n--")),
            good.replace(&format!("--{B}--"), ""),
            swap("form-data", "attachment"),
            swap("; name=\"a\"", ""),
            swap("name=\"a\"", "name=\"\""),
            swap("name=\"a\"", "name=a"),
            swap("name=\"a\"", "name=\"a\"; name=\"c\""),
            swap("name=\"a\"", "name*=utf-8''a"),
            swap("name=\"a\"", "name=\"\\a\""),
            swap("name=\"a\"", "name=\"a\"; filename*=utf-8''x"),
            swap("name=\"a\"", "name=\"a\"; size=\"1\""),
            swap("name=\"a\"", "name=\"a\" x"),
            swap("Content-D", " Content-D"),
            swap("\r\n\r\n1", "\r\n folded\r\n\r\n1"),
            swap("\r\n\r\n1", "\r\nContent-Transfer-Encoding: base64\r\n\r\n1"),
            swap("\r\n\r\n1", "\r\nContent-Disposition: form-data; name=\"c\"\r\n\r\n1"),
            swap("\r\n\r\n1", "\r\nContent-Type: text/plain; charset=utf-16\r\n\r\n1"),
            swap("\r\n\r\n1", "\r\nContent-Type: multipart/mixed; boundary=x\r\n\r\n1"),
            swap("\r\n\r\n1", "\r\nContent-Type: image/png\r\n\r\n1"),
            swap("\r\n\r\n1", &format!("\r\nContent-Type: text/{}\r\n\r\n1", "x".repeat(2048))),
            swap("\r\n\r\n1", "\r\n1"),
            swap("1\r\n", "1\0\r\n"),
        ] {
            assert_eq!(category(&bad), Some(Category::MultipartSyntax), "{bad:?}");
        }
    }

    #[test]
    fn a_name_that_comes_twice_and_text_that_is_no_utf8_are_refused() {
        let doubled = body(&[&field("a", "1"), &field("a", "2")]);
        assert_eq!(category(&doubled), Some(Category::MultipartDuplicate));
        assert_eq!(category(&body(&[&field("a", "\u{feff}1")])), Some(Category::Bom));
        let mut odd = body(&[&field("a", "1")]).into_bytes();
        let at = odd.iter().position(|byte| *byte == b'1').unwrap();
        odd[at] = 0xff;
        assert_eq!(parse(&odd, B).err().unwrap().category, Category::Utf8);
        let many: Vec<String> = (0..=PARTS_MAX).map(|at| field(&at.to_string(), "")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(category(&body(&many)), Some(Category::MultipartSyntax));
        assert_eq!(category(&body(&many[1..])), None);
    }

    #[test]
    fn debug_shows_places_and_no_input() {
        let body = body(&[&field("number", "4111111111111111")]);
        let read = parse(body.as_bytes(), B).unwrap();
        let shown = format!("{read:?} {:?}", read.parts().next().unwrap());
        assert!(!shown.contains("4111") && !shown.contains("number"), "{shown}");
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn bytes_outside_an_edit_stay_as_they_are(
            contents in proptest::collection::vec("[ -~\r\n]{0,40}", 1..6),
            at in any::<proptest::sample::Index>(),
        ) {
            let parts: Vec<String> =
                contents.iter().zip(0..).map(|(text, at)| field(&format!("f{at}"), text)).collect();
            let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
            let body = body(&parts);
            let read = parse(body.as_bytes(), B).unwrap();
            let at = at.index(contents.len());
            let span = read.find(&format!("f{at}")).unwrap().span();
            let edited = splice(body.as_bytes(), &[Edit { span, bytes: b"tok_x" }]).unwrap();
            let mut expected = contents.clone();
            expected[at] = "tok_x".to_owned();
            let again = parse(edited.as_bytes(), B).unwrap();
            let texts: Vec<_> = again.parts().map(|part| part.text().unwrap()).collect();
            prop_assert_eq!(texts, expected);
            prop_assert_eq!(&edited.as_bytes()[..span.start], &body.as_bytes()[..span.start]);
            prop_assert!(edited.as_bytes().ends_with(&body.as_bytes()[span.end..]));
        }

        #[test]
        fn no_input_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = parse(&bytes, "b");
            let framed = [b"--b\r\n", bytes.as_slice(), b"\r\n--b--"].concat();
            let _ = parse(&framed, "b");
        }
    }
}
