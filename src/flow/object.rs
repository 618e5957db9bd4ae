//! A small JSON object of our own answers, written member by member.

use crate::secret::CleartextBody;
use crate::wire::write_quoted;

/// A JSON object under construction; wiped when dropped, since tokens are in it.
#[derive(Debug)]
pub(super) struct Object(CleartextBody);

impl Object {
    pub(super) fn new() -> Self {
        Self(CleartextBody::with_capacity(256))
    }

    pub(super) fn text(mut self, name: &str, value: &str) -> Self {
        self.name(name);
        write_quoted(value, &mut self.0);
        self
    }

    pub(super) fn number(self, name: &str, value: u64) -> Self {
        self.raw(name, value.to_string().as_bytes())
    }

    pub(super) fn object(self, name: &str, value: Object) -> Self {
        self.raw(name, value.close().as_bytes())
    }

    /// A member whose value is written as JSON already.
    pub(super) fn raw(mut self, name: &str, value: &[u8]) -> Self {
        self.name(name);
        self.0.extend_from_slice(value);
        self
    }

    fn name(&mut self, name: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        write_quoted(name, &mut self.0);
        self.0.push(b':');
    }

    pub(super) fn close(mut self) -> CleartextBody {
        if self.0.is_empty() {
            self.0.extend_from_slice(b"{");
        }
        self.0.extend_from_slice(b"}");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_order_and_are_escaped() {
        let inner = Object::new().number("n", 1);
        let object = Object::new().text("a", "x\"y").object("b", inner).close();
        assert_eq!(object.as_bytes(), br#"{"a":"x\"y","b":{"n":1}}"#);
        assert_eq!(Object::new().close().as_bytes(), b"{}");
    }
}
