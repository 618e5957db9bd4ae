//! The HTTP/1.1 side of a request that passes through.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Method, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::message::{Begin, Client, Door, Gone, Handler as _, Passing};
use super::super::stream::body::Remaining;
use super::head::Parsed;
use super::reply::{has_body, push_decimal, push_field};
use super::{BODY_READ, Connection, Stop};
use crate::secret::CleartextBody;

/// The client of one request.
struct Through<'c, 'a, IO, D> {
    connection: &'c mut Connection<'a, IO, D>,
    incoming: Remaining,
    out: CleartextBody,
    written: usize,
    chunked: bool,
    close: bool,
    bodiless: bool,
    /// All of the answer was handed over; and all of it is out.
    ended: bool,
    sent: bool,
}

impl<IO, D> Connection<'_, IO, D>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    D: Door,
{
    /// Hands a request over to be passed through. The connection goes on when the request and its
    /// answer are both known to be whole.
    pub(super) async fn pass(&mut self, room: &D::Room, parsed: Parsed) -> Result<(), Stop> {
        let Parsed { head, framing, expect_continue, close, websocket, .. } = parsed;
        let mut client = Through {
            incoming: Remaining::of(framing),
            out: CleartextBody::new(),
            written: 0,
            chunked: false,
            close: close || self.closing.is_near(),
            bodiless: head.method == Method::HEAD,
            ended: false,
            sent: false,
            connection: self,
        };
        room.pass(Passing { head, framing, expect_continue, websocket }, &mut client).await;
        let (received, sent, close) = (client.incoming.is_over(), client.sent, client.close);
        self.buffer.recycle();
        match (received && !close, sent) {
            (true, true) => Ok(()),
            (false, true) => Err(Stop::Linger),
            // Its framing tells that an answer was cut short; what followed would be its rest.
            (_, false) => Err(Stop::Close),
        }
    }
}

impl<IO, D> Client for Through<'_, '_, IO, D>
where
    IO: AsyncRead + AsyncWrite + Unpin + Send,
    D: Door,
{
    fn poll_body(
        &mut self,
        part: &mut CleartextBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Gone>> {
        loop {
            let buffer = &mut self.connection.buffer;
            let end = self.incoming.take(buffer, part).map_err(|_| Gone)?;
            if end || !part.is_empty() {
                return Poll::Ready(Ok(end));
            }
            match ready!(buffer.poll_fill(&mut self.connection.io, BODY_READ, cx)) {
                Ok(1..) => {}
                Ok(0) if self.incoming.may_end_anywhere() => return Poll::Ready(Ok(true)),
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
            }
        }
    }

    fn begin(&mut self, head: Begin) {
        let Begin { status, headers, length, body } = head;
        let mut text = Vec::with_capacity(1024);
        for part in ["HTTP/1.1 ", status.as_str(), " "] {
            text.extend_from_slice(part.as_bytes());
        }
        text.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes());
        text.extend_from_slice(b"\r\n");
        for (name, value) in &headers {
            push_field(&mut text, name, value.as_bytes());
        }
        if status == StatusCode::SWITCHING_PROTOCOLS {
            text.extend_from_slice(b"connection: upgrade\r\nupgrade: websocket\r\n");
            self.incoming = Remaining::Open;
            self.close = true;
        } else if !status.is_informational() {
            self.chunked = body && !self.bodiless && length.is_none();
            match length {
                Some(length) if has_body(status) || status == StatusCode::NOT_MODIFIED => {
                    text.extend_from_slice(b"content-length: ");
                    push_decimal(&mut text, usize::try_from(length).unwrap_or(usize::MAX));
                    text.extend_from_slice(b"\r\n");
                }
                None if self.chunked => {
                    text.extend_from_slice(b"transfer-encoding: chunked\r\n");
                }
                _ => {}
            }
            // What of the request has not come yet would be taken for the next one.
            self.close |= !self.incoming.is_over();
            if self.close {
                text.extend_from_slice(b"connection: close\r\n");
            }
        }
        text.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(&text);
    }

    fn push(&mut self, part: &[u8]) {
        if self.chunked {
            self.out.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        }
        self.out.extend_from_slice(part);
        if self.chunked {
            self.out.extend_from_slice(b"\r\n");
        }
    }

    fn end(&mut self) {
        self.ended = true;
        if self.chunked {
            self.out.extend_from_slice(b"0\r\n\r\n");
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let io = &mut self.connection.io;
        while let Some(rest @ [_, ..]) = self.out.as_bytes().get(self.written..) {
            match ready!(Pin::new(&mut *io).poll_write(cx, rest)) {
                Ok(n @ 1..) => self.written += n,
                Ok(0) | Err(_) => return Poll::Ready(Err(Gone)),
            }
        }
        self.out.clear();
        self.written = 0;
        ready!(Pin::new(io).poll_flush(cx)).map_err(|_| Gone)?;
        self.sent = self.ended;
        Poll::Ready(Ok(()))
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.closing.poll_closed(cx)
    }
}
