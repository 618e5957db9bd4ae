//! TLS towards clients: certificate, versions, client verification.
//!
//! TLS 1.2 and 1.3 with AEAD suites, no early data, HTTP/2 and HTTP/1.1 by ALPN. Certificates
//! and authorities are swapped under traffic. Must never use a key that does not fit its
//! certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{
    ClientHello, NoServerSessionStorage, ProducesTickets, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::watch;
use x509_parser::extensions::GeneralName;

use super::message::ClientIdentity;
use crate::audit::Hash;
use crate::card::Timestamp;

/// ALPN identifier of HTTP/2.
pub(crate) const H2: &[u8] = b"h2";
/// ALPN identifier of HTTP/1.1.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// The files a TLS listener is set up from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, leaf first, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Authorities of client certificates, PEM; present means that every client must show one.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsError {
    /// The certificate file cannot be read or holds no certificate.
    Certificate,
    /// The key file cannot be read or holds no usable key.
    Key,
    /// Every user of the machine can read the key; whoever reads the files' names finds that out.
    KeyOpen,
    /// Key and certificate do not belong together.
    Mismatch,
    /// The certificate is not valid now: expired, or not yet.
    Time,
    /// The file of authorities cannot be read or holds none.
    Authorities,
    /// What certificates are to be verified for is no name.
    Name,
    /// The TLS library refused the configuration: a bug.
    Configuration,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate file is unreadable or empty",
            Self::Key => "key file is unreadable or holds no usable private key",
            Self::KeyOpen => "key file is open to every user; run chmod o-rwx on it",
            Self::Mismatch => "private key does not belong to the certificate",
            Self::Time => "certificate has expired, or is not valid yet",
            Self::Authorities => "file of certificate authorities is unreadable or empty",
            Self::Name => "name of the certificate is no DNS name",
            Self::Configuration => "TLS configuration was refused by the TLS library",
        })
    }
}

impl std::error::Error for TlsError {}

/// TLS of one listener. Cheap to clone; clones share what is in use.
#[derive(Clone)]
pub struct TlsSetup(Arc<ArcSwap<InUse>>);

/// What new connections are given. Open ones keep what they began with, and end with the
/// authorities that let them in.
#[derive(Clone)]
struct InUse {
    files: TlsFiles,
    key: Arc<CertifiedKey>,
    roots: Option<Arc<RootCertStore>>,
    config: Arc<ServerConfig>,
    trust: Arc<watch::Sender<()>>,
}

/// Ends when other authorities of client certificates are in use.
pub(crate) type Trust = watch::Receiver<()>;

/// Files that were read and fit together, not yet in use.
pub struct Fresh {
    in_use: InUse,
    news: News,
}

/// What is new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Another certificate.
    pub certificate: bool,
    /// Other authorities of client certificates.
    pub authorities: bool,
}

impl News {
    /// Whether there are any.
    #[must_use]
    pub const fn any(self) -> bool {
        self.certificate || self.authorities
    }
}

impl TlsSetup {
    /// Reads the files and checks that they fit together.
    ///
    /// # Errors
    /// When a file is unusable.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let key = Arc::new(read_certified_key(&files, &provider)?);
        let roots = files.client_ca.as_deref().map(read_roots).transpose()?.map(Arc::new);
        let config = Arc::new(server_config(&key, roots.as_ref(), provider, None)?);
        let trust = Arc::default();
        Ok(Self(Arc::new(ArcSwap::from_pointee(InUse { files, key, roots, config, trust }))))
    }

    /// What a new connection is given.
    pub(crate) fn admission(&self) -> (Arc<ServerConfig>, Trust) {
        let in_use = self.0.load();
        (Arc::clone(&in_use.config), in_use.trust.subscribe())
    }

    /// The files in use.
    #[must_use]
    pub fn files(&self) -> TlsFiles {
        self.0.load().files.clone()
    }

    /// SHA-256 of the certificate in use, without its issuers'.
    #[must_use]
    pub fn digest(&self) -> Hash {
        let in_use = self.0.load();
        Hash::of(in_use.key.cert.first().map_or(&[], |certificate| certificate.as_ref()))
    }

    /// When the first certificate of the chain in use ends, in UNIX seconds; `None` when one cannot
    /// be read.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        let ends = |certificate| validity(certificate).map(|validity| validity.1);
        self.0.load().key.cert.iter().map(ends).collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Whether the certificate in use has not ended, and has begun.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        is_valid(self.0.load().key.cert.first(), now)
    }

    /// Reads `files`, in place of those in use or the same ones again. Nothing is in use yet.
    ///
    /// # Errors
    /// When a file is unusable, or a certificate that is not in use already is not valid at `now`.
    pub fn prepare(&self, files: TlsFiles, now: Timestamp) -> Result<Fresh, TlsError> {
        let before = self.0.load();
        let provider = Arc::clone(before.config.crypto_provider());
        let key = Arc::new(read_certified_key(&files, &provider)?);
        let roots = files.client_ca.as_deref().map(read_roots).transpose()?.map(Arc::new);
        let of = |roots: &Option<Arc<RootCertStore>>| roots.as_ref().map(|all| all.roots.clone());
        let certificate = key.cert != before.key.cert;
        let authorities = of(&roots) != of(&before.roots);
        if certificate && !is_valid(key.cert.first(), now) {
            return Err(TlsError::Time);
        }
        let news = News { certificate, authorities };
        let in_use = if news.any() {
            let ticketer = (!authorities).then(|| Arc::clone(&before.config.ticketer));
            let config = Arc::new(server_config(&key, roots.as_ref(), provider, ticketer)?);
            let trust = if authorities { Arc::default() } else { Arc::clone(&before.trust) };
            InUse { files, key, roots, config, trust }
        } else {
            InUse { files, ..InUse::clone(&before) }
        };
        Ok(Fresh { in_use, news })
    }

    /// Gives connections that come from now on what was prepared, and ends those that other client
    /// authorities let in.
    pub fn take(&self, fresh: Fresh) -> News {
        self.0.store(Arc::new(fresh.in_use));
        fresh.news
    }
}

