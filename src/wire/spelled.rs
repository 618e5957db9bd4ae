//! Where a text stands in another one, in whatever spelling: as it is, behind the escapes of JSON,
//! percent signs, entities, or several of these.

use memchr::memmem;

use super::Span;
use super::fold::{self, Folded};
use super::layers::FOLDS_MAX;
use crate::secret::CleartextBody;

/// From so many bytes on a search that prepares itself is the faster one.
const LONG: usize = 2048;

/// A text with what its spellings stand for.
pub struct Spelled<'t> {
    text: &'t [u8],
    /// Each undoes one layer of the one before.
    folds: Vec<Folded>,
}

impl<'t> Spelled<'t> {
    /// Undoes what is spelled otherwise; mostly nothing is.
    #[must_use]
    pub fn of(text: &'t [u8]) -> Self {
        let mut folds: Vec<Folded> = Vec::new();
        if fold::may_disguise(text) {
            while folds.len() < FOLDS_MAX
                && let Some(folded) = fold::disguises(folds.last().map_or(text, Folded::bytes))
            {
                folds.push(folded);
            }
        }
        Self { text, folds }
    }

    /// Whether these bytes stand anywhere.
    #[must_use]
    pub fn holds(&self, sought: &[u8]) -> bool {
        (0..=self.folds.len()).any(|depth| next(self.layer(depth), sought, 0).is_some())
    }

    /// Whether these bytes stand anywhere, in capital letters or small ones.
    #[must_use]
    pub fn holds_in_any_case(&self, sought: &[u8]) -> bool {
        let Some(first) = sought.first() else { return false };
        let (small, capital) = (first.to_ascii_lowercase(), first.to_ascii_uppercase());
        (0..=self.folds.len()).map(|depth| self.layer(depth)).any(|layer| {
            let here = |at| layer.get(at..at + sought.len());
            let is = |at| here(at).is_some_and(|here| here.eq_ignore_ascii_case(sought));
            memchr::memchr2_iter(small, capital, layer).any(is)
        })
    }

    /// Whether these digits stand one behind the other, whatever is between them.
    #[must_use]
    pub fn holds_digits(&self, number: &[u8]) -> bool {
        (0..=self.folds.len()).any(|depth| {
            let mut digits = CleartextBody::with_capacity(self.layer(depth).len());
            let found = self.layer(depth).iter().filter(|byte| byte.is_ascii_digit());
            found.for_each(|digit| digits.push(*digit));
            memmem::find(digits.as_bytes(), number).is_some()
        })
    }

    /// The bytes of the text that spell these, wherever they stand; in order, without overlap.
    pub fn places(&self, sought: &[u8]) -> Vec<Span> {
        let mut places: Vec<Span> = Vec::new();
        for depth in 0..=self.folds.len() {
            let (layer, mut from) = (self.layer(depth), 0);
            while let Some(start) = next(layer, sought, from) {
                from = start + sought.len();
                places.push(self.source(depth, Span { start, end: from }));
            }
        }
        places.sort_unstable_by_key(|place| (place.start, place.end));
        places.dedup_by(|next, place| {
            let meets = next.start < place.end;
            if meets {
                place.end = place.end.max(next.end);
            }
            meets
        });
        places
    }

    fn layer(&self, depth: usize) -> &[u8] {
        depth.checked_sub(1).and_then(|at| self.folds.get(at)).map_or(self.text, Folded::bytes)
    }

    fn source(&self, depth: usize, place: Span) -> Span {
        self.folds.iter().take(depth).rev().fold(place, |place, folded| Span {
            start: folded.source(place.start).start,
            end: folded.source(place.end.saturating_sub(1)).end,
        })
    }
}

/// Where these bytes stand next.
fn next(text: &[u8], sought: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..).filter(|rest| rest.len() >= sought.len())?;
    let found =
        if rest.len() < LONG { by_rare_byte(rest, sought) } else { memmem::find(rest, sought) };
    found.map(|at| from + at)
}

/// Looks for a byte that most texts have few of: a search that prepares itself costs more.
fn by_rare_byte(text: &[u8], sought: &[u8]) -> Option<usize> {
    let ahead = sought.iter().position(u8::is_ascii_uppercase).unwrap_or_default();
    let begins = |at: &usize| text.get(*at..).is_some_and(|rest| rest.starts_with(sought));
    memchr::memchr_iter(*sought.get(ahead)?, text.get(ahead..)?).find(begins)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(text: &[u8], sought: &[u8]) -> Vec<(usize, usize)> {
        let spelled = Spelled::of(text);
        let places: Vec<_> =
            spelled.places(sought).iter().map(|place| (place.start, place.end)).collect();
        assert_eq!(spelled.holds(sought), !places.is_empty());
        places
    }

    #[test]
    fn every_spelling_is_found_with_the_bytes_that_spell_it() {
        for spelling in [
            "ab+/key=",
            r"ab\u002b\/key\u003D",
            "ab%2B%2fkey%3d",
            "ab&#43;&#x2F;key&#61;",
            "ab%252B%252Fkey%253D",
            r"ab\\u002B\\\/key=",
            "ab&amp;#43;/key=",
        ] {
            for (before, behind) in [("", ""), ("x: ", " y"), ("\"\\n", "\\\"")] {
                let text = [before, spelling, behind].concat();
                let found = places(text.as_bytes(), b"ab+/key=");
                let end = before.len() + spelling.len();
                assert_eq!(found, [(before.len(), end)], "{text}");
            }
        }
        assert!(places(br"ab\u002c\/key=", b"ab+/key=").is_empty());
    }

    #[test]
    fn letters_are_the_same_in_either_size_where_that_is_asked_for() {
        for text in ["x ab12EF", "AB12ef", r"\u0041b%31%32ef", "aAB12EF"] {
            let spelled = Spelled::of(text.as_bytes());
            assert!(spelled.holds_in_any_case(b"ab12ef"), "{text}");
            assert!(spelled.holds_in_any_case(b"AB12EF"), "{text}");
        }
        assert!(!Spelled::of(b"ab12e").holds_in_any_case(b"ab12ef"));
    }

    #[test]
    fn digits_are_found_with_anything_between_them() {
        for text in [
            "5519283812030000",
            "a 5519/2838/1203/0000 b",
            "5 5 1 9 -- 2838, 1203\t0000a",
            "155192838120300001230",
            "%B5519283812030000^DOE",
            "55%31%392838%20%201203&#48;000",
        ] {
            assert!(Spelled::of(text.as_bytes()).holds_digits(b"5519283812030000"), "{text}");
        }
        assert!(!Spelled::of(b"5519 2838 1203 000").holds_digits(b"5519283812030000"));
    }

    #[test]
    fn short_and_long_texts_are_searched_alike() {
        for filler in [0, 1, LONG - 1, LONG, 3 * LONG] {
            let text =
                [b"ab".repeat(filler), b"ab\\/abababc".to_vec(), b"a".repeat(filler)].concat();
            let start = 2 * filler;
            assert_eq!(places(&text, b"ab/ab"), [(start, start + 6)]);
            assert_eq!(places(&text, b"/abababc"), [(start + 2, start + 11)]);
            assert_eq!(places(&text, b"abababcd"), []);
        }
        assert_eq!(places(b"ababababab", b"abab"), [(0, 4), (4, 8)]);
        assert_eq!(places(b"Bab BaBaBBab aB", b"aBa"), [(5, 8)]);
        assert_eq!(places(b"abababX", b"ababX"), [(2, 7)]);
        assert_eq!(by_rare_byte(b"X", b"abX"), None);
    }
}
