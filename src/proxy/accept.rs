//! Accepted connections: caps, TLS handshake under a deadline, caller identity, choice of protocol.
//!
//! Must never log a byte of a connection, and never keep a place for a connection that is gone.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::caps::Places;
use super::closing::{Admission, Closing};
use super::drain::Drain;
use super::listening::{Bound, Listening};
use super::message::{Caps, ClientIdentity, ConnectionEvent, Deadlines, Door, Handler as _};
use super::tls::{self, TlsSetup};
use super::wiping::Wiping;
use super::{h1, h2};
use crate::card::Timestamp;

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

/// One listener's application: hands accepted connections to the codecs, and their requests to the
/// room behind its door.
pub struct Listener<D> {
    door: D,
    tls: Option<TlsSetup>,
    drain: Arc<Drain>,
    open: Open,
}

/// A listener's open connections, and what new ones are held to.
#[derive(Clone)]
pub struct Open {
    places: Arc<Places>,
    terms: Arc<ArcSwap<Terms>>,
}

impl Open {
    /// Open connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.places.taken()
    }

    /// Holds connections that come from now on to these; open ones keep what they began with.
    pub fn hold_to(&self, deadlines: Deadlines, caps: Caps) {
        self.terms.store(Arc::new(Terms { deadlines, caps }));
    }
}

impl<D: Door> Listener<D> {
    /// A listener for the room behind `door`; without `tls` it speaks plain HTTP/1.1.
    pub fn new(door: D, tls: Option<&TlsSetup>, deadlines: Deadlines, caps: Caps) -> Self {
        let terms = Arc::new(ArcSwap::from_pointee(Terms { deadlines, caps }));
        let open = Open { places: Arc::default(), terms };
        Self { door, tls: tls.cloned(), drain: Arc::default(), open }
    }

    /// The same; once `drain` has begun, the next answer on each connection is its last.
    #[must_use]
    pub fn until(mut self, drain: Arc<Drain>) -> Self {
        self.drain = drain;
        self
    }

    /// The service that takes the socket's connections for this listener.
    pub fn into_service(self, name: &'static str, bound: Bound) -> Listening<D> {
        Listening::new(name, self, bound)
    }

    /// Notes what happened to a connection.
    pub(super) fn note(&self, event: ConnectionEvent) {
        self.door.enter().note(event);
    }

    /// This listener's open connections after it was given away.
    #[must_use]
    pub fn open(&self) -> Open {
        self.open.clone()
    }

    /// Open connections at this moment.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.open.connections()
    }

    /// Serves one accepted connection until it ends.
    pub async fn serve<IO>(&self, stream: IO, peer: SocketAddr, shutdown: &ShutdownWatch)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let terms = **self.open.terms.load();
        let _place = match self.open.places.take(peer.ip(), &terms.caps) {
            Ok(place) => place,
            Err(event) => return self.note(event),
        };
        let closing =
            |admission| Closing::new(shutdown.clone(), Arc::clone(&self.drain), admission);
        let Some(tls) = &self.tls else {
            let closing = closing(Admission::default());
            let origin = Origin { peer, client: None };
            return h1::serve(stream, &self.door, &terms, origin, closing).await;
        };
        let stream = Wiping::below_tls(stream);
        let (config, trust) = tls.admission();
        let handshake = TlsAcceptor::from(config).accept(stream);
        match timeout(terms.deadlines.handshake, handshake).await {
            Ok(Ok(stream)) => {
                let admission = Admission { trust: Some(trust), end: end_of_client(&stream) };
                self.serve_tls(stream, peer, &terms, closing(admission)).await;
            }
            Ok(Err(_)) => self.note(ConnectionEvent::HandshakeFailed),
            Err(_) => self.note(ConnectionEvent::HandshakeTimeout),
        }
    }

    async fn serve_tls<IO>(
        &self,
        stream: TlsStream<Wiping<IO>>,
        peer: SocketAddr,
        terms: &Terms,
        closing: Closing,
    ) where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (_, session) = stream.get_ref();
        let certificate = session.peer_certificates().and_then(<[_]>::first);
        let client = certificate.and_then(tls::identity_of).map(Arc::new);
        let origin = Origin { peer, client };
        if session.alpn_protocol() == Some(tls::H2) {
            h2::serve(stream, &self.door, terms, origin, closing).await;
        } else {
            h1::serve(stream, &self.door, terms, origin, closing).await;
        }
    }
}

/// When the certificate ends that a client showed.
fn end_of_client<IO>(stream: &TlsStream<IO>) -> Option<Instant> {
    let certificate = stream.get_ref().1.peer_certificates()?.first()?;
    Some(Instant::now() + tls::rest_of(certificate, Timestamp::system()))
}

impl<D> fmt::Debug for Listener<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("terms", &self.open.terms).finish_non_exhaustive()
    }
}
