//! First looks that let most texts and most runs of base64 pass without being searched.
//!
//! A look may say "search it" of something harmless; it must never let anything pass in which the
//! search would find card data. Texts are looked at in blocks (`lanes`), runs in one walk over
//! their characters, without decoding them.

use super::lanes::{self, Classes};
use super::runs::{self, sextet};
use super::{Span, inflate, issuer, known};
use crate::secret::wipe;

/// What a text is made of, as far as it says whether a search can find anything.
#[derive(Clone, Copy, Default)]
pub(super) struct Glance {
    /// The most ASCII digits with no byte of another script between them and no letter but x, which
    /// masks are made of; below [`known::PART_MIN`] it may be said too high.
    pub(super) digits: usize,
    /// Where the only row of at least so many digits begins, if the text is short enough.
    pub(super) row: Option<usize>,
    /// Whether a run of base64 characters may be long enough to hold anything.
    pub(super) has_run: bool,
}

impl Glance {
    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut walk = Walk::default();
        lanes::each_block(bytes, |classes| walk.take(classes));
        let is_known = walk.rows == 1 && bytes.len() <= lanes::BLOCK;
        let row = is_known.then_some(walk.row as usize);
        Self { digits: walk.most as usize, row, has_run: walk.has_run }
    }
}

/// Fewer digits in a row than these are not counted, and told as one less: that has whoever looks
/// for less search.
const ROW_MIN: u32 = known::PART_MIN as u32;
const _: () = assert!(known::PART_MIN <= issuer::LEN_MIN);

/// Rows and runs so far, over the borders of blocks.
#[derive(Default)]
struct Walk {
    /// Digits since the last letter.
    digits: u32,
    most: u32,
    /// How many long rows were seen inside blocks, and the last one's place in its block.
    rows: u32,
    row: u32,
    /// Characters of base64 at the end of the last block.
    run: u32,
    has_run: bool,
}

impl Walk {
    #[inline]
    fn take(&mut self, classes: &Classes) {
        self.rows(classes.digits, classes.breaks);
        self.runs(classes.base64);
    }

    #[inline]
    fn rows(&mut self, digits: u64, breaks: u64) {
        if digits != 0 {
            self.most = self.most.max(ROW_MIN - 1);
            if self.digits > 0 {
                let before = digits & below_lowest(breaks);
                self.most = self.most.max(self.digits + before.count_ones());
            }
            self.long_rows(digits, breaks);
        }
        let behind = digits & u64::MAX.unbounded_shl(64 - breaks.leading_zeros());
        // Mostly none, and counting costs a dozen steps.
        let more = if behind == 0 { 0 } else { behind.count_ones() };
        self.digits = if breaks == 0 { self.digits + more } else { more };
    }

    /// Rows inside a block, in the stretches without a break that have room for one.
    #[inline]
    fn long_rows(&mut self, digits: u64, breaks: u64) {
        let mut places = begins_row::<ROW_MIN>(!breaks);
        while places != 0 {
            let start = places.trailing_zeros();
            let stretch = below_lowest(breaks >> start) << start;
            let count = (digits & stretch).count_ones();
            self.most = self.most.max(count);
            if count >= ROW_MIN {
                (self.rows, self.row) = (self.rows + 1, start);
            }
            places &= !stretch;
        }
    }

    fn runs(&mut self, base64: u64) {
        let ahead = self.run + (!base64).trailing_zeros();
        let inside = begins_row::<{ runs::BASE64_MIN as u32 }>(base64) != 0;
        self.has_run |= inside || ahead as usize >= runs::BASE64_MIN;
        self.run = base64.leading_ones();
    }
}

