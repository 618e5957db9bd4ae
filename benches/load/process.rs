//! The proxies as processes: started on a core of their own, measured from outside, ended.

use std::fs::{self, File};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::ports::{Hop, Peer};
use super::world::World;

/// The core that the measured proxy has; the provider and the clients share core 0.
const CORE: &str = "1";
const START_MAX: Duration = Duration::from_secs(15);

/// A running proxy.
pub struct Running {
    /// Which.
    pub peer: Peer,
    child: Child,
}

impl Running {
    /// Starts it and waits until it takes connections.
    pub fn start(peer: Peer, world: &World, product: &Path, pinned: bool) -> Self {
        let file = |name: &str| world.path().join(name).to_string_lossy().into_owned();
        let nginx = |config: &str| vec!["nginx".to_owned(), "-c".to_owned(), file(config)];
        let own = std::env::current_exe().unwrap().to_string_lossy().into_owned();
        let command = match peer {
            Peer::Portcullis | Peer::Other => {
                let product = product.to_string_lossy().into_owned();
                let config = if peer == Peer::Other { "other.toml" } else { "portcullis.toml" };
                vec![product, "run".to_owned(), "--config".to_owned(), file(config)]
            }
            Peer::Nginx => nginx("nginx.conf"),
            Peer::Lua => nginx("lua.conf"),
            Peer::Haproxy => vec!["haproxy".to_owned(), "-f".to_owned(), file("haproxy.cfg")],
            Peer::Bare => vec![own, "bare".to_owned(), file("")],
        };
        let port = peer.port(Hop::Tls);
        assert!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            "127.0.0.1:{port} is taken: perhaps by a {} that a broken run left behind; end it",
            peer.name()
        );
        let mut started = Self::spawn(peer, world, &command, pinned);
        started.until_ready(&log(peer, world));
        started
    }

    /// Starts the product again, to take over from the process that runs.
    pub fn successor(world: &World, product: &Path) -> Self {
        let config = world.path().join("portcullis.toml").to_string_lossy().into_owned();
        let product = product.to_string_lossy().into_owned();
        let command = [&product, "run", "--config", &config, "--upgrade"].map(str::to_owned);
        Self::spawn(Peer::Portcullis, world, &command, true)
    }

    fn spawn(peer: Peer, world: &World, command: &[String], pinned: bool) -> Self {
        let errors = File::options().create(true).append(true).open(log(peer, world)).unwrap();
        let pin = ["taskset", "-c", CORE].map(str::to_owned);
        let pin = pin.into_iter().filter(|_| pinned);
        let command: Vec<String> = pin.chain(command.iter().cloned()).collect();
        let child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be started: {error}", command[0]));
        Self { peer, child }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended, whoever asked it to.
    pub fn has_ended(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
        stat.rsplit(") ").next().is_none_or(|state| state.is_empty() || state.starts_with('Z'))
    }

    fn until_ready(&mut self, log: &Path) {
        let end = Instant::now() + START_MAX;
        let port = self.peer.port(Hop::Tls);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = self.child.try_wait().unwrap();
            if ended.is_some() || Instant::now() > end {
                let said = fs::read_to_string(log).unwrap_or_default();
                panic!("{} does not take connections ({ended:?}):\n{said}", self.peer.name());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// CPU time so far, user and kernel, of all threads of the process and of its workers.
    pub fn cpu(&self) -> Duration {
        let threads = self.processes().into_iter().flat_map(|pid| {
            let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten();
            tasks.flatten().map(|task| task.path().join("schedstat"))
        });
        let nanos = threads.filter_map(|path| {
            fs::read_to_string(path).ok()?.split(' ').next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Resident memory, KiB.
    pub fn resident_kib(&self) -> u64 {
        let of = |pid: u32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        self.processes().into_iter().filter_map(of).sum()
    }

    /// Open descriptors.
    pub fn descriptors(&self) -> usize {
        let of = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        self.processes().into_iter().map(of).sum()
    }

    /// The process and its children (nginx: master and worker).
    fn processes(&self) -> Vec<u32> {
        let pid = self.child.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        std::iter::once(pid).chain(children).collect()
    }
}

fn log(peer: Peer, world: &World) -> PathBuf {
    world.path().join(format!("{}.err", peer.name()))
}

impl Drop for Running {
    fn drop(&mut self) {
        // nginx' workers follow a master that is asked, not one that is killed.
        if !matches!(self.child.try_wait(), Ok(None)) {
            return;
        }
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status();
        let end = Instant::now() + Duration::from_secs(2);
        while asked.as_ref().is_ok_and(std::process::ExitStatus::success) && Instant::now() < end {
            if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
