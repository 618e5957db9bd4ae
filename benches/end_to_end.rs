//! What does Portcullis add to a call? The real process on loopback TLS between a client and the
//! simulated provider, one call at a time over a kept connection; each beside the same call
//! straight to the provider. Every sale has an invoice, a card and a code of its own, made outside
//! the measured part. Client and provider run in this process, so the differences count and the
//! times by themselves do not.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use portcullis_sandbox::client::Call;
use portcullis_sandbox::corefy::cards::{CHALLENGED, PLAIN};
use portcullis_sandbox::random::letters;
use portcullis_sandbox::shop::gateway::{CardFields, Gateway, NewInvoice, bearer_of};
use portcullis_sandbox::visitor::{TypedCard, capture_call, open_session, tokens_of};
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Proxy, World};
use tokio::runtime::Runtime;

/// A world that answers one call at a time.
struct Stage {
    runtime: Runtime,
    world: World,
}

impl Stage {
    fn set() -> Self {
        let runtime = Runtime::new().unwrap();
        let proxy = Proxy::Binary(env!("CARGO_BIN_EXE_portcullis").into());
        let world = runtime.block_on(World::start(Options { proxy, ..Options::default() }));
        Self { world: world.unwrap(), runtime }
    }

    /// Sends a call that has to be answered with `status`.
    fn send(&self, call: Call, status: u16) -> usize {
        let answer = self.runtime.block_on(self.world.client.send(call)).unwrap();
        assert_eq!(answer.status, status);
        answer.body.len()
    }

    /// A card on its way in, with a session of its own.
    fn capture(&self, number: &str) -> Call {
        let (client, at, origin) =
            (&self.world.client, &self.world.addresses, self.world.shop.url());
        let key = self.world.key(App::Shop);
        let session = self.runtime.block_on(open_session(client, &at.private, key, origin));
        let url = format!("{}/v1/tokens", at.public);
        capture_call(&url, &session.unwrap(), origin, &TypedCard::number(number))
    }

    /// A sale through Portcullis, ready to be sent.
    fn sale(&self, number: &str) -> Call {
        let answer = self.runtime.block_on(self.world.client.send(self.capture(number))).unwrap();
        let tokens = tokens_of(&answer).unwrap();
        let gateway = self.world.gateway("paymega", App::Shop).unwrap();
        self.prepared(&gateway, (tokens.token, tokens.cvv_token), number)
    }

    /// The same straight to the provider, with the card itself.
    fn direct(&self, number: &str) -> Call {
        let cvv = TypedCard::number(number).cvv;
        self.prepared(&self.world.direct("paymega").unwrap(), (number.to_owned(), cvv), number)
    }

    fn prepared(&self, gateway: &Gateway, (pan, cvv): (String, String), number: &str) -> Call {
        let invoice = NewInvoice {
            reference: format!("bench-{}", letters(12)),
            amount: "17".to_owned(),
            return_url: self.world.shop.url().to_owned(),
            callback_url: String::new(),
        };
        let invoice = self.runtime.block_on(gateway.create_invoice(&invoice)).unwrap();
        let card = TypedCard::number(number);
        let fields = CardFields {
            number: pan,
            holder: card.holder,
            cvv,
            month: card.month,
            year: card.year,
            browser_info: serde_json::Value::Null,
        };
        let invoice = invoice.json().unwrap();
        let bearer = bearer_of(&invoice).unwrap_or_else(|| panic!("no bearer: {invoice}"));
        gateway.sale_call(bearer, &fields)
    }
}

fn calls(criterion: &mut Criterion) {
    let stage = Stage::set();
    let mut group = criterion.benchmark_group("end to end");
    group.sample_size(50);
    let health = format!("{}/healthz", stage.world.addresses.admin);
    group.bench_function("baseline: a health check, plain", |bench| {
        bench.iter(|| black_box(stage.send(Call::get(health.clone()), 200)));
    });
    group.bench_function("capture", |bench| {
        let capture = || stage.capture(PLAIN);
        bench.iter_batched(capture, |call| stage.send(call, 201), BatchSize::PerIteration);
    });
    for (name, number) in [("sale", PLAIN), ("sale that is challenged", CHALLENGED)] {
        group.bench_function(format!("baseline: {name}, straight to the provider"), |bench| {
            let direct = || stage.direct(number);
            bench.iter_batched(direct, |call| stage.send(call, 200), BatchSize::PerIteration);
        });
        group.bench_function(name, |bench| {
            let sale = || stage.sale(number);
            bench.iter_batched(sale, |call| stage.send(call, 200), BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, calls);
criterion_main!(benches);
