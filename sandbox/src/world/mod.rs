//! Everything at once: throw-away CA, simulators, ACS, demo shop, the configuration, and Portcullis
//! as a process.

pub mod accounts;
pub mod binary;
pub mod config;
pub mod control;
mod folder;
pub mod proxy;

use crate::acs::Acs;
use crate::ca::{Ca, Identity};
use crate::client::Client;
use crate::corefy::callback::Pace;
use crate::corefy::{Brand, MILKYPAY, PAYMEGA, Setup, Simulator};
use crate::http::Server;
use crate::random;
use crate::shop::gateway::{Credentials, Gateway};
use crate::shop::log::Log;
use crate::shop::{self, Offer, Shop};
use accounts::{App, Held, held_at};
use anyhow::{Context, Result, anyhow};
use config::{Facts, Settings};
use control::Control;
use folder::Folder;
use proxy::{Addresses, Portcullis};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Ports of everything; 0 for any free one.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    /// Portcullis, public.
    pub public: u16,
    /// Portcullis, private.
    pub private: u16,
    /// Portcullis, admin.
    pub admin: u16,
    /// The demo shop.
    pub shop: u16,
    /// The ACS.
    pub acs: u16,
    /// Paymega.
    pub paymega: u16,
    /// MilkyPay.
    pub milkypay: u16,
    /// The control server.
    pub control: u16,
}

/// Which Portcullis.
#[derive(Debug, Clone, Default)]
pub enum Proxy {
    /// The one beside this executable, built if need be.
    #[default]
    Find,
    /// This binary.
    Binary(PathBuf),
    /// None: the configuration is written, nothing is started.
    None,
}

/// Changes the configuration before it is written.
pub type Adjust = Box<dyn Fn(String) -> String + Send + Sync>;

/// How the world is to be.
pub struct Options {
    /// Ports.
    pub ports: Ports,
    /// Portcullis.
    pub proxy: Proxy,
    /// Keep the working folder.
    pub keep: bool,
    /// Patience of callbacks.
    pub pace: Pace,
    /// How long a provider may take.
    pub upstream_timeout: Duration,
    /// Life of a card token.
    pub card_ttl: Duration,
    /// Life of a CVV token.
    pub cvv_ttl: Duration,
    /// Last change to the configuration's text.
    pub adjust: Option<Adjust>,
    /// Told what is going on.
    pub say: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ports: Ports::default(),
            proxy: Proxy::Find,
            keep: false,
            pace: Pace::default(),
            upstream_timeout: Duration::from_millis(2_000),
            card_ttl: Duration::from_secs(1_800),
            cvv_ttl: Duration::from_secs(900),
            adjust: None,
            say: |_| {},
        }
    }
}

/// The whole world. Dropping it stops everything and removes the folder.
pub struct World {
    /// The issuer's page.
    pub acs: Arc<Acs>,
    /// Paymega.
    pub paymega: Arc<Simulator>,
    /// MilkyPay.
    pub milkypay: Arc<Simulator>,
    /// The demo shop.
    pub shop: Shop,
    /// Drives the simulators over HTTP.
    pub control: Control,
    /// Trusts the CA.
    pub client: Client,
    /// The throw-away CA, for certificates beside the usual ones.
    pub ca: Ca,
    /// Every account with its credentials.
    pub accounts: Vec<Held>,
    /// Where Portcullis listens, or would.
    pub addresses: Addresses,
    settings: Settings,
    apps: Vec<(App, String)>,
    adjust: Option<Adjust>,
    say: fn(&str),
    binary: Option<PathBuf>,
    proxy: Option<Portcullis>,
    folder: Folder,
}

impl World {
    /// Starts everything.
    pub async fn start(options: Options) -> Result<Self> {
        let folder = Folder::new(options.keep)?;
        let binary = match &options.proxy {
            Proxy::Find => Some(binary::portcullis(&options.say)?),
            Proxy::Binary(path) => Some(path.clone()),
            Proxy::None => None,
        };
        let mut world = Self::build(options, folder, binary).await?;
        for (name, text) in config::secrets(&world.accounts) {
            world.folder.write(&name, &text)?;
        }
        world.write_config("portcullis.toml", &world.settings)?;
        if world.binary.is_some() {
            (world.say)("Portcullis");
            world.start_proxy().await?;
        }
        Ok(world)
    }

