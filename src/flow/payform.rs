//! The card form of providers that take it from the browser: the browser posts it to us, with
//! tokens or straight from the cardholder, and it goes on to the provider's own address, once.

use std::sync::Arc;

use http::{HeaderMap, Method};
use url::Url;

use crate::card::{Cvv, Pan, RelayId, Timestamp};
use crate::provider::{Account, HostPort, Part, Payform, PayformMode, ProviderHost, Reveal};
use crate::secret::{CleartextBody, SecretBytes};
use crate::vault::{Begun, Payment, RelayState, Tenant};
use crate::wire::{Encoding, Value};

use super::answer::{Scope, with_known};
use super::challenge::is_https;
use super::changes::Changes;
use super::fields::{self, Content, Fields};
use super::forward::{Prepared, audience, form_only};
use super::handoff::HandoffPage;
use super::packed::{Packer, Unpacker};
use super::passed::PASSED_ON;
use super::relay::{Landing, Relayed, passed_back, path_and_query};
use super::reveal::{Clear, Disclosure, Revealed, Tokens};
use super::{Answer, Flow, Forwarded, Refusal, Withheld};

/// A card form as the browser posted it.
#[derive(Debug)]
pub struct Form<'f> {
    /// All headers.
    pub headers: &'f HeaderMap,
    /// The form.
    pub body: CleartextBody,
}

/// What is to be done about it.
#[derive(Debug)]
pub enum FormStep {
    /// Send this, then call [`Flow::finish_form`].
    Send(Box<Prepared>, Box<FormTicket>),
    /// The browser posts it itself, from this page. Once it is certain that it may see the page,
    /// call [`Flow::show_form`]; else [`Flow::finish_form`] with nothing forwarded.
    Page(HandoffPage, Box<FormTicket>),
    /// Answer the browser.
    Answer(Relayed),
    /// Another request is being sent: wait and ask again.
    Wait,
}

/// Holds the right to finish one form.
#[derive(Debug)]
pub struct FormTicket {
    id: RelayId,
    base: String,
    landing: Landing,
    host: ProviderHost,
    revealed: Revealed,
    typed: Typed,
    disclosure: Option<Disclosure>,
    payment: Option<Payment>,
}

/// Card data that stood in a form in clear: known, so that the answer is searched for it.
#[derive(Debug, Default)]
struct Typed {
    pan: Option<Pan>,
    cvv: Option<Cvv>,
}

impl Typed {
    fn read(fields: &Fields<'_>, rules: &[Reveal]) -> Result<Self, Refusal> {
        let mut typed = Self::default();
        for rule in rules {
            let Some(field) = fields.find(&rule.pointer)? else { continue };
            let Content::Text(text) = &field.content else { continue };
            match rule.part {
                Part::Number => typed.pan = Pan::parse(digits(text.as_str()).as_bytes()).ok(),
                Part::Cvv => typed.cvv = Cvv::parse(digits(text.as_str()).as_bytes()).ok(),
                _ => {}
            }
        }
        Ok(typed)
    }
}

/// Without what people put between them; of a token none.
fn digits(text: &str) -> CleartextBody {
    let mut digits = CleartextBody::with_capacity(text.len());
    if !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
        let each = text.bytes().filter(u8::is_ascii_digit);
        each.for_each(|digit| digits.extend_from_slice(&[digit]));
    }
    digits
}

/// A form with everything in it.
struct Filled {
    body: CleartextBody,
    revealed: Revealed,
    typed: Typed,
    /// What names the payment that it is about, where it carries one.
    key: Option<Packer>,
}

impl FormTicket {
    /// What has to be recorded before the page is shown, and to which host it goes from there.
    pub fn disclosure(&mut self) -> Option<(Disclosure, HostPort)> {
        Some((self.disclosure.take()?, self.host.host().clone()))
    }
}

/// Kind of payload.
const FORM: &str = "form";

/// What is kept of a form until it has been posted.
struct Kept {
    account: String,
    tenant: String,
    url: String,
    return_url: String,
}

impl Kept {
    fn pack(&self) -> SecretBytes {
        let texts = [&self.account, &self.tenant, &self.url, &self.return_url];
        let packer = texts.iter().fold(Packer::of(FORM), |p, text| p.put(text.as_bytes()));
        packer.close()
    }

    fn unpack(payload: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker::of(FORM, payload)?;
        Some(Self {
            account: unpacker.owned()?,
            tenant: unpacker.owned()?,
            url: unpacker.owned()?,
            return_url: unpacker.owned()?,
        })
    }
}

/// The account and the application of a kept form.
pub(super) fn whose(payload: &[u8]) -> Option<(String, String)> {
    Kept::unpack(payload).map(|kept| (kept.account, kept.tenant))
}

