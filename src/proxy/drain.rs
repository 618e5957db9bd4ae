//! Before a stop: everything is still served, and everybody is asked to go elsewhere.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Whether the process is about to stop. From then on it is not ready, and the next answer on each
/// connection is its last.
#[derive(Default)]
pub struct Drain {
    on: AtomicBool,
    asked: Notify,
}

impl Drain {
    /// Begins, now.
    pub fn begin(&self) {
        self.on.store(true, Ordering::Release);
        self.asked.notify_one();
    }

    /// Whether it has begun.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on.load(Ordering::Acquire)
    }

    /// Returns when it has begun. For one who waits.
    pub async fn begun(&self) {
        while !self.is_on() {
            self.asked.notified().await;
        }
    }
}

impl fmt::Debug for Drain {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Drain({})", self.is_on())
    }
}
