//! A new process takes over from the one that runs: what was handed out before pays after, and
//! whatever fails on the way leaves the old one as it was.

use std::fs::{self, File, Permissions};
use std::io::{PipeReader, PipeWriter, Read as _, Write as _};
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

use super::drain::leave_a_sale;
use super::house::{House, Ready, assert_problem, card, invoice_of, session_of};
use super::line::{Ask, Line, Version};
use super::supervised::Ear;

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
        let house = Arc::new(House::with(options).await);
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
async fn back_from_the_bank(house: &House) -> Ask {
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

fn send(mut stream: &UnixStream, word: u8, body: &[u8]) -> std::io::Result<()> {
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    stream.write_all(&[length.as_slice(), &[word], body].concat())
}

/// Nothing more once the other side is gone.
fn receive(mut stream: &UnixStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 5];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let mut body = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut body).ok()?;
    Some((head[4], body))
}

/// A process that wants to take over and gives up, or lies, at some step.
struct Stand {
    stream: UnixStream,
    /// On which lines of the audit record come.
    lines: Option<UnixStream>,
    vault: Vault,
    nonces: Vec<u8>,
}

const FORMAT: u16 = 4;
const HELLO: u8 = 1;
const REFUSED: u8 = 2;
const PROOFS: u8 = 3;
const SOCKETS: u8 = 4;
const READY: u8 = 5;
const KEYS: u8 = 6;
const RECORDS: u8 = 7;
const END: u8 = 8;
const TAKEN: u8 = 9;
const RELEASED: u8 = 10;
const NAMES: u8 = 16;
const SERVING: u8 = 11;
const GO: u8 = 12;
const QUESTION: u8 = 13;
const LINES: u8 = 14;
const ANSWER: u8 = 15;

impl Stand {
    fn at(up: &Upgrading, key: &str) -> Self {
        let stream = UnixStream::connect(up.folder.path().join("upgrade.sock")).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let key = portcullis::config::read_root_key(&up.folder.path().join(key)).unwrap();
        let keyring = Keyring::of(&[(1, Some(&key))]).unwrap();
        let vault = Vault::new(keyring, Limits::default());
        Self { stream, lines: None, vault, nonces: vec![7; 32] }
    }

    fn send(&mut self, word: u8, body: &[u8]) {
        send(&self.stream, word, body).unwrap();
    }

    fn receive(&mut self) -> (u8, Vec<u8>) {
        receive(&self.stream).unwrap()
    }

    fn take_records(&self, mut part: &[u8]) {
        while let Some((length, rest)) = part.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap();
            let (record, rest) = rest.split_at(length);
            self.vault.take_record(record, Timestamp::system()).unwrap();
            part = rest;
        }
    }

    fn hello(&mut self, format: u16) {
        let body = [b"pcupgrad".as_slice(), &format.to_be_bytes(), &[3], b"0.0", &[7; 32]].concat();
        self.send(HELLO, &body);
    }

    /// Up to this step, counted from the connection.
    fn go_to(&mut self, step: usize) {
        let steps: [fn(&mut Self); 6] = [
            |stand| stand.hello(FORMAT),
            |stand| {
                let (word, hello) = stand.receive();
                assert_eq!(word, HELLO);
                let behind = 8 + 2 + 1 + usize::from(hello[10]);
                stand.nonces.extend_from_slice(&hello[behind..behind + 32]);
                let proofs = stand.vault.proofs(Role::Taker, &stand.nonces);
                let (version, proof) = proofs[0];
                let body = [&[1], version.to_be_bytes().as_slice(), &proof].concat();
                stand.send(PROOFS, &body);
            },
            |stand| {
                assert_eq!(stand.receive().0, SOCKETS);
                let mut came = receive_descriptors(&stand.stream).unwrap();
                assert_eq!(came.len(), 2, "no address was named");
                stand.lines = came.pop().map(UnixStream::from);
                stand.send(READY, &[]);
            },
            |stand| loop {
                match stand.receive() {
                    (KEYS, keys) => stand.vault.take_keys(&keys, &stand.nonces).unwrap(),
                    (RECORDS, part) => stand.take_records(&part),
                    (NAMES, _) => {}
                    (word, _) => break assert_eq!(word, END),
                }
            },
            |stand| stand.send(TAKEN, &[]),
            |stand| assert_eq!(stand.receive().0, RELEASED),
        ];
        steps.iter().take(step).for_each(|step| step(self));
    }
}

impl Upgrading {
    async fn refused(&self, count: usize) -> Vec<Value> {
        let end = std::time::Instant::now() + SOON;
        while self.house.events("upgrade_refused").len() < count && std::time::Instant::now() < end
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let refused = self.house.events("upgrade_refused");
        assert_eq!(refused.len(), count);
        refused.iter().map(|event| event["reason"].clone()).collect()
    }

