//! The form of a line: its place in the chain, the time, what happened.
//!
//! `{"seq":7,"prev":"…","time":"…","event":"…",…}`: `prev` is the SHA-256 of the line before,
//! without its line feed. An anchor's `mac` is HMAC-SHA-256 over its own line up to there,
//! `prev` among it, and so over everything before it.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use base16ct::lower;
use hmac::{HmacReset, KeyInit as _, Mac as _};
use serde::{Serialize, Serializer};
use sha2::Sha256;

use crate::card::Timestamp;
use crate::secret::{SecretBytes, ct_eq, sha256};

/// Binds an anchor's MAC to what it is for.
const DOMAIN: &[u8] = b"portcullis audit anchor v1";

/// What every anchor begins with, behind the time.
const ANCHOR: &[u8] = b"\"event\":\"anchor\",\"mac\":\"";

/// The SHA-256 of a line, or of the configuration.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Hash([u8; 32]);

impl Hash {
    /// What stands in the first line, which has none before it.
    pub const NONE: Self = Self([0; 32]);

    /// The digest of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*sha256(&[bytes]))
    }

    /// Reads 64 digits of lower-case hex.
    #[must_use]
    pub fn parse(hex: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        // Fewer digits would leave the rest as it is.
        let hex = <&[u8; 64]>::try_from(hex).ok()?;
        lower::decode(hex, &mut bytes).ok()?;
        Some(Self(bytes))
    }

    #[expect(clippy::expect_used, reason = "every byte has two digits")]
    fn hex(self) -> [u8; 64] {
        let mut hex = [0; 64];
        lower::encode(&self.0, &mut hex).expect("the digits fit");
        hex
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(str::from_utf8(&self.hex()).unwrap_or_default())
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What anchors are made and checked with. Whoever has it can forge a record.
#[derive(Clone)]
pub struct AnchorKey(Arc<SecretBytes>);

impl AnchorKey {
    /// From the bytes of a key file.
    #[must_use]
    pub fn new(key: SecretBytes) -> Self {
        Self(Arc::new(key))
    }

    fn mac(&self, line: &[u8]) -> Hash {
        // A key of any length will do: there is no error to tell.
        let made = self.0.reveal(HmacReset::<Sha256>::new_from_slice);
        let Ok(mut mac) = made else { return Hash::NONE };
        mac.update(DOMAIN);
        mac.update(line);
        // In its place: by value the key's state would be moved, and left behind.
        Hash(mac.finalize_reset().into_bytes().into())
    }

    /// Whether an anchor is one that was made with this key, as it stands.
    pub(super) fn made(&self, anchor: &Anchor<'_>) -> bool {
        ct_eq(&self.mac(anchor.line).0, &anchor.mac.0)
    }
}

impl PartialEq for AnchorKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.reveal(|own| other.0.ct_eq(own))
    }
}

impl Eq for AnchorKey {}

impl fmt::Debug for AnchorKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("AnchorKey(..)")
    }
}

/// Where a chain stands: how many lines it has, and the digest of the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) sequence: u64,
    pub(super) hash: Hash,
}

impl End {
    pub(super) const BEGINNING: Self = Self { sequence: 0, hash: Hash::NONE };

    /// Appends a line; `body` is the record as a JSON object.
    pub(super) fn push(&mut self, lines: &mut Vec<u8>, time: Timestamp, body: &[u8]) {
        let begun = self.begin(lines, time);
        lines.extend_from_slice(body.get(1..).unwrap_or_default());
        self.end(lines, begun);
    }

    /// Appends an anchor.
    pub(super) fn push_anchor(&mut self, lines: &mut Vec<u8>, time: Timestamp, key: &AnchorKey) {
        let begun = self.begin(lines, time);
        lines.extend_from_slice(ANCHOR);
        let mac = key.mac(lines.get(begun..).unwrap_or_default());
        lines.extend_from_slice(&mac.hex());
        lines.extend_from_slice(b"\"}");
        self.end(lines, begun);
    }

    fn begin(&self, lines: &mut Vec<u8>, time: Timestamp) -> usize {
        let begun = lines.len();
        lines.extend_from_slice(b"{\"seq\":");
        // Writing into memory does not fail.
        let _ = write!(lines, "{}", self.sequence + 1);
        lines.extend_from_slice(b",\"prev\":\"");
        lines.extend_from_slice(&self.hash.hex());
        lines.extend_from_slice(b"\",\"time\":\"");
        lines.extend_from_slice(&time.to_millis_text());
        lines.extend_from_slice(b"\",");
        begun
    }

    fn end(&mut self, lines: &mut Vec<u8>, begun: usize) {
        self.sequence += 1;
        self.hash = Hash::of(lines.get(begun..).unwrap_or_default());
        lines.push(b'\n');
    }
}

/// An anchor's line up to the MAC, and the MAC.
#[derive(Clone, Copy)]
pub(super) struct Anchor<'l> {
    line: &'l [u8],
    mac: Hash,
}

/// What a line says of its place.
pub(super) struct Line<'l> {
    pub(super) sequence: u64,
    pub(super) before: Hash,
    pub(super) time: &'l str,
    pub(super) event: &'l str,
    pub(super) anchor: Option<Anchor<'l>>,
    pub(super) hash: Hash,
}

impl<'l> Line<'l> {
    /// Reads a line without its line feed; none for what was never written as one.
    pub(super) fn parse(bytes: &'l [u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let (sequence, rest) = text.strip_prefix("{\"seq\":")?.split_once(",\"prev\":\"")?;
        let plain = !sequence.starts_with('0') && sequence.bytes().all(|b| b.is_ascii_digit());
        let sequence = sequence.parse().ok().filter(|_| plain)?;
        let (before, rest) = rest.split_once("\",\"time\":\"")?;
        let (time, rest) = rest.split_once("\",")?;
        let (event, _) = rest.strip_prefix("\"event\":\"")?.split_once('"')?;
        let hex = rest.as_bytes().strip_prefix(ANCHOR).and_then(|rest| rest.strip_suffix(b"\"}"));
        let anchor = hex.and_then(|hex| {
            let line = bytes.get(..bytes.len() - hex.len() - 2)?;
            Some(Anchor { line, mac: Hash::parse(hex)? })
        });
        // An anchor under another name is none, and nothing would check it.
        let anchored = event == "anchor" || rest.contains("\"mac\":");
        let whole = rest.ends_with('}') && anchored == anchor.is_some();
        let before = Hash::parse(before.as_bytes()).filter(|_| whole)?;
        Some(Self { sequence, before, time, event, anchor, hash: Hash::of(bytes) })
    }

    pub(super) const fn as_end(&self) -> End {
        End { sequence: self.sequence, hash: self.hash }
    }
}
