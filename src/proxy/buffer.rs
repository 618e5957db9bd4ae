//! One read buffer per connection: reused, bounded, wiped between messages.
//!
//! Must never grow beyond the bound it is asked with, and never keep bytes of a finished message.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, ReadBuf};

use crate::secret::CleartextBody;

/// What a connection at rest holds.
const AT_REST: usize = 4 * 1024;
/// How much of a body is made room for at once.
const AHEAD_MAX: usize = 16 * 1024;

/// Bytes read and not yet consumed are `start..end`; everything from `end` on is zeros.
pub(crate) struct ReadBuffer {
    bytes: CleartextBody,
    start: usize,
    end: usize,
}

impl ReadBuffer {
    pub(crate) fn new() -> Self {
        Self { bytes: zeros(AT_REST), start: 0, end: 0 }
    }

    /// What has been read and not consumed.
    pub(crate) fn filled(&self) -> &[u8] {
        self.bytes.as_bytes().get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) const fn len(&self) -> usize {
        self.end - self.start
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes `n` bytes off the front. They stay in memory until the next [`ReadBuffer::recycle`] or
    /// until the buffer runs empty.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.end.min(self.start.saturating_add(n));
        if self.is_empty() {
            self.wipe();
        }
    }

    /// A message is over: unread bytes move to the front, every other byte becomes zero, and a
    /// buffer that had to grow is given back.
    pub(crate) fn recycle(&mut self) {
        if self.is_empty() {
            self.wipe();
        } else {
            self.compact();
        }
        if self.bytes.len() > AT_REST && self.end <= AT_REST {
            self.resize(AT_REST);
        }
    }

    /// Reads once. `Ok(0)` is the end of the stream, or a buffer that already holds `bound` bytes:
    /// ask [`ReadBuffer::len`] before.
    pub(crate) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        bound: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let mut spare = ReadBuf::new(self.spare(bound));
        ready!(Pin::new(io).poll_read(cx, &mut spare))?;
        let n = spare.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }

    fn spare(&mut self, bound: usize) -> &mut [u8] {
        if self.end == self.bytes.len() && self.start > 0 {
            self.compact();
        }
        if self.end == self.bytes.len() && self.end < bound {
            self.resize((self.end * 2).clamp(AT_REST, bound));
        }
        let end = self.end;
        self.bytes.as_mut_bytes().get_mut(end..).unwrap_or_default()
    }

    fn compact(&mut self) {
        let (start, end) = (self.start, self.end);
        let bytes = self.bytes.as_mut_bytes();
        bytes.copy_within(start..end, 0);
        if let Some(rest) = bytes.get_mut(end - start..end) {
            rest.fill(0);
        }
        (self.start, self.end) = (0, end - start);
    }

    fn wipe(&mut self) {
        let end = self.end;
        if let Some(used) = self.bytes.as_mut_bytes().get_mut(..end) {
            used.fill(0);
        }
        (self.start, self.end) = (0, 0);
    }

    /// The old allocation wipes itself when it is dropped.
    fn resize(&mut self, size: usize) {
        let mut bytes = zeros(size.max(self.len()));
        let unread = self.len();
        if let Some(front) = bytes.as_mut_bytes().get_mut(..unread) {
            front.copy_from_slice(self.filled());
        }
        *self = Self { bytes, start: 0, end: unread };
    }
}

/// A body of known length, read straight into its place. Memory is touched a little ahead of what
/// has come, so that a sender who only announces much takes none.
pub(crate) struct Gathering {
    bytes: CleartextBody,
    len: usize,
    length: usize,
}

impl Gathering {
    pub(crate) fn of(length: usize) -> Self {
        Self { bytes: CleartextBody::with_capacity(length), len: 0, length }
    }

    /// Takes what has been read already.
    pub(crate) fn take(&mut self, buffer: &mut ReadBuffer) {
        let filled = buffer.filled();
        let part = filled.get(..filled.len().min(self.length - self.len)).unwrap_or_default();
        let taken = part.len();
        self.bytes.extend_from_slice(part);
        self.len += taken;
        buffer.consume(taken);
    }

    pub(crate) const fn is_whole(&self) -> bool {
        self.len == self.length
    }

