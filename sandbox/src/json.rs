//! Reads JSON and keeps every number as it was spelled: signatures are made over spellings. Of
//! members with one name the last counts, as in the providers' own languages.

const DEPTH_MAX: usize = 64;

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// As spelled.
    Number(String),
    /// Decoded.
    Text(String),
    /// Items.
    Array(Vec<Json>),
    /// Members, in the order sent.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a whole document.
    #[must_use]
    pub fn parse(document: &[u8]) -> Option<Self> {
        let mut reader = Reader { rest: std::str::from_utf8(document).ok()? };
        let value = reader.value(0)?;
        reader.space();
        reader.rest.is_empty().then_some(value)
    }

    /// A member.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.members().iter().rev().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// A member of a member: `general/payment_id`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<&Self> {
        path.split('/').try_fold(self, |value, name| value.get(name))
    }

    /// The text at a path; empty if there is none.
    #[must_use]
    pub fn text_at(&self, path: &str) -> &str {
        match self.at(path) {
            Some(Self::Text(text)) => text,
            _ => "",
        }
    }

    /// Text or number, as sent.
    #[must_use]
    pub fn scalar(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Number(text) => Some(text),
            _ => None,
        }
    }

    /// Members; none if it is no object.
    #[must_use]
    pub fn members(&self) -> &[(String, Self)] {
        match self {
            Self::Object(members) => members,
            _ => &[],
        }
    }

    /// The same in compact JSON.
    #[must_use]
    pub fn render(&self) -> String {
        let list = |parts: Vec<String>, open: &str, close: &str| {
            format!("{open}{}{close}", parts.join(","))
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Number(lexeme) => lexeme.clone(),
            Self::Text(text) => crate::text::quote(text),
            Self::Array(items) => list(items.iter().map(Self::render).collect(), "[", "]"),
            Self::Object(members) => {
                let one = |(name, value): &(String, Self)| {
                    format!("{}:{}", crate::text::quote(name), value.render())
                };
                list(members.iter().map(one).collect(), "{", "}")
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Json> {
        self.space();
        if depth > DEPTH_MAX {
            return None;
        }
        match self.rest.chars().next()? {
            '{' => self.object(depth),
            '[' => self.array(depth),
            '"' => self.string().map(Json::Text),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut members = Vec::new();
        self.token('{')?;
        if self.token('}').is_some() {
            return Some(Json::Object(members));
        }
        loop {
            self.space();
            let name = self.string()?;
            self.token(':')?;
            members.push((name, self.value(depth + 1)?));
            if self.token(',').is_none() {
                return self.token('}').map(|()| Json::Object(members));
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut items = Vec::new();
        self.token('[')?;
        if self.token(']').is_some() {
            return Some(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.token(',').is_none() {
                return self.token(']').map(|()| Json::Array(items));
            }
        }
    }

    /// Finds the closing quote; the escapes in between are serde's to decode.
    fn string(&mut self) -> Option<String> {
        let inside = self.rest.strip_prefix('"')?;
        let mut escaped = false;
        let end = inside.find(|letter| {
            let closes = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            closes
        })?;
        let (literal, rest) = self.rest.split_at(end + 2);
        self.rest = rest;
        serde_json::from_str(literal).ok()
    }

    fn word(&mut self) -> Option<Json> {
        let end = self.rest.find([',', ']', '}', ' ', '\t', '\r', '\n']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        match serde_json::from_str(word).ok()? {
            serde_json::Value::Null => Some(Json::Null),
            serde_json::Value::Bool(value) => Some(Json::Bool(value)),
            serde_json::Value::Number(_) => Some(Json::Number(word.to_owned())),
            _ => None,
        }
    }

    fn token(&mut self, token: char) -> Option<()> {
        self.space();
        self.rest = self.rest.strip_prefix(token)?;
        Some(())
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_spelling() {
        let body = br#" {"a": 1.00, "b":[1e2, 12345678901234567890123], "c":"x\"\u00e9", "a":-0}"#;
        let read = Json::parse(body).unwrap();
        assert_eq!(read.get("a"), Some(&Json::Number("-0".to_owned())));
        let numbers = ["1e2", "12345678901234567890123"].map(|text| Json::Number(text.to_owned()));
        assert_eq!(read.get("b"), Some(&Json::Array(numbers.to_vec())));
        assert_eq!(read.text_at("c"), "x\"é");
        assert_eq!(read.members().len(), 4);
        assert_eq!(Json::parse(read.render().as_bytes()), Some(read));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for bad in ["", "{", "{\"a\" 1}", "[1,]", "01", "tru", "\"a", "1 2", "{\"a\":1,}"] {
            assert_eq!(Json::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Json::parse("[".repeat(1_000).as_bytes()), None);
    }
}
