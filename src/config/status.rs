//! `[route.status_query]` of a profile: how its provider is asked what became of a payment.

use crate::credential::Scheme;
use crate::provider::{Api, AskedAt, AskedBy, Route, StatusQuery, TimeStyle};
use crate::wire::{Pointer, parse};

use super::reader::Table;

/// Reads the queries of all routes; each names another route, so they come last.
pub(super) fn queries(root: &Table<'_>, apis: &[Api], routes: &mut [Route]) {
    let tables = root.tables("route");
    // A route that could not be read is an error already.
    if tables.len() != routes.len() {
        return;
    }
    for (at, table) in tables.iter().enumerate() {
        let Some(keys) = table.optional_table("status_query") else { continue };
        let query = query(&keys, apis, routes);
        keys.finish();
        let Some(route) = routes.get_mut(at) else { continue };
        if query.is_some() && route.status_call.is_none() {
            table.fail("status_query", "needs status_call: an answer names the call that was made");
        }
        route.status_query = query;
    }
}

fn query(keys: &Table<'_>, apis: &[Api], routes: &[Route]) -> Option<StatusQuery> {
    let asked = keys.parsed("route", "is not the name of a route of this profile", |name| {
        routes.iter().position(|route| *route.name == *name)
    });
    let query = StatusQuery {
        route: asked.unwrap_or_default(),
        body: keys.optional_text("body"),
        ask: pairs(keys, "ask", AskedAt::named, AskedBy::named),
        time: time(keys),
        same: pairs(keys, "same", pointer, AskedBy::named),
        state: pairs(keys, "state", |name| is_name(name).then(|| name.to_owned()), pointer),
        arrived: keys.texts("arrived"),
        absent: keys.optional_parsed("absent", "is not a JSON pointer", pointer),
    };
    let route = routes.get(asked?)?;
    check_read(keys, route, apis.get(route.api)?);
    check_places(keys, &query, route);
    if query.same.is_empty() {
        keys.fail("same", "is required: the answer must say which payment it is about");
    }
    if query.state.is_empty() {
        keys.fail("state", "is required: the words that say how far a payment is");
    }
    Some(query)
}

/// Only what reads is asked, with what the account itself proves its calls by.
fn check_read(keys: &Table<'_>, route: &Route, api: &Api) {
    let reads = route.method == "GET" || route.request.repeatable;
    if !reads {
        keys.fail("route", "must be a GET, or be marked repeatable: a question moves no money");
    }
    if !matches!(api.credential, Scheme::Basic | Scheme::SortedDigest | Scheme::AccessHeaders) {
        keys.fail("route", "must be of an interface with basic, sorted_digest or access_headers");
    }
}

/// Every value has its place, and every place a value.
fn check_places(keys: &Table<'_>, query: &StatusQuery, route: &Route) {
    let has_body = route.method != "GET";
    let document = query.body.as_deref().map(|body| parse(body.as_bytes()));
    let document = document.as_ref().and_then(|document| document.as_ref().ok());
    if has_body != document.is_some() {
        keys.fail("body", "must be the JSON that is sent, for calls with a body alone");
        return;
    }
    let is_there = |pointer: &Pointer| document.is_some_and(|found| found.find(pointer).is_some());
    let fits = |place: &AskedAt| match place {
        AskedAt::Segment(name) => route.path.names().any(|known| known == name),
        AskedAt::Query(_) => !has_body,
        AskedAt::Field(pointer) => is_there(pointer),
    };
    if !query.ask.iter().all(|(place, _)| fits(place)) {
        keys.fail("ask", "names a place that the call does not have");
    }
    let filled = |name: &str| {
        query.ask.iter().any(|(place, _)| matches!(place, AskedAt::Segment(known) if known == name))
    };
    if !route.path.names().all(filled) {
        keys.fail("ask", "must fill in every {name} of the path");
    }
    if query.time.as_ref().is_some_and(|(pointer, _)| !is_there(pointer)) {
        keys.fail("time", "names a place that the body does not have");
    }
}

fn time(keys: &Table<'_>) -> Option<(Pointer, TimeStyle)> {
    let style = TimeStyle::named(&keys.text_or("time_style", "date_time"));
    if style.is_none() {
        keys.fail("time_style", "must be date_time or unix_seconds");
    }
    let at = keys.optional_parsed("time", "is not a JSON pointer", pointer);
    at.zip(style)
}

/// A table whose keys and values both say something.
fn pairs<K, V>(
    keys: &Table<'_>,
    name: &str,
    key: impl Fn(&str) -> Option<K>,
    value: impl Fn(&str) -> Option<V>,
) -> Vec<(K, V)> {
    let table = keys.table_or_empty(name);
    let pairs = table.names().into_iter().filter_map(|name| {
        let known = key(name);
        if known.is_none() {
            table.fail(name, "is not a name that can stand here (docs/add-a-provider.md)");
        }
        let value = table.parsed(name, "is not a value that can stand here", &value);
        known.zip(value)
    });
    let pairs = pairs.collect();
    table.finish();
    pairs
}

/// A key of a structured field (RFC 9651 section 3.1.2).
fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|first: char| first.is_ascii_lowercase()) && text.bytes().all(plain)
}

fn pointer(text: &str) -> Option<Pointer> {
    Pointer::parse(text).ok().filter(|_| !text.contains('*'))
}
