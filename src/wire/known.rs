//! A number that was put in, wherever its digits stand: whole, badly masked or cut.
//!
//! Its digits are followed over whatever stands between them, letters aside. Where a mask stands,
//! any of them may be missing, and so may its beginning and its end. It is found from the eleventh
//! digit on that stands in its place; what first six and last four digits say is left as it is.

use super::glance::Glance;
use super::numbers::{Hit, Is, digits_end};
use super::scan::Known;
use super::{Span, issuer};

/// More digits in their places than first six and last four are.
pub(super) const PART_MIN: usize = 11;
/// So many bytes may stand between two digits.
const GAP_MAX: usize = 256;
/// A piece of a number with fewer different digits is a row of zeros, or a test number's.
const DIFFERENT_MIN: u32 = 3;
/// What PCI DSS lets a mask show of a number: six and four digits, of sixteen and more eight and
/// four.
const FIRST: usize = 6;
const FIRST_MAX: usize = 8;
const LAST_MAX: usize = 4;
const LONG_MIN: usize = 16;
/// A glance at encoded text tells of every text of this length, and of shorter ones by their digits
/// if nothing stands between them.
const DECODED_MIN: usize = 15;

/// Calls `hit` for every place of the numbers in a part of the bytes that has so many digits. Bytes
/// that are no text hold other bytes than ASCII between digits by chance.
pub(super) fn each_hit(bytes: &[u8], part: Part, known: &Known<'_>, hit: &mut dyn FnMut(Hit)) {
    // None is longer than a set of bits.
    let is_number = |pan: &&&[u8]| (2..u64::BITS as usize).contains(&pan.len());
    for pan in known.pans.iter().filter(is_number) {
        if part.digits >= pan.len().min(PART_MIN) {
            search(bytes, part, pan, hit);
        }
        for code in CODES.iter().filter(|code| part.digits >= pan.len() * code.width) {
            each_coded(bytes, part.span, code, pan, hit);
        }
    }
}

/// How the bytes of a number's digits are written in digits themselves, each one in so many.
struct Code {
    width: usize,
    digit: fn(digit: u8, place: usize) -> u8,
}

/// Hexadecimal, with and without a zero ahead, decimal, and octal: `35`, `0x35`, `53`, `\065`.
const CODES: [Code; 4] = [
    Code { width: 2, digit: |digit, place| if place == 0 { 3 } else { digit } },
    Code {
        width: 3,
        digit: |digit, place| match place {
            0 => 0,
            1 => 3,
            _ => digit,
        },
    },
    Code {
        width: 2,
        digit: |digit, place| if place == 0 { (48 + digit) / 10 } else { (48 + digit) % 10 },
    },
    Code {
        width: 3,
        digit: |digit, place| match place {
            0 => 0,
            1 => 6 + digit / 8,
            _ => digit % 8,
        },
    },
];

/// Every place of the whole number in this code.
fn each_coded(bytes: &[u8], span: Span, code: &Code, pan: &[u8], hit: &mut dyn FnMut(Hit)) {
    let bytes = bytes.get(..span.end).unwrap_or_default();
    let (mut searched, mut told) = (span.start, span.start);
    for start in span.start..span.end {
        if start < searched || !bytes.get(start).is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let digits = pan.iter().flat_map(|digit| {
            (0..code.width).map(move |place| b'0' + (code.digit)(digit.wrapping_sub(b'0'), place))
        });
        if let Some(end) = written_end(bytes, start, digits) {
            searched = end;
            // A row is told once, whatever else begins in it.
            if end > told {
                let span = whole_row(bytes, Span { start, end });
                told = span.end;
                hit(Hit { span, is: Is::Row });
            }
        }
    }
}

