//! Threads for signatures that take long: an RSA operation is half a millisecond, in which an event
//! loop could have served dozens of requests that sign nothing.

use std::fmt;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};

use tokio::sync::oneshot;

/// Work that waits for each thread at most; more is refused at once.
const WAITING_PER_THREAD: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// A pool of signing threads. Dropping it ends them when their work is done.
pub struct Signers {
    work: SyncSender<Work>,
}

/// All threads are busy and enough work waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

impl Signers {
    /// Starts one thread fewer than there are `cores`, and at least one: a core stays for the event
    /// loop, so that routes which sign nothing do not wait for those that do.
    pub fn new(cores: usize) -> std::io::Result<Self> {
        let threads = cores.saturating_sub(1).max(1);
        let (work, waiting) = sync_channel(threads * WAITING_PER_THREAD);
        let waiting = Arc::new(Mutex::new(waiting));
        for index in 0..threads {
            let waiting = Arc::clone(&waiting);
            let thread = std::thread::Builder::new().name(format!("sign-{index}"));
            thread.spawn(move || serve(&waiting))?;
        }
        Ok(Self { work })
    }

    /// Runs one piece of work on a signing thread.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Busy> {
        let (done, result) = oneshot::channel();
        let job: Work = Box::new(move || drop(done.send(work())));
        match self.work.try_send(job) {
            Ok(()) => result.await.map_err(|_| Busy),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Busy),
        }
    }
}

impl fmt::Debug for Signers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Signers(..)")
    }
}

fn serve(waiting: &Mutex<Receiver<Work>>) {
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        // A panic ends this piece of work, not the thread; whoever waits for it is told.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_elsewhere_and_its_result_comes_back() {
        let signers = Signers::new(2).unwrap();
        let here = std::thread::current().id();
        let there = signers.run(|| std::thread::current().id()).await.unwrap();
        assert_ne!(here, there);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_the_thread_lives_on() {
        let signers = Signers::new(1).unwrap();
        assert_eq!(signers.run(|| panic!("x")).await, Err(Busy));
        assert_eq!(signers.run(|| 1).await, Ok(1));
    }

    #[tokio::test]
    async fn more_work_than_can_wait_is_refused_at_once() {
        let signers = Arc::new(Signers::new(1).unwrap());
        let (open, closed) = std::sync::mpsc::channel::<()>();
        let first = Arc::clone(&signers);
        let blocked = tokio::spawn(async move { first.run(move || closed.recv().is_ok()).await });
        tokio::task::yield_now().await;
        let mut waiting = Vec::new();
        let mut refused = 0;
        for _ in 0..WAITING_PER_THREAD + 2 {
            let signers = Arc::clone(&signers);
            let mut job = Box::pin(async move { signers.run(|| ()).await });
            match futures_poll(&mut job).await {
                Some(Err(Busy)) => refused += 1,
                _ => waiting.push(job),
            }
        }
        assert!(refused >= 1);
        open.send(()).unwrap();
        assert_eq!(blocked.await.unwrap(), Ok(true));
        for job in waiting {
            assert_eq!(job.await, Ok(()));
        }
    }

    /// Polls once.
    async fn futures_poll<F: Future + Unpin>(job: &mut F) -> Option<F::Output> {
        use std::task::Poll;
        std::future::poll_fn(|context| match std::pin::Pin::new(&mut *job).poll(context) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }
}
