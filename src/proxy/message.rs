//! What the codec hands to a room and takes back: heads, requests, replies, refusals.
//!
//! Both HTTP versions produce the same [`Head`]: framing and hop-by-hop fields are already
//! consumed, `Host` is always there exactly once, the path is in origin form without dot segments.
//! Nothing here prints a field value or a body.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};

use super::fields::Framing;
use super::notes::Notes;
use crate::secret::CleartextBody;

/// The head of a request that passed every rule of the codec.
pub struct Head {
    /// One of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS.
    pub method: Method,
    /// As sent, beginning with `/`, valid percent escapes, no dot segments.
    pub path: String,
    /// As sent, without the question mark.
    pub query: Option<String>,
    /// Every field except framing and hop-by-hop ones; `Host` exactly once (from `:authority` on
    /// HTTP/2).
    pub headers: HeaderMap,
    /// HTTP/1.1 or HTTP/2.
    pub version: Version,
    /// The other end of the TCP connection.
    pub peer: SocketAddr,
    /// Names of a verified client certificate.
    pub client: Option<Arc<ClientIdentity>>,
}

impl Head {
    /// The value of a field that may appear once; none when it is absent, doubled or not text.
    #[must_use]
    pub fn single(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        value.to_str().ok()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Head(..)")
    }
}

/// Subject alternative names of a verified client certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientIdentity {
    /// DNS names, as in the certificate.
    pub dns: Vec<String>,
    /// URIs (SPIFFE identities among them), as in the certificate.
    pub uris: Vec<String>,
}

/// A whole request.
pub struct Request {
    /// Its head.
    pub head: Head,
    /// Its body, de-chunked; wiped when dropped.
    pub body: CleartextBody,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Request(..)")
    }
}

/// A whole answer to a request.
pub struct Reply {
    /// Status code; the reason phrase is the canonical one.
    pub status: StatusCode,
    /// Fields; framing and hop-by-hop ones are dropped, the codec writes its own.
    pub headers: HeaderMap,
    /// Body, sent with its exact length.
    pub body: Bytes,
    /// End the connection after this answer (HTTP/2: graceful GOAWAY).
    pub close: bool,
    /// What is said about the call besides.
    pub(crate) notes: Notes,
}

impl Reply {
    /// A reply without fields and body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self {
            status,
            headers: HeaderMap::new(),
            body: Bytes::new(),
            close: false,
            notes: Notes::default(),
        }
    }

    /// The same reply, ending its connection.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.close = true;
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({})", self.status.as_u16())
    }
}

/// How many body bytes may follow a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(usize);

impl BodyLimit {
    /// No body at all.
    pub const NONE: Self = Self(0);

    /// At most `bytes` bytes.
    #[must_use]
    pub const fn bytes(bytes: usize) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0
    }
}

/// A room: decides about heads, answers requests.
pub trait Handler: Send + Sync + 'static {
    /// The head is complete: how many body bytes may follow, or the reply at once (the connection
    /// closes unless the request has no body).
    ///
    /// # Errors
    /// The reply that ends the request before its body is read.
    #[expect(clippy::result_large_err, reason = "a reply is moved once, straight into the codec")]
    fn admit(&self, head: &Head) -> Result<BodyLimit, Reply>;

    /// Answers a whole request. Runs to completion also when the client has gone.
    fn handle(&self, request: Request) -> impl Future<Output = Reply> + Send;

    /// Whether this request is passed through as it comes instead of being read as a whole.
    fn passes(&self, _head: &Head) -> bool {
        false
    }

    /// Passes a request through.
    fn pass(&self, _passing: Passing, _client: &mut dyn Client) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// The codec refused something before there was a request; the room makes it a problem
    /// document.
    fn refuse(&self, refusal: Refusal) -> Reply;

    /// Something happened to a connection that no reply tells about; for counters.
    fn note(&self, _event: ConnectionEvent) {}
}

