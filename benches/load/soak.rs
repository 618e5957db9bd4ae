//! Hours in minutes: a constant rate of 70 % of saturation, sampled each second, and a verdict on
//! memory, descriptors and errors. Cards live a minute here, so that the vault fills and empties.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::client::Line;
use super::paced::{Queue, dispatch};
use super::ports::{Hop, Peer};
use super::rival::{CONNECTIONS, Rival, capture, member, tokens};
use super::sale::{self, CardPair, Kind};
use super::table::median;

/// Of the rate at saturation.
const SHARE: f64 = 0.7;
/// Sales with one card; the first has its CVV.
const SALES_PER_CARD: usize = 20;
const CARDS_PER_SESSION: usize = 100;
/// How long the first cards take to expire, and the pools to settle.
const SETTLED_AFTER: usize = 100;
/// What may be added to the memory of a settled process.
const GROWTH_MAX: f64 = 0.05;
/// Connections to the provider come and go.
const DESCRIPTORS_MAX: usize = 8;

/// What went wrong, and how much went right.
#[derive(Default)]
struct Count {
    sales: AtomicU64,
    /// Sales with a CVV, one for each card: the provider has to see as many.
    with_cvv: AtomicU64,
    errors: AtomicU64,
}

/// A second of the soak.
struct Sample {
    resident_kib: u64,
    descriptors: usize,
    sales: u64,
    errors: u64,
}

/// A customer after the other over one pair of connections.
struct Shopper {
    rival: Arc<Rival>,
    count: Arc<Count>,
    sales: Line,
    captures: Line,
    session: Option<(String, usize)>,
    card: Option<(CardPair, usize)>,
    ordinal: usize,
}

impl Shopper {
    async fn open(rival: &Arc<Rival>, count: &Arc<Count>, ordinal: usize) -> Self {
        let port = Peer::Portcullis.port(Hop::Tls);
        let sales = rival.line(port).await;
        let captures = rival.line(Peer::Portcullis.capture_port()).await;
        let (rival, count) = (Arc::clone(rival), Arc::clone(count));
        Self { rival, count, sales, captures, session: None, card: None, ordinal }
    }

    /// One sale, with a new card where the last one was used often enough.
    async fn buy(&mut self) -> Result<(), String> {
        let card = match self.card.take() {
            Some((card, left @ 1..)) => {
                self.card = Some((card.clone(), left - 1));
                CardPair { number: card.number, cvv: String::new() }
            }
            _ => {
                let card = self.capture().await?;
                self.card = Some((card.clone(), SALES_PER_CARD - 1));
                card
            }
        };
        let request = self.rival.sale(Hop::Tls, Kind::Small, &card);
        let (status, body) = self.sales.exchange(&request).await.map_err(|e| e.to_string())?;
        match status {
            200 if !sale::shows_card(body) => Ok(()),
            200 => Err("an answer shows the card".to_owned()),
            other => Err(format!("{other}: {}", String::from_utf8_lossy(body))),
        }
    }

    async fn capture(&mut self) -> Result<CardPair, String> {
        let session = match self.session.take() {
            Some((session, left @ 1..)) => {
                self.session = Some((session.clone(), left - 1));
                session
            }
            _ => {
                let request = Rival::session_request();
                let (status, body) =
                    self.sales.exchange(&request).await.map_err(|e| e.to_string())?;
                let body = String::from_utf8_lossy(body);
                if status != 201 {
                    return Err(format!("{status}: {body}"));
                }
                let session = format!("Bearer {}", member(&body, "id"));
                self.session = Some((session.clone(), CARDS_PER_SESSION - 1));
                session
            }
        };
        self.count.with_cvv.fetch_add(1, Ordering::Relaxed);
        self.ordinal += CONNECTIONS;
        let request = capture(&session, &sale::card(self.ordinal));
        let (status, body) = self.captures.exchange(&request).await.map_err(|e| e.to_string())?;
        let body = String::from_utf8_lossy(body);
        if status == 201 { Ok(tokens(&body)) } else { Err(format!("{status}: {body}")) }
    }
}

