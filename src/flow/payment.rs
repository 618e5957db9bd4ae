//! The provider's own key of a payment, told by its profile, as a guard without any header: while a
//! POST with it is under way, or after one whose outcome nobody knows, another one stays here.
//!
//! What is kept is a mark under a keyed hash of the key's values: nothing of them can be read out.

use std::sync::Arc;

use crate::card::Timestamp;
use crate::provider::{PaymentKey, Route};
use crate::vault::{Claim, Guarded, Payment, PaymentName};

use super::forward::{Arrived, Pending};
use super::packed::Packer;
use super::{Flow, Refusal, Scrubbed, handle_context};

/// Bytes of most keys, of which the token of an invoice is the longest part.
const KEY_LEN: usize = 512;

/// What a request has claimed, and must give back or say what became of it.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Its `Idempotency-Key`.
    pub once: Option<Claim>,
    /// The provider's own key of the payment.
    pub payment: Option<Payment>,
}

impl Flow {
    /// Claims the payment that a request is about, where its route has a key and the request has
    /// all of it. Applications that share an account share its payments.
    pub(super) fn claim_payment(
        &self,
        arrived: &Arrived<'_, '_>,
        now: Timestamp,
    ) -> Result<Option<Payment>, Refusal> {
        let Some((name, other)) = self.names_of(arrived)? else { return Ok(None) };
        first(self.vault.claim_payment(name, other, now)?, || about(arrived)).map(Some)
    }

    /// Whether the payment could be claimed; nothing is.
    pub(super) fn check_payment(
        &self,
        arrived: &Arrived<'_, '_>,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Some((name, other)) = self.names_of(arrived)? else { return Ok(()) };
        first(self.vault.look_payment(name, other, now), || about(arrived)).map(drop)
    }

    /// What the payment is called here; that of a handle by its secret, and by what the provider
    /// calls it where that is known. None where a value is missing.
    fn names_of(
        &self,
        arrived: &Arrived<'_, '_>,
    ) -> Result<Option<(PaymentName, Option<PaymentName>)>, Refusal> {
        let name = |key: &Packer| self.vault.payment_name(key.as_bytes());
        let Some(key) = key_of(arrived, Handle::Secret, Packer::with_capacity(KEY_LEN))? else {
            return Ok(None);
        };
        let by_secret = name(&key);
        let by_id = key_of(arrived, Handle::Id, key.emptied())?;
        Ok(Some((by_secret, by_id.as_ref().map(name))))
    }

    /// Claims the payment that a card form is about: that of the secrets it was filled in with.
    pub(super) fn claim_form(
        &self,
        key: Option<&Packer>,
        now: Timestamp,
    ) -> Result<Option<Payment>, Refusal> {
        let Some(key) = key else { return Ok(None) };
        let name = self.vault.payment_name(key.as_bytes());
        first(self.vault.claim_payment(name, None, now)?, About::default).map(Some)
    }

    /// Whether that payment could be claimed; nothing is.
    pub(super) fn check_form(&self, key: Option<&Packer>, now: Timestamp) -> Result<(), Refusal> {
        let Some(key) = key else { return Ok(()) };
        let name = self.vault.payment_name(key.as_bytes());
        first(self.vault.look_payment(name, None, now), About::default).map(drop)
    }

    /// What became of a payment whose claim is held: a provider's answer of this status, or not.
    pub(super) fn settle_payment(&self, payment: &Payment, status: Option<u16>, now: Timestamp) {
        match status.is_some_and(is_definite) {
            true => self.vault.release_payment(payment),
            false => self.vault.lose_payment(payment, now),
        }
    }

    /// Nothing was sent: whoever comes next is the first.
    pub(super) fn release(&self, claims: &Claims) {
        claims.once.as_ref().inspect(|claim| self.vault.release_once(claim));
        claims.payment.as_ref().inspect(|payment| self.vault.release_payment(payment));
    }

