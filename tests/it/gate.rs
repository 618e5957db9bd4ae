//! A card gate that fails in every way on demand, before, within and after the exchange, and counts
//! what reached it: connections, beginnings of requests, whole requests.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use portcullis_sandbox::ca::Ca;
use portcullis_sandbox::world::Adjust;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::house::free_ports;

/// What Paymega's gate says of a sale that went well.
pub(crate) const GOOD: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
    content-length: 57\r\n\r\n{\"status\":\"processed\",\"auth_mode\":null,\"auth_payload\":[]}";

/// What goes wrong until something else does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Nobody listens.
    Refused,
    /// Nobody answers a SYN.
    Unanswered,
    /// A connection, and not a byte of TLS.
    SilentHandshake,
    /// A connection that is reset once TLS begins.
    ResetHandshake,
    /// A connection on which something else than TLS is spoken.
    OddHandshake,
    /// A certificate of somebody else's authority, for another name, or out of date.
    Certificate(Wrong),
    /// So many bytes of the request are taken off the wire, then the connection is reset.
    Taken(usize),
    /// The request is read, and answered once so many were read since the gate opened.
    Together(usize),
    /// The request is read; after a while come these bytes, and this end.
    Says(Duration, &'static [u8], End),
}

/// What is wrong with a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    Authority,
    Name,
    Time,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Properly, with the farewell of TLS.
    Close,
    /// Without it.
    Cut,
    /// By a reset.
    Reset,
    /// Not at all.
    Silence,
    /// It stays open for the next request.
    Keep,
}

/// Certificates, known once the house has an authority.
struct Shown {
    good: TlsAcceptor,
    wrong: [(Wrong, TlsAcceptor); 3],
}

struct Shared {
    fault: Mutex<Fault>,
    /// None speaks plain HTTP.
    shown: OnceLock<Option<Shown>>,
    /// Connections, beginnings of requests, whole requests.
    counts: [AtomicUsize; 3],
    /// Bytes on the wire that the last whole request took.
    size: AtomicUsize,
    open: Mutex<JoinSet<()>>,
}

/// What reached the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    pub(crate) connections: usize,
    pub(crate) begun: usize,
    pub(crate) whole: usize,
}

/// The gate, on one port for all its life.
pub(crate) struct Gate {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// A listener that accepts nobody, and those who fill its queue.
    deaf: Option<(TcpListener, Vec<TcpStream>)>,
}

impl Gate {
    pub(crate) async fn open() -> Self {
        // It is given up and taken again: not one that the system gives to clients.
        let [port] = free_ports();
        let shared = Arc::new(Shared {
            fault: Mutex::new(Fault::None),
            shown: OnceLock::new(),
            counts: Default::default(),
            size: AtomicUsize::new(0),
            open: Mutex::default(),
        });
        let mut gate = Self { port, shared, accepting: None, deaf: None };
        gate.set(Fault::None).await;
        gate
    }

    /// Takes the place of Paymega's card gate.
    pub(crate) fn adjust(&self, tls: bool) -> Adjust {
        let port = self.port;
        Box::new(move |config| {
            let (before, account) = config.split_once("name = \"paymega\"\n").unwrap();
            let (start, rest) = account.split_once("cardgate = \"").unwrap();
            let (_, end) = rest.split_once('"').unwrap();
            let scheme = if tls { "https" } else { "http" };
            let url = format!("{scheme}://localhost:{port}/cardgate");
            let config = format!("{before}name = \"paymega\"\n{start}cardgate = \"{url}\"{end}");
            match tls {
                true => config,
                false => config.replace("[upstream]\n", "[upstream]\ndanger_plain_http = true\n"),
            }
        })
    }

    /// Shows certificates from now on, or speaks plain HTTP.
    pub(crate) fn speaks(&self, ca: Option<&Ca>) {
        let shown = ca.map(|ca| {
            let good = ca.localhost("gate").unwrap().acceptor().unwrap();
            let stranger = Ca::new().unwrap().localhost("gate").unwrap();
            let wrong = [
                (Wrong::Authority, stranger),
                (Wrong::Name, ca.elsewhere("gate.example").unwrap()),
                (Wrong::Time, ca.expired().unwrap()),
            ];
            let wrong = wrong.map(|(what, identity)| (what, identity.acceptor().unwrap()));
            Shown { good, wrong }
        });
        assert!(self.shared.shown.set(shown).is_ok());
    }

