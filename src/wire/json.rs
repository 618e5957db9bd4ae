//! JSON documents: a flat tape over the input, read by walking.
//!
//! A [`Document`] holds offsets into the input and nothing else; a [`Value`] is a place on it.
//! Numbers are never converted: [`Value::raw`] is the lexeme the sender wrote, because a signature
//! covers the spelling. Nothing here prints, copies or changes the input.

use std::fmt;
use std::ops::Range;

use super::tape::Tape;
use super::{Pointer, Span, Text, WireError, parser};

/// How deep objects and arrays may nest.
pub const DEPTH_MAX: usize = 64;

/// The parent of the root.
pub(super) const ROOT: u32 = u32::MAX;

/// Parses a JSON text (RFC 8259) strictly: no byte order mark, no invalid UTF-8, no trailing bytes,
/// no duplicate names, no lone surrogates, no more than [`DEPTH_MAX`] levels.
///
/// # Errors
/// [`WireError`] with the place and the category.
pub fn parse(input: &[u8]) -> Result<Document<'_>, WireError> {
    let (input, tape) = parser::tape(input)?;
    Ok(Document { input, tape })
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number, in whatever spelling
    Number,
    /// A string
    String,
    /// `[…]`
    Array,
    /// `{…}`
    Object,
}

/// One entry of the tape: a value or a member's name. The name comes right before its value.
pub(super) struct Node {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The entry after this one and everything inside it.
    pub(super) next: u32,
    pub(super) parent: u32,
    /// The place among the parent's children; a name has the place of its value.
    pub(super) position: u32,
    pub(super) kind: Kind,
    pub(super) key: bool,
    pub(super) escaped: bool,
}

impl Node {
    fn is_container(&self) -> bool {
        matches!(self.kind, Kind::Array | Kind::Object)
    }

    /// A string's bytes between its quotes.
    pub(super) fn inner<'a>(&self, input: &'a [u8]) -> &'a [u8] {
        input.get(self.within()).unwrap_or_default()
    }

    fn within(&self) -> Range<usize> {
        self.start as usize + 1..(self.end as usize).saturating_sub(1)
    }
}

/// A parsed JSON text.
pub struct Document<'a> {
    input: &'a str,
    tape: Tape,
}

impl<'a> Document<'a> {
    /// The value that is the whole text.
    #[must_use]
    pub fn root(&self) -> Value<'_> {
        self.value(0)
    }

    /// The bytes that were parsed.
    #[must_use]
    pub fn input(&self) -> &'a [u8] {
        self.input.as_bytes()
    }

    /// The value the pointer names; of several, as a wildcard may name them, the first.
    #[must_use]
    pub fn find(&self, pointer: &Pointer) -> Option<Value<'_>> {
        pointer.first(self.root())
    }

    /// Every value the pointer names, in the order of the text.
    #[must_use]
    pub fn select(&self, pointer: &Pointer) -> Vec<Value<'_>> {
        pointer.all(self.root())
    }

    /// Every scalar, in the order of the text.
    pub fn values(&self) -> impl Iterator<Item = Value<'_>> {
        self.entries().filter(|value| !value.is_key())
    }

    /// Every scalar and every member's name, in the order of the text.
    pub(super) fn entries(&self) -> impl Iterator<Item = Value<'_>> {
        let indexed = (0u32..).zip(self.tape.iter());
        indexed.filter(|(_, node)| !node.is_container()).map(|(index, _)| self.value(index))
    }

    /// The pointer to `value`. It is made of names from the input: for use where a profile names
    /// the place anyway, cut after [`PATH_MAX`] bytes.
    #[must_use]
    pub fn path_of(&self, value: Value<'_>) -> String {
        let mut path = String::new();
        for step in value.steps() {
            path.push('/');
            match step {
                Step::Index(index) => path.push_str(&index.to_string()),
                Step::Key(key) => super::pointer::write_escaped(
                    &mut path,
                    key.text().as_ref().map_or("", Text::as_str),
                ),
            }
            if path.len() > PATH_MAX {
                path.truncate(path.floor_char_boundary(PATH_MAX));
                break;
            }
        }
        path
    }

    fn value(&self, index: u32) -> Value<'_> {
        Value { input: self.input, tape: &self.tape, index }
    }
}

/// The longest text [`Document::path_of`] gives.
pub const PATH_MAX: usize = 256;

impl fmt::Debug for Document<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document(..)")
    }
}

/// One way down from a container to a child.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Into an object's member; the value is the name.
    Key(Value<'a>),
    /// Into an array's element.
    Index(u32),
}

/// A value of a document, or a member's name.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    input: &'a str,
    tape: &'a [Node],
    index: u32,
}

