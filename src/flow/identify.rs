//! Who calls, and with what the provider is to be told who we are.
//!
//! An application is known by its client certificate, by `Portcullis-Key`, or by the virtual
//! credentials that it holds for the account. Where it shows several they must agree.

use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::caller::App;
use crate::card::{Handle, Timestamp};
use crate::credential::{PresentedBasic, PresentedBearer, Scheme};
use crate::provider::{Account, Api};
use crate::secret::SecretBytes;
use crate::vault::Bearer;
use crate::wire::Document;

use super::{Flow, Refusal};

/// The header with an application's own key.
const KEY_HEADER: &str = "portcullis-key";

/// What a caller showed.
pub(super) struct Shown<'c> {
    pub headers: &'c HeaderMap,
    pub client_names: &'c [String],
}

/// Who it is, and the header that the provider expects in place of what was shown.
pub(super) struct Identified<'f> {
    pub app: &'f App,
    pub authorization: Option<SecretBytes>,
    pub bearer: Option<Bearer>,
}

impl Flow {
    /// The application behind a key or a client certificate; used by our own calls.
    pub(super) fn caller(&self, shown: &Shown<'_>) -> Result<&App, Refusal> {
        self.by_key_or_name(shown)?.ok_or(Refusal::CallerUnknown)
    }

    fn by_key_or_name(&self, shown: &Shown<'_>) -> Result<Option<&App>, Refusal> {
        let by_key = match single(shown.headers, KEY_HEADER)? {
            Some(key) => Some(self.apps.with_key(key).ok_or(Refusal::CallerUnknown)?),
            None => None,
        };
        let by_name = self.apps.with_name(shown.client_names);
        agree(by_key, by_name)
    }

    /// The application behind a gateway call, by whatever it shows for this account.
    pub(super) fn identify(
        &self,
        shown: &Shown<'_>,
        account: &Account,
        api: &Api,
        body: Option<&Document<'_>>,
        now: Timestamp,
    ) -> Result<Identified<'_>, Refusal> {
        let known = self.by_key_or_name(shown)?;
        let identified = match api.credential {
            Scheme::Basic => self.by_basic(shown, account, known)?,
            Scheme::BearerHandle => self.by_handle(shown, account, known, now)?,
            Scheme::BodyValue => self.by_body(account, api, body, known)?,
            Scheme::None => plain(known)?,
        };
        if !identified.app.may_use(&account.name) {
            return Err(Refusal::AccountNotGranted);
        }
        Ok(identified)
    }

    fn by_basic<'f>(
        &'f self,
        shown: &Shown<'_>,
        account: &Account,
        known: Option<&'f App>,
    ) -> Result<Identified<'f>, Refusal> {
        let virtually = match single(shown.headers, AUTHORIZATION.as_str())? {
            Some(value) => {
                let presented = PresentedBasic::parse(value).ok_or(Refusal::CallerUnknown)?;
                Some(self.holder_of(account, &presented).ok_or(Refusal::CallerUnknown)?)
            }
            None => None,
        };
        let app = agree(known, virtually)?.ok_or(Refusal::CallerUnknown)?;
        let real = account.credentials.basic.as_ref().ok_or(Refusal::UpstreamMissing)?;
        Ok(Identified { app, authorization: Some(real.header_value()), bearer: None })
    }

    fn holder_of(&self, account: &Account, presented: &PresentedBasic) -> Option<&App> {
        let held = account.virtuals.iter().find(|held| {
            held.credentials.basic.as_ref().is_some_and(|basic| basic.accepts(presented))
        })?;
        self.apps.named(&held.app)
    }

    /// The handle alone says who calls: it is bound to one application and one account, and cannot
    /// be guessed.
    fn by_handle<'f>(
        &'f self,
        shown: &Shown<'_>,
        account: &Account,
        known: Option<&'f App>,
        now: Timestamp,
    ) -> Result<Identified<'f>, Refusal> {
        let value = single(shown.headers, AUTHORIZATION.as_str())?.ok_or(Refusal::CallerUnknown)?;
        let bearer = PresentedBearer::parse(value)
            .and_then(|bearer| bearer.reveal(|text| Handle::parse(text).ok()).flatten())
            .and_then(|handle| self.vault.open_bearer(&handle, now).ok())
            .filter(|bearer| bearer.account.as_str() == account.name)
            .ok_or(Refusal::HandleUnknown)?;
        let app = self.apps.named(bearer.tenant.as_str()).ok_or(Refusal::HandleUnknown)?;
        let app = agree(known, Some(app))?.ok_or(Refusal::CallerUnknown)?;
        let mut header = zeroize::Zeroizing::new(b"Bearer ".to_vec());
        bearer.secret.reveal(|token| header.extend_from_slice(token));
        Ok(Identified {
            app,
            authorization: Some(SecretBytes::from_slice(&header)),
            bearer: Some(bearer),
        })
    }

    fn by_body<'f>(
        &'f self,
        account: &Account,
        api: &Api,
        body: Option<&Document<'_>>,
        known: Option<&'f App>,
    ) -> Result<Identified<'f>, Refusal> {
        let shown = api
            .body_value
            .as_ref()
            .zip(body)
            .and_then(|(pointer, body)| super::text_at(body, pointer));
        let held = shown.as_ref().and_then(|value| {
            account.virtuals.iter().find(|held| {
                held.credentials.public_key.as_ref().is_some_and(|key| key.ct_eq(value.as_bytes()))
            })
        });
        let by_value = held.and_then(|held| self.apps.named(&held.app));
        let app = agree(known, by_value)?.ok_or(Refusal::CallerUnknown)?;
        Ok(Identified { app, authorization: None, bearer: None })
    }
}

fn plain(known: Option<&App>) -> Result<Identified<'_>, Refusal> {
    let app = known.ok_or(Refusal::CallerUnknown)?;
    Ok(Identified { app, authorization: None, bearer: None })
}

/// Two proofs of who calls must be of the same application.
fn agree<'f>(one: Option<&'f App>, other: Option<&'f App>) -> Result<Option<&'f App>, Refusal> {
    match (one, other) {
        (Some(one), Some(other)) if one.tenant.as_str() != other.tenant.as_str() => {
            Err(Refusal::CallerUnknown)
        }
        (one, other) => Ok(one.or(other)),
    }
}

/// A header that may stand once.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h [u8]>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(http::HeaderValue::as_bytes);
    if values.next().is_some() { Err(Refusal::CallerUnknown) } else { Ok(first) }
}
