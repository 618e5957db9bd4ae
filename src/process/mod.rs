//! What the process denies itself, so that a fault in it reaches as little as possible: no core
//! dump, no tracer, no further privileges, a list of files and ports (Landlock), a list of calls to
//! the kernel (seccomp).
//!
//! In two steps. [`Guarded::begin`] needs no configuration and comes before any secret is read;
//! [`Guarded::confine`] comes after the configuration was read and before any thread is started,
//! because threads inherit what their parent had. Neither step can be taken back.
//!
//! Linux alone: the project's other rooms do not care.

mod calls;
mod fence;
mod limits;
pub mod passing;
mod reach;
mod supervisor;

pub use reach::Reach;
pub use supervisor::Supervisor;

use std::fmt;

use rustix::process::{Rlimit, getuid};

/// What an operator can switch off, each by a `danger_` key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dangers {
    /// No filter of system calls.
    pub no_seccomp: bool,
    /// No list of files and ports.
    pub no_landlock: bool,
    /// A crash may write the memory to a file; a debugger may attach.
    pub allow_core_dumps: bool,
    /// The process may be root.
    pub run_as_root: bool,
}

/// What is on, as the kernel tells it and not as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Whether a crash may be written to a file, and a process of the same user may attach.
    pub dumpable: bool,
    /// Most bytes of a core file.
    pub core_limit: u64,
    /// Whether no program that it started could gain privileges.
    pub no_new_privs: bool,
    /// Capabilities left, as a bit set.
    pub capabilities: u64,
    /// Whether a forbidden system call ends the process.
    pub seccomp: bool,
    /// The kernel's Landlock version; 0 when there is none, or it is switched off.
    pub landlock: u8,
    /// Whether the machine may write memory to a disk.
    pub swap: bool,
}

/// Why the process cannot be confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcessError {
    /// It runs as root, and nobody said that it may.
    Root,
    /// The kernel refused a limit.
    Limits,
    /// The kernel refused the list of files and ports.
    Landlock,
    /// The kernel refused the filter of system calls, or has none for this machine.
    Seccomp,
}

impl fmt::Display for ProcessError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Root => {
                "process: runs as root; start it as a user of its own, or set danger_run_as_root"
            }
            Self::Limits => "process: the kernel refuses to switch core dumps and tracing off",
            Self::Landlock => {
                "process: the kernel refuses the list of files and ports; without it: \
                 danger_no_landlock"
            }
            Self::Seccomp => {
                "process: the kernel refuses the filter of system calls; without it: \
                 danger_no_seccomp"
            }
        })
    }
}

impl std::error::Error for ProcessError {}

/// A process that writes no core, that no process of its user can trace, and that cannot gain
/// privileges.
#[derive(Debug)]
pub struct Guarded {
    core_before: Rlimit,
}

impl Guarded {
    /// The first thing that a command does.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn begin() -> Result<Self, ProcessError> {
        let core_before = limits::begin().map_err(|_| ProcessError::Limits)?;
        Ok(Self { core_before })
    }

    /// Takes away whatever serving does not need. `reach` is what it needs.
    ///
    /// # Errors
    /// Root without leave; a kernel that refuses.
    pub fn confine(self, dangers: Dangers, reach: &Reach) -> Result<Applied, ProcessError> {
        if getuid().is_root() && !dangers.run_as_root {
            return Err(ProcessError::Root);
        }
        if dangers.allow_core_dumps {
            limits::allow_core_dumps(self.core_before).map_err(|_| ProcessError::Limits)?;
        } else {
            limits::forbid_core_dumps().map_err(|_| ProcessError::Limits)?;
        }
        limits::drop_capabilities(reach.binds_low_port()).map_err(|_| ProcessError::Limits)?;
        let swap = limits::swap();
        let landlock = if dangers.no_landlock { 0 } else { fence::restrict(reach)? };
        // Read back before the filter: it leaves no call to ask with.
        let mut applied = limits::applied().map_err(|_| ProcessError::Limits)?;
        if !dangers.no_seccomp {
            calls::apply()?;
        }
        applied.seccomp = !dangers.no_seccomp;
        applied.landlock = landlock;
        applied.swap = swap;
        Ok(applied)
    }
}

#[cfg(test)]
mod tests;
