//! A shop's own form → the same form with tokens, on its way to the shop.
//!
//! The shop must never have a card, so whatever leaves a doubt about where one stands is refused:
//! a body that cannot be read strictly, a card in any other place of it, a field of another type.
//! All bytes but those of the two fields stay as they are.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};

use crate::caller::App;
use crate::card::{CardError, Cvv, CvvToken, Timestamp, Token};
use crate::intake::{CardFields, CardPath, Encoding, ExpiryFields, Field, Intake};
use crate::limit::Exceeded;
use crate::secret::CleartextBody;
use crate::vault::{Account, Accounts, Owner, VaultError};
use crate::wire::form::{self, FormDocument};
use crate::wire::multipart::{self, MultipartDocument};
use crate::wire::{
    Category, Document, Edit, Kind, Known, Span, Spelled, Text, Value, WireError, contains_card,
    is_card_number, parse, splice, write_encoded, write_quoted,
};

use super::capture::{Typed, checked};
use super::fields::{is_code_name, is_code_value, owned};
use super::forward::{form_only, json_only};
use super::{Flow, Offer, Offered, Refusal, Replaced};

/// A request on a card path.
#[derive(Debug)]
pub struct CardPost<'p> {
    /// The shop that it is for.
    pub intake: &'p Intake,
    /// Its method.
    pub method: &'p Method,
    /// Its path.
    pub path: &'p str,
    /// All headers.
    pub headers: &'p HeaderMap,
    /// The whole body.
    pub body: &'p CleartextBody,
}

/// A body in which tokens stand in place of the card: what the shop may have.
#[derive(Debug)]
pub struct Tokenised {
    body: CleartextBody,
    replaced: Replaced,
}

impl Tokenised {
    /// The body, and how much was replaced in it.
    pub fn into_parts(self) -> (CleartextBody, Replaced) {
        (self.body, self.replaced)
    }
}

/// Whether a card number stands in a path or a query: no form of a shop's may put one there.
pub fn target_holds_card(path: &str, query: Option<&str>) -> bool {
    holds_card(path.as_bytes()) || query.is_some_and(|query| holds_card(query.as_bytes()))
}

/// Whether a card number stands in a text.
pub fn holds_card(bytes: &[u8]) -> bool {
    contains_card(bytes, &Known { pans: &[], cvvs: &[] })
}

impl Flow {
    /// Keeps the card of a shop's form and puts its tokens where it stood. `allow` is asked when
    /// everything else has been checked, before anything is used up.
    pub fn tokenise(
        &self,
        post: &CardPost<'_>,
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Tokenised, Refusal> {
        let app = self.apps.named(post.intake.tenant.as_str()).ok_or(Refusal::RouteUnknown)?;
        let (fields, body) = read(post)?;
        let found = Found::of(fields, &body)?;
        body.refuse_other_cards(&found)?;
        if found.is_in_headers(post.headers) {
            return Err(Refusal::RawCard(None));
        }
        let number = found.number.text.as_str().trim();
        let tokens = match number.starts_with("tok_") {
            true => self.keep_code(number, &found, fields, app, allow, now)?,
            false => self.keep_typed(&found, app, allow, now)?,
        };
        body.with(&found, &tokens)
    }

    fn keep_typed(
        &self,
        found: &Found<'_>,
        app: &App,
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Tokens, Refusal> {
        let (month, year) = &found.expiry;
        let typed = Typed {
            number: found.number.text.as_str(),
            month,
            year,
            cvv: found.code(),
            holder: found.holder.as_ref().map(Text::as_str),
        };
        let capture = checked(&typed, now)?;
        let masked = capture.card.pan.masked();
        let fingerprint = self.vault.fingerprint(&capture.card.pan);
        let card = Offered::Number { fingerprint, bin: masked.bin() };
        allow(Offer { app: &app.tenant, session: None, card })?;
        let accounts = app.accounts.iter().map(|name| Account::new(name)).collect();
        let owner = Owner {
            tenant: app.tenant.clone(),
            accounts: Accounts::Only(accounts),
            mode: app.mode,
        };
        let kept = self.vault.keep_card(capture, &owner, now)?;
        Ok(Tokens { card: Some(kept.token), code: kept.cvv_token })
    }

    /// The number is a token already: the shop shows its form again. A security code that was typed
    /// into it is kept for that card.
    fn keep_code(
        &self,
        number: &str,
        found: &Found<'_>,
        fields: &CardFields,
        app: &App,
        allow: impl FnOnce(Offer<'_>) -> Result<(), Exceeded>,
        now: Timestamp,
    ) -> Result<Tokens, Refusal> {
        let pointer = || fields.number.name().to_owned();
        let token = Token::parse(number).map_err(|_| Refusal::TokenMalformed(pointer()))?;
        let nothing = Tokens { card: None, code: None };
        let Some(code) = found.code() else { return Ok(nothing) };
        if CvvToken::parse(code).is_ok() {
            return Ok(nothing);
        }
        let cvv = Cvv::parse(code.as_bytes()).map_err(Refusal::Card)?;
        let card = Offered::Kept(token.random_part());
        allow(Offer { app: &app.tenant, session: None, card })?;
        let kept = self.vault.refresh_cvv(&token, cvv, &app.tenant, now);
        let code = kept.map_err(|error| match error {
            VaultError::NotFound => Refusal::TokenUnknown(pointer()),
            other => other.into(),
        })?;
        Ok(Tokens { card: None, code: Some(code) })
    }
}

/// Tokens that are to be put in.
struct Tokens {
    card: Option<Token>,
    code: Option<CvvToken>,
}

/// A field and its text.
struct Spot<'d> {
    span: Span,
    text: Text<'d>,
}

/// The fields of a card as they were found.
struct Found<'d> {
    number: Spot<'d>,
    cvv: Option<Spot<'d>>,
    expiry: (String, String),
    holder: Option<Text<'d>>,
}

impl<'d> Found<'d> {
    fn of(fields: &CardFields, body: &'d Body<'_>) -> Result<Self, Refusal> {
        let number = body.needed(&fields.number, Numbers::Refused)?;
        let cvv = match &fields.cvv {
            Some(field) if fields.cvv_required => Some(body.needed(field, Numbers::Refused)?),
            Some(field) => body.find(field, Numbers::Refused)?,
            None => None,
        };
        // A card that is kept already is not asked again when it ends.
        let expiry = match number.text.as_str().trim().starts_with("tok_") {
            true => Default::default(),
            false => expiry(&fields.expiry, body)?,
        };
        let holder = fields.holder.as_ref().map(|field| body.find(field, Numbers::Refused));
        let holder = holder.transpose()?.flatten().map(|spot| spot.text);
        Ok(Self { number, cvv, expiry, holder })
    }

