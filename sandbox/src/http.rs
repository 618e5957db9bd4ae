//! A small HTTPS server: whole requests in, whole replies out, and the ways in which a gateway
//! misbehaves.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

use crate::lock;

const BODY_BYTES_MAX: usize = 4 << 20;
/// How long the first half of a cut answer has to leave before the connection is closed.
const HALF_PAUSE: Duration = Duration::from_millis(30);

/// A request that was read completely.
#[derive(Debug, Clone)]
pub struct Request {
    /// As sent.
    pub method: Method,
    /// As sent, without the query.
    pub path: String,
    /// As sent, without the question mark.
    pub query: Option<String>,
    /// As sent.
    pub headers: HeaderMap,
    /// As sent.
    pub body: Bytes,
}

impl Request {
    /// A header as text; `None` when absent, doubled or not text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next()?.to_str().ok()?;
        if values.next().is_some() { None } else { Some(first) }
    }

    /// The body as a form, decoded, in the order sent.
    #[must_use]
    pub fn form(&self) -> Vec<(String, String)> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// The query, decoded, in the order sent.
    #[must_use]
    pub fn query_pairs(&self) -> Vec<(String, String)> {
        let query = self.query.as_deref().unwrap_or_default();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    /// One decoded value of the query.
    #[must_use]
    pub fn query_value(&self, name: &str) -> Option<String> {
        self.query_pairs().into_iter().find_map(|(key, value)| (key == name).then_some(value))
    }
}

/// How a reply leaves.
#[derive(Debug, Clone, Default)]
pub enum Delivery {
    /// At once and whole.
    #[default]
    Whole,
    /// Whole, later.
    After(Duration),
    /// Whole, once the other end sends something or is gone.
    Held(watch::Receiver<()>),
    /// Announced in full, cut in the middle.
    Half,
    /// The connection is closed without a byte.
    Cut,
    /// Not at all; the connection stays open.
    Never,
}

/// What a server answers.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Status.
    pub status: StatusCode,
    /// Headers beside the length.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
    /// How it leaves.
    pub delivery: Delivery,
}

impl Reply {
    /// A reply with a body of the given type.
    #[must_use]
    pub fn new(status: u16, content_type: &'static str, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, headers, body: body.into(), delivery: Delivery::Whole }
    }

    /// A JSON document.
    #[must_use]
    pub fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json", body)
    }

    /// A page.
    #[must_use]
    pub fn html(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/html; charset=utf-8", body)
    }

    /// Plain text.
    #[must_use]
    pub fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// An empty redirect.
    #[must_use]
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::text(status, Bytes::new()).with(LOCATION, location)
    }

    /// Adds a header; a value that cannot be one is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    /// Says how it leaves.
    #[must_use]
    pub fn delivered(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }
}

type Answering = Pin<Box<dyn Future<Output = Reply> + Send>>;
type Serve = Arc<dyn Fn(Request) -> Answering + Send + Sync>;

/// A listening server that can be taken down, with all its connections, and brought up again.
pub struct Server {
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    serve: Serve,
    accepting: Mutex<Option<AbortHandle>>,
}

impl Server {
    /// Binds `port` on loopback (0: any free one); serves nothing before [`Server::serve`].
    pub async fn bind(port: u16) -> Result<TcpListener> {
        let listener = TcpListener::bind(("127.0.0.1", port)).await;
        listener.with_context(|| format!("port {port} of 127.0.0.1 cannot be bound; is it in use?"))
    }

    /// Starts to answer on a bound listener.
    pub fn serve<F, A>(listener: TcpListener, tls: Option<TlsAcceptor>, serve: F) -> Result<Self>
    where
        F: Fn(Request) -> A + Send + Sync + 'static,
        A: Future<Output = Reply> + Send + 'static,
    {
        let serve: Serve = Arc::new(move |request| Box::pin(serve(request)));
        let address = listener.local_addr()?;
        let server = Self { address, tls, serve, accepting: Mutex::new(None) };
        server.accept_on(listener);
        Ok(server)
    }

    /// The port that it answers on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Refuses connections and closes the open ones.
    pub fn down(&self) {
        if let Some(accepting) = lock(&self.accepting).take() {
            accepting.abort();
        }
    }

    /// Listens again on the same port. Right after `down` the port may still be held for a moment.
    pub async fn up(&self) -> Result<()> {
        if lock(&self.accepting).is_some() {
            return Ok(());
        }
        for _ in 0..100 {
            if let Ok(listener) = TcpListener::bind(self.address).await {
                self.accept_on(listener);
                return Ok(());
            }
            sleep(Duration::from_millis(10)).await;
        }
        self.accept_on(Self::bind(self.port()).await?);
        Ok(())
    }

    fn accept_on(&self, listener: TcpListener) {
        let accepting = tokio::spawn(accept(listener, self.tls.clone(), Arc::clone(&self.serve)));
        if let Some(before) = lock(&self.accepting).replace(accepting.abort_handle()) {
            before.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.down();
    }
}

/// Connections live in this task's set: aborting the task closes them all.
async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, serve: Serve) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(Duration::from_millis(5)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, tls.clone(), Arc::clone(&serve)));
    }
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>, serve: Serve) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => exchange(stream, serve).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                exchange(stream, serve).await;
            }
        }
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, serve: Serve) {
    let service = hyper::service::service_fn(move |incoming| answer(incoming, Arc::clone(&serve)));
    // A failed connection is the client's business: what matters was recorded before.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    incoming: hyper::Request<Incoming>,
    serve: Serve,
) -> Result<hyper::Response<Outgoing>, CutOff> {
    let request = match read(incoming).await {
        Some(request) => request,
        None => return Err(CutOff),
    };
    let reply = serve(request).await;
    match &reply.delivery {
        Delivery::Whole | Delivery::Half => {}
        Delivery::After(delay) => sleep(*delay).await,
        Delivery::Held(release) => drop(release.clone().changed().await),
        Delivery::Cut => return Err(CutOff),
        Delivery::Never => std::future::pending::<()>().await,
    }
    Ok(respond(reply))
}

async fn read(incoming: hyper::Request<Incoming>) -> Option<Request> {
    let (head, body) = incoming.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.ok()?.to_bytes();
    Some(Request {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().map(str::to_owned),
        headers: head.headers,
        body,
    })
}

fn respond(reply: Reply) -> hyper::Response<Outgoing> {
    let whole = reply.body.len();
    let cut = matches!(reply.delivery, Delivery::Half);
    let body = if cut { reply.body.slice(..whole / 2) } else { reply.body };
    let mut response = hyper::Response::new(Outgoing { bytes: Some(body), cut, pause: None });
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(whole));
    response
}

/// The connection ends here.
#[derive(Debug)]
struct CutOff;

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cut off")
    }
}

impl std::error::Error for CutOff {}

impl From<Infallible> for CutOff {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// A body that may break off after its first bytes.
struct Outgoing {
    bytes: Option<Bytes>,
    cut: bool,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = CutOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutOff>>> {
        if let Some(bytes) = self.bytes.take().filter(|bytes| !bytes.is_empty()) {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if !self.cut {
            return Poll::Ready(None);
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(HALF_PAUSE)));
        pause.as_mut().poll(task).map(|()| Some(Err(CutOff)))
    }

    fn is_end_stream(&self) -> bool {
        !self.cut && self.bytes.as_ref().is_none_or(Bytes::is_empty)
    }
}
