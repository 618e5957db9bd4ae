//! What an application holds is worthless anywhere else: nobody else has it.

use std::fs;

use sha2::{Digest, Sha256};

use super::{Place, shipped};

const REQUEST: &str = include_str!("../vectors/keys/request.pem");
const REQUEST_PKCS1: &str = include_str!("../vectors/keys/request-pkcs1.pem");
const REQUEST_PUB: &str = include_str!("../vectors/keys/request.pub");
const OTHER_PUB: &str = include_str!("../vectors/keys/other.pub");

/// A second application at the account whose requests are signed, which is the last one.
const STALL: &str = r#"
[account.virtual.stall]
request_key = { file = "secrets/stall.pub" }
request_algorithm = "rsa"
alert_key = { file = "secrets/stall.key" }
alert_algorithm = "hmac"

[[app]]
name = "stall"
mode = "live"
key_sha256 = ["0000000000000000000000000000000000000000000000000000000000000001"]
accounts = ["highhelp"]
"#;

/// What is told of the documented configuration with that much behind it, without the line.
fn told(place: &Place, more: &str) -> Vec<String> {
    let problems = place.load(&format!("{}{more}", place.reference())).err().unwrap_or_default();
    problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect()
}

fn same(key: &str, other: &str) -> Vec<String> {
    vec![format!("{key}: is the same as {other}; give each its own")]
}

#[test]
fn an_application_holds_no_real_secret_of_any_account_under_any_name() {
    let [first, second, third] = [0, 1, 2].map(|at| format!("account[{at}].credentials."));
    for (file, from, key, other) in [
        ("shop-paymega.key", "paymega.key", "[0].virtual.shop.key", format!("{first}key")),
        (
            "shop-paymega.key",
            "paymega.public",
            "[0].virtual.shop.key",
            format!("{first}public_key"),
        ),
        (
            "shop-paymega.public",
            "paymega.key",
            "[0].virtual.shop.public_key",
            format!("{first}key"),
        ),
        (
            "shop-paymega.key",
            "paymega.test",
            "[0].virtual.shop.key",
            format!("{first}callback_secrets"),
        ),
        ("shop-paymega.key", "qostiq.secret", "[0].virtual.shop.key", format!("{second}secret")),
        ("shop-qostiq.secret", "paymega.key", "[1].virtual.shop.secret", format!("{first}key")),
    ] {
        let place = Place::documented();
        let text = fs::read_to_string(place.path(&format!("secrets/{from}"))).unwrap();
        place.write(&format!("secrets/{file}"), &text, 0o600);
        assert_eq!(told(&place, ""), same(&format!("account{key}"), &other), "{file}, {from}");
    }
    for (file, text, key) in [
        ("shop-highhelp.pub", REQUEST_PUB, "request_key"),
        ("shop-highhelp-alert.pem", REQUEST, "alert_key"),
        ("shop-highhelp-alert.pem", REQUEST_PKCS1, "alert_key"),
    ] {
        let place = Place::documented();
        place.write(&format!("secrets/{file}"), text, 0o600);
        let other = format!("{third}request_key");
        assert_eq!(told(&place, ""), same(&format!("account[2].virtual.shop.{key}"), &other));
    }
}

#[test]
fn two_applications_hold_nothing_in_common() {
    let place = Place::documented();
    let key = |name: &str, text: &str| place.write(&format!("secrets/{name}"), text, 0o600);
    let stall = |key: &str| format!("account[2].virtual.stall.{key}");
    let shop = |key: &str| format!("account[2].virtual.shop.{key}");
    key("stall.key", "0a1b");
    key("stall.pub", OTHER_PUB);
    assert_eq!(told(&place, STALL), same(&stall("request_key"), &shop("request_key")));
    key("stall.pub", REQUEST_PUB);
    let real = "account[2].credentials.request_key";
    assert_eq!(told(&place, STALL), same(&stall("request_key"), real));
    // An application's own may be the same: with HMAC both sides have both keys anyway.
    let hmac = STALL.replace("\"rsa\"", "\"hmac\"").replace("stall.pub", "stall.key");
    assert_eq!(told(&place, &hmac), [""; 0]);
    // Of another account, and there under another name.
    let text = fs::read_to_string(place.path("secrets/shop-qostiq.secret")).unwrap();
    key("stall.key", &text);
    let both = [stall("request_key"), stall("alert_key")]
        .map(|key| same(&key, "account[1].virtual.shop.secret").remove(0));
    assert_eq!(told(&place, &hmac), both);
}

