//! A profile's file → [`Profile`].

use std::path::Path;
use std::sync::Arc;

use http::{HeaderName, Method};

use crate::credential::access_headers::{BoolStyle, NormaliseRules, NullStyle};
use crate::credential::{BodyHmac, KeyEncoding, Prehash, Scheme, SignatureEncoding};
use crate::provider::{
    Access, AnswerRules, Api, BodySignature, CallbackRules, Challenge, HostPort, Inside, Part,
    PathPattern, Payform, PaymentKey, Profile, Proof, ProviderHost, RequestRules, Reveal, Route,
};
use crate::wire::{Encoding, Pointer};

use super::reader::{Notes, Problem, Table};
use super::status;

/// Bytes of body that a route with card fields accepts unless its profile says otherwise.
const BODY_LIMIT: u64 = 64 * 1024;

/// Seconds that a clock may be off, unless the profile says otherwise, and the most that it may
/// say.
const TOLERANCE: u64 = 300;
const TOLERANCE_MAX: u64 = 86_400;

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
    let profile = notes.parse().map(|document| {
        let root = Table::root(&notes, &document);
        let profile = profile(&root, file);
        root.finish();
        profile
    });
    let (problems, _) = notes.into_parts();
    profile.filter(|_| problems.is_empty()).ok_or(problems)
}

fn profile(root: &Table<'_>, file: &Path) -> Profile {
    let file_name = file.file_name().unwrap_or_default();
    let apis = apis(root);
    let routes = routes(root, &apis);
    Profile {
        name: root.parsed("name", "is 1 to 64 of a-z, 0-9 and -", name).unwrap_or_default(),
        file: file_name.to_string_lossy().into_owned(),
        title: root.text("title"),
        engine: root.text_or("engine", ""),
        routes,
        apis,
        challenge: challenge(root),
        callback: root.optional_table("callback").and_then(callback),
        payform: root.optional_table("payform").map(payform),
        access: access(root),
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
        let interface = interface(key, &api);
        api.finish();
        interface
    });
    let apis = apis.collect();
    table.finish();
    apis
}

const SCHEMES: &str = "is not a scheme (basic, bearer_handle, body_value, handle_value, \
                       sorted_digest, access_headers, none)";

fn interface(name: &str, table: &Table<'_>) -> Api {
    let credential = table.parsed("credential", SCHEMES, Scheme::named).unwrap_or(Scheme::None);
    let value = pointer(table, "value");
    let in_body =
        matches!(credential, Scheme::BodyValue | Scheme::HandleValue | Scheme::SortedDigest);
    if in_body != value.is_some() {
        table.fail(
            "value",
            "says where in the body the credential is, for schemes that put it there",
        );
    }
    let signature = table.optional_table("signature").and_then(|table| {
        let signature = body_signature(&table);
        table.finish();
        signature
    });
    let url = table.optional_text("url");
    if url.as_ref().is_some_and(|url| ProviderHost::parse_base(url, false).is_none()) {
        table.fail("url", "must be an https base URL with a DNS name, without a query");
    }
    Api {
        name: name.to_owned(),
        credential,
        value,
        tolerance: table.number("tolerance_seconds", TOLERANCE, 1..=TOLERANCE_MAX),
        signature,
        url,
    }
}

fn body_signature(table: &Table<'_>) -> Option<BodySignature> {
    let spelling = table.text_or("spelling", "hex");
    let hmac = table.parsed("algorithm", "must be hmac_sha256 or hmac_sha512", |algorithm| {
        BodyHmac::named(algorithm, "hex")
    });
    let hmac = hmac.and_then(|_| BodyHmac::named(&table.text("algorithm"), &spelling));
    if hmac.is_none() {
        table.fail("spelling", "must be hex or base64");
    }
    Some(BodySignature { header: header(table)?, hmac: hmac? })
}

fn header(table: &Table<'_>) -> Option<HeaderName> {
    table.parsed("header", "is not a header name", |text| {
        HeaderName::from_bytes(text.to_ascii_lowercase().as_bytes()).ok()
    })
}

