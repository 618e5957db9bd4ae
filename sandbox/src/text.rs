//! Text put into documents: JSON and HTML escapes, templates with `$name` places.

/// A JSON string literal with its quotes, escaped as PHP escapes it (`&` becomes `\u0026`, as in
/// the samples).
#[must_use]
pub fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('&', "\\u0026")
}

/// A JSON string literal, or `null`.
#[must_use]
pub fn quote_or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quote)
}

/// Text for HTML, attribute values included.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\r' => escaped.push_str("&#13;"),
            '\n' => escaped.push_str("&#10;"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Replaces every `$name` by its value, in one pass: values are not searched again.
#[must_use]
pub fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() * 2);
    let mut parts = template.split('$');
    filled.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part.find(|c: char| !(c.is_ascii_lowercase() || c == '_')).unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        let value = values.iter().find(|(key, _)| *key == name);
        debug_assert!(value.is_some(), "no value for ${name}");
        filled.push_str(value.map_or("", |(_, value)| value));
        filled.push_str(rest);
    }
    filled
}

/// Form fields as a browser writes them.
#[must_use]
pub fn encode_form(fields: &[(String, String)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_one_pass() {
        assert_eq!(fill("a $x b $y_z.", &[("x", "$y_z"), ("y_z", "1")]), "a $y_z b 1.");
    }

    #[test]
    fn ampersands_are_escaped_as_in_the_samples() {
        assert_eq!(quote("?RID=8&VAA=\"A\""), r#""?RID=8\u0026VAA=\"A\"""#);
    }

    #[test]
    fn line_breaks_survive_in_attribute_values() {
        assert_eq!(escape("a\r\n<'\""), "a&#13;&#10;&lt;&#39;&quot;");
    }
}
