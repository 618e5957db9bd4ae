//! A challenge in an answer → our hand-off: the provider's fields stay here, because a `PaReq` may
//! carry the card number, and the return address becomes ours where the provider allows it.
//!
//! Values are opaque: never decoded, trimmed, padded or encoded anew.

use url::Url;

use crate::card::Timestamp;
use crate::provider::{Account, Challenge, Handoff, HostPort, ProviderHost};
use crate::secret::SecretBytes;
use crate::wire::{Kind, Value, contains_card};

use super::answer::{Scope, with_known};
use super::changes::Changes;
use super::packed::{Packer, Unpacker};
use super::{Flow, PAYMENT_LIFE, Refusal, Withheld};

/// Kinds of payload.
const PAGE: &str = "page";
const WAY_BACK: &str = "way back";

/// What is kept for the hand-off page.
pub(super) struct Kept {
    pub account: String,
    pub action: String,
    pub method: String,
    /// The id of the way back; empty where we are not in between. It is not the page's own id:
    /// whoever sees the return address cannot look at the page.
    pub way_back: String,
    pub fields: Vec<(String, String)>,
}

/// What is kept for the way back.
pub(super) struct WayBack {
    pub account: String,
    /// Where the provider wants the browser.
    pub term_url: String,
    /// Where the customer goes when the outcome is unknown; empty where nobody said.
    pub return_url: String,
    /// Whose payment it is.
    pub tenant: String,
}

impl Kept {
    fn pack(&self) -> SecretBytes {
        let heads = [&self.account, &self.action, &self.method, &self.way_back];
        let packer = heads.iter().fold(Packer::of(PAGE), |p, text| p.put(text.as_bytes()));
        let fields = self.fields.iter();
        fields.fold(packer, |p, (name, value)| p.put(name.as_bytes()).put(value.as_bytes())).close()
    }

    pub(super) fn unpack(payload: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker::of(PAGE, payload)?;
        let mut kept = Self {
            account: unpacker.owned()?,
            action: unpacker.owned()?,
            method: unpacker.owned()?,
            way_back: unpacker.owned()?,
            fields: Vec::new(),
        };
        while !unpacker.is_empty() {
            kept.fields.push((unpacker.owned()?, unpacker.owned()?));
        }
        Some(kept)
    }
}

impl WayBack {
    fn pack(&self) -> SecretBytes {
        let texts = [&self.account, &self.term_url, &self.return_url, &self.tenant];
        texts.iter().fold(Packer::of(WAY_BACK), |p, text| p.put(text.as_bytes())).close()
    }

    pub(super) fn unpack(payload: &[u8]) -> Option<Self> {
        let mut unpacker = Unpacker::of(WAY_BACK, payload)?;
        Some(Self {
            account: unpacker.owned()?,
            term_url: unpacker.owned()?,
            return_url: unpacker.owned()?,
            tenant: unpacker.owned().unwrap_or_default(),
        })
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.fields.iter_mut().for_each(|(_, value)| value.zeroize());
    }
}

impl Flow {
    /// Takes a challenge out of an answer: its address becomes ours, its fields stay here. What is
    /// not an object, such as the empty list that stands for nothing, and what has no URL or none
    /// of the fields that make a challenge, stays as it is.
    pub(super) fn hand_off(
        &self,
        scope: &Scope<'_>,
        value: Value<'_>,
        changes: &mut Changes,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let rules = &scope.account.profile.challenge;
        let Some(parts) = Parts::of(value, rules) else { return Ok(()) };
        let (mut kept, way_back) = read(scope, &parts)?;
        match scope.account.three_ds.handoff {
            Handoff::Page => {
                if let Some(way_back) = way_back {
                    kept.way_back = self.keep(way_back.pack(), now)?;
                }
                let id = self.keep(kept.pack(), now)?;
                changes.put_text(parts.action.span(), &self.start_url(&id));
                if let Some(method) = parts.method {
                    changes.put_text(method.span(), "GET");
                }
                if let Some(params) = parts.params {
                    changes.put_empty_object(params.span());
                }
                parts.flat.iter().for_each(|(_, value)| changes.put_text(value.span(), ""));
            }
            Handoff::Inline => {
                refuse_card_inside(scope, value)?;
                if let (Some(place), Some(way_back)) = (parts.term_url(rules), way_back) {
                    let id = self.keep(way_back.pack(), now)?;
                    changes.put_text(place.span(), &self.relay_url(&id));
                }
            }
        }
        Ok(())
    }

