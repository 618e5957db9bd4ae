//! The way out: how providers and applications are called.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use crate::provider::{HostPort, Registry};
use crate::proxy::exchange::Terms;
use crate::proxy::peer::{Check, CheckKind, HealthRules, PeerSettings};
use crate::proxy::way_out::{ClientCertificate, Egress, Proxy, ProxyCredentials, WayOut};
use crate::vault::CLAIM_LIFE;

use super::reader::Table;
use super::secrets;

/// The longest deadline of an exchange. A callback is claimed for longer, or it could be delivered
/// twice at once.
const MILLIS_MAX: u64 = 300_000;
const _: () = assert!(MILLIS_MAX / 1000 < CLAIM_LIFE.as_secs());

/// How providers and applications are called.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Authorities of their certificates; the system's own when unset.
    pub ca_file: Option<PathBuf>,
    /// What exchanges are held to.
    pub terms: Terms,
    /// Longest answer in bytes.
    pub answer_limit: usize,
    /// How often the addresses of configured hosts are looked up.
    pub resolve_every: Duration,
    /// When an address is left out.
    pub health: HealthRules,
    /// Whether relay and callback targets may be on private networks.
    pub danger_allow_private_addresses: bool,
    /// Whether upstreams may be named with http.
    pub danger_plain_http: bool,
    /// By which way connections to providers and applications leave.
    pub way_out: WayOut,
    /// Hosts with settings of their own.
    pub hosts: Vec<Host>,
}

/// Settings of one host of an account.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name and port.
    pub host: HostPort,
    /// Where it is; looked up when empty.
    pub addresses: Vec<IpAddr>,
    /// How each address is tried without a payment.
    pub check: Option<Check>,
    /// What exchanges with it are held to.
    pub terms: Terms,
    /// The name of its certificate; its own when unset.
    pub server_name: Option<String>,
    /// Authorities of its certificate; those of all when unset.
    pub ca_file: Option<PathBuf>,
    /// What it is shown of us.
    pub client: Option<ClientCertificate>,
}

impl Upstream {
    /// What differs for a host.
    #[must_use]
    pub fn own(&self, host: &HostPort) -> Option<&Host> {
        self.hosts.iter().find(|known| known.host == *host)
    }

    /// How long any exchange may take.
    #[must_use]
    pub fn longest(&self) -> Duration {
        let hosts = self.hosts.iter().map(|host| host.terms.total);
        hosts.fold(self.terms.total, Duration::max)
    }

    /// How long a payment may take with the question what became of it, where its account has one
    /// asked.
    #[must_use]
    pub fn longest_asked(&self, registry: &Registry) -> Duration {
        let asked = registry.accounts().flat_map(|account| {
            let query = account.status_queries.timeout;
            account.status_queries.routes.iter().filter_map(move |at| {
                let route = account.profile.routes.get(*at)?;
                let upstream = account.upstreams.get(route.api)?.as_ref()?;
                let own = self.own(upstream.host());
                Some(own.map_or(self.terms.total, |own| own.terms.total) + query)
            })
        });
        asked.max().unwrap_or_default()
    }

    /// How the addresses of a host are found and watched.
    #[must_use]
    pub fn peer(&self, host: &HostPort) -> PeerSettings {
        let own = self.own(host);
        let addresses = own.map(|own| own.addresses.clone()).unwrap_or_default();
        PeerSettings {
            by_name: addresses.is_empty() && self.way_out.proxy_to(host.name()).is_some(),
            addresses,
            resolve_every: self.resolve_every,
            health: self.health,
            check: own.and_then(|own| own.check.clone()),
            ..PeerSettings::default()
        }
    }
}

pub(super) fn upstream(table: &Table<'_>) -> Upstream {
    let seconds = |key, default| Duration::from_secs(table.number(key, default, 1..=3600));
    Upstream {
        ca_file: table.optional_text("ca_file").map(|file| table.beside(&file)),
        terms: terms(table, None),
        answer_limit: usize::try_from(table.number("answer_limit_bytes", 1 << 20, 1024..=1 << 24))
            .unwrap_or(usize::MAX),
        resolve_every: seconds("resolve_every_seconds", 30),
        health: health(table),
        danger_allow_private_addresses: table.flag("danger_allow_private_addresses", false),
        danger_plain_http: table.flag("danger_plain_http", false),
        way_out: WayOut { egress: egress(table), proxy: proxy(table).map(Arc::new) },
        hosts: Vec::new(),
    }
}

