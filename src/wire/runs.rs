//! Runs of base64 and hexadecimal characters, and what they decode to.
//!
//! Decoding is forgiving on purpose: either alphabet, padded or not, broken into lines, beginning
//! at any character. Whoever wrote the run may have cut it; a card number in it stays one.

use super::Span;
use crate::secret::CleartextBody;

/// Base64 of the shortest card number has this many characters.
const BASE64_MIN: usize = 16;
/// So many hexadecimal digits write down the shortest card number.
const HEX_MIN: usize = 24;
/// How many ways base64 characters group into fours.
pub(super) const PHASES: usize = 4;

/// Not a base64 character.
const NONE: u8 = 0xff;
const SEXTETS: [u8; 256] = sextets();

/// The next run of at least [`BASE64_MIN`] characters, with the line breaks inside it. Looks at
/// every sixteenth byte only, as long as there is no run.
pub(super) fn next_run(bytes: &[u8], from: usize) -> Option<Span> {
    let (mut free, mut probe) = (from, from + BASE64_MIN - 1);
    while let Some(byte) = bytes.get(probe) {
        if !is_base64(*byte) {
            (free, probe) = (probe + 1, probe + BASE64_MIN);
            continue;
        }
        let start = probe - count_back(bytes.get(free..probe)?);
        let end = probe + count(bytes.get(probe..)?);
        if end - start >= BASE64_MIN {
            return Some(over_lines(bytes, from, Span { start, end }));
        }
        (free, probe) = (end, end + BASE64_MIN);
    }
    None
}

/// Rows of hexadecimal digits long enough for a card number inside a run.
pub(super) fn hex_rows(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    run.split(|byte| !byte.is_ascii_hexdigit()).filter(|row| row.len() >= HEX_MIN)
}

/// A run's characters as numbers, to be decoded in each of its phases. Its memory serves one run
/// after another and is wiped when it goes.
#[derive(Default)]
pub(super) struct Base64 {
    sextets: CleartextBody,
    len: usize,
    decoded: CleartextBody,
}

impl Base64 {
    /// Reads a run; line breaks do not count.
    pub(super) fn load(&mut self, run: &[u8]) {
        widen(&mut self.sextets, run.len());
        widen(&mut self.decoded, run.len() / 4 * 3 + 3);
        self.len = 0;
        let sextets = run.iter().filter_map(|byte| sextet(*byte));
        for (sextet, slot) in sextets.zip(self.sextets.as_mut_bytes()) {
            *slot = sextet;
            self.len += 1;
        }
    }

    /// The bytes, if the encoding begins at character `phase`.
    pub(super) fn decode(&mut self, phase: usize) -> &[u8] {
        let sextets = self.sextets.as_bytes().get(phase..self.len).unwrap_or_default();
        let (fours, rest) = sextets.as_chunks::<4>();
        let (threes, _) = self.decoded.as_mut_bytes().as_chunks_mut::<3>();
        let mut slots = threes.iter_mut();
        // The slots come second: a zip takes one too many from whatever comes first.
        for (four, slot) in fours.iter().zip(slots.by_ref()) {
            *slot = join(*four);
        }
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(slot, sextet)| *slot = *sextet);
        if let Some(slot) = slots.next() {
            *slot = join(last);
        }
        let len = fours.len() * 3 + rest.len().saturating_sub(1);
        self.decoded.as_bytes().get(..len).unwrap_or_default()
    }
}

/// Makes the buffer at least so long; what it held is wiped.
fn widen(buffer: &mut CleartextBody, len: usize) {
    if buffer.len() < len {
        *buffer = CleartextBody::from(vec![0; len.next_multiple_of(64)]);
    }
}

/// A row of hexadecimal digits as bytes, if the encoding begins at digit `phase`.
pub(super) fn decode_hex(row: &[u8], phase: usize) -> CleartextBody {
    let (pairs, _) = row.get(phase..).unwrap_or_default().as_chunks::<2>();
    let mut decoded = CleartextBody::with_capacity(pairs.len());
    let bytes = pairs.iter().filter_map(|pair| super::text::hex(pair));
    bytes.for_each(|byte| decoded.push(u8::try_from(byte).unwrap_or_default()));
    decoded
}

