//! An order of the demo shop, and what a provider's answer makes of it.

use crate::json::Json;
use serde_json::Value;
use std::time::Instant;

/// The 3-D Secure step, as the provider's answer describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Where the form goes.
    pub action: String,
    /// GET or POST.
    pub method: String,
    /// Its fields, whatever they are called.
    pub params: Vec<(String, String)>,
}

impl Challenge {
    /// Reads `auth_payload`, generically.
    #[must_use]
    pub fn of(answer: &Value) -> Option<Self> {
        let payload = answer.get("auth_payload")?.as_object()?;
        let text = |name: &str| payload.get(name).and_then(Value::as_str).map(str::to_owned);
        let params = payload.get("params").and_then(Value::as_object);
        let one = |(name, value): (&String, &Value)| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (name.clone(), text)
        };
        Some(Self {
            action: text("action")?,
            method: text("method").unwrap_or_else(|| "POST".to_owned()),
            params: params.into_iter().flatten().map(one).collect(),
        })
    }
}

impl Challenge {
    /// Reads `acs_info` or `redirect_info` of an alert, by the names that it may have.
    #[must_use]
    pub fn of_alert(alert: &Json) -> Option<Self> {
        let info = alert.get("acs_info").or_else(|| alert.get("redirect_info"))?;
        let first = |names: &[&str]| {
            let found = names.iter().map(|name| info.text_at(name)).find(|text| !text.is_empty());
            found.map(str::to_owned)
        };
        let names = [
            ("PaReq", ["pa_req", "PaReq"]),
            ("MD", ["md", "MD"]),
            ("TermUrl", ["term_url", "TermUrl"]),
            ("creq", ["creq", "c_req"]),
        ];
        let named =
            names.iter().filter_map(|(name, spelled)| Some(((*name).to_owned(), first(spelled)?)));
        let mut params: Vec<(String, String)> = named.collect();
        let method = if params.is_empty() { "GET" } else { "POST" };
        let given = info.get("params").map_or(&[][..], Json::members);
        params.extend(
            given
                .iter()
                .filter_map(|(name, value)| Some((name.clone(), value.scalar()?.to_owned()))),
        );
        Some(Self {
            action: first(&["acs_url", "url"])?,
            method: first(&["method"]).unwrap_or_else(|| method.to_owned()),
            params,
        })
    }
}

/// A callback that the shop accepted.
#[derive(Debug, Clone)]
pub struct Told {
    /// Account that it came for.
    pub account: String,
    /// Invoice id.
    pub invoice: String,
    /// The merchant's key.
    pub reference: String,
    /// Status.
    pub status: String,
    /// Where it arrived.
    pub path: String,
    /// What the cardholder has to do, if it says so.
    pub challenge: Option<Challenge>,
    /// Raw body.
    pub body: bytes::Bytes,
}

/// An order.
#[derive(Debug, Clone)]
pub struct Order {
    /// Also the invoice's `reference_id`.
    pub id: String,
    /// Which account it is paid through.
    pub account: String,
    /// Invoice id, once there is one.
    pub invoice: Option<String>,
    /// Last status known.
    pub status: String,
    /// Why not, if not.
    pub problem: Option<String>,
    /// Whether the provider may have been asked to move money; as told by the gateway.
    pub forwarded: Option<String>,
    /// The 3-D Secure step, if one is asked for.
    pub challenge: Option<Challenge>,
    /// Whether the visitor was sent there already.
    pub challenged: bool,
    /// What the shop's server got to see of the card, for the result page.
    pub seen: Vec<(String, String)>,
    /// How many verified callbacks reported on it.
    pub callbacks: usize,
    /// When it was begun: what anybody saw of it came later.
    pub begun: Instant,
}

impl Order {
    /// A new one.
    #[must_use]
    pub fn new(account: &str) -> Self {
        Self {
            id: format!("ord-{}", crate::random::letters(12)),
            account: account.to_owned(),
            invoice: None,
            status: "new".to_owned(),
            problem: None,
            forwarded: None,
            challenge: None,
            challenged: false,
            seen: Vec::new(),
            callbacks: 0,
            begun: Instant::now(),
        }
    }

    /// Nothing more will come.
    #[must_use]
    pub fn is_final(&self) -> bool {
        self.problem.is_some()
            || matches!(
                self.status.as_str(),
                "processed"
                    | "process_failed"
                    | "expired"
                    | "terminated"
                    | "success"
                    | "rejected"
                    | "decline"
            )
    }

    /// Refused by the bank or the provider; a new attempt needs an order of its own.
    #[must_use]
    pub fn is_declined(&self) -> bool {
        matches!(self.status.as_str(), "process_failed" | "rejected" | "decline")
    }

    /// Where the browser comes back to.
    #[must_use]
    pub fn return_url(&self, shop: &str) -> String {
        format!("{shop}/orders/{}/return", self.id)
    }
}

/// What an error answer says, whoever wrote it.
#[must_use]
pub fn problem_of(status: u16, answer: &Value) -> String {
    let text = |pointer: &str| answer.pointer(pointer).and_then(Value::as_str);
    let code = text("/code").map(|code| format!("{code}: ")).unwrap_or_default();
    let detail = text("/detail").or_else(|| text("/errors/0/detail"));
    let detail = detail.or_else(|| text("/message")).or_else(|| text("/status_description"));
    let detail = detail.or_else(|| text("/title"));
    format!("{code}{} (HTTP {status})", detail.unwrap_or("the payment was not accepted"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_challenge_is_read_whatever_its_fields_are_called() {
        let answer = json!({"auth_payload": {"action": "https://acs/x", "method": "POST",
            "params": {"creq": "ey", "n": 1}}});
        let challenge = Challenge::of(&answer).unwrap();
        assert_eq!(challenge.params.len(), 2);
        assert_eq!(Challenge::of(&json!({"auth_payload": []})), None);
        let empty = json!({"auth_payload": {"action": "https://p/3ds/1/start", "method": "GET",
            "params": []}});
        assert!(Challenge::of(&empty).unwrap().params.is_empty());
    }
}
