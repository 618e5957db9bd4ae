//! Card numbers and verification values in answers, in whatever they hide in, and their removal.
//!
//! Plain digits are masked in place: the first six, stars, the last four. What only decodes to card
//! data becomes stars of the same length. Numbers that are masked already stay as they are, and so
//! does every byte of a harmless body. Reading order: [`scrub`], [`scan_json`], [`scan_text`]; the
//! search itself is in `numbers` (digits), `known` (the number that was put in), `fold` (disguised
//! text) and `layers` (encoded runs).

use std::fmt;

use memchr::memmem::Finder;

use super::fold::{self, Folded};
use super::glance::Glance;
use super::layers::{FOLDS_MAX, Layers};
use super::numbers::{self, Hit, Is};
use super::{Document, Edit, Kind, Span, Value, WireError};
use super::{issuer, json, known, runs, splice};
use crate::secret::CleartextBody;

/// The exact values that were put into the request, as digits; searched for as they are.
#[derive(Clone, Copy, Default)]
pub struct Known<'a> {
    /// Card numbers.
    pub pans: &'a [&'a [u8]],
    /// Verification values.
    pub cvvs: &'a [&'a [u8]],
}

impl Known<'_> {
    /// The fewest digits a card number may have here, or what is found of one that is known.
    pub(super) fn pan_len_min(&self) -> usize {
        let known = self.pans.iter().map(|pan| pan.len()).min();
        known.map_or(issuer::LEN_MIN, |len| len.min(known::PART_MIN))
    }
}

impl fmt::Debug for Known<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Known(..)")
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// A card number in digits, disguised or not.
    Pan,
    /// A verification value.
    Cvv,
    /// Either of them inside an encoded run, or a run that cannot be read to its end.
    Encoded,
}

/// Card data and what takes its place.
pub struct Finding {
    /// The bytes of the body.
    pub span: Span,
    /// What they hold.
    pub kind: FindingKind,
    /// What takes their place.
    pub replacement: Replacement,
}

impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Finding({:?}, {:?})", self.kind, self.span)
    }
}

/// Bytes without card data.
pub struct Replacement(Box<[u8]>);

impl Replacement {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn stars(len: usize) -> Self {
        Self(vec![b'*'; len].into_boxed_slice())
    }
}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replacement(..)")
    }
}

/// Removes every card number and verification value; the number says how many there were.
///
/// # Errors
/// When the body should be JSON and is not: it must be withheld then.
pub fn scrub(
    bytes: &[u8],
    is_json: bool,
    known: &Known<'_>,
) -> Result<(CleartextBody, usize), WireError> {
    let findings =
        if is_json { scan_json(&super::parse(bytes)?, known) } else { scan_text(bytes, known) };
    Ok((without(bytes, &findings)?, findings.len()))
}

/// The body with what was found in it replaced.
///
/// # Errors
/// When the findings are another body's.
pub fn without(bytes: &[u8], findings: &[Finding]) -> Result<CleartextBody, WireError> {
    let edits: Vec<Edit<'_>> = findings
        .iter()
        .map(|finding| Edit { span: finding.span, bytes: finding.replacement.as_bytes() })
        .collect();
    splice(bytes, &edits)
}

/// Finds card data in the names, strings and numbers of a JSON text; in order, without overlap.
#[must_use]
pub fn scan_json(document: &Document<'_>, known: &Known<'_>) -> Vec<Finding> {
    scan_json_beside(document, known, |_| false)
}

/// The same beside values that are known to be something else, such as tokens.
#[must_use]
pub fn scan_json_beside(
    document: &Document<'_>,
    known: &Known<'_>,
    beside: impl Fn(Span) -> bool,
) -> Vec<Finding> {
    let mut scan = Scan::new(known, document.input());
    for value in document.entries() {
        match value.kind() {
            Kind::String if beside(value.span()) => {}
            Kind::String => scan.string(value),
            Kind::Number => scan.number(value),
            Kind::Null | Kind::Bool | Kind::Array | Kind::Object => {}
        }
    }
    scan.findings
}

/// Finds card data in anything that is no JSON: HTML, plain text, forms; in order, without overlap.
#[must_use]
pub fn scan_text(bytes: &[u8], known: &Known<'_>) -> Vec<Finding> {
    let mut scan = Scan::new(known, bytes);
    scan.region(bytes, 0, false);
    scan.findings
}

/// Finds card data that stands in a page as a person would read it, disguised or not. Nothing is
/// decoded: the fields of a challenge on its way to the bank are the bank's, whatever is inside.
#[must_use]
pub fn scan_shown(bytes: &[u8], known: &Known<'_>) -> Vec<Finding> {
    let mut scan = Scan { decodes: false, ..Scan::new(known, bytes) };
    scan.region(bytes, 0, false);
    scan.findings
}

