//! The record from outside: it is written, continued, rotated; whatever is done to it is named.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use proptest::prelude::*;
use tempfile::TempDir;

use super::queue::Lines;
use super::*;
use crate::card::{Mode, Token};
use crate::secret::SecretBytes;

fn key() -> AnchorKey {
    AnchorKey::new(SecretBytes::from_slice(&[7; 32]))
}

fn settings(folder: &Path) -> Settings {
    Settings { folder: folder.to_owned(), key: key(), flush: Flush::EveryRecord, file_bytes: 2_000 }
}

fn start(settings: &Settings) -> Result<Audit, JournalError> {
    // A process that another test begins has what is open here until it runs its own program.
    for _ in 0..50 {
        match start_once(settings) {
            Err(JournalError::Taken(_)) => thread::sleep(Duration::from_millis(10)),
            started => return started,
        }
    }
    start_once(settings)
}

fn start_once(settings: &Settings) -> Result<Audit, JournalError> {
    Audit::start(settings, &[Record::Started { version: "1" }], |_, _| {})
}

fn reveal(request_id: &str) -> Record<'_> {
    Record::Reveal {
        app: "shop",
        account: "paymega",
        route: "sale",
        token: None,
        pan: 1,
        cvv: 1,
        host: "psp.example",
        port: 443,
        way: Way::Server,
        request_id,
    }
}

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_042);

/// A record with `count` reveals, ended in order.
async fn written(folder: &Path, count: usize) {
    let audit = start(&settings(folder)).unwrap();
    for index in 0..count {
        audit.record(&reveal(&format!("r{index}")), NOW).await.unwrap();
    }
    audit.close(NOW);
}

fn proved(folder: &Path) -> Result<Proof, Broken> {
    verify(&files_in(folder).unwrap(), Some(&key()), None)
}

fn lines(folder: &Path) -> Vec<String> {
    let files = files_in(folder).unwrap();
    let texts = files.iter().map(|file| fs::read_to_string(file).unwrap());
    texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn a_line_says_who_got_which_card_and_nothing_that_opens_it() {
    let folder = TempDir::new().unwrap();
    let audit = start(&settings(folder.path())).unwrap();
    let token = Token::random(Mode::Test);
    let Record::Reveal { app, account, route, pan, cvv, host, port, way, request_id, .. } =
        reveal("abc")
    else {
        unreachable!()
    };
    let token_id = Some(token.id());
    let record = Record::Reveal {
        app,
        account,
        route,
        token: token_id,
        pan,
        cvv,
        host,
        port,
        way,
        request_id,
    };
    audit.record(&record, NOW).await.unwrap();
    let line = lines(folder.path()).pop().unwrap();
    let prev = &line[17..81];
    let expected = format!(
        "{{\"seq\":3,\"prev\":\"{prev}\",\"time\":\"2027-01-15T08:00:00.042Z\",\"event\":\"reveal\",\
         \"app\":\"shop\",\"account\":\"paymega\",\"route\":\"sale\",\"token\":\"{}\",\"pan\":1,\
         \"cvv\":1,\"host\":\"psp.example\",\"port\":443,\"way\":\"server\",\"request_id\":\"abc\"}}",
        token.id()
    );
    assert_eq!(line, expected);
    assert!(token.reveal(|text| !line.contains(&text[9..])));
    let before = lines(folder.path()).remove(1);
    assert_eq!(prev, Hash::of(before.as_bytes()).to_string());
}

#[tokio::test]
async fn a_record_is_whole_over_files_and_starts() {
    let folder = TempDir::new().unwrap();
    for _ in 0..3 {
        written(folder.path(), 20).await;
    }
    let files = files_in(folder.path()).unwrap();
    assert!(files.len() > 6, "{files:?}");
    assert!(files[0].ends_with("audit-000001.jsonl"));
    for file in &files {
        assert!(fs::metadata(file).unwrap().len() < 4_000);
        assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o137, 0);
    }
    let proof = proved(folder.path()).unwrap();
    assert!(proof.is_whole(), "{proof:?}");
    assert_eq!(proof.events["reveal"], 60);
    assert_eq!((proof.events["started"], proof.events["stopped"]), (3, 3));
    assert_eq!(proof.records, proof.last);
    // Without the key nothing is proved, with another one the first anchor is named.
    assert!(!verify(&files, None, None).unwrap().is_whole());
    let other = AnchorKey::new(SecretBytes::from_slice(&[8; 32]));
    let broken = verify(&files, Some(&other), None).unwrap_err();
    assert_eq!((broken.line, broken.fault), (2, Fault::Forged { proved: 0 }));
}

