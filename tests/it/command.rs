//! The commands as somebody at a terminal, or a script, calls them.

use std::fs::{self, File};
use std::process::{Command, Output, Stdio};

use super::house::House;

/// The command with these arguments; one that does not end is ended.
fn portcullis(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_portcullis");
    Command::new("timeout").args(["30", program]).args(arguments).output().unwrap()
}

fn told(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Everything that a configuration names and a start reads, each wrong in its way.
const UNUSABLE: [(&str, &str, &str); 12] = [
    ("tls/public.pem", "tls/absent.pem", "public.certificate: certificate file is unreadable"),
    ("tls/public.pem", "tls", "public.certificate: certificate file is unreadable"),
    ("tls/public.pem", "tls/empty.pem", "public.certificate: certificate file is unreadable"),
    ("tls/public.key", "tls/absent.key", "public.key: key file is unreadable"),
    ("tls/public.key", "tls/private.key", "public.key: private key does not belong"),
    ("tls/private.pem", "tls/absent.pem", "private.certificate: certificate file is unreadable"),
    ("\n[admin]", "client_ca = \"tls/empty.pem\"\n[admin]", "private.client_ca: file of cert"),
    ("tls/ca.pem", "tls/absent.pem", "upstream.ca_file: file of certificate authorities"),
    (
        "[upstream]",
        "[upstream]\negress_addresses = [\"192.0.2.1\"]",
        "upstream.egress_addresses: cannot leave from 192.0.2.1",
    ),
    (
        "[log]",
        "[telemetry]\nendpoint = \"https://localhost:9\"\nca_file = \"tls/empty.pem\"\n[log]",
        "telemetry.ca_file: file of certificate authorities",
    ),
    (
        "[log]",
        "[[upstream.host]]\nhost = \"HOST\"\nca_file = \"tls/empty.pem\"\n[log]",
        "upstream.host[0].ca_file: file of certificate authorities",
    ),
    ("[[intake]]", "[[intake]]\nca_file = \"tls/empty.pem\"", "intake[0].ca_file: file of cert"),
];

#[tokio::test]
async fn check_refuses_what_run_would_refuse_with_the_same_words() {
    let mut house = House::open().await;
    house.world.stop_proxy().await;
    let config = house.world.config();
    let path = config.to_str().unwrap();
    let good = fs::read_to_string(&config).unwrap();
    fs::write(config.parent().unwrap().join("tls/empty.pem"), "").unwrap();
    let host = good.split("cardgate = \"https://").nth(1).unwrap().split('/').next().unwrap();
    let checked = portcullis(&["check", "--config", path]);
    assert!(checked.status.success(), "{}", told(&checked));
    for (from, to, complaint) in UNUSABLE {
        let wrong = good.replacen(from, &to.replace("HOST", host), 1);
        assert_ne!(wrong, good, "{from}");
        fs::write(&config, &wrong).unwrap();
        let [checked, ran] =
            ["check", "run"].map(|command| portcullis(&[command, "--config", path]));
        assert_eq!(checked.status.code(), Some(1), "{complaint}");
        let message = told(&checked);
        let (key, _) = complaint.split_once(':').unwrap();
        let key = key.rsplit('.').next().unwrap();
        let at = good.bytes().zip(wrong.bytes()).position(|(one, other)| one != other).unwrap();
        let from_there = wrong[..at].matches('\n').count();
        let line = wrong.lines().enumerate().skip(from_there).find(|(_, line)| line.contains(key));
        let place = format!("{path}:{}: {complaint}", line.unwrap().0 + 1);
        assert!(message.starts_with(&place), "{message} instead of {place}");
        assert!(message.ends_with("\n1 error in the configuration; nothing was started\n"));
        assert!(checked.stdout.is_empty(), "it is called right");
        assert_eq!((ran.status.code(), told(&ran)), (Some(1), message));
    }
    // Two at once are two lines.
    fs::write(&config, good.replace("tls/public.pem", "no").replace("tls/ca.pem", "no")).unwrap();
    let message = told(&portcullis(&["check", "--config", path]));
    assert!(message.contains("\n2 errors in the configuration"), "{message}");
    fs::write(&config, good).unwrap();
}

#[tokio::test]
async fn what_weakens_protection_is_named_by_check() {
    let mut house = House::open().await;
    house.world.stop_proxy().await;
    let config = house.world.config();
    let path = config.to_str().unwrap();
    let good = fs::read_to_string(&config).unwrap();
    let warned = |text: &str| {
        fs::write(&config, text).unwrap();
        let output = portcullis(&["check", "--config", path]);
        assert!(output.status.success(), "{}", told(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        let warned = lines.lines().filter_map(|line| line.strip_prefix("# WARNING: "));
        warned.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = warned(&good);
    let danger = "upstream.danger_allow_private_addresses = true weakens protection";
    assert!(before.iter().any(|line| line == danger), "{before:?}");
    let off = good.replacen("\nbin = \"1000000/s\"\n", "\nbin = \"off\"\n", 1);
    let more: Vec<_> = warned(&off).into_iter().filter(|line| !before.contains(line)).collect();
    assert_eq!(more, ["rates.bin = \"off\" weakens protection"]);
}

#[tokio::test]
async fn an_address_that_somebody_has_is_told_with_its_line() {
    let house = House::open().await;
    let config = house.world.config();
    let path = config.to_str().unwrap();
    let text = fs::read_to_string(&config).unwrap();
    let line = 1 + text.lines().position(|line| line.starts_with("address")).unwrap();
    let ran = portcullis(&["run", "--config", path]);
    assert_eq!(ran.status.code(), Some(1));
    let place = format!("{path}:{line}: public.address: cannot listen on 127.0.0.1:");
    assert!(told(&ran).starts_with(&place), "{}", told(&ran));
}

#[tokio::test]
async fn the_environment_does_not_say_whom_to_trust() {
    let mut house = House::open().await;
    house.world.stop_proxy().await;
    let config = house.world.config();
    let good = fs::read_to_string(&config).unwrap();
    let own = "ca_file = \"tls/ca.pem\"\n";
    assert!(good.contains(own));
    fs::write(&config, good.replace(own, "")).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["check", "--config"]).arg(&config);
        command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
        command
    };
    let here = check().output().unwrap();
    assert!(here.status.success(), "a system without authorities: {}", told(&here));
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
        let elsewhere = check().env(name, "/nowhere").output().unwrap();
        assert_eq!((elsewhere.status, told(&elsewhere)), (here.status, told(&here)), "{name}");
    }
}

/// The exit code where standard output is a reader that stops, or a disk that is full.
fn code_into(output: File, arguments: &[&str]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(arguments).stdout(output).stderr(Stdio::null()).status().unwrap().code()
}

/// A pipe that nobody reads.
fn unread() -> File {
    let (_, writer) = nix::unistd::pipe().unwrap();
    File::from(writer)
}

#[tokio::test]
async fn an_answer_that_nobody_takes_ends_a_command_with_1() {
    let mut house = House::open().await;
    house.world.stop_proxy().await;
    let config = house.world.config();
    let profile = format!("{}/config/providers/paymega.toml", env!("CARGO_MANIFEST_DIR"));
    let records = house.audit_folder();
    let (config, records) = (config.to_str().unwrap(), records.to_str().unwrap());
    for arguments in [
        &["check", "--config", config][..],
        &["keygen"],
        &["keygen", "--shares", "3", "--threshold", "2"],
        &["providers", &profile],
        &["page"],
        &["pci"],
        &["audit", "verify", records],
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(code_into(unread(), arguments), Some(1), "{arguments:?}");
        assert_eq!(code_into(full, arguments), Some(1), "{arguments:?}");
    }
    // Nor does it matter who hears the complaint.
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    let status = command.args(["check", "--config", "nowhere"]).stderr(unread()).status();
    assert_eq!(status.unwrap().code(), Some(1));
}

#[test]
fn a_review_that_looked_at_nothing_says_nothing_of_the_record() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().to_str().unwrap();
    let (key, other) = (place.path().join("audit.key"), place.path().join("other"));
    fs::write(&other, "no key").unwrap();
    let (key, other) = (key.to_str().unwrap(), other.to_str().unwrap());
    for (arguments, complaint) in [
        (&[folder, "--holds", "zz"][..], "portcullis: --holds: is not a digest of 64 hexadecimal"),
        (&[folder, "--key", key], "audit.key: entity not found"),
        (&[folder, "--key", other], "other: is not a key made by `portcullis keygen`"),
        (&["/nowhere/at/all"], "portcullis: /nowhere/at/all: entity not found"),
    ] {
        let output = portcullis(&[&["audit", "verify"], arguments].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(told(&output).contains(complaint), "{}", told(&output));
    }
    let empty = portcullis(&["audit", "verify", folder]);
    assert_eq!((empty.status.code(), told(&empty)), (Some(3), "there is no record\n".to_owned()));
}
