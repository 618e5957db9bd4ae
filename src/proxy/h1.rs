//! The HTTP/1.1 server: one request after the other on one connection.
//!
//! One reused read buffer, one timer, no task per request. Every phase has one total deadline. A
//! request that was refused is answered once and the connection closed; nothing is repaired. While
//! a room works on a request nothing here reads, so a client that goes away cannot cancel it.

pub(crate) mod head;
pub(crate) mod reply;
mod through;

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Method;
use tokio::io::{AsyncRead, AsyncWrite};

use super::accept::{Origin, Terms};
use super::buffer::{Gathering, ReadBuffer};
use super::chunked::{ChunkError, Chunked};
use super::clock::Deadline;
use super::closing::Closing;
use super::fields::Framing;
use super::linger::{LINGER, LINGER_BYTES};
use super::message::{BodyLimit, ConnectionEvent, Door, Handler as _, Refusal, Reply, Request};
use crate::secret::CleartextBody;
use head::{HeadEnd, Parsed};

/// How much of a body is read at once; bodies leave the read buffer for a buffer of their own.
const BODY_READ: usize = 16 * 1024;

/// Serves one connection until either side ends it.
pub(crate) async fn serve<IO, D>(io: IO, door: &D, terms: &Terms, origin: Origin, closing: Closing)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    D: Door,
{
    let mut connection = Connection {
        io,
        door,
        terms,
        origin,
        closing,
        buffer: ReadBuffer::new(),
        deadline: Deadline::after(terms.deadlines.head),
        out: Vec::new(),
        used: false,
        leaving: false,
    };
    loop {
        match connection.exchange().await {
            Ok(()) => {}
            Err(Stop::Close) => return connection.close().await,
            Err(Stop::Linger) => return connection.linger().await,
            Err(Stop::Refused(refusal)) => {
                connection.refuse(refusal).await;
                return connection.linger().await;
            }
        }
    }
}

/// Why a connection ends.
enum Stop {
    /// Nothing more to say.
    Close,
    /// The last reply is out, the client may still be sending.
    Linger,
    /// To be answered, then as above.
    Refused(Refusal),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

struct Connection<'a, IO, D> {
    io: IO,
    door: &'a D,
    terms: &'a Terms,
    origin: Origin,
    closing: Closing,
    buffer: ReadBuffer,
    deadline: Deadline,
    out: Vec<u8>,
    /// Something has been received. Until then the client has the shorter time of a head.
    used: bool,
    /// The server stops: one more request, or none.
    leaving: bool,
}

impl<IO, D> Connection<'_, IO, D>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    D: Door,
{
    /// One request and its reply.
    async fn exchange(&mut self) -> Result<(), Stop> {
        let length = self.await_head().await?;
        let bytes = self.buffer.filled().get(..length).unwrap_or_default();
        let parsed = head::parse(bytes, &self.terms.caps, &self.origin)?;
        self.buffer.consume(length);
        let room = self.door.enter();
        if room.passes(&parsed.head) {
            return self.pass(&room, parsed).await;
        }
        if let Some(refusal) = parsed.reserved {
            return Err(refusal.into());
        }
        let limit = match room.admit(&parsed.head) {
            Ok(limit) => limit,
            Err(reply) => return self.answer_early(&parsed, reply).await,
        };
        let body = self.read_body(&parsed, limit).await?;
        self.buffer.recycle();
        let bodiless = parsed.head.method == Method::HEAD;
        let reply = room.handle(Request { head: parsed.head, body }).await;
        let close = reply.close || parsed.close || self.closing.is_near();
        self.write_reply(&reply, bodiless, close).await?;
        if close { Err(Stop::Linger) } else { Ok(()) }
    }

    /// The room answered the head alone. The body was not read, so only a request without one
    /// leaves the connection in a known state.
    async fn answer_early(&mut self, parsed: &Parsed, reply: Reply) -> Result<(), Stop> {
        let close = reply.close
            || parsed.close
            || parsed.framing != Framing::Empty
            || self.closing.is_near();
        self.buffer.recycle();
        self.write_reply(&reply, parsed.head.method == Method::HEAD, close).await?;
        if close { Err(Stop::Linger) } else { Ok(()) }
    }

