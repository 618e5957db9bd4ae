//! What a confined process still reaches: folders, files, ports.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Name resolution reads these; a library that the machine's `nsswitch.conf` names is loaded at the
/// first look-up.
const RESOLVER: &[&str] = &[
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/protocols",
    "/etc/passwd",
    "/etc/ld.so.cache",
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/run/systemd/resolve",
    "/run/nscd",
];

/// Where systems keep certificates of authorities.
const AUTHORITIES: &[&str] = &[
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/usr/share/pki",
    "/var/lib/ca-certificates",
];

/// DNS over TCP, when an answer is too long for a datagram.
const DNS: u16 = 53;

/// Files, folders and ports. Everything else is closed.
#[derive(Debug, Default)]
pub struct Reach {
    read: BTreeSet<PathBuf>,
    write: BTreeSet<PathBuf>,
    listen: BTreeSet<u16>,
    connect: BTreeSet<u16>,
}

impl Reach {
    /// What every run needs: name resolution and the system's authorities.
    #[must_use]
    pub fn system() -> Self {
        let mut reach = Self::default();
        for place in RESOLVER.iter().chain(AUTHORITIES) {
            reach.read_place(Path::new(place));
        }
        reach.connect.insert(DNS);
        reach
    }

    /// A file that may be read again: its folder, because a renewed file is a new one in the same
    /// place, and the folder that a link leads to.
    pub fn read_file(&mut self, file: &Path) {
        for file in [Some(file.to_owned()), file.canonicalize().ok()].into_iter().flatten() {
            match file.parent() {
                // A file right below the root does not open the whole system.
                Some(folder) if folder.parent().is_some() => self.read.insert(folder.to_owned()),
                Some(folder) if folder.as_os_str().is_empty() => self.read.insert(".".into()),
                _ => self.read.insert(file),
            };
        }
    }

    /// A file or folder of the system, with what a link leads to.
    pub fn read_place(&mut self, place: &Path) {
        if let Ok(real) = place.canonicalize() {
            if real != place && real.is_file() {
                self.read_file(&real);
            }
            self.read.insert(real);
        }
    }

    /// A folder in which files are made and written.
    pub fn write_folder(&mut self, folder: &Path) {
        self.write.insert(folder.to_owned());
    }

    /// A port to listen on.
    pub fn listen(&mut self, port: u16) {
        self.listen.insert(port);
    }

    /// A port to connect to, at whatever address.
    pub fn connect(&mut self, port: u16) {
        self.connect.insert(port);
    }

    pub(super) fn binds_low_port(&self) -> bool {
        self.listen.iter().any(|port| (1..1024).contains(port))
    }

    pub(super) fn readable(&self) -> impl Iterator<Item = &Path> {
        self.read.iter().map(PathBuf::as_path)
    }

    pub(super) fn writable(&self) -> impl Iterator<Item = &Path> {
        self.write.iter().map(PathBuf::as_path)
    }

    pub(super) fn listened(&self) -> impl Iterator<Item = u16> {
        self.listen.iter().copied()
    }

    pub(super) fn connected(&self) -> impl Iterator<Item = u16> {
        self.connect.iter().copied()
    }
}
