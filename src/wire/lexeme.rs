//! JSON numbers that are card data: however their sender spelled them, `4.111111111111111e15` too.

use super::known::Part;
use super::scan::{FindingKind, Known};
use super::{Span, Value, issuer, known};
use crate::secret::CleartextBody;

/// Parts of member names that announce a verification value.
const CVV_NAMES: [&str; 7] = ["cvv", "cvc", "csc", "cvn", "cv2", "security", "verification"];
/// No name of a field is longer.
const NAME_MAX: usize = 256;
/// Exponents beyond this are no card numbers.
const EXPONENT_MAX: usize = 4;

/// A string literal to put in a number's place.
pub(super) struct Masked {
    pub(super) kind: FindingKind,
    pub(super) literal: Box<[u8]>,
}

/// The number as a masked string, if it is card data.
pub(super) fn mask(value: Value<'_>, known: &Known<'_>) -> Option<Masked> {
    let lexeme = value.raw();
    let is_short = lexeme.len() < known.pan_len_min();
    let pan = if !is_short || lexeme.iter().any(|byte| matches!(byte, b'e' | b'E')) {
        mask_pan(lexeme, known)
    } else {
        None
    };
    if pan.is_some() {
        return pan;
    }
    let is_cvv = is_known_cvv(lexeme, known) && is_under_cvv_name(value);
    is_cvv.then(|| Masked { kind: FindingKind::Cvv, literal: Box::from(&b"\"***\""[..]) })
}

fn mask_pan(lexeme: &[u8], known: &Known<'_>) -> Option<Masked> {
    let kind = FindingKind::Pan;
    let digits = integer(lexeme).unwrap_or_default();
    let digits = digits.as_bytes();
    if known.pans.contains(&digits) || issuer::is_card(digits.iter().copied()) {
        return Some(Masked { kind, literal: literal(digits, true) });
    }
    holds_known(lexeme, known).then(|| Masked { kind, literal: literal(lexeme, false) })
}

/// Whether a number we know, or most of it, stands anywhere in the lexeme.
fn holds_known(lexeme: &[u8], known: &Known<'_>) -> bool {
    let mut found = false;
    let span = Span { start: 0, end: lexeme.len() };
    let part = Part { span, digits: span.end, is_text: true };
    known::each_hit(lexeme, part, known, &mut |_| found = true);
    found
}

fn literal(digits: &[u8], may_show: bool) -> Box<[u8]> {
    let masked = digits.iter().enumerate().map(|(place, digit)| {
        if may_show && issuer::is_shown(place, digits.len()) { *digit } else { b'*' }
    });
    [b'"'].into_iter().chain(masked).chain([b'"']).collect()
}

/// The digits of a lexeme whose value is an integer of no more digits than a card number.
fn integer(lexeme: &[u8]) -> Option<CleartextBody> {
    let unsigned = lexeme.strip_prefix(b"-").unwrap_or(lexeme);
    let (mantissa, exponent) = split(unsigned, |byte| matches!(byte, b'e' | b'E'));
    let (whole, fraction) = split(mantissa, |byte| byte == b'.');
    let point = isize::try_from(whole.len()).ok()?.checked_add(exponent_value(exponent)?)?;
    let mut digits = CleartextBody::with_capacity(issuer::LEN_MAX);
    for (place, digit) in (0isize..).zip(whole.iter().chain(fraction)) {
        if place >= point && *digit != b'0' {
            return None;
        }
        if place < point {
            push(&mut digits, *digit)?;
        }
    }
    let written = isize::try_from(whole.len() + fraction.len()).ok()?;
    (written..point).try_for_each(|_| push(&mut digits, b'0'))?;
    Some(digits)
}

/// Appends a digit unless it is a leading zero; nothing if the number gets too long.
fn push(digits: &mut CleartextBody, digit: u8) -> Option<()> {
    if digits.is_empty() && digit == b'0' {
        return Some(());
    }
    (digits.len() < issuer::LEN_MAX).then(|| digits.push(digit))
}

fn exponent_value(exponent: &[u8]) -> Option<isize> {
    let (sign, digits) = match exponent {
        [b'-', digits @ ..] => (-1, digits),
        [b'+', digits @ ..] => (1, digits),
        digits => (1, digits),
    };
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    let digits = digits.get(leading..).unwrap_or_default();
    if digits.len() > EXPONENT_MAX {
        return None;
    }
    Some(sign * digits.iter().fold(0, |value, digit| value * 10 + isize::from(digit - b'0')))
}

/// Before and after the first byte that is a mark; nothing after if there is none.
fn split(bytes: &[u8], is_mark: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let at = bytes.iter().position(|byte| is_mark(*byte));
    at.and_then(|at| Some((bytes.get(..at)?, bytes.get(at + 1..)?))).unwrap_or((bytes, &[]))
}

/// A number has lost the leading zeros of the value.
fn is_known_cvv(lexeme: &[u8], known: &Known<'_>) -> bool {
    let bare = |digits: &'_ [u8]| digits.iter().take_while(|digit| **digit == b'0').count();
    known.cvvs.iter().any(|cvv| {
        let spelled = cvv.get(bare(cvv).min(cvv.len().saturating_sub(1))..).unwrap_or_default();
        let is_spelled_out = lexeme == spelled;
        let is_equal = || integer(lexeme).is_some_and(|digits| digits.as_bytes() == spelled);
        !spelled.is_empty() && (is_spelled_out || (begins_like(lexeme, spelled) && is_equal()))
    })
}

/// Whether a number with a point or an exponent has these digits and perhaps zeros behind them.
fn begins_like(lexeme: &[u8], digits: &[u8]) -> bool {
    let written = lexeme.iter().take_while(|byte| !matches!(byte, b'e' | b'E'));
    let written = written.filter(|byte| byte.is_ascii_digit()).skip_while(|byte| **byte == b'0');
    let zeros = || std::iter::repeat(&b'0');
    let longest = lexeme.len().max(digits.len());
    written.chain(zeros()).take(longest).eq(digits.iter().chain(zeros()).take(longest))
}

/// Whether the member the number stands in, at whatever depth of lists, is named like one.
fn is_under_cvv_name(value: Value<'_>) -> bool {
    let mut here = value;
    while here.key().is_none() {
        let Some(parent) = here.parent() else { return false };
        here = parent;
    }
    let Some(key) = here.key() else { return false };
    // Every number of a list asks for the same name, so a long one is not read: it may be one.
    key.raw().len() > NAME_MAX || key.text().is_some_and(|name| is_cvv_name(name.as_str()))
}

fn is_cvv_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let words = name.split(|char: char| !char.is_ascii_alphanumeric());
    CVV_NAMES.iter().any(|part| name.contains(part)) || words.into_iter().any(|word| word == "cid")
}
