//! The client towards providers: one request, once, and its whole answer.
//!
//! A request leaves in one write and is never sent twice, also not when a pooled connection turns out to
//! be closed. What an error says about [`Forwarded`] comes from counting the bytes that the kernel
//! accepted below TLS. No redirects, no decoding, no retries.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, header};
use rustls::pki_types::ServerName;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, AnswerFraming, AnswerHead};
use super::buffer::ReadBuffer;
use super::chunked::{ChunkError, Chunked};
use super::dial::{Dialler, Socket};
use super::fields::is_hop_by_hop;
use super::h1::Pair;
use super::h1::head::HeadEnd;
use super::h1::reply::{push_decimal, push_field};
use super::message::Caps;
use super::pool::{Key, Pool};
use super::target;
use super::tls::TlsError;
use crate::secret::CleartextBody;

pub use super::dial::{AddressPolicy, UpstreamTls, is_public};

/// Interim answers skipped before the final one.
const INTERIM_MAX: usize = 8;
/// How much of an answer is read at once.
const READ: usize = 16 * 1024;
/// Largest answer body by default.
const ANSWER_MAX: usize = 1024 * 1024;

/// Where requests go. Checked once, then cheap to use.
#[derive(Clone)]
pub struct Target {
    host: Arc<str>,
    port: u16,
    name: Option<ServerName<'static>>,
    host_field: HeaderValue,
    authority: Arc<str>,
}

/// The host of a target is not a DNS name or an IP address, or its port is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTarget;

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("target is not a host name with a port")
    }
}

impl std::error::Error for BadTarget {}

impl Target {
    /// A target; `host` is a DNS name or an IP address, IPv6 with or without brackets.
    ///
    /// # Errors
    /// When the host cannot be one, or the port is zero.
    pub fn new(host: &str, port: u16, tls: bool) -> Result<Self, BadTarget> {
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        let host = host.to_ascii_lowercase();
        let spelled = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        let full = format!("{spelled}:{port}");
        if !target::is_authority(&full) {
            return Err(BadTarget);
        }
        let name = ServerName::try_from(host.clone()).map_err(|_| BadTarget)?;
        let usual = if tls { 443 } else { 80 };
        let host_field = if port == usual { &spelled } else { &full };
        let scheme = if tls { "https" } else { "http" };
        Ok(Self {
            host_field: HeaderValue::from_str(host_field).map_err(|_| BadTarget)?,
            authority: format!("{scheme}://{full}").into(),
            host: host.into(),
            port,
            name: tls.then_some(name),
        })
    }

    /// DNS name or address, lower case, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether TLS is spoken.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.name.is_some()
    }

    /// The name the certificate is verified for; none without TLS.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        self.name.clone()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.authority)
    }
}

/// A request as it is to leave. Host, framing and `Accept-Encoding` are added here.
pub struct Outgoing {
    /// Method.
    pub method: Method,
    /// Origin form, escaped.
    pub path_and_query: String,
    /// Final fields; framing and hop-by-hop ones are left out.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, sent with its exact length.
    pub body: CleartextBody,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing(..)")
    }
}

/// A complete answer.
pub struct Answer {
    /// Status code, 200 to 599.
    pub status: u16,
    /// Fields without framing and hop-by-hop ones.
    pub headers: HeaderMap,
    /// Whole body, de-chunked; wiped when dropped.
    pub body: CleartextBody,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({})", self.status)
    }
}

/// Whether the provider may have the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Forwarded {
    /// Not a byte of it left this machine.
    No,
    /// At least one byte left; what became of it is not known.
    Unknown,
    /// The provider answered.
    Yes,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SendErrorKind {
    /// The request cannot be written as HTTP/1.1: a bug of the caller.
    BadRequest,
    /// The name has no address.
    Resolve,
    /// Every address of the name is private, and private ones are not allowed.
    PrivateAddress,
    /// No address accepted a connection.
    Connect,
    /// Resolution, connection and handshake took too long together.
    ConnectTimeout,
    /// The handshake failed, the certificate was not accepted.
    Tls,
    /// The connection broke while the request was being written.
    Write,
    /// No complete answer in time.
    Silent,
    /// The connection ended before an answer began.
    Reset,
    /// The connection ended within the answer.
    HalfAnswer,
    /// The answer breaks HTTP/1.1.
    BadAnswer,
    /// The answer is larger than allowed.
    AnswerTooLarge,
    /// The answer has a content coding, though none was asked for.
    Encoded,
}

impl SendErrorKind {
    /// Stable slug.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::Resolve => "resolve",
            Self::PrivateAddress => "private_address",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Write => "write",
            Self::Silent => "silent",
            Self::Reset => "reset",
            Self::HalfAnswer => "half_answer",
            Self::BadAnswer => "bad_answer",
            Self::AnswerTooLarge => "answer_too_large",
            Self::Encoded => "encoded",
        }
    }
}

