//! The core API: one envelope for every answer, a signature over the mandatory parameters of every
//! request, as they were sent.

use super::{Account, Invoice, SessionAt, Shared, sign, withdraw};
use crate::corefy::cards::Outcome;
use crate::corefy::invoice::unix_now;
use crate::http::{Reply, Request};
use crate::json::Json;
use crate::text::quote;
use crate::{lock, random};
use http::Method;
use std::sync::Arc;

/// `error_code` and `message`.
pub(super) type Refusal = (u32, &'static str);
/// The `data` of an answer.
pub(super) type Answered = Result<String, Refusal>;

/// A parameter is missing, has a wrong type or a value that cannot be.
pub(super) const INCORRECT: Refusal = (1, "IncorrectRequestParam");
const INVALID_SIGN: Refusal = (1, "invalid sign");
const TOO_SMALL: Refusal = (4, "amount is too small");
const NOT_UNIQUE: Refusal = (6, "non-unique operation id");
const NOT_FOUND: Refusal = (7, "operation is not found");

/// A call whose signature holds.
pub(super) struct Call<'a> {
    pub(super) account: &'a Account,
    pub(super) params: &'a Json,
}

impl Call<'_> {
    /// Text or number, as sent; empty if there is none.
    pub(super) fn value(&self, name: &str) -> &str {
        self.params.get(name).and_then(Json::scalar).unwrap_or_default()
    }

    fn own(&self, name: &str) -> Option<String> {
        Some(self.value(name)).filter(|value| !value.is_empty()).map(str::to_owned)
    }
}

/// One call. Business errors are answered with status 200, as the family's clients expect.
pub(super) fn serve(shared: &Arc<Shared>, request: &Request, method: &str) -> Reply {
    if request.method != Method::POST || sign::mandatory(method).is_none() {
        return Reply::html(404, "<h1>404</h1>");
    }
    let media = request.header("content-type").unwrap_or_default();
    if media.split(';').next().map(str::trim) != Some("application/json") {
        return failed(INCORRECT);
    }
    let Some(params) = Json::parse(&request.body) else { return failed(INCORRECT) };
    match call(shared, method, &params) {
        Ok(data) => succeeded(&data, params.get("shop_id").and_then(Json::scalar)),
        Err(refusal) => failed(refusal),
    }
}

