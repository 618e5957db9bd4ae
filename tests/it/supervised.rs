//! The process under a supervisor: a real socket hears what it says of itself, confined as it is
//! shipped.

use std::fs::File;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram as StdDatagram};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use portcullis_sandbox::random;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixDatagram;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::house::House;
use super::line::Version;

const SOON: Duration = Duration::from_secs(20);
const SERVING: &str = "READY=1\nSTATUS=Serving";
const REFUSED: &str =
    "READY=1\nSTATUS=Serving as before: the configuration was refused, see the log";
const STOPPING: &str = "STOPPING=1\nSTATUS=Finishing what is under way";

/// A supervisor's ear.
pub(super) struct Ear {
    socket: UnixDatagram,
    /// As `NOTIFY_SOCKET` has it.
    pub(super) address: String,
    _folder: Option<TempDir>,
}

impl Ear {
    pub(super) fn at_a_path() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = StdDatagram::bind(&path).unwrap();
        Self::of(socket, path.to_str().unwrap().to_owned(), Some(folder))
    }

    fn of_a_name() -> Self {
        let name = format!("portcullis-{}", random::letters(16));
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Self::of(StdDatagram::bind_addr(&address).unwrap(), format!("@{name}"), None)
    }

    fn of(socket: StdDatagram, address: String, folder: Option<TempDir>) -> Self {
        socket.set_nonblocking(true).unwrap();
        Self { socket: UnixDatagram::from_std(socket).unwrap(), address, _folder: folder }
    }

    /// The next that is said, whatever it is.
    async fn next(&self) -> String {
        let mut text = [0; 1000];
        let heard = timeout(SOON, self.socket.recv(&mut text)).await.expect("nothing is said");
        String::from_utf8(text[..heard.unwrap()].to_vec()).unwrap()
    }

    /// The next that is said besides that it lives.
    pub(super) async fn hears(&self) -> String {
        loop {
            let text = self.next().await;
            if text != "WATCHDOG=1" {
                return text;
            }
        }
    }

    /// Everything that was said and not heard yet.
    pub(super) fn rest(&self) -> String {
        let mut rest = String::new();
        let mut text = [0; 1000];
        while let Ok(length) = self.socket.try_recv(&mut text) {
            rest.push_str(std::str::from_utf8(&text[..length]).unwrap());
        }
        rest
    }

    /// When it began to read its configuration, in its own time.
    async fn hears_reloading(&self) -> u64 {
        let text = self.hears().await;
        let time = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&text);
        time.strip_suffix("\nSTATUS=Reading its configuration").unwrap().parse().unwrap()
    }
}

/// Ends the house's own process and starts one on the same configuration that is looked after.
async fn supervised(house: &House, ear: &Ear, more: &[(&str, &str)]) -> Child {
    house.terminate();
    house.stopped().await;
    let log = File::create(house.world.folder().join("logs/supervised.log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.args(["run", "--config"]).arg(house.world.config()).env("NOTIFY_SOCKET", &ear.address);
    command.envs(more.iter().copied()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command.kill_on_drop(true).spawn().unwrap()
}

fn send(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().unwrap().cast_signed()), signal).unwrap();
}

/// The kernel holds the process to its lists.
fn assert_confined(house: &House) {
    let log = std::fs::read_to_string(house.world.folder().join("logs/supervised.log")).unwrap();
    let line = log.lines().find(|line| line.contains("\"event\":\"started\"")).unwrap();
    let started: Value = serde_json::from_str(line).unwrap();
    assert_eq!(started["process"]["seccomp"], true);
    let landlock = Path::new("/sys/kernel/security/landlock").exists();
    assert!(started["process"]["landlock"].as_u64().unwrap() > 0 || !landlock);
    assert!(!log.contains("no_supervisor"), "{log}");
}

#[tokio::test]
async fn a_supervisor_hears_of_the_start_of_reloads_and_of_the_stop() {
    for ear in [Ear::at_a_path(), Ear::of_a_name()] {
        let house = House::open().await;
        let mut child = supervised(&house, &ear, &[]).await;
        assert_eq!(ear.hears().await, SERVING);
        // Whoever waited for that is served at once, and may send it SIGHUP.
        let ready = house.ready("paymega").await;
        house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
        assert_confined(&house);
        assert_eq!(ear.rest(), "", "nobody asked to hear that it lives");

        let begun = Instant::now();
        send(&child, Signal::SIGHUP);
        let first = ear.hears_reloading().await;
        assert_eq!(ear.hears().await, SERVING);
        let good = house.config_text();
        house.write_config(&format!("{good}\n[valut]\n"));
        send(&child, Signal::SIGHUP);
        let second = ear.hears_reloading().await;
        assert_eq!(ear.hears().await, REFUSED);
        house.write_config(&good);
        let passed = u64::try_from(begun.elapsed().as_micros()).unwrap();
        assert!((1..=passed).contains(&(second - first)), "{first} {second} {passed}");
        assert_eq!(house.reload().await.status, 200);
        ear.hears_reloading().await;
        assert_eq!(ear.hears().await, SERVING);

        send(&child, Signal::SIGTERM);
        assert_eq!(ear.hears().await, STOPPING);
        let ended = timeout(SOON, child.wait()).await.unwrap().unwrap();
        assert_eq!((ended.code(), ear.rest()), (Some(0), String::new()));
    }
}

#[tokio::test]
async fn a_watchdog_hears_that_the_process_lives_twice_within_its_time() {
    let (house, ear) = (House::open().await, Ear::at_a_path());
    let child = supervised(&house, &ear, &[("WATCHDOG_USEC", "400000")]).await;
    assert_eq!(ear.hears().await, SERVING);
    let begun = Instant::now();
    for _ in 0..10 {
        assert_eq!(ear.next().await, "WATCHDOG=1");
    }
    // Ten in the time of five, and as much again for a busy machine.
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    // A process that stands still says nothing.
    send(&child, Signal::SIGSTOP);
    tokio::time::sleep(Duration::from_millis(50)).await;
    ear.rest();
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(ear.rest(), "");
    send(&child, Signal::SIGCONT);
    assert_eq!(ear.next().await, "WATCHDOG=1");
}

#[tokio::test]
async fn a_watchdog_of_another_process_hears_nothing_and_one_that_is_gone_holds_nobody_up() {
    let (house, ear) = (House::open().await, Ear::at_a_path());
    let others = [("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")];
    let mut child = supervised(&house, &ear, &others).await;
    assert_eq!(ear.next().await, SERVING);
    let ready = house.ready("paymega").await;
    assert_eq!(ear.rest(), "");
    drop(ear);
    assert_eq!(house.reload().await.status, 200);
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    send(&child, Signal::SIGTERM);
    assert_eq!(timeout(SOON, child.wait()).await.unwrap().unwrap().code(), Some(0));
}
