//! A throw-away certificate authority and the certificates of `localhost`. Nothing here outlives
//! the run.

use crate::shop::own;
use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio_rustls::TlsAcceptor;

const DAY: Duration = Duration::from_secs(86_400);

/// Certificate chain and private key, both PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

impl Identity {
    /// A TLS acceptor that presents this certificate; HTTP/1.1 only.
    pub fn acceptor(&self) -> Result<TlsAcceptor> {
        let chain = CertificateDer::pem_slice_iter(self.certificate.as_bytes())
            .collect::<Result<Vec<_>, _>>()
            .context("the certificate is not PEM")?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())
            .context("the private key is not PEM")?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(tls)))
    }
}

/// The authority.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Ca {
    /// Makes one, valid from yesterday for thirty days.
    pub fn new() -> Result<Self> {
        let mut params = named("Portcullis sandbox CA (throw-away)", Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    /// The CA's own certificate, PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server certificate for `localhost`, the shop with its own form, `127.0.0.1` and `::1`.
    pub fn localhost(&self, common_name: &str) -> Result<Identity> {
        let names = ["localhost", own::HOST, "127.0.0.1", "::1"].map(str::to_owned).to_vec();
        self.issue(common_name, names, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server certificate for another name alone: nobody here has it.
    pub fn elsewhere(&self, dns_name: &str) -> Result<Identity> {
        self.issue(dns_name, vec![dns_name.to_owned()], ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server certificate for `localhost` whose time ended yesterday.
    pub fn expired(&self) -> Result<Identity> {
        let mut params = named("expired", vec!["localhost".to_owned()])?;
        params.not_after = params.not_before;
        params.not_before = params.not_after - DAY;
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A server certificate for `localhost` that is valid in a while.
    pub fn valid_in(&self, wait: Duration) -> Result<Identity> {
        let mut params = named("not yet", vec!["localhost".to_owned()])?;
        params.not_before += DAY + wait;
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate with one DNS name, for the private listener's mutual TLS.
    pub fn client(&self, dns_name: &str) -> Result<Identity> {
        self.issue(dns_name, vec![dns_name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// What a client of this CA trusts.
    pub fn roots(&self) -> Result<RootCertStore> {
        roots(&self.certificate)
    }

    fn issue(
        &self,
        common_name: &str,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        self.sign(named(common_name, names)?, usage)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<Identity> {
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// Roots from PEM text.
pub fn roots(pem: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.context("the CA is not PEM")?)?;
    }
    Ok(roots)
}

fn named(common_name: &str, names: Vec<String>) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let today = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let start = date_time_ymd(1970, 1, 1) + today.saturating_sub(DAY);
    params.not_before = start;
    params.not_after = start + 31 * DAY;
    Ok(params)
}
