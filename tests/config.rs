//! The configuration from outside: the documented file says what the code does, the shipped
//! profiles load, and whatever is wrong is refused with file, line and key, and without the value.

#[path = "config/apart.rs"]
mod apart;
#[path = "config/reference.rs"]
mod reference;

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis::config::{self, Config, Fixed, Problem};
use portcullis::limit::Limit;
use tempfile::TempDir;

// ------------------------------------------------------------------------- the documented file

#[test]
fn the_documented_file_loads_and_weakens_nothing() {
    let place = Place::documented();
    let config = place.load(&place.reference()).unwrap();
    assert!(config.dangers.is_empty(), "{:?}", config.dangers);
    assert!(!config.root_keys.is_empty());
    assert_eq!(config.profiles.len(), 3);
}

#[test]
fn the_documented_file_writes_every_key_that_is_read() {
    let place = Place::documented();
    let config = place.load(&place.reference()).unwrap();
    // What one account writes need not stand at the next one again.
    let kind = |key: &str| key.replace(|sign: char| "[]0123456789".contains(sign), "");
    let written: BTreeSet<_> = config
        .resolved
        .iter()
        .filter(|value| !value.default)
        .map(|value| kind(&value.key))
        .collect();
    let silent = config.resolved.iter().filter(|value| value.default);
    let silent: Vec<_> = silent.filter(|value| !written.contains(&kind(&value.key))).collect();
    assert!(silent.is_empty(), "not in config/portcullis.toml: {silent:?}");

    // Keys that may be missing are not resolved when they are: they are looked up in the code.
    let reference = place.reference();
    let documented = keys_written(&reference);
    let sources = [
        "src/config/audit.rs",
        "src/config/mod.rs",
        "src/config/listener.rs",
        "src/config/intake.rs",
        "src/config/merchant.rs",
        "src/config/credentials.rs",
        "src/config/root_keys.rs",
        "src/config/secrets.rs",
        "src/config/telemetry.rs",
        "src/config/upstream.rs",
    ];
    let missing: Vec<_> = sources
        .iter()
        .flat_map(|source| keys_read(source))
        .filter(|(_, key)| !documented.contains(key.as_str()))
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
            Err(problems)
                if elsewhere && problems.iter().all(|problem| problem.key != key.path) =>
            {
                None
            }
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
    assert_eq!(keys.len(), 9);
    for key in keys {
        let name = key.path.rsplit('.').next().unwrap();
        let on = reference.replace(&format!("{name} = false"), &format!("{name} = true"));
        assert_eq!(place.load(&on).unwrap().dangers, [key.path]);
    }
}

#[test]
fn a_rate_that_is_off_is_reported_as_a_danger() {
    let place = Place::documented();
    let reference = place.reference();
    let rates: Vec<_> = documented_keys(&reference)
        .into_iter()
        .filter(|key| key.path.starts_with("rates.") && key.path != "rates.keys")
        .collect();
    assert_eq!(rates.len(), Limit::ALL.len());
    for key in rates {
        let mut lines: Vec<_> = reference.lines().map(str::to_owned).collect();
        let name = key.path.strip_prefix("rates.").unwrap();
        lines[key.line - 1] = format!("{name} = \"off\"");
        assert_eq!(place.load(&lines.join("\n")).unwrap().dangers, [key.path]);
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
fn every_shipped_configuration_loads() {
    for entry in fs::read_dir(root().join("config")).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            let loaded = Place::documented().load(&fs::read_to_string(&file).unwrap());
            assert!(loaded.is_ok(), "{}: {:?}", file.display(), loaded.err());
        }
    }
}

