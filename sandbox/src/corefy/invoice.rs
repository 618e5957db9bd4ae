//! Invoices as the platform keeps and prints them: the shapes of the samples, PHP's empty arrays
//! included.

use crate::text::{fill, quote, quote_or_null};
use serde_json::Value;
use std::time::{SystemTime, UNIX_EPOCH};

/// What an invoice is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Money comes in.
    Payment,
    /// Money goes out.
    Payout,
}

impl Kind {
    /// Its collection's name in the API.
    #[must_use]
    pub fn collection(self) -> &'static str {
        match self {
            Self::Payment => "payment-invoices",
            Self::Payout => "payout-invoices",
        }
    }
}

/// The card of an invoice, as far as the platform shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaskedCard {
    /// First six.
    pub first: String,
    /// Last four.
    pub last: String,
    /// First six, stars, last four.
    pub mask: String,
    /// Network.
    pub network: &'static str,
    /// Two digits.
    pub month: String,
    /// Two digits.
    pub year: String,
}

impl MaskedCard {
    /// Masks a number that was checked before.
    #[must_use]
    pub fn of(number: &str, month: &str, year: &str) -> Self {
        let first = number.get(..6).unwrap_or_default().to_owned();
        let last = number.get(number.len().saturating_sub(4)..).unwrap_or_default().to_owned();
        let stars = "*".repeat(number.len().saturating_sub(10));
        Self {
            mask: format!("{first}{stars}{last}"),
            first,
            last,
            network: super::cards::network(number),
            month: month.to_owned(),
            year: year.to_owned(),
        }
    }
}

/// A payment or payout invoice.
#[derive(Debug, Clone)]
pub struct Invoice {
    /// `cpi_…` or `cpoi_…`.
    pub id: String,
    /// Which of the two.
    pub kind: Kind,
    /// The account's id, `coma_…`.
    pub account: String,
    /// The merchant's own key.
    pub reference_id: String,
    /// Status.
    pub status: String,
    /// Reason.
    pub resolution: String,
    /// As the number was written.
    pub amount: String,
    /// Upper case.
    pub currency: String,
    /// Lower case, whatever came.
    pub service: String,
    /// Chooses the callback secret.
    pub test_mode: bool,
    /// Free text.
    pub description: Option<String>,
    /// Where the invoice's callbacks go.
    pub callback_url: Option<String>,
    /// Where the browser goes in the end.
    pub return_url: Option<String>,
    /// Wins over `return_url`.
    pub return_urls: Value,
    /// The merchant's.
    pub metadata: Value,
    /// Session of the card gate.
    pub sid: String,
    /// Opens the card gate for this invoice alone.
    pub token: String,
    /// `pay_…`, known to the acquirer and the ACS.
    pub payment_id: String,
    /// UNIX seconds.
    pub created: u64,
    /// UNIX seconds.
    pub updated: u64,
    /// UNIX seconds.
    pub processed: Option<u64>,
    /// Once a card was seen.
    pub card: Option<MaskedCard>,
}

/// Seconds since 1970.
#[must_use]
pub fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Invoice {
    /// Moves on to another status.
    pub fn move_to(&mut self, status: &str, resolution: &str) {
        self.status = status.to_owned();
        self.resolution = resolution.to_owned();
        self.updated = unix_now();
        if status == "processed" {
            self.processed = Some(self.updated);
        }
    }

    /// Where the browser goes with this status.
    #[must_use]
    pub fn return_target(&self) -> Option<String> {
        let name = match self.status.as_str() {
            "processed" => "success",
            "process_failed" => "fail",
            _ => "pending",
        };
        let special = self.return_urls.get(name).and_then(Value::as_str);
        special.or(self.return_url.as_deref()).map(str::to_owned)
    }

    /// The answer to its creation, in the shape of the first sample.
    #[must_use]
    pub fn created_document(&self, base: Base<'_>) -> String {
        match self.kind {
            Kind::Payment => self.fill(include_str!("templates/payment_created.json"), base),
            Kind::Payout => self.document(base),
        }
    }

    /// The resource on its own: reads and callbacks.
    #[must_use]
    pub fn document(&self, base: Base<'_>) -> String {
        format!("{{\n\"data\": {}}}\n", self.resource(base))
    }

    /// The resource object, as a member of lists.
    #[must_use]
    pub fn resource(&self, base: Base<'_>) -> String {
        let template = match self.kind {
            Kind::Payment => include_str!("templates/payment.json"),
            Kind::Payout => include_str!("templates/payout.json"),
        };
        self.fill(template, base)
    }

    fn fill(&self, template: &str, base: Base<'_>) -> String {
        let link = format!("{}/{}/{}", base.prefix, self.kind.collection(), self.id);
        let hpp_url = format!("{}/hpp/{}", base.host, self.sid);
        let or_null = |number: Option<String>| number.unwrap_or_else(|| "null".to_owned());
        let paid = self.processed.is_some();
        let values = [
            ("id", quote(&self.id)),
            ("status", quote(&self.status)),
            ("serial_number", quote(self.id.rsplit('_').next().unwrap_or_default())),
            ("resolution", quote(&self.resolution)),
            ("amount", self.amount.clone()),
            ("currency", quote(&self.currency)),
            ("reference_id", quote(&self.reference_id)),
            ("test_mode", self.test_mode.to_string()),
            ("description", quote_or_null(self.description.as_deref())),
            ("processed", or_null(self.processed.map(|at| at.to_string()))),
            ("processed_amount", or_null(paid.then(|| self.amount.clone()))),
            ("processed_fee", or_null(paid.then(|| "0".to_owned()))),
            ("metadata", php(&self.metadata)),
            ("hpp_url", quote(&hpp_url)),
            ("sid", quote(&self.sid)),
            ("token", quote(&self.token)),
            ("return_url", quote_or_null(self.return_url.as_deref())),
            ("return_urls", php(&self.return_urls)),
            ("callback_url", quote_or_null(self.callback_url.as_deref())),
            ("created", self.created.to_string()),
            ("updated", self.updated.to_string()),
            ("payload", self.payload()),
            ("original_data", self.original_data()),
            ("service", quote(&self.service)),
            ("payment_id", quote(&self.payment_id)),
            ("account", quote(&self.account)),
            ("link", quote(&link)),
        ];
        fill(template, &values.each_ref().map(|(name, value)| (*name, value.as_str())))
    }

    fn payload(&self) -> String {
        let Some(card) = &self.card else { return "[]".to_owned() };
        let texts = [
            ("last", &card.last),
            ("mask", &card.mask),
            ("first", &card.first),
            ("expiry_year", &card.year),
            ("expiry_month", &card.month),
        ];
        let mut values = texts.map(|(name, value)| (name, quote(value))).to_vec();
        values.push(("network", quote(card.network)));
        let values: Vec<_> = values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        fill(include_str!("templates/payload.json").trim_end(), &values)
    }

    fn original_data(&self) -> String {
        if self.card.is_none() {
            return "[]".to_owned();
        }
        let sid = quote(&self.sid);
        format!(r#"{{"external_id": {sid}, "provider_id": null, "provider_code": "test"}}"#)
    }
}

/// Where the simulator lives, for links.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// `https://localhost:port`.
    pub host: &'a str,
    /// Path prefix of the private API.
    pub prefix: &'a str,
}

/// An object as it is, an empty one as `[]`.
fn php(value: &Value) -> String {
    match value {
        Value::Object(members) if !members.is_empty() => value.to_string(),
        _ => "[]".to_owned(),
    }
}
