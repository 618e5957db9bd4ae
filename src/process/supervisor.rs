//! Who started this process and looks after it: systemd, or whatever speaks its protocol
//! (sd_notify). It is told when this process serves, reads its configuration anew, stops, and that
//! it lives.
//!
//! Found before the process is confined: Landlock lets it connect to no abstract socket afterwards,
//! and what is connected stays so. Nothing that is said comes from outside, and a supervisor that
//! does not listen holds nobody up.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// The supervisor, or none.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<UnixDatagram>,
    clock: Clock,
    /// How often it wants to hear that the process lives, at least.
    watchdog: Option<Duration>,
    /// One is named that cannot be reached.
    unreachable: bool,
}

impl Supervisor {
    /// The one that the environment names.
    #[must_use]
    pub fn of_environment() -> Self {
        let address = env::var_os("NOTIFY_SOCKET").filter(|text| !text.is_empty());
        let socket = address.as_deref().map(connected);
        let unreachable = matches!(socket, Some(Err(_)));
        let [pid, micros] = ["WATCHDOG_PID", "WATCHDOG_USEC"].map(|name| env::var(name).ok());
        let watchdog = watchdog(pid.as_deref(), micros.as_deref(), std::process::id());
        Self { socket: socket.and_then(Result::ok), clock: Clock::start(), watchdog, unreachable }
    }

    /// Whether somebody is to be told anything.
    #[must_use]
    pub const fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Whether one is named that cannot be reached: it waits in vain.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// How often to say that the process lives.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog.map(|longest| longest / 2)
    }

    /// The process serves. One that took over from another is the main one from now on.
    pub fn ready(&self, took_over: bool) {
        let pid = std::process::id();
        let main = if took_over { format!("\nMAINPID={pid}") } else { String::new() };
        self.tell(&format!("READY=1\nSTATUS=Serving{main}"));
    }

    /// The configuration is read anew.
    pub fn reloading(&self) {
        let micros = self.clock.micros();
        self.tell(&format!(
            "RELOADING=1\nMONOTONIC_USEC={micros}\nSTATUS=Reading its configuration"
        ));
    }

    /// It was read, and taken or not. The process served all the while.
    pub fn reloaded(&self, taken: bool) {
        self.tell(match taken {
            true => "READY=1\nSTATUS=Serving",
            false => {
                "READY=1\nSTATUS=Serving as before: the configuration was refused, see the log"
            }
        });
    }

    /// The process stops, and finishes what is under way.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=Finishing what is under way");
    }

    /// The process lives.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    fn tell(&self, text: &str) {
        if let Some(socket) = &self.socket {
            // Full, or gone: it misses this, and nothing here depends on it.
            let _ = socket.send(text.as_bytes());
        }
    }
}

/// The supervisor's own clock, which is ours. Read once: where the kernel keeps it is asked for by
/// a call that the confined process does not have.
#[derive(Debug)]
struct Clock {
    begun: Instant,
    showed: Duration,
}

impl Clock {
    fn start() -> Self {
        let begun = Instant::now();
        let showed = Duration::try_from(clock_gettime(ClockId::Monotonic));
        Self { begun, showed: showed.unwrap_or_default() }
    }

    /// What it shows now.
    fn micros(&self) -> u128 {
        (self.showed + self.begun.elapsed()).as_micros()
    }
}

/// A socket that never waits, connected to a path, or to an abstract name behind `@`.
fn connected(address: &OsStr) -> io::Result<UnixDatagram> {
    let bytes = address.as_bytes();
    let address = match bytes.split_first() {
        Some((b'/', _)) => SocketAddr::from_pathname(address)?,
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => return Err(io::ErrorKind::Unsupported.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// The time of the watchdog, where it is this process that it watches.
fn watchdog(pid: Option<&str>, micros: Option<&str>, own: u32) -> Option<Duration> {
    let is_other = pid.is_some_and(|pid| pid.parse() != Ok(own));
    let micros = micros.filter(|_| !is_other)?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_process_is_watched_and_only_for_a_time() {
        let of = |pid, micros| watchdog(pid, micros, 7);
        let second = Some(Duration::from_secs(1));
        assert_eq!(of(Some("7"), Some("1000000")), second);
        assert_eq!(of(None, Some("1000000")), second);
        for (pid, micros) in [
            (Some("8"), Some("1000000")),
            (Some(""), Some("1000000")),
            (Some("7"), None),
            (Some("7"), Some("0")),
            (Some("7"), Some("-1")),
            (Some("7"), Some("soon")),
        ] {
            assert_eq!(of(pid, micros), None, "{pid:?} {micros:?}");
        }
    }

    #[test]
    fn the_clock_shows_what_the_kernels_shows() {
        let clock = Clock::start();
        let now = || Duration::try_from(clock_gettime(ClockId::Monotonic)).unwrap().as_micros();
        let before = now();
        let shown = clock.micros();
        assert!((before..=now() + 1000).contains(&shown));
    }

    #[test]
    fn what_is_no_local_socket_is_unreachable() {
        for bad in ["", "vsock:2:1234", "run/notify", "/there/is/none", "@there-is-none"] {
            assert!(connected(OsStr::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_supervisor_that_does_not_listen_holds_nobody_up() {
        let name = format!("@portcullis-{}-full", std::process::id());
        let address = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
        let deaf = UnixDatagram::bind_addr(&address).unwrap();
        let socket = Some(connected(OsStr::new(&name)).unwrap());
        let (clock, watchdog) = (Clock::start(), None);
        let supervisor = Supervisor { socket, clock, watchdog, unreachable: false };
        (0..10_000).for_each(|_| supervisor.alive());
        drop(deaf);
        supervisor.alive();
    }
}