/// Where these digits end, whatever stands between them, if they begin at `start`.
fn written_end(bytes: &[u8], start: usize, digits: impl Iterator<Item = u8>) -> Option<usize> {
    let mut at = start;
    for (place, digit) in digits.enumerate() {
        if place > 0 {
            at = Gap::at(bytes, at, false)?.end;
        }
        if bytes.get(at) != Some(&digit) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// A part of some bytes.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) span: Span,
    /// How many digits there are.
    pub(super) digits: usize,
    /// Whether all of the bytes are text.
    pub(super) is_text: bool,
}

fn bit(digit: u8) -> u16 {
    1 << (digit & 15)
}

fn search(bytes: &[u8], part: Part, pan: &[u8], hit: &mut dyn FnMut(Hit)) {
    let bytes = bytes.get(..part.span.end).unwrap_or_default();
    let least = pan.len().min(PART_MIN);
    let begins = pan.get(..pan.len() - least + 2).unwrap_or(pan);
    let (mut number, mut searched, mut left) = (None, part.span.start, part.digits);
    let places = (part.span.start..).zip(bytes.get(part.span.start..).unwrap_or_default());
    for (at, byte) in places.filter(|(_, byte)| byte.is_ascii_digit()) {
        if left < least {
            return;
        }
        left -= 1;
        if at < searched || !may_begin(begins, *byte, bytes.get(at + 1)) {
            continue;
        }
        let number = number.get_or_insert_with(|| Number::of(pan));
        let trail = number.follow(bytes, at, part.is_text);
        let is_well_masked = number.is_well_masked(bytes, &trail);
        if is_well_masked {
            searched = trail.span.end;
        }
        if is_well_masked || !number.counts(bytes, &trail, part.is_text) {
            continue;
        }
        let span = whole_row(bytes, trail.span);
        searched = span.end;
        let is_whole = trail.digits == pan.len() && span == trail.span;
        hit(Hit { span, is: if is_whole { Is::Number } else { Is::Row } });
    }
}

/// Whether a text may hold a number or a piece of one, as far as a glance tells: of its only row,
/// one digit that has enough of them behind it must begin like one.
pub(super) fn may_hold(bytes: &[u8], glance: &Glance, known: &Known<'_>) -> bool {
    let Some(row) = glance.row.and_then(|start| bytes.get(start..)) else { return true };
    let mut left = glance.digits;
    for (at, byte) in row.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        let may_begin = |pan: &&[u8]| {
            let begins = pan.len().checked_sub(PART_MIN).and_then(|last| pan.get(..last + 2));
            begins.is_none_or(|begins| may_begin(begins, *byte, row.get(at + 1)))
        };
        if left < PART_MIN {
            return false;
        }
        let may_be_card = left >= issuer::LEN_MIN && issuer::BEGINS.contains(byte);
        if may_be_card || known.pans.iter().any(may_begin) {
            return true;
        }
        left -= 1;
    }
    true
}

/// Whether a digit and what follows it can begin a piece. Most of other numbers cannot.
fn may_begin(begins: &[u8], digit: u8, next: Option<&u8>) -> bool {
    let next = next.filter(|byte| byte.is_ascii_digit());
    let mut pairs = begins.iter().zip(begins.iter().skip(1));
    pairs.any(|(first, second)| *first == digit && next.is_none_or(|next| next == second))
}

/// The number, as the places in which each digit stands.
struct Number<'k> {
    pan: &'k [u8],
    places: [u64; 10],
    /// Where what is found may begin.
    begins: u64,
}

/// Digits that stand in their places, one after the other.
struct Trail {
    span: Span,
    digits: usize,
    /// In how many places between them there is a mask, and how many of them stand before it.
    masks: usize,
    ahead: usize,
}

impl<'k> Number<'k> {
    fn of(pan: &'k [u8]) -> Self {
        let last = pan.len().saturating_sub(PART_MIN);
        let mut places = [0; 10];
        for (place, digit) in pan.iter().enumerate() {
            if let Some(places) = places.get_mut(usize::from(digit.wrapping_sub(b'0'))) {
                *places |= 1 << place;
            }
        }
        Self { pan, places, begins: (2 << last) - 1 }
    }

    fn places_of(&self, byte: u8) -> u64 {
        self.places.get(usize::from(byte.wrapping_sub(b'0'))).copied().unwrap_or(0)
    }

    /// Follows the number from its digit at `start` as far as it goes. All places at which it may
    /// be by then are followed together, so it costs no more than the number is long.
    fn follow(&self, bytes: &[u8], start: usize, is_text: bool) -> Trail {
        let mut trail = Trail { span: Span { start, end: start }, digits: 0, masks: 0, ahead: 0 };
        let (mut at, mut next) = (start, self.begins);
        let (mut masks, mut ahead) = (0, 0);
        while let Some(byte) = bytes.get(at) {
            next = (next & self.places_of(*byte)) << 1;
            if next == 0 {
                break;
            }
            at += 1;
            let digits = trail.digits + 1;
            trail = Trail { span: Span { start, end: at }, digits, masks, ahead };
            let Some(gap) = Gap::at(bytes, at, is_text) else { break };
            // What is shown as it may be ends here, even if its last digits stand in it twice.
            let is_last = masks == 1 && digits - ahead == LAST_MAX && gap.end > at;
            let may_end = is_last && next >> self.pan.len() & 1 == 1;
            if may_end && self.is_well_masked(bytes, &trail) {
                break;
            }
            at = gap.end;
            if gap.is_mask {
                (masks, ahead) = (masks + 1, digits);
                // Any number of digits may be behind it, and none: from the first place on.
                next |= (next & next.wrapping_neg()).wrapping_neg();
            }
        }
        trail
    }

