//! A proxy as the load sees it: how its sales look, and where their cards come from.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio_rustls::TlsConnector;

use super::client::{self, Line, Look};
use super::paced::paced;
use super::ports::{Hop, Peer};
use super::process::Running;
use super::sale::{self, CardPair, Kind};
use super::upstream::Seen;
use super::wire;
use super::world::{APP_KEY, ORIGIN, World};

/// Connections of every load.
pub const CONNECTIONS: usize = 64;
/// Requests that go ahead of a measurement.
const WARM_UP: usize = 10 * CONNECTIONS;
/// Cards that one capture session takes.
const CARDS_PER_SESSION: usize = 100;
/// Many times the sales that are under way together.
const INVOICES: usize = 2048;

/// A running proxy and what it takes to speak to it.
pub struct Rival {
    /// The process.
    pub running: Running,
    connector: TlsConnector,
    /// `Authorization` of sales by hop.
    authorization: [Vec<String>; 2],
    /// `Authorization` of captures, where it is one for all.
    session: Option<String>,
    seen: Arc<Seen>,
    cards: AtomicUsize,
    sales: AtomicUsize,
}

/// What a measured load came to.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Requests.
    pub count: usize,
    /// CPU time of the proxy.
    pub cpu: Duration,
    /// Time that passed.
    pub wall: Duration,
    /// Resident memory at the end, connections open, KiB.
    pub resident_kib: u64,
}

impl Figure {
    /// CPU µs per request.
    pub fn micros(&self) -> f64 {
        self.cpu.as_nanos() as f64 / 1000.0 / self.count as f64
    }

    /// Requests per second.
    pub fn rate(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    /// How much of its core the proxy used.
    pub fn share(&self) -> f64 {
        self.cpu.as_secs_f64() / self.wall.as_secs_f64()
    }
}

impl Rival {
    /// Opens what sales need: invoices, whose handles they show.
    pub async fn open(
        running: Running,
        world: &World,
        connector: &TlsConnector,
        seen: &Arc<Seen>,
    ) -> Self {
        let mut authorization = [(); 2].map(|()| vec![world.real_bearer.clone()]);
        let mut session = None;
        match running.peer {
            Peer::Portcullis | Peer::Other => {
                for (at, hop) in Hop::BOTH.into_iter().enumerate() {
                    authorization[at] = handles(world, connector, running.peer, hop).await;
                }
            }
            Peer::Lua => {
                authorization = [(); 2].map(|()| vec![world.lua_virtual.clone()]);
                session = Some(world.lua_session.clone());
            }
            _ => {}
        }
        Self {
            running,
            connector: connector.clone(),
            authorization,
            session,
            seen: Arc::clone(seen),
            cards: AtomicUsize::new(0),
            sales: AtomicUsize::new(0),
        }
    }

    /// Which proxy.
    pub fn peer(&self) -> Peer {
        self.running.peer
    }

    /// Fresh cards as this proxy's clients hold them, and what capturing them cost.
    pub async fn cards(&self, count: usize) -> (Vec<CardPair>, Option<Figure>) {
        let first = self.cards.fetch_add(count, Ordering::Relaxed);
        let clear: Vec<CardPair> = (first..first + count).map(sale::card).collect();
        if !self.peer().takes_tokens() {
            return (clear, None);
        }
        let sessions = match &self.session {
            Some(session) => vec![session.clone()],
            None => self.sessions(count.div_ceil(CARDS_PER_SESSION)).await,
        };
        let requests: Vec<Vec<u8>> = clear
            .iter()
            .enumerate()
            .map(|(at, card)| {
                let session = &sessions[at / CARDS_PER_SESSION % sessions.len()];
                capture(session, card)
            })
            .collect();
        let captured = Arc::new(Mutex::new(vec![None; count]));
        let kept = Arc::clone(&captured);
        let look: Arc<Look> = Arc::new(move |at, status, body| {
            let text = std::str::from_utf8(body).unwrap_or_default();
            assert_eq!(status, 201, "a capture was refused: {text}");
            kept.lock().unwrap()[at] = Some(tokens(text));
        });
        let figure = self.measure(self.peer().capture_port(), requests, &look).await;
        let captured = captured.lock().unwrap().drain(..).map(Option::unwrap).collect();
        (captured, Some(figure))
    }

