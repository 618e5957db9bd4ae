//! What does a card cost the vault: keep it with its security code, redeem it, take the code?
//!
//! Payload: a sixteen-digit card with a holder's name and a three-digit code, one application, one
//! account. The baselines are a bare AES-256-GCM seal of as many bytes, a copy of them, and an
//! insertion, look-up and removal in an empty map. Everything that a measured call needs is made
//! before.
//!
//! Machine and figures: docs/performance.md, "The vault".

use std::hint::black_box;
use std::time::Duration;

use aes_gcm::aead::AeadInOut;
use aes_gcm::{Aes256Gcm, KeyInit};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use dashmap::DashMap;
use portcullis::card::{SessionId, Timestamp};
use portcullis::secret::{SecretBytes, fill_random};
use portcullis::vault::{Keyring, Limits, Vault};

mod captured;

use captured::{audience, capture, owner};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
/// About what a card's record holds beside its header.
const RECORD_BYTES: usize = 64;

/// Room for as much as a benchmark puts in, which takes nothing out.
fn vault() -> Vault {
    let limits = Limits {
        capacity: 100_000_000,
        states: 100_000_000,
        states_bytes: usize::MAX,
        marks: 100_000_000,
        ..Limits::default()
    };
    Vault::new(Keyring::random(), limits)
}

fn baselines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vault/baseline");
    let cipher = Aes256Gcm::new(&[7; 32].into());
    let mut record = [7u8; RECORD_BYTES];
    group.bench_function("bare AES-256-GCM, key ready", |bencher| {
        let mut seal =
            || cipher.encrypt_inout_detached(&[0; 12].into(), b"", record.as_mut_slice().into());
        bencher.iter(|| black_box(seal()).unwrap());
    });
    let mut record = [7u8; RECORD_BYTES];
    group.bench_function("bare AES-256-GCM, new key", |bencher| {
        bencher.iter(|| {
            let cipher = Aes256Gcm::new(black_box(&[7; 32]).into());
            cipher.encrypt_inout_detached(&[0; 12].into(), b"", record.as_mut_slice().into())
        });
    });
    let (from, mut to) = ([7u8; RECORD_BYTES], [0u8; RECORD_BYTES]);
    group.bench_function("copy", |bencher| {
        bencher.iter(|| black_box(&mut to).copy_from_slice(black_box(&from)));
    });
    let map = DashMap::new();
    group.bench_function("map: insert, get, remove", |bencher| {
        bencher.iter(|| {
            map.insert(black_box(7u128), [7u8; RECORD_BYTES]);
            black_box(map.get(&7).is_some());
            map.remove(&7)
        });
    });
    group.bench_function("20 random bytes of the system", |bencher| {
        bencher.iter(|| {
            let mut bytes = [0; 20];
            fill_random(&mut bytes);
            bytes
        });
    });
    group.bench_function("draw an id", |bencher| bencher.iter(SessionId::random));
    group.finish();
}

fn cards(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vault");
    let (owner, audience) = (owner(), audience());
    group.bench_function("tokenise: keep a card with its code", |bencher| {
        let vault = vault();
        let keep = |capture| vault.keep_card(capture, &owner, NOW);
        bencher.iter_batched(capture, keep, BatchSize::SmallInput);
    });
    let vault = vault();
    let keep = || vault.keep_card(capture(), &owner, NOW).unwrap();
    let kept = keep();
    group.bench_function("redeem a card", |bencher| {
        bencher.iter(|| vault.redeem(&kept.token, &audience, NOW).unwrap());
    });
    group.bench_function("reveal: redeem a card and take its code", |bencher| {
        bencher.iter_batched_ref(
            keep,
            |kept| {
                let redeemed = vault.redeem(&kept.token, &audience, NOW).unwrap();
                let (card, found) = redeemed.into_parts();
                let cvv_token = kept.cvv_token.as_ref().unwrap();
                (card, vault.take_cvv(cvv_token, &kept.token, found, NOW).unwrap())
            },
            BatchSize::SmallInput,
        );
    });
    let pan = capture().card.pan;
    group.bench_function("fingerprint", |bencher| bencher.iter(|| vault.fingerprint(&pan)));
    group.finish();
}

fn others(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("vault");
    // What is kept stays until the benchmark's own vault goes: some hundred megabytes.
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    let life = Duration::from_secs(1800);
    group.bench_function("mark a new key", |bencher| {
        let (vault, mut counter) = (vault(), 0u64);
        bencher.iter(|| {
            counter += 1;
            vault.mark(&counter.to_be_bytes(), life, NOW).unwrap()
        });
    });
    let audience = audience();
    group.bench_function("keep a bearer", |bencher| {
        let vault = vault();
        bencher.iter(|| {
            vault
                .keep_bearer(&[b'j'; 400], &audience, |_| SecretBytes::from_slice(b""), life, NOW)
                .unwrap()
        });
    });
    group.bench_function("relay: keep, begin, finish", |bencher| {
        let vault = vault();
        let payload = || (SecretBytes::from_slice(&[b'p'; 1000]), SecretBytes::from_slice(b"ok"));
        let relay = |(payload, result)| {
            let id = vault.keep_relay(payload, life, NOW).unwrap();
            let begun = vault.begin_relay(&id, NOW).unwrap();
            vault.finish_relay(&id, result, NOW).unwrap();
            begun
        };
        bencher.iter_batched(payload, relay, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, baselines, cards, others);
criterion_main!(benches);
