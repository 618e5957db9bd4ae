//! Accepted connections: caps, TLS handshake under a deadline, caller identity, choice of protocol.
//!
//! Must never log a byte of a connection, and never keep a place for a connection that is gone.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::caps::Places;
use super::listening::{Bound, Listening};
use super::message::{Caps, ClientIdentity, ConnectionEvent, Deadlines, Handler};
use super::tls::{self, TlsSetup};
use super::wiping::Wiping;
use super::{h1, h2};

/// What every connection of a listener is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) deadlines: Deadlines,
    pub(crate) caps: Caps,
}

/// Who is at the other end.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) peer: SocketAddr,
    pub(crate) client: Option<Arc<ClientIdentity>>,
}

#[cfg(test)]
impl Origin {
    pub(crate) fn test() -> Self {
        Self { peer: SocketAddr::from(([127, 0, 0, 1], 1)), client: None }
    }
}

/// One listener's application: hands accepted connections to the codecs, and their requests to a
/// room.
pub struct Listener<H> {
    room: Arc<H>,
    acceptor: Option<TlsAcceptor>,
    terms: Terms,
    places: Arc<Places>,
}

/// Counts a listener's open connections.
pub struct Open(Arc<Places>);

impl Open {
    /// Open connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.taken()
    }
}

impl<H: Handler> Listener<H> {
    /// A listener for `room`; without `tls` it speaks plain HTTP/1.1.
    pub fn new(room: Arc<H>, tls: Option<&TlsSetup>, deadlines: Deadlines, caps: Caps) -> Self {
        let acceptor = tls.map(|tls| TlsAcceptor::from(Arc::clone(&tls.config)));
        let places = Arc::new(Places::new(caps.connections, caps.per_address));
        Self { room, acceptor, terms: Terms { deadlines, caps }, places }
    }

    /// The service that takes the socket's connections for this listener.
    pub fn into_service(self, name: &'static str, bound: Bound) -> Listening<H> {
        Listening::new(name, self, bound)
    }

    /// Notes what happened to a connection.
    pub(super) fn note(&self, event: ConnectionEvent) {
        self.room.note(event);
    }

    /// Counts this listener's open connections after it was given away.
    #[must_use]
    pub fn open(&self) -> Open {
        Open(Arc::clone(&self.places))
    }

    /// Open connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.places.taken()
    }

    /// Serves one accepted connection until it ends.
    pub async fn serve<IO>(&self, stream: IO, peer: SocketAddr, shutdown: &ShutdownWatch)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _place = match self.places.take(peer.ip()) {
            Ok(place) => place,
            Err(event) => return self.room.note(event),
        };
        let closing = Closing::new(shutdown.clone());
        let Some(acceptor) = &self.acceptor else {
            let origin = Origin { peer, client: None };
            return h1::serve(stream, &self.room, &self.terms, origin, closing).await;
        };
        let handshake = acceptor.accept(Wiping::new(stream));
        match timeout(self.terms.deadlines.handshake, handshake).await {
            Ok(Ok(stream)) => self.serve_tls(stream, peer, closing).await,
            Ok(Err(_)) => self.room.note(ConnectionEvent::HandshakeFailed),
            Err(_) => self.room.note(ConnectionEvent::HandshakeTimeout),
        }
    }

    async fn serve_tls<IO>(&self, stream: TlsStream<Wiping<IO>>, peer: SocketAddr, closing: Closing)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let client = certificate.and_then(tls::identity_of).map(Arc::new);
        let origin = Origin { peer, client };
        if session.alpn_protocol() == Some(tls::H2) {
            h2::serve(stream, &self.room, &self.terms, origin, closing).await;
        } else {
            h1::serve(stream, &self.room, &self.terms, origin, closing).await;
        }
    }
}

impl<H> fmt::Debug for Listener<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("terms", &self.terms).finish_non_exhaustive()
    }
}

/// The signal that no further request may begin on a connection.
pub(crate) struct Closing {
    wait: Pin<Box<dyn Future<Output = ()> + Send>>,
    watch: ShutdownWatch,
    closed: bool,
}

impl Closing {
    pub(crate) fn new(watch: ShutdownWatch) -> Self {
        let mut waiting = watch.clone();
        let wait = Box::pin(async move {
            // A sender that is gone means the same: the server is.
            let _ = waiting.wait_for(|closing| *closing).await;
        });
        Self { wait, watch, closed: false }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed || *self.watch.borrow()
    }

    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.closed && self.wait.as_mut().poll(cx).is_ready() {
            self.closed = true;
        }
        if self.closed { Poll::Ready(()) } else { Poll::Pending }
    }
}
