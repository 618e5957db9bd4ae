//! The audit record of the real process: a line for every card that leaves, before it does; and
//! when no line can be written, no card leaves.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use http::Method;
use portcullis_sandbox::browser::Form;
use portcullis_sandbox::shop::piastrix::{payform, session_of};
use portcullis_sandbox::text::encode_form;
use portcullis_sandbox::visitor::Tokens;
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Proxy};
use serde_json::Value;

use super::house::{House, assert_problem, card, card_fields};
use super::line::{Ask, Version};
use super::short::with_variable;

const SOON: Duration = Duration::from_secs(10);

impl House {
    pub(super) fn audit_folder(&self) -> PathBuf {
        self.world.folder().join("audit/portcullis")
    }

    /// Every line, of all files.
    fn audit(&self) -> Vec<Value> {
        let files = portcullis::audit::files_in(&self.audit_folder()).unwrap();
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let lines = |text: String| -> Vec<Value> {
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        texts.flat_map(lines).collect()
    }

    pub(super) fn audited(&self, event: &str) -> Vec<Value> {
        self.audit().into_iter().filter(|line| line["event"] == event).collect()
    }

    /// Lines that nobody waits for are there within a second.
    pub(super) async fn audited_soon(&self, event: &str, count: usize) -> Vec<Value> {
        let end = std::time::Instant::now() + SOON;
        while self.audited(event).len() < count && std::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.audited(event)
    }

    pub(super) fn verify(&self) -> Output {
        Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["audit", "verify", "--key"])
            .arg(self.world.folder().join("secrets/audit.key"))
            .arg(self.audit_folder())
            .output()
            .unwrap()
    }

    fn portcullis(&self) -> String {
        self.world.proxy().unwrap().pid().unwrap().to_string()
    }

    /// A card form as the browser would post it, with these values for the card.
    pub(super) async fn card_form(&self, account: &str, tokens: &Tokens) -> Ask {
        self.card_form_of(account, App::Shop, tokens).await
    }

    pub(super) async fn card_form_of(&self, account: &str, app: App, tokens: &Tokens) -> Ask {
        let session = self.card_session(account, app).await;
        self.form_of_session(account, app, &session, tokens).await
    }

    pub(super) async fn card_session(&self, account: &str, app: App) -> String {
        let client = self.world.piastrix(account, app).unwrap();
        let order = portcullis_sandbox::random::letters(12);
        let invoice = client.invoice(&order, "17.10", &[]).await.unwrap();
        session_of(&invoice.json().unwrap()).unwrap()
    }

    pub(super) async fn form_of_session(
        &self,
        account: &str,
        app: App,
        session: &str,
        tokens: &Tokens,
    ) -> Ask {
        let client = self.world.piastrix(account, app).unwrap();
        let data = client.h2h_data(session).await.unwrap();
        let form: Form = payform(&data.json().unwrap(), session, &card_fields(tokens)).unwrap();
        let target = form.action.trim_start_matches(&self.world.addresses.public).to_owned();
        Ask::new(Method::POST, &target)
            .header("content-type", "application/x-www-form-urlencoded")
            .with_body(encode_form(&form.fields))
    }

    pub(super) async fn captured(&self) -> Tokens {
        self.captured_by(App::Shop).await
    }

    pub(super) async fn captured_by(&self, app: App) -> Tokens {
        let mut private = self.private(Version::Http1).await;
        let mut public = self.public(Version::Http1).await;
        self.tokens(&mut private, &mut public, app).await
    }
}

/// Portcullis as a service manager starts it that ignores the signal for files over the limit, so
/// that a test can make the disk full and empty again. The folder is needed for the start alone.
pub(super) fn on_a_small_disk(folder: &std::path::Path) -> Proxy {
    let script = folder.join("portcullis");
    let binary = env!("CARGO_BIN_EXE_portcullis");
    let text = format!("#!/bin/sh\ntrap '' XFSZ\nexec {binary} \"$@\"\n");
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    Proxy::Binary(script)
}

async fn with_a_small_disk() -> House {
    let folder = tempfile::tempdir().unwrap();
    House::with_proxy(on_a_small_disk(folder.path()), Options::default()).await
}

/// From now on no file of the process may get larger than this.
pub(super) fn limit_files(house: &House, limit: &str) {
    let output = Command::new("prlimit")
        .args(["--pid", &house.portcullis(), &format!("--fsize={limit}")])
        .output()
        .expect("this test needs prlimit: apt-get install util-linux");
    assert!(output.status.success(), "{output:?}");
}

