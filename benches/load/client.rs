//! Connections to a proxy, and the ways to put load on them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::sale;
use super::wire::{self, Message};

/// New connections that are under way together.
const AT_A_TIME: usize = 16;

/// Connects by TLS 1.3, never resumes a session.
pub fn connector(ca: &portcullis_sandbox::ca::Ca) -> TlsConnector {
    let mut config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(ca.roots().unwrap())
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    TlsConnector::from(Arc::new(config))
}

/// One keep-alive connection.
pub struct Line {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
    /// The last answer said that there is no next one.
    closing: bool,
}

impl Line {
    /// Connects and shakes hands.
    pub async fn open(connector: &TlsConnector, port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").expect("a DNS name");
        let stream = connector.connect(name, stream).await?;
        Ok(Self { stream, buffer: Vec::with_capacity(2 * sale::LARGE), closing: false })
    }

    /// Sends a request and waits for the whole answer: its status and body.
    pub async fn exchange(&mut self, request: &[u8]) -> io::Result<(u16, &[u8])> {
        self.buffer.clear();
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(message) = Message::find(&self.buffer) {
                let head = message.head(&self.buffer);
                self.closing = wire::closes(head);
                let status = wire::status(head);
                return Ok((status, message.body(&self.buffer)));
            }
        }
    }

    /// Whether the other side is done with this connection: it said so, or has ended it.
    pub async fn is_closed(&mut self) -> bool {
        if self.closing {
            return true;
        }
        self.buffer.clear();
        let read = self.stream.read_buf(&mut self.buffer);
        tokio::time::timeout(Duration::ZERO, read).await.is_ok()
    }

    /// The certificate that the other side showed.
    pub fn certificate(&self) -> Option<&[u8]> {
        let shown = self.stream.get_ref().1.peer_certificates()?;
        shown.first().map(|first| first.as_ref())
    }

    /// Takes leave as TLS wants it.
    pub async fn close(mut self) {
        let _ = self.stream.shutdown().await;
    }
}

/// `count` connections.
pub async fn lines(connector: &TlsConnector, port: u16, count: usize) -> Vec<Line> {
    let mut lines = Vec::new();
    for _ in 0..count {
        lines.push(Line::open(connector, port).await.expect("a connection to the proxy"));
    }
    lines
}

/// What is done with the body of each answer: the request's ordinal, status, body.
pub type Look = dyn Fn(usize, u16, &[u8]) + Send + Sync;

/// Sends every request over a new connection, several at a time; returns how long it took.
pub async fn apart(
    connector: &TlsConnector,
    port: u16,
    requests: &Arc<Vec<Vec<u8>>>,
    look: &Arc<Look>,
) -> Duration {
    let next = Arc::new(AtomicUsize::new(0));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..AT_A_TIME {
        let (requests, look, next) = (Arc::clone(requests), Arc::clone(look), Arc::clone(&next));
        let connector = connector.clone();
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(number) else { return };
                let mut line = Line::open(&connector, port).await.expect("a connection");
                match line.exchange(request).await {
                    Ok((status, body)) => look(number, status, body),
                    Err(error) => panic!("request {number}: {error}"),
                }
                line.close().await;
            }
        });
    }
    tasks.join_all().await;
    begun.elapsed()
}

/// Sends requests `from..to` over all connections, each the next one as soon as it has its answer.
/// Returns the connections and how long it took.
pub async fn saturate(
    lines: Vec<Line>,
    requests: &Arc<Vec<Vec<u8>>>,
    from: usize,
    to: usize,
    look: &Arc<Look>,
) -> (Vec<Line>, Duration) {
    let next = Arc::new(AtomicUsize::new(from));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for mut line in lines {
        let (requests, look, next) = (Arc::clone(requests), Arc::clone(look), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= to {
                    return line;
                }
                match line.exchange(&requests[number]).await {
                    Ok((status, body)) => look(number, status, body),
                    Err(error) => panic!("request {number}: {error}"),
                }
            }
        });
    }
    let lines = tasks.join_all().await;
    (lines, begun.elapsed())
}