    /// Everything but Portcullis.
    async fn build(options: Options, folder: Folder, binary: Option<PathBuf>) -> Result<Self> {
        let (ports, say) = (options.ports, options.say);
        say("throw-away CA and certificates");
        let ca = Ca::new()?;
        let identity = write_tls(&folder, &ca)?;
        let client = Client::trusting(ca.roots()?)?;
        say("simulators: Paymega, MilkyPay, the bank's page");
        let acs = Acs::start(ports.acs, &identity).await?;
        let accounts = [held_at(PAYMEGA), held_at(MILKYPAY)].concat();
        let kit = Kit {
            acs: Arc::clone(&acs),
            identity,
            client: client.clone(),
            pace: options.pace,
            accounts: &accounts,
        };
        let paymega = kit.simulator(PAYMEGA, ports.paymega).await?;
        let milkypay = kit.simulator(MILKYPAY, ports.milkypay).await?;
        let settings = Settings {
            ports: chosen([ports.public, ports.private, ports.admin]).await?,
            card_ttl: options.card_ttl,
            cvv_ttl: options.cvv_ttl,
            upstream_timeout: options.upstream_timeout,
        };
        let addresses = Addresses::of(settings.ports);
        let apps = [App::Shop, App::Stall].map(|app| (app, format!("pk_{}", random::letters(40))));
        say("demo shop");
        let log = Arc::new(Log::open(&folder.join("logs/shop.log"))?);
        let [(_, key), _] = &apps;
        let shop = kit.shop(ports.shop, &addresses, key, log).await?;
        let control =
            Control::start(ports.control, [Arc::clone(&paymega), Arc::clone(&milkypay)]).await?;
        Ok(Self {
            acs,
            paymega,
            milkypay,
            shop,
            control,
            client,
            ca,
            accounts,
            addresses,
            settings,
            apps: apps.to_vec(),
            adjust: options.adjust,
            say,
            binary,
            proxy: None,
            folder,
        })
    }

    /// The running Portcullis.
    pub fn proxy(&self) -> Result<&Portcullis> {
        self.proxy.as_ref().context("no Portcullis was started")
    }

    /// Ends Portcullis, if it runs.
    pub async fn stop_proxy(&mut self) {
        if let Some(mut proxy) = self.proxy.take() {
            proxy.stop().await;
        }
    }

    /// Starts Portcullis on the configuration as it lies there.
    pub async fn start_proxy(&mut self) -> Result<()> {
        self.stop_proxy().await;
        let config = self.config();
        let log = self.folder.join("logs/portcullis.log");
        self.proxy = Some(self.run(&config, log, self.addresses.clone()).await?);
        Ok(())
    }

    /// A second Portcullis beside the first, on free ports, with other settings.
    pub async fn another(
        &self,
        name: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Result<Portcullis> {
        let mut settings = self.settings.clone();
        settings.ports = chosen([0; 3]).await?;
        change(&mut settings);
        let config = self.write_config(&format!("{name}.toml"), &settings)?;
        let log = self.folder.join(&format!("logs/{name}.log"));
        self.run(&config, log, Addresses::of(settings.ports)).await
    }

    async fn run(&self, config: &Path, log: PathBuf, addresses: Addresses) -> Result<Portcullis> {
        let binary = self.binary.as_deref().context("no Portcullis binary")?;
        Portcullis::start(binary, config, log, addresses, &self.client).await
    }

    /// The simulator of a provider.
    #[must_use]
    pub fn simulator(&self, brand: &str) -> &Arc<Simulator> {
        if brand == MILKYPAY.name { &self.milkypay } else { &self.paymega }
    }

    /// An account by its name in the configuration.
    pub fn account(&self, name: &str) -> Result<&Held> {
        let found = self.accounts.iter().find(|held| held.name == name);
        found.ok_or_else(|| anyhow!("no account {name}"))
    }

    /// An app's client, through Portcullis. What comes back is in the shop's log.
    pub fn gateway(&self, account: &str, app: App) -> Result<Gateway> {
        self.gateway_at(account, app, &self.addresses)
    }

    /// The same through another Portcullis.
    pub fn gateway_at(&self, account: &str, app: App, at: &Addresses) -> Result<Gateway> {
        let held = self.account(account)?;
        let credentials = match app {
            App::Shop => Some(held.shop.clone()),
            App::Stall => held.stall.clone(),
        };
        let credentials = credentials.with_context(|| format!("not granted: {account}"))?;
        let log = Arc::clone(self.shop.log());
        Ok(through(account, credentials, at, &self.client, &log))
    }

    /// A merchant's client straight to the provider, with the real credentials and no proxy.
    pub fn direct(&self, account: &str) -> Result<Gateway> {
        let held = self.account(account)?;
        let simulator = self.simulator(held.brand.name);
        Ok(Gateway {
            client: self.client.clone(),
            api: simulator.api(),
            public: simulator.public(),
            cardgate: simulator.cardgate(),
            credentials: Credentials {
                id: held.real.id.clone(),
                key: held.real.key.clone(),
                public_key: held.real.public_key.clone(),
            },
            log: None,
        })
    }

    /// An app's `Portcullis-Key`.
    #[must_use]
    pub fn key(&self, app: App) -> &str {
        let found = self.apps.iter().find(|(known, _)| *known == app);
        found.map_or("", |(_, key)| key.as_str())
    }

    /// The configuration's path.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("portcullis.toml")
    }

