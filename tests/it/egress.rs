//! The way out: source addresses, the HTTP proxy of a network, and who we are to a provider that
//! asks.

mod change;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portcullis::proxy::exchange::{
    AddressPolicy, Forwarded, SendErrorKind, Target, UpstreamTls, Upstreams,
};
use portcullis::proxy::way_out::{ClientCertificate, Egress, Proxy, WayOut};
use portcullis::secret::SecretBytes;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::codec::support::{Authority, read_request};
use super::codec::upstream::{sale, terms, tls_provider, upstreams};
use super::house::{House, assert_problem};
use super::line::Version;

const ANY: AddressPolicy = AddressPolicy { allow_private: true };
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What a proxy does when it is asked for a tunnel.
#[derive(Clone)]
enum Asked {
    /// Opens it, to this port of 127.0.0.1 whatever name it was asked for; none: to that place.
    Tunnel(Option<u16>),
    Say(String),
    Nothing,
}

/// A small proxy: the heads that it was sent, and every byte that went through.
struct Relay {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
    passed: Arc<Mutex<Vec<u8>>>,
    sources: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    async fn start(asked: Asked) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let relay =
            Self { port, heads: Arc::default(), passed: Arc::default(), sources: Arc::default() };
        let (heads, passed) = (Arc::clone(&relay.heads), Arc::clone(&relay.passed));
        let sources = Arc::clone(&relay.sources);
        tokio::spawn(async move {
            while let Ok((stream, from)) = listener.accept().await {
                sources.lock().unwrap().push(from.ip().to_string());
                let (heads, passed) = (Arc::clone(&heads), Arc::clone(&passed));
                tokio::spawn(serve(stream, asked.clone(), heads, passed));
            }
        });
        relay
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    asked: Asked,
    heads: Arc<Mutex<Vec<String>>>,
    passed: Arc<Mutex<Vec<u8>>>,
) {
    let head = String::from_utf8(read_request(&mut stream).await).unwrap();
    let place = head.split(' ').nth(1).unwrap_or_default().to_owned();
    heads.lock().unwrap().push(head);
    let to = match asked {
        Asked::Tunnel(Some(port)) => format!("127.0.0.1:{port}"),
        Asked::Tunnel(None) => place.replace("localhost", "127.0.0.1"),
        Asked::Say(answer) => {
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.read(&mut [0; 4096]).await;
            return;
        }
        Asked::Nothing => std::future::pending().await,
    };
    let mut far = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
    let (mut up, mut down) = (vec![0; 8192], vec![0; 8192]);
    loop {
        let (from, into, n) = tokio::select! {
            n = stream.read(&mut up) => (&up, &mut far, n),
            n = far.read(&mut down) => (&down, &mut stream, n),
        };
        let Ok(n @ 1..) = n else { return };
        passed.lock().unwrap().extend_from_slice(&from[..n]);
        if into.write_all(&from[..n]).await.is_err() {
            return;
        }
    }
}

/// Upstreams behind this proxy.
fn behind(port: u16, authority: &Authority) -> Upstreams {
    let host = "127.0.0.1".to_owned();
    let proxy = Arc::new(Proxy { host, port, credentials: None, except: Vec::new() });
    let way_out = WayOut { proxy: Some(proxy), ..WayOut::default() };
    let ca_file = Some(authority.path("ca.pem"));
    let tls = UpstreamTls { ca_file, ..UpstreamTls::default() };
    Upstreams::leaving_by(way_out, &tls, terms()).unwrap()
}

