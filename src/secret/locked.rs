//! Key memory: pages that no core dump holds, no swap device gets, and, where the kernel can
//! (`memfd_secret`, Linux 5.14), nobody reads through `/proc/PID/mem`, `ptrace` or the kernel's own
//! map of the memory, root neither.
//!
//! For keys that outlive a request. Each [`Locked`] has its own pages between two that cannot be
//! touched, its value at their end: an overrun upwards is a fault and not a leak. The only file of
//! the project with `unsafe`: pages are asked for, filled and given back nowhere else. Where a
//! value goes in its pages is plain arithmetic ([`Plan`]), apart from the calls.
//!
//! Under Miri, which has no such kernel, ordinary pages stand in for both kinds, so that what is
//! done with the pages is checked: `cargo +nightly miri test --lib secret::locked`.
#![expect(unsafe_code, reason = "memory of the kernel's own kind is had through system calls only")]

use std::ffi::c_void;
use std::fmt;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU8, Ordering};

use super::{scoured, wipe};

/// How well key memory is kept. The order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum KeyMemory {
    /// Out of everybody's reach but the process's own (`memfd_secret`).
    Secret = 0,
    /// Never swapped, in no core dump (`mlock`, `MADV_DONTDUMP`).
    Locked = 1,
    /// In no core dump; the limit of locked memory (`RLIMIT_MEMLOCK`) is used up.
    Swappable = 2,
}

impl KeyMemory {
    /// The name that the start event tells.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Secret => "memfd_secret",
            Self::Locked => "mlock",
            Self::Swappable => "swappable",
        }
    }
}

/// The worst that any key was given so far.
static WORST: AtomicU8 = AtomicU8::new(KeyMemory::Secret as u8);

/// How well the keys of this process are kept: as well as the worst of them.
#[must_use]
pub fn key_memory() -> KeyMemory {
    match WORST.load(Ordering::Relaxed) {
        0 => KeyMemory::Secret,
        1 => KeyMemory::Locked,
        _ => KeyMemory::Swappable,
    }
}

/// A value in key memory, wiped on drop.
pub struct Locked<T> {
    value: NonNull<T>,
    pages: Pages,
}

impl<T> Locked<T> {
    /// Puts what `make` returns into pages of its own. What `make` left on the stack is
    /// overwritten.
    pub fn new(make: impl FnOnce() -> T) -> Self {
        Self::within(Pages::new(Plan::of::<T>(page_bytes()), true), make)
    }

    fn within((pages, kept): (Pages, KeyMemory), make: impl FnOnce() -> T) -> Self {
        WORST.fetch_max(kept as u8, Ordering::Relaxed);
        // SAFETY: the plan puts the value inside the pages that can be written, aligned for T
        // (`a_value_lies_at_the_end_of_its_pages_and_aligned`).
        let value = unsafe { pages.start.add(pages.plan.value).cast::<T>() };
        scoured(|| {
            // SAFETY: the place is writable and aligned for T, and holds no value yet.
            unsafe { value.write(make()) };
        });
        Self { value, pages }
    }
}

impl<T> Deref for Locked<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: `within` has written a T there, the pages live as long as `self`, and nothing
        // changes the value: no method gives it out mutably.
        unsafe { self.value.as_ref() }
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: the value was written by `within`, is dropped here alone, and `self` is not used
        // again.
        unsafe { self.value.drop_in_place() };
        self.pages.wipe();
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Locked(..)")
    }
}

// SAFETY: a `Locked` owns its value as a `Box` does: it may go to another thread if the value may.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: it gives out `&T` alone, so it may be shared if the value may.
unsafe impl<T: Sync> Sync for Locked<T> {}

/// Where a value goes: whole pages, and one more on each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Plan {
    /// Bytes of a page.
    page: usize,
    /// Bytes of the pages that can be used.
    inner: usize,
    /// The value's place in them.
    value: usize,
}

impl Plan {
    const fn of<T>(page: usize) -> Self {
        Self::new(size_of::<T>(), align_of::<T>(), page)
    }

    /// `align` is a power of two that divides `page`, as it is for every type that is not aligned
    /// by hand.
    const fn new(size: usize, align: usize, page: usize) -> Self {
        let pages = if size == 0 { 1 } else { size.div_ceil(page) };
        let inner = pages * page;
        Self { page, inner, value: (inner - size) & !(align - 1) }
    }

    const fn total(self) -> usize {
        self.inner + 2 * self.page
    }
}

fn page_bytes() -> usize {
    // SAFETY: asks for a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).ok().filter(|bytes| bytes.is_power_of_two()).unwrap_or(4096)
}

