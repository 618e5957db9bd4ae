//! What does it cost to read a body, to put a card into it, and to search it for cards?
//!
//! Payload: a list of payments (ids, UUIDs, amounts, times, addresses) of 0.3, 4 and 64 KiB, as
//! JSON and as a form; for the search also with a `PaReq` of 0.5 KB in base64 for every 4 KiB. One
//! token stands in the middle. Baselines: a copy (`memcpy`), and `serde_json` into a `Value` and
//! back, which is how a body is commonly changed. Inputs are made outside what is measured.

use std::hint::black_box;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use miniz_oxide::deflate::compress_to_vec_zlib;
use portcullis::wire::{Edit, Known, Pointer, Span, form, parse, quote, scan_json, scrub, splice};

mod bodies;

const SIZES: [(&str, usize); 3] = [("0.3 KiB", 300), ("4 KiB", 4096), ("64 KiB", 65_536)];
const PAN: &[u8] = b"5519283812030000";
const KNOWN: Known<'_> = Known { pans: &[PAN], cvvs: &[b"987"] };
const CHALLENGE: &[u8] =
    include_bytes!("../tests/fixtures/providers/corefy/paymega-en.sale-answer-3ds1.json");

fn form_body(len: usize) -> Vec<u8> {
    let mut text = String::from("amount=10.00&currency=USD");
    for number in 0.. {
        if text.len() >= len {
            break;
        }
        text.push_str(&format!("&field_{number}=order+{number}%2C+thank+you"));
        if number == len / 80 {
            text.push_str("&card_number=tok_4f5kQ0nB7xY1LrT2zWc9D3sVh6M8gJ");
        }
    }
    text.into_bytes()
}

/// A list whose every 4 KiB hold a payer's authentication request, compressed, in base64.
fn with_pareq(len: usize) -> Vec<u8> {
    let text: String =
        (0..40).map(|n| format!("<field{n}>value {}</field{n}>", n * 7919)).collect();
    let pareq = STANDARD.encode(compress_to_vec_zlib(text.as_bytes(), 6));
    let lists = (0..len.div_ceil(4096)).map(|_| {
        let list = bodies::json(len.min(4096).saturating_sub(pareq.len() + 60).max(1));
        format!("{{\"PaReq\":\"{pareq}\",\"list\":{}}}", String::from_utf8(list).unwrap())
    });
    format!("[{}]", lists.collect::<Vec<_>>().join(",")).into_bytes()
}

fn reading(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for (name, len) in SIZES {
        let (json, form) = (bodies::json(len), form_body(len));
        group.throughput(Throughput::Bytes(json.len() as u64));
        group.bench_function(format!("baseline: serde_json, {name}"), |bench| {
            bench.iter(|| serde_json::from_slice::<serde_json::Value>(black_box(&json)).unwrap());
        });
        group.bench_function(format!("JSON, {name}"), |bench| {
            bench.iter(|| drop(black_box(parse(black_box(&json)).unwrap())));
        });
        group.throughput(Throughput::Bytes(form.len() as u64));
        group.bench_function(format!("form, {name}"), |bench| {
            bench.iter(|| {
                form::parse(black_box(&form)).unwrap().find("card_number").unwrap().is_some()
            });
        });
    }
    group.finish();
}

fn splicing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("splice");
    for (name, len) in SIZES {
        for (kind, body) in [("JSON", bodies::json(len)), ("form", form_body(len))] {
            let middle = body.len() / 2;
            let edit = Edit { span: Span { start: middle - 16, end: middle + 16 }, bytes: PAN };
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(format!("baseline: copy of {kind}, {name}"), |bench| {
                bench.iter(|| black_box(&body).clone());
            });
            group.bench_function(format!("{kind}, {name}"), |bench| {
                bench.iter(|| splice(black_box(&body), &[edit]).unwrap());
            });
        }
        let body = bodies::json(len);
        group.bench_function(format!("baseline: serde_json round trip, {name}"), |bench| {
            bench.iter(|| {
                let value: serde_json::Value = serde_json::from_slice(black_box(&body)).unwrap();
                serde_json::to_vec(&value).unwrap()
            });
        });
    }
    let place = Pointer::parse("/auth_payload/params/TermUrl").unwrap();
    let ours = "https://pay.example/3ds/4f5kQ0nB7xY1LrT2zWc9D3";
    group.throughput(Throughput::Bytes(CHALLENGE.len() as u64));
    group.bench_function("TermUrl of a challenge", |bench| {
        bench.iter(|| {
            let document = parse(black_box(CHALLENGE)).unwrap();
            let value = document.find(&place).unwrap();
            let bytes = quote(ours);
            splice(CHALLENGE, &[Edit { span: value.span(), bytes: bytes.as_bytes() }]).unwrap()
        });
    });
    group.finish();
}

fn searching(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("scan");
    for (name, len) in SIZES {
        for (kind, body) in [("plain", bodies::json(len)), ("with PaReq", with_pareq(len))] {
            let document = parse(&body).unwrap();
            assert!(scan_json(&document, &KNOWN).is_empty());
            group.throughput(Throughput::Bytes(body.len() as u64));
            group.bench_function(format!("{kind}, {name}"), |bench| {
                bench.iter(|| scan_json(black_box(&document), &KNOWN).len());
            });
            group.bench_function(format!("read, scan and copy {kind}, {name}"), |bench| {
                bench.iter(|| scrub(black_box(&body), true, &KNOWN).unwrap());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, reading, splicing, searching);
criterion_main!(benches);