    /// From now on this goes wrong. Open connections stay open.
    pub(crate) async fn set(&mut self, fault: Fault) {
        *self.shared.fault.lock().unwrap() = fault;
        if matches!(fault, Fault::Refused | Fault::Unanswered)
            && let Some(accepting) = self.accepting.take()
        {
            accepting.abort();
            let _ = accepting.await;
        }
        self.deaf = None;
        match fault {
            Fault::Refused => {}
            Fault::Unanswered => self.deaf = Some(crowded(self.listen(0)).await),
            _ if self.accepting.is_some() => {}
            _ => {
                let accepted = accept(self.listen(1024), Arc::clone(&self.shared));
                self.accepting = Some(tokio::spawn(accepted));
            }
        }
    }

    /// Closes every open connection, so that the next request needs a new one.
    pub(crate) async fn hang_up(&self) {
        let mut open = std::mem::take(&mut *self.shared.open.lock().unwrap());
        open.shutdown().await;
    }

    /// Connections that are open now.
    pub(crate) fn open_now(&self) -> usize {
        let mut open = self.shared.open.lock().unwrap();
        while open.try_join_next().is_some() {}
        open.len()
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn reached(&self) -> Reached {
        let [connections, begun, whole] =
            self.shared.counts.each_ref().map(|count| count.load(Ordering::SeqCst));
        Reached { connections, begun, whole }
    }

    /// Bytes on the wire that the last whole request took.
    pub(crate) fn size(&self) -> usize {
        self.shared.size.load(Ordering::SeqCst)
    }

    fn listen(&self, backlog: u32) -> TcpListener {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(([127, 0, 0, 1], self.port).into()).unwrap();
        socket.listen(backlog).unwrap()
    }
}

/// Connects until the system answers no more.
async fn crowded(listener: TcpListener) -> (TcpListener, Vec<TcpStream>) {
    let (address, mut crowd) = (listener.local_addr().unwrap(), Vec::new());
    while let Ok(stream) = timeout(Duration::from_millis(50), TcpStream::connect(address)).await {
        crowd.push(stream.unwrap());
        assert!(crowd.len() < 100, "the queue does not fill up");
    }
    (listener, crowd)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        shared.count(0);
        let connection = connection(stream, Arc::clone(&shared));
        shared.open.lock().unwrap().spawn(connection);
    }
}

async fn connection(mut stream: TcpStream, shared: Arc<Shared>) {
    stream.set_nodelay(true).unwrap();
    let mut hello = [0; 16];
    let acceptor = match (shared.fault(), shared.shown.wait()) {
        (Fault::SilentHandshake, _) => return std::future::pending().await,
        (Fault::ResetHandshake, _) => {
            stream.read_exact(&mut hello).await.unwrap();
            return reset(&stream);
        }
        (Fault::OddHandshake, _) => {
            stream.read_exact(&mut hello).await.unwrap();
            let _ = stream.write_all(b"SSH-2.0-OpenSSH_9.6\r\n").await;
            return std::future::pending().await;
        }
        (_, None) => None,
        (Fault::Certificate(wrong), Some(shown)) => {
            shown.wrong.iter().find(|(what, _)| *what == wrong).map(|(_, acceptor)| acceptor)
        }
        (_, Some(shown)) => Some(&shown.good),
    };
    let wire =
        Wire { stream, shared: Arc::clone(&shared), taken: None, record: 0, finished: false };
    match acceptor {
        None => serve(wire, &shared).await,
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(wire).await {
                serve(stream, &shared).await;
            }
        }
    }
}

