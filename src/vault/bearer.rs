//! Opaque secrets of a payment: the application holds a handle, the secret stays here.
//!
//! The handle is derived from the secret, so that the same secret has the same handle however often
//! the provider repeats it, before a rotation of root keys and after it; without a key that this
//! process drew, nobody can derive or check one.

use std::time::Duration;

use super::header::{Kind, Scope};
use super::record::{Reader, Writer};
use super::seal::Address;
use super::sealed::SALT_BYTES;
use super::{Audience, Draft, Owner, Tenant, Vault, VaultError};
use crate::card::{Handle, Mode, Timestamp};
use crate::secret::{Random, SecretBytes};

/// A kept secret and whose it is.
#[derive(Debug)]
pub struct Bearer {
    /// The secret, as the provider gave it.
    pub secret: SecretBytes,
    /// The application it was kept for. The handle proves who calls.
    pub tenant: Tenant,
    /// What was kept beside it.
    pub context: SecretBytes,
}

impl Vault {
    /// Keeps a secret for one account of one application, and beside it what `context` makes of
    /// what was kept there before. Keeping it again gives the same handle and a new life.
    ///
    /// # Errors
    /// No room.
    pub fn keep_bearer(
        &self,
        secret: &[u8],
        audience: &Audience,
        context: impl FnOnce(Option<SecretBytes>) -> SecretBytes,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Handle, VaultError> {
        let handle = self.derive_handle(secret, audience);
        let earlier = self.open_bearer(&handle, audience.account.as_str(), audience.mode, now);
        let context = context(earlier.ok().map(|bearer| bearer.context));
        context.reveal(|text| self.put_bearer(secret, text, &handle, audience, ttl, now))?;
        Ok(handle)
    }

    fn put_bearer(
        &self,
        secret: &[u8],
        context: &[u8],
        handle: &Handle,
        audience: &Audience,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let owner = Owner::of(audience);
        let plain = Writer::with_capacity(8 + secret.len() + context.len());
        let plain = plain.bytes(secret).bytes(context).done();
        let draft = Draft {
            address: bearer_address(handle),
            scope: Scope::from(&owner),
            expires: now.plus(ttl),
            plain: plain.as_bytes(),
        };
        self.put(&draft, &mut Random::fetch(SALT_BYTES))
    }

    /// Opens what a handle stands for that was kept for this account in this mode.
    ///
    /// # Errors
    /// No such handle.
    pub fn open_bearer(
        &self,
        handle: &Handle,
        account: &str,
        mode: Mode,
        now: Timestamp,
    ) -> Result<Bearer, VaultError> {
        let address = bearer_address(handle);
        let opened = self.open(&address, now, |header| header.is_for(account, mode))?;
        let header = opened.header().ok_or(VaultError::NotFound)?;
        let tenant = Tenant::new(header.tenant());
        let mut reader = Reader::new(opened.plain());
        let mut field = || reader.bytes().map(SecretBytes::from_slice);
        let (secret, context) = field().zip(field()).ok_or(VaultError::NotFound)?;
        Ok(Bearer { secret, tenant, context })
    }

    fn derive_handle(&self, secret: &[u8], audience: &Audience) -> Handle {
        let fields = Writer::with_capacity(64)
            .short(audience.tenant.as_str().as_bytes())
            .short(audience.account.as_str().as_bytes())
            .short(audience.mode.as_str().as_bytes())
            .done();
        let derived = self.ring().marks().derive("bearer", &[fields.as_bytes(), secret]);
        Handle::from_bits(&derived.first_chunk().copied().unwrap_or_default())
    }
}

fn bearer_address(handle: &Handle) -> Address<'_> {
    Address { kind: Kind::Bearer, bits: handle.random_part(), further: &[] }
}
