//! A merchant's client for HighHelp, written to the provider's own document: its own key signs
//! every request, alerts are checked before they are read. The base URL and the keys are all that
//! changes when Portcullis stands in between.

use super::gateway::CardFields;
use super::log::Log;
use crate::client::{Answer, Call, Client};
use crate::corefy::invoice::unix_now;
use crate::highhelp::sign::message;
use crate::http::Request;
use crate::json::Json;
use crate::keys::{Signer, Verifier};
use crate::text::{fill, quote};
use anyhow::Result;
use std::sync::Arc;

/// The client.
#[derive(Clone)]
pub struct HighHelp {
    /// Transport.
    pub client: Client,
    /// Base of the API.
    pub api: String,
    /// The project.
    pub project_id: String,
    /// Signs requests.
    pub key: Signer,
    /// Checks alerts.
    pub alerts: Verifier,
    /// Everything that comes back is written down here.
    pub log: Option<Arc<Log>>,
}

/// A payment to be made.
#[derive(Debug, Clone)]
pub struct NewPayment {
    /// The merchant's own key.
    pub payment_id: String,
    /// Alerts go to `/progress`, `/success` and `/decline` below this.
    pub callbacks: String,
    /// Where the browser goes in the end.
    pub redirect_url: String,
}

impl HighHelp {
    /// `ecom/payin`.
    pub async fn payin(&self, payment: &NewPayment, card: &CardFields) -> Result<Answer> {
        self.post("payment/ecom/payin", self.payin_body(payment, card)).await
    }

    /// The body of a payin, for those who change it.
    #[must_use]
    pub fn payin_body(&self, payment: &NewPayment, card: &CardFields) -> String {
        let values = [
            ("general", self.general(payment)),
            ("pan", quote(&card.number)),
            ("holder", quote(&card.holder)),
            ("month", quote(&card.month)),
            ("year", quote(&card.year)),
            ("cvv", quote(&card.cvv)),
        ];
        let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
        fill(include_str!("assets/payin.json"), &values)
    }

    /// `p2p/payin`: no card, requisites come by an alert.
    pub async fn p2p_payin(&self, payment: &NewPayment) -> Result<Answer> {
        let body = format!(
            r#"{{"general":{},"payment":{{"method":"sbp-p2p","amount":10000,"currency":"RUB"}}}}"#,
            self.general(payment)
        );
        self.post("payment/p2p/payin", body).await
    }

    /// `{product}/payout`: the card is the receiver's.
    pub async fn payout(
        &self,
        product: &str,
        payment: &NewPayment,
        number: &str,
    ) -> Result<Answer> {
        let body = self.payout_body(product, payment, number);
        self.post(&format!("payment/{product}/payout"), body).await
    }

    /// The body of a payout.
    #[must_use]
    pub fn payout_body(&self, product: &str, payment: &NewPayment, number: &str) -> String {
        format!(
            r#"{{"general":{},"payment":{{"method":"card-{product}","amount":1250,"currency":"RUB"}},"receiver":{{"pan":{},"card_holder":"Card Holder"}}}}"#,
            self.general(payment),
            quote(number)
        )
    }

    /// `{product}/{flow}/info`.
    pub async fn info(&self, kind: &str, payment_id: &str) -> Result<Answer> {
        let body = format!(r#"{{"general":{}}}"#, self.named(payment_id));
        self.post(&format!("payment/{kind}/info"), body).await
    }

    /// `ecom/payin/confirm-3ds-result` with one value: `otp`, `cres`, `pares`.
    pub async fn confirm(&self, payment_id: &str, name: &str, value: &str) -> Result<Answer> {
        let (general, value) = (self.named(payment_id), quote(value));
        let body = format!(r#"{{"general":{general},"{name}":{value}}}"#);
        self.post("payment/ecom/payin/confirm-3ds-result", body).await
    }

    /// `balance/info`.
    pub async fn balance(&self) -> Result<Answer> {
        let project = quote(&self.project_id);
        self.post("balance/info", format!(r#"{{"general":{{"project_id":{project}}}}}"#)).await
    }

    /// Any call, signed now.
    pub async fn post(&self, path: &str, body: String) -> Result<Answer> {
        self.send(self.call(path, body, unix_now())).await
    }

    /// Any call, signed for this time.
    #[must_use]
    pub fn call(&self, path: &str, body: String, timestamp: u64) -> Call {
        let read = Json::parse(body.as_bytes()).unwrap_or(Json::Null);
        let signature = self.key.sign(&message(&read, timestamp));
        let call = Call::post_json(format!("{}/api/v1/{path}", self.api), body)
            .header("x-access-timestamp", &timestamp.to_string())
            .header("x-access-merchant-id", &self.project_id)
            .header("x-access-signature", &signature);
        match self.key.verifier().access_token() {
            Some(token) => call.header("x-access-token", &token),
            None => call.header("x-access-merchant-algorithm", "HMAC-SHA512"),
        }
    }

    /// Sends any call and writes the answer down.
    pub async fn send(&self, call: Call) -> Result<Answer> {
        let place = call.url().to_owned();
        let answer = self.client.send(call).await?;
        if let Some(log) = &self.log {
            let what = format!("answer {} of {place}", answer.status);
            log.received(&what, &answer.headers, &answer.body);
        }
        Ok(answer)
    }

    /// An alert whose signature holds.
    #[must_use]
    pub fn check_alert(&self, request: &Request) -> Option<Json> {
        let timestamp = request.header("x-access-timestamp")?.parse().ok()?;
        let signature = request.header("x-access-signature")?;
        let body = Json::parse(&request.body)?;
        self.alerts.accepts(&message(&body, timestamp), signature).then_some(body)
    }

    fn general(&self, payment: &NewPayment) -> String {
        let at = |end: &str| quote(&format!("{}/{end}", payment.callbacks));
        format!(
            r#"{{"project_id":{},"payment_id":{},"merchant_callback_url":{},"merchant_success_callback_url":{},"merchant_decline_callback_url":{},"redirect_url":{}}}"#,
            quote(&self.project_id),
            quote(&payment.payment_id),
            at("progress"),
            at("success"),
            at("decline"),
            quote(&payment.redirect_url),
        )
    }

    fn named(&self, payment_id: &str) -> String {
        let (project, payment) = (quote(&self.project_id), quote(payment_id));
        format!(r#"{{"project_id":{project},"payment_id":{payment}}}"#)
    }
}
