//! The HTTP/2 server: the same requests, rooms and rules as on HTTP/1.1, many at a time.
//!
//! The h2 crate does frames, flow control and header compression, and refuses what breaks RFC 9113
//! (connection fields, a content-length that is not kept, pseudo fields). Each stream is a task
//! that no reset can cancel: a sale in flight outlives the client that asked for it.

mod through;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Response, StatusCode, Version, request::Parts};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use super::accept::{Origin, Terms};
use super::clock::Deadline;
use super::closing::Closing;
use super::drain::Drain;
use super::fields::{Fields, Framing, is_hop_by_hop};
use super::h1::head::accepted_method;
use super::h1::reply::has_body;
use super::linger::Lingering;
use super::message::{
    BodyLimit, Caps, ConnectionEvent, Door, Handler, Head, Passing, Refusal, Reply, Request,
};
use super::target;
use crate::secret::CleartextBody;
use through::Through;

const STREAMS: u32 = 100;
const STREAM_WINDOW: u32 = 64 * 1024;
const CONNECTION_WINDOW: u32 = 256 * 1024;
const SEND_BUFFER: usize = 64 * 1024;
/// Streams the client opened and reset before they were looked at (CVE-2023-44487).
const RESETS_PENDING: usize = 20;
/// Streams we had to reset because the client broke the protocol.
const RESETS_BY_US: usize = 100;

/// Serves one connection until either side ends it.
pub(crate) async fn serve<IO, D>(io: IO, door: &D, terms: &Terms, origin: Origin, closing: Closing)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    D: Door,
{
    let handshake = builder(&terms.caps).handshake::<_, Bytes>(Lingering::new(io));
    let Ok(Ok(connection)) = timeout(terms.deadlines.handshake, handshake).await else {
        return door.enter().note(ConnectionEvent::ProtocolError);
    };
    let mut server = Server {
        connection,
        streams: Streams(JoinSet::new()),
        deadline: Deadline::after(terms.deadlines.head),
        closing,
        draining: None,
        idle: terms.deadlines.idle,
        drain: terms.deadlines.reply,
    };
    loop {
        match poll_fn(|cx| server.poll_event(cx)).await {
            Event::Stream(_, mut respond) if server.takes_no_more() => {
                respond.send_reset(Reason::REFUSED_STREAM);
            }
            Event::Stream(request, respond) => {
                let exchange = Exchange {
                    room: door.enter(),
                    terms: *terms,
                    origin: origin.clone(),
                    drain: server.closing.drain(),
                    respond,
                };
                server.streams.0.spawn(exchange.run(request));
            }
            Event::Drain => server.drain(),
            Event::Broken => return door.enter().note(ConnectionEvent::ProtocolError),
            Event::Over => return,
        }
    }
}

fn builder(caps: &Caps) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(STREAMS)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(caps.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_PENDING)
        .max_local_error_reset_streams(Some(RESETS_BY_US));
    builder
}

/// Running streams. Dropping a `JoinSet` would abort them, so they are let go first.
struct Streams(JoinSet<bool>);

impl Drop for Streams {
    fn drop(&mut self) {
        self.0.detach_all();
    }
}

#[expect(clippy::large_enum_variant, reason = "lives for one statement, on the stack")]
enum Event {
    Stream(http::Request<RecvStream>, SendResponse<Bytes>),
    /// Take no more requests, finish the running ones.
    Drain,
    /// The client broke the protocol.
    Broken,
    Over,
}

struct Server<IO> {
    connection: Connection<Lingering<IO>, Bytes>,
    streams: Streams,
    deadline: Deadline,
    closing: Closing,
    /// Since when.
    draining: Option<Instant>,
    idle: Duration,
    drain: Duration,
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Server<IO> {
    /// What has ended comes before what begins: a client that never stops asking outlasts nothing.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let close_asked = self.poll_streams(cx);
        let is_asked = close_asked || self.closing.poll_closed(cx).is_ready();
        let is_over = self.streams.0.is_empty() && self.deadline.poll_over(cx).is_ready();
        match self.draining {
            None if is_asked || is_over => return Poll::Ready(Event::Drain),
            Some(_) if is_over => return Poll::Ready(Event::Over),
            _ => {}
        }
        Poll::Ready(match ready!(self.connection.poll_accept(cx)) {
            Some(Ok((request, respond))) => Event::Stream(request, respond),
            Some(Err(error)) if !error.is_io() => Event::Broken,
            Some(Err(_)) | None => Event::Over,
        })
    }