/// Puts keys below `[upstream]`, and tables behind the rest.
async fn house_with(keys: String, tables: String) -> House {
    let adjust = Box::new(move |config: String| {
        let config = config.replacen("[upstream]\n", &format!("[upstream]\n{keys}"), 1);
        format!("{config}\n{tables}\n")
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

// ------------------------------------------------------------------------- the shipped program

#[tokio::test]
async fn a_payment_through_a_proxy_shows_it_the_place_and_nothing_else() {
    let relay = Relay::start(Asked::Tunnel(None)).await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "proxy-password\n").unwrap();
    let proxy = format!(
        "[upstream.proxy]\nurl = \"http://127.0.0.1:{}\"\nuser = \"portcullis\"\n\
         password = {{ file = {:?} }}\n",
        relay.port,
        secret.path()
    );
    let house = house_with(String::new(), proxy).await;
    let mut line = house.private(Version::Http1).await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut line, &ready).await;
    let authority = house.world.paymega.authority();
    let heads = relay.heads();
    let expected = format!(
        "CONNECT {authority} HTTP/1.1\r\nhost: {authority}\r\nproxy-authorization: Basic {}\r\n\r\n",
        "cG9ydGN1bGxpczpwcm94eS1wYXNzd29yZA=="
    );
    assert!(!heads.is_empty() && heads.iter().all(|head| *head == expected), "{heads:?}");
    let passed = relay.passed.lock().unwrap().clone();
    // A handshake record first, and nothing of the payment.
    assert_eq!(&passed[..2], [0x16, 0x03]);
    for clear in [&*ready.card.number, &ready.card.cvv, "sale-operation", "POST /", "HTTP/1.1 200"]
    {
        assert!(clear.len() < 4 || !holds(&passed, clear), "{clear}");
    }
}

#[tokio::test]
async fn a_proxy_that_says_no_is_told_apart_and_its_words_are_not() {
    let says = "HTTP/1.1 407 Canary\r\nproxy-authenticate: Basic realm=\"canary\"\r\n\r\ncanary";
    for (asked, code) in [
        (Asked::Say(says.to_owned()), "egress_proxy_refused"),
        (Asked::Say("canary\r\n\r\n".to_owned()), "egress_proxy_failed"),
    ] {
        let relay = Relay::start(asked).await;
        let proxy = format!("[upstream.proxy]\nurl = \"http://127.0.0.1:{}\"\n", relay.port);
        let house = house_with(String::new(), proxy).await;
        let mut line = house.private(Version::Http1).await;
        let answer = line.send(&house.invoice("paymega", App::Shop)).await;
        let problem = assert_problem(&answer, 502, code, "no");
        assert_eq!((&problem["retry"], &problem["origin"]), (&"safe".into(), &"proxy".into()));
        assert!(!answer.text().to_lowercase().contains("canary"), "{}", answer.text());
        assert!(!holds(&house.log(), "canary"));
        assert_eq!(house.received(), 0);
    }
}

/// A house whose first account's cardgate is at this port, and where that was before.
async fn house_with_cardgate_at(port: u16, keys: &'static str) -> (House, u16) {
    let real = Arc::new(AtomicUsize::new(0));
    let found = Arc::clone(&real);
    let adjust = Box::new(move |config: String| {
        let config = config.replacen("[upstream]\n", &format!("[upstream]\n{keys}"), 1);
        let (_, from) = config.split_once("api = \"https://localhost:").unwrap();
        let real: u16 = from.split('/').next().unwrap().parse().unwrap();
        found.store(real.into(), Ordering::SeqCst);
        let cardgate = |port: u16| format!("cardgate = \"https://localhost:{port}/");
        assert!(config.contains(&cardgate(real)));
        config.replacen(&cardgate(real), &cardgate(port), 1)
    });
    let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
    (house, real.load(Ordering::SeqCst).try_into().unwrap())
}

/// Passes on to `real` whatever comes, and notes from where it came, and to which address.
fn witness(listener: TcpListener, real: u16) -> Arc<Mutex<Vec<[String; 2]>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sources = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((mut near, from)) = listener.accept().await {
            let ends = [from, near.local_addr().unwrap()].map(|end| end.ip().to_string());
            sources.lock().unwrap().push(ends);
            tokio::spawn(async move {
                let mut far = TcpStream::connect(("127.0.0.1", real)).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    seen
}

#[tokio::test]
async fn the_provider_sees_the_configured_source_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = "egress_addresses = [\"127.0.0.5\"]\n";
    let (house, real) = house_with_cardgate_at(port, keys).await;
    let seen = witness(listener, real);
    let mut line = house.private(Version::Http1).await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut line, &ready).await;
    let seen = seen.lock().unwrap().clone();
    assert!(!seen.is_empty() && seen.iter().all(|[from, _]| from == "127.0.0.5"), "{seen:?}");
}

// ------------------------------------------------------------------------- the way out alone

#[tokio::test]
async fn no_other_source_address_is_used_where_the_configured_one_does_not_fit() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ca_file = Some(authority.path("ca.pem"));
    let tls = UpstreamTls { ca_file, ..UpstreamTls::default() };
    for egress in [
        Egress { v6: Some("::1".parse().unwrap()), v4: None },
        Egress { v4: Some("192.0.2.1".parse().unwrap()), v6: None },
    ] {
        let way_out = WayOut { egress, proxy: None };
        let upstreams = Upstreams::leaving_by(way_out, &tls, terms()).unwrap();
        let target = Target::new("127.0.0.1", port, false).unwrap();
        let error = upstreams.send(&target, ANY, sale()).await.err().unwrap();
        assert_eq!((error.forwarded, error.kind), (Forwarded::No, SendErrorKind::Connect));
    }
    let nobody = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
    assert!(nobody.is_err());
}

#[tokio::test]
async fn whatever_a_proxy_does_instead_of_a_tunnel_nothing_is_sent() {
    let authority = Authority::new();
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let early = "HTTP/1.1 200 OK\r\n\r\n\x15\x03\x03".to_owned();
    let refused = "HTTP/1.1 403 No\r\ncontent-length: 0\r\n\r\n".to_owned();
    let plain = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    for (asked, kind) in [
        (Asked::Say(refused), SendErrorKind::ProxyRefused),
        (Asked::Say("\0\0\r\n\r\n".to_owned()), SendErrorKind::ProxyFailed),
        (Asked::Say(huge), SendErrorKind::ProxyFailed),
        (Asked::Say(early), SendErrorKind::ProxyFailed),
        (Asked::Nothing, SendErrorKind::ProxyFailed),
        // It grants the tunnel and is the other end itself.
        (Asked::Say(plain), SendErrorKind::Tls),
    ] {
        let relay = Relay::start(asked).await;
        let target = Target::new("localhost", 443, true).unwrap();
        let error = behind(relay.port, &authority).send(&target, ANY, sale()).await.err().unwrap();
        assert_eq!((error.forwarded, error.kind), (Forwarded::No, kind));
    }
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let target = Target::new("localhost", 443, true).unwrap();
    let error = behind(gone, &authority).send(&target, ANY, sale()).await.err().unwrap();
    assert_eq!((error.forwarded, error.kind), (Forwarded::No, SendErrorKind::ProxyFailed));
}