    /// Reads once, never beyond the end of the body. `Ok(0)` is the end of the stream, as long as
    /// the body is not whole.
    pub(crate) fn poll_fill<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if self.len == self.bytes.len() {
            let ahead = self.len.clamp(AT_REST, AHEAD_MAX);
            self.bytes.extend_zeros(ahead.min(self.length - self.len));
        }
        let room = self.bytes.as_mut_bytes().get_mut(self.len..).unwrap_or_default();
        let mut spare = ReadBuf::new(room);
        ready!(Pin::new(io).poll_read(cx, &mut spare))?;
        let n = spare.filled().len();
        self.len += n;
        Poll::Ready(Ok(n))
    }

    /// The body; what is missing of it is missing.
    pub(crate) fn finish(mut self) -> CleartextBody {
        self.bytes.truncate(self.len);
        self.bytes
    }
}

impl fmt::Debug for ReadBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBuffer({} bytes)", self.len())
    }
}

fn zeros(size: usize) -> CleartextBody {
    CleartextBody::from(vec![0; size])
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    async fn fill(buffer: &mut ReadBuffer, mut from: &[u8], bound: usize) -> usize {
        poll_fn(|cx| buffer.poll_fill(&mut from, bound, cx)).await.unwrap()
    }

    #[tokio::test]
    async fn consumed_bytes_are_zeros_after_recycling_and_unread_bytes_survive() {
        let mut buffer = ReadBuffer::new();
        fill(&mut buffer, b"4111111111111111next", AT_REST).await;
        buffer.consume(16);
        buffer.recycle();
        assert_eq!(buffer.filled(), b"next");
        assert!(buffer.bytes.as_bytes()[4..].iter().all(|&b| b == 0));
        buffer.consume(4);
        assert!(buffer.bytes.as_bytes().iter().all(|&b| b == 0));
    }

    #[tokio::test]
    async fn the_buffer_grows_up_to_the_bound_and_shrinks_again() {
        let mut buffer = ReadBuffer::new();
        let data = vec![b'x'; 100_000];
        let mut from = data.as_slice();
        let bound = 10_000;
        while poll_fn(|cx| buffer.poll_fill(&mut from, bound, cx)).await.unwrap() > 0 {}
        assert_eq!(buffer.len(), bound);
        buffer.consume(bound - 3);
        buffer.recycle();
        assert_eq!((buffer.filled(), buffer.bytes.len()), (&b"xxx"[..], AT_REST));
    }

    #[tokio::test]
    async fn a_body_is_gathered_to_its_end_and_not_beyond() {
        let data: Vec<u8> = (0..50_000u32).map(|n| n.to_le_bytes()[0] | 1).collect();
        let mut from = data.as_slice();
        let mut buffer = ReadBuffer::new();
        poll_fn(|cx| buffer.poll_fill(&mut from, AT_REST, cx)).await.unwrap();
        let mut body = Gathering::of(40_000);
        body.take(&mut buffer);
        assert_eq!((body.len, body.bytes.len(), buffer.len()), (AT_REST, AT_REST, 0));
        while !body.is_whole() {
            poll_fn(|cx| body.poll_fill(&mut from, cx)).await.unwrap();
            assert!(body.bytes.len() <= body.len + AHEAD_MAX);
        }
        assert_eq!((body.finish().as_bytes(), from.len()), (&data[..40_000], 10_000));
    }

    #[tokio::test]
    async fn what_follows_a_body_stays_in_the_buffer() {
        let mut buffer = ReadBuffer::new();
        fill(&mut buffer, b"bodynext", AT_REST).await;
        let mut body = Gathering::of(4);
        body.take(&mut buffer);
        assert!(body.is_whole());
        assert_eq!((body.finish().as_bytes(), buffer.filled()), (&b"body"[..], &b"next"[..]));
    }

    #[test]
    fn debug_shows_a_length_only() {
        let mut buffer = ReadBuffer::new();
        buffer.bytes.as_mut_bytes()[..4].copy_from_slice(b"4111");
        buffer.end = 4;
        assert_eq!(format!("{buffer:?}"), "ReadBuffer(4 bytes)");
    }
}
