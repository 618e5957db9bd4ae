//! TLS towards clients.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use portcullis::card::Timestamp;
use portcullis::proxy::message::{Caps, ConnectionEvent, Deadlines};
use portcullis::proxy::tls::{News, TlsError, TlsSetup};
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, ProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::{Instant, sleep};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::support::{Authority, Server, connect_tls, deadlines, read_until};

const WHO: &[u8] = b"GET /who HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[tokio::test]
async fn a_request_over_tls_is_answered() {
    let authority = Authority::new();
    let server = Server::new(Some(&authority.server()), deadlines(), Caps::default());
    let connector = authority.client(&[b"http/1.1"], None);
    let mut stream = connect_tls(&server, &connector).await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
        .await
        .unwrap();
    assert!(read_until(&mut stream, "hello").await.starts_with("HTTP/1.1 200 OK\r\n"));
}

#[tokio::test]
async fn a_resumed_session_offers_no_early_data() {
    let authority = Authority::new();
    let server = Server::new(Some(&authority.server()), deadlines(), Caps::default());
    let mut config = rustls::ClientConfig::clone(authority.client(&[], None).config());
    config.enable_early_data = true;
    let connector = TlsConnector::from(Arc::new(config));
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let name = ServerName::try_from("localhost").unwrap();
        let connect = connector.connect_with(name, server.connect().0, |session| {
            assert!(session.early_data().is_none(), "a request could be replayed");
        });
        let mut stream = connect.await.unwrap();
        stream.write_all(WHO).await.unwrap();
        read_until(&mut stream, "None").await;
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
    }
}

#[tokio::test]
async fn tls_1_2_is_spoken_with_an_authenticated_cipher() {
    let authority = Authority::new();
    let server = Server::new(Some(&authority.server()), deadlines(), Caps::default());
    let versions = [&rustls::version::TLS12];
    let connector = authority.client_speaking(&versions, authority.roots(), &[], None);
    let mut stream = connect_tls(&server, &connector).await.unwrap();
    stream.write_all(WHO).await.unwrap();
    assert!(read_until(&mut stream, "None").await.starts_with("HTTP/1.1 200 OK"));
    let suite = format!("{:?}", stream.get_ref().1.negotiated_cipher_suite().unwrap().suite());
    assert!(suite.contains("GCM") || suite.contains("POLY1305"), "{suite}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_handshake_is_cut_off() {
    let authority = Authority::new();
    let server = Server::new(Some(&authority.server()), deadlines(), Caps::default());
    let (mut client, task) = server.connect();
    client.write_all(&[0x16, 3, 1]).await.unwrap();
    let begun = Instant::now();
    task.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::from_secs(10));
    assert!(server.room.saw(ConnectionEvent::HandshakeTimeout));
    assert_eq!(server.listener.connections(), 0);
}

#[tokio::test]
async fn plain_http_on_a_tls_listener_fails_the_handshake() {
    let authority = Authority::new();
    let server = Server::new(Some(&authority.server()), deadlines(), Caps::default());
    let (mut client, task) = server.connect();
    client.write_all(WHO).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    task.await.unwrap();
    assert!(server.room.saw(ConnectionEvent::HandshakeFailed));
    assert!(!answer.starts_with(b"HTTP"));
}

