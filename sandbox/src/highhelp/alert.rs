//! Alerts: what happens to a payment, told to the one of the three addresses that the status is
//! for, signed with the provider's own key, repeated until 200.

use super::payment::{Payment, object};
use super::{Shared, sign};
use crate::acs::Expected;
use crate::corefy::cards::Outcome;
use crate::corefy::invoice::unix_now;
use crate::courier::Letter;
use crate::json::Json;
use crate::keys::Signer;
use crate::testcard::Way;
use crate::{lock, random};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use std::sync::Arc;

/// A signed alert, ready to go: for forged ones too.
#[must_use]
pub fn letter(url: &str, document: &Json, timestamp: u64, key: &Signer) -> Letter {
    // Signed as parsed: a name that comes twice counts once.
    let signature = key.sign(&sign::message(document, timestamp));
    let headers =
        [("x-access-timestamp", timestamp.to_string()), ("x-access-signature", signature)];
    Letter {
        url: url.to_owned(),
        content_type: "application/json",
        headers: headers.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        body: Bytes::from(document.render()),
    }
}

impl Shared {
    /// What comes after `processing:new`; without a card, requisites to pay to.
    pub(super) fn proceed(self: &Arc<Self>, id: &str, way: Option<Way>) {
        let Some(planned) = lock(&self.book).payment(id).map(|payment| payment.planned) else {
            return;
        };
        match way {
            None => self.move_to(id, "processing", Some("requisites")),
            Some(Way::Plain) => self.finish(id, planned),
            Some(Way::Dispute) => self.move_to(id, "dispute", Some("wrong_amount")),
            Some(Way::Code) => self.ask(id, "awaiting_3ds_result", None),
            Some(Way::Challenge) => {
                let challenge = self.acs_info(id);
                self.ask(id, "awaiting_3ds_result", Some(("acs_info", challenge)));
            }
            Some(Way::Redirect) => {
                let challenge = self.redirect_info(id);
                self.ask(id, "awaiting_redirect_result", Some(("redirect_info", challenge)));
            }
        }
    }

    /// Ends a payment and tells the merchant. A pending one stays as it is.
    pub(super) fn finish(&self, id: &str, outcome: Outcome) {
        if let Some(payment) = lock(&self.book).payment(id) {
            payment.planned = outcome;
            payment.challenge = None;
        }
        match outcome {
            Outcome::Processed => self.move_to(id, "success", None),
            Outcome::Failed(reason) => self.move_to(id, "decline", Some(reason)),
            Outcome::Pending(_) => {}
        }
    }

    /// What the bank said, or could not say.
    pub(super) fn conclude(&self, id: &str, planned: Outcome, approved: Option<bool>) {
        let outcome = match approved {
            Some(true) => planned,
            Some(false) => Outcome::Failed("declined"),
            None => Outcome::Failed("invalid_3ds_code"),
        };
        self.finish(id, outcome);
    }

    pub(super) fn move_to(&self, id: &str, status: &'static str, sub_status: Option<&'static str>) {
        let mut book = lock(&self.book);
        let Some(payment) = book.payment(id) else { return };
        (payment.status, payment.sub_status) = (status, sub_status);
        let payment = payment.clone();
        drop(book);
        self.emit(&payment);
    }

    fn ask(&self, id: &str, sub_status: &'static str, challenge: Option<(&'static str, Json)>) {
        let mut book = lock(&self.book);
        let Some(payment) = book.payment(id) else { return };
        payment.challenge = challenge;
        let waiting = (payment.payment_id.clone(), payment.planned);
        book.waiting.insert(id.to_owned(), waiting);
        drop(book);
        self.move_to(id, "processing", Some(sub_status));
    }

    fn acs_info(&self, id: &str) -> Json {
        let rid = self.expect(id, None);
        let text = |value: &str| Json::Text(value.to_owned());
        let pareq = include_str!("../corefy/templates/pareq.txt").trim_end();
        object(vec![
            ("acs_url", Json::Text(self.acs.v1_url(&rid))),
            ("pa_req", text(pareq)),
            ("md", Json::Text(URL_SAFE_NO_PAD.encode(id))),
            ("term_url", Json::Text(format!("{}/3ds-return?pid={id}", self.host))),
        ])
    }

    fn redirect_info(&self, id: &str) -> Json {
        let rid = self.expect(id, Some(format!("{}/3ds-return?pid={id}", self.host)));
        object(vec![("url", Json::Text(self.acs.page_url(&rid)))])
    }

    /// Tells the bank whom to expect.
    fn expect(&self, id: &str, notification: Option<String>) -> String {
        let rid = random::hex(8);
        self.acs.expect(Expected {
            rid: rid.clone(),
            payment_id: id.to_owned(),
            merchant: super::TITLE.to_owned(),
            amount: "a payment".to_owned(),
            notification,
        });
        rid
    }

    fn emit(&self, payment: &Payment) {
        let Some(account) = self.account(&payment.project_id) else { return };
        let member = match payment.status {
            "success" => "merchant_success_callback_url",
            "decline" => "merchant_decline_callback_url",
            _ => "merchant_callback_url",
        };
        let url = payment.general.text_at(member);
        if url.is_empty() {
            return;
        }
        let quirks = lock(&self.quirks).clone();
        let mut document = document(payment, quirks.extra);
        if let Json::Object(members) = &mut document {
            members.extend(quirks.trailing);
        }
        let status = match payment.sub_status {
            Some(sub) if payment.status == "processing" => format!("{}:{sub}", payment.status),
            _ => payment.status.to_owned(),
        };
        let timestamp = unix_now().saturating_sub(quirks.seconds_late);
        let letter = letter(url, &document, timestamp, &account.alerts);
        for _ in 0..=usize::from(quirks.twice) {
            self.courier.send(&payment.payment_id, &status, letter.clone());
        }
    }
}

fn document(payment: &Payment, extra: Vec<(String, Json)>) -> Json {
    let text = |value: &str| Json::Text(value.to_owned());
    let mut info = payment.payment_info();
    if let Json::Object(members) = &mut info {
        members.extend(extra);
        if payment.sub_status == Some("requisites") {
            members.push(("requisites".to_owned(), text("+7 900 000-00-00; bank: test")));
        }
    }
    let general = [("payment_id", &payment.payment_id), ("request_id", &payment.request_id)];
    let status = vec![
        ("status", text(payment.status)),
        ("sub_status", payment.sub_status.map_or(Json::Null, text)),
        ("status_description", text(payment.description())),
    ];
    let mut members = vec![
        ("project_id", text(&payment.project_id)),
        ("general", object(general.map(|(name, value)| (name, text(value))).to_vec())),
        ("status", object(status)),
        ("payment_info", info),
    ];
    members.extend(payment.card_block().map(|card| ("card", card)));
    if payment.customer != Json::Null {
        members.push(("customer", payment.customer.clone()));
    }
    members.extend(payment.challenge.clone());
    object(members)
}
