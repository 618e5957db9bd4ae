//! What the record says: a closed set. Names come from the configuration and from profiles, ids are
//! our own; nothing is a byte of a request.

use serde::{Serialize, Serializer};

use crate::card::TokenId;

use super::Hash;

/// Something that an assessor asks about.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record<'r> {
    /// The process begins to serve.
    Started {
        /// Its version.
        version: &'static str,
    },
    /// The configuration that it uses from now on.
    Configured {
        /// Digest of every value in use, secrets as the references that name them.
        digest: Hash,
        /// Keys that weaken protection and are on.
        dangers: &'r [String],
    },
    /// The configuration of the line before with that digest is not used after all.
    NotConfigured {
        /// As in that line.
        digest: Hash,
    },
    /// The root key that seals from now on.
    Keyed {
        /// Where it comes from.
        source: KeySource,
        /// Tells one key from another and says nothing else of it.
        key_id: &'r str,
    },
    /// The certificate that a listener shows from now on.
    Certified {
        /// `public` or `private`.
        listener: &'r str,
        /// SHA-256 of it.
        digest: Hash,
    },
    /// Card data is about to leave. No byte has left yet.
    Reveal {
        /// For which application.
        app: &'r str,
        /// At which account.
        account: &'r str,
        /// By which route of its profile.
        route: &'r str,
        /// Which card; none when it was typed into a provider's form and had no token.
        #[serde(skip_serializing_if = "Option::is_none", serialize_with = "id")]
        token: Option<TokenId>,
        /// Card numbers put in.
        pan: u32,
        /// Security codes put in.
        cvv: u32,
        /// Host that it goes to.
        host: &'r str,
        /// Port of that host.
        port: u16,
        /// Who sends it there.
        way: Way,
        /// The request that caused it, as in the log and in the answer's header.
        request_id: &'r str,
    },
    /// What became of a reveal. One that has none ended with its process, or in a panic of its
    /// request: unknown.
    Outcome {
        /// As in the reveal.
        request_id: &'r str,
        /// Whether the provider may have seen the card: `no`, `unknown`, `yes`.
        forwarded: &'static str,
    },
    /// A card and its security code were forgotten.
    Revoke {
        /// By which application.
        app: &'r str,
        /// Which card.
        #[serde(serialize_with = "some_id")]
        token: TokenId,
        /// The request that asked for it.
        request_id: &'r str,
    },
    /// Lines of what has happened that could not be kept until the record could be written again.
    Lost {
        /// How many.
        count: u64,
    },
    /// The process ends in order.
    Stopped,
}

/// Where a root key comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// Drawn at this start; ends with the process.
    Random,
    /// The configuration names it.
    Configured,
}

/// Who takes card data to the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Way {
    /// Portcullis.
    Server,
    /// The cardholder's browser, from a page of ours.
    Browser,
}

impl<'r> Record<'r> {
    /// What to say where it is written too late, and what it speaks of has not happened.
    pub(super) const fn withdrawn(&self) -> Option<Record<'r>> {
        match self {
            Self::Reveal { request_id, .. } => {
                Some(Record::Outcome { request_id, forwarded: "no" })
            }
            Self::Configured { digest, .. } => Some(Record::NotConfigured { digest: *digest }),
            _ => None,
        }
    }

    /// Appends it as one JSON object.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) -> Result<(), serde_json::Error> {
        serde_json::to_writer(out, self)
    }
}

#[expect(clippy::ref_option, reason = "serde asks for a reference")]
fn id<S: Serializer>(id: &Option<TokenId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => serializer.collect_str(id),
        None => serializer.serialize_none(),
    }
}

fn some_id<S: Serializer>(id: &TokenId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}
