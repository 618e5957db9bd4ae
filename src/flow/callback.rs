//! A provider's callback: [`Unverified`] → [`Verified`] → a delivery to the application.
//!
//! The signature is checked over the raw bytes before anything is parsed. The provider is
//! acknowledged only after the application has answered, so nothing is lost and no queue is needed.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use crate::caller::App;
use crate::card::Timestamp;
use crate::credential::{CallbackScheme, sandwich_digest};
use crate::provider::{Account, CallbackRules, ProviderHost};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Audience, Mark};
use crate::wire::{Document, Known, parse};

use super::answer::clean;
use super::changes::Changes;
use super::forward::Prepared;
use super::packed::{Packer, Unpacker};
use super::relay::path_and_query;
use super::{Answer, Flow, Refusal, Withheld, text_at};

/// How long a delivered callback is remembered: providers keep them for 14 days.
const REMEMBERED: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A callback as it came in. Nothing in it is believed.
#[derive(Debug)]
pub struct Unverified<'c> {
    /// The account in the path.
    pub account: &'c str,
    /// The sealed address in the path, where there is one.
    pub sealed: Option<&'c str>,
    /// All headers.
    pub headers: &'c HeaderMap,
    /// The raw body.
    pub body: CleartextBody,
}

/// A callback that the provider signed.
#[derive(Debug)]
pub struct Verified<'f> {
    account: &'f Arc<Account>,
    rules: &'f CallbackRules,
    app: &'f App,
    url: Url,
    body: CleartextBody,
}

impl Verified<'_> {
    /// The account's name.
    pub fn account(&self) -> &str {
        &self.account.name
    }

    /// The application's name.
    pub fn app(&self) -> &str {
        self.app.tenant.as_str()
    }
}

/// What is to be done about a callback.
#[derive(Debug)]
pub enum Verdict {
    /// Delivered before, or overtaken by a newer one: the provider is told that it arrived.
    Acknowledge,
    /// Send this to the application, then call [`Flow::delivered`].
    Deliver(Box<Prepared>, Delivery),
}

/// Holds the right to deliver one callback.
#[derive(Debug)]
pub struct Delivery {
    key: Vec<u8>,
    subject: Vec<u8>,
    updated: u64,
}

impl Flow {
    /// The address that the provider is given in place of the application's own, which is sealed
    /// inside; `None` when the application may not have callbacks delivered there.
    pub(super) fn callback_url(&self, account: &str, app: &App, theirs: &str) -> Option<String> {
        let url = Url::parse(theirs).ok()?;
        ProviderHost::of_url(&url, &app.callback_hosts)?;
        let inside = Packer::default().put(app.tenant.as_str().as_bytes()).put(theirs.as_bytes());
        let sealed = inside.close().reveal(|bytes| self.vault.seal_text(&purpose(account), bytes));
        Some(self.public(&format!("/callbacks/{account}/{sealed}")))
    }

    /// The application's own address inside one of ours.
    pub(super) fn own_callback_url(&self, account: &str, ours: &str) -> Option<String> {
        let sealed = ours.strip_prefix(&self.public(&format!("/callbacks/{account}/")))?;
        let inside = self.vault.open_text(&purpose(account), sealed)?;
        inside.reveal(|bytes| {
            let mut unpacker = Unpacker::new(bytes);
            unpacker.bytes()?;
            unpacker.owned()
        })
    }

    /// Believes a callback only when the provider's signature over its raw bytes is right.
    pub fn verify<'f>(&'f self, callback: Unverified<'_>) -> Result<Verified<'f>, Refusal> {
        let account = self.registry.account(callback.account).ok_or(Refusal::RouteUnknown)?;
        let rules = account.profile.callback.as_ref().ok_or(Refusal::RouteUnknown)?;
        let mut signatures = callback.headers.get_all(&rules.header).iter();
        let (Some(signature), None) = (signatures.next(), signatures.next()) else {
            return Err(Refusal::SignatureRefused);
        };
        let genuine = match rules.scheme {
            CallbackScheme::SandwichSha1 => sandwich_digest::verify(
                &account.callback_secrets,
                callback.body.as_bytes(),
                signature.as_bytes(),
            ),
        };
        if !genuine {
            return Err(Refusal::SignatureRefused);
        }
        let (app, url) = self.destination(account, callback.sealed)?;
        Ok(Verified { account, rules, app, url, body: callback.body })
    }

    /// Where a callback goes: the address sealed into the URL, else the account's own.
    fn destination(&self, account: &Account, sealed: Option<&str>) -> Result<(&App, Url), Refusal> {
        let inside = sealed.and_then(|text| self.vault.open_text(&purpose(&account.name), text));
        let named = inside.as_ref().and_then(|inside| inside.reveal(read_destination));
        let (app, url) = match (named, &account.default_callback) {
            (Some(named), _) => named,
            (None, Some((app, url))) => (app.clone(), url.clone()),
            (None, None) => return Err(Refusal::CallbackUndeliverable),
        };
        let app = self.apps.named(&app).filter(|app| app.may_use(&account.name));
        Ok((app.ok_or(Refusal::CallbackUndeliverable)?, url))
    }

