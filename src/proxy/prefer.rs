//! `Prefer: dry-run` (RFC 7240): a request that is to be explained and not sent.
//!
//! Other preferences are none of our business. One that may have been meant as this one and cannot
//! be read as it is refused: whoever asks that nothing be sent is not to find that it was.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header with the caller's wishes.
const PREFER: HeaderName = HeaderName::from_static("prefer");
/// The preference's name.
const DRY_RUN: &str = "dry-run";

/// Says which wish was fulfilled.
pub(super) const APPLIED: HeaderName = HeaderName::from_static("preference-applied");
/// The wish.
pub(super) const APPLIED_DRY_RUN: HeaderValue = HeaderValue::from_static(DRY_RUN);

/// What a request wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// To be sent.
    Send,
    /// To be explained.
    Explain,
    /// Nobody can say: the preference has a value, or the header cannot be read.
    Unclear,
}

/// Reads every `Prefer` of a request.
pub(super) fn wish(headers: &HeaderMap) -> Wish {
    let wishes = headers.get_all(PREFER).iter().map(|value| of(value.as_bytes()));
    wishes.fold(Wish::Send, |all, one| match (all, one) {
        (Wish::Unclear, _) | (_, Wish::Unclear) => Wish::Unclear,
        (Wish::Explain, _) | (_, Wish::Explain) => Wish::Explain,
        (Wish::Send, Wish::Send) => Wish::Send,
    })
}

fn of(value: &[u8]) -> Wish {
    let mut wish = Wish::Send;
    let Some(preferences) = split(value, b',') else { return unless_named(value) };
    for preference in preferences {
        // Parameters change nothing about a preference that has no value.
        let Some(mut parts) = split(preference, b';') else { return unless_named(value) };
        let named = parts.next().unwrap_or_default().trim_ascii();
        let (name, given) = match memchr::memchr(b'=', named) {
            Some(at) => named.split_at(at),
            None => (named, &b""[..]),
        };
        if !name.trim_ascii().eq_ignore_ascii_case(DRY_RUN.as_bytes()) {
            if is_meant(name) {
                return Wish::Unclear;
            }
            if !name.trim_ascii().iter().all(|byte| is_token(*byte)) {
                return unless_named(value);
            }
            continue;
        }
        match given.strip_prefix(b"=").unwrap_or_default().trim_ascii() {
            b"" | b"\"\"" => wish = Wish::Explain,
            _ => return Wish::Unclear,
        }
    }
    wish
}

/// What cannot be read is no preference, unless it may have been ours.
fn unless_named(value: &[u8]) -> Wish {
    let letters = letters(value);
    let named = letters.windows(LETTERS.len()).any(|text| text == LETTERS);
    if named { Wish::Unclear } else { Wish::Send }
}

/// Whether this is our name but for what joins its words.
fn is_meant(name: &[u8]) -> bool {
    letters(name) == LETTERS
}

/// The letters of our name.
const LETTERS: &[u8] = b"dryrun";

fn letters(text: &[u8]) -> Vec<u8> {
    let letters = text.iter().filter(|byte| byte.is_ascii_alphabetic());
    letters.map(u8::to_ascii_lowercase).collect()
}

/// The parts between separators that stand outside of quotes; nothing when a quote is left open.
fn split(text: &[u8], separator: u8) -> Option<impl Iterator<Item = &[u8]>> {
    let (mut quoted, mut escaped) = (false, false);
    let mut ends = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if *byte == separator && !quoted => ends.push(at),
            _ => {}
        }
    }
    ends.push(text.len());
    let mut start = 0;
    let parts = ends.into_iter().map(move |end| {
        let part = text.get(start..end).unwrap_or_default();
        start = end + 1;
        part
    });
    (!quoted).then_some(parts)
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(values: &[&str]) -> Wish {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(PREFER, HeaderValue::from_str(value).unwrap());
        }
        wish(&headers)
    }

    #[test]
    fn the_preference_is_found_among_others_in_every_spelling() {
        for values in [
            &["dry-run"][..],
            &["Dry-Run"],
            &[" dry-run ; for=me"],
            &["dry-run;x=\"a,b;c\""],
            &["dry-run=\"\""],
            &["dry-run="],
            &["respond-async, wait=10, dry-run"],
            &["x=\"a, \\\" b\";y, DRY-RUN"],
            &["wait=10", "dry-run"],
            &[",dry-run,"],
        ] {
            assert_eq!(wished(values), Wish::Explain, "{values:?}");
        }
    }

    #[test]
    fn other_preferences_are_nobodys_business() {
        for values in [
            &[][..],
            &[""],
            &["respond-async"],
            &["x=\"dry-run\""],
            &["wait=10; dry-run"],
            &["x=dry-run"],
            &["dry-runs"],
            &["no-dry-run"],
            &["x=\"open"],
            &["(what)"],
        ] {
            assert_eq!(wished(values), Wish::Send, "{values:?}");
        }
    }

    #[test]
    fn what_may_have_been_meant_is_not_sent() {
        for values in [
            &["dry-run=1"][..],
            &["dry-run=false"],
            &["\"dry-run\""],
            &["dry-run true"],
            &["dry-run, x=\"open"],
            &["x=\"open, dry-run"],
            &["dry-run", "dry-run=0"],
            &["<dry-run>"],
            &["dry_run"],
            &["DryRun"],
            &["dry.run; x=1"],
            &["\"dry_run\""],
        ] {
            assert_eq!(wished(values), Wish::Unclear, "{values:?}");
        }
    }
}
