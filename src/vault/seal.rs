//! A root key, the names and keys derived from it, and the seal itself. The only door to the AEAD.
//!
//! A record's name in the store and the key that opens it both come from the root key *and* the
//! random part of its token: whoever has the store has neither names nor keys, whoever has the
//! root key alone still lacks the tokens. Each seal draws a fresh salt that goes into the key, so a
//! key seals exactly one message and the fixed nonce never repeats under a key.

use std::ops::Range;

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::{AesGcm, KeyInit, Tag};
use hmac::{HmacReset, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::header::{Header, Kind, Scope};
use super::sealed::{Name, Parts, SALT_BYTES, Sealed, Stamp, TAG_BYTES};
use crate::card::Timestamp;
use crate::secret::{Locked, Random, SecretBytes, ct_eq, fill_random, scoured, wipe};

/// Bytes of a root key and of every key derived from one.
pub(super) const KEY_BYTES: usize = 32;

/// AES-256-GCM. GCM encrypts blocks alone, both ways, so the keys that decrypt them are not made.
type Cipher = AesGcm<Aes256Enc, U12>;

/// Which record is meant, by what its token says.
#[derive(Clone, Copy)]
pub(super) struct Address<'a> {
    pub(super) kind: Kind,
    /// The bits its name and its key come from.
    pub(super) bits: &'a [u8; 20],
    /// Further bits that only the key comes from: a security code lies in its card's record and is
    /// opened by both tokens.
    pub(super) further: &'a [u8],
}

/// One root key: all key material of the vault that lives longer than a call is in key memory.
pub(super) struct Root {
    version: u32,
    /// The state of HMAC after the key block, which halves the cost of a derivation.
    key: Locked<HmacReset<Sha256>>,
    /// The key itself, where no configuration has it, for the process that takes the records over.
    drawn: Option<Locked<[u8; KEY_BYTES]>>,
}

impl Root {
    /// Nothing for a key that has not 32 bytes.
    pub(super) fn read(version: u32, key: &SecretBytes) -> Option<Self> {
        key.reveal(|key| Some(Self::new(version, key.try_into().ok()?)))
    }