#[tokio::test]
async fn what_was_kept_elsewhere_shows_that_the_end_was_cut_off() {
    let folder = TempDir::new().unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&told);
    let settings = settings(folder.path());
    let audit = Audit::start(&settings, &[Record::Started { version: "1" }], move |at, hash| {
        keep.lock().unwrap().push((at, *hash));
    });
    let audit = audit.unwrap();
    audit.record(&reveal("a"), NOW).await.unwrap();
    audit.close(NOW);
    let told = told.lock().unwrap().clone();
    assert_eq!(told.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [2, 5]);
    let files = files_in(folder.path()).unwrap();
    let last = Some(told[1].1);
    assert!(verify(&files, Some(&key()), last).unwrap().is_whole());
    // Cut back to the anchor before: whole by itself, but not what was.
    let text = fs::read_to_string(&files[0]).unwrap();
    let kept: String = text.lines().take(2).map(|line| format!("{line}\n")).collect();
    fs::write(&files[0], kept).unwrap();
    assert!(proved(folder.path()).unwrap().is_whole());
    let proof = verify(&files, Some(&key()), last).unwrap();
    assert_eq!((proof.holds, proof.is_whole()), (Some(false), false));
}

#[tokio::test]
async fn a_process_that_was_killed_costs_no_line_and_the_chain_goes_on() {
    let folder = TempDir::new().unwrap();
    let settings =
        Settings { flush: Flush::Interval(Duration::from_secs(60)), ..settings(folder.path()) };
    let audit = start(&settings).unwrap();
    audit.record(&reveal("a"), NOW).await.unwrap();
    // As a killed process would leave it, but for the lock, which ends with a process.
    let copy = TempDir::new().unwrap();
    for file in files_in(folder.path()).unwrap() {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    let proof = proved(copy.path()).unwrap();
    assert_eq!((proof.unanchored, proof.is_whole()), (1, false));
    written(copy.path(), 1).await;
    let proof = proved(copy.path()).unwrap();
    assert!(proof.is_whole());
    assert_eq!(proof.events["reveal"], 2);
}

#[tokio::test]
async fn a_second_process_does_not_write_the_same_record() {
    let folder = TempDir::new().unwrap();
    let _first = start(&settings(folder.path())).unwrap();
    let second = start_once(&settings(folder.path())).unwrap_err().to_string();
    assert!(second.ends_with("another process writes there"), "{second}");
}

#[tokio::test]
async fn what_the_system_refuses_is_told_in_its_own_words() {
    let folder = TempDir::new().unwrap();
    let words = "No such device or address (os error 6)";
    let path = folder.path().join("audit.lock");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let refused = start(&settings(folder.path())).unwrap_err().to_string();
    assert!(refused.ends_with(&format!("audit.lock: {words}")), "{refused}");
    let broken = verify(&[path], Some(&key()), None).unwrap_err().to_string();
    assert!(broken.ends_with(&format!("cannot be read: {words}")), "{broken}");
}

#[tokio::test]
async fn files_that_somebody_else_keeps_are_taken_back_and_lines_wait_for_them_a_while() {
    for flush in [Flush::EveryRecord, Flush::Interval(Duration::from_millis(10))] {
        let folder = TempDir::new().unwrap();
        let settings = Settings { flush, ..settings(folder.path()) };
        for (name, longer) in [("waits", false), ("refused", true)] {
            let audit = Arc::new(start(&settings).unwrap());
            let (released, is_released) = tokio::sync::oneshot::channel();
            let (taken, is_taken) = std::sync::mpsc::channel::<()>();
            let own = Arc::clone(&audit);
            let back = tokio::task::spawn_blocking(move || {
                let files = own.release().unwrap();
                released.send(()).unwrap();
                is_taken.recv().unwrap();
                files.take_back(&[Record::Started { version: "back" }])
            });
            is_released.await.unwrap();
            let other = start(&settings).unwrap();
            taken.send(()).unwrap();
            let record = reveal(name);
            let mut recording = Box::pin(audit.record(&record, NOW));
            let wait = tokio::time::timeout(Duration::from_millis(200), &mut recording);
            assert!(wait.await.is_err(), "{name}: it does not wait");
            if longer {
                assert_eq!(recording.await, Err(NotRecorded), "{flush:?}");
                assert!(!audit.is_up());
                other.close(NOW);
            } else {
                other.close(NOW);
                recording.await.unwrap();
            }
            back.await.unwrap().unwrap();
            assert!(audit.is_up());
            audit.record(&reveal("later"), NOW).await.unwrap();
            audit.close(NOW);
        }
        let there = lines(folder.path()).join("\n");
        assert!(there.contains("\"waits\"") && !there.contains("\"refused\""), "{there}");
        assert_eq!(there.matches("\"later\"").count(), 2);
        proved(folder.path()).unwrap();
    }
}

#[tokio::test]
async fn a_broken_record_is_not_continued() {
    for (change, told) in [
        ("cut", "audit-000001.jsonl:5: the line is cut short"),
        ("altered", "audit-000001.jsonl:3: the line was altered"),
        ("gone", "audit-000001.jsonl:3: record 3 is missing before this line"),
    ] {
        let folder = TempDir::new().unwrap();
        written(folder.path(), 1).await;
        let file = &files_in(folder.path()).unwrap()[0];
        let text = fs::read_to_string(file).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        let altered = lines[2].replace("shop", "stall");
        let text = match change {
            "cut" => text[..text.len() - 5].to_owned(),
            "altered" => {
                lines[2] = &altered;
                lines.join("\n") + "\n"
            }
            _ => {
                lines.remove(2);
                lines.join("\n") + "\n"
            }
        };
        fs::write(file, text).unwrap();
        let refused = start(&settings(folder.path())).unwrap_err().to_string();
        assert!(refused.contains(told), "{change}: {refused}");
        assert!(refused.contains("move them to another folder"), "{refused}");
    }
}

/// A forger without the key alters a line and makes every digest behind it right.
#[tokio::test]
async fn a_chain_that_was_written_anew_does_not_pass_the_anchors() {
    let folder = TempDir::new().unwrap();
    written(folder.path(), 3).await;
    let file = &files_in(folder.path()).unwrap()[0];
    let text = fs::read_to_string(file).unwrap();
    let (mut forged, mut last) = (String::new(), Hash::NONE);
    for (index, line) in text.lines().enumerate() {
        let (head, rest) = line.split_once("\"prev\":\"").unwrap();
        let mut line = format!("{head}\"prev\":\"{last}{}", &rest[64..]);
        if index == 3 {
            line = line.replace("shop", "stall");
        }
        last = Hash::of(line.as_bytes());
        forged.push_str(&line);
        forged.push('\n');
    }
    assert!(forged.contains("stall") && forged.starts_with(&text[..600]));
    fs::write(file, forged).unwrap();
    let broken = proved(folder.path()).unwrap_err();
    assert_eq!((broken.line, broken.fault), (7, Fault::Forged { proved: 2 }));
}

#[tokio::test]
async fn without_room_on_the_disk_nothing_is_recorded_and_the_file_stays_whole() {
    let folder = TempDir::new().unwrap();
    let settings = settings(folder.path());
    let audit = start(&Settings { file_bytes: 1, ..settings }).unwrap();
    // The second file lies on a full disk.
    let full = folder.path().join("audit-000002.jsonl");
    symlink("/dev/full", &full).unwrap();
    for _ in 0..3 {
        assert_eq!(audit.record(&reveal("a"), NOW).await, Err(NotRecorded));
        assert!(!audit.is_up());
    }
    audit.note(&Record::Outcome { request_id: "b", forwarded: "unknown" }, NOW);
    fs::remove_file(full).unwrap();
    assert_eq!(audit.record(&reveal("c"), NOW).await, Ok(()));
    assert!(audit.is_up());
    audit.close(NOW);
    let proof = proved(folder.path()).unwrap();
    assert!(proof.is_whole(), "{proof:?}");
    assert_eq!((proof.events["reveal"], proof.events["outcome"]), (1, 1));
}

/// Set in a process of its own, whose descriptors run out.
const FEW_DESCRIPTORS: &str = "PORTCULLIS_FEW_DESCRIPTORS";

#[tokio::test]
async fn a_next_file_whose_folder_could_not_be_synced_is_no_hindrance_to_the_next_attempt() {
    if std::env::var_os(FEW_DESCRIPTORS).is_none() {
        let test = concat!(
            "audit::tests::",
            "a_next_file_whose_folder_could_not_be_synced_is_no_hindrance_to_the_next_attempt"
        );
        let limited = "ulimit -n 64 && exec \"$0\" --exact \"$1\" --nocapture";
        let mut apart = std::process::Command::new("sh");
        apart.args(["-c", limited]).arg(std::env::current_exe().unwrap()).arg(test);
        let output = apart.env(FEW_DESCRIPTORS, "1").output().unwrap();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && told.contains("1 passed"), "{output:?}");
        return;
    }
    let folder = TempDir::new().unwrap();
    let audit = start(&Settings { file_bytes: 1, ..settings(folder.path()) }).unwrap();
    let mut open: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    // One is left: it makes the next file, and the folder is not opened.
    open.pop();
    for _ in 0..3 {
        assert_eq!(audit.record(&reveal("a"), NOW).await, Err(NotRecorded));
        assert!(!audit.is_up());
        assert!(folder.path().join("audit-000002.jsonl").exists());
    }
    drop(open);
    assert_eq!(audit.record(&reveal("b"), NOW).await, Ok(()));
    assert!(audit.is_up());
    audit.close(NOW);
    let proof = proved(folder.path()).unwrap();
    assert!(proof.is_whole(), "{proof:?}");
    assert_eq!(proof.events["reveal"], 1);
}

