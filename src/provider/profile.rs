//! One provider's document in facts, already checked.

use std::sync::Arc;

use http::{HeaderName, Method};

use crate::credential::access_headers::NormaliseRules;
use crate::credential::{BodyHmac, KeyEncoding, Prehash, Scheme, SignatureEncoding};
use crate::wire::{Encoding, Pointer};

use super::{HostPort, PathPattern, StatusQuery};

/// A provider as described in `config/providers/*.toml`.
#[derive(Debug)]
pub struct Profile {
    /// The name that accounts refer to.
    pub name: String,
    /// The name of its file, for people.
    pub file: String,
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
    /// Its card form; `None` when cards go by API.
    pub payform: Option<Payform>,
    /// How [`Scheme::AccessHeaders`] is spelled here.
    pub access: Access,
}

/// One of a provider's interfaces: the second path segment of a gateway route.
#[derive(Debug)]
pub struct Api {
    /// Its name in the path.
    pub name: String,
    /// How calls prove who sends them.
    pub credential: Scheme,
    /// Where the credential is inside the body: the public key, the handle, the `sign` field.
    pub value: Option<Pointer>,
    /// Seconds that an application's clock may be off, for [`Scheme::AccessHeaders`].
    pub tolerance: u64,
    /// A signature in a header over the final body, besides the credential.
    pub signature: Option<BodySignature>,
    /// Its published base URL, when there is one; accounts may name their own.
    pub url: Option<String>,
}

/// HMAC over the whole body, in a header.
#[derive(Debug)]
pub struct BodySignature {
    /// The header.
    pub header: HeaderName,
    /// The construction.
    pub hmac: BodyHmac,
}

/// One call of a provider's interface.
#[derive(Debug)]
pub struct Route {
    /// A name for people and metrics, such as `invoice.create`.
    pub name: Arc<str>,
    /// Index into [`Profile::apis`].
    pub api: usize,
    /// The method.
    pub method: Method,
    /// The path below the interface's base URL.
    pub path: PathPattern,
    /// How the body is written.
    pub encoding: Encoding,
    /// Bytes of body that are accepted.
    pub body_limit: usize,
    /// What happens to the request.
    pub request: RequestRules,
    /// What happens to the answer.
    pub answer: AnswerRules,
    /// The call that tells what became of this one, named in errors with an unknown outcome.
    pub status_call: Option<Arc<str>>,
    /// The same call as Portcullis makes it itself, for accounts that wish so.
    pub status_query: Option<StatusQuery>,
}

impl Route {
    /// Whether card fields can be in the request.
    pub fn reveals(&self) -> bool {
        !self.request.reveal.is_empty()
    }

    /// Whether nobody may guess what became of a request: a card is in it, or it is guarded by the
    /// provider's own key of a payment.
    pub fn is_payment(&self) -> bool {
        self.reveals() || !self.request.payment_key.is_empty()
    }
}

/// What a route does to a request besides the credential.
#[derive(Debug, Default)]
pub struct RequestRules {
    /// Where tokens stand for card fields.
    pub reveal: Vec<Reveal>,
    /// Fields that the signature covers, for [`Scheme::SortedDigest`].
    pub sign: Vec<Pointer>,
    /// What names the payment at the provider; a second request about a payment that is under way,
    /// or whose outcome is unknown, stays here. Empty where the provider takes repetitions.
    pub payment_key: Vec<PaymentKey>,
    /// Whether the same signed request may come twice: reads.
    pub repeatable: bool,
    /// Where the application names its callback URLs; ours take their place.
    pub callback_url: Vec<Pointer>,
    /// Where the application may put a sealed value that a callback handed out.
    pub sealed: Vec<Pointer>,
    /// Where the application says the customer returns to, tried in this order. Kept for a 3-D
    /// Secure return whose outcome is unknown.
    pub return_url: Vec<Pointer>,
}

/// A part of what names a payment at its provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PaymentKey {
    /// A value of the request.
    Field(Pointer),
    /// The secret of this payment that the caller's handle stands for.
    Handle,
}

impl PaymentKey {
    /// The part as a profile writes it.
    pub fn named(text: &str) -> Option<Self> {
        match text {
            "handle" => Some(Self::Handle),
            _ => Pointer::parse(text).ok().map(Self::Field),
        }
    }

    /// The field, where it is one.
    pub fn field(&self) -> Option<&Pointer> {
        match self {
            Self::Field(pointer) => Some(pointer),
            Self::Handle => None,
        }
    }
}

