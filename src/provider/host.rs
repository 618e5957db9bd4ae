//! The only addresses that can be dialled.
//!
//! A [`ProviderHost`] comes from a checked configuration or from [`ProviderHost::of_url`], which
//! asks an allow-list; nothing else makes one, so a URL out of a provider's answer cannot be
//! dialled unless its host was named by the operator (threat T9).

use std::sync::Arc;

use url::{Host, Url};

/// A DNS name and a port, lower case, as allow-lists name them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    name: Arc<str>,
    port: u16,
}

impl HostPort {
    /// `pay.example.com` (port 443) or `pay.example.com:8443`. A DNS name only: no address, no
    /// wildcard, no user, no path.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(&format!("https://{text}/")).ok()?;
        let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let spelled = text.eq_ignore_ascii_case(url.host_str()?)
            || text.to_ascii_lowercase() == format!("{}:{}", url.host_str()?, url.port()?);
        (plain && spelled).then(|| Self::of(&url)).flatten()
    }

    /// Host and port of a URL whose host is a DNS name without tricks: no trailing dot, no user.
    pub fn of(url: &Url) -> Option<Self> {
        let Some(Host::Domain(name)) = url.host() else { return None };
        let odd = name.ends_with('.') || name.contains('*') || name.contains('%');
        if odd || !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        Some(Self { name: name.into(), port: url.port_or_known_default()? })
    }

    /// The DNS name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `name`, or `name:port` where the port is not the scheme's own: what `Host` carries.
    pub fn authority(&self, tls: bool) -> String {
        let default = if tls { 443 } else { 80 };
        if self.port == default {
            self.name.to_string()
        } else {
            format!("{}:{}", self.name, self.port)
        }
    }
}

/// A base URL of a provider's interface: the only kind of address that a payment is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderHost {
    host: HostPort,
    tls: bool,
    base_path: Arc<str>,
}

impl ProviderHost {
    /// A base URL as configured, path prefix included. Plain HTTP needs `plain_http`.
    pub fn parse_base(text: &str, plain_http: bool) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        let tls = url.scheme() == "https";
        let scheme_allowed = tls || (plain_http && url.scheme() == "http");
        if !scheme_allowed || url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let base_path = url.path().trim_end_matches('/').into();
        Some(Self { host: HostPort::of(&url)?, tls, base_path })
    }

    /// The host of an https URL that came from outside, when the list names host and port.
    pub fn of_url(url: &Url, allowed: &[HostPort]) -> Option<Self> {
        if url.scheme() != "https" {
            return None;
        }
        let host = HostPort::of(url)?;
        allowed.contains(&host).then_some(Self { host, tls: true, base_path: "".into() })
    }

    /// Name and port.
    pub fn host(&self) -> &HostPort {
        &self.host
    }

    /// Whether it is reached over TLS.
    pub fn tls(&self) -> bool {
        self.tls
    }

    /// The path prefix, without a trailing slash.
    pub fn base_path(&self) -> &str {
        &self.base_path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed() -> Vec<HostPort> {
        vec![HostPort::parse("api.paymega.io").unwrap(), HostPort::parse("localhost:9443").unwrap()]
    }

    #[test]
    fn listed_hosts_pass_with_their_port_only() {
        for (url, passes) in [
            ("https://api.paymega.io/3ds-return?pid=1", true),
            ("https://API.Paymega.IO/x", true),
            ("https://api.paymega.io:443/x", true),
            ("https://localhost:9443/x", true),
            ("https://localhost/x", false),
            ("https://api.paymega.io:8443/x", false),
            ("http://api.paymega.io/x", false),
            ("https://api.paymega.io.evil.example/x", false),
            ("https://evil.example/?api.paymega.io", false),
            ("https://api.paymega.io@evil.example/", false),
            ("https://user@api.paymega.io/", false),
            ("https://api.paymega.io./", false),
            ("https://127.0.0.1:9443/x", false),
            ("https://2130706433/x", false),
            ("https://[::1]:9443/x", false),
        ] {
            let seen = Url::parse(url).ok().and_then(|url| ProviderHost::of_url(&url, &allowed()));
            assert_eq!(seen.is_some(), passes, "{url}");
        }
    }

    #[test]
    fn a_list_entry_is_a_dns_name_and_nothing_more() {
        for bad in
            ["*", "*.paymega.io", "https://a.b", "a.b/c", "u@a.b", "10.0.0.1", "[::1]", "", "a.b."]
        {
            assert!(HostPort::parse(bad).is_none(), "{bad}");
        }
        assert_eq!(HostPort::parse("A.b").unwrap().authority(true), "a.b");
        assert_eq!(HostPort::parse("a.b:8443").unwrap().authority(true), "a.b:8443");
    }

    #[test]
    fn a_base_url_keeps_its_prefix_and_wants_tls() {
        let base = ProviderHost::parse_base("https://api.example.com/api/", false).unwrap();
        assert_eq!((base.base_path(), base.tls()), ("/api", true));
        assert!(ProviderHost::parse_base("http://api.example.com", false).is_none());
        assert!(ProviderHost::parse_base("http://api.example.com", true).is_some());
        assert!(ProviderHost::parse_base("https://api.example.com/?x", false).is_none());
    }
}
