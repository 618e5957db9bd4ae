//! Portcullis beside other proxies, on loopback, in one run. `benches/load/README.md` says how to
//! run it and how to read it.

mod bare;
mod bout;
mod change;
mod chart;
mod client;
mod hardening;
mod paced;
mod ports;
mod process;
mod rival;
mod sale;
mod shopper;
mod soak;
mod table;
mod upstream;
mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use bout::Bout;
use chart::Panel;
use ports::Peer;
use table::Table;

/// Tables that can be asked for by name.
const GROUPS: [&str; 4] = ["cpu", "sizes", "handshakes", "latency"];
const SIGNS: &str = "\n×P: against bare Pingora, ×n: nginx, ×L: nginx and LuaJIT, ×o: the other build; medians of \
                     the rounds' ratios";
const SOAK_SECONDS: usize = 600;
const CHANGE_SECONDS: usize = 300;
/// Cards of the soak live so long.
const SOAK_LIFE_SECONDS: u32 = 60;

fn main() -> ExitCode {
    // The product as this program: with the system's allocator.
    if std::env::args().nth(1).is_some_and(|first| first == "run") {
        return portcullis::cli::main();
    }
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bare", folder] => bare::run(Path::new(folder)),
        ["soak"] => on_core_0(soak()),
        ["change"] => on_core_0(change()),
        ["hardening"] => on_core_0(hardening::run(&product())),
        ["versus", other] => on_core_0(versus(Path::new(other))),
        ["train", ..] => block_on(async { Bout::training(&product()).await.train().await }),
        ["all"] => on_core_0(tables(&GROUPS)),
        groups if is_known(groups) => on_core_0(tables(groups)),
        _ => block_on(smoke()),
    }
    ExitCode::SUCCESS
}

fn is_known(groups: &[&str]) -> bool {
    !groups.is_empty() && groups.iter().all(|group| GROUPS.contains(group))
}

/// The named groups of tables, and the charts of the documents where they are all there.
async fn tables(groups: &[&str]) {
    let bout = Bout::start(&Peer::ALL, &product(), true).await;
    let mut charted = Vec::new();
    for group in groups {
        let tables = match *group {
            "cpu" => bout.cpu_full().await,
            "sizes" => bout.sizes().await,
            "handshakes" => bout.handshakes().await,
            _ => bout.latency().await,
        };
        publish(&tables);
        charted.extend(tables);
    }
    let find = |name: &str| charted.iter().find(|table| table.name == name);
    if let (Some(cpu), Some(latency)) = (find("cpu"), find("latency-tls")) {
        draw(cpu, latency);
    }
    println!("{SIGNS}");
}

fn draw(cpu: &Table, latency: &Table) {
    let docs = world::repository().join("docs");
    let panels = |table, headings: &[&str]| -> Vec<Panel<'_>> {
        let panel = |(column, heading): (usize, &&str)| Panel {
            heading: (*heading).to_owned(),
            table,
            column,
        };
        headings.iter().enumerate().map(panel).collect()
    };
    let title = "CPU per sale (in brackets: against bare Pingora)";
    let hops = ["plain hop to the provider", "TLS hop to the provider"];
    chart::draw(&docs.join("load-cpu.svg"), title, &panels(cpu, &hops));
    let title = "Latency at one constant rate, TLS hop (in brackets: against bare Pingora)";
    let shares = ["p50", "p99", "p99.9"];
    chart::draw(&docs.join("load-latency.svg"), title, &panels(latency, &shares));
}

/// What a sale costs beside another build.
async fn versus(other: &Path) {
    let bout = Bout::versus(&product(), other).await;
    for table in bout.cpu_full().await {
        table.print();
    }
    println!("{SIGNS}");
}

/// Ten minutes of sales; ends with a verdict.
async fn soak() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok());
    let bout = Bout::with_lives(&[Peer::Portcullis], &product(), true, SOAK_LIFE_SECONDS).await;
    let (_world, rival) = bout.into_first();
    let stood = soak::soak(rival, seconds.unwrap_or(SOAK_SECONDS), &results()).await;
    assert!(stood, "the soak failed");
}

/// Five minutes of payments beneath which everything changes; ends with a verdict.
async fn change() {
    let seconds = std::env::var("CHANGE_SECONDS").ok().and_then(|text| text.parse().ok());
    let stood = change::run(&product(), seconds.unwrap_or(CHANGE_SECONDS), &results()).await;
    assert!(stood, "a payment did not survive a change");
}

/// What `cargo bench` runs: the product and the bare pass-through, for a moment, without pinning.
async fn smoke() {
    let bout = Bout::start(&[Peer::Portcullis, Peer::Bare], &product(), false).await;
    for table in bout.cpu(1, 500).await {
        table.print();
    }
}

fn publish(tables: &[Table]) {
    let folder = results();
    for table in tables {
        table.print();
        table.write(&folder);
    }
}

/// Where all samples go.
fn results() -> PathBuf {
    world::repository().join("target/load")
}

/// The binary that is measured.
fn product() -> PathBuf {
    let given = std::env::var_os("LOAD_PRODUCT").map(PathBuf::from);
    given.unwrap_or_else(|| env!("CARGO_BIN_EXE_portcullis").into())
}

/// The provider and the clients share one core; the proxy has the other.
fn on_core_0(work: impl Future<Output = ()>) {
    let own = std::process::id().to_string();
    let pinned = Command::new("taskset").args(["-cp", "0", &own]).stdout(Stdio::null()).status();
    assert!(
        pinned.is_ok_and(|status| status.success()),
        "taskset (util-linux) cannot pin to core 0"
    );
    block_on(work);
}

fn block_on(work: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work);
}
