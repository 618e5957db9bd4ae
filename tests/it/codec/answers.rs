//! Answers a provider should never give, with controls beside them.

use http::Method;
use portcullis::proxy::exchange::{AddressPolicy, Forwarded, Outgoing, SendErrorKind, Target};

use super::support::{Authority, listen};
use super::upstream::{provider, sale, send, upstreams};

#[tokio::test]
async fn an_answer_that_leaves_a_doubt_is_an_error() {
    use SendErrorKind::{AnswerTooLarge, BadAnswer, Encoded};
    let flood =
        "HTTP/1.1 100 Continue\r\n\r\n".repeat(9) + "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let large = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1024 * 1024 + 1);
    let fields = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(101));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    for (answer, kind) in [
        ("hello\r\n\r\n", BadAnswer),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", BadAnswer),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            BadAnswer,
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", BadAnswer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", BadAnswer),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", BadAnswer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", BadAnswer),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n0\r\n\r\n",
            BadAnswer,
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokk\r\n0\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\nok\n0\n\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100001\r\n", AnswerTooLarge),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\nok", Encoded),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\nok", Encoded),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nx: a\r\n b\r\nContent-Length: 0\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nx : a\r\nContent-Length: 0\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\n: a\r\nContent-Length: 0\r\n\r\n", BadAnswer),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n", BadAnswer),
        ("HTTP/2 200 OK\r\n\r\n", BadAnswer),
        ("HTTP/1.1 2000 OK\r\n\r\n", BadAnswer),
        ("SSH-2.0-OpenSSH\r\n\r\n", BadAnswer),
        (&flood, BadAnswer),
        (&large, AnswerTooLarge),
        (&fields, BadAnswer),
        (&long, BadAnswer),
    ] {
        let (listener, port) = listen().await;
        provider(listener, answer);
        let error = send(&upstreams(&Authority::new()), port, false).await.err().unwrap();
        assert_eq!((error.kind, error.forwarded), (kind, Forwarded::Unknown), "{answer:.90?}");
    }
}

#[tokio::test]
async fn odd_but_clear_answers_are_understood() {
    for (answer, status, body) in [
        ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 402 Payment  Required\r\ncontent-length:2\r\n\r\nok", 402, "ok"),
        (
            "HTTP/1.1 102 x\r\n\r\nHTTP/1.1 103 y\r\na: b\r\n\r\nHTTP/1.1 500 z\r\nContent-Length: 1\r\n\r\n!",
            500,
            "!",
        ),
        (
            "HTTP/1.1 302 Found\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n",
            302,
            "",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\nok", 200, "ok"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n002\r\nok\r\n0\r\n\r\n", 200, "ok"),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n", 304, ""),
    ] {
        let (listener, port) = listen().await;
        provider(listener, answer);
        let got = send(&upstreams(&Authority::new()), port, false).await.unwrap();
        assert_eq!((got.status, got.body.as_bytes()), (status, body.as_bytes()), "{answer:?}");
    }
}

#[tokio::test]
async fn the_answer_to_a_head_request_has_no_body() {
    let (listener, port) = listen().await;
    provider(listener, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n");
    let upstreams = upstreams(&Authority::new());
    let target = Target::new("localhost", port, false).unwrap();
    for _ in 0..2 {
        let head = Outgoing { method: Method::HEAD, ..sale() };
        let policy = AddressPolicy { allow_private: true };
        let answer = upstreams.send(&target, policy, head).await.unwrap();
        assert!(answer.body.is_empty());
    }
}
