//! The running process as another process sees it: what `/proc` says of it, and what an attacker of
//! the same user, a crash and a forbidden file get.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output};
use std::time::Duration;

use portcullis_sandbox::world::Options;
use serde_json::Value;

use super::house::House;
use super::line::Version;
use super::packages::debugger;

const SOON: Duration = Duration::from_secs(10);
const SIGABRT: i32 = 6;

impl House {
    pub(super) fn pid(&self) -> u32 {
        self.world.proxy().unwrap().pid().unwrap()
    }

    /// Resident memory of the process.
    pub(super) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(super) fn events(&self, name: &str) -> Vec<Value> {
        let log = String::from_utf8(self.log()).unwrap();
        // The last line may still be on its way.
        let whole = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let events = whole.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|event| event["event"] == name).collect()
    }
}

/// The value of a line such as `Seccomp: 2`.
fn field(text: &str, name: &str) -> String {
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line[name.len()..].trim().to_owned()
}

#[tokio::test]
async fn the_start_tells_what_is_on_and_the_kernel_agrees() {
    let house = House::open().await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;

    let [started] = &house.events("started")[..] else { panic!("one start") };
    let told = &started["process"];
    for (name, value) in [
        ("dumpable", Value::from(false)),
        ("core_limit", 0.into()),
        ("no_new_privs", true.into()),
        ("capabilities", 0.into()),
        ("seccomp", true.into()),
    ] {
        assert_eq!(told[name], value, "{name}");
    }
    let status = |thread: &str| {
        std::fs::read_to_string(format!("/proc/{}/{thread}status", house.pid())).unwrap()
    };
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", house.pid())).unwrap();
    let core = field(&limits, "Max core file size");
    assert_eq!(core.split_whitespace().take(2).collect::<Vec<_>>(), ["0", "0"]);
    let threads = std::fs::read_dir(format!("/proc/{}/task", house.pid())).unwrap();
    let threads: Vec<_> = threads.map(|thread| thread.unwrap().file_name()).collect();
    assert!(threads.len() > 3, "{threads:?}");
    for thread in threads {
        let status = status(&format!("task/{}/", thread.to_str().unwrap()));
        assert_eq!(field(&status, "NoNewPrivs:"), "1");
        assert_eq!(field(&status, "Seccomp:"), "2");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(&field(&status, set), 16).unwrap(), 0, "{set}");
        }
        if nix::unistd::Uid::current().is_root() {
            assert_eq!(u64::from_str_radix(&field(&status, "CapBnd:"), 16).unwrap(), 0);
        }
    }
    let swap = std::fs::read_to_string("/proc/swaps").unwrap().lines().count() > 1;
    assert_eq!(told["swap"], swap);
    let warned = house.events("warned").iter().any(|event| event["warning"] == "swap_is_on");
    assert_eq!(warned, swap);
}

/// The same user without any capability: whatever it may do, it may because of the user alone.
fn unprivileged(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--no-new-privs", "--inh-caps=-all"]);
    if nix::unistd::Uid::current().is_root() {
        command.arg("--bounding-set=-all");
    }
    command.arg(program);
    command
}

/// Ends a process of ours, whatever the test came to.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(pid: u32, file: &str) -> Output {
    unprivileged("cat").arg(format!("/proc/{pid}/{file}")).output().unwrap()
}

fn attach(pid: u32) -> String {
    debugger();
    let output = unprivileged("gdb")
        .args(["-nx", "-batch", "-p", &pid.to_string(), "-ex", "info proc"])
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn another_process_of_the_same_user_cannot_look_into_it() {
    let house = House::open().await;
    // Without the protection all of this works, or the rest would prove nothing.
    let open = Ended(unprivileged("sleep").arg("60").spawn().unwrap());
    for _ in 0..200 {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", open.0.id())).unwrap();
        if name.trim() == "sleep" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(read(open.0.id(), "maps").status.success());
    assert!(!attach(open.0.id()).contains("not permitted"));

    for file in ["maps", "mem", "environ", "auxv"] {
        let output = read(house.pid(), file);
        assert!(!output.status.success() && output.stdout.is_empty(), "{file}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("Permission denied"), "{file}");
    }
    let said = attach(house.pid());
    assert!(said.contains("not permitted"), "{said}");
}

#[tokio::test]
async fn a_crash_leaves_no_core() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // As much as the machine allows, so that it is Portcullis that says no.
    let (_, hard) = getrlimit(Resource::RLIMIT_CORE).unwrap();
    setrlimit(Resource::RLIMIT_CORE, hard, hard).unwrap();
    let house = House::open().await;
    let mut other = house.world.another("crashed", |_| {}).await.unwrap();
    let pid = other.pid().unwrap().to_string();
    assert!(Command::new("kill").args(["-ABRT", &pid]).status().unwrap().success());
    let status = tokio::time::timeout(SOON, other.ended()).await.unwrap().unwrap();
    assert_eq!(status.signal(), Some(SIGABRT));
    assert!(!status.core_dumped());
}

/// A configuration that the sandbox writes, with one line of it changed.
fn changed(from: &'static str, to: &'static str) -> Options {
    let adjust = Box::new(move |config: String| {
        assert!(config.contains(from));
        config.replace(from, to)
    });
    Options { adjust: Some(adjust), ..Options::default() }
}

#[tokio::test]
async fn what_is_switched_off_is_told_as_a_danger() {
    let on = "[process]\ndanger_no_seccomp = true\ndanger_no_landlock = true\n\
              danger_allow_core_dumps = true\n";
    let house = House::with(changed("[process]\n", on)).await;
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
    let [started] = &house.events("started")[..] else { panic!("one start") };
    let dangers: Vec<_> = started["dangers"].as_array().unwrap().iter().collect();
    for name in ["no_seccomp", "no_landlock", "allow_core_dumps", "run_as_root"] {
        let key = format!("process.danger_{name}");
        assert_eq!(house.metric(&format!("portcullis_danger{{key=\"{key}\"}}")).await, 1);
        assert!(dangers.contains(&&Value::from(key)), "{dangers:?}");
    }
    let told = &started["process"];
    assert_eq!(told["seccomp"], false);
    assert_eq!(told["landlock"], 0);
    assert_eq!(told["dumpable"], true);
    assert!(read(house.pid(), "maps").status.success());
}
