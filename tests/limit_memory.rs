//! How much memory a million clients cost. A process of its own, so that its resident memory is
//! that of the limits.

use std::fs;

use portcullis::limit::{Limit, Limits, Rates};

const MIB: usize = 1024 * 1024;

fn resident() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}

#[test]
fn a_million_clients_take_less_than_forty_mebibytes_and_three_more_millions_nothing() {
    let limits = Limits::new(Rates::default(), 1_000_000);
    let seen = |index: u32| limits.pass(Limit::Address, &std::net::Ipv4Addr::from(index));
    let before = resident();
    assert!((0..1_000_000).all(|index| seen(index).is_ok()));
    let million = resident() - before;
    let refused = (1_000_000..4_000_000).filter(|index| seen(*index).is_err()).count();
    let all = resident() - before;
    println!("a million keys: {:.1} MiB; four: {:.1} MiB", mib(million), mib(all));
    assert!((16 * MIB..40 * MIB).contains(&million), "{million} bytes");
    assert!(all < million + 2 * MIB, "{all} bytes");
    assert!(refused > 2_000_000, "{refused} clients without a place were refused");
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / MIB as f64
}
