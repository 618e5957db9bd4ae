//! Each protection is tried where it may do harm: in a process of its own, this test started once
//! more.

use std::net::{Ipv4Addr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, Output};
use std::{fs, io};

use nix::unistd::{Uid, getppid};

use super::*;

/// Says to this test's second process what it is to try.
const TRIAL: &str = "PORTCULLIS_TRIAL";
const SURVIVED: i32 = 7;
const SIGSYS: i32 = 31;

/// Runs the test of that name again in a process that is told to try something.
fn try_apart(test: &str, trial: &str) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("process::tests::{test}"), "--exact", "--nocapture"])
        .env(TRIAL, trial)
        .output()
        .unwrap()
}

fn trial() -> Option<String> {
    std::env::var(TRIAL).ok()
}

fn assert_survived(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(SURVIVED), "{:?}\n{said}", output.status);
}

/// Whether it succeeds does not matter: it must not come back.
fn attempt<T>(_: T) {}

const FORBIDDEN: &[(&str, fn())] = &[
    ("a program", || attempt(Command::new("/bin/true").exec())),
    ("a second process", || attempt(Command::new("/bin/true").spawn())),
    ("a tracer", || attempt(nix::sys::ptrace::attach(getppid()))),
    ("another's memory", || {
        let mut bytes = [0; 8];
        let local = &mut [io::IoSliceMut::new(&mut bytes)];
        let remote = [nix::sys::uio::RemoteIoVec { base: 4096, len: 8 }];
        attempt(nix::sys::uio::process_vm_readv(getppid(), local, &remote));
    }),
    ("a namespace", || attempt(nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER))),
    ("another root folder", || attempt(nix::unistd::chroot("/"))),
    ("another user", || attempt(nix::unistd::setuid(Uid::current()))),
    ("a file's mode", || {
        attempt(fs::set_permissions("/nowhere", fs::Permissions::from_mode(0o700)));
    }),
    ("a signal to another", || attempt(nix::sys::signal::kill(getppid(), None))),
    ("raw packets", || {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        attempt(socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None));
    }),
    ("a core dump again", || {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        attempt(set_dumpable_behavior(DumpableBehavior::Dumpable));
    }),
    ("higher limits", || {
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        attempt(rustix::process::setrlimit(rustix::process::Resource::Nofile, limit));
    }),
];

#[test]
fn a_forbidden_call_ends_the_process() {
    if let Some(name) = trial() {
        let (_, call) = FORBIDDEN.iter().find(|(known, _)| *known == name).unwrap();
        calls::apply().unwrap();
        call();
        std::process::exit(SURVIVED);
    }
    for (name, _) in FORBIDDEN {
        let output = try_apart("a_forbidden_call_ends_the_process", name);
        assert_eq!(output.status.signal(), Some(SIGSYS), "{name}: {:?}", output.status);
    }
}

#[test]
fn what_serving_needs_goes_on_under_the_filter() {
    if trial().is_some() {
        calls::apply().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let client = std::thread::spawn(move || TcpStream::connect(address).unwrap());
        listener.accept().unwrap();
        client.join().unwrap();
        assert!("localhost:443".to_socket_addrs().unwrap().count() > 0);
        assert!(fs::read_dir("/etc").unwrap().count() > 0);
        assert!(std::panic::catch_unwind(|| panic!("one that is expected")).is_err());
        std::process::exit(SURVIVED);
    }
    assert_survived(&try_apart("what_serving_needs_goes_on_under_the_filter", "all"));
}

#[test]
fn files_and_ports_beyond_the_list_are_closed() {
    if trial().is_some() {
        beyond_the_list();
        std::process::exit(SURVIVED);
    }
    assert_survived(&try_apart("files_and_ports_beyond_the_list_are_closed", "all"));
}

fn beyond_the_list() {
    let [own, foreign, written] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    for folder in [&own, &foreign] {
        fs::write(folder.path().join("file"), "text").unwrap();
    }
    let listen = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let [known, unknown] = [(); 2].map(|()| listen(0).unwrap());
    let [known, unknown] = [&known, &unknown].map(|at| at.local_addr().unwrap());
    let free = listen(0).unwrap().local_addr().unwrap().port();
    let mut reach = Reach::default();
    reach.read_file(&own.path().join("file"));
    reach.write_folder(written.path());
    reach.connect(known.port());
    reach.listen(free);
    let (files, ports) = fence::offered();
    let version = fence::restrict(&reach).unwrap();
    // What an older kernel has no rules for stays open, and the version says so.
    assert_eq!((version >= 1, version >= 4), (files, ports), "{version}");

    assert_eq!(fs::read_to_string(own.path().join("file")).unwrap(), "text");
    assert_closed(files, fs::read(foreign.path().join("file")));
    assert_closed(files, fs::read("/etc/passwd"));
    assert_closed(files, fs::write(own.path().join("new"), "x"));
    assert_closed(files, fs::write(own.path().join("file"), "x"));
    fs::write(written.path().join("new"), "x").unwrap();
    fs::rename(written.path().join("new"), written.path().join("newer")).unwrap();
    assert_closed(files, Command::new("/bin/true").status());
    TcpStream::connect(known).unwrap();
    assert_closed(ports, TcpStream::connect(unknown));
    listen(free).unwrap();
    assert_closed(ports, listen(0));
}

