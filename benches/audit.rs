//! What does a line of the audit record cost the sale that waits for it?
//!
//! One event loop with so many sales under way at a time, each of which records a reveal, waits
//! until it is written, and leaves its outcome. CPU of the event loop's thread, CPU of the whole
//! process (the writing thread among it), and how long a sale waits, each per sale. Baseline: the
//! same tasks without a record. The folder is `TMPDIR`'s; what it lies on decides the waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use portcullis::audit::{AnchorKey, Audit, Flush, Record, Settings, Way};
use portcullis::card::{Mode, Timestamp, Token, TokenId};
use portcullis::secret::SecretBytes;
use tokio::task::JoinSet;

fn spent(usage: &Usage) -> f64 {
    let time = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    time as f64
}

fn cpu(who: UsageWho) -> f64 {
    spent(&getrusage(who).unwrap())
}

async fn sale(audit: &Audit, token: TokenId) -> Duration {
    let begun = Instant::now();
    let request_id = "jcnkbhllfobhpgfkaaaaaaaaaaaabcde";
    let record = Record::Reveal {
        app: "shop",
        account: "paymega",
        route: "sale",
        token: Some(token),
        pan: 1,
        cvv: 1,
        host: "cardgate.paymega.example",
        port: 443,
        way: Way::Server,
        request_id,
    };
    audit.record(&record, Timestamp::system()).await.unwrap();
    let waited = begun.elapsed();
    audit.note(&Record::Outcome { request_id, forwarded: "yes" }, Timestamp::system());
    waited
}

async fn round(audit: Arc<Audit>, at_once: usize, sales: usize) -> Vec<Duration> {
    let token = Token::random(Mode::Test).id();
    let mut tasks = JoinSet::new();
    for _ in 0..at_once {
        let audit = Arc::clone(&audit);
        tasks.spawn(async move {
            let mut waits = Vec::with_capacity(sales / at_once);
            for _ in 0..sales / at_once {
                waits.push(sale(&audit, token).await);
                tokio::task::yield_now().await;
            }
            waits
        });
    }
    tasks.join_all().await.concat()
}

fn measure(name: &str, flush: Option<Flush>, at_once: usize, sales: usize) {
    let folder = tempfile::tempdir().unwrap();
    let key = AnchorKey::new(SecretBytes::from_slice(&[7; 32]));
    let audit = match flush {
        None => Audit::off(),
        Some(flush) => {
            let folder = folder.path().to_owned();
            let settings = Settings { folder, key, flush, file_bytes: 64 << 20 };
            Audit::start(&settings, &[], |_, _| {}).unwrap()
        }
    };
    let audit = Arc::new(audit);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(round(Arc::clone(&audit), at_once, sales / 10));
    let before = (cpu(UsageWho::RUSAGE_THREAD), cpu(UsageWho::RUSAGE_SELF));
    let mut waits = runtime.block_on(round(Arc::clone(&audit), at_once, sales));
    let after = (cpu(UsageWho::RUSAGE_THREAD), cpu(UsageWho::RUSAGE_SELF));
    audit.close(Timestamp::system());
    waits.sort_unstable();
    let count = waits.len() as f64;
    println!(
        "{name:<22} {at_once:>4} at once: {:>6.2} us event loop, {:>6.2} us process, waits {:>6} us \
         (p50), {:>6} us (p99)",
        (after.0 - before.0) / count,
        (after.1 - before.1) / count,
        waits[waits.len() / 2].as_micros(),
        waits[waits.len() * 99 / 100].as_micros(),
    );
}

fn main() {
    let smallest = std::env::args().any(|argument| argument == "--test");
    let sales = |count: usize| if smallest { 640 } else { count };
    let interval = Flush::Interval(Duration::from_secs(1));
    for at_once in [1, 4, 16, 64] {
        measure("no record", None, at_once, sales(200_000));
        measure("flush = interval", Some(interval), at_once, sales(200_000));
        measure("flush = every_record", Some(Flush::EveryRecord), at_once, sales(200 * at_once));
    }
}
