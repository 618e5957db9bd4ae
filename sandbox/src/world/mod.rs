//! Everything at once: throw-away CA, simulators, ACS, demo shop, the configuration, and Portcullis
//! as a process.

pub mod accounts;
pub mod binary;
pub mod config;
pub mod control;
mod folder;
mod kit;
pub mod proxy;
pub mod signers;
mod tables;

use crate::acs::Acs;
use crate::ca::Ca;
use crate::client::Client;
use crate::corefy::callback::Pace;
use crate::corefy::{MILKYPAY, PAYMEGA, Simulator};
use crate::shop::Shop;
use crate::shop::gateway::{Credentials, Gateway};
use crate::shop::highhelp::HighHelp;
use crate::shop::log::Log;
use crate::shop::own::{self, OwnForm};
use crate::shop::piastrix::Piastrix;
use crate::{highhelp, qostiq, random};
use accounts::{App, Held, held_at};
use anyhow::{Context, Result, anyhow};
use config::{Facts, Settings};
use control::{Control, Simulated};
use folder::Folder;
use kit::{Accounts, Kit, Route, chosen, write_tls};
use proxy::{Addresses, Portcullis};
use signers::{HighHelpHeld, QostiqHeld, held_at_highhelp, held_at_qostiq};
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
    /// The shop with a form of its own.
    pub own_form: u16,
    /// The ACS.
    pub acs: u16,
    /// Paymega.
    pub paymega: u16,
    /// MilkyPay.
    pub milkypay: u16,
    /// Qostiq.
    pub qostiq: u16,
    /// HighHelp.
    pub highhelp: u16,
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
            upstream_timeout: Duration::from_secs(10),
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
    /// Qostiq.
    pub qostiq: Arc<qostiq::Simulator>,
    /// HighHelp.
    pub highhelp: Arc<highhelp::Simulator>,
    /// The demo shop.
    pub shop: Shop,
    /// The shop with a form of its own, behind an intake route.
    pub own_form: OwnForm,
    /// Drives the simulators over HTTP.
    pub control: Control,
    /// Trusts the CA.
    pub client: Client,
    /// The throw-away CA, for certificates beside the usual ones.
    pub ca: Ca,
    /// Every Corefy account with its credentials.
    pub accounts: Vec<Held>,
    /// Every account at Qostiq.
    pub qostiq_accounts: Vec<QostiqHeld>,
    /// Every account at HighHelp.
    pub highhelp_accounts: Vec<HighHelpHeld>,
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
        let signers = tables::files(&world.qostiq_accounts, &world.highhelp_accounts);
        for (name, text) in config::secrets(&world.accounts).into_iter().chain(signers) {
            world.folder.write(&name, &text)?;
        }
        world.folder.write("secrets/audit.key", &crate::random::key_file())?;
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
        say("keys and secrets of every account");
        let accounts = Accounts {
            corefy: [held_at(PAYMEGA), held_at(MILKYPAY)].concat(),
            qostiq: held_at_qostiq(),
            highhelp: held_at_highhelp()?,
        };
        let settings = Settings {
            ports: chosen([ports.public, ports.private, ports.admin]).await?,
            card_ttl: options.card_ttl,
            cvv_ttl: options.cvv_ttl,
            upstream_timeout: options.upstream_timeout,
        };
        let addresses = Addresses::of(settings.ports);
        say("simulators: Paymega, MilkyPay, Qostiq, HighHelp, the bank's page");
        let acs = Acs::start(ports.acs, &identity).await?;
        let pace = options.pace;
        let (kit_acs, kit_client) = (Arc::clone(&acs), client.clone());
        let kit = Kit { acs: kit_acs, identity, client: kit_client, pace, accounts: &accounts };
        let paymega = kit.corefy(PAYMEGA, ports.paymega).await?;
        let milkypay = kit.corefy(MILKYPAY, ports.milkypay).await?;
        let qostiq = kit.qostiq(ports.qostiq, &addresses.public).await?;
        let highhelp = kit.highhelp(ports.highhelp).await?;
        let apps = [App::Shop, App::Stall].map(|app| (app, format!("pk_{}", random::letters(40))));
        say("demo shop");
        let log = Arc::new(Log::open(&folder.join("logs/shop.log"))?);
        let simulated = vec![
            (PAYMEGA.name, Simulated::Corefy(Arc::clone(&paymega))),
            (MILKYPAY.name, Simulated::Corefy(Arc::clone(&milkypay))),
            (qostiq::NAME, Simulated::Qostiq(Arc::clone(&qostiq))),
            (highhelp::NAME, Simulated::HighHelp(Arc::clone(&highhelp))),
        ];
        let [(_, key), _] = &apps;
        let witness = kit::witness(folder.join("logs/portcullis.log"), simulated.clone());
        let own_form = kit.own_form(ports.own_form, &addresses, &log).await?;
        let shop = kit.shop(ports.shop, &addresses, key, log, witness).await?;
        let control = Control::start(ports.control, simulated).await?;
        Ok(Self {
            acs,
            paymega,
            milkypay,
            qostiq,
            highhelp,
            shop,
            own_form,
            control,
            client,
            ca,
            accounts: accounts.corefy,
            qostiq_accounts: accounts.qostiq,
            highhelp_accounts: accounts.highhelp,
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
        Ok(self.route(at).corefy(account, credentials))
    }

    fn route<'a>(&'a self, at: &'a Addresses) -> Route<'a> {
        Route { at, client: &self.client, log: self.shop.log() }
    }

    /// An account at Qostiq by its name in the configuration.
    pub fn qostiq_account(&self, name: &str) -> Result<&QostiqHeld> {
        let found = self.qostiq_accounts.iter().find(|held| held.name == name);
        found.ok_or_else(|| anyhow!("no account {name}"))
    }

    /// An app's client for Qostiq, through Portcullis.
    pub fn piastrix(&self, account: &str, app: App) -> Result<Piastrix> {
        self.route(&self.addresses).qostiq(self.qostiq_account(account)?, app)
    }

    /// The same straight to the provider, with the real secret.
    pub fn piastrix_direct(&self, account: &str) -> Result<Piastrix> {
        let real = &self.qostiq_account(account)?.real;
        Ok(Piastrix {
            client: self.client.clone(),
            core: self.qostiq.core(),
            card: self.qostiq.card(),
            shop_id: real.shop_id.clone(),
            secret: real.secret.clone(),
            log: None,
        })
    }

    /// An account at HighHelp by its name in the configuration.
    pub fn highhelp_account(&self, name: &str) -> Result<&HighHelpHeld> {
        let found = self.highhelp_accounts.iter().find(|held| held.name == name);
        found.ok_or_else(|| anyhow!("no account {name}"))
    }

    /// An app's client for HighHelp, through Portcullis.
    pub fn highhelp(&self, account: &str, app: App) -> Result<HighHelp> {
        self.route(&self.addresses).highhelp(self.highhelp_account(account)?, app)
    }

    /// The same straight to the provider, with the project's own key.
    pub fn highhelp_direct(&self, account: &str) -> Result<HighHelp> {
        let held = self.highhelp_account(account)?;
        Ok(HighHelp {
            client: self.client.clone(),
            api: self.highhelp.api(),
            project_id: held.project_id.clone(),
            key: held.request.clone(),
            alerts: held.alert.verifier(),
            log: None,
        })
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

    /// Where browsers find the shop with a form of its own.
    #[must_use]
    pub fn own_form_url(&self) -> String {
        self.addresses.public.replace("localhost", own::HOST)
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
        let names = [PAYMEGA.name, MILKYPAY.name, qostiq::NAME, highhelp::NAME];
        let profiles = names.map(|name| profiles.join(format!("{name}.toml")));
        let audit = format!("audit/{}", name.trim_end_matches(".toml"));
        std::fs::create_dir_all(self.folder.join(&audit))?;
        let text = config::text(&Facts {
            audit: &audit,
            settings,
            profiles: &profiles,
            accounts: &self.accounts,
            qostiq: &self.qostiq_accounts,
            highhelp: &self.highhelp_accounts,
            qostiq_at: [self.qostiq.core(), self.qostiq.card(), self.qostiq.authority()],
            highhelp_at: [self.highhelp.api(), self.highhelp.authority()],
            apps: &self.apps,
            shop: self.shop.url(),
            own_form: self.own_form.port(),
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
