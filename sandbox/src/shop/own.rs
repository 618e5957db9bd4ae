//! A shop that kept its own card form: plain HTML that posts to its own server, which stands behind
//! an intake route of Portcullis. Start reading at [`OwnForm::start`].
//!
//! It writes down all that it receives and pays with what stands in its card fields, which are
//! tokens by then. Beside the form it has what shops have: uploads, downloads, event streams and a
//! WebSocket.

use super::gateway::{CardFields, Gateway, NewInvoice, bearer_of};
use super::log::Log;
use crate::ca::Identity;
use crate::http::Request;
use crate::random;
use crate::record::Recorder;
use crate::text::{escape, fill};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SET_COOKIE, UPGRADE};
use http::{Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Sleep, sleep};
use tokio_rustls::TlsAcceptor;

/// The name under which browsers reach it, through Portcullis. Every system resolves it to itself.
pub const HOST: &str = "own-form.localhost";
/// What it reads of a form.
const BODY_MAX: usize = 1 << 20;
const PART: usize = 16 * 1024;
/// Between two events of a stream.
const EVENT_PAUSE: Duration = Duration::from_millis(50);
const EVENTS: usize = 3;

/// What it needs.
pub struct Setup<'a> {
    /// Its own port.
    pub listener: TcpListener,
    /// Certificate of `localhost`.
    pub identity: &'a Identity,
    /// Its client at the provider, through Portcullis.
    pub gateway: Gateway,
    /// Everything received goes here.
    pub log: Arc<Log>,
}

/// A running shop with a form of its own.
pub struct OwnForm {
    shared: Arc<Shared>,
    port: u16,
    accepting: tokio::task::AbortHandle,
}

struct Shared {
    gateway: Gateway,
    log: Arc<Log>,
    received: Recorder,
    uploaded: AtomicU64,
}

impl OwnForm {
    /// Starts one.
    pub fn start(setup: Setup<'_>) -> Result<Self> {
        let port = setup.listener.local_addr()?.port();
        let (received, uploaded) = (Recorder::default(), AtomicU64::new(0));
        let shared =
            Arc::new(Shared { gateway: setup.gateway, log: setup.log, received, uploaded });
        let accepting =
            tokio::spawn(accept(setup.listener, setup.identity.acceptor()?, Arc::clone(&shared)));
        Ok(Self { shared, port, accepting: accepting.abort_handle() })
    }

    /// Where it really is.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Everything that it received; of uploads only the head.
    #[must_use]
    pub fn received(&self) -> &Recorder {
        &self.shared.received
    }

    /// Bytes of uploads so far.
    #[must_use]
    pub fn uploaded(&self) -> u64 {
        self.shared.uploaded.load(Ordering::SeqCst)
    }
}

impl Drop for OwnForm {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, tls: TlsAcceptor, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        while connections.try_join_next().is_some() {}
        connections.spawn(connection(stream, tls.clone(), Arc::clone(&shared)));
    }
}

async fn connection(stream: TcpStream, tls: TlsAcceptor, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Ok(stream) = tls.accept(stream).await else { return };
    let serve = hyper::service::service_fn(move |request| answer(Arc::clone(&shared), request));
    // A failed connection is the client's business: what matters was recorded before.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), serve)
        .with_upgrades()
        .await;
}

type Answer = Response<Outgoing>;

async fn answer(
    shared: Arc<Shared>,
    mut request: hyper::Request<Incoming>,
) -> Result<Answer, Infallible> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let method = request.method().clone();
    let read = matches!(method, Method::GET | Method::HEAD);
    Ok(match segments.as_slice() {
        ["upload", ..] => {
            note(&shared, "upload", &request, Bytes::new());
            let count = swallow(&shared, request.into_body()).await;
            text(StatusCode::OK, &count.to_string())
        }
        ["socket"] if request.headers().contains_key(UPGRADE) => {
            note(&shared, "socket", &request, Bytes::new());
            let switched = hyper::upgrade::on(&mut request);
            tokio::spawn(echo(switched));
            switching(&request)
        }
        ["download", count] if read => {
            note(&shared, "download", &request, Bytes::new());
            let mut answer = text(StatusCode::OK, "");
            *answer.body_mut() = Outgoing::zeros(count.parse().unwrap_or(0));
            answer
        }
        ["events"] if read => {
            note(&shared, "events", &request, Bytes::new());
            let mut answer = text(StatusCode::OK, "");
            let kind = HeaderValue::from_static("text/event-stream");
            answer.headers_mut().insert(CONTENT_TYPE, kind);
            *answer.body_mut() = Outgoing::events();
            answer
        }
        _ => whole(&shared, request, &method, &segments).await,
    })
}

