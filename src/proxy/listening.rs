//! A listening socket as a service of Pingora's server.
//!
//! The socket is bound before the server starts: an address that is taken is an error at start, and
//! who is told that the process is ready can connect. A connection goes on as the plain TCP stream
//! that it is; Pingora's own listener would put a box, a buffer and a record of times before it.

use std::io;
use std::net::{self, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

use super::accept::Listener;
use super::message::{ConnectionEvent, Door};

/// How long nothing is accepted when the process has no descriptor or memory for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// A socket on which connections wait until a service takes them.
#[derive(Debug)]
pub struct Bound(net::TcpListener);

impl Bound {
    /// Listens on `address`.
    ///
    /// # Errors
    /// When the address is taken, is not this machine's, or may not be used.
    pub fn to(address: SocketAddr) -> io::Result<Self> {
        let socket = net::TcpListener::bind(address)?;
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// A socket that another process listened on, with the connections that wait at it.
    ///
    /// # Errors
    /// It does not listen on `address`.
    pub fn given(socket: OwnedFd, address: SocketAddr) -> io::Result<Self> {
        let socket = net::TcpListener::from(socket);
        if socket.local_addr()? != address {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        socket.set_nonblocking(true)?;
        Ok(Self(socket))
    }

    /// The same socket once more, to be handed over.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn copy(&self) -> io::Result<OwnedFd> {
        self.0.try_clone().map(OwnedFd::from)
    }
}

/// Accepts connections and gives each to the listener, in a task of its own.
pub struct Listening<D> {
    name: &'static str,
    listener: Arc<Listener<D>>,
    bound: Option<Bound>,
    threads: Option<usize>,
}

impl<D: Door> Listening<D> {
    pub(super) fn new(name: &'static str, listener: Listener<D>, bound: Bound) -> Self {
        Self { name, listener: Arc::new(listener), bound: Some(bound), threads: None }
    }

    /// The same on one thread, for a listener of few.
    #[must_use]
    pub fn on_one_thread(self) -> Self {
        Self { threads: Some(1), ..self }
    }

    async fn accept(&self, socket: &TcpListener, shutdown: &ShutdownWatch) {
        match socket.accept().await {
            Ok((stream, peer)) => self.take(stream, peer, shutdown.clone()),
            // The client was gone before its turn came.
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => {
                self.listener.note(ConnectionEvent::AcceptFailed);
                sleep(PAUSE).await;
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr, shutdown: ShutdownWatch) {
        // Replies are written whole; waiting for more would only hold them up.
        let _ = stream.set_nodelay(true);
        let listener = Arc::clone(&self.listener);
        tokio::spawn(async move { listener.serve(stream, peer, &shutdown).await });
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[async_trait]
impl<D: Door> Service for Listening<D> {
    async fn start_service(&mut self, _: Option<ListenFds>, mut shutdown: ShutdownWatch, _: usize) {
        let Some(Bound(socket)) = self.bound.take() else { return };
        // The runtime has no descriptor left: nothing can be served, and nothing should seem to be.
        let Ok(socket) = TcpListener::from_std(socket) else { std::process::abort() };
        let given_on = shutdown.clone();
        while !*shutdown.borrow() {
            tokio::select! {
                () = self.accept(&socket, &given_on) => {}
                changed = shutdown.changed() => if changed.is_err() { return },
            }
        }
    }

    fn name(&self) -> &str {
        self.name
    }

    fn threads(&self) -> Option<usize> {
        self.threads
    }
}