    async fn sessions(&self, count: usize) -> Vec<String> {
        let mut line = self.line(self.peer().port(Hop::Plain)).await;
        let request = Self::session_request();
        let mut sessions = Vec::new();
        for _ in 0..count {
            let (status, body) = line.exchange(&request).await.unwrap();
            let body = std::str::from_utf8(body).unwrap();
            assert_eq!(status, 201, "a capture session was refused: {body}");
            sessions.push(format!("Bearer {}", member(body, "id")));
        }
        sessions
    }

    /// The request for a capture session of a hundred cards.
    pub fn session_request() -> Vec<u8> {
        let body = format!(r#"{{"origin":"{ORIGIN}","ttl_seconds":3600,"max_cards":100}}"#);
        wire::post("/v1/capture-sessions", &[("Portcullis-Key", APP_KEY)], &body)
    }

    /// A connection to one of its ports.
    pub async fn line(&self, port: u16) -> Line {
        Line::open(&self.connector, port).await.expect("a connection to the proxy")
    }

    /// The request of a sale.
    pub fn sale(&self, hop: Hop, kind: Kind, card: &CardPair) -> Vec<u8> {
        let path = match hop {
            _ if !self.peer().is_product() => "/payment/sale",
            Hop::Plain => "/plain/cardgate/payment/sale",
            Hop::Tls => "/tls/cardgate/payment/sale",
        };
        let known = &self.authorization[usize::from(hop == Hop::Tls)];
        let authorization = &known[self.sales.fetch_add(1, Ordering::Relaxed) % known.len()];
        wire::post(path, &[("Authorization", authorization)], &sale::body(kind, card))
    }

    /// Sells with all cards as fast as it goes. Fails unless every sale was a true one.
    pub async fn sell(&self, hop: Hop, kind: Kind, cards: &[CardPair]) -> Figure {
        let requests = cards.iter().map(|card| self.sale(hop, kind, card)).collect();
        let before = self.true_sales();
        let figure = self.measure(self.peer().port(hop), requests, &self.checks()).await;
        self.check_count(before, cards.len());
        figure
    }

    /// Looks at each answer: paid, and no card in it.
    pub fn checks(&self) -> Arc<Look> {
        let peer = self.peer();
        Arc::new(move |_, status, body| {
            assert_eq!(status, 200, "{}: {}", peer.name(), String::from_utf8_lossy(body));
            assert!(!sale::shows_card(body), "{}: an answer shows the card", peer.name());
        })
    }

    /// Sales that the provider has seen so far.
    pub fn sales(&self) -> u64 {
        self.seen.sales.load(Ordering::Relaxed)
    }

    /// True sales that the provider has seen so far.
    pub fn true_sales(&self) -> u64 {
        self.seen.true_sales.load(Ordering::Relaxed)
    }

    /// Whether the provider saw so many true sales since.
    pub fn check_count(&self, before: u64, count: usize) {
        let seen = self.true_sales() - before;
        let name = self.peer().name();
        assert_eq!(seen, count as u64, "{name}: not every sale reached the provider as it should");
    }

    /// One sale whose answer shows the card number at the provider: who works takes it out.
    pub async fn prove(&self, hop: Hop) {
        let (cards, _) = self.cards(1).await;
        let before = self.true_sales();
        let shown = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&shown);
        let look: Arc<Look> = Arc::new(move |_, status, body| {
            assert_eq!(status, 200);
            count.fetch_add(u64::from(sale::shows_card(body)), Ordering::Relaxed);
        });
        let line = client::lines(&self.connector, self.peer().port(hop), 1).await;
        let requests = Arc::new(vec![self.sale(hop, Kind::Echo, &cards[0])]);
        client::saturate(line, &requests, 0, 1, &look).await;
        self.check_count(before, 1);
        let shown = shown.load(Ordering::Relaxed) > 0;
        let (name, works) = (self.peer().name(), self.peer().takes_tokens());
        assert_eq!(shown, !works, "{name}: the card in an answer was not treated as expected");
    }

