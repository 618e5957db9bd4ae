//! Money to a card: the number travels in `account`, which is part of what is signed.

use super::Shared;
use super::cards::CARDS;
use super::core::{Answered, Call, INCORRECT, Refusal, amount};
use crate::corefy::cards::{Outcome, is_card_number};
use crate::lock;
use crate::testcard::plan;
use crate::text::quote;
use std::sync::Arc;

const NOT_UNIQUE: Refusal = (6, "non-unique operation id");
const NOT_FOUND: Refusal = (7, "operation is not found");

const NEW: u32 = 1;
const SUCCESS: u32 = 5;
const REJECTED: u32 = 6;

/// A payout.
#[derive(Debug, Clone)]
pub struct Withdrawal {
    /// The provider's number for it.
    pub id: u64,
    /// `shop_id`.
    pub shop_id: String,
    /// `shop_payment_id`.
    pub payment: String,
    /// The card number, in clear.
    pub account: String,
    /// As sent.
    pub amount: String,
    /// As sent.
    pub currency: String,
    /// 1 new, 5 success, 6 rejected.
    pub status: u32,
}

/// The calls that begin with `withdraw/`, and `check_account`.
pub(super) fn serve(shared: &Arc<Shared>, method: &str, call: &Call<'_>) -> Answered {
    match method {
        "check_account" => {
            let known = is_card_number(call.value("account"));
            Ok(format!(r#"{{"account_info":{{}},"result":{known}}}"#))
        }
        "withdraw/try" => {
            amount(call.value("amount"))?;
            Ok(format!(
                r#"{{"account_info_config":{{"account":{{"regex":"^[0-9]{{16,19}}$","title":"card"}}}},"payee_receive":{0},"shop_write_off":{0}}}"#,
                quote(call.value("amount"))
            ))
        }
        "withdraw/create" => create(shared, call),
        "withdraw/status" => {
            let id = call.value("withdraw_id");
            read(shared, call, |one| one.id.to_string() == id)
        }
        _ => {
            let payment = call.value("shop_payment_id");
            read(shared, call, |one| one.payment == payment)
        }
    }
}

fn create(shared: &Arc<Shared>, call: &Call<'_>) -> Answered {
    amount(call.value("amount"))?;
    let kinds = ["ps_amount", "shop_amount"];
    if !kinds.contains(&call.value("amount_type")) || !is_card_number(call.value("account")) {
        return Err(INCORRECT);
    }
    let mut book = lock(&shared.book);
    let payment = call.value("shop_payment_id").to_owned();
    let shop_id = call.account.shop_id.clone();
    if book.withdrawals.iter().any(|one| one.shop_id == shop_id && one.payment == payment) {
        return Err(NOT_UNIQUE);
    }
    let withdrawal = Withdrawal {
        id: book.new_id(),
        shop_id,
        payment,
        account: call.value("account").to_owned(),
        amount: call.value("amount").to_owned(),
        currency: call.value("shop_currency").to_owned(),
        status: NEW,
    };
    book.withdrawals.push(withdrawal.clone());
    drop(book);
    tokio::spawn(settle_later(Arc::clone(shared), withdrawal.id));
    Ok(document(&withdrawal))
}

async fn settle_later(shared: Arc<Shared>, id: u64) {
    tokio::time::sleep(shared.courier.pace().settle_after).await;
    let mut book = lock(&shared.book);
    if let Some(withdrawal) = book.withdrawals.iter_mut().find(|one| one.id == id) {
        let (_, outcome) = plan(&CARDS, &withdrawal.account, "", "");
        withdrawal.status = if outcome == Outcome::Processed { SUCCESS } else { REJECTED };
    }
}

fn read(shared: &Shared, call: &Call<'_>, chosen: impl Fn(&Withdrawal) -> bool) -> Answered {
    let book = lock(&shared.book);
    let own = |one: &&Withdrawal| one.shop_id == call.account.shop_id && chosen(one);
    book.withdrawals.iter().find(own).map(document).ok_or(NOT_FOUND)
}

fn document(withdrawal: &Withdrawal) -> String {
    format!(
        r#"{{"balance":913.50,"id":{},"payee_receive":{amount},"ps_currency":980,"shop_currency":{},"shop_payment_id":{},"shop_write_off":{amount},"status":{}}}"#,
        withdrawal.id,
        quote(&withdrawal.currency),
        quote(&withdrawal.payment),
        withdrawal.status,
        amount = quote(&withdrawal.amount),
    )
}