/// Pages with a closed one on each side; all zero at first.
struct Pages {
    /// The first byte that can be used.
    start: NonNull<u8>,
    plan: Plan,
}

impl Pages {
    /// Without memory the process ends, as it does when the allocator has none.
    fn new(plan: Plan, secret: bool) -> (Self, KeyMemory) {
        let mapped = secret.then(|| map_secret(plan)).flatten().or_else(|| map_locked(plan));
        let Some((whole, kept)) = mapped else { std::process::abort() };
        // SAFETY: the mapping is longer than its first page.
        (Self { start: unsafe { whole.byte_add(plan.page) }.cast(), plan }, kept)
    }

    fn wipe(&mut self) {
        // SAFETY: these bytes are ours, writable and initialised (the kernel gives zeros), and
        // nothing refers to them any more.
        wipe(unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.plan.inner) });
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; nothing refers to it any more. A failure leaves pages
        // behind that were wiped.
        unsafe {
            let whole = self.start.byte_sub(self.plan.page);
            libc::munmap(whole.as_ptr().cast(), self.plan.total());
        }
    }
}

type Mapped = (NonNull<c_void>, KeyMemory);

/// Pages of secret memory, the outer ones closed. Nothing where the kernel has none, has it
/// switched off, or the limit of locked memory is used up.
fn map_secret(plan: Plan) -> Option<Mapped> {
    if cfg!(miri) {
        return None;
    }
    // SAFETY: system calls on a descriptor that this function opens and closes, and on a new
    // mapping at a place of the kernel's choice, within its extent.
    unsafe {
        let file = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
        let file = i32::try_from(file).ok().filter(|file| *file >= 0)?;
        let sized = libc::ftruncate(file, i64::try_from(plan.total()).ok()?) == 0;
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let whole = sized.then(|| map(plan, writable, libc::MAP_SHARED, file)).flatten();
        libc::close(file);
        let whole = whole?;
        libc::mprotect(whole.as_ptr(), plan.page, libc::PROT_NONE);
        let last = whole.byte_add(plan.page + plan.inner);
        libc::mprotect(last.as_ptr(), plan.page, libc::PROT_NONE);
        Some((whole, KeyMemory::Secret))
    }
}

/// Ordinary pages, the outer ones closed, the inner ones locked and left out of core dumps.
fn map_locked(plan: Plan) -> Option<Mapped> {
    let (writable, private) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    if cfg!(miri) {
        return Some((map(plan, writable, private, -1)?, KeyMemory::Locked));
    }
    // SAFETY: system calls on a new mapping at a place of the kernel's choice, within its extent.
    unsafe {
        let whole = map(plan, libc::PROT_NONE, private, -1)?;
        let inner = whole.byte_add(plan.page).as_ptr();
        if libc::mprotect(inner, plan.inner, writable) != 0 {
            return None;
        }
        libc::madvise(inner, plan.inner, libc::MADV_DONTDUMP);
        match libc::mlock(inner, plan.inner) {
            0 => Some((whole, KeyMemory::Locked)),
            _ => Some((whole, KeyMemory::Swappable)),
        }
    }
}

