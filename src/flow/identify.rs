//! Who calls, and with what the provider is to be told who we are.
//!
//! An application is known by its client certificate, by `Portcullis-Key`, or by the virtual
//! credentials that it holds for the account. Where it shows several they must agree.

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};

use crate::caller::App;
use crate::card::{Handle, Timestamp};
use crate::credential::{PresentedBasic, PresentedBearer, Scheme};
use crate::provider::{Account, Api, Route};
use crate::vault::Bearer;
use crate::wire::Pointer;

use super::fields::Fields;
use super::proof;
use super::{Flow, Refusal};

/// The header with an application's own key.
const KEY_HEADER: &str = "portcullis-key";

/// What stands before a bearer token.
const BEARER: &[u8] = b"Bearer ";

/// What a caller showed.
pub(super) struct Shown<'c> {
    pub headers: &'c HeaderMap,
    pub client_names: &'c [String],
}

/// Who it is, and what the provider expects in place of what was shown.
pub(super) struct Identified<'f> {
    pub app: &'f App,
    pub authorization: Option<HeaderValue>,
    pub bearer: Option<Bearer>,
    /// What tells a signed request from its repetition.
    pub once: Option<Vec<u8>>,
}

/// The call that somebody shows credentials for.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub account: &'a Account,
    pub api: &'a Api,
    pub route: &'a Route,
    pub body: Option<&'a Fields<'a>>,
    pub raw: &'a [u8],
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
        asked: Asked<'_>,
        now: Timestamp,
    ) -> Result<Identified<'_>, Refusal> {
        let Asked { account, api, .. } = asked;
        let known = self.by_key_or_name(shown)?;
        let identified = match api.credential {
            Scheme::Basic => self.by_basic(shown, account, known)?,
            Scheme::BearerHandle => self.by_handle(shown, account, known, now)?,
            Scheme::BodyValue => self.by_body(asked, known)?,
            Scheme::HandleValue => self.by_handle_value(asked, known, now)?,
            Scheme::SortedDigest => self.by_digest(asked, known)?,
            Scheme::AccessHeaders => self.by_access_headers(shown, asked, known, now)?,
            Scheme::None => plain(known)?,
        };
        if !identified.app.may_use(&account.name) {
            return Err(Refusal::AccountNotGranted);
        }
        check_body_signature(shown, asked, identified.app)?;
        Ok(identified)
    }

    /// The application whose secret made the digest over the signed fields as they were sent.
    fn by_digest<'f>(
        &'f self,
        asked: Asked<'_>,
        known: Option<&'f App>,
    ) -> Result<Identified<'f>, Refusal> {
        let (fields, pointer) = value_of(asked)?;
        let presented = fields.text(pointer)?.ok_or(Refusal::CallerSignature)?;
        let values = proof::signed_values(fields, &asked.route.request.sign)?;
        let held = asked.account.virtuals.iter().find(|held| {
            let secret = held.credentials.secret.as_ref();
            secret.is_some_and(|secret| values.verify(secret, presented.as_bytes()))
        });
        let app = held.and_then(|held| self.apps.named(&held.app));
        let app = agree(known, Some(app.ok_or(Refusal::CallerSignature)?))?;
        plain(app)
    }

    /// The application whose key signed the normalised body and a fresh time.
    fn by_access_headers<'f>(
        &'f self,
        shown: &Shown<'_>,
        asked: Asked<'_>,
        known: Option<&'f App>,
        now: Timestamp,
    ) -> Result<Identified<'f>, Refusal> {
        let body = asked.body.and_then(Fields::json).ok_or(Refusal::BodyUnexpected)?;
        let access = proof::access(shown.headers).ok_or(Refusal::CallerSignature)?;
        let open = asked.account.profile.access;
        let message = access.message(body, open);
        let held = asked.account.virtuals.iter().find(|held| {
            held.request_check
                .as_ref()
                .is_some_and(|key| access.made_by(key, message.as_bytes(), open))
        });
        let app = held.and_then(|held| self.apps.named(&held.app));
        let app = agree(known, Some(app.ok_or(Refusal::CallerSignature)?))?;
        if !access.is_fresh(asked.api.tolerance, now) {
            return Err(Refusal::CallerTimestamp);
        }
        let once = (!asked.route.request.repeatable).then(|| access.once(&asked.account.name));
        Ok(Identified { once, ..plain(app)? })
    }

    /// A handle inside the body says who calls, as one in a header does.
    fn by_handle_value<'f>(
        &'f self,
        asked: Asked<'_>,
        known: Option<&'f App>,
        now: Timestamp,
    ) -> Result<Identified<'f>, Refusal> {
        let (fields, pointer) = value_of(asked)?;
        let text = fields.text(pointer)?.ok_or(Refusal::HandleUnknown)?;
        let bearer = self.handle(text.as_str(), asked.account, now)?;
        let app = self.apps.named(bearer.tenant.as_str()).ok_or(Refusal::HandleUnknown)?;
        let app = agree(known, Some(app))?;
        Ok(Identified { bearer: Some(bearer), ..plain(app)? })
    }

    /// What a handle stands for, when it is one of this account's.
    pub(super) fn handle(
        &self,
        text: &str,
        account: &Account,
        now: Timestamp,
    ) -> Result<Bearer, Refusal> {
        Handle::parse(text)
            .ok()
            .and_then(|handle| {
                self.vault.open_bearer(&handle, &account.name, account.mode, now).ok()
            })
            .ok_or(Refusal::HandleUnknown)
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
        let authorization = Some(real.header_value().reveal(|value| sensitive(value.to_vec()))?);
        Ok(Identified { authorization, ..plain(Some(app))? })
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
            .and_then(|bearer| bearer.reveal(|text| self.handle(text, account, now)))
            .ok_or(Refusal::HandleUnknown)??;
        let app = self.apps.named(bearer.tenant.as_str()).ok_or(Refusal::HandleUnknown)?;
        let app = agree(known, Some(app))?;
        let header = bearer.secret.reveal(|token| [BEARER, token].concat());
        let authorization = Some(sensitive(header)?);
        Ok(Identified { authorization, bearer: Some(bearer), ..plain(app)? })
    }

    fn by_body<'f>(
        &'f self,
        asked: Asked<'_>,
        known: Option<&'f App>,
    ) -> Result<Identified<'f>, Refusal> {
        let (fields, pointer) = value_of(asked)?;
        let shown = fields.text(pointer)?;
        let held = shown.as_ref().and_then(|value| {
            asked.account.virtuals.iter().find(|held| {
                held.credentials.public_key.as_ref().is_some_and(|key| key.ct_eq(value.as_bytes()))
            })
        });
        if shown.is_some() && held.is_none() {
            return Err(Refusal::CallerUnknown);
        }
        let by_value = held.and_then(|held| self.apps.named(&held.app));
        plain(agree(known, by_value)?)
    }
}

