//! Customers: each captures a card, pays with it twenty times, and takes the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::client::Line;
use super::paced::Queue;
use super::ports::{Hop, Peer};
use super::rival::{CONNECTIONS, Rival, capture, member, tokens};
use super::sale::{self, CardPair, Kind};

/// Sales with one card; the first has its CVV.
const SALES_PER_CARD: usize = 20;
const CARDS_PER_SESSION: usize = 100;
/// Faults that are told one by one.
const TOLD: u64 = 5;

/// What went wrong, and how much went right.
#[derive(Default)]
pub struct Count {
    /// Sales begun.
    pub sales: AtomicU64,
    /// Sales with a CVV, one for each card: the provider has to see as many.
    pub with_cvv: AtomicU64,
    /// Sales without a true answer.
    pub errors: AtomicU64,
    /// Connections that the proxy closed between two calls, after it said so or idle.
    pub reopened: AtomicU64,
    /// The longest time from the moment a sale was due to its answer, µs.
    pub slowest_us: AtomicU64,
}

/// A customer after the other over one pair of connections.
pub struct Shopper {
    rival: Arc<Rival>,
    count: Arc<Count>,
    sales: Line,
    captures: Line,
    session: Option<(String, usize)>,
    card: Option<(CardPair, usize)>,
    ordinal: usize,
}

impl Shopper {
    /// Connects.
    pub async fn open(rival: &Arc<Rival>, count: &Arc<Count>, ordinal: usize) -> Self {
        let sales = rival.line(Peer::Portcullis.port(Hop::Tls)).await;
        let captures = rival.line(Peer::Portcullis.capture_port()).await;
        let (rival, count) = (Arc::clone(rival), Arc::clone(count));
        Self { rival, count, sales, captures, session: None, card: None, ordinal }
    }

    /// Pays whenever a sale is due, to the end of the queue.
    pub async fn serve(mut self, queue: Arc<Queue>) {
        let count = Arc::clone(&self.count);
        while let Some((number, due)) = queue.next().await {
            count.sales.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = self.buy().await {
                if count.errors.fetch_add(1, Ordering::Relaxed) < TOLD {
                    println!("sale {number}: {error}");
                }
                self = Self::open(&self.rival, &count, self.ordinal).await;
            }
            count.slowest_us.fetch_max(micros(due.elapsed()), Ordering::Relaxed);
        }
    }

    /// One sale, with a new card where the last one was used often enough.
    async fn buy(&mut self) -> Result<(), String> {
        let card = match self.card.take() {
            Some((card, left @ 1..)) => {
                self.card = Some((card.clone(), left - 1));
                CardPair { number: card.number, cvv: String::new() }
            }
            _ => {
                let card = self.capture().await?;
                self.card = Some((card.clone(), SALES_PER_CARD - 1));
                card
            }
        };
        let request = self.rival.sale(Hop::Tls, Kind::Small, &card);
        let (status, body) = self.ask(Peer::Portcullis.port(Hop::Tls), &request).await?;
        match status {
            200 if !sale::shows_card(body) => Ok(()),
            200 => Err("an answer shows the card".to_owned()),
            other => Err(format!("{other}: {}", String::from_utf8_lossy(body))),
        }
    }

    async fn capture(&mut self) -> Result<CardPair, String> {
        let session = match self.session.take() {
            Some((session, left @ 1..)) => {
                self.session = Some((session.clone(), left - 1));
                session
            }
            _ => {
                let port = Peer::Portcullis.port(Hop::Tls);
                let (status, body) = self.ask(port, &Rival::session_request()).await?;
                let body = String::from_utf8_lossy(body);
                if status != 201 {
                    return Err(format!("{status}: {body}"));
                }
                let session = format!("Bearer {}", member(&body, "id"));
                self.session = Some((session.clone(), CARDS_PER_SESSION - 1));
                session
            }
        };
        self.count.with_cvv.fetch_add(1, Ordering::Relaxed);
        self.ordinal += CONNECTIONS;
        let request = capture(&session, &sale::card(self.ordinal));
        let (status, body) = self.ask(Peer::Portcullis.capture_port(), &request).await?;
        let body = String::from_utf8_lossy(body);
        if status == 201 { Ok(tokens(&body)) } else { Err(format!("{status}: {body}")) }
    }

    /// As every client with kept connections does: one that was closed between two calls is opened
    /// anew. One that ends within a call is a fault.
    async fn ask(&mut self, port: u16, request: &[u8]) -> Result<(u16, &[u8]), String> {
        let captures = port == Peer::Portcullis.capture_port();
        let line = if captures { &mut self.captures } else { &mut self.sales };
        if line.is_closed().await {
            self.count.reopened.fetch_add(1, Ordering::Relaxed);
            *line = self.rival.line(port).await;
        }
        line.exchange(request).await.map_err(|error| error.to_string())
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
