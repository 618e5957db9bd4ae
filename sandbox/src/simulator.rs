//! What every simulated provider has: a server on a port of its own, a record of what it received,
//! misbehaviour and peculiarities that tests switch on and off. What one provider is beside that
//! is in its own room.

use crate::acs::Acs;
use crate::ca::Identity;
use crate::client::Client;
use crate::corefy::callback::Pace;
use crate::corefy::faults::Faults;
use crate::http::{Reply, Request, Server};
use crate::lock;
use crate::record::Recorder;
use anyhow::Result;
use std::ops::Deref;
use std::sync::{Arc, Mutex};

/// What tells one provider from the next.
pub trait Provider: Send + Sync + Sized + 'static {
    /// Peculiarities that are not failures.
    type Quirks: Send;

    /// Those that it has by itself.
    fn usual(&self) -> Self::Quirks;

    /// What it does with a request, and answers.
    fn answer(shared: &Arc<Shared<Self>>, request: &Request) -> Reply;
}

/// What a simulator needs to start.
pub struct Setup<'a, Account> {
    /// 0 for any free one.
    pub port: u16,
    /// Who may call.
    pub accounts: Vec<Account>,
    /// Who asks the cardholder.
    pub acs: Arc<Acs>,
    /// Certificate of `localhost`.
    pub identity: &'a Identity,
    /// Sends callbacks.
    pub client: Client,
    /// Patience with callbacks.
    pub pace: Pace,
}

/// What requests find, and tests look at.
pub struct Shared<P: Provider> {
    /// `https://localhost:port`.
    pub(crate) host: String,
    pub(crate) received: Recorder,
    pub(crate) faults: Faults,
    pub(crate) quirks: Mutex<P::Quirks>,
    provider: P,
}

impl<P: Provider> Deref for Shared<P> {
    type Target = P;

    fn deref(&self) -> &P {
        &self.provider
    }
}

/// A running simulator.
pub struct Simulator<P: Provider> {
    pub(crate) shared: Arc<Shared<P>>,
    server: Server,
}

impl<P: Provider> Simulator<P> {
    /// Starts the provider on a port, 0 for any free one.
    pub(crate) async fn open(port: u16, identity: &Identity, provider: P) -> Result<Self> {
        let listener = Server::bind(port).await?;
        let shared = Arc::new(Shared {
            host: format!("https://localhost:{}", listener.local_addr()?.port()),
            received: Recorder::default(),
            faults: Faults::default(),
            quirks: Mutex::new(provider.usual()),
            provider,
        });
        let serving = Arc::clone(&shared);
        let serve = move |request| std::future::ready(P::answer(&serving, &request));
        let server = Server::serve(listener, Some(identity.acceptor()?), serve)?;
        Ok(Self { shared, server })
    }

    /// `localhost:port`.
    #[must_use]
    pub fn authority(&self) -> String {
        format!("localhost:{}", self.server.port())
    }

    /// Everything received, by the provider's routes.
    #[must_use]
    pub fn received(&self) -> &Recorder {
        &self.shared.received
    }

    /// Misbehaviour.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Changes peculiarities.
    pub fn quirks(&self, change: impl FnOnce(&mut P::Quirks)) {
        change(&mut lock(&self.shared.quirks));
    }

    /// Back to how the provider behaves by itself, without faults.
    pub fn behave(&self) {
        self.shared.faults.clear();
        *lock(&self.shared.quirks) = self.shared.usual();
    }

    /// Refuses connections and closes the open ones.
    pub fn down(&self) {
        self.server.down();
    }

    /// Listens again.
    pub async fn up(&self) -> Result<()> {
        self.server.up().await
    }
}
