//! The sandbox: starts everything and prints where it is, or plays the whole list with `--once`.

use anyhow::Result;
use clap::Parser;
use portcullis_sandbox::corefy::callback::Pace;
use portcullis_sandbox::corefy::cards::CARDS;
use portcullis_sandbox::once;
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Ports, Proxy, World};
use portcullis_sandbox::{highhelp, qostiq};
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// A payment world on this machine: simulated providers, a bank's page, a demo shop, and Portcullis
/// between them.
#[derive(Debug, Parser)]
#[command(name = "portcullis-sandbox")]
struct Flags {
    /// Play every case headless, print a table, exit 0 or 1.
    #[arg(long, conflicts_with = "json")]
    once: bool,
    /// With --once: only cases whose name contains this.
    #[arg(long, default_value = "", requires = "once")]
    only: String,
    /// Print the addresses as one JSON object on one line.
    #[arg(long)]
    json: bool,
    /// Keep the working folder at the end.
    #[arg(long)]
    keep: bool,
    /// Take any free port for everything that no flag names (always so with --once).
    #[arg(long)]
    any_port: bool,
    /// This binary instead of the one built here.
    #[arg(long, value_name = "FILE")]
    portcullis: Option<PathBuf>,
    /// Portcullis' public port; 0 for any free one, here and below.
    #[arg(long, value_name = "PORT")]
    public_port: Option<u16>,
    /// Portcullis' private port.
    #[arg(long, value_name = "PORT")]
    private_port: Option<u16>,
    /// Portcullis' admin port.
    #[arg(long, value_name = "PORT")]
    admin_port: Option<u16>,
    /// Port of the demo shop.
    #[arg(long, value_name = "PORT")]
    shop_port: Option<u16>,
    /// Port of the shop with a form of its own, which stands behind Portcullis.
    #[arg(long, value_name = "PORT")]
    own_form_port: Option<u16>,
    /// Port of the bank's page.
    #[arg(long, value_name = "PORT")]
    acs_port: Option<u16>,
    /// Port of Paymega.
    #[arg(long, value_name = "PORT")]
    paymega_port: Option<u16>,
    /// Port of MilkyPay.
    #[arg(long, value_name = "PORT")]
    milkypay_port: Option<u16>,
    /// Port of Qostiq.
    #[arg(long, value_name = "PORT")]
    qostiq_port: Option<u16>,
    /// Port of HighHelp.
    #[arg(long, value_name = "PORT")]
    highhelp_port: Option<u16>,
    /// Port of the control server.
    #[arg(long, value_name = "PORT")]
    control_port: Option<u16>,
    /// How long Portcullis waits for a provider.
    #[arg(long, value_name = "MS", default_value_t = 2_000)]
    upstream_timeout_ms: u64,
    /// What a provider's minute between callbacks lasts here.
    #[arg(long, value_name = "MS", default_value_t = 40)]
    minute_ms: u64,
}

impl Flags {
    fn ports(&self) -> Ports {
        let any = self.any_port || self.once;
        let port = |flag: Option<u16>, usual: u16| flag.unwrap_or(if any { 0 } else { usual });
        Ports {
            public: port(self.public_port, 8443),
            private: port(self.private_port, 8444),
            admin: port(self.admin_port, 9464),
            shop: port(self.shop_port, 8448),
            own_form: port(self.own_form_port, 8450),
            acs: port(self.acs_port, 8449),
            paymega: port(self.paymega_port, 9001),
            milkypay: port(self.milkypay_port, 9002),
            qostiq: port(self.qostiq_port, 9003),
            highhelp: port(self.highhelp_port, 9004),
            control: port(self.control_port, 9009),
        }
    }

