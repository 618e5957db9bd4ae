//! One connection to a provider: writes a request, reads its answer.
//!
//! Must never write anything twice, never take an answer for whole that is not, and never wait
//! beyond the exchange's deadline.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::task::unconstrained;
use tokio::time::Instant;

use super::answer::{self, AnswerFraming, AnswerHead};
use super::buffer::{Gathering, ReadBuffer};
use super::chunked::{ChunkError, Chunked};
use super::clock::Deadline;
use super::dial::Socket;
use super::exchange::{Answer, SendErrorKind};
use super::h1::Pair;
use super::h1::head::HeadEnd;
use super::message::Caps;
use super::peer::Address;
use crate::secret::CleartextBody;

/// Interim answers skipped before the final one.
const INTERIM_MAX: usize = 8;
/// How much of an answer is read at once.
const READ: usize = 16 * 1024;

/// One connection to a provider.
pub(crate) struct Line {
    pub(super) socket: Socket,
    pub(super) buffer: ReadBuffer,
    deadline: Deadline,
    /// Where it leads, when the configuration names the host.
    address: Option<Arc<Address>>,
}

impl Line {
    pub(crate) fn new(socket: Socket) -> Self {
        Self::to(socket, None)
    }

    pub(crate) fn to(socket: Socket, address: Option<Arc<Address>>) -> Self {
        let deadline = Deadline::after(Duration::ZERO);
        Self { socket, buffer: ReadBuffer::new(), deadline, address }
    }

    /// Whether it leads where the host was once.
    pub(crate) fn is_astray(&self) -> bool {
        self.address.as_ref().is_some_and(|address| address.is_gone())
    }

    /// Bytes the kernel has accepted since the connection was opened.
    pub(crate) fn written(&self) -> u64 {
        self.socket.written()
    }

    /// Nothing has arrived that was not asked for, not even the end of the connection.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.is_at_rest() && self.socket.is_still()
    }

    /// The same as far as the runtime has heard.
    pub(crate) fn is_at_rest(&mut self) -> bool {
        let (buffer, socket) = (&mut self.buffer, &mut self.socket);
        if !buffer.is_empty() {
            return false;
        }
        // A task that has used up its share of polls would find every connection silent.
        let mut read = pin!(unconstrained(poll_fn(|cx| buffer.poll_fill(socket, READ, cx))));
        read.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }

    /// Everything that follows is over at that moment, or has failed as [`SendErrorKind::Silent`].
    pub(crate) const fn until(&mut self, moment: Instant) {
        self.deadline.restart_until(moment);
    }

    /// Writes head and body as one.
    pub(crate) async fn write(
        &mut self,
        head: &CleartextBody,
        body: &CleartextBody,
    ) -> Result<(), SendErrorKind> {
        let mut pair = Pair { head: head.as_bytes(), body: body.as_bytes() };
        poll_fn(|cx| {
            if let Poll::Ready(outcome) = pair.poll_write(&mut self.socket, cx) {
                return Poll::Ready(outcome.map_err(|_| SendErrorKind::Write));
            }
            ready!(self.deadline.poll_over(cx));
            Poll::Ready(Err(SendErrorKind::Silent))
        })
        .await
    }

    /// The final answer, and whether the connection may be used again.
    pub(crate) async fn read_answer(
        &mut self,
        bodiless: bool,
        limit: usize,
    ) -> Result<(Answer, bool), SendErrorKind> {
        let head = self.read_final_head(bodiless).await?;
        let body = match head.framing {
            AnswerFraming::Empty => CleartextBody::with_capacity(0),
            AnswerFraming::Length(length) => self.read_exactly(length, limit).await?,
            AnswerFraming::Chunked => self.read_chunked(limit).await?,
            AnswerFraming::Close => self.read_to_end(limit).await?,
        };
        self.buffer.recycle();
        Ok((Answer { status: head.status, headers: head.headers, body }, head.reusable))
    }

    async fn read_final_head(&mut self, bodiless: bool) -> Result<AnswerHead, SendErrorKind> {
        for _ in 0..=INTERIM_MAX {
            let length = self.await_head().await?;
            let bytes = self.buffer.filled().get(..length).unwrap_or_default();
            let head = answer::parse(bytes, bodiless)?;
            self.buffer.consume(length);
            if !head.is_interim() {
                return Ok(head);
            }
        }
        Err(SendErrorKind::BadAnswer)
    }

    async fn await_head(&mut self) -> Result<usize, SendErrorKind> {
        let caps = Caps::default();
        let mut end = HeadEnd::default();
        loop {
            let found = end.find(self.buffer.filled(), &caps);
            if let Some(length) = found.map_err(|_| SendErrorKind::BadAnswer)? {
                return Ok(length);
            }
            match self.fill(caps.head_bytes).await? {
                Some(1..) => {}
                _ if self.buffer.is_empty() => return Err(SendErrorKind::Reset),
                _ => return Err(SendErrorKind::HalfAnswer),
            }
        }
    }

    async fn read_exactly(
        &mut self,
        length: u64,
        limit: usize,
    ) -> Result<CleartextBody, SendErrorKind> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > limit {
            return Err(SendErrorKind::AnswerTooLarge);
        }
        let mut body = Gathering::of(length);
        body.take(&mut self.buffer);
        while !body.is_whole() {
            let (socket, deadline) = (&mut self.socket, &mut self.deadline);
            more(timely(deadline, |cx| body.poll_fill(socket, cx)).await?)?;
        }
        Ok(body.finish())
    }

    async fn read_chunked(&mut self, limit: usize) -> Result<CleartextBody, SendErrorKind> {
        let mut body = CleartextBody::with_capacity(0);
        let mut chunked = Chunked::new();
        loop {
            let taken = chunked.decode(self.buffer.filled(), &mut body, limit).map_err(kind_of)?;
            self.buffer.consume(taken);
            if chunked.is_done() {
                return Ok(body);
            }
            self.fill_more().await?;
        }
    }

    async fn read_to_end(&mut self, limit: usize) -> Result<CleartextBody, SendErrorKind> {
        let mut body = CleartextBody::with_capacity(0);
        loop {
            self.move_into(&mut body, limit);
            if !self.buffer.is_empty() {
                return Err(SendErrorKind::AnswerTooLarge);
            }
            // Over TLS an end without close_notify is an error: somebody cut the answer short.
            match self.fill(READ).await? {
                Some(0) => return Ok(body),
                Some(_) => {}
                None => return Err(SendErrorKind::HalfAnswer),
            }
        }
    }

    /// Moves bytes from the read buffer until `body` has `length`.
    fn move_into(&mut self, body: &mut CleartextBody, length: usize) {
        let filled = self.buffer.filled();
        let part = filled.get(..filled.len().min(length - body.len())).unwrap_or_default();
        body.extend_from_slice(part);
        let taken = part.len();
        self.buffer.consume(taken);
    }

    async fn fill_more(&mut self) -> Result<(), SendErrorKind> {
        more(self.fill(READ).await?)
    }

    /// How many bytes came, or none when the connection broke.
    async fn fill(&mut self, bound: usize) -> Result<Option<usize>, SendErrorKind> {
        let (buffer, socket) = (&mut self.buffer, &mut self.socket);
        timely(&mut self.deadline, |cx| buffer.poll_fill(socket, bound, cx)).await
    }
}

