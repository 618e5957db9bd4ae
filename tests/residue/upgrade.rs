//! An upgrade: the new process has every record of the old one, and no card in clear of any.

use std::fs::{File, Permissions, read_dir, read_to_string, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use portcullis_sandbox::client::Call;
use portcullis_sandbox::record::until;

use super::house::House;
use super::load::{Plan, Worker};
use super::memory::scan;
use super::round::{AFTER_CLOSE, Keyed, at_rest};
use super::scan::Search;
use super::wanted;

/// Cards that go each way, before the upgrade and after it.
const EACH: usize = 32;
const SOON: Duration = Duration::from_secs(20);

/// The process that takes over; ended with the test.
struct Taker(Child);

impl Drop for Taker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Taker {
    /// Starts it, and waits until it serves and the old one is gone.
    async fn of(keyed: &Keyed) -> Self {
        let log = keyed.house.world.folder().join("logs/taker.log");
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["run", "--upgrade", "--config"])
            .arg(keyed.house.world.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn();
        let taker = Self(child.unwrap());
        let told = |event: &str| read_to_string(&log).unwrap().contains(event);
        let serves = || told("\"event\":\"started\"").then_some(());
        until(SOON, serves).await.expect("it does not serve");
        assert!(told("\"event\":\"taken_over\""), "an ordinary start");
        // A process that has ended has no open files, even while nobody has asked for its end.
        let files = format!("/proc/{}/fd", keyed.pid);
        let gone = || {
            let open = read_dir(&files).is_ok_and(|mut files| files.next().is_some());
            (!open).then_some(())
        };
        until(SOON, gone).await.expect("the old process is still there");
        taker
    }
}

pub(crate) fn an_upgrade_leaves_nothing_in_memory() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(upgrade());
}

async fn upgrade() {
    let folder = tempfile::tempdir().unwrap();
    set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();
    let keyed = Keyed::open_with(None, &meeting(&folder.path().join("upgrade.sock"))).await;
    let house = &keyed.house;
    let plan = Plan::of_each(EACH);
    let search = Arc::new(Search::of(&wanted::everything(plan.cards(), &keyed.root_key)));
    drop(plan.play(house, Worker::hire(house).await).await);
    let records = records(house).await;
    assert!(records > plan.cards() / 2, "{records} records to take over");

    let taker = Taker::of(&keyed).await;
    let pid = taker.0.id();
    tokio::time::sleep(AFTER_CLOSE).await;
    let taken = scan(pid, &search);
    taken.print("taken over");
    let workers = Worker::hire(house).await;
    let look = {
        let search = Arc::clone(&search);
        move || scan(pid, &search)
    };
    let (workers, under_way) = plan.meanwhile(house, workers, look).await;
    under_way.print("payments under way");
    let workers = plan.play(house, workers).await;
    let [open, closed] = at_rest(pid, &search, workers).await;
    // The new process is searched as the old one was: what it needs to hold at a time is found.
    assert!(under_way.hits().total() > 0, "nothing found of payments under way");
    assert_eq!(taken.hits().told(), "", "left by what was taken over");
    assert_eq!(open.told(), "", "left with connections open");
    assert_eq!(closed.told(), "", "left after connections closed");
}

fn meeting(socket: &Path) -> String {
    format!("\n[upgrade]\nsocket = {socket:?}\n")
}

/// How many the vault has.
async fn records(house: &House) -> usize {
    let url = format!("{}/metrics", house.world.addresses.admin);
    let text = house.world.client.send(Call::get(url)).await.unwrap().text();
    let line = text.lines().find_map(|line| line.strip_prefix("portcullis_vault_records "));
    line.unwrap().parse().unwrap()
}
