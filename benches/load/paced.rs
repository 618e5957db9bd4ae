//! Load at a constant rate, whatever the answers do: the open loop that hides no wait.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::client::{Line, Look};

/// Calls that are due and not yet sent, in order.
pub struct Queue {
    due: Mutex<VecDeque<(usize, Instant)>>,
    ready: Semaphore,
}

impl Default for Queue {
    fn default() -> Self {
        Self { due: Mutex::default(), ready: Semaphore::new(0) }
    }
}

impl Queue {
    /// The next call and when it is or was due; `None` at the end.
    pub async fn next(&self) -> Option<(usize, Instant)> {
        self.ready.acquire().await.ok()?.forget();
        self.due.lock().unwrap().pop_front()
    }

    /// Tells so many who wait that nothing more comes: a permit without a call.
    pub fn end(&self, waiting: usize) {
        self.ready.add_permits(waiting);
    }
}

/// Sends every request at its moment, over whichever connection is free; one that finds none waits
/// for the first to become free. Latencies count from the moment a request was due; sorted.
pub async fn paced(
    lines: Vec<Line>,
    requests: &Arc<Vec<Vec<u8>>>,
    rate: f64,
    look: &Arc<Look>,
) -> (Vec<Line>, Vec<Duration>) {
    let queue = Arc::new(Queue::default());
    let mut tasks = JoinSet::new();
    for mut line in lines {
        let (requests, look, queue) = (Arc::clone(requests), Arc::clone(look), Arc::clone(&queue));
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while let Some((number, due)) = queue.next().await {
                match line.exchange(&requests[number]).await {
                    Ok((status, body)) => look(number, status, body),
                    Err(error) => panic!("request {number}: {error}"),
                }
                latencies.push(due.elapsed());
            }
            (line, latencies)
        });
    }
    dispatch(&queue, requests.len(), rate).await;
    queue.end(tasks.len());
    let (lines, latencies): (Vec<_>, Vec<_>) = tasks.join_all().await.into_iter().unzip();
    let mut latencies: Vec<Duration> = latencies.into_iter().flatten().collect();
    latencies.sort_unstable();
    (lines, latencies)
}

/// Makes `count` calls due, `rate` in a second. The runtime's timers are a millisecond
/// coarse, so the clock is watched instead.
pub async fn dispatch(queue: &Queue, count: usize, rate: f64) {
    let begun = Instant::now();
    let mut number = 0;
    while number < count {
        let due = begun + Duration::from_secs_f64(number as f64 / rate);
        if due > Instant::now() {
            tokio::task::yield_now().await;
            continue;
        }
        queue.due.lock().unwrap().push_back((number, due));
        queue.ready.add_permits(1);
        number += 1;
    }
}
