//! A merchant's client for a Corefy white label, written to the provider's own document and to
//! nothing else. Base URLs, credentials and card values are all that changes when Portcullis stands
//! in between.

use super::log::Log;
use crate::client::{Answer, Call, Client};
use crate::text::{fill, quote};
use anyhow::Result;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::sync::Arc;

/// What the provider's dashboard shows a merchant (or what stands in for it).
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Account id: login of the private API.
    pub id: String,
    /// API key: its password; verifies callbacks.
    pub key: String,
    /// For the public API.
    pub public_key: String,
}

/// An invoice to be made.
#[derive(Debug, Clone)]
pub struct NewInvoice {
    /// The merchant's own key.
    pub reference: String,
    /// Major units, as the number is to be written.
    pub amount: String,
    /// Where the browser goes in the end.
    pub return_url: String,
    /// Where callbacks go; none if empty.
    pub callback_url: String,
}

/// Card values of a sale: tokens, or the card itself where a merchant (wrongly) has it.
#[derive(Debug, Clone)]
pub struct CardFields {
    /// Number or card token.
    pub number: String,
    /// Holder.
    pub holder: String,
    /// Code or its token.
    pub cvv: String,
    /// Two digits.
    pub month: String,
    /// Two digits.
    pub year: String,
    /// Browser data; strings.
    pub browser_info: Value,
}

/// The client.
#[derive(Clone)]
pub struct Gateway {
    /// Transport.
    pub client: Client,
    /// Base of the private API.
    pub api: String,
    /// Base of the public API.
    pub public: String,
    /// Base of the card gate.
    pub cardgate: String,
    /// Who calls.
    pub credentials: Credentials,
    /// Everything that comes back is written down here.
    pub log: Option<Arc<Log>>,
}

impl Gateway {
    /// `POST /payment-invoices`.
    pub async fn create_invoice(&self, invoice: &NewInvoice) -> Result<Answer> {
        self.post("/payment-invoices", invoice.body()).await
    }

    /// `GET /payment-invoices/{id}`.
    pub async fn invoice(&self, id: &str) -> Result<Answer> {
        self.read(&format!("/payment-invoices/{id}")).await
    }

    /// `GET /payment-invoices/?filter[reference_id]=…`.
    pub async fn invoices_by_reference(&self, reference: &str) -> Result<Answer> {
        self.read(&format!("/payment-invoices/?filter[reference_id]={reference}")).await
    }

    /// `POST /payment/sale` at the card gate, with the invoice's bearer token.
    pub async fn sale(&self, bearer: &str, card: &CardFields) -> Result<Answer> {
        self.send(self.sale_call(bearer, card)).await
    }

    /// The call of a sale, for those who add to it.
    #[must_use]
    pub fn sale_call(&self, bearer: &str, card: &CardFields) -> Call {
        let url = format!("{}/payment/sale", self.cardgate);
        Call::post_json(url, card.body()).header("authorization", &format!("Bearer {bearer}"))
    }

    /// `POST /payout-invoices` with `fields.card_number`.
    pub async fn payout(&self, reference: &str, number: &str, callback: &str) -> Result<Answer> {
        let values = [
            ("reference", quote(reference)),
            ("number", quote(number)),
            ("callback_url", quote(callback)),
        ];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        let body = fill(include_str!("assets/payout.json"), &values);
        self.post("/payout-invoices", body).await
    }

    /// `GET /payout-invoices/{id}`.
    pub async fn payout_by_id(&self, id: &str) -> Result<Answer> {
        self.read(&format!("/payout-invoices/{id}")).await
    }

    /// `GET /payout-invoices/?filter[reference_id]=…`.
    pub async fn payouts_by_reference(&self, reference: &str) -> Result<Answer> {
        self.read(&format!("/payout-invoices/?filter[reference_id]={reference}")).await
    }

    /// `POST /payment-prerequest` of the public API.
    pub async fn prerequest(&self, currency: &str, amount: &str) -> Result<Answer> {
        let key = quote(&self.credentials.public_key);
        let body =
            format!(r#"{{"public_key":{key},"currency":{},"amount":{amount}}}"#, quote(currency));
        self.send(Call::post_json(format!("{}/payment-prerequest", self.public), body)).await
    }

    /// Any `POST` of the private API.
    pub async fn post(&self, path: &str, body: String) -> Result<Answer> {
        self.send(self.basic(Call::post_json(format!("{}{path}", self.api), body))).await
    }

    /// Sends any call and writes the answer down.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        let place = call.url().split('?').next().unwrap_or_default().to_owned();
        let answer = self.client.send(call).await?;
        if let Some(log) = &self.log {
            let what = format!("answer {} of {place}", answer.status);
            log.received(&what, &answer.headers, &answer.body);
        }
        Ok(answer)
    }

    async fn read(&self, path: &str) -> Result<Answer> {
        self.send(self.basic(Call::get(format!("{}{path}", self.api)))).await
    }

    fn basic(&self, call: Call) -> Call {
        let pair = format!("{}:{}", self.credentials.id, self.credentials.key);
        call.header("authorization", &format!("Basic {}", STANDARD.encode(pair)))
    }
}

impl NewInvoice {
    /// The document's own sample, filled in.
    fn body(&self) -> String {
        let callback = match self.callback_url.as_str() {
            "" => String::new(),
            url => format!(",\n    \"callback_url\": {}", quote(url)),
        };
        let values = [
            ("reference", quote(&self.reference)),
            ("amount", self.amount.clone()),
            ("return_url", quote(&self.return_url)),
            ("callback_line", callback),
        ];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        fill(include_str!("assets/invoice.json"), &values)
    }
}

impl CardFields {
    /// The document's own sample, filled in.
    #[must_use]
    pub fn body(&self) -> String {
        let browser = match self.browser_info.as_object() {
            Some(members) if !members.is_empty() => self.browser_info.to_string(),
            _ => r#"{"browser_tz": "-60", "browser_screen_width": "1920"}"#.to_owned(),
        };
        let values = [
            ("number", quote(&self.number)),
            ("holder", quote(&self.holder)),
            ("cvv", quote(&self.cvv)),
            ("month", quote(&self.month)),
            ("year", quote(&self.year)),
            ("browser_info", browser),
        ];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        fill(include_str!("assets/sale.json"), &values)
    }
}

/// The bearer token of an invoice's answer.
#[must_use]
pub fn bearer_of(document: &Value) -> Option<&str> {
    document.pointer("/data/attributes/flow_data/metadata/token")?.as_str()
}
