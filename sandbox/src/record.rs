//! What a simulator received, kept as it came, so that tests assert on it and not on what the proxy
//! says.

use crate::http::Request;
use crate::lock;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// One request that arrived, with the route that took it.
#[derive(Debug, Clone)]
pub struct Received {
    /// The simulator's own name of the route: `sale`, `payment-invoices`, `3ds-return` …
    pub route: &'static str,
    /// When it had been read completely.
    pub at: Instant,
    /// Method, path, query, headers and body bytes, unchanged.
    pub request: Request,
}

/// Everything received, oldest first.
#[derive(Debug, Default)]
pub struct Recorder {
    entries: Mutex<Vec<Arc<Received>>>,
}

impl Recorder {
    /// Keeps one request.
    pub fn keep(&self, route: &'static str, request: &Request) {
        let received = Received { route, at: Instant::now(), request: request.clone() };
        lock(&self.entries).push(Arc::new(received));
    }

    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Received>> {
        lock(&self.entries).clone()
    }

    /// What one route received.
    #[must_use]
    pub fn on(&self, route: &str) -> Vec<Arc<Received>> {
        lock(&self.entries).iter().filter(|entry| entry.route == route).cloned().collect()
    }

    /// How often one route was called.
    #[must_use]
    pub fn count(&self, route: &str) -> usize {
        lock(&self.entries).iter().filter(|entry| entry.route == route).count()
    }

    /// The newest request on one route.
    #[must_use]
    pub fn last(&self, route: &str) -> Option<Arc<Received>> {
        lock(&self.entries).iter().rev().find(|entry| entry.route == route).cloned()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        lock(&self.entries).clear();
    }
}

/// Polls until `seen` gives a value, at most `patience` long. Callbacks arrive when they arrive.
pub async fn until<T>(patience: Duration, mut seen: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + patience;
    loop {
        if let Some(value) = seen() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}