    /// A key that nobody knows.
    pub(super) fn random(version: u32) -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        fill_random(key.as_mut_slice());
        Self::drawn(version, &key)
    }

    /// A key that nobody knows but a process before this one, which drew it.
    pub(super) fn drawn(version: u32, key: &[u8; KEY_BYTES]) -> Self {
        Self { drawn: Some(Locked::new(|| *key)), ..Self::new(version, key) }
    }

    fn new(version: u32, key: &[u8; KEY_BYTES]) -> Self {
        Self { version, key: Locked::new(|| keyed(key)), drawn: None }
    }

    /// The key, where it was drawn.
    pub(super) fn drawn_key(&self) -> Option<&[u8; KEY_BYTES]> {
        self.drawn.as_deref()
    }

    pub(super) const fn version(&self) -> u32 {
        self.version
    }

    /// Whether this was made of the same key, whatever the version.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let [mine, others] = [self, other].map(|root| root.derive("same key", &[]));
        ct_eq(mine.as_slice(), others.as_slice())
    }

    pub(super) fn derive(&self, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
        derive(&self.key, label, parts)
    }

    pub(super) fn name(&self, address: &Address<'_>) -> Name {
        let derived = self.derive("name", &[&[address.kind as u8], address.bits]);
        Name(derived.first_chunk().copied().unwrap_or_default())
    }

    fn cipher(&self, address: &Address<'_>, salt: &[u8; SALT_BYTES]) -> Cipher {
        let parts: [&[u8]; 4] = [&[address.kind as u8], salt, address.bits, address.further];
        let key = self.derive("key", &parts);
        Cipher::new((&*key).into())
    }

    /// Seals `plain` for `address`, to be kept under `name`; `salt` is random and never used again.
    /// Nothing only beyond the limits of the AEAD or of the header.
    pub(super) fn seal(
        &self,
        address: &Address<'_>,
        named: (Name, [u8; SALT_BYTES]),
        scope: &Scope<'_>,
        expires: Timestamp,
        plain: &[u8],
    ) -> Option<Sealed> {
        let clear = (scope, self.version, expires);
        self.sealed(address, Sealed::draft(address.kind, named, clear, plain)?)
    }

    /// Seals the next state of an opened record under the same header and name.
    pub(super) fn reseal(
        &self,
        address: &Address<'_>,
        opened: &Opened,
        plain: &[u8],
    ) -> Option<Sealed> {
        let salt = Random::fetch(SALT_BYTES).take();
        self.sealed(address, opened.record.redraft(salt, plain)?)
    }

    fn sealed(&self, address: &Address<'_>, mut draft: Sealed) -> Option<Sealed> {
        let message = draft.message(address.kind)?;
        let Parts { salt, bound, message, tag } = draft.parts(&message)?;
        *tag = self.encrypt(address, salt, bound, message)?;
        Some(draft)
    }

    /// Encrypts in place, under a key that serves this once. `bound` is authenticated.
    pub(super) fn encrypt(
        &self,
        address: &Address<'_>,
        salt: &[u8; SALT_BYTES],
        bound: &[u8],
        message: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        scoured(|| {
            let cipher = self.cipher(address, salt);
            let tag = cipher.encrypt_inout_detached(&NONCE.into(), bound, message.into()).ok()?;
            Some(tag.into())
        })
    }

    /// Decrypts in place what [`Self::encrypt`] made of the same parts; otherwise nothing.
    pub(super) fn decrypt(
        &self,
        address: &Address<'_>,
        salt: &[u8; SALT_BYTES],
        bound: &[u8],
        message: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> Option<()> {
        scoured(|| {
            let (cipher, tag) = (self.cipher(address, salt), Tag::from(tag));
            cipher.decrypt_inout_detached(&NONCE.into(), bound, message.into(), &tag).ok()
        })
    }

    /// Opens a record that was found under `name`. Nothing when a byte of it, of its header, of its
    /// name or of its tokens is not what was sealed.
    pub(super) fn open(
        &self,
        address: &Address<'_>,
        name: Name,
        mut sealed: Sealed,
    ) -> Option<Opened> {
        let header = sealed.header()?;
        let right = header.version == self.version && header.is(address.kind);
        if !right || sealed.name() != name {
            return None;
        }
        let place = sealed.message(address.kind)?;
        let Parts { salt, bound, message, tag } = sealed.parts(&place)?;
        self.decrypt(address, salt, bound, message, *tag)?;
        Some(Opened { record: sealed, message: place })
    }
}

fn keyed(key: &[u8; KEY_BYTES]) -> HmacReset<Sha256> {
    // RFC 2104: a key shorter than the block is padded with zeros.
    let mut block = Zeroizing::new([0u8; 64]);
    for (place, byte) in block.iter_mut().zip(key) {
        *place = *byte;
    }
    <HmacReset<Sha256> as KeyInit>::new((&*block).into())
}

/// HMAC-SHA-256 over a label and parts. The label goes behind its length; callers give parts of
/// fixed length, or one last part of any.
fn derive(keyed: &HmacReset<Sha256>, label: &str, parts: &[&[u8]]) -> Zeroizing<[u8; KEY_BYTES]> {
    // Finished in its place, where its drop wipes it: finishing by value would move it and leave
    // the key's state behind on the stack.
    let mut mac = HmacReset::clone(keyed);
    mac.update(&[u8::try_from(label.len()).unwrap_or(u8::MAX)]);
    mac.update(label.as_bytes());
    for part in parts {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize_reset().into_bytes().into())
}

/// One key, one message: the nonce is fixed (NIST SP 800-38D 8.2 asks for uniqueness under a key).
const NONCE: [u8; 12] = [0; 12];

/// A record that was opened: its tag was right.
pub(super) struct Opened {
    record: Sealed,
    message: Range<usize>,
}

impl Opened {
    pub(super) fn stamp(&self) -> Stamp {
        self.record.stamp()
    }

    pub(super) fn header(&self) -> Option<Header<'_>> {
        self.record.header()
    }

    /// What was sealed.
    pub(super) fn plain(&self) -> &[u8] {
        self.record.bytes().get(self.message.clone()).unwrap_or_default()
    }

    /// The record again, for what is behind its tag; what was sealed in it is wiped.
    pub(super) fn closed(mut self) -> Sealed {
        if let Some(plain) = self.record.bytes_mut().get_mut(self.message) {
            wipe(plain);
        }
        self.record
    }
}

#[cfg(test)]
mod tests;
