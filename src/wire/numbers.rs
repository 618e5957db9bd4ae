//! Card numbers and verification values in plain bytes, where they stand as digits.
//!
//! A number we know is searched for by `known`. Any other number must look like one: its length,
//! issuer range and Luhn sum, groups as people write them, and no longer row of digits, decimal
//! number, hexadecimal id or UUID around it. Every place costs bounded work.

use super::known::Part;
use super::scan::Known;
use super::{Span, glance, issuer, known};

/// The shortest verification value.
const CVV_MIN: usize = 3;
/// All groups of a number but the last have at least this many digits.
const GROUP_MIN: usize = 4;
/// Fewer digits in rarer groups are no number.
const EVEN_MIN: usize = 15;
/// So many blanks may stand between them.
const BLANKS_MAX: usize = 4;
/// A word of this length around digits is taken for an id without looking further.
const WORD_MAX: usize = 64;
/// The most digits a mask takes out of a number.
const MASK_MAX: usize = issuer::LEN_MAX - 10;
/// How a UUID is written.
const UUID: &[u8; 36] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

/// A place in the bytes that were searched.
#[derive(Clone, Copy)]
pub(super) struct Hit {
    pub(super) span: Span,
    pub(super) is: Is,
}

/// What stands in a place.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Is {
    /// A card number and nothing else.
    Number,
    /// A longer row of digits with a number we know inside: none of it may be shown.
    Row,
    /// A verification value.
    Cvv,
}

/// The fewest digits of anything that is searched for.
pub(super) fn fewest_digits(known: &Known<'_>) -> usize {
    if known.cvvs.is_empty() { known.pan_len_min() } else { CVV_MIN }
}

/// Calls `hit` for every place. In bytes that are no text, a verification value counts only with
/// text around it: three digits come about by chance.
pub(super) fn each_hit(bytes: &[u8], known: &Known<'_>, is_text: bool, hit: &mut dyn FnMut(Hit)) {
    let foreign = digits_if_foreign(bytes, known, is_text);
    if let Some(digits) = foreign {
        let span = Span { start: 0, end: bytes.len() };
        known::each_hit(bytes, Part { span, digits, is_text }, known, hit);
    }
    glance::each_row(bytes, |span, digits| {
        if foreign.is_none() {
            known::each_hit(bytes, Part { span, digits, is_text }, known, hit);
        }
        if digits < issuer::LEN_MIN {
            return;
        }
        let mut from = span.start;
        while let Some(run) = next_run(bytes, from).filter(|run| run.end <= span.end) {
            from = run.end;
            each_candidate(bytes, run, hit);
            if let Some(span) = even_groups(bytes, run) {
                hit(Hit { span, is: Is::Number });
            }
        }
    });
    known.cvvs.iter().for_each(|cvv| each_cvv(bytes, cvv, is_text, hit));
}

/// How many digits there are, where those of a number we know may have bytes of other scripts
/// between them, which end a row of digits otherwise.
fn digits_if_foreign(bytes: &[u8], known: &Known<'_>, is_text: bool) -> Option<usize> {
    let is_foreign = is_text && !known.pans.is_empty() && !bytes.is_ascii();
    is_foreign.then(|| bytes.iter().filter(|byte| byte.is_ascii_digit()).count())
}

/// The next row of digits.
fn next_run(bytes: &[u8], from: usize) -> Option<Span> {
    let rest = bytes.get(from..)?;
    let start = from + rest.iter().position(u8::is_ascii_digit)?;
    Some(Span { start, end: digits_end(bytes, start) })
}

pub(super) fn digits_end(bytes: &[u8], start: usize) -> usize {
    let digits = bytes.get(start..).unwrap_or_default().iter();
    start + digits.take_while(|byte| byte.is_ascii_digit()).count()
}

/// Every card number whose first group is `first`. At most five groups make one.
fn each_candidate(bytes: &[u8], first: Span, hit: &mut dyn FnMut(Hit)) {
    let (mut group, mut total) = (first, 0);
    while first.len() >= GROUP_MIN && !is_masked(bytes, group) {
        total += group.len();
        if total > issuer::LEN_MAX {
            return;
        }
        let span = Span { start: first.start, end: group.end };
        if total >= issuer::LEN_MIN && is_card(bytes, span) && stands_alone(bytes, span, first) {
            hit(Hit { span, is: Is::Number });
        }
        let Some(next) = next_group(bytes, group) else { return };
        group = next;
    }
}

