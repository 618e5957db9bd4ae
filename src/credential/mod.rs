//! Proves who we are to a provider and checks who speaks to us. Pure: bytes in, bytes out.
//!
//! Must never: print a secret, compare one with `==`, or sign anything but the final bytes.
//! Start reading at [`Basic`] (requests) and [`sandwich_digest`] (callbacks); [`sorted_digest`] and
//! [`access_headers`] sign both.

pub mod access_headers;
mod basic;
mod bearer;
mod body_hmac;
mod encoding;
mod keys;
mod normalise;
mod pem;
pub mod sandwich_digest;
pub mod sorted_digest;

pub use basic::{Basic, PresentedBasic};
pub use bearer::PresentedBearer;
pub use body_hmac::BodyHmac;
pub use encoding::{KeyEncoding, SignatureEncoding};
pub use keys::{KeyError, Prehash, SigningFailed, SigningKey, VerifyingKey};

/// How a request to one of a provider's interfaces proves who sends it. A closed set: a new scheme
/// is a variant here and a file beside this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `Authorization: Basic`, account id and key (RFC 7617).
    Basic,
    /// `Authorization: Bearer` with a secret that the provider issued for one payment; the
    /// application holds a handle in its place (RFC 6750).
    BearerHandle,
    /// A value inside the body that names the account, such as a public key.
    BodyValue,
    /// A value inside the body that the provider issued for one payment; the application holds a
    /// handle in its place.
    HandleValue,
    /// A field with a digest over sorted values and a secret (Qostiq and its family).
    SortedDigest,
    /// Headers with a signature over the normalised body and the time (HighHelp).
    AccessHeaders,
    /// The call needs no proof.
    None,
}

impl Scheme {
    /// The scheme of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "basic" => Some(Self::Basic),
            "bearer_handle" => Some(Self::BearerHandle),
            "body_value" => Some(Self::BodyValue),
            "handle_value" => Some(Self::HandleValue),
            "sorted_digest" => Some(Self::SortedDigest),
            "access_headers" => Some(Self::AccessHeaders),
            "none" => Some(Self::None),
            _ => None,
        }
    }

    /// The name used in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::Basic => "basic",
            Self::BearerHandle => "bearer_handle",
            Self::BodyValue => "body_value",
            Self::HandleValue => "handle_value",
            Self::SortedDigest => "sorted_digest",
            Self::AccessHeaders => "access_headers",
            Self::None => "none",
        }
    }
}