    /// It may have been sent, and nobody knows what became of it.
    pub(super) fn lose(&self, claims: &Claims, now: Timestamp) {
        claims.once.as_ref().inspect(|claim| self.vault.lose_once(claim, now));
        claims.payment.as_ref().inspect(|payment| self.vault.lose_payment(payment, now));
    }

    /// The provider answered, and the answer is passed on or not.
    pub(super) fn settle(
        &self,
        claims: &Claims,
        scrubbed: &Result<Scrubbed, Refusal>,
        now: Timestamp,
    ) {
        let Ok(scrubbed) = scrubbed else { return self.lose(claims, now) };
        claims.once.as_ref().inspect(|claim| self.keep_answer(claim, scrubbed, now));
        let status = Some(scrubbed.status());
        claims.payment.as_ref().inspect(|payment| self.settle_payment(payment, status, now));
    }
}

impl Pending {
    /// Whether nobody may guess what became of it.
    pub fn is_payment(&self) -> bool {
        self.route().is_some_and(Route::is_payment)
    }
}

/// What whoever is not the first is told: the field that names the payment, and the call that tells
/// what became of it.
#[derive(Default)]
struct About {
    field: Option<String>,
    status_call: Option<Arc<str>>,
}

fn about(arrived: &Arrived<'_, '_>) -> About {
    let route = arrived.place.route;
    let named = route.request.payment_key.iter().rev().find_map(PaymentKey::field);
    About { field: named.map(ToString::to_string), status_call: route.status_call.clone() }
}

fn first(guarded: Guarded, about: impl FnOnce() -> About) -> Result<Payment, Refusal> {
    match guarded {
        Guarded::First(payment) => Ok(payment),
        Guarded::UnderWay => Err(Refusal::PaymentInFlight { field: about().field }),
        Guarded::Unknown => {
            let About { field, status_call } = about();
            Err(Refusal::PaymentUnknown { field, status_call })
        }
    }
}

/// What a provider accepted or refused it knows; its own failure (5xx) says nothing about the
/// payment.
const fn is_definite(status: u16) -> bool {
    status < 500
}

/// By what the payment of a handle is named.
#[derive(Clone, Copy)]
enum Handle {
    Secret,
    Id,
}

/// The account, the route and the values of the key, each behind its length; none where a value is
/// missing, or nothing is named by an id.
fn key_of(arrived: &Arrived<'_, '_>, by: Handle, into: Packer) -> Result<Option<Packer>, Refusal> {
    let Arrived { place, body, known, .. } = arrived;
    let (account, route) = (place.account, place.route);
    let keys = &route.request.payment_key;
    let has_handle = keys.iter().any(|key| matches!(key, PaymentKey::Handle));
    if keys.is_empty() || (matches!(by, Handle::Id) && !has_handle) {
        return Ok(None);
    }
    let mut packer = into.put(account.name.as_bytes()).put(route.name.as_bytes());
    for key in keys {
        let more = match (key, body, &known.bearer) {
            (PaymentKey::Handle, _, Some(bearer)) => {
                handle_context::payment(bearer, |secret, id| match by {
                    Handle::Secret => Some(packer.put(secret)),
                    Handle::Id => id.map(|id| packer.put(b"").put(id)),
                })
            }
            (PaymentKey::Field(pointer), Some(fields), _) => {
                let field = fields.find(pointer)?;
                let value = field.as_ref().and_then(|field| field.content.signed());
                value.filter(|value| !value.is_empty()).map(|value| packer.put(value))
            }
            _ => None,
        };
        let Some(more) = more else { return Ok(None) };
        packer = more;
    }
    Ok(Some(packer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_provider_or_one_before_it_failed_with_tells_nothing_of_the_payment() {
        let definite = [200, 201, 302, 400, 401, 404, 409, 422, 429, 499];
        assert!(definite.into_iter().all(is_definite));
        let unknown = [500, 501, 502, 503, 504, 520, 599];
        assert!(!unknown.into_iter().any(is_definite));
    }
}
