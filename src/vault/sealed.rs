//! What a record looks like once it is sealed: all that a store, and another process, see of it.
//!
//! Layout: salt (16) ‖ name (16) ‖ header ‖ ciphertext ‖ tag (16), and behind a card its security
//! code (`code.rs`). Name and header are clear and authenticated, and stand together so that
//! neither sealing nor opening copies them. The salt doubles as the version stamp by which a store
//! compares and sets.
//!
//! A mark has nothing to hide but what its name comes from: stamp (16) ‖ name (16) ‖ header ‖
//! state (1), all of it clear.

use std::ops::Range;

use super::code::CODE_BYTES;
use super::header::{self, Header, Kind, Scope};
use crate::card::Timestamp;
use crate::secret::wipe;

pub(super) const SALT_BYTES: usize = 16;
pub(super) const NAME_BYTES: usize = 16;
/// Where the header begins.
const HEADER: usize = SALT_BYTES + NAME_BYTES;
pub(super) const TAG_BYTES: usize = 16;
const STATE_BYTES: usize = 1;

/// A record's name in the store.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(pub(super) [u8; NAME_BYTES]);

/// Tells one seal of a record from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(pub(super) [u8; SALT_BYTES]);

/// A sealed record, or a mark. Wiped on drop, so that a burned security code is not left behind in
/// a form that its tokens still open.
pub(super) struct Sealed(Box<[u8]>);

/// What the AEAD works on.
pub(super) struct Parts<'a> {
    pub(super) salt: &'a [u8; SALT_BYTES],
    /// Name and header, which are authenticated.
    pub(super) bound: &'a [u8],
    pub(super) message: &'a mut [u8],
    pub(super) tag: &'a mut [u8; TAG_BYTES],
}

impl Sealed {
    /// A record whose message is still to be encrypted; nothing when its names are too long or too
    /// many for a header, so that they are refused here and not lost on the way back.
    pub(super) fn draft(
        kind: Kind,
        (name, salt): (Name, [u8; SALT_BYTES]),
        (scope, version, expires): (&Scope<'_>, u32, Timestamp),
        plain: &[u8],
    ) -> Option<Self> {
        let len = HEADER + scope.header_len();
        let mut head = Vec::with_capacity(len + plain.len() + behind(kind));
        head.extend_from_slice(&salt);
        head.extend_from_slice(&name.0);
        scope.write(kind, version, expires, &mut head);
        Header::read(head.get(HEADER..)?).filter(|read| HEADER + read.len == len)?;
        Some(Self::drafted(head, kind, plain))
    }

    /// The next state of this record, whose message is still to be encrypted. Not of a card: its
    /// security code would not come along.
    pub(super) fn redraft(&self, salt: [u8; SALT_BYTES], plain: &[u8]) -> Option<Self> {
        let header = self.header()?;
        let kind = header.kind().filter(|kind| !matches!(kind, Kind::Card))?;
        let named = self.0.get(SALT_BYTES..HEADER + header.len)?;
        let mut head = Vec::with_capacity(SALT_BYTES + named.len() + plain.len() + behind(kind));
        head.extend_from_slice(&salt);
        head.extend_from_slice(named);
        Some(Self::drafted(head, kind, plain))
    }

    fn drafted(mut bytes: Vec<u8>, kind: Kind, plain: &[u8]) -> Self {
        bytes.extend_from_slice(plain);
        bytes.resize(bytes.len() + behind(kind), 0);
        Self(bytes.into_boxed_slice())
    }

    /// A record as another process gave it; nothing for what cannot be one.
    pub(super) fn given(bytes: &[u8]) -> Option<Self> {
        let sealed = Self(bytes.into());
        let header = sealed.header()?;
        let whole = header.len.checked_add(HEADER + behind(header.kind()?))? <= sealed.len();
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

    /// A copy of the ciphertext, to be opened in place.
    pub(super) fn copied(&self) -> Self {
        Self(self.0.clone())
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp(self.0.first_chunk().copied().unwrap_or_default())
    }

    pub(super) fn name(&self) -> Name {
        let name = self.0.get(SALT_BYTES..).and_then(<[u8]>::first_chunk);
        Name(name.copied().unwrap_or_default())
    }

    pub(super) fn header(&self) -> Option<Header<'_>> {
        Header::read(self.0.get(HEADER..)?)
    }

    /// Whether it is of this kind, without reading all of the header.
    pub(super) fn is(&self, kind: Kind) -> bool {
        self.0.get(HEADER) == Some(&(kind as u8))
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

    /// Where its message stands, for a record of this kind.
    pub(super) fn message(&self, kind: Kind) -> Option<Range<usize>> {
        let start = HEADER + self.header()?.len;
        let end = self.len().checked_sub(behind(kind))?;
        (start <= end).then_some(start..end)
    }

    /// How long what it seals is; nothing for what has no header.
    pub(super) fn sealed_len(&self) -> usize {
        let kind = self.header().and_then(|header| header.kind());
        kind.and_then(|kind| self.message(kind)).map_or(0, |message| message.len())
    }

    /// The state of a mark; nothing for what is none.
    pub(super) fn state(&self) -> Option<u8> {
        let header = self.header().filter(|header| header.is(Kind::Mark))?;
        self.0.get(HEADER + header.len).copied()
    }

    /// Its parts, the message being here.
    pub(super) fn parts(&mut self, message: &Range<usize>) -> Option<Parts<'_>> {
        let (head, rest) = self.0.split_at_mut_checked(message.start)?;
        let (salt, bound) = head.split_first_chunk()?;
        let (message, rest) = rest.split_at_mut_checked(message.len())?;
        Some(Parts { salt, bound, message, tag: rest.first_chunk_mut()? })
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// All of it, for another process that has the keys.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
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

/// How many bytes of a record stand behind its message, or behind its header where it seals none.
const fn behind(kind: Kind) -> usize {
    match kind {
        Kind::Mark => STATE_BYTES,
        Kind::Card => TAG_BYTES + CODE_BYTES,
        _ => TAG_BYTES,
    }
}
