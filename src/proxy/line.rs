//! One connection to a provider: writes a request, reads its answer.
//!
//! Must never write anything twice, and never take an answer for whole that is not.

use std::future::poll_fn;
use std::task::{Context, Waker};

use super::answer::{self, AnswerFraming, AnswerHead};
use super::buffer::ReadBuffer;
use super::chunked::{ChunkError, Chunked};
use super::dial::Socket;
use super::exchange::{Answer, SendErrorKind};
use super::h1::Pair;
use super::h1::head::HeadEnd;
use super::message::Caps;
use crate::secret::CleartextBody;

/// Interim answers skipped before the final one.
const INTERIM_MAX: usize = 8;
/// How much of an answer is read at once.
const READ: usize = 16 * 1024;

/// One connection to a provider.
pub(crate) struct Line {
    socket: Socket,
    buffer: ReadBuffer,
}

impl Line {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, buffer: ReadBuffer::new() }
    }

    /// Bytes the kernel has accepted since the connection was opened.
    pub(crate) fn written(&self) -> u64 {
        self.socket.written()
    }

    /// Nothing has arrived that was not asked for, not even the end of the connection.
    pub(crate) fn is_silent(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.buffer.is_empty()
            && self.buffer.poll_fill(&mut self.socket, READ, &mut cx).is_pending()
    }

    /// Writes head and body as one; `on_first_byte` runs when the kernel has taken the first byte.
    pub(crate) async fn write(
        &mut self,
        head: &CleartextBody,
        body: &CleartextBody,
        on_first_byte: impl FnOnce() + Send,
    ) -> Result<(), SendErrorKind> {
        let before = self.socket.written();
        let mut on_first_byte = Some(on_first_byte);
        let mut pair = Pair { head: head.as_bytes(), body: body.as_bytes() };
        poll_fn(|cx| {
            let outcome = pair.poll_write(&mut self.socket, cx);
            if self.socket.written() > before
                && let Some(tell) = on_first_byte.take()
            {
                tell();
            }
            outcome.map_err(|_| SendErrorKind::Write)
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
            match self.fill(caps.head_bytes).await {
                Ok(0) | Err(()) if self.buffer.is_empty() => return Err(SendErrorKind::Reset),
                Ok(0) | Err(()) => return Err(SendErrorKind::HalfAnswer),
                Ok(_) => {}
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
        let mut body = CleartextBody::with_capacity(length);
        loop {
            self.move_into(&mut body, length);
            if body.len() == length {
                return Ok(body);
            }
            self.fill_more().await?;
        }
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
            match self.fill(READ).await {
                Ok(0) => return Ok(body),
                Ok(_) => {}
                Err(()) => return Err(SendErrorKind::HalfAnswer),
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
        match self.fill(READ).await {
            Ok(1..) => Ok(()),
            Ok(0) | Err(()) => Err(SendErrorKind::HalfAnswer),
        }
    }

    async fn fill(&mut self, bound: usize) -> Result<usize, ()> {
        poll_fn(|cx| self.buffer.poll_fill(&mut self.socket, bound, cx)).await.map_err(|_| ())
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
    use std::time::Duration;

    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::wiping::Wiping;
    use super::*;

    async fn line() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (Line::new(Socket::Plain(Wiping::new(near))), far)
    }

    fn bytes(text: &[u8]) -> CleartextBody {
        CleartextBody::from(text.to_vec())
    }

    #[tokio::test]
    async fn a_write_of_which_the_kernel_took_nothing_is_not_a_first_byte() {
        let (mut line, far) = line().await;
        #[expect(deprecated, reason = "the only way to make this end reset the connection")]
        far.set_linger(Some(Duration::ZERO)).unwrap();
        drop(far);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let mut told = false;
        let outcome = line.write(&bytes(b"head"), &bytes(b"body"), || told = true).await;
        assert_eq!(outcome, Err(SendErrorKind::Write));
        assert_eq!((line.socket.written(), told), (0, false));
    }

    #[tokio::test]
    async fn head_and_body_arrive_as_one_and_the_first_byte_is_told_once() {
        let (mut line, mut far) = line().await;
        let mut told = 0;
        line.write(&bytes(b"head"), &bytes(b"body"), || told += 1).await.unwrap();
        let mut buf = [0; 16];
        let n = far.read(&mut buf).await.unwrap();
        assert_eq!((buf.get(..n), told, line.socket.written()), (Some(&b"headbody"[..]), 1, 8));
        assert!(line.is_silent());
    }
}
