//! Tokens in named fields → the parts of the card that they stand for.
//!
//! A token is redeemed only where the profile names a card field; anywhere else it is text and goes
//! on as text, which tells a thief nothing (threat T12).

use crate::card::{Card, Cvv, CvvToken, Timestamp, Token};
use crate::provider::{Part, Route};
use crate::vault::{Audience, CvvLease, Vault};
use crate::wire::{Document, Kind, Span, Value};

use super::changes::Changes;
use super::{Flow, Refusal, Replaced};

/// What was redeemed for one request.
#[derive(Debug, Default)]
pub(super) struct Revealed {
    pub card: Option<Card>,
    pub cvv: Option<(Cvv, CvvLease)>,
    pub replaced: Replaced,
}

impl Revealed {
    /// The request ends before anything was sent: the CVV can be used again.
    pub(super) fn give_back(self, vault: &Vault, now: Timestamp) {
        if let Some((_, lease)) = self.cvv {
            vault.restore_cvv(lease, now);
        }
    }
}

/// A field of the route that holds a card token, and the one that holds a CVV token.
#[derive(Default)]
struct Fields {
    card: Vec<(Part, Span)>,
    token: Option<Token>,
    cvv: Option<(CvvToken, Span, String)>,
}

impl Flow {
    /// Redeems the tokens of a request. The CVV is taken last, when nothing else can be refused.
    pub(super) fn reveal(
        &self,
        document: &Document<'_>,
        route: &Route,
        audience: &Audience,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<Revealed, Refusal> {
        let fields = read_fields(document, route)?;
        let mut revealed = Revealed::default();
        let Some(token) = &fields.token else {
            return match fields.cvv {
                Some((_, _, pointer)) => Err(Refusal::TokenUnknown(pointer)),
                None => Ok(revealed),
            };
        };
        let unknown = |part: Part| Refusal::TokenUnknown(pointer_of(route, part));
        let card = self.vault.redeem(token, audience, now).map_err(|_| unknown(Part::Number))?;
        let card = card.into_card();
        for (part, span) in &fields.card {
            put_part(&card, *part, *span, changes);
            revealed.replaced.pan += u32::from(*part == Part::Number);
        }
        if let Some((cvv_token, span, pointer)) = fields.cvv {
            let taken = self.vault.take_cvv(&cvv_token, token, audience, now);
            let (cvv, lease) = taken.map_err(|_| Refusal::TokenUnknown(pointer))?;
            cvv.reveal(|digits| changes.put_text(span, digits));
            revealed.cvv = Some((cvv, lease));
            revealed.replaced.cvv = 1;
        }
        revealed.card = Some(card);
        Ok(revealed)
    }
}

fn read_fields(document: &Document<'_>, route: &Route) -> Result<Fields, Refusal> {
    let mut fields = Fields::default();
    for reveal in &route.request.reveal {
        let Some(value) = document.find(&reveal.pointer) else { continue };
        read_field(value, reveal.part, &reveal.pointer.to_string(), &mut fields)?;
    }
    Ok(fields)
}

fn read_field(
    value: Value<'_>,
    part: Part,
    pointer: &str,
    fields: &mut Fields,
) -> Result<(), Refusal> {
    if value.kind() == Kind::Null {
        return Ok(());
    }
    let text = value.text().ok_or_else(|| Refusal::FieldNotText(pointer.to_owned()))?;
    let text = text.as_str();
    let secret = matches!(part, Part::Number | Part::Cvv);
    if text.is_empty() || (!secret && !text.starts_with("tok_")) {
        return Ok(());
    }
    if secret && is_digits(text) {
        return Err(Refusal::RawCard(Some(pointer.to_owned())));
    }
    let malformed = || Refusal::TokenMalformed(pointer.to_owned());
    if part == Part::Cvv {
        let token = CvvToken::parse(text).map_err(|_| malformed())?;
        fields.cvv = Some((token, value.span(), pointer.to_owned()));
        return Ok(());
    }
    let token = Token::parse(text).map_err(|_| malformed())?;
    match &fields.token {
        Some(first) if first.id() != token.id() => {
            return Err(Refusal::TokensOfTwoCards(pointer.to_owned()));
        }
        _ => fields.token = Some(token),
    }
    fields.card.push((part, value.span()));
    Ok(())
}

/// Digits as people write card data: with spaces, hyphens or dots between them.
fn is_digits(text: &str) -> bool {
    text.chars().any(char::is_numeric)
        && text.chars().all(|sign| sign.is_numeric() || matches!(sign, ' ' | '-' | '.' | '\u{a0}'))
}

fn pointer_of(route: &Route, part: Part) -> String {
    let reveal = route.request.reveal.iter().find(|reveal| reveal.part == part);
    reveal.map(|reveal| reveal.pointer.to_string()).unwrap_or_default()
}

fn put_part(card: &Card, part: Part, span: Span, changes: &mut Changes) {
    match part {
        Part::Number => card.pan.reveal(|digits| changes.put_text(span, digits)),
        Part::Holder => match &card.holder {
            Some(holder) => holder.reveal(|name| changes.put_text(span, name)),
            None => changes.put_text(span, ""),
        },
        Part::ExpiryMonth => changes.put_text(span, card.expiry.month2()),
        Part::ExpiryYear2 => changes.put_text(span, card.expiry.year2()),
        Part::ExpiryYear4 => changes.put_text(span, card.expiry.year4()),
        Part::Cvv => {}
    }
}
