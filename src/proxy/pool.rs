//! Idle connections to providers, not too many and not for long.
//!
//! A connection comes back only when its last answer left no doubt, and goes out only when nothing
//! has arrived since and its address is still one of the host's: a provider that closed it or spoke
//! out of turn must not meet a payment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

use super::dial::AddressPolicy;
use super::exchange::Terms;
use super::line::Line;

/// Where a connection leads. The policy is part of it: a connection opened where private addresses
/// are allowed must not serve a request for which they are not.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) authority: Arc<str>,
    pub(crate) policy: AddressPolicy,
}

struct Idle {
    line: Line,
    until: Instant,
}

/// Idle connections of all upstreams.
#[derive(Default)]
pub(crate) struct Pool {
    lines: Mutex<HashMap<Key, Vec<Idle>>>,
}

impl Pool {
    /// The connection used last, if it is young and silent; others are closed on the way.
    pub(crate) fn take(&self, key: &Key, now: Instant) -> Option<Line> {
        loop {
            let Idle { mut line, until } = self.with(|lines| lines.get_mut(key)?.pop())?;
            if now < until && !line.is_astray() && line.is_silent() {
                return Some(line);
            }
        }
    }

    /// Keeps a connection whose last answer was complete. Asking whether it is at rest also makes
    /// rustls' buffer be wiped: it still holds that answer.
    pub(crate) fn put(&self, key: Key, mut line: Line, terms: &Terms) {
        if terms.kept == 0 || line.is_astray() || !line.is_at_rest() {
            return;
        }
        let now = Instant::now();
        let fresh = Idle { line, until: now + terms.idle };
        // Closed after the lock is released.
        let _closed = self.with(|lines| {
            let idle = lines.entry(key).or_default();
            let old = idle.iter().take_while(|idle| idle.until <= now).count();
            let surplus = old.max((idle.len() + 1).saturating_sub(terms.kept));
            let closed: Vec<_> = idle.drain(..surplus).collect();
            idle.push(fresh);
            closed
        });
    }

    /// Closes those whose time is over, also where nothing is sent any more.
    pub(crate) fn let_go(&self) {
        let now = Instant::now();
        // Closed after the lock is released.
        let _closed = self.with(|lines| {
            let mut closed = Vec::new();
            lines.retain(|_, idle| {
                let old = idle.iter().take_while(|idle| idle.until <= now).count();
                closed.extend(idle.drain(..old));
                !idle.is_empty()
            });
            closed
        });
    }

    /// Closes connections to addresses that are gone, after the lock is released.
    pub(crate) fn close_astray(&self) {
        let _closed = self.with(|lines| {
            let astray = |idle: &mut Idle| idle.line.is_astray();
            let closed = lines.values_mut().flat_map(|idle| idle.extract_if(.., astray));
            let closed: Vec<_> = closed.collect();
            lines.retain(|_, idle| !idle.is_empty());
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
    use std::io::Write as _;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::super::dial::Socket;
    use super::super::wiping::Wiping;
    use super::*;

    const IDLE: Duration = Duration::from_millis(50);

    fn terms(kept: usize) -> Terms {
        Terms { idle: IDLE, kept, ..Terms::default() }
    }

    fn count(pool: &Pool) -> usize {
        pool.with(|lines| lines.values().map(Vec::len).sum())
    }

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
    async fn of_any_number_of_closed_connections_none_is_used() {
        let (pool, terms) = (Pool::default(), Terms { kept: 200, ..terms(1) });
        let mut far = Vec::new();
        for _ in 0..200 {
            let (near, end) = line().await;
            pool.put(key(), near, &Terms { idle: Duration::from_secs(60), ..terms });
            far.push(end);
        }
        assert_eq!(count(&pool), 200);
        drop(far);
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(pool.take(&key(), Instant::now()).is_none(), "closed by the other end");
    }

    #[tokio::test]
    async fn a_connection_with_surplus_bytes_is_not_kept() {
        let pool = Pool::default();
        let (near, mut far) = line().await;
        far.write_all(b"surplus").await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        pool.put(key(), near, &terms(64));
        assert_eq!(count(&pool), 0);
    }

    #[tokio::test]
    async fn what_arrived_since_the_runtime_last_looked_is_seen() {
        let (pool, terms) = (Pool::default(), Terms { idle: Duration::from_secs(60), ..terms(1) });
        for surplus in [&b"HTTP/1.1 408 Request Timeout\r\n\r\n"[..], b""] {
            let (near, far) = line().await;
            pool.put(key(), near, &terms);
            assert_eq!(count(&pool), 1);
            // Without a wait, so that the runtime has no turn to ask the kernel.
            far.into_std().unwrap().write_all(surplus).unwrap();
            assert!(pool.take(&key(), Instant::now()).is_none(), "{} bytes", surplus.len());
        }
        let (near, _far) = line().await;
        pool.put(key(), near, &terms);
        assert!(pool.take(&key(), Instant::now()).is_some(), "nothing arrived");
    }

    #[tokio::test]
    async fn a_connection_is_kept_for_its_time_only_and_never_too_many() {
        for kept in [0, 1, 5] {
            let pool = Pool::default();
            let mut ends = Vec::new();
            for _ in 0..kept + 3 {
                let (near, far) = line().await;
                ends.push(far);
                pool.put(key(), near, &terms(kept));
            }
            assert_eq!(count(&pool), kept);
            assert_eq!(pool.take(&key(), Instant::now()).is_some(), kept > 0);
            tokio::time::sleep(IDLE).await;
            assert!(pool.take(&key(), Instant::now()).is_none());
            assert_eq!(count(&pool), 0);
        }
    }

    #[tokio::test]
    async fn what_nobody_asks_for_any_more_is_closed_when_its_time_is_over() {
        let pool = Pool::default();
        let (near, mut far) = line().await;
        pool.put(key(), near, &terms(64));
        pool.let_go();
        assert_eq!(count(&pool), 1);
        tokio::time::sleep(IDLE).await;
        pool.let_go();
        assert_eq!(pool.with(|lines| lines.len()), 0);
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0, "the other end was not told");
    }
}