#[test]
fn a_key_file_that_holds_none_is_refused_without_a_word_of_it() {
    let public = include_str!("vectors/keys/request.pub");
    let short = include_str!("vectors/keys/short.pem");
    let private = include_str!("vectors/keys/request.pem");
    let cut = &private[..private.len() / 2];
    for (file, text, key) in [
        ("secrets/highhelp.pem", SECRET, "account[2].credentials.request_key"),
        ("secrets/highhelp.pem", public, "account[2].credentials.request_key"),
        ("secrets/highhelp.pem", short, "account[2].credentials.request_key"),
        ("secrets/highhelp.pem", cut, "account[2].credentials.request_key"),
        ("secrets/highhelp-alert.pub", private, "account[2].credentials.alert_keys"),
        ("secrets/shop-highhelp.pub", SECRET, "account[2].virtual.shop.request_key"),
        ("secrets/shop-highhelp-alert.pem", public, "account[2].virtual.shop.alert_key"),
    ] {
        let place = Place::documented();
        place.write(file, text, 0o600);
        let problems = place.load(&place.reference()).unwrap_err();
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{file}: {told:?}");
        assert_eq!(problems[0].key, key, "{told:?}");
        let line = text.lines().nth(2).unwrap_or(text);
        assert!(!told[0].contains(line), "{told:?}");
    }
}

#[test]
fn an_application_is_lent_no_key_of_the_accounts_and_none_of_another_application() {
    let place = Place::documented();
    let reference = place.reference();
    let told = |changes: &[(&str, &str)]| {
        let changed = changes.iter().fold(reference.clone(), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
        let problems = place.load(&changed).unwrap_err();
        problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let real = "is the same as account[";
    for (account, virtual_key, from, to) in [
        (0, "key", "secrets/shop-paymega.key", "secrets/paymega.test"),
        (0, "key", "secrets/shop-paymega.key", "secrets/paymega.public"),
        (0, "public_key", "secrets/shop-paymega.public", "secrets/paymega.key"),
        (1, "secret", "secrets/shop-qostiq.secret", "secrets/qostiq.secret"),
        (2, "request_key", "secrets/shop-highhelp.pub", "secrets/highhelp-alert.pub"),
    ] {
        let told = told(&[(from, to)]);
        let line = format!("account[{account}].virtual.shop.{virtual_key}: {real}");
        assert!(told.contains(&line), "{from} → {to}: {told}");
    }
    let hmac = ("_algorithm = \"rsa\"", "_algorithm = \"hmac\"");
    for file in
        ["highhelp.pem", "highhelp-alert.pub", "shop-highhelp.pub", "shop-highhelp-alert.pem"]
    {
        place.write(&format!("secrets/{file}"), &format!("{SECRET}-of-{file}-and-longer"), 0o600);
    }
    let right = place.load(&reference.replace(hmac.0, hmac.1));
    assert!(right.is_ok(), "{:?}", right.err());
    for (from, to, key) in [
        ("secrets/shop-highhelp-alert.pem", "secrets/highhelp.pem", "alert_key"),
        ("secrets/shop-highhelp-alert.pem", "secrets/highhelp-alert.pub", "alert_key"),
        ("secrets/shop-highhelp.pub", "secrets/highhelp-alert.pub", "request_key"),
        ("secrets/shop-highhelp.pub", "secrets/highhelp.pem", "request_key"),
    ] {
        let told = told(&[hmac, (from, to)]);
        assert!(told.contains(&format!("virtual.shop.{key}: {real}")), "{from} → {to}: {told}");
    }
}

#[test]
fn a_merchants_id_without_a_letter_is_refused() {
    let place = Place::documented();
    let reference = place.reference();
    let at = reference.lines().position(|line| line.starts_with("merchant_id = ")).unwrap();
    let line = reference.lines().nth(at).unwrap();
    let problems = place.load(&reference.replace(line, "merchant_id = \"\"")).unwrap_err();
    let place = format!(":{}: account[2].credentials.merchant_id: must not be empty", at + 1);
    assert!(problems[0].to_string().ends_with(&place), "{problems:?}");
}

#[test]
fn shipped_profiles_load_and_cover_their_calls() {
    let folder = root().join("config/providers");
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        let profile =
            config::profile::load(&file).unwrap_or_else(|problems| panic!("{problems:?}"));
        assert_eq!(file.file_stem().unwrap().to_str().unwrap(), profile.name);
        assert!(
            profile.routes.iter().any(|route| route.reveals()),
            "{}: no card fields",
            profile.name
        );
        assert!(profile.callback.is_some(), "{}: no callbacks", profile.name);
        let moves_money = |route: &&portcullis::provider::Route| !route.request.repeatable;
        for route in profile.routes.iter().filter(|route| route.reveals()).filter(moves_money) {
            assert!(
                route.status_call.is_some(),
                "{}: {}: no status call",
                profile.name,
                route.name
            );
        }
        seen.insert(profile.name);
    }
    assert_eq!(seen, ["highhelp", "milkypay", "paymega", "qostiq"].map(str::to_owned).into());
}

// ---------------------------------------------------------------------- what is refused, and how

/// A small configuration that is right.
const GOOD: &str = include_str!("config/good.toml");

#[test]
fn what_is_wrong_is_refused_with_file_line_and_key() {
    let place = Place::small();
    let good = place.load(GOOD).unwrap();
    assert_eq!(resolved(&good, "account[0].callback.app"), None);
    let cases = cases(include_str!("config/refused.txt"));
    assert!(cases.len() >= 130);
    judge(GOOD, &cases, &place.file(), |text| place.load(text).err());
}

/// Where calls carry digests or signatures nothing else will do; elsewhere a key or a certificate
/// says who calls.
#[test]
fn an_application_can_show_who_it_is_at_every_account_that_it_may_use() {
    let place = Place::documented();
    let reference = place.reference();
    let without = |text: &str, which: usize| {
        let at = text.match_indices("[account.virtual.shop]").nth(which).unwrap().0;
        let end = text[at..].find("\n[").map_or(text.len(), |end| at + end);
        format!("{}{}", &text[..at], &text[end..])
    };
    let none = |text: &str, key: &str| {
        let lines = text.lines().filter(|line| !line.starts_with(&format!("{key} = ")));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    let told = |text: &str| {
        let problems = place.load(text).err().unwrap_or_default();
        let told = problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message));
        told.collect::<Vec<_>>()
    };
    assert_eq!(told(&reference), [""; 0]);
    for (account, at) in [("qostiq", 1), ("highhelp", 2)] {
        let told = told(&without(&reference, at));
        assert_eq!(told.len(), 1, "{account}: {told:?}");
        let proof = format!("app[0].accounts[{at}]: is an account whose calls the app proves");
        assert!(told[0].starts_with(&proof), "{account}: {told:?}");
    }
    let paymega = without(&reference, 0);
    assert_eq!(told(&paymega), [""; 0]);
    let (no_key, no_name) = (none(&paymega, "key_sha256"), none(&paymega, "client_names"));
    assert_eq!(told(&no_key), [""; 0]);
    assert_eq!(told(&no_name), [""; 0]);
    for text in [none(&no_key, "client_names"), none(&no_key, "client_ca")] {
        let told = told(&text);
        assert_eq!(told.len(), 1, "{told:?}");
        let nothing = "app[0].accounts[0]: is an account at which the app can show nothing";
        assert!(told[0].starts_with(nothing), "{told:?}");
    }
}

