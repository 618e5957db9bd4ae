//! What may be said about a payment: a closed set of events, metrics and spans, no free text.
//!
//! Must never: hold bytes of a request or an answer. Names come from the configuration, codes from
//! closed sets, cards only as [`TokenId`](crate::card::TokenId).

mod copies;
mod line;
mod log;
mod metrics;
pub mod otlp;
mod panics;
mod span;
mod trace;

pub use self::log::{Format, Log, since_1970};
pub use copies::Copies;
pub use metrics::{Levels, Metrics, Signal};
pub use panics::{export_panics, tell_places_only};
pub use span::{Sent, Served, Side, Span, Steps, Tracer};
pub use trace::{Hex, TraceContext};

use serde::Serialize;

/// Something that happened.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event<'e> {
    /// Portcullis listens.
    Started {
        /// The version.
        version: &'static str,
        /// Public listener.
        public: String,
        /// Private listener.
        private: String,
        /// Admin listener.
        admin: String,
        /// Keys that weaken protection and are on.
        dangers: &'e [String],
        /// Whether the root key is random, so that tokens end with the process.
        random_root_key: bool,
        /// What protects the process.
        process: Protection,
    },
    /// A protection is missing that no key of the configuration switched off.
    Warned {
        /// Which.
        warning: Warning,
    },
    /// Root keys were read again and are in use.
    RootKeysRead {
        /// The version that seals.
        current: u32,
        /// Those that open; 0 is a random one.
        older: &'e [u32],
    },
    /// A root key is gone from the configuration.
    RootKeyRemoved {
        /// Its version.
        version: u32,
        /// Live records that it had sealed, and that nobody finds again.
        live_records: usize,
    },
    /// A listener's new certificate is in use.
    CertificateRead {
        /// `public` or `private`.
        listener: &'static str,
    },
    /// A listener's new authorities of client certificates are in use.
    AuthoritiesRead {
        /// `public` or `private`.
        listener: &'static str,
    },
    /// The configuration was read again and is in use.
    ConfigurationRead {
        /// Its digest, as in the audit record.
        digest: &'e str,
        /// Keys that weaken protection and are on.
        dangers: &'e [String],
    },
    /// Something that was read again cannot be used; what is in use stays.
    ReloadRefused {
        /// The file of the configuration, or a profile.
        file: &'e str,
        /// Its line, counted from 1; 0 where there is none.
        line: usize,
        /// The key.
        key: &'e str,
        /// Why.
        reason: Refusal,
        /// The same in words. Never a value.
        message: &'e str,
    },
    /// A new process took over. This one accepts no more connections and finishes those it has.
    HandedOver {
        /// Records that went over.
        records: usize,
        /// Microseconds that requests waited at most.
        pause_us: u64,
    },
    /// This process took over from another one.
    TakenOver {
        /// Records that came over.
        records: usize,
    },
    /// A process that wanted to take over did not; this one goes on.
    UpgradeRefused {
        /// Why, from a closed set.
        reason: &'static str,
    },
    /// A call of one of our listeners was answered.
    Answered {
        /// `public` or `private`.
        listener: &'static str,
        /// What was called, from a closed set or a profile.
        call: &'e str,
        /// The application, when it is known.
        #[serde(skip_serializing_if = "str::is_empty")]
        app: &'e str,
        /// The account, when there is one.
        #[serde(skip_serializing_if = "str::is_empty")]
        account: &'e str,
        /// Our status.
        status: u16,
        /// `ok`, or the code of our problem document.
        code: &'static str,
        /// Whether the provider may have seen it.
        #[serde(skip_serializing_if = "Option::is_none")]
        forwarded: Option<&'static str>,
        /// The provider's status.
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream_status: Option<u16>,
        /// Card numbers and CVVs that were put in.
        #[serde(skip_serializing_if = "is_zero")]
        replaced: u32,
        /// Findings that the scrub removed.
        #[serde(skip_serializing_if = "is_zero")]
        scrubbed: u32,
        /// Ours, for finding this line again.
        request_id: &'e str,
        /// The trace that it belongs to, where calls are traced.
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_id: Option<Hex<'e>>,
        /// Its span.
        #[serde(skip_serializing_if = "Option::is_none")]
        span_id: Option<Hex<'e>>,
        /// Microseconds in all.
        total_us: u64,
        /// Microseconds that the provider took.
        #[serde(skip_serializing_if = "Option::is_none")]
        upstream_us: Option<u64>,
    },
    /// An address of a configured host is left out: connections to it failed.
    UpstreamDown {
        /// The host, as the configuration names it, with its port.
        host: &'e str,
        /// The address.
        address: &'e str,
        /// How the last one failed.
        reason: &'static str,
    },
    /// That address works again.
    UpstreamUp {
        /// The host.
        host: &'e str,
        /// The address.
        address: &'e str,
    },
    /// A configured host has other addresses than before.
    UpstreamResolved {
        /// The host.
        host: &'e str,
        /// How many.
        addresses: usize,
    },
    /// The addresses of a configured host could not be looked up; the last ones stay in use.
    UpstreamUnresolved {
        /// The host.
        host: &'e str,
    },
    /// An anchor was written into the audit record. Kept elsewhere, this line shows whether the
    /// record's end was cut off.
    Anchored {
        /// The anchor's position in the chain.
        sequence: u64,
        /// The digest of its line.
        hash: &'e str,
    },
    /// A fault of ours, by its place in the source; the call that met it goes unanswered.
    Panicked {
        /// A file of the source, ours or a library's.
        file: &'e str,
        /// Its line.
        line: u32,
    },
    /// Standard error was not read fast enough.
    LinesLost {
        /// Lines that were not written.
        count: u64,
    },
    /// Portcullis is about to stop: it is not ready any more, and still serves.
    Draining {
        /// For how long.
        seconds: u64,
    },
    /// Portcullis stops.
    Stopped,
}

