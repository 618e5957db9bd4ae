//! A merchant's client for Qostiq, written as the family's published SDK works: every value a
//! string, `sign` over what the method demands, callbacks checked over everything not empty. Base
//! URLs and the secret are all that changes when Portcullis stands in between.

use super::gateway::CardFields;
use super::log::Log;
use crate::browser::Form;
use crate::client::{Answer, Call, Client};
use crate::corefy::invoice::unix_now;
use crate::http::Request;
use crate::json::Json;
use crate::random::encode_hex;
use crate::text::timestamp;
use anyhow::{Context, Result};
use ring::digest::{SHA256, digest};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Parameters by name, as the SDK keeps them.
pub type Params = BTreeMap<String, String>;

/// The client.
#[derive(Clone)]
pub struct Piastrix {
    /// Transport.
    pub client: Client,
    /// Base of the core API.
    pub core: String,
    /// Base of `h2h_data`.
    pub card: String,
    /// `shop_id`.
    pub shop_id: String,
    /// Signs requests, checks callbacks.
    pub secret: String,
    /// Everything that comes back is written down here.
    pub log: Option<Arc<Log>>,
}

impl Piastrix {
    /// `invoice/create`; what is in `more` is sent and not signed.
    pub async fn invoice(
        &self,
        order: &str,
        amount: &str,
        more: &[(&str, &str)],
    ) -> Result<Answer> {
        let mut params = self.invoice_params(order, amount);
        params.extend(more.iter().map(|(name, value)| pair(name, value)));
        let signed = ["amount", "currency", "payway", "shop_id", "shop_order_id"];
        self.post("invoice/create", self.signed(params, &signed)).await
    }

    /// `invoice/try`.
    pub async fn invoice_try(&self, amount: &str) -> Result<Answer> {
        let signed = ["amount", "currency", "payway", "shop_id", "shop_order_id"];
        self.post("invoice/try", self.signed(self.invoice_params("try", amount), &signed)).await
    }

    /// `h2h_data`: the session alone.
    pub async fn h2h_data(&self, session: &str) -> Result<Answer> {
        let body = Json::Object(vec![("session_id".to_owned(), Json::Text(session.to_owned()))]);
        self.send(Call::post_json(format!("{}/h2h_data", self.card), body.render())).await
    }

    /// `withdraw/create`: the card number is in `account`.
    pub async fn withdraw(&self, payment: &str, account: &str) -> Result<Answer> {
        let mut params = self.params(&[
            ("account", account),
            ("amount", "12.50"),
            ("amount_type", "ps_amount"),
            ("payway", "card_uah"),
            ("shop_currency", "980"),
            ("shop_payment_id", payment),
        ]);
        let signed: Vec<String> = params.keys().cloned().collect();
        let signed: Vec<&str> = signed.iter().map(String::as_str).collect();
        params.extend([pair("description", "Refund to a card")]);
        self.post("withdraw/create", self.signed(params, &signed)).await
    }

    /// `withdraw/try`.
    pub async fn withdraw_try(&self, amount: &str) -> Result<Answer> {
        let params = self.params(&[
            ("amount", amount),
            ("amount_type", "ps_amount"),
            ("payway", "card_uah"),
            ("shop_currency", "980"),
        ]);
        let signed = ["amount", "amount_type", "payway", "shop_currency", "shop_id"];
        self.post("withdraw/try", self.signed(params, &signed)).await
    }

    /// `withdraw/status`.
    pub async fn withdraw_status(&self, id: &str) -> Result<Answer> {
        self.ask("withdraw/status", Some(("withdraw_id", id))).await
    }

    /// `withdraw/shop_payment_status`.
    pub async fn payment_status(&self, payment: &str) -> Result<Answer> {
        self.ask("withdraw/shop_payment_status", Some(("shop_payment_id", payment))).await
    }

    /// `bill/shop_order_status`.
    pub async fn order_status(&self, order: &str) -> Result<Answer> {
        self.ask("bill/shop_order_status", Some(("shop_order_id", order))).await
    }

    /// `shop_balance`.
    pub async fn balance(&self) -> Result<Answer> {
        self.ask("shop_balance", None).await
    }

