//! Reads long messages in fewer calls: rustls asks the stream below for 4 KiB at a time.
//!
//! A read that leaves no room shows that more is waiting; the next one takes a large part at once
//! and serves it from memory that is given back with its last byte. Carries ciphertext only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// A record of TLS and a little more.
const PART: usize = 20 * 1024;

/// What was read ahead of one connection, and whether to read ahead again.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    /// The last read took as much as it asked for.
    more: bool,
    part: Vec<u8>,
    served: usize,
}

impl ReadAhead {
    /// Reads `io` into `buf`, now or earlier.
    pub(crate) fn poll_read<IO: AsyncRead + Unpin>(
        &mut self,
        io: &mut IO,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.part.is_empty() {
            if !std::mem::take(&mut self.more) {
                ready!(Pin::new(io).poll_read(cx, buf))?;
                self.more = buf.remaining() == 0;
                return Poll::Ready(Ok(()));
            }
            let mut part = vec![0; PART];
            let mut room = ReadBuf::new(&mut part);
            ready!(Pin::new(io).poll_read(cx, &mut room))?;
            let come = room.filled().len();
            part.truncate(come);
            (self.part, self.more) = (part, come == PART);
        }
        self.serve(buf);
        Poll::Ready(Ok(()))
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::super::wiping::Wiping;
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
        let mut stream = Wiping::below_tls(Counted(data, 0));
        let (mut read, mut part) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut part).await.unwrap() {
                0 => break,
                n => read.extend_from_slice(&part[..n]),
            }
        }
        let (counted, ahead) = stream.into_parts();
        assert!(ahead.unwrap().part.capacity() == 0, "nothing is kept at rest");
        (read, counted.1)
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
        let mut stream = Wiping::below_tls(near);
        let sent: Vec<u8> = (0..30_000u32).map(|n| n as u8).collect();
        let (first, second) = sent.split_at(4096);
        let mut read = vec![0; 4096];
        far.write_all(first).await.unwrap();
        stream.read_exact(&mut read).await.unwrap();
        let mut rest = vec![0; second.len()];
        let waiting = tokio::time::timeout(std::time::Duration::ZERO, stream.read(&mut rest));
        assert!(waiting.await.is_err());
        far.write_all(second).await.unwrap();
        stream.read_exact(&mut rest).await.unwrap();
        assert!([read, rest].concat() == sent);
    }
}