    fn options(&self) -> Options {
        let proxy = self.portcullis.clone().map_or(Proxy::Find, Proxy::Binary);
        let retry_unit = Duration::from_millis(self.minute_ms);
        Options {
            ports: self.ports(),
            proxy,
            keep: self.keep,
            pace: Pace { retry_unit, ..Pace::default() },
            upstream_timeout: Duration::from_millis(self.upstream_timeout_ms),
            say: |what| eprintln!("sandbox: {what}"),
            ..Options::default()
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Flags::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("sandbox: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(flags: &Flags) -> Result<ExitCode> {
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let work = async {
        let world = World::start(flags.options()).await?;
        if flags.once {
            let tally = once::run(&world, &flags.only).await;
            kept(flags, &world);
            return Ok(if tally.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        match flags.json {
            true => println!("{}", addresses(&world)?),
            false => greet(&world)?,
        }
        kept(flags, &world);
        std::future::pending::<Result<ExitCode>>().await
    };
    // Dropping the world stops Portcullis and removes the folder.
    tokio::select! {
        code = work => code,
        _ = interrupted.recv() => Ok(ExitCode::SUCCESS),
        _ = terminated.recv() => Ok(ExitCode::SUCCESS),
    }
}

fn kept(flags: &Flags, world: &World) {
    if flags.keep {
        eprintln!("sandbox: kept in {}", world.folder().display());
    }
}

fn addresses(world: &World) -> Result<Value> {
    let mut accounts = Map::new();
    for held in &world.accounts {
        let gateway = world.gateway(&held.name, App::Shop)?;
        let account = json!({
            "provider": held.brand.name,
            "id": held.shop.id,
            "key": held.shop.key,
            "public_key": held.shop.public_key,
            "api": gateway.api,
            "public": gateway.public,
            "cardgate": gateway.cardgate,
        });
        accounts.insert(held.name.clone(), account);
    }
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    for held in &world.qostiq_accounts {
        let client = world.piastrix(held.name, App::Shop)?;
        let account = json!({
            "provider": "qostiq",
            "shop_id": client.shop_id,
            "secret": client.secret,
            "core": client.core,
            "card": client.card,
        });
        accounts.insert(held.name.to_owned(), account);
    }
    for held in &world.highhelp_accounts {
        let client = world.highhelp(held.name, App::Shop)?;
        let file = |end: &str| path(world.folder().join(format!("apps/shop-{}{end}", held.name)));
        let account = json!({
            "provider": "highhelp",
            "project_id": client.project_id,
            "algorithm": client.key.algorithm(),
            "key": file(".pem"),
            "alert_key": file("-alert.pub"),
            "api": client.api,
        });
        accounts.insert(held.name.to_owned(), account);
    }
    Ok(json!({
        "public": world.addresses.public,
        "private": world.addresses.private,
        "admin": world.addresses.admin,
        "shop": world.shop.url(),
        "acs": world.acs.url(),
        "paymega": format!("https://{}", world.paymega.authority()),
        "milkypay": format!("https://{}", world.milkypay.authority()),
        "qostiq": format!("https://{}", world.qostiq.authority()),
        "highhelp": format!("https://{}", world.highhelp.authority()),
        "control": world.control.url(),
        "ca": path(world.folder().join("tls/ca.pem")),
        "logs": path(world.folder().join("logs")),
        "portcullis_pid": world.proxy()?.pid(),
        "config": path(world.config()),
        "portcullis_key": world.key(App::Shop),
        "accounts": accounts,
    }))
}

fn greet(world: &World) -> Result<()> {
    let folder = world.folder().display();
    println!(
        "
  Portcullis sandbox: a shop that takes cards and never holds one.

  Demo shop              {shop}
  Shop with its own form {own_form}/checkout/17
  Portcullis, public     {public}
  Portcullis, private    {private}
  Portcullis, admin      {admin}/metrics
  The bank's page        {acs}
  Paymega, MilkyPay      https://{paymega}  https://{milkypay}   (simulated)
  Qostiq, HighHelp       https://{qostiq}  https://{highhelp}   (simulated)
  Control of all four    {control}

  Certificates come from a throw-away CA: {folder}/tls/ca.pem
  Without importing it, open the shop and {public} once each and accept them.

  Test cards (any CVV, expiry 10/35):",
        shop = world.shop.url(),
        own_form = world.own_form_url(),
        public = world.addresses.public,
        private = world.addresses.private,
        admin = world.addresses.admin,
        acs = world.acs.url(),
        paymega = world.paymega.authority(),
        milkypay = world.milkypay.authority(),
        qostiq = world.qostiq.authority(),
        highhelp = world.highhelp.authority(),
        control = world.control.url(),
    );
    for card in CARDS {
        println!("    {}   {}", card.number, card.shows);
    }
    let qostiq = qostiq::cards::CARDS.map(|card| (qostiq::TITLE, card));
    let highhelp = highhelp::cards::CARDS.map(|card| (highhelp::TITLE, card));
    for (title, card) in qostiq.into_iter().chain(highhelp) {
        println!("    {}   {title}: {}", card.number, card.shows);
    }
    println!(
        "
  To try:
    buy something, then look for the card:  grep -c 5519283812030000 {folder}/logs/*.log
    leave a payment pending with expiry 07/77, fail one with 4302 9128 3702 0000 and 05/29
    make the gateway silent:  curl -X POST '{control}/paymega/fault?route=sale&kind=silent'
    and well again:           curl -X POST '{control}/paymega/behave'
    what Paymega received:    curl {control}/paymega/received
    every case at once:       cargo run --release -p portcullis-sandbox -- --once

  Portcullis runs as process {pid}, its log is {folder}/logs/portcullis.log. Ctrl-C ends everything.
",
        control = world.control.url(),
        pid = world.proxy()?.pid().unwrap_or_default(),
    );
    Ok(())
}