    /// Sells with all cards at a constant rate; latencies from the due time, sorted.
    pub async fn sell_paced(&self, hop: Hop, cards: &[CardPair], rate: f64) -> Vec<Duration> {
        let requests = cards.iter().map(|card| self.sale(hop, Kind::Small, card)).collect();
        let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests);
        let before = self.true_sales();
        let lines = client::lines(&self.connector, self.peer().port(hop), CONNECTIONS).await;
        let (lines, latencies) = paced(lines, &requests, rate, &self.checks()).await;
        for line in lines {
            line.close().await;
        }
        self.check_count(before, cards.len());
        latencies
    }

    /// Sells with all cards, each over a connection of its own with a full handshake.
    pub async fn sell_apart(&self, hop: Hop, cards: &[CardPair]) -> Figure {
        let requests = cards.iter().map(|card| self.sale(hop, Kind::Small, card)).collect();
        let requests: Arc<Vec<Vec<u8>>> = Arc::new(requests);
        let (seen, look) = (self.true_sales(), self.checks());
        let before = self.running.cpu();
        let wall = client::apart(&self.connector, self.peer().port(hop), &requests, &look).await;
        let cpu = self.running.cpu() - before;
        self.check_count(seen, cards.len());
        Figure { count: cards.len(), cpu, wall, resident_kib: self.running.resident_kib() }
    }

    /// CPU and time of requests over 64 connections that are open and warm.
    async fn measure(&self, port: u16, requests: Vec<Vec<u8>>, look: &Arc<Look>) -> Figure {
        let requests = Arc::new(requests);
        let all = requests.len();
        let warm = WARM_UP.min(all / 4);
        let lines = client::lines(&self.connector, port, CONNECTIONS.min(all)).await;
        let (lines, _) = client::saturate(lines, &requests, 0, warm, look).await;
        let before = self.running.cpu();
        let (lines, wall) = client::saturate(lines, &requests, warm, all, look).await;
        let cpu = self.running.cpu() - before;
        let resident_kib = self.running.resident_kib();
        for line in lines {
            line.close().await;
        }
        Figure { count: all - warm, cpu, wall, resident_kib }
    }
}

/// `Authorization` of sales under invoices that are made for them: two sales of one invoice are
/// not let through at a time.
async fn handles(world: &World, connector: &TlsConnector, peer: Peer, hop: Hop) -> Vec<String> {
    let mut line = Line::open(connector, peer.port(hop)).await.unwrap();
    let basic = format!("Basic {}", STANDARD.encode(&world.virtual_pair));
    let body =
        include_str!("../../tests/fixtures/providers/corefy/paymega-en.invoice-request.json");
    let body = body.replace("https://example.com/payments", &format!("{ORIGIN}/payments"));
    let path = format!("/{}/api/payment-invoices", hop.name());
    let request = wire::post(&path, &[("Authorization", &basic)], &body);
    let mut handles = Vec::new();
    for _ in 0..INVOICES {
        let (status, body) = line.exchange(&request).await.unwrap();
        let body = std::str::from_utf8(body).unwrap();
        assert_eq!(status, 201, "an invoice was refused: {body}");
        handles.push(format!("Bearer {}", member(body, "token")));
    }
    handles
}

/// The tokens of a capture's answer.
pub fn tokens(answer: &str) -> CardPair {
    CardPair {
        number: member(answer, "token").to_owned(),
        cvv: member(answer, "cvv_token").to_owned(),
    }
}

/// The request that captures a card.
pub fn capture(session: &str, card: &CardPair) -> Vec<u8> {
    let body = format!(
        r#"{{"card":{{"number":"{}","cvv":"{}","exp_month":"10","exp_year":"35","holder":"Card Holder"}}}}"#,
        card.number, card.cvv
    );
    wire::post("/v1/tokens", &[("Authorization", session), ("Origin", ORIGIN)], &body)
}

/// A string member's value.
pub fn member<'a>(text: &'a str, name: &str) -> &'a str {
    let rest = text.split_once(&format!("\"{name}\":\"")).map_or("", |(_, rest)| rest);
    rest.split_once('"').map_or("", |(value, _)| value)
}
