//! One client connection with every byte under control: HTTP/1.1 by hand, HTTP/2 by the h2 crate,
//! bodies with a length or without one, sent whole or in parts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use portcullis_sandbox::ca::Identity;
use portcullis_sandbox::client::Answer;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// No answer takes longer; a test that waits in vain ends here.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

impl Version {
    pub(crate) const BOTH: [Self; 2] = [Self::Http1, Self::Http2];

    pub(crate) fn alpn(self) -> Vec<Vec<u8>> {
        vec![match self {
            Self::Http1 => b"http/1.1".to_vec(),
            Self::Http2 => b"h2".to_vec(),
        }]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// `Content-Length`.
    Length,
    /// Chunks on HTTP/1.1, DATA without `content-length` on HTTP/2.
    Open,
}

impl Framing {
    pub(crate) const BOTH: [Self; 2] = [Self::Length, Self::Open];
}

/// A request that is about to be sent, spelled exactly like this.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) target: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    pub(crate) framing: Framing,
}

impl Ask {
    pub(crate) fn new(method: Method, target: &str) -> Self {
        let (headers, body) = (Vec::new(), Bytes::new());
        Self { method, target: target.to_owned(), headers, body, framing: Framing::Length }
    }

    pub(crate) fn get(target: &str) -> Self {
        Self::new(Method::GET, target)
    }

    pub(crate) fn json(target: &str, body: impl Into<Bytes>) -> Self {
        let mut ask = Self::new(Method::POST, target).header("content-type", "application/json");
        ask.body = body.into();
        ask
    }

    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| *known != name);
        self
    }

    pub(crate) fn framed(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    pub(crate) fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn has_body(&self) -> bool {
        !self.body.is_empty() || self.method == Method::POST
    }

    fn head(&self, authority: &str) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nhost: {authority}\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&match self.framing {
            _ if !self.has_body() => String::new(),
            Framing::Length => format!("content-length: {}\r\n", self.body.len()),
            Framing::Open => "transfer-encoding: chunked\r\n".to_owned(),
        });
        (head + "\r\n").into_bytes()
    }

    fn request(&self, authority: &str) -> Request<()> {
        let uri = format!("https://{authority}{}", self.target);
        let mut request = Request::builder().method(&self.method).uri(uri).body(()).unwrap();
        for (name, value) in &self.headers {
            let value = HeaderValue::from_str(value).unwrap();
            request.headers_mut().append(HeaderName::from_static(name), value);
        }
        if self.has_body() && self.framing == Framing::Length {
            let length = HeaderValue::from(self.body.len());
            request.headers_mut().insert(http::header::CONTENT_LENGTH, length);
        }
        request
    }
}

/// A request whose body may still be under way.
pub(crate) struct Begun {
    rest: Bytes,
    chunked: bool,
    /// The end has been sent.
    ended: bool,
    stream: Option<(ResponseFuture, SendStream<Bytes>)>,
}

impl Begun {
    /// Resets an HTTP/2 stream; on HTTP/1.1 the connection is all there is to drop.
    pub(crate) fn reset(mut self) {
        if let Some((_, stream)) = &mut self.stream {
            stream.send_reset(Reason::CANCEL);
        }
    }
}

enum Wire {
    Http1 { stream: Box<TlsStream<TcpStream>>, buffer: Vec<u8> },
    Http2 { sender: SendRequest<Bytes>, driver: tokio::task::JoinHandle<()> },
}

/// The connection.
pub(crate) struct Line {
    authority: String,
    pub(crate) tls: Option<ProtocolVersion>,
    wire: Wire,
}

/// Gone means gone, without a farewell.
impl Drop for Line {
    fn drop(&mut self) {
        if let Wire::Http2 { driver, .. } = &self.wire {
            driver.abort();
        }
    }
}