/// A field that carries a part of a card.
#[derive(Debug)]
pub struct Reveal {
    /// Where it is.
    pub pointer: Pointer,
    /// Which part of the card it is.
    pub part: Part,
    /// Whether something else than a card may stand there, such as the account of a wallet.
    pub or_text: bool,
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
    /// Where the provider hands out a secret of this payment; the application gets a handle.
    pub handle: Vec<Pointer>,
    /// Words that stand there instead of a secret when there is none.
    pub handle_except: Vec<String>,
    /// What the provider calls the payment that the secret belongs to; kept beside it.
    pub handle_id: Option<Pointer>,
    /// Where our callback URL comes back; the application gets its own.
    pub callback_url: Vec<Pointer>,
    /// Where challenges are, objects with the members that [`Challenge`] names.
    pub challenge: Vec<Pointer>,
    /// Where the provider says to which URL the card form goes; the application gets ours.
    pub payform_url: Option<Pointer>,
    /// Where a secret for later payments is handed out; the application gets it sealed.
    pub sealed: Vec<Inside>,
}

impl AnswerRules {
    /// Whether anything is to be rewritten.
    pub fn is_empty(&self) -> bool {
        self.handle.is_empty()
            && self.callback_url.is_empty()
            && self.challenge.is_empty()
            && self.payform_url.is_none()
            && self.sealed.is_empty()
    }
}

/// A value, or one inside a string that itself holds JSON: `/ps_data#/pay_token`.
#[derive(Debug)]
pub struct Inside {
    /// The value, or the string around it.
    pub outer: Pointer,
    /// Where the value is inside that string.
    pub inner: Option<Pointer>,
}

/// How a 3-D Secure challenge is written and what may be done to it.
#[derive(Debug)]
pub struct Challenge {
    /// Members that can hold the access control server's URL, the usual one first.
    pub action: Vec<String>,
    /// Member that holds the method.
    pub method: String,
    /// The method where none is named and there are fields; without fields it is GET.
    pub default_method: String,
    /// Member that holds the form's fields.
    pub params: String,
    /// Members beside the URL that are fields of the form, with the fields' names.
    pub fields: Vec<(String, String)>,
    /// Fields of which one must be there to make it a challenge; empty where an address is enough.
    pub when: Vec<String>,
    /// Field that holds the return address, where there is one.
    pub term_url: String,
    /// Whether the provider allows the return address to be replaced.
    pub replace_term_url: bool,
    /// Fields of which one says that a GET to our return address brings a result; empty where any
    /// query does. Link scanners fetch addresses as they find them, which is without one.
    pub result_fields: Vec<String>,
    /// Hosts of return addresses, beside those of the account's upstreams.
    pub hosts: Vec<HostPort>,
}

/// How callbacks are verified, told apart and put in order.
#[derive(Debug)]
pub struct CallbackRules {
    /// The signature's construction, and where it is.
    pub proof: Proof,
    /// What the callback is about.
    pub subject: Vec<Pointer>,
    /// What it says about it. Subject and state together tell callbacks apart.
    pub state: Vec<Pointer>,
    /// A number that grows with every change; older ones are acknowledged and not delivered.
    pub updated: Option<Pointer>,
    /// What the provider is told when the callback was taken.
    pub reply: String,
    /// What is rewritten before delivery.
    pub answer: AnswerRules,
}

/// Where a callback's signature is and how it is made.
#[derive(Debug)]
pub enum Proof {
    /// SHA-1 sandwich over the raw body, in a header.
    SandwichSha1(HeaderName),
    /// HMAC over the raw body, in a header.
    Hmac(BodySignature),
    /// Digest over the sorted values, in a field.
    SortedDigest(Pointer),
    /// Signature over the normalised body and a timestamp, in headers; seconds that may have
    /// passed.
    AccessHeaders(u64),
}

impl Proof {
    /// The scheme's name in a profile.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SandwichSha1(_) => "sandwich_sha1",
            Self::Hmac(_) => "hmac",
            Self::SortedDigest(_) => "sorted_digest",
            Self::AccessHeaders(_) => "access_headers",
        }
    }
}

/// The points of signed headers that the provider's document leaves open.
#[derive(Debug, Default, Clone, Copy)]
pub struct Access {
    /// How scalars are written.
    pub rules: NormaliseRules,
    /// What RSA signs.
    pub prehash: Prehash,
    /// How the text of an HMAC key is read.
    pub key_encoding: KeyEncoding,
    /// How signatures are written.
    pub signature_encoding: SignatureEncoding,
}

/// The card form of providers that take it from the browser.
#[derive(Debug, Default)]
pub struct Payform {
    /// Where tokens stand for card fields.
    pub reveal: Vec<Reveal>,
    /// Fields that hold handles.
    pub handle: Vec<Pointer>,
    /// Hosts that the form may go to.
    pub hosts: Vec<HostPort>,
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