/// Runs for so long; whether the process stood it.
pub async fn soak(rival: Rival, seconds: usize, folder: &std::path::Path) -> bool {
    let mut rates = Vec::new();
    for _ in 0..3 {
        let (cards, _) = rival.cards(20_000).await;
        rates.push(rival.sell(Hop::Tls, Kind::Small, &cards).await.rate());
    }
    let rate = SHARE * median(rates).expect("three rounds");
    println!("{seconds} s at {rate:.0} sales a second (70 % of saturation), TLS hop");
    let (rival, count) = (Arc::new(rival), Arc::new(Count::default()));
    let queue = Arc::new(Queue::default());
    let mut shoppers = JoinSet::new();
    for ordinal in 0..CONNECTIONS {
        let shopper = Shopper::open(&rival, &count, ordinal).await;
        shoppers.spawn(serve(shopper, Arc::clone(&queue)));
    }
    let before = rival.true_sales();
    let begun = Instant::now();
    let sampler = tokio::spawn(watch(Arc::clone(&rival), Arc::clone(&count), seconds));
    let sales = (rate * seconds as f64) as usize;
    dispatch(&queue, sales, rate).await;
    queue.end(CONNECTIONS);
    shoppers.join_all().await;
    let took = begun.elapsed();
    let samples = sampler.await.expect("samples");
    write(&samples, rate, folder);
    let (seen, sent) = (rival.true_sales() - before, count.with_cvv.load(Ordering::Relaxed));
    let arrived = seen == sent;
    println!("{} {seen} of {sent} sales with a CVV reached the provider", verdict(arrived));
    judge(&samples, &count, sales, took, seconds) && arrived
}

async fn serve(mut shopper: Shopper, queue: Arc<Queue>) {
    let count = Arc::clone(&shopper.count);
    while let Some((number, _)) = queue.next().await {
        count.sales.fetch_add(1, Ordering::Relaxed);
        if let Err(error) = shopper.buy().await {
            if count.errors.fetch_add(1, Ordering::Relaxed) < 5 {
                println!("sale {number}: {error}");
            }
            shopper = Shopper::open(&shopper.rival, &count, shopper.ordinal).await;
        }
    }
}

async fn watch(rival: Arc<Rival>, count: Arc<Count>, seconds: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for second in 0..seconds {
        tick.tick().await;
        let sample = Sample {
            resident_kib: rival.running.resident_kib(),
            descriptors: rival.running.descriptors(),
            sales: count.sales.load(Ordering::Relaxed),
            errors: count.errors.load(Ordering::Relaxed),
        };
        if second % 30 == 0 {
            println!(
                "{second:>4} s: {} KiB, {} descriptors, {} sales, {} errors",
                sample.resident_kib, sample.descriptors, sample.sales, sample.errors
            );
        }
        samples.push(sample);
    }
    samples
}

fn write(samples: &[Sample], rate: f64, folder: &std::path::Path) {
    let samples: Vec<_> = samples
        .iter()
        .map(|sample| json!([sample.resident_kib, sample.descriptors, sample.sales, sample.errors]))
        .collect();
    let document = json!({
        "rate": rate, "columns": ["resident KiB", "descriptors", "sales", "errors"],
        "each second": samples,
    });
    std::fs::create_dir_all(folder).expect("target/load");
    std::fs::write(folder.join("soak.json"), format!("{document}\n")).expect("soak.json");
}

fn judge(samples: &[Sample], count: &Count, due: usize, took: Duration, seconds: usize) -> bool {
    let settled = SETTLED_AFTER.min(samples.len() / 3);
    let settled = &samples[settled..];
    let part = (settled.len() / 4).max(1);
    let resident = |samples: &[Sample]| {
        median(samples.iter().map(|sample| sample.resident_kib as f64).collect()).unwrap_or(0.0)
    };
    let (first, last) = (resident(&settled[..part]), resident(&settled[settled.len() - part..]));
    let growth = last / first - 1.0;
    let open = || settled.iter().map(|sample| sample.descriptors);
    let spread = open().max().unwrap_or(0) - open().min().unwrap_or(0);
    let errors = count.errors.load(Ordering::Relaxed);
    let late = took.as_secs_f64() / seconds as f64 - 1.0;
    let verdicts = [
        (errors == 0, format!("{errors} errors in {due} sales")),
        (
            growth < GROWTH_MAX,
            format!("memory {first:.0} -> {last:.0} KiB ({:+.1} %)", 100.0 * growth),
        ),
        (spread <= DESCRIPTORS_MAX, format!("descriptors within {spread} of each other")),
        (
            late < 0.01,
            format!("took {:.1} s, {:+.2} % of what was due", took.as_secs_f64(), 100.0 * late),
        ),
    ];
    for (good, what) in &verdicts {
        println!("{} {what}", verdict(*good));
    }
    verdicts.iter().all(|(good, _)| *good)
}

fn verdict(good: bool) -> &'static str {
    if good { "PASS" } else { "FAIL" }
}
