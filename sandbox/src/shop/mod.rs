//! The demo shop: a server with pages, which uses Portcullis as its gateway URL and never holds a
//! card. It logs all that it receives. Start reading at [`Shop::start`]; its calls to the providers
//! are in [`gateway`], [`piastrix`] and [`highhelp`].

mod checkout;
pub mod gateway;
pub mod highhelp;
pub mod log;
pub mod order;
pub mod own;
mod pages;
pub mod piastrix;
mod sides;
pub mod till;

pub use sides::{ReceivedFor, Witness};

use crate::ca::Identity;
use crate::client::Client;
use crate::http::{Reply, Request, Server};
use crate::lock;
use anyhow::Result;
use http::Method;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName};
use log::Log;
use order::{Order, Told};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use till::Till;
use tokio::net::TcpListener;

/// An account of the shop, as a visitor may choose it.
#[derive(Clone)]
pub struct Offer {
    /// Account name.
    pub name: String,
    /// On the page.
    pub title: String,
    /// Its client.
    pub till: Till,
}

/// What the shop needs.
pub struct Setup<'a> {
    /// Bound already: its port is in everybody's configuration.
    pub listener: TcpListener,
    /// Certificate of `localhost`.
    pub identity: &'a Identity,
    /// Transport to Portcullis.
    pub client: Client,
    /// Portcullis' public listener, for browsers.
    pub public: String,
    /// Portcullis' private listener, for the server.
    pub private: String,
    /// `pk_…`.
    pub key: String,
    /// What may be paid with.
    pub offers: Vec<Offer>,
    /// Everything received goes here.
    pub log: Arc<Log>,
    /// What the others saw, for the page that shows it.
    pub witness: Witness,
}

struct Shared {
    url: String,
    client: Client,
    public: String,
    private: String,
    key: String,
    offers: Vec<Offer>,
    log: Arc<Log>,
    witness: Witness,
    orders: Mutex<HashMap<String, Order>>,
    told: Mutex<Vec<Told>>,
    refused: AtomicUsize,
    refuse: AtomicUsize,
    unverified: AtomicUsize,
}

/// A running shop.
pub struct Shop {
    shared: Arc<Shared>,
    _server: Server,
}

