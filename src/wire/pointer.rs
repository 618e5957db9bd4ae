//! JSON pointers (RFC 6901) with one addition: `*` names every element and every member.
//!
//! Pointers come from profiles, never from a request.

use std::fmt;

use super::json::{Kind, Value};
use super::{Category, WireError};

/// The longest pointer, in steps; no document is deeper.
const STEPS_MAX: usize = super::json::DEPTH_MAX;

/// A way into a document.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pointer(Box<[Token]>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Token {
    /// A member's name, or an element's place when `index` says so.
    Name { name: Box<str>, index: Option<usize> },
    /// Every child.
    Any,
}

impl Pointer {
    /// Reads `/data/attributes/card_number`; the empty text is the whole document.
    ///
    /// # Errors
    /// When it does not begin with `/`, has a `~` that escapes nothing, or has too many steps.
    pub fn parse(text: &str) -> Result<Self, WireError> {
        let wrong = || WireError::at(Category::Pointer, &[], 0);
        if text.is_empty() {
            return Ok(Self(Box::default()));
        }
        let steps = text.strip_prefix('/').ok_or_else(wrong)?.split('/');
        let tokens: Option<Box<[Token]>> = steps.map(Token::parse).collect();
        tokens.filter(|tokens| tokens.len() <= STEPS_MAX).map(Self).ok_or_else(wrong)
    }

    pub(super) fn first<'a>(&self, root: Value<'a>) -> Option<Value<'a>> {
        if self.0.contains(&Token::Any) {
            return self.all(root).into_iter().next();
        }
        self.0.iter().try_fold(root, |value, token| token.children(value).next())
    }

    pub(super) fn all<'a>(&self, root: Value<'a>) -> Vec<Value<'a>> {
        self.0.iter().fold(vec![root], |values, token| {
            values.into_iter().flat_map(|value| token.children(value)).collect()
        })
    }
}

impl Pointer {
    /// What this names beside a value that `other` named: in the same element of a list.
    #[must_use]
    pub fn beside<'a>(&self, other: &Self, value: Value<'a>) -> Option<Value<'a>> {
        let shared = other.lists();
        let up = other.0.len() - shared;
        let element = (0..up).try_fold(value, |value, _| value.parent())?;
        let way = self.0.get(shared..)?;
        way.iter().try_fold(element, |value, token| token.children(value).next())
    }

    /// Whether this names one value beside each that `other` names.
    #[must_use]
    pub fn is_beside(&self, other: &Self) -> bool {
        let shared = other.lists();
        self.lists() == shared && self.0.get(..shared) == other.0.get(..shared)
    }

    /// Steps up to the last that names every element.
    fn lists(&self) -> usize {
        self.0.iter().rposition(|token| *token == Token::Any).map_or(0, |last| last + 1)
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for token in &self.0 {
            text.push('/');
            match token {
                Token::Any => text.push('*'),
                Token::Name { name, .. } => write_escaped(&mut text, name),
            }
        }
        f.write_str(&text)
    }
}

impl Token {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let mut parts = text.split('~');
        let mut name = String::from(parts.next().unwrap_or_default());
        for part in parts {
            let (escaped, rest) = part.split_at_checked(1)?;
            name.push(match escaped {
                "0" => '~',
                "1" => '/',
                _ => return None,
            });
            name.push_str(rest);
        }
        let index = index(&name);
        Some(Self::Name { name: name.into_boxed_str(), index })
    }

    /// The children of `value` that this token names.
    fn children<'a>(&self, value: Value<'a>) -> impl Iterator<Item = Value<'a>> + use<'a, '_> {
        let is_array = value.kind() == Kind::Array;
        let members = value
            .members()
            .filter(move |(key, _)| match self {
                Self::Any => true,
                Self::Name { name, .. } => key.is_text(name),
            })
            .map(|(_, member)| member);
        let (skip, take) = match self {
            Self::Any => (0, usize::MAX),
            Self::Name { index: Some(index), .. } if is_array => (*index, 1),
            Self::Name { .. } => (0, 0),
        };
        members.chain(value.items().skip(skip).take(take))
    }
}

/// An array index: digits without a leading zero.
fn index(name: &str) -> Option<usize> {
    let is_index =
        name == "0" || (!name.starts_with('0') && name.bytes().all(|byte| byte.is_ascii_digit()));
    is_index.then(|| name.parse().ok()).flatten()
}

