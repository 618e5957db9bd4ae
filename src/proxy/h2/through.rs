//! The HTTP/2 side of a request that passes through.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Response, header};

use super::super::message::{Begin, Client, Gone};
use crate::secret::CleartextBody;

/// The client of one stream.
pub(super) struct Through<'r> {
    respond: &'r mut SendResponse<Bytes>,
    body: RecvStream,
    stream: Option<SendStream<Bytes>>,
    out: BytesMut,
    broken: bool,
    /// All of the answer was handed over; and all of it is out.
    ended: bool,
    sent: bool,
}

impl<'r> Through<'r> {
    pub(super) fn new(respond: &'r mut SendResponse<Bytes>, body: RecvStream) -> Self {
        let (stream, out) = (None, BytesMut::new());
        Self { respond, body, stream, out, broken: false, ended: false, sent: false }
    }

    /// Resets a stream whose answer is not whole.
    pub(super) fn finish(mut self) {
        if self.sent {
            return;
        }
        match &mut self.stream {
            Some(stream) => stream.send_reset(Reason::INTERNAL_ERROR),
            None => self.respond.send_reset(Reason::INTERNAL_ERROR),
        }
    }
}

impl Client for Through<'_> {
    fn poll_body(
        &mut self,
        part: &mut CleartextBody,
        cx: &mut Context<'_>,
    ) -> Poll<Result<bool, Gone>> {
        match ready!(self.body.poll_data(cx)) {
            Some(Ok(data)) => {
                part.extend_from_slice(&data);
                // Room for as much again: this part is on its way before the next is asked for.
                let _ = self.body.flow_control().release_capacity(data.len());
                Poll::Ready(Ok(self.body.is_end_stream()))
            }
            Some(Err(_)) => Poll::Ready(Err(Gone)),
            None => Poll::Ready(Ok(true)),
        }
    }

    fn begin(&mut self, head: Begin) {
        let Begin { status, headers, length, body } = head;
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        if status.is_informational() {
            self.broken |= self.respond.send_informational(response).is_err();
            return;
        }
        if let Some(length) = length {
            response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        match self.respond.send_response(response, !body) {
            Ok(stream) => self.stream = Some(stream),
            Err(_) => self.broken = true,
        }
        self.sent = !body;
    }

    fn push(&mut self, part: &[u8]) {
        self.out.extend_from_slice(part);
    }

    fn end(&mut self) {
        self.ended = true;
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        if self.broken {
            return Poll::Ready(Err(Gone));
        }
        let Some(stream) = &mut self.stream else {
            let gone = self.respond.poll_reset(cx).is_ready();
            return Poll::Ready(if gone { Err(Gone) } else { Ok(()) });
        };
        while !self.out.is_empty() {
            stream.reserve_capacity(self.out.len());
            if stream.capacity() == 0 {
                match ready!(stream.poll_capacity(cx)) {
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(Err(Gone)),
                }
            }
            let n = stream.capacity().min(self.out.len());
            stream.send_data(self.out.split_to(n).freeze(), false).map_err(|_| Gone)?;
        }
        if self.ended && !self.sent {
            stream.send_data(Bytes::new(), true).map_err(|_| Gone)?;
            self.sent = true;
        }
        if !self.sent && stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Gone));
        }
        Poll::Ready(Ok(()))
    }

    /// Streams end by themselves; only a tunnel would have to be told, and HTTP/2 has none here.
    fn poll_closing(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}
