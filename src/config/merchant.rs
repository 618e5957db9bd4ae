//! Applications and accounts.

use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::caller::{App, Apps};
use crate::card::Mode;
use crate::provider::{
    Account, Handoff, HostPort, PayformMode, Profile, ProviderHost, Registry, RelayMode,
    StatusQueries, ThreeDs,
};
use crate::vault::Tenant;

use super::apart::Known;
use super::credentials::{credentials, virtuals};
use super::profile::{hosts, name};
use super::reader::Table;

/// Seconds that a question may take unless the account says otherwise, and the most it may say.
const QUERY_SECONDS: u64 = 5;
const QUERY_SECONDS_MAX: u64 = 30;

/// Keys of an account that only a profile explains.
const OF_THE_PROFILE: [&str; 7] =
    ["upstreams", "credentials", "virtual", "three_ds", "callback", "payform", "status_query"];

const NAME: &str = "must be 1 to 64 of a-z, 0-9 and -, and not v1";

pub(super) fn apps(root: &Table<'_>) -> Apps {
    let mut apps: Vec<App> = Vec::new();
    for table in root.tables("app") {
        if let Some(app) = app(&table) {
            check_alone(&table, &app, &apps);
            apps.push(app);
        }
        table.finish();
    }
    if apps.is_empty() {
        root.fail("app", "is required: without an app nobody may call");
    }
    Apps::new(apps)
}

/// Whoever calls is one application: nothing that it is known by is another's, too.
fn check_alone(table: &Table<'_>, app: &App, others: &[App]) {
    let check = |key, message, is_shared: &dyn Fn(&App) -> bool| {
        if others.iter().any(is_shared) {
            table.fail(key, message);
        }
    };
    check("name", "is the name of another app", &|other| {
        other.tenant.as_str() == app.tenant.as_str()
    });
    check("client_names", "lists a name of another app; give each its own", &|other| {
        let has = |name: &String| other.client_names.iter().any(|of| of.eq_ignore_ascii_case(name));
        app.client_names.iter().any(has)
    });
}

fn app(table: &Table<'_>) -> Option<App> {
    let name = table.parsed("name", NAME, name);
    let mode = mode(table);
    let key_hashes = key_hashes(table);
    let client_names = client_names(table);
    let accounts = table.texts("accounts");
    let origins = origins(table);
    let callback_hosts = hosts(table, "callback_hosts");
    Some(App {
        tenant: Tenant::new(&name?),
        mode: mode?,
        key_hashes,
        client_names,
        accounts,
        origins,
        callback_hosts,
    })
}

fn mode(table: &Table<'_>) -> Option<Mode> {
    table.parsed("mode", "must be test or live", |text| match text {
        "test" => Some(Mode::Test),
        "live" => Some(Mode::Live),
        _ => None,
    })
}

fn key_hashes(table: &Table<'_>) -> Vec<[u8; 32]> {
    let texts = table.texts("key_sha256");
    let hashes: Option<Vec<_>> = texts.iter().map(|text| sha256(text)).collect();
    hashes.unwrap_or_else(|| {
        table.fail("key_sha256", "must list SHA-256 hashes of keys, 64 hexadecimal digits each");
        Vec::new()
    })
}

