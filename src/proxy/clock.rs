//! One timer per connection, set anew only when it must fire earlier or has fired.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The total deadline of the present phase. Setting it costs nothing: the clock is read when a
/// phase first has to wait, and the timer may fire too early, to be set to the deadline of that
/// moment. So a busy connection hardly ever touches either.
pub(crate) struct Deadline {
    sleep: Pin<Box<Sleep>>,
    phase: Phase,
}

#[derive(Clone, Copy)]
enum Phase {
    /// May take so long from when it first waits.
    New(Duration),
    /// Must be over at that moment.
    Until(Instant),
}

impl Deadline {
    pub(crate) fn after(duration: Duration) -> Self {
        let at = Instant::now() + duration;
        Self { sleep: Box::pin(sleep_until(at)), phase: Phase::Until(at) }
    }

    /// A new phase begins and may last for `duration` from its first wait.
    pub(crate) const fn restart(&mut self, duration: Duration) {
        self.phase = Phase::New(duration);
    }

    /// A new phase begins and must be over at that moment.
    pub(crate) const fn restart_until(&mut self, at: Instant) {
        self.phase = Phase::Until(at);
    }

    /// Ready when the phase has lasted too long.
    pub(crate) fn poll_over(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at();
        if at < self.sleep.deadline() {
            self.sleep.as_mut().reset(at);
        }
        loop {
            ready!(self.sleep.as_mut().poll(cx));
            if self.sleep.deadline() >= at {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(at);
        }
    }

    fn at(&mut self) -> Instant {
        match self.phase {
            Phase::Until(at) => at,
            Phase::New(duration) => {
                let at = Instant::now() + duration;
                self.phase = Phase::Until(at);
                at
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_restarted_deadline_ends_after_its_new_duration_only() {
        let begun = Instant::now();
        let mut deadline = Deadline::after(Duration::from_secs(1));
        deadline.restart(Duration::from_secs(5));
        poll_fn(|cx| deadline.poll_over(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_that_moves_forward_or_back_while_it_is_waited_for_ends_on_time() {
        let begun = Instant::now();
        let mut deadline = Deadline::after(Duration::from_secs(60));
        let pending = poll_fn(|cx| Poll::Ready(deadline.poll_over(cx).is_pending()));
        assert!(pending.await);
        deadline.restart(Duration::from_secs(2));
        poll_fn(|cx| deadline.poll_over(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 2);
        deadline.restart(Duration::from_secs(3));
        let pending = poll_fn(|cx| Poll::Ready(deadline.poll_over(cx).is_pending()));
        assert!(pending.await);
        deadline.restart(Duration::from_secs(70));
        poll_fn(|cx| deadline.poll_over(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 72);
    }

    #[tokio::test(start_paused = true)]
    async fn a_phase_takes_its_time_from_its_first_wait_on() {
        let begun = Instant::now();
        let mut deadline = Deadline::after(Duration::from_secs(60));
        deadline.restart(Duration::from_secs(2));
        tokio::time::sleep(Duration::from_secs(5)).await;
        let pending = poll_fn(|cx| Poll::Ready(deadline.poll_over(cx).is_pending()));
        assert!(pending.await);
        tokio::time::sleep(Duration::from_secs(1)).await;
        // Time that is paused would go on for ever.
        let over = timeout(Duration::from_secs(60), poll_fn(|cx| deadline.poll_over(cx)));
        assert!(over.await.is_ok());
        assert_eq!(begun.elapsed().as_secs(), 7);
    }
}
