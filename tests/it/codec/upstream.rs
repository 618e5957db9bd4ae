//! The client towards providers: sent once, and honest about what may have arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use portcullis::proxy::exchange::{
    AddressPolicy, Answer, Forwarded, Outgoing, SendError, SendErrorKind, Target, Terms,
    UpstreamTls, Upstreams,
};
use portcullis::secret::CleartextBody;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::support::{Authority, listen, read_request};

const ANY: AddressPolicy = AddressPolicy { allow_private: true };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

pub(crate) fn terms() -> Terms {
    Terms {
        connect: Duration::from_millis(1000),
        tls: Duration::from_millis(1000),
        total: Duration::from_millis(1600),
        ..Terms::default()
    }
}

pub(crate) fn upstreams(authority: &Authority) -> Upstreams {
    let tls = UpstreamTls { ca_file: Some(authority.path("ca.pem")), ..UpstreamTls::default() };
    Upstreams::new(&tls, terms()).unwrap()
}

pub(crate) fn sale() -> Outgoing {
    Outgoing {
        method: Method::POST,
        path_and_query: "/api/sale?x=1".to_owned(),
        headers: vec![
            (HeaderName::from_static("content-type"), HeaderValue::from_static("application/json")),
            (HeaderName::from_static("host"), HeaderValue::from_static("evil")),
            (HeaderName::from_static("connection"), HeaderValue::from_static("x")),
            (HeaderName::from_static("accept-encoding"), HeaderValue::from_static("gzip")),
            (HeaderName::from_static("content-length"), HeaderValue::from_static("1")),
            (HeaderName::from_static("transfer-encoding"), HeaderValue::from_static("chunked")),
        ],
        body: CleartextBody::from(b"{\"card\":\"4111111111111111\"}".to_vec()),
    }
}

pub(super) async fn send(upstreams: &Upstreams, port: u16, tls: bool) -> Result<Answer, SendError> {
    let target = Target::new("localhost", port, tls).unwrap();
    upstreams.send(&target, ANY, sale()).await
}

/// A provider that says `answer` to every request, on as many connections as come.
pub(crate) fn provider(listener: TcpListener, answer: &str) -> Arc<AtomicUsize> {
    let (connections, answer) = (Arc::new(AtomicUsize::new(0)), answer.to_owned());
    let counter = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, Ordering::SeqCst);
            let answer = answer.clone();
            tokio::spawn(async move {
                while !read_request(&mut stream).await.is_empty() {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    connections
}

#[tokio::test]
async fn a_request_leaves_as_one_canonical_message() {
    let (listener, port) = listen().await;
    let upstreams = upstreams(&Authority::new());
    let provider = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buf = vec![0; 4096];
        let n = stream.read(&mut buf).await.unwrap();
        stream.write_all(OK.as_bytes()).await.unwrap();
        String::from_utf8(buf[..n].to_vec()).unwrap()
    });
    let target = Target::new("LocalHost", port, false).unwrap();
    let answer = upstreams.send(&target, ANY, sale()).await;
    let answer = answer.unwrap();
    assert_eq!((answer.status, answer.body.as_bytes()), (200, &b"ok"[..]));
    assert_eq!(
        provider.await.unwrap(),
        format!(
            "POST /api/sale?x=1 HTTP/1.1\r\nhost: localhost:{port}\r\ncontent-type: application/json\r\n\
             accept-encoding: identity\r\ncontent-length: 27\r\n\r\n{{\"card\":\"4111111111111111\"}}"
        )
    );
}

