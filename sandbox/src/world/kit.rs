//! What the servers of a world are made with, and the clients that reach them.

use super::accounts::{App, Held};
use super::control::Simulated;
use super::folder::Folder;
use super::proxy::Addresses;
use super::signers::{HighHelpHeld, QostiqHeld};
use crate::acs::Acs;
use crate::ca::{Ca, Identity};
use crate::client::Client;
use crate::corefy::callback::Pace;
use crate::corefy::{Brand, Setup, Simulator};
use crate::http::Server;
use crate::shop::gateway::{Credentials, Gateway};
use crate::shop::highhelp::HighHelp;
use crate::shop::log::Log;
use crate::shop::own::{self, OwnForm};
use crate::shop::piastrix::Piastrix;
use crate::shop::till::Till;
use crate::shop::{self, Offer, Shop, Witness};
use crate::{highhelp, qostiq};
use anyhow::{Context, Result, bail};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;

/// Every account.
pub(super) struct Accounts {
    pub(super) corefy: Vec<Held>,
    pub(super) qostiq: Vec<QostiqHeld>,
    pub(super) highhelp: Vec<HighHelpHeld>,
}

/// What the servers of a world are made with.
pub(super) struct Kit<'a> {
    pub(super) acs: Arc<Acs>,
    pub(super) identity: Identity,
    pub(super) client: Client,
    pub(super) pace: Pace,
    pub(super) accounts: &'a Accounts,
}

impl Kit<'_> {
    pub(super) async fn corefy(&self, brand: Brand, port: u16) -> Result<Arc<Simulator>> {
        let own = self.accounts.corefy.iter().filter(|held| held.brand.name == brand.name);
        let setup = Setup {
            port,
            accounts: own.map(|held| held.real.clone()).collect(),
            acs: Arc::clone(&self.acs),
            identity: &self.identity,
            client: self.client.clone(),
            pace: self.pace,
        };
        Simulator::start(brand, setup).await.map(Arc::new)
    }

    /// Callbacks of its shops go to Portcullis, at `public`.
    pub(super) async fn qostiq(&self, port: u16, public: &str) -> Result<Arc<qostiq::Simulator>> {
        let account = |held: &QostiqHeld| qostiq::Account {
            interaction_url: format!("{public}/callbacks/{}", held.name),
            ..held.real.clone()
        };
        let setup = qostiq::Setup {
            port,
            accounts: self.accounts.qostiq.iter().map(account).collect(),
            acs: Arc::clone(&self.acs),
            identity: &self.identity,
            client: self.client.clone(),
            pace: self.pace,
        };
        qostiq::Simulator::start(setup).await.map(Arc::new)
    }

    pub(super) async fn highhelp(&self, port: u16) -> Result<Arc<highhelp::Simulator>> {
        let setup = highhelp::Setup {
            port,
            accounts: self.accounts.highhelp.iter().map(HighHelpHeld::real).collect(),
            acs: Arc::clone(&self.acs),
            identity: &self.identity,
            client: self.client.clone(),
            pace: self.pace,
        };
        highhelp::Simulator::start(setup).await.map(Arc::new)
    }

    pub(super) async fn shop(
        &self,
        port: u16,
        at: &Addresses,
        key: &str,
        log: Arc<Log>,
        witness: Witness,
    ) -> Result<Shop> {
        let route = Route { at, client: &self.client, log: &log };
        Shop::start(shop::Setup {
            listener: Server::bind(port).await?,
            identity: &self.identity,
            client: self.client.clone(),
            public: at.public.clone(),
            private: at.private.clone(),
            key: key.to_owned(),
            offers: route.offers(self.accounts)?,
            log,
            witness,
        })
    }
}

impl Kit<'_> {
    /// A shop with a form of its own, which pays at Paymega.
    pub(super) async fn own_form(
        &self,
        port: u16,
        at: &Addresses,
        log: &Arc<Log>,
    ) -> Result<OwnForm> {
        let held = self.accounts.corefy.first().context("no account")?;
        let route = Route { at, client: &self.client, log };
        OwnForm::start(own::Setup {
            listener: Server::bind(port).await?,
            identity: &self.identity,
            gateway: route.corefy(&held.name, held.shop.clone()),
            log: Arc::clone(log),
        })
    }
}

/// The way of an app's clients: through a Portcullis, with everything written down.
pub(super) struct Route<'a> {
    pub(super) at: &'a Addresses,
    pub(super) client: &'a Client,
    pub(super) log: &'a Arc<Log>,
}

