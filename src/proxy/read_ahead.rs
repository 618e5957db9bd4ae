//! Reads long messages in fewer calls: rustls asks the stream below for 4 KiB at a time.
//!
//! A read that leaves no room shows that more is waiting; the next one takes a large part at once
//! and serves it from memory that is given back with its last byte. Carries ciphertext only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A record of TLS and a little more.
const PART: usize = 20 * 1024;

/// Wraps the socket of a TLS connection.
#[derive(Debug)]
pub(crate) struct ReadAhead<IO> {
    inner: IO,
    /// The last read took as much as it asked for.
    more: bool,
    part: Vec<u8>,
    served: usize,
}

impl<IO> ReadAhead<IO> {
    /// Wraps `inner`.
    pub(crate) const fn new(inner: IO) -> Self {
        Self { inner, more: false, part: Vec::new(), served: 0 }
    }

    fn serve(&mut self, buf: &mut ReadBuf<'_>) {
        let rest = self.part.get(self.served..).unwrap_or_default();
        let served = rest.get(..rest.len().min(buf.remaining())).unwrap_or_default();
        buf.put_slice(served);
        self.served += served.len();
        if self.served == self.part.len() {
            (self.part, self.served) = (Vec::new(), 0);
        }
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for ReadAhead<IO> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.part.is_empty() {
            if !std::mem::take(&mut this.more) {
                ready!(Pin::new(&mut this.inner).poll_read(cx, buf))?;
                this.more = buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            let mut part = vec![0; PART];
            let mut room = ReadBuf::new(&mut part);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut room))?;
            let come = room.filled().len();
            part.truncate(come);
            (this.part, this.more) = (part, come == PART);
        }
        this.serve(buf);
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for ReadAhead<IO> {
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
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A stream that counts how often it is read.
    struct Counted<'a>(&'a [u8], usize);

    impl AsyncRead for Counted<'_> {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            self.1 += 1;
            Pin::new(&mut self.0).poll_read(cx, buf)
        }
    }

    async fn read_in_parts(data: &[u8]) -> (Vec<u8>, usize) {
        let mut stream = ReadAhead::new(Counted(data, 0));
        let (mut read, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut part).await.unwrap() {
                0 => break,
                n => read.extend_from_slice(&part[..n]),
            }
        }
        assert!(stream.part.capacity() == 0, "nothing is kept at rest");
        (read, stream.inner.1)
    }

    #[tokio::test]
    async fn a_long_message_is_read_whole_in_few_reads() {
        for length in [0, 1, 4095, 4096, 4097, 8192, 4096 + PART, 61_440, 100_000] {
            let data: Vec<u8> = (0..length as u32).map(|n| n.wrapping_mul(7) as u8).collect();
            let (read, reads) = read_in_parts(&data).await;
            assert!(read == data, "{length}");
            assert!(reads <= 3 + length / PART, "{length}: {reads}");
        }
    }

    #[tokio::test]
    async fn a_wait_in_the_middle_loses_nothing() {
        let (near, mut far) = tokio::io::duplex(64 * 1024);
        let mut stream = ReadAhead::new(near);
        let sent: Vec<u8> = (0..30_000u32).map(|n| n as u8).collect();
        let (first, second) = sent.split_at(4096);
        let mut read = vec![0; 4096];
        tokio::io::AsyncWriteExt::write_all(&mut far, first).await.unwrap();
        stream.read_exact(&mut read).await.unwrap();
        let mut rest = vec![0; second.len()];
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, stream.read(&mut rest));
        assert!(waiting.await.is_err());
        tokio::io::AsyncWriteExt::write_all(&mut far, second).await.unwrap();
        stream.read_exact(&mut rest).await.unwrap();
        assert!([read, rest].concat() == sent);
    }
}