impl Flow {
    /// Puts our address where the provider names its form's; that one must be on the list of hosts.
    pub(super) fn swap_payform_url(
        &self,
        scope: &Scope<'_>,
        value: Value<'_>,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some(text) = value.text().filter(|text| !text.as_str().is_empty()) else {
            return Ok(());
        };
        let refused = Refusal::AnswerWithheld(Withheld::FormHost);
        let url = Url::parse(text.as_str()).ok().filter(|_| is_https(text.as_str()));
        let hosts = &scope.account.payform_hosts;
        let listed = url.and_then(|url| ProviderHost::of_url(&url, hosts)).is_some();
        if !listed {
            return Err(refused);
        }
        let kept = Kept {
            account: scope.account.name.to_string(),
            tenant: scope.audience.tenant.as_str().to_owned(),
            url: text.as_str().to_owned(),
            return_url: scope.return_url().unwrap_or_default(),
        };
        let id = self.keep(kept.pack(), now)?;
        changes.put_text(value.span(), &self.public(&format!("/payform/{id}")));
        Ok(())
    }

    /// Decides what happens to a form; the first one wins.
    pub fn begin_form(
        &self,
        id: &str,
        form: Form<'_>,
        now: Timestamp,
    ) -> Result<FormStep, Refusal> {
        let id = RelayId::parse(id).map_err(|_| Refusal::SessionUnknown)?;
        let relay = self.vault.relay(&id, now).map_err(|_| Refusal::SessionUnknown)?;
        match relay.state {
            RelayState::Issued => {}
            RelayState::Relaying => return Ok(FormStep::Wait),
            RelayState::Done => return self.told(&id, now),
        }
        let kept = relay.payload.reveal(Kept::unpack).ok_or(Refusal::SessionUnknown)?;
        let account = self.registry.account(&kept.account).ok_or(Refusal::SessionUnknown)?;
        let rules = account.profile.payform.as_ref().ok_or(Refusal::SessionUnknown)?;
        let url = Url::parse(&kept.url).map_err(|_| Refusal::SessionUnknown)?;
        let host = ProviderHost::of_url(&url, &account.payform_hosts);
        let host = host.ok_or(Refusal::SessionUnknown)?;
        form_only(form.headers)?;
        let filled = self.fill_in(&form.body, rules, &kept, account, now)?;
        let Filled { body, mut revealed, typed, key } = filled;
        match self.vault.begin_relay(&id, now) {
            Ok(Begun::First(_)) => {}
            Ok(Begun::Done(result)) => {
                revealed.give_back(&self.vault, now);
                return result.reveal(Relayed::unpack).map(FormStep::Answer);
            }
            _ => {
                revealed.give_back(&self.vault, now);
                return Ok(FormStep::Wait);
            }
        }
        // Another form may be about the same payment.
        let payment = match self.claim_form(key.as_ref(), now) {
            Ok(payment) => payment,
            Err(refusal) => {
                revealed.give_back(&self.vault, now);
                self.vault.abandon_relay(&id, now);
                return Err(refusal);
            }
        };
        // A form holds a card in any case: where no token stood, it was typed in.
        let (app, route) = (Tenant::new(&kept.tenant), Arc::from("payform"));
        let disclosure = Some(revealed.disclosure(&app, &account.name, &route));
        let Kept { url: base, return_url, .. } = kept;
        let landing = Landing::new(return_url, self.origins_at(&account.name));
        let ticket = FormTicket { id, base, landing, host, revealed, typed, disclosure, payment };
        match account.payform {
            PayformMode::Server => Ok(sent(&form, body, ticket)),
            PayformMode::Browser => self.page(body, ticket, &account.name),
        }
    }

    fn told(&self, id: &RelayId, now: Timestamp) -> Result<FormStep, Refusal> {
        match self.vault.begin_relay(id, now) {
            Ok(Begun::Done(result)) => result.reveal(Relayed::unpack).map(FormStep::Answer),
            _ => Err(Refusal::SessionUnknown),
        }
    }

    /// Cards for tokens, real values for handles. A raw card may stand here: it comes straight from
    /// the cardholder's browser.
    fn fill_in(
        &self,
        body: &CleartextBody,
        rules: &Payform,
        kept: &Kept,
        account: &Account,
        now: Timestamp,
    ) -> Result<Filled, Refusal> {
        let fields = fields::read(Encoding::Form, body.as_bytes())?;
        let app = self.apps.named(&kept.tenant).ok_or(Refusal::SessionUnknown)?;
        let mut changes = Changes::to(Encoding::Form);
        let key = self.open_handles(&fields, rules, account, &app.tenant, &mut changes, now)?;
        // Before a code is taken: one that another form of the payment took is no wrong token.
        self.check_form(key.as_ref(), now)?;
        let typed = Typed::read(&fields, &rules.reveal)?;
        let audience = audience(app, account);
        let tokens = Tokens::read(&fields, &rules.reveal, Clear::Allowed)?;
        let revealed = self.reveal(tokens, &audience, &mut changes, now)?;
        let done = changes.apply(body.as_bytes()).map_err(Refusal::from);
        let (body, revealed) = revealed.unless_refused(done, &self.vault, now)?;
        Ok(Filled { body, revealed, typed, key })
    }

    /// The real values, and what names the payment by them: none where the form carries no handle.
    fn open_handles(
        &self,
        fields: &Fields<'_>,
        rules: &Payform,
        account: &Account,
        tenant: &Tenant,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<Option<Packer>, Refusal> {
        let mut key = None;
        for pointer in &rules.handle {
            let Some(field) = fields.find(pointer)? else { continue };
            let Content::Text(text) = &field.content else { continue };
            let bearer = self.handle(text.as_str(), account, now)?;
            if bearer.tenant.as_str() != tenant.as_str() {
                return Err(Refusal::HandleUnknown);
            }
            changes.put_secret(field.span, &bearer.secret);
            let begun = key.unwrap_or_else(|| Packer::of(&account.name).put(FORM.as_bytes()));
            key = Some(bearer.secret.reveal(|secret| begun.put(secret)));
        }
        Ok(key)
    }

    /// The browser posts the card itself.
    fn page(
        &self,
        body: CleartextBody,
        ticket: FormTicket,
        account: &str,
    ) -> Result<FormStep, Refusal> {
        let fields = fields::read(Encoding::Form, body.as_bytes())?;
        let pairs = fields.top().into_iter().filter_map(|(name, field)| match field.content {
            Content::Text(text) => Some((name.as_str().to_owned(), text.as_str().to_owned())),
            _ => None,
        });
        let page = HandoffPage {
            action: ticket.base.clone(),
            method: "POST".to_owned(),
            fields: pairs.collect(),
            ancestors: self.origins_at(account),
        };
        Ok(FormStep::Page(page, Box::new(ticket)))
    }

    /// The page goes out, once: the form is done, and nobody will tell us what became of it.
    pub fn show_form(&self, ticket: &FormTicket, now: Timestamp) {
        ticket.payment.as_ref().inspect(|payment| self.settle_payment(payment, None, now));
        let _ = self.vault.finish_relay(&ticket.id, ticket.landing.relayed().pack(), now);
    }

    /// Turns the provider's answer, or its absence, into what the browser is told.
    pub fn finish_form(
        &self,
        ticket: FormTicket,
        outcome: Result<Answer, Forwarded>,
        now: Timestamp,
    ) -> Result<Relayed, Refusal> {
        let FormTicket { id, base, landing, revealed, typed, payment, .. } = ticket;
        let status = outcome.as_ref().ok().map(|answer| answer.status);
        let relayed = match outcome {
            Err(Forwarded::No) => {
                revealed.give_back(&self.vault, now);
                self.vault.abandon_relay(&id, now);
                payment.inspect(|payment| self.vault.release_payment(payment));
                return Err(Refusal::ReturnNotRelayed);
            }
            Err(Forwarded::Unknown | Forwarded::Yes) => landing.relayed(),
            Ok(answer) => {
                let pan = revealed.card.as_ref().map(|card| &card.pan).or(typed.pan.as_ref());
                let cvv = revealed.cvv.as_ref().map(|(cvv, _)| cvv).or(typed.cvv.as_ref());
                with_known(pan, cvv, |known| passed_back(answer, &base, &landing, known))
            }
        };
        let _ = self.vault.finish_relay(&id, relayed.pack(), now);
        payment.inspect(|payment| self.settle_payment(payment, status, now));
        Ok(relayed)
    }

    /// The outcome of a form that another request sends, once there is one.
    pub fn form_outcome(&self, id: &str, now: Timestamp) -> Result<Option<Relayed>, Refusal> {
        let id = RelayId::parse(id).map_err(|_| Refusal::SessionUnknown)?;
        let relay = self.vault.relay(&id, now).map_err(|_| Refusal::SessionUnknown)?;
        match relay.state {
            RelayState::Issued => Err(Refusal::ReturnNotRelayed),
            RelayState::Relaying => Ok(None),
            RelayState::Done => match self.told(&id, now)? {
                FormStep::Answer(relayed) => Ok(Some(relayed)),
                _ => Ok(None),
            },
        }
    }
}

fn sent(form: &Form<'_>, body: CleartextBody, mut ticket: FormTicket) -> FormStep {
    let headers = PASSED_ON
        .iter()
        .filter_map(|name| Some((name.clone(), form.headers.get(name)?.clone())))
        .collect();
    let prepared = Prepared {
        target: ticket.host.clone(),
        method: Method::POST,
        path_and_query: path_and_query(&ticket.base),
        headers,
        body,
        disclosure: ticket.disclosure.take(),
    };
    FormStep::Send(Box::new(prepared), Box::new(ticket))
}
