//! The end of a start. Pingora makes its runtimes once it runs; nothing is served, and nothing
//! taken over, before every one of them is there.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::StartError;
use super::upgrade::UpgradeError;

/// Threads beside those that serve: log, record, export, upgrades, one for each service beside the
/// listeners, Pingora's own, and a few that look names up.
const BESIDE: usize = 24;

/// More threads than these serve nobody faster, where the configuration leaves their number open.
const THREADS_MAX: usize = 32;

type Step = Box<dyn FnOnce() -> Result<(), UpgradeError> + Send>;

/// What is done when all threads are there, once.
pub(super) struct Begin {
    step: Mutex<Option<Step>>,
    failed: Mutex<Option<StartError>>,
}

impl Begin {
    pub(super) fn with(
        step: impl FnOnce() -> Result<(), UpgradeError> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { step: Mutex::new(Some(Box::new(step))), failed: Mutex::default() })
    }

    /// Does it, and says whether serving begins.
    pub(super) fn begin(&self) -> bool {
        let step = self.step.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = step.map_or(Ok(()), |step| step());
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed = done.err().map(StartError::from);
        failed.is_none()
    }

    /// What came of it.
    pub(super) fn outcome(&self) -> Result<(), StartError> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        failed.map_or(Ok(()), Err)
    }
}

/// As many as there are cores where the configuration leaves it open, up to a bound.
pub(super) fn threads(given: usize) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    if given == 0 { cores().min(THREADS_MAX) } else { given }
}

/// Makes as many threads as serving takes, all at once, and lets them go. Where the system allows
/// fewer, Pingora would go on without some, or panic in the middle.
pub(super) fn rehearse(threads: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    std::thread::scope(|scope| {
        let _closed = gate.lock();
        // Two listeners, and signatures.
        (0..3 * threads + BESIDE)
            .try_for_each(|_| Builder::new().spawn_scoped(scope, || drop(gate.lock())).map(drop))
    })
}
