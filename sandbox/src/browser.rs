//! A headless browser as far as a 3-D Secure hand-off needs one: pages, forms, redirects. No
//! cookies, no scripts: a form that a script would submit is submitted by hand.

use crate::client::{Answer, Call, Client};
use crate::text::{encode_form, escape};
use anyhow::{Context, Result, bail};
use http::Method;
use url::Url;

const REDIRECTS_MAX: usize = 10;

/// A page that was reached.
#[derive(Debug, Clone)]
pub struct Page {
    /// Its address after redirects.
    pub url: Url,
    /// The answer itself.
    pub answer: Answer,
    /// Status and address of every redirect on the way.
    pub trail: Vec<(u16, String)>,
}

impl Page {
    /// The first form of the page.
    pub fn form(&self) -> Result<Form> {
        let form = Form::first_in(&self.answer.text());
        form.with_context(|| format!("no form in the page (status {})", self.answer.status))
    }
}

/// A form of a page.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form {
    /// As written in the page, unescaped.
    pub action: String,
    /// Lower case.
    pub method: String,
    /// Inputs with their values.
    pub fields: Vec<(String, String)>,
    /// Buttons with a name.
    pub buttons: Vec<(String, String)>,
}

impl Form {
    /// Finds the first form of a page.
    #[must_use]
    pub fn first_in(html: &str) -> Option<Self> {
        let mut form: Option<Self> = None;
        for tag in tags(html) {
            let Some(open) = form.as_mut() else {
                form = (tag.name == "form").then(|| Self {
                    action: tag.value("action"),
                    method: tag.value("method").to_lowercase(),
                    ..Self::default()
                });
                continue;
            };
            let pair = (tag.value("name"), tag.value("value"));
            match tag.name.as_str() {
                "input" if !pair.0.is_empty() => open.fields.push(pair),
                "button" if !pair.0.is_empty() => open.buttons.push(pair),
                "/form" => break,
                _ => {}
            }
        }
        form
    }