fn sha256(text: &str) -> Option<[u8; 32]> {
    // What reads a number takes a sign, too.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, at) in hash.iter_mut().zip((0..64).step_by(2)) {
        *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// As certificates spell them: nothing else would ever be found.
fn client_names(table: &Table<'_>) -> Vec<String> {
    let names = table.texts("client_names");
    let is_one = |name: &String| !name.contains(':') && HostPort::parse(name).is_some();
    if !names.iter().all(is_one) {
        table.fail("client_names", "must list DNS names, such as shop.internal; no wildcards");
    }
    names
}

fn origins(table: &Table<'_>) -> Vec<String> {
    let texts = table.texts("origins");
    let spelled = |text: &String| {
        let url = Url::parse(text).ok()?;
        (url.scheme() == "https" && url.origin().ascii_serialization() == *text).then_some(())
    };
    if texts.iter().any(|text| spelled(text).is_none()) {
        table.fail(
            "origins",
            "must list origins as browsers send them, such as https://shop.example",
        );
    }
    texts
}

pub(super) fn accounts(
    root: &Table<'_>,
    profiles: &[Arc<Profile>],
    apps: &Apps,
    plain_http: bool,
) -> Registry {
    let mut accounts: Vec<Arc<Account>> = Vec::new();
    let known = Known::default();
    for table in root.tables("account") {
        if let Some(account) = account(&table, profiles, apps, &known, plain_http) {
            if accounts.iter().any(|known| known.name == account.name) {
                table.fail("name", "is the name of another account");
            }
            accounts.push(Arc::new(account));
        }
        table.finish();
    }
    for (app, table) in tables_of(root, apps) {
        known.note_keys(app, table.place("key_sha256"));
    }
    known.check(root);
    if accounts.is_empty() {
        root.fail("account", "is required: without an account nothing can be called");
    }
    Registry::new(accounts)
}

fn account(
    table: &Table<'_>,
    profiles: &[Arc<Profile>],
    apps: &Apps,
    known: &Known,
    plain_http: bool,
) -> Option<Account> {
    let name = table.parsed("name", NAME, name);
    let mode = mode(table);
    let profile = table.parsed("provider", "is not the name of a profile in `providers`", |text| {
        profiles.iter().find(|profile| profile.name == text).cloned()
    });
    let Some(profile) = profile else {
        // Without a profile these cannot be read; that is one error, not eight.
        for key in OF_THE_PROFILE {
            table.has(key);
        }
        return None;
    };
    let upstreams = upstreams(table, &profile, plain_http);
    let (credentials, callback_keys) = credentials(table, &profile, known);
    let virtuals = virtuals(table, &profile, apps, known);
    let three_ds = three_ds(table, &profile, &upstreams);
    let (payform, payform_hosts) = payform(table, &profile);
    let status_queries = status_queries(table, &profile);
    let default_callback = callback(table, apps, name.as_deref().unwrap_or_default());
    Some(Account {
        name: name?.into(),
        mode: mode?,
        profile,
        upstreams,
        credentials,
        callback_keys,
        virtuals,
        three_ds,
        default_callback,
        payform,
        payform_hosts,
        status_queries,
    })
}

fn payform(table: &Table<'_>, profile: &Profile) -> (PayformMode, Vec<HostPort>) {
    let Some(form) = &profile.payform else { return (PayformMode::Server, Vec::new()) };
    let keys = table.table_or_empty("payform");
    let mode = PayformMode::named(&keys.text_or("post", "server")).unwrap_or_else(|| {
        keys.fail("post", "must be server or browser");
        PayformMode::Server
    });
    let mut allowed = hosts(&keys, "hosts");
    keys.finish();
    allowed.extend(form.hosts.iter().cloned());
    (mode, allowed)
}

fn upstreams(table: &Table<'_>, profile: &Profile, plain_http: bool) -> Vec<Option<ProviderHost>> {
    let urls = table.table_or_empty("upstreams");
    let expected =
        "must be an https base URL with a DNS name, path prefix included, without a query";
    let hosts = profile.apis.iter().map(|api| {
        let parse = |text: &str| ProviderHost::parse_base(text, plain_http);
        if urls.has(&api.name) {
            return urls.optional_parsed(&api.name, expected, parse);
        }
        api.url.as_deref().and_then(parse)
    });
    let hosts: Vec<_> = hosts.collect();
    urls.finish();
    hosts
}

fn three_ds(table: &Table<'_>, profile: &Profile, upstreams: &[Option<ProviderHost>]) -> ThreeDs {
    let keys = table.table_or_empty("three_ds");
    let handoff = Handoff::named(&keys.text_or("handoff", "page")).unwrap_or_else(|| {
        keys.fail("handoff", "must be page or inline");
        Handoff::Page
    });
    let relay = RelayMode::named(&keys.text_or("relay", "server")).unwrap_or_else(|| {
        keys.fail("relay", "must be server or redirect307");
        RelayMode::Server
    });
    let replace_term_url = keys.flag("replace_term_url", profile.challenge.replace_term_url);
    let mut allowed: Vec<HostPort> = hosts(&keys, "hosts");
    keys.finish();
    allowed.extend(profile.challenge.hosts.iter().cloned());
    allowed.extend(upstreams.iter().flatten().map(|upstream| upstream.host().clone()));
    ThreeDs { handoff, relay, replace_term_url, hosts: allowed }
}

/// Which of an account's payments are asked about.
fn status_queries(table: &Table<'_>, profile: &Profile) -> StatusQueries {
    let keys = table.table_or_empty("status_query");
    let mut routes = Vec::new();
    for name in keys.texts("routes") {
        match profile.routes.iter().position(|route| *route.name == *name) {
            Some(at) if is_askable(profile, at) => routes.push(at),
            Some(_) => keys.fail(
                "routes",
                "names a route whose profile has no [route.status_query]: no question can be formed \
                 from its request (docs/add-a-provider.md)",
            ),
            None => keys.fail("routes", "names a route that the provider's profile does not have"),
        }
    }
    let seconds = keys.number("seconds", QUERY_SECONDS, 1..=QUERY_SECONDS_MAX);
    keys.finish();
    StatusQueries { routes, timeout: Duration::from_secs(seconds) }
}

fn is_askable(profile: &Profile, at: usize) -> bool {
    profile.routes.get(at).is_some_and(|route| route.status_query.is_some())
}

fn callback(table: &Table<'_>, apps: &Apps, account: &str) -> Option<(String, Url)> {
    let keys = table.optional_table("callback")?;
    let mut granted = apps.iter().filter(|app| app.may_use(account));
    let app = match (keys.has("app"), granted.next(), granted.next()) {
        (false, Some(only), None) => Some(only),
        _ => keys.parsed("app", "is not the name of an [[app]]", |text| apps.named(text)),
    };
    let url =
        keys.parsed("url", "must be an https URL on one of the app's callback_hosts", |text| {
            let url = Url::parse(text).ok()?;
            app.is_none_or(|app| ProviderHost::of_url(&url, &app.callback_hosts).is_some())
                .then_some(url)
        });
    keys.finish();
    Some((app?.tenant.as_str().to_owned(), url?))
}

/// Every app that could be read.
pub(super) fn tables_of<'d, 'a>(
    root: &Table<'d>,
    apps: &'a Apps,
) -> impl Iterator<Item = (&'a App, Table<'d>)> {
    root.tables("app").into_iter().filter_map(|table| {
        let app = apps.named(&table.string("name")?)?;
        Some((app, table))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_64_hexadecimal_digits_and_nothing_else() {
        assert_eq!(sha256(&"aB".repeat(32)), Some([0xab; 32]));
        for wrong in ["+a".repeat(32), "ab".repeat(31), "ab".repeat(33), "ag".repeat(32)] {
            assert_eq!(sha256(&wrong), None, "{wrong}");
        }
    }
}