    /// Waits for a whole head: as long as the connection may idle for its first byte, then `head`.
    async fn await_head(&mut self) -> Result<usize, Stop> {
        let (deadlines, caps) = (&self.terms.deadlines, &self.terms.caps);
        let mut end = HeadEnd::default();
        if self.buffer.is_empty() {
            self.deadline.restart(if self.used { deadlines.idle } else { deadlines.head });
            self.read_when_idle().await?;
        }
        self.used = true;
        let mut first = true;
        loop {
            if let Some(length) = end.find(self.buffer.filled(), caps)? {
                return Ok(length);
            }
            if first {
                self.deadline.restart(deadlines.head);
                first = false;
            }
            self.read(caps.head_bytes, Refusal::HeadTimeout).await?;
        }
    }

    /// The only wait that a graceful shutdown, after a short while, or the idle deadline ends
    /// without a word.
    async fn read_when_idle(&mut self) -> Result<(), Stop> {
        let bound = self.terms.caps.head_bytes;
        let n = poll_fn(|cx| {
            if let Poll::Ready(outcome) = self.buffer.poll_fill(&mut self.io, bound, cx) {
                return Poll::Ready(outcome.unwrap_or(0));
            }
            ready!(self.poll_idle_over(cx));
            Poll::Ready(0)
        });
        if n.await == 0 { Err(Stop::Close) } else { Ok(()) }
    }

    fn poll_idle_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.leaving && self.closing.poll_closed(cx).is_ready() {
            self.leaving = true;
            self.deadline.restart(self.terms.deadlines.farewell);
        }
        self.deadline.poll_over(cx)
    }

    /// Reads once more within the present deadline.
    async fn read(&mut self, bound: usize, late: Refusal) -> Result<(), Stop> {
        let (buffer, io) = (&mut self.buffer, &mut self.io);
        timely(&mut self.deadline, late, |cx| buffer.poll_fill(io, bound, cx)).await
    }

    async fn read_body(
        &mut self,
        parsed: &Parsed,
        limit: BodyLimit,
    ) -> Result<CleartextBody, Stop> {
        let limit = limit.get();
        match parsed.framing {
            Framing::Empty => return Ok(CleartextBody::with_capacity(0)),
            Framing::Length(length) if length > limit as u64 => Err(Refusal::BodyTooLarge)?,
            Framing::Length(_) | Framing::Chunked => {}
        }
        self.deadline.restart(self.terms.deadlines.body);
        if parsed.expect_continue && self.buffer.is_empty() {
            self.write_all(reply::CONTINUE, &[]).await?;
            self.deadline.restart(self.terms.deadlines.body);
        }
        match parsed.framing {
            Framing::Length(length) => {
                self.read_exactly(usize::try_from(length).map_err(|_| Refusal::BodyTooLarge)?).await
            }
            Framing::Chunked | Framing::Empty => self.read_chunked(limit).await,
        }
    }

    async fn read_exactly(&mut self, length: usize) -> Result<CleartextBody, Stop> {
        let mut body = Gathering::of(length);
        body.take(&mut self.buffer);
        while !body.is_whole() {
            let (io, late) = (&mut self.io, Refusal::BodyTimeout);
            timely(&mut self.deadline, late, |cx| body.poll_fill(io, cx)).await?;
        }
        Ok(body.finish())
    }

    async fn read_chunked(&mut self, limit: usize) -> Result<CleartextBody, Stop> {
        let mut body = CleartextBody::with_capacity(limit.min(BODY_READ));
        let mut chunked = Chunked::new();
        loop {
            let taken =
                chunked.decode(self.buffer.filled(), &mut body, limit).map_err(refusal_of)?;
            self.buffer.consume(taken);
            if chunked.is_done() {
                return Ok(body);
            }
            self.read(BODY_READ, Refusal::BodyTimeout).await?;
        }
    }

    async fn refuse(&mut self, refusal: Refusal) {
        let reply = self.door.enter().refuse(refusal);
        self.buffer.recycle();
        let _ = self.write_reply(&reply, false, true).await;
    }

    /// Head and body leave in one write: over TLS as one flight of records.
    async fn write_reply(
        &mut self,
        reply: &Reply,
        bodiless: bool,
        close: bool,
    ) -> Result<(), Stop> {
        let mut out = std::mem::take(&mut self.out);
        reply::write_head(&mut out, reply, close);
        let body: &[u8] =
            if bodiless || !reply::has_body(reply.status) { &[] } else { &reply.body };
        let outcome = self.write_all(&out, body).await;
        self.out = out;
        if outcome.is_err() {
            self.door.enter().note(ConnectionEvent::ReplyNotTaken);
        }
        outcome
    }

    async fn write_all(&mut self, head: &[u8], body: &[u8]) -> Result<(), Stop> {
        self.deadline.restart(self.terms.deadlines.reply);
        let mut pair = Pair { head, body };
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = pair.poll_write(&mut self.io, cx) {
                return Poll::Ready(outcome.map_err(|_| Stop::Close));
            }
            ready!(self.deadline.poll_over(cx));
            Poll::Ready(Err(Stop::Close))
        })
        .await
    }

    async fn close(mut self) {
        self.deadline.restart(LINGER);
        self.shut().await;
    }

    /// Ends our side, then takes what the client is still sending for a short while: closing at
    /// once would reset the connection and could destroy the reply on its way.
    async fn linger(mut self) {
        self.deadline.restart(LINGER);
        self.shut().await;
        let mut taken = 0;
        while taken < LINGER_BYTES {
            self.buffer.consume(usize::MAX);
            if self.read(BODY_READ, Refusal::BodyTimeout).await.is_err() {
                return;
            }
            taken += self.buffer.len();
        }
    }

    async fn shut(&mut self) {
        poll_fn(|cx| {
            if Pin::new(&mut self.io).poll_shutdown(cx).is_ready() {
                return Poll::Ready(());
            }
            self.deadline.poll_over(cx)
        })
        .await;
    }
}

