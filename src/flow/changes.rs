//! Edits collected while a document is read, spliced in at once.

use crate::secret::CleartextBody;
use crate::wire::{Edit, Span, WireError, quote, splice};

/// Edits whose bytes are owned here until they are spliced in; wiped when dropped.
#[derive(Debug, Default)]
pub(super) struct Changes(Vec<(Span, CleartextBody)>);

impl Changes {
    /// A JSON string in place of the value at `span`.
    pub(super) fn put_text(&mut self, span: Span, text: &str) {
        self.put(span, quote(text));
    }

    /// Bytes in place of the value at `span`.
    pub(super) fn put(&mut self, span: Span, bytes: CleartextBody) {
        self.0.push((span, bytes));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The body with all edits made; every other byte is as it was.
    pub(super) fn apply(&self, body: &[u8]) -> Result<CleartextBody, WireError> {
        let edits: Vec<Edit<'_>> = self
            .0
            .iter()
            .map(|(span, bytes)| Edit { span: *span, bytes: bytes.as_bytes() })
            .collect();
        splice(body, &edits)
    }
}