    /// Whether what was found says anything of the number.
    fn counts(&self, bytes: &[u8], trail: &Trail, is_text: bool) -> bool {
        if trail.digits == self.pan.len() || trail.digits < PART_MIN {
            return trail.digits == self.pan.len();
        }
        let different = digits(bytes, trail.span).fold(0, |all, digit| all | bit(digit));
        let len = trail.span.len();
        let is_told = is_text || len == trail.digits || len >= DECODED_MIN;
        is_told && different.count_ones() >= DIFFERENT_MIN
    }

    /// Whether first and last digits are shown with a mask between them, and no more than may be.
    fn is_well_masked(&self, bytes: &[u8], trail: &Trail) -> bool {
        let (first, last) = (trail.ahead, trail.digits - trail.ahead);
        let first_max = if self.pan.len() < LONG_MIN { FIRST } else { FIRST_MAX };
        let is_usual = trail.masks == 1 && (FIRST..=first_max).contains(&first) && last <= LAST_MAX;
        let behind = self.pan.len().checked_sub(last).and_then(|from| self.pan.get(from..));
        let shown = self.pan.iter().take(first).chain(behind.unwrap_or_default());
        is_usual && digits(bytes, trail.span).eq(shown.copied())
    }
}

fn digits(bytes: &[u8], span: Span) -> impl Iterator<Item = u8> {
    let written = bytes.get(span.start..span.end).unwrap_or_default();
    written.iter().copied().filter(u8::is_ascii_digit)
}

/// What stands before the next digit.
struct Gap {
    end: usize,
    /// Whether it may stand for digits.
    is_mask: bool,
}

impl Gap {
    /// Nothing where a letter stands, or no digit is near.
    fn at(bytes: &[u8], start: usize, is_text: bool) -> Option<Self> {
        let (mut is_mask, mut signs) = (false, 0);
        for (end, byte) in (start..).zip(bytes.get(start..)?.iter().take(GAP_MAX + 1)) {
            match byte {
                b'0'..=b'9' => return Some(Self { end, is_mask: is_mask || signs > 1 }),
                b'*' | b'#' | b'?' | b'x' | b'X' => is_mask = true,
                // One of them stands between groups.
                b'.' | b'-' | b'_' => signs += 1,
                0x80.. if is_text => is_mask = true,
                b'a'..=b'z' | b'A'..=b'Z' | 0x80.. => return None,
                _ => {}
            }
        }
        None
    }
}

/// The span with the digits right before and after it.
fn whole_row(bytes: &[u8], span: Span) -> Span {
    let left = bytes.get(..span.start).unwrap_or_default().iter().rev();
    let ahead = left.take_while(|byte| byte.is_ascii_digit()).count();
    Span { start: span.start - ahead, end: digits_end(bytes, span.end) }
}

#[cfg(test)]
mod tests {
    use super::super::{contains_card, scrub};
    use super::*;

    const PAN: &str = "5519283812030000";
    const AMEX: &str = "378282246310005";

    fn scrubbed(pan: &str, text: &str) -> String {
        let (clean, _) = scrub(text.as_bytes(), false, &known(&[pan.as_bytes()])).unwrap();
        String::from_utf8(clean.as_bytes().to_vec()).unwrap()
    }

