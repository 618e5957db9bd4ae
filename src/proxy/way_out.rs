//! By which way connections leave this machine: the source address, and the HTTP proxy of the
//! network where there is one.
//!
//! Must never: leave from another address than the configured ones, or around the proxy.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};

use crate::secret::{CleartextBody, SecretBytes};

use super::exchange::SendErrorKind;
use super::peer::apart;
use super::tries::Tries;
use super::tunnel;

/// Addresses of the proxy that are tried.
const PROXY_ADDRESSES_MAX: usize = 4;

/// How connections leave. By default as the machine's routes say.
#[derive(Clone, Debug, Default)]
pub struct WayOut {
    /// Where they come from.
    pub egress: Egress,
    /// What they go through.
    pub proxy: Option<Arc<Proxy>>,
}

/// A certificate of ours, and its key.
#[derive(Clone)]
pub struct ClientCertificate {
    /// PEM file of the chain, leaf first.
    pub certificate: PathBuf,
    /// The key, PEM.
    pub key: Arc<SecretBytes>,
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// Source addresses. Where one is set, destinations of the other kind cannot be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Egress {
    /// Towards IPv4.
    pub v4: Option<Ipv4Addr>,
    /// Towards IPv6.
    pub v6: Option<Ipv6Addr>,
}

/// An HTTP proxy that is asked for tunnels.
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// What it is told about us.
    pub credentials: Option<ProxyCredentials>,
    /// Hosts that are reached without it, lower case.
    pub except: Vec<String>,
}

/// Who we are to the proxy.
pub struct ProxyCredentials {
    /// Without a colon.
    pub user: String,
    /// Its password.
    pub password: SecretBytes,
}

impl ProxyCredentials {
    fn is_like(&self, other: &Self) -> bool {
        self.user == other.user && other.password.reveal(|bytes| self.password.ct_eq(bytes))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Egress {
    /// Every source address.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.map(IpAddr::V4).into_iter().chain(self.v6.map(IpAddr::V6))
    }

    /// A connection from the right address.
    async fn connect(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        let source = match to {
            _ if self.v4.is_none() && self.v6.is_none() => return TcpStream::connect(to).await,
            SocketAddr::V4(_) => self.v4.map(IpAddr::V4),
            SocketAddr::V6(_) => self.v6.map(IpAddr::V6),
        };
        let source = source.ok_or(std::io::ErrorKind::AddrNotAvailable)?;
        let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.bind(SocketAddr::new(source, 0))?;
        socket.connect(to).await
    }
}

impl WayOut {
    /// Whether the source address is ours to choose.
    #[must_use]
    pub fn leaves_from_own(&self) -> bool {
        self.egress.addresses().next().is_some()
    }

    /// Whether connections that left by one could have left by the other.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        let alike = match (&self.proxy, &other.proxy) {
            (Some(proxy), Some(other)) => proxy.is_like(other),
            (None, None) => true,
            _ => false,
        };
        self.egress == other.egress && alike
    }

    /// The proxy that stands between us and `host`.
    pub(crate) fn proxy_to(&self, host: &str) -> Option<&Arc<Proxy>> {
        self.proxy.as_ref().filter(|proxy| !proxy.except.iter().any(|except| except == host))
    }

    /// A stream of bytes to `host`: at `ip`, or, where that is left to the proxy, by name.
    pub(crate) async fn reach(
        &self,
        host: &str,
        ip: Option<IpAddr>,
        port: u16,
        until: Instant,
    ) -> Result<TcpStream, SendErrorKind> {
        let late = SendErrorKind::ConnectTimeout;
        let stream = match (self.proxy_to(host), ip) {
            (None, Some(ip)) => {
                let connecting = self.egress.connect(SocketAddr::new(ip, port));
                let connected = timeout_at(until, connecting).await.map_err(|_| late)?;
                connected.map_err(|_| SendErrorKind::Connect)?
            }
            (None, None) => return Err(SendErrorKind::Resolve),
            (Some(proxy), ip) => {
                let place = match ip {
                    Some(ip) => SocketAddr::new(ip, port).to_string(),
                    None => format!("{host}:{port}"),
                };
                let addresses = timeout_at(until, proxy.addresses()).await;
                let addresses = addresses.map_err(|_| SendErrorKind::ProxyFailed)??;
                self.tunnel(proxy, &addresses, &place, until).await?
            }
        };
        stream.set_nodelay(true).map_err(|_| SendErrorKind::Connect)?;
        Ok(stream)
    }

    /// A tunnel to `place` through one address of the proxy. The others are tried where one is
    /// silent or says no: nothing but the place has been said.
    async fn tunnel(
        &self,
        proxy: &Proxy,
        addresses: &[SocketAddr],
        place: &str,
        until: Instant,
    ) -> Result<TcpStream, SendErrorKind> {
        let mut tries = Tries::new(addresses.len(), until);
        for address in addresses {
            let tunnel = self.tunnel_at(proxy, *address, place);
            let late = Err(SendErrorKind::ProxyFailed);
            match timeout_at(tries.next(), tunnel).await.unwrap_or(late) {
                Ok(stream) => return Ok(stream),
                Err(kind) => tries.failed(kind),
            }
        }
        Err(tries.furthest)
    }

    async fn tunnel_at(
        &self,
        proxy: &Proxy,
        address: SocketAddr,
        place: &str,
    ) -> Result<TcpStream, SendErrorKind> {
        let connected = self.egress.connect(address).await;
        let mut stream = connected.map_err(|_| SendErrorKind::ProxyFailed)?;
        tunnel::open(&mut stream, place, proxy.authorization().as_ref()).await?;
        Ok(stream)
    }
}

