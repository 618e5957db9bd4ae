//! TLS towards clients: certificate, versions, client verification.
//!
//! TLS 1.2 and 1.3 with AEAD suites, no early data, HTTP/2 and HTTP/1.1 by ALPN. Certificates are
//! swapped under traffic. Must never start with a key that does not fit its certificate.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use x509_parser::extensions::GeneralName;

use super::message::ClientIdentity;

/// ALPN identifier of HTTP/2.
pub(crate) const H2: &[u8] = b"h2";
/// ALPN identifier of HTTP/1.1.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";

/// The files a TLS listener is set up from.
#[derive(Clone, Debug)]
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
    /// Key and certificate do not belong together.
    Mismatch,
    /// The file of authorities cannot be read or holds none.
    Authorities,
    /// The TLS library refused the configuration: a bug.
    Configuration,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate file is unreadable or empty",
            Self::Key => "key file is unreadable or holds no usable private key",
            Self::Mismatch => "private key does not belong to the certificate",
            Self::Authorities => "file of certificate authorities is unreadable or empty",
            Self::Configuration => "TLS configuration was refused by the TLS library",
        })
    }
}

impl std::error::Error for TlsError {}

/// TLS of one listener. Cheap to clone; clones share the certificate.
#[derive(Clone)]
pub struct TlsSetup {
    files: Arc<TlsFiles>,
    certificate: Arc<Certificate>,
    pub(crate) config: Arc<ServerConfig>,
}

impl TlsSetup {
    /// Reads the files and checks that they fit together.
    ///
    /// # Errors
    /// When a file is unusable.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let key = read_certified_key(&files, &provider)?;
        let certificate = Arc::new(Certificate(ArcSwap::from_pointee(key)));
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|_| TlsError::Configuration)?;
        let builder = match &files.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let roots = Arc::new(read_roots(path)?);
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|_| TlsError::Authorities)?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        // A replayed sale is a second sale: early data stays off (it is by default; said here once
        // more).
        config.max_early_data_size = 0;
        config.send_tls13_tickets = 1;
        config.ticketer = ring::Ticketer::new().map_err(|_| TlsError::Configuration)?;
        Ok(Self { files: Arc::new(files), certificate, config: Arc::new(config) })
    }

    /// When the first certificate of the chain in use ends, in UNIX seconds; `None` when one cannot
    /// be read.
    #[must_use]
    pub fn ends(&self) -> Option<i64> {
        let key = self.certificate.0.load();
        let ends = key.cert.iter().map(|certificate| {
            let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
            Some(certificate.validity().not_after.timestamp())
        });
        ends.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Reads certificate and key again; connections made from now on see them. On failure the
    /// present ones stay in use.
    ///
    /// # Errors
    /// When a file is unusable.
    pub fn reload(&self) -> Result<(), TlsError> {
        let key = read_certified_key(&self.files, self.config.crypto_provider())?;
        self.certificate.0.store(Arc::new(key));
        Ok(())
    }
}

impl fmt::Debug for TlsSetup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsSetup").field("files", &self.files).finish_non_exhaustive()
    }
}

struct Certificate(ArcSwap<CertifiedKey>);

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate(..)")
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
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