pub(super) fn succeeded(data: &str, shop_id: Option<&str>) -> Reply {
    let newer = shop_id.map_or_else(String::new, |id| {
        format!(r#","shop_id":{id},"transfer_id":null,"withdraw_id":null"#)
    });
    let body = format!(r#"{{"data":{data},"error_code":0,"message":"Ok","result":true{newer}}}"#);
    Reply::json(200, body)
}

pub(super) fn failed((code, message): Refusal) -> Reply {
    envelope(code, message)
}

/// A refusal in the provider's words, for faults.
pub(super) fn refusal(detail: &str) -> Reply {
    envelope(1, detail)
}

fn envelope(code: u32, message: &str) -> Reply {
    let message = quote(message);
    let body = format!(r#"{{"data":null,"error_code":{code},"message":{message},"result":false}}"#);
    Reply::json(200, body)
}

fn call(shared: &Arc<Shared>, method: &str, params: &Json) -> Answered {
    let names = sign::mandatory(method).ok_or(INCORRECT)?;
    let mut signed = Vec::new();
    for name in names {
        let value = params.get(name).and_then(Json::scalar).filter(|value| !value.is_empty());
        signed.push((*name, value.ok_or(INCORRECT)?));
    }
    let shop_id = params.get("shop_id").and_then(Json::scalar).unwrap_or_default();
    let account = shared.account(shop_id).ok_or(INCORRECT)?;
    let presented = params.text_at("sign");
    if presented != sign::sign(&signed, &account.secret) {
        return Err(INVALID_SIGN);
    }
    if names.contains(&"account") {
        lock(&shared.book).signatures.push(presented.to_owned());
    }
    let call = Call { account, params };
    match method {
        "invoice/try" => try_invoice(&call),
        "invoice/create" => create_invoice(shared, &call),
        "bill/shop_order_status" => order_status(shared, &call, bill_code),
        "invoice/shop_order_status" => order_status(shared, &call, invoice_code),
        "shop_balance" => Ok(balance(&call)),
        _ => withdraw::serve(shared, method, &call),
    }
}

/// A decimal number of at least one.
pub(super) fn amount(text: &str) -> Result<(), Refusal> {
    match text.parse::<f64>() {
        Ok(amount) if amount >= 1.0 => Ok(()),
        Ok(_) => Err(TOO_SMALL),
        Err(_) => Err(INCORRECT),
    }
}

fn payable(call: &Call<'_>) -> Result<(), Refusal> {
    amount(call.value("amount"))?;
    let number = call.value("currency").len() == 3;
    if number && call.value("payway").starts_with("card_") { Ok(()) } else { Err(INCORRECT) }
}

fn try_invoice(call: &Call<'_>) -> Answered {
    payable(call)?;
    let (amount, currency) = (quote(call.value("amount")), quote(call.value("currency")));
    Ok(format!(
        r#"{{"add_ons_config":{{"phone":{{"regex":"^380[0-9]{{9}}$","required":false}}}},"email_required":false,"payer_price":{amount},"ps_currency":{currency}}}"#
    ))
}

fn create_invoice(shared: &Arc<Shared>, call: &Call<'_>) -> Answered {
    payable(call)?;
    let payer = call.own("pay_token");
    let mut book = lock(&shared.book);
    let order = call.value("shop_order_id");
    let own = |invoice: &Invoice| invoice.shop_id == call.account.shop_id;
    if book.invoices.iter().any(|invoice| own(invoice) && invoice.order == order) {
        return Err(NOT_UNIQUE);
    }
    if let Some(token) = &payer
        && book.pay_tokens.get(token) != Some(&call.account.shop_id)
    {
        return Err(INCORRECT);
    }
    let invoice = new_invoice(book.new_id(), call);
    book.invoices.push(invoice.clone());
    let Some(token) = payer else {
        drop(book);
        return Ok(created(shared, &invoice));
    };
    book.offline.push((token, invoice.order.clone()));
    drop(book);
    tokio::spawn(settle_later(Arc::clone(shared), invoice.id));
    Ok(include_str!("offline.json").trim_end().to_owned())
}

async fn settle_later(shared: Arc<Shared>, id: u64) {
    tokio::time::sleep(shared.courier.pace().settle_after).await;
    shared.finish(id, Outcome::Processed);
}

fn new_invoice(id: u64, call: &Call<'_>) -> Invoice {
    let own = |name: &str| call.value(name).to_owned();
    Invoice {
        id,
        shop_id: call.account.shop_id.clone(),
        order: own("shop_order_id"),
        amount: own("amount"),
        currency: own("currency"),
        payway: own("payway"),
        description: own("description"),
        success_url: call.own("success_url"),
        failed_url: call.own("failed_url"),
        callback_url: call.own("callback_url"),
        session: random::hex(16),
        form_token: None,
        status: "created",
        reason: None,
        card: None,
        wants_pay_token: call.value("required_pay_token") == "true",
        pay_token: None,
        updated: unix_now(),
    }
}

/// No document prints this answer; the place of the session is a quirk.
fn created(shared: &Shared, invoice: &Invoice) -> String {
    let place = lock(&shared.quirks).session_at;
    let session = quote(&invoice.session);
    let id = match place {
        SessionAt::Id => session.clone(),
        _ => invoice.id.to_string(),
    };
    let flat = match place {
        SessionAt::Flat => format!(r#","session_id":{session}"#),
        _ => String::new(),
    };
    let nested = match place {
        SessionAt::Nested => format!(r#""session_id":{session}"#),
        _ => String::new(),
    };
    let url = quote(&format!("{}/pay", shared.host));
    format!(r#"{{"data":{{{nested}}},"id":{id},"method":"POST","url":{url}{flat}}}"#)
}

fn invoice_code(status: &str) -> u32 {
    match status {
        "created" => 1,
        "waiting" => 2,
        "success" => 4,
        _ => 6,
    }
}

fn bill_code(status: &str) -> u32 {
    match status {
        "created" | "waiting" => 1,
        "success" => 2,
        _ => 3,
    }
}

fn order_status(shared: &Shared, call: &Call<'_>, code: fn(&str) -> u32) -> Answered {
    let book = lock(&shared.book);
    let order = call.value("shop_order_id");
    let own =
        |invoice: &&Invoice| invoice.shop_id == call.account.shop_id && invoice.order == order;
    let invoice = book.invoices.iter().rev().find(own).ok_or(NOT_FOUND)?;
    let card = invoice.card.as_deref().map_or_else(|| "null".to_owned(), quote);
    Ok(format!(
        r#"{{"id":{},"shop_id":{},"shop_order_id":{},"shop_amount":{},"shop_currency":{},"ps_payer_account":{card},"status":{}}}"#,
        invoice.id,
        invoice.shop_id,
        quote(&invoice.order),
        quote(&invoice.amount),
        quote(&invoice.currency),
        code(invoice.status),
    ))
}

fn balance(call: &Call<'_>) -> String {
    format!(
        r#"{{"balances":[{{"available":1000.50,"currency":980,"frozen":0,"hold":0.00}}],"shop_id":{}}}"#,
        call.account.shop_id
    )
}