fn with_audit(lines: &'static str) -> Options {
    let adjust = move |config: String| {
        assert!(config.contains("[audit]\n"));
        config.replace("[audit]\n", &format!("[audit]\n{lines}\n"))
    };
    Options { adjust: Some(Box::new(adjust)), ..Options::default() }
}

#[tokio::test]
async fn every_card_that_leaves_has_a_line_before_and_one_after() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    let mut line = house.private(Version::Http1).await;
    let answer = line.send(&ready.ask()).await;
    assert_eq!(answer.status, 200);
    // The line was there before the provider answered, and so before we were told.
    let [reveal] = &house.audited("reveal")[..] else { panic!("one reveal") };
    let id = answer.header("portcullis-request-id").unwrap();
    let gate = house.simulator("paymega").cardgate();
    let port: u16 = gate.split(':').nth(2).unwrap().split('/').next().unwrap().parse().unwrap();
    for (name, value) in [
        ("app", Value::from("shop")),
        ("account", "paymega".into()),
        ("route", "sale".into()),
        ("pan", 1.into()),
        ("cvv", 1.into()),
        ("host", "localhost".into()),
        ("port", port.into()),
        ("way", "server".into()),
        ("request_id", id.into()),
    ] {
        assert_eq!(reveal[name], value, "{name}");
    }
    let token = portcullis::card::Token::parse(&ready.tokens.token).unwrap();
    assert_eq!(reveal["token"], token.id().to_string());
    let [outcome] = &house.audited_soon("outcome", 1).await[..] else { panic!("one outcome") };
    assert_eq!((&outcome["request_id"], &outcome["forwarded"]), (&id.into(), &"yes".into()));

    // What shows no card has no line.
    let before = house.audit().len();
    line.send(&house.read("paymega", &ready.invoice)).await;
    line.send(&ready.ask()).await;
    assert_eq!(house.audit().len(), before);

    let revoke = Ask::new(Method::DELETE, &format!("/v1/tokens/{}", ready.tokens.token))
        .header("portcullis-key", house.world.key(App::Shop));
    let answer = line.send(&revoke).await;
    assert_eq!(answer.status, 204);
    let [revoked] = &house.audited_soon("revoke", 1).await[..] else { panic!("one revocation") };
    assert_eq!((&revoked["app"], &revoked["token"]), (&"shop".into(), &reveal["token"]));
    let id = answer.header("portcullis-request-id").unwrap();
    assert_eq!(revoked["request_id"], id);
}

#[tokio::test]
async fn a_card_form_is_recorded_whoever_posts_it_and_whatever_was_typed() {
    let house = House::open().await;
    let mut public = house.public(Version::Http1).await;
    let typed = Tokens { token: card().number, cvv_token: card().cvv };
    let forms = [
        ("qostiq", house.captured().await, "server", true),
        ("qostiq", typed, "server", false),
        ("qostiq-browser", house.captured().await, "browser", true),
    ];
    for (at, (account, tokens, way, known)) in forms.into_iter().enumerate() {
        let answer = public.send(&house.card_form(account, &tokens).await).await;
        assert!(answer.status < 400, "{account}: {}", answer.status);
        let reveal = house.audited("reveal").remove(at);
        assert_eq!((&reveal["account"], &reveal["way"]), (&account.into(), &way.into()));
        assert_eq!((&reveal["app"], &reveal["route"]), (&"shop".into(), &"payform".into()));
        assert_eq!(reveal.get("token").is_some(), known, "{reveal}");
        assert_eq!((&reveal["pan"], &reveal["cvv"]), (&1.into(), &1.into()), "{reveal}");
        assert_eq!(reveal["host"], "localhost");
    }
    let outcomes = house.audited_soon("outcome", 3).await;
    let told: Vec<_> = outcomes.iter().map(|line| line["forwarded"].as_str().unwrap()).collect();
    assert_eq!(told, ["yes", "yes", "unknown"]);
}