/// Takes the lines above and below that the run goes on in.
fn over_lines(bytes: &[u8], from: usize, run: Span) -> Span {
    let Span { mut start, mut end } = run;
    while let Some(above) = bytes.get(from..start) {
        let gap = above.iter().rev().take_while(|byte| is_space(**byte)).count();
        let line = count_back(above.get(..above.len() - gap).unwrap_or_default());
        let breaks = above.iter().rev().take(gap).any(|byte| is_break(*byte));
        if !breaks || line == 0 {
            break;
        }
        start -= gap + line;
    }
    while let Some(below) = bytes.get(end..) {
        let gap = below.iter().take_while(|byte| is_space(**byte)).count();
        let line = count(below.get(gap..).unwrap_or_default());
        if !below.iter().take(gap).any(|byte| is_break(*byte)) || line == 0 {
            break;
        }
        end += gap + line;
    }
    Span { start, end }
}

fn count(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_base64(**byte)).count()
}

fn count_back(bytes: &[u8]) -> usize {
    bytes.iter().rev().take_while(|byte| is_base64(**byte)).count()
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t') || is_break(byte)
}

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

fn is_base64(byte: u8) -> bool {
    sextet(byte).is_some()
}

fn sextet(byte: u8) -> Option<u8> {
    SEXTETS.get(usize::from(byte)).copied().filter(|sextet| *sextet != NONE)
}

fn join([a, b, c, d]: [u8; 4]) -> [u8; 3] {
    [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
}

/// Both alphabets of RFC 4648 in one table.
#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; every index is a byte")]
const fn sextets() -> [u8; 256] {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut table = [NONE; 256];
    let mut value = 0;
    while value < alphabet.len() {
        table[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    table[b'-' as usize] = 62;
    table[b'_' as usize] = 63;
    table
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
    use proptest::prelude::*;

    use super::*;

    fn runs(text: &str) -> Vec<&str> {
        let (mut runs, mut from) = (Vec::new(), 0);
        while let Some(run) = next_run(text.as_bytes(), from) {
            runs.push(&text[run.start..run.end]);
            from = run.end;
        }
        runs
    }

    #[test]
    fn runs_are_found_wherever_they_stand() {
        let run = "0123456789abcdef";
        for before in 0..40 {
            for after in [0, 1, 20] {
                let text = format!("{}{run}{}", "!".repeat(before), ".".repeat(after));
                assert_eq!(runs(&text), [run], "{before} {after}");
            }
        }
        assert_eq!(runs("0123456789abcde.0123456789abcde"), Vec::<&str>::new());
        assert_eq!(runs(&format!("ab.{run}.{run}=x{run}")).len(), 3);
    }

    #[test]
    fn a_run_goes_on_over_lines() {
        let text = "data: abc\r\n0123456789abcdefXYZ\r\n \tdef\nx. 0123";
        assert_eq!(runs(text), ["abc\r\n0123456789abcdefXYZ\r\n \tdef\nx"]);
    }

    #[test]
    fn hexadecimal_rows_are_found_inside_runs() {
        let row = "35".repeat(12);
        let run = format!("x{row}y{row}0/{}", "35".repeat(11));
        let found: Vec<_> = hex_rows(run.as_bytes()).map(<[u8]>::len).collect();
        assert_eq!(found, [24, 25]);
        assert_eq!(decode_hex(row.as_bytes(), 0).as_bytes(), [0x35; 12]);
        assert_eq!(decode_hex(row.as_bytes(), 1).as_bytes(), [0x53; 11]);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn decoding_agrees_with_the_reference(bytes in any::<Vec<u8>>(), shift in 0usize..4) {
            for encoded in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                let shifted = format!("{}{encoded}", "A".repeat(shift));
                let mut base64 = Base64::default();
                base64.load(&[b'z'; 700]);
                base64.load(shifted.trim_end_matches('=').as_bytes());
                prop_assert_eq!(base64.decode(shift), &bytes);
            }
        }
    }
}
