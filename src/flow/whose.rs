//! Whose payment a step of a browser is about: for the log alone, nothing is decided by it.

use std::sync::Arc;

use crate::card::{RelayId, Timestamp};
use crate::vault::Tenant;

use super::challenge::{self, WayBack};
use super::{Flow, payform};

/// The application and the account of a step.
#[derive(Debug)]
pub struct Whose {
    /// Unknown on the page that leads to the bank: it is the account's alone.
    pub app: Option<Tenant>,
    /// As it is configured.
    pub account: Arc<str>,
}

impl Flow {
    /// Looks into what is kept for a hand-off page, a return or a card form, as long as it is kept:
    /// once the step is done, its outcome stands in its place.
    pub fn whose(&self, id: &str, now: Timestamp) -> Option<Whose> {
        let id = RelayId::parse(id).ok()?;
        let kept = self.vault.relay(&id, now).ok()?.payload;
        let (account, app) = kept.reveal(|payload| {
            payform::whose(payload)
                .or_else(|| WayBack::unpack(payload).map(|kept| (kept.account, kept.tenant)))
                .or_else(|| {
                    Some((challenge::Kept::unpack(payload)?.account.clone(), String::new()))
                })
        })?;
        let app = Some(app).filter(|app| !app.is_empty()).map(|app| Tenant::new(&app));
        Some(Whose { app, account: self.account_named(&account)? })
    }

    /// An account's name as it is configured; nothing that somebody made up.
    pub fn account_named(&self, name: &str) -> Option<Arc<str>> {
        self.registry.account(name).map(|account| Arc::clone(&account.name))
    }
}
