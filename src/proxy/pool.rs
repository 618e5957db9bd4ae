//! Idle connections to providers, few and not for long.
//!
//! A connection comes back only when its last answer left no doubt, and goes out only when nothing has
//! arrived since: a provider that closed it or spoke out of turn must not meet a payment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::dial::AddressPolicy;
use super::exchange::Line;

/// Idle connections kept per upstream.
const IDLE_MAX: usize = 64;

/// Where a connection leads. The policy is part of it: a connection opened where private addresses are
/// allowed must not serve a request for which they are not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) authority: Arc<str>,
    pub(crate) policy: AddressPolicy,
}

struct Idle {
    line: Line,
    since: Instant,
}

/// Idle connections of all upstreams.
pub(crate) struct Pool {
    idle: Duration,
    lines: Mutex<HashMap<Key, Vec<Idle>>>,
}

impl Pool {
    pub(crate) fn new(idle: Duration) -> Self {
        Self { idle, lines: Mutex::default() }
    }

    /// The connection used last, if it is young and silent; others are closed on the way.
    pub(crate) fn take(&self, key: &Key) -> Option<Line> {
        loop {
            let Idle { mut line, since } = self.with(|lines| lines.get_mut(key)?.pop())?;
            if since.elapsed() < self.idle && line.is_silent() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection whose last answer was complete. Asking whether it is silent also makes rustls'
    /// buffer be wiped: it still holds that answer.
    pub(crate) fn put(&self, key: Key, mut line: Line) {
        if !line.is_silent() {
            return;
        }
        let fresh = Idle { line, since: Instant::now() };
        // Closed after the lock is released.
        let _closed = self.with(|lines| {
            let idle = lines.entry(key).or_default();
            let old = idle.iter().take_while(|idle| idle.since.elapsed() >= self.idle).count();
            let surplus = old.max((idle.len() + 1).saturating_sub(IDLE_MAX));
            let closed: Vec<_> = idle.drain(..surplus).collect();
            idle.push(fresh);
            closed
        });
    }

    /// The map is whole at every step, so a poisoned lock is as good as any.
    fn with<R>(&self, act: impl FnOnce(&mut HashMap<Key, Vec<Idle>>) -> R) -> R {
        act(&mut self.lines.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
