//! Listeners.

use std::net::SocketAddr;
use std::path::PathBuf;

use url::Url;

use crate::proxy::address::{HopField, Hops};

use super::reader::Table;
use super::secrets::{OPEN_TO_ALL, is_open_to_all};

/// A TLS listener.
#[derive(Debug)]
pub struct Listen {
    /// Where it listens.
    pub address: SocketAddr,
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Authorities of client certificates; callers without one are refused when this is set.
    pub client_ca: Option<PathBuf>,
}

pub(super) fn public(root: &Table<'_>) -> (Option<Listen>, Option<Url>, Hops) {
    let table = root.table("public");
    let listen = listen(&table, "0.0.0.0:8443", false);
    let url = table.parsed(
        "url",
        "must be https with a DNS name and no path, such as https://pay.example.com",
        public_url,
    );
    let hops = hops(&table);
    table.finish();
    (listen, url, hops)
}

fn hops(table: &Table<'_>) -> Hops {
    let trusted = table.number("trusted_hops", 0, 0..=16);
    let field = HopField::named(&table.text_or("hop_field", "x-forwarded-for"));
    if field.is_none() {
        table.fail("hop_field", "must be x-forwarded-for or forwarded");
    }
    let field = field.unwrap_or(HopField::XForwardedFor);
    Hops { trusted: usize::try_from(trusted).unwrap_or(0), field }
}

/// At most 100 characters, so that a return address below it stays within the 200 that access
/// control servers accept.
fn public_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    let named = crate::provider::HostPort::of(&url).is_some();
    (url.scheme() == "https" && plain && named && text.len() <= 100).then_some(url)
}

pub(super) fn private(root: &Table<'_>) -> Option<Listen> {
    let table = root.table("private");
    let listen = listen(&table, "127.0.0.1:8444", true);
    table.finish();
    listen
}

fn listen(table: &Table<'_>, default: &str, clients: bool) -> Option<Listen> {
    let address = address(table, default);
    let certificate = table.beside(&table.text("certificate"));
    let key = table.beside(&table.text("key"));
    if is_open_to_all(&key) {
        table.fail("key", OPEN_TO_ALL);
    }
    let client_ca = clients.then(|| table.optional_text("client_ca")).flatten();
    let client_ca = client_ca.map(|file| table.beside(&file));
    Some(Listen { address: address?, certificate, key, client_ca })
}

fn address(table: &Table<'_>, default: &str) -> Option<SocketAddr> {
    let parsed = table.text_or("address", default).parse().ok();
    if parsed.is_none() {
        table.fail("address", "must be an address and a port, such as 127.0.0.1:8444");
    }
    parsed
}

pub(super) fn admin(root: &Table<'_>) -> Option<SocketAddr> {
    let table = root.table_or_empty("admin");
    let address = address(&table, "127.0.0.1:9464");
    let exposed = table.flag("danger_not_loopback", false);
    if address.is_some_and(|address| !address.ip().is_loopback()) && !exposed {
        table.fail("address", "is not a loopback address; that needs danger_not_loopback = true");
    }
    table.finish();
    address
}

/// Two listeners cannot have one port of one address, and one that listens on every address has it
/// on all of them.
pub(super) fn check_apart(
    root: &Table<'_>,
    public: Option<&Listen>,
    private: Option<&Listen>,
    admin: Option<SocketAddr>,
) {
    let (public, private) = (public.map(|at| at.address), private.map(|at| at.address));
    let listeners = [("public", public), ("private", private), ("admin", admin)];
    for (at, (name, address)) in listeners.into_iter().enumerate() {
        let before = listeners.iter().take(at).find(|(_, other)| {
            other.zip(address).is_some_and(|(other, address)| is_one(other, address))
        });
        if let Some((other, _)) = before {
            let message =
                format!("is the address of {other}, too; give each listener its own port");
            root.table_or_empty(name).fail("address", &message);
        }
    }
}

/// Port 0 is any free one.
fn is_one(one: SocketAddr, other: SocketAddr) -> bool {
    let everywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || everywhere)
}
