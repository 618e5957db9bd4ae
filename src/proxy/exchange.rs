//! The client towards providers: one request, once, and its whole answer.
//!
//! A request leaves in one write and is never sent twice, also not when a pooled connection turns
//! out to be closed. What an error says about [`Forwarded`] comes from counting the bytes that the
//! kernel accepted below TLS. No redirects, no decoding, no retries.

mod head;

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use rustls::pki_types::ServerName;
use tokio::time::Instant;

use super::dial::Dialler;
use super::line::Line;
use super::peer::{Peer, PeerSettings, Told};
use super::pool::{Key, Pool};
use super::target;
use super::tls::TlsError;
use super::way_out::WayOut;
use crate::secret::CleartextBody;
use head::{join, write_head};

pub use super::dial::{AddressPolicy, UpstreamTls, is_public};

/// Largest answer body by default.
const ANSWER_MAX: usize = 1024 * 1024;
/// Largest answer to a check.
const PROBE_MAX: usize = 64 * 1024;

/// Where requests go. Checked once, then cheap to use.
#[derive(Clone)]
pub struct Target {
    host: Arc<str>,
    port: u16,
    name: Option<ServerName<'static>>,
    host_field: HeaderValue,
    authority: Arc<str>,
    peer: Option<Arc<Peer>>,
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
            peer: None,
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

    /// The same place, with its addresses known and watched.
    #[must_use]
    pub fn watched(mut self, settings: PeerSettings, told: Option<Told>) -> Self {
        let label = self.authority.split_once("://").map_or("", |(_, place)| place);
        self.peer = Some(Arc::new(Peer::new(Arc::clone(&self.host), label, settings, told)));
        self
    }

    /// The same place as `before` in the configuration that follows: what is known of its addresses
    /// stays known.
    #[must_use]
    pub fn following(mut self, before: &Self, settings: PeerSettings, told: Option<Told>) -> Self {
        let Some(peer) = before.peer() else { return self.watched(settings, told) };
        self.peer = Some(peer.successor(settings, told));
        self
    }

    /// Its addresses, when they are watched.
    pub(crate) const fn peer(&self) -> Option<&Arc<Peer>> {
        self.peer.as_ref()
    }

    /// The same place, asked for under another name: what `Host` says.
    #[must_use]
    pub(crate) fn under(&self, host_field: HeaderValue) -> Self {
        Self { host_field, ..self.clone() }
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
    /// As much as may be is under way already.
    Busy,
    /// Card data is in it, and that it leaves cannot be recorded, or was not while the exchange had
    /// time.
    NotRecorded,
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
    /// The handshake took too long.
    TlsTimeout,
    /// The proxy on the way out was not reached, or what it said is no answer.
    ProxyFailed,
    /// That proxy said no.
    ProxyRefused,
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
            Self::Busy => "busy",
            Self::NotRecorded => "not_recorded",
            Self::Resolve => "resolve",
            Self::PrivateAddress => "private_address",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::TlsTimeout => "tls_timeout",
            Self::ProxyFailed => "proxy_failed",
            Self::ProxyRefused => "proxy_refused",
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

/// What exchanges with a host are held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Resolution, TCP and TLS together.
    pub connect: Duration,
    /// The TLS handshake alone, within that.
    pub tls: Duration,
    /// The whole exchange, connecting included.
    pub total: Duration,
    /// How long an unused connection is kept. Shorter than what servers usually allow (5 s and
    /// more): a connection they close while a payment is on its way leaves that payment in doubt.
    pub idle: Duration,
    /// How many unused connections are kept.
    pub kept: usize,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            tls: Duration::from_secs(5),
            total: Duration::from_secs(60),
            idle: Duration::from_secs(4),
            kept: 64,
        }
    }
}

/// What is a host's own.
struct Own {
    host: String,
    port: u16,
    dialler: Option<Dialler>,
    terms: Terms,
}

impl Own {
    fn is_like(&self, other: &Self) -> bool {
        let alike = match (&self.dialler, &other.dialler) {
            (Some(dialler), Some(other)) => dialler.is_like(other),
            (None, None) => true,
            _ => false,
        };
        (&self.host, self.port, self.terms) == (&other.host, other.port, other.terms) && alike
    }
}

/// All upstreams: their connections and how to open more.
pub struct Upstreams {
    dialler: Dialler,
    own: Vec<Own>,
    way_out: WayOut,
    pool: Pool,
    terms: Terms,
    answer_max: usize,
}

impl Upstreams {
    /// Reads the certificate authorities.
    ///
    /// # Errors
    /// When there are none to trust.
    pub fn new(tls: &UpstreamTls, terms: Terms) -> Result<Self, TlsError> {
        Self::leaving_by(WayOut::default(), tls, terms)
    }

    /// The same, by another way out than the machine's own.
    ///
    /// # Errors
    /// As above.
    pub fn leaving_by(way_out: WayOut, tls: &UpstreamTls, terms: Terms) -> Result<Self, TlsError> {
        let dialler = Dialler::new(tls, way_out.clone())?;
        let (own, pool) = (Vec::new(), Pool::default());
        Ok(Self { dialler, own, way_out, pool, terms, answer_max: ANSWER_MAX })
    }

    /// The same, with terms, and certificates and trust where `tls` says so, of its own for one
    /// place; `host` is lower case.
    ///
    /// # Errors
    /// When a file is unusable, key and certificate do not belong together, or a name is none.
    pub fn with_own(
        mut self,
        host: &str,
        port: u16,
        tls: Option<&UpstreamTls>,
        terms: Terms,
    ) -> Result<Self, TlsError> {
        let dialler = tls.map(|tls| Dialler::new(tls, self.way_out.clone())).transpose()?;
        self.own.push(Own { host: host.to_owned(), port, dialler, terms });
        Ok(self)
    }