/// The way to a listener's room. Asked once for each request, which ends in the room that it began
/// in, whatever is put in its place meanwhile.
pub trait Door: Send + Sync + 'static {
    /// What is behind it.
    type Room: Handler;

    /// The room as it is now.
    fn enter(&self) -> Self::Room;
}

impl<R: Handler, F: Fn() -> R + Send + Sync + 'static> Door for F {
    type Room = R;

    fn enter(&self) -> R {
        self()
    }
}

/// A request that passes through: its head, and what the codec took out of it.
pub struct Passing {
    /// Its head.
    pub head: Head,
    pub(crate) framing: Framing,
    pub(crate) expect_continue: bool,
    pub(crate) websocket: bool,
}

impl fmt::Debug for Passing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passing(..)")
    }
}

/// The client of a request that passes through, whatever it speaks. Everything is handed over in
/// parts; nothing is kept beyond what was pushed and not yet flushed.
pub trait Client: Send {
    /// Adds what has come of the request's body; whether that was all of it.
    ///
    /// # Errors
    /// The client has gone, or broken the protocol.
    fn poll_body(
        &mut self,
        part: &mut CleartextBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Gone>>;

    /// The head of an interim answer or of the answer itself.
    fn begin(&mut self, head: Begin);

    /// Bytes of the answer's body.
    fn push(&mut self, part: &[u8]);

    /// The answer is whole.
    fn end(&mut self);

    /// Ready when everything handed over is out.
    ///
    /// # Errors
    /// The client has gone.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>>;

    /// Ready when the listener is closing.
    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The client is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

/// The head of an answer that passes through.
#[derive(Debug)]
pub struct Begin {
    /// Its status.
    pub status: StatusCode,
    /// Its fields, without framing and hop-by-hop ones.
    pub headers: HeaderMap,
    /// Its length, when that is known.
    pub length: Option<u64>,
    /// Whether a body follows.
    pub body: bool,
}

/// What can happen to a connection without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionEvent {
    /// Could not be accepted: the process has no descriptor or memory left.
    AcceptFailed,
    /// Closed at once: too many connections altogether.
    TooMany,
    /// Closed at once: too many connections from this address.
    TooManyFromAddress,
    /// The TLS handshake did not end in time.
    HandshakeTimeout,
    /// The TLS handshake failed.
    HandshakeFailed,
    /// The HTTP/2 preface or settings failed, or the client broke the protocol.
    ProtocolError,
    /// The client did not take a reply in time, or closed before it was written.
    ReplyNotTaken,
}

impl ConnectionEvent {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::AcceptFailed,
        Self::TooMany,
        Self::TooManyFromAddress,
        Self::HandshakeTimeout,
        Self::HandshakeFailed,
        Self::ProtocolError,
        Self::ReplyNotTaken,
    ];

    /// Stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AcceptFailed => "accept_failed",
            Self::TooMany => "too_many",
            Self::TooManyFromAddress => "too_many_from_address",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::HandshakeFailed => "handshake_failed",
            Self::ProtocolError => "protocol_error",
            Self::ReplyNotTaken => "reply_not_taken",
        }
    }
}

/// Why the codec refused a request. Carries nothing of the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The head is larger than allowed.
    HeadTooLarge,
    /// More fields than allowed.
    TooManyFields,
    /// The request target is longer than allowed.
    TargetTooLong,
    /// The request line or the target is malformed, or not in an accepted form.
    BadRequestLine,
    /// A field is malformed, folded, doubled where it must be single, or `Connection` names a
    /// field.
    BadField,
    /// Doubtful message framing (RFC 9112 §6.3).
    BadFraming,
    /// A transfer coding other than `chunked`.
    TransferCodingRefused,
    /// `Host` is missing, doubled, malformed, or differs from the target's authority.
    BadHost,
    /// Not HTTP/1.1 (on this codec).
    UnsupportedVersion,
    /// CONNECT, TRACE or an unknown method.
    MethodRefused,
    /// `Upgrade` is never accepted.
    UpgradeRefused,
    /// The body is larger than the room allows.
    BodyTooLarge,
    /// The head was not complete in time.
    HeadTimeout,
    /// The body was not complete in time.
    BodyTimeout,
    /// `Expect` other than `100-continue`.
    ExpectationFailed,
    /// A `Content-Encoding` on the request.
    ContentEncodingRefused,
}

