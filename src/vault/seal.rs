//! A root key, the names and keys derived from it, and the seal itself. The only door to the AEAD.
//!
//! A record's name in the store and the key that opens it both come from the root key *and* the
//! random part of its token: whoever has the store has neither names nor keys, whoever has the
//! root key alone still lacks the tokens. Each seal draws a fresh salt that goes into the key, so a
//! key seals exactly one message and the fixed nonce never repeats under a key.
//!
//! Layout: salt (16) ‖ name (16) ‖ header ‖ ciphertext ‖ tag (16), and behind a card its security
//! code (`code.rs`). Name and header are clear and authenticated, and stand together so that
//! neither sealing nor opening copies them. The salt doubles as the version stamp by which a store
//! compares and sets.
//!
//! A mark has nothing to hide but what its name comes from: stamp (16) ‖ name (16) ‖ header ‖
//! state (1), all of it clear.

use aes_gcm::aead::AeadInOut;
use aes_gcm::aead::consts::U12;
use aes_gcm::aes::Aes256Enc;
use aes_gcm::{AesGcm, KeyInit, Tag};
use hmac::{HmacReset, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::code::CODE_BYTES;
use super::header::{self, Header, Kind, Scope};
use crate::card::Timestamp;
use crate::secret::{Locked, Random, SecretBytes, ct_eq, fill_random, wipe};

/// Bytes of a root key and of every key derived from one.
pub(super) const KEY_BYTES: usize = 32;
pub(super) const SALT_BYTES: usize = 16;
pub(super) const NAME_BYTES: usize = 16;
/// Where the header begins.
const HEADER: usize = SALT_BYTES + NAME_BYTES;
pub(super) const TAG_BYTES: usize = 16;
const STATE_BYTES: usize = 1;

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

/// A record's name in the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(pub(super) [u8; NAME_BYTES]);

/// Tells one seal of a record from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) [u8; SALT_BYTES]);

/// A sealed record, or a mark: all that a store ever sees. Wiped on drop, so that a burned security
/// code is not left behind in a form that its tokens still open.
pub(super) struct Sealed(Box<[u8]>);

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
        (name, salt): (Name, [u8; SALT_BYTES]),
        scope: &Scope<'_>,
        expires: Timestamp,
        plain: &[u8],
    ) -> Option<Sealed> {
        let start = HEADER + scope.header_len();
        let mut bytes = Vec::with_capacity(start + plain.len() + TAG_BYTES + behind(address.kind));
        bytes.extend_from_slice(&salt);
        bytes.extend_from_slice(&name.0);
        scope.write(address.kind, self.version, expires, &mut bytes);
        // Names too long or too many to be written are refused here, not lost on the way back.
        Header::read(bytes.get(HEADER..)?).filter(|read| HEADER + read.len == start)?;
        self.seal_behind(address, bytes, plain)
    }

    /// Appends the sealed text and its tag to salt, name and header.
    fn seal_behind(
        &self,
        address: &Address<'_>,
        mut bytes: Vec<u8>,
        plain: &[u8],
    ) -> Option<Sealed> {
        let start = bytes.len();
        bytes.extend_from_slice(plain);
        let (salt, rest) = bytes.split_first_chunk_mut()?;
        let (bound, message) = rest.split_at_mut_checked(start - SALT_BYTES)?;
        let tag = self.encrypt(address, salt, bound, message)?;
        bytes.extend_from_slice(&tag);
        bytes.resize(bytes.len() + behind(address.kind), 0);
        Some(Sealed(bytes.into_boxed_slice()))
    }

    /// Encrypts in place, under a key that serves this once. `bound` is authenticated.
    pub(super) fn encrypt(
        &self,
        address: &Address<'_>,
        salt: &[u8; SALT_BYTES],
        bound: &[u8],
        message: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let cipher = self.cipher(address, salt);
        let tag = cipher.encrypt_inout_detached(&NONCE.into(), bound, message.into()).ok()?;
        Some(tag.into())
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
        let cipher = self.cipher(address, salt);
        cipher.decrypt_inout_detached(&NONCE.into(), bound, message.into(), &Tag::from(tag)).ok()
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
        let start = HEADER + header.len;
        let end = sealed.0.len().checked_sub(TAG_BYTES + behind(address.kind))?;
        let (salt, rest) = sealed.0.get_mut(..end + TAG_BYTES)?.split_first_chunk_mut()?;
        let (bound, rest) = rest.split_at_mut_checked(start - SALT_BYTES)?;
        let (message, tag) = rest.split_last_chunk_mut()?;
        self.decrypt(address, salt, bound, message, *tag)?;
        Some(Opened { bytes: sealed, start, end })
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

/// How many bytes of a record stand behind its tag.
const fn behind(kind: Kind) -> usize {
    if matches!(kind, Kind::Card) { CODE_BYTES } else { 0 }
}

/// One key, one message: the nonce is fixed (NIST SP 800-38D 8.2 asks for uniqueness under a key).
const NONCE: [u8; 12] = [0; 12];

impl Sealed {
    pub(super) fn stamp(&self) -> Stamp {
        Stamp(self.0.first_chunk().copied().unwrap_or_default())
    }

    pub(super) fn header(&self) -> Option<Header<'_>> {
        Header::read(self.0.get(HEADER..)?)
    }

    pub(super) fn name(&self) -> Name {
        let name = self.0.get(SALT_BYTES..).and_then(<[u8]>::first_chunk);
        Name(name.copied().unwrap_or_default())
    }

    /// The version of the root key that sealed it, without reading all of the header.
    pub(super) fn version(&self) -> u32 {
        let version = self.0.get(HEADER + header::VERSION..).and_then(<[u8]>::first_chunk);
        u32::from_be_bytes(version.copied().unwrap_or_default())
    }

    /// The end of its life, without reading all of the header; over, when there is none.
    pub(super) fn expires(&self) -> Timestamp {
        let millis = self.0.get(HEADER + header::EXPIRES..).and_then(<[u8]>::first_chunk);
        Timestamp::from_millis(u64::from_be_bytes(millis.copied().unwrap_or_default()))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// How long what it seals is, a card aside; nothing for what has no header.
    pub(super) fn sealed_len(&self) -> usize {
        let header = self.header().map_or(self.len(), |header| header.len);
        self.len().saturating_sub(HEADER + header + TAG_BYTES)
    }

    /// Whether it is of this kind, without reading all of the header.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.0.get(HEADER) == Some(&(kind as u8))
    }

    /// All of it, for another process that has the keys.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// A record as another process gave it; nothing for what cannot be one.
    pub(super) fn given(bytes: &[u8]) -> Option<Self> {
        let sealed = Self(bytes.into());
        let header = sealed.header()?;
        let rest = match header.kind()? {
            Kind::Mark => STATE_BYTES,
            kind => TAG_BYTES + behind(kind),
        };
        let whole = header.len.checked_add(HEADER + rest)? <= sealed.len();
        whole.then_some(sealed)
    }

    /// A mark in this state; the stamp is used once.
    pub(super) fn mark(
        name: Name,
        stamp: Stamp,
        version: u32,
        expires: Timestamp,
        state: u8,
    ) -> Self {
        let scope = Scope::NOBODY;
        let mut bytes = Vec::with_capacity(HEADER + scope.header_len() + STATE_BYTES);
        bytes.extend_from_slice(&stamp.0);
        bytes.extend_from_slice(&name.0);
        scope.write(Kind::Mark, version, expires, &mut bytes);
        bytes.push(state);
        Self(bytes.into_boxed_slice())
    }

    /// The state of a mark; nothing for what is none.
    pub(super) fn state(&self) -> Option<u8> {
        let header = self.header().filter(|header| header.is(Kind::Mark))?;
        self.0.get(HEADER + header.len).copied()
    }

    /// A copy of the ciphertext, to be opened in place.
    pub(super) fn copied(&self) -> Self {
        Self(self.0.clone())
    }

    /// The record without its name, which whoever opens it derives.
    pub(super) fn without_name(&self) -> [&[u8]; 2] {
        let (salt, rest) = self.0.split_at_checked(SALT_BYTES).unwrap_or_default();
        [salt, rest.get(NAME_BYTES..).unwrap_or_default()]
    }

    /// The record whose name was left out.
    pub(super) fn with_name(name: Name, rest: &[u8]) -> Option<Self> {
        let (salt, rest) = rest.split_at_checked(SALT_BYTES)?;
        Some(Self([salt, &name.0, rest].concat().into_boxed_slice()))
    }
}

