//! The shop's end of what passes through: writes the request as it comes, reads the answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite as _;

use super::super::answer::{self, AnswerHead};
use super::super::exchange::SendErrorKind;
use super::super::h1::head::HeadEnd;
use super::super::line::Line;
use super::super::message::Caps;
use super::body::Remaining;
use crate::secret::CleartextBody;

/// How much is read at once.
const READ: usize = 16 * 1024;

/// What came.
pub(super) enum Step {
    Head(AnswerHead),
    /// Bytes of the body, or its end.
    Part {
        end: bool,
    },
}

pub(super) struct Shop {
    line: Line,
    out: CleartextBody,
    written: usize,
    /// The request's body is written in chunks.
    chunked: bool,
    bodiless: bool,
    head_end: HeadEnd,
    incoming: Option<Remaining>,
}

impl Shop {
    pub(super) fn new(line: Line, head: CleartextBody, chunked: bool, bodiless: bool) -> Self {
        let head_end = HeadEnd::default();
        Self { line, out: head, written: 0, chunked, bodiless, head_end, incoming: None }
    }

    /// The connection, unless something of the request is still to be written.
    pub(super) fn into_line(mut self) -> Option<Line> {
        self.line.buffer.recycle();
        self.out.is_empty().then_some(self.line)
    }

    /// From now on bytes go both ways as they are.
    pub(super) fn open(&mut self) {
        self.chunked = false;
        self.incoming = Some(Remaining::Open);
    }

    /// Bytes of the request's body.
    pub(super) fn push(&mut self, part: &[u8]) {
        if self.chunked {
            self.out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        }
        self.out.extend_from_slice(part);
        if self.chunked {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    /// The request is whole.
    pub(super) fn end(&mut self) {
        if self.chunked {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    /// Ready when everything is written.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        let socket = &mut self.line.socket;
        while let Some(rest @ [_, ..]) = self.out.as_bytes().get(self.written..) {
            match ready!(Pin::new(&mut *socket).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into())),
                n => self.written += n,
            }
        }
        self.out.clear();
        self.written = 0;
        Pin::new(socket).poll_flush(cx)
    }

    /// The next head, or the next bytes behind `part`.
    pub(super) fn poll_answer(
        &mut self,
        part: &mut CleartextBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Step, SendErrorKind>> {
        let Some(incoming) = &mut self.incoming else { return self.poll_head(cx) };
        let Line { socket, buffer, .. } = &mut self.line;
        loop {
            let end = incoming.take(buffer, part).map_err(|_| SendErrorKind::BadAnswer)?;
            if end || !part.is_empty() {
                return Poll::Ready(Ok(Step::Part { end }));
            }
            match ready!(buffer.poll_fill(socket, READ, cx)) {
                Ok(1..) => {}
                // Over TLS an end without close_notify is an error: somebody cut it short.
                Ok(0) if incoming.may_end_anywhere() => {
                    return Poll::Ready(Ok(Step::Part { end: true }));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(SendErrorKind::HalfAnswer)),
            }
        }
    }

    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Step, SendErrorKind>> {
        let caps = Caps::default();
        let Line { socket, buffer, .. } = &mut self.line;
        loop {
            let found = self.head_end.find(buffer.filled(), &caps);
            if let Some(length) = found.map_err(|_| SendErrorKind::BadAnswer)? {
                let bytes = buffer.filled().get(..length).unwrap_or_default();
                let head = answer::parse_passing(bytes, self.bodiless)?;
                buffer.consume(length);
                self.head_end = HeadEnd::default();
                if !head.is_interim() {
                    self.incoming = Some(Remaining::of_answer(head.framing));
                }
                return Poll::Ready(Ok(Step::Head(head)));
            }
            match ready!(buffer.poll_fill(socket, caps.head_bytes, cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) if buffer.is_empty() => {
                    return Poll::Ready(Err(SendErrorKind::Reset));
                }
                Ok(0) | Err(_) => return Poll::Ready(Err(SendErrorKind::HalfAnswer)),
            }
        }
    }
}