/// Calls `row` for every stretch of at least [`known::PART_MIN`] digits with neither a letter other
/// than x nor a byte of another script between them, with how many digits it has.
pub(super) fn each_row(bytes: &[u8], mut row: impl FnMut(Span, usize)) {
    let (mut block, mut start, mut digits) = (0, 0, 0);
    let mut told = |start: usize, end: usize, digits: u32| {
        if digits >= ROW_MIN {
            row(Span { start, end }, digits as usize);
        }
    };
    lanes::each_block(bytes, |classes| {
        let breaks = classes.breaks;
        if breaks == 0 {
            digits += classes.digits.count_ones();
        } else {
            let (first, behind) = (breaks.trailing_zeros(), 64 - breaks.leading_zeros());
            let ahead = (classes.digits & below_lowest(breaks)).count_ones();
            told(start, block + first as usize, digits + ahead);
            let between = !breaks & u64::MAX.unbounded_shl(first) & !u64::MAX.unbounded_shl(behind);
            let mut places = begins_row::<ROW_MIN>(between);
            while places != 0 {
                let at = places.trailing_zeros();
                let stretch = below_lowest(breaks >> at) << at;
                let end = at + stretch.count_ones();
                told(
                    block + at as usize,
                    block + end as usize,
                    (classes.digits & stretch).count_ones(),
                );
                places &= !stretch;
            }
            start = block + behind as usize;
            digits = (classes.digits & u64::MAX.unbounded_shl(behind)).count_ones();
        }
        block += lanes::BLOCK;
    });
    told(start, bytes.len(), digits);
}

/// All bits below the lowest one that is set; all there are when none is.
#[inline]
const fn below_lowest(bits: u64) -> u64 {
    (bits & bits.wrapping_neg()).wrapping_sub(1)
}

/// The places from which on so many bits are set.
#[inline]
fn begins_row<const LEN: u32>(bits: u64) -> u64 {
    // A longer one could go over more than one border.
    const { assert!(LEN <= u64::BITS) };
    let (mut places, mut reach) = (bits, 1);
    while reach < LEN {
        // What is known of `reach` bits says it of twice as many, but not of more than are asked.
        let step = reach.min(LEN - reach);
        places &= places >> step;
        reach += step;
    }
    places
}

/// The first character of two in which a compressed stream's header can begin; the second ones
/// have the same bits, [`SECOND`] higher. Each header stands at three places within four
/// characters: `78 01`, `78 5e`, `78 9c` and `78 da` of zlib, `1f 8b` of gzip.
const PAIRS: [(&[u8], &[u8]); 9] = [
    (b"e", b"AFJN"),
    (b"g", b"B"),
    (b"h", b"e"),
    (b"i", b"c"),
    (b"j", b"a"),
    (b"4", b"AXn2"),
    (b"H", b"4"),
    (b"+-", b"L"),
    (b"f", b"i"),
];
const SECOND: u32 = 9;
/// The first six bits of an ASCII digit: `M`, `N`, `O`. Of three digits in a row, or with the same
/// number of bytes between them unless it makes three, one begins where a character begins.
const DIGIT: u32 = 1 << DIGIT_BIT;
const DIGIT_BIT: u32 = 31;
/// So many digits of a number begin where a character begins: of three groups of four, whatever
/// stands between them, each has one.
const DIGITS_MIN: u32 = 3;
/// The first six bits of ASCII.
const ASCII: u32 = 1 << ASCII_BIT;
const ASCII_BIT: u32 = 30;
/// A character of base64.
const BASE64: u32 = 1 << 29;
const CLASSES: [u32; 256] = classes();

/// From so many characters on a run has room for twelve digits of another script.
const FOREIGN_MIN: usize = 32;
/// From so many characters on a run has room for twelve digits with two bytes behind each.
const SPACED_MIN: usize = 44;
/// So many digits with something between them are looked for.
const SPACED: usize = 8;