/// A failed exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendError {
    /// Whether the provider may have the request.
    pub forwarded: Forwarded,
    /// What went wrong.
    pub kind: SendErrorKind,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_str())
    }
}

impl std::error::Error for SendError {}

/// Deadlines towards providers.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Resolution, TCP and TLS together.
    pub connect: Duration,
    /// The whole exchange, connecting included.
    pub total: Duration,
    /// How long an unused connection is kept. Shorter than what servers usually allow (5 s and more): a
    /// connection they close while a payment is on its way leaves that payment in doubt.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            total: Duration::from_secs(60),
            idle: Duration::from_secs(4),
        }
    }
}

/// All upstreams: their connections and how to open more.
pub struct Upstreams {
    dialler: Dialler,
    pool: Pool,
    timeouts: Timeouts,
    answer_max: usize,
}

impl Upstreams {
    /// Reads the certificate authorities.
    ///
    /// # Errors
    /// When there are none to trust.
    pub fn new(tls: &UpstreamTls, timeouts: Timeouts) -> Result<Self, TlsError> {
        let (dialler, pool) = (Dialler::new(tls)?, Pool::new(timeouts.idle));
        Ok(Self { dialler, pool, timeouts, answer_max: ANSWER_MAX })
    }

    /// The same, with another bound on the body of an answer.
    #[must_use]
    pub const fn with_answer_max(mut self, bytes: usize) -> Self {
        self.answer_max = bytes;
        self
    }