/// The group after this one, behind a single separator.
fn next_group(bytes: &[u8], group: Span) -> Option<Span> {
    if group.len() < GROUP_MIN || !is_separator(*bytes.get(group.end)?) {
        return None;
    }
    let start = group.end + 1;
    let end = digits_end(bytes, start);
    (end > start).then_some(Span { start, end })
}

/// A card number in groups of four with one rarer separator between all of them, or in single
/// digits with blanks, if it is no part of a longer list: lists of numbers are written so, too.
fn even_groups(bytes: &[u8], first: Span) -> Option<Span> {
    let separator = rare_separator(bytes.get(first.end..)?, first.len())?;
    let (mut end, mut digits) = (first.end, first.len());
    while let Some(rest) = bytes.get(end..)?.strip_prefix(separator) {
        let group = digits_end(rest, 0);
        if group == 0 {
            break;
        }
        digits += group;
        end += separator.len() + group;
        if group != first.len() || digits > issuer::LEN_MAX {
            break;
        }
    }
    let span = Span { start: first.start, end };
    let ahead = bytes.get(..first.start)?;
    let goes_on = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
    let is_listed = goes_on(ahead.strip_suffix(separator).and_then(|ahead| ahead.last().copied()))
        || goes_on(
            bytes.get(end..)?.strip_prefix(separator).and_then(|rest| rest.first().copied()),
        );
    let is_joined = goes_on(before(bytes, span)) || goes_on(after(bytes, span));
    (digits >= EVEN_MIN && !is_listed && !is_joined && is_card(bytes, span)).then_some(span)
}

fn rare_separator(behind: &[u8], group: usize) -> Option<&[u8]> {
    // Forms write a plus for a blank.
    let first = behind.first()?;
    let blanks = behind.iter().take(BLANKS_MAX).take_while(|byte| *byte == first).count();
    let len = match (group, first) {
        (1, b' ' | b'+') => blanks,
        (4, b' ' | b'+') if blanks > 1 => blanks,
        (4, b'/' | b',' | b':') => 1,
        (4, b'-') if behind.starts_with(b"--") => 2,
        _ => return None,
    };
    behind.get(..len)
}

/// What is left of a masked number belongs to no other. A whole number may stand between stars, as
/// bold text has it, unless the stars lead to further digits.
fn is_masked(bytes: &[u8], group: Span) -> bool {
    let behind = bytes.get(group.end..).unwrap_or_default();
    let stars = behind.iter().take(MASK_MAX + 1).take_while(|byte| **byte == b'*').count();
    if group.len() < issuer::LEN_MIN {
        return stars > 0 || before(bytes, group) == Some(b'*');
    }
    (2..=MASK_MAX).contains(&stars) && behind.get(stars).is_some_and(u8::is_ascii_digit)
}

fn is_card(bytes: &[u8], span: Span) -> bool {
    let written = bytes.get(span.start..span.end).unwrap_or_default();
    issuer::is_card(written.iter().copied().filter(u8::is_ascii_digit))
}

/// Neither part of a decimal number nor of an id.
fn stands_alone(bytes: &[u8], span: Span, first: Span) -> bool {
    let is_one_group = span == first;
    !(is_decimal(bytes, span)
        || (is_one_group && is_hex_word(bytes, span))
        || is_in_uuid(bytes, span))
}

fn is_decimal(bytes: &[u8], span: Span) -> bool {
    let digit = |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|byte| byte.is_ascii_digit() || *byte == b'*')
    };
    let behind = after(bytes, span) == Some(b'.') && digit(span.end.checked_add(1));
    let ahead = before(bytes, span) == Some(b'.') && digit(span.start.checked_sub(2));
    behind || ahead
}

