//! The languages of our pages, and which of them a browser is shown.

/// A language that our pages are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English; what is shown when nothing else was asked for.
    English,
    /// Russian.
    Russian,
    /// Ukrainian.
    Ukrainian,
}

/// How much a browser wants a language, in thousandths; RFC 9110 section 12.4.2.
const WANTED_MOST: u16 = 1_000;

impl Language {
    /// `?lang=` first, then the browser's `Accept-Language`.
    #[must_use]
    pub fn chosen(query: Option<&str>, accepted: Option<&str>) -> Self {
        let pairs = query.unwrap_or_default().split('&');
        let asked = pairs.filter_map(|pair| pair.strip_prefix("lang=")).find_map(Self::tagged);
        asked.or_else(|| Self::wanted(accepted?)).unwrap_or(Self::English)
    }

    /// The first of those that the browser wants most.
    fn wanted(accepted: &str) -> Option<Self> {
        let ranges = accepted.split(',').filter_map(|range| {
            let mut parts = range.split(';');
            let language = Self::tagged(parts.next()?.trim())?;
            let weight = parts.find_map(|part| part.trim().strip_prefix("q=").map(thousandths));
            Some((language, weight.unwrap_or(WANTED_MOST))).filter(|(_, weight)| *weight > 0)
        });
        ranges.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(one, _)| one)
    }

    /// The language of a tag such as `uk-UA`.
    fn tagged(tag: &str) -> Option<Self> {
        let primary = tag.split('-').next().unwrap_or_default();
        [Self::English, Self::Russian, Self::Ukrainian]
            .into_iter()
            .find(|language| primary.eq_ignore_ascii_case(language.tag()))
    }

    /// As `lang` attributes spell it.
    pub(super) const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Russian => "ru",
            Self::Ukrainian => "uk",
        }
    }

    /// Names and texts, in the order of the file.
    pub(super) fn texts(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let file = match self {
            Self::English => include_str!("texts/en.txt"),
            Self::Russian => include_str!("texts/ru.txt"),
            Self::Ukrainian => include_str!("texts/uk.txt"),
        };
        file.lines().filter_map(|line| line.split_once(" = "))
    }

    /// One text.
    pub(super) fn text(self, name: &str) -> &'static str {
        let found = self.texts().find(|(known, _)| *known == name);
        debug_assert!(found.is_some(), "there is no text {name}");
        found.map_or("", |(_, text)| text)
    }
}

/// `0.8` → 800; what is no weight is none.
fn thousandths(weight: &str) -> u16 {
    let weight: f32 = weight.trim().parse().unwrap_or(0.0);
    // A float that is no number, negative or too large saturates: 0 to 1000.
    (weight.clamp(0.0, 1.0) * f32::from(WANTED_MOST)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Language; 3] = [Language::English, Language::Russian, Language::Ukrainian];

    #[test]
    fn every_language_says_everything() {
        let names = |language: Language| language.texts().map(|(name, _)| name).collect::<Vec<_>>();
        for language in ALL {
            assert_eq!(names(language), names(Language::English), "{language:?}");
            assert!(language.texts().all(|(_, text)| !text.trim().is_empty()), "{language:?}");
        }
        let lines = include_str!("texts/en.txt").lines().count();
        assert_eq!(names(Language::English).len(), lines, "every line is a text");
    }

    #[test]
    fn the_query_is_asked_before_the_browser() {
        for (query, accepted, expected) in [
            (None, None, Language::English),
            (None, Some("de-DE,de;q=0.9"), Language::English),
            (None, Some("uk-UA,uk;q=0.9,ru;q=0.8,en;q=0.7"), Language::Ukrainian),
            (None, Some("de, ru;q=0.5, uk;q=0.7"), Language::Ukrainian),
            (None, Some("en;q=0, RU"), Language::Russian),
            (None, Some("ru;q=nan, en;q=0.1"), Language::English),
            (None, Some("ru;q=0.5,uk;q=0.5"), Language::Russian),
            (Some("lang=ru"), Some("uk"), Language::Russian),
            (Some("a=b&lang=uk-UA"), None, Language::Ukrainian),
            (Some("lang=xx"), Some("uk"), Language::Ukrainian),
            (Some("lang="), None, Language::English),
        ] {
            assert_eq!(Language::chosen(query, accepted), expected, "{query:?} {accepted:?}");
        }
    }
}
