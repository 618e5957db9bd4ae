//! A profile's file → [`Profile`].

use std::path::Path;

use http::{HeaderName, Method};

use crate::credential::{CallbackScheme, Scheme};
use crate::provider::{
    AnswerRules, Api, CallbackRules, Challenge, HostPort, Part, PathPattern, Profile, ProviderHost,
    RequestRules, Reveal, Route,
};
use crate::wire::Pointer;

use super::reader::{Notes, Problem, Table};

/// Bytes of body that a route with card fields accepts unless its profile says otherwise.
const BODY_LIMIT: u64 = 64 * 1024;

/// The longest body that a profile may ask for.
const BODY_LIMIT_MAX: u64 = 1024 * 1024;

/// Reads a profile; every error with its line.
pub fn load(file: &Path) -> Result<Profile, Vec<Problem>> {
    let text = super::read_text(file)?;
    parse(file, text)
}

/// The same for a text that has been read.
pub fn parse(file: &Path, text: String) -> Result<Profile, Vec<Problem>> {
    let notes = Notes::new(file, text);
    let profile = {
        let document = notes.parse();
        let root = Table::root(&notes, &document);
        let profile = profile(&root);
        root.finish();
        profile
    };
    let (problems, _) = notes.into_parts();
    if problems.is_empty() { Ok(profile) } else { Err(problems) }
}

fn profile(root: &Table<'_>) -> Profile {
    let apis = apis(root);
    let routes = routes(root, &apis);
    Profile {
        name: root.parsed("name", "is 1 to 64 of a-z, 0-9 and -", name).unwrap_or_default(),
        title: root.text("title"),
        engine: root.text_or("engine", ""),
        routes,
        apis,
        challenge: challenge(root),
        callback: root.optional_table("callback").and_then(callback),
    }
}

/// A name that can be a path segment.
pub(super) fn name(text: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    (fits && text != "v1").then(|| text.to_owned())
}

fn apis(root: &Table<'_>) -> Vec<Api> {
    let table = root.table("api");
    let apis = table.names().into_iter().map(|key| {
        let api = table.table(key);
        let credential = api
            .parsed(
                "credential",
                "is not a scheme (basic, bearer_handle, body_value, none)",
                |text| Scheme::named(text),
            )
            .unwrap_or(Scheme::None);
        let body_value = pointer(&api, "body_value");
        if (credential == Scheme::BodyValue) != body_value.is_some() {
            api.fail("body_value", "goes with credential = \"body_value\", and is required there");
        }
        let url = api.optional_text("url");
        if url.as_ref().is_some_and(|url| ProviderHost::parse_base(url, false).is_none()) {
            api.fail("url", "must be an https base URL with a DNS name, without a query");
        }
        api.finish();
        Api { name: key.to_owned(), credential, body_value, url }
    });
    let apis = apis.collect();
    table.finish();
    apis
}

fn routes(root: &Table<'_>, apis: &[Api]) -> Vec<Route> {
    let tables = root.tables("route");
    if tables.is_empty() {
        root.fail("route", "is required: a profile without routes lets nothing pass");
    }
    tables.into_iter().filter_map(|table| route(table, apis)).collect()
}

fn route(table: Table<'_>, apis: &[Api]) -> Option<Route> {
    let api = table.parsed("api", "is not one of the profile's [api.…]", |text| {
        apis.iter().position(|api| api.name == text)
    });
    let method = table.parsed("method", "must be GET, POST, PUT, PATCH or DELETE", method);
    let path =
        table.parsed("path", "must begin with / and hold plain segments or {name}", |text| {
            PathPattern::parse(text)
        });
    let name = table.text("name");
    let body_limit = table.number("body_limit_bytes", BODY_LIMIT, 1..=BODY_LIMIT_MAX);
    let request = RequestRules {
        reveal: table.tables("reveal").into_iter().filter_map(reveal).collect(),
        callback_url: pointer(&table, "callback_url"),
        return_url: pointers(&table, "return_url"),
    };
    let answer = table.table_or_empty("answer");
    let rules = answer_rules(&answer, true);
    answer.finish();
    let status_call = table.optional_text("status_call");
    table.finish();
    let body_limit = usize::try_from(body_limit).unwrap_or(usize::MAX);
    let (api, method, path) = (api?, method?, path?);
    Some(Route { name, api, method, path, body_limit, request, answer: rules, status_call })
}

fn method(text: &str) -> Option<Method> {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&text);
    known.then(|| Method::from_bytes(text.as_bytes()).ok()).flatten()
}

fn reveal(table: Table<'_>) -> Option<Reveal> {
    let pointer = table.parsed("pointer", "is not a JSON pointer", read_pointer);
    let part = table.parsed(
        "part",
        "must be number, cvv, holder, expiry_month, expiry_year2 or expiry_year4",
        Part::named,
    );
    table.finish();
    Some(Reveal { pointer: pointer?, part: part? })
}

fn answer_rules(table: &Table<'_>, with_challenge: bool) -> AnswerRules {
    AnswerRules {
        bearer: pointers(table, "bearer"),
        callback_url: pointers(table, "callback_url"),
        challenge: with_challenge.then(|| pointer(table, "challenge")).flatten(),
    }
}

fn challenge(root: &Table<'_>) -> Challenge {
    let table = root.table_or_empty("challenge");
    let challenge = Challenge {
        action: table.text_or("action", "action"),
        method: table.text_or("method", "method"),
        params: table.text_or("params", "params"),
        term_url: table.text_or("term_url", "TermUrl"),
        replace_term_url: table.flag("replace_term_url", false),
        hosts: hosts(&table, "hosts"),
    };
    table.finish();
    challenge
}

fn callback(table: Table<'_>) -> Option<CallbackRules> {
    let scheme = table.parsed("scheme", "must be sandwich_sha1", CallbackScheme::named);
    let header = table.parsed("header", "is not a header name", |text| {
        HeaderName::from_bytes(text.to_ascii_lowercase().as_bytes()).ok()
    });
    let id = required_pointer(&table, "id");
    let status = required_pointer(&table, "status");
    let updated = required_pointer(&table, "updated");
    let answer = answer_rules(&table, false);
    table.finish();
    Some(CallbackRules {
        scheme: scheme?,
        header: header?,
        id: id?,
        status: status?,
        updated: updated?,
        answer,
    })
}

/// Hosts of an allow-list: DNS names with an optional port, no wildcards.
pub(super) fn hosts(table: &Table<'_>, key: &str) -> Vec<HostPort> {
    let texts = table.texts(key);
    let hosts: Option<Vec<_>> = texts.iter().map(|text| HostPort::parse(text)).collect();
    hosts.unwrap_or_else(|| {
        table.fail(key, "must list DNS names, with a port where it is not 443; no wildcards");
        Vec::new()
    })
}

fn read_pointer(text: &str) -> Option<Pointer> {
    Pointer::parse(text).ok()
}

fn pointer(table: &Table<'_>, key: &str) -> Option<Pointer> {
    table.optional_parsed(key, "is not a JSON pointer", read_pointer)
}

fn required_pointer(table: &Table<'_>, key: &str) -> Option<Pointer> {
    table.parsed(key, "is not a JSON pointer", read_pointer)
}

fn pointers(table: &Table<'_>, key: &str) -> Vec<Pointer> {
    let texts = table.texts(key);
    let pointers: Option<Vec<_>> = texts.iter().map(|text| read_pointer(text)).collect();
    pointers.unwrap_or_else(|| {
        table.fail(key, "must list JSON pointers such as /data/id");
        Vec::new()
    })
}
