//! A provider's callback: [`Unverified`] → [`Verified`] → a delivery to the application.
//!
//! The signature is checked over the raw bytes before anything is parsed. The provider is
//! acknowledged only after the application has answered, so nothing is lost and no queue is needed.

use std::sync::Arc;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use url::Url;

use crate::caller::App;
use crate::card::Timestamp;
use crate::credential::sandwich_digest;
use crate::provider::{Account, CallbackRules, Proof, ProviderHost, Virtual};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Mark, Tenant};
use crate::wire::{Encoding, Known, Pointer, parse};

use super::answer::{Scope, clean, unreadable};
use super::changes::Changes;
use super::conceal::Concealed;
use super::fields::{self, Content, Fields};
use super::forward::{Prepared, form_only};
use super::packed::{Packer, Unpacker};
use super::proof;
use super::relay::path_and_query;
use super::{Answer, Flow, Refusal};

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
    encoding: Encoding,
    body: CleartextBody,
}

impl Verified<'_> {
    /// What the provider is told when the callback was taken.
    pub fn reply(&self) -> String {
        self.rules.reply.clone()
    }

    /// The account's name.
    pub fn account(&self) -> &Arc<str> {
        &self.account.name
    }

    /// The application's name.
    pub fn app(&self) -> &Tenant {
        &self.app.tenant
    }
}

/// What is to be done about a callback.
#[derive(Debug)]
pub enum Verdict {
    /// Delivered before, or overtaken by a newer one: the provider is told that it arrived.
    Acknowledge,
    /// Sign this, send it to the application, then call [`Flow::delivered`].
    Deliver(Box<Notice>, Delivery),
}

/// Holds the right to deliver one callback.
#[derive(Debug)]
pub struct Delivery {
    key: Vec<u8>,
    subject: Vec<u8>,
    updated: Option<u64>,
    claimed: Timestamp,
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

    /// Believes a callback only when the provider's signature is right: over its raw bytes where
    /// the scheme signs those, else over what one strict reading of it says.
    pub fn verify<'f>(
        &'f self,
        callback: Unverified<'_>,
        now: Timestamp,
    ) -> Result<Verified<'f>, Refusal> {
        let account = self.registry.account(callback.account).ok_or(Refusal::RouteUnknown)?;
        let rules = account.profile.callback.as_ref().ok_or(Refusal::RouteUnknown)?;
        let encoding = encoding_of(callback.headers);
        if !is_genuine(&callback, account, rules, encoding, now)? {
            return Err(Refusal::SignatureRefused);
        }
        let (app, url) = self.destination(account, callback.sealed)?;
        Ok(Verified { account, rules, app, url, encoding, body: callback.body })
    }

    /// Where a callback goes: the address sealed into the URL, else the account's own.
    fn destination(&self, account: &Account, sealed: Option<&str>) -> Result<(&App, Url), Refusal> {
        let inside = sealed.and_then(|text| self.vault.open_text(&purpose(&account.name), text));
        let named = inside.as_ref().and_then(|inside| inside.reveal(read_destination));
        // An address that does not open, after a restart with another root key, say, is not
        // replaced by the default one: it may have been another application's.
        let (app, url) = match (sealed, named, &account.default_callback) {
            (Some(_), Some(named), _) => named,
            (None, _, Some((app, url))) => (app.clone(), url.clone()),
            _ => return Err(Refusal::CallbackUndeliverable),
        };
        let app = self.apps.named(&app).filter(|app| app.may_use(&account.name));
        Ok((app.ok_or(Refusal::CallbackUndeliverable)?, url))
    }

    /// Decides whether a callback is delivered, and makes what the application is sent.
    pub fn judge(&self, callback: Verified<'_>, now: Timestamp) -> Result<Verdict, Refusal> {
        let delivery = name(&callback, now)?.ok_or(Refusal::CallbackUnreadable)?;
        let soon = now.as_secs().saturating_add(86_400);
        if delivery.updated.is_some_and(|updated| updated > soon) {
            return Err(Refusal::CallbackUnreadable);
        }
        if let Some(updated) = delivery.updated
            && !self.vault.newest(&delivery.subject, updated, REMEMBERED, now)?
        {
            return Ok(Verdict::Acknowledge);
        }
        match self.vault.claim(&delivery.key, now)? {
            Mark::Done => return Ok(Verdict::Acknowledge),
            Mark::InFlight => return Err(Refusal::CallbackInFlight),
            Mark::New => {}
        }
        match self.notification(&callback, now) {
            Ok(draft) => Ok(Verdict::Deliver(Box::new(draft), delivery)),
            Err(refusal) => {
                self.vault.release(&delivery.key, delivery.claimed);
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
            // Should there be no room for the mark, a repetition is delivered again: at least once,
            // never lost.
            let _ = self.vault.mark_done(&delivery.key, REMEMBERED, now);
            return Ok(());
        }
        self.vault.release(&delivery.key, delivery.claimed);
        Err(Refusal::CallbackNotTaken)
    }

    /// What the application is sent, before it is signed for it.
    fn notification(&self, callback: &Verified<'_>, now: Timestamp) -> Result<Notice, Refusal> {
        let account = callback.account;
        let scope = Scope {
            account,
            audience: super::forward::audience(callback.app, account),
            context: None,
            card: None,
            cvv: None,
        };
        let kind = match callback.encoding {
            Encoding::Json => "application/json",
            Encoding::Form => "application/x-www-form-urlencoded",
        };
        let mut concealed = Concealed::of(account);
        let body = self.rewrite_fields(&scope, callback, &mut concealed, now)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let answer = Answer { status: 200, headers, body };
        let nothing = Known { pans: &[], cvvs: &[] };
        let (_, headers, body) = clean(answer, None, &nothing, &concealed)?.into_parts();
        let headers = headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
        let target = ProviderHost::of_url(&callback.url, &callback.app.callback_hosts);
        Ok(Notice {
            account: account.clone(),
            app: callback.app.tenant.as_str().to_owned(),
            encoding: callback.encoding,
            target: target.ok_or(Refusal::CallbackUndeliverable)?,
            path_and_query: path_and_query(callback.url.as_str()),
            headers: headers.collect(),
            body,
        })
    }

    fn rewrite_fields(
        &self,
        scope: &Scope<'_>,
        callback: &Verified<'_>,
        concealed: &mut Concealed<'_>,
        now: Timestamp,
    ) -> Result<CleartextBody, Refusal> {
        let body = callback.body.as_bytes();
        let rewritten = match callback.encoding {
            Encoding::Json => {
                let document = parse(body).map_err(unreadable)?;
                self.rewrite(scope, &callback.rules.answer, &document, concealed, now)?
            }
            Encoding::Form => self.rewrite_form(scope, &callback.rules.answer, body)?,
        };
        Ok(rewritten.unwrap_or_else(|| CleartextBody::from(body.to_vec())))
    }

    /// In a form only sealed values can stand.
    fn rewrite_form(
        &self,
        scope: &Scope<'_>,
        rules: &crate::provider::AnswerRules,
        body: &[u8],
    ) -> Result<Option<CleartextBody>, Refusal> {
        let fields = fields::read(Encoding::Form, body)?;
        let mut changes = Changes::to(Encoding::Form);
        for inside in &rules.sealed {
            let Some(field) = fields.find(&inside.outer)? else { continue };
            let Content::Text(text) = &field.content else { continue };
            if let Some(sealed) = self.sealed_text(scope, text, inside.inner.as_ref()) {
                changes.put_text(field.span, &sealed);
            }
        }
        if changes.is_empty() { Ok(None) } else { Ok(Some(changes.apply(body)?)) }
    }
}

