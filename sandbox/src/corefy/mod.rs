//! A Corefy white label (Paymega, MilkyPay) to the letter of its documents: private API, public
//! API, card gate, TermUrl, callbacks. Everything received is recorded. Start reading at
//! [`Simulator`].

pub mod callback;
pub mod cards;
mod errors;
pub mod faults;
pub mod invoice;
mod private;
mod public;
pub mod sale;
pub mod threeds;

use crate::acs::Acs;
use crate::client::Client;
use crate::http::{Reply, Request};
use crate::simulator::{self, Provider};
use crate::{lock, random};
use anyhow::Result;
use bytes::Bytes;
use callback::{Delivery, Pace};
use cards::Outcome;
use faults::{Pareq, Quirks};
use http::header::{HeaderName, SET_COOKIE};
use invoice::{Base, Invoice, MaskedCard};
use sale::{Issued, Sale};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use threeds::Return;
use tokio::sync::oneshot;

/// What tells one white label from the next.
#[derive(Debug, Clone, Copy)]
pub struct Brand {
    /// As in the configuration.
    pub name: &'static str,
    /// As on a page.
    pub title: &'static str,
    /// Path prefix of its private API.
    pub prefix: &'static str,
    /// Whether its `TermUrl` comes without a scheme.
    pub schemeless_term_url: bool,
}

/// Paymega: prefix `/api`, and the sample's `TermUrl` without a scheme.
pub const PAYMEGA: Brand =
    Brand { name: "paymega", title: "Paymega", prefix: "/api", schemeless_term_url: true };

/// MilkyPay: the newer prefix `/commerce`, `TermUrl` complete.
pub const MILKYPAY: Brand =
    Brand { name: "milkypay", title: "MilkyPay", prefix: "/commerce", schemeless_term_url: false };

/// A merchant's account at the platform: the real credentials.
#[derive(Debug, Clone)]
pub struct Account {
    /// `coma_…`.
    pub id: String,
    /// API key.
    pub key: String,
    /// Signs callbacks of live operations.
    pub live_secret: String,
    /// Signs callbacks of test operations.
    pub test_secret: String,
    /// For the public API.
    pub public_key: String,
    /// What its challenges are made of.
    pub pareq: Pareq,
}

impl Account {
    /// An account with random credentials.
    #[must_use]
    pub fn random(pareq: Pareq) -> Self {
        Self {
            id: format!("coma_{}", random::letters(16)),
            key: random::letters(40),
            live_secret: format!("live_{}", random::letters(40)),
            test_secret: format!("test_{}", random::letters(40)),
            public_key: format!("pk_test_{}", random::letters(40)),
            pareq,
        }
    }
}

/// A payment whose cardholder is being asked.
struct Waiting {
    invoice: String,
    outcome: Outcome,
}

/// Everything that the platform remembers.
#[derive(Default)]
struct Book {
    invoices: HashMap<String, Invoice>,
    tokens: HashMap<String, String>,
    references: HashMap<(String, &'static str, String), String>,
    waiting: HashMap<String, Waiting>,
    sales: Vec<Sale>,
    issued: Vec<Issued>,
    returns: Vec<Return>,
    deliveries: Vec<Delivery>,
    tails: HashMap<String, oneshot::Receiver<()>>,
}

impl Book {
    fn open_for_sale(&self, id: &str) -> bool {
        let fresh =
            |invoice: &Invoice| invoice.card.is_none() && invoice.status == "process_pending";
        self.invoices.get(id).is_some_and(fresh)
    }

    fn return_target(&self, payment_id: &str) -> Option<String> {
        let mut invoices = self.invoices.values();
        invoices.find(|invoice| invoice.payment_id == payment_id)?.return_target()
    }
}

/// The white label behind the server.
pub struct Corefy {
    brand: Brand,
    accounts: Vec<Account>,
    acs: Arc<Acs>,
    client: Client,
    pace: Pace,
    book: Mutex<Book>,
}

type Shared = simulator::Shared<Corefy>;

impl Shared {
    /// What addresses begin with.
    fn base(&self) -> Base<'_> {
        Base { host: &self.host, prefix: self.brand.prefix }
    }