#[tokio::test]
async fn what_comes_after_the_end_is_refused() {
    let folder = TempDir::new().unwrap();
    let audit = start(&settings(folder.path())).unwrap();
    audit.close(NOW);
    assert_eq!(audit.record(&reveal("a"), NOW).await, Err(NotRecorded));
    assert!(!audit.is_up());
    audit.close(NOW);
    assert_eq!(proved(folder.path()).unwrap().events.get("reveal"), None);
}

/// Hangs until this is gone.
struct Disk(Option<Sender<()>>, Option<JoinHandle<()>>);

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.0.take());
        self.1.take().unwrap().join().unwrap();
    }
}

fn hang(keeper: &Arc<Keeper>) -> Disk {
    let (held, holds) = channel();
    let (let_go, waits) = channel::<()>();
    let files = Arc::clone(keeper);
    let disk = thread::spawn(move || {
        let _files = files.sink();
        held.send(()).unwrap();
        let _ = waits.recv();
    });
    holds.recv().unwrap();
    Disk(Some(let_go), Some(disk))
}

/// As long as that takes, as far as the queue knows.
async fn wait_in_vain(keeper: &Keeper) {
    tokio::time::sleep(Duration::from_millis(50)).await;
    keeper.queue.give_up(Instant::now() + RECORD_MAX, RECORD_MAX);
}