fn routes(root: &Table<'_>, apis: &[Api]) -> Vec<Route> {
    let tables = root.tables("route");
    if tables.is_empty() {
        root.fail("route", "is required: a profile without routes lets nothing pass");
    }
    let mut routes = tables.into_iter().filter_map(|table| route(table, apis)).collect::<Vec<_>>();
    status::queries(root, apis, &mut routes);
    each_is_reached(root, &routes);
    routes
}

/// Each has a name of its own, and calls that no route before it takes.
fn each_is_reached(root: &Table<'_>, routes: &[Route]) {
    let tables = root.tables("route");
    // A route that could not be read is an error already.
    if tables.len() != routes.len() {
        return;
    }
    for (at, (route, table)) in routes.iter().zip(&tables).enumerate() {
        let before = routes.get(..at).unwrap_or_default();
        if before.iter().any(|other| other.name == route.name) {
            table.fail("name", "is the name of another route");
        }
        let takes = |other: &Route| {
            (other.api, &other.method) == (route.api, &route.method)
                && other.path.covers(&route.path)
        };
        if before.iter().any(takes) {
            table.fail("path", "is never reached: a route before it takes these calls");
        }
    }
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
    let encoding = encoding(&table);
    let body_limit = table.number("body_limit_bytes", BODY_LIMIT, 1..=BODY_LIMIT_MAX);
    let interface = api.and_then(|at| apis.get(at));
    check_proof(&table, method.as_ref(), encoding, interface);
    let request = RequestRules {
        reveal: reveals(&table, method.as_ref()),
        sign: sign(&table, method.as_ref(), interface),
        payment_key: payment_key(&table, method.as_ref(), interface),
        repeatable: table.flag("repeatable", false),
        callback_url: pointers(&table, "callback_url"),
        sealed: pointers(&table, "sealed"),
        return_url: pointers(&table, "return_url"),
    };
    check_places(&table, &request, interface);
    let answer = table.table_or_empty("answer");
    let rules = answer_rules(&answer);
    answer.finish();
    let status_call = table.optional_text("status_call").map(Arc::from);
    if !request.payment_key.is_empty() && status_call.is_none() {
        table.fail("payment_key", "needs status_call: whoever is refused is told how to find out");
    }
    // Read when all routes are known.
    table.has("status_query");
    table.finish();
    let body_limit = usize::try_from(body_limit).unwrap_or(usize::MAX);
    let (api, method, path) = (api?, method?, path?);
    Some(Route {
        name: name.into(),
        api,
        method,
        path,
        encoding,
        body_limit,
        request,
        answer: rules,
        status_call,
        status_query: None,
    })
}

/// What names the payment: values of a request, or the secret behind the caller's handle.
fn payment_key(table: &Table<'_>, method: Option<&Method>, api: Option<&Api>) -> Vec<PaymentKey> {
    let texts = table.texts("payment_key");
    let keys: Option<Vec<_>> = texts.iter().map(|text| PaymentKey::named(text)).collect();
    let keys = keys.unwrap_or_else(|| {
        table.fail("payment_key", "must list JSON pointers such as /data/id, or \"handle\"");
        Vec::new()
    });
    if !keys.is_empty() && method.is_some_and(|method| *method != Method::POST) {
        table.fail("payment_key", "guards POST alone");
    }
    let schemes = [Scheme::BearerHandle, Scheme::HandleValue];
    let holds_handle = api.is_none_or(|api| schemes.contains(&api.credential));
    if keys.contains(&PaymentKey::Handle) && !holds_handle {
        table.fail("payment_key", "asks for what callers of this interface do not show");
    }
    keys
}

/// The fields that a digest covers: without any it would prove every request.
fn sign(table: &Table<'_>, method: Option<&Method>, api: Option<&Api>) -> Vec<Pointer> {
    let fields = pointers(table, "sign");
    let digested = api.is_some_and(|api| api.credential == Scheme::SortedDigest);
    if digested && fields.is_empty() && method.is_some_and(has_body) {
        table.fail("sign", "is required: the fields that the digest of this call covers");
    }
    fields
}