fn assert_closed<T>(closed: bool, tried: io::Result<T>) {
    let denied = closed.then_some(io::ErrorKind::PermissionDenied);
    assert_eq!(tried.err().map(|error| error.kind()), denied);
}

#[test]
fn a_renewed_file_and_what_a_link_leads_to_stay_readable() {
    let [named, real] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    fs::write(real.path().join("key"), "").unwrap();
    std::os::unix::fs::symlink(real.path().join("key"), named.path().join("key")).unwrap();
    let mut reach = Reach::default();
    reach.read_file(&named.path().join("key"));
    let [named, real] = [&named, &real].map(|folder| folder.path().canonicalize().unwrap());
    assert_eq!(reach.readable().collect::<Vec<_>>().len(), 2);
    assert!(reach.readable().any(|path| path == named));
    assert!(reach.readable().any(|path| path == real));

    // No file opens the root folder.
    let mut reach = Reach::default();
    reach.read_file("/portcullis.toml".as_ref());
    assert_eq!(reach.readable().collect::<Vec<_>>(), ["/portcullis.toml"]);
}

#[test]
fn limits_hold_from_the_first_step_on() {
    if trial().is_some() {
        let guarded = Guarded::begin().unwrap();
        let early = limits::applied().unwrap();
        assert_eq!((early.dumpable, early.core_limit, early.no_new_privs), (false, 0, true));
        let dangers = Dangers { run_as_root: true, ..Dangers::default() };
        let applied = guarded.confine(dangers, &Reach::system()).unwrap();
        assert!(!applied.dumpable && applied.no_new_privs && applied.seccomp);
        assert_eq!((applied.core_limit, applied.capabilities), (0, 0));
        std::process::exit(SURVIVED);
    }
    assert_survived(&try_apart("limits_hold_from_the_first_step_on", "all"));
}

#[test]
fn the_dangers_switch_off_what_they_name_and_nothing_else() {
    if trial().is_some() {
        let before = rustix::process::getrlimit(rustix::process::Resource::Core).current;
        let guarded = Guarded::begin().unwrap();
        let dangers = Dangers {
            no_seccomp: true,
            no_landlock: true,
            allow_core_dumps: true,
            run_as_root: true,
        };
        let applied = guarded.confine(dangers, &Reach::default()).unwrap();
        assert!(applied.dumpable && !applied.seccomp && applied.no_new_privs);
        assert_eq!(applied.core_limit, before.unwrap_or(u64::MAX));
        assert_eq!((applied.landlock, applied.capabilities), (0, 0));
        assert!(fs::read("/etc/passwd").is_ok());
        assert!(Command::new("/bin/true").status().unwrap().success());
        std::process::exit(SURVIVED);
    }
    assert_survived(&try_apart("the_dangers_switch_off_what_they_name_and_nothing_else", "all"));
}

#[test]
fn root_is_refused_unless_the_configuration_allows_it() {
    if trial().is_some() {
        let outcome = Guarded::begin().unwrap().confine(Dangers::default(), &Reach::system());
        let root = outcome.err() == Some(ProcessError::Root);
        assert_eq!(root, Uid::current().is_root());
        std::process::exit(SURVIVED);
    }
    assert_survived(&try_apart("root_is_refused_unless_the_configuration_allows_it", "all"));
}

#[test]
fn a_low_port_keeps_the_one_capability_that_it_needs() {
    if trial().is_some() {
        let bit = 1 << 10; // CAP_NET_BIND_SERVICE, capabilities(7)
        let could = rustix::thread::capabilities(None).unwrap().permitted.bits() & bit;
        let mut reach = Reach::system();
        reach.listen(443);
        let dangers = Dangers { run_as_root: true, ..Dangers::default() };
        let applied = Guarded::begin().unwrap().confine(dangers, &reach).unwrap();
        assert_eq!(applied.capabilities, could);
        std::process::exit(SURVIVED);
    }
    assert_survived(&try_apart("a_low_port_keeps_the_one_capability_that_it_needs", "all"));
}