#[tokio::test]
async fn on_a_full_disk_no_card_leaves_and_no_token_is_lost() {
    let house = with_a_small_disk().await;
    let ready = house.ready("paymega").await;
    let other = house.ready("paymega").await;
    let by_browser = house.card_form("qostiq-browser", &house.captured().await).await;
    let by_server = house.card_form("qostiq", &house.captured().await).await;
    let mut line = house.private(Version::Http1).await;
    let mut public = house.public(Version::Http1).await;
    let before = house.audit().len();
    limit_files(&house, "1:unlimited");
    for version in Version::BOTH {
        let answer = house.private(version).await.send(&ready.ask()).await;
        let problem = assert_problem(&answer, 503, "audit_unavailable", "no");
        assert_eq!((&problem["retry"], &problem["origin"]), (&"after".into(), &"proxy".into()));
    }
    for form in [&by_server, &by_browser] {
        let answer = public.send(form).await;
        assert_eq!(answer.status, 503);
        super::house::assert_no_card(&answer);
    }
    let metrics = format!("{}/metrics", house.world.addresses.admin);
    let scrape = || portcullis_sandbox::client::Call::get(&metrics);
    let text = house.world.client.send(scrape()).await.unwrap().text();
    assert!(text.contains("\nportcullis_audit_up 0\n"), "{text}");
    let forms = |line: &&str| line.contains("payform") && line.contains("audit_unavailable");
    let forms: Vec<_> = text.lines().filter(forms).collect();
    assert!(matches!(forms[..], [line] if line.ends_with(" 2")), "{text}");
    let answer = house.operate(http::Method::GET, "/readyz").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "audit\n"));
    assert_eq!(house.sales_received(), 0);
    assert_eq!(house.world.qostiq.received().count("payform"), 0);
    assert_eq!(house.audit().len(), before, "half a line is in the file");
    // What shows no card goes on.
    assert_eq!(line.send(&house.read("paymega", &ready.invoice)).await.status, 200);

    limit_files(&house, "unlimited:unlimited");
    house.assert_pays(&mut line, &ready).await;
    house.assert_pays(&mut line, &other).await;
    for form in [&by_server, &by_browser] {
        assert!(public.send(form).await.status < 400);
    }
    assert_eq!(house.audited("reveal").len(), 4);
    let text = house.world.client.send(scrape()).await.unwrap().text();
    assert!(text.contains("\nportcullis_audit_up 1\n"), "{text}");
    assert_eq!(house.operate(http::Method::GET, "/readyz").await.status, 200);
}

/// What brings a file to the disk, and hangs for as long as its owner may execute that.
const HANGS: &str = "\
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
int fdatasync(int file) {
    struct stat about;
    while (fstat(file, &about) == 0 && (about.st_mode & S_IXUSR)) usleep(10000);
    return syscall(SYS_fdatasync, file);
}
";

/// The program with other functions in place of the system's, written in C.
pub(crate) fn with_functions(folder: &Path, source: &str, program: &Path) -> PathBuf {
    let [file, library] = ["functions.c", "functions.so"].map(|name| folder.join(name));
    std::fs::write(&file, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).args([&library, &file]);
    assert!(cc.status().expect("this test needs cc").success());
    with_variable(folder, &format!("LD_PRELOAD='{}'", library.display()), program)
}

async fn with_a_disk_that_hangs(upstream_timeout: Duration) -> House {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_portcullis").as_ref();
    let program = with_functions(folder.path(), HANGS, program);
    let options = Options { upstream_timeout, ..with_audit("flush = \"every_record\"") };
    House::with_proxy(Proxy::Binary(program), options).await
}

