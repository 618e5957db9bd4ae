//! The issuer's page (ACS): takes whatever form the shop's browser posts, asks, and sends the
//! browser back the way the fields say: to `TermUrl` by POST or GET, or to the notification URL
//! that the platform registered before.

use crate::ca::Identity;
use crate::http::{Reply, Request, Server};
use crate::record::Recorder;
use crate::text::{encode_form, escape};
use crate::{lock, random};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Method;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

const FORM: &str = "application/x-www-form-urlencoded";
/// Bytes whose base64 is `++++////`: a relay that decodes and encodes again loses them.
const AWKWARD: [u8; 6] = [0xfb, 0xef, 0xbe, 0xff, 0xff, 0xff];

/// What the platform tells the ACS before the browser comes.
#[derive(Debug, Clone)]
pub struct Expected {
    /// The challenge's own id, in the action URL.
    pub rid: String,
    /// `pay_…`.
    pub payment_id: String,
    /// Shown.
    pub merchant: String,
    /// Shown.
    pub amount: String,
    /// 3DS2: where the answer goes.
    pub notification: Option<String>,
}

/// What the browser was made to send back.
#[derive(Debug, Clone)]
pub struct Posted {
    /// POST or GET.
    pub method: Method,
    /// Where to.
    pub url: String,
    /// The encoded fields: the body, or what was added to the query.
    pub fields: String,
}

impl Posted {
    /// Whether a request is this one: method, content type and every byte.
    #[must_use]
    pub fn arrived_as(&self, request: &Request) -> bool {
        if request.method != self.method {
            return false;
        }
        if self.method == Method::POST {
            return request.header("content-type") == Some(FORM)
                && request.body == self.fields.as_bytes();
        }
        let query = request.query.as_deref().unwrap_or_default();
        let own = query.strip_suffix(&self.fields);
        request.body.is_empty() && own.is_some_and(|own| own.is_empty() || own.ends_with('&'))
    }
}

/// Which form the ACS posted to, and what it was given.
#[derive(Debug, Clone)]
pub struct Challenged {
    /// The challenge's id.
    pub rid: String,
    /// `pay_…`.
    pub payment_id: String,
    /// How the browser came.
    pub method: Method,
    /// The fields, decoded, in the order sent.
    pub fields: Vec<(String, String)>,
}

impl Challenged {
    /// One field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// How the answer looks.
#[derive(Debug, Clone)]
pub struct Style {
    /// Decoded size of `PaRes`.
    pub pares_bytes: usize,
    /// `MD` before `PaRes`.
    pub md_first: bool,
    /// Fields that nobody documented; may repeat a name.
    pub extra: Vec<(String, String)>,
}

impl Default for Style {
    fn default() -> Self {
        let extra = vec![("acsRef".to_owned(), "ä + & %2B".to_owned())];
        Self { pares_bytes: 700, md_first: false, extra }
    }
}

#[derive(Default)]
struct Desk {
    expected: HashMap<String, Expected>,
    challenged: Vec<Challenged>,
    posted: HashMap<String, Posted>,
    style: Style,
}

#[derive(Default)]
struct Shared {
    received: Recorder,
    desk: Mutex<Desk>,
}

/// A running ACS.
pub struct Acs {
    shared: Arc<Shared>,
    server: Server,
}

impl Acs {
    /// Starts one; port 0 for any free one.
    pub async fn start(port: u16, identity: &Identity) -> Result<Arc<Self>> {
        let listener = Server::bind(port).await?;
        let shared = Arc::new(Shared::default());
        let serving = Arc::clone(&shared);
        let serve = move |request| std::future::ready(serve(&serving, &request));
        let server = Server::serve(listener, Some(identity.acceptor()?), serve)?;
        Ok(Arc::new(Self { shared, server }))
    }

    /// `https://localhost:port`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://localhost:{}", self.server.port())
    }

    /// Action of a 3DS1 challenge, in the sample's shape.
    #[must_use]
    pub fn v1_url(&self, rid: &str) -> String {
        format!("{}/acspage/cap?RID={rid}&VAA=A", self.url())
    }

    /// Action of a 3DS2 challenge, in the sample's shape.
    #[must_use]
    pub fn v2_url(&self, rid: &str) -> String {
        format!("{}/acspage/challenge?id={rid}", self.url())
    }

    /// Where a bank takes browsers that bring nothing but themselves.
    #[must_use]
    pub fn page_url(&self, rid: &str) -> String {
        format!("{}/acspage/confirm?id={rid}", self.url())
    }

