//! `sign`: values sorted by their names, joined by colons, the secret behind, SHA-256. Requests
//! sign what the method demands; callbacks sign everything that is not empty.

use crate::json::Json;
use crate::random::encode_hex;
use ring::digest::{SHA256, digest};

/// The parameters that a method demands and signs; `None` for a method that does not exist.
#[must_use]
pub fn mandatory(method: &str) -> Option<&'static [&'static str]> {
    Some(match method {
        "invoice/try" | "invoice/create" => {
            &["amount", "currency", "payway", "shop_id", "shop_order_id"]
        }
        "withdraw/try" => &["amount", "amount_type", "payway", "shop_currency", "shop_id"],
        "withdraw/create" => &[
            "account",
            "amount",
            "amount_type",
            "payway",
            "shop_currency",
            "shop_id",
            "shop_payment_id",
        ],
        "check_account" => &["account", "amount", "payway", "shop_id"],
        "withdraw/status" => &["now", "shop_id", "withdraw_id"],
        "withdraw/shop_payment_status" => &["now", "shop_id", "shop_payment_id"],
        "bill/shop_order_status" | "invoice/shop_order_status" => {
            &["now", "shop_id", "shop_order_id"]
        }
        "shop_balance" => &["now", "shop_id"],
        _ => return None,
    })
}

/// The signature over named values.
#[must_use]
pub fn sign(values: &[(&str, &str)], secret: &str) -> String {
    let mut values = values.to_vec();
    values.sort_unstable();
    let values: Vec<&str> = values.into_iter().map(|(_, value)| value).collect();
    let text = format!("{}{secret}", values.join(":"));
    encode_hex(digest(&SHA256, text.as_bytes()).as_ref())
}

/// The signature of a callback: every field but `sign` that is neither null nor empty; zeros count.
#[must_use]
pub fn of_callback(fields: &[(String, Json)], secret: &str) -> String {
    let filled = fields.iter().filter(|(name, _)| name != "sign");
    let filled = filled.filter_map(|(name, value)| Some((name.as_str(), value.scalar()?)));
    let filled: Vec<(&str, &str)> = filled.filter(|(_, value)| !value.is_empty()).collect();
    sign(&filled, secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_signed_as_the_published_samples() {
        let invoice = |amount, currency, payway| {
            let values = [
                ("shop_order_id", "4126"),
                ("amount", amount),
                ("currency", currency),
                ("payway", payway),
                ("shop_id", "5"),
            ];
            sign(&values, "SecretKey01")
        };
        let first = "4c2608a8638c0650d54dd4809bd69ab50d1a1cd55f2e13366b68d43caee34104";
        assert_eq!(invoice("12.34", "980", "card_uah"), first);
        let second = "07a596eb1dbcb83d5a7b2f1c9572d455af7e71b9ea5c32e3c3892f099ae67ac2";
        assert_eq!(invoice("12.34", "643", "perfectmoney_usd"), second);
    }

    #[test]
    fn callbacks_sign_everything_that_is_not_empty() {
        let body = br#"{"shop_id":158,"shop_order_id":"ord-7","payment_id":1001,"status":"success",
            "shop_amount":"100.50","shop_currency":840,"description":"","addons":null,"zero":0}"#;
        let fields = Json::parse(body).unwrap();
        let expected = "4f6b172af68681833c29fb79c27fdd3e8cdc59b3acfab31f7d97a2407c9dfeb9";
        assert_eq!(of_callback(fields.members(), "demo_secret"), expected);
    }
}
