//! The configuration from outside: the documented file says what the code does, the shipped profiles
//! load, and whatever is wrong is refused with file, line and key, and without the value.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis::config::{self, Config, Problem};
use tempfile::TempDir;

// ------------------------------------------------------------------------- the documented file

#[test]
fn the_documented_file_loads_and_weakens_nothing() {
    let place = Place::documented();
    let config = place.load(&place.reference()).unwrap();
    assert!(config.dangers.is_empty(), "{:?}", config.dangers);
    assert!(config.root_key.is_some());
    assert_eq!(config.profiles.len(), 2);
}

#[test]
fn the_documented_file_writes_every_key_that_is_read() {
    let place = Place::documented();
    let config = place.load(&place.reference()).unwrap();
    let silent: Vec<_> = config.resolved.iter().filter(|value| value.default).collect();
    assert!(silent.is_empty(), "not in config/portcullis.toml: {silent:?}");

    // Keys that may be missing are not resolved when they are: they are looked up in the code.
    let documented = keys_written(&place.reference());
    let sources = ["src/config/mod.rs", "src/config/listener.rs", "src/config/merchant.rs", "src/config/secrets.rs"];
    let missing: Vec<_> = sources
        .iter()
        .flat_map(|source| keys_read(source))
        .filter(|(_, key)| !documented.contains(key))
        .collect();
    assert!(missing.is_empty(), "read there and not in config/portcullis.toml: {missing:?}");
}

/// Every key is taken out alone. Then either the comment above it says `Required` and the file is
/// refused, or it says `Default:` and the file loads, or the value written is the default itself.
#[test]
fn the_documented_file_tells_the_truth_about_defaults() {
    let place = Place::documented();
    let reference = place.reference();
    let documented = place.load(&reference).unwrap();
    let keys = documented_keys(&reference);
    assert!(keys.len() > 40, "{}", keys.len());
    let mut lies = Vec::new();
    for key in keys {
        let without = place.load(&without_line(&reference, key.line));
        let required = key.comment.contains("Required");
        let elsewhere = key.comment.contains("Default:");
        let lie = match without {
            Err(problems) if required => {
                let told = problems.iter().any(|problem| {
                    problem.key == key.path && problem.message.starts_with("is required")
                });
                (!told).then(|| format!("is not told as missing: {problems:?}"))
            }
            // Another key needs this one; both may be missing.
            Err(problems) if elsewhere && problems.iter().all(|problem| problem.key != key.path) => None,
            Err(_) => Some("is needed, and no comment says `Required`".to_owned()),
            Ok(_) if required => Some("may be missing, and is called `Required`".to_owned()),
            Ok(_) if elsewhere => None,
            Ok(config) => {
                let default = resolved(&config, &key.path);
                let same = default == resolved(&documented, &key.path);
                (!same).then(|| format!("has the default {default:?}, and no comment says so"))
            }
        };
        let at = format!("config/portcullis.toml:{}: {}", key.line, key.path);
        lies.extend(lie.map(|lie| format!("{at}: {lie}")));
    }
    assert!(lies.is_empty(), "\n{}\n", lies.join("\n"));
}

#[test]
fn a_danger_is_off_by_default_and_reported_when_it_is_on() {
    let place = Place::documented();
    let reference = place.reference();
    let keys: Vec<_> = documented_keys(&reference)
        .into_iter()
        .filter(|key| key.path.rsplit('.').next().unwrap().starts_with("danger_"))
        .collect();
    assert_eq!(keys.len(), 3);
    for key in keys {
        let name = key.path.rsplit('.').next().unwrap();
        let on = reference.replace(&format!("{name} = false"), &format!("{name} = true"));
        assert_eq!(place.load(&on).unwrap().dangers, [key.path]);
    }
}

