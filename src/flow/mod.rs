//! A payment, step by step. No sockets and no clock: bytes and a time come in, bytes go out.
//!
//! The chain of custody is a chain of types: an application's request becomes [`Prepared`] (the
//! only thing that is sent), a provider's answer becomes [`Scrubbed`] (the only thing that is
//! passed on), a callback becomes [`Verified`] before anything in it is believed. Must never: log,
//! keep a clear card beyond one exchange, or put input into a [`Refusal`]. Start reading at
//! [`Flow::prepare`] and [`Pending::finish`].

mod answer;
mod bearer;
mod callback;
mod capture;
mod challenge;
mod changes;
mod conceal;
mod explain;
mod fields;
mod forward;
mod handle_context;
mod handoff;
mod identify;
mod inquiry;
mod intake;
mod members;
mod object;
mod once;
mod outline;
mod packed;
mod passed;
mod pasted;
mod payform;
mod payment;
mod pen;
mod proof;
mod relay;
mod reveal;
mod session;
mod theme;
mod whose;

pub use answer::{Answer, Scrubbed};
pub use callback::{Delivery, Notice, Unverified, Verdict, Verified};
pub use capture::{Captured, Capturing, CardForm, Offer, Offered};
pub use explain::Explanation;
pub use forward::{Place, Prepared, Replaced};
pub use handoff::{HandoffPage, HandoffStep};
pub use inquiry::{Inquiry, Known, Learnt};
pub use intake::{CardPost, Tokenised, holds_card, target_holds_card};
pub use pasted::Pasted;
pub use payform::{Form, FormStep, FormTicket};
pub use proof::{Draft, Signed};
pub use relay::{Relayed, Return, Step, Ticket};
pub use reveal::Disclosure;
pub use whose::Whose;

pub use forward::{Incoming, Pending, Ready};
pub use once::Repeated;

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::caller::Apps;
use crate::card::CardError;
use crate::limit::Exceeded;
use crate::provider::Registry;
use crate::vault::{Vault, VaultError};
use crate::wire::WireError;

/// What every step needs: immutable, shared, swapped whole when the configuration changes.
#[derive(Debug)]
pub struct Flow {
    vault: Arc<Vault>,
    registry: Registry,
    apps: Apps,
    public_url: Url,
}

impl Flow {
    /// Assembles the steps.
    pub fn new(vault: Arc<Vault>, registry: Registry, apps: Apps, public_url: Url) -> Self {
        Self { vault, registry, apps, public_url }
    }

    /// The vault.
    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    /// A URL on the public listener.
    fn public(&self, path: &str) -> String {
        format!("{}{path}", self.public_url.as_str().trim_end_matches('/'))
    }
}

/// Whether the provider may have seen a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Forwarded {
    /// No byte left.
    #[default]
    No,
    /// Bytes left and no whole answer came back.
    Unknown,
    /// The provider answered.
    Yes,
}

impl Forwarded {
    /// As it stands in `Portcullis-Forwarded`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::Unknown => "unknown",
            Self::Yes => "yes",
        }
    }
}

