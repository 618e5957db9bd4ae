//! Opens connections to providers: which addresses, TCP, TLS.
//!
//! The address that was checked is the address that is dialled, so a name that changes its mind in
//! between (DNS rebinding) gains nothing. Certificates are always verified, for the name in the
//! target.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::RecvFlags;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::load_certs_from_paths;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::exchange::{SendErrorKind, Target};
use super::peer::{Address, apart, system_names};
use super::tls::{HTTP_1_1, TlsError, read_client, read_roots};
use super::tries::Tries;
use super::way_out::{ClientCertificate, WayOut};
use super::wiping::Wiping;

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 4;

/// Which addresses may be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressPolicy {
    /// Loopback, private and link-local networks too.
    pub allow_private: bool,
}

/// Whom to trust towards providers.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTls {
    /// PEM file of certificate authorities; the roots of the system when absent.
    pub ca_file: Option<PathBuf>,
    /// What we show to a provider that asks who we are.
    pub client: Option<ClientCertificate>,
    /// The name that certificates are verified for and asked for by; the target's own when absent.
    pub server_name: Option<String>,
}

/// A socket towards a provider. Both variants count what the kernel accepted.
pub(crate) enum Socket {
    Plain(Wiping<TcpStream>),
    Tls(Box<TlsStream<Wiping<TcpStream>>>),
}

impl Socket {
    /// Bytes the kernel has accepted since the connection was opened.
    pub(crate) fn written(&self) -> u64 {
        self.stream().written()
    }

    /// The kernel holds nothing that has come, not even the end of the connection. The runtime
    /// learns of such things only when it asks the next time.
    pub(crate) fn is_still(&self) -> bool {
        let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let seen = rustix::net::recv(self.stream().get_ref(), &mut [0; 1], look);
        seen.is_err_and(|error| error == Errno::WOULDBLOCK)
    }

    fn stream(&self) -> &Wiping<TcpStream> {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }
}

/// Opens connections.
pub(crate) struct Dialler {
    connector: TlsConnector,
    roots: Arc<RootCertStore>,
    shown: Vec<CertificateDer<'static>>,
    name: Option<ServerName<'static>>,
    way_out: WayOut,
}

impl Dialler {
    pub(crate) fn new(tls: &UpstreamTls, way_out: WayOut) -> Result<Self, TlsError> {
        let roots = match &tls.ca_file {
            Some(path) => read_roots(path)?,
            None => system_roots()?,
        };
        let roots = Arc::new(roots);
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|_| TlsError::Configuration)?
            .with_root_certificates(Arc::clone(&roots));
        let mut shown = Vec::new();
        let mut config = match &tls.client {
            None => builder.with_no_client_auth(),
            Some(client) => {
                let (chain, key) =
                    client.key.reveal(|key| read_client(&client.certificate, key))?;
                shown.clone_from(&chain);
                builder.with_client_auth_cert(chain, key).map_err(|error| match error {
                    rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
                    _ => TlsError::Key,
                })?
            }
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        // A request in early data could be replayed; off by default, said here once more.
        config.enable_early_data = false;
        let name = tls.server_name.clone().map(ServerName::try_from).transpose();
        let name = name.map_err(|_| TlsError::Name)?;
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self { connector, roots, shown, name, way_out })
    }

    /// Whether both trust the same authorities, show the same certificate, whose key is then the
    /// same, too, and leave by the same way.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots
            && self.shown == other.shown
            && self.name == other.name
            && self.way_out.is_like(&other.way_out)
    }

    /// A connection to `target`, ready to be written to, before `until`. One address after the
    /// other is tried, TLS included, and each gets its share of the time that is left: nothing of
    /// a request has left before a connection stands. `tls` is the longest handshake.
    pub(crate) async fn dial(
        &self,
        target: &Target,
        policy: AddressPolicy,
        until: Instant,
        tls: Duration,
    ) -> Result<(Socket, Option<Arc<Address>>), SendErrorKind> {
        let late = SendErrorKind::ConnectTimeout;
        let Some(peer) = target.peer() else {
            let found = timeout_at(until, resolve(target, policy)).await.map_err(|_| late)??;
            let mut tries = Tries::new(found.len(), until);
            for ip in found {
                match self.open(target, Some(ip), tries.next(), tls).await {
                    Ok(socket) => return Ok((socket, None)),
                    Err(kind) => tries.failed(kind),
                }
            }
            return Err(tries.furthest);
        };
        let found = timeout_at(until, peer.candidates(policy)).await.map_err(|_| late)??;
        let mut tries = Tries::new(found.len(), until);
        for address in found {
            match self.open(target, address.ip(), tries.next(), tls).await {
                Ok(socket) => {
                    peer.connected(&address);
                    return Ok((socket, Some(address)));
                }
                Err(kind) => {
                    // What the proxy on the way out did says nothing about the address.
                    if !matches!(kind, SendErrorKind::ProxyFailed | SendErrorKind::ProxyRefused) {
                        peer.failed(&address, kind.as_str());
                    }
                    tries.failed(kind);
                }
            }
        }
        Err(tries.furthest)
    }

    /// A connection to one address of `target`, before `until`; without one the proxy finds it.
    pub(crate) async fn open(
        &self,
        target: &Target,
        ip: Option<IpAddr>,
        until: Instant,
        tls: Duration,
    ) -> Result<Socket, SendErrorKind> {
        let stream = self.way_out.reach(target.host(), ip, target.port(), until).await?;
        let Some(name) = target.server_name() else {
            return Ok(Socket::Plain(Wiping::new(stream)));
        };
        let name = self.name.clone().unwrap_or(name);
        let stream = Wiping::below_tls(stream);
        let until = until.min(Instant::now() + tls);
        match timeout_at(until, self.connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Socket::Tls(Box::new(stream))),
            Ok(Err(_)) => Err(SendErrorKind::Tls),
            Err(_) => Err(SendErrorKind::TlsTimeout),
        }
    }
}

