//! Fields of a request on its way to a shop, and of an answer on its way back.
//!
//! What tells the shop who called, and under which name, is ours to say: the same fields from
//! outside are dropped, and so are those with which frameworks replace the path of a request.

use std::net::IpAddr;

use bytes::Bytes;
use http::Method;
use http::header::{self, COOKIE, HeaderMap, HeaderName, HeaderValue};

use super::super::exchange::Outgoing;
use super::super::fields::{Framing, is_hop_by_hop};
use super::super::h1::reply::{push_decimal, push_field};
use super::super::message::{Head, Passing};
use crate::secret::CleartextBody;

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Whether a field of a client is one that only a proxy may send. Some servers take an underscore
/// in a name for a hyphen.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    name.starts_with("x-forwarded-")
        || matches!(
            name.as_str(),
            "forwarded"
                | "via"
                | "proxy"
                | "client-ip"
                | "true-client-ip"
                | "cf-connecting-ip"
                | "fastly-client-ip"
                | "x-client-ip"
                | "x-cluster-client-ip"
                | "x-real-ip"
                | "x-original-url"
                | "x-original-uri"
                | "x-rewrite-url"
        )
}

/// The fields of a request as the shop gets them.
fn fields(head: &Head, client: IpAddr) -> Vec<(HeaderName, HeaderValue)> {
    let mut fields = Vec::with_capacity(head.headers.len() + 3);
    let mut cookies: Vec<&[u8]> = Vec::new();
    for (name, value) in &head.headers {
        if name == COOKIE {
            cookies.push(value.as_bytes());
        } else if name != header::HOST && !is_hop_by_hop(name) && !is_ours(name) {
            fields.push((name.clone(), value.clone()));
        }
    }
    // HTTP/2 may bring cookies one by one; HTTP/1.1 has one field (RFC 9113 section 8.2.3).
    if !cookies.is_empty()
        && let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(cookies.join(&b"; "[..])))
    {
        fields.push((COOKIE, value));
    }
    let address = HeaderValue::from_str(&client.to_string());
    fields.extend(address.ok().map(|address| (FOR, address)));
    fields.extend(head.headers.get(header::HOST).map(|host| (HOST, host.clone())));
    fields.push((PROTO, HeaderValue::from_static("https")));
    fields
}

/// Path and query as they were sent.
pub(crate) fn path_and_query(head: &Head) -> String {
    match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.clone(),
    }
}

/// The head of a request that passes through.
pub(crate) fn request_head(passing: &Passing, client: IpAddr) -> CleartextBody {
    let head = &passing.head;
    let mut out = Vec::with_capacity(2048);
    for part in [head.method.as_str(), " ", &path_and_query(head), " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if let Some(host) = head.headers.get(header::HOST) {
        push_field(&mut out, &header::HOST, host.as_bytes());
    }
    for (name, value) in fields(head, client) {
        push_field(&mut out, &name, value.as_bytes());
    }
    if passing.expect_continue {
        push_field(&mut out, &header::EXPECT, b"100-continue");
    }
    if passing.websocket {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
    }
    match passing.framing {
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::Length(length) => push_length(&mut out, length),
        Framing::Empty if matches!(head.method, Method::POST | Method::PUT | Method::PATCH) => {
            push_length(&mut out, 0);
        }
        Framing::Empty => {}
    }
    out.extend_from_slice(b"\r\n");
    CleartextBody::from(out)
}

fn push_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    push_decimal(out, usize::try_from(length).unwrap_or(usize::MAX));
    out.extend_from_slice(b"\r\n");
}

/// A request on a card path, with tokens in its body.
pub(crate) fn outgoing(head: &Head, client: IpAddr, body: CleartextBody) -> Outgoing {
    Outgoing {
        method: head.method.clone(),
        path_and_query: path_and_query(head),
        headers: fields(head, client),
        body,
    }
}

/// The fields of the shop's answer as the client gets them. Another way to the shop's host, which
/// `Alt-Svc` names, would lead around us.
pub(crate) fn passed_back(mut headers: HeaderMap) -> HeaderMap {
    headers.remove(header::ALT_SVC);
    headers
}
