//! Rules about single header fields, shared by both HTTP versions.
//!
//! Collects what the codec itself needs (host, framing, connection options) and keeps framing and
//! hop-by-hop fields away from the rooms. Refuses rather than repairs (RFC 9110 §5, RFC 9112 §6).

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::message::Refusal;
use super::target;

/// How the body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Empty,
    Length(u64),
    Chunked,
}

/// Collects the fields of one request.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) map: HeaderMap,
    pub(crate) expect_continue: bool,
    /// The client asked for the connection to be closed.
    pub(crate) close: bool,
    /// The request wants to become a WebSocket.
    pub(crate) websocket: bool,
    /// Why only a room that passes the request through may have it.
    pub(crate) reserved: Option<Refusal>,
    length: Option<u64>,
    chunked: bool,
}

impl Fields {
    pub(crate) fn with_capacity(fields: usize) -> Self {
        let map = HeaderMap::with_capacity(fields);
        Self {
            map,
            expect_continue: false,
            close: false,
            websocket: false,
            reserved: None,
            length: None,
            chunked: false,
        }
    }

    /// Takes one field, as the client sent it.
    pub(crate) fn take(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Refusal> {
        match name.as_str() {
            "host" => self.host(value),
            "content-length" => self.content_length(&value),
            "transfer-encoding" => self.transfer_encoding(&value),
            "connection" => self.connection(&value),
            "expect" => self.expect(&value),
            "upgrade" => self.upgrade(&value),
            "http2-settings" => Err(Refusal::UpgradeRefused),
            "content-encoding" => {
                self.reserved = Some(Refusal::ContentEncodingRefused);
                self.plain(name, value)
            }
            "keep-alive" | "proxy-connection" | "te" | "trailer" | "proxy-authorization" => Ok(()),
            _ => self.plain(name, value),
        }
    }

    /// Where the body ends (RFC 9112 §6.3); both codings at once are refused.
    pub(crate) fn framing(&self) -> Result<Framing, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::BadFraming),
            (None, true) => Ok(Framing::Chunked),
            (None | Some(0), false) => Ok(Framing::Empty),
            (Some(length), false) => Ok(Framing::Length(length)),
        }
    }

    /// `Host` is there, and equals the authority of the target, if that had one.
    pub(crate) fn check_host(&self, authority: Option<&str>) -> Result<(), Refusal> {
        let host = self.map.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.ok_or(Refusal::BadHost)?;
        match authority {
            Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(Refusal::BadHost),
            _ => Ok(()),
        }
    }

    /// Adds the authority of an HTTP/2 request that carries no `Host` of its own.
    pub(crate) fn host_from(&mut self, authority: Option<&str>) -> Result<(), Refusal> {
        if self.map.contains_key(header::HOST) {
            return self.check_host(authority);
        }
        let authority = authority.ok_or(Refusal::BadHost)?;
        self.host(HeaderValue::from_str(authority).map_err(|_| Refusal::BadHost)?)
    }

    fn host(&mut self, value: HeaderValue) -> Result<(), Refusal> {
        if !value.to_str().is_ok_and(target::is_authority) {
            return Err(Refusal::BadHost);
        }
        match self.map.insert(header::HOST, value) {
            Some(_) => Err(Refusal::BadHost),
            None => Ok(()),
        }
    }

    fn content_length(&mut self, value: &HeaderValue) -> Result<(), Refusal> {
        let length = parse_length(value.as_bytes()).ok_or(Refusal::BadFraming)?;
        match self.length.replace(length) {
            Some(_) => Err(Refusal::BadFraming),
            None => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, value: &HeaderValue) -> Result<(), Refusal> {
        if self.chunked {
            return Err(Refusal::BadFraming);
        }
        if !value.as_bytes().eq_ignore_ascii_case(b"chunked") {
            return Err(Refusal::TransferCodingRefused);
        }
        self.chunked = true;
        Ok(())
    }

    /// Options other than the usual three would name a field to be removed: refused, so that nobody
    /// can take a field out of a request this way.
    fn connection(&mut self, value: &HeaderValue) -> Result<(), Refusal> {
        for option in value.as_bytes().split(|&b| b == b',') {
            match option.trim_ascii() {
                o if o.eq_ignore_ascii_case(b"close") => self.close = true,
                o if o.eq_ignore_ascii_case(b"keep-alive") || o.eq_ignore_ascii_case(b"te") => {}
                o if o.eq_ignore_ascii_case(b"upgrade") => {
                    self.reserved = Some(Refusal::UpgradeRefused);
                }
                _ => return Err(Refusal::BadField),
            }
        }
        Ok(())
    }

    /// The only protocol that anything here is passed on in.
    fn upgrade(&mut self, value: &HeaderValue) -> Result<(), Refusal> {
        if self.websocket || !value.as_bytes().eq_ignore_ascii_case(b"websocket") {
            return Err(Refusal::UpgradeRefused);
        }
        self.websocket = true;
        self.reserved = Some(Refusal::UpgradeRefused);
        Ok(())
    }

    fn expect(&mut self, value: &HeaderValue) -> Result<(), Refusal> {
        if self.expect_continue || !value.as_bytes().eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::ExpectationFailed);
        }
        self.expect_continue = true;
        Ok(())
    }

    fn plain(&mut self, name: HeaderName, value: HeaderValue) -> Result<(), Refusal> {
        if is_singular(&name) && self.map.contains_key(&name) {
            return Err(Refusal::BadField);
        }
        match self.map.try_append(name, value) {
            Ok(_) => Ok(()),
            Err(_) => Err(Refusal::TooManyFields),
        }
    }
}

