//! The text of a JSON body that HighHelp's signature covers: one line `key1:key2:0:value` for every
//! scalar, the lines in the order of their bytes, `;` between them.
//!
//! A value may hold `;` and `:`, so two bodies can have one text: after verifying, use only the
//! body that was verified. The text holds the card: it is wiped and cannot be printed.

use std::fmt;
use std::ops::Range;

use crate::secret::CleartextBody;

/// How scalars are written that JSON has no text for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NormaliseRules {
    /// Truth values.
    pub bool_style: BoolStyle,
    /// `null`.
    pub null_style: NullStyle,
}

/// How `true` and `false` are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BoolStyle {
    /// `1` and `0`.
    #[default]
    OneZero,
    /// `true` and `false`.
    TrueFalse,
}

/// How `null` is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NullStyle {
    /// The word `None`.
    #[default]
    NoneWord,
    /// A line with an empty value.
    Empty,
    /// No line at all.
    Skip,
}

impl BoolStyle {
    /// The style of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "one_zero" => Some(Self::OneZero),
            "true_false" => Some(Self::TrueFalse),
            _ => None,
        }
    }

    fn text(self, value: bool) -> &'static [u8] {
        match (self, value) {
            (Self::OneZero, true) => b"1",
            (Self::OneZero, false) => b"0",
            (Self::TrueFalse, true) => b"true",
            (Self::TrueFalse, false) => b"false",
        }
    }
}

impl NullStyle {
    /// The style of that name in a profile.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "none" => Some(Self::NoneWord),
            "empty" => Some(Self::Empty),
            "skip" => Some(Self::Skip),
            _ => None,
        }
    }

    fn text(self) -> Option<&'static [u8]> {
        match self {
            Self::NoneWord => Some(b"None"),
            Self::Empty => Some(b""),
            Self::Skip => None,
        }
    }
}

/// A value that is neither an object nor an array; those have no line of their own.
pub enum Scalar<T> {
    /// A string, decoded.
    Text(T),
    /// A number as it was spelled.
    Number(T),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

impl<T> fmt::Debug for Scalar<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scalar(..)")
    }
}

/// The text of a body by the usual rules. `lines` are paths (`key:key:0`) with their scalars, in
/// any order.
pub fn normalise<P, T>(lines: impl IntoIterator<Item = (P, Scalar<T>)>) -> CleartextBody
where
    P: AsRef<[u8]>,
    T: AsRef<[u8]>,
{
    normalise_by(NormaliseRules::default(), lines)
}

/// The text of a body by these rules.
pub fn normalise_by<P, T>(
    rules: NormaliseRules,
    lines: impl IntoIterator<Item = (P, Scalar<T>)>,
) -> CleartextBody
where
    P: AsRef<[u8]>,
    T: AsRef<[u8]>,
{
    let mut collected = Lines::default();
    for (path, value) in lines {
        match &value {
            Scalar::Text(text) | Scalar::Number(text) => collected.add(path, text.as_ref()),
            Scalar::Bool(value) => collected.add(path, rules.bool_style.text(*value)),
            Scalar::Null => {
                if let Some(text) = rules.null_style.text() {
                    collected.add(path, text);
                }
            }
        }
    }
    collected.joined()
}

/// The lines of one body one behind the other, so that there is one buffer to wipe and not one for
/// each line.
#[derive(Default)]
struct Lines {
    text: CleartextBody,
    spans: Vec<Range<usize>>,
}

impl Lines {
    fn add(&mut self, path: impl AsRef<[u8]>, value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(path.as_ref());
        self.text.push(b':');
        self.text.extend_from_slice(value);
        self.spans.push(start..self.text.len());
    }

    fn joined(self) -> CleartextBody {
        let Self { text, mut spans } = self;
        let line = |span: &Range<usize>| text.as_bytes().get(span.clone()).unwrap_or_default();
        spans.sort_unstable_by(|a, b| line(a).cmp(line(b)));
        let mut joined = CleartextBody::with_capacity(text.len() + spans.len());
        for (position, span) in spans.iter().enumerate() {
            if position > 0 {
                joined.push(b';');
            }
            joined.extend_from_slice(line(span));
        }
        joined
    }
}

#[cfg(test)]
mod tests {
    use super::Scalar::{Bool, Null, Number, Text};
    use super::*;

