//! A recording room, throw-away certificates, raw clients.

use std::fs::Permissions;
use std::future::poll_fn;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use portcullis::proxy::accept::Listener;
use portcullis::proxy::message::{
    Begin, BodyLimit, Caps, Client, ConnectionEvent, Deadlines, Door, Handler, Head, Passing,
    Refusal, Reply, Request,
};
use portcullis::proxy::tls::{TlsFiles, TlsSetup};
use portcullis::secret::CleartextBody;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Records what reaches it.
#[derive(Default)]
pub(super) struct Room {
    pub(super) handled: AtomicUsize,
    pub(super) finished: AtomicUsize,
    pub(super) entered: Notify,
    pub(super) gate: Notify,
    pub(super) events: std::sync::Mutex<Vec<ConnectionEvent>>,
}

impl Room {
    pub(super) fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }

    pub(super) fn finished(&self) -> usize {
        self.finished.load(Ordering::SeqCst)
    }

    pub(super) fn saw(&self, event: ConnectionEvent) -> bool {
        self.events.lock().unwrap().contains(&event)
    }
}

/// What is passed through has this body, and a client this long to take it.
pub(super) const PASSED: &[u8] = &[b'p'; 1000];
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

/// The door of a room, and whoever is in it.
#[derive(Clone)]
pub(super) struct Guest(pub(super) Arc<Room>);

impl Door for Guest {
    type Room = Self;

    fn enter(&self) -> Self {
        self.clone()
    }
}

impl Handler for Guest {
    fn admit(&self, head: &Head) -> Result<BodyLimit, Reply> {
        match head.path.as_str() {
            "/deny" => Err(Reply::empty(StatusCode::FORBIDDEN)),
            "/small" => Ok(BodyLimit::bytes(8)),
            _ => Ok(BodyLimit::bytes(64 * 1024)),
        }
    }

    fn passes(&self, head: &Head) -> bool {
        head.path.starts_with("/pass/")
    }

    async fn pass(&self, _passing: Passing, client: &mut dyn Client) {
        let mut part = CleartextBody::new();
        while let Ok(false) = poll_fn(|cx| client.poll_body(&mut part, cx)).await {}
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        let length = Some(PASSED.len() as u64);
        client.begin(Begin { status, headers, length, body: true });
        client.push(PASSED);
        client.end();
        let flushed = poll_fn(|cx| client.poll_flush(cx));
        let _ = tokio::time::timeout(PATIENCE, flushed).await;
    }

    async fn handle(&self, request: Request) -> Reply {
        self.0.handled.fetch_add(1, Ordering::SeqCst);
        let mut reply = Reply::empty(StatusCode::OK);
        match request.head.path.as_str() {
            "/slow" => {
                self.0.entered.notify_one();
                self.0.gate.notified().await;
                self.0.finished.fetch_add(1, Ordering::SeqCst);
            }
            "/large" => reply.body = Bytes::from(vec![b'x'; 1024 * 1024]),
            "/who" => {
                let client = request.head.client.as_deref();
                reply.body = format!("{:?}", client.map(|c| (&c.dns, &c.uris))).into();
            }
            "/close" => reply.close = true,
            "/host" => {
                reply.body = request.head.single("host").unwrap_or_default().to_owned().into();
            }
            _ => reply.body = request.body.into_bytes(),
        }
        reply
    }

    fn refuse(&self, refusal: Refusal) -> Reply {
        let mut headers = HeaderMap::new();
        headers.insert("x-refusal", HeaderValue::from_static(refusal.as_str()));
        {
            let mut reply = Reply::empty(refusal.status()).closing();
            reply.headers = headers;
            reply
        }
    }

    fn note(&self, event: ConnectionEvent) {
        self.0.events.lock().unwrap().push(event);
    }
}

/// A listener with its room and its shutdown signal.
pub(super) struct Server {
    pub(super) room: Arc<Room>,
    pub(super) listener: Arc<Listener<Guest>>,
    pub(super) shutdown: watch::Sender<bool>,
}

pub(super) fn deadlines() -> Deadlines {
    Deadlines {
        handshake: Duration::from_secs(10),
        head: Duration::from_secs(10),
        body: Duration::from_secs(30),
        idle: Duration::from_secs(75),
        farewell: Duration::from_secs(2),
        reply: Duration::from_secs(20),
    }
}

impl Server {
    pub(crate) fn new(tls: Option<&TlsSetup>, deadlines: Deadlines, caps: Caps) -> Self {
        let room = Arc::new(Room::default());
        let listener = Arc::new(Listener::new(Guest(Arc::clone(&room)), tls, deadlines, caps));
        Self { room, listener, shutdown: watch::channel(false).0 }
    }

