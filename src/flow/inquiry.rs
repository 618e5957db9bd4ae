//! The question what became of a payment whose outcome nobody knows, where an account has it asked:
//! formed when the payment is prepared, made at most once, and answered with a few words.
//!
//! Must never: move money, keep a card, or hand out more of an answer than words that cannot hold
//! one.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use url::form_urlencoded::byte_serialize;

use crate::caller::App;
use crate::card::Timestamp;
use crate::credential::Scheme;
use crate::provider::{Account, Api, AskedAt, AskedBy, Route, StatusQuery, TimeStyle};
use crate::secret::CleartextBody;
use crate::vault::Tenant;
use crate::wire::{self, Document, Encoding, Kind, Pointer, contains_card, parse};

use super::Answer;
use super::changes::Changes;
use super::fields::Fields;
use super::forward::Place;
use super::handle_context::HandleContext;
use super::passed::JSON;
use super::proof::Draft;

/// The longest word that is handed out.
const WORD_MAX: usize = 64;
/// Digits in such a word. A card's code has three.
const DIGITS_MAX: usize = 2;

/// A question that may be asked.
#[derive(Debug)]
pub struct Inquiry {
    account: Arc<Account>,
    /// Whose payment it is.
    tenant: Tenant,
    /// The payment's route.
    position: usize,
    /// What it is asked for by, place by place; none where the request does not have all of it.
    values: Option<Values>,
}

#[derive(Debug)]
struct Values {
    ask: Vec<CleartextBody>,
    same: Vec<CleartextBody>,
}

/// What a provider knows of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// It has it.
    Yes,
    /// It has none by that name: nobody can say what is still under way.
    No,
    /// It has what the payment belongs to, and that does not say whether the payment arrived.
    Unclear,
}

impl Known {
    /// As it stands in answers and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unclear => "unclear",
        }
    }
}

/// What was learnt.
#[derive(Debug, PartialEq, Eq)]
pub struct Learnt {
    /// Whether the provider has the payment.
    pub known: Known,
    /// How far it is, in the provider's words, with their names. Harmless by their form.
    pub state: Vec<(String, String)>,
}

impl Inquiry {
    /// The question about a request, where its account asks about such ones.
    pub(super) fn about(
        place: Place<'_>,
        app: &App,
        body: Option<&Fields<'_>>,
        context: Option<&HandleContext>,
    ) -> Option<Box<Self>> {
        let account = place.account;
        if !account.status_queries.routes.contains(&place.position) {
            return None;
        }
        let query = place.route.status_query.as_ref()?;
        let value = |by: &AskedBy| value_of(by, body, context);
        let ask = query.ask.iter().map(|(_, by)| value(by)).collect::<Option<_>>();
        let same = query.same.iter().map(|(_, by)| value(by)).collect::<Option<_>>();
        let values = ask.zip(same).map(|(ask, same)| Values { ask, same });
        let (account, tenant) = (Arc::clone(account), app.tenant.clone());
        Some(Box::new(Self { account, tenant, position: place.position, values }))
    }

    /// The account.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whose payment it is.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// How long the question may take.
    pub fn timeout(&self) -> Duration {
        self.account.status_queries.timeout
    }

    /// The call that is made.
    pub fn asked(&self) -> Option<&Route> {
        self.account.profile.routes.get(self.query()?.route)
    }

    fn query(&self) -> Option<&StatusQuery> {
        self.account.profile.routes.get(self.position)?.status_query.as_ref()
    }

    /// The call; none where it cannot be formed.
    pub fn draft(&self, now: Timestamp) -> Option<Draft> {
        let (query, asked, values) = (self.query()?, self.asked()?, self.values.as_ref()?);
        let api = self.account.profile.apis.get(asked.api)?;
        let target = self.account.upstreams.get(asked.api)?.clone()?;
        let below = path(query, asked, values)?;
        Some(Draft {
            account: Arc::clone(&self.account),
            api: asked.api,
            position: query.route,
            method: asked.method.clone(),
            path_and_query: [target.base_path(), &below].concat(),
            target,
            headers: headers(&self.account, api, query)?,
            body: body(query, values, now)?,
            disclosure: None,
        })
    }

    /// What an answer says; none where it says nothing of use.
    pub fn learn(&self, answer: &Answer) -> Option<Learnt> {
        let (query, values) = (self.query()?, self.values.as_ref()?);
        if !(200..300).contains(&answer.status) {
            return None;
        }
        let document = parse(answer.body.as_bytes()).ok()?;
        let repeats = |((pointer, _), value): (&(Pointer, AskedBy), &CleartextBody)| {
            text_at(&document, pointer).is_some_and(|text| text.as_bytes() == value.as_bytes())
        };
        if !query.same.iter().zip(&values.same).all(repeats) {
            let is_empty = query.absent.as_ref().is_some_and(|list| is_empty(&document, list));
            return is_empty.then(|| Learnt { known: Known::No, state: Vec::new() });
        }
        let words = query.state.iter().filter_map(|(name, pointer)| {
            Some((name.clone(), harmless(text_at(&document, pointer)?)?))
        });
        let state: Vec<_> = words.collect();
        let proves = |(_, word): &(String, String)| query.arrived.contains(word);
        let arrived = query.arrived.is_empty() || state.iter().any(proves);
        Some(Learnt { known: if arrived { Known::Yes } else { Known::Unclear }, state })
    }
}