/// Those of a host are those of all where it says nothing.
fn terms(table: &Table<'_>, all: Option<&Terms>) -> Terms {
    let millis = |key, default: Duration| {
        let default = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(table.number(key, default, 10..=MILLIS_MAX))
    };
    let usual = all.copied().unwrap_or_default();
    let connect = millis("connect_timeout_ms", usual.connect);
    let tls = millis("tls_timeout_ms", all.map_or(connect, |all| all.tls));
    let total = millis("total_timeout_ms", usual.total);
    let idle = millis("keep_alive_ms", usual.idle);
    let kept = u64::try_from(usual.kept).unwrap_or(u64::MAX);
    let kept = table.number("keep_alive_connections", kept, 0..=10_000);
    Terms { connect, tls, total, idle, kept: usize::try_from(kept).unwrap_or(usize::MAX) }
}

/// No card crosses a proxy in clear.
pub(super) fn check_proxy(table: &Table<'_>, way_out: &WayOut, registry: &Registry) {
    let mut called = registry.accounts().flat_map(|account| account.upstreams.iter().flatten());
    if called.any(|host| !host.tls() && way_out.proxy_to(host.host().name()).is_some()) {
        table.fail("danger_plain_http", "and a proxy: it would see cards; name the host in except");
    }
}

/// At most one address of each kind.
fn egress(table: &Table<'_>) -> Egress {
    let mut egress = Egress::default();
    for text in table.texts("egress_addresses") {
        let taken = match text.parse() {
            Ok(IpAddr::V4(ip)) if !ip.is_unspecified() => egress.v4.replace(ip).is_some(),
            Ok(IpAddr::V6(ip)) if !ip.is_unspecified() => egress.v6.replace(ip).is_some(),
            _ => true,
        };
        if taken {
            let expected = "must list one IPv4 address, one IPv6 address, or one of each";
            table.fail("egress_addresses", expected);
            return Egress::default();
        }
    }
    egress
}

fn proxy(table: &Table<'_>) -> Option<Proxy> {
    let keys = table.optional_table("proxy")?;
    let expected = "must be http:// with a host and a port, such as http://proxy.internal:3128";
    let place = keys.parsed("url", expected, proxy_url);
    let expected = "must be visible characters without a colon";
    let user = keys.optional_parsed("user", expected, |text| {
        let plain = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        (!text.is_empty() && text.bytes().all(plain)).then(|| text.to_owned())
    });
    let password = secrets::optional(&keys, "password");
    match (keys.has("user"), keys.has("password")) {
        (true, false) => keys.fail("user", "needs a password"),
        (false, true) => keys.fail("password", "needs a user"),
        _ => {}
    }
    let except = keys.texts("except");
    let names: Option<Vec<_>> = except.iter().map(|text| bare_name(text)).collect();
    if names.is_none() {
        keys.fail("except", "must list DNS names without a port, such as shop.internal");
    }
    keys.finish();
    let (host, port) = place?;
    let credentials = user.zip(password);
    let credentials = credentials.map(|(user, password)| ProxyCredentials { user, password });
    Some(Proxy { host, port, credentials, except: names? })
}

fn proxy_url(text: &str) -> Option<(String, u16)> {
    let url = Url::parse(text).ok()?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let nobody = url.username().is_empty() && url.password().is_none();
    let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
    (url.scheme() == "http" && bare && nobody).then_some((host, url.port_or_known_default()?))
}

/// A DNS name alone, lower case.
fn bare_name(text: &str) -> Option<String> {
    HostPort::parse(text).filter(|_| !text.contains(':')).map(|host| host.name().to_owned())
}