/// Proved by a body that it has not, or with two things in one place.
#[test]
fn a_call_that_could_never_be_made_is_refused() {
    let (post, get) = ("method = \"POST\"", "method = \"GET\"");
    let form = "method = \"POST\"\nencoding = \"form\"";
    let taken = "has a place where something else";
    for (provider, from, to, key, message) in [
        ("qostiq", post, get, "method", "has no body, and a body proves"),
        ("highhelp", post, get, "method", "has no body, and a body proves"),
        ("highhelp", post, form, "encoding", "must be json"),
        ("qostiq", "[\"/callback_url\"]", "[\"/sign\"]", "callback_url", taken),
        ("qostiq", "[\"/pay_token\"]", "[\"/callback_url\"]", "sealed", taken),
        ("qostiq", "[\"/pay_token\"]", "[\"/sign\"]", "sealed", taken),
    ] {
        let text = shipped(&format!("providers/{provider}.toml"));
        let (head, routes) = text.split_once("[[route]]").unwrap();
        let changed = format!("{head}[[route]]{}", routes.replacen(from, to, 1));
        assert_ne!(changed, text, "{from}");
        let problems = config::profile::parse(Path::new("profile.toml"), changed).unwrap_err();
        let key = format!("route[0].{key}");
        let is_told = |it: &Problem| it.key == key && it.message.starts_with(message);
        assert!(problems.iter().any(is_told), "{to}: {problems:?}");
    }
    let text = shipped("providers/qostiq.toml");
    let reveal = "[[route.reveal]]\npointer = \"/sign\"\npart = \"number\"\n[route.answer]";
    let changed = text.replacen("[route.answer]", reveal, 1);
    let problems = config::profile::parse(Path::new("profile.toml"), changed).unwrap_err();
    let told: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
    assert_eq!(told, ["has the place of the interface's own value"], "{problems:?}");
}

