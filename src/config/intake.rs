//! Shops that Portcullis stands in front of.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Method;
use url::{Host, Url};

use crate::caller::Apps;
use crate::intake::{
    CardFields, CardPath, Encoding, ExpiryFields, Field, Intake, PathPattern, ShopHost,
};
use crate::provider::HostPort;

use super::reader::Table;

/// A shop, and how it is called.
#[derive(Debug)]
pub struct Shop {
    /// Its names, card paths and fields.
    pub intake: Intake,
    /// Authorities of its certificate; those of the upstreams when unset.
    pub ca_file: Option<PathBuf>,
    /// How long a request may be under way without a byte in either direction.
    pub idle: Duration,
    /// Requests under way at most: so many that carry a card, and as many others.
    pub requests: usize,
    /// Of those others, those of one client address.
    pub requests_per_address: usize,
}

pub(super) fn shops(root: &Table<'_>, apps: &Apps, own: Option<&Url>) -> Vec<Shop> {
    let mut shops: Vec<Shop> = Vec::new();
    for table in root.tables("intake") {
        if let Some(shop) = shop(&table, apps) {
            let taken = |name: &str| shops.iter().any(|known| known.intake.is_called(name));
            if shop.intake.names.iter().any(|name| taken(name)) {
                table.fail("hosts", "names a host of another intake");
            }
            if own.and_then(Url::host_str).is_some_and(|own| shop.intake.is_called(own)) {
                table.fail("hosts", "names the host of public.url, which is Portcullis' own");
            }
            shops.push(shop);
        }
        table.finish();
    }
    shops
}

fn shop(table: &Table<'_>, apps: &Apps) -> Option<Shop> {
    let names = table.texts("hosts");
    let parsed: Option<Vec<_>> = names.iter().map(|name| host_name(name)).collect();
    if names.is_empty() || parsed.is_none() {
        table.fail("hosts", "is required: DNS names without a port, such as shop.example.com");
    }
    let shop = upstream(table);
    let tenant = table.parsed("app", "is not the name of an [[app]]", |name| {
        apps.named(name).map(|app| app.tenant.clone())
    });
    let ca_file = table.optional_text("ca_file").map(|file| table.beside(&file));
    let idle = Duration::from_secs(table.number("idle_seconds", 120, 1..=86_400));
    let requests = bound(table, "requests", 1024);
    let requests_per_address = bound(table, "requests_per_address", 128);
    let tables = table.tables("card");
    if tables.is_empty() {
        table.fail("card", "is required: without a card path there is nothing to take in");
    }
    let mut cards: Vec<CardPath> = Vec::new();
    for table in tables {
        if let Some(card) = card(&table) {
            let same = |known: &CardPath| {
                known.method == card.method
                    && known.path == card.path
                    && known.encoding == card.encoding
            };
            if cards.iter().any(same) {
                table.fail("path", "is there already with this method and encoding");
            }
            cards.push(card);
        }
        table.finish();
    }
    let intake = Intake { names: parsed?, shop: shop?, tenant: tenant?, cards };
    Some(Shop { intake, ca_file, idle, requests, requests_per_address })
}

fn bound(table: &Table<'_>, key: &str, default: u64) -> usize {
    usize::try_from(table.number(key, default, 1..=100_000)).unwrap_or(usize::MAX)
}

fn host_name(text: &str) -> Option<std::sync::Arc<str>> {
    let host = HostPort::parse(text).filter(|_| !text.contains(':'))?;
    Some(host.name().into())
}

/// The shop's own host. Plain HTTP never leaves this machine unless a danger says so: cookies and
/// passwords of the shop cross that line, too.
fn upstream(table: &Table<'_>) -> Option<ShopHost> {
    let plain_loopback = table.flag("plain_http_on_loopback", false);
    let danger = table.flag("danger_plain_http_over_network", false);
    let expected = "must be https:// with a DNS name or address and no path, such as \
                    https://shop.internal:8443; http:// needs plain_http_on_loopback = true and a \
                    loopback address, or danger_plain_http_over_network = true";
    table.parsed("upstream", expected, |text| {
        let url = Url::parse(text).ok()?;
        let tls = match url.scheme() {
            "https" => true,
            "http" if danger || (plain_loopback && is_loopback(&url)) => false,
            _ => return None,
        };
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let nobody = url.username().is_empty() && url.password().is_none();
        let host = url.host_str().filter(|host| !host.ends_with('.'))?;
        let port = url.port_or_known_default()?;
        (bare && nobody).then(|| ShopHost { host: host.into(), port, tls })
    })
}

/// By address, or the name that every system keeps for it.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => IpAddr::V4(address).is_loopback(),
        Some(Host::Ipv6(address)) => IpAddr::V6(address).is_loopback(),
        None => false,
    }
}

fn card(table: &Table<'_>) -> Option<CardPath> {
    let method = Method::from_bytes(table.text_or("method", "POST").as_bytes()).ok();
    let method = method
        .filter(|method| matches!(*method, Method::POST | Method::PUT | Method::PATCH))
        .or_else(|| {
            table.fail("method", "must be POST, PUT or PATCH");
            None
        });
    let path = table.parsed(
        "path",
        "must be a path of letters, digits and -._~ in which one segment may be *, such as \
         /orders/*/pay",
        PathPattern::parse,
    );
    let encoding = table.parsed("encoding", "must be json, form or multipart", Encoding::named);
    let fields = fields(table, encoding.unwrap_or(Encoding::Form));
    Some(CardPath { method: method?, path: path?, encoding: encoding?, fields: fields? })
}

fn fields(table: &Table<'_>, encoding: Encoding) -> Option<CardFields> {
    let expected = match encoding {
        Encoding::Json => "must be a JSON pointer without *, such as /card/number",
        Encoding::Form | Encoding::Multipart => "must be the name of a field, such as card[number]",
    };
    let named = |name: &str| Field::named(name, encoding);
    let number = table.parsed("number", expected, named);
    let cvv = table.optional_parsed("cvv", expected, named);
    let cvv_required = table.flag("cvv_required", false);
    if cvv_required && !table.has("cvv") {
        table.fail("cvv_required", "needs the field's name in cvv");
    }
    let month = table.optional_parsed("exp_month", expected, named);
    let year = table.optional_parsed("exp_year", expected, named);
    let whole = table.optional_parsed("expiry", expected, named);
    let has = ["exp_month", "exp_year", "expiry"].map(|key| table.has(key));
    let expiry = match has {
        [true, true, false] => {
            month.zip(year).map(|(month, year)| ExpiryFields::Parts { month, year })
        }
        [false, false, true] => whole.map(ExpiryFields::Whole),
        _ => {
            table.fail("number", "needs exp_month and exp_year beside it, or expiry alone");
            None
        }
    };
    let holder = table.optional_parsed("holder", expected, named);
    Some(CardFields { number: number?, cvv, cvv_required, expiry: expiry?, holder })
}