impl Route<'_> {
    fn base(&self, account: &str, api: &str) -> String {
        format!("{}/{account}/{api}", self.at.private)
    }

    pub(super) fn corefy(&self, account: &str, credentials: Credentials) -> Gateway {
        Gateway {
            client: self.client.clone(),
            api: self.base(account, "api"),
            public: self.base(account, "public"),
            cardgate: self.base(account, "cardgate"),
            credentials,
            log: Some(Arc::clone(self.log)),
        }
    }

    pub(super) fn qostiq(&self, held: &QostiqHeld, app: App) -> Result<Piastrix> {
        let secret = held.virtual_secret(app);
        Ok(Piastrix {
            client: self.client.clone(),
            core: self.base(held.name, "core"),
            card: self.base(held.name, "card"),
            shop_id: held.real.shop_id.clone(),
            secret: secret.with_context(|| format!("not granted: {}", held.name))?.to_owned(),
            log: Some(Arc::clone(self.log)),
        })
    }

    pub(super) fn highhelp(&self, held: &HighHelpHeld, app: App) -> Result<HighHelp> {
        let keys = held.virtual_keys(app);
        let keys = keys.with_context(|| format!("not granted: {}", held.name))?;
        Ok(HighHelp {
            client: self.client.clone(),
            api: self.base(held.name, "api"),
            project_id: held.project_id.clone(),
            key: keys.request.clone(),
            alerts: keys.alert.verifier(),
            log: Some(Arc::clone(self.log)),
        })
    }

    fn offers(&self, accounts: &Accounts) -> Result<Vec<Offer>> {
        let offer = |name: &str, title: &str, till| Offer {
            name: name.to_owned(),
            title: title.to_owned(),
            till,
        };
        let mut offers = Vec::new();
        for held in &accounts.corefy {
            let till = Till::Corefy(self.corefy(&held.name, held.shop.clone()));
            offers.push(offer(&held.name, &held.title, till));
        }
        for held in &accounts.qostiq {
            let till = Till::Qostiq(self.qostiq(held, App::Shop)?);
            offers.push(offer(held.name, held.title, till));
        }
        for held in &accounts.highhelp {
            let till = Till::HighHelp(self.highhelp(held, App::Shop)?);
            offers.push(offer(held.name, held.title, till));
        }
        Ok(offers)
    }
}

/// One certificate for everything that a browser meets, so that it asks once; another for the
/// private listener.
pub(super) fn write_tls(folder: &Folder, ca: &Ca) -> Result<Identity> {
    folder.write("tls/ca.pem", ca.certificate())?;
    let browser_facing = ca.localhost("Portcullis sandbox")?;
    let private = ca.localhost("Portcullis sandbox, private")?;
    let names = ["public", "gateway", "acs", "shop"].map(|name| (name, &browser_facing));
    for (name, identity) in names.into_iter().chain([("private", &private)]) {
        folder.write(&format!("tls/{name}.pem"), &identity.certificate)?;
        folder.write(&format!("tls/{name}.key"), &identity.key)?;
    }
    Ok(browser_facing)
}

/// What Portcullis and the providers saw. An account is named after its provider.
pub(super) fn witness(log: PathBuf, simulated: Vec<(&'static str, Simulated)>) -> Witness {
    Witness {
        log: Arc::new(move || std::fs::read(&log).unwrap_or_default()),
        received: Arc::new(move |account| {
            let known = simulated.iter().find(|(name, _)| account.starts_with(name));
            known.map_or_else(Vec::new, |(_, one)| one.recorder().all())
        }),
    }
}

/// Binds a port that nobody has. It lies below those that the system gives to clients: while nobody
/// listens, a connection of somebody else's must not take it.
async fn free() -> Result<TcpListener> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    let begin = std::process::id().wrapping_mul(37);
    for _ in 0..COUNT {
        let step = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = u16::try_from(FIRST + step % COUNT).unwrap_or_default();
        if let Ok(listener) = Server::bind(port).await {
            return Ok(listener);
        }
    }
    bail!("no port of 127.0.0.1 is free")
}

/// Replaces zeros by free ports. All are held until the last is known, so that they differ.
pub(super) async fn chosen(ports: [u16; 3]) -> Result<[u16; 3]> {
    let mut chosen = ports;
    let mut held = Vec::new();
    for port in &mut chosen {
        let listener = if *port == 0 { free().await? } else { Server::bind(*port).await? };
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(chosen)
}
