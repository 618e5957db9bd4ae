//! HighHelp to the letter of its documents: ECOM and P2P payments by signed requests, everything
//! further by signed alerts. Everything received is recorded. Start reading at [`Simulator`].

pub mod alert;
pub mod cards;
pub mod payment;
pub mod sign;
mod threeds;

use crate::acs::Acs;
use crate::corefy::cards::Outcome;
use crate::corefy::threeds::Return;
use crate::courier::{Courier, Delivery, Letter};
use crate::http::{Reply, Request};
use crate::json::Json;
use crate::keys::{Signer, Verifier};
use crate::lock;
use crate::simulator::{self, Provider};
use anyhow::Result;
use http::header::{HeaderName, SET_COOKIE};
use payment::{Charge, Payment};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// As in the configuration.
pub const NAME: &str = "highhelp";
/// As on a page.
pub const TITLE: &str = "HighHelp";

/// A project at the provider.
#[derive(Clone)]
pub struct Account {
    /// `project_id`, `x-access-merchant-id`.
    pub project_id: String,
    /// Checks its requests.
    pub requests: Verifier,
    /// Signs alerts to it; the provider's own key.
    pub alerts: Signer,
}

/// Peculiarities that are not failures, switched on and off by tests.
#[derive(Debug, Clone, Default)]
pub struct Quirks {
    /// Members of an alert's `payment_info` that nobody documented.
    pub extra: Vec<(String, Json)>,
    /// Alerts carry these at their end; a name that is there already comes twice.
    pub trailing: Vec<(String, Json)>,
    /// Every alert is sent twice.
    pub twice: bool,
    /// Alerts are dated so many seconds back.
    pub seconds_late: u64,
    /// Alerts and answers print the whole card number where the mask belongs.
    pub unmasked: bool,
}

/// Everything that the provider remembers.
#[derive(Default)]
struct Book {
    payments: Vec<Payment>,
    charges: Vec<Charge>,
    waiting: HashMap<String, (String, Outcome)>,
    returns: Vec<Return>,
    signatures: Vec<String>,
}

impl Book {
    fn payment(&mut self, request_id: &str) -> Option<&mut Payment> {
        self.payments.iter_mut().find(|payment| payment.request_id == request_id)
    }
}

/// The provider behind the server.
pub struct HighHelp {
    accounts: Vec<Account>,
    acs: Arc<Acs>,
    courier: Arc<Courier>,
    book: Mutex<Book>,
}

type Shared = simulator::Shared<HighHelp>;

impl Shared {
    fn account(&self, project_id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.project_id == project_id)
    }
}

impl Provider for HighHelp {
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

/// A running simulator. Its routes are `payin`, `payout`, `info`, `confirm`, `balance` and
/// `3ds-return`.
pub type Simulator = simulator::Simulator<HighHelp>;

impl Simulator {
    /// Starts one.
    pub async fn start(setup: Setup<'_>) -> Result<Self> {
        let provider = HighHelp {
            accounts: setup.accounts,
            acs: setup.acs,
            courier: Courier::new(setup.client, setup.pace, "HighHelp-Alert (simulator)"),
            book: Mutex::default(),
        };
        Self::open(setup.port, setup.identity, provider).await
    }

    /// Base URL of the API; the version is part of every path.
    #[must_use]
    pub fn api(&self) -> String {
        self.shared.host.clone()
    }

    /// Every card that was charged or paid to, in clear, oldest first.
    #[must_use]
    pub fn charges(&self) -> Vec<Charge> {
        lock(&self.shared.book).charges.clone()
    }

    /// The newest payment with this `payment_id`.
    #[must_use]
    pub fn payment(&self, payment_id: &str) -> Option<Payment> {
        let book = lock(&self.shared.book);
        book.payments.iter().rev().find(|payment| payment.payment_id == payment_id).cloned()
    }

    /// Every return of a browser from the bank.
    #[must_use]
    pub fn returns(&self) -> Vec<Return> {
        lock(&self.shared.book).returns.clone()
    }

    /// The returns of one payment, by its `request_id`.
    #[must_use]
    pub fn returns_of(&self, request_id: &str) -> Vec<Return> {
        let book = lock(&self.shared.book);
        book.returns.iter().filter(|arrived| arrived.payment_id == request_id).cloned().collect()
    }

    /// Every signature that arrived over a clear card number, for leak checks.
    #[must_use]
    pub fn signatures(&self) -> Vec<String> {
        lock(&self.shared.book).signatures.clone()
    }

    /// Every alert and its attempts, oldest first.
    #[must_use]
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.courier.deliveries()
    }

    /// Alerts of one payment.
    #[must_use]
    pub fn deliveries_of(&self, payment_id: &str) -> Vec<Delivery> {
        self.shared.courier.deliveries_of(payment_id)
    }

    /// Moves a payment on by hand (`success`, `decline`, `dispute`) and sends the alert; false if
    /// there is none, or no such status.
    pub fn settle(&self, payment_id: &str, status: &str) -> bool {
        let Some(payment) = self.payment(payment_id) else { return false };
        match status {
            "success" => self.shared.finish(&payment.request_id, Outcome::Processed),
            "decline" => {
                self.shared.finish(&payment.request_id, Outcome::Failed("general_fatal_error"));
            }
            "dispute" => self.shared.move_to(&payment.request_id, "dispute", Some("wrong_amount")),
            _ => return false,
        }
        true
    }

    /// Sends a payment's newest alert once more, byte for byte, the old time included.
    pub async fn resend(&self, payment_id: &str) -> Option<u16> {
        self.shared.courier.resend(payment_id).await
    }

    /// Sends any alert once; the status of the answer. For forged ones.
    pub async fn post_alert(&self, letter: &Letter) -> Option<u16> {
        self.shared.courier.post(letter).await
    }
}

fn answer(shared: &Arc<Shared>, request: &Request) -> Reply {
    let path = request.path.trim_end_matches('/');
    let route = route(path);
    shared.received.keep(route, request);
    if let Some(refusal) = shared.faults.instead(route, request, |text| payment::error(422, text)) {
        return refusal;
    }
    let reply = match route {
        "3ds-return" => threeds::serve(shared, request),
        "unknown" => payment::error(404, "No such endpoint"),
        _ => payment::serve(shared, request, route),
    };
    // What an application server adds by itself and no merchant should see.
    let reply = reply
        .with(HeaderName::from_static("x-served-by"), "hh-node-3")
        .with(SET_COOKIE, "hh_session=not-for-the-app; path=/; secure; httponly");
    shared.faults.shape(route, request, reply)
}

/// The route's name for records and faults.
fn route(path: &str) -> &'static str {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match parts.as_slice() {
        ["3ds-return"] => "3ds-return",
        ["api", "v1", "balance", "info"] => "balance",
        ["api", "v1", "payment", "ecom" | "p2p", rest @ ..] => match rest {
            ["payin"] => "payin",
            ["payout"] => "payout",
            ["payin" | "payout", "info"] => "info",
            ["payin", "confirm-3ds-result"] => "confirm",
            _ => "unknown",
        },
        _ => "unknown",
    }
}
