//! Heads of a provider's answers: strict where a doubt could mean somebody else's answer.
//!
//! Anything unclear is an error and ends the connection. Must never guess where a body ends.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::exchange::SendErrorKind;
use super::fields::{is_hop_by_hop, parse_length};
use super::message::Caps;

/// How the body of an answer is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFraming {
    Empty,
    Length(u64),
    Chunked,
    /// Until the connection is closed; over TLS only a proper close counts.
    Close,
}

/// The head of a final or interim answer.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) framing: AnswerFraming,
    /// What `Content-Length` says, whether or not a body follows.
    pub(crate) declared: Option<u64>,
    /// The connection may carry another request afterwards.
    pub(crate) reusable: bool,
}

impl AnswerHead {
    pub(crate) const fn is_interim(&self) -> bool {
        self.status < 200
    }
}

/// Parses a head; `bytes` ends with its empty line. `bodiless` says that the request was a HEAD.
pub(crate) fn parse(bytes: &[u8], bodiless: bool) -> Result<AnswerHead, SendErrorKind> {
    read(bytes, bodiless, false)
}

/// The same for an answer that passes through: it may be coded, or become a WebSocket.
pub(crate) fn parse_passing(bytes: &[u8], bodiless: bool) -> Result<AnswerHead, SendErrorKind> {
    read(bytes, bodiless, true)
}

fn read(bytes: &[u8], bodiless: bool, passing: bool) -> Result<AnswerHead, SendErrorKind> {
    let bytes = Bytes::copy_from_slice(bytes);
    let mut store = [const { MaybeUninit::uninit() }; Caps::FIELDS_MAX];
    let mut raw = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut raw, &bytes, &mut store);
    if parsed != Ok(httparse::Status::Complete(bytes.len())) {
        return Err(SendErrorKind::BadAnswer);
    }
    let (Some(status @ 100..=599), Some(minor)) = (raw.code, raw.version) else {
        return Err(SendErrorKind::BadAnswer);
    };
    let map = HeaderMap::with_capacity(raw.headers.len());
    let reusable = minor == 1;
    let mut fields = AnswerFields { map, reusable, passing, ..AnswerFields::default() };
    for field in raw.headers.iter() {
        fields.take(field.name, bytes.slice_ref(field.value))?;
    }
    fields.finish(status, minor, bodiless)
}

#[derive(Default)]
struct AnswerFields {
    map: HeaderMap,
    length: Option<u64>,
    chunked: bool,
    reusable: bool,
    passing: bool,
    websocket: bool,
    named: Vec<HeaderName>,
}

