//! The page that sends the browser to the access control server, with all fields the provider gave.

use url::Url;

use crate::card::{RelayId, Timestamp};
use crate::vault::RelayState;

use super::challenge::Kept;
use super::{Flow, Refusal};

/// What the hand-off page is made of.
#[derive(Debug)]
pub struct HandoffPage {
    /// The access control server.
    pub action: String,
    /// `GET` or `POST`.
    pub method: String,
    /// Names and values, opaque.
    pub fields: Vec<(String, String)>,
    /// Origins whose pages may frame it: those of the applications that use the account.
    pub ancestors: Vec<String>,
}

impl Drop for HandoffPage {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.fields.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

/// What is at the address of a hand-off.
#[derive(Debug)]
pub enum HandoffStep {
    /// The way to the access control server.
    Page(HandoffPage),
    /// The browser has been there and came back: the address of the return, which tells what came
    /// of it. Whoever presses "back" lands here.
    Over(String),
}

impl Flow {
    /// The hand-off of a challenge. Looking at it consumes nothing, people reload pages; once the
    /// browser has come back its fields are not shown any more.
    pub fn handoff(&self, id: &str, now: Timestamp) -> Result<HandoffStep, Refusal> {
        let relay = RelayId::parse(id).ok().and_then(|id| self.vault.relay(&id, now).ok());
        let relay = relay.ok_or(Refusal::SessionUnknown)?;
        let kept = relay.payload.reveal(Kept::unpack).ok_or(Refusal::SessionUnknown)?;
        let account = self.registry.account(&kept.account).ok_or(Refusal::SessionUnknown)?;
        if !kept.way_back.is_empty() && !self.is_open(&kept.way_back, now)? {
            return Ok(HandoffStep::Over(self.relay_url(&kept.way_back)));
        }
        let ours = (!kept.way_back.is_empty()).then(|| self.relay_url(&kept.way_back));
        let term_url = &account.profile.challenge.term_url;
        let mut fields = query_fields(&kept);
        fields.extend(kept.fields.iter().map(|(name, value)| match &ours {
            Some(ours) if name == term_url => (name.clone(), ours.clone()),
            _ => (name.clone(), value.clone()),
        }));
        let ancestors = self.origins_at(&account.name);
        let (action, method) = (kept.action.clone(), kept.method.clone());
        Ok(HandoffStep::Page(HandoffPage { action, method, fields, ancestors }))
    }

    /// Origins of the applications that use an account: their pages may frame its steps.
    pub(super) fn origins_at(&self, account: &str) -> Vec<String> {
        let apps = self.apps.iter().filter(|app| app.may_use(account));
        apps.flat_map(|app| app.origins.iter().cloned()).collect()
    }

    fn is_open(&self, way_back: &str, now: Timestamp) -> Result<bool, Refusal> {
        let id = RelayId::parse(way_back).map_err(|_| Refusal::SessionUnknown)?;
        let relay = self.vault.relay(&id, now).map_err(|_| Refusal::SessionUnknown)?;
        Ok(relay.state == RelayState::Issued)
    }
}

/// A form with method GET replaces its action's query, so the query travels as fields of its own.
fn query_fields(kept: &Kept) -> Vec<(String, String)> {
    match Url::parse(&kept.action) {
        Ok(url) if kept.method == "GET" => url.query_pairs().into_owned().collect(),
        _ => Vec::new(),
    }
}