/// Whether a run, decoded from any of its characters on, can hold text with digits, text that is
/// encoded again, or a compressed stream. Rows of hexadecimal digits are not looked at.
pub(super) fn may_hold(run: &[u8], has_cvv: bool) -> bool {
    let mut look = Look { each: BASE64, ascii: [ALL, 0, 0, 0], ..Look::default() };
    let (fours, rest) = run.as_chunks::<4>();
    fours.iter().for_each(|four| look.take(*four, 0));
    let mut last = [b'/'; 4];
    last.iter_mut().zip(rest).for_each(|(slot, byte)| *slot = *byte);
    look.take(last, ALL << rest.len() & ALL);
    look.take([b'/'; 4], ALL);
    let foreign_min = if has_cvv { 0 } else { FOREIGN_MIN };
    // A run with line breaks inside is not looked at further: its characters are not neighbours.
    let is_broken = look.each & BASE64 == 0;
    is_broken
        || look.pairs != 0
        || look.text != 0
        || look.digits >= DIGITS_MIN
        || (has_cvv && look.cvv != 0)
        || (run.len() >= foreign_min && (0..runs::PHASES).any(|phase| begins_utf8(run, phase)))
        || (run.len() >= SPACED_MIN && has_spaced_digits(run))
        || begins_deflate(run)
}

/// What a walk over the characters has seen.
#[derive(Default)]
struct Look {
    /// What all of them are.
    each: u32,
    /// Which headers may begin.
    pairs: u32,
    before: u32,
    digits: u32,
    /// For each of four phases, whether a byte of ASCII begins there; of this four and those
    /// before.
    ascii: [u32; 4],
    text: u32,
    /// Where digits begin, of the four before.
    digit: u32,
    cvv: u32,
}

/// All four phases.
const ALL: u32 = 0b1111;

impl Look {
    /// `missing` are those behind the end of the run.
    fn take(&mut self, four: [u8; 4], missing: u32) {
        let [a, b, c, d] = four.map(class);
        self.each &= a & b & c & d;
        // No other bits meet: those above the seconds are shifted out.
        self.pairs |=
            self.before << SECOND & a | a << SECOND & b | b << SECOND & c | c << SECOND & d;
        self.before = d;
        self.digits += (a >> DIGIT_BIT) + (b >> DIGIT_BIT) + (c >> DIGIT_BIT) + (d >> DIGIT_BIT);
        let bit = |class: u32, place: u32| class >> (ASCII_BIT - place) & 1 << place;
        let here = bit(a, 0) | bit(b, 1) | bit(c, 2) | bit(d, 3);
        let [one, two, three, four] = self.ascii;
        // Sixteen bytes of ASCII have the beginnings of five characters, four apart.
        self.text |= here & one & two & three & four;
        // Three digits with text around them: one of them begins a character, and so does a byte of
        // text, or nothing, four characters before it and behind.
        self.cvv |= self.digit & two & (here | missing);
        let digit = |class: u32, place: u32| class >> DIGIT_BIT << place;
        self.digit = digit(a, 0) | digit(b, 1) | digit(c, 2) | digit(d, 3);
        self.ascii = [here, one, two, three];
    }
}

/// Whether the run begins with a compressed stream that no marked header announces.
fn begins_deflate(run: &[u8]) -> bool {
    let [first, second, ..] = run else { return false };
    let (first, second) = (sextet(*first).unwrap_or(0), sextet(*second).unwrap_or(0));
    // Two bits of the first byte say how a block is written; both set say that it is none.
    if first & 1 == 1 && second & 0x20 != 0 {
        return false;
    }
    let mut bytes = [0; 48];
    let len = runs::decode_start(run, &mut bytes);
    let start = bytes.get(..len).unwrap_or_default();
    let begins = inflate::is_zlib(start) || inflate::may_be_deflate(start);
    wipe(&mut bytes);
    begins
}

/// Whether what the run decodes to can be UTF-8 from its first to its last byte: looks at the
/// first two bytes of every three, and mostly at the first of them only.
fn begins_utf8(run: &[u8], phase: usize) -> bool {
    let (fours, _) = run.get(phase..).unwrap_or_default().as_chunks::<4>();
    fours.iter().all(|[first, second, ..]| {
        let (first, second) = (sextet(*first).unwrap_or(0), sextet(*second).unwrap_or(0));
        let is_continued = second >> 2 & 3 == 2;
        match first {
            0..32 => !is_continued,
            32..48 => true,
            _ => is_continued,
        }
    }) && fours.first().is_some_and(|four| !matches!(sextet(four[0]), Some(32..48)))
}