    fn known<'a>(pans: &'a [&'a [u8]]) -> Known<'a> {
        Known { pans, cvvs: &[] }
    }

    #[test]
    fn a_number_that_is_badly_masked_or_cut_shows_no_digit() {
        let texts = [
            "5519283812*30000",
            "551928381203000*",
            "551928381203000",
            "519283812030000",
            "551928381203****",
            "551928****030000",
            "5519 2838 1203 000",
            "55192838120",
            "28381203000",
            "5519xxx812030000",
            "5519 28XX 1203 0000",
            "5519####12030000",
            "551928381…0000",
            "5519283812*****000",
            "5519••••12030000",
            "55●92●38●2030000",
            "5519-2838-12--0000",
            "9519283812030000",
            "x551928381203000x",
            "5.51928381203E15",
            "5519....12030000",
            "****283812030000",
            "5?1?2?3?1?0300000",
        ];
        for text in texts {
            let clean = scrubbed(PAN, text);
            let shown = |piece: &&str| clean.contains(*piece);
            assert!(!["55", "92", "83", "03", "00"].iter().any(shown), "{clean}");
            assert_ne!(clean, text);
            let sentence = format!("Card {text} was declined, 12/30.");
            assert!(!scrubbed(PAN, &sentence).contains(text), "{sentence}");
        }
        assert_eq!(scrubbed(AMEX, "37828224*310005"), "***************");
        assert_eq!(scrubbed(AMEX, "37828224***0005"), "***************");
    }

    #[test]
    fn a_number_that_is_well_masked_stays() {
        let texts = [
            "551928******0000",
            "************0000",
            "55192838****0000",
            "5519 2838 **** 0000",
            "5519 28XX XXXX 0000 12/30",
            "551928...0000",
            "5519283812******",
            "******2030000",
            "55192838xxxx0000; 55192838xxxx0000",
            "551928",
            "12/30 551928••••••0000 1203.00",
        ];
        for text in texts {
            assert_eq!(scrubbed(PAN, text), text);
        }
        assert_eq!(scrubbed(AMEX, "378282*****0005"), "378282*****0005");
        let twice = "9999 12** **** 1234 ... 3 and 999912******1234, 34";
        assert_eq!(scrubbed("9999123412341234", twice), twice);
    }

    #[test]
    fn a_number_in_codes_of_its_bytes_shows_no_digit() {
        let each = |write: fn(u8) -> String| PAN.bytes().map(write).collect::<String>();
        let texts = [
            each(|byte| format!("{byte:02x} ")),
            each(|byte| format!("{byte:02X}:")),
            each(|byte| format!("0x{byte:02x}, ")),
            each(|byte| format!("={byte:02X}")),
            each(|byte| format!("\\{byte:03o}")),
            each(|byte| format!("\\{byte:02x} ")),
            each(|byte| format!("{byte},")),
        ];
        for text in texts {
            let clean = scrubbed(PAN, &format!("bytes: {text}."));
            let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
            assert_eq!(digits(&clean), 0, "{clean}");
            let other = text.replace('8', "7").replace('5', "4");
            assert_eq!(scrubbed(PAN, &other), other);
        }
    }

    #[test]
    fn a_number_that_begins_in_another_ones_last_row_shows_no_digit() {
        let hex: String =
            format!("\"{PAN}{PAN}\"").bytes().map(|byte| format!("{byte:02x}")).collect();
        let words: Vec<_> =
            hex.as_bytes().chunks(4).map(|word| std::str::from_utf8(word).unwrap()).collect();
        let clean = scrubbed(PAN, &words.join(" "));
        assert!(clean.bytes().all(|byte| byte == b'*'), "{clean}");
    }

    #[test]
    fn rows_of_zeros_are_no_piece_of_a_test_number() {
        let text = "00000000-0000-0000-0000-000000000002 0.0000000000001 1111111111111";
        for pan in ["4000000000000002", "4111111111111111"] {
            assert_eq!(scrubbed(pan, text), text);
            assert_ne!(scrubbed(pan, pan), pan);
        }
    }

    #[test]
    fn every_cut_and_every_mask_of_eleven_digits_is_found() {
        let known = [PAN.as_bytes()];
        for hidden in 0u32..1 << PAN.len() {
            let text: String = (0..)
                .zip(PAN.chars())
                .map(|(place, digit)| if hidden >> place & 1 == 1 { '*' } else { digit })
                .collect();
            let shown = PAN.len() - hidden.count_ones() as usize;
            // The last four are zeros, so that any three of them are the last three.
            let usual = [0x0f00, 0x0f80, 0x1f00, 0x8f00];
            let is_usual = usual.contains(&hidden);
            let found = contains_card(text.as_bytes(), &super::tests::known(&known));
            assert_eq!(found, shown >= PART_MIN && !is_usual, "{text}");
        }
    }

    #[test]
    fn no_row_is_let_pass_in_which_something_is_found() {
        let pans: [&[u8]; 1] = [PAN.as_bytes()];
        for text in [
            PAN,
            "0551928381203",
            "55192838120",
            "28381203000",
            "0 501800000009",
            "00 6304000000000000",
        ] {
            let glance = Glance::of(text.as_bytes());
            assert!(
                glance.row.is_some() && may_hold(text.as_bytes(), &glance, &known(&pans)),
                "{text}"
            );
        }
        for text in ["-000000000001", "17951328001", "179513280012"] {
            let glance = Glance::of(text.as_bytes());
            assert!(
                glance.row.is_some() && !may_hold(text.as_bytes(), &glance, &known(&pans)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_a_glance_says_nothing_of_is_not_found_in_encoded_text() {
        for text in ["5*192*838*2030", "55 19 28 38120", "55192838120"] {
            let found = [false, true].map(|is_text| {
                let mut hits = 0;
                let span = Span { start: 0, end: text.len() };
                let part = Part { span, digits: 11, is_text };
                each_hit(text.as_bytes(), part, &known(&[PAN.as_bytes()]), &mut |_| hits += 1);
                hits
            });
            assert_eq!(found, [usize::from(text.len() == 11), 1], "{text}");
        }
    }
}
