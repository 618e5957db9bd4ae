//! The workloads, each measured over all proxies in interleaved rounds.

use std::path::Path;
use std::sync::Arc;

use tokio_rustls::TlsConnector;

use super::client;
use super::ports::{Hop, Peer};
use super::process::Running;
use super::rival::Rival;
use super::sale::Kind;
use super::table::Table;
use super::upstream::{self, Seen};
use super::world::World;

const CPU_ROUNDS: usize = 6;
const CPU_SALES: usize = 20_000;
const SIZES_ROUNDS: usize = 3;
const SIZES: [(Kind, usize); 3] =
    [(Kind::Padded, 6_000), (Kind::Large, 2_000), (Kind::Challenge, 6_000)];

/// All proxies, running, and the provider behind them.
pub struct Bout {
    /// Removed at the end.
    _world: World,
    /// The proxies.
    rivals: Vec<Rival>,
    peers: Vec<Peer>,
}

impl Bout {
    /// Starts everything and has every proxy prove its work.
    pub async fn start(peers: &[Peer], product: &Path, pinned: bool) -> Self {
        let world = World::new(upstream::bearer());
        let acceptor = world.identity.acceptor().unwrap();
        let seen: Arc<Seen> = upstream::start(acceptor, &world.real_bearer).await;
        let connector: TlsConnector = client::connector(&world.ca);
        let mut rivals = Vec::new();
        for peer in peers {
            let running = Running::start(*peer, &world, product, pinned);
            let rival = Rival::open(running, &world, &connector, &seen).await;
            for hop in Hop::BOTH {
                rival.prove(hop).await;
            }
            rivals.push(rival);
        }
        Self { _world: world, rivals, peers: peers.to_vec() }
    }

    /// CPU per sale and per capture, requests per second.
    pub async fn cpu(&self, rounds: usize, sales: usize) -> Vec<Table> {
        const HOPS: &[&str] = &["plain hop", "TLS hop"];
        let new = |name, digits, columns| Table::new(name, digits, columns, &self.peers);
        let mut cpu = new(("cpu", "CPU of the proxy per sale of 0.3 KB", "µs"), 1, HOPS);
        let mut rate = new(("rate", "Sales per second over 64 connections", "1/s"), 0, HOPS);
        let mut share = new(("share", "Use of the proxy's core at that rate", "%"), 0, HOPS);
        let mut capture = new(("capture", "CPU per captured card", "µs"), 1, &["POST /v1/tokens"]);
        for _ in 0..rounds {
            for (column, hop) in Hop::BOTH.into_iter().enumerate() {
                for rival in &self.rivals {
                    let (cards, captured) = rival.cards(sales).await;
                    let sold = rival.sell(hop, Kind::Small, &cards).await;
                    let peer = rival.peer();
                    if let Some(captured) = captured {
                        capture.add(peer, 0, captured.micros());
                    }
                    cpu.add(peer, column, sold.micros());
                    rate.add(peer, column, sold.rate());
                    share.add(peer, column, 100.0 * sold.share());
                }
            }
        }
        vec![cpu, rate, share, capture]
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

    /// The size that tables are made from.
    pub async fn cpu_full(&self) -> Vec<Table> {
        self.cpu(CPU_ROUNDS, CPU_SALES).await
    }
}
