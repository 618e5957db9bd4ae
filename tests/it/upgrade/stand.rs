//! Takers that break off, are late, lie or have a slow disk: a stand-in speaks their part.

use rustix::process::Uid;
use rustix::thread::set_thread_res_uid;

use super::*;

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

const FORMAT: u16 = 6;
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
    pub(super) async fn refused(&self, count: usize) -> Vec<Value> {
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
    pub(super) async fn in_vain(&self, config: &str, changed: impl Fn(String) -> String) -> String {
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

/// The socket's folder is this user's alone, which is what keeps others out; this is behind it.
#[tokio::test]
async fn a_process_of_another_user_gets_nothing() {
    let up = Upgrading::open().await;
    if !nix::unistd::Uid::effective().is_root() {
        return;
    }
    let socket = up.folder.path().join("upgrade.sock");
    for path in [up.folder.path(), &socket] {
        fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
    }
    let stranger = move || {
        let nobody = Uid::from_raw(65_534);
        set_thread_res_uid(nobody, nobody, nobody).unwrap();
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let _ = send(&stream, HELLO, &FORMAT.to_be_bytes());
        receive(&stream)
    };
    assert_eq!(std::thread::spawn(stranger).join().unwrap(), None);
    assert_eq!(up.refused(1).await, ["stranger"]);
    let ready = up.house.ready("paymega").await;
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &ready).await;
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
    let ended = stand.stream.read_exact(&mut [0]).unwrap_err().kind();
    assert_eq!(ended, ErrorKind::UnexpectedEof, "the old process waits for it");
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
/// sender of `disk` is gone. They are what its thread ends with.
fn serve_with_a_slow_disk(
    up: &Upgrading,
    disk: Receiver<()>,
) -> (JoinHandle<()>, JoinHandle<Vec<Value>>) {
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
        let mut written = Vec::new();
        while let Some((LINES, given)) = receive(&lines) {
            let _ = disk.recv();
            written.extend(read_lines(&given));
            let _ = send(&lines, ANSWER, &[1]);
        }
        written
    });
    (answers, writes)
}

/// Time, length, line; and so on.
fn read_lines(mut given: &[u8]) -> Vec<Value> {
    let mut lines = Vec::new();
    while let Some((head, rest)) = given.split_first_chunk::<12>() {
        let length = u32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let (line, rest) = rest.split_at(usize::try_from(length).unwrap());
        lines.push(serde_json::from_slice(line).unwrap());
        given = rest;
    }
    lines
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
    let (answers, writes) = serve_with_a_slow_disk(&up, waits);
    up.house.told_soon("handed_over", 1).await;
    now.complete(&mut refused).await.unwrap();
    let refused = now.answer(refused).await.unwrap();
    let refused = assert_problem(&refused, 503, "audit_unavailable", "no");
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
    answers.join().unwrap();
    // The line of what was refused has been written all the same, and is withdrawn.
    let id = &refused["request_id"];
    let written = writes.join().unwrap();
    let told = written.iter().filter(|line| line["request_id"] == *id);
    let told: Vec<_> = told.map(|line| (&line["event"], &line["forwarded"])).collect();
    assert_eq!(told, [(&"reveal".into(), &Value::Null), (&"outcome".into(), &"no".into())]);
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
    // Two cards, for a vault that has room for one.
    let second = up.house.ready("paymega").await;
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
    let old = up.upgrade().await;
    up.ends(old).await;
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &second).await;
}