#[test]
fn one_hmac_key_in_two_spellings_is_one_key() {
    let place = Place::documented();
    let profile = shipped("providers/highhelp.toml").replace("= \"utf8\"", "= \"hex\"");
    place.write("providers/highhelp.toml", &profile, 0o644);
    place.write("secrets/stall.key", "0a1b", 0o600);
    place.write("secrets/highhelp-alert.pub", "0A1B", 0o600);
    let hmac = STALL.replace("\"rsa\"", "\"hmac\"").replace("stall.pub", "stall.key");
    let rsa = "alert_algorithm = \"rsa\"\n\n[account.virtual";
    let text = place.reference().replacen(rsa, &rsa.replace("rsa", "hmac"), 1);
    place.write("portcullis.toml", &text, 0o644);
    let both = ["request_key", "alert_key"].map(|key| {
        let key = format!("account[2].virtual.stall.{key}");
        same(&key, "account[2].credentials.alert_keys").remove(0)
    });
    assert_eq!(told(&place, &hmac), both);
}

#[test]
fn one_application_may_hold_the_same_at_several_accounts() {
    let place = Place::documented();
    let text = fs::read_to_string(place.path("secrets/shop-paymega.key")).unwrap();
    place.write("secrets/shop-qostiq.secret", &text, 0o600);
    assert_eq!(told(&place, ""), [""; 0]);
}

/// The SHA-256 of what is in a file, as `key_sha256` has it.
fn key_of(place: &Place, file: &str) -> String {
    let text = fs::read_to_string(place.path(&format!("secrets/{file}"))).unwrap();
    let digest = Sha256::digest(text.trim_end().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn an_applications_key_is_no_secret_of_an_account_or_of_another_application() {
    let place = Place::documented();
    place.write("secrets/stall.key", "of the stall", 0o600);
    let hmac = STALL.replace("\"rsa\"", "\"hmac\"").replace("stall.pub", "stall.key");
    let with_key = |file: &str| {
        let key = "0000000000000000000000000000000000000000000000000000000000000001";
        hmac.replace(key, &key_of(&place, file))
    };
    assert_eq!(told(&place, &with_key("stall.key")), [""; 0], "its own");
    let key = "app[1].key_sha256";
    assert_eq!(told(&place, &with_key("paymega.key")), same(key, "account[0].credentials.key"));
    let shops = "account[0].virtual.shop.key";
    assert_eq!(told(&place, &with_key("shop-paymega.key")), same(key, shops));
    // The other way round: the application is told that comes later in the file.
    place.write("secrets/stall.key", "pk_live_of_the_shop", 0o600);
    let reference = place.reference();
    let begin = reference.find("key_sha256 = [").unwrap();
    let end = begin + reference[begin..].find(']').unwrap() + 1;
    let shop = format!("key_sha256 = [\"{}\"]", key_of(&place, "stall.key"));
    place.write(
        "portcullis.toml",
        &(reference[..begin].to_owned() + &shop + &reference[end..]),
        0o644,
    );
    let stalls = ["request_key", "alert_key"].map(|name| {
        same(&format!("account[2].virtual.stall.{name}"), "app[0].key_sha256").remove(0)
    });
    assert_eq!(told(&place, &hmac), stalls);
}
