//! Names of one object must differ after decoding (RFC 8259 §4 leaves it open; two readers that
//! disagree on which of two members counts would see two different cards).

use std::cmp::Ordering;

use super::json::Node;
use super::text::Text;

/// Up to this many names, comparing is cheaper than sorting.
const FEW: usize = 32;

/// The offset of a name that the object at `index` already has.
pub(super) fn duplicate_key(
    input: &[u8],
    tape: &[Node],
    index: u32,
    members: u32,
) -> Option<usize> {
    if members < 2 {
        return None;
    }
    let keys = Keys { input, tape, at: index as usize + 1 };
    if members as usize <= FEW && keys.clone().all(|key| !key.escaped) {
        return among_few(keys);
    }
    among_many(keys)
}

/// The names of one object, in order.
#[derive(Clone)]
struct Keys<'a> {
    input: &'a [u8],
    tape: &'a [Node],
    at: usize,
}

struct Key<'a> {
    inner: &'a [u8],
    escaped: bool,
    offset: usize,
}

impl<'a> Iterator for Keys<'a> {
    type Item = Key<'a>;

    fn next(&mut self) -> Option<Key<'a>> {
        let key = self.tape.get(self.at)?;
        self.at = self.tape.get(self.at + 1)?.next as usize;
        Some(Key { inner: key.inner(self.input), escaped: key.escaped, offset: key.start as usize })
    }
}

/// A set of one-bit marks tells most names apart at once; names that share a mark are compared.
fn among_few(keys: Keys<'_>) -> Option<usize> {
    let mut marks = 0u64;
    for (position, key) in keys.clone().enumerate() {
        let mark = mark(key.inner);
        if marks & mark != 0
            && keys.clone().take(position).any(|earlier| earlier.inner == key.inner)
        {
            return Some(key.offset);
        }
        marks |= mark;
    }
    None
}

/// Sorting keeps the work far from the square of the number of names, also when an attacker chooses
/// them, which a hash table without a secret could not promise.
fn among_many(keys: Keys<'_>) -> Option<usize> {
    let mut sorted: Vec<Named<'_>> = keys.map(Named::of).collect();
    sorted.sort_unstable_by(Named::compare);
    let repeated = sorted.windows(2).filter_map(|pair| match pair {
        [first, second] if first.name.as_bytes() == second.name.as_bytes() => Some(second.offset),
        _ => None,
    });
    repeated.min()
}

/// A name to be sorted. Names of one object begin alike more often than they end alike.
struct Named<'a> {
    end: u64,
    name: Text<'a>,
    offset: usize,
}

impl<'a> Named<'a> {
    fn of(key: Key<'a>) -> Self {
        let name = Text::decode(key.inner, key.escaped);
        let last = name.as_bytes().iter().rev().take(8);
        let end = last.fold(0, |end, byte| end << 8 | u64::from(*byte));
        Self { end, name, offset: key.offset }
    }

    fn compare(&self, other: &Self) -> Ordering {
        let by_name = || self.name.as_bytes().cmp(other.name.as_bytes());
        let by_end = self.end.cmp(&other.end);
        by_end.then_with(by_name).then_with(|| self.offset.cmp(&other.offset))
    }
}

fn mark(name: &[u8]) -> u64 {
    let first = name.first().map_or(0, |byte| u32::from(*byte));
    let last = name.last().map_or(0, |byte| u32::from(*byte));
    let middle = name.get(name.len() / 2).map_or(0, |byte| u32::from(*byte));
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    let mixed = first.wrapping_mul(7) ^ last.wrapping_mul(31) ^ middle.wrapping_mul(13);
    1 << ((mixed ^ length.wrapping_mul(5)) % 64)
}

#[cfg(test)]
mod tests {
    use crate::wire::{Category, parse};

    fn category(body: &str) -> Option<Category> {
        parse(body.as_bytes()).err().map(|error| error.category)
    }

    #[test]
    fn equal_names_are_refused_however_they_are_written() {
        let pairs = [
            r#"{"pan":1,"pan":2}"#,
            r#"{"pan":1,"x":{},"p\u0061n":2}"#,
            r#"{"\u0070an":1,"pan":2}"#,
            r#"{"":1,"":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"[{"a":[1,{"a":2}],"a":3}]"#,
            r#"{"\/":1,"/":2}"#,
        ];
        for body in pairs {
            assert_eq!(category(body), Some(Category::JsonDuplicateKey));
        }
    }

    #[test]
    fn the_same_name_in_different_objects_is_fine() {
        assert_eq!(category(r#"{"a":{"a":[{"a":1},{"a":1}]},"b":{"a":1},"A":2}"#), None);
    }

    #[test]
    fn the_error_points_at_the_second_name() {
        let error = parse(br#"{"a":1,"b":2,"a":3}"#).err().unwrap();
        assert_eq!(error.offset, 13);
    }

    #[test]
    fn a_duplicate_among_many_names_is_found() {
        let mut body = String::from("{");
        for index in 0..1000 {
            body.push_str(&format!("\"k{index}\":{index},"));
        }
        assert_eq!(category(&format!("{body}\"z\":0}}")), None);
        assert_eq!(category(&format!("{body}\"k500\":0}}")), Some(Category::JsonDuplicateKey));
    }
}
