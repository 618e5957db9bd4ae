//! What may be shown of a request: written by the same walk over the rules that writes the real
//! one, with a mask where that puts a value.
//!
//! No card, code, credential or signature comes here: of a card there is its [`Preview`], of
//! everything else not even that.

use http::HeaderName;

use crate::card::{CvvToken, Timestamp, Token};
use crate::provider::{Part, Reveal};
use crate::secret::CleartextBody;
use crate::vault::{Audience, Found, Preview, Vault, VaultError};
use crate::wire::{Encoding, Pointer, Span, WireError, quote};

use super::changes::Changes;
use super::object::Object;
use super::pen::{Pen, Put};

/// Stands for what is not shown.
pub(super) const MASK: &str = "***";

/// What was done to a field or a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// A part of a card in place of its token.
    Part(Part),
    /// One of those that put a value into the body or a header.
    Put(Put),
    /// Remembered for a return whose outcome is not known; goes on as it is.
    ReturnUrl,
    /// A signature over the final body.
    Signature,
    /// Another wish than the application's: the answer must be one that can be rewritten.
    Accept,
    /// A header that is not on the list of those that go on.
    Dropped,
}

impl Rule {
    /// Its name, and what it does.
    const fn told(self) -> (&'static str, &'static str) {
        match self {
            Self::Part(Part::Number) => ("card_number", "the card number replaces its token"),
            Self::Part(Part::Cvv) => ("card_cvv", "the security code replaces its token, once"),
            Self::Part(Part::Holder) => ("card_holder", "the name on the card replaces its token"),
            Self::Part(Part::ExpiryMonth) => {
                ("card_expiry_month", "the month of expiry, two digits, replaces the card's token")
            }
            Self::Part(Part::ExpiryYear2) => {
                ("card_expiry_year2", "the year of expiry, two digits, replaces the card's token")
            }
            Self::Part(Part::ExpiryYear4) => {
                ("card_expiry_year4", "the year of expiry, four digits, replaces the card's token")
            }
            Self::Put(Put::CallbackUrl) => {
                ("callback_url", "our callback URL replaces yours, which is sealed into it")
            }
            Self::Put(Put::Sealed) => ("sealed", "the provider's secret replaces the sealed one"),
            Self::Put(Put::Credential) => {
                ("credential", "the account's own credential replaces what the application holds")
            }
            Self::Put(Put::Handle) => ("handle", "the provider's secret replaces its handle"),
            Self::ReturnUrl => {
                ("return_url", "goes on as it is, and is where a 3-D Secure return may end")
            }
            Self::Signature => {
                ("signature", "made with the account's own key, over the final request")
            }
            Self::Accept => ("accept", "the answer must be JSON, so that it can be rewritten"),
            Self::Dropped => ("header_dropped", "does not go on to the provider"),
        }
    }

    /// The key of the profile that it is written under; some hold for every profile.
    fn key(self, api: &str) -> Option<String> {
        match self {
            Self::Part(_) => Some("route.reveal".to_owned()),
            Self::Put(Put::CallbackUrl) => Some("route.callback_url".to_owned()),
            Self::Put(Put::Sealed) => Some("route.sealed".to_owned()),
            Self::Put(Put::Credential | Put::Handle) => Some(format!("api.{api}.credential")),
            Self::ReturnUrl => Some("route.return_url".to_owned()),
            Self::Signature => Some(format!("api.{api}")),
            Self::Accept => Some("route.answer".to_owned()),
            Self::Dropped => None,
        }
    }
}

/// Where a rule was at work.
#[derive(Debug)]
enum At {
    Field(String),
    Header(HeaderName),
}

/// A request as it may be shown, under construction.
#[derive(Debug)]
pub(super) struct Outline {
    changes: Changes,
    ran: Vec<(Rule, At)>,
    callback_url: String,
}

impl Outline {
    /// `callback_url` is what is shown of ours.
    pub(super) fn new(encoding: Encoding, callback_url: String) -> Self {
        Self { changes: Changes::to(encoding), ran: Vec::new(), callback_url }
    }

    /// A rule was at work at a field, whose value stays as it is.
    pub(super) fn note(&mut self, rule: Rule, at: &Pointer) {
        self.ran.push((rule, At::Field(at.to_string())));
    }

    /// A rule was at work at a header.
    pub(super) fn note_header(&mut self, rule: Rule, name: HeaderName) {
        self.ran.push((rule, At::Header(name)));
    }

    /// A rule puts a value at a field: this is shown in its place.
    pub(super) fn show(&mut self, rule: Rule, at: &Pointer, span: Span, shown: &str) {
        self.note(rule, at);
        self.changes.put_text(span, shown);
    }

    /// The body as it may be shown.
    pub(super) fn body(&self, body: &[u8]) -> Result<CleartextBody, WireError> {
        self.changes.apply(body)
    }

    /// The rules in the order in which they ran.
    pub(super) fn rules(&self, file: &str, api: &str) -> CleartextBody {
        let mut list = CleartextBody::with_capacity(1024);
        for (at, (rule, place)) in self.ran.iter().enumerate() {
            list.extend_from_slice(if at == 0 { b"[" } else { b"," });
            let (name, does) = rule.told();
            let object = Object::new().text("rule", name);
            let object = match place {
                At::Field(pointer) => object.text("field", pointer),
                At::Header(name) => object.text("header", name.as_str()),
            };
            let object = match rule.key(api) {
                Some(key) => object.text("file", file).text("key", &key),
                None => object,
            };
            list.extend_from_slice(object.text("does", does).close().as_bytes());
        }
        list.extend_from_slice(if self.ran.is_empty() { b"[]" } else { b"]" });
        list
    }
}

impl Pen for Outline {
    type Card = Preview;
    type Code = ();

    fn put(&mut self, rule: Put, at: &Pointer, span: Span, _: impl FnOnce(&mut Changes)) {
        match rule {
            Put::CallbackUrl => {
                self.note(Rule::Put(rule), at);
                self.changes.put_text(span, &self.callback_url);
            }
            _ => self.show(Rule::Put(rule), at, span, MASK),
        }
    }

    fn redeem(
        vault: &Vault,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<(Preview, Found), VaultError> {
        vault.preview(token, audience, now)
    }

    fn put_part(&mut self, card: &Preview, at: &Reveal, span: Span) {
        let masked = card.masked.to_string();
        let shown = match at.part {
            Part::Number => &masked,
            Part::Holder if card.has_holder => MASK,
            Part::Holder => "",
            Part::ExpiryMonth => card.expiry.month2(),
            Part::ExpiryYear2 => card.expiry.year2(),
            Part::ExpiryYear4 => card.expiry.year4(),
            Part::Cvv => MASK,
        };
        self.show(Rule::Part(at.part), &at.pointer, span, shown);
    }

    fn take_cvv(
        vault: &Vault,
        (cvv_token, token): (&CvvToken, &Token),
        found: Found,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        vault.has_cvv(cvv_token, token, &found, now)
    }

    fn put_cvv(&mut self, (): &(), at: &Reveal, span: Span) {
        self.show(Rule::Part(at.part), &at.pointer, span, MASK);
    }
}

/// A body among the members of a JSON object: JSON as it stands, anything else as text.
pub(super) fn embedded(encoding: Encoding, body: &CleartextBody) -> CleartextBody {
    match encoding {
        Encoding::Json => body.as_bytes().to_vec().into(),
        Encoding::Form => quote(&String::from_utf8_lossy(body.as_bytes())),
    }
}