/// Digits whose distance is a multiple of three bytes may all begin inside a character.
fn has_spaced_digits(run: &[u8]) -> bool {
    let seconds = run.iter().filter(|byte| matches!(byte, b'D' | b'T' | b'j' | b'z')).count();
    let pairs = run.iter().zip(run.iter().skip(1));
    let thirds = pairs.filter(|(before, digit)| {
        let begins = sextet(**before).is_some_and(|bits| bits & 3 == 0);
        begins && matches!(sextet(**digit), Some(48..58))
    });
    seconds >= SPACED || thirds.count() >= SPACED
}

fn class(byte: u8) -> u32 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

#[expect(clippy::indexing_slicing, reason = "evaluated by the compiler; every index is a byte")]
const fn classes() -> [u32; 256] {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let sextet = runs::SEXTETS[byte];
        if sextet < 64 {
            classes[byte] |= BASE64;
        }
        if sextet < 32 {
            classes[byte] |= ASCII;
        }
        if matches!(sextet, 12..15) {
            classes[byte] |= DIGIT;
        }
        byte += 1;
    }
    let mut pair = 0;
    while pair < PAIRS.len() {
        let (firsts, seconds) = PAIRS[pair];
        let mut at = 0;
        while at < firsts.len() {
            classes[firsts[at] as usize] |= 1 << pair;
            at += 1;
        }
        at = 0;
        while at < seconds.len() {
            classes[seconds[at] as usize] |= 1 << (pair as u32 + SECOND);
            at += 1;
        }
        pair += 1;
    }
    classes
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
    use miniz_oxide::deflate::{compress_to_vec, compress_to_vec_zlib};
    use proptest::prelude::*;

    use super::*;

    const PAN: &str = "5519283812030000";

    fn joined(between: &str) -> Vec<u8> {
        PAN.chars().flat_map(|digit| format!("{digit}{between}").into_bytes()).collect()
    }

    fn grouped(between: &str) -> Vec<u8> {
        [&PAN[..4], &PAN[4..8], &PAN[8..12], &PAN[12..]].join(between).into_bytes()
    }

    /// The number in bytes, as a provider may write it.
    fn written() -> Vec<Vec<u8>> {
        let scripts = [0xff10, 0x660, 0x966, 0x1d7d8].map(|zero: u32| {
            let shift = |digit: char| char::from_u32(zero + digit.to_digit(10).unwrap()).unwrap();
            PAN.chars().map(shift).collect::<String>().into_bytes()
        });
        let mut all = vec![joined(""), joined("\0"), joined("\0\0\0"), joined(" "), joined(" - ")];
        for between in [" ", "-", ", ", "\u{a0}", "\u{200b}", "\u{ad}", "%20", "<wbr>"] {
            all.push(grouped(between));
        }
        all.extend(["\u{a0}", "\u{200b}", "\u{fe0f}\u{20e3}", "&nbsp;"].map(joined));
        all.extend(scripts);
        for escape in ["%", "&#x", "\\u00", "\\x"] {
            let digit = |digit: u8| format!("{escape}{digit:02x}").into_bytes();
            all.push(PAN.bytes().flat_map(digit).collect());
        }
        all.push(STANDARD_NO_PAD.encode(PAN).into_bytes());
        all
    }

    #[test]
    fn rows_and_runs_are_told_wherever_they_stand() {
        let (rows, runs) = (known::PART_MIN, runs::BASE64_MIN);
        for place in 0..150 {
            let digits = |row: &str| Glance::of(format!("{:place$}a{row}a", "").as_bytes()).digits;
            assert_eq!(digits(&"1".repeat(rows)), rows, "{place}");
            assert_eq!(digits(&"1 - ".repeat(rows)), rows, "{place}");
            assert!(digits(&"1".repeat(rows - 1)) < rows, "{place}");
            let has_run =
                |len: usize| Glance::of(format!("{:place$}{:x<len$} ", "", "").as_bytes()).has_run;
            assert!(has_run(runs) && !has_run(runs - 1), "{place}");
        }
    }

    #[test]
    fn no_run_with_a_number_inside_is_let_pass() {
        for text in written() {
            // Text of another script is found where all of the run is text.
            let is_ascii = text.iter().any(u8::is_ascii_digit);
            let (noise, cuts) = if is_ascii { (0xf7, 4) } else { (b'x', 1) };
            for ahead in 0..7 {
                let bytes = [&vec![noise; ahead][..], &text].concat();
                for run in [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)] {
                    for cut in 0..cuts {
                        assert!(may_hold(&run.as_bytes()[cut..], false), "{run} {cut}");
                    }
                }
            }
        }
    }

    #[test]
    fn no_run_with_a_verification_value_in_text_is_let_pass() {
        for text in
            ["123 is wrong", "the cvv 123", "card: 123 ok", "cvv=123&x=yyyyy", "_____123_____"]
        {
            for ahead in 0..4 {
                let bytes = [&vec![b'.'; ahead][..], text.as_bytes()].concat();
                assert!(may_hold(STANDARD_NO_PAD.encode(&bytes).as_bytes(), true), "{text}");
            }
        }
    }

    #[test]
    fn no_compressed_stream_is_let_pass() {
        let text = format!("<PAReq><acctID>{PAN}</acctID></PAReq>").repeat(3);
        for (text, level) in
            [PAN, &text].into_iter().flat_map(|text| (0..=10).map(move |l| (text, l)))
        {
            let raw = compress_to_vec(text.as_bytes(), level);
            assert!(may_hold(STANDARD_NO_PAD.encode(&raw).as_bytes(), false), "{level}");
            let zlib = compress_to_vec_zlib(text.as_bytes(), level);
            let gzip = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &raw].concat();
            for stream in [zlib, gzip] {
                for ahead in 0..4 {
                    let bytes = [&vec![0xf7; ahead][..], &stream].concat();
                    assert!(may_hold(STANDARD_NO_PAD.encode(&bytes).as_bytes(), false), "{level}");
                }
            }
        }
    }

    #[test]
    fn ids_and_names_are_let_pass() {
        let harmless = [
            "7b3df799-5608-56fa-a26b-5a9b3c26bb5c",
            "payment_method_options",
            "browser_screen_width",
            "0a1b2c3d4e5f60718293a4b5",
        ];
        for run in harmless {
            assert!(!may_hold(run.as_bytes(), false), "{run}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn a_glance_says_what_a_walk_does(
            pieces in prop::collection::vec(
                prop_oneof![
                    "[0-9]{1,14}",
                    "[ .:/-]{1,3}",
                    "[0-9A-Za-z_+/-]{1,20}",
                    "[ -~]{1,20}",
                    "[A ]",
                    any::<char>().prop_map(String::from),
                ],
                0..12,
            ),
            times in prop::sample::select(vec![1, 1, 1, 60]),
        ) {
            let bytes = pieces.concat().repeat(times).into_bytes();
            let glance = Glance::of(&bytes);
            let letter = |byte: &u8| {
                !byte.is_ascii() || (byte.is_ascii_alphabetic() && !matches!(byte, b'x' | b'X'))
            };
            let digits = |row: &[u8]| row.iter().filter(|byte| byte.is_ascii_digit()).count();
            let most = bytes.split(letter).map(digits).max().unwrap_or_default();
            prop_assert!(glance.digits == most || (most..known::PART_MIN).contains(&glance.digits));
            let other = |byte: &u8| sextet(*byte).is_none() && *byte != b')';
            let longest = bytes.split(other).map(<[u8]>::len).max().unwrap_or_default();
            prop_assert_eq!(glance.has_run, longest >= runs::BASE64_MIN);
            let mut told = Vec::new();
            each_row(&bytes, |span, count| told.push((&bytes[span.start..span.end], count)));
            let rows = bytes.split(letter).map(|row| (row, digits(row)));
            let rows: Vec<_> = rows.filter(|(_, digits)| *digits >= known::PART_MIN).collect();
            prop_assert_eq!(&told, &rows);
            if let Some(at) = glance.row {
                prop_assert_eq!(rows.len(), 1);
                prop_assert!(bytes[at..].starts_with(rows[0].0));
            }
        }
    }
}