/// Sessions are resumed by `ticketer`, or a new one, where no certificates are asked for.
fn server_config(
    key: &Arc<CertifiedKey>,
    roots: Option<&Arc<RootCertStore>>,
    provider: Arc<CryptoProvider>,
    ticketer: Option<Arc<dyn ProducesTickets>>,
) -> Result<ServerConfig, TlsError> {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|_| TlsError::Configuration)?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let roots = Arc::clone(roots);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|_| TlsError::Authorities)?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(Certificate(Arc::clone(key))));
    config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
    // A replayed sale is a second sale: early data stays off (it is by default; said here once
    // more).
    config.max_early_data_size = 0;
    if roots.is_some() {
        // Who resumes a session is not verified anew, and the certificate may have ended since.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        let new = || ring::Ticketer::new().map_err(|_| TlsError::Configuration);
        config.send_tls13_tickets = 1;
        config.ticketer = ticketer.map_or_else(new, Ok)?;
    }
    Ok(config)
}

/// Beginning and end of a certificate's life, in UNIX seconds.
fn validity(certificate: &CertificateDer<'_>) -> Option<(i64, i64)> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let validity = certificate.validity();
    Some((validity.not_before.timestamp(), validity.not_after.timestamp()))
}

/// How long a client's certificate still holds; not at all, where that cannot be read.
pub(crate) fn rest_of(certificate: &CertificateDer<'_>, now: Timestamp) -> Duration {
    let end = validity(certificate).and_then(|(_, until)| u64::try_from(until).ok());
    // Its last second is its own (RFC 5280 section 4.1.2.5).
    let end = end.map_or(Duration::ZERO, |until| Duration::from_secs(until.saturating_add(1)));
    end.saturating_sub(Duration::from_millis(now.as_millis()))
}

fn is_valid(leaf: Option<&CertificateDer<'_>>, now: Timestamp) -> bool {
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    leaf.and_then(validity).is_some_and(|(from, until)| (from..=until).contains(&now))
}

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSetup").field("files", &self.0.load().files).finish_non_exhaustive()
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh").field("news", &self.news).finish_non_exhaustive()
    }
}

struct Certificate(Arc<CertifiedKey>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

fn read_certified_key(
    files: &TlsFiles,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_certificates(&files.certificate).ok_or(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|_| TlsError::Key)?;
    let key = provider.key_provider.load_private_key(key).map_err(|_| TlsError::Key)?;
    let certified = CertifiedKey::new(chain, key);
    certified.keys_match().map_err(|_| TlsError::Mismatch)?;
    Ok(certified)
}

fn read_certificates(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).ok()?.collect();
    chain.ok().filter(|chain| !chain.is_empty())
}

/// Chain and key of a certificate that we show to others.
pub(crate) fn read_client(
    certificate: &Path,
    key: &[u8],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = read_certificates(certificate).ok_or(TlsError::Certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| TlsError::Key)?;
    Ok((chain, key))
}

/// Certificate authorities from a PEM file; one that cannot be used is an error.
pub(crate) fn read_roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path).ok_or(TlsError::Authorities)? {
        roots.add(certificate).map_err(|_| TlsError::Authorities)?;
    }
    Ok(roots)
}

/// Names in a certificate that rustls has verified; none when it cannot be read.
pub(crate) fn identity_of(certificate: &CertificateDer<'_>) -> Option<ClientIdentity> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let mut identity = ClientIdentity::default();
    if let Some(names) = certificate.subject_alternative_name().ok()? {
        for name in &names.value.general_names {
            match name {
                GeneralName::DNSName(dns) => identity.dns.push((*dns).to_owned()),
                GeneralName::URI(uri) => identity.uris.push((*uri).to_owned()),
                _ => {}
            }
        }
    }
    Some(identity)
}