/// The authorities of the first of these places that has any. Never those of `SSL_CERT_FILE` or
/// `SSL_CERT_DIR`: whom to trust is the configuration's to say, where `check` and a review see it.
fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut found = SYSTEM.iter().map(Path::new).map(|place| {
        let (file, folder) = if place.is_dir() { (None, Some(place)) } else { (Some(place), None) };
        load_certs_from_paths(file, folder).certs
    });
    let mut roots = RootCertStore::empty();
    let certs = found.find(|certs| !certs.is_empty());
    roots.add_parsable_certificates(certs.unwrap_or_default());
    if roots.is_empty() { Err(TlsError::Authorities) } else { Ok(roots) }
}

/// Where systems keep the authorities that they trust.
const SYSTEM: [&str; 7] = [
    // Debian, Ubuntu, Alpine, Arch.
    "/etc/ssl/certs/ca-certificates.crt",
    // Fedora, RHEL.
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    // SUSE.
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    // One file an authority.
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
];

/// Addresses of a host that the configuration does not name.
async fn resolve(target: &Target, policy: AddressPolicy) -> Result<Vec<IpAddr>, SendErrorKind> {
    let names = system_names();
    let found = apart(names(target.host().into())).await.map_err(|_| SendErrorKind::Resolve)?;
    if found.is_empty() {
        return Err(SendErrorKind::Resolve);
    }
    let allowed = found.into_iter().filter(|ip| policy.allow_private || is_public(*ip));
    let allowed: Vec<_> = allowed.take(ADDRESSES_MAX).collect();
    if allowed.is_empty() { Err(SendErrorKind::PrivateAddress) } else { Ok(allowed) }
}

/// Whether an address belongs to the public Internet. Everything with a special meaning in the IANA
/// registries is not, cloud metadata addresses among it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

const fn is_public_v4(address: Ipv4Addr) -> bool {
    !matches!(
        address.octets(),
        [0 | 10 | 127 | 224..=255, ..]
            | [100, 64..=127, ..]
            | [169, 254, ..]
            | [172, 16..=31, ..]
            | [192, 0, 0 | 2, _]
            | [192, 88, 99, _]
            | [192, 168, ..]
            | [198, 18 | 19, ..]
            | [198, 51, 100, _]
            | [203, 0, 113, _]
    )
}

/// Only global unicast (2000::/3) without its transition and documentation ranges, and NAT64 of a
/// public IPv4 address; a mapped IPv4 address counts as that address.
fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_a_special_meaning_are_not_public() {
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "4000::1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.0.1",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.1",
            "2606:4700::1111",
            "2a00::1",
            "64:ff9b::808:808",
            "::ffff:8.8.8.8",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}
