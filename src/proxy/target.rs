//! Request targets and authorities: one strict reading for both HTTP versions.
//!
//! Refuses rather than repairs (RFC 9112 §3.2, RFC 3986 §3): nothing is decoded, normalised or
//! escaped.

use std::net::Ipv6Addr;

use super::message::Refusal;

/// Longest authority: a DNS name of 253 characters and a port.
const AUTHORITY_MAX: usize = 260;

/// The parts of a request target.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RequestTarget<'a> {
    /// Only when the target was in absolute form.
    pub(crate) authority: Option<&'a str>,
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

/// Reads an origin-form or absolute-form target.
pub(crate) fn parse(target: &str) -> Result<RequestTarget<'_>, Refusal> {
    if target.starts_with('/') {
        return origin(None, target);
    }
    let (scheme, rest) = target.split_once("://").ok_or(Refusal::BadRequestLine)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(Refusal::BadRequestLine);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).ok_or(Refusal::BadRequestLine)?;
    if path.is_empty() {
        return origin(Some(authority), "/");
    }
    origin(Some(authority), path)
}

fn origin<'a>(authority: Option<&'a str>, text: &'a str) -> Result<RequestTarget<'a>, Refusal> {
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    if !is_path(path) || !query.is_none_or(is_query) {
        return Err(Refusal::BadRequestLine);
    }
    Ok(RequestTarget { authority, path, query })
}

/// Absolute, valid escapes, no empty first segment, no dot segment in any spelling, no escaped
/// slash.
fn is_path(path: &str) -> bool {
    path.starts_with('/')
        && !path.starts_with("//")
        && path.bytes().all(is_path_byte)
        && (memchr::memchr2(b'%', b'.', path.as_bytes()).is_none()
            || path.split('/').all(is_plain_segment))
}

const fn is_path_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
        && !matches!(byte, b'"' | b'#' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

/// What browsers leave unescaped in a query is let through; it is never interpreted here.
fn is_query(query: &str) -> bool {
    query.bytes().all(|b| matches!(b, 0x21..=0x7e) && !matches!(b, b'"' | b'#' | b'<' | b'>'))
}

fn is_plain_segment(segment: &str) -> bool {
    let mut dots = 0_usize;
    let mut other = false;
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let decoded = match byte {
            b'%' => match escaped(&mut bytes) {
                Some(decoded) => decoded,
                None => return false,
            },
            plain => plain,
        };
        if byte == b'%'
            && (decoded == b'/' || decoded == b'\\' || decoded < 0x20 || decoded == 0x7f)
        {
            return false;
        }
        if decoded == b'.' { dots += 1 } else { other = true }
    }
    other || dots == 0 || dots > 2
}

fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let high = hex(bytes.next()?)?;
    let low = hex(bytes.next()?)?;
    Some(high * 16 + low)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// `host` or `host:port`; a DNS name, an IPv4 address or an IPv6 address in brackets. No user
/// information, no empty label, no trailing dot.
pub(crate) fn is_authority(text: &str) -> bool {
    if text.len() > AUTHORITY_MAX {
        return false;
    }
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        return address.parse::<Ipv6Addr>().is_ok()
            && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    match text.split_once(':') {
        Some((host, port)) => is_host(host) && is_port(port),
        None => is_host(text),
    }
}

fn is_host(host: &str) -> bool {
    host.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    })
}

fn is_port(port: &str) -> bool {
    (1..=5).contains(&port.len())
        && port.bytes().all(|b| b.is_ascii_digit())
        && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origin_and_absolute_form_are_split_and_kept_as_sent() {
        let target = parse("/a/b%20c?filter[id]=x|y").unwrap();
        assert_eq!((target.path, target.query), ("/a/b%20c", Some("filter[id]=x|y")));
        let target = parse("https://Shop.example:8443/x?y").unwrap();
        assert_eq!(target.authority, Some("Shop.example:8443"));
        assert_eq!((target.path, target.query), ("/x", Some("y")));
        assert_eq!(parse("http://a").unwrap().path, "/");
        for fine in ["/", "/.well-known/x", "/...", "/a//b", "/a.b/c..d", "/a/?", "/%41", "/a:b@c"]
        {
            assert!(parse(fine).is_ok(), "{fine}");
        }
    }

    #[test]
    fn malformed_targets_are_refused() {
        for bad in [
            "",
            "*",
            "a",
            "a/b",
            "//host/x",
            "/a b",
            "/a\tb",
            "/a\0",
            "/a#b",
            "/\"",
            "/<",
            "/a\\b",
            "/{x}",
            "/é",
            "/%",
            "/%4",
            "/%zz",
            "/%00",
            "/%0d%0a",
            "/%2f",
            "/a%2Fb",
            "/%5c",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2E/x",
            "/?a b",
            "/?a#b",
            "/?<",
            "ftp://a/",
            "https:/a",
            "://a/",
            "http://a/../b",
            "/a|b",
            "/?é",
        ] {
            assert_eq!(parse(bad), Err(Refusal::BadRequestLine), "{bad}");
        }
    }

    #[test]
    fn authorities_are_names_or_addresses_with_an_optional_port() {
        for fine in
            ["a", "a.b", "localhost:8443", "127.0.0.1:1", "[::1]", "[2001:db8::1]:443", "a_b-c.d"]
        {
            assert!(is_authority(fine), "{fine}");
        }
        let long = "a".repeat(300);
        for bad in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:8o",
            "a b",
            "a,b",
            "a/x",
            "u@a",
            "a.",
            ".a",
            "a..b",
            "[::1",
            "[::1]x",
            "[::1]:",
            "[zz]",
            "::1",
            "a:1:2",
            "a?x",
            "a#x",
            "é",
            "a%41",
            long.as_str(),
        ] {
            assert!(!is_authority(bad), "{bad}");
        }
    }
}
