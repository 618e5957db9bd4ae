//! The hosted card form: one document with one style and one script of its own, nothing else.

use std::sync::LazyLock;

use super::{Language, Page, escape, filled, source_hash};

const HTML: &str = include_str!("form.html");
const STYLE: &str = include_str!("form.css");
const SCRIPT: &str = include_str!("form.js");

/// What one form is made of.
#[derive(Debug)]
pub struct CardForm<'f> {
    /// The only origin that may frame it and is told the token.
    pub origin: &'f str,
    /// Where a form that is a page of its own posts the token; empty where it may not.
    pub return_url: &'f str,
    /// Checked colours and sizes: `name=value` pairs parted by spaces.
    pub theme: &'f str,
    /// The browser's `Accept`, for its `browser_info`.
    pub accept: &'f str,
    /// The browser's address, for its `browser_info`.
    pub address: &'f str,
}

/// The form's page.
#[must_use]
pub fn card_form(form: &CardForm<'_>, language: Language) -> Page {
    let mut settings = String::new();
    let given = [
        ("origin", form.origin),
        ("return-url", form.return_url),
        ("theme", form.theme),
        ("accept", form.accept),
        ("address", form.address),
    ];
    given.iter().for_each(|(name, value)| attribute(name, value, &mut settings));
    let said = language.texts().filter(|(name, _)| name.starts_with("say-"));
    said.for_each(|(name, text)| attribute(name, text, &mut settings));
    let mut shop = String::new();
    escape(form.origin.split_once("://").map_or("", |(_, host)| host), &mut shop);
    let own = [
        ("lang", language.tag()),
        ("style", STYLE),
        ("script", SCRIPT),
        ("settings", settings.as_str()),
        ("shop", shop.as_str()),
    ];
    let html = filled(HTML, |name| {
        let known = own.iter().find(|(known, _)| *known == name);
        known.map_or_else(|| language.text(name), |(_, value)| value)
    });
    // Afterwards the shop may send the browser on to our own hand-off page, which Chromium holds
    // against the page that the first form stood in.
    let policy = format!(
        "{}; form-action 'self' {origin}; frame-ancestors {origin}",
        *POLICY,
        origin = form.origin
    );
    Page { html, policy }
}

fn attribute(name: &str, value: &str, out: &mut String) {
    out.push_str(" data-");
    out.push_str(name);
    out.push_str("=\"");
    escape(value, out);
    out.push('"');
}

static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; \
         base-uri 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source_hash(SCRIPT),
        source_hash(STYLE)
    )
});

/// Names and digests of what the form runs: to be compared with what browsers get (PCI DSS 11.6.1).
#[must_use]
pub fn form_digests() -> [(&'static str, String); 2] {
    [("form.js", source_hash(SCRIPT)), ("form.css", source_hash(STYLE))]
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: CardForm<'static> = CardForm {
        origin: "https://shop.example",
        return_url: "https://shop.example/paid?a=1&b=2",
        theme: "accent=#1f5fbf",
        accept: "text/html\"><script>",
        address: "2001:db8::1",
    };

    #[test]
    fn the_form_runs_its_own_script_only_and_is_framed_by_the_sessions_origin_only() {
        let page = card_form(&FORM, Language::English);
        assert!(page.policy.starts_with("default-src 'none'; script-src 'sha256-"));
        assert!(page.policy.ends_with("frame-ancestors https://shop.example"));
        for loose in ["unsafe", "*", "data:", "https: ", "strict-dynamic"] {
            assert!(!page.policy.contains(loose), "{loose}");
        }
        assert_eq!(page.html.matches("<script>").count(), 1);
        assert_eq!(page.html.matches("src=").count(), 0, "nothing is loaded");
        assert!(page.html.contains("data-accept=\"text/html&quot;&gt;&lt;script&gt;\""));
        assert!(page.html.contains("data-return-url=\"https://shop.example/paid?a=1&amp;b=2\""));
    }

    #[test]
    fn the_token_is_told_to_the_sessions_origin_only() {
        assert_eq!(SCRIPT.matches("postMessage").count(), 1);
        assert!(
            SCRIPT.contains("parent.postMessage({ portcullis: 1, type, ...more }, say.origin)")
        );
    }

    #[test]
    fn the_script_and_the_style_stand_in_the_page_as_they_were_hashed() {
        let page = card_form(&FORM, Language::English);
        let between = |from: &str, to: &str| {
            let rest = page.html.split_once(from).unwrap().1;
            source_hash(rest.split_once(to).unwrap().0)
        };
        let [(_, script), (_, style)] = form_digests();
        assert_eq!(between("<script>", "</script>"), script);
        assert_eq!(between("<style>", "</style>"), style);
        assert!(page.policy.contains(&script) && page.policy.contains(&style));
    }

    #[test]
    fn every_language_fills_every_place_and_stays_small() {
        for language in [Language::English, Language::Russian, Language::Ukrainian] {
            let html = card_form(&FORM, language).html;
            let script = html.find("<script>").unwrap();
            let style = html.find("</style>").unwrap();
            assert!(!html[style..script].contains('$'), "{language:?}");
            assert!(html.len() < 30_000, "{} bytes", html.len());
        }
    }

    #[test]
    fn inputs_have_no_names_and_autofill_knows_them() {
        let page = card_form(&FORM, Language::English).html;
        assert!(!page.contains("<input name") && !page.contains("\" name=\""));
        for known in ["cc-number", "cc-exp", "cc-csc", "cc-name"] {
            assert!(page.contains(&format!("autocomplete=\"{known}\"")), "{known}");
        }
    }
}
