//! Qostiq (the Piastrix family) to the letter of its documents: core API, `h2h_data`, the card form
//! and callbacks. Everything received is recorded. Start reading at [`Simulator`].

pub mod callback;
pub mod cards;
mod core;
pub mod payform;
pub mod sign;
mod withdraw;

use crate::acs::Acs;
use crate::corefy::cards::Outcome;
use crate::corefy::threeds::Return;
use crate::courier::{Courier, Delivery, Letter};
use crate::http::{Reply, Request};
use crate::json::Json;
use crate::lock;
use crate::simulator::{self, Provider};
use anyhow::Result;
use http::header::{HeaderName, SET_COOKIE};
use payform::Payment;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
pub use withdraw::Withdrawal;

/// As in the configuration.
pub const NAME: &str = "qostiq";
/// As on a page.
pub const TITLE: &str = "Qostiq";

/// How callbacks are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/x-www-form-urlencoded`, every value a string.
    Form,
}

/// A shop at the provider.
#[derive(Debug, Clone)]
pub struct Account {
    /// `shop_id`.
    pub shop_id: String,
    /// Signs requests and callbacks.
    pub secret: String,
    /// How its callbacks are written.
    pub callbacks: Encoding,
    /// Where callbacks go for invoices that name no address of their own.
    pub interaction_url: String,
}

/// Where the answer of `invoice/create` carries the session; no document shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionAt {
    /// `/data/data/session_id`.
    #[default]
    Nested,
    /// `/data/session_id`.
    Flat,
    /// `/data/id`.
    Id,
}

/// How the card form sends the browser on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FormAnswer {
    /// An empty 302.
    #[default]
    Redirect,
    /// A page whose form submits itself.
    Page,
}

/// Peculiarities that are not failures, switched on and off by tests.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// Place of the session.
    pub session_at: SessionAt,
    /// Another host in `payform_url`.
    pub payform_host: Option<String>,
    /// Answer of the card form.
    pub form_answer: FormAnswer,
    /// Overrules what the shop is set to.
    pub callbacks: Option<Encoding>,
    /// Fields that nobody documented; a name that is there already comes twice.
    pub extra: Vec<(String, Json)>,
    /// Callbacks print the whole card number where the mask belongs.
    pub unmasked: bool,
}

/// An invoice.
#[derive(Debug, Clone)]
pub struct Invoice {
    /// The provider's number for it.
    pub id: u64,
    /// `shop_id`.
    pub shop_id: String,
    /// `shop_order_id`.
    pub order: String,
    /// As sent.
    pub amount: String,
    /// As sent.
    pub currency: String,
    /// `card_…`.
    pub payway: String,
    /// As sent.
    pub description: String,
    /// After a payment.
    pub success_url: Option<String>,
    /// After none.
    pub failed_url: Option<String>,
    /// Its own address for callbacks.
    pub callback_url: Option<String>,
    /// Opens the card form.
    pub session: String,
    /// Opens it once.
    pub form_token: Option<String>,
    /// `created`, `waiting`, `success`, `rejected`.
    pub status: &'static str,
    /// Why not, if not.
    pub reason: Option<&'static str>,
    /// Masked, once there is one.
    pub card: Option<String>,
    /// Whether a token for later payments was asked for.
    pub wants_pay_token: bool,
    /// That token, once there is one.
    pub pay_token: Option<String>,
    /// Of the last change.
    pub updated: u64,
}

/// Everything that the provider remembers.
#[derive(Default)]
struct Book {
    next_id: u64,
    invoices: Vec<Invoice>,
    withdrawals: Vec<Withdrawal>,
    payments: Vec<Payment>,
    pay_tokens: HashMap<String, String>,
    offline: Vec<(String, String)>,
    waiting: HashMap<String, (u64, Outcome)>,
    returns: Vec<Return>,
    signatures: Vec<String>,
    interaction: HashMap<String, String>,
}

impl Book {
    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        1_000 + self.next_id
    }

    fn invoice(&mut self, id: u64) -> Option<&mut Invoice> {
        self.invoices.iter_mut().find(|invoice| invoice.id == id)
    }
}

/// The provider behind the server.
pub struct Qostiq {
    accounts: Vec<Account>,
    acs: Arc<Acs>,
    courier: Arc<Courier>,
    book: Mutex<Book>,
}

type Shared = simulator::Shared<Qostiq>;

impl Shared {
    fn account(&self, shop_id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.shop_id == shop_id)
    }
}

impl Provider for Qostiq {
    type Quirks = Quirks;

    fn usual(&self) -> Quirks {
        Quirks::default()
    }

    fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
        answer(shared, request)
    }
}

/// What a simulator needs to start.
pub type Setup<'a> = simulator::Setup<'a, Account>;

/// A running simulator. Its routes are `core.{method}`, `h2h_data`, `payform`, `3ds-return`.
pub type Simulator = simulator::Simulator<Qostiq>;

