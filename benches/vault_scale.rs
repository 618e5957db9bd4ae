//! Does a vault of ten million cards cost a card more than one of a thousand?
//!
//! Payload: for each of 10³ to 10⁷ a fresh process keeps as many cards, each with its security
//! code, under the allocator that the product uses; it reveals a sample of them, redeems it alone
//! and beside a sweep that never ends, and lets all expire. Memory is what the process has resident
//! more than with an empty vault, by card. The baseline of each column is its first line. Cards are
//! made outside of what is measured.
//!
//! `cargo bench --bench vault_scale` prints a table and writes `target/vault-scale.json`;
//! `-- --plot` draws `docs/vault-scale.svg`; `-- --test` runs a thousand cards alone. Ten million
//! need 3.5 GiB. `-- --records` tells the memory of a million idempotency keys and of two million
//! marks, by record.
//! Machine and figures: docs/performance.md, "The vault".

use std::alloc::System;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use portcullis::card::Timestamp;
use portcullis::vault::{KeptCard, Keyring, Limits, Tenant, Vault};
use zeroizing_alloc::ZeroAlloc;

mod captured;

use captured::{audience, capture, owner};

#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const SAMPLE: usize = 10_000;
/// How long latencies are gathered.
const WATCH: Duration = Duration::from_secs(2);
/// What a line of figures holds, in order.
const COLUMNS: [&str; 9] = [
    "cards",
    "bytes_per_card",
    "insert_ns",
    "insert_worst_us",
    "reveal_ns",
    "expire_ns",
    "sweep_idle_ns",
    "redeem_p99_ns",
    "redeem_p99_beside_sweep_ns",
];

type Line = [f64; COLUMNS.len()];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if let Some(place) = args.iter().position(|arg| arg == "--one") {
        let line = measure(args[place + 1].parse().unwrap());
        println!("{}", line.map(|figure| format!("{figure:.1}")).join(" "));
        return;
    }
    if has("--records") {
        return small_records();
    }
    // Without `--bench`, `cargo test` runs it.
    let smoke = has("--test") || !has("--bench");
    let sizes: &[usize] =
        if smoke { &[1000] } else { &[1000, 10_000, 100_000, 1_000_000, 10_000_000] };
    println!("{}", COLUMNS.join(" "));
    let lines: Vec<Line> = sizes.iter().map(|cards| measured_apart(*cards)).collect();
    if smoke {
        return;
    }
    let here = env!("CARGO_MANIFEST_DIR");
    std::fs::create_dir_all(format!("{here}/target")).unwrap();
    std::fs::write(format!("{here}/target/vault-scale.json"), json(&lines)).unwrap();
    if has("--plot") {
        std::fs::write(format!("{here}/docs/vault-scale.svg"), svg(&lines)).unwrap();
    }
}

/// Memory of the small records, of as many as there are at most by default.
fn small_records() {
    let vault = Vault::new(Keyring::random(), Limits::default());
    let tenants = [Tenant::new("shop"), Tenant::new("other")];
    let empty = resident();
    for place in 0..1_000_000_u32 {
        let tenant = &tenants[place as usize % 2];
        let key: [&[u8]; 2] = [tenant.as_str().as_bytes(), &place.to_be_bytes()];
        vault.claim_once(tenant, &key, &[b"sale"], NOW).unwrap();
    }
    let keys = resident();
    for place in 0..2_000_000_u32 {
        vault.mark(&place.to_be_bytes(), Duration::from_secs(86_400), NOW).unwrap();
    }
    println!("bytes_per_key {}", (keys - empty) / 1_000_000);
    println!("bytes_per_mark {}", (resident() - keys) / 2_000_000);
}

