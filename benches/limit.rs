//! What does one check of a rate cost?
//!
//! One thread, a rate that is never used up unless the name says so, keys as the proxy has them (an
//! address; an application and its route). Baselines: reading the clock, and governor's own keyed
//! limiter (a hash map behind a lock) with the same key. Before measuring, the resident memory of a
//! million keys is printed.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use criterion::{Criterion, criterion_group, criterion_main};
use governor::{Quota, RateLimiter};
use portcullis::limit::{Concurrency, Gates, Limit, Limits, Rate, Rates};

const MILLION: u32 = 1_000_000;

fn limits(rate: &str) -> Limits {
    Limits::new(Rates::new(|_| Rate::parse(rate)), MILLION as usize)
}

fn address(index: u32) -> Ipv4Addr {
    Ipv4Addr::from(index.wrapping_mul(2_654_435_761) % MILLION)
}

fn baselines(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("baseline");
    group.bench_function("clock", |bench| bench.iter(Instant::now));
    let plain = RateLimiter::keyed(Quota::per_second(Rate::parse("1000000/s").unwrap().count()));
    group.bench_function("governor, one key", |bench| {
        bench.iter(|| plain.check_key(&black_box(address(1))).is_ok());
    });
    group.finish();
}

fn checks(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("check");
    let few = limits("1000000/s");
    group.bench_function("an address", |bench| {
        bench.iter(|| few.pass(Limit::Address, &black_box(address(1))).is_ok());
    });
    let route = ("shop", "paymega", "sale");
    group.bench_function("an application and its route", |bench| {
        bench.iter(|| few.pass(Limit::AppRoute, &black_box(route)).is_ok());
    });
    group.bench_function("a look", |bench| {
        bench.iter(|| few.look(Limit::UnknownTokens, &black_box("shop")).is_ok());
    });
    let spent = limits("1/24h");
    spent.note(Limit::Card, &1);
    group.bench_function("refused", |bench| {
        bench.iter(|| spent.pass(Limit::Card, &black_box(1)).is_err());
    });
    let off = Limits::new(Rates::new(|_| None), 1);
    group.bench_function("switched off", |bench| {
        bench.iter(|| off.pass(Limit::Card, &black_box(1)).is_ok());
    });
    let gates = Gates::new(Concurrency { all: 10, per_host: 10 });
    group.bench_function("a place towards a host", |bench| {
        bench.iter(|| gates.enter(&black_box(("psp.example", 443))).is_ok());
    });
    group.finish();
}

fn million(bench: &mut Criterion) {
    let before = resident();
    let many = limits("100/24h");
    for index in 0..MILLION {
        many.note(Limit::Address, &Ipv4Addr::from(index));
    }
    println!("a million keys: {} KiB resident", resident().saturating_sub(before));
    let mut group = bench.benchmark_group("a million keys");
    let mut index = 0;
    group.bench_function("a known address", |bench| {
        bench.iter(|| {
            index += 1;
            many.pass(Limit::Address, &black_box(address(index))).is_ok()
        });
    });
    let mut index = MILLION;
    group.bench_function("an address without a place", |bench| {
        bench.iter(|| {
            index += 1;
            many.pass(Limit::Address, &black_box(Ipv4Addr::from(index))).is_ok()
        });
    });
    group.sample_size(10);
    group.bench_function("a sweep", |bench| bench.iter(|| many.sweep(|_, _| {})));
    group.finish();
}

/// Resident memory in KiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

criterion_group!(benches, baselines, checks, million);
criterion_main!(benches);
