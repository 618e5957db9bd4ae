//! The matrix of `portcullis pci`: complete, filled from the configuration, and honest: every test
//! that it names exists, and what the configuration gives up is told as not met.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use portcullis::card::Timestamp;
use portcullis::config::{self, Config};
use portcullis::page;
use portcullis::pci::{By, ROWS, Report};
use serde_json::Value;
use tempfile::TempDir;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const SECRET: &str = "the-content-of-a-secret-file";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A configuration in a folder of its own, with certificates that end in 2030.
fn configured(more: &str) -> (TempDir, Config) {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    };
    let mut params = rcgen::CertificateParams::new(vec!["pay.shop.test".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2030, 1, 2);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap().pem();
    write("client.pem", &certificate);
    for listener in ["public", "private"] {
        write(&format!("{listener}.pem"), &certificate);
        write(&format!("{listener}.key"), &key.serialize_pem());
    }
    let profile = fs::read_to_string(root().join("config/providers/paymega.toml")).unwrap();
    write("paymega.toml", &profile);
    write("api.key", SECRET);
    write("virtual.key", &format!("{SECRET}-of-an-app"));
    write("root.key", config::new_root_key().as_str());
    write("audit.key", config::new_root_key().as_str());
    fs::create_dir(folder.path().join("audit")).unwrap();
    let text = format!("{}{more}", include_str!("config/good.toml"));
    let config = config::parse(&folder.path().join("portcullis.toml"), text).unwrap();
    (folder, config)
}

const AUDIT: &str = "\n[audit]\nfolder = \"audit\"\nkey = { file = \"audit.key\" }\n";

fn row<'r>(report: &'r Report, number: &str) -> &'r portcullis::pci::Filled {
    report.requirements.iter().find(|row| row.number == number).unwrap()
}

fn sources(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_the_matrix_names_exists() {
    let mut text = String::new();
    sources(&root().join("src"), &mut text);
    sources(&root().join("tests"), &mut text);
    let named: BTreeSet<_> = ROWS.iter().flat_map(|row| row.tests).collect();
    assert!(named.len() > 40, "{}", named.len());
    let missing: Vec<_> =
        named.iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "there is no test {missing:?}");
    let unproved: Vec<_> = ROWS
        .iter()
        .filter(|row| row.tests.is_empty() && row.by != By::Operator)
        .map(|row| row.number)
        .collect();
    assert!(unproved.is_empty(), "no test shows {unproved:?}");
}

#[test]
fn every_requirement_that_a_payment_proxy_touches_is_there_once_and_in_order() {
    let numbers: Vec<_> = ROWS.iter().map(|row| row.number).collect();
    for number in [
        "3.2.1", "3.3.1", "3.3.2", "3.4.1", "3.5.1", "4.2.1", "4.2.1.1", "6.2.4", "6.3.2", "10.5.1",
    ] {
        assert!(numbers.contains(&number), "{number}");
    }
    for family in ["3.6.1", "3.7.", "6.4.3", "8.6.", "10.2.", "10.3.", "11.6.1", "12.5.2"] {
        assert!(numbers.iter().any(|number| number.starts_with(family)), "{family}");
    }
    let parts = |number: &str| -> Vec<u32> {
        number.split('.').map(|part| part.parse().unwrap()).collect()
    };
    assert!(numbers.windows(2).all(|pair| parts(pair[0]) < parts(pair[1])), "{numbers:?}");
}

#[test]
fn the_matrix_is_filled_from_the_configuration() {
    let (_folder, config) = configured(AUDIT);
    let report = Report::of(Some(&config), NOW);
    for (number, told) in [
        ("3.2.1", "Cards are kept for 1800 s and security codes for 900 s at most"),
        ("4.2.1", "Public listener 127.0.0.2:18443"),
        ("4.2.1", "cards.bank.test"),
        ("8.6.2", "1 applications; 0 keys"),
        ("10.2.1", "on the disk 1000 ms later at most"),
        ("12.5.2", "1 accounts at providers"),
    ] {
        let how = &row(&report, number).how;
        assert!(how.contains(told), "{number}: {how}");
    }
    assert!(report.requirements.iter().all(|row| row.by != By::Open && row.how.len() > 5));
    let text = report.markdown();
    for line in text.lines().filter(|line| line.starts_with("| 3.") || line.starts_with("| 10.")) {
        assert_eq!(line.matches(" | ").count(), 4, "{line}");
    }
    let json: Value = serde_json::from_str(&report.json()).unwrap();
    assert_eq!(json["requirements"].as_array().unwrap().len(), ROWS.len());
    assert_eq!(json["requirements"][0]["by"], "shared");
    let changed = configured(
        "\n[audit]\nfolder = \"audit\"\nkey = { file = \"audit.key\" }\nflush = \"every_record\"\n",
    )
    .1;
    let changed = Report::of(Some(&changed), NOW);
    assert!(row(&changed, "10.2.1").how.contains("on the disk before the card leaves"));
    assert_ne!(changed.configuration, report.configuration);
}