impl Shop {
    /// Starts one.
    pub fn start(setup: Setup<'_>) -> Result<Self> {
        let url = format!("https://localhost:{}", setup.listener.local_addr()?.port());
        let shared = Arc::new(Shared {
            url,
            client: setup.client,
            public: setup.public,
            private: setup.private,
            key: setup.key,
            offers: setup.offers,
            log: setup.log,
            witness: setup.witness,
            orders: Mutex::default(),
            told: Mutex::default(),
            refused: AtomicUsize::new(0),
            refuse: AtomicUsize::new(0),
            unverified: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        let serve = move |request| serve(Arc::clone(&serving), request);
        let server = Server::serve(setup.listener, Some(setup.identity.acceptor()?), serve)?;
        Ok(Self { shared, _server: server })
    }

    /// `https://localhost:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// Its log.
    #[must_use]
    pub fn log(&self) -> &Arc<Log> {
        &self.shared.log
    }

    /// An order as it stands.
    #[must_use]
    pub fn order(&self, id: &str) -> Option<Order> {
        lock(&self.shared.orders).get(id).cloned()
    }

    /// Every callback that was verified with the virtual key and answered 200.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        lock(&self.shared.told).clone()
    }

    /// Those about one merchant's key.
    #[must_use]
    pub fn told_about(&self, reference: &str) -> Vec<Told> {
        let told = lock(&self.shared.told);
        told.iter().filter(|told| told.reference == reference).cloned().collect()
    }

    /// Callbacks whose signature did not verify.
    #[must_use]
    pub fn unverified(&self) -> usize {
        self.shared.unverified.load(Ordering::SeqCst)
    }

    /// Answers the next callbacks with 503.
    pub fn refuse_callbacks(&self, count: usize) {
        self.shared.refused.store(0, Ordering::SeqCst);
        self.shared.refuse.store(count, Ordering::SeqCst);
    }

    /// How many callbacks were answered with 503 since [`Shop::refuse_callbacks`].
    #[must_use]
    pub fn refused_callbacks(&self) -> usize {
        self.shared.refused.load(Ordering::SeqCst)
    }
}

async fn serve(shared: Arc<Shared>, request: Request) -> Reply {
    let target = match &request.query {
        Some(query) => format!("{}?{query}", request.path),
        None => request.path.clone(),
    };
    shared.log.received(&format!("{} {target}", request.method), &request.headers, &request.body);
    let reply = route(&shared, &request).await;
    let policy = format!(
        "default-src 'none'; script-src 'self' {0}; style-src 'self'; img-src 'self' data:; \
         connect-src 'self' {0}; frame-src https:; form-action https:; base-uri 'none'; \
         frame-ancestors 'self'",
        shared.public
    );
    reply
        .with(CONTENT_SECURITY_POLICY, &policy)
        .with(CACHE_CONTROL, "no-store")
        .with(HeaderName::from_static("x-content-type-options"), "nosniff")
}

async fn route(shared: &Shared, request: &Request) -> Reply {
    let parts: Vec<&str> = request.path.trim_matches('/').split('/').collect();
    let post = request.method == Method::POST;
    match (post, parts.as_slice()) {
        (false, [""]) => Reply::html(200, pages::product()),
        (false, ["checkout"]) => Reply::html(200, pages::checkout(&shared.offers, &shared.public)),
        (false, ["log"]) => Reply::html(200, pages::log(&shared.log.read().unwrap_or_default())),
        (false, ["shop.css"]) => asset("text/css", include_str!("assets/shop.css")),
        (false, ["checkout.js"]) => script(include_str!("assets/checkout.js")),
        (false, ["submit.js"]) => {
            script("HTMLFormElement.prototype.submit.call(document.forms[0]);\n")
        }
        (false, ["wait.js"]) => script("setTimeout(() => location.reload(), 1500);\n"),
        (true, ["api", "checkout"]) => checkout::open(shared, request).await,
        (true, ["api", "pay"]) => checkout::pay(shared, request).await,
        (true, ["api", "again"]) => checkout::again(shared, request),
        (true, ["orders", id, "card"]) => checkout::come_back(shared, request, id).await,
        (false, ["orders", id, "sides"]) => sides::page(shared, id),
        (true, ["callbacks", account, ..]) => callback(shared, request, account),
        (false, ["orders", id]) => checkout::result(shared, id).await,
        (false, ["orders", id, "verify"]) => checkout::verify(shared, id),
        (_, ["orders", id, "return"]) => Reply::redirect(303, &format!("/orders/{id}")),
        _ => Reply::html(404, pages::message("Not found", "There is nothing at this address.")),
    }
}

fn asset(kind: &'static str, text: &'static str) -> Reply {
    Reply::new(200, kind, text)
}

fn script(text: &'static str) -> Reply {
    asset("text/javascript; charset=utf-8", text)
}

/// As the providers' documentation has it: verify, then read; 200 and nothing else.
fn callback(shared: &Shared, request: &Request, account: &str) -> Reply {
    let Some(offer) = shared.offers.iter().find(|offer| offer.name == account) else {
        return Reply::text(404, "unknown account");
    };
    let Some(told) = offer.till.verified(account, request) else {
        shared.unverified.fetch_add(1, Ordering::SeqCst);
        return Reply::text(403, "wrong signature");
    };
    let waiting =
        shared.refuse.try_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
    if waiting.is_ok() {
        shared.refused.fetch_add(1, Ordering::SeqCst);
        return Reply::text(503, "not now");
    }
    take_note(shared, told);
    offer.till.acknowledgement()
}

fn take_note(shared: &Shared, told: Told) {
    if let Some(order) = lock(&shared.orders).get_mut(&told.reference) {
        order.callbacks += 1;
        if !order.is_final() {
            told.status.clone_into(&mut order.status);
        }
        order.challenge = order.challenge.take().or_else(|| told.challenge.clone());
    }
    lock(&shared.told).push(told);
}