    /// The digits of the number, unless it is a token.
    fn digits(&self) -> CleartextBody {
        let number = self.number.text.as_str().trim();
        let mut digits = CleartextBody::with_capacity(number.len());
        let typed = number.bytes().filter(|byte| byte.is_ascii_digit());
        typed.filter(|_| !number.starts_with("tok_")).for_each(|digit| digits.push(digit));
        digits
    }

    /// Whether the number, where it is a card's, stands in one of these texts again, in whatever
    /// spelling and grouping.
    fn is_in<'t>(&self, mut texts: impl Iterator<Item = &'t [u8]>) -> bool {
        let digits = self.digits();
        let is_card = std::str::from_utf8(digits.as_bytes()).is_ok_and(is_card_number);
        is_card && texts.any(|text| Spelled::of(text).holds_digits(digits.as_bytes()))
    }

    /// A page's script may have put it into a cookie, and a browser into a referrer.
    fn is_in_headers(&self, headers: &HeaderMap) -> bool {
        self.is_in(headers.values().map(HeaderValue::as_bytes))
    }

    /// The security code, unless the field was left empty.
    fn code(&self) -> Option<&str> {
        self.cvv.as_ref().map(|spot| spot.text.as_str().trim()).filter(|code| !code.is_empty())
    }
}

fn expiry(fields: &ExpiryFields, body: &Body<'_>) -> Result<(String, String), Refusal> {
    let text = |field| -> Result<String, Refusal> {
        Ok(body.needed(field, Numbers::Taken)?.text.as_str().trim().to_owned())
    };
    match fields {
        ExpiryFields::Parts { month, year } => Ok((text(month)?, text(year)?)),
        ExpiryFields::Whole(field) => {
            whole_expiry(&text(field)?).ok_or(Refusal::Card(CardError::ExpiryFormat))
        }
    }
}

/// Month and year out of `MM/YY`, `MM / YYYY`, `MM-YY`, `MMYY` and, as month fields have it,
/// `YYYY-MM`.
fn whole_expiry(text: &str) -> Option<(String, String)> {
    let (first, second) = match text.split_once(['/', '-']) {
        Some((first, second)) => (first.trim(), second.trim()),
        None => text.split_at_checked(2)?,
    };
    let (month, year) = if first.len() == 4 { (second, first) } else { (first, second) };
    Some((month.to_owned(), year.to_owned()))
}

