//! Callbacks: every field that is not empty is signed; JSON, or a form on request; repeated until
//! exactly 200.

use super::{Encoding, Invoice, Shared, sign};
use crate::corefy::cards::Outcome;
use crate::corefy::invoice::unix_now;
use crate::courier::Letter;
use crate::json::Json;
use crate::text::{encode_form, timestamp};
use crate::{lock, random};
use bytes::Bytes;
use std::sync::Arc;

type Fields = Vec<(String, Json)>;

/// A signed callback, ready to go: for forged ones too.
#[must_use]
pub fn letter(url: &str, encoding: Encoding, fields: &[(String, Json)], secret: &str) -> Letter {
    let signature = Json::Text(sign::of_callback(fields, secret));
    let fields = [fields, &[("sign".to_owned(), signature)]].concat();
    let (content_type, body) = match encoding {
        Encoding::Json => ("application/json", Json::Object(fields).render()),
        Encoding::Form => {
            let text = |value: &Json| value.scalar().unwrap_or_default().to_owned();
            let pairs: Vec<(String, String)> =
                fields.iter().map(|(name, value)| (name.clone(), text(value))).collect();
            ("application/x-www-form-urlencoded", encode_form(&pairs))
        }
    };
    Letter { url: url.to_owned(), content_type, headers: Vec::new(), body: Bytes::from(body) }
}

impl Shared {
    /// Ends an invoice and tells the merchant. A pending one stays as it is.
    pub(super) fn finish(self: &Arc<Self>, id: u64, outcome: Outcome) {
        let mut book = lock(&self.book);
        let Some(invoice) = book.invoice(id) else { return };
        (invoice.status, invoice.reason) = match outcome {
            Outcome::Processed => ("success", None),
            Outcome::Failed(reason) => ("rejected", Some(reason)),
            Outcome::Pending(_) => return,
        };
        invoice.updated = unix_now();
        if invoice.status == "success" && invoice.wants_pay_token {
            invoice.pay_token = Some(random::hex(16));
        }
        let invoice = invoice.clone();
        if let Some(token) = &invoice.pay_token {
            book.pay_tokens.insert(token.clone(), invoice.shop_id.clone());
        }
        let by_shop = book.interaction.get(&invoice.shop_id).cloned();
        drop(book);
        self.emit(&invoice, by_shop);
    }

    fn emit(&self, invoice: &Invoice, by_shop: Option<String>) {
        let Some(account) = self.account(&invoice.shop_id) else { return };
        let by_shop = by_shop.unwrap_or_else(|| account.interaction_url.clone());
        let url = invoice.callback_url.clone().unwrap_or(by_shop);
        if url.is_empty() {
            return;
        }
        let quirks = lock(&self.quirks).clone();
        let mut fields = fields_of(invoice);
        fields.extend(quirks.extra);
        let encoding = quirks.callbacks.unwrap_or(account.callbacks);
        let letter = letter(&url, encoding, &fields, &account.secret);
        self.courier.send(&invoice.order, invoice.status, letter);
    }
}

/// The documented fields, numbers and texts as the samples have them.
fn fields_of(invoice: &Invoice) -> Fields {
    let number = |value: &str| Json::Number(value.to_owned());
    let text = |value: &str| Json::Text(value.to_owned());
    let time = text(&timestamp(invoice.updated));
    let fields = [
        ("addons", Json::Null),
        ("client_price", number(&invoice.amount)),
        ("created", time.clone()),
        ("description", text(&invoice.description)),
        ("error_code", invoice.reason.map_or(Json::Null, text)),
        ("payment_id", number(&invoice.id.to_string())),
        ("payway", text(&invoice.payway)),
        ("processed", time.clone()),
        ("ps_currency", number(&invoice.currency)),
        ("ps_data", text(&ps_data(invoice))),
        ("shop_amount", number(&invoice.amount)),
        ("shop_currency", number(&invoice.currency)),
        ("shop_id", number(&invoice.shop_id)),
        ("shop_order_id", text(&invoice.order)),
        ("shop_refund", number("0")),
        ("status", text(invoice.status)),
        ("updated", time),
    ];
    fields.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

/// A string that holds JSON; the token for later payments is in here.
fn ps_data(invoice: &Invoice) -> String {
    let given = [
        ("ps_payer_account", invoice.card.clone()),
        ("pay_token", invoice.pay_token.clone()),
        ("reason", invoice.reason.map(str::to_owned)),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Json::Object(given.map(|(name, value)| (name, Json::Text(value))).collect()).render()
}
