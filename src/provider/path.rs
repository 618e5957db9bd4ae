//! Paths of gateway routes: matched literally, with `{name}` for one segment.

/// A path as a profile names it, such as `/payment-invoices/{id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Any,
}

impl PathPattern {
    /// Reads a pattern; it begins with `/` and its literals are plain.
    pub fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        let segments = rest.split('/').map(Segment::parse).collect::<Option<Vec<_>>>()?;
        Some(Self { text: text.to_owned(), segments })
    }

    /// Whether every path that the other one matches is matched by this one, too.
    pub fn covers(&self, other: &Self) -> bool {
        let covers = |(own, other): (&Segment, &Segment)| *own == Segment::Any || own == other;
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(covers)
    }

    /// Whether a path matches. One trailing slash more is the same call: both spellings are in use.
    pub fn matches(&self, path: &str) -> bool {
        let Some(rest) = path.strip_prefix('/') else { return false };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let mut wanted = self.segments.iter();
        for seen in segments(rest) {
            match wanted.next() {
                Some(Segment::Literal(literal)) if literal.as_bytes() == seen => {}
                Some(Segment::Any) if !seen.is_empty() => {}
                _ => return false,
            }
        }
        wanted.next().is_none()
    }

    /// Whether only one text matches, its trailing slash aside.
    pub fn is_literal(&self) -> bool {
        self.segments.iter().all(|segment| matches!(segment, Segment::Literal(_)))
    }

    /// Names of its segments in braces, without them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let segments = self.text.split('/');
        segments.filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
    }

    /// The path with values in place of the names; none where one is missing, or is not a plain
    /// segment.
    pub fn filled<'v>(&self, value_of: impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let fill = |segment: &'v str| Some(segment).filter(|t| !t.is_empty() && !t.contains('/'));
        let segments = self.text.split('/').map(|segment| {
            let name = segment.strip_prefix('{').and_then(|name| name.strip_suffix('}'));
            match name {
                Some(name) => value_of(name).and_then(fill).map(str::to_owned),
                None => Some(segment.to_owned()),
            }
        });
        let path = segments.collect::<Option<Vec<_>>>()?.join("/");
        is_plain_path(&path).then_some(path)
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Segment {
    fn parse(text: &str) -> Option<Self> {
        if text.starts_with('{') {
            return (text.len() > 2 && text.ends_with('}')).then_some(Self::Any);
        }
        let plain = text.bytes().all(is_unreserved) && !matches!(text, "" | "." | "..");
        plain.then(|| Self::Literal(text.to_owned()))
    }
}

/// Whether a path is one that every server reads alike: segments of unreserved characters
/// (RFC 3986 section 2.3) and a few harmless ones, no `.` or `..`, no escapes, no empty segment
/// inside. Anything else could mean another path to the provider than it means to us.
pub fn is_plain_path(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    if rest.is_empty() {
        return true;
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let plain = |byte: u8| is_unreserved(byte) || matches!(byte, b':' | b'@' | b',' | b'+' | b'=');
    let is_plain = |segment: &[u8]| segment.iter().copied().all(plain);
    segments(rest).all(|segment| !matches!(segment, b"" | b"." | b"..") && is_plain(segment))
}

fn segments(path: &str) -> impl Iterator<Item = &[u8]> {
    path.as_bytes().split(|byte| *byte == b'/')
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_braces_is_one_segment() {
        let one = PathPattern::parse("/payment-invoices/{id}").unwrap();
        assert!(one.matches("/payment-invoices/cpi_1"));
        assert!(one.matches("/payment-invoices/cpi_1/"));
        for bad in ["/payment-invoices", "/payment-invoices/", "/payment-invoices/a/b", "/x/cpi_1"]
        {
            assert!(!one.matches(bad), "{bad}");
        }
    }

    #[test]
    fn only_plain_segments_are_filled_in() {
        let one = PathPattern::parse("/payment-invoices/{id}").unwrap();
        assert_eq!(one.names().collect::<Vec<_>>(), ["id"]);
        let filled = |id: &'static str| one.filled(|name| (name == "id").then_some(id));
        assert_eq!(filled("cpi_1").as_deref(), Some("/payment-invoices/cpi_1"));
        for bad in ["", "..", "a/b", "a?b", "a%2fb", "a b"] {
            assert_eq!(filled(bad), None, "{bad}");
        }
        assert_eq!(one.filled(|_| None), None);
    }

    #[test]
    fn a_literal_matches_with_and_without_its_trailing_slash() {
        let list = PathPattern::parse("/payment-invoices").unwrap();
        assert!(list.matches("/payment-invoices") && list.matches("/payment-invoices/"));
        assert!(!list.matches("/payment-invoices//") && !list.matches("/payment-invoicesx"));
    }

    #[test]
    fn paths_that_another_server_could_read_otherwise_are_not_plain() {
        for bad in
            ["", "a", "//", "/a//b", "/a/../b", "/./a", "/a%2fb", "/a\\b", "/a;b", "/a b", "/ä"]
        {
            assert!(!is_plain_path(bad), "{bad}");
        }
        for good in ["/", "/a", "/a/", "/payment-invoices/cpi_eqUNbE6SpIEmRB2K", "/a.b/c~d"] {
            assert!(is_plain_path(good), "{good}");
        }
    }
}