/// In a process of its own: memory that an earlier run gave back would count for a later one.
fn measured_apart(cards: usize) -> Line {
    let program = std::env::current_exe().unwrap();
    let output = Command::new(program).args(["--one", &cards.to_string()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    println!("{}", text.trim());
    let figures: Vec<f64> = text.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    figures.try_into().unwrap()
}

fn measure(cards: usize) -> Line {
    let mut sample = Vec::with_capacity(SAMPLE);
    let vault = Vault::new(Keyring::random(), Limits { capacity: cards, ..Limits::default() });
    let empty = resident();
    let (insert, worst) = fill(&vault, cards, &mut sample);
    let bytes = resident().saturating_sub(empty);
    let full = vault.keep_card(capture(), &owner(), NOW);
    assert!(full.is_err() && vault.len() == cards, "a full vault refuses and drops nothing");

    let p99 = redeem_p99(&vault, &sample);
    let stop = AtomicBool::new(false);
    let (beside, idle) = std::thread::scope(|scope| {
        let sweeper = scope.spawn(|| sweep_until(&vault, &stop));
        let beside = redeem_p99(&vault, &sample);
        stop.store(true, Ordering::Relaxed);
        (beside, sweeper.join().unwrap())
    });
    let start = Instant::now();
    for kept in &sample {
        reveal(&vault, kept);
    }
    let reveal = start.elapsed();
    let start = Instant::now();
    let swept = vault.sweep(NOW.plus(Duration::from_secs(86_400)));
    let expire = start.elapsed();
    assert_eq!(swept, cards);
    [
        cards as f64,
        bytes as f64 / cards as f64,
        nanos(insert, cards),
        worst.as_secs_f64() * 1e6,
        nanos(reveal, sample.len()),
        nanos(expire, cards),
        nanos(idle, cards),
        p99.as_nanos() as f64,
        beside.as_nanos() as f64,
    ]
}

/// Fills the vault; the time of all insertions together and of the longest one.
fn fill(vault: &Vault, cards: usize, sample: &mut Vec<KeptCard>) -> (Duration, Duration) {
    let (owner, every) = (owner(), (cards / SAMPLE).max(1));
    let (mut all, mut worst) = (Duration::ZERO, Duration::ZERO);
    for place in 0..cards {
        let capture = capture();
        let start = Instant::now();
        let kept = vault.keep_card(capture, &owner, NOW).unwrap();
        let took = start.elapsed();
        all += took;
        worst = worst.max(took);
        if place % every == 0 && sample.len() < SAMPLE {
            sample.push(kept);
        }
    }
    (all, worst)
}

fn reveal(vault: &Vault, kept: &KeptCard) {
    let audience = audience();
    let (_, found) = vault.redeem(&kept.token, &audience, NOW).unwrap().into_parts();
    let cvv_token = kept.cvv_token.as_ref().unwrap();
    let (_, lease) = vault.take_cvv(cvv_token, &kept.token, found, NOW).unwrap();
    drop(lease);
}

fn redeem_p99(vault: &Vault, sample: &[KeptCard]) -> Duration {
    let (audience, begin) = (audience(), Instant::now());
    let mut took = Vec::with_capacity(4_000_000);
    for kept in sample.iter().cycle() {
        let start = Instant::now();
        vault.redeem(&kept.token, &audience, NOW).unwrap();
        took.push(start.elapsed());
        if begin.elapsed() > WATCH {
            break;
        }
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// Sweeps that find nothing, one after the other; the time of one.
fn sweep_until(vault: &Vault, stop: &AtomicBool) -> Duration {
    let (start, mut sweeps) = (Instant::now(), 0);
    while !stop.load(Ordering::Relaxed) {
        assert_eq!(vault.sweep(NOW), 0);
        sweeps += 1;
    }
    start.elapsed() / sweeps.max(1)
}

fn nanos(time: Duration, by: usize) -> f64 {
    time.as_nanos() as f64 / by as f64
}

/// Resident memory of this process.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

fn json(lines: &[Line]) -> String {
    let object = |line: &Line| {
        let pairs: Vec<_> =
            COLUMNS.iter().zip(line).map(|(name, figure)| format!("\"{name}\":{figure}")).collect();
        format!("{{{}}}", pairs.join(","))
    };
    format!("[{}]\n", lines.iter().map(object).collect::<Vec<_>>().join(",\n"))
}

/// Number of cards to the right, time of a card upwards, both by powers of ten.
fn svg(lines: &[Line]) -> String {
    const DRAWN: [(usize, &str, &str); 4] = [
        (2, "insert", "#1f6feb"),
        (4, "reveal", "#2da44e"),
        (5, "expire", "#bf8700"),
        (1, "bytes a card", "#8250df"),
    ];
    let across = |cards: f64| 70.0 + (cards.log10() - 3.0) * 120.0;
    let up = |figure: f64| 300.0 - (figure.max(10.0).log10() - 1.0) * 80.0;
    let mut out = String::from(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 700 340\" \
         font-family=\"sans-serif\" font-size=\"12\"><rect width=\"700\" height=\"340\" \
         fill=\"#fff\"/>\n<text x=\"70\" y=\"20\">nanoseconds a card (bytes for memory) against \
         cards in the vault</text>\n",
    );
    for power in 1..=4 {
        let y = up(10f64.powi(power));
        let figure = 10u32.pow(power.unsigned_abs());
        let _ = writeln!(
            out,
            "<path d=\"M70 {y}H550\" stroke=\"#ddd\"/><text x=\"25\" y=\"{y}\">{figure}</text>"
        );
    }
    for line in lines {
        let (x, cards) = (across(line[0]), line[0]);
        let _ = writeln!(out, "<text x=\"{x}\" y=\"325\" text-anchor=\"middle\">{cards}</text>");
    }
    for (column, name, colour) in DRAWN {
        let points: Vec<_> = lines
            .iter()
            .map(|line| format!("{:.1},{:.1}", across(line[0]), up(line[column])))
            .collect();
        let end = lines.last().map_or(0.0, |line| up(line[column]) + 4.0);
        let points = points.join(" ");
        let _ = writeln!(
            out,
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
             <text x=\"560\" y=\"{end:.1}\" fill=\"{colour}\">{name}</text>"
        );
    }
    out.push_str("</svg>\n");
    out
}
