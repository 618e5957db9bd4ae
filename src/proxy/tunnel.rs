//! A tunnel through an HTTP proxy: CONNECT, and nothing of ours in clear behind it.
//!
//! The proxy's answer is read strictly, up to a bound, and never shown to anybody. Must never: take
//! bytes for the other side's that the proxy sent.

use std::future::poll_fn;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use crate::secret::CleartextBody;

use super::answer;
use super::buffer::ReadBuffer;
use super::exchange::SendErrorKind;
use super::h1::head::HeadEnd;
use super::message::Caps;

/// Longest head of the proxy's answer.
const HEAD_MAX: usize = 8 * 1024;

/// Asks for a tunnel to `place`, a name or address with its port. The caller bounds the time.
pub(super) async fn open<IO: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut IO,
    place: &str,
    authorization: Option<&CleartextBody>,
) -> Result<(), SendErrorKind> {
    let request = request(place, authorization);
    stream.write_all(request.as_bytes()).await.map_err(|_| SendErrorKind::ProxyFailed)?;
    match status(stream).await? {
        200..=299 => Ok(()),
        _ => Err(SendErrorKind::ProxyRefused),
    }
}

fn request(place: &str, authorization: Option<&CleartextBody>) -> CleartextBody {
    let credentials = authorization.map_or(&[][..], CleartextBody::as_bytes);
    // Large enough for all of it: growing would leave the password behind.
    let mut request = CleartextBody::with_capacity(96 + 2 * place.len() + credentials.len());
    let parts = ["CONNECT ", place, " HTTP/1.1\r\nhost: ", place, "\r\n"];
    parts.iter().for_each(|part| request.extend_from_slice(part.as_bytes()));
    if !credentials.is_empty() {
        request.extend_from_slice(b"proxy-authorization: ");
        request.extend_from_slice(credentials);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    request
}

/// The status of the proxy's answer. Whoever is behind the proxy speaks only when spoken to, so
/// bytes behind the head of a granted tunnel are nobody's.
async fn status<IO: AsyncRead + Unpin>(stream: &mut IO) -> Result<u16, SendErrorKind> {
    let failed = SendErrorKind::ProxyFailed;
    let caps = Caps { head_bytes: HEAD_MAX, ..Caps::default() };
    let (mut buffer, mut end) = (ReadBuffer::new(), HeadEnd::default());
    loop {
        if let Some(length) = end.find(buffer.filled(), &caps).map_err(|_| failed)? {
            let bytes = buffer.filled().get(..length).unwrap_or_default();
            let head = answer::parse_passing(bytes, true).map_err(|_| failed)?;
            let granted = (200..300).contains(&head.status);
            if head.is_interim() || (granted && buffer.len() > length) {
                return Err(failed);
            }
            return Ok(head.status);
        }
        let read = poll_fn(|cx| buffer.poll_fill(stream, HEAD_MAX, cx)).await;
        if read.map_err(|_| failed)? == 0 {
            return Err(failed);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// What becomes of an answer that arrives in parts of this size, and what the proxy was asked.
    async fn answered(answer: &[u8], part: usize) -> (Result<(), SendErrorKind>, String) {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        let answer = answer.to_vec();
        let proxy = tokio::spawn(async move {
            let mut asked = vec![0; 1024];
            let n = far.read(&mut asked).await.unwrap();
            for part in answer.chunks(part) {
                if far.write_all(part).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            asked.truncate(n);
            String::from_utf8(asked).unwrap()
        });
        let authorization = CleartextBody::from(b"Basic dTpw".to_vec());
        let outcome = open(&mut near, "api.test:443", Some(&authorization)).await;
        drop(near);
        (outcome, proxy.await.unwrap())
    }

    #[tokio::test]
    async fn a_tunnel_is_asked_for_by_place_and_credentials_alone() {
        let (outcome, asked) = answered(b"HTTP/1.1 200 Connection established\r\n\r\n", 1000).await;
        assert_eq!(outcome, Ok(()));
        assert_eq!(
            asked,
            "CONNECT api.test:443 HTTP/1.1\r\nhost: api.test:443\r\n\
             proxy-authorization: Basic dTpw\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn bytes_that_come_with_the_answer_are_not_taken_for_the_other_ends() {
        let (outcome, _) = answered(b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03", 1000).await;
        assert_eq!(outcome, Err(SendErrorKind::ProxyFailed));
    }

    #[tokio::test]
    async fn answers_of_a_proxy_are_read_strictly_and_up_to_a_bound() {
        let (refused, failed) = (Err(SendErrorKind::ProxyRefused), Err(SendErrorKind::ProxyFailed));
        let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(HEAD_MAX));
        let endless = "HTTP/1.1 200 OK\r\n".to_owned() + &"x: y\r\n".repeat(HEAD_MAX);
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nvia: 1.1 x\r\ncontent-length: 5\r\n\r\n", Ok(())),
            ("HTTP/1.0 200 OK\r\n\r\n", Ok(())),
            ("HTTP/1.1 204 Fine\r\n\r\n", Ok(())),
            ("HTTP/1.1 407 Who\r\nproxy-authenticate: Basic\r\n\r\n", refused),
            ("HTTP/1.1 403 No\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nno", refused),
            ("HTTP/1.1 302 There\r\nlocation: http://canary.test/\r\n\r\n", refused),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", failed),
            ("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n", failed),
            ("HTTP/1.1 200 OK\n\n", failed),
            ("HTTP/1.1 2000 OK\r\n\r\n", failed),
            ("HTTP/2 200 OK\r\n\r\n", failed),
            ("SSH-2.0-canary\r\n\r\n", failed),
            ("\r\nHTTP/1.1 200 OK\r\n\r\n", failed),
            ("HTTP/1.1 200 OK\r\n", failed),
            ("", failed),
            (&huge, failed),
            (&endless, failed),
        ] {
            for part in [1, 7, 100_000] {
                let (outcome, _) = answered(answer.as_bytes(), part).await;
                let shown = answer.get(..60).unwrap_or(answer);
                assert_eq!(outcome, expected, "{shown:?} in parts of {part}");
            }
        }
    }
}
