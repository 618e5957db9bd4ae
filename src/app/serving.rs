//! What requests are served with, made from a configuration: at start, and at every change of it.

use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use crate::audit::Audit;
use crate::config::{self, Config, Host, Listen, Problem};
use crate::flow::Flow;
use crate::limit::{Gates, Limits};
use crate::process::Supervisor;
use crate::proxy::desk::{Desk, Targets};
use crate::proxy::exchange::{UpstreamTls, Upstreams};
use crate::proxy::front::{Shop, ShopBounds, Shops};
use crate::proxy::inquiry::RESULTS;
use crate::proxy::message::{Caps, Deadlines};
use crate::proxy::peer::Told;
use crate::proxy::signing::Signers;
use crate::proxy::tls::{TlsError, TlsFiles};
use crate::proxy::tracing::Tracing;
use crate::proxy::way_out::WayOut;
use crate::telemetry::{Log, Metrics};
use crate::vault::Vault;

use super::export::Export;

/// What stays as long as the process, whatever the configuration says.
#[derive(Clone)]
pub(super) struct Lasting {
    pub(super) vault: Arc<Vault>,
    pub(super) signers: Arc<Signers>,
    pub(super) audit: Arc<Audit>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) log: Arc<Log>,
    pub(super) tracing: Arc<Tracing>,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) export: Arc<Export>,
}

/// A value of a configuration that is right as text and cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    pub(super) key: String,
    pub(super) why: String,
}

impl Unusable {
    /// The same with its place.
    pub(super) fn problem(&self, config: &Config) -> Problem {
        config.problem(&self.key, &self.why)
    }
}

/// The ways out. Making them reads files, and may fail.
pub(super) struct Ways {
    upstreams: Arc<Upstreams>,
    outside: Arc<Upstreams>,
    shops: Vec<Shop>,
}

impl Ways {
    /// Of a configuration, whose shops are taken out of it.
    pub(super) fn of(config: &mut Config) -> Result<Self, Vec<Problem>> {
        let (shops, mut wrong) = shops(config);
        let way_out = &config.upstream.way_out;
        wrong.extend(way_out.egress.addresses().filter_map(not_of_this_machine));
        let mut kept = |made: Result<_, Unusable>| made.map_err(|error| wrong.push(error)).ok();
        let outside = kept(upstreams(config, way_out.clone(), None));
        let own =
            kept(upstreams(config, way_out.clone(), None).and_then(|all| with_own(config, all)));
        match (outside, own) {
            (Some(outside), Some(upstreams)) if wrong.is_empty() => {
                Ok(Self { upstreams: Arc::new(upstreams), outside: Arc::new(outside), shops })
            }
            _ => Err(told_once(wrong).iter().map(|unusable| unusable.problem(config)).collect()),
        }
    }
}

/// A source address that would fail every payment.
fn not_of_this_machine(ip: IpAddr) -> Option<Unusable> {
    let error = TcpListener::bind((ip, 0)).err()?;
    Some(Unusable {
        key: "upstream.egress_addresses".to_owned(),
        why: format!("cannot leave from {ip}: {}", error.kind()),
    })
}

/// Several ways may lack the same file.
fn told_once(wrong: Vec<Unusable>) -> Vec<Unusable> {
    wrong.into_iter().fold(Vec::new(), |mut told, unusable| {
        if !told.contains(&unusable) {
            told.push(unusable);
        }
        told
    })
}

/// The desk of a configuration at a start.
pub(super) fn desk(config: Config, ways: Ways, lasting: Lasting) -> Desk {
    desk_after(&Targets::default(), config, ways, lasting)
}

fn desk_after(before: &Targets, config: Config, ways: Ways, lasting: Lasting) -> Desk {
    let Ways { upstreams, outside, shops } = ways;
    let Lasting { vault, signers, audit, metrics, log, tracing, .. } = lasting;
    serve_counts(&config, &metrics);
    Desk {
        targets: targets(&config, before, &Told { log: log.clone(), metrics: metrics.clone() }),
        flow: Flow::new(vault, config.registry, config.apps, config.public_url),
        upstreams,
        outside,
        shops: Shops::new(shops.into_iter()),
        allow_private: config.upstream.danger_allow_private_addresses,
        limits: Arc::new(Limits::new(config.rates, config.rate_keys)),
        gates: Gates::new(config.concurrency),
        hops: config.hops,
        signers,
        audit,
        metrics,
        log,
        tracing,
    }
}

/// Serves the bound of what rates count, and the counts of accounts that ask about payments, at
/// nothing.
fn serve_counts(config: &Config, metrics: &Metrics) {
    metrics.limit_keys_max(config.rate_keys);
    let accounts = config.registry.accounts();
    for account in accounts.filter(|account| !account.status_queries.routes.is_empty()) {
        RESULTS.iter().for_each(|result| metrics.status_queried(&account.name, result, 0));
    }
}

