//! A panic beside a card. Nothing in the product can be asked to panic, so the machine is short of
//! memory: to look up a host that is called from outside takes a thread, and where the system makes
//! none, tokio panics in the look-up's task, while a card form that is filled in waits for it.

use std::sync::Arc;

use super::house::{House, free_ports};
use super::load::Worker;
use super::memory::scan;
use super::round::{AFTER_ANSWER, AFTER_CLOSE, Build, Keyed};
use super::scan::{Hits, Search};
use super::short::{self, with_variable};
use super::wanted;
use super::ways::{Way, card_form, pay};

/// Forms of each worker: with tokens, and with the card itself.
const EACH: usize = 2;

pub(crate) fn a_panic_beside_a_card_leaves_nothing_in_memory() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let [open, closed] = runtime.block_on(panicking(Build::Product));
    assert_eq!(open.told(), "", "left with connections open");
    assert_eq!(closed.told(), "", "left after connections closed");
    let [open, closed] = runtime.block_on(panicking(Build::Mutant));
    assert!(open.total() > 0 && closed.total() > 0, "nothing found in the mutant");
}

async fn panicking(build: Build) -> [Hits; 2] {
    let folder = tempfile::tempdir().unwrap();
    let program = match build {
        Build::Product => env!("CARGO_BIN_EXE_portcullis").into(),
        Build::Mutant => std::env::current_exe().unwrap(),
    };
    let program = with_variable(folder.path(), short::STACK, &program);
    let [port] = free_ports();
    let mut keyed =
        Keyed::open_adjusted(Some(program), move |config| short::payform_also_at(&config, port))
            .await;
    Arc::get_mut(&mut keyed.house).unwrap().panics = true;
    let (house, pid) = (&keyed.house, keyed.pid);
    let elsewhere = format!("https://localhost:{port}");
    house.world.qostiq.quirks(|quirks| quirks.payform_host = Some(elsewhere));

    let mut posts = Vec::new();
    let mut workers = Worker::hire(house).await;
    for worker in &mut workers {
        for _ in 0..EACH {
            let card = wanted::card(posts.len());
            let ask = card_form(worker, "qostiq", &card, posts.len() % EACH == 1).await;
            posts.push((worker.open(true).await, ask));
        }
    }
    let search = Search::of(&wanted::everything(posts.len(), &keyed.root_key));

    short::take_threads(pid);
    let mut lines = Vec::new();
    for (mut line, ask) in posts {
        let answer = line.send(&ask).await;
        assert_eq!(answer.status, 503, "{}", answer.text());
        lines.push(line);
    }
    short::give_threads(pid);
    tokio::time::sleep(AFTER_ANSWER).await;
    let open = scan(pid, &search);
    open.print("behind panics");
    let log = String::from_utf8(house.log()).unwrap();
    let told = lines_with(&log, r#""event":"panicked""#);
    assert!(told >= lines.len(), "{told} panics");
    // Each had its card put in, and none of it left.
    let record = record(house);
    assert_eq!(lines_with(&record, &format!(r#""port":{port}"#)), lines.len());
    let withheld = r#""forwarded":"no""#;
    assert_eq!(lines_with(&record, withheld), lines.len());
    assert_eq!(lines_with(&record, r#""event":"outcome""#), lines.len());
    drop((lines, workers));
    tokio::time::sleep(AFTER_CLOSE).await;
    let closed = scan(pid, &search);
    closed.print("after they closed");
    // Whatever a request did, the next one is served.
    house.world.qostiq.behave();
    let mut worker = Worker::hire(house).await.remove(0);
    pay(&mut worker, Way::Form("qostiq"), told, wanted::card(told)).await;
    [open.hits(), closed.hits()]
}

fn lines_with(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

/// The audit record: a line for every card that leaves, before it does.
fn record(house: &House) -> String {
    let files = portcullis::audit::files_in(&house.world.folder().join("audit/portcullis"));
    files.unwrap().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}
