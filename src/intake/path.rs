//! Paths as a shop's configuration spells them, and as its framework might read them.

/// How often an escape may be escaped: proxies and frameworks decode once each.
const ESCAPED_MAX: usize = 4;

/// A path, with one segment open at most.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    /// As spelled, between the slashes.
    segments: Vec<Box<str>>,
    /// The same as [`folded`] has it.
    folded: Vec<String>,
}

/// Stands for any segment.
const ANY: &str = "*";

impl PathPattern {
    /// Reads `/checkout/*/pay`: letters, digits and `-._~` in segments, one of which may be `*`. A
    /// slash at the end belongs to the path.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let segments: Vec<&str> = text.strip_prefix('/')?.split('/').collect();
        let last = segments.len().checked_sub(1)?;
        let fits = |(at, segment): (usize, &&str)| {
            (!segment.is_empty() || at == last)
                && (*segment == ANY || segment.bytes().all(plain))
                && !matches!(*segment, "." | "..")
        };
        let open = segments.iter().filter(|segment| **segment == ANY).count();
        let right = segments.iter().enumerate().all(fits) && open <= 1;
        let folded = segments.iter().filter(|segment| !segment.is_empty());
        right.then(|| Self {
            folded: folded.map(|segment| segment.to_lowercase()).collect(),
            segments: segments.iter().map(|segment| Box::from(*segment)).collect(),
        })
    }

    /// Whether the path is spelled exactly so.
    #[must_use]
    pub fn is(&self, path: &str) -> bool {
        let mut spelled = path.strip_prefix('/').unwrap_or_default().split('/');
        // A segment that could be cut or decoded into something else is not one that was meant.
        let open = |segment: &str| !segment.is_empty() && !segment.contains([';', '\\']);
        let same = |known: &str, segment: &str| match known {
            ANY => open(segment),
            known => known == segment,
        };
        path.starts_with('/')
            && self.segments.iter().all(|known| spelled.next().is_some_and(|s| same(known, s)))
            && spelled.next().is_none()
    }

    /// Whether a shop's framework could take the folded path for this one: it may leave out a file
    /// name's ending, or take what follows a script for the script's own business.
    pub(super) fn resembles(&self, folded: &[String]) -> bool {
        let script = folded.iter().position(|segment| is_script(segment));
        let behind = script.and_then(|at| folded.get(at + 1..)).filter(|rest| !rest.is_empty());
        self.is_like(folded) || behind.is_some_and(|behind| self.is_like(behind))
    }

    fn is_like(&self, folded: &[String]) -> bool {
        let Some((last, before)) = self.folded.split_last() else { return folded.is_empty() };
        let same = |(known, segment): (&String, &String)| known == ANY || known == segment;
        let Some(segment) = folded.get(before.len()) else { return false };
        let rest = segment.strip_prefix(last.as_str());
        let ends = last == ANY || rest.is_some_and(|rest| rest.is_empty() || is_ending(rest));
        let follows = folded.len() > self.folded.len();
        before.iter().zip(folded).all(same) && ends && (!follows || last.contains('.'))
    }
}

/// A front controller takes what stands behind it in a path for the path.
fn is_script(segment: &str) -> bool {
    [".php", ".cgi", ".pl", ".py", ".aspx", ".jsp"].iter().any(|end| segment.ends_with(end))
}

/// What may stand behind a name: an ending, or what begins a query or a fragment.
fn is_ending(rest: &str) -> bool {
    rest.starts_with(['.', '?', '#', ':'])
}

/// The path with escapes decoded, in lower case, without parameters, empty and dot segments, and
/// without what some systems drop from the end of a name. Nothing where escapes are escaped more
/// often than anybody does.
pub(super) fn folded(path: &str) -> Option<Vec<String>> {
    let mut bytes = path.as_bytes().to_vec();
    let mut rounds = 0..ESCAPED_MAX;
    loop {
        let once = decoded(&bytes);
        if once.len() == bytes.len() {
            break;
        }
        rounds.next()?;
        bytes = once;
    }
    let text = String::from_utf8_lossy(&bytes).to_lowercase().replace('\\', "/");
    let mut folded: Vec<String> = Vec::new();
    for segment in text.split('/') {
        let name = segment.split(';').next().unwrap_or_default();
        match name {
            "" | "." => {}
            ".." => {
                folded.pop();
            }
            name => {
                let dropped = |sign: char| {
                    sign == '.' || sign.is_whitespace() || sign.is_control() || is_unseen(sign)
                };
                folded.push(name.trim_matches(dropped).to_owned());
            }
        }
    }
    Some(folded)
}

/// Characters that take no place (Unicode, general category Cf).
const fn is_unseen(sign: char) -> bool {
    matches!(sign, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        let value = escaped.and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
        decoded.push(value.unwrap_or(*first));
        rest = if value.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_plain_with_one_open_segment_at_most() {
        for good in ["/", "/pay", "/pay/", "/a/*/b", "/*", "/pay.php", "/A-b_c~d"] {
            assert!(PathPattern::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "pay", "//", "/a//b", "/*/*", "/a*", "/a%20b", "/./a", "/..", "/a?b", "/a;b", "/é"]
        {
            assert!(PathPattern::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_matched_as_it_is_spelled() {
        let is = |pattern: &str, path: &str| PathPattern::parse(pattern).unwrap().is(path);
        assert!(is("/a/*/b", "/a/x%20y/b") && is("/pay/", "/pay/") && is("/", "/"));
        for (pattern, path) in [
            ("/a/*/b", "/a//b"),
            ("/a/*/b", "/a/x;y/b"),
            ("/a/*", "/a"),
            ("/a/*", "/a/"),
            ("/a/*", "/a/b/c"),
            ("/pay", "/pay/"),
            ("/pay/", "/pay"),
            ("/pay", "/Pay"),
            ("/", ""),
            ("/", "/a"),
        ] {
            assert!(!is(pattern, path), "{pattern} {path}");
        }
    }
}