#[tokio::test]
async fn a_connection_is_used_again_only_after_an_answer_without_doubt() {
    for (answer, connections) in [
        (OK, 1),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx: y\r\n\r\n", 1),
        ("HTTP/1.1 204 No Content\r\n\r\n", 1),
        ("HTTP/1.1 103 Early\r\nx: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 1),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", 3),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 3),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok surplus", 3),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", 3),
    ] {
        let (listener, port) = listen().await;
        let accepted = provider(listener, answer);
        let upstreams = upstreams(&Authority::new());
        for _ in 0..3 {
            send(&upstreams, port, false).await.unwrap();
        }
        assert_eq!(accepted.load(Ordering::SeqCst), connections, "{answer:?}");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_was_closed_or_spoke_is_not_used() {
    for surplus in ["", "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"] {
        let (listener, port) = listen().await;
        let upstreams = upstreams(&Authority::new());
        let provider = tokio::spawn(async move {
            for _ in 0..3 {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await;
                stream.write_all(OK.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(10)).await;
                stream.write_all(surplus.as_bytes()).await.unwrap();
            }
        });
        for _ in 0..3 {
            assert_eq!(send(&upstreams, port, false).await.unwrap().body.as_bytes(), b"ok");
            tokio::time::sleep(Duration::from_millis(40)).await;
        }
        provider.await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_opened_where_private_addresses_are_allowed_serves_nobody_else() {
    let (listener, port) = listen().await;
    provider(listener, OK);
    let upstreams = upstreams(&Authority::new());
    send(&upstreams, port, false).await.unwrap();
    let strict = AddressPolicy { allow_private: false };
    for host in ["localhost", "127.0.0.1", "[::1]"] {
        let target = Target::new(host, port, false).unwrap();
        let error = upstreams.send(&target, strict, sale()).await.err();
        let expected = SendError { forwarded: Forwarded::No, kind: SendErrorKind::PrivateAddress };
        assert_eq!(error, Some(expected), "{host}");
    }
}

#[tokio::test]
async fn nothing_was_forwarded_when_no_connection_came_about() {
    let upstreams = upstreams(&Authority::new());
    let no = |kind| Some(SendError { forwarded: Forwarded::No, kind });

    let (closed, port) = listen().await;
    drop(closed);
    assert_eq!(send(&upstreams, port, false).await.err(), no(SendErrorKind::Connect));

    let nowhere = Target::new("no-such-host.invalid", 443, true).unwrap();
    assert_eq!(upstreams.send(&nowhere, ANY, sale()).await.err(), no(SendErrorKind::Resolve));

    let (listener, port) = listen().await;
    let target = Target::new("localhost", port, true).unwrap();
    assert_eq!(upstreams.send(&target, ANY, sale()).await.err(), no(SendErrorKind::TlsTimeout));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.write_all(b"SSH-2.0-not TLS\r\n").await.unwrap();
            let _ = stream.read(&mut [0; 4096]).await;
        }
    });
    assert_eq!(upstreams.send(&target, ANY, sale()).await.err(), no(SendErrorKind::Tls));

    let bad = Outgoing { path_and_query: "/a\r\nx: y".to_owned(), ..sale() };
    assert_eq!(upstreams.send(&target, ANY, bad).await.err(), no(SendErrorKind::BadRequest));
}

#[tokio::test]
async fn a_request_is_sent_once_wherever_the_provider_stops_reading() {
    let upstreams = upstreams(&Authority::new());
    let (listener, port) = listen().await;
    let provider = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_request(&mut stream).await.len()
    });
    assert_eq!(send(&upstreams, port, false).await.err().unwrap().kind, SendErrorKind::Reset);
    for cut in 0..=provider.await.unwrap() {
        let (listener, port) = listen().await;
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                counter.fetch_add(1, Ordering::SeqCst);
                let mut buf = vec![0; cut];
                stream.read_exact(&mut buf).await.unwrap();
            }
        });
        let error = send(&upstreams, port, false).await.err().unwrap();
        assert_eq!(error.forwarded, Forwarded::Unknown, "cut at {cut}");
        assert!(matches!(error.kind, SendErrorKind::Reset | SendErrorKind::Write), "{error:?}");
        assert_eq!(connections.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn an_answer_cut_at_any_byte_is_an_error_and_the_outcome_unknown() {
    let upstreams = upstreams(&Authority::new());
    let answers = [
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ];
    for answer in answers {
        for cut in 0..answer.len() {
            let (listener, port) = listen().await;
            let part = answer[..cut].to_owned();
            let provider = tokio::spawn(async move {
                let (mut stream, _) = listener.accept().await.unwrap();
                read_request(&mut stream).await;
                stream.write_all(part.as_bytes()).await.unwrap();
                drop(stream);
                tokio::time::timeout(Duration::from_millis(3), listener.accept()).await.is_err()
            });
            let error = send(&upstreams, port, false).await.err().unwrap();
            let kinds = [SendErrorKind::HalfAnswer, SendErrorKind::Reset];
            assert!(kinds.contains(&error.kind), "{error:?} at {cut}");
            assert_eq!(error.forwarded, Forwarded::Unknown);
            assert!(provider.await.unwrap(), "a second connection at {cut}");
        }
    }
}

#[tokio::test]
async fn a_silent_provider_leaves_the_outcome_unknown_after_the_total_deadline() {
    for dripping in [false, true] {
        let (listener, port) = listen().await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nx: ").await.unwrap();
            while dripping && stream.write_all(b"y").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            std::future::pending::<()>().await;
        });
        let begun = std::time::Instant::now();
        let error = send(&upstreams(&Authority::new()), port, false).await.err();
        let expected = SendError { forwarded: Forwarded::Unknown, kind: SendErrorKind::Silent };
        assert_eq!(error, Some(expected));
        let held = begun.elapsed();
        assert!(
            held >= Duration::from_millis(1590) && held < Duration::from_millis(3000),
            "{held:?}"
        );
    }
}