fn map(plan: Plan, protection: i32, flags: i32, file: i32) -> Option<NonNull<c_void>> {
    // SAFETY: asks for new pages at a place of the kernel's choice.
    let whole = unsafe { libc::mmap(ptr::null_mut(), plan.total(), protection, flags, file, 0) };
    if whole == libc::MAP_FAILED { None } else { NonNull::new(whole) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    fn kinds() -> [(Pages, KeyMemory); 2] {
        [true, false].map(|secret| Pages::new(Plan::of::<[u8; 32]>(page_bytes()), secret))
    }

    /// What the kernel says of the mapping that holds this address.
    fn flags_at(address: *const u8) -> String {
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut found = false;
        for line in maps.lines() {
            if let Some((range, _)) = line.split_once(' ').filter(|(range, _)| range.contains('-'))
            {
                let (from, to) = range.split_once('-').unwrap();
                let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap());
                found = (from..to).contains(&address.addr());
            }
            if found && line.starts_with("VmFlags:") {
                return format!("{line} ");
            }
        }
        panic!("no mapping holds that address")
    }

    #[test]
    fn a_value_lies_at_the_end_of_its_pages_and_aligned() {
        for page in [4096, 16_384, 65_536] {
            for size in [0, 1, 31, 32, 33, 4095, 4096, 4097, 70_000] {
                for align in [1, 2, 8, 16, 64] {
                    let plan = Plan::new(size, align, page);
                    assert_eq!((plan.inner % page, plan.value % align), (0, 0));
                    assert!(plan.inner > 0 && plan.value + size <= plan.inner);
                    assert!(plan.inner - plan.value < size + align);
                    assert_eq!(plan.total(), plan.inner + 2 * page);
                }
            }
        }
    }

    #[test]
    fn a_value_is_there_is_shared_and_is_dropped_once() {
        struct Counted(Arc<AtomicUsize>, u64);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let dropped = Arc::new(AtomicUsize::new(0));
        for pages in kinds() {
            let locked = Arc::new(Locked::within(pages, || Counted(dropped.clone(), 17)));
            let there = locked.clone();
            assert_eq!(std::thread::spawn(move || there.1).join().unwrap(), 17);
            assert_eq!(format!("{locked:?}"), "Locked(..)");
            let before = dropped.load(Ordering::SeqCst);
            drop(locked);
            assert_eq!(dropped.load(Ordering::SeqCst), before + 1);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn both_kinds_of_memory_are_locked_and_left_out_of_core_dumps() {
        // SAFETY: a system call that makes a descriptor, which this function closes.
        let offered = unsafe {
            let file = libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC);
            i32::try_from(file).is_ok_and(|file| libc::close(file) == 0)
        };
        let best = if offered { KeyMemory::Secret } else { KeyMemory::Locked };
        for (pages, best) in kinds().into_iter().zip([best, KeyMemory::Locked]) {
            assert_eq!(pages.1, best, "the limits of this kernel allow less");
            let locked = Locked::within(pages, || [7u8; 32]);
            let flags = flags_at(locked.value.as_ptr().cast());
            assert!(flags.contains(" lo "), "{flags}");
            assert!(flags.contains(" dd "), "{flags}");
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn the_pages_around_it_are_closed() {
        for (pages, _) in kinds() {
            let (page, start) = (pages.plan.page, pages.start.as_ptr());
            let around = [start.wrapping_sub(page), start.wrapping_add(pages.plan.inner)];
            for address in around {
                let flags = flags_at(address);
                assert!(!flags.contains(" rd ") && !flags.contains(" wr "), "{flags}");
            }
        }
    }

    #[test]
    fn wiping_reaches_every_byte_of_the_pages() {
        for (mut pages, _) in kinds() {
            // SAFETY: the pages' own bytes, all of them writable.
            let bytes =
                unsafe { std::slice::from_raw_parts_mut(pages.start.as_ptr(), pages.plan.inner) };
            bytes.fill(7);
            pages.wipe();
            // SAFETY: as above; the first slice is no longer used.
            let bytes =
                unsafe { std::slice::from_raw_parts(pages.start.as_ptr(), pages.plan.inner) };
            assert!(bytes.iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn what_is_dropped_is_wiped_first() {
        // Shared pages, which can be seen from a second place on every kernel.
        let plan = Plan::of::<[u8; 32]>(page_bytes());
        let writable = libc::PROT_READ | libc::PROT_WRITE;
        let whole = map(plan, writable, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1).unwrap();
        // SAFETY: the mapping is longer than its first page.
        let start = unsafe { whole.byte_add(plan.page) }.cast();
        let locked = Locked::within((Pages { start, plan }, KeyMemory::Locked), || [7u8; 32]);
        let inner = plan.inner;
        // SAFETY: a second view of the same shared pages, at a place of the kernel's choice, which
        // stays when the first one is given back.
        let twin = unsafe {
            let from = locked.pages.start.as_ptr().cast();
            libc::mremap(from, 0, inner, libc::MREMAP_MAYMOVE)
        };
        assert_ne!(twin, libc::MAP_FAILED);
        // SAFETY: the second view has as many bytes, and nothing writes to them meanwhile.
        let seen = || unsafe { std::slice::from_raw_parts(twin.cast::<u8>(), inner) }.to_vec();
        assert!(seen().ends_with(&[7; 32]));
        drop(locked);
        assert_eq!(seen(), vec![0; inner]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "asks the kernel")]
    fn the_worst_kind_is_the_one_that_is_told() {
        // Other tests ask for pages, too, and the system may have no better ones left.
        let before = key_memory();
        let plan = Plan::of::<u8>(page_bytes());
        drop(Locked::within(Pages::new(plan, false), || 1u8));
        drop(Locked::new(|| 1u8));
        assert!(key_memory() >= before.max(KeyMemory::Locked));
        let names =
            [KeyMemory::Secret, KeyMemory::Locked, KeyMemory::Swappable].map(KeyMemory::name);
        assert_eq!(names, ["memfd_secret", "mlock", "swappable"]);
    }
}
