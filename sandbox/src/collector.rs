//! A collector of telemetry (OTLP over HTTP): keeps every export as it came, and can be slow, full
//! or away.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio_rustls::TlsAcceptor;

use crate::http::{Delivery, Reply, Request, Server};
use crate::lock;

/// Stands for a collector that takes a connection and never answers.
const SILENT: u16 = 0;

/// A running collector.
pub struct Collector {
    server: Server,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    exports: Mutex<Vec<Request>>,
    status: AtomicU16,
}

impl Collector {
    /// Starts one on a free port, with TLS where an identity is given.
    pub async fn start(tls: Option<TlsAcceptor>) -> Result<Self> {
        let listener = Server::bind(0).await?;
        let seen = Arc::new(Seen { status: AtomicU16::new(200), ..Seen::default() });
        let serving = Arc::clone(&seen);
        let serve = move |request| std::future::ready(serving.answer(request));
        Ok(Self { server: Server::serve(listener, tls, serve)?, seen })
    }

    /// Its port on loopback.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Everything that it was sent, refused exports among them.
    #[must_use]
    pub fn exports(&self) -> Vec<Request> {
        lock(&self.seen.exports).clone()
    }

    /// Answers with this status from now on.
    pub fn answer_with(&self, status: u16) {
        self.seen.status.store(status, Ordering::SeqCst);
    }

    /// Takes exports from now on, and answers none.
    pub fn fall_silent(&self) {
        self.answer_with(SILENT);
    }

    /// Goes away, with its connections.
    pub fn down(&self) {
        self.server.down();
    }

    /// Comes back on the same port.
    pub async fn up(&self) -> Result<()> {
        self.server.up().await
    }
}

impl Seen {
    fn answer(&self, request: Request) -> Reply {
        lock(&self.exports).push(request);
        let reply = |status| Reply::new(status, "application/x-protobuf", "");
        match self.status.load(Ordering::SeqCst) {
            SILENT => reply(200).delivered(Delivery::Never),
            status => reply(status),
        }
    }
}
