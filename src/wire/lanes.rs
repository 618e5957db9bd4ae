//! Sixteen bytes at a time. In a mask a bit stands for a byte, the lowest one for the first.

use wide::u8x16;

use crate::secret::wipe;

/// Bytes that are looked at together.
const LANES: usize = 16;
/// Bytes that a mask tells about.
pub(super) const BLOCK: usize = 64;

/// What the bytes of a block are.
#[derive(Clone, Copy, Default)]
pub(super) struct Classes {
    /// ASCII digits.
    pub(super) digits: u64,
    /// What ends a row of digits: bytes of other scripts and letters, but not x, which masks are
    /// made of.
    pub(super) breaks: u64,
    /// Characters of base64, and the parenthesis.
    pub(super) base64: u64,
}

impl Classes {
    #[inline]
    fn of(bytes: &[u8; LANES]) -> Self {
        let bytes = u8x16::new(*bytes);
        let digits = up_to(bytes - u8x16::splat(b'0'), 9);
        let lower = bytes | u8x16::splat(0x20);
        let letters = up_to(lower - u8x16::splat(b'a'), 25);
        // Plus, hyphen and slash differ in two bits; the parenthesis that comes along does no harm.
        let signs = equal(bytes | u8x16::splat(6), b'/') | equal(bytes, b'_');
        Self {
            digits: mask(digits),
            // A mask is made of high bits, and ASCII has none.
            breaks: mask((letters ^ equal(lower, b'x')) | bytes),
            base64: mask(digits | letters | signs),
        }
    }

    /// Without the first bytes of sixteen.
    #[inline]
    fn behind(self, first: usize) -> Self {
        let Self { digits, breaks, base64 } = self;
        Self { digits: digits >> first, breaks: breaks >> first, base64: base64 >> first }
    }

    /// These, at this place of the block.
    #[inline]
    fn add(&mut self, classes: Self, place: usize) {
        self.digits |= classes.digits << place;
        self.breaks |= classes.breaks << place;
        self.base64 |= classes.base64 << place;
    }
}

/// The bytes in blocks, the last one perhaps not full: there is nothing in what it lacks.
#[inline]
pub(super) fn each_block(bytes: &[u8], mut take: impl FnMut(&Classes)) {
    let (blocks, rest) = bytes.as_chunks::<BLOCK>();
    for block in blocks {
        take(&full(block));
    }
    if !rest.is_empty() {
        take(&last(bytes, rest));
    }
}

#[inline]
fn full(bytes: &[u8]) -> Classes {
    let (lanes, _) = bytes.as_chunks::<LANES>();
    let mut classes = Classes::default();
    for (index, lanes) in lanes.iter().enumerate() {
        classes.add(Classes::of(lanes), index * LANES);
    }
    classes
}

/// The rest behind full blocks: its own full lanes, and the last ones of all bytes.
#[inline]
fn last(bytes: &[u8], rest: &[u8]) -> Classes {
    let mut classes = full(rest);
    let (lanes, odd) = rest.as_chunks::<LANES>();
    if !odd.is_empty() {
        let end = bytes.last_chunk().map(|last| Classes::of(last).behind(LANES - odd.len()));
        classes.add(end.unwrap_or_else(|| short(odd)), lanes.len() * LANES);
    }
    classes
}

/// All bytes, where they fill no lanes.
fn short(bytes: &[u8]) -> Classes {
    let mut lanes = [b' '; LANES];
    lanes.iter_mut().zip(bytes).for_each(|(lane, byte)| *lane = *byte);
    let classes = Classes::of(&lanes);
    wipe(&mut lanes);
    classes
}

/// How many bytes come before the next quote, backslash or control character.
#[inline]
pub(super) fn plain_prefix(bytes: &[u8]) -> usize {
    let (lanes, rest) = bytes.as_chunks::<LANES>();
    for (index, lanes) in lanes.iter().enumerate() {
        let special = special(u8x16::new(*lanes));
        if special != 0 {
            return index * LANES + special.trailing_zeros() as usize;
        }
    }
    let plain = rest.iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
    lanes.len() * LANES + plain
}

#[inline]
fn special(bytes: u8x16) -> u64 {
    mask(equal(bytes, b'"') | equal(bytes, b'\\') | up_to(bytes, 0x1f))
}

#[inline]
fn equal(bytes: u8x16, byte: u8) -> u8x16 {
    bytes.simd_eq(u8x16::splat(byte))
}

#[inline]
fn up_to(bytes: u8x16, most: u8) -> u8x16 {
    bytes.min(u8x16::splat(most)).simd_eq(bytes)
}

#[inline]
fn mask(bytes: u8x16) -> u64 {
    u64::from(bytes.to_bitmask())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_ends_at_every_special_byte_and_at_no_other() {
        for byte in 0..=255u8 {
            for place in 0..40 {
                let mut bytes = [b'x'; 40];
                bytes[place] = byte;
                let special = byte < 0x20 || byte == b'"' || byte == b'\\';
                assert_eq!(plain_prefix(&bytes), if special { place } else { 40 });
            }
        }
    }

    #[test]
    fn every_byte_is_told_in_its_place() {
        for byte in 0..=255u8 {
            for (len, place) in (1..130).flat_map(|len| [(len, 0), (len, len / 2), (len, len - 1)])
            {
                let mut bytes = vec![b' '; len];
                bytes[place] = byte;
                let (mut seen, mut at) = (Vec::new(), 0);
                each_block(&bytes, |classes| {
                    let Classes { digits, breaks, base64 } = *classes;
                    for (mask, name) in [(digits, 'd'), (breaks, 'b'), (base64, '6')] {
                        let places = (0..64).filter(|bit| mask >> bit & 1 == 1);
                        seen.extend(places.map(|bit| (at + bit, name)));
                    }
                    at += BLOCK;
                });
                let is_sign = matches!(byte, b'+' | b'-' | b'/' | b'_' | b')');
                let wanted = [
                    (byte.is_ascii_digit(), 'd'),
                    (
                        (byte.is_ascii_alphabetic() && !matches!(byte, b'x' | b'X'))
                            || !byte.is_ascii(),
                        'b',
                    ),
                    (byte.is_ascii_alphanumeric() || is_sign, '6'),
                ];
                let wanted: Vec<_> =
                    wanted.iter().filter(|(is, _)| *is).map(|(_, name)| (place, *name)).collect();
                assert_eq!(seen, wanted, "{byte} of {len}");
            }
        }
    }
}
