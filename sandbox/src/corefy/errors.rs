//! The platform's errors: JSON:API, one or more entries, read by clients as `errors[0].detail`.

use crate::http::Reply;
use crate::text::quote;

/// One error.
#[must_use]
pub(super) fn error(status: u16, title: &str, detail: &str) -> Reply {
    errors(status, title, &[(detail.to_owned(), None)])
}

/// A validation error per field.
#[must_use]
pub(super) fn invalid(faults: &[(String, &'static str)]) -> Reply {
    let entries: Vec<_> = faults
        .iter()
        .map(|(pointer, detail)| ((*detail).to_owned(), Some(pointer.clone())))
        .collect();
    errors(422, "Validation error", &entries)
}

fn errors(status: u16, title: &str, entries: &[(String, Option<String>)]) -> Reply {
    let one = |(detail, pointer): &(String, Option<String>)| {
        let (title, detail) = (quote(title), quote(detail));
        let source = pointer.as_ref().map_or(String::new(), |pointer| {
            format!(r#","source":{{"pointer":{}}}"#, quote(pointer))
        });
        format!(r#"{{"status":"{status}","title":{title},"detail":{detail}{source}}}"#)
    };
    let list: Vec<String> = entries.iter().map(one).collect();
    Reply::json(status, format!(r#"{{"errors":[{}]}}"#, list.join(",")))
}
