//! How often something may happen.

use crate::limit::{Limit, Rate, Rates};

use super::reader::Table;

/// A rate for each limit, and how many keys each counts.
pub(super) fn rates(root: &Table<'_>) -> (Rates, usize) {
    let table = root.table_or_empty("rates");
    let rates = Rates::new(|limit| rate(&table, limit));
    let keys = table.number("keys", 1_000_000, 1_000..=10_000_000);
    table.finish();
    (rates, usize::try_from(keys).unwrap_or(usize::MAX))
}

/// The word for no rate at all.
pub(super) const OFF: &str = "off";

/// Off only when the word stands there.
fn rate(table: &Table<'_>, limit: Limit) -> Option<Rate> {
    let text = table.text_or(limit.name(), limit.default_rate());
    if text == OFF {
        return None;
    }
    let rate = Rate::parse(&text);
    if rate.is_none() {
        let expected = "must be a count from 1 to 1000000 in a time up to 24h, such as \"20/min\", \
                        \"5/s\" or \"20/15min\", or \"off\"";
        table.fail(limit.name(), expected);
    }
    rate
}
