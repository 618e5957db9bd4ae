//! Heads of HTTP/1.1 requests: where they end, and what they say.
//!
//! Must never accept a line that does not end in CRLF, and never touch bytes after the head.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use http::{Method, Version};

use super::super::fields::{Fields, Framing};
use super::super::message::{Caps, Head, Refusal};
use super::super::{accept::Origin, target};

/// Method, spaces, version and line end around a target.
const REQUEST_LINE_FRAME: usize = 32;

/// Looks for the end of a head as it arrives; every byte is looked at once.
#[derive(Debug, Default)]
pub(crate) struct HeadEnd {
    seen: usize,
    line: usize,
}

impl HeadEnd {
    /// The length of the head, or none if more is needed. A line that does not end in CRLF is
    /// refused as soon as it ends, an empty first line too.
    pub(crate) fn find(&mut self, bytes: &[u8], caps: &Caps) -> Result<Option<usize>, Refusal> {
        while let Some(offset) = memchr::memchr(b'\n', bytes.get(self.seen..).unwrap_or_default()) {
            let end = self.seen + offset;
            let line = bytes.get(self.line..end).unwrap_or_default();
            match line {
                [] => return Err(self.bad_line()),
                [b'\r'] if self.line == 0 => return Err(Refusal::BadRequestLine),
                [b'\r'] => return Ok(Some(end + 1)),
                [.., b'\r'] => {}
                _ => return Err(self.bad_line()),
            }
            (self.seen, self.line) = (end + 1, end + 1);
        }
        self.seen = bytes.len();
        if self.line == 0 && self.seen > caps.target + REQUEST_LINE_FRAME {
            return Err(Refusal::TargetTooLong);
        }
        if self.seen >= caps.head_bytes {
            return Err(Refusal::HeadTooLarge);
        }
        Ok(None)
    }

    const fn bad_line(&self) -> Refusal {
        if self.line == 0 { Refusal::BadRequestLine } else { Refusal::BadField }
    }
}

/// A head that passed every rule, and how to go on.
pub(crate) struct Parsed {
    pub(crate) head: Head,
    pub(crate) framing: Framing,
    pub(crate) expect_continue: bool,
    pub(crate) close: bool,
    pub(crate) websocket: bool,
    pub(crate) reserved: Option<Refusal>,
}

