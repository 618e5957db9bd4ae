//! What the supervisor is told beside the payments: that this process serves, and that it lives.

use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;
use tokio::time::{MissedTickBehavior, interval};

use crate::process::Supervisor;

/// Begins when the listeners have begun.
pub(super) struct Supervised {
    pub(super) supervisor: Arc<Supervisor>,
    /// Another process served before.
    pub(super) took_over: bool,
}

#[async_trait]
impl BackgroundService for Supervised {
    /// Goes on while the process stops: it lives until it has ended.
    async fn start(&self, _shutdown: ShutdownWatch) {
        self.supervisor.ready(self.took_over);
        let Some(every) = self.supervisor.watchdog() else { return };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.supervisor.alive();
        }
    }
}
