//! The JSON parser: RFC 8259 and nothing besides, into a flat tape.
//!
//! It refuses byte order marks, invalid UTF-8, trailing bytes, duplicate names, lone surrogates and
//! deep nesting, because each of them is something on which another parser may decide otherwise. It
//! has no recursion and copies no input; the open containers are linked through the tape itself.

use super::json::{DEPTH_MAX, Kind, Node, ROOT};
use super::lanes::plain_prefix;
use super::tape::Tape;
use super::unique::duplicate_key;
use super::{Category, WireError, text};

/// Parses the whole input: its characters, and the places in it.
pub(super) fn tape(input: &[u8]) -> Result<(&str, Tape), WireError> {
    let text = characters(input)?;
    let tape = Tape::with_room(nodes_expected(input));
    let mut parser = Parser { input, at: 0, tape, open: ROOT, depth: 0 };
    match parser.document() {
        Ok(()) => Ok((text, parser.tape)),
        Err(fault) => Err(WireError::at(fault.category, input, fault.offset)),
    }
}

/// Room for most texts: a node for every two quotes, and some for what has none. Room is cleared
/// when it is given back, so none is taken for long strings.
fn nodes_expected(input: &[u8]) -> usize {
    memchr::memchr_iter(b'"', input).count() / 2 + input.len() / 32 + 4
}

/// UTF-8 without a byte order mark, and short enough for the tape's offsets.
fn characters(input: &[u8]) -> Result<&str, WireError> {
    if u32::try_from(input.len()).is_err() {
        return Err(WireError::at(Category::TooLarge, &[], 0));
    }
    if input.starts_with(b"\xef\xbb\xbf") {
        return Err(WireError::at(Category::Bom, input, 0));
    }
    let characters = std::str::from_utf8(input);
    characters.map_err(|error| WireError::at(Category::Utf8, input, error.valid_up_to()))
}

struct Fault {
    category: Category,
    offset: usize,
}

struct Parser<'a> {
    input: &'a [u8],
    at: usize,
    tape: Tape,
    /// The innermost open container. While a container is open, its `next` counts its children.
    open: u32,
    depth: usize,
}

