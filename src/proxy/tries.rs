//! Addresses that one connection may be made to, one after the other, in the time of one.

use tokio::time::Instant;

use super::exchange::SendErrorKind;

/// The addresses of one connection that are tried: how much time each has, and which failure tells
/// most.
pub(super) struct Tries {
    left: usize,
    until: Instant,
    pub(super) furthest: SendErrorKind,
}

impl Tries {
    pub(super) const fn new(left: usize, until: Instant) -> Self {
        Self { left, until, furthest: SendErrorKind::Connect }
    }

    /// Until when the next one may take.
    pub(super) fn next(&mut self) -> Instant {
        let now = Instant::now();
        let share = u32::try_from(self.left.max(1)).unwrap_or(u32::MAX);
        self.left = self.left.saturating_sub(1);
        now + self.until.saturating_duration_since(now) / share
    }

    pub(super) fn failed(&mut self, kind: SendErrorKind) {
        const fn depth(kind: SendErrorKind) -> u8 {
            match kind {
                SendErrorKind::Connect => 0,
                SendErrorKind::ConnectTimeout | SendErrorKind::ProxyFailed => 1,
                _ => 2,
            }
        }
        if depth(kind) > depth(self.furthest) {
            self.furthest = kind;
        }
    }
}