/// What a call is proved by must be in it.
fn check_proof(table: &Table<'_>, method: Option<&Method>, encoding: Encoding, api: Option<&Api>) {
    let in_body =
        [Scheme::BodyValue, Scheme::HandleValue, Scheme::SortedDigest, Scheme::AccessHeaders];
    let Some(api) = api.filter(|api| in_body.contains(&api.credential)) else { return };
    if method.is_some_and(|method| !has_body(method)) {
        table.fail("method", "has no body, and a body proves the calls of this interface");
    }
    if api.credential == Scheme::AccessHeaders && encoding == Encoding::Form {
        table.fail(
            "encoding",
            "must be json: a normalised document proves the calls of this interface",
        );
    }
}

pub(super) fn has_body(method: &Method) -> bool {
    *method != Method::GET && *method != Method::DELETE
}

fn encoding(table: &Table<'_>) -> Encoding {
    match table.text_or("encoding", "json").as_str() {
        "json" => Encoding::Json,
        "form" => Encoding::Form,
        _ => {
            table.fail("encoding", "must be json or form");
            Encoding::Json
        }
    }
}

fn method(text: &str) -> Option<Method> {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&text);
    known.then(|| Method::from_bytes(text.as_bytes()).ok()).flatten()
}

/// One part of a card at a place, in calls that have a body.
fn reveals(table: &Table<'_>, method: Option<&Method>) -> Vec<Reveal> {
    let tables = table.tables("reveal");
    if !tables.is_empty() && method.is_some_and(|method| !has_body(method)) {
        table.fail("method", "has no body, and [[route.reveal]] puts cards into one");
    }
    let mut reveals: Vec<Reveal> = Vec::new();
    for table in tables {
        let found = reveal(&table);
        let taken = |other: &Reveal| Some(&other.pointer) == found.as_ref().map(|it| &it.pointer);
        if reveals.iter().any(taken) {
            table.fail("pointer", "is another part's place already");
        }
        reveals.extend(found);
        table.finish();
    }
    reveals
}

/// No two of what is put into a request have one place.
fn check_places(table: &Table<'_>, request: &RequestRules, api: Option<&Api>) {
    let value = api.and_then(|api| api.value.as_ref());
    let mut taken: Vec<_> = request.reveal.iter().map(|reveal| &reveal.pointer).collect();
    if value.is_some_and(|value| taken.contains(&value)) {
        table.fail("reveal", "has the place of the interface's own value");
    }
    taken.extend(value);
    for (key, pointers) in [("callback_url", &request.callback_url), ("sealed", &request.sealed)] {
        if pointers.iter().any(|pointer| taken.contains(&pointer)) {
            table.fail(key, "has a place where something else is put already");
        }
        taken.extend(pointers);
    }
}

fn reveal(table: &Table<'_>) -> Option<Reveal> {
    let pointer = table.parsed("pointer", "is not a JSON pointer", read_pointer);
    let part = table.parsed(
        "part",
        "must be number, cvv, holder, expiry_month, expiry_year2 or expiry_year4",
        Part::named,
    );
    let or_text = table.flag("or_text", false);
    Some(Reveal { pointer: pointer?, part: part?, or_text })
}

fn answer_rules(table: &Table<'_>) -> AnswerRules {
    let (handle, handle_id) = (pointers(table, "handle"), pointer(table, "handle_id"));
    if handle_id.iter().any(|id| !handle.iter().all(|handle| id.is_beside(handle))) {
        table.fail(
            "handle_id",
            "must go through the same `*` as each pointer of handle, and no other",
        );
    }
    AnswerRules {
        handle,
        handle_except: table.texts("handle_except"),
        handle_id,
        callback_url: pointers(table, "callback_url"),
        challenge: pointers(table, "challenge"),
        payform_url: pointer(table, "payform_url"),
        sealed: insides(table, "sealed"),
    }
}

/// What access control servers bring back in both versions of the protocol.
const RESULT_FIELDS: [&str; 3] = ["PaRes", "cres", "MD"];

