//! The workloads, each measured over all proxies in interleaved rounds.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;

use super::client;
use super::ports::{Hop, Peer};
use super::process::Running;
use super::rival::Rival;
use super::sale::Kind;
use super::table::{Table, median};
use super::upstream::{self, Seen};
use super::world::World;

/// As long as a CVV may live, so that none expires in a run.
const LIFE_SECONDS: u32 = 900;
/// Many short rounds: a noisy machine is seldom so for the whole of one.
const CPU_ROUNDS: usize = 30;
const CPU_SALES: usize = 4_000;
const SIZES_ROUNDS: usize = 3;
const SIZES: [(Kind, usize); 3] =
    [(Kind::Padded, 6_000), (Kind::Large, 2_000), (Kind::Challenge, 6_000)];

/// The constant rate as a share of bare Pingora's saturation.
const LATENCY_SHARE: f64 = 0.28;
const LATENCY_SECONDS: f64 = 3.0;
const LATENCY_ROUNDS: usize = 3;
const PERCENTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
const HANDSHAKE_ROUNDS: usize = 3;
const HANDSHAKES: usize = 1_500;
/// Sales of each kind by which a build is trained.
const TRAINING: usize = 4_000;

/// All proxies, running, and the provider behind them.
pub struct Bout {
    /// Removed at the end.
    world: World,
    /// The proxies.
    rivals: Vec<Rival>,
    peers: Vec<Peer>,
    /// Resident memory, MiB, as it was found along the way.
    memory: Table,
}

impl Bout {
    /// Starts everything and has every proxy prove its work.
    pub async fn start(peers: &[Peer], product: &Path, pinned: bool) -> Self {
        Self::with_lives(peers, product, pinned, LIFE_SECONDS).await
    }

    /// The same; the product's cards live for so long.
    pub async fn with_lives(
        peers: &[Peer],
        product: &Path,
        pinned: bool,
        life_seconds: u32,
    ) -> Self {
        let world = World::new(upstream::bearer(), life_seconds);
        Self::within(world, peers, |_| product, pinned).await
    }

    /// The product alone and unconfined, so that it can write down what it counted as it ends.
    pub async fn training(product: &Path) -> Self {
        let world = World::new(upstream::bearer(), LIFE_SECONDS);
        world.confine(false, LIFE_SECONDS);
        Self::within(world, &[Peer::Portcullis], |_| product, false).await
    }

    /// The product beside another build of it, and beside all others.
    pub async fn versus(product: &Path, other: &Path) -> Self {
        let mut peers = Peer::ALL.to_vec();
        peers.insert(1, Peer::Other);
        let world = World::new(upstream::bearer(), LIFE_SECONDS);
        let build = |peer| if peer == Peer::Other { other } else { product };
        Self::within(world, &peers, build, true).await
    }

