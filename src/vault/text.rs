//! What needs no record: texts sealed into URLs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Vault;
use super::header::{Kind, Scope};
use super::seal::{Address, Opened};
use super::sealed::{SALT_BYTES, Sealed};
use crate::card::Timestamp;
use crate::secret::{Random, SecretBytes};

const BITS_BYTES: usize = 20;

impl Vault {
    /// Seals a text into one that is safe in a URL and opens only here and for this purpose. It has
    /// no end of its own; nothing but the root key keeps it. Empty when it could not be sealed,
    /// which opens nowhere.
    #[must_use]
    pub fn seal_text(&self, purpose: &str, text: &[u8]) -> String {
        let mut random = Random::fetch(BITS_BYTES + SALT_BYTES);
        let bits = random.take();
        let address = text_address(&bits, purpose);
        let ring = self.ring();
        let root = ring.current(Kind::Text);
        let named = (root.name(&address), random.take());
        let sealed = root.seal(&address, named, &Scope::NOBODY, NEVER, text);
        let Some(sealed) = sealed else { return String::new() };
        let [salt, rest] = sealed.without_name();
        URL_SAFE_NO_PAD.encode([&bits, salt, rest].concat())
    }

    /// Opens a text that was sealed for this purpose.
    #[must_use]
    pub fn open_text(&self, purpose: &str, sealed: &str) -> Option<SecretBytes> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (bits, sealed) = bytes.split_first_chunk()?;
        let address = text_address(bits, purpose);
        let open = |root: &super::Root| -> Option<Opened> {
            let name = root.name(&address);
            root.open(&address, name, Sealed::with_name(name, sealed)?)
        };
        let opened = self.ring().roots(Kind::Text).find_map(open)?;
        Some(SecretBytes::from_slice(opened.plain()))
    }
}

const NEVER: Timestamp = Timestamp::from_millis(u64::MAX);

fn text_address<'a>(bits: &'a [u8; BITS_BYTES], purpose: &'a str) -> Address<'a> {
    Address { kind: Kind::Text, bits, further: purpose.as_bytes() }
}
