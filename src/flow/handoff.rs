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

impl Flow {
    /// The hand-off of a challenge. Looking at it consumes nothing, people reload pages; once the
    /// browser has come back there is nothing to see any more.
    pub fn handoff_page(&self, id: &str, now: Timestamp) -> Result<HandoffPage, Refusal> {
        let relay = RelayId::parse(id).ok().and_then(|id| self.vault.relay(&id, now).ok());
        let relay = relay.ok_or(Refusal::SessionUnknown)?;
        let kept = relay.payload.reveal(Kept::unpack).ok_or(Refusal::SessionUnknown)?;
        let account = self.registry.account(&kept.account).ok_or(Refusal::SessionUnknown)?;
        if !kept.way_back.is_empty() && !self.is_open(&kept.way_back, now) {
            return Err(Refusal::SessionUnknown);
        }
        let ours = (!kept.way_back.is_empty()).then(|| self.relay_url(&kept.way_back));
        let term_url = &account.profile.challenge.term_url;
        let mut fields = query_fields(&kept);
        fields.extend(kept.fields.iter().map(|(name, value)| match &ours {
            Some(ours) if name == term_url => (name.clone(), ours.clone()),
            _ => (name.clone(), value.clone()),
        }));
        let apps = self.apps.iter().filter(|app| app.may_use(&account.name));
        let ancestors = apps.flat_map(|app| app.origins.iter().cloned()).collect();
        let (action, method) = (kept.action.clone(), kept.method.clone());
        Ok(HandoffPage { action, method, fields, ancestors })
    }

    fn is_open(&self, way_back: &str, now: Timestamp) -> bool {
        let relay = RelayId::parse(way_back).ok().and_then(|id| self.vault.relay(&id, now).ok());
        relay.is_some_and(|relay| relay.state == RelayState::Issued)
    }
}

/// A form with method GET replaces its action's query, so the query travels as fields of its own.
fn query_fields(kept: &Kept) -> Vec<(String, String)> {
    match Url::parse(&kept.action) {
        Ok(url) if kept.method == "GET" => url.query_pairs().into_owned().collect(),
        _ => Vec::new(),
    }
}