    async fn within<'p>(
        world: World,
        peers: &[Peer],
        build: impl Fn(Peer) -> &'p Path,
        pinned: bool,
    ) -> Self {
        let acceptor = world.identity.acceptor().unwrap();
        let seen: Arc<Seen> = upstream::start(acceptor, &world.real_bearer).await;
        let connector: TlsConnector = client::connector(&world.ca);
        let mut rivals = Vec::new();
        let columns = ["idle", "64 connections, cards of one round", "at the end of the rounds"];
        let mut memory = Table::new(("memory", "Resident memory", "MiB"), 1, &columns, peers);
        for peer in peers {
            let running = Running::start(*peer, &world, build(*peer), pinned);
            memory.add(*peer, 0, mebibytes(running.resident_kib()));
            let rival = Rival::open(running, &world, &connector, &seen).await;
            for hop in Hop::BOTH {
                rival.prove(hop).await;
            }
            rivals.push(rival);
        }
        Self { world, rivals, peers: peers.to_vec(), memory }
    }

    /// The first proxy alone; the provider behind it stays.
    pub fn into_first(self) -> (World, Rival) {
        let first = self.rivals.into_iter().next().expect("a proxy");
        (self.world, first)
    }

    /// CPU per sale and per capture, requests per second.
    pub async fn cpu(&self, rounds: usize, sales: usize) -> Vec<Table> {
        const HOPS: &[&str] = &["plain hop", "TLS hop"];
        let new = |name, digits, columns| Table::new(name, digits, columns, &self.peers);
        let mut cpu = new(("cpu", "CPU of the proxy per sale of 0.3 KB", "µs"), 1, HOPS);
        let mut rate = new(("rate", "Sales per second over 64 connections", "1/s"), 0, HOPS);
        let mut share = new(("share", "Use of the proxy's core at that rate", "%"), 0, HOPS);
        let mut capture = new(("capture", "CPU per captured card", "µs"), 1, &["POST /v1/tokens"]);
        let mut memory = self.memory.clone();
        for round in 1..=rounds {
            for (column, hop) in Hop::BOTH.into_iter().enumerate() {
                for rival in &self.rivals {
                    let (cards, captured) = rival.cards(sales).await;
                    let sold = rival.sell(hop, Kind::Small, &cards).await;
                    let peer = rival.peer();
                    match (round, hop) {
                        (1, Hop::Plain) => memory.add(peer, 1, mebibytes(sold.resident_kib)),
                        (last, Hop::Tls) if last == rounds => {
                            memory.add(peer, 2, mebibytes(sold.resident_kib));
                        }
                        _ => {}
                    }
                    if let Some(captured) = captured {
                        capture.add(peer, 0, captured.micros());
                    }
                    cpu.add(peer, column, sold.micros());
                    rate.add(peer, column, sold.rate());
                    share.add(peer, column, 100.0 * sold.share());
                }
            }
        }
        vec![cpu, rate, share, capture, memory]
    }

    /// Latency at a constant rate, a share of what bare Pingora can do.
    pub async fn latency(&self) -> Vec<Table> {
        let rate = LATENCY_SHARE * self.saturation().await;
        let sales = (rate * LATENCY_SECONDS) as usize;
        println!("\nopen loop at {rate:.0} sales a second");
        let mut tables = Vec::new();
        for hop in Hop::BOTH {
            let names = match hop {
                Hop::Plain => {
                    ("latency-plain", "Latency of a sale at a constant rate, plain hop", "µs")
                }
                Hop::Tls => ("latency-tls", "Latency of a sale at a constant rate, TLS hop", "µs"),
            };
            let columns = PERCENTILES.map(|(name, _)| name);
            let mut table = Table::new(names, 0, &columns, &self.peers);
            for _ in 0..LATENCY_ROUNDS {
                for rival in &self.rivals {
                    let (cards, _) = rival.cards(sales).await;
                    let sorted = rival.sell_paced(hop, &cards, rate).await;
                    for (column, (_, share)) in PERCENTILES.into_iter().enumerate() {
                        let at = (sorted.len() as f64 * share) as usize;
                        table.add(rival.peer(), column, sorted[at].as_nanos() as f64 / 1000.0);
                    }
                }
            }
            tables.push(table);
        }
        tables
    }

    /// Sales per second of bare Pingora, plain hop.
    async fn saturation(&self) -> f64 {
        let bare = self.rivals.iter().find(|rival| rival.peer() == Peer::Bare);
        let bare = bare.expect("bare Pingora takes part");
        let mut rates = Vec::new();
        for _ in 0..LATENCY_ROUNDS {
            let (cards, _) = bare.cards(CPU_SALES).await;
            rates.push(bare.sell(Hop::Plain, Kind::Small, &cards).await.rate());
        }
        median(rates).expect("a round")
    }

    /// CPU per connection: full handshake, one sale, close.
    pub async fn handshakes(&self) -> Vec<Table> {
        let columns = ["handshake, sale, close", "without the sale"];
        let name = ("handshake", "CPU per new connection, no resumption", "µs");
        let mut table = Table::new(name, 0, &columns, &self.peers);
        for _ in 0..HANDSHAKE_ROUNDS {
            for rival in &self.rivals {
                let (cards, _) = rival.cards(2 * HANDSHAKES).await;
                let kept = rival.sell(Hop::Plain, Kind::Small, &cards[HANDSHAKES..]).await;
                let apart = rival.sell_apart(Hop::Plain, &cards[..HANDSHAKES]).await;
                table.add(rival.peer(), 0, apart.micros());
                table.add(rival.peer(), 1, apart.micros() - kept.micros());
            }
        }
        vec![table]
    }

    /// CPU per sale whose bodies are larger, and per sale that ends in 3-D Secure.
    pub async fn sizes(&self) -> Vec<Table> {
        let columns = SIZES.map(|(kind, _)| kind.name());
        let name = ("sizes", "CPU per sale by what it carries, TLS hop", "µs");
        let mut table = Table::new(name, 1, &columns, &self.peers);
        for _ in 0..SIZES_ROUNDS {
            for (column, (kind, sales)) in SIZES.into_iter().enumerate() {
                for rival in &self.rivals {
                    let (cards, _) = rival.cards(sales).await;
                    let sold = rival.sell(Hop::Tls, kind, &cards).await;
                    table.add(rival.peer(), column, sold.micros());
                }
            }
        }
        vec![table]
    }

    /// Some of everything that a payment does.
    pub async fn train(&self) {
        self.cpu(2, TRAINING).await;
        for rival in &self.rivals {
            for (kind, _) in SIZES {
                let (cards, _) = rival.cards(TRAINING / 10).await;
                rival.sell(Hop::Tls, kind, &cards).await;
            }
            let (cards, _) = rival.cards(TRAINING / 10).await;
            rival.sell_apart(Hop::Tls, &cards).await;
        }
    }

    /// The size that tables are made from.
    pub async fn cpu_full(&self) -> Vec<Table> {
        self.cpu(CPU_ROUNDS, CPU_SALES).await
    }
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}