#[test]
fn what_a_configuration_gives_up_is_told_as_not_met() {
    let (_folder, config) = configured("");
    let without_record = Report::of(Some(&config), NOW);
    for number in ["3.7.7", "10.2.1", "10.2.2", "10.3.4"] {
        let row = row(&without_record, number);
        assert_eq!(row.by, By::Open, "{number}");
        assert!(row.how.starts_with("the missing [audit] gives it up."), "{}", row.how);
    }
    for number in ["10.3.1", "10.3.3", "10.5.1"] {
        assert_eq!(row(&without_record, number).by, By::Open, "{number}");
    }
    let dumps = format!("{AUDIT}[process]\ndanger_allow_core_dumps = true\n");
    let (_folder, config) = configured(&dumps);
    let report = Report::of(Some(&config), NOW);
    assert_eq!(row(&report, "3.3.1").by, By::Open);
    assert_eq!(row(&report, "3.4.1").by, By::Portcullis);
    let text = report.markdown();
    assert!(
        text.contains("**Protection is weakened by: process.danger_allow_core_dumps.**"),
        "{text}"
    );
    assert!(text.contains("| **NOT MET** | process.danger_allow_core_dumps gives it up."));
    // Every danger of the configuration that a row names is one.
    let reference = fs::read_to_string(root().join("config/portcullis.toml")).unwrap();
    for key in ROWS.iter().flat_map(|row| row.given_up_by).filter(|key| key.contains("danger_")) {
        let name = key.rsplit('.').next().unwrap();
        assert!(reference.contains(&format!("\n{name} = false")), "{key}");
    }
}

#[test]
fn without_a_log_and_a_collector_refused_calls_are_not_logged() {
    let silent = format!("{AUDIT}[log]\nformat = \"off\"\n");
    let collected =
        format!("{silent}[telemetry]\nendpoint = \"https://collector.shop.test:4318\"\n");
    let metrics_alone = format!("{collected}logs = false\n");
    for unlogged in [&silent, &metrics_alone] {
        let (_folder, config) = configured(unlogged);
        let report = Report::of(Some(&config), NOW);
        for (number, left) in [
            ("10.2.1.4", "Every refused call is a count of the metrics alone."),
            ("10.2.2", "app, event, time, outcome, request_id, token and host."),
        ] {
            let row = row(&report, number);
            assert_eq!(row.by, By::Open, "{number}");
            let told = "log.format = \"off\" without telemetry.logs gives it up.";
            assert_eq!(row.how, format!("{told} {left}"));
        }
    }
    let (_folder, config) = configured(&collected);
    let report = Report::of(Some(&config), NOW);
    for number in ["10.2.1.4", "10.2.2"] {
        let row = row(&report, number);
        assert_eq!(row.by, By::Portcullis, "{number}");
        assert!(row.how.contains("at the collector"), "{}", row.how);
    }
}

#[test]
fn a_shop_behind_portcullis_has_payment_pages_of_its_own_in_scope() {
    let (folder, config) = configured(AUDIT);
    let with = Report::of(Some(&config), NOW);
    let whole = format!("{}{AUDIT}", include_str!("config/good.toml"));
    let (before, behind) = whole.split_once("[[intake]]").unwrap();
    let behind = behind.split_once("\n[").unwrap().1.split_once("\n[").unwrap().1;
    let without = format!("{before}[{behind}");
    let config = config::parse(&folder.path().join("portcullis.toml"), without).unwrap();
    assert!(config.shops.is_empty());
    let without = Report::of(Some(&config), NOW);
    for number in ["4.2.1", "6.4.3", "11.6.1", "12.5.2"] {
        let how = &row(&with, number).how;
        assert!(how.contains(" window.shop.test ([[intake]])"), "{number}: {how}");
        assert!(!row(&without, number).how.contains("intake"), "{number}");
    }
}

#[test]
fn a_replaced_secret_is_not_said_to_change_the_digest() {
    let (folder, config) = configured(AUDIT);
    let before = Report::of(Some(&config), NOW);
    fs::write(folder.path().join("api.key"), "another-secret").unwrap();
    let text = format!("{}{AUDIT}", include_str!("config/good.toml"));
    let after = config::parse(&folder.path().join("portcullis.toml"), text).unwrap();
    let after = Report::of(Some(&after), NOW);
    assert_eq!(after.configuration, before.configuration);
    let said = &row(&after, "10.2.1.5").how;
    assert!(said.contains("A secret that is replaced behind the same reference"), "{said}");
}

#[test]
fn the_inventory_lists_every_certificate_and_key_and_no_secret() {
    let (_folder, config) = configured(AUDIT);
    let report = Report::of(Some(&config), NOW);
    let used: Vec<_> = report.certificates.iter().map(|one| one.used_for.as_str()).collect();
    let shown = "upstream.host[0].client_certificate";
    assert_eq!(used, ["public.certificate", "private.certificate", shown]);
    let one = &report.certificates[0];
    assert_eq!((one.names[0].as_str(), one.key.as_str()), ("pay.shop.test", "EC 256"));
    assert_eq!((one.until.as_str(), one.days_left), ("2030-01-02T00:00:00Z", 1_082));
    let keys: BTreeSet<_> = report.keys.iter().map(|key| key.used_for.as_str()).collect();
    let expected = [
        "public.key",
        "private.key",
        "vault.root_key",
        "audit.key",
        "account[0].credentials.key",
        "account[0].virtual.kiosk.key",
        "upstream.host[0].client_key",
        "upstream.proxy.password",
    ];
    assert_eq!(keys, expected.into());
    let whole = report.markdown() + &report.json();
    assert!(!whole.contains(SECRET) && !whole.contains("portcullis-root-key"));
    let expired = Report::of(Some(&config), Timestamp::from_secs(2_000_000_000));
    assert_eq!(expired.certificates[0].days_left, 0);
}

#[test]
fn what_shops_load_and_the_form_have_the_digests_that_are_printed() {
    let report = Report::of(None, NOW);
    let digests: BTreeSet<_> = report.pages.iter().map(|page| page.digest.clone()).collect();
    for (_, digest) in page::form_digests() {
        assert!(digests.contains(&digest));
    }
    for script in page::SCRIPTS {
        assert!(digests.contains(&script.integrity()));
    }
    assert_eq!(digests.len(), 7, "{digests:?}");
    assert!(report.markdown().contains("fill it in with `--config FILE`"));
    assert!(report.requirements.iter().all(|row| row.how == "–"));
}
