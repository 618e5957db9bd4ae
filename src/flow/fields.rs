//! One view of a body's fields, whether it is JSON or a form, so that reveal and signatures are
//! written once.

use crate::provider::Route;
use crate::secret::CleartextBody;
use crate::wire::form::FormDocument;
use crate::wire::{
    Document, Encoding, Kind, Known, Pointer, Span, Text, Value, WireError, form, parse,
    scan_json_beside, scan_text,
};

use super::Refusal;
use super::reveal::Tokens;

/// A verification value takes no more than this, its digits all escaped and the quotes around them.
const SPELLED_CVV_MAX: usize = 26;

/// A body that was read without doubt.
pub(super) enum Fields<'b> {
    Json(Document<'b>),
    Form(FormDocument<'b>),
}

/// A value and where it stands.
pub(super) struct Field<'d> {
    pub span: Span,
    pub content: Content<'d>,
}

/// What a value is.
pub(super) enum Content<'d> {
    Text(Text<'d>),
    Number(&'d [u8]),
    Bool(&'d [u8]),
    Null,
    Nested(&'d [u8]),
}

impl<'b> Fields<'b> {
    pub(super) fn read(encoding: Encoding, body: &'b [u8]) -> Result<Self, WireError> {
        match encoding {
            Encoding::Json => parse(body).map(Self::Json),
            Encoding::Form => form::parse(body).map(Self::Form),
        }
    }

    pub(super) fn json(&self) -> Option<&Document<'b>> {
        match self {
            Self::Json(document) => Some(document),
            Self::Form(_) => None,
        }
    }

    pub(super) fn encoding(&self) -> Encoding {
        match self {
            Self::Json(_) => Encoding::Json,
            Self::Form(_) => Encoding::Form,
        }
    }

    /// The value that a pointer names; in a form the pointer is the field's name behind a slash.
    /// A doubled name is refused: receivers differ in which one counts.
    pub(super) fn find<'d>(&'d self, pointer: &Pointer) -> Result<Option<Field<'d>>, WireError> {
        match self {
            Self::Json(document) => Ok(document.find(pointer).map(of_value)),
            Self::Form(form) => {
                let name = pointer.to_string();
                Ok(form.find(name.strip_prefix('/').unwrap_or(&name))?.map(of_form))
            }
        }
    }

    /// The text that a pointer names.
    pub(super) fn text<'d>(&'d self, pointer: &Pointer) -> Result<Option<Text<'d>>, WireError> {
        Ok(match self.find(pointer)? {
            Some(Field { content: Content::Text(text), .. }) => Some(text),
            _ => None,
        })
    }

    /// Every top-level field with its name, in the order of the body.
    pub(super) fn top(&self) -> Vec<(Text<'_>, Field<'_>)> {
        match self {
            Self::Json(document) => document
                .root()
                .members()
                .filter_map(|(key, value)| Some((key.text()?, of_value(value))))
                .collect(),
            Self::Form(form) => {
                form.fields().map(|field| (owned(field.name().as_str()), of_form(field))).collect()
            }
        }
    }

    /// Where card data in clear stands, if anywhere beside the tokens.
    pub(super) fn raw_card(&self, tokens: Option<&Tokens<'_>>) -> Option<Span> {
        let nothing = Known { pans: &[], cvvs: &[] };
        let findings = match self {
            Self::Json(document) => {
                let is_token = |span| tokens.is_some_and(|tokens| tokens.stand_at(span));
                scan_json_beside(document, &nothing, is_token)
            }
            Self::Form(form) => scan_text(form.input(), &nothing),
        };
        findings.first().map(|finding| finding.span)
    }

    /// Whether a verification value stands in clear under a name that says so: where a card field
    /// may hold a token, no other spelling of the field brings the value past us.
    pub(super) fn raw_cvv(&self) -> bool {
        match self {
            Self::Json(document) => document.values().any(|value| {
                let digits = match value.kind() {
                    Kind::String if value.raw().len() > SPELLED_CVV_MAX => false,
                    Kind::String => value.text().is_some_and(|text| is_code_value(text.as_bytes())),
                    Kind::Number => is_code_value(value.raw()),
                    _ => false,
                };
                digits
                    && value
                        .key()
                        .and_then(Value::text)
                        .is_some_and(|key| is_code_name(key.as_str()))
            }),
            Self::Form(form) => form.fields().any(|field| {
                is_code_name(field.name().as_str())
                    && is_code_value(field.value().as_str().as_bytes())
            }),
        }
    }

    /// A card field that is neither text nor nothing.
    pub(super) fn not_text(&self, route: &Route) -> Option<String> {
        let wrong = |pointer: &Pointer| {
            let field = self.find(pointer).ok().flatten();
            field.is_some_and(|f| !matches!(f.content, Content::Text(_) | Content::Null))
        };
        let reveal = route.request.reveal.iter().find(|reveal| wrong(&reveal.pointer))?;
        Some(reveal.pointer.to_string())
    }
}

impl Content<'_> {
    /// The value as a signature covers it: text decoded, a number in the digits that were sent.
    /// Nothing for null; nested values as they stand.
    pub(super) fn signed(&self) -> Option<&[u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Number(raw) | Self::Bool(raw) | Self::Nested(raw) => Some(raw),
            Self::Null => None,
        }
    }
}

fn of_value(value: Value<'_>) -> Field<'_> {
    let content = match value.kind() {
        Kind::String => value.text().map_or(Content::Null, Content::Text),
        Kind::Number => Content::Number(value.raw()),
        Kind::Bool => Content::Bool(value.raw()),
        Kind::Null => Content::Null,
        Kind::Array | Kind::Object => Content::Nested(value.raw()),
    };
    Field { span: value.span(), content }
}

fn of_form(field: form::Field<'_>) -> Field<'_> {
    Field { span: field.value_span(), content: Content::Text(owned(field.value().as_str())) }
}

/// Whether a field's name says that a security code stands there.
pub(super) fn is_code_name(name: &str) -> bool {
    let within = |known: &str| {
        let mut places = name.as_bytes().windows(known.len());
        places.any(|place| place.eq_ignore_ascii_case(known.as_bytes()))
    };
    ["cvv", "cvc", "csc", "cvn", "security_code"].into_iter().any(within)
}

/// Whether a value could be a security code.
pub(super) fn is_code_value(text: &[u8]) -> bool {
    matches!(text.len(), 3 | 4) && text.iter().all(u8::is_ascii_digit)
}

pub(super) fn owned(text: &str) -> Text<'static> {
    let mut copy = CleartextBody::with_capacity(text.len());
    copy.extend_from_slice(text.as_bytes());
    Text::Decoded(copy)
}

/// Reads a body and turns what is wrong with it into a refusal.
pub(super) fn read<'b>(encoding: Encoding, body: &'b [u8]) -> Result<Fields<'b>, Refusal> {
    Ok(Fields::read(encoding, body)?)
}