    /// Sends `out` to `target`, once. `on_first_byte` runs as soon as the kernel has accepted a byte of it.
    ///
    /// # Errors
    /// When no complete answer came back; the error says whether the request may have arrived.
    pub async fn send(
        &self,
        target: &Target,
        policy: AddressPolicy,
        out: Outgoing,
        on_first_byte: impl FnOnce() + Send,
    ) -> Result<Answer, SendError> {
        let not_sent = |kind| SendError { forwarded: Forwarded::No, kind };
        let begun = Instant::now();
        let until = begun + self.timeouts.total;
        let head = write_head(target, &out).ok_or(not_sent(SendErrorKind::BadRequest))?;
        let key = Key { authority: Arc::clone(&target.authority), policy };
        let mut line = match self.pool.take(&key) {
            Some(line) => line,
            None => {
                let until = until.min(begun + self.timeouts.connect);
                Line::new(self.dialler.dial(target, policy, until).await.map_err(not_sent)?)
            }
        };
        let before = line.socket.written();
        let bodiless = out.method == Method::HEAD;
        let exchange = async {
            line.write(&head, &out.body, on_first_byte).await?;
            // From here on the card exists at the provider only.
            drop((head, out));
            line.read_answer(bodiless, self.answer_max).await
        };
        let outcome = timeout_at(until, exchange).await.unwrap_or(Err(SendErrorKind::Silent));
        match outcome {
            Ok((answer, reusable)) => {
                if reusable {
                    self.pool.put(key, line);
                }
                Ok(answer)
            }
            Err(kind) if line.socket.written() == before => Err(not_sent(kind)),
            Err(kind) => Err(SendError { forwarded: Forwarded::Unknown, kind }),
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

/// The head of a request, or none when it would not be valid HTTP/1.1.
fn write_head(target: &Target, out: &Outgoing) -> Option<CleartextBody> {
    let path = out.path_and_query.as_str();
    if !path.starts_with('/') || !path.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b'#') {
        return None;
    }
    let fields: usize = out.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
    // Large enough for all of it: growing would leave credentials behind in the old place.
    let mut head = Vec::with_capacity(128 + path.len() + target.host_field.len() + fields);
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

/// Fields that only this file writes.
fn is_ours(name: &HeaderName) -> bool {
    matches!(name.as_str(), "host" | "accept-encoding" | "expect" | "content-encoding")
}

/// One connection to a provider.
pub(crate) struct Line {
    socket: Socket,
    buffer: ReadBuffer,
}

impl Line {
    fn new(socket: Socket) -> Self {
        Self { socket, buffer: ReadBuffer::new() }
    }

    /// Nothing has arrived that was not asked for, not even the end of the connection.
    pub(crate) fn is_silent(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.buffer.is_empty() && self.buffer.poll_fill(&mut self.socket, READ, &mut cx).is_pending()
    }

    async fn write(
        &mut self,
        head: &CleartextBody,
        body: &CleartextBody,
        on_first_byte: impl FnOnce() + Send,
    ) -> Result<(), SendErrorKind> {
        let before = self.socket.written();
        let mut on_first_byte = Some(on_first_byte);
        let mut pair = Pair { head: head.as_bytes(), body: body.as_bytes() };
        poll_fn(|cx| {
            let outcome = pair.poll_write(&mut self.socket, cx);
            if self.socket.written() > before
                && let Some(tell) = on_first_byte.take()
            {
                tell();
            }
            outcome.map_err(|_| SendErrorKind::Write)
        })
        .await
    }

    /// The final answer, and whether the connection may be used again.
    async fn read_answer(
        &mut self,
        bodiless: bool,
        limit: usize,
    ) -> Result<(Answer, bool), SendErrorKind> {
        let head = self.read_final_head(bodiless).await?;
        let body = match head.framing {
            AnswerFraming::Empty => CleartextBody::with_capacity(0),
            AnswerFraming::Length(length) => self.read_exactly(length, limit).await?,
            AnswerFraming::Chunked => self.read_chunked(limit).await?,
            AnswerFraming::Close => self.read_to_end(limit).await?,
        };
        self.buffer.recycle();
        Ok((Answer { status: head.status, headers: head.headers, body }, head.reusable))
    }

    async fn read_final_head(&mut self, bodiless: bool) -> Result<AnswerHead, SendErrorKind> {
        for _ in 0..=INTERIM_MAX {
            let length = self.await_head().await?;
            let bytes = self.buffer.filled().get(..length).unwrap_or_default();
            let head = answer::parse(bytes, bodiless)?;
            self.buffer.consume(length);
            if !head.is_interim() {
                return Ok(head);
            }
        }
        Err(SendErrorKind::BadAnswer)
    }

    async fn await_head(&mut self) -> Result<usize, SendErrorKind> {
        let caps = Caps::default();
        let mut end = HeadEnd::default();
        loop {
            let found = end.find(self.buffer.filled(), &caps);
            if let Some(length) = found.map_err(|_| SendErrorKind::BadAnswer)? {
                return Ok(length);
            }
            match self.fill(caps.head_bytes).await {
                Ok(0) | Err(()) if self.buffer.is_empty() => return Err(SendErrorKind::Reset),
                Ok(0) | Err(()) => return Err(SendErrorKind::HalfAnswer),
                Ok(_) => {}
            }
        }
    }

    async fn read_exactly(
        &mut self,
        length: u64,
        limit: usize,
    ) -> Result<CleartextBody, SendErrorKind> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(SendErrorKind::AnswerTooLarge);
        }
        let mut body = CleartextBody::with_capacity(length);
        loop {
            self.move_into(&mut body, length);
            if body.len() == length {
                return Ok(body);
            }
            self.fill_more().await?;
        }
    }

    async fn read_chunked(&mut self, limit: usize) -> Result<CleartextBody, SendErrorKind> {
        let mut body = CleartextBody::with_capacity(0);
        let mut chunked = Chunked::new();
        loop {
            let taken = chunked.decode(self.buffer.filled(), &mut body, limit).map_err(kind_of)?;
            self.buffer.consume(taken);
            if chunked.is_done() {
                return Ok(body);
            }
            self.fill_more().await?;
        }
    }

    async fn read_to_end(&mut self, limit: usize) -> Result<CleartextBody, SendErrorKind> {
        let mut body = CleartextBody::with_capacity(0);
        loop {
            self.move_into(&mut body, limit);
            if !self.buffer.is_empty() {
                return Err(SendErrorKind::AnswerTooLarge);
            }
            // Over TLS an end without close_notify is an error: somebody cut the answer short.
            match self.fill(READ).await {
                Ok(0) => return Ok(body),
                Ok(_) => {}
                Err(()) => return Err(SendErrorKind::HalfAnswer),
            }
        }
    }

    /// Moves bytes from the read buffer until `body` has `length`.
    fn move_into(&mut self, body: &mut CleartextBody, length: usize) {
        let filled = self.buffer.filled();
        let part = filled.get(..filled.len().min(length - body.len())).unwrap_or_default();
        body.extend_from_slice(part);
        let taken = part.len();
        self.buffer.consume(taken);
    }

    async fn fill_more(&mut self) -> Result<(), SendErrorKind> {
        match self.fill(READ).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(()) => Err(SendErrorKind::HalfAnswer),
        }
    }

    async fn fill(&mut self, bound: usize) -> Result<usize, ()> {
        poll_fn(|cx| self.buffer.poll_fill(&mut self.socket, bound, cx)).await.map_err(|_| ())
    }
}

fn kind_of(error: ChunkError) -> SendErrorKind {
    match error {
        ChunkError::Syntax => SendErrorKind::BadAnswer,
        ChunkError::TooLarge => SendErrorKind::AnswerTooLarge,
    }
}
