//! The public API: pre-requests by public key, and an invoice's status for browsers.

use super::errors::{error, invalid};
use super::{Account, Shared};
use crate::http::{Reply, Request};
use crate::text::{fill, quote};
use crate::{lock, random};
use http::Method;
use serde_json::Value;

/// One call of the public API; `path` is what follows its base.
pub(super) fn serve(shared: &Shared, request: &Request, path: &str) -> Reply {
    match (&request.method, path.trim_start_matches('/')) {
        (&Method::POST, "payment-prerequest") => {
            prerequest(shared, request, include_str!("templates/prerequest.json"), "_hpp")
        }
        (&Method::POST, "payout-prerequest") => {
            prerequest(shared, request, include_str!("templates/payout_prerequest.json"), "")
        }
        (&Method::GET, path) => status(shared, path),
        _ => error(404, "Not Found", "No such endpoint"),
    }
}

fn prerequest(shared: &Shared, request: &Request, template: &str, suffix: &str) -> Reply {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let known = |account: &&Account| Some(account.public_key.as_str()) == text("public_key");
    if !shared.accounts.iter().any(|account| known(&account)) {
        return error(401, "Unauthorized", "Unknown public key");
    }
    let Some(currency) = text("currency") else {
        return invalid(&[("/currency".to_owned(), "The field is required.")]);
    };
    let service = format!("payment_card_{}{suffix}", currency.to_lowercase());
    let values = [
        ("id", quote(&random::letters(16))),
        ("currency", quote(&currency.to_uppercase())),
        ("service", quote(&service)),
    ];
    let values = values.each_ref().map(|(name, value)| (*name, value.as_str()));
    Reply::json(200, fill(template, &values))
}

fn status(shared: &Shared, path: &str) -> Reply {
    let book = lock(&shared.book);
    let mut parts = path.splitn(2, '/');
    let (collection, id) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let found = book.invoices.get(id).filter(|invoice| invoice.kind.collection() == collection);
    let Some(invoice) = found else { return error(404, "Not Found", "Invoice is not found") };
    let body = format!(
        r#"{{"data":{{"type":"{collection}","id":{},"attributes":{{"status":{},"resolution":{}}}}}}}"#,
        quote(&invoice.id),
        quote(&invoice.status),
        quote(&invoice.resolution)
    );
    Reply::json(200, body)
}