    /// Announces a challenge.
    pub fn expect(&self, expected: Expected) {
        lock(&self.shared.desk).expected.insert(expected.rid.clone(), expected);
    }

    /// What the browser was last made to send for a payment.
    #[must_use]
    pub fn posted(&self, payment_id: &str) -> Option<Posted> {
        lock(&self.shared.desk).posted.get(payment_id).cloned()
    }

    /// The forms that arrived, oldest first.
    #[must_use]
    pub fn challenged(&self) -> Vec<Challenged> {
        lock(&self.shared.desk).challenged.clone()
    }

    /// Everything received.
    #[must_use]
    pub fn received(&self) -> &Recorder {
        &self.shared.received
    }

    /// Changes how answers look.
    pub fn style(&self, style: Style) {
        lock(&self.shared.desk).style = style;
    }
}

fn serve(shared: &Shared, request: &Request) -> Reply {
    match (request.path.as_str(), &request.method) {
        ("/acspage/cap", _) => challenge(shared, request, "RID"),
        ("/acspage/challenge", _) => challenge(shared, request, "id"),
        ("/acspage/confirm", &Method::GET) => challenge(shared, request, "id"),
        ("/acspage/answer", &Method::POST) => answer(shared, request),
        _ => Reply::html(404, page("Not found", "<p>There is nothing here.</p>")),
    }
}

fn challenge(shared: &Shared, request: &Request, id: &str) -> Reply {
    shared.received.keep("challenge", request);
    let rid = request.query_value(id).unwrap_or_default();
    let fields = match request.method {
        Method::POST => request.form(),
        _ => request.query_pairs(),
    };
    let mut desk = lock(&shared.desk);
    let Some(expected) = desk.expected.get(&rid).cloned() else {
        return Reply::html(404, page("Unknown transaction", "<p>No such challenge.</p>"));
    };
    let payment_id = expected.payment_id.clone();
    let method = request.method.clone();
    desk.challenged.push(Challenged { rid: rid.clone(), payment_id, method, fields });
    Reply::html(200, question(&rid, &expected))
}

fn question(rid: &str, expected: &Expected) -> String {
    let by_get = match expected.notification {
        Some(_) => "",
        None => r#"<button name="choice" value="approve_get">Approve (return by GET)</button>"#,
    };
    let body = format!(
        "<p><b>{}</b> asks for <b>{}</b>.</p>\
         <form method=\"post\" action=\"/acspage/answer\">\
         <input type=\"hidden\" name=\"rid\" value=\"{}\">\
         <button name=\"choice\" value=\"approve\">Approve</button>{by_get}\
         <button name=\"choice\" value=\"decline\" class=\"quiet\">Decline</button></form>\
         <p class=\"note\">Simulated issuer of the Portcullis sandbox. No bank is involved.</p>",
        escape(&expected.merchant),
        escape(&expected.amount),
        escape(rid),
    );
    page("Is this payment yours?", &body)
}

fn answer(shared: &Shared, request: &Request) -> Reply {
    shared.received.keep("answer", request);
    let form = request.form();
    let value = |name: &str| form.iter().find(|(key, _)| key == name).map(|(_, v)| v.as_str());
    let rid = value("rid").unwrap_or_default();
    let choice = value("choice").unwrap_or("approve");
    let mut desk = lock(&shared.desk);
    let came = desk.challenged.iter().rev().find(|challenged| challenged.rid == rid).cloned();
    let (Some(expected), Some(came)) = (desk.expected.get(rid).cloned(), came) else {
        return Reply::html(404, page("Unknown transaction", "<p>No such challenge.</p>"));
    };
    let approved = choice != "decline";
    let (url, fields) = match &expected.notification {
        Some(url) => (url.clone(), v2_fields(&came, approved)),
        None => (term_url(&came), v1_fields(&came, approved, &desk.style)),
    };
    let method = if choice == "approve_get" { Method::GET } else { Method::POST };
    let encoded = encode_form(&fields);
    let posted = Posted { method: method.clone(), url: url.clone(), fields: encoded.clone() };
    desk.posted.insert(expected.payment_id, posted);
    if method == Method::POST {
        return Reply::html(200, back(&url, &fields));
    }
    let joint = if url.contains('?') { '&' } else { '?' };
    Reply::redirect(303, &format!("{url}{joint}{encoded}"))
}

/// Where the form's own field says; one without a scheme is taken for https.
fn term_url(came: &Challenged) -> String {
    let given = came.field("TermUrl").unwrap_or_default();
    match given.starts_with("https://") {
        true => given.to_owned(),
        false => format!("https://{given}"),
    }
}