/// Requests that are read as a whole.
async fn whole(
    shared: &Shared,
    request: hyper::Request<Incoming>,
    method: &Method,
    segments: &[&str],
) -> Answer {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_MAX).collect().await else {
        return text(StatusCode::PAYLOAD_TOO_LARGE, "too large");
    };
    let body = body.to_bytes();
    let request = hyper::Request::from_parts(head, ());
    let (route, post) = match segments {
        ["checkout", _, "pay"] | ["api", "checkout", _, "pay"] => ("card", *method == Method::POST),
        _ => ("other", false),
    };
    note(shared, route, &request, body.clone());
    if post {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        return pay(shared, kind.unwrap_or_default(), &body).await;
    }
    match segments {
        ["checkout", order] => {
            html(&fill(include_str!("assets/own.html"), &[("order", &escape(order))]))
        }
        _ => text(StatusCode::OK, &format!("{method} {}", request.uri())),
    }
}

fn note<B>(shared: &Shared, route: &'static str, request: &hyper::Request<B>, body: Bytes) {
    let received = Request {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: request.uri().query().map(str::to_owned),
        headers: request.headers().clone(),
        body,
    };
    let what = format!("own form: {} {}", received.method, request.uri());
    shared.log.received(&what, &received.headers, &received.body);
    shared.received.keep(route, &received);
}

/// Pays with what stands in the card fields, whatever that is.
async fn pay(shared: &Shared, kind: &str, body: &[u8]) -> Answer {
    let is_json = kind.starts_with("application/json");
    let paid = match fields(kind, body).context("a card field is missing") {
        Ok(card) => charge(&shared.gateway, &card).await,
        Err(error) => Err(error),
    };
    let (status, says) = match paid {
        Ok(status) => (StatusCode::OK, status),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
    };
    let mut answer = if is_json {
        let mut answer = text(status, &format!("{{\"status\":\"{}\"}}", escape(&says)));
        let kind = HeaderValue::from_static("application/json");
        answer.headers_mut().insert(CONTENT_TYPE, kind);
        answer
    } else {
        html(&format!("<!doctype html><title>Order</title><h1>Payment: {}</h1>", escape(&says)))
    };
    *answer.status_mut() = status;
    for cookie in ["cart=paid; Path=/; Secure", "seen=1; Path=/; Secure; HttpOnly"] {
        answer.headers_mut().append(SET_COOKIE, HeaderValue::from_static(cookie));
    }
    answer
}

async fn charge(gateway: &Gateway, card: &CardFields) -> Result<String> {
    let invoice = NewInvoice {
        reference: format!("own-{}", random::letters(12)),
        amount: "17.10".to_owned(),
        return_url: format!("https://{HOST}/"),
        callback_url: String::new(),
    };
    let made = gateway.create_invoice(&invoice).await?.json()?;
    let bearer = bearer_of(&made).context("the invoice has no bearer token")?;
    let sold = gateway.sale(bearer, card).await?;
    anyhow::ensure!(sold.status == 200, "the sale was answered {}", sold.status);
    let status = sold.json()?.pointer("/status").and_then(Value::as_str).map(Into::into);
    Ok(status.unwrap_or_else(|| "accepted".to_owned()))
}