/// A header that is never printed. It keeps the bytes where they are.
fn sensitive(value: Vec<u8>) -> Result<HeaderValue, Refusal> {
    let value = HeaderValue::try_from(value);
    let mut value = value.map_err(|_| Refusal::UpstreamMissing)?;
    value.set_sensitive(true);
    Ok(value)
}

fn plain(known: Option<&App>) -> Result<Identified<'_>, Refusal> {
    let app = known.ok_or(Refusal::CallerUnknown)?;
    Ok(Identified { app, authorization: None, bearer: None, once: None })
}

/// The body and where its credential is.
fn value_of<'a>(asked: Asked<'a>) -> Result<(&'a Fields<'a>, &'a Pointer), Refusal> {
    let fields = asked.body.ok_or(Refusal::BodyUnexpected)?;
    Ok((fields, asked.api.value.as_ref().ok_or(Refusal::UpstreamMissing)?))
}

/// Where the provider wants its body signed in a header, so does the application with what it
/// holds.
fn check_body_signature(shown: &Shown<'_>, asked: Asked<'_>, app: &App) -> Result<(), Refusal> {
    let Some(signature) = asked.api.signature.as_ref().filter(|_| !asked.raw.is_empty()) else {
        return Ok(());
    };
    let presented = single(shown.headers, signature.header.as_str())?;
    let presented = presented.ok_or(Refusal::CallerSignature)?;
    let held = asked.account.virtual_of(app.tenant.as_str());
    let secret = held.and_then(|held| held.credentials.secret.as_ref());
    let secret = secret.ok_or(Refusal::CallerSignature)?;
    match signature.hmac.verify(std::slice::from_ref(secret), asked.raw, presented) {
        true => Ok(()),
        false => Err(Refusal::CallerSignature),
    }
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
    let first = values.next().map(HeaderValue::as_bytes);
    if values.next().is_some() { Err(Refusal::CallerUnknown) } else { Ok(first) }
}
