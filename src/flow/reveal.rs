//! Tokens in named fields → the parts of the card that they stand for.
//!
//! A token is redeemed only where the profile names a card field; anywhere else it is text and goes
//! on as text, which tells a thief nothing (threat T12).

use std::sync::Arc;

use crate::card::{Card, Cvv, CvvToken, Timestamp, Token, TokenId};
use crate::provider::{Part, Reveal};
use crate::vault::{Audience, CvvLease, Tenant, Vault};
use crate::wire::Span;

use super::fields::{Content, Field, Fields};
use super::pen::Pen;
use super::{Flow, Refusal, Replaced};

/// Card data that is about to leave. Whoever sends it has it recorded first.
#[derive(Debug)]
pub struct Disclosure {
    /// The application.
    pub app: Tenant,
    /// The account.
    pub account: Arc<str>,
    /// The route.
    pub route: Arc<str>,
    /// What is in it.
    pub replaced: Replaced,
    /// None where the card was typed in on the way and never had one.
    token: Option<Token>,
}

impl Disclosure {
    /// Names the card in logs and records.
    #[must_use]
    pub fn token_id(&self) -> Option<TokenId> {
        self.token.as_ref().map(Token::id)
    }
}

/// What was redeemed for one request.
#[derive(Debug)]
pub(super) struct Revealed<C = Card, K = (Cvv, CvvLease)> {
    pub card: Option<C>,
    pub cvv: Option<K>,
    pub replaced: Replaced,
    token: Option<Token>,
}

impl<C, K> Default for Revealed<C, K> {
    fn default() -> Self {
        Self { card: None, cvv: None, replaced: Replaced::default(), token: None }
    }
}

impl Revealed {
    /// What is to be recorded when it leaves.
    pub(super) fn disclosure(
        &mut self,
        app: &Tenant,
        account: &Arc<str>,
        route: &Arc<str>,
    ) -> Disclosure {
        Disclosure {
            app: app.clone(),
            account: Arc::clone(account),
            route: Arc::clone(route),
            replaced: self.replaced,
            token: self.token.take(),
        }
    }

    /// Goes on with what has been done, or gives the CVV back.
    pub(super) fn unless_refused<T>(
        self,
        done: Result<T, Refusal>,
        vault: &Vault,
        now: Timestamp,
    ) -> Result<(T, Self), Refusal> {
        match done {
            Ok(done) => Ok((done, self)),
            Err(refusal) => {
                self.give_back(vault, now);
                Err(refusal)
            }
        }
    }

    /// The request ends before anything was sent: the CVV can be used again.
    pub(super) fn give_back(self, vault: &Vault, now: Timestamp) {
        if let Some((_, lease)) = self.cvv {
            vault.restore_cvv(lease, now);
        }
    }
}

/// The fields of a route that hold a card's token, and the one that holds its CVV's.
#[derive(Default)]
pub(super) struct Tokens<'r> {
    rules: &'r [Reveal],
    card: Vec<(&'r Reveal, Span)>,
    token: Option<Token>,
    cvv: Option<(CvvToken, Span, &'r Reveal)>,
    /// What stands there in clear, where it may.
    typed: Replaced,
}

impl<'r> Tokens<'r> {
    /// Reads the named fields. Nothing is looked up yet.
    pub(super) fn read(
        document: &Fields<'_>,
        rules: &'r [Reveal],
        clear: Clear,
    ) -> Result<Self, Refusal> {
        let card = Vec::with_capacity(rules.len());
        let mut tokens = Self { rules, card, ..Self::default() };
        for reveal in rules {
            let Some(field) = document.find(&reveal.pointer)? else { continue };
            read_field(&field, reveal, clear, &mut tokens)?;
        }
        Ok(tokens)
    }

    /// Whether one of them stands there.
    pub(super) fn stand_at(&self, span: Span) -> bool {
        let cvv = self.cvv.iter().map(|(_, span, _)| span);
        self.card.iter().map(|(_, span)| span).chain(cvv).any(|token| *token == span)
    }
}

/// Whether card data in clear may stand where tokens may: only in a form that comes straight from
/// the cardholder's browser.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Clear {
    Refused,
    Allowed,
}

