//! What a payment provider looks like, as data.
//!
//! A [`Profile`] is one provider's document in facts, read from a file; an [`Account`] is one
//! merchant's credentials there; the [`Registry`] finds accounts by name. No provider has code
//! here: what a profile can say is a closed set, and a further white label is a file. Must never:
//! dial, or hold a card.

mod account;
mod host;
mod path;
mod profile;
mod status;

pub use account::{
    Account, CallbackKeys, Credentials, Handoff, PayformMode, RelayMode, StatusQueries, ThreeDs,
    Virtual,
};
pub use host::{HostPort, ProviderHost};
pub use path::{PathPattern, is_plain_path};
pub use profile::{
    Access, AnswerRules, Api, BodySignature, CallbackRules, Challenge, Inside, Part, Payform,
    PaymentKey, Profile, Proof, RequestRules, Reveal, Route,
};
pub use status::{AskedAt, AskedBy, StatusQuery, TimeStyle};

use std::sync::Arc;

/// All accounts of this installation.
#[derive(Debug, Default)]
pub struct Registry {
    accounts: Vec<Arc<Account>>,
}

impl Registry {
    /// Names are unique; the configuration has checked that.
    pub fn new(accounts: Vec<Arc<Account>>) -> Self {
        Self { accounts }
    }

    /// The account of that name. A linear search: an installation has a handful.
    pub fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.accounts.iter().find(|account| *account.name == *name)
    }

    /// Every account.
    pub fn accounts(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.accounts.iter()
    }
}