impl Refusal {
    /// Every refusal, for tables and tests.
    pub const ALL: [Self; 16] = [
        Self::HeadTooLarge,
        Self::TooManyFields,
        Self::TargetTooLong,
        Self::BadRequestLine,
        Self::BadField,
        Self::BadFraming,
        Self::TransferCodingRefused,
        Self::BadHost,
        Self::UnsupportedVersion,
        Self::MethodRefused,
        Self::UpgradeRefused,
        Self::BodyTooLarge,
        Self::HeadTimeout,
        Self::BodyTimeout,
        Self::ExpectationFailed,
        Self::ContentEncodingRefused,
    ];

    /// Stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeadTooLarge => "head_too_large",
            Self::TooManyFields => "too_many_fields",
            Self::TargetTooLong => "target_too_long",
            Self::BadRequestLine => "bad_request_line",
            Self::BadField => "bad_field",
            Self::BadFraming => "bad_framing",
            Self::TransferCodingRefused => "transfer_coding_refused",
            Self::BadHost => "bad_host",
            Self::UnsupportedVersion => "unsupported_version",
            Self::MethodRefused => "method_refused",
            Self::UpgradeRefused => "upgrade_refused",
            Self::BodyTooLarge => "body_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::BodyTimeout => "body_timeout",
            Self::ExpectationFailed => "expectation_failed",
            Self::ContentEncodingRefused => "content_encoding_refused",
        }
    }

    /// The status that goes with it.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyFields => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::BadRequestLine | Self::BadField | Self::BadFraming | Self::BadHost => {
                StatusCode::BAD_REQUEST
            }
            Self::UpgradeRefused => StatusCode::BAD_REQUEST,
            Self::TransferCodingRefused => StatusCode::NOT_IMPLEMENTED,
            Self::UnsupportedVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::HeadTimeout | Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Self::ContentEncodingRefused => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        }
    }
}

/// Total deadlines of the phases of a connection; none is extended by progress. Over HTTP/1.1 the
/// clock of a phase is first read when it has to wait.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// TLS handshake, HTTP/2 preface included.
    pub handshake: Duration,
    /// From the first byte of a head to its end.
    pub head: Duration,
    /// From the end of the head to the end of the body.
    pub body: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Until the client has taken a whole reply.
    pub reply: Duration,
    /// How long an idle HTTP/1.1 connection may still bring a request once the server stops: one
    /// that is on its way when the connection closes would be lost.
    pub farewell: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            reply: Duration::from_secs(30),
            farewell: Duration::from_secs(2),
        }
    }
}

/// Upper bounds of a listener.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Open connections altogether.
    pub connections: usize,
    /// Open connections from one address (IPv6: from one /64).
    pub per_address: usize,
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Fields of a request head; [`Caps::FIELDS_MAX`] at most.
    pub fields: usize,
    /// Bytes of a request target.
    pub target: usize,
}

impl Caps {
    /// No listener accepts more fields than this.
    pub const FIELDS_MAX: usize = 100;
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            connections: 10_000,
            per_address: 256,
            head_bytes: 64 * 1024,
            fields: Self::FIELDS_MAX,
            target: 8 * 1024,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_own_slug_and_an_error_status() {
        let slugs: std::collections::HashSet<_> = Refusal::ALL.iter().map(|r| r.as_str()).collect();
        assert_eq!(slugs.len(), Refusal::ALL.len());
        for refusal in Refusal::ALL {
            let status = refusal.status();
            assert!(status.is_client_error() || status.is_server_error(), "{refusal:?}");
        }
    }

    #[test]
    fn debug_of_a_reply_shows_its_status_only() {
        let mut reply = Reply::empty(StatusCode::OK);
        reply.body = Bytes::from_static(b"4111111111111111");
        assert_eq!(format!("{reply:?}"), "Reply(200)");
    }
}