pub(super) fn write_escaped(text: &mut String, name: &str) {
    for char in name.chars() {
        match char {
            '~' => text.push_str("~0"),
            '/' => text.push_str("~1"),
            char => text.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    #[test]
    fn beside_each_value_of_a_list_is_what_its_own_element_has() {
        let json =
            br#"{"data":[{"id":"a","x":{"t":1}},{"x":{"t":2}},{"id":"c","x":{"t":3}}],"id":"d"}"#;
        let document = parse(json).unwrap();
        let beside = |id: &str, other: &str| -> Vec<_> {
            let (id, other) = (Pointer::parse(id).unwrap(), Pointer::parse(other).unwrap());
            let texts = document.select(&other).into_iter().map(|value| {
                let id = id.beside(&other, value)?;
                id.text().map(|text| text.as_str().to_owned())
            });
            texts.map(Option::unwrap_or_default).collect()
        };
        assert_eq!(beside("/data/*/id", "/data/*/x/t"), ["a", "", "c"]);
        assert_eq!(beside("/id", "/data/1/x/t"), ["d"]);
        assert_eq!(beside("/data/2/id", "/data/1/x/t"), ["c"]);
    }

    #[test]
    fn a_pointer_is_beside_another_where_both_go_through_the_same_lists() {
        let beside = |this: &str, other: &str| {
            Pointer::parse(this).unwrap().is_beside(&Pointer::parse(other).unwrap())
        };
        for (this, other) in [("/id", "/a/t"), ("/data/*/id", "/data/*/a/t"), ("/*/*/i", "/*/*/t")]
        {
            assert!(beside(this, other), "{this} {other}");
        }
        for (this, other) in [
            ("/data/*/id", "/data/t"),
            ("/data/0/id", "/data/*/t"),
            ("/id", "/*/t"),
            ("/*/*/i", "/*/t"),
        ] {
            assert!(!beside(this, other), "{this} {other}");
        }
    }

    /// The document of RFC 6901 §5.
    const RFC: &str = r##"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,
        "k\"l":6," ":7,"m~n":8}"##;

    fn pointer(text: &str) -> Pointer {
        Pointer::parse(text).unwrap()
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        let document = parse(RFC.as_bytes()).unwrap();
        let cases = [
            ("/foo", r#"["bar","baz"]"#),
            ("/foo/0", r#""bar""#),
            ("/", "0"),
            ("/a~1b", "1"),
            ("/c%d", "2"),
            ("/e^f", "3"),
            ("/g|h", "4"),
            ("/i\\j", "5"),
            ("/k\"l", "6"),
            ("/ ", "7"),
            ("/m~0n", "8"),
        ];
        for (text, expected) in cases {
            let found = document.find(&pointer(text)).unwrap();
            assert_eq!(found.raw(), expected.as_bytes(), "{text}");
            assert_eq!(pointer(text).to_string(), text);
        }
        assert_eq!(document.find(&pointer("")).unwrap().raw(), RFC.as_bytes());
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let document = parse(RFC.as_bytes()).unwrap();
        for text in ["/foo/2", "/foo/00", "/foo/-", "/foo/bar", "/foo/0/x", "/fo", "/*/x"] {
            assert!(document.find(&pointer(text)).is_none(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_names_every_child() {
        let document = parse(br#"{"a":[{"p":1},{"q":2},{"p":3}],"b":{"c":{"p":4}}}"#).unwrap();
        let raws = |text: &str| -> Vec<_> {
            document.select(&pointer(text)).into_iter().map(Value::raw).collect()
        };
        assert_eq!(raws("/a/*/p"), [b"1", b"3"]);
        assert_eq!(raws("/*/*/p"), [b"1", b"3", b"4"]);
        assert_eq!(document.find(&pointer("/a/*/p")).unwrap().raw(), b"1");
    }

    #[test]
    fn what_is_no_pointer_is_refused() {
        for text in ["a", "a/b", "/~", "/~2", "/a~", "/é~é"] {
            assert!(Pointer::parse(text).is_err(), "{text}");
        }
        assert!(Pointer::parse(&"/a".repeat(STEPS_MAX)).is_ok());
        assert!(Pointer::parse(&"/a".repeat(STEPS_MAX + 1)).is_err());
    }
}
