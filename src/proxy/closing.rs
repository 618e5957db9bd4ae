//! When no further request may begin on a connection: the server stops, or what let its client in
//! holds no longer.

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pingora::server::ShutdownWatch;
use tokio::time::{Instant, sleep_until};

use super::drain::Drain;
use super::tls::Trust;

/// What let a client in.
#[derive(Clone, Default)]
pub(crate) struct Admission {
    /// The authorities that held then.
    pub(crate) trust: Option<Trust>,
    /// The end of its certificate, where it showed one.
    pub(crate) end: Option<Instant>,
}

impl Admission {
    fn is_over(&self) -> bool {
        let is_distrusted = self.trust.as_ref().is_some_and(|trust| trust.has_changed().is_err());
        is_distrusted || self.end.is_some_and(|end| end <= Instant::now())
    }

    async fn over(self) {
        let distrusted = async {
            match self.trust {
                Some(mut trust) => while trust.changed().await.is_ok() {},
                None => pending().await,
            }
        };
        let ended = async {
            match self.end {
                Some(end) => sleep_until(end).await,
                None => pending().await,
            }
        };
        tokio::select! { () = distrusted => {} () = ended => {} }
    }
}

/// The signal that no further request may begin on a connection.
pub(crate) struct Closing {
    wait: Pin<Box<dyn Future<Output = ()> + Send>>,
    watch: ShutdownWatch,
    drain: Arc<Drain>,
    admission: Admission,
    closed: bool,
}

impl Closing {
    pub(crate) fn new(watch: ShutdownWatch, drain: Arc<Drain>, admission: Admission) -> Self {
        let (mut waiting, admitted) = (watch.clone(), admission.clone());
        let wait = Box::pin(async move {
            tokio::select! {
                // A sender that is gone means the same: the server is.
                _ = waiting.wait_for(|closing| *closing) => {}
                () = admitted.over() => {}
            }
        });
        Self { wait, watch, drain, admission, closed: false }
    }

    /// Whether the next answer is to be the last on its connection: no further request may begin,
    /// or clients are asked to take theirs elsewhere.
    pub(crate) fn is_near(&self) -> bool {
        self.closed || *self.watch.borrow() || self.drain.is_on() || self.admission.is_over()
    }

    /// Whether what let the client in holds no longer.
    pub(crate) fn is_admission_over(&self) -> bool {
        self.admission.is_over()
    }

    pub(crate) fn drain(&self) -> Arc<Drain> {
        Arc::clone(&self.drain)
    }

    pub(crate) fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.closed && self.wait.as_mut().poll(cx).is_ready() {
            self.closed = true;
        }
        if self.closed { Poll::Ready(()) } else { Poll::Pending }
    }
}