impl Drop for Sealed {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// A record that was opened: its tag was right.
pub(super) struct Opened {
    bytes: Sealed,
    start: usize,
    end: usize,
}

impl Opened {
    pub(super) fn stamp(&self) -> Stamp {
        self.bytes.stamp()
    }

    pub(super) fn header(&self) -> Option<Header<'_>> {
        self.bytes.header()
    }

    /// The record again, for what is behind its tag; what was sealed in it is wiped.
    pub(super) fn closed(mut self) -> Sealed {
        if let Some(plain) = self.bytes.0.get_mut(self.start..self.end) {
            wipe(plain);
        }
        self.bytes
    }

    /// What was sealed.
    pub(super) fn plain(&self) -> &[u8] {
        self.bytes.0.get(self.start..self.end).unwrap_or_default()
    }
}

impl Root {
    /// Seals the next state of an opened record under the same header and name. Not for a card: its
    /// security code would not come along.
    pub(super) fn reseal(
        &self,
        address: &Address<'_>,
        opened: &Opened,
        plain: &[u8],
    ) -> Option<Sealed> {
        let mut bytes = Vec::with_capacity(opened.start + plain.len() + TAG_BYTES);
        bytes.extend_from_slice(&Random::fetch(SALT_BYTES).take::<SALT_BYTES>());
        bytes.extend_from_slice(opened.bytes.0.get(SALT_BYTES..opened.start)?);
        self.seal_behind(address, bytes, plain)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Account, Accounts, Audience, Owner, Tenant};
    use super::*;
    use crate::card::Mode;
    use aes_gcm::KeySizeUser;
    use aes_gcm::aes::{Aes128, Aes192};
    use proptest::prelude::*;
    use serde_json::Value;

