//! Whether card data hides in a run: base64, hexadecimal and compressed bytes, one inside another.
//!
//! The depth is bounded and so is the work: each layer is at most four readings of the one above.

use super::glance::may_hold;
use super::inflate::{self, Inflated, Inflater, Wrapping};
use super::runs::{self, Base64, PHASES};
use super::scan::Known;
use super::{fold, numbers};

/// How many encodings deep the search goes.
const DEPTH_MAX: usize = 2;
/// The shortest text that is worth a search: a verification value and what is around it.
const STRETCH: usize = 8;
/// How many layers of text disguise are undone.
pub(super) const FOLDS_MAX: usize = 4;

/// The search through the encoded layers of one body.
pub(super) struct Layers<'k> {
    known: &'k Known<'k>,
    inflater: Inflater,
}

impl<'k> Layers<'k> {
    pub(super) fn new(known: &'k Known<'k>, body_len: usize) -> Self {
        Self { known, inflater: Inflater::new(body_len) }
    }

    /// Whether the run, decoded in any way, holds card data or cannot be read to its end.
    pub(super) fn run_holds_card(&mut self, run: &[u8]) -> bool {
        self.run(run, 1)
    }

    fn run(&mut self, run: &[u8], depth: usize) -> bool {
        let in_base64 = may_hold(run, !self.known.cvvs.is_empty()) && self.base64(run, depth);
        in_base64 || runs::hex_rows(run).any(|row| self.hex_row(row, depth))
    }

    fn base64(&mut self, run: &[u8], depth: usize) -> bool {
        let mut base64 = Base64::of(run);
        (0..PHASES).any(|phase| self.decoded(base64.decode(phase), depth, phase))
    }

    fn hex_row(&mut self, row: &[u8], depth: usize) -> bool {
        (0..2).any(|phase| self.decoded(runs::decode_hex(row, phase).as_bytes(), depth, phase))
    }

    /// Searches decoded bytes as they are and inflated.
    fn decoded(&mut self, bytes: &[u8], depth: usize, phase: usize) -> bool {
        if has_text(bytes) && self.holds_card(bytes, depth) {
            return true;
        }
        let marked = inflate::streams(bytes)
            .any(|(stream, wrapping)| self.inflated_holds_card(stream, wrapping, depth));
        if marked || phase > 0 {
            return marked;
        }
        // A deflate stream without a header can only be tried, and only where a run begins. It is
        // never ASCII throughout; decoded text mostly is.
        (inflate::is_zlib(bytes) && self.inflated_holds_card(bytes, Wrapping::Zlib, depth))
            || (!bytes.is_ascii()
                && inflate::may_be_deflate(bytes)
                && self.inflated_holds_card(bytes, Wrapping::Raw, depth))
    }

    fn inflated_holds_card(&mut self, bytes: &[u8], wrapping: Wrapping, depth: usize) -> bool {
        match self.inflater.inflate(bytes, wrapping) {
            Inflated::Some(out, len) => {
                let found = self.holds_card(out.as_bytes().get(..len).unwrap_or_default(), depth);
                self.inflater.reuse(out);
                found
            }
            Inflated::Nothing => false,
            // What was not read to its end is not passed on, or a bomb would hide what follows it.
            Inflated::TooMuch => true,
        }
    }

    fn holds_card(&mut self, bytes: &[u8], depth: usize) -> bool {
        if self.layer_holds_card(bytes, depth) {
            return true;
        }
        let mut folded = fold::disguises(bytes);
        for _ in 0..FOLDS_MAX {
            let Some(layer) = folded else { return false };
            if self.layer_holds_card(layer.bytes(), depth) {
                return true;
            }
            folded = fold::disguises(layer.bytes());
        }
        false
    }

    fn layer_holds_card(&mut self, bytes: &[u8], depth: usize) -> bool {
        let mut found = false;
        numbers::each_hit(bytes, self.known, false, &mut |_| found = true);
        if found || depth == DEPTH_MAX {
            return found;
        }
        let mut from = 0;
        while let Some(run) = runs::next_run(bytes, from) {
            from = run.end;
            if bytes.get(run.start..run.end).is_some_and(|run| self.run(run, depth + 1)) {
                return true;
            }
        }
        false
    }
}

/// Whether card data can stand in the bytes without inflating them: a stretch of ASCII, or digits
/// enough, or text of another script. Bytes decoded in the wrong phase have none of it, as a rule.
fn has_text(bytes: &[u8]) -> bool {
    has_ascii(bytes)
        || bytes.iter().filter(|byte| byte.is_ascii_digit()).count() >= STRETCH
        || is_utf8_but_for_its_end(bytes)
}

/// Whether there are [`STRETCH`] bytes of ASCII in a row; looks at few bytes while there are not.
fn has_ascii(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some(stretch) = rest.get(..STRETCH) {
        let Some(last) = stretch.iter().rposition(|byte| !byte.is_ascii()) else { return true };
        rest = rest.get(last + 1..).unwrap_or_default();
    }
    false
}

fn is_utf8_but_for_its_end(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).err().is_none_or(|error| error.error_len().is_none())
}
