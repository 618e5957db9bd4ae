//! 160 bits as 27 characters of base 62, and a 32-bit checksum as six. One text for each value and
//! one value for each text: what would not fit into 160 bits is refused, not reduced.

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const FOREIGN: u8 = 0xff;
const VALUES: [u8; 256] = values();

/// Characters handled at a time: 62^10 is the largest power that fits into 64 bits.
const GROUP: usize = 10;
const GROUP_BASE: u128 = 62u128.pow(10);

/// How many bytes the text of [`BITS_BYTES`] takes.
pub(super) const BITS_CHARS: usize = 27;
pub(super) const BITS_BYTES: usize = 20;
/// How many characters a checksum takes.
pub(super) const SUM_CHARS: usize = 6;

const fn values() -> [u8; 256] {
    let mut values = [FOREIGN; 256];
    let mut index = 0u8;
    let mut rest = ALPHABET.as_slice();
    while let [letter, tail @ ..] = rest {
        if let Some((_, [slot, ..])) = values.split_at_mut_checked(*letter as usize) {
            *slot = index;
        }
        index += 1;
        rest = tail;
    }
    values
}

fn letter(value: u64) -> u8 {
    ALPHABET.get((value % 62) as usize).copied().unwrap_or(b'0')
}

fn value(letter: u8) -> Option<u64> {
    let value = VALUES.get(usize::from(letter)).copied().unwrap_or(FOREIGN);
    (value != FOREIGN).then_some(u64::from(value))
}

/// Writes a number, most significant character first, filling all of `text`.
fn write_number(mut number: u64, text: &mut [u8]) {
    for place in text.iter_mut().rev() {
        *place = letter(number);
        number /= 62;
    }
}

/// Reads a number of [`GROUP`] characters at most.
fn read_number(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0, |number, byte| Some(number * 62 + value(*byte)?))
}

/// Writes 160 bits.
pub(super) fn write_bits(bits: &[u8; BITS_BYTES], text: &mut [u8; BITS_CHARS]) {
    let [high, middle, low] = limbs(bits);
    // As on paper, in digits of 64 bits: from the right, the least significant group first.
    let (upper, rest) = divide(u128::from(high) << 64 | u128::from(middle));
    let (lower, last) = divide(u128::from(rest) << 64 | u128::from(low));
    let (first, second) = divide(upper << 64 | lower);
    let numbers = [last, second, first as u64];
    for (group, number) in text.rchunks_mut(GROUP).zip(numbers) {
        write_number(number, group);
    }
}

/// Quotient and remainder of a division by [`GROUP_BASE`].
fn divide(number: u128) -> (u128, u64) {
    let quotient = number / GROUP_BASE;
    (quotient, (number - quotient * GROUP_BASE) as u64)
}

/// Reads 160 bits; nothing when a character is foreign or the value is too large.
pub(super) fn read_bits(text: &[u8; BITS_CHARS]) -> Option<[u8; BITS_BYTES]> {
    let (first, groups) = text.split_first_chunk::<{ BITS_CHARS % GROUP }>()?;
    let (second, last) = groups.split_at_checked(GROUP)?;
    let upper = multiply_add(read_number(first)?, read_number(second)?);
    let lower = multiply_add(upper as u64, read_number(last)?);
    let upper = (upper >> 64) * GROUP_BASE + (lower >> 64);
    let high = u32::try_from(upper >> 64).ok()?;
    let mut bits = [0; BITS_BYTES];
    let (first, rest) = bits.split_first_chunk_mut()?;
    let (middle, last) = rest.split_first_chunk_mut()?;
    *first = high.to_be_bytes();
    *middle = (upper as u64).to_be_bytes();
    *last.first_chunk_mut()? = (lower as u64).to_be_bytes();
    Some(bits)
}

fn multiply_add(number: u64, group: u64) -> u128 {
    u128::from(number) * GROUP_BASE + u128::from(group)
}

/// The upper 32 bits, the next 64, the last 64.
fn limbs(bits: &[u8; BITS_BYTES]) -> [u64; 3] {
    let limb = |bytes: &[u8]| bytes.iter().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    let (high, rest) = bits.split_at(4);
    let (middle, low) = rest.split_at(8);
    [limb(high), limb(middle), limb(low)]
}

/// Writes a checksum.
pub(super) fn write_sum(sum: u32, text: &mut [u8; SUM_CHARS]) {
    write_number(u64::from(sum), text);
}

/// Reads a checksum; nothing when a character is foreign or the value is too large.
pub(super) fn read_sum(text: &[u8; SUM_CHARS]) -> Option<u32> {
    u32::try_from(read_number(text)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(bits: &[u8; BITS_BYTES]) -> String {
        let mut text = [0; BITS_CHARS];
        write_bits(bits, &mut text);
        String::from_utf8(text.to_vec()).unwrap()
    }

    #[test]
    fn the_ends_of_the_range_have_their_texts() {
        assert_eq!(written(&[0; 20]), "0".repeat(27));
        let mut one = [0; 20];
        one[19] = 61;
        assert_eq!(written(&one), format!("{}z", "0".repeat(26)));
        // 2^160 - 1, computed with arbitrary precision elsewhere.
        assert_eq!(written(&[0xff; 20]), LARGEST);
    }

    const LARGEST: &str = "aWgEPTl1tmebfsQzFP4bxwgy80V";

    #[test]
    fn a_value_beyond_160_bits_is_refused() {
        let mut text: [u8; 27] = LARGEST.as_bytes().try_into().unwrap();
        assert_eq!(read_bits(&text), Some([0xff; 20]));
        text[26] += 1;
        assert_eq!(read_bits(&text), None);
        assert_eq!(read_bits(b"zzzzzzzzzzzzzzzzzzzzzzzzzzz"), None);
        assert_eq!(read_sum(b"4gfFC3"), Some(u32::MAX));
        assert_eq!(read_sum(b"4gfFC4"), None);
    }

    #[test]
    fn characters_outside_the_alphabet_are_refused() {
        for foreign in *b"_-+/ \0\x80\xff@[`{:" {
            let mut text = *b"000000000000000000000000000";
            for place in [0, 1, 2, 13, 26] {
                text[place] = foreign;
                assert_eq!(read_bits(&text), None);
                text[place] = b'0';
            }
        }
    }

    proptest! {
        #[test]
        fn every_value_comes_back(bits: [u8; 20], sum: u32) {
            let mut text = [0; BITS_CHARS];
            write_bits(&bits, &mut text);
            prop_assert_eq!(read_bits(&text), Some(bits));
            let mut text = [0; SUM_CHARS];
            write_sum(sum, &mut text);
            prop_assert_eq!(read_sum(&text), Some(sum));
        }

        #[test]
        fn every_text_that_is_read_is_written_the_same(text in "[0-7][0-9A-Za-z]{26}") {
            let text: [u8; BITS_CHARS] = text.as_bytes().try_into().unwrap();
            if let Some(bits) = read_bits(&text) {
                let written = written(&bits);
                prop_assert_eq!(written.as_bytes(), &text);
            }
        }
    }
}