    pub(super) fn keep(&self, payload: SecretBytes, now: Timestamp) -> Result<String, Refusal> {
        let id = self.vault.keep_relay(payload, PAYMENT_LIFE, now);
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

/// Where the parts of a challenge stand in an answer.
struct Parts<'d> {
    action: Value<'d>,
    method: Option<Value<'d>>,
    params: Option<Value<'d>>,
    /// Fields that stand beside the address, with their names in the form.
    flat: Vec<(&'d str, Value<'d>)>,
}

impl<'d> Parts<'d> {
    fn of(value: Value<'d>, rules: &'d Challenge) -> Option<Self> {
        let action = rules.action.iter().find_map(|name| member(value, name))?;
        let flat: Vec<_> = rules
            .fields
            .iter()
            .filter_map(|(name, field)| Some((field.as_str(), member(value, name)?)))
            .filter(|(_, value)| value.kind() != Kind::Null)
            .collect();
        let params = member(value, &rules.params).filter(|params| params.kind() == Kind::Object);
        let empty = || member(value, &rules.params);
        let parts = Self {
            action,
            method: member(value, &rules.method),
            params: params.or_else(empty).filter(|_| rules.fields.is_empty() || params.is_some()),
            flat,
        };
        (rules.when.is_empty() || rules.when.iter().any(|name| parts.has(name))).then_some(parts)
    }

    fn has(&self, name: &str) -> bool {
        self.flat.iter().any(|(field, _)| *field == name)
            || self.params.is_some_and(|params| member(params, name).is_some())
    }

    fn term_url(&self, rules: &Challenge) -> Option<Value<'d>> {
        let flat = self.flat.iter().find(|(field, _)| *field == rules.term_url);
        let in_params = || self.params.and_then(|params| member(params, &rules.term_url));
        flat.map(|(_, value)| *value).or_else(in_params)
    }
}

fn read(scope: &Scope<'_>, parts: &Parts<'_>) -> Result<(Kept, Option<WayBack>), Refusal> {
    let rules = &scope.account.profile.challenge;
    let action = parts.action.text().map(|text| text.as_str().to_owned()).unwrap_or_default();
    let mut fields = parts.params.map_or(Ok(Vec::new()), fields)?;
    for (name, value) in &parts.flat {
        fields.push(((*name).to_owned(), scalar(*value).ok_or(UNREADABLE)?));
    }
    let method = match parts.method.and_then(Value::text) {
        Some(method) => method.as_str().to_ascii_uppercase(),
        // An address alone is one to go to.
        None if fields.is_empty() => "GET".to_owned(),
        None => rules.default_method.clone(),
    };
    if !is_https(&action) || !matches!(method.as_str(), "GET" | "POST") {
        return Err(Refusal::AnswerWithheld(Withheld::ChallengeUrl));
    }
    let named = fields.iter().find(|(name, _)| *name == rules.term_url);
    let account = scope.account.name.to_string();
    let way_back = match named {
        Some((_, url)) if scope.account.three_ds.replace_term_url => Some(WayBack {
            account: account.clone(),
            term_url: return_address(url, scope.account)?,
            return_url: scope.return_url().unwrap_or_default(),
            tenant: scope.audience.tenant.as_str().to_owned(),
        }),
        _ => None,
    };
    Ok((Kept { account, action, method, way_back: String::new(), fields }, way_back))
}

const UNREADABLE: Refusal = Refusal::AnswerWithheld(Withheld::Unreadable);

fn scalar(value: Value<'_>) -> Option<String> {
    match value.kind() {
        Kind::String => value.text().map(|text| text.as_str().to_owned()),
        Kind::Number | Kind::Bool => std::str::from_utf8(value.raw()).ok().map(str::to_owned),
        Kind::Null => Some(String::new()),
        Kind::Array | Kind::Object => None,
    }
}

fn fields(params: Value<'_>) -> Result<Vec<(String, String)>, Refusal> {
    let pair = |(name, value): (Value<'_>, Value<'_>)| {
        Some((name.text()?.as_str().to_owned(), scalar(value)?))
    };
    let pairs: Option<Vec<_>> = params.members().map(pair).collect();
    pairs.ok_or(UNREADABLE)
}

fn member<'d>(value: Value<'d>, name: &str) -> Option<Value<'d>> {
    value.members().find(|(key, _)| key.is_text(name)).map(|(_, value)| value)
}

/// The application's landing page as a URL that can stand in a header.
pub(super) fn landing_page(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok().filter(|text| is_https(text))?;
    Url::parse(text).ok().map(|url| url.to_string())
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
    // An address in its query is not its own scheme.
    let begins = text.split(['/', '?', '#']).next().unwrap_or_default();
    let whole = match begins.ends_with(':') {
        true => text.to_owned(),
        false => format!("https://{text}"),
    };
    let url = Url::parse(&whole).ok().filter(|_| clean);
    let listed =
        url.is_some_and(|url| ProviderHost::of_url(&url, &account.three_ds.hosts).is_some());
    if listed { Ok(whole) } else { Err(refused) }
}

fn refuse_card_inside(scope: &Scope<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let pan = scope.card.map(|card| &card.pan);
    let holds = with_known(pan, scope.cvv, |known| contains_card(value.raw(), known));
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
            way_back: String::new(),
            fields: vec![("MD".into(), String::new()), ("PaReq".into(), "e+/=\r\n".into())],
        };
        let back = kept.pack().reveal(Kept::unpack).unwrap();
        assert_eq!(back.fields, kept.fields);
        assert_eq!((&back.action, &back.method), (&kept.action, &kept.method));
    }
}