impl Parser<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        self.skip_space();
        self.value()?;
        while let Some((kind, children)) = self.opened() {
            self.skip_space();
            match kind {
                Kind::Object => self.member(children)?,
                _ => self.item(children)?,
            }
        }
        self.skip_space();
        if self.at < self.input.len() {
            return Err(self.fault(Category::JsonTrailing));
        }
        Ok(())
    }

    /// The open container's kind and how many children it has so far.
    fn opened(&self) -> Option<(Kind, u32)> {
        self.tape.get(self.open as usize).map(|node| (node.kind, node.next))
    }

    fn member(&mut self, children: u32) -> Result<(), Fault> {
        if self.peek() == Some(b'}') {
            return self.close();
        }
        self.comma_unless_first(children)?;
        if self.peek() != Some(b'"') {
            return Err(self.fault(Category::JsonSyntax));
        }
        self.string(true)?;
        self.skip_space();
        self.expect(b':')?;
        self.skip_space();
        self.value()
    }

    fn item(&mut self, children: u32) -> Result<(), Fault> {
        if self.peek() == Some(b']') {
            return self.close();
        }
        self.comma_unless_first(children)?;
        self.value()
    }

    fn comma_unless_first(&mut self, children: u32) -> Result<(), Fault> {
        if children == 0 {
            return Ok(());
        }
        self.expect(b',')?;
        self.skip_space();
        Ok(())
    }

    fn value(&mut self) -> Result<(), Fault> {
        match self.peek() {
            Some(b'"') => self.string(false),
            Some(b'{') => self.container(Kind::Object),
            Some(b'[') => self.container(Kind::Array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true", Kind::Bool),
            Some(b'f') => self.literal(b"false", Kind::Bool),
            Some(b'n') => self.literal(b"null", Kind::Null),
            _ => Err(self.fault(Category::JsonSyntax)),
        }
    }

    fn container(&mut self, kind: Kind) -> Result<(), Fault> {
        if self.depth == DEPTH_MAX {
            return Err(self.fault(Category::JsonDepth));
        }
        self.depth += 1;
        let opened = self.push(kind, self.at, self.at);
        self.at += 1;
        self.open = opened;
        if let Some(node) = self.tape.get_mut(opened as usize) {
            node.next = 0;
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.at += 1;
        let (index, end, next) = (self.open, offset(self.at), offset(self.tape.len()));
        let Some(node) = self.tape.get_mut(index as usize) else {
            return Err(self.fault(Category::JsonSyntax));
        };
        let (kind, children) = (node.kind, node.next);
        (node.end, node.next) = (end, next);
        self.open = node.parent;
        self.depth -= 1;
        if kind == Kind::Object
            && let Some(offset) = duplicate_key(self.input, &self.tape, index, children)
        {
            return Err(Fault { category: Category::JsonDuplicateKey, offset });
        }
        Ok(())
    }

    fn string(&mut self, key: bool) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        let mut escaped = false;
        loop {
            self.at += plain_prefix(self.input.get(self.at..).unwrap_or_default());
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => self.escape()?,
                _ => return Err(self.fault(Category::JsonSyntax)),
            }
            escaped = true;
        }
        self.at += 1;
        let index = self.push(Kind::String, start, self.at);
        if let Some(node) = self.tape.get_mut(index as usize) {
            (node.key, node.escaped) = (key, escaped);
        }
        if !key {
            return Ok(());
        }
        // The key took a place among the children; its value takes the same one.
        if let Some(parent) = self.tape.get_mut(self.open as usize) {
            parent.next -= 1;
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), Fault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        if let Some(escape) = text::escape(rest) {
            self.at += escape.len;
            return Ok(());
        }
        let is_unit = rest.get(1) == Some(&b'u') && rest.get(2..6).and_then(text::hex).is_some();
        Err(self.fault(if is_unit { Category::JsonSurrogate } else { Category::JsonSyntax }))
    }

    fn number(&mut self) -> Result<(), Fault> {
        let start = self.at;
        self.skip_if(|byte| byte == b'-');
        if !self.skip_if(|byte| byte == b'0') {
            self.digits()?;
        }
        if self.skip_if(|byte| byte == b'.') {
            self.digits()?;
        }
        if self.skip_if(|byte| matches!(byte, b'e' | b'E')) {
            self.skip_if(|byte| matches!(byte, b'+' | b'-'));
            self.digits()?;
        }
        self.push(Kind::Number, start, self.at);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let rest = self.input.get(self.at..).unwrap_or_default();
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.fault(Category::JsonSyntax));
        }
        self.at += count;
        Ok(())
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<(), Fault> {
        if !self.input.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault(Category::JsonSyntax));
        }
        let start = self.at;
        self.at += word.len();
        self.push(kind, start, self.at);
        Ok(())
    }

    /// Appends a node below the open container and counts it there.
    fn push(&mut self, kind: Kind, start: usize, end: usize) -> u32 {
        let index = offset(self.tape.len());
        let mut position = 0;
        if let Some(parent) = self.tape.get_mut(self.open as usize) {
            position = parent.next;
            parent.next += 1;
        }
        self.tape.push(Node {
            start: offset(start),
            end: offset(end),
            next: index + 1,
            parent: self.open,
            position,
            kind,
            key: false,
            escaped: false,
        });
        index
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn skip_if(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.skip_if(|found| found == byte) {
            return Ok(());
        }
        Err(self.fault(Category::JsonSyntax))
    }

    fn peek(&self) -> Option<u8> {
        self.input.get(self.at).copied()
    }

    fn fault(&self, category: Category) -> Fault {
        Fault { category, offset: self.at }
    }
}

/// [`characters`] has made sure that every offset fits.
fn offset(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
