//! How many signatures does one core make in a second, and what is the rest of a signature's way?
//!
//! Payload: a HighHelp pay-in as it goes to the provider (15 values, 0.8 KiB as it is signed), the
//! five signed values of an invoice, an account's Basic pair. The baseline is one SHA-256 over the
//! same bytes. Machine of the figures in `docs/performance.md`: 2 cores of an AMD EPYC (Zen 5, KVM).
//!
//! Everything that a measured call needs is made before. Criterion measures by the clock on the
//! wall; the table at the end counts processor time (Linux), in turns with the baseline, so that its
//! ratios hold beside other people's work.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench ends or tells here")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use portcullis::credential::access_headers::{Scalar, message, normalise};
use portcullis::credential::{Basic, Prehash, SigningKey, VerifyingKey, sorted_digest};
use portcullis::secret::SecretBytes;
use sha2::{Digest as _, Sha256};

const PAYIN: [(&str, &str); 15] = [
    ("general:project_id", "7d0c2f0e-0000-4000-8000-000000000000"),
    ("general:payment_id", "ord-00000001"),
    ("general:merchant_callback_url", "https://pay.example.com/callbacks/highhelp/progress"),
    ("general:redirect_url", "https://shop.example/orders/ord-00000001"),
    ("payment:method", "card-ecom"),
    ("payment:amount", "10000"),
    ("payment:currency", "RUB"),
    ("sender:pan", "4242424242424242"),
    ("sender:card_holder", "Card Holder"),
    ("sender:expiry_month", "10"),
    ("sender:expiry_year", "35"),
    ("sender:cvv", "123"),
    ("customer:id", "c1"),
    ("customer:ip_address", "203.0.113.7"),
    ("customer:country", "KZ"),
];

const INVOICE: [(&str, &[u8]); 5] = [
    ("amount", b"12.34"),
    ("currency", b"980"),
    ("payway", b"card_uah"),
    ("shop_id", b"158"),
    ("shop_order_id", b"49135760"),
];

const BASELINE: &str = "SHA-256 of the same bytes (baseline)";

/// Turns of the table, and processor time of one: long against the scheduler's tick.
const TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(150);

/// A name and one call of what is measured.
type Case = (&'static str, Box<dyn Fn()>);

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .configure_from_args();
    let cases = cases();
    let mut group = criterion.benchmark_group("signing");
    group.throughput(Throughput::Elements(1));
    for (name, call) in &cases {
        group.bench_function(*name, |bench| bench.iter(call));
    }
    group.finish();
    criterion.final_summary();
    // `cargo test --benches` only asks whether everything runs.
    if std::env::args().any(|argument| argument == "--bench") {
        print_table(&cases);
    }
}

fn cases() -> Vec<Case> {
    let secret = SecretBytes::from_slice;
    let signed: &'static [u8] = Vec::leak(message_of_a_payin());
    let rsa_key = secret(include_bytes!("../tests/vectors/keys/request.pem"));
    let rsa_key = SigningKey::rsa_pem(&rsa_key).unwrap();
    let rsa_check = secret(include_bytes!("../tests/vectors/keys/request.pub"));
    let rsa_check = VerifyingKey::rsa_pem(&rsa_check).unwrap();
    let rsa_made = rsa_key.sign(signed, Prehash::Double).unwrap().reveal(<[u8]>::to_vec);
    assert!(rsa_check.verify(signed, &rsa_made, Prehash::Double), "the keys do not fit");
    let hmac_key = SigningKey::hmac(secret(&[b'k'; 64]));
    let hmac_check = VerifyingKey::hmac(secret(&[b'k'; 64]));
    let hmac_made = hmac_key.sign(signed, Prehash::Double).unwrap().reveal(<[u8]>::to_vec);
    assert!(hmac_check.verify(signed, &hmac_made, Prehash::Double), "the HMAC does not fit");
    let shop = secret(&[b's'; 32]);
    let basic = Basic::new("coma_0000000000000000".to_owned(), secret(&[b'k'; 40]));
    let normalised = normalise(payin()).as_bytes().to_vec();

    vec![
        case(BASELINE, move || Sha256::digest(black_box(signed))),
        case("RSA-2048 sign", move || rsa_key.sign(black_box(signed), Prehash::Double).unwrap()),
        case("RSA-2048 verify", move || {
            rsa_check.verify(black_box(signed), &rsa_made, Prehash::Double)
        }),
        case("HMAC-SHA-512 sign", move || {
            hmac_key.sign(black_box(signed), Prehash::Double).unwrap()
        }),
        case("HMAC-SHA-512 verify", move || {
            hmac_check.verify(black_box(signed), &hmac_made, Prehash::Double)
        }),
        case("normalise a pay-in", || normalise(black_box(payin()))),
        case("message of a normalised pay-in", move || {
            message(black_box(&normalised), 1_800_000_000)
        }),
        case("sorted digest", move || sorted_digest::digest(black_box(&INVOICE), &shop)),
        case("HTTP Basic", move || basic.header_value()),
    ]
}

fn case<T>(name: &'static str, call: impl Fn() -> T + 'static) -> Case {
    (name, Box::new(move || drop(black_box(call()))))
}

fn payin() -> impl Iterator<Item = (&'static str, Scalar<&'static str>)> {
    PAYIN.into_iter().map(|(path, text)| (path, Scalar::Text(text)))
}

fn message_of_a_payin() -> Vec<u8> {
    message(normalise(payin()).as_bytes(), 1_800_000_000).as_bytes().to_vec()
}

/// One line for each case: medians of turns, the ratio taken within each turn.
fn print_table(cases: &[Case]) {
    let mut rates = vec![Vec::new(); cases.len()];
    for _ in 0..TURNS {
        for ((_, call), rates) in cases.iter().zip(&mut rates) {
            rates.push(rate(call));
        }
    }
    println!("\n{:<38}{:>16}{:>12}{:>14}", "", "per core and s", "each", "x baseline");
    let baseline = rates.first().unwrap().clone();
    for ((name, _), rates) in cases.iter().zip(&rates) {
        let ratios = rates.iter().zip(&baseline).map(|(rate, baseline)| baseline / rate);
        let (rate, ratio) = (median(rates.clone()), median(ratios.collect()));
        println!("{name:<38}{rate:>16.0}{:>9.2} us{ratio:>14.2}", 1e6 / rate);
    }
}

/// Calls in a second of processor time.
fn rate(call: &dyn Fn()) -> f64 {
    let clock = Clock::start();
    let mut calls = 0;
    loop {
        let batch = 1 + calls / 4;
        for _ in 0..batch {
            call();
        }
        calls += batch;
        let passed = clock.passed();
        if passed >= TURN {
            return f64::from(calls) / passed.as_secs_f64();
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    *values.get(values.len() / 2).unwrap()
}

/// Processor time of this thread; where the kernel does not tell, time.
struct Clock {
    wall: Instant,
    on_core: Option<Duration>,
}

impl Clock {
    fn start() -> Self {
        Self { wall: Instant::now(), on_core: on_core() }
    }

    fn passed(&self) -> Duration {
        match (on_core(), self.on_core) {
            (Some(now), Some(then)) => now.saturating_sub(then),
            _ => self.wall.elapsed(),
        }
    }
}

fn on_core() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