/// A provider that speaks TLS with the certificate `file`, and what it received.
pub(crate) fn tls_provider(
    authority: &Authority,
    file: &str,
    listener: TcpListener,
    polite: bool,
    answer: &'static str,
) -> mpsc::UnboundedReceiver<Bytes> {
    let chain = CertificateDer::pem_file_iter(authority.path(&format!("{file}.pem"))).unwrap();
    let chain = chain.map(Result::unwrap).collect();
    let key = PrivateKeyDer::from_pem_file(authority.path(&format!("{file}.key"))).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut buf = vec![0; 4096];
                while let Ok(n @ 1..) = stream.read(&mut buf).await {
                    tell.send(Bytes::copy_from_slice(&buf[..n])).unwrap();
                    stream.write_all(answer.as_bytes()).await.unwrap();
                    if answer.contains("close") {
                        if polite {
                            stream.shutdown().await.unwrap();
                        }
                        return;
                    }
                }
            });
        }
    });
    told
}

#[tokio::test]
async fn a_request_over_tls_is_one_record_and_the_connection_is_used_again() {
    let authority = Authority::new();
    authority.issue("provider", &["localhost"]);
    let (listener, port) = listen().await;
    let mut received = tls_provider(&authority, "provider", listener, true, OK);
    let upstreams = upstreams(&authority);
    for _ in 0..3 {
        assert_eq!(send(&upstreams, port, true).await.unwrap().body.as_bytes(), b"ok");
        let request = received.recv().await.unwrap();
        assert!(request.starts_with(b"POST /api/sale?x=1 HTTP/1.1\r\n"));
        assert!(request.ends_with(b"}"));
    }
}

#[tokio::test]
async fn a_certificate_for_another_name_or_from_another_authority_is_not_accepted() {
    let authority = Authority::new();
    authority.issue("other", &["other.example"]);
    let stranger = Authority::new();
    stranger.issue("provider", &["localhost"]);
    let no = Some(SendError { forwarded: Forwarded::No, kind: SendErrorKind::Tls });
    for (issuer, file) in [(&authority, "other"), (&stranger, "provider")] {
        let (listener, port) = listen().await;
        let mut received = tls_provider(issuer, file, listener, true, OK);
        assert_eq!(send(&upstreams(&authority), port, true).await.err(), no);
        assert!(received.try_recv().is_err());
    }
}

#[tokio::test]
async fn an_answer_without_length_is_whole_over_tls_only_when_the_provider_says_goodbye() {
    let authority = Authority::new();
    authority.issue("provider", &["localhost"]);
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello";
    let (listener, port) = listen().await;
    let _received = tls_provider(&authority, "provider", listener, true, answer);
    assert_eq!(send(&upstreams(&authority), port, true).await.unwrap().body.as_bytes(), b"hello");
    let (listener, port) = listen().await;
    let _received = tls_provider(&authority, "provider", listener, false, answer);
    let error = send(&upstreams(&authority), port, true).await.err();
    let expected = SendError { forwarded: Forwarded::Unknown, kind: SendErrorKind::HalfAnswer };
    assert_eq!(error, Some(expected));
}

#[test]
fn a_target_is_a_host_with_a_port() {
    for (host, field) in [("a.example", "https://a.example:443"), ("[::1]", "https://[::1]:443")] {
        assert_eq!(
            format!("{:?}", Target::new(host, 443, true).unwrap()),
            format!("Target({field})")
        );
    }
    for host in ["", "a b", "a/b", "u@a", "a:1", "a.", "é", "a\r\nb", "[::1"] {
        assert!(Target::new(host, 443, true).is_err(), "{host}");
    }
    assert!(Target::new("a", 0, true).is_err());
}
