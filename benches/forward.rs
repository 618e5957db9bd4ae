//! What does a whole payment cost without its sockets?
//!
//! Payload: the provider's own sample of a sale (0.3 KB) with a card token and a CVV token, from
//! the application's request to the answer it gets: the caller checked, card and CVV revealed,
//! spliced in, the body searched, the answer searched and cleaned. Answers: the sample of a
//! finished sale, of a 3-D Secure challenge, and a list of 64 KiB. Captures are outside what is
//! measured. The baseline reads request and answer into `serde_json::Value` and writes them again,
//! once each.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use http::{HeaderMap, Method};
use portcullis::flow::{Answer, Incoming, Ready, Scrubbed};

#[path = "../tests/flow/bench.rs"]
#[expect(dead_code, reason = "the flow tests use more of it")]
mod bench;
mod bodies;

use bench::{Bench, NOW, bearer, body, headers, sale_json};

const DONE: &str =
    include_str!("../tests/fixtures/providers/corefy/paymega-en.sale-answer-done.json");
const CHALLENGE: &str =
    include_str!("../tests/fixtures/providers/corefy/paymega-en.sale-answer-3ds1.json");

/// One sale before anything of it has been read.
struct Sale {
    headers: HeaderMap,
    json: Vec<u8>,
    answer: Answer,
}

impl Sale {
    fn new(bench: &Bench, handle: &str, answer: &[u8]) -> Self {
        let (token, cvv) = bench.shop_card();
        let answer_headers = headers(&[
            ("content-type", "application/json"),
            ("date", "Sat, 21 Nov 2026 10:00:00 GMT"),
        ]);
        let mut headers = bearer(handle);
        headers.extend(bench::headers(&[("accept", "*/*"), ("user-agent", "shop/1.0")]));
        let json = sale_json(&token, &cvv).into_bytes();
        Self {
            headers,
            json,
            answer: Answer { status: 200, headers: answer_headers, body: body(answer) },
        }
    }
}

#[inline(never)]
fn exchange(bench: &Bench, sale: Sale) -> Scrubbed {
    let incoming = Incoming {
        method: &Method::POST,
        path: "/paymega/cardgate/payment/sale",
        query: None,
        headers: &sale.headers,
        client_names: &[],
        body: sale.json.into(),
    };
    let ready = bench.flow.prepare(incoming, |_, _| Ok(()), NOW).unwrap();
    let Ready::Send(draft, mut pending) = ready else { panic!("nothing is sent") };
    let signed = draft.sign(NOW).unwrap();
    pending.signed(signed.signature);
    black_box(signed.prepared);
    pending.finish(sale.answer, &bench.flow, NOW).unwrap()
}

fn round_trip(bytes: &[u8]) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_slice(bytes).unwrap();
    serde_json::to_vec(&value).unwrap()
}

/// Room for all payments of a benchmark, of which none is forgotten before it ends.
const ROOM: &str = "[vault]\ncapacity = 10000000\nstates = 10000000\nstates_bytes = 8589934592\n\
                    sessions_per_app = 10000000\nmarks = 10000000\n";

fn exchanges(criterion: &mut Criterion) {
    let list = bodies::json(64 * 1024);
    let answers = [("done", DONE.as_bytes()), ("3DS", CHALLENGE.as_bytes()), ("64 KiB", &list)];
    let mut group = criterion.benchmark_group("forward");
    group.throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(2));
    for (name, answer) in answers {
        // Of its own, so that only one benchmark's payments are in memory.
        let bench = Bench::with("[account.three_ds]\nhosts = [\"card.psp.name\"]\n", ROOM);
        let handle = bench.handle("paymega");
        let sale = || Sale::new(&bench, &handle, answer);
        let request = sale().json;
        group.bench_function(format!("baseline: serde_json round trips, {name}"), |bencher| {
            bencher.iter(|| (round_trip(black_box(&request)), round_trip(black_box(answer))));
        });
        group.bench_function(format!("sale, {name}"), |bencher| {
            bencher.iter_batched(sale, |sale| exchange(&bench, sale), BatchSize::SmallInput);
        });
    }
    group.finish();
}

criterion_group!(benches, exchanges);
criterion_main!(benches);