/// Why a step ends here. No variant holds input: `field` is a pointer out of a profile.
#[derive(Debug)]
pub enum Refusal {
    /// Nobody we know: key, certificate or credentials are missing or wrong.
    CallerUnknown,
    /// The application may not use this account.
    AccountNotGranted,
    /// No such account, interface or call: only what a profile names may pass.
    RouteUnknown,
    /// The path could mean something else to the provider.
    PathRefused,
    /// The account names no base URL for this interface.
    UpstreamMissing,
    /// The content type is missing, doubled, or not the one of this call.
    ContentTypeRefused,
    /// Bodies are accepted as they are, never compressed.
    ContentEncodingRefused,
    /// A body where the call has none, or none where it has one.
    BodyUnexpected,
    /// The body cannot be read without doubt.
    BodyMalformed(WireError),
    /// A field that can carry a card is not a string.
    FieldNotText(String),
    /// A field that must be there is missing.
    FieldMissing(String),
    /// A field is there that has no place in this call, or has the wrong content.
    FieldInvalid(String),
    /// A body of one of our own calls has a member that it cannot have.
    MemberUnknown {
        /// Where the object is that has it.
        at: &'static str,
        /// Those that it may have.
        known: &'static [&'static str],
    },
    /// The application sent a card number or a CVV in clear.
    RawCard(Option<String>),
    /// What stands in a card field is not a token.
    TokenMalformed(String),
    /// The token is unknown, expired, used, or belongs to somebody else.
    TokenUnknown(String),
    /// The card fields of one request name more than one card.
    TokensOfTwoCards(String),
    /// The bearer handle is unknown, expired, or belongs to another account.
    HandleUnknown,
    /// The application's own signature is missing or wrong.
    CallerSignature,
    /// The application's signature is too old, or from the future.
    CallerTimestamp,
    /// The same signed request came before, and may have been sent.
    CallerReplayed {
        /// The provider's call that tells what became of it.
        status_call: Option<Arc<str>>,
    },
    /// The caller may have wished that nothing be sent; it does not say so clearly.
    PreferenceUnclear,
    /// The idempotency key is doubled, empty, too long or not of visible characters.
    RepeatKeyInvalid,
    /// Another request came with the same idempotency key.
    RepeatedDiffers,
    /// The first request with this idempotency key has no answer yet.
    RepeatedInFlight,
    /// The first request with this idempotency key may have been made; its answer is not here.
    RepeatedUnknown {
        /// The provider's call that tells what became of it.
        status_call: Option<Arc<str>>,
    },
    /// A request about the same payment is under way; the field that names the payment, where it is
    /// one.
    PaymentInFlight {
        /// A pointer out of the profile.
        field: Option<String>,
    },
    /// A request about the same payment may have been made, and nobody knows what became of it.
    PaymentUnknown {
        /// A pointer out of the profile.
        field: Option<String>,
        /// The provider's call that tells.
        status_call: Option<Arc<str>>,
    },
    /// A field that the signature covers is missing.
    SignedFieldMissing(String),
    /// A field that the signature covers is neither text nor a number.
    SignedFieldNotScalar(String),
    /// Our signature could not be made: a fault of ours.
    SigningFailed,
    /// All signing threads are busy.
    SigningBusy,
    /// The capture session is unknown, expired or used up.
    SessionUnknown,
    /// The page's origin is not the session's.
    OriginRefused,
    /// The card is not one.
    Card(CardError),
    /// The card's issuer range is one that answers could not be searched for.
    CardUnsupported,
    /// A rate is used up; whoever keeps the rates said so, and nothing was used up here.
    TooMany(Exceeded),
    /// The vault has no room; nothing was evicted.
    VaultFull,
    /// The vault could not seal: a fault of ours.
    VaultFailed,
    /// The answer was not passed on: it could not be read, or not cleaned.
    AnswerWithheld(Withheld),
    /// The callback's signature is missing, doubled or wrong.
    SignatureRefused,
    /// The callback's time is outside the window.
    CallbackStale,
    /// The callback says nothing that can be told apart.
    CallbackUnreadable,
    /// The same callback is being delivered right now.
    CallbackInFlight,
    /// The return could not be handed to the provider; it may be tried again.
    ReturnNotRelayed,
    /// The application did not answer 200 to the callback.
    CallbackNotTaken,
    /// There is nowhere to deliver the callback to.
    CallbackUndeliverable,
}

/// Why an answer was not passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withheld {
    /// It says it is JSON and cannot be read as such without doubt.
    Unreadable,
    /// It is compressed although that was not accepted.
    Encoded,
    /// It is neither text nor JSON.
    NotText,
    /// The challenge's URL is not https, or not one.
    ChallengeUrl,
    /// The return address is not on the list of hosts.
    ReturnHost,
    /// The challenge holds a card number and would go to the application.
    ChallengeHoldsCard,
    /// The card form's URL is not on the list of hosts.
    FormHost,
    /// A signature made over card data came back in it.
    HoldsSignature,
    /// What must be kept here could not be kept.
    NotKept,
}

impl Refusal {
    /// Whether the body that was refused may hold a card in clear. Not where its card fields were
    /// read and held tokens, nor where a well-behaved application is told to come again later.
    #[must_use]
    pub const fn may_hide_a_card(&self) -> bool {
        !matches!(
            self,
            Self::TokenUnknown(_)
                | Self::TokensOfTwoCards(_)
                | Self::HandleUnknown
                | Self::SessionUnknown
                | Self::SigningFailed
                | Self::SigningBusy
                | Self::TooMany(_)
                | Self::VaultFull
                | Self::VaultFailed
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{self:?}")
    }
}

impl std::error::Error for Refusal {}

impl From<WireError> for Refusal {
    fn from(error: WireError) -> Self {
        Self::BodyMalformed(error)
    }
}

impl From<Exceeded> for Refusal {
    fn from(exceeded: Exceeded) -> Self {
        Self::TooMany(exceeded)
    }
}

impl From<VaultError> for Refusal {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::NotFound => Self::SessionUnknown,
            VaultError::Full => Self::VaultFull,
            VaultError::Sealing => Self::VaultFailed,
            VaultError::CvvLength => Self::Card(CardError::CvvLength),
        }
    }
}

/// How long a bearer token, a hand-off or a return lives when nothing says otherwise: the
/// provider's own page gives the cardholder 30 minutes.
const PAYMENT_LIFE: std::time::Duration = std::time::Duration::from_secs(30 * 60);

/// What stands before a sealed value.
const SEALED_PREFIX: &str = "pyt_";

/// Binds a sealed value to one account of one application.
fn sealed_purpose(account: &crate::provider::Account, tenant: &crate::vault::Tenant) -> String {
    format!("sealed/{}/{}", account.name, tenant.as_str())
}
