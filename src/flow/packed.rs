//! Texts packed into one sealed payload and taken out again: each behind its length, four bytes.
//!
//! Laid out by hand so that what is sealed never passes through a general serialiser.

use crate::secret::{CleartextBody, SecretBytes};

/// Texts on their way into the vault.
#[derive(Debug, Default)]
pub(super) struct Packer(CleartextBody);

impl Packer {
    /// A payload of one kind, so that none is ever read as another.
    pub(super) fn of(kind: &str) -> Self {
        Self::default().put(kind.as_bytes())
    }

    /// Empty, with room for so many bytes.
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(CleartextBody::with_capacity(bytes))
    }

    pub(super) fn put(mut self, text: &[u8]) -> Self {
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(text);
        self
    }

    /// With nothing in it, in the same memory.
    pub(super) fn emptied(mut self) -> Self {
        self.0.clear();
        self
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    pub(super) fn close(self) -> SecretBytes {
        SecretBytes::from_slice(self.0.as_bytes())
    }
}

/// Texts on their way out. Ends early, and says so by `None`, when the payload is not what was
/// packed.
#[derive(Debug)]
pub(super) struct Unpacker<'p>(&'p [u8]);

impl<'p> Unpacker<'p> {
    pub(super) fn new(payload: &'p [u8]) -> Self {
        Self(payload)
    }

    /// The texts of a payload of that kind.
    pub(super) fn of(kind: &str, payload: &'p [u8]) -> Option<Self> {
        let mut unpacker = Self::new(payload);
        (unpacker.bytes()? == kind.as_bytes()).then_some(unpacker)
    }

    pub(super) fn bytes(&mut self) -> Option<&'p [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (bytes, rest) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'p str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn owned(&mut self) -> Option<String> {
        self.text().map(str::to_owned)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_and_a_cut_payload_ends_early() {
        let packed = Packer::default().put(b"one").put(b"").put("drei€".as_bytes()).close();
        packed.reveal(|payload| {
            let mut unpacker = Unpacker::new(payload);
            assert_eq!(unpacker.text(), Some("one"));
            assert_eq!(unpacker.text(), Some(""));
            assert_eq!(unpacker.text(), Some("drei€"));
            assert!(unpacker.is_empty() && unpacker.text().is_none());
            for cut in 0..payload.len() {
                let mut unpacker = Unpacker::new(&payload[..cut]);
                let whole = (0..3).all(|_| unpacker.bytes().is_some());
                assert!(!whole, "cut at {cut}");
            }
        });
    }
}