fn fields(kind: &str, body: &[u8]) -> Option<CardFields> {
    let pairs: Vec<(String, String)> = if kind.starts_with("application/json") {
        let document: Value = serde_json::from_slice(body).ok()?;
        let members = document.get("card")?.as_object()?.iter();
        members.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.into()))).collect()
    } else if let Some((_, boundary)) = kind.split_once("boundary=") {
        parts(&String::from_utf8_lossy(body), boundary)
    } else {
        url::form_urlencoded::parse(body).into_owned().collect()
    };
    let get =
        |name: &str| pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    let expiry = get("expiry")?;
    let (month, year) = expiry.split_once('/')?;
    let year = year.trim();
    Some(CardFields {
        number: get("number")?,
        holder: get("holder")?,
        cvv: get("cvv")?,
        month: month.trim().to_owned(),
        year: year.get(year.len().saturating_sub(2)..)?.to_owned(),
        browser_info: Value::Null,
    })
}

fn parts(body: &str, boundary: &str) -> Vec<(String, String)> {
    let delimiter = format!("--{boundary}");
    let field = |part: &str| {
        let (head, content) = part.split_once("\r\n\r\n")?;
        let (_, name) = head.split_once("name=\"")?;
        let (name, _) = name.split_once('"')?;
        Some((name.to_owned(), content.strip_suffix("\r\n")?.to_owned()))
    };
    body.split(delimiter.as_str()).filter_map(field).collect()
}

async fn swallow(shared: &Shared, mut body: Incoming) -> u64 {
    let mut count = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        count += length;
        shared.uploaded.fetch_add(length, Ordering::SeqCst);
    }
    count
}

/// Gives back whatever comes, as it comes.
async fn echo(switched: hyper::upgrade::OnUpgrade) {
    let Ok(upgraded) = switched.await else { return };
    let mut stream = TokioIo::new(upgraded);
    let mut bytes = vec![0; PART];
    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
        let part = bytes.get(..count).unwrap_or_default();
        if stream.write_all(part).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

/// RFC 6455 section 4.2.2.
fn switching<B>(request: &hyper::Request<B>) -> Answer {
    let key = request.headers().get("sec-websocket-key").map(HeaderValue::as_bytes);
    let salted = [key.unwrap_or_default(), b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"].concat();
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, &salted);
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = answer.headers_mut();
    headers.remove(CONTENT_TYPE);
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&STANDARD.encode(digest.as_ref())) {
        headers.insert("sec-websocket-accept", accept);
    }
    answer
}

fn text(status: StatusCode, body: &str) -> Answer {
    let mut answer = Response::new(Outgoing::whole(Bytes::copy_from_slice(body.as_bytes())));
    *answer.status_mut() = status;
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

fn html(body: &str) -> Answer {
    let mut answer = text(StatusCode::OK, body);
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    answer
}

/// A body that is made while it leaves.
struct Outgoing {
    whole: Bytes,
    zeros: u64,
    events: usize,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Outgoing {
    fn whole(whole: Bytes) -> Self {
        Self { whole, zeros: 0, events: 0, pause: None }
    }

    fn zeros(zeros: u64) -> Self {
        Self { zeros, ..Self::whole(Bytes::new()) }
    }

    fn events() -> Self {
        Self { events: EVENTS, ..Self::whole(Bytes::new()) }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        static ZEROS: [u8; PART] = [0; PART];
        if !self.whole.is_empty() {
            let whole = std::mem::take(&mut self.whole);
            return Poll::Ready(Some(Ok(Frame::data(whole))));
        }
        if self.zeros > 0 {
            let count = usize::try_from(self.zeros).unwrap_or(PART).min(PART);
            self.zeros -= count as u64;
            let part = Bytes::from_static(ZEROS.get(..count).unwrap_or_default());
            return Poll::Ready(Some(Ok(Frame::data(part))));
        }
        if self.events == 0 {
            return Poll::Ready(None);
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(EVENT_PAUSE)));
        if pause.as_mut().poll(task).is_pending() {
            return Poll::Pending;
        }
        self.pause = None;
        let event = format!("data: {}\n\n", EVENTS - self.events + 1);
        self.events -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(event)))))
    }

    fn is_end_stream(&self) -> bool {
        self.whole.is_empty() && self.zeros == 0 && self.events == 0
    }

    fn size_hint(&self) -> SizeHint {
        match self.events {
            0 => SizeHint::with_exact(self.whole.len() as u64 + self.zeros),
            _ => SizeHint::new(),
        }
    }
}