    /// Starts one that is to end by itself; returns its exit code and its words.
    async fn in_vain(&self, config: &str, changed: impl Fn(String) -> String) -> String {
        let path = self.house.world.folder().join(config);
        let text = fs::read_to_string(self.house.world.config()).unwrap();
        fs::write(&path, changed(text)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "--upgrade", "--config"]).arg(path).kill_on_drop(true);
        let output = timeout(SOON, command.output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    }
}

#[tokio::test]
async fn whoever_breaks_off_at_any_step_leaves_the_old_process_as_it_was() {
    let up = Upgrading::open().await;
    for step in 0..=6 {
        let ready = up.house.ready("paymega").await;
        let mut line = up.house.private(Version::Http1).await;
        let mut stand = Stand::at(&up, "1.key");
        stand.go_to(step);
        drop(stand);
        let reasons = up.refused(step + 1).await;
        assert_eq!(reasons[step], "gone", "step {step}");
        up.house.assert_pays(&mut line, &ready).await;
        assert_problem(&line.send(&ready.ask()).await, 422, "token_unknown", "no");
    }
    // What the old one had closed for the new one it opened again.
    assert_eq!((up.house.audited("stopped").len(), up.house.audited("started").len()), (2, 3));
    assert_eq!(up.house.audited("reveal").len(), 7);
    up.assert_whole();
    assert!(up.house.events("handed_over").is_empty());
}

/// A taker that has locked the record, as a real one does before it walks through the files, and
/// has got no further.
fn with_the_lock(up: &Upgrading) -> (Stand, File) {
    let mut stand = Stand::at(up, "1.key");
    stand.go_to(6);
    let lock = File::options().append(true).open(up.house.audit_folder().join("audit.lock"));
    let lock = lock.unwrap();
    lock.try_lock().unwrap();
    (stand, lock)
}