#[tokio::test]
async fn a_verified_client_is_known_by_its_names_and_others_are_turned_away() {
    let authority = Authority::new();
    authority.issue("server", &["localhost"]);
    authority.issue("shop", &["shop.internal", "shop-2.internal"]);
    let tls = TlsSetup::load(authority.files("server", true)).unwrap();
    let server = Server::new(Some(&tls), deadlines(), Caps::default());

    let mut stream = connect_tls(&server, &authority.client(&[], Some("shop"))).await.unwrap();
    stream.write_all(WHO).await.unwrap();
    let answer = read_until(&mut stream, ")").await;
    assert!(answer.contains(r#"["shop.internal", "shop-2.internal"]"#), "{answer}");

    let mut stranger = connect_tls(&server, &authority.client(&[], None)).await.unwrap();
    assert!(stranger.read(&mut [0; 9]).await.is_err());
    let other = Authority::new();
    other.issue("shop", &["shop.internal"]);
    std::fs::copy(authority.path("ca.pem"), other.path("ca.pem")).unwrap();
    let mut forged = connect_tls(&server, &other.client(&[], Some("shop"))).await.unwrap();
    assert!(forged.read(&mut [0; 9]).await.is_err());
    assert_eq!(server.room.handled(), 1);
}

#[tokio::test]
async fn a_new_certificate_is_used_after_reloading_and_a_broken_one_is_not() {
    let authority = Authority::new();
    let tls = authority.server();
    let server = Server::new(Some(&tls), deadlines(), Caps::default());
    let leaf = async || {
        let stream = connect_tls(&server, &authority.client(&[], None)).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec()
    };
    let first = leaf().await;
    authority.issue("server", &["localhost"]);
    assert_eq!(leaf().await, first);
    let reload = || tls.prepare(tls.files(), Timestamp::system()).map(|fresh| tls.take(fresh));
    assert!(reload().unwrap().certificate);
    let second = leaf().await;
    assert_ne!(second, first);

    authority.issue("other", &["localhost"]);
    std::fs::copy(authority.path("other.key"), authority.path("server.key")).unwrap();
    assert_eq!(reload().err(), Some(TlsError::Mismatch));
    std::fs::write(authority.path("server.pem"), "").unwrap();
    assert_eq!(reload().err(), Some(TlsError::Certificate));
    assert_eq!(leaf().await, second);
}

/// What a client is told that showed a certificate; nothing where the connection has ended.
async fn who(stream: &mut TlsStream<DuplexStream>) -> String {
    let _ = stream.write_all(WHO).await;
    read_until(stream, "))").await
}

#[tokio::test(start_paused = true)]
async fn connections_end_with_the_certificate_of_their_client() {
    let hour = Duration::from_secs(3600);
    let authority = Authority::new();
    authority.issue("server", &["localhost"]);
    authority.issue_until("shop", &["shop.internal"], Some(SystemTime::now() + hour));
    let tls = TlsSetup::load(authority.files("server", true)).unwrap();
    let patient = Deadlines { idle: 3 * hour, ..deadlines() };
    let server = Server::new(Some(&tls), patient, Caps::default());
    let connector = authority.client(&[], Some("shop"));
    let mut idle = connect_tls(&server, &connector).await.unwrap();
    let mut busy = connect_tls(&server, &connector).await.unwrap();
    let over_h2 = authority.client(&[b"h2"], Some("shop"));
    let h2 = connect_tls(&server, &over_h2).await.unwrap();
    let (mut client, connection) = h2::client::handshake(h2).await.unwrap();
    let connection = tokio::spawn(connection);

    for wait in [hour - Duration::from_secs(60), Duration::ZERO] {
        client = client.ready().await.unwrap();
        let ask = http::Request::get("https://localhost/").body(()).unwrap();
        let (answer, _) = client.send_request(ask, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 200);
        for stream in [&mut idle, &mut busy] {
            let answer = who(stream).await;
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            assert!(!answer.contains("connection: close"), "{answer}");
        }
        sleep(wait).await;
    }
    busy.write_all(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    server.room.entered.notified().await;

    sleep(Duration::from_secs(120)).await;
    assert!(client.ready().await.is_err(), "a request could begin after the end");
    connection.await.unwrap().unwrap();
    assert_eq!(idle.read(&mut [0; 9]).await.unwrap_or(0), 0);
    server.room.gate.notify_one();
    let answer = read_until(&mut busy, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "what was under way is answered");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(busy.read(&mut [0; 9]).await.unwrap_or(0), 0);
}

/// The kinds of two handshakes, one after the other, of a client that resumes whatever it may.
async fn handshakes_of(connector: &TlsConnector, server: &Server) -> [Option<HandshakeKind>; 2] {
    let mut kinds = [None; 2];
    for kind in &mut kinds {
        let mut stream = connect_tls(server, connector).await.unwrap();
        stream.write_all(WHO).await.unwrap();
        let answer = read_until(&mut stream, "\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        *kind = stream.get_ref().1.handshake_kind();
    }
    kinds
}

#[tokio::test]
async fn no_session_is_resumed_where_clients_show_a_certificate() {
    const FULL: Option<HandshakeKind> = Some(HandshakeKind::Full);
    const RESUMED: Option<HandshakeKind> = Some(HandshakeKind::Resumed);
    let authority = Authority::new();
    authority.issue("server", &["localhost"]);
    authority.issue("shop", &["shop.internal"]);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let speaking = |certificate: Option<&str>| {
            authority.client_speaking(&[version], authority.roots(), &[], certificate)
        };
        let tls = TlsSetup::load(authority.files("server", false)).unwrap();
        let server = Server::new(Some(&tls), deadlines(), Caps::default());
        let anonymous = speaking(None);
        assert_eq!(handshakes_of(&anonymous, &server).await, [FULL, RESUMED], "{version:?}");

        let asking = tls.prepare(authority.files("server", true), Timestamp::system()).unwrap();
        assert!(tls.take(asking).authorities);
        let known = speaking(Some("shop"));
        assert_eq!(handshakes_of(&known, &server).await, [FULL; 2], "{version:?}");
        let loaded = TlsSetup::load(authority.files("server", true)).unwrap();
        let loaded = Server::new(Some(&loaded), deadlines(), Caps::default());
        assert_eq!(handshakes_of(&known, &loaded).await, [FULL; 2], "{version:?}");

        let open = tls.prepare(authority.files("server", false), Timestamp::system()).unwrap();
        assert!(tls.take(open).authorities);
        let anonymous = handshakes_of(&anonymous, &server).await;
        assert_eq!(anonymous, [FULL, RESUMED], "{version:?}");
    }
}

#[tokio::test]
async fn other_client_authorities_end_what_was_open_and_hold_for_the_next_connection() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.issue("server", &["localhost"]);
    authority.issue("shop", &["shop.internal"]);
    other.issue("shop", &["shop.internal"]);
    let tls = TlsSetup::load(authority.files("server", true)).unwrap();
    let server = Server::new(Some(&tls), deadlines(), Caps::default());
    let connector = authority.client(&[], Some("shop"));
    handshakes_of(&connector, &server).await;
    let roots = authority.roots();
    let mut open = connect_tls(&server, &connector).await.unwrap();
    assert!(who(&mut open).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let take = || tls.take(tls.prepare(tls.files(), Timestamp::system()).unwrap());
    authority.issue("server", &["localhost"]);
    assert_eq!(take(), News { certificate: true, authorities: false });
    assert!(who(&mut open).await.starts_with("HTTP/1.1 200 OK\r\n"), "it may stay");
    std::fs::copy(other.path("ca.pem"), authority.path("ca.pem")).unwrap();
    assert_eq!(take(), News { certificate: false, authorities: true });
    let answer = who(&mut open).await;
    assert!(answer.is_empty() || answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(open.read(&mut [0; 9]).await.unwrap_or(0), 0);

    let mut stale = connect_tls(&server, &connector).await.unwrap();
    stale.write_all(WHO).await.unwrap();
    assert!(stale.read(&mut [0; 9]).await.is_err(), "a session outlived who vouched for it");
    std::fs::copy(other.path("shop.pem"), authority.path("shop.pem")).unwrap();
    std::fs::copy(other.path("shop.key"), authority.path("shop.key")).unwrap();
    let connector = authority.client_trusting(roots, &[], Some("shop"));
    let mut stream = connect_tls(&server, &connector).await.unwrap();
    stream.write_all(WHO).await.unwrap();
    assert!(read_until(&mut stream, ")").await.contains("shop.internal"));
}

#[test]
fn a_new_certificate_that_is_not_valid_now_is_refused_and_the_one_in_use_may_stay() {
    let authority = Authority::new();
    let tls = authority.server();
    let at = |now: Timestamp| tls.prepare(tls.files(), now).map(|fresh| tls.take(fresh));
    // The certificates of these tests are valid from 1975 to 4096.
    let [before, after] = [0, 90_000_000_000].map(Timestamp::from_secs);
    assert_eq!(at(after), Ok(News::default()));
    authority.issue("server", &["localhost"]);
    assert_eq!(at(before), Err(TlsError::Time));
    assert_eq!(at(after), Err(TlsError::Time));
    assert_eq!(at(Timestamp::system()), Ok(News { certificate: true, authorities: false }));
}

#[test]
fn unusable_files_are_named() {
    let authority = Authority::new();
    authority.issue("a", &["a"]);
    assert_eq!(TlsSetup::load(authority.files("b", false)).err(), Some(TlsError::Certificate));
    std::fs::write(authority.path("a.key"), "").unwrap();
    assert_eq!(TlsSetup::load(authority.files("a", false)).err(), Some(TlsError::Key));
    authority.issue("a", &["a"]);
    std::fs::write(authority.path("ca.pem"), "").unwrap();
    assert_eq!(TlsSetup::load(authority.files("a", true)).err(), Some(TlsError::Authorities));
}
