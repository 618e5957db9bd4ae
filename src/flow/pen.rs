//! One walk over the rules of a route, two hands that write: [`Changes`] puts the real values into
//! a request, [`Outline`](super::outline::Outline) puts down what may be shown of them.
//!
//! A rule is written here once, so that an explanation cannot say anything else than what is sent.

use crate::card::{Card, Cvv, CvvToken, Timestamp, Token};
use crate::provider::{Part, Reveal};
use crate::vault::{Audience, CvvLease, Found, Redeemed, Vault, VaultError};
use crate::wire::{Pointer, Span};

use super::changes::Changes;

/// A rule of a route that puts a value into a body, the parts of a card aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Put {
    /// Our callback URL in place of the application's.
    CallbackUrl,
    /// What a callback handed out sealed.
    Sealed,
    /// The account's own credential in place of a virtual one.
    Credential,
    /// What a handle stands for.
    Handle,
}

/// Writes what the rules of a route say.
pub(super) trait Pen {
    /// A card, or what may be shown of it.
    type Card;
    /// A security code, or that there is one.
    type Code;

    /// A value of a rule in place of the one at `span`; `write` writes the real one.
    fn put(&mut self, rule: Put, at: &Pointer, span: Span, write: impl FnOnce(&mut Changes));

    /// The card that a token stands for, and where it lies.
    fn redeem(
        vault: &Vault,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<(Self::Card, Found), VaultError>;

    /// A part of the card in place of its token.
    fn put_part(&mut self, card: &Self::Card, at: &Reveal, span: Span);

    /// The security code that a token stands for, of the card that was found.
    fn take_cvv(
        vault: &Vault,
        tokens: (&CvvToken, &Token),
        found: Found,
        now: Timestamp,
    ) -> Result<Self::Code, VaultError>;

    /// The security code in place of its token.
    fn put_cvv(&mut self, code: &Self::Code, at: &Reveal, span: Span);
}

impl Pen for Changes {
    type Card = Card;
    type Code = (Cvv, CvvLease);

    fn put(&mut self, _: Put, _: &Pointer, _: Span, write: impl FnOnce(&mut Changes)) {
        write(self);
    }

    fn redeem(
        vault: &Vault,
        token: &Token,
        audience: &Audience,
        now: Timestamp,
    ) -> Result<(Card, Found), VaultError> {
        vault.redeem(token, audience, now).map(Redeemed::into_parts)
    }

    fn put_part(&mut self, card: &Card, at: &Reveal, span: Span) {
        match at.part {
            Part::Number => card.pan.reveal(|digits| self.put_text(span, digits)),
            Part::Holder => match &card.holder {
                Some(holder) => holder.reveal(|name| self.put_text(span, name)),
                None => self.put_text(span, ""),
            },
            Part::ExpiryMonth => self.put_text(span, card.expiry.month2()),
            Part::ExpiryYear2 => self.put_text(span, card.expiry.year2()),
            Part::ExpiryYear4 => self.put_text(span, card.expiry.year4()),
            Part::Cvv => {}
        }
    }

    fn take_cvv(
        vault: &Vault,
        (cvv_token, token): (&CvvToken, &Token),
        found: Found,
        now: Timestamp,
    ) -> Result<(Cvv, CvvLease), VaultError> {
        vault.take_cvv(cvv_token, token, found, now)
    }

    fn put_cvv(&mut self, (cvv, _): &(Cvv, CvvLease), _: &Reveal, span: Span) {
        cvv.reveal(|digits| self.put_text(span, digits));
    }
}
