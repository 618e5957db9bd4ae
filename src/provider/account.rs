//! One merchant's credentials at one provider, and what its applications hold in their place.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::card::Mode;
use crate::credential::{Basic, SigningKey, VerifyingKey};
use crate::secret::SecretBytes;

use super::{HostPort, Profile, ProviderHost};

/// A merchant's account at a provider: the first path segment of a gateway route.
#[derive(Debug)]
pub struct Account {
    /// Its name in the path.
    pub name: Arc<str>,
    /// The provider.
    pub profile: Arc<Profile>,
    /// Live or test; tokens of the other kind are not redeemed here.
    pub mode: Mode,
    /// Base URLs in the order of [`Profile::apis`]; `None` where the account has none.
    pub upstreams: Vec<Option<ProviderHost>>,
    /// The real credentials.
    pub credentials: Credentials,
    /// What verifies the provider's callbacks.
    pub callback_keys: CallbackKeys,
    /// What each application holds.
    pub virtuals: Vec<Virtual>,
    /// How challenges are handed on.
    pub three_ds: ThreeDs,
    /// Where callbacks go that belong to no invoice of ours: application and URL.
    pub default_callback: Option<(String, Url)>,
    /// How the browser's card form reaches the provider.
    pub payform: PayformMode,
    /// Where the provider's card form may be.
    pub payform_hosts: Vec<HostPort>,
    /// Which payments Portcullis itself asks about when their outcome is unknown.
    pub status_queries: StatusQueries,
}

/// When Portcullis itself asks what became of a payment.
#[derive(Debug)]
pub struct StatusQueries {
    /// Routes whose payments are asked about, positions in [`Profile::routes`].
    pub routes: Vec<usize>,
    /// How long one question may take.
    pub timeout: Duration,
}

/// How the browser's card form reaches the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PayformMode {
    /// We post it and pass the answer to the browser.
    Server,
    /// The browser posts it from a page of ours.
    Browser,
}

/// What verifies a provider's callbacks: several while one replaces the other.
#[derive(Debug, Default)]
pub struct CallbackKeys {
    /// Shared secrets.
    pub secrets: Vec<SecretBytes>,
    /// Public or shared keys of signed alerts.
    pub alerts: Vec<VerifyingKey>,
}

/// Credentials in the schemes that profiles can name.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Account id and key.
    pub basic: Option<Basic>,
    /// The value that names the account inside a body.
    pub public_key: Option<SecretBytes>,
    /// The secret of digests and HMACs.
    pub secret: Option<SecretBytes>,
    /// The merchant's id in signed headers; not a secret.
    pub merchant_id: Option<String>,
    /// Signs requests.
    pub request_key: Option<Arc<SigningKey>>,
}

/// Credentials that are worthless anywhere else.
#[derive(Debug)]
pub struct Virtual {
    /// The application that holds them.
    pub app: String,
    /// What it holds.
    pub credentials: Credentials,
    /// Checks the application's own signatures.
    pub request_check: Option<VerifyingKey>,
    /// Signs what is delivered to it.
    pub alert_key: Option<SigningKey>,
}

/// How an account's challenges are handed to the browser.
#[derive(Debug)]
pub struct ThreeDs {
    /// Whether the application sees the provider's fields.
    pub handoff: Handoff,
    /// How the browser's return reaches the provider.
    pub relay: RelayMode,
    /// Whether the return address is replaced by ours.
    pub replace_term_url: bool,
    /// Where return addresses may point.
    pub hosts: Vec<HostPort>,
}

/// What the application is given of a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handoff {
    /// The address of our hand-off page; the provider's fields stay here.
    Page,
    /// The provider's own fields, with only the return address replaced.
    Inline,
}

/// How the return from the access control server reaches the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RelayMode {
    /// We send the received bytes on and pass the answer to the browser.
    Server,
    /// The browser is told to repeat its request at the provider (307).
    Redirect307,
}

impl Account {
    /// What this application holds for this account.
    pub fn virtual_of(&self, app: &str) -> Option<&Virtual> {
        self.virtuals.iter().find(|held| held.app == app)
    }
}

impl Handoff {
    /// The variant of that name in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "page" => Some(Self::Page),
            "inline" => Some(Self::Inline),
            _ => None,
        }
    }
}

impl RelayMode {
    /// The variant of that name in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "server" => Some(Self::Server),
            "redirect307" => Some(Self::Redirect307),
            _ => None,
        }
    }
}

impl PayformMode {
    /// The variant of that name in a configuration.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "server" => Some(Self::Server),
            "browser" => Some(Self::Browser),
            _ => None,
        }
    }
}
