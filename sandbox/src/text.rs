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

/// `2026-11-21 04:10:00`, UTC.
#[must_use]
pub fn timestamp(unix_seconds: u64) -> String {
    let (day, second) = (unix_seconds / 86_400, unix_seconds % 86_400);
    // Days of a calendar whose years begin in March, so that a leap day ends one.
    let since = day + 719_468;
    let (era, of_era) = (since / 146_097, since % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let date = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute) = (second / 3_600, second % 3_600 / 60);
    format!("{year:04}-{month:02}-{date:02} {hour:02}:{minute:02}:{:02}", second % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_filled_in_one_pass() {
        assert_eq!(fill("a $x b $y_z.", &[("x", "$y_z"), ("y_z", "1")]), "a $y_z b 1.");
    }

    #[test]
    fn a_time_is_written_as_people_read_it() {
        assert_eq!(timestamp(951_782_399), "2000-02-28 23:59:59");
        assert_eq!(timestamp(951_782_400), "2000-02-29 00:00:00");
        assert_eq!(timestamp(1_706_182_847), "2024-01-25 11:40:47");
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
