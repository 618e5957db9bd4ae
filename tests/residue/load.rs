//! Who pays, over which connections, and what goes wrong meanwhile.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis_sandbox::client::Answer;
use portcullis_sandbox::corefy::cards::Challenge;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::record::until;
use portcullis_sandbox::world::accounts::App;
use rustls::ClientConfig;

use super::house::{House, session_of, whole};
use super::line::{Ask, Line, Version};
use super::wanted;
use super::ways::{self, Way};

/// Payments under way at a time; four for each of HTTP/1.1 and HTTP/2, TLS 1.3 and 1.2.
const WORKERS: usize = 16;
/// How long a provider takes while the product is looked at.
const SLOW: Duration = Duration::from_millis(1_500);
/// Connections that each worker keeps although nothing more is sent on them.
const LINES_KEPT: usize = 4;
/// Cards that one capture session takes.
const SESSION_CARDS: usize = 100;

/// How many payments go which way, one way after the other.
pub(crate) struct Plan(Vec<(Way, usize)>);

impl Plan {
    /// Three quarters are ordinary sales; everything else that can happen comes in between.
    pub(crate) fn of(payments: usize) -> Self {
        let hundredth = payments.div_ceil(100);
        let rare = [
            (Way::Faulty(Fault::EchoPan, 422), hundredth),
            (Way::Faulty(Fault::EchoEncoded, 422), hundredth),
            (Way::Faulty(Fault::EchoHeader, 200), hundredth),
            (Way::Faulty(Fault::Html500, 500), hundredth),
            (Way::Faulty(Fault::Half, 502), hundredth),
            (Way::Faulty(Fault::Cut, 502), hundredth),
            (Way::Faulty(Fault::Silent, 504), 2 * WORKERS),
            (Way::ClientLeaves, hundredth),
            (Way::Aborted { public: true }, hundredth),
            (Way::Aborted { public: false }, hundredth),
            (Way::Refused, 2 * hundredth),
            (Way::InClear, hundredth),
            (Way::Challenged, hundredth),
            (Way::Told, hundredth),
            (Way::Form("qostiq"), hundredth),
            (Way::Form("qostiq-browser"), hundredth),
            (Way::TypedForm, hundredth),
            (Way::Payout, hundredth),
            (Way::OwnForm, 2 * hundredth),
        ];
        let mut plan = vec![(Way::Kept, 2 * hundredth), (Way::Sale, 70 * hundredth)];
        plan.extend(rare);
        plan.push((Way::Sale, 18 * hundredth));
        plan.push((Way::Last, 8 * WORKERS));
        Self(plan)
    }

    /// Every way alike.
    pub(crate) fn of_each(count: usize) -> Self {
        let mut plan = Self::of(100);
        plan.0.iter_mut().for_each(|(_, own)| *own = count);
        plan
    }

    /// Cards that the whole plan and what is under way take; every one is another.
    pub(crate) fn cards(&self) -> usize {
        self.0.iter().map(|(_, count)| count).sum::<usize>() + WORKERS
    }

    /// Cards that reach a provider.
    pub(crate) fn payments(&self) -> usize {
        let paid = |way: &Way| {
            !matches!(
                way,
                Way::Kept
                    | Way::Aborted { .. }
                    | Way::Refused
                    | Way::InClear
                    | Way::OwnForm
                    | Way::Last
            )
        };
        self.0.iter().filter(|(way, _)| paid(way)).map(|(_, count)| count).sum()
    }

    /// Makes all payments, one way after the other.
    pub(crate) async fn play(&self, house: &Arc<House>, mut workers: Vec<Worker>) -> Vec<Worker> {
        let mut first = 0;
        for (way, count) in &self.0 {
            let begun = Instant::now();
            let cards = first..first + count;
            workers = all_pay(house, workers, *way, cards.clone()).await;
            let took = begun.elapsed().as_secs_f64();
            eprintln!("  {count:>6} {:<30} {took:>6.1} s", format!("{way:?}"));
            first = cards.end;
        }
        workers
    }

    /// The last cards of the plan, one of each worker, while the provider takes its time; `look`
    /// sees the product at work on all of them.
    pub(crate) async fn meanwhile<T: Send + 'static>(
        &self,
        house: &Arc<House>,
        workers: Vec<Worker>,
        look: impl FnOnce() -> T + Send + 'static,
    ) -> (Vec<Worker>, T) {
        let cards = self.cards() - WORKERS..self.cards();
        let received = || house.world.milkypay.received().count("sale");
        let expected = received() + WORKERS;
        let slow = Way::Faulty(Fault::Slow(SLOW), 200);
        let paying = {
            let house = Arc::clone(house);
            tokio::spawn(async move { all_pay(&house, workers, slow, cards).await })
        };
        let all = until(SLOW, || (received() >= expected).then_some(())).await;
        all.expect("the payments were not under way together");
        let seen = tokio::task::spawn_blocking(look).await.unwrap();
        (paying.await.unwrap(), seen)
    }
}