/// Whether there is card data anywhere in the bytes, however deep.
#[must_use]
pub fn contains_card(bytes: &[u8], known: &Known<'_>) -> bool {
    let in_json = |document: Document<'_>| !scan_json(&document, known).is_empty();
    // Anything else is no JSON text, or one without numbers and strings.
    let begins_json = bytes
        .trim_ascii_start()
        .first()
        .is_some_and(|byte| matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9'));
    !scan_text(bytes, known).is_empty() || (begins_json && json::parse(bytes).is_ok_and(in_json))
}

/// A verification value that stands somewhere in the body, and where it does next: most texts have
/// none, and are not searched for it again.
struct Ahead<'k> {
    finder: Finder<'k>,
    /// From here on it does not stand before `next`, or nowhere.
    from: usize,
    next: Option<usize>,
}

impl<'k> Ahead<'k> {
    /// Nothing when it stands nowhere.
    fn of(cvv: &'k [u8], body: &[u8]) -> Option<Self> {
        let finder = Finder::new(cvv);
        let next = Some(finder.find(body)?);
        Some(Self { finder, from: 0, next })
    }

    /// Whether it stands in so many bytes from `start` on. Costs least in the order of the body.
    fn is_in(&mut self, body: &[u8], start: usize, len: usize) -> bool {
        if start < self.from || self.next.is_some_and(|next| next < start) {
            let rest = body.get(start..).unwrap_or_default();
            self.from = start;
            self.next = self.finder.find(rest).map(|place| start + place);
        }
        let end = start + len;
        self.next.is_some_and(|next| next + self.finder.needle().len() <= end)
    }
}

/// One walk through one body, from its beginning to its end.
struct Scan<'k> {
    known: &'k Known<'k>,
    body: &'k [u8],
    layers: Layers<'k>,
    /// A shorter text holds nothing.
    shortest: usize,
    cvvs: Vec<Ahead<'k>>,
    has_disguises: bool,
    has_tags: bool,
    /// Whether runs are decoded.
    decodes: bool,
    findings: Vec<Finding>,
}

impl<'k> Scan<'k> {
    fn new(known: &'k Known<'k>, body: &'k [u8]) -> Self {
        let layers = Layers::new(known, body.len());
        let cvvs: Vec<_> = known.cvvs.iter().filter_map(|cvv| Ahead::of(cvv, body)).collect();
        let has_disguises = fold::may_disguise(body);
        let shortest = match has_disguises || !cvvs.is_empty() {
            true => numbers::fewest_digits(known),
            false => known.pan_len_min(),
        };
        let has_tags = memchr::memchr(b'<', body).is_some();
        let findings = Vec::new();
        let decodes = true;
        Self { known, body, layers, shortest, cvvs, has_disguises, has_tags, decodes, findings }
    }

    fn string(&mut self, value: Value<'_>) {
        let Some((inner, escaped)) = value.inner() else { return };
        self.region(inner, value.span().start + 1, escaped);
    }

    /// A number becomes a string: stars are no JSON number.
    fn number(&mut self, value: Value<'_>) {
        let Some(masked) = super::lexeme::mask(value, self.known) else { return };
        self.findings.push(Finding {
            span: value.span(),
            kind: masked.kind,
            replacement: Replacement(masked.literal),
        });
    }

    /// Scans text that stands at `offset` of the body.
    fn region(&mut self, raw: &[u8], offset: usize, json_escaped: bool) {
        // What is no longer than a number is nothing but digits, if it is one.
        let may_be_short = raw.first().is_some_and(u8::is_ascii_digit);
        if raw.len() < self.shortest + usize::from(!may_be_short) {
            return;
        }
        let glance = Glance::of(raw);
        let has_numbers = (glance.digits >= self.known.pan_len_min()
            && known::may_hold(raw, &glance, self.known))
            || self.cvvs.iter_mut().any(|cvv| cvv.is_in(self.body, offset, raw.len()));
        let is_disguised = self.has_disguises && fold::may_disguise(raw);
        let has_tags = self.has_tags && memchr::memchr(b'<', raw).is_some();
        let has_run = self.decodes && glance.has_run;
        if !(has_numbers || has_run || is_disguised || has_tags) {
            return;
        }
        let mut places = self.places(raw, json_escaped, has_numbers, is_disguised);
        if places.is_empty() {
            return;
        }
        places.sort_by_key(|place| (place.span.start, place.span.end));
        for place in merge(places) {
            let Span { start, end } = place.span;
            let replacement =
                place.masked.map_or_else(|| Replacement::stars(end - start), Replacement);
            let span = Span { start: start + offset, end: end + offset };
            self.findings.push(Finding { span, kind: place.kind, replacement });
        }
    }