    /// Ends an invoice, tells the merchant, returns the status.
    fn finish(self: &Arc<Self>, id: &str, outcome: Outcome) -> &'static str {
        let (status, resolution) = match outcome {
            Outcome::Processed => ("processed", "ok"),
            Outcome::Failed(resolution) => ("process_failed", resolution),
            Outcome::Pending(resolution) => ("process_pending", resolution),
        };
        self.settle(id, status, resolution);
        status
    }

    fn settle(self: &Arc<Self>, id: &str, status: &str, resolution: &str) -> bool {
        let known = match lock(&self.book).invoices.get_mut(id) {
            Some(invoice) => {
                invoice.move_to(status, resolution);
                true
            }
            None => false,
        };
        self.emit(id);
        known
    }

    fn secret_of(&self, account: &str, test_mode: bool) -> &str {
        let found = self.accounts.iter().find(|known| known.id == account);
        found.map_or("", |known| if test_mode { &known.test_secret } else { &known.live_secret })
    }

    fn pareq_of(&self, account: &str) -> Pareq {
        let found = self.accounts.iter().find(|known| known.id == account);
        found.map_or(Pareq::CarriesPan, |known| known.pareq)
    }

    fn masked(&self, mut card: MaskedCard, number: &str) -> MaskedCard {
        if lock(&self.quirks).unmasked {
            number.clone_into(&mut card.mask);
        }
        card
    }
}

impl Provider for Corefy {
    type Quirks = Quirks;

    fn usual(&self) -> Quirks {
        Quirks::new(self.brand.schemeless_term_url)
    }

    fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
        answer(shared, request)
    }
}

/// What a simulator needs to start.
pub type Setup<'a> = simulator::Setup<'a, Account>;

/// A running simulator.
pub type Simulator = simulator::Simulator<Corefy>;

impl Simulator {
    /// Starts one.
    pub async fn start(brand: Brand, setup: Setup<'_>) -> Result<Self> {
        let provider = Corefy {
            brand,
            accounts: setup.accounts,
            acs: setup.acs,
            client: setup.client,
            pace: setup.pace,
            book: Mutex::default(),
        };
        Self::open(setup.port, setup.identity, provider).await
    }

    /// Base URL of the private API, prefix included.
    #[must_use]
    pub fn api(&self) -> String {
        format!("{}{}", self.shared.host, self.shared.brand.prefix)
    }

    /// Base URL of the public API.
    #[must_use]
    pub fn public(&self) -> String {
        format!("{}/public-api", self.shared.host)
    }

    /// Base URL of the card gate.
    #[must_use]
    pub fn cardgate(&self) -> String {
        format!("{}/cardgate", self.shared.host)
    }

    /// Every sale accepted, in clear, oldest first.
    #[must_use]
    pub fn sales(&self) -> Vec<Sale> {
        lock(&self.shared.book).sales.clone()
    }

    /// The newest challenge of a payment, as it was handed out.
    #[must_use]
    pub fn issued(&self, payment_id: &str) -> Option<Issued> {
        let book = lock(&self.shared.book);
        book.issued.iter().rev().find(|issued| issued.payment_id == payment_id).cloned()
    }

    /// Every return of a browser, relayed or not.
    #[must_use]
    pub fn returns(&self) -> Vec<Return> {
        lock(&self.shared.book).returns.clone()
    }

    /// The returns of one payment.
    #[must_use]
    pub fn returns_of(&self, payment_id: &str) -> Vec<Return> {
        let book = lock(&self.shared.book);
        book.returns.iter().filter(|arrived| arrived.payment_id == payment_id).cloned().collect()
    }

    /// An invoice as it stands.
    #[must_use]
    pub fn invoice(&self, id: &str) -> Option<Invoice> {
        lock(&self.shared.book).invoices.get(id).cloned()
    }

    /// An invoice by the merchant's key.
    #[must_use]
    pub fn invoice_by_reference(&self, reference: &str) -> Option<Invoice> {
        let book = lock(&self.shared.book);
        book.invoices.values().find(|invoice| invoice.reference_id == reference).cloned()
    }