/// All workers take cards until there are none left; the connections stay open as long as the
/// workers.
async fn all_pay(
    house: &Arc<House>,
    workers: Vec<Worker>,
    way: Way,
    cards: Range<usize>,
) -> Vec<Worker> {
    arrange(house, way);
    let next = Arc::new(AtomicUsize::new(cards.start));
    let pay = |worker: Worker| tokio::spawn(worker.pay(way, Arc::clone(&next), cards.end));
    let tasks: Vec<_> = workers.into_iter().map(pay).collect();
    let mut workers = Vec::new();
    for task in tasks {
        workers.push(task.await.unwrap());
    }
    house.world.paymega.behave();
    house.world.milkypay.behave();
    workers
}

fn arrange(house: &House, way: Way) {
    match way {
        Way::Last => house.world.milkypay.faults().set("sale", Fault::EchoPan),
        Way::Faulty(fault, _) => house.world.milkypay.faults().set("sale", fault),
        Way::Challenged => {
            house.world.paymega.quirks(|quirks| quirks.strangers = Some(Challenge::V1));
        }
        Way::Told => house.world.paymega.quirks(|quirks| quirks.unmasked = true),
        _ => {}
    }
}

/// One client with kept-alive connections to both listeners.
pub(crate) struct Worker {
    pub(crate) house: Arc<House>,
    pub(crate) version: Version,
    pub(crate) tls: Arc<ClientConfig>,
    private: Line,
    public: Line,
    /// Connections on which nothing more is sent, and that their client keeps.
    left: VecDeque<Line>,
    /// Everything that was answered, heads and bodies.
    pub(crate) heard: Vec<u8>,
    session: String,
    cards_left: usize,
}

impl Worker {
    /// All of them.
    pub(crate) async fn hire(house: &Arc<House>) -> Vec<Self> {
        let mut workers = Vec::new();
        for number in 0..WORKERS {
            workers.push(Self::new(house, number).await);
        }
        workers
    }

    async fn new(house: &Arc<House>, number: usize) -> Self {
        let version = Version::BOTH[number % 2];
        let tls = match number / 2 % 2 {
            0 => house.tls().only(&rustls::version::TLS13),
            _ => house.tls().only(&rustls::version::TLS12),
        };
        let tls = tls.config(version);
        let private = Line::open(&house.world.addresses.private, &tls).await.unwrap();
        let public = Line::open(&house.world.addresses.public, &tls).await.unwrap();
        let (house, session) = (Arc::clone(house), String::new());
        let (left, heard, cards_left) = (VecDeque::new(), Vec::new(), 0);
        Self { house, version, tls, private, public, left, heard, session, cards_left }
    }

    async fn pay(mut self, way: Way, next: Arc<AtomicUsize>, end: usize) -> Self {
        loop {
            let serial = next.fetch_add(1, Ordering::SeqCst);
            if serial >= end {
                return self;
            }
            ways::pay(&mut self, way, serial, wanted::card(serial)).await;
        }
    }

    /// As the application.
    pub(crate) async fn ask(&mut self, ask: &Ask) -> Answer {
        let answer = self.private.send(ask).await;
        self.heard.extend(whole(&answer).into_bytes());
        answer
    }

    /// As the application with something that is refused; nothing follows on the connection.
    pub(crate) async fn ask_in_vain(&mut self, ask: &Ask) -> Answer {
        let answer = self.ask(ask).await;
        let fresh = self.open(false).await;
        let old = std::mem::replace(&mut self.private, fresh);
        self.keep(old);
        answer
    }

    /// As a browser with a card. A connection on which a card came in over HTTP/2 ends.
    pub(crate) async fn hand_in(&mut self, ask: &Ask) -> Answer {
        let answer = self.post_form(ask).await;
        self.heard.extend(whole(&answer).into_bytes());
        answer
    }

    /// As a browser that may be given the card back, to post it itself.
    pub(crate) async fn post_form(&mut self, ask: &Ask) -> Answer {
        let answer = self.public.send(ask).await;
        if self.version == Version::Http2 || answer.status >= 400 {
            let fresh = self.open(true).await;
            let old = std::mem::replace(&mut self.public, fresh);
            self.keep(old);
        }
        answer
    }

    /// Does not close a connection that is not needed, until there are newer ones.
    pub(crate) fn keep(&mut self, line: Line) {
        self.left.push_back(line);
        if self.left.len() > LINES_KEPT {
            self.left.pop_front();
        }
    }

    /// One more connection.
    pub(crate) async fn open(&self, public: bool) -> Line {
        let addresses = &self.house.world.addresses;
        let base = if public { &addresses.public } else { &addresses.private };
        Line::open(base, &self.tls).await.unwrap()
    }

    /// A capture session that takes one more card.
    pub(crate) async fn session(&mut self) -> String {
        if self.cards_left == 0 {
            let ask = self.house.session(App::Shop);
            self.session = session_of(&self.ask(&ask).await);
            self.cards_left = SESSION_CARDS;
        }
        self.cards_left -= 1;
        self.session.clone()
    }
}