#[tokio::test]
async fn a_disk_that_hangs_holds_nobody_and_the_record_says_that_nothing_left() {
    for flush in [Flush::EveryRecord, Flush::Interval(Duration::from_millis(10))] {
        let folder = TempDir::new().unwrap();
        let audit = start(&Settings { flush, ..settings(folder.path()) }).unwrap();
        audit.record(&reveal("before"), NOW).await.unwrap();
        let keeper = Arc::clone(audit.0.as_ref().unwrap());
        let disk = hang(&keeper);

        let late = reveal("late");
        assert!(audit.is_up());
        let (late, ()) = tokio::join!(audit.record(&late, NOW), wait_in_vain(&keeper));
        assert_eq!(late, Err(NotRecorded));
        assert!(!audit.is_up());
        let begun = Instant::now();
        assert_eq!(audit.record(&reveal("refused"), NOW).await, Err(NotRecorded));
        assert!(begun.elapsed() < Duration::from_secs(1), "it waits for what hangs");

        drop(disk);
        for _ in 0..500 {
            if !audit.is_up() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(audit.is_up());
        audit.record(&reveal("after"), NOW).await.unwrap();
        audit.close(NOW);
        let proof = proved(folder.path()).unwrap();
        assert!(proof.is_whole(), "{proof:?}");
        let told = [("reveal", "before"), ("reveal", "late"), ("outcome", "late")];
        let told = [&told[..], &[("reveal", "after")]].concat();
        let expected: Vec<_> = told.iter().map(|(event, id)| format!("{event} {id}")).collect();
        assert_eq!(reveals_and_outcomes(folder.path()), expected);
    }
}

#[tokio::test]
async fn a_change_that_the_disk_held_up_is_withdrawn_where_its_line_is_written() {
    let folder = TempDir::new().unwrap();
    let audit = start(&settings(folder.path())).unwrap();
    let keeper = Arc::clone(audit.0.as_ref().unwrap());
    let disk = hang(&keeper);
    let digest = Hash::parse("0f".repeat(32).as_bytes()).unwrap();
    let configured = Record::Configured { digest, dangers: &[] };
    let (late, ()) = tokio::join!(audit.record(&configured, NOW), wait_in_vain(&keeper));
    assert_eq!(late, Err(NotRecorded));
    drop(disk);
    audit.close(NOW);
    let events = &proved(folder.path()).unwrap().events;
    assert_eq!((events["configured"], events["not_configured"]), (1, 1));
    let there = lines(folder.path()).join("\n");
    let told = format!("\"event\":\"not_configured\",\"digest\":\"{digest}\"}}");
    let [line, withdrawn] = [there.find("\"configured\"").unwrap(), there.find(&told).unwrap()];
    assert!(line < withdrawn, "{there}");
}

#[tokio::test]
async fn lines_of_which_the_next_process_says_nothing_are_withdrawn_or_handed_over_again() {
    let folder = TempDir::new().unwrap();
    let audit = start(&settings(folder.path())).unwrap();
    let released = audit.release().unwrap();
    let successor = Arc::new(start(&settings(folder.path())).unwrap());
    let (given, gives) = channel();
    let (answer, answers) = channel();
    released.give_up(Box::new(move |lines| {
        given.send(lines.to_vec()).unwrap();
        answers.recv().unwrap()
    }));
    let next = || gives.recv_timeout(Duration::from_secs(10)).unwrap();
    let outcome = |request_id| Record::Outcome { request_id, forwarded: "no" };

    audit.note(&outcome("before"), NOW);
    let refused = reveal("refused");
    answer.send(Given::Refused).unwrap();
    assert_eq!(audit.record(&refused, NOW).await, Err(NotRecorded));
    assert!(!audit.is_up());
    drop(next());
    let late = reveal("late");
    answer.send(Given::Unknown).unwrap();
    assert_eq!(audit.record(&late, NOW).await, Err(NotRecorded));
    assert_eq!(successor.record_given(&next()).await, Given::Written);
    answer.send(Given::Written).unwrap();
    assert_eq!(successor.record_given(&next()).await, Given::Written);
    answer.send(Given::Written).unwrap();
    audit.record(&reveal("after"), NOW).await.unwrap();
    assert_eq!(successor.record_given(&next()).await, Given::Written);
    successor.close(NOW);
    let told = ["outcome before", "reveal late", "outcome before", "outcome late", "reveal after"];
    assert_eq!(reveals_and_outcomes(folder.path()), told);
    assert!(proved(folder.path()).unwrap().is_whole());
}

#[tokio::test]
async fn a_process_that_is_given_lines_tells_what_is_refused_from_what_is_late() {
    let folder = TempDir::new().unwrap();
    let audit = start(&settings(folder.path())).unwrap();
    let mut given = Lines::default();
    given.push(&reveal("late"), NOW, false);
    let given = handover::write(&given);
    assert_eq!(audit.record_given(b"no lines").await, Given::Refused);
    let keeper = Arc::clone(audit.0.as_ref().unwrap());
    let disk = hang(&keeper);
    let (late, ()) = tokio::join!(audit.record_given(&given), wait_in_vain(&keeper));
    assert_eq!(late, Given::Unknown);
    assert_eq!(audit.record_given(&given).await, Given::Refused);
    drop(disk);
    audit.close(NOW);
    assert_eq!(audit.record_given(&given).await, Given::Refused);
    assert_eq!(proved(folder.path()).unwrap().events["reveal"], 1);
}

#[tokio::test]
async fn a_record_that_is_handed_over_is_up_at_once() {
    let folder = TempDir::new().unwrap();
    let flush = Flush::Interval(Duration::from_secs(60));
    let audit = start(&Settings { flush, ..settings(folder.path()) }).unwrap();
    let released = audit.release().unwrap();
    let keeper = Arc::clone(audit.0.as_ref().unwrap());
    let late = reveal("late");
    let (late, ()) = tokio::join!(audit.record(&late, NOW), wait_in_vain(&keeper));
    assert_eq!(late, Err(NotRecorded));
    assert!(!audit.is_up());
    released.give_up(Box::new(|_| Given::Written));
    assert!(audit.is_up());
    audit.record(&reveal("after"), NOW).await.unwrap();
}

/// What card data was about, in order; every outcome says that nothing left.
fn reveals_and_outcomes(folder: &Path) -> Vec<String> {
    let value = |line: &str, name: &str| {
        let (_, rest) = line.split_once(&format!("\"{name}\":\""))?;
        rest.split_once('"').map(|(value, _)| value.to_owned())
    };
    let told = |line: &String| {
        let event = value(line, "event").filter(|event| event == "reveal" || event == "outcome")?;
        assert!(event == "reveal" || value(line, "forwarded").as_deref() == Some("no"), "{line}");
        value(line, "request_id").map(|id| format!("{event} {id}"))
    };
    lines(folder).iter().filter_map(told).collect()
}

#[tokio::test]
async fn lines_of_many_at_once_are_all_there() {
    let folder = TempDir::new().unwrap();
    let settings = Settings { file_bytes: 100_000, ..settings(folder.path()) };
    let audit = Arc::new(start(&settings).unwrap());
    let many = (0..500).map(|index| {
        let audit = Arc::clone(&audit);
        tokio::spawn(async move { audit.record(&reveal(&format!("r{index}")), NOW).await })
    });
    for one in many.collect::<Vec<_>>() {
        one.await.unwrap().unwrap();
    }
    audit.close(NOW);
    let proof = proved(folder.path()).unwrap();
    assert!(proof.is_whole());
    assert_eq!(proof.events["reveal"], 500);
}

/// What is done to one line, and where.
#[derive(Debug, Clone, Copy)]
enum Done {
    Deleted,
    Altered(usize),
    Swapped,
    Doubled,
}

fn done() -> impl Strategy<Value = Done> {
    prop_oneof![
        Just(Done::Deleted),
        (0_usize..1_000).prop_map(Done::Altered),
        Just(Done::Swapped),
        Just(Done::Doubled),
    ]
}

/// Does it; returns the lines (counted over all files) of which one has to be named.
fn tamper(lines: &mut Vec<String>, at: usize, done: Done) -> Vec<usize> {
    match done {
        Done::Deleted => {
            lines.remove(at);
            vec![at]
        }
        Done::Altered(place) => {
            let place = place % lines[at].len();
            let other = if lines[at].as_bytes()[place] == b'1' { "2" } else { "1" };
            lines[at].replace_range(place..=place, other);
            vec![at]
        }
        Done::Swapped => {
            let other = if at + 1 == lines.len() { at - 1 } else { at + 1 };
            lines.swap(at, other);
            vec![at.min(other), at.max(other)]
        }
        Done::Doubled => {
            let line = lines[at].clone();
            lines.insert(at, line);
            vec![at + 1]
        }
    }
}

fn record_once() -> &'static [(PathBuf, Vec<String>)] {
    use std::sync::OnceLock;
    static RECORD: OnceLock<Vec<(PathBuf, Vec<String>)>> = OnceLock::new();
    RECORD.get_or_init(|| {
        let folder = TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for _ in 0..2 {
            runtime.block_on(written(folder.path(), 12));
        }
        let files = files_in(folder.path()).unwrap();
        let read = |file: &PathBuf| {
            let text = fs::read_to_string(file).unwrap();
            (file.file_name().unwrap().into(), text.lines().map(str::to_owned).collect())
        };
        files.iter().map(read).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(400)
    })]

    #[test]
    fn one_line_deleted_altered_moved_or_doubled_is_named(at in 0_usize..1_000, done in done()) {
        let record = record_once();
        let total: usize = record.iter().map(|(_, lines)| lines.len()).sum();
        let mut at = at % total;
        let folder = TempDir::new().unwrap();
        let mut named = Vec::new();
        for (name, lines) in record {
            let mut lines = lines.clone();
            let file = folder.path().join(name);
            if at < lines.len() {
                let places = tamper(&mut lines, at, done);
                named = places.iter().map(|place| (file.clone(), *place as u64 + 1)).collect();
                at = usize::MAX;
            } else {
                at = at.saturating_sub(lines.len());
            }
            fs::write(&file, lines.iter().map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }
        match proved(folder.path()) {
            Ok(proof) => {
                // Nothing follows that knows it: the first or the last line is not there.
                prop_assert!(matches!(done, Done::Deleted), "{:?} {:?}", done, proof);
                prop_assert!(!proof.is_whole(), "{:?} {:?}", done, proof);
            }
            Err(broken) => {
                let seen = (broken.file.clone(), broken.line);
                // The last line of a file that is gone is missed at the first of the next.
                let next = matches!(done, Done::Deleted) && broken.line == 1;
                prop_assert!(named.contains(&seen) || next, "{}: {:?} {:?}", broken, done, named);
                prop_assert!(
                    !matches!(done, Done::Deleted)
                        || matches!(broken.fault, Fault::Missing { count: 1, .. }),
                    "{}", broken
                );
            }
        }
    }
}