/// A provider that is told the account in the body, and signs what it is sent, or not.
const TILL: &str = "
name = \"till\"
title = \"Till\"
[api.public]
credential = \"body_value\"
value = \"/public_key\"
url = \"https://cards.bank.test\"
[[route]]
name = \"ask\"
api = \"public\"
method = \"POST\"
path = \"/ask\"
";

#[test]
fn an_application_may_use_an_account_of_which_it_can_prove_one_call() {
    const VIRTUAL: &str = "id = \"coma_virtual\"\nkey = { file = \"virtual.key\" }\n";
    let place = Place::small();
    let told = |text: &str| {
        let problems = place.load(text).err().unwrap_or_default();
        let told = problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message));
        told.collect::<Vec<_>>()
    };
    let is_told = |text: &str, message: &str| {
        let told = told(text);
        let begins = format!("app[0].accounts[0]: is an account {message}");
        assert!(matches!(&told[..], [one] if one.starts_with(&begins)), "{told:?}");
    };
    let hash = "00".repeat(32);
    let known = GOOD.replacen(
        "accounts = [\"gate\"]",
        &format!("accounts = [\"gate\"]\nkey_sha256 = [\"{hash}\"]"),
        1,
    );
    // Reads have no body that could be signed.
    let signed = "[api.api.signature]\nheader = \"x-sign\"\nalgorithm = \"hmac_sha256\"\n";
    let profile = shipped("providers/paymega.toml").replacen(
        "[api.public]",
        &format!("{signed}[api.public]"),
        1,
    );
    place.write("paymega.toml", &profile, 0o644);
    let secret = "secret = { file = \"root.key\" }";
    let of_the_account = |text: &str| {
        text.replacen("id = \"coma_kiosk\"", &format!("id = \"coma_kiosk\"\n{secret}"), 1)
    };
    let without = of_the_account(&known)
        .replacen("[account.virtual.kiosk]\n", "", 1)
        .replacen(VIRTUAL, "", 1);
    assert_eq!(told(&without), [""; 0]);
    let till = |text: &str| {
        let begin = text.find("[account.status_query]").unwrap();
        let end = text.find("[account.callback]").unwrap();
        let text = format!("{}{}", &text[..begin], &text[end..]);
        let own = "id = \"coma_kiosk\"\nkey = { file = \"api.key\" }\n";
        let text = text
            .replace("[\"paymega.toml\"]", "[\"till.toml\"]")
            .replace("\"paymega\"", "\"till\"");
        text.replacen("cardgate = \"https://cards.bank.test/gate\"\n", "", 1).replacen(own, "", 1)
    };
    place.write("till.toml", TILL, 0o644);
    let empty = |text: &str| till(text).replacen(VIRTUAL, "", 1);
    assert_eq!(told(&empty(&known)), [""; 0]);
    is_told(&empty(GOOD), "at which the app can show nothing");
    let named = till(GOOD).replacen(VIRTUAL, "public_key = { file = \"virtual.key\" }\n", 1);
    assert_eq!(told(&named), [""; 0]);
    place.write("till.toml", &(TILL.to_owned() + &signed.replace("api.api", "api.public")), 0o644);
    let table = "[account.credentials]\n";
    let known = till(&known).replacen(table, &format!("{table}{secret}\n"), 1);
    let known = known.replacen("[account.virtual.kiosk]\n", "", 1).replacen(VIRTUAL, "", 1);
    is_told(&known, "whose calls the app proves");
}