impl Flow {
    /// Redeems the tokens of a request. The CVV is taken last, when nothing else can be refused.
    pub(super) fn reveal<P: Pen>(
        &self,
        tokens: Tokens<'_>,
        audience: &Audience,
        pen: &mut P,
        now: Timestamp,
    ) -> Result<Revealed<P::Card, P::Code>, Refusal> {
        let mut revealed = Revealed { replaced: tokens.typed, ..Revealed::default() };
        let Some(token) = tokens.token else {
            return match tokens.cvv {
                Some((_, _, cvv)) => Err(Refusal::TokenUnknown(cvv.pointer.to_string())),
                None => Ok(revealed),
            };
        };
        let unknown = |part: Part| Refusal::TokenUnknown(pointer_of(tokens.rules, part));
        let redeemed = P::redeem(&self.vault, &token, audience, now);
        let (card, found) = redeemed.map_err(|_| unknown(Part::Number))?;
        for (reveal, span) in &tokens.card {
            pen.put_part(&card, reveal, *span);
            revealed.replaced.pan += u32::from(reveal.part == Part::Number);
        }
        if let Some((cvv_token, span, reveal)) = tokens.cvv {
            let taken = P::take_cvv(&self.vault, (&cvv_token, &token), found, now);
            let taken = taken.map_err(|_| Refusal::TokenUnknown(reveal.pointer.to_string()))?;
            pen.put_cvv(&taken, reveal, span);
            revealed.cvv = Some(taken);
            revealed.replaced.cvv += 1;
        }
        revealed.card = Some(card);
        revealed.token = Some(token);
        Ok(revealed)
    }
}

fn read_field<'r>(
    field: &Field<'_>,
    reveal: &'r Reveal,
    clear: Clear,
    tokens: &mut Tokens<'r>,
) -> Result<(), Refusal> {
    let pointer = || reveal.pointer.to_string();
    let text = match &field.content {
        Content::Null => return Ok(()),
        Content::Text(text) => text.as_str(),
        _ => return Err(Refusal::FieldNotText(pointer())),
    };
    let secret = matches!(reveal.part, Part::Number | Part::Cvv);
    if text.is_empty() || (!secret && !text.starts_with("tok_")) {
        return Ok(());
    }
    if reveal.or_text && !text.starts_with("tok_") && !could_be_a_number(text) {
        return Ok(());
    }
    if secret && is_digits(text) {
        if clear == Clear::Refused {
            return Err(Refusal::RawCard(Some(pointer())));
        }
        tokens.typed.pan += u32::from(reveal.part == Part::Number);
        tokens.typed.cvv += u32::from(reveal.part == Part::Cvv);
        return Ok(());
    }
    let malformed = || Refusal::TokenMalformed(pointer());
    if reveal.part == Part::Cvv {
        let token = CvvToken::parse(text).map_err(|_| malformed())?;
        tokens.cvv = Some((token, field.span, reveal));
        return Ok(());
    }
    let token = Token::parse(text).map_err(|_| malformed())?;
    match &tokens.token {
        Some(first) if first.id() != token.id() => {
            return Err(Refusal::TokensOfTwoCards(pointer()));
        }
        _ => tokens.token = Some(token),
    }
    tokens.card.push((reveal, field.span));
    Ok(())
}

/// Digits of a length that card numbers have today; shorter ones are accounts and telephones, and
/// the scan of the whole body has passed them.
fn could_be_a_number(text: &str) -> bool {
    is_digits(text) && (13..=19).contains(&text.chars().filter(|sign| sign.is_numeric()).count())
}

/// Digits as people write card data: with spaces, hyphens or dots between them.
fn is_digits(text: &str) -> bool {
    text.chars().any(char::is_numeric)
        && text.chars().all(|sign| sign.is_numeric() || matches!(sign, ' ' | '-' | '.' | '\u{a0}'))
}

fn pointer_of(rules: &[Reveal], part: Part) -> String {
    let reveal = rules.iter().find(|reveal| reveal.part == part);
    reveal.map(|reveal| reveal.pointer.to_string()).unwrap_or_default()
}
