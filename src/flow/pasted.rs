//! A request inside another one: what a developer pastes to have it explained.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::secret::CleartextBody;
use crate::wire::{Kind, Value, parse};

use super::Refusal;
use super::forward::json_only;

/// A request as it was pasted: of its parts nothing but the spelling has been checked.
#[derive(Debug)]
pub struct Pasted {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: String,
    /// Names and values in the order in which they stand.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The body: a text's content, or a JSON object or array byte for byte as it stands.
    pub body: CleartextBody,
}

const MEMBERS: [&str; 4] = ["method", "path", "headers", "body"];

impl Pasted {
    /// Reads `{"method","path","headers","body"}`. Nothing is guessed: other members are refused.
    ///
    /// # Errors
    /// The field that is missing or not what it should be.
    pub fn read(headers: &HeaderMap, body: &CleartextBody) -> Result<Self, Refusal> {
        json_only(headers)?;
        let document = parse(body.as_bytes())?;
        if document.root().kind() != Kind::Object {
            return Err(Refusal::FieldMissing("/method".to_owned()));
        }
        let (mut method, mut target) = (None, None);
        let (mut headers, mut body) = (Vec::new(), CleartextBody::new());
        for (key, value) in document.root().members() {
            match key.text().as_ref().map(|name| name.as_str()) {
                Some("method") => method = Some(method_of(value)?),
                Some("path") => target = Some(text_of(value, "/path")?),
                Some("headers") => headers = headers_of(value)?,
                Some("body") => body = body_of(value)?,
                _ => return Err(Refusal::MemberUnknown { at: "", known: &MEMBERS }),
            }
        }
        let missing = |name: &str| Refusal::FieldMissing(name.to_owned());
        let method = method.ok_or_else(|| missing("/method"))?;
        let target = target.ok_or_else(|| missing("/path"))?;
        Ok(Self { method, target, headers, body })
    }
}

fn method_of(value: Value<'_>) -> Result<Method, Refusal> {
    let invalid = |_| Refusal::FieldInvalid("/method".to_owned());
    Method::from_bytes(text_of(value, "/method")?.as_bytes()).map_err(invalid)
}

fn text_of(value: Value<'_>, at: &str) -> Result<String, Refusal> {
    let text = value.text().filter(|_| value.kind() == Kind::String);
    let text = text.ok_or_else(|| Refusal::FieldInvalid(at.to_owned()))?;
    Ok(text.as_str().to_owned())
}

fn headers_of(value: Value<'_>) -> Result<Vec<(HeaderName, HeaderValue)>, Refusal> {
    let invalid = || Refusal::FieldInvalid("/headers".to_owned());
    if value.kind() != Kind::Object {
        return Err(invalid());
    }
    let field = |(name, value): (Value<'_>, Value<'_>)| {
        let name = HeaderName::from_bytes(name.text()?.as_bytes()).ok()?;
        let value = value.text().filter(|_| value.kind() == Kind::String)?;
        let mut value = HeaderValue::from_str(value.as_str().trim_matches([' ', '\t'])).ok()?;
        value.set_sensitive(true);
        Some((name, value))
    };
    value.members().map(|member| field(member).ok_or_else(invalid)).collect()
}

fn body_of(value: Value<'_>) -> Result<CleartextBody, Refusal> {
    let mut body = CleartextBody::new();
    match (value.kind(), value.text()) {
        (Kind::Null, _) => {}
        (Kind::String, Some(text)) => body.extend_from_slice(text.as_bytes()),
        (Kind::Object | Kind::Array, _) => body.extend_from_slice(value.raw()),
        _ => return Err(Refusal::FieldInvalid("/body".to_owned())),
    }
    Ok(body)
}
