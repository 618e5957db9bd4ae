//! Proves who we are to a provider and checks who speaks to us. Pure: bytes in, bytes out.
//!
//! Must never: print a secret, compare one with `==`, or sign anything but the final bytes.
//! Start reading at [`Basic`] (requests) and [`sandwich_digest`] (callbacks).

mod basic;
mod bearer;
pub mod sandwich_digest;

pub use basic::{Basic, PresentedBasic};
pub use bearer::PresentedBearer;

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
            Self::None => "none",
        }
    }
}

/// How a provider signs the callbacks that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallbackScheme {
    /// base64(SHA-1(secret ‖ body ‖ secret)) in a header, over the raw bytes.
    SandwichSha1,
}

impl CallbackScheme {
    /// The scheme of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sandwich_sha1" => Some(Self::SandwichSha1),
            _ => None,
        }
    }

    /// The name used in a profile.
    pub fn name(self) -> &'static str {
        match self {
            Self::SandwichSha1 => "sandwich_sha1",
        }
    }
}