/// What protects the process, as the kernel tells it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Protection {
    /// Whether a crash may write the memory to a file, and a process of the same user may read it.
    pub dumpable: bool,
    /// Most bytes of a core file.
    pub core_limit: u64,
    /// Whether no privilege can be gained.
    pub no_new_privs: bool,
    /// Capabilities left, as a bit set.
    pub capabilities: u64,
    /// Whether a forbidden system call ends the process.
    pub seccomp: bool,
    /// The kernel's version of Landlock; 0 without.
    pub landlock: u8,
    /// Whether the machine may write memory to a disk.
    pub swap: bool,
    /// How the keys are kept: `memfd_secret`, `mlock` or `swappable`.
    pub key_memory: &'static str,
}

/// What an operator should change about the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// Swap is on: cards in use may be written to a disk.
    SwapIsOn,
    /// The kernel has no Landlock: files and ports are not closed.
    NoLandlock,
    /// The kernel's Landlock knows no ports (before Linux 6.7).
    NoPortRules,
    /// Keys could not be locked in memory: the limit of locked memory is too low.
    KeysNotLocked,
    /// Reveals are not recorded (`[audit]` is missing): PCI DSS 10.2 is not met.
    NoAudit,
    /// The system does not let the process wait for SIGHUP: keys and certificates stay as they are.
    NoReload,
    /// `NOTIFY_SOCKET` names what cannot be reached: the supervisor waits in vain.
    NoSupervisor,
    /// The public listener's certificate has expired, or is not valid yet: browsers refuse it.
    PublicCertificateNotValid,
    /// The same of the private listener: applications refuse it.
    PrivateCertificateNotValid,
}

/// Why something that was read again is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It cannot be read, or is not what it should be; `portcullis check` tells more.
    Unusable,
    /// The version is in use with another key: a new key needs a new version.
    Changed,
    /// A root key in shares is typed in at start only.
    TypedAtStart,
    /// No root key is left.
    Missing,
    /// The private key does not belong to the certificate.
    Mismatch,
    /// The certificate has expired, or is not valid yet.
    NotValid,
    /// A running process cannot take it on.
    NeedsRestart,
    /// The change could not be written into the audit record.
    NotRecorded,
    /// Another process has taken over.
    HandedOver,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}
