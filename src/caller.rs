//! Who may call: the merchant's applications, how they are recognised and what they are granted.
//!
//! Must never: hold an application's key, only its hash.

use subtle::ConstantTimeEq as _;

use crate::card::Mode;
use crate::provider::HostPort;
use crate::secret::{scoured, sha256};
use crate::vault::Tenant;

/// One application.
#[derive(Debug)]
pub struct App {
    /// Its name; tokens belong to it.
    pub tenant: Tenant,
    /// Live or test.
    pub mode: Mode,
    /// SHA-256 of its keys; two can be live while one replaces the other.
    pub key_hashes: Vec<[u8; 32]>,
    /// DNS names of its client certificates.
    pub client_names: Vec<String>,
    /// The accounts it may use.
    pub accounts: Vec<String>,
    /// Where its capture sessions may live.
    pub origins: Vec<String>,
    /// Where its callbacks may be delivered.
    pub callback_hosts: Vec<HostPort>,
}

impl App {
    /// Whether it may use this account.
    pub fn may_use(&self, account: &str) -> bool {
        self.accounts.iter().any(|granted| granted == account)
    }
}

/// All applications.
#[derive(Debug, Default)]
pub struct Apps(Vec<App>);

impl Apps {
    /// Names are unique; the configuration has checked that.
    pub fn new(apps: Vec<App>) -> Self {
        Self(apps)
    }

    /// The application of that name.
    pub fn named(&self, name: &str) -> Option<&App> {
        self.0.iter().find(|app| app.tenant.as_str() == name)
    }

    /// The application that this key belongs to.
    pub fn with_key(&self, key: &[u8]) -> Option<&App> {
        let hash = scoured(|| sha256(&[key]));
        self.0.iter().find(|app| {
            app.key_hashes
                .iter()
                .fold(false, |found, known| bool::from(known.ct_eq(&*hash)) | found)
        })
    }

    /// The application that one of these certificate names belongs to.
    pub fn with_name(&self, names: &[String]) -> Option<&App> {
        self.0.iter().find(|app| names.iter().any(|name| app.client_names.contains(name)))
    }

    /// Whether any application's capture sessions may live at this origin.
    pub fn any_origin(&self, origin: &str) -> bool {
        self.0.iter().any(|app| app.origins.iter().any(|known| known == origin))
    }

    /// Every application.
    pub fn iter(&self) -> impl Iterator<Item = &App> {
        self.0.iter()
    }
}
