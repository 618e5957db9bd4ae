//! A new process takes over from the one that runs: what was handed out before pays after, and
//! whatever fails on the way leaves the old one as it was.

use std::fs::{self, File, Permissions};
use std::io::{ErrorKind, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::Duration;

use http::Method;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portcullis::card::Timestamp;
use portcullis::process::passing::receive_descriptors;
use portcullis::vault::{Keyring, Limits, Role, Vault};
use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::CHALLENGED;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::visitor::{TypedCard, Visitor, tokens_of};
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::audit::{limit_files, on_a_small_disk, with_functions};
use super::drain::leave_a_sale;
use super::house::{House, Ready, assert_problem, card, invoice_of, session_of};
use super::line::{Ask, Line, Version};
use super::supervised::Ear;

mod stand;

const SOON: Duration = Duration::from_secs(20);

/// A house whose Portcullis can be taken over.
pub(super) struct Upgrading {
    pub(super) house: Arc<House>,
    /// Root key and socket.
    folder: TempDir,
    /// The one that runs, after the first.
    running: Option<Child>,
    upgrades: usize,
}

fn keygen(file: PathBuf) {
    let mut keygen = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
    assert!(keygen.args(["keygen", "--out"]).arg(file).status().unwrap().success());
}

impl Upgrading {
    pub(super) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let proxy = on_a_small_disk(folder.path());
        fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
        keygen(folder.path().join("1.key"));
        let vault = format!("[vault]\nroot_key = {{ file = {:?} }}\n", folder.path().join("1.key"));
        let upgrade = format!("[upgrade]\nsocket = {:?}\n\n", folder.path().join("upgrade.sock"));
        let adjust = Box::new(move |config: String| {
            let config = config.replace("[vault]\n", &vault);
            config.replace("[public]\n", &format!("{upgrade}[public]\n"))
        });
        let options = Options {
            adjust: Some(adjust),
            upstream_timeout: Duration::from_secs(10),
            ..Options::default()
        };
        let house = Arc::new(House::with_proxy(proxy, options).await);
        Self { house, folder, running: None, upgrades: 0 }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "--upgrade", "--config"]).arg(self.house.world.config());
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Starts a new process and waits until it has taken over; the old one is still there.
    pub(super) async fn upgrade(&mut self) -> Option<Child> {
        self.upgrade_with(&[]).await
    }

    /// The same in this environment.
    async fn upgrade_with(&mut self, environment: &[(&str, &str)]) -> Option<Child> {
        self.upgrades += 1;
        let log = self.house.world.folder().join(format!("logs/upgrade-{}.log", self.upgrades));
        let file = File::create(&log).unwrap();
        let mut command = self.command();
        command.envs(environment.iter().copied());
        let mut child = command.stderr(file).spawn().unwrap();
        let begun = std::time::Instant::now();
        while !fs::read_to_string(&log).unwrap().contains(r#""event":"started""#) {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", fs::read_to_string(&log).unwrap());
            assert!(begun.elapsed() < SOON, "not taken over");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.running.replace(child)
    }

    /// The first process, or the one that was taken over, ends by itself and well.
    pub(super) async fn ends(&mut self, old: Option<Child>) {
        let code = match old {
            Some(mut old) => timeout(SOON, old.wait()).await.unwrap().unwrap().code(),
            None => {
                let pid = self.house.pid();
                let gone = || {
                    !PathBuf::from(format!("/proc/{pid}/fd"))
                        .read_dir()
                        .is_ok_and(|mut fds| fds.next().is_some())
                };
                let begun = std::time::Instant::now();
                while !gone() && begun.elapsed() < SOON {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                assert!(gone(), "the old process is still there");
                Some(0)
            }
        };
        assert_eq!(code, Some(0));
    }

    /// The record is whole; whether its end is proved depends on when it is looked at.
    fn assert_whole(&self) {
        let verified = self.house.verify();
        let told = String::from_utf8_lossy(&verified.stdout).into_owned();
        assert!(matches!(verified.status.code(), Some(0 | 3)), "{verified:?}");
        assert!(told.contains("records in 1 files"), "{verified:?}");
    }
}

fn with_key(ready: &Ready) -> Ask {
    ready.ask().header("idempotency-key", "order-1")
}

#[tokio::test]
async fn what_was_handed_out_before_is_there_after_and_what_was_used_up_is_not() {
    let mut up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    let paid = up.house.ready("paymega").await;
    let first = up.house.private(Version::Http1).await.send(&with_key(&paid)).await;
    assert_eq!(first.status, 200, "{}", first.text());
    let revoked = up.house.ready("paymega").await;
    let forget = Ask::new(Method::DELETE, &format!("/v1/tokens/{}", revoked.tokens.token))
        .header("portcullis-key", up.house.world.key(App::Shop));
    assert_eq!(up.house.private(Version::Http1).await.send(&forget).await.status, 204);
    let session = session_of(
        &up.house.private(Version::Http1).await.send(&up.house.session(App::Shop)).await,
    );

    let old = up.upgrade().await;
    up.ends(old).await;

    let mut line = up.house.private(Version::Http1).await;
    up.house.assert_pays(&mut line, &ready).await;
    let sent = up.house.sales_received();
    for used in [&ready, &paid, &revoked] {
        assert_problem(&line.send(&used.ask()).await, 422, "token_unknown", "no");
    }
    let again = line.send(&with_key(&paid)).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    assert_eq!(again.body, first.body);
    assert_eq!(up.house.sales_received(), sent);
    let captured =
        up.house.public(Version::Http1).await.send(&up.house.capture(&session, &card())).await;
    tokens_of(&captured).unwrap();
    let later = up.house.ready("paymega").await;
    up.house.assert_pays(&mut line, &later).await;

    let [handed] = &up.house.events("handed_over")[..] else { panic!("one hand-over") };
    let [taken] = &up.house.events("taken_over")[..] else { panic!("one take-over") };
    assert_eq!(handed["records"], taken["records"]);
    assert!(handed["records"].as_u64().unwrap() >= 8, "{handed}");
    let events: Vec<Value> =
        ["started", "stopped"].map(|event| up.house.audited(event).len().into()).to_vec();
    assert_eq!(events, [2, 1]);
    up.assert_whole();
}

#[tokio::test]
async fn connections_of_the_old_process_are_served_to_their_end_from_the_one_vault() {
    let mut up = Upgrading::open().await;
    for version in Version::BOTH {
        let (ready, other) = (up.house.ready("paymega").await, up.house.ready("paymega").await);
        let mut private = up.house.private(version).await;
        let mut public = up.house.public(version).await;
        assert_eq!(private.send(&up.house.read("paymega", &ready.invoice)).await.status, 200);
        let session = session_of(&private.send(&up.house.session(App::Shop)).await);
        let mut slow = up.house.private(version).await;
        slow.send(&up.house.read("paymega", &ready.invoice)).await;
        up.house.world.paymega.faults().set("sale", Fault::Held);
        let before = up.house.sales_received();
        let ask = other.ask().header("idempotency-key", &format!("slow-{version:?}"));
        let mut begun = slow.begin(&ask, ask.body.len()).await.unwrap();
        slow.complete(&mut begun).await.unwrap();
        let end = std::time::Instant::now() + SOON;
        while up.house.sales_received() == before && std::time::Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        up.house.world.paymega.faults().clear();

        let old = up.upgrade().await;

        // Over the new process, while the old one waits for its provider.
        let mut line = Payer::new(Arc::clone(&up.house), version).await;
        assert_problem(&line.ask(false, &ask).await, 409, "idempotency_in_flight", "unknown");
        if version == Version::Http1 {
            let captured = public.send(&up.house.capture(&session, &card())).await;
            let tokens = tokens_of(&captured).unwrap();
            let answer = private.send(&ready.ask()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            up.house.assert_charged_once(&ready);
            assert_eq!(answer.header("connection"), Some("close"));
            let masked = Ask::get(&format!("/v1/tokens/{}", tokens.token))
                .header("portcullis-key", up.house.world.key(App::Shop));
            assert_eq!(line.ask(false, &masked).await.status, 200, "captured by the old process");
            assert_problem(&line.ask(false, &ready.ask()).await, 422, "token_unknown", "no");
        } else {
            line.pay(&ready).await;
        }
        let third = up.in_vain(&format!("third-{version:?}.toml"), |text| text).await;
        assert!(third.contains("it still finishes requests of the one before"), "{third}");
        up.house.world.paymega.faults().release();
        let answer = slow.answer(begun).await.unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        up.house.assert_charged_once(&other);
        let again = line.ask(false, &ask).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
        assert_eq!(again.body, answer.body);
        up.ends(old).await;
    }
    assert_eq!(up.refused(2).await, ["finishing", "finishing"]);
    let reveals = up.house.audited("reveal").len();
    assert_eq!(up.house.audited_soon("outcome", reveals).await.len(), reveals);
    assert_eq!(reveals, 4);
    up.assert_whole();
}

/// A challenged sale whose cardholder comes back from the bank: `POST` to our own address.
pub(super) async fn back_from_the_bank(house: &House) -> Ask {
    let visitor = Visitor::new(&house.world.client, house.world.shop.url());
    let paid = visitor.buy("paymega", &TypedCard::number(CHALLENGED)).await.unwrap();
    let bank = visitor.to_the_bank(&paid).await.unwrap();
    let back = visitor.press(&bank, "approve").await.unwrap().form().unwrap();
    let path = back.action.strip_prefix(&house.world.addresses.public).unwrap();
    let mut fields = url::form_urlencoded::Serializer::new(String::new());
    Ask::new(Method::POST, path)
        .header("content-type", "application/x-www-form-urlencoded")
        .with_body(fields.extend_pairs(&back.fields).finish())
}

#[tokio::test]
async fn what_has_no_client_any_more_ends_in_the_old_process_and_is_told_by_the_new_one() {
    let mut up = Upgrading::open().await;
    let back = back_from_the_bank(&up.house).await;
    up.house.world.paymega.faults().set("3ds-return", Fault::Held);
    let mut browser = up.house.public(Version::Http1).await;
    let waiting = browser.send(&back).await;
    assert_eq!((waiting.status, waiting.header("location")), (200, None), "{}", waiting.text());
    drop(browser);
    assert_eq!(up.house.world.paymega.received().count("3ds-return"), 1);
    let ready = up.house.ready("paymega").await;
    let ask = with_key(&ready);
    leave_a_sale(&up.house, &ask).await;

    let old = up.upgrade().await;
    let early = up.house.private(Version::Http1).await.send(&ask).await;
    assert_problem(&early, 409, "idempotency_in_flight", "unknown");
    // Longer than an old process takes that has nothing to wait for.
    tokio::time::sleep(Duration::from_millis(500)).await;
    up.house.world.paymega.faults().release();
    up.ends(old).await;

    let again = up.house.private(Version::Http1).await.send(&ask).await;
    assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
    up.house.assert_charged_once(&ready);
    let outcome = up.house.public(Version::Http1).await.send(&back).await;
    assert_eq!(outcome.status, 303, "{}", outcome.text());
    assert_eq!(up.house.world.paymega.received().count("3ds-return"), 1);
    let reveals = up.house.audited("reveal").len();
    assert_eq!(up.house.audited_soon("outcome", reveals).await.len(), reveals);
}

#[tokio::test]
async fn since_when_tokens_are_kept_is_handed_on_and_a_restart_begins_anew() {
    const KEPT: &str = "portcullis_vault_start_time_seconds";
    const BEGAN: &str = "portcullis_start_time_seconds";
    let mut up = Upgrading::open().await;
    let (kept, began) = (up.house.metric(KEPT).await, up.house.metric(BEGAN).await);
    assert!(kept > 1_700_000_000 && kept <= began + 1, "{kept} {began}");
    for _ in 0..2 {
        // The figures are whole seconds.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        let old = up.upgrade().await;
        up.ends(old).await;
        assert_eq!(up.house.metric(KEPT).await, kept);
        assert!(up.house.metric(BEGAN).await > began);
    }
}

#[tokio::test]
async fn a_stop_waits_for_what_the_process_before_still_finishes() {
    let mut up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    leave_a_sale(&up.house, &with_key(&ready)).await;
    let old = up.upgrade().await;
    let mut new = up.running.take().unwrap();
    kill(Pid::from_raw(new.id().unwrap().cast_signed()), Signal::SIGTERM).unwrap();
    // Longer than one takes that has nothing to wait for.
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert!(new.try_wait().unwrap().is_none(), "it has stopped");
    up.house.world.paymega.faults().release();
    up.ends(old).await;
    assert_eq!(timeout(SOON, new.wait()).await.unwrap().unwrap().code(), Some(0));
    assert_eq!(up.house.audited("outcome").len(), up.house.audited("reveal").len());
    up.assert_whole();
}

/// A client that keeps its connections for as long as the server does.
struct Payer {
    house: Arc<House>,
    version: Version,
    private: Line,
    public: Line,
}

impl Payer {
    async fn new(house: Arc<House>, version: Version) -> Self {
        let (private, public) = (house.private(version).await, house.public(version).await);
        Self { house, version, private, public }
    }

    /// The answer, whatever happens to the server meanwhile. An HTTP/2 connection that takes no
    /// more requests says so before one is sent, or says of one that crossed its word that it was
    /// not looked at; one of HTTP/1.1 says so in an answer.
    async fn ask(&mut self, public: bool, ask: &Ask) -> Answer {
        loop {
            let line = if public { &mut self.public } else { &mut self.private };
            let answer = match line.begin(ask, ask.body.len()).await {
                Ok(mut begun) => match line.complete(&mut begun).await {
                    Ok(()) => line.answer(begun).await,
                    Err(error) => Err(error),
                },
                Err(_) if self.version == Version::Http2 => {
                    self.reopen(public).await;
                    continue;
                }
                Err(error) => Err(error),
            };
            match answer {
                Ok(answer) => {
                    if answer.header("connection") == Some("close") {
                        self.reopen(public).await;
                    }
                    return answer;
                }
                Err(error) if was_not_looked_at(&error) => self.reopen(public).await,
                Err(error) => panic!("no answer: {error}"),
            }
        }
    }

    async fn reopen(&mut self, public: bool) {
        if public {
            self.public = self.house.public(self.version).await;
        } else {
            self.private = self.house.private(self.version).await;
        }
    }

    async fn ready(&mut self) -> Ready {
        let house = Arc::clone(&self.house);
        let session = session_of(&self.ask(false, &house.session(App::Shop)).await);
        let captured = self.ask(true, &house.capture(&session, &card())).await;
        let tokens = tokens_of(&captured).unwrap();
        let (invoice, handle) =
            invoice_of(&self.ask(false, &house.invoice("paymega", App::Shop)).await);
        Ready { account: "paymega", invoice, handle, tokens, card: card() }
    }

    async fn pay(&mut self, ready: &Ready) {
        let answer = self.ask(false, &ready.ask()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        self.house.assert_charged_once(ready);
    }
}

/// RFC 9113, 6.8: a request behind the last one that a GOAWAY names may be sent again.
fn was_not_looked_at(error: &std::io::Error) -> bool {
    let error = error.get_ref().and_then(|error| error.downcast_ref::<h2::Error>());
    error.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

/// Takes cards and pays with each a while later, until told to stop; returns how often.
async fn traffic(house: Arc<House>, version: Version, done: Arc<AtomicBool>) -> usize {
    let mut payer = Payer::new(house, version).await;
    let mut waiting = std::collections::VecDeque::new();
    let mut paid = 0;
    while !done.load(Ordering::SeqCst) || !waiting.is_empty() {
        if !done.load(Ordering::SeqCst) {
            waiting.push_back(payer.ready().await);
        }
        if waiting.len() > 20 || done.load(Ordering::SeqCst) {
            payer.pay(&waiting.pop_front().unwrap()).await;
            paid += 1;
        }
    }
    paid
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_upgrades_under_load_fail_no_payment_reset_no_connection_and_lose_no_token() {
    let mut up = Upgrading::open().await;
    let kept = up.house.ready("paymega").await;
    let done = Arc::new(AtomicBool::new(false));
    let payers = [Version::Http1, Version::Http2, Version::Http1, Version::Http2]
        .map(|version| tokio::spawn(traffic(Arc::clone(&up.house), version, Arc::clone(&done))));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let old = up.upgrade().await;
        up.ends(old).await;
    }
    done.store(true, Ordering::SeqCst);
    for payer in payers {
        assert!(payer.await.unwrap() > 20);
    }
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &kept).await;
    assert_eq!(up.house.events("taken_over").len(), 3);
    let reveals = up.house.audited("reveal").len();
    assert_eq!(up.house.audited_soon("outcome", reveals).await.len(), reveals);
    assert_eq!(up.house.audited("lost").len(), 0);
    up.assert_whole();
}

#[tokio::test]
async fn whoever_is_refused_for_the_audit_record_is_told_so_and_may_come_again() {
    let mut up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    limit_files(&up.house, "1:unlimited");
    let words = up.in_vain("full.toml", |text| text).await;
    assert!(words.contains("it cannot close its audit record"), "{words}");
    limit_files(&up.house, "unlimited:unlimited");
    let old = up.upgrade().await;
    up.ends(old).await;
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &ready).await;
    up.assert_whole();
}

/// No more than forty threads.
const FEW_THREADS: &str = "\
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
static int made;
int pthread_create(pthread_t *id, const pthread_attr_t *how, void *(*run)(void *), void *with) {
    int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (__atomic_add_fetch(&made, 1, __ATOMIC_SEQ_CST) > 40) return EAGAIN;
    *(void **) &real = dlsym(RTLD_NEXT, \"pthread_create\");
    return real(id, how, run, with);
}
";

#[tokio::test]
async fn a_process_that_may_not_have_all_of_its_threads_neither_serves_nor_takes_over() {
    let up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    let text = fs::read_to_string(up.house.world.config()).unwrap();
    let threads = text.replacen("[server]\n", "[server]\nthreads = 256\n", 1);
    assert_ne!(threads, text);
    let config = up.house.world.folder().join("threads.toml");
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_portcullis").as_ref();
    let limited = with_functions(folder.path(), FEW_THREADS, program);
    for (socket, upgrade) in [("upgrade.sock", Some("--upgrade")), ("other.sock", None)] {
        fs::write(&config, threads.replace("upgrade.sock", socket)).unwrap();
        let mut command = Command::new(&limited);
        command.args(["run", "--config"]).arg(&config).args(upgrade).kill_on_drop(true);
        let output = timeout(SOON, command.output()).await.expect("it lives on").unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        assert!(told.contains("threads could not be started"), "{told}");
    }
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &ready).await;
    assert_eq!(up.refused(1).await, ["gone"]);
}

/// A pipe that is full and that nobody reads.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let room = fcntl(&writer, FcntlArg::F_GETPIPE_SZ).unwrap();
    writer.write_all(&vec![b'x'; usize::try_from(room).unwrap()]).unwrap();
    (reader, writer)
}

#[tokio::test]
async fn a_log_that_nobody_reads_keeps_a_process_neither_from_serving_nor_from_ending() {
    let mut up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    let (_unread, log) = full_pipe();
    let mut new = up.command().stderr(log).spawn().unwrap();
    up.house.told_soon("handed_over", 1).await;
    up.ends(None).await;
    let pays = async {
        up.house.assert_pays(&mut up.house.private(Version::Http1).await, &ready).await;
    };
    timeout(SOON, pays).await.expect("it does not serve");
    let pid = Pid::from_raw(new.id().unwrap().cast_signed());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(timeout(SOON, new.wait()).await.unwrap().unwrap().code(), Some(0));
}

#[tokio::test]
async fn the_socket_is_for_this_user_alone_and_for_one_process() {
    let up = Upgrading::open().await;
    let second = |config: &'static str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "--config"]).arg(up.house.world.folder().join(config));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let words = second("portcullis.toml");
    assert!(
        words.contains("another Portcullis answers there; take over with --upgrade"),
        "{words}"
    );
    fs::set_permissions(up.folder.path(), Permissions::from_mode(0o755)).unwrap();
    let words = second("portcullis.toml");
    assert!(words.contains("this user's alone (mode 0700)"), "{words}");
    fs::set_permissions(up.folder.path(), Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn whoever_takes_over_says_that_it_is_the_main_process_and_the_other_one_says_no_more() {
    let mut upgrading = Upgrading::open().await;
    let ears = [Ear::at_a_path(), Ear::at_a_path()];
    for ear in &ears {
        let old = upgrading.upgrade_with(&[("NOTIFY_SOCKET", &ear.address)]).await;
        let pid = upgrading.running.as_ref().unwrap().id().unwrap();
        assert_eq!(ear.hears().await, format!("READY=1\nSTATUS=Serving\nMAINPID={pid}"));
        upgrading.ends(old).await;
    }
    // In one unit it would be said of the process that serves.
    assert_eq!(ears[0].rest(), "");
}
