//! Callbacks: signed over the raw body, sent on creation and on each status change, repeated until
//! exactly 200.

use super::Shared;
use crate::client::Call;
use crate::lock;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// `X-Signature` = base64(SHA1(secret ‖ body ‖ secret)).
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    digest.update(secret.as_bytes());
    digest.update(body);
    digest.update(secret.as_bytes());
    STANDARD.encode(digest.finish())
}

/// How patient the platform is; its minutes are milliseconds here.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Retry n comes n of these after the failure before it. The platform's is a minute.
    pub retry_unit: Duration,
    /// At most so many attempts.
    pub attempts_max: u32,
    /// One attempt takes at most so long: 20 s for test operations.
    pub attempt: Duration,
    /// A payout is settled so long after its creation.
    pub settle_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            retry_unit: Duration::from_millis(40),
            attempts_max: 100,
            attempt: Duration::from_secs(20),
            settle_after: Duration::from_millis(60),
        }
    }
}

/// A callback, and what became of it.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The invoice's id.
    pub invoice: String,
    /// The status that it reports.
    pub status: String,
    /// Where it goes.
    pub url: String,
    /// The bytes that are sent, each time the same.
    pub body: Bytes,
    /// Over those bytes.
    pub signature: String,
    /// What each attempt was answered; `None` for no answer.
    pub attempts: Vec<Option<u16>>,
}

impl Delivery {
    /// Exactly 200, nothing else.
    #[must_use]
    pub fn delivered(&self) -> bool {
        self.attempts.last() == Some(&Some(200))
    }
}

impl Shared {
    /// Queues a callback for the invoice's present state.
    pub(super) fn emit(self: &Arc<Self>, invoice: &str) {
        let mut book = lock(&self.book);
        let Some(present) = book.invoices.get(invoice) else { return };
        let Some(url) = present.callback_url.clone() else { return };
        let body = Bytes::from(present.document(self.base()));
        let delivery = Delivery {
            invoice: invoice.to_owned(),
            status: present.status.clone(),
            url,
            signature: signature(self.secret_of(&present.account, present.test_mode), &body),
            body,
            attempts: Vec::new(),
        };
        let place = book.deliveries.len();
        book.deliveries.push(delivery);
        let (attempted, next) = oneshot::channel();
        let before = book.tails.insert(invoice.to_owned(), next);
        drop(book);
        tokio::spawn(deliver(Arc::clone(self), place, before, attempted));
    }

    /// One attempt with whatever is given; the status of the answer, if there was one.
    pub(super) async fn post_callback(
        &self,
        url: &str,
        body: Bytes,
        signature: Option<&str>,
    ) -> Option<u16> {
        let mut call =
            Call::post_json(url, body).header("user-agent", "Corefy-Callback (simulator)");
        if let Some(signature) = signature {
            call = call.header("x-signature", signature);
        }
        let client = self.client.patient(self.pace.attempt);
        client.send(call).await.ok().map(|answer| answer.status)
    }
}

/// First attempts keep their order within an invoice; repetitions do not hold up what follows.
async fn deliver(
    shared: Arc<Shared>,
    place: usize,
    before: Option<oneshot::Receiver<()>>,
    attempted: oneshot::Sender<()>,
) {
    if let Some(before) = before {
        let _ = before.await;
    }
    let mut attempted = Some(attempted);
    for n in 1..=shared.pace.attempts_max {
        if attempt(&shared, place).await {
            return;
        }
        attempted.take();
        tokio::time::sleep(shared.pace.retry_unit * n).await;
    }
}

async fn attempt(shared: &Shared, place: usize) -> bool {
    let Some(delivery) = lock(&shared.book).deliveries.get(place).cloned() else { return true };
    let signature = Some(delivery.signature.as_str());
    let status = shared.post_callback(&delivery.url, delivery.body.clone(), signature).await;
    if let Some(delivery) = lock(&shared.book).deliveries.get_mut(place) {
        delivery.attempts.push(status);
    }
    status == Some(200)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_a_known_vector() {
        let body = br#"{"data":{"type":"payment-invoices","id":"cpi_demo"}}"#;
        assert_eq!(signature("test_secret", body), "pPMtVyA72MHD0He+jgIG6yDPdSc=");
    }
}