/// A payment, and behind it the question what became of it, where the account has one asked.
#[test]
fn a_stop_waits_longer_than_a_payment_with_its_question() {
    let place = Place::small();
    let with = |seconds: u32, routes: &str, of_the_host: &str| {
        let server = format!("key = \"private.key\"\n[server]\nshutdown_seconds = {seconds}\n");
        let text = GOOD
            .replacen("key = \"private.key\"\n", &server, 1)
            .replace("routes = [\"sale\"]", routes)
            .replace("seconds = 3", "seconds = 30")
            .replace("check_path = \"/up\"", &format!("check_path = \"/up\"\n{of_the_host}"));
        place.load(&text).is_ok()
    };
    let (sale, invoice) = ("routes = [\"sale\"]", "routes = [\"invoice.create\"]");
    for (seconds, routes, of_the_host, fits) in [
        (90, sale, "", false),
        (91, sale, "", true),
        // Nobody asks.
        (61, "routes = []", "", true),
        // The host that sales go to has a deadline of its own, invoices go to another one.
        (61, sale, "total_timeout_ms = 20000", true),
        (90, invoice, "total_timeout_ms = 20000", false),
        (91, invoice, "total_timeout_ms = 90000", true),
        (120, sale, "total_timeout_ms = 90000", false),
        (121, sale, "total_timeout_ms = 90000", true),
    ] {
        assert_eq!(with(seconds, routes, of_the_host), fits, "{seconds} {routes} {of_the_host}");
    }
}

#[test]
fn what_is_wrong_with_a_profile_is_refused_with_file_line_and_key() {
    let shipped = shipped("providers/paymega.toml");
    let file = Path::new("profile.toml");
    let cases = cases(include_str!("config/refused_profiles.txt"));
    assert!(cases.len() >= 30);
    judge(&shipped, &cases, file, |text| config::profile::parse(file, text.to_owned()).err());
}

#[test]
fn a_name_that_records_may_belong_to_stands_for_the_same_in_every_process_that_follows() {
    let place = Place::small();
    place.write("milkypay.toml", &shipped("providers/milkypay.toml"), 0o644);
    let good = GOOD.replace("[\"paymega.toml\"]", "[\"paymega.toml\", \"milkypay.toml\"]");
    let renamed = good.replace("gate\"", "gate-2\"").replace("bank.test/gate-2", "bank.test/gate");
    let provider = good.replace("provider = \"paymega\"", "provider = \"milkypay\"");
    let live = good.replace("mode = \"test\"", "mode = \"live\"");
    let [good, renamed, provider, live] =
        [good, renamed, provider, live].map(|text| place.load(&text).unwrap());
    let fixed = |config: &Config| Fixed::of(config, false);
    let keys = |names: &[u8], config: &Config| {
        let inherited = fixed(config).inherit(names, config).unwrap();
        let problems = inherited.err().unwrap_or_default();
        problems.into_iter().map(|problem| (problem.key, problem.line)).collect::<Vec<_>>()
    };
    let first = fixed(&good).names().write();
    let provider_is_another = [("account[0].provider".to_owned(), 20)];
    assert_eq!(keys(&first, &good), []);
    assert_eq!(keys(&first, &provider), provider_is_another);
    assert_eq!(
        keys(&first, &live),
        [("app[0].mode".to_owned(), 15), ("account[0].mode".to_owned(), 21)]
    );
    // The second process has no such account, and the third is told of it all the same.
    let second = fixed(&renamed);
    second.inherit(&first, &renamed).unwrap().unwrap();
    assert_eq!(keys(&second.names().write(), &provider), provider_is_another);
    assert_eq!(second.refuses(&provider)[0].key, "account[0].provider");
    for no_names in [&first[1..], &first[..first.len() - 1], &[0, 0, 0, 0], b"{}"] {
        assert!(second.inherit(no_names, &good).is_none());
    }
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
    let shipped = shipped("providers/paymega.toml");
    place.write("paymega.toml", &shipped.replace("\"cvv\"", "\"pin\""), 0o644);
    let problems = place.load(GOOD).unwrap_err();
    let line = 1 + shipped.lines().position(|line| line == "part = \"cvv\"").unwrap();
    let expected = format!("{}:{line}: route[8]", place.path("paymega.toml").display());
    assert!(
        problems.iter().any(|problem| problem.to_string().starts_with(&expected)),
        "{problems:?}"
    );
}

#[test]
fn a_file_that_is_not_there_is_named_without_a_line() {
    let problems = config::load(Path::new("no/such/file.toml")).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].to_string().starts_with("no/such/file.toml: cannot be read"));
}