impl Simulator {
    /// Starts one.
    pub async fn start(setup: Setup<'_>) -> Result<Self> {
        let provider = Qostiq {
            accounts: setup.accounts,
            acs: setup.acs,
            courier: Courier::new(setup.client, setup.pace, "Qostiq-Callback (simulator)"),
            book: Mutex::default(),
        };
        Self::open(setup.port, setup.identity, provider).await
    }

    /// Base URL of the core API.
    #[must_use]
    pub fn core(&self) -> String {
        format!("{}/core", self.shared.host)
    }

    /// Base URL of `h2h_data`.
    #[must_use]
    pub fn card(&self) -> String {
        format!("{}/card", self.shared.host)
    }

    /// Where a shop's callbacks go when the invoice does not say.
    pub fn interaction_url(&self, shop_id: &str, url: &str) {
        let mut book = lock(&self.shared.book);
        book.interaction.insert(shop_id.to_owned(), url.to_owned());
    }

    /// Every card that came in by the form, in clear, oldest first.
    #[must_use]
    pub fn payments(&self) -> Vec<Payment> {
        lock(&self.shared.book).payments.clone()
    }

    /// Every payout.
    #[must_use]
    pub fn withdrawals(&self) -> Vec<Withdrawal> {
        lock(&self.shared.book).withdrawals.clone()
    }

    /// Payments without the cardholder: the token that was used, the order.
    #[must_use]
    pub fn offline(&self) -> Vec<(String, String)> {
        lock(&self.shared.book).offline.clone()
    }

    /// Every return of a browser from the bank.
    #[must_use]
    pub fn returns(&self) -> Vec<Return> {
        lock(&self.shared.book).returns.clone()
    }

    /// The newest invoice with this `shop_order_id`.
    #[must_use]
    pub fn invoice(&self, order: &str) -> Option<Invoice> {
        let book = lock(&self.shared.book);
        book.invoices.iter().rev().find(|invoice| invoice.order == order).cloned()
    }

    /// What no app may ever see: sessions and tokens for later payments.
    #[must_use]
    pub fn bearers(&self) -> Vec<String> {
        let book = lock(&self.shared.book);
        let sessions = book.invoices.iter().map(|invoice| invoice.session.clone());
        sessions.chain(book.pay_tokens.keys().cloned()).collect()
    }

    /// Every signature that arrived over a clear card number, for leak checks.
    #[must_use]
    pub fn signatures(&self) -> Vec<String> {
        lock(&self.shared.book).signatures.clone()
    }

    /// Every callback and its attempts, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.courier.deliveries()
    }

    /// Callbacks of one order.
    #[must_use]
    pub fn deliveries_of(&self, order: &str) -> Vec<Delivery> {
        self.shared.courier.deliveries_of(order)
    }

    /// Ends an order by hand (`success` or `rejected`) and sends the callback; false if there is
    /// none, or no such status.
    pub fn settle(&self, order: &str, status: &str) -> bool {
        let outcome = match status {
            "success" => Outcome::Processed,
            "rejected" => Outcome::Failed("general_fatal_error"),
            _ => return false,
        };
        let Some(invoice) = self.invoice(order) else { return false };
        self.shared.finish(invoice.id, outcome);
        true
    }

    /// Sends an order's newest callback once more, byte for byte.
    pub async fn resend(&self, order: &str) -> Option<u16> {
        self.shared.courier.resend(order).await
    }

    /// Sends any callback once; the status of the answer. For forged ones.
    pub async fn post_callback(&self, letter: &Letter) -> Option<u16> {
        self.shared.courier.post(letter).await
    }
}

fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
    let path = request.path.trim_end_matches('/');
    let method = path.strip_prefix("/core/").unwrap_or_default();
    let route = route(path, method);
    shared.received.keep(route, request);
    if let Some(refusal) = shared.faults.instead(route, request, core::refusal) {
        return refusal;
    }
    let reply = match route {
        "h2h_data" => payform::h2h_data(shared, request),
        "payform" => payform::serve(shared, request),
        "3ds-return" => payform::term_url(shared, request),
        "unknown" => Reply::html(404, "<h1>404</h1>"),
        _ => core::serve(shared, request, method),
    };
    // Every answer of the platform carries these; none of them is the merchant's business.
    let reply = reply
        .with(HeaderName::from_static("x-request-trace"), "qst-0001")
        .with(SET_COOKIE, "qst_session=not-for-the-app; path=/; secure; httponly");
    shared.faults.shape(route, request, reply)
}

/// The route's name for records and faults.
fn route(path: &str, method: &str) -> &'static str {
    match (path, method) {
        ("/card/h2h_data", _) => "h2h_data",
        ("/payform", _) => "payform",
        ("/3ds-return", _) => "3ds-return",
        (_, "invoice/create") => "core.invoice/create",
        (_, "invoice/try") => "core.invoice/try",
        (_, "withdraw/create") => "core.withdraw/create",
        (_, "withdraw/try") => "core.withdraw/try",
        (_, "") => "unknown",
        _ => "core.other",
    }
}