/// The fields of the entry that goes with the request's encoding, and its body.
fn read<'p>(post: &CardPost<'p>) -> Result<(&'p CardFields, Body<'p>), Refusal> {
    let fields = |encoding| {
        let mut cards = post.intake.cards_at(post.method, post.path);
        let card = cards.find(|card: &&CardPath| card.encoding == encoding);
        card.map(|card| &card.fields).ok_or(Refusal::ContentTypeRefused)
    };
    let bytes = post.body.as_bytes();
    if json_only(post.headers).is_ok() {
        return Ok((fields(Encoding::Json)?, Body::Json(parse(bytes)?)));
    }
    if form_only(post.headers).is_ok() {
        return Ok((fields(Encoding::Form)?, Body::Form(strict_form(bytes)?)));
    }
    let mut types = post.headers.get_all(CONTENT_TYPE).iter();
    let only = types.next().filter(|_| types.next().is_none());
    let boundary = only.and_then(|only| only.to_str().ok()).and_then(multipart::boundary);
    let boundary = boundary.ok_or(Refusal::ContentTypeRefused)?;
    let fields = fields(Encoding::Multipart)?;
    if holds_card(boundary.as_bytes()) {
        return Err(Refusal::RawCard(None));
    }
    let body = multipart::parse(bytes, boundary)?;
    check_charset(body.find(CHARSET_FIELD).and_then(|part| part.text()))?;
    Ok((fields, Body::Multipart(body)))
}

/// The name of a field in which browsers say the encoding of all fields (HTML, form submission).
const CHARSET_FIELD: &str = "_charset_";

fn check_charset(said: Option<&str>) -> Result<(), Refusal> {
    match said {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => Err(Refusal::ContentTypeRefused),
        _ => Ok(()),
    }
}

/// A form as browsers write it. The standard reads anything as a form; readers differ in what they
/// make of a stray percent sign, of bytes that are no UTF-8 and of a NUL.
fn strict_form(bytes: &[u8]) -> Result<FormDocument<'_>, Refusal> {
    let wrong = |category, offset| Refusal::BodyMalformed(WireError::at(category, bytes, offset));
    let is_odd = |(at, byte): (usize, &u8)| match byte {
        b'%' => !bytes.get(at + 1..at + 3).is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)),
        byte => !byte.is_ascii_graphic(),
    };
    if let Some(at) = bytes.iter().enumerate().position(is_odd) {
        return Err(wrong(Category::FormSyntax, at));
    }
    let form = form::parse(bytes)?;
    for field in form.fields() {
        let (name, value) = (field.name(), field.value());
        let odd = ['\0', char::REPLACEMENT_CHARACTER, '\u{feff}'];
        if name.as_str().contains(odd) || value.as_str().contains(odd) {
            return Err(wrong(Category::Utf8, field.name_span().start));
        }
    }
    let charset = form.find(CHARSET_FIELD)?.map(|field| field.value());
    check_charset(charset.as_ref().map(|charset| charset.as_str()))?;
    Ok(form)
}

/// Whether a JSON number may stand where a text is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Numbers {
    Taken,
    Refused,
}