fn value_of(
    by: &AskedBy,
    body: Option<&Fields<'_>>,
    context: Option<&HandleContext>,
) -> Option<CleartextBody> {
    let copy = |bytes: &[u8]| CleartextBody::from(bytes.to_vec());
    let value = match by {
        AskedBy::HandleId => context?.id(copy)?,
        AskedBy::Field(pointer) => copy(body?.find(pointer).ok()??.content.signed()?),
    };
    let is_text = std::str::from_utf8(value.as_bytes()).is_ok();
    (is_text && !value.is_empty()).then_some(value)
}

fn str_of(value: &CleartextBody) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or_default()
}

/// The path with its segments filled in, and the query.
fn path(query: &StatusQuery, asked: &Route, values: &Values) -> Option<String> {
    let pairs = || query.ask.iter().map(|(at, _)| at).zip(&values.ask);
    let mut path = asked.path.filled(|wanted| {
        pairs().find_map(|(at, value)| {
            matches!(at, AskedAt::Segment(name) if name == wanted).then(|| str_of(value))
        })
    })?;
    let mut mark = '?';
    for (at, value) in pairs() {
        let AskedAt::Query(name) = at else { continue };
        path.push(mark);
        path.push_str(name);
        path.push('=');
        path.extend(byte_serialize(value.as_bytes()));
        mark = '&';
    }
    Some(path)
}

/// The profile's JSON with the values and the time in their places.
fn body(query: &StatusQuery, values: &Values, now: Timestamp) -> Option<CleartextBody> {
    let Some(template) = &query.body else { return Some(CleartextBody::new()) };
    let document = parse(template.as_bytes()).ok()?;
    let mut changes = Changes::to(Encoding::Json);
    for ((at, _), value) in query.ask.iter().zip(&values.ask) {
        let AskedAt::Field(pointer) = at else { continue };
        changes.put_text(document.find(pointer)?.span(), str_of(value));
    }
    if let Some((pointer, style)) = &query.time {
        changes.put_text(document.find(pointer)?.span(), &written(now, *style));
    }
    changes.apply(template.as_bytes()).ok()
}

fn written(now: Timestamp, style: TimeStyle) -> String {
    match style {
        TimeStyle::UnixSeconds => now.as_secs().to_string(),
        TimeStyle::DateTime => {
            let time = now.to_string().replace('T', " ");
            let millis = now.as_millis() % 1000;
            format!("{}.{millis:03}000", time.trim_end_matches('Z'))
        }
    }
}

/// What the account itself shows the provider; signatures are made over the final bytes.
fn headers(
    account: &Account,
    api: &Api,
    query: &StatusQuery,
) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let json = || HeaderValue::from_static(JSON);
    let mut headers = vec![(ACCEPT, json())];
    headers.extend(query.body.is_some().then(|| (CONTENT_TYPE, json())));
    if api.credential == Scheme::Basic {
        let basic = account.credentials.basic.as_ref()?;
        let value = basic.header_value().reveal(HeaderValue::from_bytes);
        let mut value = value.ok()?;
        value.set_sensitive(true);
        headers.push((AUTHORIZATION, value));
    }
    Some(headers)
}

/// A text or a number.
fn text_at(document: &Document<'_>, pointer: &Pointer) -> Option<CleartextBody> {
    let value = document.find(pointer)?;
    match value.kind() {
        Kind::String => Some(CleartextBody::from(value.text()?.as_bytes().to_vec())),
        Kind::Number => Some(CleartextBody::from(value.raw().to_vec())),
        _ => None,
    }
}

fn is_empty(document: &Document<'_>, list: &Pointer) -> bool {
    let found = document.find(list);
    found.is_some_and(|value| value.kind() == Kind::Array && value.items().next().is_none())
}

/// A word of a state: too few digits for a number or a code, and nothing that the scan finds.
fn harmless(word: CleartextBody) -> Option<String> {
    let bytes = word.as_bytes();
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte);
    let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
    let fits = (1..=WORD_MAX).contains(&bytes.len()) && digits <= DIGITS_MAX;
    let nothing = wire::Known { pans: &[], cvvs: &[] };
    let harmless = fits && bytes.iter().all(plain) && !contains_card(bytes, &nothing);
    harmless.then(|| str_of(&word).to_owned())
}
