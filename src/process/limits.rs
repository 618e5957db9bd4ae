//! Core dumps, tracing, privileges, swap.

use std::io;

use rustix::process::{
    DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior,
    setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, no_new_privs,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

use super::Applied;

/// Not dumpable means: no core file, not even into a pipe (where the limit does not count), no
/// tracer and no look at the memory by a process of the same user. Returns the limit of core files
/// as it was.
pub(super) fn begin() -> io::Result<Rlimit> {
    let before = getrlimit(Resource::Core);
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: before.maximum })?;
    set_no_new_privs(true)?;
    Ok(before)
}

/// Nothing can raise the limit again.
pub(super) fn forbid_core_dumps() -> io::Result<()> {
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

pub(super) fn allow_core_dumps(before: Rlimit) -> io::Result<()> {
    setrlimit(Resource::Core, before)?;
    Ok(set_dumpable_behavior(DumpableBehavior::Dumpable)?)
}

/// Gives every capability away that the process has; of listening on a port below 1024 only when
/// it listens on one. The bounding set shrinks where the process may shrink it.
pub(super) fn drop_capabilities(low_port: bool) -> io::Result<()> {
    let held = capabilities(None)?.permitted;
    let kept =
        if low_port { held & CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::empty() };
    for capability in CapabilitySet::from_bits_retain(known()).difference(kept).iter() {
        // Needs a capability itself, and newer kernels know more of them than older ones.
        let _ = remove_capability_from_bounding_set(capability);
    }
    // Kernels before 4.3 have no such set.
    let _ = clear_ambient_capability_set();
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })?;
    Ok(())
}

/// The capabilities that have a name (Linux 5.9 has the latest).
fn known() -> u64 {
    CapabilitySet::CHECKPOINT_RESTORE.bits().saturating_mul(2).saturating_sub(1)
}

/// Whether a swap device is in use, in which case what is not locked may end on a disk.
pub(super) fn swap() -> bool {
    // Without /proc nobody knows; that is told as swap.
    std::fs::read_to_string("/proc/swaps").map_or(true, |text| text.lines().count() > 1)
}

/// What the kernel says now. The caller adds what it knows of Landlock, seccomp and swap.
pub(super) fn applied() -> io::Result<Applied> {
    Ok(Applied {
        dumpable: dumpable_behavior()? != DumpableBehavior::NotDumpable,
        core_limit: getrlimit(Resource::Core).current.unwrap_or(u64::MAX),
        no_new_privs: no_new_privs()?,
        capabilities: capabilities(None)?.permitted.bits(),
        seccomp: false,
        landlock: 0,
        swap: true,
    })
}