    fn usual<'l>(lines: impl IntoIterator<Item = (&'l str, Scalar<&'l str>)>) -> String {
        by(NormaliseRules::default(), lines)
    }

    fn by<'l>(
        rules: NormaliseRules,
        lines: impl IntoIterator<Item = (&'l str, Scalar<&'l str>)>,
    ) -> String {
        String::from_utf8(normalise_by(rules, lines).as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn the_example_of_the_scheme_has_its_text() {
        let lines = [
            ("general:project_id", Text("prj-1")),
            ("general:payment_id", Text("ord-7")),
            ("payment:method", Text("card-ecom")),
            ("payment:amount", Number("10000")),
            ("payment:currency", Text("RUB")),
            ("customer:id", Text("c1")),
            ("customer:ip_address", Text("203.0.113.7")),
        ];
        assert_eq!(
            normalise(lines).as_bytes(),
            b"customer:id:c1;customer:ip_address:203.0.113.7;general:payment_id:ord-7;\
              general:project_id:prj-1;payment:amount:10000;payment:currency:RUB;\
              payment:method:card-ecom"
        );
    }

    /// `{"a":true,"b":[1,null],"c":{}}`: an empty object has no scalar and so no line.
    #[test]
    fn truth_null_and_places_have_their_spelling() {
        let lines = || [("a", Bool(true)), ("b:0", Number("1")), ("b:1", Null)];
        let by = |bool_style, null_style| by(NormaliseRules { bool_style, null_style }, lines());
        assert_eq!(usual(lines()), "a:1;b:0:1;b:1:None");
        assert_eq!(by(BoolStyle::TrueFalse, NullStyle::Empty), "a:true;b:0:1;b:1:");
        assert_eq!(by(BoolStyle::OneZero, NullStyle::Skip), "a:1;b:0:1");
        assert_eq!(usual([("a", Bool(false))]), "a:0");
        assert_eq!(BoolStyle::TrueFalse.text(false), b"false");
    }

    #[test]
    fn lines_are_ordered_as_whole_lines_by_their_bytes() {
        let lines = [
            ("é", "9"),
            ("a", "x"),
            ("a:b", "1"),
            ("a-b", "2"),
            ("ab", "3"),
            ("B", "4"),
            ("l:10", "5"),
            ("l:2", "6"),
            ("\u{10000}", "8"),
            ("\u{e000}", "7"),
        ];
        // `-` stands before `:` and `:` before letters; 10 before 2, because places are text too.
        let expected = "B:4;a-b:2;a:b:1;a:x;ab:3;l:10:5;l:2:6;é:9;\u{e000}:7;\u{10000}:8";
        assert_eq!(usual(lines.map(|(path, text)| (path, Text(text)))), expected);
        let backwards = lines.iter().rev().map(|(path, text)| (*path, Number(*text)));
        assert_eq!(usual(backwards), expected);
    }

    #[test]
    fn numbers_keep_the_spelling_that_was_sent() {
        for lexeme in ["1.0", "1.10", "-0", "1E2", "0.30000000000000004", "98765432109876543210"] {
            assert_eq!(usual([("n", Number(lexeme))]), format!("n:{lexeme}"));
        }
    }

    #[test]
    fn separators_inside_a_value_stay_and_make_two_bodies_alike() {
        assert_eq!(usual([("a", Text("1;b:2"))]), "a:1;b:2");
        assert_eq!(usual([("a", Number("1")), ("b", Number("2"))]), "a:1;b:2");
        assert_eq!(usual([("a:1;b", Number("2"))]), "a:1;b:2");
    }

    #[test]
    fn an_empty_body_has_an_empty_text_and_equal_lines_all_count() {
        assert_eq!(usual([]), "");
        assert_eq!(usual([("", Text(""))]), ":");
        assert_eq!(usual([("a", Number("1")), ("a", Number("1"))]), "a:1;a:1");
    }

    #[test]
    fn the_names_of_a_profile_are_known_and_no_others() {
        assert_eq!(BoolStyle::named("one_zero"), Some(BoolStyle::OneZero));
        assert_eq!(BoolStyle::named("true_false"), Some(BoolStyle::TrueFalse));
        assert_eq!(NullStyle::named("none"), Some(NullStyle::NoneWord));
        assert_eq!(NullStyle::named("empty"), Some(NullStyle::Empty));
        assert_eq!(NullStyle::named("skip"), Some(NullStyle::Skip));
        assert_eq!((BoolStyle::named("1/0"), NullStyle::named("None")), (None, None));
    }

    #[test]
    fn debug_prints_nothing_of_a_value() {
        let shown = format!("{:?} {:?}", Text("canary"), Number::<&str>("4111"));
        assert_eq!(shown, "Scalar(..) Scalar(..)");
    }
}