fn v1_fields(came: &Challenged, approved: bool, style: &Style) -> Vec<(String, String)> {
    let pares = ("PaRes".to_owned(), pares(&came.rid, approved, style.pares_bytes));
    let md = ("MD".to_owned(), came.field("MD").unwrap_or_default().to_owned());
    let mut fields = if style.md_first { vec![md, pares] } else { vec![pares, md] };
    fields.extend(style.extra.clone());
    fields
}

fn v2_fields(came: &Challenged, approved: bool) -> Vec<(String, String)> {
    let creq = came.field("creq").unwrap_or_default();
    let decoded = URL_SAFE_NO_PAD.decode(creq.trim_end_matches('='));
    let creq: Value =
        decoded.ok().and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let id = |name: &str| creq.get(name).cloned().unwrap_or_default();
    let cres = json!({
        "threeDSServerTransID": id("threeDSServerTransID"),
        "acsTransID": id("acsTransID"),
        "messageType": "CRes",
        "messageVersion": "2.1.0",
        "transStatus": if approved { "Y" } else { "N" },
    });
    let mut fields = vec![("cres".to_owned(), URL_SAFE_NO_PAD.encode(cres.to_string()))];
    let session = came.field("threeDSSessionData");
    fields.extend(session.map(|data| ("threeDSSessionData".to_owned(), data.to_owned())));
    fields
}

/// Base64 in lines of 76 with CR LF, holding `+`, `/` and padding. Not deflated: nothing here reads
/// XML.
fn pares(rid: &str, approved: bool, bytes: usize) -> String {
    let status = if approved { "Y" } else { "N" };
    let mut message = AWKWARD.to_vec();
    message.extend_from_slice(
        format!(
            "<ThreeDSecure><Message id=\"{rid}\"><PARes><TX><status>{status}</status></TX></PARes>\
             </Message></ThreeDSecure>"
        )
        .as_bytes(),
    );
    message.extend(random::bytes(bytes.saturating_sub(message.len())));
    while message.len() % 3 != 1 {
        message.push(0xff);
    }
    let encoded = STANDARD.encode(message);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(76).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    lines.join("\r\n")
}

/// Reads the status of a `PaRes` made here; `None` if a byte of it was lost on the way.
#[must_use]
pub fn status_of_pares(pares: &str) -> Option<bool> {
    let lines: Vec<&str> = pares.split("\r\n").collect();
    let (last, full) = lines.split_last()?;
    if last.len() > 76 || full.iter().any(|line| line.len() != 76) {
        return None;
    }
    let message = STANDARD.decode(lines.concat()).ok()?;
    let rest = message.strip_prefix(&AWKWARD)?;
    let text = String::from_utf8_lossy(rest);
    Some(text.contains("<status>Y</status>"))
}

/// Reads the status of a `cres`; only a hint, as everywhere.
#[must_use]
pub fn status_of_cres(cres: &str) -> Option<bool> {
    let decoded = URL_SAFE_NO_PAD.decode(cres).ok()?;
    let message: Value = serde_json::from_slice(&decoded).ok()?;
    message.get("transStatus").map(|status| status == "Y")
}

fn back(url: &str, fields: &[(String, String)]) -> String {
    let one = |(name, value): &(String, String)| {
        let (name, value) = (escape(name), escape(value));
        format!(r#"<input type="hidden" name="{name}" value="{value}">"#)
    };
    let inputs: String = fields.iter().map(one).collect();
    let body = format!(
        "<form method=\"post\" accept-charset=\"utf-8\" action=\"{}\">{inputs}\
         <button>Back to the shop</button></form><script>document.forms[0].submit()</script>",
        escape(url)
    );
    page("Back to the shop …", &body)
}

fn page(title: &str, body: &str) -> String {
    crate::text::fill(include_str!("acs.html"), &[("title", title), ("body", body)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pares_has_every_awkward_byte_and_reads_back() {
        let made = pares("8", true, 700);
        assert!(made.contains('+') && made.contains('/') && made.ends_with('='));
        assert!(made.contains("\r\n"));
        assert_eq!(status_of_pares(&made), Some(true));
        assert_eq!(status_of_pares(&pares("8", false, 40_000)), Some(false));
    }

    #[test]
    fn a_pares_that_was_decoded_and_encoded_again_is_noticed() {
        let made = pares("8", true, 700);
        assert_eq!(status_of_pares(&made.replace('+', " ")), None);
        assert_eq!(status_of_pares(&made.replace("\r\n", "\n")), None);
        assert_eq!(status_of_pares(&made.replace("\r\n", "")), None);
    }
}