/// Whether the digits are a part of a longer hexadecimal word that stands alone.
fn is_hex_word(bytes: &[u8], span: Span) -> bool {
    let left = bytes.get(..span.start).unwrap_or_default();
    let right = bytes.get(span.end..).unwrap_or_default();
    let is_hex = |byte: &&u8| byte.is_ascii_hexdigit();
    let ahead = left.iter().rev().take(WORD_MAX).take_while(is_hex).count();
    let behind = right.iter().take(WORD_MAX).take_while(is_hex).count();
    // A track of a card has its number between a B and a caret.
    if ahead + behind == 0 || right.first() == Some(&b'^') {
        return false;
    }
    let letter = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphabetic);
    let outer = left.len().checked_sub(ahead + 1).and_then(|at| left.get(at));
    let goes_on_ahead = ahead < WORD_MAX && letter(outer);
    let goes_on_behind = behind < WORD_MAX && letter(right.get(behind));
    !goes_on_ahead && !goes_on_behind
}

fn is_in_uuid(bytes: &[u8], span: Span) -> bool {
    (0..UUID.len()).any(|offset| {
        let start = span.start.checked_sub(offset);
        let window = start.and_then(|start| bytes.get(start..start + UUID.len()));
        offset + span.len() <= UUID.len() && window.is_some_and(is_uuid)
    })
}

/// Whether the bytes are a UUID and nothing else.
pub(super) fn is_uuid(bytes: &[u8]) -> bool {
    let fits = |byte: u8, form: u8| match form {
        b'-' => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    };
    // Most other texts of that length fail at the first hyphen.
    bytes.len() == UUID.len()
        && bytes.get(8) == Some(&b'-')
        && bytes.iter().zip(UUID).fold(true, |all, (byte, form)| all & fits(*byte, *form))
}

/// Every row of digits that is exactly the value and nothing longer.
fn each_cvv(bytes: &[u8], cvv: &[u8], is_text: bool, hit: &mut dyn FnMut(Hit)) {
    let Some(first) = cvv.first() else { return };
    for start in memchr::memchr_iter(*first, bytes) {
        let run = Span { start, end: start + cvv.len() };
        let is_there = bytes.get(start..run.end) == Some(cvv);
        let stands = || is_isolated(bytes, run) || is_named(bytes, run);
        let is_text = || is_text || has_text_around(bytes, run);
        if is_there && stands() && !is_in_uuid(bytes, run) && is_text() {
            hit(Hit { span: run, is: Is::Cvv });
        }
    }
}

fn is_isolated(bytes: &[u8], run: Span) -> bool {
    let joins = |byte: Option<u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'*' | b'%'))
    };
    let is_entity = bytes.get(..run.start).is_some_and(|ahead| ahead.ends_with(b"&#"));
    let is_joined = joins(before(bytes, run)) || joins(after(bytes, run));
    !(is_joined || is_entity || after(bytes, run) == Some(b'#') || is_decimal(bytes, run))
}

/// Whether what announces a verification value stands right before the digits: `cvv`, `CVC2`.
fn is_named(bytes: &[u8], run: Span) -> bool {
    let ahead = bytes.get(..run.start).unwrap_or_default();
    let ahead = ahead.strip_suffix(b"2").unwrap_or(ahead);
    let Some((rest, name)) = ahead.split_last_chunk::<3>() else { return false };
    let names = [b"cvv", b"cvc", b"cvn", b"csc", b"cid"];
    let is_name = names.iter().any(|known| name.eq_ignore_ascii_case(*known));
    let is_one_word = !rest.last().is_some_and(u8::is_ascii_alphabetic);
    is_name && is_one_word && !after(bytes, run).is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// Whether the four bytes on either side are printable, as far as there are any.
fn has_text_around(bytes: &[u8], run: Span) -> bool {
    let near = run.start.saturating_sub(4)..bytes.len().min(run.end + 4);
    let mut around = bytes.get(near).unwrap_or_default().iter();
    around.all(|byte| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n'))
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'+' | b'_')
}

fn before(bytes: &[u8], span: Span) -> Option<u8> {
    bytes.get(span.start.checked_sub(1)?).copied()
}

fn after(bytes: &[u8], span: Span) -> Option<u8> {
    bytes.get(span.end).copied()
}
