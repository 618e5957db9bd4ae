//! Replacing ranges of a body and leaving every other byte as it was.

use super::{Category, Span, WireError};
use crate::secret::CleartextBody;

/// New bytes for a range; an empty range inserts.
#[derive(Clone, Copy)]
pub struct Edit<'b> {
    /// What is replaced.
    pub span: Span,
    /// What takes its place.
    pub bytes: &'b [u8],
}

impl std::fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Edit({:?})", self.span)
    }
}

/// Applies the edits, given in any order, in one pass into one allocation. Edits at one place keep
/// the order they were given in.
///
/// # Errors
/// When an edit lies outside the body or two overlap. Nothing is changed then.
pub fn splice(body: &[u8], edits: &[Edit<'_>]) -> Result<CleartextBody, WireError> {
    if edits.is_sorted_by_key(place) {
        return apply(body, edits);
    }
    let mut sorted = edits.to_vec();
    sorted.sort_by_key(place);
    apply(body, &sorted)
}

fn place(edit: &Edit<'_>) -> (usize, usize) {
    (edit.span.start, edit.span.end)
}

fn apply(body: &[u8], edits: &[Edit<'_>]) -> Result<CleartextBody, WireError> {
    let mut spliced = CleartextBody::with_capacity(checked_len(body, edits)?);
    let mut copied = 0;
    for edit in edits {
        spliced.extend_from_slice(body.get(copied..edit.span.start).unwrap_or_default());
        spliced.extend_from_slice(edit.bytes);
        copied = edit.span.end;
    }
    spliced.extend_from_slice(body.get(copied..).unwrap_or_default());
    Ok(spliced)
}

/// The exact length of the result, once every edit is known to fit.
fn checked_len(body: &[u8], edits: &[Edit<'_>]) -> Result<usize, WireError> {
    let mut len = body.len();
    let mut free_from = 0;
    for Edit { span, bytes } in edits {
        if span.start > span.end || span.end > body.len() {
            return Err(WireError::at(Category::SpliceRange, body, span.start));
        }
        if span.start < free_from {
            return Err(WireError::at(Category::SpliceOverlap, body, span.start));
        }
        free_from = span.end;
        len = len - span.len() + bytes.len();
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit(start: usize, end: usize, bytes: &[u8]) -> Edit<'_> {
        Edit { span: Span { start, end }, bytes }
    }

    fn category(edits: &[Edit<'_>]) -> Category {
        splice(b"0123456789", edits).err().unwrap().category
    }

    #[test]
    fn edits_apply_in_any_order() {
        let edits = [edit(8, 9, b""), edit(0, 0, b"<"), edit(2, 5, b"xyzzy"), edit(10, 10, b">")];
        assert_eq!(splice(b"0123456789", &edits).unwrap().as_bytes(), b"<01xyzzy5679>");
        assert_eq!(splice(b"same", &[]).unwrap().as_bytes(), b"same");
    }

    #[test]
    fn the_result_is_allocated_once() {
        let spliced = splice(b"0123456789", &[edit(2, 3, &[b'x'; 500])]).unwrap();
        assert_eq!(spliced.capacity(), spliced.len());
    }

    #[test]
    fn edits_that_overlap_or_leave_the_body_are_refused() {
        assert_eq!(category(&[edit(2, 5, b""), edit(4, 6, b"")]), Category::SpliceOverlap);
        assert_eq!(category(&[edit(2, 5, b""), edit(3, 3, b"")]), Category::SpliceOverlap);
        assert_eq!(category(&[edit(2, 5, b""), edit(2, 5, b"")]), Category::SpliceOverlap);
        assert_eq!(category(&[edit(9, 11, b"")]), Category::SpliceRange);
        assert_eq!(category(&[edit(3, 2, b"")]), Category::SpliceRange);
        assert_eq!(category(&[edit(usize::MAX, usize::MAX, b"")]), Category::SpliceRange);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn every_byte_outside_the_edits_stays(
            parts in prop::collection::vec(any::<(Vec<u8>, Vec<u8>, Vec<u8>)>(), 0..8),
            tail in any::<Vec<u8>>(),
            turn in 0usize..8,
        ) {
            let (mut body, mut expected, mut edits) = (Vec::new(), Vec::new(), Vec::new());
            for (kept, replaced, new) in &parts {
                body.extend_from_slice(kept);
                expected.extend_from_slice(kept);
                edits.push(edit(body.len(), body.len() + replaced.len(), new));
                body.extend_from_slice(replaced);
                expected.extend_from_slice(new);
            }
            body.extend_from_slice(&tail);
            expected.extend_from_slice(&tail);
            // Edits at one place keep their order, so only those at different places may move.
            if edits.windows(2).all(|pair| pair[0].span.start < pair[1].span.start) {
                let len = edits.len().max(1);
                edits.rotate_left(turn % len);
            }
            let spliced = splice(&body, &edits).unwrap();
            prop_assert_eq!(spliced.as_bytes(), &expected);
        }
    }
}
