//! The ways in which the simulated gateway misbehaves, switched on and off by tests and scripts.

use super::cards::Challenge;
use crate::http::{Delivery, Reply, Request};
use crate::lock;
use crate::text::quote;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::HeaderName;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::watch;

/// One misbehaviour of one route, until it is cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Does the work and never answers.
    Silent,
    /// Does the work and answers at the next [`Faults::release`].
    Held,
    /// Does the work and answers late.
    Slow(Duration),
    /// Does the work, announces the whole answer and sends half of it.
    Half,
    /// Does the work and closes the connection.
    Cut,
    /// Refuses with 422 and prints the card number and the CVV in `detail`.
    EchoPan,
    /// The same with the number inside base64 of the request's body.
    EchoEncoded,
    /// Answers as always, with the card number in a header.
    EchoHeader,
    /// Refuses with an HTML page that prints the card number in groups of four.
    Html500,
}

impl Fault {
    /// By its name in the control server.
    #[must_use]
    pub fn named(name: &str, milliseconds: u64) -> Option<Self> {
        Some(match name {
            "silent" => Self::Silent,
            "slow" => Self::Slow(Duration::from_millis(milliseconds)),
            "half" => Self::Half,
            "cut" => Self::Cut,
            "echo_pan" => Self::EchoPan,
            "echo_encoded" => Self::EchoEncoded,
            "echo_header" => Self::EchoHeader,
            "html_500" => Self::Html500,
            _ => return None,
        })
    }
}

/// Faults by route.
#[derive(Debug, Default)]
pub struct Faults {
    routes: Mutex<HashMap<String, Fault>>,
    release: watch::Sender<()>,
}

impl Faults {
    /// Switches a fault on for a route (`sale`, `payment-invoices.create`, `3ds-return` …).
    pub fn set(&self, route: &str, fault: Fault) {
        lock(&self.routes).insert(route.to_owned(), fault);
    }

    /// All is well again, for requests that come from now on.
    pub fn clear(&self) {
        lock(&self.routes).clear();
    }

    /// Answers that were held leave.
    pub fn release(&self) {
        self.release.send_replace(());
    }

    /// A refusal that takes the place of the work.
    pub(crate) fn instead(
        &self,
        route: &str,
        request: &Request,
        refusal: fn(&str) -> Reply,
    ) -> Option<Reply> {
        let fault = lock(&self.routes).get(route).copied()?;
        let (number, cvv) = card_of(request);
        match fault {
            Fault::EchoPan => Some(refusal(&format!("Card {number} (cvv {cvv}) is not allowed"))),
            Fault::EchoEncoded => {
                let trace = STANDARD.encode(&request.body);
                Some(refusal(&format!("Unexpected request, trace {trace}")))
            }
            Fault::Html500 => Some(Reply::html(500, stack_trace(&number, &cvv))),
            _ => None,
        }
    }

    /// What becomes of the reply to work that was done.
    pub(crate) fn shape(&self, route: &str, request: &Request, reply: Reply) -> Reply {
        let Some(fault) = lock(&self.routes).get(route).copied() else { return reply };
        match fault {
            Fault::Silent => reply.delivered(Delivery::Never),
            Fault::Held => reply.delivered(Delivery::Held(self.release.subscribe())),
            Fault::Slow(delay) => reply.delivered(Delivery::After(delay)),
            Fault::Half => reply.delivered(Delivery::Half),
            Fault::Cut => reply.delivered(Delivery::Cut),
            Fault::EchoHeader => {
                reply.with(HeaderName::from_static("x-debug-card"), &card_of(request).0)
            }
            Fault::EchoPan | Fault::EchoEncoded | Fault::Html500 => reply,
        }
    }
}

fn stack_trace(number: &str, cvv: &str) -> String {
    let groups: Vec<&str> = (0..4).filter_map(|n| number.get(n * 4..n * 4 + 4)).collect();
    let line = quote(&groups.join(" "));
    format!(
        "<html><head><title>Whoops, looks like something went wrong.</title></head><body>\
         <h1>500</h1><pre>CardValidator.php:42 number={line} cvv={}</pre></body></html>",
        quote(cvv)
    )
}

/// Number and code, wherever the providers' requests carry them.
fn card_of(request: &Request) -> (String, String) {
    let form = request.form();
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let first = |pointers: &[&str]| {
        let found = pointers.iter().find_map(|pointer| {
            let name = pointer.trim_start_matches('/');
            let field = form.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
            body.pointer(pointer).and_then(Value::as_str).or(field)
        });
        found.unwrap_or_default().to_owned()
    };
    let numbers = [
        "/data/attributes/card_number",
        "/data/attributes/fields/card_number",
        "/card_number",
        "/account",
        "/sender/pan",
        "/receiver/pan",
    ];
    (first(&numbers), first(&["/data/attributes/cvv", "/cvv", "/sender/cvv"]))
}

/// What the `PaReq` is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pareq {
    /// Looks like a JWT and carries the card number, as the provider's own sample does.
    CarriesPan,
    /// The provider's other sample: base64, no card inside.
    Harmless,
    /// Forty kilobytes, no card inside.
    Huge,
}

/// What the original TermUrl answers to the relayed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TermAnswer {
    /// An empty redirect (302 or 303) to the invoice's return URL.
    Redirect(u16),
    /// A page.
    Page,
    /// A failure.
    Error500,
}

/// Peculiarities that are not failures.
#[derive(Debug, Clone)]
pub struct Quirks {
    /// `TermUrl` without `https://`, as one sample has it.
    pub schemeless_term_url: bool,
    /// Another `TermUrl`.
    pub term_url: Option<String>,
    /// Another page of the bank.
    pub action: Option<String>,
    /// Overrules what the account is set to.
    pub pareq: Option<Pareq>,
    /// Overrules what the card asks for.
    pub challenge: Option<Challenge>,
    /// Asks the cardholder of a number that is no test card, too, and then takes the payment.
    pub strangers: Option<Challenge>,
    /// Answer of the TermUrl.
    pub term_answer: TermAnswer,
    /// Empty `MD`.
    pub empty_md: bool,
    /// Fields beside the documented ones in `params`.
    pub extra_params: Vec<(String, String)>,
    /// Invoices and callbacks print the whole card number where the mask belongs.
    pub unmasked: bool,
    /// Each read of an invoice brings a bearer token of its own.
    pub fresh_tokens: bool,
}

impl Quirks {
    pub(super) fn new(schemeless_term_url: bool) -> Self {
        Self {
            schemeless_term_url,
            term_url: None,
            action: None,
            pareq: None,
            challenge: None,
            strangers: None,
            term_answer: TermAnswer::Redirect(302),
            empty_md: false,
            extra_params: Vec::new(),
            unmasked: false,
            fresh_tokens: false,
        }
    }
}