    pub(super) fn plain() -> Self {
        Self::new(None, deadlines(), Caps::default())
    }

    /// A client's end of a connection that is being served, and the task that serves it.
    pub(super) fn connect(&self) -> (DuplexStream, JoinHandle<()>) {
        self.connect_sized(64 * 1024)
    }

    pub(super) fn connect_sized(&self, size: usize) -> (DuplexStream, JoinHandle<()>) {
        let (near, far) = tokio::io::duplex(size);
        let (listener, shutdown) = (Arc::clone(&self.listener), self.shutdown.subscribe());
        let peer = ([192, 0, 2, 1], 4000).into();
        let task = tokio::spawn(async move { listener.serve(far, peer, &shutdown).await });
        (near, task)
    }

    /// What the server says to `bytes` until it closes the connection.
    pub(super) async fn answer_to(&self, bytes: &[u8]) -> String {
        let (mut client, task) = self.connect();
        client.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        drop(client);
        task.await.unwrap();
        String::from_utf8(answer).unwrap()
    }
}

/// Reads until `ending` has arrived.
pub(super) async fn read_until<IO: AsyncReadExt + Unpin>(io: &mut IO, ending: &str) -> String {
    let mut got = Vec::new();
    while !got.ends_with(ending.as_bytes()) {
        let mut byte = [0];
        if io.read(&mut byte).await.unwrap() == 0 {
            break;
        }
        got.push(byte[0]);
    }
    String::from_utf8(got).unwrap()
}

/// A key as the listeners take it: not open to every user.
fn write_key(path: &Path, pem: &str) {
    std::fs::write(path, pem).unwrap();
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// A throw-away authority with certificates in files.
pub(crate) struct Authority {
    pub(super) folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem())
            .unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes `<file>.pem` and `<file>.key` for these names.
    pub(crate) fn issue(&self, file: &str, names: &[&str]) {
        self.issue_until(file, names, None);
    }

    /// The same; the certificate ends at this time.
    pub(super) fn issue_until(&self, file: &str, names: &[&str], end: Option<SystemTime>) {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = end.map_or(params.not_after, Into::into);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        write_key(&self.path(&format!("{file}.key")), &key.serialize_pem());
    }

    pub(super) fn files(&self, file: &str, client_ca: bool) -> TlsFiles {
        TlsFiles {
            certificate: self.path(&format!("{file}.pem")),
            key: self.path(&format!("{file}.key")),
            client_ca: client_ca.then(|| self.path("ca.pem")),
        }
    }

    pub(super) fn server(&self) -> TlsSetup {
        self.issue("server", &["localhost"]);
        TlsSetup::load(self.files("server", false)).unwrap()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(self.path("ca.pem")).unwrap() {
            roots.add(certificate.unwrap()).unwrap();
        }
        roots
    }

    /// A TLS client; `certificate` names files written by `issue`.
    pub(super) fn client(&self, alpn: &[&[u8]], certificate: Option<&str>) -> TlsConnector {
        self.client_trusting(self.roots(), alpn, certificate)
    }

    /// The same, trusting others.
    pub(super) fn client_trusting(
        &self,
        roots: RootCertStore,
        alpn: &[&[u8]],
        certificate: Option<&str>,
    ) -> TlsConnector {
        self.client_speaking(rustls::DEFAULT_VERSIONS, roots, alpn, certificate)
    }

    /// The same, in these versions alone.
    pub(super) fn client_speaking(
        &self,
        versions: &[&'static rustls::SupportedProtocolVersion],
        roots: RootCertStore,
        alpn: &[&[u8]],
        certificate: Option<&str>,
    ) -> TlsConnector {
        let provider = Arc::new(ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let chain =
                    CertificateDer::pem_file_iter(self.path(&format!("{file}.pem"))).unwrap();
                let chain = chain.map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{file}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }
}

/// A TLS connection to a served duplex.
pub(super) async fn connect_tls(
    server: &Server,
    connector: &TlsConnector,
) -> std::io::Result<TlsStream<DuplexStream>> {
    let (stream, _task) = server.connect();
    connector.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// A socket that listens on the loopback interface.
pub(super) async fn listen() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

/// Reads one request with a content-length body from a mock's socket.
pub(crate) async fn read_request(stream: &mut TcpStream) -> Vec<u8> {
    let mut got = Vec::new();
    let mut buf = [0; 4096];
    loop {
        if let Some(end) = got.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&got[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |n| n.parse::<usize>().unwrap());
            if got.len() >= end + 4 + length {
                return got;
            }
        }
        let n = stream.read(&mut buf).await.unwrap();
        if n == 0 {
            return got;
        }
        got.extend_from_slice(&buf[..n]);
    }
}
