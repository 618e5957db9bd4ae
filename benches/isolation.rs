//! Does a queue of signatures delay a route that signs nothing?
//!
//! The real process between simulated providers on loopback. A Corefy sale (token revealed, Bearer
//! swapped) is sent at a constant rate, its latency counted from the moment it was due; alone, and
//! beside 16 connections that repeat a signed HighHelp call as fast as they can (each costs the
//! proxy an RSA signature and a verification), and beside as many that repeat a call which signs
//! nothing: on a machine without idle cores every load costs latency, and the difference between
//! the last two is what the signatures themselves cost. Rounds alternate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis_sandbox::client::{Call, Client};
use portcullis_sandbox::corefy::invoice::unix_now;
use portcullis_sandbox::shop::gateway::{CardFields, NewInvoice, bearer_of};
use portcullis_sandbox::visitor::{TypedCard, capture_call, open_session, tokens_of};
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Proxy, World};

const RATE: u32 = 50;
/// More than the sales that are under way together.
const INVOICES: u32 = 256;
const SECONDS: u32 = 6;
const ROUNDS: usize = 2;
const LOADERS: usize = 16;

#[tokio::main(flavor = "multi_thread")]
async fn main() {
    let proxy = Proxy::Binary(env!("CARGO_BIN_EXE_portcullis").into());
    let world = World::start(Options { proxy, ..Options::default() }).await.unwrap();
    let sales = sales(&world).await;
    let highhelp = world.highhelp("highhelp", App::Shop).unwrap();
    let body = format!(r#"{{"general":{{"project_id":"{}"}}}}"#, highhelp.project_id);
    let signed = highhelp.call("balance/info", body, unix_now());
    let plain = Call::get(format!("{}/paymega/api/payment-invoices/none", world.addresses.private))
        .header("portcullis-key", world.key(App::Shop));
    if std::env::args().any(|argument| argument == "--test") {
        assert_eq!(world.client.send(signed).await.unwrap().status, 200);
        return;
    }
    paced(&world.client, &sales).await;
    for round in 1..=ROUNDS {
        let alone = paced(&world.client, &sales).await;
        let load = Load::start(&world.client, &signed);
        let beside = paced(&world.client, &sales).await;
        let signatures = load.stop().await;
        let load = Load::start(&world.client, &plain);
        let control = paced(&world.client, &sales).await;
        let calls = load.stop().await;
        let of = |sorted: &[Duration], share: usize| sorted[sorted.len() * share / 100];
        let (before, after) = (of(&alone, 99), of(&beside, 99));
        println!(
            "round {round}: sale p50 {:?} alone, {:?} beside {} signed calls/s, {:?} beside {} plain \
             calls/s; p99 {before:?}, {after:?}, {:?}",
            of(&alone, 50),
            of(&beside, 50),
            signatures / SECONDS as usize,
            of(&control, 50),
            calls / SECONDS as usize,
            of(&control, 99),
        );
    }
}

/// Sales that can be sent again and again: the card without its CVV, each of an invoice of its own.
async fn sales(world: &World) -> Vec<Call> {
    let (client, at, origin) = (&world.client, &world.addresses, world.shop.url());
    let session = open_session(client, &at.private, world.key(App::Shop), origin).await.unwrap();
    let card = TypedCard::number("5519283812030000");
    let url = format!("{}/v1/tokens", at.public);
    let answer = client.send(capture_call(&url, &session, origin, &card)).await.unwrap();
    let tokens = tokens_of(&answer).unwrap();
    let gateway = world.gateway("paymega", App::Shop).unwrap();
    let fields = CardFields {
        number: tokens.token,
        holder: card.holder.clone(),
        cvv: String::new(),
        month: card.month.clone(),
        year: card.year.clone(),
        browser_info: serde_json::Value::Null,
    };
    let mut sales = Vec::new();
    for number in 0..INVOICES {
        let invoice = NewInvoice {
            reference: format!("bench-{number}"),
            amount: "17".to_owned(),
            return_url: origin.to_owned(),
            callback_url: String::new(),
        };
        let invoice = gateway.create_invoice(&invoice).await.unwrap().json().unwrap();
        sales.push(gateway.sale_call(bearer_of(&invoice).unwrap(), &fields));
    }
    sales
}

/// Latencies of calls at a constant rate, sorted, each from the moment it was due.
async fn paced(client: &Client, sales: &[Call]) -> Vec<Duration> {
    let begun = Instant::now();
    let mut calls = Vec::new();
    for number in 0..RATE * SECONDS {
        let due = begun + Duration::from_secs(1) / RATE * number;
        tokio::time::sleep_until(due.into()).await;
        let call = sales[number as usize % sales.len()].clone();
        let client = client.clone();
        calls.push(tokio::spawn(async move {
            client.send(call).await.unwrap();
            due.elapsed()
        }));
    }
    let mut latencies = Vec::new();
    for call in calls {
        latencies.push(call.await.unwrap());
    }
    latencies.sort();
    latencies
}

/// Connections that repeat one call until they are told to stop.
struct Load {
    over: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    loaders: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client, call: &Call) -> Self {
        let (over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let loaders = (0..LOADERS).map(|_| {
            let (client, call) = (client.clone(), call.clone());
            let (over, sent) = (Arc::clone(&over), Arc::clone(&sent));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let answer = client.send(call.clone()).await.unwrap();
                    assert!(matches!(answer.status, 200 | 404), "the load is not doing its work");
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let loaders = loaders.collect();
        Self { over, sent, loaders }
    }

    async fn stop(self) -> usize {
        self.over.store(true, Ordering::Relaxed);
        for loader in self.loaders {
            loader.await.unwrap();
        }
        self.sent.load(Ordering::Relaxed)
    }
}
