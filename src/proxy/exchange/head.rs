//! The head of a request to a provider: one canonical spelling, with `Host` and length of its own.

use http::header::HeaderName;
use http::{Method, header};

use super::super::fields::is_hop_by_hop;
use super::super::h1::reply::{push_decimal, push_field};
use super::{Outgoing, Target};
use crate::secret::CleartextBody;

/// A body up to here is sent as one part with its head.
const JOINED_MAX: usize = 4 * 1024;

/// The head of a request, or none when it would not be valid HTTP/1.1.
pub(super) fn write_head(target: &Target, out: &Outgoing) -> Option<CleartextBody> {
    let path = out.path_and_query.as_str();
    if !path.starts_with('/') || !path.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b'#') {
        return None;
    }
    let fields: usize = out.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    // Large enough for all of it: growing would leave credentials behind in the old place.
    let body = if is_short(&out.body) { out.body.len() } else { 0 };
    let mut head = Vec::with_capacity(128 + path.len() + target.host_field.len() + fields + body);
    for part in [out.method.as_str(), " ", path, " HTTP/1.1\r\n"] {
        head.extend_from_slice(part.as_bytes());
    }
    push_field(&mut head, &header::HOST, target.host_field.as_bytes());
    for (name, value) in &out.headers {
        if !is_hop_by_hop(name) && !is_ours(name) {
            push_field(&mut head, name, value.as_bytes());
        }
    }
    push_field(&mut head, &header::ACCEPT_ENCODING, b"identity");
    if !out.body.is_empty() || matches!(out.method, Method::POST | Method::PUT | Method::PATCH) {
        head.extend_from_slice(b"content-length: ");
        push_decimal(&mut head, out.body.len());
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"\r\n");
    Some(CleartextBody::from(head))
}

/// A short body goes behind its head: what is one part is sent by a cheaper system call than two
/// parts are, and that saves more than copying it costs.
pub(super) fn join(head: &mut CleartextBody, body: &mut CleartextBody) {
    if is_short(body) {
        head.extend_from_slice(body.as_bytes());
        *body = CleartextBody::with_capacity(0);
    }
}

fn is_short(body: &CleartextBody) -> bool {
    body.len() <= JOINED_MAX
}

/// Fields that only this file writes.
fn is_ours(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "accept-encoding" | "expect" | "content-encoding")
}

#[cfg(test)]
mod tests {
    use http::header::HeaderValue;

    use super::*;

    #[test]
    fn the_head_of_a_request_never_grows_while_it_is_written() {
        let target = Target::new("provider.example", 8443, true).unwrap();
        for (fields, body) in [(0, 0), (1, JOINED_MAX), (50, JOINED_MAX + 1)] {
            let field = (header::AUTHORIZATION, HeaderValue::from_static("Basic c2VjcmV0"));
            let mut out = Outgoing {
                method: Method::POST,
                path_and_query: "/x".repeat(fields + 1),
                headers: vec![field; fields],
                body: CleartextBody::from(vec![b'x'; body]),
            };
            let fields: usize =
                out.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
            let room = 128 + out.path_and_query.len() + target.host_field.len() + fields;
            let mut head = write_head(&target, &out).unwrap();
            assert!(head.len() <= room);
            let (before, place) = (head.len(), head.as_bytes().as_ptr());
            join(&mut head, &mut out.body);
            assert_eq!(head.as_bytes().as_ptr(), place);
            let joined = head.len() - before;
            assert_eq!(
                (joined, out.body.len()),
                if body <= JOINED_MAX { (body, 0) } else { (0, body) }
            );
        }
    }
}
