//! A card from a browser → tokens. The only place where a clear card comes in.

use http::HeaderMap;
use http::header::{AUTHORIZATION, ORIGIN};

use crate::card::{
    Capture, Card, CardError, Cvv, Expiry, Holder, Pan, SessionId, Timestamp, Token,
};
use crate::credential::PresentedBearer;
use crate::limit::Exceeded;
use crate::secret::CleartextBody;
use crate::vault::{Fingerprint, KeptCard, SeenSession, Session, Tenant, VaultError};
use crate::wire::{Kind, Text, Value, is_card_number, parse};

use super::forward::json_only;
use super::members::only;
use super::object::Object;
use super::{Flow, Refusal, holds_card};

/// What the browser is told.
#[derive(Debug)]
pub struct Captured {
    /// JSON with tokens and masked data.
    pub body: CleartextBody,
    /// The origin whose pages may read it.
    pub origin: String,
}

/// A capture session that is good, and what is about to be captured in it.
#[derive(Debug)]
pub struct Capturing {
    id: SessionId,
    seen: SeenSession,
}

impl Capturing {
    /// The application whose session it is.
    pub fn app(&self) -> &Tenant {
        &self.seen.session.owner.tenant
    }
}

/// What a browser offers, before anything of it is kept.
#[derive(Debug)]
pub struct Offer<'o> {
    /// The application whose session it is.
    pub app: &'o Tenant,
    /// Tells its session from others, where there is one.
    pub session: Option<&'o [u8]>,
    /// The card.
    pub card: Offered<'o>,
}

/// Tells a card from others.
#[derive(Debug)]
pub enum Offered<'o> {
    /// A card that is handed in.
    Number {
        /// Its fingerprint under a key of the vault's.
        fingerprint: Fingerprint,
        /// Its first six digits.
        bin: &'o str,
    },
    /// A card that is kept already, by its token: a new CVV comes in.
    Kept(&'o [u8]),
}

/// What the hosted card form is made of.
#[derive(Debug)]
pub struct CardForm {
    /// The application whose session it is.
    pub app: Tenant,
    /// The only origin that may frame it and is told the token.
    pub origin: String,
    /// Where it takes the browser when it is a page of its own; empty where it may not.
    pub return_url: String,
    /// Colours and sizes: `name=value` pairs parted by spaces.
    pub theme: String,
}

/// What a card may come with.
const MEMBERS: [&str; 6] = ["number", "exp_month", "exp_year", "holder", "cvv", "token"];
/// Those that a kept card has already.
const OF_A_NEW_CARD: [&str; 4] = ["number", "exp_month", "exp_year", "holder"];

impl Flow {
    /// The form of a session that has a card left. Looking at it uses nothing up.
    pub fn card_form(&self, id: &str, now: Timestamp) -> Result<CardForm, Refusal> {
        let id = SessionId::parse(id).map_err(|_| Refusal::SessionUnknown)?;
        let session = self.vault.session(&id, now)?.session;
        if session.cards_left == 0 {
            return Err(Refusal::SessionUnknown);
        }
        let Session { origin, return_url, theme, owner, .. } = session;
        Ok(CardForm { app: owner.tenant, origin, return_url, theme })
    }

    /// Finds the session that a capture names.
    pub fn capturing(&self, headers: &HeaderMap, now: Timestamp) -> Result<Capturing, Refusal> {
        let id = session_of(headers)?;
        let seen = self.vault.session(&id, now)?;
        Ok(Capturing { id, seen })
    }

    /// Keeps a card, or the new CVV of a kept card. `allow` is asked when everything else has been
    /// checked, before anything is used up.
    pub fn capture(
        &self,
        capturing: Capturing,
        headers: &HeaderMap,
        body: &CleartextBody,
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Captured, Refusal> {
        let Capturing { id, seen } = capturing;
        self.check_origin(headers, &seen.session)?;
        json_only(headers)?;
        let document = parse(body.as_bytes())?;
        only(document.root(), "", &["card"])?;
        let card = document.root().members().find(|(key, _)| key.is_text("card"));
        let card = card.map(|(_, value)| value).filter(|value| value.kind() == Kind::Object);
        let card = card.ok_or_else(|| Refusal::FieldMissing("/card".to_owned()))?;
        only(card, "/card", &MEMBERS)?;
        let answer = match field(card, "token")? {
            Some(token) => self.refresh(card, &token, (&id, &seen), allow, now)?,
            None => self.keep_card(card, (&id, &seen), allow, now)?,
        };
        let body = Object::new().object("card", answer).close();
        Ok(Captured { body, origin: seen.session.origin })
    }

    /// Whether pages at this origin may call at all; the session is checked with the call itself.
    pub fn may_ask(&self, origin: &str) -> bool {
        self.apps.any_origin(origin) || self.is_own(origin)
    }

    fn is_own(&self, origin: &str) -> bool {
        self.public_url.origin().ascii_serialization() == origin
    }

    /// A browser always says where a page comes from; another program may be silent.
    fn check_origin(&self, headers: &HeaderMap, session: &Session) -> Result<(), Refusal> {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Ok(()),
            (Some(origin), None) if origin.as_bytes() == session.origin.as_bytes() => Ok(()),
            (Some(origin), None) if origin.to_str().is_ok_and(|origin| self.is_own(origin)) => {
                Ok(())
            }
            _ => Err(Refusal::OriginRefused),
        }
    }

