//! What work leaves behind in this process, for tests: bytes are sought inverted, so that the
//! search itself does not hold them.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::mpsc;

const PAGE: usize = 4096;

/// Where to look.
#[derive(Clone, Copy)]
enum Where {
    /// In everything that was written to.
    Everywhere,
    /// In the mapping that this address is in.
    At(usize),
}

/// These bytes inverted.
pub(crate) fn invert(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

/// Whether these bytes, given inverted, are in memory.
pub(crate) fn is_in_memory(inverted: &[u8]) -> bool {
    is_found(inverted, Where::Everywhere)
}

/// Whether these bytes, inverted, are in memory once `work` was done in a thread of its own, which
/// does nothing else. Its stack may have been another thread's, so the bytes have to be this
/// test's alone.
pub(crate) fn is_left_by<T: Send>(inverted: &[u8], work: impl FnOnce() -> T + Send) -> (bool, T) {
    is_found_after(inverted, work, |_| Where::Everywhere)
}

/// The same, of the thread's stack alone: what is freed keeps its bytes under a test's allocator.
pub(crate) fn is_left_on_stack_by<T: Send>(
    inverted: &[u8],
    work: impl FnOnce() -> T + Send,
) -> (bool, T) {
    is_found_after(inverted, work, Where::At)
}

fn is_found_after<T: Send>(
    inverted: &[u8],
    work: impl FnOnce() -> T + Send,
    place: impl FnOnce(usize) -> Where,
) -> (bool, T) {
    let (done, is_done) = mpsc::channel();
    let (end, is_end) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            let on_stack = 0u8;
            let made = work();
            done.send(std::ptr::from_ref(&on_stack).addr()).unwrap();
            let _ = is_end.recv();
            made
        });
        let stack = is_done.recv().unwrap();
        let is_left = is_found(inverted, place(stack));
        drop(end);
        (is_left, worker.join().unwrap())
    })
}

fn is_found(inverted: &[u8], place: Where) -> bool {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    maps.lines().filter(|line| line.contains(" rw-p ")).any(|line| {
        let (range, _) = line.split_once(' ').unwrap();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|end| usize::from_str_radix(end, 16).unwrap());
        if matches!(place, Where::At(address) if !(from..to).contains(&address)) {
            return false;
        }
        let bytes = readable(&memory, from, to);
        let is_it = |window: &[u8]| window.iter().zip(inverted).all(|(byte, not)| *byte == !not);
        bytes.windows(inverted.len()).any(is_it)
    })
}

/// A mapping page by page: a guard below a stack cannot be read, nor what another thread has given
/// back meanwhile.
fn readable(memory: &File, from: usize, to: usize) -> Vec<u8> {
    let mut bytes = vec![0; to - from];
    for (page, at) in bytes.chunks_mut(PAGE).zip((from..to).step_by(PAGE)) {
        let _ = memory.read_exact_at(page, at as u64);
    }
    bytes
}
