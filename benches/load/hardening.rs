//! What it costs to wipe what is freed and to confine the process: the product beside itself
//! without either, and without both.
//!
//! Without the wiping allocator it is this bench's own executable, which links the same library and
//! allocates from the system; without confinement it is the product with the `danger_` keys of
//! `[process]`. Every process is started anew in each round, because memory that grew would favour
//! whoever comes later, and the order turns from round to round.

use std::path::{Path, PathBuf};

use super::ports::{Hop, Peer};
use super::process::Running;
use super::rival::Rival;
use super::sale::Kind;
use super::table::median;
use super::world::World;
use super::{client, upstream};

const ROUNDS: usize = 8;
const SALES: usize = 20_000;
const LIFE_SECONDS: u32 = 900;

/// A way to run the product.
struct Variant {
    name: &'static str,
    wipes: bool,
    confined: bool,
}

const VARIANTS: [Variant; 4] = [
    Variant { name: "as shipped", wipes: true, confined: true },
    Variant { name: "not confined", wipes: true, confined: false },
    Variant { name: "system's allocator", wipes: false, confined: true },
    Variant { name: "neither", wipes: false, confined: false },
];

/// CPU per captured card and per sale, of every variant in interleaved rounds.
pub async fn run(product: &Path) {
    let world = World::new(upstream::bearer(), LIFE_SECONDS);
    let seen = upstream::start(world.identity.acceptor().unwrap(), &world.real_bearer).await;
    let connector = client::connector(&world.ca);
    let own: PathBuf = std::env::current_exe().unwrap();
    let mut samples = [const { Vec::new() }; VARIANTS.len()];
    for round in 0..ROUNDS {
        for turn in 0..VARIANTS.len() {
            let at = (round + turn) % VARIANTS.len();
            let variant = &VARIANTS[at];
            world.confine(variant.confined, LIFE_SECONDS);
            let program = if variant.wipes { product } else { &own };
            let running = Running::start(Peer::Portcullis, &world, program, true);
            let rival = Rival::open(running, &world, &connector, &seen).await;
            let (cards, captured) = rival.cards(SALES).await;
            let sold = rival.sell(Hop::Tls, Kind::Small, &cards).await;
            samples[at].push([captured.expect("captures").micros(), sold.micros()]);
        }
    }
    print(&samples);
}

fn print(samples: &[Vec<[f64; 2]>; VARIANTS.len()]) {
    println!(
        "\nCPU in µs, {ROUNDS} rounds of {SALES}: median [range], and what is shipped against it"
    );
    for (column, what) in ["POST /v1/tokens", "sale of 0.3 KB, TLS hop"].into_iter().enumerate() {
        println!("{what}");
        for (variant, own) in VARIANTS.iter().zip(samples) {
            let own: Vec<f64> = own.iter().map(|sample| sample[column]).collect();
            let pairs = samples[0].iter().zip(&own);
            let ratio = median(pairs.map(|(shipped, own)| shipped[column] / own).collect());
            let low = own.iter().copied().fold(f64::INFINITY, f64::min);
            let high = own.iter().copied().fold(0.0, f64::max);
            let (middle, ratio) = (median(own).unwrap(), ratio.unwrap());
            println!("  {:<20} {middle:.2} [{low:.2}-{high:.2}] {ratio:.3}", variant.name);
        }
    }
}
