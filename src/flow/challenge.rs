//! A challenge in an answer → our hand-off: the provider's fields stay here, because a `PaReq` may
//! carry the card number, and the return address becomes ours where the provider allows it.
//!
//! Values are opaque: never decoded, trimmed, padded or encoded anew.

use url::Url;

use crate::card::Timestamp;
use crate::provider::{Account, Challenge, Handoff, HostPort, ProviderHost};
use crate::wire::{Kind, Value, contains_card};

use super::answer::with_known;
use super::changes::Changes;
use super::object::Object;
use super::packed::{Packer, Unpacker};
use super::{Flow, PAYMENT_LIFE, Pending, Refusal, Withheld};

/// What is kept of a challenge until the browser has come back.
pub(super) struct Kept {
    pub account: String,
    pub action: String,
    pub method: String,
    /// Where the provider wants the browser back; empty where we are not in between.
    pub term_url: String,
    /// Where the customer goes when the outcome is unknown; empty where nobody said.
    pub return_url: String,
    pub fields: Vec<(String, String)>,
}

impl Kept {
    fn pack(&self) -> crate::secret::SecretBytes {
        let mut packer = Packer::default();
        let heads = [&self.account, &self.action, &self.method, &self.term_url, &self.return_url];
        for text in heads {
            packer = packer.put(text.as_bytes());
        }
        for (name, value) in &self.fields {
            packer = packer.put(name.as_bytes()).put(value.as_bytes());
        }
        packer.close()
    }

    pub(super) fn unpack(payload: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker::new(payload);
        let mut kept = Self {
            account: unpacker.owned()?,
            action: unpacker.owned()?,
            method: unpacker.owned()?,
            term_url: unpacker.owned()?,
            return_url: unpacker.owned()?,
            fields: Vec::new(),
        };
        while !unpacker.is_empty() {
            kept.fields.push((unpacker.owned()?, unpacker.owned()?));
        }
        Some(kept)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.fields.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl Flow {
    /// Takes a challenge out of an answer. What is not an object, such as the empty list that
    /// stands for nothing, and what has no URL stays as it is.
    pub(super) fn hand_off(
        &self,
        pending: &Pending,
        value: Value<'_>,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let rules = &pending.account.profile.challenge;
        let Some(action) = member(value, &rules.action).filter(|_| value.kind() == Kind::Object)
        else {
            return Ok(());
        };
        let kept = read(pending, value, action)?;
        let term_url = member(value, &rules.params).and_then(|p| member(p, &rules.term_url));
        match pending.account.three_ds.handoff {
            Handoff::Page => {
                let id = self.keep(&kept, now)?;
                changes.put(value.span(), shape_of_start(rules, &self.start_url(&id)));
            }
            Handoff::Inline => {
                refuse_card_inside(pending, value)?;
                if let (Some(place), false) = (term_url, kept.term_url.is_empty()) {
                    let id = self.keep(&kept, now)?;
                    changes.put_text(place.span(), &self.relay_url(&id));
                }
            }
        }
        Ok(())
    }

    fn keep(&self, kept: &Kept, now: Timestamp) -> Result<String, Refusal> {
        let id = self.vault.keep_relay(kept.pack(), PAYMENT_LIFE, now);
        let id = id.map_err(|_| Refusal::AnswerWithheld(Withheld::NotKept))?;
        Ok(id.reveal(str::to_owned))
    }

    /// Our page that sends the browser to the access control server.
    fn start_url(&self, id: &str) -> String {
        self.public(&format!("/3ds/{id}/start"))
    }

    /// What takes the place of the provider's return address; well below 200 characters.
    pub(super) fn relay_url(&self, id: &str) -> String {
        self.public(&format!("/3ds/{id}"))
    }
}

/// The same shape that the provider's document has, so that an unchanged application still builds
/// its form from it.
fn shape_of_start(rules: &Challenge, start: &str) -> crate::secret::CleartextBody {
    Object::new()
        .text(&rules.action, start)
        .text(&rules.method, "GET")
        .object(&rules.params, Object::new())
        .close()
}

fn read(pending: &Pending, value: Value<'_>, action: Value<'_>) -> Result<Kept, Refusal> {
    let rules = &pending.account.profile.challenge;
    let action = action.text().map(|text| text.as_str().to_owned()).unwrap_or_default();
    let method = member(value, &rules.method).and_then(Value::text);
    let method = method.map_or_else(|| "POST".to_owned(), |m| m.as_str().to_ascii_uppercase());
    if !is_https(&action) || !matches!(method.as_str(), "GET" | "POST") {
        return Err(Refusal::AnswerWithheld(Withheld::ChallengeUrl));
    }
    let fields = member(value, &rules.params).map_or(Ok(Vec::new()), fields)?;
    let named = fields.iter().find(|(name, _)| *name == rules.term_url);
    let term_url = match named {
        Some((_, url)) if pending.account.three_ds.replace_term_url => {
            return_address(url, &pending.account)?
        }
        _ => String::new(),
    };
    let return_url = pending.return_url.as_ref();
    let return_url =
        return_url.map(|url| url.reveal(|url| String::from_utf8_lossy(url).into_owned()));
    Ok(Kept {
        account: pending.account.name.clone(),
        action,
        method,
        term_url,
        return_url: return_url.filter(|url| is_https(url)).unwrap_or_default(),
        fields,
    })
}

fn fields(params: Value<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let scalar = |value: Value<'_>| match value.kind() {
        Kind::String => value.text().map(|text| text.as_str().to_owned()),
        Kind::Number | Kind::Bool => std::str::from_utf8(value.raw()).ok().map(str::to_owned),
        Kind::Null => Some(String::new()),
        Kind::Array | Kind::Object => None,
    };
    let pair = |(name, value): (Value<'_>, Value<'_>)| {
        Some((name.text()?.as_str().to_owned(), scalar(value)?))
    };
    let pairs: Option<Vec<_>> = params.members().map(pair).collect();
    pairs.ok_or(Refusal::AnswerWithheld(Withheld::Unreadable))
}

fn member<'d>(value: Value<'d>, name: &str) -> Option<Value<'d>> {
    value.members().find(|(key, _)| key.is_text(name)).map(|(_, value)| value)
}

