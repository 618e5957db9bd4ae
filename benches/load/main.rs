//! Portcullis beside other proxies, on loopback, in one run. `benches/load/README.md` says how to
//! run it and how to read it.

mod bare;
mod bout;
mod client;
mod ports;
mod process;
mod rival;
mod sale;
mod table;
mod upstream;
mod wire;
mod world;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bout::Bout;
use ports::Peer;
use table::Table;

fn main() {
    rustls::crypto::ring::default_provider().install_default().expect("the first provider");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["bare", folder] => bare::run(Path::new(folder)),
        ["all"] => on_core_0(all()),
        ["cpu"] => on_core_0(cpu()),
        _ => block_on(smoke()),
    }
}

/// Every table.
async fn all() {
    let bout = Bout::start(&Peer::ALL, &product(), true).await;
    publish(&[bout.cpu_full().await, bout.sizes().await].concat());
}

/// CPU per sale, per capture; requests per second.
async fn cpu() {
    let bout = Bout::start(&Peer::ALL, &product(), true).await;
    publish(&bout.cpu_full().await);
}

/// What `cargo bench` runs: the product and the bare pass-through, for a moment, without pinning.
async fn smoke() {
    let bout = Bout::start(&[Peer::Portcullis, Peer::Bare], &product(), false).await;
    for table in bout.cpu(1, 500).await {
        table.print();
    }
}

fn publish(tables: &[Table]) {
    let folder = world::repository().join("target/load");
    for table in tables {
        table.print();
        table.write(&folder);
    }
    println!("\n×P: against bare Pingora, ×n: against nginx, medians of the rounds' ratios");
    println!("all samples: {}", folder.display());
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
