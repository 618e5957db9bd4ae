//! Edits collected while a document is read, spliced in at once.

use crate::secret::CleartextBody;
use crate::wire::{Edit, Encoding, Span, WireError, encode, quote, splice};

/// Edits whose bytes are owned here until they are spliced in; wiped when dropped.
#[derive(Debug)]
pub(super) struct Changes {
    encoding: Encoding,
    edits: Vec<(Span, CleartextBody)>,
}

impl Changes {
    pub(super) fn to(encoding: Encoding) -> Self {
        Self { encoding, edits: Vec::new() }
    }

    /// A text in place of the value at `span`, written as the body writes texts.
    pub(super) fn put_text(&mut self, span: Span, text: &str) {
        let bytes = match self.encoding {
            Encoding::Json => quote(text),
            Encoding::Form => encode(text),
        };
        self.put(span, bytes);
    }

    /// Bytes in place of the value at `span`.
    pub(super) fn put(&mut self, span: Span, bytes: CleartextBody) {
        self.edits.push((span, bytes));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The body with all edits made; every other byte is as it was.
    pub(super) fn apply(&self, body: &[u8]) -> Result<CleartextBody, WireError> {
        let edits = self.edits.iter();
        let edits: Vec<Edit<'_>> =
            edits.map(|(span, bytes)| Edit { span: *span, bytes: bytes.as_bytes() }).collect();
        splice(body, &edits)
    }
}