impl AnswerFields {
    fn take(&mut self, name: &str, value: Bytes) -> Result<(), SendErrorKind> {
        let bad = SendErrorKind::BadAnswer;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad)?;
        match name.as_str() {
            "content-length" => {
                let length = parse_length(&value).ok_or(bad)?;
                if self.length.replace(length).is_some() { Err(bad) } else { Ok(()) }
            }
            "transfer-encoding" => {
                let known = value.eq_ignore_ascii_case(b"chunked");
                if std::mem::replace(&mut self.chunked, true) || !known { Err(bad) } else { Ok(()) }
            }
            "content-encoding" if value.eq_ignore_ascii_case(b"identity") => Ok(()),
            "content-encoding" if !self.passing => Err(SendErrorKind::Encoded),
            "upgrade" => {
                self.websocket = value.eq_ignore_ascii_case(b"websocket");
                Ok(())
            }
            "connection" => {
                self.connection(&value);
                Ok(())
            }
            _ if is_hop_by_hop(&name) => Ok(()),
            _ => {
                let value = HeaderValue::from_maybe_shared(value).map_err(|_| bad)?;
                self.map.try_append(name, value).map(|_| ()).map_err(|_| bad)
            }
        }
    }

    /// Fields that `Connection` names belong to this connection alone and go no further.
    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            if option.eq_ignore_ascii_case(b"close") {
                self.reusable = false;
            // Most say so, and the field of this name goes no further anyway.
            } else if !option.eq_ignore_ascii_case(b"keep-alive")
                && let Ok(name) = HeaderName::from_bytes(option)
            {
                self.named.push(name);
            }
        }
    }

    /// Where the body ends (RFC 9112 §6.3).
    fn finish(
        mut self,
        status: u16,
        minor: u8,
        bodiless: bool,
    ) -> Result<AnswerHead, SendErrorKind> {
        let switched = status == 101 && !(self.passing && self.websocket);
        if self.chunked && (self.length.is_some() || minor == 0) || switched {
            return Err(SendErrorKind::BadAnswer);
        }
        for name in &self.named {
            self.map.remove(name);
        }
        let framing = match (status, self.length, self.chunked) {
            (100..=199 | 204 | 304, length, chunked) => {
                // A body where none may be leaves it open what the next bytes are.
                self.reusable &= !chunked && length.unwrap_or(0) == 0;
                AnswerFraming::Empty
            }
            _ if bodiless => AnswerFraming::Empty,
            (_, _, true) => AnswerFraming::Chunked,
            (_, Some(0), _) => AnswerFraming::Empty,
            (_, Some(length), _) => AnswerFraming::Length(length),
            (_, None, _) => AnswerFraming::Close,
        };
        let reusable = self.reusable && framing != AnswerFraming::Close;
        Ok(AnswerHead { status, headers: self.map, framing, declared: self.length, reusable })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<AnswerHead, SendErrorKind> {
        parse(format!("{head}\r\n").as_bytes(), false)
    }

    #[test]
    fn framing_of_an_answer_is_known_or_the_answer_is_bad() {
        let framing = |head: &str| read(head).map(|head| (head.framing, head.reusable));
        use AnswerFraming::{Chunked, Close, Empty, Length};
        assert_eq!(framing("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n"), Ok((Length(3), true)));
        assert_eq!(framing("HTTP/1.1 200\r\ncontent-length: 3\r\n"), Ok((Length(3), true)));
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"),
            Ok((Chunked, true))
        );
        assert_eq!(framing("HTTP/1.1 200 OK\r\n"), Ok((Close, false)));
        assert_eq!(framing("HTTP/1.1 204 No\r\n"), Ok((Empty, true)));
        assert_eq!(framing("HTTP/1.1 204 No\r\ncontent-length: 3\r\n"), Ok((Empty, false)));
        assert_eq!(framing("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n"), Ok((Length(3), false)));
        let closing = "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 0\r\n";
        assert_eq!(framing(closing), Ok((Empty, false)));
        for bad in [
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 3\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 3, 3\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -3\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
            "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n",
            "HTTP/1.1 101 Switching\r\n",
            "HTTP/1.1 099 Low\r\n",
            "HTTP/1.1 600 High\r\n",
            "HTTP/1.1 20 OK\r\n",
            "HTTP/1.1  200 OK\r\n",
            "HTTP/2.0 200 OK\r\n",
            "http/1.1 200 OK\r\n",
            " HTTP/1.1 200 OK\r\n",
            "ICY 200 OK\r\n",
            "HTTP/1.1 200 OK\r\nx : y\r\n",
            "HTTP/1.1 200 OK\r\n x: y\r\n",
            "HTTP/1.1 200 OK\r\nx: y\r\n z\r\n",
            "HTTP/1.1 200 OK\r\nx\r\n",
            "HTTP/1.1 200 OK\r\nx: \0\r\n",
        ] {
            assert_eq!(framing(bad).err(), Some(SendErrorKind::BadAnswer), "{bad:?}");
        }
    }

    #[test]
    fn an_encoded_answer_is_an_error_of_its_own() {
        let encoded = read("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n");
        assert_eq!(encoded.err(), Some(SendErrorKind::Encoded));
        assert!(read("HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\n").is_ok());
    }

    #[test]
    fn fields_of_the_connection_go_no_further() {
        let head =
            "HTTP/1.1 200 OK\r\nconnection: x-secret\r\nx-secret: 1\r\nkeep-alive: a\r\ny: 2\r\n";
        let names: Vec<_> =
            read(head).unwrap().headers.keys().map(|n| n.as_str().to_owned()).collect();
        assert_eq!(names, ["y"]);
    }
}
