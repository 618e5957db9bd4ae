//! Inflating what looks compressed inside a decoded run, within a budget of output bytes.
//!
//! The budget belongs to a whole body, so that many small bombs do as little as a big one. What is
//! compressed and does not fit the budget counts as unreadable, and unreadable is withheld.

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_PARSE_ZLIB_HEADER, TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

use crate::secret::CleartextBody;

/// The most that is inflated for one body.
const BUDGET_MAX: usize = 256 * 1024;
/// What is inflated even for a very short body.
const BUDGET_MIN: usize = 16 * 1024;
/// So many times its length is inflated for a body.
const BUDGET_FACTOR: usize = 4;
/// How much room the output begins with.
const ROOM_MIN: usize = 512;
/// Every attempt costs this much, also one that yields nothing.
const ATTEMPT_COST: usize = 16;

/// How compressed bytes are wrapped.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrapping {
    /// RFC 1950.
    Zlib,
    /// RFC 1951, without a header to know it by.
    Raw,
    /// RFC 1952.
    Gzip,
}

/// What became of an attempt.
pub(super) enum Inflated {
    /// So many bytes came out, up to the end or to the first mistake; those behind them are stale.
    Some(CleartextBody, usize),
    /// Nothing came out.
    Nothing,
    /// More would have come out than the budget allows.
    TooMuch,
}

/// Inflates for one body.
pub(super) struct Inflater {
    budget: usize,
    machine: Option<Box<DecompressorOxide>>,
    /// Used again and again; grows when a stream yields more, and is wiped when it goes.
    out: CleartextBody,
}

impl Inflater {
    pub(super) fn new(body_len: usize) -> Self {
        let budget = body_len.saturating_mul(BUDGET_FACTOR).clamp(BUDGET_MIN, BUDGET_MAX);
        Self { budget, machine: None, out: CleartextBody::new() }
    }

    /// Inflates as far as it goes: a stream that was cut short has shown its beginning. The caller
    /// gives the output back by [`Inflater::reuse`].
    pub(super) fn inflate(&mut self, bytes: &[u8], wrapping: Wrapping) -> Inflated {
        let (stream, flags) = match wrapping {
            Wrapping::Zlib => (Some(bytes), TINFL_FLAG_PARSE_ZLIB_HEADER),
            Wrapping::Raw => (Some(bytes), 0),
            Wrapping::Gzip => (gzip_stream(bytes), 0),
        };
        let Some(stream) = stream else { return Inflated::Nothing };
        if self.budget == 0 {
            return Inflated::TooMuch;
        }
        let (status, len) = self.run(stream, flags | TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF);
        self.budget = self.budget.saturating_sub(len.max(ATTEMPT_COST));
        match status {
            TINFLStatus::HasMoreOutput => Inflated::TooMuch,
            _ if len == 0 => Inflated::Nothing,
            _ => Inflated::Some(std::mem::take(&mut self.out), len),
        }
    }

    /// Takes the output's memory back for the next attempt.
    pub(super) fn reuse(&mut self, out: CleartextBody) {
        self.out = out;
    }

    /// Most attempts fail within a few bytes, so the output begins small.
    fn run(&mut self, stream: &[u8], flags: u32) -> (TINFLStatus, usize) {
        let machine = self.machine.get_or_insert_default();
        machine.init();
        let (mut read, mut len) = (0, 0);
        loop {
            if len == self.out.len() {
                let room = self.out.len().saturating_mul(4).max(ROOM_MIN);
                grow(&mut self.out, room.min(self.budget));
            }
            let within = self.out.len().min(self.budget);
            let out = self.out.as_mut_bytes().get_mut(..within).unwrap_or_default();
            let rest = stream.get(read..).unwrap_or_default();
            let (status, took, gave) = decompress(machine, rest, out, len, flags);
            read += took;
            len += gave;
            if status != TINFLStatus::HasMoreOutput || len >= self.budget {
                return (status, len);
            }
        }
    }
}

fn grow(out: &mut CleartextBody, room: usize) {
    let more = room.saturating_sub(out.len());
    out.extend_from_slice(&vec![0; more]);
}

impl Drop for Inflater {
    fn drop(&mut self) {
        // It keeps no output, but the last bits of its input.
        if let Some(machine) = &mut self.machine {
            machine.init();
        }
    }
}

