//! Heads of HTTP/1.1 replies.
//!
//! The codec alone writes framing and connection fields; reason phrases are the canonical ones.

use http::{StatusCode, header::HeaderName};

use super::super::fields::is_hop_by_hop;
use super::super::message::Reply;

/// Sent after a head was admitted whose client waits for it.
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Writes the head of `reply` into `out`, which keeps its allocation from reply to reply.
pub(crate) fn write_head(out: &mut Vec<u8>, reply: &Reply, close: bool) {
    out.clear();
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(reply.status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(reply.status.canonical_reason().unwrap_or_default().as_bytes());
    out.extend_from_slice(b"\r\n");
    for (name, value) in &reply.headers {
        if !is_hop_by_hop(name) {
            push_field(out, name, value.as_bytes());
        }
    }
    reply.notes.each(|name, value| push_field(out, name, value));
    if has_body(reply.status) {
        out.extend_from_slice(b"content-length: ");
        push_decimal(out, reply.body.len());
        out.extend_from_slice(b"\r\n");
    }
    if close {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
}

/// Statuses whose messages end with their head (RFC 9112 §6.3).
pub(crate) fn has_body(status: StatusCode) -> bool {
    !status.is_informational()
        && status != StatusCode::NO_CONTENT
        && status != StatusCode::NOT_MODIFIED
}

/// One field line.
pub(crate) fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &[u8]) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

/// Decimal digits without an intermediate string.
pub(crate) fn push_decimal(out: &mut Vec<u8>, number: usize) {
    let mut divisor = 1_usize;
    while number / divisor >= 10 {
        divisor *= 10;
    }
    while divisor > 0 {
        let digit = (number / divisor) % 10;
        out.push(b'0' + u8::try_from(digit).unwrap_or_default());
        divisor /= 10;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue};

    use super::*;

    fn written(reply: &Reply, close: bool) -> String {
        let mut out = b"left over".to_vec();
        write_head(&mut out, reply, close);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn framing_fields_of_the_room_are_replaced_by_those_of_the_codec() {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", HeaderValue::from_static("999"));
        headers.insert("transfer-encoding", HeaderValue::from_static("chunked"));
        headers.insert("connection", HeaderValue::from_static("upgrade"));
        headers.insert("x", HeaderValue::from_static("y"));
        let body = Bytes::from_static(b"0123456789");
        let reply = Reply { headers, body, ..Reply::empty(StatusCode::OK) };
        assert_eq!(written(&reply, false), "HTTP/1.1 200 OK\r\nx: y\r\ncontent-length: 10\r\n\r\n");
    }

    #[test]
    fn a_reply_without_content_has_no_length_and_a_closing_one_says_so() {
        let reply = Reply::empty(StatusCode::NO_CONTENT);
        assert_eq!(written(&reply, true), "HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n");
    }

    #[test]
    fn decimals_are_written_as_usual() {
        for number in [0, 1, 9, 10, 99, 100, 65_536, usize::MAX] {
            let mut out = Vec::new();
            push_decimal(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