    /// Whether new streams are refused. h2 does not count those that were reset, but their requests
    /// are still being worked on. And while the connection ends h2 takes on whatever a client asks
    /// for that does not acknowledge the end: for a while, requests that had left before they are
    /// answered, but none once what let the client in is over.
    fn takes_no_more(&self) -> bool {
        self.streams.0.len() >= STREAMS as usize
            || self.closing.is_admission_over()
            || self.draining.is_some_and(|since| since.elapsed() > self.drain)
    }

    /// Collects ended streams; whether one of them asked to end the connection. With the last one
    /// the idle time begins.
    fn poll_streams(&mut self, cx: &mut Context<'_>) -> bool {
        let mut close_asked = false;
        while let Poll::Ready(Some(ended)) = self.streams.0.poll_join_next(cx) {
            close_asked |= ended.unwrap_or(true);
            if self.streams.0.is_empty() {
                self.deadline.restart(if self.draining.is_some() { self.drain } else { self.idle });
            }
        }
        close_asked
    }

    fn drain(&mut self) {
        self.draining = Some(Instant::now());
        self.connection.graceful_shutdown();
        self.deadline.restart(self.drain);
    }
}

/// One stream.
struct Exchange<H> {
    room: H,
    terms: Terms,
    origin: Origin,
    drain: Arc<Drain>,
    respond: SendResponse<Bytes>,
}

/// Why there is no request to handle.
enum Early {
    Reply(Box<Reply>),
    /// It is passed through instead.
    Passing(Box<(Passing, RecvStream)>),
    /// The client reset the stream or broke it before the request was complete.
    Gone,
}

impl<H: Handler> Exchange<H> {
    /// Answers the stream; whether the connection is to be ended. It is, as on HTTP/1.1, when a
    /// body came that nobody took: h2 keeps the frames that have arrived for as long as it lives.
    async fn run(mut self, request: http::Request<RecvStream>) -> bool {
        let (parts, body) = request.into_parts();
        let bodiless = parts.method == Method::HEAD;
        let empty = body.is_end_stream();
        let (reply, taken) = match self.receive(parts, body).await {
            Ok(request) => (self.room.handle(request).await, true),
            Err(Early::Reply(reply)) => (*reply, empty),
            Err(Early::Gone) => return !empty,
            Err(Early::Passing(passing)) => {
                let (passing, body) = *passing;
                let mut client = Through::new(&mut self.respond, body);
                self.room.pass(passing, &mut client).await;
                client.finish();
                return self.drain.is_on();
            }
        };
        let close = reply.close || !taken || self.drain.is_on();
        if self.send(reply, bodiless).await.is_none() {
            self.room.note(ConnectionEvent::ReplyNotTaken);
        }
        close
    }

    async fn receive(&mut self, parts: Parts, body: RecvStream) -> Result<Request, Early> {
        let refused = |refusal| Early::Reply(Box::new(self.room.refuse(refusal)));
        let (head, fields) = head_of(parts, &self.terms.caps, &self.origin).map_err(refused)?;
        if self.room.passes(&head) {
            return Err(Early::Passing(Box::new((fields.passing(head, &body), body))));
        }
        if let Some(refusal) = fields.reserved {
            return Err(refused(refusal));
        }
        let limit = self.room.admit(&head).map_err(|reply| Early::Reply(Box::new(reply)))?;
        let framing = fields.framing;
        if matches!(framing, Framing::Length(length) if length > limit.get() as u64) {
            return Err(refused(Refusal::BodyTooLarge));
        }
        if fields.expect_continue && !body.is_end_stream() {
            let mut interim = Response::new(());
            *interim.status_mut() = StatusCode::CONTINUE;
            self.respond.send_informational(interim).map_err(|_| Early::Gone)?;
        }
        match timeout(self.terms.deadlines.body, read_body(body, framing, limit)).await {
            Ok(Ok(body)) => Ok(Request { head, body }),
            Ok(Err(BodyError::TooLarge)) => {
                Err(Early::Reply(Box::new(self.room.refuse(Refusal::BodyTooLarge))))
            }
            Ok(Err(BodyError::Gone)) => Err(Early::Gone),
            Err(_) => Err(Early::Reply(Box::new(self.room.refuse(Refusal::BodyTimeout)))),
        }
    }

