//! Edits collected while a document is read, spliced in at once.

use std::ops::Range;

use crate::secret::{CleartextBody, SecretBytes};
use crate::wire::{Edit, Encoding, Span, WireError, splice, write_encoded, write_quoted};

/// How many edits a request or an answer has, as a rule.
const EDITS: usize = 8;

/// Edits whose bytes are owned here until they are spliced in; wiped when dropped.
#[derive(Debug)]
pub(super) struct Changes {
    encoding: Encoding,
    /// What is put in, one behind the other.
    text: CleartextBody,
    edits: Vec<(Span, Range<usize>)>,
}

impl Changes {
    pub(super) fn to(encoding: Encoding) -> Self {
        Self { encoding, text: CleartextBody::new(), edits: Vec::new() }
    }

    /// A text in place of the value at `span`, written as the body writes texts.
    pub(super) fn put_text(&mut self, span: Span, text: &str) {
        let encoding = self.encoding;
        self.put(span, |body| match encoding {
            Encoding::Json => write_quoted(text, body),
            Encoding::Form => write_encoded(text, body),
        });
    }

    /// A secret in place of the value at `span`.
    pub(super) fn put_secret(&mut self, span: Span, secret: &SecretBytes) {
        secret.reveal(|value| self.put_text(span, &String::from_utf8_lossy(value)));
    }

    /// An object without members in place of the value at `span`.
    pub(super) fn put_empty_object(&mut self, span: Span) {
        self.put(span, |body| body.extend_from_slice(b"{}"));
    }

    fn put(&mut self, span: Span, write: impl FnOnce(&mut CleartextBody)) {
        self.edits.reserve(EDITS.saturating_sub(self.edits.len()).max(1));
        let start = self.text.len();
        write(&mut self.text);
        self.edits.push((span, start..self.text.len()));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The body with all edits made; every other byte is as it was.
    pub(super) fn apply(&self, body: &[u8]) -> Result<CleartextBody, WireError> {
        let text = self.text.as_bytes();
        let edits = self.edits.iter().map(|(span, bytes)| Edit {
            span: *span,
            bytes: text.get(bytes.clone()).unwrap_or_default(),
        });
        let mut edits: Vec<Edit<'_>> = edits.collect();
        // Profiles name fields in an order of their own.
        edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
        splice(body, &edits)
    }
}
