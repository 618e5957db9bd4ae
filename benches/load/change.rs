//! Change without interruption: a constant rate of payments, and beneath it the configuration is
//! read anew, certificates are renewed, and new processes take over. Nothing may fail.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::paced::{Queue, dispatch};
use super::ports::{Hop, Peer};
use super::process::Running;
use super::rival::{CONNECTIONS, Rival};
use super::shopper::{Count, Shopper};
use super::world::World;
use super::{client, upstream};

const LIFE_SECONDS: u32 = 900;
/// Payments in a second.
const RATE: f64 = 500.0;
/// How long a renewed certificate or a take-over may take until it is seen.
const SEEN_WITHIN: Duration = Duration::from_secs(20);

/// What is done beneath the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Configuration,
    Certificate,
    Process,
}

/// Ten, ten and three, mixed.
fn changes() -> Vec<Change> {
    let mut all: Vec<Change> =
        (0..20).map(|at| [Change::Configuration, Change::Certificate][at % 2]).collect();
    for at in [15, 10, 5] {
        all.insert(at, Change::Process);
    }
    all
}

/// Runs for so long; whether nothing failed.
pub async fn run(product: &Path, seconds: usize, folder: &Path) -> bool {
    let world = World::new(upstream::bearer(), LIFE_SECONDS);
    world.prepare_upgrades();
    world.configure(false, LIFE_SECONDS);
    let seen = upstream::start(world.identity.acceptor().unwrap(), &world.real_bearer).await;
    let running = Running::start(Peer::Portcullis, &world, product, true);
    let rival = Rival::open(running, &world, &client::connector(&world.ca), &seen).await;
    println!("{seconds} s at {RATE:.0} payments a second, TLS hop, {CONNECTIONS} customers");
    let (rival, count) = (Arc::new(rival), Arc::new(Count::default()));
    let (seen, true_seen) = (rival.sales(), rival.true_sales());
    let queue = Arc::new(Queue::default());
    let mut shoppers = JoinSet::new();
    for ordinal in 0..CONNECTIONS {
        let shopper = Shopper::open(&rival, &count, ordinal).await;
        shoppers.spawn(shopper.serve(Arc::clone(&queue)));
    }
    let work = Works { world, rival: Arc::clone(&rival), product: product.to_owned() };
    let works = tokio::spawn(work.through(Duration::from_secs(seconds as u64)));
    let sales = (RATE * seconds as f64) as usize;
    dispatch(&queue, sales, RATE).await;
    queue.end(CONNECTIONS);
    shoppers.join_all().await;
    let (done, _processes) = works.await.expect("the changes");
    let (seen, true_seen) = (rival.sales() - seen, rival.true_sales() - true_seen);
    judge(&count, &done, sales as u64, (seen, true_seen), folder)
}

/// Whoever operates the product meanwhile.
struct Works {
    world: World,
    rival: Arc<Rival>,
    product: std::path::PathBuf,
}

/// A change and what came of it.
struct Done {
    change: Change,
    good: bool,
    took: Duration,
}

impl Works {
    /// What was done, and the processes: the last of them serves until the last payment is made.
    async fn through(self, all: Duration) -> (Vec<Done>, Vec<Running>) {
        let changes = changes();
        let every = all / u32::try_from(changes.len() + 1).expect("few");
        let mut tick = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        let mut processes: Vec<Running> = Vec::new();
        let mut done = Vec::new();
        for (number, change) in changes.into_iter().enumerate() {
            tick.tick().await;
            let begun = Instant::now();
            let good = match change {
                Change::Configuration => self.configure(number).await,
                Change::Certificate => self.renew().await,
                Change::Process => self.replace(&mut processes).await,
            };
            let took = begun.elapsed();
            println!("{:>4} ms {} {change:?}", took.as_millis(), verdict(good));
            done.push(Done { change, good, took });
        }
        tick.tick().await;
        (done, processes)
    }

    /// Another application every other time.
    async fn configure(&self, number: usize) -> bool {
        self.world.configure(number.is_multiple_of(4), LIFE_SECONDS);
        tokio::task::spawn_blocking(|| admin("POST", "/reload")).await.is_ok_and(|text| {
            let good = ["HTTP/1.1 200", "HTTP/1.1 204"].iter().any(|ok| text.starts_with(ok));
            if !good {
                println!("{text}");
            }
            good
        })
    }

    /// New certificates and keys; whoever connects is shown them.
    async fn renew(&self) -> bool {
        let ports = [Peer::Portcullis.port(Hop::Tls), Peer::Portcullis.capture_port()];
        let mut old = HashSet::new();
        for port in ports {
            old.extend(self.rival.line(port).await.certificate().map(<[u8]>::to_vec));
        }
        self.world.renew();
        let end = Instant::now() + SEEN_WITHIN;
        for port in ports {
            loop {
                let line = self.rival.line(port).await;
                if line.certificate().is_some_and(|shown| !old.contains(shown)) {
                    break;
                }
                if Instant::now() > end {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
        true
    }

    /// A new process takes over, and the one before ends by itself.
    async fn replace(&self, processes: &mut Vec<Running>) -> bool {
        let next = Running::successor(&self.world, &self.product);
        let before = processes.last().unwrap_or(&self.rival.running);
        let end = Instant::now() + SEEN_WITHIN;
        while !before.has_ended() && !next.has_ended() && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let good = before.has_ended() && !next.has_ended();
        processes.push(next);
        good
    }
}

/// A call of the admin listener, with the answer's whole text.
fn admin(method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", Peer::Portcullis.admin_port()))
        .expect("the admin listener");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

fn judge(
    count: &Count,
    done: &[Done],
    due: u64,
    (seen, with_cvv): (u64, u64),
    folder: &Path,
) -> bool {
    let get = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed);
    let (errors, sent) = (get(&count.errors), get(&count.with_cvv));
    let made = |change: Change| done.iter().filter(|one| one.change == change).count();
    let slowest = get(&count.slowest_us) as f64 / 1000.0;
    let verdicts = [
        (errors == 0, format!("{errors} of {due} payments failed, answers cut off among them")),
        (seen == due, format!("the provider saw {seen} payments of {due}, none twice")),
        (with_cvv == sent, format!("{with_cvv} of {sent} first payments came with their CVV")),
        (
            done.iter().all(|one| one.good),
            format!(
                "{} configurations, {} certificates, {} processes changed",
                made(Change::Configuration),
                made(Change::Certificate),
                made(Change::Process)
            ),
        ),
    ];
    for (good, what) in &verdicts {
        println!("{} {what}", verdict(*good));
    }
    let reopened = get(&count.reopened);
    println!("connections that were closed between two calls and opened anew: {reopened}");
    println!("slowest payment, from the moment it was due: {slowest:.1} ms");
    let changes: Vec<_> = done
        .iter()
        .map(|one| json!([format!("{:?}", one.change), one.took.as_millis() as u64, one.good]))
        .collect();
    let document = json!({
        "payments": due, "failed": errors, "seen": seen, "with CVV": [with_cvv, sent],
        "reopened": reopened, "slowest ms": slowest, "changes": changes,
    });
    std::fs::create_dir_all(folder).expect("target/load");
    std::fs::write(folder.join("change.json"), format!("{document}\n")).expect("change.json");
    verdicts.iter().all(|(good, _)| *good)
}

fn verdict(good: bool) -> &'static str {
    if good { "PASS" } else { "FAIL" }
}