/// A callback on its way to the application, not signed for it yet.
#[derive(Debug)]
pub struct Notice {
    account: Arc<Account>,
    app: String,
    encoding: Encoding,
    target: ProviderHost,
    path_and_query: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: CleartextBody,
}

impl Notice {
    /// Whether signing takes so long that it is done off the event loop.
    pub fn is_slow(&self) -> bool {
        let held = self.account.virtual_of(&self.app);
        held.is_some_and(|held| held.alert_key.is_some())
    }

    /// Signs it with what the application can verify; without a signature where it holds nothing.
    pub fn sign(mut self, now: Timestamp) -> Result<Prepared, Refusal> {
        let account = self.account.clone();
        let held = account.virtual_of(&self.app);
        let rules = account.profile.callback.as_ref().ok_or(Refusal::RouteUnknown)?;
        if let Some(held) = held {
            self.sign_for(held, &rules.proof, now)?;
        }
        Ok(Prepared {
            target: self.target,
            method: Method::POST,
            path_and_query: self.path_and_query,
            headers: self.headers,
            body: self.body,
            disclosure: None,
        })
    }

    fn sign_for(&mut self, held: &Virtual, proof: &Proof, now: Timestamp) -> Result<(), Refusal> {
        let secret = held.credentials.secret.as_ref();
        match proof {
            Proof::SandwichSha1(header) => {
                if let Some(basic) = &held.credentials.basic {
                    let value = sandwich_digest::sign(basic.key(), self.body.as_bytes());
                    self.push(header, value.as_bytes())?;
                }
            }
            Proof::Hmac(rule) => {
                if let Some(secret) = secret {
                    let value = rule.hmac.sign(secret, self.body.as_bytes());
                    value.reveal(|value| self.push(&rule.header, value))?;
                }
            }
            Proof::SortedDigest(place) => {
                if let Some(secret) = secret {
                    self.replace_digest(place, secret)?;
                }
            }
            Proof::AccessHeaders(_) => {
                if let Some(key) = &held.alert_key {
                    let body = parse(self.body.as_bytes())?;
                    let signed =
                        proof::access_headers(key, &body, self.account.profile.access, now);
                    let (headers, _) = signed.ok_or(Refusal::SigningFailed)?;
                    self.headers.extend(headers);
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, header: &HeaderName, value: &[u8]) -> Result<(), Refusal> {
        let value = HeaderValue::from_bytes(value).map_err(|_| Refusal::SigningFailed)?;
        self.headers.push((header.clone(), value));
        Ok(())
    }

    fn replace_digest(&mut self, place: &Pointer, secret: &SecretBytes) -> Result<(), Refusal> {
        let fields = fields::read(self.encoding, self.body.as_bytes())?;
        let digest = proof::all_values(&fields, place).digest(secret);
        let field = fields.find(place)?.ok_or(Refusal::SignatureRefused)?;
        let mut changes = Changes::to(self.encoding);
        digest.reveal(|text| changes.put_text(field.span, &String::from_utf8_lossy(text)));
        let body = changes.apply(self.body.as_bytes())?;
        self.body = body;
        Ok(())
    }
}

fn purpose(account: &str) -> String {
    format!("callback/{account}")
}

fn read_destination(inside: &[u8]) -> Option<(String, Url)> {
    let mut unpacker = Unpacker::new(inside);
    Some((unpacker.owned()?, Url::parse(unpacker.text()?).ok()?))
}

/// A form says so; everything else is read as JSON, and refused where it is not.
fn encoding_of(headers: &HeaderMap) -> Encoding {
    match form_only(headers) {
        Ok(()) => Encoding::Form,
        Err(_) => Encoding::Json,
    }
}

fn is_genuine(
    callback: &Unverified<'_>,
    account: &Account,
    rules: &CallbackRules,
    encoding: Encoding,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let (secrets, body) = (&account.callback_keys.secrets, callback.body.as_bytes());
    let header = |name: &HeaderName| {
        let mut values = callback.headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
    };
    match &rules.proof {
        Proof::SandwichSha1(name) => {
            Ok(header(name)
                .is_some_and(|presented| sandwich_digest::verify(secrets, body, presented)))
        }
        Proof::Hmac(rule) => Ok(header(&rule.header)
            .is_some_and(|presented| rule.hmac.verify(secrets, body, presented))),
        Proof::SortedDigest(place) => {
            let fields = read_callback(encoding, body)?;
            let presented = fields.text(place)?.ok_or(Refusal::SignatureRefused)?;
            let values = proof::all_values(&fields, place);
            Ok(secrets
                .iter()
                .fold(false, |found, secret| values.verify(secret, presented.as_bytes()) | found))
        }
        Proof::AccessHeaders(tolerance) => {
            let access = proof::access(callback.headers).ok_or(Refusal::SignatureRefused)?;
            let fields = read_callback(encoding, body)?;
            let open = account.profile.access;
            let message = access.message(fields.json().ok_or(Refusal::CallbackUnreadable)?, open);
            let mut keys = account.callback_keys.alerts.iter();
            match keys.any(|key| access.made_by(key, message.as_bytes(), open)) {
                true if *tolerance > 0 && !access.is_fresh(*tolerance, now) => {
                    Err(Refusal::CallbackStale)
                }
                genuine => Ok(genuine),
            }
        }
    }
}

fn read_callback(encoding: Encoding, body: &[u8]) -> Result<Fields<'_>, Refusal> {
    Fields::read(encoding, body).map_err(|_| Refusal::CallbackUnreadable)
}

/// What the callback is about and how new it is.
fn name(callback: &Verified<'_>, now: Timestamp) -> Result<Option<Delivery>, Refusal> {
    let fields = read_callback(callback.encoding, callback.body.as_bytes())?;
    let rules = callback.rules;
    let put = |packer: Packer, pointers: &[Pointer], may_lack: bool| {
        pointers.iter().try_fold(packer, |packer, pointer| {
            match fields.find(pointer).ok()?.map(|field| field.content) {
                Some(Content::Null) => Some(packer.put(b"")),
                None if may_lack => Some(packer.put(b"")),
                Some(Content::Nested(_)) | None => None,
                Some(scalar) => Some(packer.put(scalar.signed()?)),
            }
        })
    };
    let updated = match &rules.updated {
        Some(pointer) => {
            let field = fields.find(pointer)?;
            let number = field.and_then(|field| match field.content {
                Content::Number(raw) => std::str::from_utf8(raw).ok()?.parse().ok(),
                _ => None,
            });
            let Some(number) = number else { return Ok(None) };
            Some(number)
        }
        None => None,
    };
    let account = Packer::default().put(callback.account.name.as_bytes());
    let Some(subject) = put(account, &rules.subject, false) else { return Ok(None) };
    let subject = subject.close().reveal(<[u8]>::to_vec);
    // A part of the state that is not there says nothing, as null does.
    let Some(state) = put(Packer::default(), &rules.state, true) else { return Ok(None) };
    let mut key = subject.clone();
    state.close().reveal(|state| key.extend_from_slice(state));
    Ok(Some(Delivery { key, subject, updated, claimed: now }))
}
