//! The list of system calls: whatever is not on it ends the process. The only door to seccomp.
//!
//! The list was measured: every call of the whole integration suite under `strace`, and what the
//! same library functions do on other kernels, other C libraries and in rare paths (a signal, a
//! panic, a full socket). Not on it, among others: starting a program or a second process, tracing,
//! reading another process's memory, mounting, loading code into the kernel, changing owners or
//! modes of files, sockets that are not TCP, UDP or local, memory that can be written and run.

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use super::ProcessError;

/// Calls with any arguments.
const CALLS: &[c_long] = &[
    // Sockets and waiting for them.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_listen,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    // Files; which ones, Landlock says.
    libc::SYS_openat,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_statx,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fstatfs,
    libc::SYS_statfs,
    libc::SYS_getdents64,
    libc::SYS_readlinkat,
    libc::SYS_getcwd,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_dup,
    libc::SYS_dup3,
    // Memory; see `RESTRICTED` for the rest.
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_memfd_secret,
    libc::SYS_membarrier,
    // Threads and signals of this process.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_set_tid_address,
    libc::SYS_rseq,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_tgkill,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time, randomness, questions about itself.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getcpu,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getrusage,
    libc::SYS_uname,
    libc::SYS_sysinfo,
];

/// Older spellings of the same, which only this machine type has.
#[cfg(target_arch = "x86_64")]
const OLDER: &[c_long] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_unlink,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_create,
    libc::SYS_eventfd,
    libc::SYS_pipe,
    libc::SYS_dup2,
    libc::SYS_time,
    libc::SYS_getrlimit,
    libc::SYS_arch_prctl,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[c_long] = &[];

/// One argument of a call, its width, and the value that it is compared with.
type Argument = (u8, SeccompCmpArgLen, SeccompCmpOp, u64);

/// Calls with some arguments only: the call, and what must all be so. One line of several for the
/// same call is enough.
fn restricted() -> Vec<(c_long, Vec<Argument>)> {
    let mut rules = Vec::new();
    for family in [libc::AF_INET, libc::AF_INET6] {
        for protocol in [0, libc::IPPROTO_TCP, libc::IPPROTO_UDP] {
            rules.push((libc::SYS_socket, vec![is(0, family), is(2, protocol)]));
        }
    }
    // The C library asks for the machine's own addresses, and local daemons for names.
    rules.push((libc::SYS_socket, vec![is(0, libc::AF_NETLINK), is(2, libc::NETLINK_ROUTE)]));
    rules.push((libc::SYS_socket, vec![is(0, libc::AF_UNIX)]));
    rules.push((libc::SYS_socketpair, vec![is(0, libc::AF_UNIX)]));
    // A thread, never a process.
    rules.push((libc::SYS_clone, vec![has(0, libc::CLONE_THREAD, libc::CLONE_THREAD)]));
    // Memory is written or run, never both, and what was written is not run later. Libraries that
    // name resolution loads are files.
    rules.push((libc::SYS_mmap, vec![has(2, libc::PROT_EXEC, 0)]));
    rules.push((libc::SYS_mmap, vec![has(2, libc::PROT_WRITE, 0)]));
    rules.push((libc::SYS_mprotect, vec![has(2, libc::PROT_EXEC, 0)]));
    rules.push((libc::SYS_prctl, vec![is(0, libc::PR_SET_NAME)]));
    rules.push((libc::SYS_prctl, vec![is(0, libc::PR_SET_VMA)]));
    for request in [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS] {
        rules.push((libc::SYS_ioctl, vec![is(1, i32::try_from(request).unwrap_or(-1))]));
    }
    // Limits are read, not set: the new ones are no address.
    let none = (2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0);
    rules.push((libc::SYS_prlimit64, vec![none]));
    rules
}

fn is(index: u8, value: i32) -> Argument {
    (index, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, u64::from(value.cast_unsigned()))
}

/// The bits of `mask` have this value.
fn has(index: u8, mask: i32, value: i32) -> Argument {
    let [mask, value] = [mask, value].map(|bits| u64::from(bits.cast_unsigned()));
    (index, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
}

/// Puts the filters in place, for this thread and those it starts.
pub(super) fn apply() -> Result<(), ProcessError> {
    let programs = [no_clone3(), allowed()];
    for program in programs {
        let program = program.ok_or(ProcessError::Seccomp)?;
        apply_filter(&program).map_err(|_| ProcessError::Seccomp)?;
    }
    Ok(())
}

/// `clone3` hides its flags behind a pointer that no filter can follow, so it is said not to exist:
/// the C library then uses `clone`. Of two filters the stricter one counts.
fn no_clone3() -> Option<BpfProgram> {
    let refused = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
    program([(libc::SYS_clone3, Vec::new())], SeccompAction::Allow, refused)
}

fn allowed() -> Option<BpfProgram> {
    let any = CALLS.iter().chain(OLDER).chain(&[libc::SYS_clone3]);
    let mut calls: Vec<(c_long, Vec<SeccompRule>)> = any.map(|call| (*call, Vec::new())).collect();
    for (call, arguments) in restricted() {
        let conditions: Result<Vec<_>, _> = arguments
            .into_iter()
            .map(|(index, width, compare, value)| {
                SeccompCondition::new(index, width, compare, value)
            })
            .collect();
        let rule = SeccompRule::new(conditions.ok()?).ok()?;
        match calls.iter_mut().find(|(known, _)| *known == call) {
            Some((_, rules)) => rules.push(rule),
            None => calls.push((call, vec![rule])),
        }
    }
    program(calls, SeccompAction::KillProcess, SeccompAction::Allow)
}

fn program(
    calls: impl IntoIterator<Item = (c_long, Vec<SeccompRule>)>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Option<BpfProgram> {
    let machine = TargetArch::try_from(std::env::consts::ARCH).ok()?;
    let calls = calls.into_iter().collect();
    SeccompFilter::new(calls, otherwise, listed, machine).ok()?.try_into().ok()
}
