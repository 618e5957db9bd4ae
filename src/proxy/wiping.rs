//! The stream below rustls: wipes what rustls decrypted in place, counts what the kernel accepted.
//!
//! rustls decrypts records inside its own reused read buffer and hands the rest of that buffer to
//! the next read. When that read would block, the connection is at rest and the buffer is spare, so
//! it is filled with zeros, once after each time that something came. Must never look at the bytes
//! it carries.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::read_ahead::ReadAhead;

/// Wraps a socket.
#[derive(Debug)]
pub(crate) struct Wiping<IO> {
    inner: IO,
    written: u64,
    /// Something was read into the buffer since it was wiped.
    used: bool,
    /// Below TLS alone: what is read ahead is not wiped.
    ahead: Option<ReadAhead>,
}

impl<IO> Wiping<IO> {
    /// Wraps a socket that carries clear bytes.
    pub(crate) const fn new(inner: IO) -> Self {
        Self { inner, written: 0, used: true, ahead: None }
    }

    /// Wraps the socket of a TLS connection, which carries ciphertext.
    pub(crate) fn below_tls(inner: IO) -> Self {
        Self { inner, written: 0, used: true, ahead: Some(ReadAhead::default()) }
    }

    #[cfg(test)]
    pub(super) fn into_parts(self) -> (IO, Option<ReadAhead>) {
        (self.inner, self.ahead)
    }

    /// The socket, for questions to the kernel.
    pub(crate) const fn get_ref(&self) -> &IO {
        &self.inner
    }

    /// How many bytes the stream below has accepted so far.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    fn count(&mut self, outcome: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(n)) = outcome {
            self.written = self.written.saturating_add(n as u64);
        }
        outcome
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Wiping<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { inner, ahead, used, .. } = &mut *self;
        let outcome = match ahead {
            Some(ahead) => ahead.poll_read(inner, cx, buf),
            None => Pin::new(inner).poll_read(cx, buf),
        };
        if outcome.is_ready() {
            *used = true;
        } else if std::mem::take(used) {
            buf.initialize_unfilled().fill(0);
        }
        outcome
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Wiping<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.count(outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = Pin::new(&mut self.inner);
        // One part, as rustls mostly has, is sent by the cheaper system call.
        let outcome = match bufs {
            [whole] => stream.poll_write(cx, whole),
            parts => stream.poll_write_vectored(cx, parts),
        };
        self.count(outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::AsyncWriteExt;

    use super::*;

    async fn assert_waits_with_zeros(near: &mut Wiping<impl AsyncRead + Unpin>) {
        let mut store = *b"4111111111111111";
        let mut buf = ReadBuf::new(&mut store);
        poll_fn(|cx| {
            assert!(Pin::new(&mut *near).poll_read(cx, &mut buf).is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(store, [0; 16]);
    }

    #[tokio::test]
    async fn a_read_that_would_block_leaves_zeros_in_the_spare_buffer() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Wiping::new(near);
        assert_waits_with_zeros(&mut near).await;

        far.write_all(b"abc").await.unwrap();
        let mut store = *b"4111111111111111";
        let mut buf = ReadBuf::new(&mut store);
        poll_fn(|cx| Pin::new(&mut near).poll_read(cx, &mut buf)).await.unwrap();
        assert_eq!(buf.filled(), b"abc");
        // What came may have been decrypted there: the next wait wipes again.
        assert_waits_with_zeros(&mut near).await;
    }

    #[tokio::test]
    async fn only_bytes_the_stream_below_accepted_are_counted() {
        let (near, _far) = tokio::io::duplex(4);
        let mut near = Wiping::new(near);
        let first = poll_fn(|cx| Pin::new(&mut near).poll_write(cx, b"123456")).await.unwrap();
        assert_eq!((first, near.written()), (4, 4));
        poll_fn(|cx| {
            assert!(Pin::new(&mut near).poll_write(cx, b"56").is_pending());
            Poll::Ready(())
        })
        .await;
        assert_eq!(near.written(), 4);
    }
}