/// Every place in decoded bytes where a compressed stream may begin, and its wrapping.
pub(super) fn streams(bytes: &[u8]) -> impl Iterator<Item = (&[u8], Wrapping)> {
    memchr::memchr2_iter(0x78, 0x1f, bytes).filter_map(|at| {
        let rest = bytes.get(at..)?;
        match rest {
            // Levels as every library writes them; no preset dictionary.
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, ..] => Some((rest, Wrapping::Zlib)),
            [0x1f, 0x8b, 0x08, ..] => Some((rest, Wrapping::Gzip)),
            _ => None,
        }
    })
}

/// Whether the bytes begin with a zlib header of any window size (RFC 1950 §2.2).
pub(super) fn is_zlib(bytes: &[u8]) -> bool {
    let [method, flags, ..] = bytes else { return false };
    let check = u32::from(*method) * 256 + u32::from(*flags);
    method & 0x0f == 8 && *method < 0x78 && flags & 0x20 == 0 && check.is_multiple_of(31)
}

/// Whether a deflate stream may begin here (RFC 1951 §3.2): a cheap look at the first block that
/// hardly any other bytes stand, so that the machine is set up for little else.
pub(super) fn may_be_deflate(bytes: &[u8]) -> bool {
    let mut bits = Bits { rest: bytes, word: 0, left: 0 };
    let is_last = bits.take(1) == 1;
    match bits.take(2) {
        0 => matches!(bytes, [_, a, b, c, d, ..] if (a ^ c) & (b ^ d) == 0xff),
        1 => may_be_fixed(bits, is_last),
        2 => may_be_dynamic(bits),
        _ => false,
    }
}

/// Bits from the lowest of each byte on; zeros behind the end.
struct Bits<'a> {
    rest: &'a [u8],
    word: u32,
    left: u32,
}

impl Bits<'_> {
    /// At most 15 bits.
    fn take(&mut self, count: u32) -> u32 {
        while self.left < count
            && let Some((byte, rest)) = self.rest.split_first()
        {
            self.word |= u32::from(*byte) << self.left;
            (self.rest, self.left) = (rest, self.left + 8);
        }
        let taken = self.word & ((1 << count) - 1);
        self.word >>= count;
        self.left = self.left.saturating_sub(count);
        taken
    }

    /// Codes are written from their highest bit on (RFC 1951 §3.1.1).
    fn code(&mut self, count: u32) -> u32 {
        self.take(count).reverse_bits() >> (32 - count)
    }
}

/// The first symbols of a block with the fixed codes (RFC 1951 §3.2.6) repeat only what is there.
fn may_be_fixed(mut bits: Bits<'_>, is_last: bool) -> bool {
    let mut out = 0u32;
    for _ in 0..SYMBOLS {
        let code = bits.code(7);
        let length = match code {
            0 => return bits.rest.is_empty() || !is_last || out >= OUT_MIN,
            1..24 => length(code - 1, &mut bits),
            96..100 => length((code - 96) * 2 + bits.take(1) + 23, &mut bits),
            // A literal has one or two bits more.
            _ => {
                bits.take(1 + u32::from(code >= 100));
                out += 1;
                continue;
            }
        };
        let is_there = distance(&mut bits).is_some_and(|distance| distance <= out);
        if bits.rest.is_empty() {
            return true;
        }
        if !is_there || length.is_none() {
            return false;
        }
        out += length.unwrap_or_default();
    }
    true
}

/// So many symbols tell a stream from other bytes.
const SYMBOLS: usize = 32;
/// Fewer bytes are no card number.
const OUT_MIN: u32 = 12;

fn length(code: u32, bits: &mut Bits<'_>) -> Option<u32> {
    match code {
        0..8 => Some(3 + code),
        8..28 => {
            let extra = code / 4 - 1;
            Some(3 + ((4 + code % 4) << extra) + bits.take(extra))
        }
        28 => Some(258),
        _ => None,
    }
}

fn distance(bits: &mut Bits<'_>) -> Option<u32> {
    match bits.code(5) {
        code @ 0..4 => Some(1 + code),
        code @ 4..30 => {
            let extra = code / 2 - 1;
            Some(1 + ((2 + code % 2) << extra) + bits.take(extra))
        }
        _ => None,
    }
}