/// A body that was read without doubt.
enum Body<'b> {
    Json(Document<'b>),
    Form(FormDocument<'b>),
    Multipart(MultipartDocument<'b>),
}

impl Body<'_> {
    fn input(&self) -> &[u8] {
        match self {
            Self::Json(document) => document.input(),
            Self::Form(form) => form.input(),
            Self::Multipart(parts) => parts.input(),
        }
    }

    /// A field that is there and not empty.
    fn needed(&self, field: &Field, numbers: Numbers) -> Result<Spot<'_>, Refusal> {
        let found = self.find(field, numbers)?;
        let filled = found.filter(|spot| !spot.text.as_str().trim().is_empty());
        filled.ok_or_else(|| Refusal::FieldMissing(field.name().to_owned()))
    }

    fn find(&self, field: &Field, numbers: Numbers) -> Result<Option<Spot<'_>>, Refusal> {
        let wrong = || Refusal::FieldNotText(field.name().to_owned());
        match self {
            Self::Json(document) => {
                let value = field.pointer().and_then(|pointer| document.find(pointer));
                let Some(value) = value.filter(|value| value.kind() != Kind::Null) else {
                    return Ok(None);
                };
                let text = match value.kind() {
                    Kind::Number if numbers == Numbers::Taken => {
                        std::str::from_utf8(value.raw()).ok().map(Text::Borrowed)
                    }
                    _ => value.text(),
                };
                Ok(Some(Spot { span: value.span(), text: text.ok_or_else(wrong)? }))
            }
            Self::Form(form) => Ok(form.find(field.name())?.map(|found| Spot {
                span: found.value_span(),
                text: owned(found.value().as_str()),
            })),
            Self::Multipart(parts) => {
                let Some(part) = parts.find(field.name()) else { return Ok(None) };
                let text = part.text().map(Text::Borrowed).ok_or_else(wrong)?;
                Ok(Some(Spot { span: part.span(), text }))
            }
        }
    }

    /// Refuses a card number or a security code anywhere but in the two fields: as it stands, in
    /// whatever disguise, in names, in files.
    fn refuse_other_cards(&self, found: &Found<'_>) -> Result<(), Refusal> {
        let code = found.cvv.as_ref().map(|spot| spot.span);
        let mut edits: Vec<Edit<'_>> = Vec::with_capacity(2);
        for span in [Some(found.number.span), code].into_iter().flatten() {
            let bytes: &[u8] = if matches!(self, Self::Json(_)) { b"\"\"" } else { b"" };
            edits.push(Edit { span, bytes });
        }
        let rest = splice(self.input(), &edits)?;
        let elsewhere = |span: Span| span != found.number.span && Some(span) != code;
        let hidden = match self {
            Self::Json(_) => false,
            // Each text by itself too: what stands beside it in the body may hide it.
            Self::Form(form) => form.fields().filter(|f| elsewhere(f.value_span())).any(|field| {
                holds_card(field.name().as_str().as_bytes())
                    || holds_card(field.value().as_str().as_bytes())
            }),
            Self::Multipart(parts) => {
                parts.parts().filter(|part| elsewhere(part.span())).any(|p| holds_card(p.bytes()))
            }
        };
        let again = found.is_in(std::iter::once(rest.as_bytes()));
        if hidden || again || holds_card(rest.as_bytes()) || self.has_code(elsewhere) {
            return Err(Refusal::RawCard(None));
        }
        Ok(())
    }

    /// Whether a security code stands under another name that says so.
    fn has_code(&self, elsewhere: impl Fn(Span) -> bool) -> bool {
        let is = |name: &str, value: &[u8]| is_code_name(name) && is_code_value(value);
        match self {
            Self::Json(document) => {
                document.values().filter(|v| elsewhere(v.span())).any(|value| {
                    let name = value.key().and_then(Value::text);
                    let text = match value.kind() {
                        Kind::Number => Some(std::str::from_utf8(value.raw()).unwrap_or_default()),
                        _ => None,
                    };
                    let decoded = value.text();
                    let text = text.or(decoded.as_ref().map(Text::as_str)).unwrap_or_default();
                    name.is_some_and(|name| is(name.as_str(), text.as_bytes()))
                })
            }
            Self::Form(form) => form
                .fields()
                .filter(|field| elsewhere(field.value_span()))
                .any(|field| is(field.name().as_str(), field.value().as_str().as_bytes())),
            Self::Multipart(parts) => parts
                .parts()
                .filter(|part| elsewhere(part.span()))
                .any(|part| is(part.name(), part.bytes())),
        }
    }

    /// The body with tokens in it.
    fn with(&self, found: &Found<'_>, tokens: &Tokens) -> Result<Tokenised, Refusal> {
        let card = tokens.card.as_ref().map(|token| token.reveal(|text| self.written(text)));
        let code = tokens.code.as_ref().map(|token| token.reveal(|text| self.written(text)));
        let code_span = found.cvv.as_ref().map(|spot| spot.span);
        let mut edits: Vec<Edit<'_>> = Vec::with_capacity(2);
        edits.extend(card.iter().map(|text| (found.number.span, text)).map(edit));
        edits.extend(code_span.zip(code.as_ref()).map(edit));
        let body = splice(self.input(), &edits)?;
        let replaced = Replaced { pan: card.is_some().into(), cvv: code.is_some().into() };
        Ok(Tokenised { body, replaced })
    }

    /// A text as the body writes texts.
    fn written(&self, text: &str) -> CleartextBody {
        let mut written = CleartextBody::with_capacity(text.len() + 2);
        match self {
            Self::Json(_) => write_quoted(text, &mut written),
            Self::Form(_) => write_encoded(text, &mut written),
            Self::Multipart(_) => written.extend_from_slice(text.as_bytes()),
        }
        written
    }
}

fn edit<'e>((span, text): (Span, &'e CleartextBody)) -> Edit<'e> {
    Edit { span, bytes: text.as_bytes() }
}

#[cfg(test)]
mod tests;