impl Line {
    /// Connects to `https://localhost:port`; ALPN says which HTTP it is.
    pub(crate) async fn open(base: &str, tls: &Arc<ClientConfig>) -> io::Result<Self> {
        let authority = base.trim_start_matches("https://").to_owned();
        let stream = TcpStream::connect(&authority).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await?;
        let session = stream.get_ref().1;
        let version = session.protocol_version();
        let wire = match session.alpn_protocol() {
            Some(b"h2") => {
                let made = h2::client::handshake(stream).await.map_err(io::Error::other)?;
                let (sender, connection) = made;
                let driver = tokio::spawn(async move {
                    let _ = connection.await;
                });
                Wire::Http2 { sender, driver }
            }
            _ => Wire::Http1 { stream: Box::new(stream), buffer: Vec::new() },
        };
        Ok(Self { authority, tls: version, wire })
    }

    /// The same connection, asking for another host.
    pub(crate) fn calling(mut self, authority: &str) -> Self {
        self.authority = authority.to_owned();
        self
    }

    /// One request, whole, and its answer.
    pub(crate) async fn send(&mut self, ask: &Ask) -> Answer {
        self.try_send(ask).await.unwrap_or_else(|error| panic!("no answer: {error}"))
    }

    pub(crate) async fn try_send(&mut self, ask: &Ask) -> io::Result<Answer> {
        let mut begun = self.begin(ask, ask.body.len()).await?;
        self.complete(&mut begun).await?;
        self.answer(begun).await
    }

    /// All requests before the first answer: pipelined, or as many streams.
    pub(crate) async fn send_all(&mut self, asks: &[Ask]) -> Vec<Answer> {
        let mut begun = Vec::new();
        for ask in asks {
            let mut one = self.begin(ask, ask.body.len()).await.unwrap();
            self.complete(&mut one).await.unwrap();
            begun.push(one);
        }
        let mut answers = Vec::new();
        for one in begun {
            answers.push(self.answer(one).await.unwrap());
        }
        answers
    }

