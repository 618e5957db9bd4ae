//! One timer per connection, armed only when something actually waits.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The total deadline of the present phase. Setting it costs nothing; the timer is touched when the
/// phase has to wait for the other side.
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    at: Instant,
    armed: bool,
}

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        let at = Instant::now() + duration;
        Self { sleep: Box::pin(sleep_until(at)), at, armed: true }
    }

    /// A new phase begins and must be over after `duration`.
    pub(crate) fn restart(&mut self, duration: Duration) {
        self.at = Instant::now() + duration;
        self.armed = false;
    }

    /// Ready when the phase has lasted too long.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            self.sleep.as_mut().reset(self.at);
            self.armed = true;
        }
        self.sleep.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_restarted_deadline_ends_after_its_new_duration_only() {
        let begun = Instant::now();
        let mut deadline = Deadline::after(Duration::from_secs(1));
        deadline.restart(Duration::from_secs(5));
        poll_fn(|cx| deadline.poll_over(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
    }
}