#[test]
fn a_secret_shows_as_its_reference_only() {
    let place = Place::documented();
    let config = place.load(&place.reference()).unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains(SECRET), "a secret in Debug");
    assert!(config.resolved.iter().all(|value| !value.value.contains(SECRET)));
    assert_eq!(resolved(&config, "vault.root_key.file").unwrap(), "\"secrets/root.key\"");
}

#[test]
fn shipped_profiles_load_and_cover_their_calls() {
    let folder = root().join("config/providers");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let profile = config::profile::load(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(file.file_stem().unwrap().to_str().unwrap(), profile.name);
        assert!(profile.routes.iter().any(|route| route.reveals()), "{}: no card fields", profile.name);
        assert!(profile.callback.is_some(), "{}: no callbacks", profile.name);
        for route in profile.routes.iter().filter(|route| route.reveals()) {
            assert!(route.status_call.is_some(), "{}: {}: no status call", profile.name, route.name);
        }
        seen.insert(profile.name);
    }
    assert_eq!(seen, ["milkypay", "paymega"].map(str::to_owned).into());
}

// ---------------------------------------------------------------------- what is refused, and how

/// A small configuration that is right. Every case below changes it; `#!` ends the line that the
/// complaint has to name, the first line when there is none.
const GOOD: &str = r#"
providers = ["paymega.toml"]
[public]
address = "127.0.0.2:18443"
url = "https://entrance.shop.test"
certificate = "public.pem"
key = "public.key"
[private]
address = "127.0.0.2:18444"
certificate = "private.pem"
key = "private.key"
[vault]
root_key = { file = "root.key" }
[[app]]
name = "kiosk"
mode = "test"
accounts = ["gate"]
callback_hosts = ["kiosk.shop.test"]
[[account]]
name = "gate"
provider = "paymega"
mode = "test"
[account.upstreams]
cardgate = "https://cards.bank.test/gate"
[account.credentials]
id = "coma_kiosk"
key = { file = "api.key" }
[account.virtual.kiosk]
id = "coma_virtual"
key = { file = "virtual.key" }
[account.callback]
url = "https://kiosk.shop.test/paid"
"#;