    fn keep_card(
        &self,
        card: Value<'_>,
        (id, seen): (&SessionId, &SeenSession),
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Object, Refusal> {
        let session = &seen.session;
        let capture = read_capture(card, now)?;
        let masked = capture.card.pan.masked();
        let fingerprint = self.vault.fingerprint(&capture.card.pan);
        allow(Offer {
            app: &session.owner.tenant,
            session: Some(id.random_part()),
            card: Offered::Number { fingerprint, bin: masked.bin() },
        })?;
        self.vault.use_session(id, seen, now)?;
        let kept = self.vault.keep_card(capture, &session.owner, now)?;
        Ok(described(&kept))
    }

    fn refresh(
        &self,
        card: Value<'_>,
        token: &Text<'_>,
        (id, seen): (&SessionId, &SeenSession),
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Object, Refusal> {
        for name in OF_A_NEW_CARD {
            if field(card, name)?.is_some() {
                return Err(Refusal::FieldInvalid(format!("/card/{name}")));
            }
        }
        let session = &seen.session;
        let pointer = || "/card/token".to_owned();
        let token = Token::parse(token.as_str()).map_err(|_| Refusal::TokenMalformed(pointer()))?;
        let cvv = field(card, "cvv")?.ok_or_else(|| Refusal::FieldMissing("/card/cvv".into()))?;
        let cvv = Cvv::parse(cvv.as_bytes()).map_err(Refusal::Card)?;
        allow(Offer {
            app: &session.owner.tenant,
            session: Some(id.random_part()),
            card: Offered::Kept(token.random_part()),
        })?;
        self.vault.use_session(id, seen, now)?;
        let kept = self.vault.refresh_cvv(&token, cvv, &session.owner.tenant, now);
        let unknown = |error| match error {
            VaultError::NotFound => Refusal::TokenUnknown(pointer()),
            other => other.into(),
        };
        let cvv_token = Some(kept.map_err(unknown)?);
        let card = self.vault.describe(&token, &session.owner.tenant, now).map_err(unknown)?;
        Ok(described(&KeptCard { token, cvv_token, card }))
    }
}

fn session_of(headers: &HeaderMap) -> Result<SessionId, Refusal> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::SessionUnknown);
    };
    PresentedBearer::parse(value.as_bytes())
        .and_then(|bearer| bearer.reveal(|text| SessionId::parse(text).ok()).flatten())
        .ok_or(Refusal::SessionUnknown)
}

fn read_capture(card: Value<'_>, now: Timestamp) -> Result<Capture, Refusal> {
    let needed = |name: &str| {
        field(card, name)?.ok_or_else(|| Refusal::FieldMissing(format!("/card/{name}")))
    };
    let (number, month, year) = (needed("number")?, needed("exp_month")?, needed("exp_year")?);
    let (cvv, holder) = (field(card, "cvv")?, field(card, "holder")?);
    let typed = Typed {
        number: number.as_str(),
        month: month.as_str(),
        year: year.as_str(),
        cvv: cvv.as_ref().map(Text::as_str).filter(|cvv| !cvv.is_empty()),
        holder: holder.as_ref().map(Text::as_str),
    };
    checked(&typed, now)
}

/// A card as somebody typed it.
pub(super) struct Typed<'t> {
    pub number: &'t str,
    pub month: &'t str,
    pub year: &'t str,
    pub cvv: Option<&'t str>,
    pub holder: Option<&'t str>,
}

/// Reads what was typed, by every rule that a card has.
pub(super) fn checked(typed: &Typed<'_>, now: Timestamp) -> Result<Capture, Refusal> {
    let pan = Pan::parse(typed.number.as_bytes()).map_err(Refusal::Card)?;
    if !pan.reveal(is_card_number) {
        return Err(Refusal::CardUnsupported);
    }
    let expiry = Expiry::parse(typed.month, typed.year).map_err(Refusal::Card)?;
    if expiry.is_past(now) {
        return Err(Refusal::Card(CardError::ExpiryPast));
    }
    let cvv = typed.cvv.map(|text| Cvv::parse(text.as_bytes()));
    let cvv = cvv.transpose().map_err(Refusal::Card)?;
    if cvv.as_ref().is_some_and(|cvv| !cvv.matches_brand(pan.brand())) {
        return Err(Refusal::Card(CardError::CvvLength));
    }
    let holder = typed.holder.filter(|text| !text.trim().is_empty()).map(Holder::parse);
    let holder = holder.transpose().map_err(Refusal::Card)?;
    if holder.as_ref().is_some_and(|name| name.reveal(|text| holds_card(text.as_bytes()))) {
        return Err(Refusal::Card(CardError::Holder));
    }
    Ok(Capture { card: Card { pan, holder, expiry }, cvv })
}

/// A text of the card object. Month and year are taken as numbers too: forms send both.
fn field<'d>(card: Value<'d>, name: &str) -> Result<Option<Text<'d>>, Refusal> {
    let Some((_, value)) = card.members().find(|(key, _)| key.is_text(name)) else {
        return Ok(None);
    };
    let refused = || Refusal::FieldNotText(format!("/card/{name}"));
    match value.kind() {
        Kind::Null => Ok(None),
        Kind::String => value.text().map(Some).ok_or_else(refused),
        Kind::Number if name.starts_with("exp_") => std::str::from_utf8(value.raw())
            .map(|text| Some(Text::Borrowed(text)))
            .map_err(|_| refused()),
        Kind::Number | Kind::Bool | Kind::Array | Kind::Object => Err(refused()),
    }
}

fn described(kept: &KeptCard) -> Object {
    let mut answer = kept.token.reveal(|token| Object::new().text("token", token));
    if let Some(cvv_token) = &kept.cvv_token {
        answer = cvv_token.reveal(|token| answer.text("cvv_token", token));
    }
    super::session::masked(answer, &kept.card)
}