    /// The working folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn write_config(&self, name: &str, settings: &Settings) -> Result<PathBuf> {
        let profiles = binary::repository().join("config/providers");
        let profiles = [PAYMEGA, MILKYPAY].map(|b| profiles.join(format!("{}.toml", b.name)));
        let text = config::text(&Facts {
            settings,
            profiles: &profiles,
            accounts: &self.accounts,
            apps: &self.apps,
            shop: self.shop.url(),
            upstreams: &|brand| {
                let at = self.simulator(brand);
                [at.api(), at.public(), at.cardgate(), at.authority()]
            },
        });
        let text = match &self.adjust {
            Some(adjust) => adjust(text),
            None => text,
        };
        self.folder.write(name, &text)
    }
}

/// What the servers of a world are made with.
struct Kit<'a> {
    acs: Arc<Acs>,
    identity: Identity,
    client: Client,
    pace: Pace,
    accounts: &'a [Held],
}

impl Kit<'_> {
    async fn simulator(&self, brand: Brand, port: u16) -> Result<Arc<Simulator>> {
        let own = self.accounts.iter().filter(|held| held.brand.name == brand.name);
        let setup = Setup {
            brand,
            port,
            accounts: own.map(|held| held.real.clone()).collect(),
            acs: Arc::clone(&self.acs),
            identity: &self.identity,
            client: self.client.clone(),
            pace: self.pace,
        };
        Simulator::start(setup).await.map(Arc::new)
    }

    async fn shop(&self, port: u16, at: &Addresses, key: &str, log: Arc<Log>) -> Result<Shop> {
        Shop::start(shop::Setup {
            listener: Server::bind(port).await?,
            identity: &self.identity,
            client: self.client.clone(),
            public: at.public.clone(),
            private: at.private.clone(),
            key: key.to_owned(),
            offers: offers(self.accounts, at, &self.client, &log),
            log,
        })
    }
}

/// One certificate for everything that a browser meets, so that it asks once; another for the
/// private listener.
fn write_tls(folder: &Folder, ca: &Ca) -> Result<Identity> {
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

/// Replaces zeros by free ports. All are held until the last is known, so that they differ.
async fn chosen(ports: [u16; 3]) -> Result<[u16; 3]> {
    let mut chosen = ports;
    let mut held = Vec::new();
    for port in &mut chosen {
        let listener = Server::bind(*port).await?;
        *port = listener.local_addr()?.port();
        held.push(listener);
    }
    Ok(chosen)
}

fn offers(accounts: &[Held], addresses: &Addresses, client: &Client, log: &Arc<Log>) -> Vec<Offer> {
    let offer = |held: &Held| Offer {
        name: held.name.clone(),
        title: held.title.clone(),
        gateway: through(&held.name, held.shop.clone(), addresses, client, log),
    };
    accounts.iter().map(offer).collect()
}

fn through(
    account: &str,
    credentials: Credentials,
    at: &Addresses,
    client: &Client,
    log: &Arc<Log>,
) -> Gateway {
    let base = |api: &str| format!("{}/{account}/{api}", at.private);
    Gateway {
        client: client.clone(),
        api: base("api"),
        public: base("public"),
        cardgate: base("cardgate"),
        credentials,
        log: Some(Arc::clone(log)),
    }
}