/// What is wrong, the changes that make it so, and how the complaint goes on after file and line.
struct Case(&'static str, &'static [(&'static str, &'static str)], &'static str);

impl Case {
    fn text(&self, good: &str) -> String {
        self.1.iter().fold(good.to_owned(), |text, (from, to)| {
            assert!(text.contains(from), "{}: there is no {from:?} to change", self.0);
            text.replacen(from, to, 1)
        })
    }
}

const REFUSED: &[Case] = &[
    // Form.
    Case("unknown key", &[("[vault]", "[vault]\nttl = 5 #!")], "vault.ttl: is not a key"),
    Case("unknown table", &[("[vault]", "[valut] #!\n[vault]")], "valut: is not a key"),
    Case("unknown key of an app", &[("[[account]]", "scopes = [] #!\n[[account]]")], "app[0].scopes: is not a key"),
    Case("not TOML", &[("[vault]", "[vault #!")], ""),
    Case("a key twice", &[("mode = \"test\"\naccounts", "mode = \"test\"\nmode = \"test\" #!\naccounts")], ""),
    Case("a number as text", &[("[vault]", "[vault]\ncapacity = \"9876543\" #!")], "vault.capacity: must be a whole number"),
    Case("a number out of bounds", &[("[vault]", "[vault]\ncvv_ttl_seconds = 901 #!")], "vault.cvv_ttl_seconds: must be a whole number from 1 to 900"),
    Case("a negative number", &[("[vault]", "[vault]\ncapacity = -1 #!")], "vault.capacity: must be a whole number"),
    Case("a fraction", &[("[vault]", "[vault]\ncapacity = 10.5 #!")], "vault.capacity: must be a whole number"),
    Case("text as a flag", &[("[vault]", "[upstream]\ndanger_plain_http = \"enabled\" #!\n[vault]")], "upstream.danger_plain_http: must be true or false"),
    Case("a list with a number", &[("[\"gate\"]", "[\"gate\", 4711] #!")], "app[0].accounts: must be a list of strings"),
    Case("a table as text", &[("[vault]\nroot_key = { file = \"root.key\" }", ""), ("[public]", "vault = \"sealed-hard\" #!\n[public]")], "vault: must be a table"),
    Case("one app as a table", &[("[[app]]", "[app] #!")], "app: must be written as [[app]]"),
    Case("a value without quotes", &[("id = \"coma_kiosk\"", "id = sk_0123456789abcdef #!")], ""),
    // What must be there.
    Case("no profiles", &[("providers = [\"paymega.toml\"]", "")], "providers: is required"),
    Case("no public listener", &[("[public]\naddress = \"127.0.0.2:18443\"\nurl = \"https://entrance.shop.test\"\ncertificate = \"public.pem\"\nkey = \"public.key\"\n", "")], "public: is required"),
    Case("no public URL", &[("[public]", "[public] #!"), ("url = \"https://entrance.shop.test\"\n", "")], "public.url: is required"),
    Case("no certificate", &[("[private]", "[private] #!"), ("certificate = \"private.pem\"\n", "")], "private.certificate: is required"),
    Case("no mode", &[("[[app]]", "[[app]] #!"), ("mode = \"test\"\naccounts", "accounts")], "app[0].mode: is required"),
    Case("no API key", &[("[account.credentials]", "[account.credentials] #!"), ("key = { file = \"api.key\" }\n", "")], "account[0].credentials.key: is required"),
    Case("no credentials", &[("[[account]]", "[[account]] #!"), ("[account.credentials]\nid = \"coma_kiosk\"\nkey = { file = \"api.key\" }\n", "")], "account[0].credentials: is required"),
    // Listeners.
    Case("a name as an address", &[("\"127.0.0.2:18444\"", "\"private.shop.test:18444\" #!")], "private.address: must be an address and a port"),
    Case("no port", &[("\"127.0.0.2:18444\"", "\"127.0.0.2\" #!")], "private.address: must be an address and a port"),
    Case("operators on the network", &[("[vault]", "[admin]\naddress = \"10.9.8.7:9464\" #!\n[vault]")], "admin.address: is not a loopback address"),
    Case("operators everywhere", &[("[vault]", "[admin]\naddress = \"[::]:9464\" #!\n[vault]")], "admin.address: is not a loopback address"),
    Case("a public URL without TLS", &[("https://entrance.shop.test\"", "http://entrance.shop.test\" #!")], "public.url: must be https"),
    Case("a public URL with a path", &[("https://entrance.shop.test\"", "https://entrance.shop.test/pay\" #!")], "public.url: must be https"),
    Case("a public URL with an address", &[("https://entrance.shop.test\"", "https://127.0.0.2\" #!")], "public.url: must be https"),
    Case("client authorities for browsers", &[("key = \"public.key\"", "key = \"public.key\"\nclient_ca = \"ca.pem\" #!")], "public.client_ca: is not a key"),
    // Secrets.
    Case("a missing secret", &[("\"api.key\" }", "\"absent.key\" } #!")], "account[0].credentials.key.file: cannot be read"),
    Case("a secret that all can read", &[("\"api.key\" }", "\"open.key\" } #!")], "account[0].credentials.key.file: is open to every user"),
    Case("an empty secret", &[("\"api.key\" }", "\"empty.key\" } #!")], "account[0].credentials.key.file: is empty"),
    Case("a folder as a secret", &[("\"api.key\" }", "\"folder\" } #!")], "account[0].credentials.key.file: cannot be read"),
    Case("a secret in the file itself", &[("key = { file = \"api.key\" }", "key = \"sk_0123456789abcdef\" #!")], "account[0].credentials.key: must be a table"),
    Case("a secret in two places", &[("\"api.key\" }", "\"api.key\", env = \"PATH\" } #!")], "account[0].credentials.key.file: name either"),
    Case("a secret in no place", &[("{ file = \"api.key\" }", "{} #!")], "account[0].credentials.key.file: name either"),
    Case("an unknown kind of secret", &[("\"api.key\" }", "\"api.key\", mode = \"0600\" } #!")], "account[0].credentials.key.mode: is not a key"),
    Case("an environment without it", &[("{ file = \"api.key\" }", "{ env = \"NO_SUCH_VARIABLE_HERE\" } #!")], "account[0].credentials.key.env: is not set"),
    Case("a root key that is none", &[("\"root.key\" }", "\"api.key\" } #!")], "vault.root_key: is not a root key"),
    Case("a root key that is short", &[("\"root.key\" }", "\"short.key\" } #!")], "vault.root_key: is not a root key"),
    Case("a callback secret that is missing", &[("{ file = \"api.key\" }", "{ file = \"api.key\" }\ncallback_secrets = [{ file = \"absent.key\" }] #!")], "account[0].credentials.callback_secrets[0].file: cannot be read"),
    // Applications.
    Case("a name with a slash", &[("name = \"kiosk\"", "name = \"kiosk/9\" #!")], "app[0].name: must be 1 to 64 of"),
    Case("the name of our own API", &[("name = \"gate\"", "name = \"v1\" #!")], "account[0].name: must be 1 to 64 of"),
    Case("a mode that is none", &[("mode = \"test\"\naccounts", "mode = \"staging\" #!\naccounts")], "app[0].mode: must be test or live"),
    Case("a key instead of its hash", &[("accounts = [\"gate\"]", "accounts = [\"gate\"]\nkey_sha256 = [\"pk_0123456789abcdef\"] #!")], "app[0].key_sha256: must list SHA-256 hashes"),
    Case("a hash with a wrong digit", &[("accounts = [\"gate\"]", "accounts = [\"gate\"]\nkey_sha256 = [\"zf0a377ba0a4a460ecb616f6507ce0d8cfa3e704025d4fda3ed0c5ca05468728\"] #!")], "app[0].key_sha256: must list SHA-256 hashes"),
    Case("an origin with a path", &[("accounts = [\"gate\"]", "accounts = [\"gate\"]\norigins = [\"https://kiosk.shop.test/cart\"] #!")], "app[0].origins: must list origins"),
    Case("an origin without TLS", &[("accounts = [\"gate\"]", "accounts = [\"gate\"]\norigins = [\"http://kiosk.shop.test\"] #!")], "app[0].origins: must list origins"),
    Case("a wildcard origin", &[("accounts = [\"gate\"]", "accounts = [\"gate\"]\norigins = [\"*\"] #!")], "app[0].origins: must list origins"),
    Case("a wildcard host", &[("[\"kiosk.shop.test\"]", "[\"*.shop.test\"] #!")], "app[0].callback_hosts: must list DNS names"),
    Case("an address as a host", &[("[\"kiosk.shop.test\"]", "[\"10.9.8.7\"] #!")], "app[0].callback_hosts: must list DNS names"),
    Case("two apps of one name", &[("[[account]]", "[[app]]\nname = \"kiosk\" #!\nmode = \"test\"\n[[account]]")], "app[1].name: is the name of another app"),
    Case("a grant of no account", &[("[\"gate\"]", "[\"gate\", \"fence\"] #!")], "app[0].accounts: names an account that is not there"),
    Case("a test app at a live account", &[("[\"gate\"]", "[\"gate\"] #!"), ("provider = \"paymega\"\nmode = \"test\"", "provider = \"paymega\"\nmode = \"live\"")], "app[0].accounts: names an account of the other mode"),
    // Accounts.
    Case("no such profile", &[("provider = \"paymega\"", "provider = \"milkypay\" #!")], "account[0].provider: is not the name of a profile"),
    Case("two accounts of one name", &[("[vault]", "[[account]]\nname = \"gate\"\nprovider = \"paymega\"\nmode = \"test\"\n[account.credentials]\nid = \"coma_two\"\nkey = { file = \"api.key\" }\n[vault]"), ("name = \"gate\"\nprovider = \"paymega\"\nmode = \"test\"\n[account.upstreams]", "name = \"gate\" #!\nprovider = \"paymega\"\nmode = \"test\"\n[account.upstreams]")], "account[1].name: is the name of another account"),
    Case("an upstream without TLS", &[("https://cards.bank.test/gate\"", "http://cards.bank.test/gate\" #!")], "account[0].upstreams.cardgate: must be an https base URL"),
    Case("an upstream with an address", &[("https://cards.bank.test/gate\"", "https://10.9.8.7/gate\" #!")], "account[0].upstreams.cardgate: must be an https base URL"),
    Case("an upstream with a user", &[("https://cards.bank.test/gate\"", "https://root:toor@cards.bank.test/gate\" #!")], "account[0].upstreams.cardgate: must be an https base URL"),
    Case("an upstream with a query", &[("https://cards.bank.test/gate\"", "https://cards.bank.test/gate?v=2\" #!")], "account[0].upstreams.cardgate: must be an https base URL"),
    Case("an interface that the profile has not", &[("cardgate = ", "cargate = \"https://cards.bank.test\" #!\ncardgate = ")], "account[0].upstreams.cargate: is not a key"),
    Case("an id with a colon", &[("\"coma_kiosk\"", "\"coma:kiosk\" #!")], "account[0].credentials.id: must not be empty nor hold a colon"),
    Case("virtual credentials of nobody", &[("[account.virtual.kiosk]", "[account.virtual.stall] #!")], "account[0].virtual.stall: is not the name of an [[app]]"),
    Case("a hand-off that is none", &[("[account.callback]", "[account.three_ds]\nhandoff = \"popup\" #!\n[account.callback]")], "account[0].three_ds.handoff: must be page or inline"),
    Case("a relay that is none", &[("[account.callback]", "[account.three_ds]\nrelay = \"browser\" #!\n[account.callback]")], "account[0].three_ds.relay: must be server or redirect307"),
    Case("a wildcard return host", &[("[account.callback]", "[account.three_ds]\nhosts = [\"*.bank.test\"] #!\n[account.callback]")], "account[0].three_ds.hosts: must list DNS names"),
    Case("callbacks to a foreign host", &[("https://kiosk.shop.test/paid\"", "https://other.shop.test/paid\" #!")], "account[0].callback.url: must be an https URL on one of the app's callback_hosts"),
    Case("callbacks without TLS", &[("https://kiosk.shop.test/paid\"", "http://kiosk.shop.test/paid\" #!")], "account[0].callback.url: must be an https URL"),
    Case("callbacks to nobody", &[("url = \"https://kiosk.shop.test/paid\"", "app = \"stall\" #!\nurl = \"https://kiosk.shop.test/paid\"")], "account[0].callback.app: is not the name of an [[app]]"),
    Case("a backend that is none", &[("[vault]", "[vault]\nbackend = \"disk\" #!")], "vault.backend: must be memory"),
    Case("a log that is none", &[("[vault]", "[log]\nformat = \"syslog\" #!\n[vault]")], "log.format: must be json or off"),
    Case("a profile twice", &[("[\"paymega.toml\"]", "[\"paymega.toml\", \"paymega.toml\"] #!")], "providers: names two profiles of the same provider"),
];

#[test]
fn what_is_wrong_is_refused_with_file_line_and_key() {
    let place = Place::small();
    let good = place.load(GOOD).unwrap();
    assert_eq!(resolved(&good, "account[0].callback.url").unwrap(), "\"https://kiosk.shop.test/paid\"");
    let mut faults = Vec::new();
    for case in REFUSED {
        let text = case.text(GOOD);
        match place.load(&text) {
            Ok(_) => faults.push(format!("{}: is accepted", case.0)),
            Err(problems) => faults.extend(judge(case, &place.file(), &text, &problems)),
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    assert!(REFUSED.len() > 60);
}

/// The same for profiles: changes of the shipped `paymega.toml`.
const PROFILE_REFUSED: &[Case] = &[
    Case("unknown key", &[("engine = \"Corefy\"", "engine = \"Corefy\"\nversion = 4711 #!")], "version: is not a key"),
    Case("no name", &[("name = \"paymega\"\n", "")], "name: is required"),
    Case("a name with a space", &[("name = \"paymega\"", "name = \"pay mega\" #!")], "name: is 1 to 64 of"),
    Case("unknown scheme", &[("credential = \"basic\"", "credential = \"hmac512\" #!")], "api.api.credential: is not a scheme"),
    Case("a body value that nobody uses", &[("credential = \"basic\"", "credential = \"basic\"\nbody_value = \"/pkey\" #!")], "api.api.body_value: goes with credential"),
    Case("a body value without its place", &[("[api.public]", "[api.public] #!"), ("body_value = \"/public_key\"\n", "")], "api.public.body_value: goes with credential"),
    Case("a bad place", &[("body_value = \"/public_key\"", "body_value = \"public_key_of\" #!")], "api.public.body_value: is not a JSON pointer"),
    Case("a bad pointer", &[("pointer = \"/data/attributes/cvv\"", "pointer = \"data.attributes.cvv\" #!")], "route[8].reveal[1].pointer: is not a JSON pointer"),
    Case("a bad part", &[("part = \"cvv\"", "part = \"pin-block\" #!")], "route[8].reveal[1].part: must be number, cvv"),
    Case("no part", &[("[[route.reveal]]\npointer = \"/data/attributes/cvv\"\npart = \"cvv\"\n", "[[route.reveal]] #!\npointer = \"/data/attributes/cvv\"\n")], "route[8].reveal[1].part: is required"),
    Case("a call of no interface", &[("api = \"cardgate\"", "api = \"card-gate\" #!")], "route[8].api: is not one of the profile's"),
    Case("a method that is none", &[("method = \"POST\"\npath = \"/payment/sale\"", "method = \"CONNECT\" #!\npath = \"/payment/sale\"")], "route[8].method: must be GET, POST"),
    Case("a path that climbs", &[("path = \"/payment/sale\"", "path = \"/payment/../sale\" #!")], "route[8].path: must begin with /"),
    Case("a path without a slash", &[("path = \"/payment/sale\"", "path = \"payment/sale\" #!")], "route[8].path: must begin with /"),
    Case("a body without bounds", &[("path = \"/payment/sale\"", "path = \"/payment/sale\"\nbody_limit_bytes = 99999999 #!")], "route[8].body_limit_bytes: must be a whole number"),
    Case("an unknown callback scheme", &[("scheme = \"sandwich_sha1\"", "scheme = \"plaintext\" #!")], "callback.scheme: must be sandwich_sha1"),
    Case("a header that is none", &[("header = \"x-signature\"", "header = \"x signature:\" #!")], "callback.header: is not a header name"),
    Case("no status", &[("[callback]", "[callback] #!"), ("status = \"/data/attributes/status\"\n", "")], "callback.status: is required"),
    Case("a wildcard return host", &[("hosts = [\"api.paymega.io\"]", "hosts = [\"*.paymega.io\"] #!")], "challenge.hosts: must list DNS names"),
    Case("bearer tokens in no place", &[("bearer = [\"/data/*/attributes/flow_data/metadata/token\"]", "bearer = [\"flow_data\"] #!")], "route[1].answer.bearer: must list JSON pointers"),
    Case("an interface with a bad URL", &[("url = \"https://api.paymega.io\"", "url = \"http://api.paymega.io\" #!")], "api.api.url: "),
];

#[test]
fn what_is_wrong_with_a_profile_is_refused_with_file_line_and_key() {
    let shipped = fs::read_to_string(root().join("config/providers/paymega.toml")).unwrap();
    let file = Path::new("profile.toml");
    let mut faults = Vec::new();
    for case in PROFILE_REFUSED {
        let text = case.text(&shipped);
        match config::profile::parse(file, text.clone()) {
            Ok(_) => faults.push(format!("{}: is accepted", case.0)),
            Err(problems) => faults.extend(judge(case, file, &text, &problems)),
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn every_error_is_told_at_once() {
    let place = Place::small();
    let text = GOOD.replace("mode = \"test\"", "mode = \"trial\"").replace("api.key", "absent.key");
    let problems = place.load(&text).unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    for key in ["app[0].mode", "account[0].mode", "account[0].credentials.key.file"] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
}

#[test]
fn an_error_in_a_profile_names_the_profile() {
    let place = Place::small();
    let shipped = fs::read_to_string(root().join("config/providers/paymega.toml")).unwrap();
    place.write("paymega.toml", &shipped.replace("\"cvv\"", "\"pin\""), 0o644);
    let problems = place.load(GOOD).unwrap_err();
    let line = 1 + shipped.lines().position(|line| line == "part = \"cvv\"").unwrap();
    let expected = format!("{}:{line}: route[8]", place.path("paymega.toml").display());
    assert!(problems.iter().any(|problem| problem.to_string().starts_with(&expected)), "{problems:?}");
}

#[test]
fn a_file_that_is_not_there_is_named_without_a_line() {
    let problems = config::load(Path::new("no/such/file.toml")).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("no/such/file.toml: cannot be read"));
}

// ------------------------------------------------------------------------------------- helpers

/// What every secret file holds.
const SECRET: &str = "the-content-of-a-secret-file";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder with a configuration and the files that it names.
struct Place(TempDir);

impl Place {
    fn empty() -> Self {
        Self(TempDir::new().unwrap())
    }

    /// The shipped files; secrets are made for every reference in them.
    fn documented() -> Self {
        let place = Self::empty();
        for file in ["portcullis.toml", "providers/paymega.toml", "providers/milkypay.toml"] {
            place.write(file, &fs::read_to_string(root().join("config").join(file)).unwrap(), 0o644);
        }
        for reference in place.reference().split("{ file = \"").skip(1) {
            let file = reference.split('"').next().unwrap();
            match file {
                "…" => {}
                "secrets/root.key" => place.write(file, config::new_root_key().as_str(), 0o600),
                _ => place.write(file, SECRET, 0o600),
            }
        }
        place
    }

    fn small() -> Self {
        let place = Self::empty();
        let profile = root().join("config/providers/paymega.toml");
        place.write("paymega.toml", &fs::read_to_string(profile).unwrap(), 0o644);
        place.write("root.key", config::new_root_key().as_str(), 0o600);
        place.write("short.key", "portcullis-root-key-v1:c2hvcnQ=", 0o600);
        place.write("api.key", SECRET, 0o600);
        place.write("virtual.key", SECRET, 0o600);
        place.write("open.key", SECRET, 0o644);
        place.write("empty.key", " \n", 0o600);
        fs::create_dir(place.path("folder")).unwrap();
        fs::set_permissions(place.path("folder"), Permissions::from_mode(0o700)).unwrap();
        place
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn file(&self) -> PathBuf {
        self.path("portcullis.toml")
    }

    fn write(&self, file: &str, text: &str, mode: u32) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }

    fn reference(&self) -> String {
        fs::read_to_string(self.file()).unwrap()
    }

    fn load(&self, text: &str) -> Result<Config, Vec<Problem>> {
        config::parse(&self.file(), text.to_owned())
    }
}

/// A key that is written in the documented file.
struct Key {
    line: usize,
    path: String,
    /// The comment above it and above the keys that follow without one: a comment speaks for the
    /// lines below it.
    comment: String,
}

fn documented_keys(text: &str) -> Vec<Key> {
    let (mut table, mut comment, mut in_comment) = (String::new(), String::new(), false);
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if let Some(words) = line.strip_prefix('#') {
            comment = if in_comment { format!("{comment}{words}") } else { words.to_owned() };
            in_comment = true;
            continue;
        }
        if line.is_empty() && !in_comment {
            comment.clear();
        }
        in_comment = false;
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_start_matches('[').trim_end_matches(']');
            // The documented file has one app and one account.
            table = name.replacen("app", "app[0]", usize::from(name == "app"));
            if name.split('.').next() == Some("account") {
                table = name.replacen("account", "account[0]", 1);
            }
        } else if let Some((name, _)) = line.split_once(" = ") {
            let path = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
            keys.push(Key { line: index + 1, path, comment: comment.clone() });
        }
    }
    keys
}

/// Every name before a `=`, comments included, and every part of a table's name.
fn keys_written(text: &str) -> BTreeSet<String> {
    let words = |text: &str| -> Vec<String> {
        let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        text.split(|letter| !plain(letter)).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        if line.starts_with('[') {
            keys.extend(words(line));
        }
        for before in line.split(" =").collect::<Vec<_>>().split_last().map_or(&[][..], |(_, all)| all) {
            keys.extend(words(before).pop());
        }
    }
    keys
}

/// Names of keys that a file of `src/config` reads: the first argument, or the second after a table,
/// of the functions that read. With the line's text, for the message.
fn keys_read(source: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(source)).unwrap();
    let readers = [
        "text", "text_or", "optional_text", "parsed", "optional_parsed", "number", "flag", "texts", "table",
        "table_or_empty", "optional_table", "tables", "millis", "seconds", "count", "required", "optional",
        "list", "root_key", "hosts", "has",
    ];
    let mut keys = Vec::new();
    for reader in readers {
        for (at, call) in text.match_indices(&format!("{reader}(")) {
            let begins = text[..at].ends_with(['.', ':', ' ', '&', '(', '!']);
            let arguments = text[at + call.len()..].split(')').next().unwrap_or_default();
            if let Some(key) = arguments.split('"').nth(1).filter(|_| begins) {
                let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                if key.bytes().all(plain) {
                    keys.push((source.to_owned(), key.to_owned()));
                }
            }
        }
    }
    assert!(!keys.is_empty(), "{source}: no keys found");
    keys
}

fn without_line(text: &str, line: usize) -> String {
    let kept = text.lines().enumerate().filter(|(index, _)| index + 1 != line);
    kept.map(|(_, line)| format!("{line}\n")).collect()
}

/// The value in use; an empty list is as good as none.
fn resolved(config: &Config, key: &str) -> Option<String> {
    let found = config.resolved.iter().find(|value| value.key == key);
    found.map(|value| value.value.clone()).filter(|value| value != "[]")
}

/// Whether one of the problems is the expected one, and none of them shows a value.
fn judge(case: &Case, file: &Path, text: &str, problems: &[Problem]) -> Vec<String> {
    let Case(name, changes, expected) = case;
    let line = 1 + text.lines().position(|line| line.ends_with("#!")).unwrap_or(0);
    let expected = format!("{}:{line}: {expected}", file.display());
    let mut faults = Vec::new();
    if !problems.iter().any(|problem| problem.to_string().starts_with(&expected)) {
        faults.push(format!("{name}: {problems:?}\n    instead of {expected}"));
    }
    // What the good file holds, what the case brought in, and what the secret files hold.
    let texts = changes.iter().flat_map(|(_, to)| to.split('"').skip(1).step_by(2));
    let brought = texts.filter(|text| text.len() > 2 && !["test", "live"].contains(text));
    let held = ["coma_", "sk_0", "shop.test", "bank.test", "paymega.io", "4711", "c2hvcnQ", SECRET];
    for value in brought.chain(held) {
        let shown = problems.iter().filter(|problem| problem.message.contains(value));
        faults.extend(shown.map(|problem| format!("{name}: {:?} shows a value", problem.message)));
    }
    faults
}