#[test]
fn what_is_not_text_is_named_by_its_line() {
    let place = Place::small();
    let bytes = [GOOD.as_bytes(), b"# \xff\n"].concat();
    fs::write(place.file(), bytes).unwrap();
    let problems = config::load(&place.file()).unwrap_err();
    let line = 1 + GOOD.lines().count();
    let expected = format!("{}:{line}: is not text in UTF-8", place.file().display());
    assert_eq!(problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
}

// ------------------------------------------------------------------------------------- helpers

/// What every secret file holds.
const SECRET: &str = "the-content-of-a-secret-file";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `config/`.
fn shipped(file: &str) -> String {
    fs::read_to_string(root().join("config").join(file)).unwrap()
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
        for file in [
            "portcullis.toml",
            "providers/paymega.toml",
            "providers/milkypay.toml",
            "providers/qostiq.toml",
            "providers/highhelp.toml",
        ] {
            place.write(file, &shipped(file), 0o644);
        }
        for reference in place.reference().split("{ file = \"").skip(1) {
            let file = reference.split('"').next().unwrap();
            match file {
                "…" => {}
                "secrets/root.key" | "secrets/root-2.key" | "secrets/audit.key" => {
                    place.write(file, config::new_root_key().as_str(), 0o600)
                }
                _ if file.starts_with("secrets/shop-") && file.ends_with(".pem") => {
                    place.write(file, include_str!("vectors/keys/other.pem"), 0o600);
                }
                _ if file.starts_with("secrets/shop-") && file.ends_with(".pub") => {
                    place.write(file, include_str!("vectors/keys/other.pub"), 0o600);
                }
                _ if file.ends_with(".pem") => {
                    place.write(file, include_str!("vectors/keys/request.pem"), 0o600);
                }
                _ if file.ends_with(".pub") => {
                    place.write(file, include_str!("vectors/keys/request.pub"), 0o600);
                }
                _ => place.write(file, &format!("{SECRET}-{file}"), 0o600),
            }
        }
        fs::create_dir(place.path("audit")).unwrap();
        place
    }

    fn small() -> Self {
        let place = Self::empty();
        place.write("paymega.toml", &shipped("providers/paymega.toml"), 0o644);
        place.write("root.key", config::new_root_key().as_str(), 0o600);
        place.write("short.key", "portcullis-root-key-v1:c2hvcnQ=", 0o600);
        place.write("api.key", SECRET, 0o600);
        place.write("virtual.key", &format!("{SECRET}-of-an-app"), 0o600);
        place.write("open.key", SECRET, 0o644);
        place.write("empty.key", " \n", 0o600);
        fs::create_dir(place.path("folder")).unwrap();
        fs::set_permissions(place.path("folder"), Permissions::from_mode(0o700)).unwrap();
        fs::create_dir(place.path("open")).unwrap();
        fs::set_permissions(place.path("open"), Permissions::from_mode(0o777)).unwrap();
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
    let (mut keys, mut accounts, mut cards) = (Vec::new(), 0, 0);
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
            // The documented file has one app, one intake and several accounts.
            table = name.replacen("app", "app[0]", usize::from(name == "app"));
            accounts += usize::from(name == "account");
            cards += usize::from(name == "intake.card");
            table = table.replacen("upstream.host", "upstream.host[0]", 1);
            if name.split('.').next() == Some("intake") {
                table = name.replacen("intake", "intake[0]", 1);
                table = table.replace(".card", &format!(".card[{}]", cards.max(1) - 1));
            }
            if name.split('.').next() == Some("account") {
                table = name.replacen("account", &format!("account[{}]", accounts - 1), 1);
            }
        } else if let Some((name, _)) = line.split_once(" = ") {
            let path = if table.is_empty() { name.to_owned() } else { format!("{table}.{name}") };
            keys.push(Key { line: index + 1, path, comment: comment.clone() });
        }
    }
    keys
}

/// Every name before a `=`, comments included, and every part of a table's name.
fn keys_written(text: &str) -> BTreeSet<&str> {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let words =
        |text| str::split(text, move |letter| !plain(letter)).filter(|word| !word.is_empty());
    let mut keys = BTreeSet::new();
    for line in text.lines() {
        keys.extend(words(line).filter(|_| line.starts_with('[')));
        let assigned =
            line.match_indices(" = ").filter_map(|(at, _)| words(&line[..at]).next_back());
        keys.extend(assigned);
    }
    keys
}

