//! What applications are granted: accounts at which they can show who they are.

use crate::caller::{App, Apps};
use crate::credential::Scheme;
use crate::provider::{Account, Credentials, Registry, Route, Virtual};

use super::Listen;
use super::merchant::tables_of;
use super::profile::has_body;
use super::reader::Table;

const UNKNOWN: &str = "is an account at which the app can show nothing: it needs key_sha256, \
                       client_names with private.client_ca, or a table of its name with keys in \
                       [account.virtual]";
const NO_PROOF: &str = "is an account whose calls the app proves with a secret of its own: it needs \
                        a table of its name in [account.virtual]";

/// Grants name accounts that exist and are of the app's own mode: a test token never reaches a live
/// host, nor the other way round. The app must be able to show who it is there.
pub(super) fn check(root: &Table<'_>, apps: &Apps, registry: &Registry, private: Option<&Listen>) {
    let certificates = private.is_none_or(|listen| listen.client_ca.is_some());
    for (app, table) in tables_of(root, apps) {
        let is_known = !app.key_hashes.is_empty() || certificates && !app.client_names.is_empty();
        for (at, granted) in app.accounts.iter().enumerate() {
            match registry.account(granted) {
                None => table.fail("accounts", "names an account that is not there"),
                Some(account) if account.mode != app.mode => {
                    table.fail("accounts", "names an account of the other mode (test and live)");
                }
                Some(account) if Caller { app, is_known, account }.can_call() => {}
                Some(_) if is_known => table.fail_at("accounts", at, NO_PROOF),
                Some(_) => table.fail_at("accounts", at, UNKNOWN),
            }
        }
    }
}

/// An application at an account, known there by its key or certificate or not.
struct Caller<'c> {
    app: &'c App,
    is_known: bool,
    account: &'c Account,
}

impl Caller<'_> {
    /// Whether there is a call that it can prove to be its own.
    fn can_call(&self) -> bool {
        self.account.profile.routes.iter().any(|route| self.can_prove(route))
    }

    fn can_prove(&self, route: &Route) -> bool {
        let profile = &self.account.profile;
        let Some(api) = profile.apis.get(route.api) else { return false };
        let is_there = self.account.upstreams.get(route.api).is_some_and(Option::is_some);
        let held = self.account.virtual_of(self.app.tenant.as_str());
        let signs = api.signature.is_some() && has_body(&route.method);
        let is_proved = match api.credential {
            // Whoever has a table has what they need: it is required there.
            Scheme::SortedDigest | Scheme::AccessHeaders => held.is_some(),
            Scheme::Basic => self.is_known || held.is_some(),
            Scheme::None => self.is_known,
            Scheme::BodyValue => {
                let has_value = |held: &Virtual| held.credentials.public_key.is_some();
                self.is_known || held.is_some_and(has_value)
            }
            // A callback may bring the handle, else another call's answer, which counts itself.
            Scheme::BearerHandle | Scheme::HandleValue => held.is_some_and(holds),
        };
        is_there && is_proved && (held.is_some() || !signs)
    }
}

fn holds(held: &Virtual) -> bool {
    let Credentials { basic, public_key, secret, .. } = &held.credentials;
    basic.is_some() || public_key.is_some() || secret.is_some() || held.request_check.is_some()
}