    /// Decides whether a callback is delivered, and makes what the application is sent.
    pub fn judge(&self, callback: Verified<'_>, now: Timestamp) -> Result<Verdict, Refusal> {
        let document = parse(callback.body.as_bytes()).map_err(|_| Refusal::CallbackUnreadable)?;
        let delivery = name(&callback, &document).ok_or(Refusal::CallbackUnreadable)?;
        if !self.vault.newest(&delivery.subject, delivery.updated, REMEMBERED, now)? {
            return Ok(Verdict::Acknowledge);
        }
        match self.vault.mark(&delivery.key, REMEMBERED, now)? {
            Mark::Done => return Ok(Verdict::Acknowledge),
            Mark::InFlight => return Err(Refusal::CallbackInFlight),
            Mark::New => {}
        }
        match self.notification(&callback, &document, now) {
            Ok(prepared) => Ok(Verdict::Deliver(Box::new(prepared), delivery)),
            Err(refusal) => {
                self.vault.unmark(&delivery.key);
                Err(refusal)
            }
        }
    }

    /// Notes what became of a delivery: only exactly 200 counts, as with the provider itself.
    pub fn delivered(
        &self,
        delivery: Delivery,
        status: Option<u16>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if status == Some(200) {
            // Should the mark be gone, a repetition is delivered again: at least once, never lost.
            let _ = self.vault.mark_done(&delivery.key, now);
            return Ok(());
        }
        self.vault.unmark(&delivery.key);
        Err(Refusal::CallbackNotTaken)
    }

    fn notification(
        &self,
        callback: &Verified<'_>,
        document: &Document<'_>,
        now: Timestamp,
    ) -> Result<Prepared, Refusal> {
        let body = self.rewritten(callback, document, now)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let answer = Answer { status: 200, headers, body };
        let (_, headers, body) = clean(answer, None, &Known { pans: &[], cvvs: &[] })?.into_parts();
        let mut headers: Vec<_> =
            headers.into_iter().filter_map(|(name, value)| Some((name?, value))).collect();
        if let Some(signature) = signature_for(callback, body.as_bytes()) {
            headers.push((callback.rules.header.clone(), signature));
        }
        let target = ProviderHost::of_url(&callback.url, &callback.app.callback_hosts);
        Ok(Prepared {
            target: target.ok_or(Refusal::CallbackUndeliverable)?,
            method: Method::POST,
            path_and_query: path_and_query(callback.url.as_str()),
            headers,
            body,
        })
    }

    fn rewritten(
        &self,
        callback: &Verified<'_>,
        document: &Document<'_>,
        now: Timestamp,
    ) -> Result<CleartextBody, Refusal> {
        let account = &callback.account;
        let audience = Audience {
            tenant: callback.app.tenant.clone(),
            account: crate::vault::Account::new(&account.name),
            mode: account.mode,
        };
        let (rules, mut changes) = (&callback.rules.answer, Changes::default());
        self.swap_bearers(document, rules, &audience, None, &mut changes, now)?;
        self.restore_callback_urls(document, rules, &account.name, &mut changes);
        let body = changes.apply(callback.body.as_bytes());
        body.map_err(|_| Refusal::AnswerWithheld(Withheld::Unreadable))
    }
}

fn purpose(account: &str) -> String {
    format!("callback/{account}")
}

fn read_destination(inside: &[u8]) -> Option<(String, Url)> {
    let mut unpacker = Unpacker::new(inside);
    Some((unpacker.owned()?, Url::parse(unpacker.text()?).ok()?))
}

/// What the callback is about and how new it is. Two changes can fall into one second, so the
/// status tells callbacks apart besides `updated`.
fn name(callback: &Verified<'_>, document: &Document<'_>) -> Option<Delivery> {
    let id = text_at(document, &callback.rules.id)?;
    let status = text_at(document, &callback.rules.status)?;
    let updated = document.find(&callback.rules.updated)?;
    let updated: u64 = std::str::from_utf8(updated.raw()).ok()?.parse().ok()?;
    let subject = Packer::default()
        .put(callback.account.name.as_bytes())
        .put(id.as_bytes())
        .close()
        .reveal(<[u8]>::to_vec);
    let mut key = subject.clone();
    key.extend_from_slice(&updated.to_be_bytes());
    key.extend_from_slice(status.as_bytes());
    Some(Delivery { key, subject, updated })
}

/// The signature that the application can verify with what it holds; none where it holds nothing.
fn signature_for(callback: &Verified<'_>, body: &[u8]) -> Option<HeaderValue> {
    let held = callback.account.virtual_of(callback.app.tenant.as_str())?;
    let key: &SecretBytes = held.basic.as_ref()?.key();
    match callback.rules.scheme {
        CallbackScheme::SandwichSha1 => {
            HeaderValue::from_str(&sandwich_digest::sign(key, body)).ok()
        }
    }
}