/// Fields that decide who may do what with which bytes: two of them are an attack.
fn is_singular(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-type"
            | "content-encoding"
            | "authorization"
            | "origin"
            | "referer"
            | "portcullis-key"
    )
}

/// `1*DIGIT`, nothing else (RFC 9110 §8.6).
pub(crate) fn parse_length(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0_u64, |length, byte| match byte {
        b'0'..=b'9' => length.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// Fields that belong to one connection; a codec writes its own, nobody passes them on.
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "content-length"
            | "transfer-encoding"
            | "keep-alive"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "upgrade"
            | "http2-settings"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(fields: &[(&str, &str)]) -> Result<Fields, Refusal> {
        let mut taken = Fields::with_capacity(4);
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            taken.take(name, HeaderValue::from_str(value).unwrap())?;
        }
        Ok(taken)
    }

    #[test]
    fn framing_is_one_length_or_one_chunked_or_nothing() {
        let framing = |fields: &[(&str, &str)]| take(fields)?.framing();
        assert_eq!(framing(&[]), Ok(Framing::Empty));
        assert_eq!(framing(&[("content-length", "0")]), Ok(Framing::Empty));
        assert_eq!(framing(&[("content-length", "07")]), Ok(Framing::Length(7)));
        assert_eq!(framing(&[("transfer-encoding", "Chunked")]), Ok(Framing::Chunked));
        for bad in ["", "+1", "-1", "1,1", "1, 1", "0x1", "1 ", "one", "99999999999999999999"] {
            assert_eq!(framing(&[("content-length", bad)]), Err(Refusal::BadFraming), "{bad}");
        }
        let both = [("content-length", "1"), ("transfer-encoding", "chunked")];
        assert_eq!(framing(&both), Err(Refusal::BadFraming));
        let twice = [("content-length", "1"), ("content-length", "1")];
        assert_eq!(framing(&twice), Err(Refusal::BadFraming));
        for bad in
            ["gzip", "gzip, chunked", "chunked, chunked", "chunked;q=1", "identity", "", "xchunked"]
        {
            let refused = framing(&[("transfer-encoding", bad)]);
            assert_eq!(refused, Err(Refusal::TransferCodingRefused), "{bad}");
        }
    }

    #[test]
    fn connection_options_cannot_name_fields() {
        assert!(take(&[("connection", "Close")]).unwrap().close);
        assert!(take(&[("connection", "keep-alive, TE")]).is_ok());
        for bad in ["authorization", "keep-alive, host", "close,", "", "content-length"] {
            assert_eq!(take(&[("connection", bad)]).err(), Some(Refusal::BadField), "{bad}");
        }
    }

    #[test]
    fn rooms_never_see_framing_or_hop_by_hop_fields() {
        let taken = take(&[
            ("host", "a"),
            ("content-length", "1"),
            ("connection", "keep-alive"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("x-mine", "1"),
        ]);
        let names: Vec<_> = taken.unwrap().map.keys().map(|n| n.as_str().to_owned()).collect();
        assert_eq!(names, ["host", "x-mine"]);
    }

    #[test]
    fn doubled_identity_fields_are_refused() {
        for name in ["content-type", "authorization", "origin", "portcullis-key"] {
            assert_eq!(take(&[(name, "a"), (name, "a")]).err(), Some(Refusal::BadField), "{name}");
        }
        assert!(take(&[("x", "1"), ("x", "2")]).is_ok());
    }
}