impl<'a> Value<'a> {
    /// What it is. A name is a string.
    #[must_use]
    pub fn kind(self) -> Kind {
        self.node().map_or(Kind::Null, |node| node.kind)
    }

    /// Where it stands in the input; a string's span includes the quotes.
    #[must_use]
    pub fn span(self) -> Span {
        self.node().map_or(Span { start: 0, end: 0 }, |node| Span {
            start: node.start as usize,
            end: node.end as usize,
        })
    }

    /// The bytes as the sender wrote them, a string with its quotes.
    #[must_use]
    pub fn raw(self) -> &'a [u8] {
        let Span { start, end } = self.span();
        self.input.as_bytes().get(start..end).unwrap_or_default()
    }

    /// A string's decoded text; nothing for other kinds.
    #[must_use]
    pub fn text(self) -> Option<Text<'a>> {
        let node = self.node()?;
        let inner = || self.input.get(node.within()).unwrap_or_default();
        (node.kind == Kind::String).then(|| Text::of(inner(), node.escaped))
    }

    /// Whether this is a string whose decoded text is `text`.
    #[must_use]
    pub fn is_text(self, text: &str) -> bool {
        match self.node() {
            Some(node) if node.kind != Kind::String => false,
            Some(node) if !node.escaped => node.inner(self.input.as_bytes()) == text.as_bytes(),
            _ => self.text().is_some_and(|decoded| decoded.as_str() == text),
        }
    }

    /// A string's bytes between the quotes, and whether escapes are among them.
    pub(super) fn inner(self) -> Option<(&'a [u8], bool)> {
        let node = self.node()?;
        (node.kind == Kind::String).then(|| (node.inner(self.input.as_bytes()), node.escaped))
    }

    /// Whether this is a member's name and not a value.
    #[must_use]
    pub fn is_key(self) -> bool {
        self.node().is_some_and(|node| node.key)
    }

    /// The name of the member this is the value of.
    #[must_use]
    pub fn key(self) -> Option<Value<'a>> {
        if self.is_key() {
            return None;
        }
        Some(self.at(self.index.checked_sub(1)?)).filter(|before| before.is_key())
    }

    /// The container this stands in.
    #[must_use]
    pub fn parent(self) -> Option<Value<'a>> {
        let parent = self.node()?.parent;
        (parent != ROOT).then(|| self.at(parent))
    }

    /// The place among the container's children, from zero.
    #[must_use]
    pub fn position(self) -> u32 {
        self.node().map_or(0, |node| node.position)
    }

    /// The way from the root to this value. No allocation: signing walks it for every scalar.
    pub fn steps(self) -> impl Iterator<Item = Step<'a>> {
        let mut way = [self; DEPTH_MAX];
        let (mut depth, mut here) = (0, self);
        while let (Some(parent), Some(slot)) = (here.parent(), way.get_mut(depth)) {
            *slot = here;
            depth += 1;
            here = parent;
        }
        way.into_iter().rev().skip(DEPTH_MAX - depth).map(Value::step)
    }

    /// An object's members, name and value; none for other kinds.
    pub fn members(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let object = self.kind() == Kind::Object;
        let mut keys = self.children(object, 1);
        std::iter::from_fn(move || keys.next().map(|key| (key, key.at(key.index + 1))))
    }

    /// An array's elements; none for other kinds.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        self.children(self.kind() == Kind::Array, 0)
    }

    /// The entries right below, each followed by `beside` entries that belong to it.
    fn children(self, any: bool, beside: u32) -> impl Iterator<Item = Value<'a>> {
        let end = if any { self.node().map_or(0, |node| node.next) } else { 0 };
        let mut index = self.index + 1;
        std::iter::from_fn(move || {
            let child = (index < end).then(|| self.at(index))?;
            index = child.at(index + beside).node()?.next;
            Some(child)
        })
    }

    fn at(self, index: u32) -> Self {
        Self { index, ..self }
    }

    fn node(self) -> Option<&'a Node> {
        self.tape.get(self.index as usize)
    }

    fn step(self) -> Step<'a> {
        if self.is_key() {
            return Step::Key(self);
        }
        self.key().map_or_else(|| Step::Index(self.position()), Step::Key)
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Value({:?}, {:?})", self.kind(), self.span())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Category;

    const SALE: &[u8] = br#"{ "data": {"type":"sale-operation", "attributes":
        {"card_number":"tok_1","exp":[10, 2035e0],"h\u006flder":"A \u00e9","3ds":null,"x":{}}}}"#;

    fn category(body: &[u8]) -> Option<Category> {
        parse(body).err().map(|error| error.category)
    }

    fn find<'a>(document: &'a Document<'_>, pointer: &str) -> Option<Value<'a>> {
        document.find(&Pointer::parse(pointer).unwrap())
    }

    #[test]
    fn values_are_found_with_their_exact_bytes() {
        let document = parse(SALE).unwrap();
        let number = find(&document, "/data/attributes/card_number").unwrap();
        assert_eq!(number.raw(), b"\"tok_1\"");
        assert_eq!(&SALE[number.span().start..number.span().end], b"\"tok_1\"");
        assert_eq!(find(&document, "/data/attributes/exp/1").unwrap().raw(), b"2035e0");
        let holder = find(&document, "/data/attributes/holder").unwrap();
        assert_eq!(holder.text().unwrap().as_str(), "A é");
        assert_eq!(holder.key().unwrap().raw(), br#""h\u006flder""#);
        assert!(find(&document, "/data/attributes/none").is_none());
    }

    #[test]
    fn every_scalar_is_walked_with_its_path_and_lexeme() {
        let document = parse(SALE).unwrap();
        let walked: Vec<_> = document
            .values()
            .map(|value| format!("{}={}", document.path_of(value), value.raw().len()))
            .collect();
        let expected = [
            "/data/type=16",
            "/data/attributes/card_number=7",
            "/data/attributes/exp/0=2",
            "/data/attributes/exp/1=6",
            "/data/attributes/holder=10",
            "/data/attributes/3ds=4",
        ];
        assert_eq!(walked, expected);
    }

    #[test]
    fn a_path_escapes_its_names_and_ends() {
        let document = parse(br#"{"a/b~":[{"":1}]}"#).unwrap();
        let value = document.values().next().unwrap();
        assert_eq!(document.path_of(value), "/a~1b~0/0/");
        assert_eq!(find(&document, "/a~1b~0/0/").unwrap().raw(), b"1");
        let long = format!("{{\"{}\":1}}", "é".repeat(1000));
        let document = parse(long.as_bytes()).unwrap();
        let value = document.values().next().unwrap();
        assert_eq!(document.path_of(value).len(), 255);
    }

    #[test]
    fn members_and_items_skip_what_is_inside_them() {
        let document = parse(br#"{"a":{"b":[1,2]},"c":[3,[4],{}],"d":5}"#).unwrap();
        let names: Vec<_> = document.root().members().map(|(key, _)| key.raw().len()).collect();
        assert_eq!(names.len(), 3);
        let list = find(&document, "/c").unwrap();
        assert_eq!(
            list.items().map(Value::kind).collect::<Vec<_>>(),
            [Kind::Number, Kind::Array, Kind::Object]
        );
        assert_eq!(list.members().count() + document.root().items().count(), 0);
        assert_eq!(list.items().last().unwrap().position(), 2);
    }

    #[test]
    fn what_another_parser_might_read_differently_is_refused() {
        let cases: [(&[u8], Category); 16] = [
            (b"\xef\xbb\xbf{}", Category::Bom),
            (b"\xff\xfe{\0}\0", Category::Utf8),
            (b"[\"\xe9\"]", Category::Utf8),
            (b"[\"\xc0\xaf\"]", Category::Utf8),
            (b"{} {}", Category::JsonTrailing),
            (b"1 \0", Category::JsonTrailing),
            (b"", Category::JsonSyntax),
            (b"{\"a\":1,}", Category::JsonSyntax),
            (b"[1,]", Category::JsonSyntax),
            (b"[01]", Category::JsonSyntax),
            (b"[+1]", Category::JsonSyntax),
            (b"['a']", Category::JsonSyntax),
            (b"[\"a\nb\"]", Category::JsonSyntax),
            (b"[1] // note", Category::JsonTrailing),
            (br#"["\ud800"]"#, Category::JsonSurrogate),
            (br#"["\x41"]"#, Category::JsonSyntax),
        ];
        for (body, expected) in cases {
            assert_eq!(category(body), Some(expected), "{body:?}");
        }
    }

    #[test]
    fn nesting_ends_at_the_limit() {
        let nested = |depth: usize| ["[".repeat(depth), "]".repeat(depth)].concat();
        assert_eq!(category(nested(DEPTH_MAX).as_bytes()), None);
        assert_eq!(category(nested(DEPTH_MAX + 1).as_bytes()), Some(Category::JsonDepth));
        let deepest = nested(DEPTH_MAX).replace("[]", "[7]");
        let document = parse(deepest.as_bytes()).unwrap();
        assert_eq!(document.values().next().unwrap().steps().count(), DEPTH_MAX);
    }

    #[test]
    fn debug_shows_places_and_no_input() {
        let document = parse(br#"{"number":"4111111111111111"}"#).unwrap();
        let value = document.values().next().unwrap();
        let shown = format!("{document:?} {value:?} {:?}", value.steps().collect::<Vec<_>>());
        assert!(!shown.contains("4111") && !shown.contains("number"), "{shown}");
    }
}
