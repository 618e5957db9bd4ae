//! The provider: answers as its document shows, and counts the sales that came as they should.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memchr::memmem;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::ports::Hop;
use super::sale;
use super::wire::{self, Message};

/// The provider's own sample, its token in it.
const INVOICE: &str =
    include_str!("../../tests/fixtures/providers/corefy/paymega-en.invoice-answer.json");
/// The provider's own sample.
const CHALLENGE: &str =
    include_str!("../../tests/fixtures/providers/corefy/paymega-en.sale-answer-3ds1.json");

/// What the provider calls it.
const NAME: &str = "cpi_eqUNbE6SpIEmRB2K";
/// A revealed token is shorter than it was; what is longer than this was padded.
const HALF_PADDED: usize = sale::PADDED / 2;
/// The same.
const HALF_LARGE: usize = sale::LARGE / 2;

/// What the token of every invoice begins with: the one of the invoice above.
pub fn bearer() -> &'static str {
    let rest = INVOICE.split("\"token\":\"").nth(1).unwrap();
    rest.split('"').next().unwrap()
}

/// What arrived.
#[derive(Default)]
pub struct Seen {
    /// Sales in all.
    pub sales: AtomicU64,
    /// Of them, those with a true card number, a CVV and the real credential.
    pub true_sales: AtomicU64,
}

struct Provider {
    seen: Arc<Seen>,
    authorization: String,
    sale: Vec<u8>,
    padded: Vec<u8>,
    large: Vec<u8>,
    challenge: Vec<u8>,
    invoices: AtomicU64,
}

/// Listens on both ports; `authorization` is what a sale has to show.
pub async fn start(acceptor: TlsAcceptor, authorization: &str) -> Arc<Seen> {
    let seen = Arc::new(Seen::default());
    let provider = Arc::new(Provider {
        seen: Arc::clone(&seen),
        authorization: authorization.to_owned(),
        sale: wire::answer(200, &sale::answer(0)),
        padded: wire::answer(200, &sale::answer(sale::PADDED)),
        large: wire::answer(200, &sale::answer(sale::LARGE)),
        challenge: wire::answer(200, CHALLENGE),
        invoices: AtomicU64::new(0),
    });
    for hop in Hop::BOTH {
        let listener = TcpListener::bind(hop.upstream()).await.expect("a port of the provider");
        let (provider, acceptor) = (Arc::clone(&provider), acceptor.clone());
        tokio::spawn(accept(listener, hop, provider, acceptor));
    }
    seen
}

async fn accept(listener: TcpListener, hop: Hop, provider: Arc<Provider>, acceptor: TlsAcceptor) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        stream.set_nodelay(true).unwrap();
        let (provider, acceptor) = (Arc::clone(&provider), acceptor.clone());
        tokio::spawn(async move {
            match hop {
                Hop::Plain => provider.serve(stream).await,
                Hop::Tls => {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        provider.serve(stream).await;
                    }
                }
            }
        });
    }
}

impl Provider {
    async fn serve<S: AsyncRead + AsyncWrite + Unpin>(&self, mut stream: S) {
        let mut buffer = Vec::with_capacity(2 * sale::LARGE);
        loop {
            let message = loop {
                match Message::find(&buffer) {
                    Some(message) => break message,
                    None => match stream.read_buf(&mut buffer).await {
                        Ok(1..) => {}
                        _ => return,
                    },
                }
            };
            let answer = self.answer(message.head(&buffer), message.body(&buffer));
            if stream.write_all(&answer).await.is_err() || stream.flush().await.is_err() {
                return;
            }
            buffer.drain(..message.end);
        }
    }

    fn answer(&self, head: &[u8], body: &[u8]) -> std::borrow::Cow<'_, [u8]> {
        if !head.starts_with(b"POST /payment/sale ") && !head.starts_with(b"POST /sale ") {
            // Each invoice has a name and a token of its own, as with the provider.
            let number = self.invoices.fetch_add(1, Ordering::Relaxed);
            let invoice = INVOICE
                .replace(bearer(), &format!("{}{number}", bearer()))
                .replace(NAME, &format!("{NAME}{number}"));
            return wire::answer(201, &invoice).into();
        }
        self.seen.sales.fetch_add(1, Ordering::Relaxed);
        let start = &body[..body.len().min(sale::FIELDS_WITHIN)];
        let number = sale::number_of(start);
        if number.is_some() && self.is_authorized(head) && sale::has_cvv(start) {
            self.seen.true_sales.fetch_add(1, Ordering::Relaxed);
        }
        if memmem::find(start, sale::ASKS_ECHO.as_bytes()).is_some() {
            let number = String::from_utf8_lossy(number.unwrap_or_default());
            return wire::answer(200, &sale::answer(0).replace(sale::MASKED, &number)).into();
        }
        if memmem::find(start, sale::ASKS_CHALLENGE.as_bytes()).is_some() {
            return (&self.challenge[..]).into();
        }
        match body.len() {
            HALF_LARGE.. => (&self.large[..]).into(),
            HALF_PADDED.. => (&self.padded[..]).into(),
            _ => (&self.sale[..]).into(),
        }
    }

    fn is_authorized(&self, head: &[u8]) -> bool {
        memmem::find(head, self.authorization.as_bytes()).is_some()
    }
}