/// Parses the head; `bytes` ends with its empty line. One allocation holds all field values.
pub(crate) fn parse(bytes: &[u8], caps: &Caps, origin: &Origin) -> Result<Parsed, Refusal> {
    if bytes.len() > caps.head_bytes {
        return Err(Refusal::HeadTooLarge);
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let mut store = [const { MaybeUninit::uninit() }; Caps::FIELDS_MAX];
    let mut raw = httparse::Request::new(&mut []);
    match raw.parse_with_uninit_headers(&bytes, &mut store) {
        Ok(httparse::Status::Complete(n)) if n == bytes.len() => {}
        Ok(_) => return Err(Refusal::BadRequestLine),
        Err(error) => return Err(refusal_of(error, raw.path)),
    }
    if raw.version != Some(1) {
        return Err(Refusal::UnsupportedVersion);
    }
    let (Some(method), Some(text)) = (raw.method, raw.path) else {
        return Err(Refusal::BadRequestLine);
    };
    if text.len() > caps.target {
        return Err(Refusal::TargetTooLong);
    }
    let method = accepted_method(method).ok_or(Refusal::MethodRefused)?;
    let target = target::parse(text)?;
    let fields = collect(&bytes, raw.headers, caps)?;
    fields.check_host(target.authority)?;
    let framing = fields.framing()?;
    Ok(Parsed {
        framing,
        expect_continue: fields.expect_continue,
        close: fields.close,
        websocket: fields.websocket,
        reserved: fields.reserved,
        head: Head {
            method,
            path: target.path.to_owned(),
            query: target.query.map(str::to_owned),
            headers: fields.map,
            version: Version::HTTP_11,
            peer: origin.peer,
            client: origin.client.clone(),
        },
    })
}

fn collect(bytes: &Bytes, raw: &[httparse::Header<'_>], caps: &Caps) -> Result<Fields, Refusal> {
    if raw.len() > caps.fields {
        return Err(Refusal::TooManyFields);
    }
    let mut fields = Fields::with_capacity(raw.len());
    for field in raw {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Refusal::BadField)?;
        let value = HeaderValue::from_maybe_shared(bytes.slice_ref(field.value));
        fields.take(name, value.map_err(|_| Refusal::BadField)?)?;
    }
    Ok(fields)
}

/// The methods any room answers; the rest, CONNECT and TRACE among them, ends here.
pub(crate) fn accepted_method(name: &str) -> Option<Method> {
    Some(match name {
        "GET" => Method::GET,
        "POST" => Method::POST,
        "HEAD" => Method::HEAD,
        "OPTIONS" => Method::OPTIONS,
        "DELETE" => Method::DELETE,
        "PUT" => Method::PUT,
        "PATCH" => Method::PATCH,
        _ => return None,
    })
}

fn refusal_of(error: httparse::Error, path: Option<&str>) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::TooManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::BadField,
        httparse::Error::Version => Refusal::UnsupportedVersion,
        httparse::Error::NewLine if path.is_some() => Refusal::BadField,
        httparse::Error::NewLine | httparse::Error::Status | httparse::Error::Token => {
            Refusal::BadRequestLine
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<Parsed, Refusal> {
        let caps = Caps::default();
        let end = HeadEnd::default().find(head.as_bytes(), &caps)?;
        let end = end.ok_or(Refusal::HeadTimeout)?;
        parse(head.as_bytes().get(..end).unwrap_or_default(), &caps, &Origin::test())
    }

    #[test]
    fn a_plain_head_is_read_in_full() {
        let head = "POST /v1/tokens?a=b HTTP/1.1\r\nHost: localhost:8443\r\ncontent-length: 3\r\nX-A:  b \r\n\r\nabc";
        let parsed = read(head).ok().unwrap();
        assert_eq!(parsed.head.method, Method::POST);
        assert_eq!(
            (parsed.head.path.as_str(), parsed.head.query.as_deref()),
            ("/v1/tokens", Some("a=b"))
        );
        assert_eq!(parsed.head.headers.get("x-a").unwrap(), "b");
        assert_eq!(parsed.framing, Framing::Length(3));
        assert!(!parsed.close && !parsed.expect_continue);
    }

    #[test]
    fn the_end_is_found_wherever_the_bytes_are_cut() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nmore";
        let caps = Caps::default();
        for cut in 0..head.len() {
            let mut end = HeadEnd::default();
            let first = end.find(&head[..cut], &caps).unwrap();
            assert_eq!(first, (cut >= 27).then_some(27), "{cut}");
            if first.is_none() {
                assert_eq!(end.find(head, &caps), Ok(Some(27)));
            }
        }
    }

    #[test]
    fn an_absolute_target_must_name_the_same_host() {
        assert!(read("GET http://A.b/x HTTP/1.1\r\nHost: a.B\r\n\r\n").is_ok());
        let other = read("GET http://evil/x HTTP/1.1\r\nHost: a\r\n\r\n").err();
        assert_eq!(other, Some(Refusal::BadHost));
    }

    #[test]
    fn limits_are_exact() {
        let caps = Caps { target: 10, head_bytes: 60, fields: 2, ..Caps::default() };
        let check = |head: &str| {
            let end = HeadEnd::default().find(head.as_bytes(), &caps)?;
            parse(&head.as_bytes()[..end.unwrap()], &caps, &Origin::test()).map(|_| ())
        };
        assert_eq!(check("GET /123456789 HTTP/1.1\r\nhost: a\r\n\r\n"), Ok(()));
        assert_eq!(
            check("GET /1234567890 HTTP/1.1\r\nhost: a\r\n\r\n"),
            Err(Refusal::TargetTooLong)
        );
        assert_eq!(check("GET / HTTP/1.1\r\nhost: a\r\nx: y\r\n\r\n"), Ok(()));
        let many = "GET / HTTP/1.1\r\nhost: a\r\nx: y\r\nx: y\r\n\r\n";
        assert_eq!(check(many), Err(Refusal::TooManyFields));
        let fits = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(28));
        assert_eq!((fits.len(), check(&fits)), (60, Ok(())));
        let long = format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "y".repeat(29));
        assert_eq!(check(&long), Err(Refusal::HeadTooLarge));
    }
}