    /// A page that submits this form by itself.
    #[must_use]
    pub fn self_submitting(&self, title: &str) -> String {
        let one = |(name, value): &(String, String)| {
            let (name, value) = (escape(name), escape(value));
            format!(r#"<input type="hidden" name="{name}" value="{value}">"#)
        };
        let inputs: String = self.fields.iter().map(one).collect();
        format!(
            "<!doctype html><html><head><meta charset=\"utf-8\"><title>{title}</title></head><body>\
             <form method=\"{}\" action=\"{}\" accept-charset=\"utf-8\">{inputs}\
             <button>Continue</button></form><script>document.forms[0].submit()</script>\
             </body></html>",
            escape(&self.method),
            escape(&self.action),
            title = escape(title),
        )
    }

    /// One field's value.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// The browser.
#[derive(Debug, Clone)]
pub struct Browser {
    client: Client,
}

impl Browser {
    /// A browser that trusts what the client trusts.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client }
    }

    /// Opens an address.
    pub async fn open(&self, url: &str) -> Result<Page> {
        self.follow(Method::GET, Url::parse(url)?, None, None).await
    }

    /// Submits a form, pressing the button whose value is given.
    pub async fn submit(&self, page: &Page, form: &Form, button: Option<&str>) -> Result<Page> {
        let (method, url, body) = self.request_of(page, form, button)?;
        let origin = page.url.origin().ascii_serialization();
        self.follow(method, url, body, Some(origin)).await
    }

    /// The one request that submitting would send, for those who send it in their own way.
    pub fn call_of(&self, page: &Page, form: &Form, button: Option<&str>) -> Result<Call> {
        let (method, url, body) = self.request_of(page, form, button)?;
        Ok(call(&method, &url, body.as_deref()))
    }

    fn request_of(
        &self,
        page: &Page,
        form: &Form,
        button: Option<&str>,
    ) -> Result<(Method, Url, Option<String>)> {
        let mut url = page.url.join(&form.action).context("the form's action is not a URL")?;
        let mut fields = form.fields.clone();
        let pressed = form.buttons.iter().find(|(_, value)| Some(value.as_str()) == button);
        if button.is_some() && pressed.is_none() {
            bail!("the form has no such button");
        }
        fields.extend(pressed.cloned());
        let encoded = encode_form(&fields);
        if form.method == "post" {
            return Ok((Method::POST, url, Some(encoded)));
        }
        url.set_query((!encoded.is_empty()).then_some(encoded.as_str()));
        Ok((Method::GET, url, None))
    }

    async fn follow(
        &self,
        mut method: Method,
        mut url: Url,
        mut body: Option<String>,
        origin: Option<String>,
    ) -> Result<Page> {
        let mut trail = Vec::new();
        while trail.len() <= REDIRECTS_MAX {
            let mut call = call(&method, &url, body.as_deref());
            if let Some(origin) = origin.as_deref().filter(|_| method == Method::POST) {
                call = call.header("origin", origin);
            }
            let answer = self.client.send(call).await?;
            let location = answer.header("location").map(str::to_owned);
            let Some(location) = location.filter(|_| (300..400).contains(&answer.status)) else {
                return Ok(Page { url, answer, trail });
            };
            if !matches!(answer.status, 307 | 308) {
                (method, body) = (Method::GET, None);
            }
            url = url.join(&location).context("a redirect to something that is no URL")?;
            trail.push((answer.status, url.to_string()));
        }
        bail!("more than {REDIRECTS_MAX} redirects")
    }
}

fn call(method: &Method, url: &Url, body: Option<&str>) -> Call {
    let call = match body {
        Some(body) => {
            Call::post(url.as_str(), "application/x-www-form-urlencoded", body.to_owned())
        }
        None => Call::new(method.clone(), url.as_str()),
    };
    call.header("user-agent", "Mozilla/5.0 (headless; Portcullis sandbox)")
        .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
        .header("accept-language", "en")
}

#[derive(Debug)]
struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn value(&self, name: &str) -> String {
        let found = self.attributes.iter().find(|(key, _)| key == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    }
}

/// Every tag of a page, in order. Enough for pages that machines write.
fn tags(html: &str) -> Vec<Tag> {
    let mut rest = html;
    let mut found = Vec::new();
    while let Some((_, after)) = rest.split_once('<') {
        let end = end_of_tag(after);
        let (inside, beyond) = after.split_at(end);
        found.extend(tag(inside));
        rest = beyond;
    }
    found
}

fn end_of_tag(text: &str) -> usize {
    let mut quoted = None;
    for (place, letter) in text.char_indices() {
        match (quoted, letter) {
            (None, '>') => return place,
            (None, '"' | '\'') => quoted = Some(letter),
            (Some(quote), letter) if quote == letter => quoted = None,
            _ => {}
        }
    }
    text.len()
}

fn tag(inside: &str) -> Option<Tag> {
    let mut rest = inside.trim();
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let name = rest.get(..end)?.to_lowercase();
    rest = rest.get(end..)?.trim_start();
    let mut attributes = Vec::new();
    while !rest.is_empty() && rest != "/" {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let key = rest.get(..end)?.to_lowercase();
        rest = rest.get(end..)?.trim_start();
        let mut value = "";
        if let Some(after) = rest.strip_prefix('=') {
            (value, rest) = attribute_value(after.trim_start())?;
        }
        attributes.push((key, unescape(value)));
        rest = rest.trim_start();
    }
    Some(Tag { name, attributes })
}

fn attribute_value(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(inside) = text.strip_prefix(quote) {
            return inside.split_once(quote);
        }
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    Some(text.split_at(end))
}

/// The entities that pages escape values with, by name and by number.
fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let entity = after.split_once(';').and_then(|(name, beyond)| Some((entity(name)?, beyond)));
        match entity {
            Some((letter, beyond)) => {
                plain.push(letter);
                rest = beyond;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let hex = number.strip_prefix(['x', 'X']);
            let code = match hex {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::escape;

    #[test]
    fn a_form_is_read_as_a_browser_reads_it() {
        let value = "a+b/c=\r\n<\"'&amp;>";
        let html = format!(
            "<p>x</p><FORM accept-charset=utf-8 METHOD='post' action=\"/a?x=1&amp;y=2\">\
             <input type=hidden name=\"PaRes\" value=\"{}\"/><input name=MD value=''>\
             <input type=submit><button name=choice value=approve>Go</button></form>\
             <input name=outside value=1>",
            escape(value)
        );
        let form = Form::first_in(&html).unwrap();
        assert_eq!(form.action, "/a?x=1&y=2");
        assert_eq!(form.method, "post");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(form.fields, [pair("PaRes", value), pair("MD", "")]);
        assert_eq!(form.buttons, [pair("choice", "approve")]);
    }

    #[test]
    fn a_page_without_a_form_has_none() {
        assert_eq!(Form::first_in("<p>a < b & c"), None);
    }
}
