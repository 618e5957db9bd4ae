//! Where a call stands in a trace: the ids of W3C Trace Context, read strictly and made.
//!
//! A vendor's state (`tracestate`) is neither read nor passed on: it is text of the caller's.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use base16ct::{HexDisplay, lower};

/// Bytes of a `traceparent` of version 00.
const LENGTH: usize = 55;

/// The only flag that means anything here.
const SAMPLED: u8 = 1;

/// Digits in a row that an id of ours may have: the shortest card number has one more.
const DIGITS_MAX: u32 = 12;

/// A trace's id and the id of a span in it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent`. Of a version after 00 the known beginning counts, as its rules say.
    #[must_use]
    pub fn read(field: &str) -> Option<Self> {
        let (known, rest) = field.as_bytes().split_at_checked(LENGTH)?;
        let [b0, b1, b'-', ids @ .., b'-', f0, f1] = known else { return None };
        let (trace, span) = ids.split_at_checked(32)?;
        let span = span.strip_prefix(b"-")?;
        let [version] = unhexed(&[*b0, *b1])?;
        let [flags] = unhexed(&[*f0, *f1])?;
        let fits = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with(b"-"),
        };
        let context =
            Self { trace: unhexed(trace)?, span: unhexed(span)?, sampled: flags & SAMPLED != 0 };
        let set = context.trace != [0; 16] && context.span != [0; 8];
        (fits && set).then_some(context)
    }

    /// The same, as the other end of a request is told.
    #[must_use]
    pub fn field(&self) -> String {
        let flags = u8::from(self.sampled);
        format!("00-{}-{}-{flags:02x}", Hex(&self.trace), Hex(&self.span))
    }

    /// The trace's id.
    #[must_use]
    pub const fn trace(&self) -> &[u8; 16] {
        &self.trace
    }

    /// The span's id.
    #[must_use]
    pub const fn span(&self) -> &[u8; 8] {
        &self.span
    }

    /// Whether spans of this trace are exported.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.sampled
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("TraceContext(..)")
    }
}

/// Bytes in lower-case hexadecimal.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'b>(pub &'b [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:x}", HexDisplay(self.0))
    }
}

impl serde::Serialize for Hex<'_> {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Bytes that stand in hexadecimal. Lower case alone: upper case is not what the rules allow.
pub(super) fn unhexed<const COUNT: usize>(text: &[u8]) -> Option<[u8; COUNT]> {
    let mut all = [0; COUNT];
    let read = lower::decode(text, &mut all).ok()?;
    (read.len() == COUNT).then_some(all)
}

/// Makes ids, which say nothing and open nothing: a count through a mixer, from a random beginning.
/// No id of ours looks like a card number, so that none is found where none may be.
#[derive(Debug)]
pub(super) struct Ids {
    seeds: [u64; 3],
    count: AtomicU64,
    /// New traces of which the first half of the id is below this are sampled.
    sampled_below: u64,
}

impl Ids {
    /// `share` of the traces that begin here are sampled, 0.0 to 1.0.
    pub(super) fn new(seeds: [u64; 3], share: f64) -> Self {
        Self { seeds, count: AtomicU64::new(0), sampled_below: part(share) }
    }

    /// The first span of a call: in the caller's trace, or in a new one.
    pub(super) fn call(&self, parent: Option<&TraceContext>) -> TraceContext {
        if let Some(parent) = parent {
            return self.below(parent);
        }
        loop {
            let [high, low, span] = self.draw();
            let mut trace = [0; 16];
            let (first, second) = trace.split_at_mut(8);
            first.copy_from_slice(&high.to_be_bytes());
            second.copy_from_slice(&low.to_be_bytes());
            let span = span.to_be_bytes();
            if is_plain(&trace) && is_plain(&span) {
                let sampled = self.sampled_below == u64::MAX || high < self.sampled_below;
                return TraceContext { trace, span, sampled };
            }
        }
    }

    /// A span below another one.
    pub(super) fn below(&self, parent: &TraceContext) -> TraceContext {
        loop {
            let [_, _, span] = self.draw();
            let span = span.to_be_bytes();
            if is_plain(&span) {
                return TraceContext { span, ..*parent };
            }
        }
    }

    fn draw(&self) -> [u64; 3] {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        self.seeds.map(|seed| mixed(seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15))))
    }
}