fn health(table: &Table<'_>) -> HealthRules {
    let after = table.number("down_after_failures", 3, 1..=1000);
    let first = table.number("down_seconds", 2, 1..=3600);
    let longest = table.number("down_seconds_max", 60, 1..=3600);
    if longest < first {
        table.fail("down_seconds_max", "must not be shorter than down_seconds");
    }
    HealthRules {
        after: u32::try_from(after).unwrap_or(u32::MAX),
        first: Duration::from_secs(first),
        longest: Duration::from_secs(longest),
    }
}

/// `[[upstream.host]]`: what differs for single hosts of the accounts.
pub(super) fn hosts(upstream: &Table<'_>, registry: &Registry, all: &Terms) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    for table in upstream.tables("host") {
        if let Some(host) = host(&table, all) {
            let accounts = registry.accounts();
            let mut called = accounts.flat_map(|account| account.upstreams.iter().flatten());
            if !called.any(|upstream| *upstream.host() == host.host) {
                table.fail("host", "is not the host and port of an account's upstreams");
            }
            if hosts.iter().any(|known| known.host == host.host) {
                table.fail("host", "has a table already");
            }
            hosts.push(host);
        }
        table.finish();
    }
    hosts
}

fn host(table: &Table<'_>, all: &Terms) -> Option<Host> {
    let expected = "must be a DNS name, with a port where that is not 443";
    let host = table.parsed("host", expected, HostPort::parse);
    let addresses = addresses(table);
    let check = check(table);
    let terms = terms(table, Some(all));
    let expected = "must be a DNS name without a port";
    let server_name = table.optional_parsed("server_name", expected, bare_name);
    let ca_file = table.optional_text("ca_file").map(|file| table.beside(&file));
    let client = client(table);
    Some(Host { host: host?, addresses, check, terms, server_name, ca_file, client })
}

fn client(table: &Table<'_>) -> Option<ClientCertificate> {
    let certificate = table.optional_text("client_certificate").map(|file| table.beside(&file));
    let key = secrets::optional(table, "client_key");
    match (table.has("client_certificate"), table.has("client_key")) {
        (true, false) => table.fail("client_certificate", "needs its key, in client_key"),
        (false, true) => table.fail("client_key", "needs its certificate, in client_certificate"),
        _ => {}
    }
    Some(ClientCertificate { certificate: certificate?, key: Arc::new(key?) })
}

/// As many as are kept of a name, and no more.
fn addresses(table: &Table<'_>) -> Vec<IpAddr> {
    let texts = table.texts("addresses");
    let parsed: Option<Vec<IpAddr>> = texts.iter().map(|text| text.parse().ok()).collect();
    let usable = |ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast();
    let parsed = parsed.filter(|ips| ips.len() <= 8 && ips.iter().all(usable));
    let Some(ips) = parsed else {
        table.fail("addresses", "must list at most 8 IP addresses, such as 192.0.2.10");
        return Vec::new();
    };
    if ips.iter().collect::<BTreeSet<_>>().len() < ips.len() {
        table.fail("addresses", "names an address twice");
    }
    ips
}

fn check(table: &Table<'_>) -> Option<Check> {
    let kind = table.text_or("check", "off");
    let every = Duration::from_secs(table.number("check_every_seconds", 10, 1..=3600));
    let expected = "must be a path, such as /health";
    let path = table.optional_parsed("check_path", expected, |text| {
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        (text.starts_with('/') && plain).then(|| text.to_owned())
    });
    let status = u16::try_from(table.number("check_status", 200, 200..=599)).unwrap_or(200);
    let asks = kind == "get";
    if asks != table.has("check_path") {
        let (key, needs) = match asks {
            true => ("check", "needs the path that is asked for, in check_path"),
            false => ("check_path", "is for check = \"get\""),
        };
        table.fail(key, needs);
    }
    let kind = match kind.as_str() {
        "off" => return None,
        "connect" => CheckKind::Connect,
        "get" => CheckKind::Get { path: path?, status },
        _ => {
            table.fail("check", "must be off, connect or get");
            return None;
        }
    };
    Some(Check { every, kind })
}
