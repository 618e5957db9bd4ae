//! What each side saw of one order: the shop, Portcullis, the provider, side by side. Card numbers
//! and codes are masked on the screen; the provider got them in clear.

use super::order::Order;
use super::{Shared, pages};
use crate::corefy::cards::is_card_number;
use crate::http::Reply;
use crate::lock;
use crate::record::Received;
use crate::testcard::mask;
use crate::text::escape;
use std::sync::Arc;

/// What a provider received, by the account that it received it for.
pub type ReceivedFor = dyn Fn(&str) -> Vec<Arc<Received>> + Send + Sync;

/// Asked what the others saw.
#[derive(Clone)]
pub struct Witness {
    /// Portcullis' log, as it was written.
    pub log: Arc<dyn Fn() -> Vec<u8> + Send + Sync>,
    /// Everything that an account's provider received.
    pub received: Arc<ReceivedFor>,
}

/// Something that one side saw.
pub(super) struct Seen {
    pub(super) what: String,
    pub(super) text: String,
}

pub(super) fn page(shared: &Shared, id: &str) -> Reply {
    let known = lock(&shared.orders).get(id).cloned();
    let Some(order) = known else {
        return Reply::html(404, pages::message("Not found", "There is no such order."));
    };
    let sides = [shop(shared, &order), portcullis(shared, &order), provider(shared, &order)];
    Reply::html(200, pages::sides(&order, &sides))
}

/// Its own log, as far as it speaks of this order's card.
fn shop(shared: &Shared, order: &Order) -> Vec<Seen> {
    let log = shared.log.read().unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let needles: Vec<&str> = order.seen.iter().map(|(_, value)| value.as_str()).collect();
    let about = |entry: &&str| {
        entry.contains(&order.id)
            || needles.iter().any(|needle| !needle.is_empty() && entry.contains(needle))
    };
    let seen = log.split("<<< ").filter(about).filter_map(|entry| {
        let (what, rest) = entry.split_once('\n')?;
        let body = rest.split_once("\n\n").map_or("", |(_, body)| body.trim());
        let worth = !body.is_empty() && !what.starts_with("GET ");
        worth.then(|| Seen { what: what.to_owned(), text: body.to_owned() })
    });
    seen.collect()
}

/// One line for each call since the order was begun that may belong to it.
fn portcullis(shared: &Shared, order: &Order) -> Vec<Seen> {
    let log = (shared.witness.log)();
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |now| now.saturating_sub(order.begun.elapsed()).as_millis());
    let lines = log.split(|byte| *byte == b'\n').filter_map(|line| {
        let line: serde_json::Value = serde_json::from_slice(line).ok()?;
        let text = |name: &str| line.get(name).and_then(serde_json::Value::as_str);
        let time = u128::from(line.get("time_ms")?.as_u64()?);
        let elsewhere = text("account").is_some_and(|account| account != order.account);
        if time + 50 < since || elsewhere || matches!(text("call"), Some("script" | "none")) {
            return None;
        }
        let facts = [
            ("listener", "listener"),
            ("status", "answered"),
            ("code", "code"),
            ("replaced", "card and code put in"),
            ("forwarded", "forwarded"),
            ("upstream_status", "the provider's status"),
            ("scrubbed", "removed from the answer"),
            ("total_us", "microseconds"),
        ];
        let fact = |(name, called): &(&str, &str)| {
            let value = line.get(*name)?;
            Some(format!("{called}: {}", value.as_str().map_or(value.to_string(), str::to_owned)))
        };
        let facts: Vec<String> = facts.iter().filter_map(fact).collect();
        Some(Seen { what: text("call")?.to_owned(), text: facts.join("\n") })
    });
    lines.collect()
}

fn provider(shared: &Shared, order: &Order) -> Vec<Seen> {
    let received = (shared.witness.received)(&order.account);
    let since = received.iter().filter(|entry| entry.at >= order.begun);
    let posts = since.filter(|entry| !entry.request.body.is_empty());
    let seen = posts.map(|entry| Seen {
        what: format!("{} {}", entry.request.method, entry.request.path),
        text: String::from_utf8_lossy(&entry.request.body).into_owned(),
    });
    seen.collect()
}

/// For the page: escaped, numbers of cards masked, tokens and cards marked.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() * 2);
    let mut rest = text;
    while let Some(at) = rest.find(|sign: char| sign.is_ascii_alphanumeric() || sign == '_') {
        let (before, from) = rest.split_at(at);
        let end = from.find(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
        let (word, after) = from.split_at(end.unwrap_or(from.len()));
        shown.push_str(&escape(before));
        let (already, _) = text.split_at(text.len() - from.len());
        let code = CODE_BEFORE.iter().any(|name| already.ends_with(name));
        shown.push_str(&marked(word, code));
        rest = after;
    }
    shown + &escape(rest)
}

/// What stands before a security code in the clear.
const CODE_BEFORE: [&str; 3] = ["\"cvv\": \"", "\"cvv\":\"", "cvv="];

fn marked(word: &str, code: bool) -> String {
    let token = ["tok_test_", "cvv_test_", "brr_"].iter().any(|start| word.starts_with(start));
    match () {
        () if token => format!("<mark class=\"token\">{}</mark>", escape(word)),
        () if is_card(word) => format!("<mark class=\"clear\">{}</mark>", mask(word)),
        () if code && word.bytes().all(|byte| byte.is_ascii_digit()) => {
            "<mark class=\"clear\">***</mark>".to_owned()
        }
        () => escape(word),
    }
}

/// No card begins like a time in milliseconds.
fn is_card(word: &str) -> bool {
    is_card_number(word) && word.starts_with(['2', '3', '4', '5', '6'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_and_codes_are_masked_on_the_screen_and_tokens_are_marked() {
        let text = r#"{"card_number": "5519283812030000", "cvv": "739", "x":"<tok_test_a1>"}"#;
        let seen = shown(text);
        assert!(!seen.contains("5519283812030000") && !seen.contains("739"), "{seen}");
        assert!(seen.contains(r#"<mark class="clear">551928******0000</mark>"#), "{seen}");
        assert!(seen.contains(r#"&lt;<mark class="token">tok_test_a1</mark>&gt;"#), "{seen}");
        let form = shown("card_number=4111111111111111&cvv=123&n=42");
        assert!(form.contains("411111******1111") && !form.contains("123"), "{form}");
        assert!(form.ends_with("n=42"), "{form}");
    }
}