/// Every number becomes another one, near ones far ones (the finish of SplitMix64).
const fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// That share of all numbers.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the share is between 0 and 1, and `as` ends at the largest number"
)]
fn part(share: f64) -> u64 {
    (share * u64::MAX as f64) as u64
}

/// Whether the id is one (not all zeros) and has no run of digits as long as a card number.
fn is_plain(id: &[u8]) -> bool {
    let mut run = 0_u32;
    let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let longest = digits.map(|digit| {
        run = if digit < 10 { run + 1 } else { 0 };
        run
    });
    longest.max().unwrap_or(0) <= DIGITS_MAX && id.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIELD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_read_and_written_alike() {
        for field in [FIELD, &FIELD.replace("-01", "-00")] {
            assert_eq!(TraceContext::read(field).unwrap().field(), field);
        }
        let read = TraceContext::read(FIELD).unwrap();
        assert!(read.is_sampled() && read.trace()[0] == 0x4b && read.span()[7] == 0xb7);
    }

    #[test]
    fn flags_and_versions_of_the_future_do_not_get_in_the_way() {
        for (field, written) in [
            (FIELD.replace("-01", "-ff"), FIELD.to_owned()),
            (FIELD.replace("-01", "-02"), FIELD.replace("-01", "-00")),
            (FIELD.replacen("00", "01", 1), FIELD.to_owned()),
            (FIELD.replacen("00", "fe", 1) + "-what comes then", FIELD.to_owned()),
        ] {
            assert_eq!(TraceContext::read(&field).unwrap().field(), written, "{field}");
        }
    }

    #[test]
    fn what_is_no_traceparent_is_not_read() {
        let upper = FIELD.to_ascii_uppercase();
        let bad = [
            "",
            "00",
            &FIELD[..54],
            &format!("{FIELD} "),
            &format!(" {FIELD}"),
            &format!("{FIELD}-"),
            &format!("{FIELD}00"),
            &format!("{}00", FIELD.replacen("00", "01", 1)),
            &FIELD.replacen("00", "ff", 1),
            &FIELD.replacen("00", "0g", 1),
            &upper,
            &FIELD.replace("-01", "-0x"),
            &FIELD.replace('-', "_"),
            &FIELD.replace("4bf9", "4bg9"),
            &FIELD.replace("4bf9", "4é9"),
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
        ];
        for bad in bad {
            assert!(TraceContext::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_id_has_all_of_its_digits() {
        assert_eq!(unhexed(b"00f067aa"), Some([0, 0xf0, 0x67, 0xaa]));
        for bad in [&b"00f067"[..], b"00f067aab", b"00f067aa0b", b"00f067AA", b""] {
            assert_eq!(unhexed::<4>(bad), None);
        }
    }

    #[test]
    fn a_call_goes_on_in_the_trace_of_its_caller_or_begins_one() {
        let ids = Ids::new([1, 2, 3], 1.0);
        let parent = TraceContext::read(FIELD).unwrap();
        let call = ids.call(Some(&parent));
        assert_eq!((call.trace(), call.is_sampled()), (parent.trace(), true));
        assert_ne!(call.span(), parent.span());
        let below = ids.below(&call);
        assert_eq!(below.trace(), call.trace());
        assert_ne!(below.span(), call.span());
        let unsampled = TraceContext::read(&FIELD.replace("-01", "-00")).unwrap();
        assert!(!ids.call(Some(&unsampled)).is_sampled());
        assert_ne!(ids.call(None).trace(), ids.call(None).trace());
    }

    #[test]
    fn a_share_of_new_traces_is_sampled() {
        for (share, wanted) in [(0.0, 0..=0), (0.1, 800..=1200), (1.0, 10_000..=10_000)] {
            let ids = Ids::new([7, 8, 9], share);
            let sampled = (0..10_000).filter(|_| ids.call(None).is_sampled()).count();
            assert!(wanted.contains(&sampled), "{share}: {sampled}");
        }
    }

    #[test]
    fn no_id_of_ours_looks_like_a_card_number_and_none_comes_twice() {
        let ids = Ids::new([u64::MAX, 0, 5], 1.0);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100_000 {
            let made = ids.call(None).field();
            let [_, trace, span, _] = made.split('-').collect::<Vec<_>>()[..] else { panic!() };
            for id in [trace, span] {
                let runs = id.split(|sign: char| !sign.is_ascii_digit());
                assert!(runs.map(str::len).max().unwrap() < 13, "{id}");
            }
            assert!(seen.insert(made));
        }
    }
}