async fn timely(
    deadline: &mut Deadline,
    mut poll: impl FnMut(&mut Context<'_>) -> Poll<io::Result<usize>>,
) -> Result<Option<usize>, SendErrorKind> {
    poll_fn(|cx| {
        if let Poll::Ready(outcome) = poll(cx) {
            return Poll::Ready(Ok(outcome.ok()));
        }
        ready!(deadline.poll_over(cx));
        Poll::Ready(Err(SendErrorKind::Silent))
    })
    .await
}

/// An answer that has begun has to go on.
const fn more(come: Option<usize>) -> Result<(), SendErrorKind> {
    match come {
        Some(1..) => Ok(()),
        Some(0) | None => Err(SendErrorKind::HalfAnswer),
    }
}

fn kind_of(error: ChunkError) -> SendErrorKind {
    match error {
        ChunkError::Syntax => SendErrorKind::BadAnswer,
        ChunkError::TooLarge => SendErrorKind::AnswerTooLarge,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::wiping::Wiping;
    use super::*;

    async fn line() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        let mut line = Line::new(Socket::Plain(Wiping::new(near)));
        line.until(Instant::now() + Duration::from_secs(5));
        (line, far)
    }

    fn bytes(text: &[u8]) -> CleartextBody {
        CleartextBody::from(text.to_vec())
    }

    #[tokio::test]
    async fn a_write_of_which_the_kernel_took_nothing_is_known_as_such() {
        let (mut line, far) = line().await;
        #[expect(deprecated, reason = "the only way to make this end reset the connection")]
        far.set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let outcome = line.write(&bytes(b"head"), &bytes(b"body")).await;
        assert_eq!((outcome, line.socket.written()), (Err(SendErrorKind::Write), 0));
    }

    #[tokio::test]
    async fn head_and_body_arrive_as_one() {
        let (mut line, mut far) = line().await;
        line.write(&bytes(b"head"), &bytes(b"body")).await.unwrap();
        let mut buf = [0; 16];
        let n = far.read(&mut buf).await.unwrap();
        assert_eq!((buf.get(..n), line.socket.written()), (Some(&b"headbody"[..]), 8));
        assert!(line.is_silent());
    }
}