/// Whether a browser may be sent there: https, a DNS name, no user.
pub(super) fn is_https(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "https" && HostPort::of(&url).is_some())
}

/// The provider's own return address. One sample has no scheme: https is then meant. The host must
/// be on the account's list; a guess is never dialled (threat T9).
fn return_address(text: &str, account: &Account) -> Result<String, Refusal> {
    let refused = Refusal::AnswerWithheld(Withheld::ReturnHost);
    let named = text.starts_with(|sign: char| sign.is_ascii_alphanumeric());
    let clean = named && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let whole = match text.split_once("://") {
        Some(_) => text.to_owned(),
        None => format!("https://{text}"),
    };
    let url = Url::parse(&whole).ok().filter(|_| clean);
    let listed =
        url.is_some_and(|url| ProviderHost::of_url(&url, &account.three_ds.hosts).is_some());
    if listed { Ok(whole) } else { Err(refused) }
}

fn refuse_card_inside(pending: &Pending, value: Value<'_>) -> Result<(), Refusal> {
    let cvv = pending.cvv.as_ref().map(|(cvv, _)| cvv);
    let holds = with_known(pending.card.as_ref(), cvv, |known| contains_card(value.raw(), known));
    match holds {
        true => Err(Refusal::AnswerWithheld(Withheld::ChallengeHoldsCard)),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_challenge_comes_back_as_it_was() {
        let kept = Kept {
            account: "paymega".into(),
            action: "https://acs.example/a?b=c".into(),
            method: "POST".into(),
            term_url: String::new(),
            return_url: "https://shop.example/".into(),
            fields: vec![("MD".into(), String::new()), ("PaReq".into(), "e+/=\r\n".into())],
        };
        let back = kept.pack().reveal(Kept::unpack).unwrap();
        assert_eq!(back.fields, kept.fields);
        assert_eq!((&back.action, &back.method), (&kept.action, &kept.method));
    }
}
