//! Hours in minutes: a constant rate of 70 % of saturation, sampled each second, and a verdict on
//! memory, descriptors and errors. Cards live a minute here, so that the vault fills and empties.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::task::JoinSet;

use super::paced::{Queue, dispatch};
use super::ports::Hop;
use super::rival::{CONNECTIONS, Rival};
use super::sale::Kind;
use super::shopper::{Count, Shopper};
use super::table::median;

/// Of the rate at saturation.
const SHARE: f64 = 0.7;
/// How long the first cards take to expire, and the pools to settle.
const SETTLED_AFTER: usize = 100;
/// What may be added to the memory of a settled process.
const GROWTH_MAX: f64 = 0.05;
/// Between the first and the last quarter; and between the most and the fewest, connections to the
/// provider aside: those come and go with the load, and have a bound of their own.
const DESCRIPTORS_MAX: usize = 8;

/// A second of the soak.
struct Sample {
    resident_kib: u64,
    descriptors: usize,
    towards_provider: usize,
    sales: u64,
    errors: u64,
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
        shoppers.spawn(shopper.serve(Arc::clone(&queue)));
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

async fn watch(rival: Arc<Rival>, count: Arc<Count>, seconds: usize) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    for second in 0..seconds {
        tick.tick().await;
        let sample = Sample {
            resident_kib: rival.running.resident_kib(),
            descriptors: rival.running.descriptors(),
            towards_provider: Hop::Tls.connections(),
            sales: count.sales.load(Ordering::Relaxed),
            errors: count.errors.load(Ordering::Relaxed),
        };
        if second % 30 == 0 {
            println!(
                "{second:>4} s: {} KiB, {} descriptors ({} to the provider), {} sales, {} errors",
                sample.resident_kib,
                sample.descriptors,
                sample.towards_provider,
                sample.sales,
                sample.errors
            );
        }
        samples.push(sample);
    }
    samples
}

fn write(samples: &[Sample], rate: f64, folder: &std::path::Path) {
    let row = |sample: &Sample| {
        let Sample { resident_kib, descriptors, towards_provider, sales, errors } = sample;
        json!([resident_kib, descriptors, towards_provider, sales, errors])
    };
    let samples: Vec<_> = samples.iter().map(row).collect();
    let document = json!({
        "rate": rate,
        "columns": ["resident KiB", "descriptors", "of these to the provider", "sales", "errors"],
        "each second": samples,
    });
    std::fs::create_dir_all(folder).expect("target/load");
    std::fs::write(folder.join("soak.json"), format!("{document}\n")).expect("soak.json");
}

fn judge(samples: &[Sample], count: &Count, due: usize, took: Duration, seconds: usize) -> bool {
    let settled = SETTLED_AFTER.min(samples.len() / 3);
    let settled = &samples[settled..];
    let part = (settled.len() / 4).max(1);
    let [first, last] = [&settled[..part], &settled[settled.len() - part..]];
    let typical = |samples: &[Sample], figure: fn(&Sample) -> f64| {
        median(samples.iter().map(figure).collect()).unwrap_or(0.0)
    };
    let resident = [first, last].map(|part| typical(part, |sample| sample.resident_kib as f64));
    let growth = resident[1] / resident[0] - 1.0;
    let open = [first, last].map(|part| typical(part, |sample| sample.descriptors as f64));
    let others =
        || settled.iter().map(|sample| sample.descriptors.saturating_sub(sample.towards_provider));
    let spread = others().max().unwrap_or(0) - others().min().unwrap_or(0);
    let pooled = settled.iter().map(|sample| sample.towards_provider).max().unwrap_or(0);
    let errors = count.errors.load(Ordering::Relaxed);
    let late = took.as_secs_f64() / seconds as f64 - 1.0;
    let verdicts = [
        (errors == 0, format!("{errors} errors in {due} sales")),
        (
            growth < GROWTH_MAX,
            format!(
                "memory {:.0} -> {:.0} KiB ({:+.1} %)",
                resident[0],
                resident[1],
                100.0 * growth
            ),
        ),
        (
            (open[1] - open[0]).abs() <= DESCRIPTORS_MAX as f64,
            format!("descriptors {:.0} -> {:.0}", open[0], open[1]),
        ),
        (
            spread <= DESCRIPTORS_MAX,
            format!("descriptors within {spread} of each other, the provider's aside"),
        ),
        (
            pooled <= CONNECTIONS,
            format!("{pooled} connections to the provider at most, of {CONNECTIONS} customers"),
        ),
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