    /// Every place in every layer of a text, with its bytes in the text itself.
    fn places(
        &mut self,
        raw: &[u8],
        json_escaped: bool,
        has_numbers: bool,
        is_disguised: bool,
    ) -> Vec<Place> {
        let mut view = View { raw, folds: Vec::new() };
        let mut places = Vec::new();
        if !is_disguised {
            if has_numbers {
                self.numbers(&view, &mut places);
            }
            self.runs(&view, &mut places);
            return self.without_tags(view, places);
        }
        if json_escaped {
            // What stands between the quotes is not the text but its spelling.
            view.folds.extend(fold::json_escapes(raw));
        }
        self.layer(&view, &mut places);
        for _ in 0..FOLDS_MAX {
            let Some(folded) = fold::disguises(view.text()) else { break };
            view.folds.push(folded);
            self.layer(&view, &mut places);
        }
        self.without_tags(view, places)
    }

    fn without_tags<'t>(&mut self, mut view: View<'t>, mut places: Vec<Place>) -> Vec<Place> {
        for folded in fold::tags(view.text()).into_iter().flatten() {
            view.folds.push(folded);
            self.layer(&view, &mut places);
            view.folds.pop();
        }
        places
    }

    fn layer(&mut self, view: &View<'_>, places: &mut Vec<Place>) {
        self.numbers(view, places);
        self.runs(view, places);
    }

    fn numbers(&self, view: &View<'_>, places: &mut Vec<Place>) {
        numbers::each_hit(view.text(), self.known, true, &mut |hit| places.push(view.mask(hit)));
    }

    fn runs(&mut self, view: &View<'_>, places: &mut Vec<Place>) {
        if !self.decodes {
            return;
        }
        let mut from = 0;
        while let Some(run) = runs::next_run(view.text(), from) {
            from = run.end;
            let encoded = view.text().get(run.start..run.end).unwrap_or_default();
            // No encoding writes its hyphens where a UUID has them.
            if !numbers::is_uuid(encoded) && self.layers.run_holds_card(encoded) {
                let span = view.source(run);
                places.push(Place { span, kind: FindingKind::Encoded, masked: None });
            }
        }
    }
}

/// A place in a text; without a masked form it becomes stars.
struct Place {
    span: Span,
    kind: FindingKind,
    masked: Option<Box<[u8]>>,
}

/// Joins places that overlap. Two different numbers in one place would show too many digits
/// between them, so a joint place shows none.
fn merge(sorted: Vec<Place>) -> Vec<Place> {
    let mut merged: Vec<Place> = Vec::with_capacity(sorted.len());
    for place in sorted {
        match merged.last_mut() {
            Some(last) if last.span == place.span && last.kind == place.kind => {}
            Some(last) if place.span.start < last.span.end => {
                last.span.end = last.span.end.max(place.span.end);
                last.masked = None;
            }
            _ => merged.push(place),
        }
    }
    merged
}

/// A text and the folds it went through.
struct View<'a> {
    raw: &'a [u8],
    folds: Vec<Folded>,
}

impl View<'_> {
    fn text(&self) -> &[u8] {
        self.folds.last().map_or(self.raw, Folded::bytes)
    }

    /// The bytes of the raw text that a range of the folded text came from.
    fn source(&self, span: Span) -> Span {
        self.folds.iter().rev().fold(span, |span, folded| {
            let last = folded.source(span.end.saturating_sub(1));
            Span { start: folded.source(span.start).start, end: last.end }
        })
    }

    /// Digits are shown or starred one by one; what stands between them stays as it was written.
    fn mask(&self, hit: Hit) -> Place {
        let kind = if hit.is == Is::Cvv { FindingKind::Cvv } else { FindingKind::Pan };
        let written = self.text().get(hit.span.start..hit.span.end).unwrap_or_default();
        let digits = written.iter().filter(|byte| byte.is_ascii_digit()).count();
        let span = self.source(hit.span);
        let (mut masked, mut copied, mut place) = (Vec::with_capacity(span.len()), span.start, 0);
        for (at, byte) in (hit.span.start..).zip(written) {
            if !byte.is_ascii_digit() {
                continue;
            }
            let source = self.source(Span { start: at, end: at + 1 });
            masked.extend_from_slice(self.raw.get(copied..source.start).unwrap_or_default());
            let shown = hit.is == Is::Number && issuer::is_shown(place, digits);
            masked.push(if shown { *byte } else { b'*' });
            copied = source.end;
            place += 1;
        }
        Place { span, kind, masked: Some(masked.into_boxed_slice()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_told_of_the_texts_that_have_it_and_of_no_other() {
        let body = b"12, 123, 12, 3, 123 ";
        let mut cvv = Ahead::of(b"123", body).unwrap();
        let texts = [(0, 2), (2, 4), (4, 3), (7, 8), (12, 6), (16, 3), (19, 1), (3, 9), (0, 6)];
        let told = texts.map(|(start, len)| cvv.is_in(body, start, len));
        assert_eq!(told, [false, false, true, false, false, true, false, true, false]);
        assert!(Ahead::of(b"999", body).is_none());
    }
}