/// Something has come within the deadline.
async fn timely(
    deadline: &mut Deadline,
    late: Refusal,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<usize>>,
) -> Result<(), Stop> {
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = poll(cx) {
            return Poll::Ready(match outcome {
                Ok(1..) => Ok(()),
                Ok(0) | Err(_) => Err(Stop::Close),
            });
        }
        ready!(deadline.poll_over(cx));
        Poll::Ready(Err(Stop::Refused(late)))
    })
    .await
}

fn refusal_of(error: ChunkError) -> Refusal {
    match error {
        ChunkError::Syntax => Refusal::BadFraming,
        ChunkError::TooLarge => Refusal::BodyTooLarge,
    }
}

/// What is left to write of a head and a body.
pub(crate) struct Pair<'a> {
    pub(crate) head: &'a [u8],
    pub(crate) body: &'a [u8],
}

impl Pair<'_> {
    /// Writes as much as the stream takes, then flushes; ready when everything is out.
    pub(crate) fn poll_write<IO: AsyncWrite + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.head.is_empty() || !self.body.is_empty() {
            let stream = Pin::new(&mut *io);
            let written = match (self.head, self.body) {
                (part, []) | ([], part) => stream.poll_write(cx, part),
                (head, body) => {
                    stream.poll_write_vectored(cx, &[IoSlice::new(head), IoSlice::new(body)])
                }
            };
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => self.advance(n),
            }
        }
        Pin::new(io).poll_flush(cx)
    }

    fn advance(&mut self, n: usize) {
        let of_head = n.min(self.head.len());
        self.head = self.head.get(of_head..).unwrap_or_default();
        self.body = self.body.get(n - of_head..).unwrap_or_default();
    }
}
