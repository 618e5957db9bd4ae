//! Runs of base64 and hexadecimal characters, and what they decode to.
//!
//! Decoding is forgiving on purpose: either alphabet, padded or not, broken into lines, beginning
//! at any character. Whoever wrote the run may have cut it; a card number in it stays one.

use super::Span;
use crate::secret::{CleartextBody, wipe};

/// Base64 of the shortest card number has this many characters.
pub(super) const BASE64_MIN: usize = 16;
/// So many hexadecimal digits write down the shortest card number.
const HEX_MIN: usize = 24;
/// How many ways base64 characters group into fours.
pub(super) const PHASES: usize = 4;

/// Not a base64 character.
const NONE: u8 = 0xff;
pub(super) const SEXTETS: [u8; 256] = sextets();

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

/// Rows of hexadecimal digits long enough for a card number inside a run; looks at few bytes while
/// there are none.
pub(super) fn hex_rows(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut probe = HEX_MIN - 1;
    let mut free = 0;
    std::iter::from_fn(move || {
        loop {
            if !run.get(probe)?.is_ascii_hexdigit() {
                (free, probe) = (probe + 1, probe + HEX_MIN);
                continue;
            }
            let start = probe - count_hex(run.get(free..probe)?.iter().rev());
            let end = probe + count_hex(run.get(probe..)?.iter());
            (free, probe) = (end, end + HEX_MIN);
            if end - start >= HEX_MIN {
                return run.get(start..end);
            }
        }
    })
}

/// A run's characters as numbers, to be decoded in each of its phases. Short runs, which most are,
/// need no allocation. The memory is wiped when it goes.
pub(super) struct Base64 {
    sextets: Room<SHORT>,
    len: usize,
    decoded: Room<{ SHORT / 4 * 3 }>,
}

/// The most characters that a short run has.
const SHORT: usize = 128;

/// Bytes in place, or elsewhere when they are too many.
enum Room<const N: usize> {
    Here([u8; N]),
    There(CleartextBody),
}

impl<const N: usize> Room<N> {
    fn of(len: usize) -> Self {
        if len <= N { Self::Here([0; N]) } else { Self::There(CleartextBody::from(vec![0; len])) }
    }

    fn bytes(&mut self) -> &mut [u8] {
        match self {
            Self::Here(bytes) => bytes,
            Self::There(bytes) => bytes.as_mut_bytes(),
        }
    }
}

impl<const N: usize> Drop for Room<N> {
    fn drop(&mut self) {
        if let Self::Here(bytes) = self {
            wipe(bytes);
        }
    }
}

impl Base64 {
    /// Reads a run; line breaks do not count.
    pub(super) fn of(run: &[u8]) -> Self {
        let mut sextets = Room::of(run.len());
        let mut len = 0;
        let found = run.iter().filter_map(|byte| sextet(*byte));
        for (sextet, slot) in found.zip(sextets.bytes()) {
            *slot = sextet;
            len += 1;
        }
        Self { sextets, len, decoded: Room::of(run.len().div_ceil(4) * 3) }
    }

    /// The bytes, if the encoding begins at character `phase`.
    pub(super) fn decode(&mut self, phase: usize) -> &[u8] {
        let sextets = self.sextets.bytes().get(phase..self.len).unwrap_or_default();
        let len = decode(sextets, self.decoded.bytes());
        self.decoded.bytes().get(..len).unwrap_or_default()
    }
}

/// The first bytes of a run, as many as there is room for, from its first character on.
pub(super) fn decode_start(run: &[u8], bytes: &mut [u8; 48]) -> usize {
    let mut sextets = [0; 64];
    let len = run.len().min(sextets.len());
    let read = run.iter().map(|byte| sextet(*byte).unwrap_or_default());
    sextets.iter_mut().zip(read).for_each(|(slot, sextet)| *slot = sextet);
    let len = decode(sextets.get(..len).unwrap_or_default(), bytes);
    wipe(&mut sextets);
    len
}

/// Joins the numbers to bytes and says how many there are; what is left of a byte is not one.
fn decode(sextets: &[u8], bytes: &mut [u8]) -> usize {
    let (fours, rest) = sextets.as_chunks::<4>();
    let (threes, _) = bytes.as_chunks_mut::<3>();
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
    fours.len() * 3 + rest.len().saturating_sub(1)
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

fn count_hex<'b>(bytes: impl Iterator<Item = &'b u8>) -> usize {
    bytes.take_while(|byte| byte.is_ascii_hexdigit()).count()
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

pub(super) fn sextet(byte: u8) -> Option<u8> {
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
                let mut base64 = Base64::of(shifted.trim_end_matches('=').as_bytes());
                base64.decode(3);
                prop_assert_eq!(base64.decode(shift), &bytes);
            }
        }
    }
}