fn hang(house: &House, mode: u32) {
    let file = house.audit_folder().join("audit-000001.jsonl");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[tokio::test]
async fn while_the_disk_hangs_sales_are_refused_and_are_made_when_it_is_back() {
    let house = with_a_disk_that_hangs(SOON).await;
    let [ready, other] = [house.ready("paymega").await, house.ready("paymega").await];
    let mut line = house.private(Version::Http1).await;
    hang(&house, 0o700);
    for (ask, at_most) in [(ready.ask(), 2 * SOON), (other.ask(), SOON / 5)] {
        let answer = tokio::time::timeout(at_most, line.send(&ask)).await.expect("it is held");
        assert_problem(&answer, 503, "audit_unavailable", "no");
    }
    assert_eq!(house.metric("portcullis_audit_up").await, 0);
    let answer = house.operate(Method::GET, "/readyz").await;
    assert_eq!((answer.status, answer.text().as_str()), (503, "audit\n"));
    assert_eq!(house.sales_received(), 0);
    hang(&house, 0o600);
    let [outcome] = &house.audited_soon("outcome", 1).await[..] else { panic!("one outcome") };
    let [reveal] = &house.audited("reveal")[..] else { panic!("one reveal") };
    assert_eq!(outcome["request_id"], reveal["request_id"]);
    assert_eq!(outcome["forwarded"], "no");
    house.assert_pays(&mut line, &ready).await;
    house.assert_pays(&mut line, &other).await;
    assert_eq!(house.metric("portcullis_audit_up").await, 1);
    assert_eq!(house.operate(Method::GET, "/readyz").await.status, 200);
}

#[tokio::test]
async fn a_payment_whose_time_ran_out_while_its_line_was_written_is_not_sent() {
    let house = with_a_disk_that_hangs(SOON / 10).await;
    let ready = house.ready("paymega").await;
    let (mut first, mut line) =
        (house.private(Version::Http1).await, house.private(Version::Http1).await);
    // A connection is kept.
    house.assert_pays(&mut first, &house.ready("paymega").await).await;
    hang(&house, 0o700);
    let back = async {
        tokio::time::sleep(SOON / 5).await;
        hang(&house, 0o600);
    };
    let ask = ready.ask();
    let (answer, ()) = tokio::join!(line.send(&ask), back);
    assert_problem(&answer, 503, "audit_unavailable", "no");
    assert_eq!(house.sales_received(), 1);
    let outcome = &house.audited_soon("outcome", 2).await[1];
    assert_eq!(outcome["forwarded"], "no");
    house.assert_pays(&mut line, &ready).await;
}

#[tokio::test]
async fn a_record_goes_on_after_a_kill_and_is_proved_after_a_stop() {
    let mut house = House::with(with_audit("flush = \"every_record\"")).await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    house.world.stop_proxy().await;
    let killed = house.verify();
    assert_eq!(killed.status.code(), Some(3), "{killed:?}");
    assert!(String::from_utf8_lossy(&killed.stdout).contains("NOT PROVED: the last"), "{killed:?}");

    house.world.start_proxy().await.unwrap();
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    let terminated = Command::new("kill").args(["-TERM", &house.portcullis()]).status().unwrap();
    assert!(terminated.success());
    let end = std::time::Instant::now() + SOON;
    while house.audited("stopped").is_empty() && std::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    let stopped = house.verify();
    assert_eq!(stopped.status.code(), Some(0), "{stopped:?}");
    let text = String::from_utf8(stopped.stdout).unwrap();
    assert!(text.contains("reveal      2\n"), "{text}");
    let configured = house.audited("configured");
    assert_eq!(configured.len(), 2);
    assert_eq!(configured[0]["digest"], configured[1]["digest"]);
    let keys = house.audited("keyed");
    assert_eq!(keys[0]["source"], "random");
    assert_ne!(keys[0]["key_id"], keys[1]["key_id"]);
    house.world.start_proxy().await.unwrap();
}

#[tokio::test]
async fn a_record_that_was_tampered_with_is_named_and_not_continued() {
    let mut house = House::open().await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    house.world.stop_proxy().await;
    let file = house.audit_folder().join("audit-000001.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"dangers\":[", "\"dangers\":[\"x\",", 1)).unwrap();
    let found = house.verify();
    assert_eq!(found.status.code(), Some(1), "{found:?}");
    let told = String::from_utf8(found.stderr).unwrap();
    assert_eq!(told, format!("{}:2: the line was altered\n", file.display()));
    let refused = house.world.start_proxy().await.unwrap_err().to_string();
    assert!(refused.contains("audit-000001.jsonl:2: the line was altered"), "{refused}");
    std::fs::write(&file, text).unwrap();
    house.world.start_proxy().await.unwrap();
}

#[tokio::test]
async fn files_are_rotated_by_the_confined_process() {
    let house = House::with(with_audit("file_bytes = 65536")).await;
    let mut private = house.private(Version::Http1).await;
    let mut public = house.public(Version::Http1).await;
    let second = house.audit_folder().join("audit-000002.jsonl");
    let mut paid = 0;
    while !second.exists() {
        let ready = house.ready_over(&mut private, &mut public, "paymega", App::Shop).await;
        assert_eq!(private.send(&ready.ask()).await.status, 200);
        paid += 1;
        assert!(paid < 500);
    }
    let first = std::fs::metadata(house.audit_folder().join("audit-000001.jsonl")).unwrap();
    assert!((65_536..70_000).contains(&first.len()), "{}", first.len());
    assert_eq!(house.audited("reveal").len(), paid);
    let found = house.verify();
    assert_ne!(found.status.code(), Some(1), "{found:?}");
}
