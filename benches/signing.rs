//! How many signatures does one core make in a second?
//!
//! Payload: a HighHelp pay-in of 0.4 KiB, an invoice's five signed values, an account's Basic pair.
//! The baseline is one SHA-256 over the same bytes. Everything that a measured call needs is made
//! before.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use portcullis::credential::access_headers::{Scalar, message, normalise};
use portcullis::credential::{
    Basic, Prehash, PresentedBasic, PresentedBearer, SigningKey, VerifyingKey, sorted_digest,
};
use portcullis::secret::SecretBytes;
use sha2::{Digest as _, Sha256};

const LINES: [(&str, &str); 9] = [
    ("general:project_id", "7d0c2f0e-0000-4000-8000-000000000000"),
    ("general:payment_id", "ord-00000001"),
    ("payment:method", "card-ecom"),
    ("payment:amount", "10000"),
    ("payment:currency", "RUB"),
    ("sender:card_holder", "CARD HOLDER"),
    ("sender:expiry_month", "10"),
    ("sender:expiry_year", "35"),
    ("customer:ip_address", "203.0.113.7"),
];

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::from_slice(bytes)
}

fn signatures(criterion: &mut Criterion) {
    let lines = || LINES.into_iter().map(|(path, text)| (path, Scalar::Text(text)));
    let signed = message(normalise(lines()).as_bytes(), 1_800_000_000);
    let rsa = secret(include_bytes!("../tests/vectors/keys/request.pem"));
    let rsa = SigningKey::rsa_pem(&rsa).unwrap();
    let check = secret(include_bytes!("../tests/vectors/keys/request.pub"));
    let check = VerifyingKey::rsa_pem(&check).unwrap();
    let hmac = SigningKey::hmac(secret(&[b'k'; 64]));
    let made = rsa.sign(signed.as_bytes(), Prehash::Double).unwrap();
    let made = made.reveal(<[u8]>::to_vec);
    let basic = Basic::new("coma_0000000000000000".to_owned(), secret(&[b'k'; 40]));
    let shop = secret(&[b's'; 32]);
    let invoice: [(&str, &[u8]); 5] = [
        ("amount", b"12.34"),
        ("currency", b"980"),
        ("payway", b"card_uah"),
        ("shop_id", b"158"),
        ("shop_order_id", b"49135760"),
    ];

    let mut group = criterion.benchmark_group("signatures");
    group.throughput(Throughput::Elements(1));
    group.bench_function("baseline: SHA-256", |bench| {
        bench.iter(|| Sha256::digest(black_box(signed.as_bytes())));
    });
    group.bench_function("normalise a pay-in", |bench| {
        bench.iter(|| normalise(black_box(lines())));
    });
    group.bench_function("RSA-2048 sign", |bench| {
        bench.iter(|| rsa.sign(black_box(signed.as_bytes()), Prehash::Double).unwrap());
    });
    group.bench_function("RSA-2048 verify", |bench| {
        bench.iter(|| check.verify(black_box(signed.as_bytes()), &made, Prehash::Double));
    });
    group.bench_function("HMAC-SHA-512 sign", |bench| {
        bench.iter(|| hmac.sign(black_box(signed.as_bytes()), Prehash::Double).unwrap());
    });
    group.bench_function("sorted digest", |bench| {
        bench.iter(|| sorted_digest::digest(black_box(&invoice), &shop));
    });
    let sent = basic.header_value().reveal(<[u8]>::to_vec);
    group.bench_function("Basic, check", |bench| {
        bench.iter(|| basic.accepts(&PresentedBasic::parse(black_box(&sent)).unwrap()));
    });
    group.bench_function("Bearer, read", |bench| {
        let read = |token: &str| token.len();
        bench.iter(|| {
            PresentedBearer::parse(black_box(b"Bearer brr_live_0000")).unwrap().reveal(read)
        });
    });
    group.finish();
}

criterion_group!(benches, signatures);
criterion_main!(benches);
