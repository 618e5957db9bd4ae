//! Idle connections to providers, few and not for long.
//!
//! A connection comes back only when its last answer left no doubt, and goes out only when nothing
//! has arrived since and its address is still one of the host's: a provider that closed it or spoke
//! out of turn must not meet a payment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::dial::AddressPolicy;
use super::line::Line;

/// Idle connections kept per upstream.
const IDLE_MAX: usize = 64;

/// Where a connection leads. The policy is part of it: a connection opened where private addresses
/// are allowed must not serve a request for which they are not.
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
            if since.elapsed() < self.idle && !line.is_astray() && line.is_silent() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection whose last answer was complete. Asking whether it is silent also makes
    /// rustls' buffer be wiped: it still holds that answer.
    pub(crate) fn put(&self, key: Key, mut line: Line) {
        if line.is_astray() || !line.is_silent() {
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};

    use super::super::dial::Socket;
    use super::super::wiping::Wiping;
    use super::*;

    const IDLE: Duration = Duration::from_millis(50);

    async fn line() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (far, _) = listener.accept().await.unwrap();
        (Line::new(Socket::Plain(Wiping::new(near))), far)
    }

    fn key() -> Key {
        Key { authority: "https://a:443".into(), policy: AddressPolicy { allow_private: true } }
    }

    #[tokio::test]
    async fn a_connection_with_surplus_bytes_is_not_kept() {
        let pool = Pool::new(IDLE);
        let (near, mut far) = line().await;
        far.write_all(b"surplus").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        pool.put(key(), near);
        assert_eq!(pool.with(|lines| lines.len()), 0);
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_its_time_only_and_never_too_many() {
        let pool = Pool::new(IDLE);
        let mut ends = Vec::new();
        for _ in 0..IDLE_MAX + 3 {
            let (near, far) = line().await;
            ends.push(far);
            pool.put(key(), near);
        }
        assert_eq!(pool.with(|lines| lines.values().map(Vec::len).sum::<usize>()), IDLE_MAX);
        assert!(pool.take(&key()).is_some());
        tokio::time::sleep(IDLE).await;
        assert!(pool.take(&key()).is_none());
        assert_eq!(pool.with(|lines| lines.values().map(Vec::len).sum::<usize>()), 0);
    }
}
