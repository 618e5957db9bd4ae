//! What is done for providers' hosts beside the payments.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::proxy::desk::{Desk, Desks};
use crate::proxy::watch;

/// How often it is looked whether other hosts are configured.
const LOOK: Duration = Duration::from_secs(1);

/// Looks providers' hosts up again and tries their addresses, on a thread that serves nobody.
pub(super) struct Hosts(pub(super) Arc<Desks>);

impl Hosts {
    /// Returns when another desk is in use.
    async fn replaced(&self, desk: &Arc<Desk>) {
        while Arc::ptr_eq(&self.0.now(), desk) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl BackgroundService for Hosts {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let desk = self.0.now();
            tokio::select! {
                () = watch::watch(desk.clone()) => {}
                () = self.replaced(&desk) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}