    /// Sends the head and the first bytes of the body.
    pub(crate) async fn begin(&mut self, ask: &Ask, upto: usize) -> io::Result<Begun> {
        let (first, rest) = (ask.body.slice(..upto), ask.body.slice(upto..));
        let chunked = ask.has_body() && ask.framing == Framing::Open;
        let mut begun = Begun { rest, chunked, ended: !ask.has_body(), stream: None };
        match &mut self.wire {
            Wire::Http1 { stream, .. } => {
                let mut bytes = ask.head(&self.authority);
                bytes.extend_from_slice(&part(&first, chunked));
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
            Wire::Http2 { sender, .. } => {
                let ready = timeout(PATIENCE, sender.clone().ready()).await?;
                *sender = ready.map_err(io::Error::other)?;
                let request = ask.request(&self.authority);
                let opened = sender.send_request(request, begun.ended);
                let (future, mut stream) = opened.map_err(io::Error::other)?;
                if !first.is_empty() {
                    stream.send_data(first, false).map_err(io::Error::other)?;
                }
                begun.stream = Some((future, stream));
            }
        }
        Ok(begun)
    }

    /// Sends `count` more bytes of the body.
    pub(crate) async fn more(&mut self, mut begun: Begun, count: usize) -> Begun {
        let bytes = begun.rest.split_to(count);
        match (&mut self.wire, &mut begun.stream) {
            (Wire::Http1 { stream, .. }, _) => {
                stream.write_all(&part(&bytes, begun.chunked)).await.unwrap();
                stream.flush().await.unwrap();
            }
            (Wire::Http2 { .. }, Some((_, stream))) => stream.send_data(bytes, false).unwrap(),
            (Wire::Http2 { .. }, None) => {}
        }
        begun
    }

    /// Sends what is left of the body, and its end.
    pub(crate) async fn complete(&mut self, begun: &mut Begun) -> io::Result<()> {
        let rest = std::mem::take(&mut begun.rest);
        if std::mem::replace(&mut begun.ended, true) {
            return Ok(());
        }
        match (&mut self.wire, &mut begun.stream) {
            (Wire::Http1 { stream, .. }, _) => {
                let mut bytes = part(&rest, begun.chunked);
                if begun.chunked {
                    bytes.extend_from_slice(b"0\r\n\r\n");
                }
                stream.write_all(&bytes).await?;
                stream.flush().await
            }
            (Wire::Http2 { .. }, Some((_, stream))) => {
                stream.send_data(rest, true).map_err(io::Error::other)
            }
            (Wire::Http2 { .. }, None) => Ok(()),
        }
    }

    pub(crate) async fn answer(&mut self, begun: Begun) -> io::Result<Answer> {
        match (&mut self.wire, begun.stream) {
            (Wire::Http1 { stream, buffer }, _) => {
                timeout(PATIENCE, read_answer(stream, buffer)).await?
            }
            (Wire::Http2 { .. }, Some((future, _sending))) => {
                timeout(PATIENCE, take_answer(future)).await?.map_err(io::Error::other)
            }
            (Wire::Http2 { .. }, None) => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Waits for `100 Continue`: the head was taken, the body is awaited. HTTP/1.1 only.
    pub(crate) async fn await_continue(&mut self) {
        const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
        let Wire::Http1 { stream, buffer } = &mut self.wire else { return };
        while buffer.len() < CONTINUE.len() {
            timeout(PATIENCE, fill(stream, buffer)).await.unwrap().unwrap();
        }
        assert!(buffer.starts_with(CONTINUE), "{}", String::from_utf8_lossy(buffer));
        buffer.drain(..CONTINUE.len());
    }

    /// Whether the other side ends the connection without another word.
    pub(crate) async fn is_ended_by_peer(&mut self) -> bool {
        match &mut self.wire {
            Wire::Http1 { stream, buffer } => {
                let ended = timeout(PATIENCE, fill(stream, buffer)).await.unwrap();
                ended.is_err() && buffer.is_empty()
            }
            Wire::Http2 { driver, .. } => timeout(PATIENCE, driver).await.is_ok(),
        }
    }
}

fn part(bytes: &Bytes, chunked: bool) -> Vec<u8> {
    match (chunked, bytes.is_empty()) {
        (false, _) => bytes.to_vec(),
        (true, true) => Vec::new(),
        (true, false) => [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat(),
    }
}

async fn fill(stream: &mut TlsStream<TcpStream>, buffer: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(buffer).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

async fn read_answer(
    stream: &mut TlsStream<TcpStream>,
    buffer: &mut Vec<u8>,
) -> io::Result<Answer> {
    let head_len = loop {
        match buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            Some(at) => break at + 4,
            None => fill(stream, buffer).await?,
        }
    };
    let head: Vec<u8> = buffer.drain(..head_len).collect();
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut parsed = httparse::Response::new(&mut fields);
    parsed.parse(&head).map_err(io::Error::other)?;
    let mut headers = HeaderMap::new();
    for field in parsed.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(io::Error::other)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(io::Error::other)?);
    }
    let status = parsed.code.unwrap_or_default();
    let length = headers.get("content-length").and_then(|length| length.to_str().ok());
    let length = length.map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        fill(stream, buffer).await?;
    }
    let body: Vec<u8> = buffer.drain(..length).collect();
    Ok(Answer { status, headers, body: body.into() })
}

async fn take_answer(future: ResponseFuture) -> Result<Answer, h2::Error> {
    let (head, mut body) = future.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        bytes.extend_from_slice(&data);
    }
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: bytes.into() })
}

/// How a client speaks TLS.
pub(crate) struct Tls {
    pub(crate) roots: RootCertStore,
    pub(crate) versions: Vec<&'static SupportedProtocolVersion>,
    pub(crate) identity: Option<Identity>,
}

impl Tls {
    pub(crate) fn trusting(roots: RootCertStore) -> Self {
        Self { roots, versions: rustls::DEFAULT_VERSIONS.to_vec(), identity: None }
    }

    pub(crate) fn only(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub(crate) fn showing(mut self, identity: Identity) -> Self {
        self.identity = Some(identity);
        self
    }

    pub(crate) fn config(&self, version: Version) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .unwrap()
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            None => config.with_no_client_auth(),
            Some(shown) => {
                let chain = CertificateDer::pem_slice_iter(shown.certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(shown.key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = version.alpn();
        Arc::new(config)
    }
}
