//! Ends a connection without destroying what is still on its way.
//!
//! Closing a socket while the client is still sending resets the connection, and a reset may
//! overtake the reply. So our side is ended first, and what still comes in is thrown away for a
//! short while.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock::Deadline;

/// How long a client may go on sending after we ended our side.
pub(crate) const LINGER: Duration = Duration::from_secs(2);
/// How much it may send.
pub(crate) const LINGER_BYTES: usize = 256 * 1024;

/// A stream whose shutdown lingers.
pub(crate) struct Lingering<IO> {
    inner: IO,
    /// Set when our side has been asked to end.
    deadline: Option<Deadline>,
    ended: bool,
    taken: usize,
}

impl<IO> Lingering<IO> {
    pub(crate) const fn new(inner: IO) -> Self {
        Self { inner, deadline: None, ended: false, taken: 0 }
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Lingering<IO> {
    /// Ready when the client has ended its side, broken it, or sent too much.
    fn poll_drained(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ended {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            self.ended = true;
        }
        let mut store = [0; 1024];
        while self.taken < LINGER_BYTES {
            let mut spare = ReadBuf::new(&mut store);
            ready!(Pin::new(&mut self.inner).poll_read(cx, &mut spare))?;
            match spare.filled().len() {
                0 => break,
                n => self.taken += n,
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Lingering<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<IO: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Lingering<IO> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if let Poll::Ready(outcome) = this.poll_drained(cx) {
            return Poll::Ready(outcome);
        }
        let deadline = this.deadline.get_or_insert_with(|| Deadline::after(LINGER));
        ready!(deadline.poll_over(cx));
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::{Instant, sleep};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn shutdown_ends_when_the_client_ends() {
        let (near, mut far) = tokio::io::duplex(64);
        let mut near = Lingering::new(near);
        let client = tokio::spawn(async move {
            far.write_all(&[b'x'; 500]).await.unwrap();
            sleep(Duration::from_secs(1)).await;
            assert_eq!(far.read(&mut [0; 9]).await.unwrap(), 0);
        });
        let begun = Instant::now();
        near.shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(1));
        client.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn shutdown_waits_neither_long_nor_for_much() {
        let (near, far) = tokio::io::duplex(64);
        let begun = Instant::now();
        Lingering::new(near).shutdown().await.unwrap();
        assert_eq!(begun.elapsed(), LINGER);
        drop(far);

        let (near, mut far) = tokio::io::duplex(4096);
        tokio::spawn(async move { while far.write_all(&[b'x'; 4096]).await.is_ok() {} });
        let begun = Instant::now();
        Lingering::new(near).shutdown().await.unwrap();
        assert!(begun.elapsed() < Duration::from_millis(10));
    }
}
