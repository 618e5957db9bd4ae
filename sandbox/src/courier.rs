//! Carries callbacks: in order within one payment, repeated until exactly 200, every attempt
//! remembered.

use crate::client::{Call, Client};
use crate::corefy::callback::Pace;
use crate::lock;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use tokio::sync::oneshot;

/// A message as it goes out.
#[derive(Debug, Clone)]
pub struct Letter {
    /// Where it goes.
    pub url: String,
    /// Of the body.
    pub content_type: &'static str,
    /// Beside the content type.
    pub headers: Vec<(String, String)>,
    /// The bytes.
    pub body: Bytes,
}

/// A callback, and what became of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The merchant's key of the payment.
    pub reference: String,
    /// The status that it reports.
    pub status: String,
    /// What is sent, each time the same.
    pub letter: Letter,
    /// What each attempt was answered; `None` for no answer.
    pub attempts: Vec<Option<u16>>,
    /// What the last answer said.
    pub answer: Option<(String, Bytes)>,
}

impl Delivery {
    /// Exactly 200, nothing else.
    #[must_use]
    pub fn delivered(&self) -> bool {
        self.attempts.last() == Some(&Some(200))
    }
}

/// The carrier.
pub struct Courier {
    client: Client,
    pace: Pace,
    agent: &'static str,
    deliveries: Mutex<Vec<Delivery>>,
    tails: Mutex<HashMap<String, oneshot::Receiver<()>>>,
}

impl Courier {
    /// One that calls itself `agent`.
    #[must_use]
    pub fn new(client: Client, pace: Pace, agent: &'static str) -> Arc<Self> {
        let (deliveries, tails) = (Mutex::default(), Mutex::default());
        Arc::new(Self { client, pace, agent, deliveries, tails })
    }

    /// How patient it is.
    #[must_use]
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// Everything sent, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.deliveries).clone()
    }

    /// What was sent about one payment.
    #[must_use]
    pub fn deliveries_of(&self, reference: &str) -> Vec<Delivery> {
        let all = lock(&self.deliveries);
        all.iter().filter(|sent| sent.reference == reference).cloned().collect()
    }

    /// Queues a message about a payment.
    pub fn send(self: &Arc<Self>, reference: &str, status: &str, letter: Letter) {
        let delivery = Delivery {
            reference: reference.to_owned(),
            status: status.to_owned(),
            letter,
            attempts: Vec::new(),
            answer: None,
        };
        let mut deliveries = lock(&self.deliveries);
        let place = deliveries.len();
        deliveries.push(delivery);
        let (attempted, next) = oneshot::channel();
        let before = lock(&self.tails).insert(reference.to_owned(), next);
        drop(deliveries);
        tokio::spawn(deliver(Arc::clone(self), place, before, attempted));
    }

    /// Sends the newest message about a payment once more, byte for byte.
    pub async fn resend(&self, reference: &str) -> Option<u16> {
        let newest = self.deliveries_of(reference).pop()?;
        self.post(&newest.letter).await
    }

    /// One attempt with whatever is given; the status of the answer, if there was one.
    pub async fn post(&self, letter: &Letter) -> Option<u16> {
        self.exchange(letter).await.0
    }

    async fn exchange(&self, letter: &Letter) -> (Option<u16>, Option<(String, Bytes)>) {
        let mut call = Call::post(&letter.url, letter.content_type, letter.body.clone())
            .header("user-agent", self.agent);
        for (name, value) in &letter.headers {
            call = call.header(name, value);
        }
        match self.client.patient(self.pace.attempt).send(call).await {
            Ok(answer) => {
                let kind = answer.content_type().unwrap_or_default().to_owned();
                (Some(answer.status), Some((kind, answer.body)))
            }
            Err(_) => (None, None),
        }
    }

    async fn attempt(&self, place: usize) -> bool {
        let Some(letter) = lock(&self.deliveries).get(place).map(|sent| sent.letter.clone()) else {
            return true;
        };
        let (status, answer) = self.exchange(&letter).await;
        if let Some(delivery) = lock(&self.deliveries).get_mut(place) {
            delivery.attempts.push(status);
            delivery.answer = answer;
        }
        status == Some(200)
    }
}

/// First attempts keep their order within a payment; repetitions do not hold up what follows.
async fn deliver(
    courier: Arc<Courier>,
    place: usize,
    before: Option<oneshot::Receiver<()>>,
    attempted: oneshot::Sender<()>,
) {
    if let Some(before) = before {
        let _ = before.await;
    }
    let mut attempted = Some(attempted);
    for n in 1..=courier.pace.attempts_max {
        if courier.attempt(place).await {
            return;
        }
        attempted.take();
        tokio::time::sleep(courier.pace.retry_unit * n).await;
    }
}