impl Proxy {
    fn is_like(&self, other: &Self) -> bool {
        let alike = match (&self.credentials, &other.credentials) {
            (Some(ours), Some(theirs)) => ours.is_like(theirs),
            (None, None) => true,
            _ => false,
        };
        (&self.host, self.port, &self.except) == (&other.host, other.port, &other.except) && alike
    }

    async fn addresses(&self) -> Result<Vec<SocketAddr>, SendErrorKind> {
        let (host, port) = (self.host.clone(), self.port);
        let finding = async move {
            let found = lookup_host((host.as_str(), port)).await?;
            Ok(found.take(PROXY_ADDRESSES_MAX).collect())
        };
        apart(finding).await.map_err(|_| SendErrorKind::ProxyFailed)
    }

    /// The value of `Proxy-Authorization`.
    fn authorization(&self) -> Option<CleartextBody> {
        let credentials = self.credentials.as_ref()?;
        let room = credentials.user.len() + 1 + credentials.password.len();
        let mut both = CleartextBody::with_capacity(room);
        both.extend_from_slice(credentials.user.as_bytes());
        both.extend_from_slice(b":");
        credentials.password.reveal(|password| both.extend_from_slice(password));
        let encoded = CleartextBody::from(STANDARD.encode(both.as_bytes()).into_bytes());
        let mut value = CleartextBody::with_capacity(6 + encoded.len());
        value.extend_from_slice(b"Basic ");
        value.extend_from_slice(encoded.as_bytes());
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const GRANTED: &str = "HTTP/1.1 200 OK\r\n\r\n";
    const REFUSED: &str = "HTTP/1.1 503 No\r\n\r\n";
    const SILENT: &str = "";

    /// An address of a proxy that gives this answer to whoever asks.
    async fn saying(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
                stream.write_all(answer.as_bytes()).await.unwrap();
                tokio::spawn(async move { stream.read(&mut [0; 1]).await });
            }
        });
        address
    }

    #[tokio::test]
    async fn an_address_of_the_proxy_that_is_silent_or_refuses_is_followed_by_the_next() {
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let all = [gone, saying(SILENT).await, saying(REFUSED).await, saying(GRANTED).await];
        let [gone, silent, refusing, granting] = all;
        let (refused, failed) = (SendErrorKind::ProxyRefused, SendErrorKind::ProxyFailed);
        let cases = [
            (vec![gone, silent, refusing, granting], Ok(granting)),
            (vec![granting, gone], Ok(granting)),
            (vec![silent, refusing, gone], Err(refused)),
            (vec![gone, silent], Err(failed)),
        ];
        let (host, port) = ("proxy".to_owned(), 1);
        let proxy = Proxy { host, port, credentials: None, except: Vec::new() };
        let way_out = WayOut::default();
        for (addresses, expected) in cases {
            let until = Instant::now() + Duration::from_secs(2);
            let reached = way_out.tunnel(&proxy, &addresses, "psp.example:443", until).await;
            assert_eq!(reached.map(|stream| stream.peer_addr().unwrap()), expected);
            assert!(Instant::now() < until + Duration::from_secs(1));
        }
    }
}