    /// Any call of the core API, with a body that was made elsewhere.
    pub async fn post(&self, method: &str, body: String) -> Result<Answer> {
        self.send(Call::post_json(format!("{}/{method}", self.core), body)).await
    }

    /// The body with its `sign`.
    #[must_use]
    pub fn signed(&self, mut params: Params, names: &[&str]) -> String {
        let mut names = names.to_vec();
        names.sort_unstable();
        let value = |name: &&str| params.get(*name).map_or("", String::as_str);
        let values: Vec<&str> = names.iter().map(value).collect();
        params.insert("sign".to_owned(), self.hash(&values));
        let text = |(name, value)| (name, Json::Text(value));
        Json::Object(params.into_iter().map(text).collect()).render()
    }

    /// The fields of a callback whose signature holds, as strings.
    #[must_use]
    pub fn check_callback(&self, request: &Request) -> Option<Params> {
        let json = request.header("content-type")?.starts_with("application/json");
        let fields: Params = match json {
            true => {
                let body = Json::parse(&request.body)?;
                let text = |value: &Json| value.scalar().unwrap_or_default().to_owned();
                body.members().iter().map(|(name, value)| (name.clone(), text(value))).collect()
            }
            false => request.form().into_iter().collect(),
        };
        // The map is sorted by name already.
        let filled = fields.iter().filter(|(name, value)| *name != "sign" && !value.is_empty());
        let values: Vec<&str> = filled.map(|(_, value)| value.as_str()).collect();
        (fields.get("sign") == Some(&self.hash(&values))).then_some(fields)
    }

    fn hash(&self, values: &[&str]) -> String {
        let text = format!("{}{}", values.join(":"), self.secret);
        encode_hex(digest(&SHA256, text.as_bytes()).as_ref())
    }

    fn params(&self, given: &[(&str, &str)]) -> Params {
        let own = [("shop_id", self.shop_id.as_str())];
        given.iter().chain(&own).map(|(name, value)| pair(name, value)).collect()
    }

    fn invoice_params(&self, order: &str, amount: &str) -> Params {
        self.params(&[
            ("amount", amount),
            ("currency", "980"),
            ("payway", "card_uah"),
            ("shop_order_id", order),
        ])
    }

    async fn ask(&self, method: &str, about: Option<(&str, &str)>) -> Result<Answer> {
        let now = format!("{}.123456", timestamp(unix_now()));
        let mut params = self.params(&[("now", &now)]);
        params.extend(about.map(|(name, value)| pair(name, value)));
        let names: Vec<String> = params.keys().cloned().collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.post(method, self.signed(params, &names)).await
    }

    async fn send(&self, call: Call) -> Result<Answer> {
        let place = call.url().to_owned();
        let answer = self.client.send(call).await?;
        if let Some(log) = &self.log {
            let what = format!("answer {} of {place}", answer.status);
            log.received(&what, &answer.headers, &answer.body);
        }
        Ok(answer)
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

/// The session of an `invoice/create`, wherever the answer has it.
pub fn session_of(answer: &Value) -> Result<String> {
    let places = ["/data/data/session_id", "/data/session_id", "/data/id"];
    let found = places.iter().find_map(|at| answer.pointer(at).and_then(Value::as_str));
    found.map(str::to_owned).context("the invoice has no session")
}

/// The form that the cardholder's browser posts.
pub fn payform(h2h_data: &Value, session: &str, card: &CardFields) -> Result<Form> {
    let text = |name: &str| {
        let value = h2h_data.pointer(&format!("/data/{name}")).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("h2h_data gave no {name}"))
    };
    let fields = [
        ("session_id", session.to_owned()),
        ("form_token", text("form_token")?),
        ("card_number", card.number.clone()),
        ("card_holder", card.holder.clone()),
        ("expiry_month", card.month.clone()),
        ("expiry_year", card.year.clone()),
        ("cvv", card.cvv.clone()),
    ];
    Ok(Form {
        action: text("payform_url")?,
        method: "post".to_owned(),
        fields: fields.map(|(name, value)| (name.to_owned(), value)).to_vec(),
        buttons: Vec::new(),
    })
}
