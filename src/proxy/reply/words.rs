//! What a problem document says of one request beside its row of the table: which field, what more
//! closely, what to do.

use crate::card::CardError;
use crate::flow::{Forwarded, Refusal, Withheld};

use super::Retry;

/// What to do, where there is no more to say.
pub(super) const fn advice(forwarded: Forwarded, retry: Retry) -> &'static str {
    match (forwarded, retry) {
        (Forwarded::No, Retry::Safe) => "Nothing was sent: correct the request and send it again.",
        (Forwarded::No, Retry::After) => "Nothing was sent: send the same request again later.",
        (Forwarded::No, Retry::Unsafe) => "Nothing was sent, and this request will not be.",
        (_, Retry::Safe | Retry::After) => {
            "An earlier request may still be answered: send the same one again later."
        }
        (_, Retry::Unsafe) => {
            "The provider may have the request: ask it what became of it before anything is sent again."
        }
    }
}

pub(super) fn detail(refusal: &Refusal) -> Option<String> {
    let text = match refusal {
        Refusal::BodyMalformed(error) => return Some(error.to_string()),
        Refusal::AnswerWithheld(reason) => why_withheld(*reason),
        Refusal::MemberUnknown { known, .. } => {
            return Some(format!("Known are: {}.", known.join(", ")));
        }
        _ => return None,
    };
    Some(text.to_owned())
}

fn why_withheld(reason: Withheld) -> &'static str {
    match reason {
        Withheld::Unreadable => "It says it is JSON and cannot be read as such without doubt.",
        Withheld::Encoded => "It is compressed although that was not accepted.",
        Withheld::NotText => "It is neither text nor JSON.",
        Withheld::ChallengeUrl => {
            "The challenge's address is not an https URL, or its method unknown."
        }
        Withheld::ReturnHost => {
            "The return address of the challenge is not on the account's list (three_ds.hosts)."
        }
        Withheld::ChallengeHoldsCard => {
            "The challenge holds a card number; only handoff = \"page\" can carry it."
        }
        Withheld::FormHost => "The card form's URL is not on the account's list (payform.hosts).",
        Withheld::HoldsSignature => "A signature made over card data came back in it.",
        Withheld::NotKept => "A secret in it could not be kept in the vault.",
    }
}

/// Empty, it points at the whole body (RFC 6901), which is told where a member is unknown.
pub(super) fn field(refusal: &Refusal) -> Option<String> {
    let field = match refusal {
        Refusal::MemberUnknown { at, .. } => return Some((*at).to_owned()),
        Refusal::FieldNotText(field)
        | Refusal::FieldMissing(field)
        | Refusal::FieldInvalid(field)
        | Refusal::TokenMalformed(field)
        | Refusal::TokenUnknown(field)
        | Refusal::SignedFieldMissing(field)
        | Refusal::SignedFieldNotScalar(field)
        | Refusal::TokensOfTwoCards(field) => Some(field.clone()),
        Refusal::RawCard(field)
        | Refusal::PaymentInFlight { field }
        | Refusal::PaymentUnknown { field, .. } => field.clone(),
        Refusal::Card(error) => Some(card_field(*error).to_owned()),
        _ => None,
    };
    field.filter(|field| !field.is_empty())
}

/// The member of the captured card that is to blame.
fn card_field(error: CardError) -> &'static str {
    match error {
        CardError::NumberLength | CardError::NumberDigits | CardError::NumberLuhn => "/card/number",
        CardError::CvvLength | CardError::CvvDigits => "/card/cvv",
        CardError::ExpiryFormat | CardError::ExpiryPast => "/card/exp_month",
        CardError::Holder => "/card/holder",
    }
}
