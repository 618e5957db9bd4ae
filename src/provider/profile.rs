//! One provider's document in facts, already checked.

use http::{HeaderName, Method};

use crate::credential::{CallbackScheme, Scheme};
use crate::wire::Pointer;

use super::{HostPort, PathPattern};

/// A provider as described in `config/providers/*.toml`.
#[derive(Debug)]
pub struct Profile {
    /// The name that accounts refer to.
    pub name: String,
    /// The provider's own name, for people.
    pub title: String,
    /// The platform it runs on, for people.
    pub engine: String,
    /// Its interfaces.
    pub apis: Vec<Api>,
    /// The calls that may pass; anything else is refused.
    pub routes: Vec<Route>,
    /// How its challenges are relayed.
    pub challenge: Challenge,
    /// How its callbacks are verified; `None` when it sends none.
    pub callback: Option<CallbackRules>,
}

/// One of a provider's interfaces: the second path segment of a gateway route.
#[derive(Debug)]
pub struct Api {
    /// Its name in the path.
    pub name: String,
    /// How calls prove who sends them.
    pub credential: Scheme,
    /// Where the credential is inside the body, for [`Scheme::BodyValue`].
    pub body_value: Option<Pointer>,
    /// Its published base URL, when there is one; accounts may name their own.
    pub url: Option<String>,
}

/// One call of a provider's interface.
#[derive(Debug)]
pub struct Route {
    /// A name for people and metrics, such as `invoice.create`.
    pub name: String,
    /// Index into [`Profile::apis`].
    pub api: usize,
    /// The method.
    pub method: Method,
    /// The path below the interface's base URL.
    pub path: PathPattern,
    /// Bytes of body that are accepted.
    pub body_limit: usize,
    /// What happens to the request.
    pub request: RequestRules,
    /// What happens to the answer.
    pub answer: AnswerRules,
    /// The call that tells what became of this one, named in errors with an unknown outcome.
    pub status_call: Option<String>,
}

impl Route {
    /// Whether card fields can be in the request.
    pub fn reveals(&self) -> bool {
        !self.request.reveal.is_empty()
    }
}

/// What a route does to a request besides the credential.
#[derive(Debug, Default)]
pub struct RequestRules {
    /// Where tokens stand for card fields.
    pub reveal: Vec<Reveal>,
    /// Where the application names its callback URL; ours takes its place.
    pub callback_url: Option<Pointer>,
    /// Where the application says the customer returns to, tried in this order. Kept for a 3-D
    /// Secure return whose outcome is unknown.
    pub return_url: Vec<Pointer>,
}

/// A field that carries a part of a card.
#[derive(Debug)]
pub struct Reveal {
    /// Where it is.
    pub pointer: Pointer,
    /// Which part of the card it is.
    pub part: Part,
}

/// A part of a card in the spellings that providers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The card number.
    Number,
    /// The card verification value.
    Cvv,
    /// The cardholder's name.
    Holder,
    /// The month of expiry, two digits.
    ExpiryMonth,
    /// The year of expiry, two digits.
    ExpiryYear2,
    /// The year of expiry, four digits.
    ExpiryYear4,
}

impl Part {
    /// The part of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "number" => Some(Self::Number),
            "cvv" => Some(Self::Cvv),
            "holder" => Some(Self::Holder),
            "expiry_month" => Some(Self::ExpiryMonth),
            "expiry_year2" => Some(Self::ExpiryYear2),
            "expiry_year4" => Some(Self::ExpiryYear4),
            _ => None,
        }
    }

    /// The name used in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Cvv => "cvv",
            Self::Holder => "holder",
            Self::ExpiryMonth => "expiry_month",
            Self::ExpiryYear2 => "expiry_year2",
            Self::ExpiryYear4 => "expiry_year4",
        }
    }
}

/// What a route does to an answer besides the scrub.
#[derive(Debug, Default)]
pub struct AnswerRules {
    /// Where the provider hands out a bearer token; the application gets a handle.
    pub bearer: Vec<Pointer>,
    /// Where our callback URL comes back; the application gets its own.
    pub callback_url: Vec<Pointer>,
    /// Where a challenge is, an object with the members that [`Challenge`] names.
    pub challenge: Option<Pointer>,
}

impl AnswerRules {
    /// Whether anything is to be rewritten.
    pub fn is_empty(&self) -> bool {
        self.bearer.is_empty() && self.callback_url.is_empty() && self.challenge.is_none()
    }
}

/// How a 3-D Secure challenge is written and what may be done to it.
#[derive(Debug)]
pub struct Challenge {
    /// Member that holds the access control server's URL.
    pub action: String,
    /// Member that holds the method.
    pub method: String,
    /// Member that holds the form's fields.
    pub params: String,
    /// Field that holds the return address, where there is one.
    pub term_url: String,
    /// Whether the provider allows the return address to be replaced.
    pub replace_term_url: bool,
    /// Hosts of return addresses, beside those of the account's upstreams.
    pub hosts: Vec<HostPort>,
}

/// How callbacks are verified, told apart and put in order.
#[derive(Debug)]
pub struct CallbackRules {
    /// The signature's construction.
    pub scheme: CallbackScheme,
    /// The header that carries it.
    pub header: HeaderName,
    /// What the callback is about.
    pub id: Pointer,
    /// What it says about it.
    pub status: Pointer,
    /// A number that grows with every change; older ones are acknowledged and not delivered.
    pub updated: Pointer,
    /// What is rewritten before delivery.
    pub answer: AnswerRules,
}

impl Profile {
    /// The interface of that name.
    pub fn api(&self, name: &str) -> Option<usize> {
        self.apis.iter().position(|api| api.name == name)
    }

    /// The route for a call and its position; `None` means that it may not pass.
    pub fn route(&self, api: usize, method: &Method, path: &str) -> Option<(usize, &Route)> {
        self.routes.iter().enumerate().find(|(_, route)| {
            route.api == api && route.method == method && route.path.matches(path)
        })
    }
}