/// The last line of a record is an anchor, and no later line knows it.
#[test]
fn a_last_anchor_under_another_name_is_named() {
    let (name, mut lines) = record_once().last().unwrap().clone();
    let last = lines.last_mut().unwrap();
    assert!(last.contains(r#""event":"anchor""#));
    *last = last.replace("anchor", "1nchor");
    let folder = TempDir::new().unwrap();
    for (other, lines) in record_once() {
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        fs::write(folder.path().join(other), text).unwrap();
    }
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.path().join(name), text).unwrap();
    assert_eq!(proved(folder.path()).unwrap_err().fault, Fault::Altered);
}

#[test]
fn a_file_that_is_not_a_record_is_named() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("audit-000001.jsonl");
    File::create(&file).unwrap();
    assert_eq!(proved(folder.path()).unwrap().records, 0);
    fs::write(&file, "{}\n").unwrap();
    assert_eq!(proved(folder.path()).unwrap_err().fault, Fault::Altered);
    let missing = vec![folder.path().join("none")];
    let broken = verify(&missing, None, None).unwrap_err();
    assert!(
        broken.to_string().ends_with("cannot be read: No such file or directory (os error 2)"),
        "{broken}"
    );
}

#[test]
fn a_hash_is_read_from_its_sixty_four_digits_alone() {
    let digits = "0f".repeat(32);
    let read = |text: &str| Hash::parse(text.as_bytes()).map(|hash| hash.to_string());
    assert_eq!(read(&digits), Some(digits.clone()));
    for bad in [&digits[2..], &format!("{digits}0f"), &digits.replace('f', "F"), ""] {
        assert_eq!(read(bad), None, "{bad}");
    }
}
