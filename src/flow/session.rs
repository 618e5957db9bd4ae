//! Our own calls on the private listener: capture sessions, masked metadata, revocation.

use std::time::Duration;

use http::HeaderMap;
use url::Url;

use crate::caller::App;
use crate::card::{Timestamp, Token, TokenId};
use crate::secret::CleartextBody;
use crate::vault::{Account, Accounts, Metadata, Owner, Session};
use crate::wire::{Document, Kind, Value, parse};

use super::forward::json_only;
use super::identify::Shown;
use super::members::only;
use super::object::Object;
use super::{Flow, Refusal, theme};

/// Life of a capture session when none is asked for, and the longest.
const SESSION_LIFE: u64 = 900;
const SESSION_LIFE_MAX: u64 = 3600;

/// Cards of a capture session when no number is asked for, and the most.
const SESSION_CARDS: u64 = 5;
const SESSION_CARDS_MAX: u64 = 100;

/// What a capture session may be opened with.
const MEMBERS: [&str; 6] = ["origin", "ttl_seconds", "max_cards", "account", "theme", "return_url"];

impl Flow {
    /// The application that makes one of our own calls.
    pub fn known(&self, headers: &HeaderMap, client_names: &[String]) -> Result<&App, Refusal> {
        self.caller(&Shown { headers, client_names })
    }

    /// Opens a capture session for one of the application's origins.
    pub fn open_session(
        &self,
        app: &App,
        headers: &HeaderMap,
        body: &CleartextBody,
        now: Timestamp,
    ) -> Result<CleartextBody, Refusal> {
        json_only(headers)?;
        let document = parse(body.as_bytes())?;
        only(document.root(), "", &MEMBERS)?;
        let origin = text(&document, "origin")?;
        let origin = origin.ok_or_else(|| Refusal::FieldMissing("/origin".to_owned()))?;
        if !app.origins.contains(&origin) {
            return Err(Refusal::OriginRefused);
        }
        let life = number(&document, "ttl_seconds", SESSION_LIFE, 30..=SESSION_LIFE_MAX)?;
        let cards = number(&document, "max_cards", SESSION_CARDS, 1..=SESSION_CARDS_MAX)?;
        let return_url = match text(&document, "return_url")? {
            None => String::new(),
            Some(url) => return_url(&url, &origin)?,
        };
        let theme = member(&document, "theme").map(theme::read).transpose()?.unwrap_or_default();
        let accounts = match text(&document, "account")? {
            None => app.accounts.clone(),
            Some(name) if app.may_use(&name) => vec![name],
            Some(_) => return Err(Refusal::AccountNotGranted),
        };
        let accounts = accounts.iter().map(|name| Account::new(name)).collect();
        let expires = now.plus(Duration::from_secs(life));
        let owner = Owner {
            tenant: app.tenant.clone(),
            accounts: Accounts::Only(accounts),
            mode: app.mode,
        };
        let cards_left = u32::try_from(cards).unwrap_or(u32::MAX);
        let session = Session { owner, origin, return_url, theme, cards_left, expires };
        let id = self.vault.open_session(session, now)?;
        Ok(id.reveal(|id| {
            Object::new()
                .text("id", id)
                .text("form_url", &self.public(&format!("/v1/form/{id}")))
                .number("expires_at", expires.as_secs())
                .close()
        }))
    }

    /// What may be shown of a kept card.
    pub fn describe(
        &self,
        app: &App,
        token: &str,
        now: Timestamp,
    ) -> Result<CleartextBody, Refusal> {
        let token = read_token(token)?;
        let card = self.vault.describe(&token, &app.tenant, now);
        let card = card.map_err(|_| Refusal::TokenUnknown(String::new()))?;
        let answer = token.reveal(|text| Object::new().text("token", text));
        Ok(Object::new().object("card", masked(answer, &card)).close())
    }

    /// Forgets a card and its CVV at once, and names the card.
    pub fn revoke(&self, app: &App, token: &str, now: Timestamp) -> Result<TokenId, Refusal> {
        let token = read_token(token)?;
        let revoked = self.vault.revoke(&token, &app.tenant, now);
        revoked.map(|()| token.id()).map_err(|_| Refusal::TokenUnknown(String::new()))
    }
}

/// The members that every description of a card has.
pub(super) fn masked(answer: Object, card: &Metadata) -> Object {
    answer
        .text("bin", card.masked.bin())
        .text("last4", card.masked.last4())
        .text("brand", card.brand.as_str())
        .text("exp_month", &card.exp_month)
        .text("exp_year", &card.exp_year)
        .number("expires_at", card.expires_at.as_secs())
}

fn read_token(token: &str) -> Result<Token, Refusal> {
    Token::parse(token).map_err(|_| Refusal::TokenUnknown(String::new()))
}

/// A page at the session's own origin: no other place gets a token from a form.
fn return_url(text: &str, origin: &str) -> Result<String, Refusal> {
    let url = Url::parse(text).ok().filter(|url| url.fragment().is_none());
    let url = url.filter(|url| url.username().is_empty() && url.password().is_none());
    let url = url.filter(|url| url.origin().ascii_serialization() == origin);
    url.map(String::from).ok_or_else(|| Refusal::FieldInvalid("/return_url".to_owned()))
}

fn member<'d>(document: &'d Document<'_>, name: &str) -> Option<Value<'d>> {
    let mut members = document.root().members();
    members.find(|(key, _)| key.is_text(name)).map(|(_, value)| value)
}

fn text(document: &Document<'_>, name: &str) -> Result<Option<String>, Refusal> {
    let Some(value) = member(document, name) else { return Ok(None) };
    let text = value.text().map(|text| text.as_str().to_owned());
    text.map(Some).ok_or_else(|| Refusal::FieldNotText(format!("/{name}")))
}

fn number(
    document: &Document<'_>,
    name: &str,
    default: u64,
    bounds: std::ops::RangeInclusive<u64>,
) -> Result<u64, Refusal> {
    let Some(value) = member(document, name) else { return Ok(default) };
    let number = std::str::from_utf8(value.raw()).ok().and_then(|text| text.parse().ok());
    let number = number.filter(|_| value.kind() == Kind::Number);
    let number = number.filter(|number| bounds.contains(number));
    number.ok_or_else(|| Refusal::FieldInvalid(format!("/{name}")))
}