    const END: Timestamp = Timestamp::from_secs(2_000);

    fn root(version: u32, byte: u8) -> Root {
        Root::new(version, &[byte; KEY_BYTES])
    }

    fn address(bits: &[u8; 20]) -> Address<'_> {
        Address { kind: Kind::Card, bits, further: &[] }
    }

    fn owner() -> Owner {
        let accounts = Accounts::Only(vec![Account::new("paymega"), Account::new("milkypay")]);
        Owner { tenant: Tenant::new("shop"), accounts, mode: Mode::Live }
    }

    fn named(root: &Root, address: &Address<'_>) -> (Name, [u8; SALT_BYTES]) {
        (root.name(address), Random::fetch(SALT_BYTES).take())
    }

    fn opens(root: &Root, address: &Address<'_>, sealed: &Sealed) -> bool {
        root.open(address, root.name(address), sealed.copied()).is_some()
    }

    fn sealed(root: &Root, address: &Address<'_>) -> Sealed {
        root.seal(address, named(root, address), &Scope::from(&owner()), END, b"5519283812030000")
            .unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_its_header() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let sealed = sealed(&root, &address(&bits));
        let opened = root.open(&address(&bits), root.name(&address(&bits)), sealed).unwrap();
        assert_eq!(opened.plain(), b"5519283812030000");
        let header = opened.header().unwrap();
        assert_eq!((header.expires, header.owner()), (END, Some(owner())));
    }

    #[test]
    fn nothing_of_the_cleartext_is_in_the_record() {
        let sealed = sealed(&root(1, 1), &address(&[7; 20]));
        assert!(!sealed.0.windows(4).any(|window| window == b"5519" || window == b"0000"));
    }

    #[test]
    fn every_flipped_bit_of_a_record_keeps_it_shut() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let right = sealed(&root, &address(&bits));
        assert!(opens(&root, &address(&bits), &right));
        // Its code is not part of it: that comes and goes.
        for place in 0..right.0.len() - CODE_BYTES {
            for bit in 0..8 {
                let mut wrong = right.copied();
                wrong.0[place] ^= 1 << bit;
                assert!(!opens(&root, &address(&bits), &wrong), "byte {place} bit {bit}");
            }
        }
        for len in 0..right.0.len() {
            assert!(!opens(&root, &address(&bits), &Sealed(Box::from(&right.0[..len]))));
        }
    }

    #[test]
    fn every_part_of_the_address_is_needed() {
        let (root_1, bits) = (root(1, 1), [7; 20]);
        let text = Address { kind: Kind::Text, bits: &bits, further: &[9; 20] };
        let right = sealed(&root_1, &text);
        assert!(opens(&root_1, &text, &right));
        let wrong = [
            Address { kind: Kind::Card, ..text },
            Address { bits: &[8; 20], ..text },
            Address { further: &[8; 20], ..text },
            Address { further: &[], ..text },
        ];
        for address in &wrong {
            assert!(!opens(&root_1, address, &right));
        }
        assert!(!opens(&root(1, 2), &text, &right), "another root key");
        assert!(!opens(&root(2, 1), &text, &right), "another key version");
        assert!(root_1.open(&text, Name([0; 16]), right).is_none(), "another name");
    }

    #[test]
    fn a_header_of_another_record_does_not_fit() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let plain = b"5519283812030000";
        let seal = |owner: &Owner, end| {
            root.seal(
                &address(&bits),
                named(&root, &address(&bits)),
                &Scope::from(owner),
                end,
                plain,
            )
            .unwrap()
        };
        let right = seal(&owner(), END);
        let others = [
            seal(&Owner { tenant: Tenant::new("shoq"), ..owner() }, END),
            seal(&Owner { accounts: Accounts::All, ..owner() }, END),
            seal(
                &Owner { accounts: Accounts::Only(vec![Account::new("paymega")]), ..owner() },
                END,
            ),
            seal(&Owner { mode: Mode::Test, ..owner() }, END),
            seal(&owner(), Timestamp::from_secs(9_000)),
        ];
        let behind = plain.len() + TAG_BYTES + CODE_BYTES;
        let parts = |sealed: &Sealed| sealed.0.len() - behind;
        for other in others {
            // The salt and ciphertext of one record behind the header of another.
            let swapped =
                [&right.0[..HEADER], &other.0[HEADER..parts(&other)], &right.0[parts(&right)..]];
            let swapped = Sealed(swapped.concat().into_boxed_slice());
            assert!(swapped.header().is_some(), "the header itself is well formed");
            assert!(!opens(&root, &address(&bits), &swapped));
            assert!(opens(&root, &address(&bits), &other));
        }
    }

    #[test]
    fn a_header_refuses_another_tenant_mode_and_account() {
        let sealed = sealed(&root(1, 1), &address(&[7; 20]));
        let header = sealed.header().unwrap();
        let audience = |tenant, account, mode| Audience {
            tenant: Tenant::new(tenant),
            account: Account::new(account),
            mode,
        };
        assert!(header.admits(&audience("shop", "milkypay", Mode::Live)));
        assert!(!header.admits(&audience("shop", "milkypay", Mode::Test)));
        assert!(!header.admits(&audience("sho", "milkypay", Mode::Live)));
        assert!(!header.admits(&audience("shop", "milky", Mode::Live)));
        assert!(header.is_of(&Tenant::new("shop"), Mode::Live));
        assert!(!header.is_of(&Tenant::new("shop"), Mode::Test));
        assert!(!header.is_of(&Tenant::new("other"), Mode::Live));
    }

    #[test]
    fn two_seals_of_one_record_share_neither_salt_nor_ciphertext() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let (first, second) = (sealed(&root, &address(&bits)), sealed(&root, &address(&bits)));
        assert_ne!(first.stamp(), second.stamp());
        let (from, to) = (first.0.len() - CODE_BYTES - 32, first.0.len() - CODE_BYTES);
        assert_ne!(first.0[from..to], second.0[from..to]);
    }

    #[test]
    fn a_closed_record_holds_nothing_of_what_was_sealed() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let first = sealed(&root, &address(&bits));
        let head = first.0[..HEADER].to_vec();
        let opened = root.open(&address(&bits), root.name(&address(&bits)), first).unwrap();
        let (start, end) = (opened.start, opened.end);
        assert_eq!(&opened.bytes.0[start..end], b"5519283812030000");
        let closed = opened.closed();
        assert!(closed.0[start..end].iter().all(|byte| *byte == 0));
        assert_eq!(closed.0[..HEADER], head, "and is found by its name");
    }

    #[test]
    fn a_resealed_record_keeps_its_header_and_draws_a_new_salt() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let address = Address { kind: Kind::Session, ..address(&bits) };
        let first = sealed(&root, &address);
        let stamp = first.stamp();
        let name = root.name(&address);
        let opened = root.open(&address, name, first).unwrap();
        let second = root.reseal(&address, &opened, b"next").unwrap();
        assert_ne!(second.stamp(), stamp);
        let opened = root.open(&address, name, second).unwrap();
        assert_eq!(opened.plain(), b"next");
        assert_eq!(opened.header().and_then(|header| header.owner()), Some(owner()));
    }

    #[test]
    fn names_that_do_not_fit_a_header_are_not_sealed() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let seal = |owner: &Owner| {
            root.seal(&address(&bits), named(&root, &address(&bits)), &Scope::from(owner), END, b"")
        };
        let long = "x".repeat(256);
        assert!(seal(&Owner { tenant: Tenant::new(&long), ..owner() }).is_none());
        assert!(seal(&Owner { tenant: Tenant::new(&long[..255]), ..owner() }).is_some());
        let many = Accounts::Only(vec![Account::new("a"); 256]);
        assert!(seal(&Owner { accounts: many, ..owner() }).is_none());
    }

    #[test]
    fn a_record_travels_without_its_name() {
        let (root, bits) = (root(1, 1), [7; 20]);
        let right = sealed(&root, &address(&bits));
        let rest = right.without_name().concat();
        assert_eq!(rest.len() + NAME_BYTES, right.len());
        let name = root.name(&address(&bits));
        assert!(opens(&root, &address(&bits), &Sealed::with_name(name, &rest).unwrap()));
        assert!(!opens(&root, &address(&bits), &Sealed::with_name(Name([1; 16]), &rest).unwrap()));
        assert!(Sealed::with_name(name, &rest[..SALT_BYTES - 1]).is_none());
    }

    #[test]
    fn a_root_key_has_32_bytes_and_knows_its_like() {
        assert!(Root::read(1, &SecretBytes::from_slice(&[1; 31])).is_none());
        let read = Root::read(1, &SecretBytes::from_slice(&[1; 32])).unwrap();
        assert!(read.is_same(&root(2, 1)));
        assert!(!read.is_same(&root(1, 2)));
        assert!(!Root::random(1).is_same(&Root::random(1)));
        let sealed = sealed(&root(0x0102_0304, 1), &address(&[7; 20]));
        assert_eq!(sealed.version(), 0x0102_0304);
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_opens_to_itself(
            key: [u8; 32], bits: [u8; 20], version: u32, live: bool, end: u64,
            tenant in ".{0,40}",
            accounts in proptest::option::of(proptest::collection::vec(".{0,20}", 0..5)),
            plain in proptest::collection::vec(any::<u8>(), 0..600),
        ) {
            let root = Root::new(version, &key);
            let accounts = accounts.map_or(Accounts::All, |names| {
                Accounts::Only(names.iter().map(|name| Account::new(name)).collect())
            });
            let mode = if live { Mode::Live } else { Mode::Test };
            let owner = Owner { tenant: Tenant::new(&tenant), accounts, mode };
            let (address, end) = (address(&bits), Timestamp::from_millis(end));
            let (name, scope) = (root.name(&address), Scope::from(&owner));
            let sealed = root.seal(&address, named(&root, &address), &scope, end, &plain).unwrap();
            prop_assert_eq!((sealed.expires(), sealed.name() == name), (end, true));
            let opened = root.open(&address, name, sealed).unwrap();
            prop_assert_eq!(opened.plain(), plain.as_slice());
            let header = opened.header().unwrap();
            prop_assert_eq!((header.owner(), header.expires), (Some(owner), end));
        }

        #[test]
        fn any_bytes_stay_shut(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let sealed = Sealed(bytes.into_boxed_slice());
            prop_assert!(!opens(&root(1, 1), &address(&[7; 20]), &sealed));
        }
    }

    // Vectors. Origin and licence: tests/vectors/SOURCES.md.

    fn cases(text: &str) -> Vec<(Value, Value)> {
        let file: Value = serde_json::from_str(text).unwrap();
        let groups = file["testGroups"].as_array().unwrap().clone();
        let pairs = |group: Value| {
            let cases = group["tests"].as_array().unwrap().clone();
            cases.into_iter().map(move |case| (group.clone(), case))
        };
        groups.into_iter().flat_map(pairs).collect()
    }

    fn hex(case: &Value, field: &str) -> Vec<u8> {
        let text = case[field].as_str().unwrap();
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    fn gcm_agrees<C>(case: &Value) -> bool
    where
        C: KeyInit + KeySizeUser + AeadInOut<NonceSize = U12>,
    {
        let cipher = C::new_from_slice(&hex(case, "key")).unwrap();
        let nonce: [u8; 12] = hex(case, "iv").try_into().unwrap();
        let (aad, message, ciphertext) = (hex(case, "aad"), hex(case, "msg"), hex(case, "ct"));
        let tag = hex(case, "tag");
        let valid = case["result"] == "valid";

        let mut buffer = ciphertext.clone();
        let given = aes_gcm::aead::Tag::<C>::try_from(tag.as_slice()).unwrap();
        let opened = cipher
            .decrypt_inout_detached(&nonce.into(), &aad, buffer.as_mut_slice().into(), &given)
            .is_ok();
        let mut sealed = message.clone();
        let made = cipher
            .encrypt_inout_detached(&nonce.into(), &aad, sealed.as_mut_slice().into())
            .unwrap();
        if valid {
            opened && buffer == message && sealed == ciphertext && made.as_slice() == tag
        } else {
            !opened
        }
    }

    #[test]
    fn aes_gcm_agrees_with_wycheproof() {
        let mut run = 0;
        for (group, case) in cases(include_str!("../../tests/vectors/aes_gcm_test.json")) {
            if group["ivSize"] != 96 {
                continue;
            }
            let agrees = match group["keySize"].as_u64() {
                Some(128) => gcm_agrees::<AesGcm<Aes128, U12>>(&case),
                Some(192) => gcm_agrees::<AesGcm<Aes192, U12>>(&case),
                _ => gcm_agrees::<Cipher>(&case),
            };
            assert!(agrees, "case {}", case["tcId"]);
            run += 1;
        }
        assert_eq!(run, 197);
    }

    #[test]
    fn hmac_sha_256_agrees_with_wycheproof() {
        let mut run = 0;
        for (_, case) in cases(include_str!("../../tests/vectors/hmac_sha256_test.json")) {
            let mut mac =
                <HmacReset<Sha256> as hmac::KeyInit>::new_from_slice(&hex(&case, "key")).unwrap();
            mac.update(&hex(&case, "msg"));
            let agrees = mac.verify_truncated_left(&hex(&case, "tag")).is_ok();
            assert_eq!(agrees, case["result"] == "valid", "case {}", case["tcId"]);
            run += 1;
        }
        assert_eq!(run, 174);
    }

    #[test]
    fn a_derivation_is_hmac_over_its_label_and_parts() {
        let key = [5; KEY_BYTES];
        let mut mac = <HmacReset<Sha256> as hmac::KeyInit>::new_from_slice(&key).unwrap();
        mac.update(b"\x04nameab");
        let expected: [u8; 32] = mac.finalize().into_bytes().into();
        assert_eq!(*Root::new(1, &key).derive("name", &[b"a", b"b"]), expected);
    }
}