    /// None when the client did not take the whole reply in time.
    async fn send(&mut self, mut reply: Reply, bodiless: bool) -> Option<()> {
        let content = has_body(reply.status);
        let mut response = Response::new(());
        *response.status_mut() = reply.status;
        *response.headers_mut() = final_fields(&mut reply, content);
        let empty = bodiless || !content || reply.body.is_empty();
        let mut stream = self.respond.send_response(response, empty).ok()?;
        if empty {
            return Some(());
        }
        let until = Instant::now() + self.terms.deadlines.reply;
        let sent = timeout_at(until, send_body(&mut stream, reply.body)).await.ok().flatten();
        if sent.is_none() {
            stream.send_reset(Reason::CANCEL);
        }
        sent
    }
}

/// Sends within the client's window, so that a reply waits here and not in h2's buffers.
async fn send_body(stream: &mut SendStream<Bytes>, mut body: Bytes) -> Option<()> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        if stream.capacity() == 0 {
            poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
        }
        let part = body.split_to(stream.capacity().min(body.len()));
        if !part.is_empty() {
            stream.send_data(part, body.is_empty()).ok()?;
        }
    }
    Some(())
}

enum BodyError {
    TooLarge,
    Gone,
}

async fn read_body(
    mut stream: RecvStream,
    framing: Framing,
    limit: BodyLimit,
) -> Result<CleartextBody, BodyError> {
    let expected = match framing {
        Framing::Length(length) => usize::try_from(length).unwrap_or(0),
        Framing::Empty | Framing::Chunked => 0,
    };
    let mut body = CleartextBody::with_capacity(expected);
    while let Some(data) = stream.data().await {
        let data = data.map_err(|_| BodyError::Gone)?;
        if body.len() + data.len() > limit.get() {
            return Err(BodyError::TooLarge);
        }
        body.extend_from_slice(&data);
        let _ = stream.flow_control().release_capacity(data.len());
    }
    Ok(body)
}

/// What a head says about its body.
struct Shape {
    framing: Framing,
    expect_continue: bool,
    reserved: Option<Refusal>,
}

impl Shape {
    /// Without a length the frames tell where the body ends.
    fn passing(&self, head: Head, body: &RecvStream) -> Passing {
        let framing = match self.framing {
            Framing::Empty if !body.is_end_stream() => Framing::Chunked,
            framing => framing,
        };
        Passing { head, framing, expect_continue: self.expect_continue, websocket: false }
    }
}

fn head_of(parts: Parts, caps: &Caps, origin: &Origin) -> Result<(Head, Shape), Refusal> {
    let method = accepted_method(parts.method.as_str()).ok_or(Refusal::MethodRefused)?;
    // Without an authority a `Uri` cannot hold the scheme, which h2 has checked to be there.
    if !matches!((parts.uri.scheme_str(), parts.uri.authority()), (Some("https"), _) | (None, None))
    {
        return Err(Refusal::BadRequestLine);
    }
    let text = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if text.len() > caps.target {
        return Err(Refusal::TargetTooLong);
    }
    if !text.starts_with('/') {
        return Err(Refusal::BadRequestLine);
    }
    let target = target::parse(text)?;
    let mut fields = collect(parts.headers, caps)?;
    fields.host_from(parts.uri.authority().map(http::uri::Authority::as_str))?;
    let (framing, reserved) = (fields.framing()?, fields.reserved);
    let shape = Shape { framing, expect_continue: fields.expect_continue, reserved };
    let head = Head {
        method,
        path: target.path.to_owned(),
        query: target.query.map(str::to_owned),
        headers: fields.map,
        version: Version::HTTP_2,
        peer: origin.peer,
        client: origin.client.clone(),
    };
    Ok((head, shape))
}

fn collect(headers: HeaderMap, caps: &Caps) -> Result<Fields, Refusal> {
    if headers.len() > caps.fields {
        return Err(Refusal::TooManyFields);
    }
    let mut fields = Fields::with_capacity(headers.len() + 1);
    let mut last = None;
    for (name, value) in headers {
        last = name.or(last);
        fields.take(last.clone().ok_or(Refusal::BadField)?, value)?;
    }
    Ok(fields)
}

fn final_fields(reply: &mut Reply, content: bool) -> HeaderMap {
    let mut headers = std::mem::take(&mut reply.headers);
    let dropped: Vec<_> = headers.keys().filter(|name| is_hop_by_hop(name)).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
    reply.notes.each(|name, value| {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    });
    if content {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(reply.body.len()));
    }
    headers
}