/// The counts are within their limits and the code that codes the lengths is complete.
fn may_be_dynamic(mut bits: Bits<'_>) -> bool {
    let (literals, distances, codes) = (bits.take(5), bits.take(5), bits.take(4) + 4);
    let lengths = (0..codes).map(|_| bits.take(3)).filter(|length| *length > 0);
    let taken: u32 = lengths.map(|length| 128 >> length).sum();
    literals <= 29 && distances <= 29 && taken == 128
}

/// What follows the header (RFC 1952 §2.3).
fn gzip_stream(bytes: &[u8]) -> Option<&[u8]> {
    let flags = *bytes.get(3)?;
    let mut rest = bytes.get(10..)?;
    if flags & 4 != 0 {
        let len = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        rest = rest.get(2 + usize::from(len)..)?;
    }
    for text in [8, 16] {
        if flags & text != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if flags & 2 != 0 { rest.get(2..) } else { Some(rest) }
}

#[cfg(test)]
mod tests {
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};

    use super::*;

    fn out(inflated: Inflated) -> Option<Vec<u8>> {
        match inflated {
            Inflated::Some(body, len) => Some(body.as_bytes()[..len].to_vec()),
            Inflated::Nothing => Some(Vec::new()),
            Inflated::TooMuch => None,
        }
    }

    #[test]
    fn a_stream_is_inflated_in_every_wrapping() {
        let raw = compress_to_vec(b"hello hello hello", 6);
        let zlib = compress_to_vec_zlib(b"hello hello hello", 6);
        let header = [0x1f, 0x8b, 8, 4 | 8 | 16 | 2, 0, 0, 0, 0, 0, 0, 2, 0, b'x', b'y'];
        let gzip = [&header[..], b"name\0comment\0", &[1, 2], &raw].concat();
        let mut inflater = Inflater::new(1000);
        for (bytes, wrapping) in
            [(raw, Wrapping::Raw), (zlib, Wrapping::Zlib), (gzip, Wrapping::Gzip)]
        {
            let expected = Some(b"hello hello hello".to_vec());
            assert_eq!(out(inflater.inflate(&bytes, wrapping)), expected);
        }
    }

    #[test]
    fn every_stream_may_be_one_and_few_other_bytes_may() {
        let texts = [
            "4111111111111111",
            "<acctID>5519283812030000</acctID>",
            "a b c d e f g h i 55",
            &"ab1".repeat(99),
        ];
        for (text, level) in texts.iter().flat_map(|text| (0..=10).map(move |level| (text, level)))
        {
            assert!(may_be_deflate(&compress_to_vec(text.as_bytes(), level)), "{text} {level}");
        }
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            seed >> 32
        };
        let passed = (0..4000).filter(|_| {
            let bytes: Vec<u8> = (0..16).flat_map(|_| (next() as u16).to_le_bytes()).collect();
            may_be_deflate(&bytes)
        });
        assert!(passed.count() < 60);
    }

    #[test]
    fn a_stream_that_was_cut_shows_its_beginning() {
        let text: Vec<u8> = (0..2000u32).flat_map(|n| (n * n).to_be_bytes()).collect();
        let zlib = compress_to_vec_zlib(&text, 6);
        let found = out(Inflater::new(9000).inflate(&zlib[..zlib.len() / 2], Wrapping::Zlib));
        let found = found.unwrap();
        assert!(found.len() > 1000 && text.starts_with(&found));
    }

    #[test]
    fn a_bomb_is_too_much_and_so_is_everything_after_it() {
        let bomb = compress_to_vec_zlib(&vec![0; 10 << 20], 9);
        let mut inflater = Inflater::new(bomb.len());
        assert!(out(inflater.inflate(&bomb, Wrapping::Zlib)).is_none());
        let small = compress_to_vec_zlib(b"small", 9);
        assert!(out(inflater.inflate(&small, Wrapping::Zlib)).is_none());
    }

    #[test]
    fn streams_are_found_inside_other_bytes() {
        let bytes = b"x\x78\x9c..\x1f\x8b\x08..\x78\x02\x1f\x8b";
        let found: Vec<_> = streams(bytes).map(|(rest, _)| bytes.len() - rest.len()).collect();
        assert_eq!(found, [1, 5]);
        assert!(is_zlib(&[0x48, 0x89]) && is_zlib(&[0x68, 0x81]) && !is_zlib(&[0x48, 0x88]));
    }
}
