//! The memory of another process: its mappings, and what of it can be read, searched piece by
//! piece.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::scan::{Hits, Search};

const PIECE: usize = 1 << 20;
const PAGE: usize = 4096;
/// The page or pages below a thread's stack.
const GUARD_MAX: u64 = 64 * 1024;

/// One line of `/proc/PID/maps`.
struct Mapping {
    from: u64,
    to: u64,
    kind: &'static str,
}

/// What a look at the memory brought.
#[derive(Default)]
pub(crate) struct Scan {
    /// Bytes and hits by kind of mapping.
    pub(crate) kinds: BTreeMap<&'static str, (u64, Hits)>,
    /// Readable by its owner, and not by us, by kind.
    pub(crate) refused: BTreeMap<&'static str, u64>,
}

impl Scan {
    pub(crate) fn hits(&self) -> Hits {
        let mut all = Hits::default();
        self.kinds.values().for_each(|(_, hits)| all += hits);
        all
    }

    /// A table of what was read.
    pub(crate) fn print(&self, stage: &str) {
        for (kind, (bytes, hits)) in &self.kinds {
            let told = hits.told();
            let megabytes = *bytes as f64 / (1 << 20) as f64;
            eprintln!(
                "  {stage:<18} {kind:<14} {megabytes:>8.1} MiB {:>6} hits  {told}",
                hits.total()
            );
        }
        for (kind, bytes) in &self.refused {
            eprintln!(
                "  {stage:<18} {kind:<14} {:>8.1} KiB refused by the kernel",
                *bytes as f64 / 1024.0
            );
        }
    }
}

/// Searches every mapping that the process itself may read.
pub(crate) fn scan(pid: u32, search: &Search) -> Scan {
    let memory = File::open(format!("/proc/{pid}/mem"))
        .expect("/proc/PID/mem: the test needs CAP_SYS_PTRACE, or root");
    let mut scan = Scan::default();
    let mut piece = vec![0; PIECE + search.overlap()];
    for mapping in mappings(pid) {
        let mut at = mapping.from;
        while at < mapping.to {
            let wanted = usize::try_from(mapping.to - at).unwrap().min(piece.len());
            match memory.read_at(&mut piece[..wanted], at) {
                Ok(got @ 1..) => {
                    let last = at + got as u64 == mapping.to;
                    // What begins in the overlap belongs to the next piece.
                    let own = if last { got } else { got.saturating_sub(search.overlap()).max(1) };
                    let (bytes, hits) = scan.kinds.entry(mapping.kind).or_default();
                    *bytes += own as u64;
                    *hits += &search_in(search, &piece[..got], own);
                    at += own as u64;
                }
                _ => {
                    *scan.refused.entry(mapping.kind).or_default() += PAGE as u64;
                    at = (at / PAGE as u64 + 1) * PAGE as u64;
                }
            }
        }
    }
    scan
}

/// Most of the memory was never written to, or was wiped.
fn search_in(search: &Search, piece: &[u8], own: usize) -> Hits {
    let (words, rest) = piece.as_chunks::<64>();
    if words.iter().all(|word| *word == [0; 64]) && rest.iter().all(|byte| *byte == 0) {
        return Hits::default();
    }
    search.hits(piece, own)
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut all = Vec::new();
    let mut guarded = None;
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let path = fields.nth(3).unwrap_or_default();
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|text| u64::from_str_radix(text, 16).unwrap());
        let behind_guard = guarded == Some(from);
        // Larger ones are the unused rest of an allocator's arena.
        guarded = (rights.starts_with("---") && to - from <= GUARD_MAX).then_some(to);
        if rights.starts_with('r') && !matches!(path, "[vvar]" | "[vvar_vclock]" | "[vsyscall]") {
            all.push(Mapping { from, to, kind: kind(path, behind_guard) });
        }
    }
    all
}

fn kind(path: &str, behind_guard: bool) -> &'static str {
    match path {
        "[heap]" => "heap",
        "[stack]" => "stack",
        "" if behind_guard => "thread stack",
        "" => "anonymous",
        _ if path.starts_with("[anon") => "anonymous",
        _ if path.starts_with("/secretmem") => "key memory",
        _ => "file",
    }
}