fn challenge(root: &Table<'_>) -> Challenge {
    let table = root.table_or_empty("challenge");
    let action = table.texts("action");
    let fields = table.table_or_empty("fields");
    let names = fields.names().into_iter().map(|name| (name.to_owned(), fields.text(name)));
    let names = names.collect();
    fields.finish();
    let challenge = Challenge {
        action: if action.is_empty() { vec!["action".to_owned()] } else { action },
        method: table.text_or("method", "method"),
        default_method: table.text_or("default_method", "POST"),
        params: table.text_or("params", "params"),
        fields: names,
        when: table.texts("when"),
        term_url: table.text_or("term_url", "TermUrl"),
        replace_term_url: table.flag("replace_term_url", false),
        result_fields: match table.has("result_fields") {
            true => table.texts("result_fields"),
            false => RESULT_FIELDS.map(str::to_owned).to_vec(),
        },
        hosts: hosts(&table, "hosts"),
    };
    table.finish();
    challenge
}

fn access(root: &Table<'_>) -> Access {
    let table = root.table_or_empty("access");
    let rules = NormaliseRules {
        bool_style: knob(&table, "bool_style", "one_zero", BoolStyle::named),
        null_style: knob(&table, "null_style", "none", NullStyle::named),
    };
    let access = Access {
        rules,
        prehash: knob(&table, "rsa_prehash", "double", Prehash::named),
        key_encoding: knob(&table, "hmac_key_encoding", "utf8", KeyEncoding::named),
        signature_encoding: knob(
            &table,
            "signature_encoding",
            "base64url",
            SignatureEncoding::named,
        ),
    };
    table.finish();
    access
}

/// A word out of a closed set, with the default that its type has.
fn knob<T: Default>(
    table: &Table<'_>,
    key: &str,
    default: &str,
    named: impl Fn(&str) -> Option<T>,
) -> T {
    named(&table.text_or(key, default)).unwrap_or_else(|| {
        table.fail(key, "is not one of the words that docs/add-a-provider.md lists for it");
        T::default()
    })
}

fn payform(table: Table<'_>) -> Payform {
    let payform = Payform {
        reveal: reveals(&table, None),
        handle: pointers(&table, "handle"),
        hosts: hosts(&table, "hosts"),
    };
    table.finish();
    payform
}

fn callback(table: Table<'_>) -> Option<CallbackRules> {
    let proof = proof(&table);
    let subject = pointers(&table, "subject");
    let state = pointers(&table, "state");
    if subject.is_empty() || state.is_empty() {
        table.fail("subject", "and state are required: together they tell callbacks apart");
    }
    let updated = pointer(&table, "updated");
    let reply = table.text_or("reply", "");
    let answer = answer_rules(&table);
    table.finish();
    Some(CallbackRules { proof: proof?, subject, state, updated, reply, answer })
}

fn proof(table: &Table<'_>) -> Option<Proof> {
    match table.text("scheme").as_str() {
        "sandwich_sha1" => header(table).map(Proof::SandwichSha1),
        "hmac" => body_signature(table).map(Proof::Hmac),
        "sorted_digest" => required_pointer(table, "value").map(Proof::SortedDigest),
        "access_headers" => {
            let tolerance = table.number("tolerance_seconds", TOLERANCE, 0..=TOLERANCE_MAX);
            Some(Proof::AccessHeaders(tolerance))
        }
        _ => {
            table.fail("scheme", "must be sandwich_sha1, hmac, sorted_digest or access_headers");
            None
        }
    }
}

/// Values, or values inside strings that hold JSON: `/ps_data#/pay_token`.
fn insides(table: &Table<'_>, key: &str) -> Vec<Inside> {
    let read = |text: &String| {
        let (outer, inner) = match text.split_once('#') {
            Some((outer, inner)) => (outer, Some(read_pointer(inner)?)),
            None => (text.as_str(), None),
        };
        Some(Inside { outer: read_pointer(outer)?, inner })
    };
    let insides: Option<Vec<_>> = table.texts(key).iter().map(read).collect();
    insides.unwrap_or_else(|| {
        table.fail(key, "must list JSON pointers, with # before one inside a string");
        Vec::new()
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