#[tokio::test]
async fn a_taker_that_keeps_the_record_locked_for_a_while_costs_the_old_process_a_while() {
    let up = Upgrading::open().await;
    let [waits, refused] = [up.house.ready("paymega").await, up.house.ready("paymega").await];
    let mut line = up.house.private(Version::Http1).await;

    // One that fails, and is still ending.
    let (stand, lock) = with_the_lock(&up);
    drop(stand);
    let ask = waits.ask();
    let mut begun = line.begin(&ask, ask.body.len()).await.unwrap();
    line.complete(&mut begun).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(lock);
    let answer = line.answer(begun).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    up.house.assert_charged_once(&waits);
    assert_eq!(up.refused(1).await, ["gone"]);

    // One that is late is told that it comes to nothing, and takes its time to end.
    let (mut stand, lock) = with_the_lock(&up);
    assert_eq!(stand.stream.read(&mut [0]).unwrap(), 0, "the old process waits for it");
    let sent = up.house.sales_received();
    let mut other = up.house.private(Version::Http1).await;
    let described = Ask::get(&format!("/v1/tokens/{}", refused.tokens.token))
        .header("portcullis-key", up.house.world.key(App::Shop));
    assert_eq!(other.send(&described).await.status, 200, "the vault is still held");
    assert_problem(&line.send(&refused.ask()).await, 503, "audit_unavailable", "no");
    assert_eq!(up.house.operate(Method::GET, "/readyz").await.text(), "audit\n");
    assert_eq!(up.house.sales_received(), sent);
    drop(lock);
    let ready = async || up.house.operate(Method::GET, "/readyz").await.status == 200;
    let begun = std::time::Instant::now();
    while !ready().await {
        assert!(begun.elapsed() < SOON, "it never opens its record again");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    up.house.assert_pays(&mut line, &refused).await;
    assert_eq!(up.refused(2).await, ["gone", "late"]);
    assert_eq!((up.house.audited("stopped").len(), up.house.audited("started").len()), (2, 3));
}

/// Takes over and answers for the vault; whoever brings lines of the audit record waits until the
/// sender of `disk` is gone.
fn serve_with_a_slow_disk(up: &Upgrading, disk: Receiver<()>) -> [JoinHandle<()>; 2] {
    let mut stand = Stand::at(up, "1.key");
    stand.go_to(6);
    stand.send(SERVING, &[]);
    assert_eq!(stand.receive().0, GO);
    let lines = stand.lines.take().unwrap();
    let answers = std::thread::spawn(move || {
        while let Some((word, question)) = receive(&stand.stream) {
            assert_eq!(word, QUESTION);
            stand.send(ANSWER, &stand.vault.answer(&question));
        }
    });
    let writes = std::thread::spawn(move || {
        while let Some((LINES, _)) = receive(&lines) {
            let _ = disk.recv();
            let _ = send(&lines, ANSWER, &[1]);
        }
    });
    [answers, writes]
}

#[tokio::test]
async fn a_disk_that_holds_up_lines_costs_the_old_process_neither_the_vault_nor_later_lines() {
    let mut up = Upgrading::open().await;
    let [paid, held_up] = [up.house.ready("paymega").await, up.house.ready("paymega").await];
    let before = up.house.sales_received();
    up.house.world.paymega.faults().set("sale", Fault::Held);
    let mut slow = up.house.private(Version::Http1).await;
    let ask = paid.ask();
    let mut sale = slow.begin(&ask, ask.body.len()).await.unwrap();
    slow.complete(&mut sale).await.unwrap();
    let arrived = || (up.house.sales_received() > before).then_some(());
    until(SOON, arrived).await.unwrap();
    up.house.world.paymega.faults().clear();
    // Two connections on which a request has begun: an idle one is closed.
    let ask = held_up.ask();
    let [mut now, mut later] =
        [up.house.private(Version::Http1).await, up.house.private(Version::Http1).await];
    let mut refused = now.begin(&ask, 1).await.unwrap();
    let mut again = later.begin(&ask, 1).await.unwrap();

    let (disk, waits) = std::sync::mpsc::channel();
    let threads = serve_with_a_slow_disk(&up, waits);
    up.house.told_soon("handed_over", 1).await;
    now.complete(&mut refused).await.unwrap();
    let refused = now.answer(refused).await.unwrap();
    assert_problem(&refused, 503, "audit_unavailable", "no");
    up.house.world.paymega.faults().release();
    let answer = slow.answer(sale).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    up.house.assert_charged_once(&paid);
    drop(disk);
    later.complete(&mut again).await.unwrap();
    let answer = later.answer(again).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    up.house.assert_charged_once(&held_up);
    up.ends(None).await;
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

#[tokio::test]
async fn another_form_other_keys_and_a_lie_are_refused_and_change_nothing() {
    let mut up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    keygen(up.folder.path().join("2.key"));

    let mut newer = Stand::at(&up, "1.key");
    newer.hello(FORMAT + 1);
    let (word, body) = newer.receive();
    assert_eq!((word, body[0]), (REFUSED, 1));
    assert_eq!(&body[1..11], [b"pcupgrad".as_slice(), &FORMAT.to_be_bytes()].concat());
    let mut stranger = Stand::at(&up, "2.key");
    stranger.go_to(2);
    assert_eq!(stranger.receive(), {
        let mut told = vec![3];
        told.extend_from_slice(&body[1..]);
        (REFUSED, told)
    });
    let mut liar = Stand::at(&up, "1.key");
    liar.send(END, b"");
    assert_eq!(up.refused(3).await, ["format", "other_keys", "unexpected"]);

    let other = up.in_vain("other.toml", |text| text.replace("1.key", "2.key")).await;
    assert!(other.contains("vault.root_key or vault.root_keys are not the same"), "{other}");
    assert_eq!(up.refused(4).await[3], "gone");
    let narrow =
        up.in_vain("narrow.toml", |text| text.replace("capacity = 100000", "capacity = 1"));
    let narrow = narrow.await;
    assert!(narrow.contains("more records than vault.capacity"), "{narrow}");
    assert_eq!(up.refused(5).await[4], "declined");
    // Records of an account are nobody else's, and none of another mode.
    let another = up.in_vain("another.toml", |text| {
        text.replacen("provider = \"paymega\"", "provider = \"milkypay\"", 1)
    });
    let another = another.await;
    assert!(another.contains("account[0].provider: is another one than before"), "{another}");
    let live =
        up.in_vain("live.toml", |text| text.replace("mode = \"test\"", "mode = \"live\"")).await;
    assert!(live.contains("app[0].mode: is another one than before"), "{live}");
    assert!(live.contains("account[0].mode: is another one than before"), "{live}");
    assert_eq!(up.refused(7).await[5..], ["declined", "declined"]);
    let nowhere =
        up.in_vain("nowhere.toml", |text| text.replace("[upgrade]\nsocket", "[upgrade]\n#socket"));
    assert!(nowhere.await.contains("upgrade.socket: is required"));
    let off = |text: String| text.replace("[upgrade]\n", "").replace("socket = ", "# socket = ");
    let off = up.in_vain("off.toml", off).await;
    assert!(off.contains("upgrade.socket: is not set; --upgrade needs it"), "{off}");

    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &ready).await;
    let after = up.house.ready("paymega").await;
    let old = up.upgrade().await;
    up.ends(old).await;
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &after).await;
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