#[tokio::test]
async fn what_came_from_outside_is_judged_before_a_proxy_is_asked() {
    let relay = Relay::start(Asked::Tunnel(None)).await;
    let upstreams = behind(relay.port, &Authority::new());
    let target = Target::new("localhost", 443, true).unwrap();
    let strict = AddressPolicy { allow_private: false };
    let error = upstreams.send(&target, strict, sale()).await.err().unwrap();
    assert_eq!((error.forwarded, error.kind), (Forwarded::No, SendErrorKind::PrivateAddress));
    assert!(relay.heads().is_empty(), "the proxy was asked for a private place");
}

/// A provider that wants to know who calls: the certificate that each of its requests came under.
fn asking(
    authority: &Authority,
    listener: TcpListener,
) -> Arc<Mutex<Vec<CertificateDer<'static>>>> {
    let chain = CertificateDer::pem_file_iter(authority.path("provider.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.path("provider.key")).unwrap();
    let provider = Arc::new(ring::default_provider());
    let roots = Arc::new(authority.roots());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider));
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let served = Arc::<Mutex<Vec<_>>>::default();
    let callers = Arc::clone(&served);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let callers = Arc::clone(&callers);
            tokio::spawn(async move {
                let caller = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
                // A request of a test comes in one piece.
                while stream.read(&mut [0; 8192]).await.is_ok_and(|n| n > 0) {
                    callers.lock().unwrap().push(caller.clone());
                    stream.write_all(OK.as_bytes()).await.unwrap();
                }
            });
        }
    });
    served
}

fn with_client(authority: &Authority, file: &str, key: &str) -> UpstreamTls {
    let key = std::fs::read(authority.path(&format!("{key}.key"))).unwrap();
    let client = ClientCertificate {
        certificate: authority.path(&format!("{file}.pem")),
        key: Arc::new(SecretBytes::long_lived(&key)),
    };
    UpstreamTls {
        ca_file: Some(authority.path("ca.pem")),
        client: Some(client),
        ..UpstreamTls::default()
    }
}

#[tokio::test]
async fn a_provider_that_asks_is_shown_the_certificate_of_its_host() {
    let authority = Authority::new();
    ["provider", "client", "other"].iter().for_each(|file| authority.issue(file, &["localhost"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = asking(&authority, listener);
    let upstreams = upstreams(&authority);
    let target = || Target::new("localhost", port, true).unwrap();
    // Without one the sale is not taken, and nobody says that it was.
    let error = upstreams.send(&target(), ANY, sale()).await.err().unwrap();
    assert_ne!(error.forwarded, Forwarded::Yes);
    assert_eq!(served.lock().unwrap().len(), 0);
    let tls = with_client(&authority, "client", "client");
    let shown = upstreams.with_own("localhost", port, Some(&tls), terms()).unwrap();
    assert_eq!(shown.send(&target(), ANY, sale()).await.unwrap().body.as_bytes(), b"ok");
    assert_eq!(served.lock().unwrap().len(), 1);
    let mixed = with_client(&authority, "client", "other");
    let mixed = self::upstreams(&authority).with_own("localhost", port, Some(&mixed), terms());
    assert!(mixed.is_err(), "a key of another certificate");
}

#[tokio::test]
async fn a_certificate_is_verified_for_the_name_that_the_configuration_gives() {
    let authority = Authority::new();
    authority.issue("provider", &["gate.test"]);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut received = tls_provider(&authority, "provider", listener, true, OK);
    let named = |name: &str| {
        let ca_file = Some(authority.path("ca.pem"));
        let server_name = Some(name.to_owned());
        let tls = UpstreamTls { ca_file, server_name, ..UpstreamTls::default() };
        upstreams(&authority).with_own("localhost", port, Some(&tls), terms())
    };
    let target = Target::new("localhost", port, true).unwrap();
    for name in ["localhost", "other.test"] {
        let error = named(name).unwrap().send(&target, ANY, sale()).await.err().unwrap();
        assert_eq!((error.forwarded, error.kind), (Forwarded::No, SendErrorKind::Tls), "{name}");
    }
    assert!(received.try_recv().is_err());
    let upstreams = named("gate.test").unwrap();
    assert_eq!(upstreams.send(&target, ANY, sale()).await.unwrap().body.as_bytes(), b"ok");
    let head = received.recv().await.unwrap();
    assert!(holds(&head, &format!("\r\nhost: localhost:{port}\r\n")), "Host stays what it was");
    assert!(named("").is_err());
}