    /// A linear search: few hosts have something of their own.
    fn own(&self, target: &Target) -> (&Dialler, &Terms) {
        let is = |own: &&Own| own.port == target.port() && own.host == target.host();
        match self.own.iter().find(is) {
            Some(own) => (own.dialler.as_ref().unwrap_or(&self.dialler), &own.terms),
            None => (&self.dialler, &self.terms),
        }
    }

    /// The same, with another bound on the body of an answer.
    #[must_use]
    pub const fn with_answer_max(mut self, bytes: usize) -> Self {
        self.answer_max = bytes;
        self
    }

    /// Whether these would do the same as others, which then may stay, with their connections.
    #[must_use]
    pub fn is_like(&self, other: &Self) -> bool {
        self.terms == other.terms
            && self.answer_max == other.answer_max
            && self.dialler.is_like(&other.dialler)
            && self.own.len() == other.own.len()
            && self.own.iter().zip(&other.own).all(|(own, other)| own.is_like(other))
    }

    /// Closes idle connections to addresses that are no host's any more.
    pub fn close_astray(&self) {
        self.pool.close_astray();
    }

    /// A connection to `target` for a request that passes through, and the key to give it back.
    pub(crate) async fn line(
        &self,
        target: &Target,
        policy: AddressPolicy,
    ) -> Result<(Line, Key), SendErrorKind> {
        let key = Key { authority: Arc::clone(&target.authority), policy };
        if let Some(line) = self.pool.take(&key, Instant::now()) {
            return Ok((line, key));
        }
        let (dialler, terms) = self.own(target);
        let until = Instant::now() + terms.connect;
        let (socket, address) = dialler.dial(target, policy, until, terms.tls).await?;
        Ok((Line::to(socket, address), key))
    }

    /// Takes such a connection back.
    pub(crate) fn give_back(&self, target: &Target, line: Line, key: Key) {
        self.pool.put(key, line, self.own(target).1);
    }

    /// Closes connections that were not used for their time.
    pub(crate) fn let_go(&self) {
        self.pool.let_go();
    }

    /// Connects to one address of `target` and, where a path is named, asks for it without
    /// credentials. Returns the status of the answer.
    pub(crate) async fn probe(
        &self,
        target: &Target,
        ip: Option<IpAddr>,
        path: Option<&str>,
    ) -> Result<Option<u16>, SendErrorKind> {
        let (dialler, terms) = self.own(target);
        let until = Instant::now() + terms.connect;
        let mut line = Line::new(dialler.open(target, ip, until, terms.tls).await?);
        let Some(path) = path else { return Ok(None) };
        let out = Outgoing {
            method: Method::GET,
            path_and_query: path.to_owned(),
            headers: Vec::new(),
            body: CleartextBody::with_capacity(0),
        };
        let head = write_head(target, &out).ok_or(SendErrorKind::BadRequest)?;
        line.until(until);
        line.write(&head, &out.body).await?;
        let (answer, _) = line.read_answer(false, PROBE_MAX).await?;
        Ok(Some(answer.status))
    }

    /// Sends `out` to `target`, once.
    ///
    /// # Errors
    /// When no complete answer came back; the error says whether the request may have arrived.
    pub async fn send(
        &self,
        target: &Target,
        policy: AddressPolicy,
        out: Outgoing,
    ) -> Result<Answer, SendError> {
        self.send_since(Instant::now(), target, policy, out).await
    }

    /// The same for an exchange that began before: what came first, its line in the record, is of
    /// its time.
    pub(crate) async fn send_since(
        &self,
        begun: Instant,
        target: &Target,
        policy: AddressPolicy,
        mut out: Outgoing,
    ) -> Result<Answer, SendError> {
        let not_sent = |kind| SendError { forwarded: Forwarded::No, kind };
        let now = Instant::now();
        let (dialler, terms) = self.own(target);
        let until = begun + terms.total;
        if now >= until {
            return Err(not_sent(SendErrorKind::NotRecorded));
        }
        let mut head = write_head(target, &out).ok_or(not_sent(SendErrorKind::BadRequest))?;
        join(&mut head, &mut out.body);
        let key = Key { authority: Arc::clone(&target.authority), policy };
        let mut line = match self.pool.take(&key, now) {
            Some(line) => line,
            None => {
                let until = until.min(now + terms.connect);
                // Boxed: most exchanges find a connection, and need no room for making one.
                let dialled = Box::pin(dialler.dial(target, policy, until, terms.tls)).await;
                let (socket, address) = dialled.map_err(not_sent)?;
                Line::to(socket, address)
            }
        };
        line.until(until);
        let before = line.written();
        let bodiless = out.method == Method::HEAD;
        let written = line.write(&head, &out.body).await;
        // From here on the card exists at the provider only.
        drop((head, out));
        let outcome = match written {
            Ok(()) => line.read_answer(bodiless, self.answer_max).await,
            Err(kind) => Err(kind),
        };
        match outcome {
            Ok((answer, reusable)) => {
                if reusable {
                    self.pool.put(key, line, terms);
                }
                if let Some(peer) = target.peer() {
                    peer.answered(&answer.headers, begun);
                }
                Ok(answer)
            }
            Err(kind) if line.written() == before => Err(not_sent(kind)),
            Err(kind) => Err(SendError { forwarded: Forwarded::Unknown, kind }),
        }
    }
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").field("terms", &self.terms).finish_non_exhaustive()
    }
}
