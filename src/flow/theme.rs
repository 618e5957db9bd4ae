//! How an application may make the card form look: a few colours and sizes, never style sheets.
//! What passes here cannot be anything else in a browser than a colour, a number or a known word.

use crate::wire::{Kind, Text, Value};

use super::Refusal;

/// Colours, each `#` and six hex digits.
const COLOURS: [&str; 6] = ["accent", "background", "surface", "text", "border", "error"];

/// Colours that are legible only together: given all three or none.
const TOGETHER: [&str; 3] = ["background", "surface", "text"];

/// Sizes in CSS pixels, with their bounds. Smaller letters could not be read, and browsers of
/// telephones would zoom in.
const SIZES: [(&str, u64, u64); 2] = [("radius", 0, 24), ("font_size", 14, 22)];

/// The words of `scheme`.
const SCHEMES: [&str; 3] = ["auto", "light", "dark"];

/// Reads `"theme"` of a capture session: `name=value` pairs parted by spaces.
pub(super) fn read(theme: Value<'_>) -> Result<String, Refusal> {
    if theme.kind() != Kind::Object {
        return Err(Refusal::FieldInvalid("/theme".to_owned()));
    }
    let mut pairs: Vec<String> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    for (key, value) in theme.members() {
        let (name, text) = token(key, value).ok_or_else(|| refused(key))?;
        pairs.push(format!("{name}={text}"));
        seen.push(name);
    }
    let given = |name: &&&str| seen.contains(*name);
    if TOGETHER.iter().any(|name| given(&name))
        && let Some(missing) = TOGETHER.iter().find(|name| !given(name))
    {
        return Err(Refusal::FieldMissing(format!("/theme/{missing}")));
    }
    Ok(pairs.join(" "))
}

/// A token that is known, with a value that it may have.
fn token(key: Value<'_>, value: Value<'_>) -> Option<(&'static str, String)> {
    let named = |name: &&&'static str| key.is_text(name);
    let text = value.text();
    let text = text.as_ref().map(Text::as_str);
    if let Some(name) = COLOURS.iter().find(named) {
        return text.filter(|text| is_colour(text)).map(|text| (*name, text.to_ascii_lowercase()));
    }
    if let Some((name, least, most)) = SIZES.iter().find(|(name, ..)| key.is_text(name)) {
        let size: u64 = std::str::from_utf8(value.raw()).ok()?.parse().ok()?;
        return (*least..=*most).contains(&size).then(|| (*name, size.to_string()));
    }
    let scheme = SCHEMES.iter().find(|word| Some(**word) == text)?;
    key.is_text("scheme").then(|| ("scheme", (*scheme).to_owned()))
}

fn is_colour(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or_default();
    digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The pointer of a token that has our name; anything else is not repeated.
fn refused(key: Value<'_>) -> Refusal {
    let sizes = SIZES.iter().map(|(name, ..)| name);
    let mut known = COLOURS.iter().chain(sizes).chain(&["scheme"]);
    let place = known.find(|name| key.is_text(name)).map(|name| format!("/theme/{name}"));
    Refusal::FieldInvalid(place.unwrap_or_else(|| "/theme".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn theme(text: &str) -> Result<String, String> {
        read(parse(text.as_bytes()).unwrap().root()).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn colours_sizes_and_schemes_are_taken() {
        assert_eq!(theme("{}"), Ok(String::new()));
        assert_eq!(
            theme(r##"{"accent":"#1F5fbf","radius":0,"font_size":22,"scheme":"dark"}"##),
            Ok("accent=#1f5fbf radius=0 font_size=22 scheme=dark".to_owned())
        );
        let three = r##"{"background":"#ffffff","surface":"#f0f0f0","text":"#000000"}"##;
        assert_eq!(theme(three), Ok("background=#ffffff surface=#f0f0f0 text=#000000".to_owned()));
    }

    #[test]
    fn anything_that_could_be_more_than_a_colour_or_a_number_is_refused() {
        for (bad, place) in [
            (r#"[]"#, "/theme"),
            (r#""red""#, "/theme"),
            (r#"{"colour":"red"}"#, "/theme"),
            (r#"{"accent":"red"}"#, "/theme/accent"),
            (r##"{"accent":"#fff"}"##, "/theme/accent"),
            (r##"{"accent":"#1f5fbg"}"##, "/theme/accent"),
            (r##"{"accent":"#1f5fbf;x:y"}"##, "/theme/accent"),
            (r#"{"accent":"url(https://x)"}"#, "/theme/accent"),
            (r#"{"accent":255}"#, "/theme/accent"),
            (r#"{"radius":"8"}"#, "/theme/radius"),
            (r#"{"radius":25}"#, "/theme/radius"),
            (r#"{"radius":-1}"#, "/theme/radius"),
            (r#"{"radius":1.5}"#, "/theme/radius"),
            (r#"{"font_size":13}"#, "/theme/font_size"),
            (r#"{"scheme":"darkest"}"#, "/theme/scheme"),
            (r#"{"scheme":1}"#, "/theme/scheme"),
        ] {
            assert_eq!(theme(bad), Err(format!("FieldInvalid({place:?})")), "{bad}");
        }
    }

    #[test]
    fn a_background_comes_with_the_colour_of_its_text() {
        let missing = |name: &str| Err(format!("FieldMissing(\"/theme/{name}\")"));
        assert_eq!(theme(r##"{"background":"#000000"}"##), missing("surface"));
        assert_eq!(theme(r##"{"background":"#000000","surface":"#111111"}"##), missing("text"));
        assert_eq!(theme(r##"{"text":"#000000"}"##), missing("background"));
    }
}