/// Names of keys that a file of `src/config` reads: texts that are the first argument of a call, or
/// the second after a plain word, and look like a key.
fn keys_read(source: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join(source)).unwrap().replace("\\\"", "");
    let pieces: Vec<&str> = text.split('"').collect();
    let keys = pieces.iter().zip(pieces.iter().skip(1)).step_by(2).filter(|(before, text)| {
        let second = before.strip_suffix(", ").unwrap_or_default();
        let argument =
            before.ends_with('(') || second.ends_with(|letter: char| letter.is_alphanumeric());
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        argument && text.len() > 1 && text.bytes().all(plain) && !text.ends_with('_')
    });
    let keys: Vec<_> = keys.map(|(_, key)| (source.to_owned(), (*key).to_owned())).collect();
    assert!(keys.len() > 3, "{source}: {keys:?}");
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

/// One entry of `config/refused.txt`, which says how to read it.
struct Case<'t> {
    name: &'t str,
    complaint: &'t str,
    /// Groups of neighbouring lines, each with its mark.
    changes: Vec<Vec<(char, &'t str)>>,
}

fn cases(text: &str) -> Vec<Case<'_>> {
    let entries = text.split("\n== ").skip(1);
    let cases = entries.map(|entry| {
        let mut lines = entry.trim_end().lines();
        let (name, complaint) = (lines.next().unwrap(), lines.next().unwrap());
        let lines: Vec<&str> = lines.collect();
        let groups = lines.split(|line| line.is_empty());
        let changes = groups.map(|group| group.iter().copied().map(marked).collect()).collect();
        Case { name, complaint: complaint.trim_start_matches('-'), changes }
    });
    cases.collect()
}

/// The mark, and the line behind it.
fn marked(line: &str) -> (char, &str) {
    (line.chars().next().unwrap(), line.get(2..).unwrap())
}

impl Case<'_> {
    /// The good text with the changes, and the line that the complaint has to name.
    fn apply(&self, good: &str) -> (String, usize) {
        let mut lines: Vec<(char, &str)> = good.lines().map(|line| (' ', line)).collect();
        for change in &self.changes {
            let before: Vec<&str> = change
                .iter()
                .filter(|(mark, _)| " ->".contains(*mark))
                .map(|(_, line)| *line)
                .collect();
            let after = change.iter().filter(|(mark, _)| *mark != '-').copied();
            let same =
                |at: &[(char, &str)]| at.iter().map(|(_, line)| *line).eq(before.iter().copied());
            let at = lines.windows(before.len()).position(same);
            let at =
                at.unwrap_or_else(|| panic!("{}: there is no {before:?} to change", self.name));
            lines.splice(at..at + before.len(), after);
        }
        let line = 1 + lines.iter().position(|(mark, _)| "!>".contains(*mark)).unwrap_or(0);
        (lines.iter().map(|(_, line)| format!("{line}\n")).collect(), line)
    }

    /// Texts in quotes that the case brings in.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let added = self.changes.iter().flatten().filter(|(mark, _)| "+!".contains(*mark));
        added.flat_map(|(_, line)| line.split('"').skip(1).step_by(2))
    }
}

/// Every case is refused, one of the complaints is the expected one, and none shows a value.
fn judge(good: &str, cases: &[Case<'_>], file: &Path, load: impl Fn(&str) -> Option<Vec<Problem>>) {
    let mut faults = Vec::new();
    for case in cases {
        let (text, line) = case.apply(good);
        let Some(problems) = load(&text) else {
            faults.push(format!("{}: is accepted", case.name));
            continue;
        };
        let expected = format!("{}:{line}: {}", file.display(), case.complaint);
        if !problems.iter().any(|problem| problem.to_string().starts_with(&expected)) {
            faults.push(format!("{}: {problems:?}\n    instead of {expected}", case.name));
        }
        let brought =
            case.texts().filter(|text| text.len() > 2 && !["test", "live"].contains(text));
        let held =
            ["coma_", "sk_0", "shop.test", "bank.test", "paymega.io", "4711", "c2hvcnQ", SECRET];
        for value in brought.chain(held) {
            let shown = problems.iter().filter(|problem| problem.message.contains(value));
            faults
                .extend(shown.map(|problem| format!("{}: shows {value:?}: {problem}", case.name)));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}
