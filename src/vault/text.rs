//! What needs no record: texts sealed into URLs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Vault;
use super::seal::{Address, Kind, Opened, Scope, Sealed};
use crate::card::Timestamp;
use crate::secret::{SecretBytes, fill_random};

const SALT_BYTES: usize = 20;

impl Vault {
    /// Seals a text into one that is safe in a URL and opens only here and for this purpose. It has
    /// no end of its own; nothing but the root key keeps it. Empty when it could not be sealed,
    /// which opens nowhere.
    #[must_use]
    pub fn seal_text(&self, purpose: &str, text: &[u8]) -> String {
        let mut salt = [0; SALT_BYTES];
        fill_random(&mut salt);
        let address = text_address(&salt, purpose);
        let root = self.keyring.current();
        let sealed = root.seal(&address, root.name(&address), &Scope::NOBODY, NEVER, text);
        let Some(sealed) = sealed else { return String::new() };
        URL_SAFE_NO_PAD.encode([&salt, sealed.as_bytes()].concat())
    }

    /// Opens a text that was sealed for this purpose.
    #[must_use]
    pub fn open_text(&self, purpose: &str, sealed: &str) -> Option<SecretBytes> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (salt, sealed) = bytes.split_first_chunk()?;
        let address = text_address(salt, purpose);
        let open = |root: &super::Root| -> Option<Opened> {
            root.open(&address, root.name(&address), Sealed::from_bytes(sealed))
        };
        let opened = self.keyring.roots().find_map(open)?;
        Some(SecretBytes::from_slice(opened.plain()))
    }
}

const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

fn text_address<'a>(salt: &'a [u8; SALT_BYTES], purpose: &'a str) -> Address<'a> {
    Address { kind: Kind::Text, bits: salt, further: purpose.as_bytes() }
}