/// The desk that follows another. It takes over what did not change: connections to others, counts
/// of rates, counts of what is under way; and what is known of hosts that it has, too.
pub(super) fn successor(config: Config, ways: Ways, lasting: Lasting, before: &Desk) -> Desk {
    let Ways { upstreams, outside, shops } = ways;
    let limits = before.limits.successor(config.rates, config.rate_keys);
    let gates = before.gates.successor(config.concurrency);
    let shops = Shops::following(shops.into_iter(), &before.shops);
    let ways = Ways { upstreams, outside, shops: Vec::new() };
    let desk = desk_after(&before.targets, config, ways, lasting);
    let kept = |new: &Arc<Upstreams>, old: &Arc<Upstreams>| {
        Arc::clone(if new.is_like(old) { old } else { new })
    };
    let upstreams = kept(&desk.upstreams, &before.upstreams);
    let outside = kept(&desk.outside, &before.outside);
    before.upstreams.close_astray();
    Desk { limits: Arc::new(limits), gates, shops, upstreams, outside, ..desk }
}

/// The configured upstreams.
fn targets(config: &Config, before: &Targets, told: &Told) -> Targets {
    let hosts = config.registry.accounts().flat_map(|account| account.upstreams.iter().flatten());
    Targets::following(hosts, before, told, |host| config.upstream.peer(host))
}

/// Shops that we stand in front of, each with connections of its own. They are the operator's: the
/// way out to providers is not the way to them.
fn shops(config: &mut Config) -> (Vec<Shop>, Vec<Unusable>) {
    let (mut made, mut wrong) = (Vec::new(), Vec::new());
    for (index, shop) in std::mem::take(&mut config.shops).into_iter().enumerate() {
        match shop_of(config, index, shop) {
            Ok(shop) => made.push(shop),
            Err(unusable) => wrong.push(unusable),
        }
    }
    (made, wrong)
}

fn shop_of(config: &Config, index: usize, shop: config::Shop) -> Result<Shop, Unusable> {
    let own = shop.ca_file.map(|file| (file, format!("intake[{index}].ca_file")));
    let upstreams = Arc::new(upstreams(config, WayOut::default(), own)?);
    let (requests, requests_per_address) = (shop.requests, shop.requests_per_address);
    let bounds = ShopBounds { idle: shop.idle, requests, requests_per_address };
    Shop::new(shop.intake, upstreams, bounds).map_err(|_| Unusable {
        key: format!("intake[{index}].upstream"),
        why: "is no host that could be called".to_owned(),
    })
}

/// Connections towards providers, applications and shops. A file of authorities that is not the
/// one of all comes with its key.
fn upstreams(
    config: &Config,
    way_out: WayOut,
    own: Option<(PathBuf, String)>,
) -> Result<Upstreams, Unusable> {
    let (own, key) = own.unzip();
    let ca_file = own.or_else(|| config.upstream.ca_file.clone());
    let tls = UpstreamTls { ca_file, ..UpstreamTls::default() };
    let terms = config.upstream.terms;
    let upstreams = Upstreams::leaving_by(way_out, &tls, terms).map_err(|error| Unusable {
        key: key.unwrap_or_else(|| "upstream.ca_file".to_owned()),
        why: error.to_string(),
    })?;
    Ok(upstreams.with_answer_max(config.upstream.answer_limit))
}

/// Hosts that are called in a way of their own.
fn with_own(config: &Config, upstreams: Upstreams) -> Result<Upstreams, Unusable> {
    config.upstream.hosts.iter().enumerate().try_fold(upstreams, |upstreams, (index, host)| {
        let Host { host, terms, server_name, ca_file, client, .. } = host;
        let tls = UpstreamTls {
            ca_file: ca_file.as_ref().or(config.upstream.ca_file.as_ref()).cloned(),
            client: client.clone(),
            server_name: server_name.clone(),
        };
        let is_own = server_name.is_some() || ca_file.is_some() || client.is_some();
        let tls = is_own.then_some(&tls);
        upstreams.with_own(host.name(), host.port(), tls, *terms).map_err(|error| {
            let key = match error {
                TlsError::Authorities if ca_file.is_none() => "upstream.ca_file".to_owned(),
                _ => format!("upstream.host[{index}].{}", key_of(error)),
            };
            Unusable { key, why: error.to_string() }
        })
    })
}

/// The key of a host that a fault is about.
const fn key_of(error: TlsError) -> &'static str {
    match error {
        TlsError::Authorities => "ca_file",
        TlsError::Name => "server_name",
        TlsError::Key | TlsError::KeyOpen | TlsError::Mismatch => "client_key",
        TlsError::Certificate | TlsError::Time | TlsError::Configuration => "client_certificate",
    }
}

/// Where the certificate of a listener is.
pub(super) fn tls_files(listen: &Listen) -> TlsFiles {
    TlsFiles {
        certificate: listen.certificate.clone(),
        key: listen.key.clone(),
        client_ca: listen.client_ca.clone(),
    }
}

/// What connections are held to.
pub(super) fn terms(caps: &crate::config::Caps) -> (Deadlines, Caps) {
    let deadlines = Deadlines {
        handshake: caps.handshake,
        head: caps.head,
        body: caps.body,
        idle: caps.idle,
        ..Deadlines::default()
    };
    let caps = Caps {
        connections: caps.connections,
        per_address: caps.connections_per_address,
        ..Caps::default()
    };
    (deadlines, caps)
}