/// Takes requests and answers them as the fault of the moment wants it.
async fn serve(mut stream: impl OverWire, shared: &Shared) {
    loop {
        stream.wire().taken = Some(0);
        if !read_request(&mut stream, shared).await {
            return;
        }
        shared.count(2);
        shared.size.store(stream.wire().taken.unwrap_or_default(), Ordering::SeqCst);
        let (after, bytes, end) = match shared.fault() {
            Fault::Says(after, bytes, end) => (after, bytes, end),
            Fault::Taken(_) => return reset(&stream.wire().stream),
            Fault::Together(count) => {
                while shared.counts[2].load(Ordering::SeqCst) < count {
                    sleep(Duration::from_millis(5)).await;
                }
                (Duration::ZERO, GOOD, End::Keep)
            }
            _ => (Duration::ZERO, GOOD, End::Keep),
        };
        sleep(after).await;
        let written = stream.write_all(bytes).await.and(stream.flush().await);
        match end {
            _ if written.is_err() => return,
            End::Keep => {}
            End::Cut => return,
            End::Close => return drop(stream.shutdown().await),
            End::Reset => return reset(&stream.wire().stream),
            End::Silence => std::future::pending().await,
        }
    }
}

/// Whether a whole request came.
async fn read_request(stream: &mut impl OverWire, shared: &Shared) -> bool {
    let mut bytes = Vec::new();
    loop {
        match stream.read_buf(&mut bytes).await {
            Ok(count @ 1..) if count == bytes.len() => shared.count(1),
            Ok(1..) => {}
            _ => return false,
        }
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_some_and(|length| body.len() == length.parse::<usize>().unwrap()) {
            return true;
        }
    }
}

/// The connection ends with a reset when it is dropped.
fn reset(stream: &TcpStream) {
    #[expect(deprecated, reason = "the only way to make this end reset the connection")]
    stream.set_linger(Some(Duration::ZERO)).unwrap();
}

impl Shared {
    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap()
    }

    fn count(&self, at: usize) {
        self.counts[at].fetch_add(1, Ordering::SeqCst);
    }
}

/// What comes off the wire, counted, and no more of it than is to be taken.
struct Wire {
    stream: TcpStream,
    shared: Arc<Shared>,
    /// Bytes of this request; none within the handshake.
    taken: Option<usize>,
    /// Bytes that are left of a record of the handshake.
    record: usize,
    /// The last record of the handshake has begun: what comes behind it is the request.
    finished: bool,
}

impl Wire {
    /// How many bytes may be taken now.
    fn allowed(&mut self, room: usize) -> usize {
        match (self.taken, self.shared.fault()) {
            (Some(taken), Fault::Taken(upto)) => room.min(upto - taken),
            (Some(_), _) => room,
            (None, _) => room.min(if self.record == 0 { HEADER } else { self.record }),
        }
    }
}

/// Bytes before a record of TLS: its kind, the version, the length.
const HEADER: usize = 5;
/// A record that is encrypted under TLS 1.3. A client's first one ends the handshake.
const ENCRYPTED: u8 = 23;

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Nothing is done before there is a byte, which stays where it is.
        let mut first = [0];
        let mut peeked = ReadBuf::new(&mut first);
        ready!(self.stream.poll_peek(cx, &mut peeked))?;
        let of_handshake = self.taken.is_none() && self.record == 0;
        let encrypted = of_handshake && peeked.filled() == [ENCRYPTED];
        if encrypted && std::mem::replace(&mut self.finished, encrypted) {
            return Poll::Pending;
        }
        let allowed = self.allowed(buf.remaining());
        if allowed == 0 {
            reset(&self.stream);
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(allowed));
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut part))?;
        let header = part.filled().get(3..HEADER).map(|length| [length[0], length[1]]);
        let count = part.filled().len();
        buf.advance(count);
        match self.taken {
            Some(taken) => self.taken = Some(taken + count),
            None if self.record > 0 => self.record -= count,
            // The header of a record comes whole: it is written whole.
            None => self.record = header.map_or(0, |length| u16::from_be_bytes(length).into()),
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A stream on a wire, with TLS or without.
trait OverWire: AsyncRead + AsyncWrite + Unpin {
    fn wire(&mut self) -> &mut Wire;
}

impl OverWire for Wire {
    fn wire(&mut self) -> &mut Wire {
        self
    }
}

impl OverWire for TlsStream<Wire> {
    fn wire(&mut self) -> &mut Wire {
        self.get_mut().0
    }
}
