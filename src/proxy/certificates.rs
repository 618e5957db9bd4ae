//! What stands in a file of certificates, for whoever keeps an inventory of them.

use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::certificate::X509Certificate;
use x509_parser::public_key::PublicKey;

use crate::card::Timestamp;

use super::tls::identity_of;

/// One certificate.
#[derive(Debug)]
pub struct Described {
    /// DNS names; the subject where it has none.
    pub names: Vec<String>,
    /// Who issued it.
    pub issuer: String,
    /// Kind and strength of its key.
    pub key: String,
    /// The end of its life.
    pub until: Timestamp,
}

/// The certificates of a PEM file; nothing when it cannot be read.
#[must_use]
pub fn described(file: &Path) -> Option<Vec<Described>> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).ok()?.collect();
    all.ok()?.iter().map(describe).collect()
}

fn describe(der: &CertificateDer<'_>) -> Option<Described> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let mut names = identity_of(der)?.dns;
    if names.is_empty() {
        names.push(certificate.subject().to_string());
    }
    let until = certificate.validity().not_after.timestamp();
    Some(Described {
        names,
        issuer: certificate.issuer().to_string(),
        key: key(&certificate),
        until: Timestamp::from_secs(u64::try_from(until).unwrap_or_default()),
    })
}

fn key(certificate: &X509Certificate<'_>) -> String {
    match certificate.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => format!("RSA {}", key.key_size()),
        Ok(PublicKey::EC(point)) => format!("EC {}", point.key_size()),
        // Edwards curves have one strength each, and no variant of their own.
        _ => certificate.public_key().algorithm.algorithm.to_string(),
    }
}
