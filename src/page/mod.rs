//! What a browser is shown. Files are embedded; values are escaped; no page loads anything.
//!
//! Must never: show a card, or let a value become markup.

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
        "<h1>One moment</h1>\n<p>We are taking you to your bank to confirm the payment.</p>\n\
         <form id=\"handoff\" method=\"{method}\" action=\"{target}\" accept-charset=\"utf-8\">\n\
         {inputs}<noscript><p>Scripts are switched off in this browser.</p></noscript>\n\
         <button type=\"submit\">Continue to your bank</button>\n</form>\n\
         <script>{SUBMIT}</script>"
    );
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; form-action https:; \
         base-uri 'none'; frame-ancestors {}",
        source_hash(STYLE),
        source_hash(SUBMIT),
        ancestors_of(ancestors)
    );
    Page { html: whole("Confirm your payment", "", &body), policy }
}

/// A page that asks again by itself until there is a result.
pub fn waiting(again: &str) -> Page {
    let mut url = String::new();
    escape(again, &mut url);
    let head = format!("<meta http-equiv=\"refresh\" content=\"2;url={url}\">");
    let body = "<h1>Your payment is being processed</h1>\n\
                <p role=\"status\">This page goes on by itself. Please do not close it.</p>";
    still("Payment in progress", &head, body)
}

/// A page that says one thing.
pub fn notice(title: &str, text: &str) -> Page {
    let (mut heading, mut words) = (String::new(), String::new());
    escape(title, &mut heading);
    escape(text, &mut words);
    still(title, "", &format!("<h1>{heading}</h1>\n<p>{words}</p>"))
}

/// A page without scripts, forms or anything to load.
fn still(title: &str, head: &str, body: &str) -> Page {
    let style = source_hash(STYLE);
    let policy =
        format!("default-src 'none'; style-src '{style}'; base-uri 'none'; form-action 'none'");
    Page { html: whole(title, head, body), policy }
}

fn whole(title: &str, head: &str, body: &str) -> String {
    let mut escaped = String::new();
    escape(title, &mut escaped);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n{head}\n\
         <title>{escaped}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n\
         </body>\n</html>\n"
    )
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
        let page = handoff("https://acs.example/?a=1&b=2", "POST", fields.into_iter(), &[]);
        assert!(page.html.contains("name=\"a&quot;&gt;&lt;b\""));
        assert!(page.html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#39;&#13;&#10;"));
        assert!(page.html.contains("action=\"https://acs.example/?a=1&amp;b=2\""));
        assert_eq!(page.html.matches("<script>").count(), 1);
        assert!(page.policy.contains("frame-ancestors 'none'"));
    }

    #[test]
    fn the_policy_allows_our_own_script_and_style_and_nothing_else() {
        let page =
            handoff("https://a.b/", "GET", std::iter::empty(), &["https://shop.example".into()]);
        assert!(page.policy.starts_with("default-src 'none'"));
        assert!(page.policy.contains(&source_hash(SUBMIT)));
        assert!(page.policy.contains("frame-ancestors https://shop.example"));
        assert!(!page.policy.contains("unsafe"));
    }
}
