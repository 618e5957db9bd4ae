//! Who stands side by side, and where.

use std::net::SocketAddr;

/// How a proxy reaches the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// `http://`.
    Plain,
    /// `https://`, TLS 1.3.
    Tls,
}

impl Hop {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Plain, Self::Tls];

    /// In tables and paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Tls => "tls",
        }
    }

    /// Where the simulated provider listens.
    pub fn upstream(self) -> SocketAddr {
        let port = match self {
            Self::Plain => 19_080,
            Self::Tls => 19_443,
        };
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    /// Connections to it that somebody on this machine holds open, as the kernel tells.
    pub fn connections(self) -> usize {
        // proc(5): local address, remote address, state; all in hexadecimal digits. One that the
        // provider closed and the proxy did not is none: it should not be there.
        const OPEN: [&str; 2] = ["01", "02"];
        let port = format!(":{:04X}", self.upstream().port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
        let is_open = |line: &&str| {
            let mut fields = line.split_whitespace().skip(2);
            let remote = fields.next().is_some_and(|remote| remote.ends_with(&port));
            remote && fields.next().is_some_and(|state| OPEN.contains(&state))
        };
        table.lines().filter(is_open).count()
    }
}

/// A proxy under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The product: everything that a sale needs.
    Portcullis,
    /// Another build of the product.
    Other,
    /// nginx as a plain reverse proxy.
    Nginx,
    /// nginx with LuaJIT: detokenises from a shared dictionary, injects, scrubs the answer.
    Lua,
    /// HAProxy as a plain reverse proxy.
    Haproxy,
    /// Pingora's `ProxyHttp` as a plain reverse proxy.
    Bare,
}

impl Peer {
    /// All, in the order of tables.
    pub const ALL: [Self; 5] =
        [Self::Portcullis, Self::Nginx, Self::Lua, Self::Haproxy, Self::Bare];

    /// In tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portcullis => "portcullis",
            Self::Other => "other build",
            Self::Nginx => "nginx",
            Self::Lua => "nginx-lua",
            Self::Haproxy => "haproxy",
            Self::Bare => "pingora",
        }
    }

    /// What it does with a sale.
    pub fn work(self) -> &'static str {
        match self {
            Self::Portcullis | Self::Other => "all of it",
            Self::Nginx | Self::Haproxy | Self::Bare => "none",
            Self::Lua => "detokenise, inject, scrub",
        }
    }

    /// Whether it is given tokens and virtual credentials, or the card and the real ones.
    pub fn takes_tokens(self) -> bool {
        self.is_product() || self == Self::Lua
    }

    /// Whether it is the product, whichever build.
    pub fn is_product(self) -> bool {
        matches!(self, Self::Portcullis | Self::Other)
    }

    /// Where sales go to.
    pub fn port(self, hop: Hop) -> u16 {
        let base = match self {
            // One listener, the account in the path tells the hops apart.
            Self::Portcullis => return 18_444,
            Self::Other => return 18_454,
            Self::Nginx => 18_500,
            Self::Lua => 18_510,
            Self::Haproxy => 18_520,
            Self::Bare => 18_530,
        };
        base + u16::from(hop == Hop::Tls)
    }

    /// Metrics and readiness of the product.
    pub fn admin_port(self) -> u16 {
        self.capture_port() + 21
    }

    /// Where cards are captured, of those that take tokens.
    pub fn capture_port(self) -> u16 {
        match self {
            Self::Portcullis => 18_443,
            Self::Other => 18_453,
            _ => 18_512,
        }
    }
}