    /// Every bearer token issued so far, for leak checks.
    #[must_use]
    pub fn bearers(&self) -> Vec<String> {
        lock(&self.shared.book).tokens.keys().cloned().collect()
    }

    /// Every callback and its attempts, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        lock(&self.shared.book).deliveries.clone()
    }

    /// Callbacks of one invoice.
    #[must_use]
    pub fn deliveries_of(&self, invoice: &str) -> Vec<Delivery> {
        let book = lock(&self.shared.book);
        book.deliveries.iter().filter(|delivery| delivery.invoice == invoice).cloned().collect()
    }

    /// Moves an invoice to a status by hand and sends the callback; false if it is unknown.
    pub fn settle(&self, invoice: &str, status: &str, resolution: &str) -> bool {
        self.shared.settle(invoice, status, resolution)
    }

    /// Sends an invoice's newest callback once more, byte for byte, as a manual resend does.
    pub async fn resend(&self, invoice: &str) -> Option<u16> {
        let delivery = self.deliveries_of(invoice).pop()?;
        self.post_callback(&delivery.url, delivery.body, Some(&delivery.signature)).await
    }

    /// Sends any callback once; the status of the answer. For forged ones.
    pub async fn post_callback(
        &self,
        url: &str,
        body: Bytes,
        signature: Option<&str>,
    ) -> Option<u16> {
        self.shared.post_callback(url, body, signature).await
    }
}

fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
    let (route, rest) = route(shared, request);
    shared.received.keep(route, request);
    if let Some(refusal) = shared.faults.instead(route, request, refusal) {
        return refusal;
    }
    let reply = match route {
        "sale" => sale::serve(shared, request, rest),
        "3ds-return" => threeds::term_url(shared, request),
        "3ds2-notify" => threeds::notification(shared, request),
        "public" => public::serve(shared, request, rest),
        "hpp" => Reply::html(200, "<h1>Hosted payment page</h1>"),
        "unknown" => errors::error(404, "Not Found", "No such endpoint"),
        _ => private::serve(shared, request, rest),
    };
    // What a PHP application adds by itself and no merchant should see.
    let reply = reply
        .with(HeaderName::from_static("x-powered-by"), "PHP/7.4.33")
        .with(SET_COOKIE, "laravel_session=not-for-the-app; path=/; httponly");
    shared.faults.shape(route, request, reply)
}

fn refusal(detail: &str) -> Reply {
    errors::error(422, "Unprocessable Entity", detail)
}

/// The route's name for records and faults, and the path below its base.
fn route<'a>(shared: &Shared, request: &'a Request) -> (&'static str, &'a str) {
    let path = request.path.as_str();
    if let Some(rest) = path.strip_prefix(shared.brand.prefix).filter(|rest| rest.starts_with('/'))
    {
        return (private_route(rest, &request.method), rest);
    }
    match (path, path.strip_prefix("/cardgate"), path.strip_prefix("/public-api")) {
        ("/3ds-return", ..) => ("3ds-return", path),
        ("/3ds2/notify", ..) => ("3ds2-notify", path),
        (_, Some(rest), _) => ("sale", rest),
        (_, _, Some(rest)) => ("public", rest),
        _ if path.starts_with("/hpp/") => ("hpp", path),
        _ => ("unknown", path),
    }
}

fn private_route(rest: &str, method: &http::Method) -> &'static str {
    let mut parts = rest.trim_matches('/').splitn(2, '/');
    let (collection, single) = (parts.next().unwrap_or_default(), parts.next().is_some());
    match (collection, method == http::Method::POST, single) {
        ("payment-invoices", true, _) => "payment-invoices.create",
        ("payment-invoices", false, true) => "payment-invoices.read",
        ("payment-invoices", false, false) => "payment-invoices.list",
        ("payout-invoices", true, _) => "payout-invoices.create",
        ("payout-invoices", false, true) => "payout-invoices.read",
        ("payout-invoices", false, false) => "payout-invoices.list",
        _ => "private.other",
    }
}
