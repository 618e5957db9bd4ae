//! What a browser is shown. Files are embedded; values are escaped; no page loads anything.
//!
//! Must never: show a card, or let a value become markup.

mod form;
mod language;
mod script;

pub use form::{CardForm, card_form, form_digests};
pub use language::Language;
pub use script::{SCRIPTS, Script};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

const STYLE: &str = include_str!("style.css");
const SUBMIT: &str = include_str!("submit.js");

/// A page and the policy that it needs.
#[derive(Debug)]
pub struct Page {
    /// HTML.
    pub html: String,
    /// `Content-Security-Policy`.
    pub policy: String,
}

/// A form that submits itself, with a button for browsers without scripts. `ancestors` are the
/// origins whose pages may frame it.
pub fn handoff<'f>(
    action: &str,
    method: &str,
    fields: impl Iterator<Item = (&'f str, &'f str)>,
    ancestors: &[String],
    language: Language,
) -> Page {
    let mut inputs = String::new();
    for (name, value) in fields {
        inputs.push_str("<input type=\"hidden\" name=\"");
        escape(name, &mut inputs);
        inputs.push_str("\" value=\"");
        escape(value, &mut inputs);
        inputs.push_str("\">\n");
    }
    let method = if method == "GET" { "get" } else { "post" };
    let mut target = String::new();
    escape(action, &mut target);
    let body = format!(
        "{TURN}<h1>{}</h1>\n<p>{}</p>\n\
         <form id=\"handoff\" method=\"{method}\" action=\"{target}\" accept-charset=\"utf-8\">\n\
         {inputs}<noscript><p>{}</p></noscript>\n\
         <button type=\"submit\">{}</button>\n</form>\n\
         <script>{SUBMIT}</script>",
        language.text("handoff-heading"),
        language.text("handoff-text"),
        language.text("handoff-no-script"),
        language.text("handoff-button"),
    );
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; form-action https:; \
         base-uri 'none'; frame-ancestors {}",
        source_hash(STYLE),
        source_hash(SUBMIT),
        ancestors_of(ancestors)
    );
    Page { html: whole(language.text("handoff-title"), "", &body, language), policy }
}

/// A page that asks again by itself until there is a result.
pub fn waiting(again: &str, language: Language) -> Page {
    let mut url = String::new();
    escape(again, &mut url);
    let head = format!("<meta http-equiv=\"refresh\" content=\"2;url={url}\">");
    let body = format!(
        "{TURN}<h1>{}</h1>\n<p role=\"status\">{}</p>",
        language.text("waiting-heading"),
        language.text("waiting-text")
    );
    still("waiting-title", &head, &body, language)
}

/// What a page that only says something says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// Nothing happens at this address by itself.
    Idle,
    /// The payment is over here; nobody knows its outcome yet.
    Landed,
    /// The provider could not be reached.
    Unreachable,
    /// A card form could not be used.
    NotSent,
    /// The step has ended, or never was.
    Gone,
    /// What was typed is no card, or not all of it.
    CardWrong,
    /// The shop's form could not be taken without doubt.
    CardNotTaken,
    /// The shop does not answer.
    ShopAway,
}

/// A page that says one thing.
pub fn notice(notice: Notice, language: Language) -> Page {
    let (title, text) = match notice {
        Notice::Idle => ("idle-title", "idle-text"),
        Notice::Landed => ("landed-title", "landed-text"),
        Notice::Unreachable => ("unreachable-title", "unreachable-text"),
        Notice::NotSent => ("not-sent-title", "not-sent-text"),
        Notice::Gone => ("gone-title", "gone-text"),
        Notice::CardWrong => ("card-wrong-title", "card-wrong-text"),
        Notice::CardNotTaken => ("card-not-taken-title", "card-not-taken-text"),
        Notice::ShopAway => ("shop-away-title", "shop-away-text"),
    };
    let body = format!("<h1>{}</h1>\n<p>{}</p>", language.text(title), language.text(text));
    still(title, "", &body, language)
}

/// A page without scripts, forms or anything to load.
fn still(title: &str, head: &str, body: &str, language: Language) -> Page {
    let style = source_hash(STYLE);
    let policy =
        format!("default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'");
    Page { html: whole(language.text(title), head, body, language), policy }
}

/// Something that moves while the browser waits.
const TURN: &str = "<div class=\"turn\" aria-hidden=\"true\"></div>\n";

fn whole(title: &str, head: &str, body: &str, language: Language) -> String {
    format!(
        "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{head}\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n\
         </body>\n</html>\n",
        language.tag()
    )
}

/// Replaces every `$name` of a template in one pass: values are not searched again.
fn filled<'v>(template: &str, value: impl Fn(&str) -> &'v str) -> String {
    let mut parts = template.split('$');
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|sign: char| !sign.is_ascii_lowercase() && sign != '-');
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        filled.push_str(value(name));
        filled.push_str(rest);
    }
    filled
}

/// The policy for pages that are not ours and are only passed on: nothing in them may act as us.
pub fn foreign_policy() -> &'static str {
    "sandbox allow-forms allow-scripts allow-top-navigation allow-popups; base-uri 'none'"
}

fn ancestors_of(origins: &[String]) -> String {
    if origins.is_empty() { "'none'".to_owned() } else { origins.join(" ") }
}

/// The source expression that allows exactly this inline text (CSP 3 section 2.3.1).
fn source_hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

/// Makes a value safe inside text and double-quoted attributes.
fn escape(text: &str, out: &mut String) {
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // A browser would make both one line feed inside an attribute.
            '\r' => out.push_str("&#13;"),
            '\n' => out.push_str("&#10;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_become_markup() {
        let fields = [("a\"><b", "<script>alert(1)</script>&'\r\n")];
        let page = handoff(
            "https://acs.example/?a=1&b=2",
            "POST",
            fields.into_iter(),
            &[],
            Language::English,
        );
        assert!(page.html.contains("name=\"a&quot;&gt;&lt;b\""));
        assert!(page.html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;&#13;&#10;"));
        assert!(page.html.contains("action=\"https://acs.example/?a=1&amp;b=2\""));
        assert_eq!(page.html.matches("<script>").count(), 1);
        assert!(page.policy.contains("frame-ancestors 'none'"));
    }

    #[test]
    fn the_policy_allows_our_own_script_and_style_and_nothing_else() {
        let shop = ["https://shop.example".to_owned()];
        let page = handoff("https://a.b/", "GET", std::iter::empty(), &shop, Language::English);
        assert!(page.policy.starts_with("default-src 'none'"));
        assert!(page.policy.contains(&source_hash(SUBMIT)));
        assert!(page.policy.contains("frame-ancestors https://shop.example"));
        assert!(!page.policy.contains("unsafe"));
    }
}
