//! Which client a request comes from, for limits. Behind trusted proxies the socket's address is
//! theirs; the client's stands in a field that they write, and that anybody else can write, too.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderName};

use super::message::Head;

/// The field that trusted proxies write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopField {
    /// `X-Forwarded-For`: a list of addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239): `for=` of each element.
    Forwarded,
}

impl HopField {
    /// The one of that name in a configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "x-forwarded-for" => Some(Self::XForwardedFor),
            "forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }
}

/// How many proxies before us are the operator's own, and what they write.
#[derive(Debug, Clone, Copy)]
pub struct Hops {
    /// How many; 0 takes nobody's word.
    pub trusted: usize,
    /// Where they write it.
    pub field: HopField,
}

impl Hops {
    /// Whose request it is. Each trusted proxy appends whom it was called by, so the client stands
    /// as many places from the end as there are trusted proxies; what stands before it anybody may
    /// have written. Where there is no address at that place, the request counts as the proxy's.
    pub(super) fn client(self, head: &Head) -> Block {
        Block::of(self.address(head))
    }

    /// The same, whole.
    pub(super) fn address(self, head: &Head) -> IpAddr {
        let told = self.trusted.checked_sub(1).and_then(|place| self.told(head, place));
        told.unwrap_or(head.peer.ip()).to_canonical()
    }

    fn told(self, head: &Head, place: usize) -> Option<IpAddr> {
        let name = match self.field {
            HopField::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            HopField::Forwarded => FORWARDED,
        };
        let lines = head.headers.get_all(name).iter().rev();
        let mut elements = lines.flat_map(|line| line.to_str().unwrap_or("").rsplit(','));
        let element = elements.nth(place)?.trim();
        match self.field {
            HopField::XForwardedFor => address(element),
            HopField::Forwarded => address(forwarded_for(element)?),
        }
    }
}

/// The `for` parameter of one element. A quoted value that holds a comma or a semicolon is no
/// address, so elements can be taken apart there.
fn forwarded_for(element: &str) -> Option<&str> {
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim();
        let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        name.trim().eq_ignore_ascii_case("for").then_some(unquoted.unwrap_or(value))
    })
}

/// An address as proxies spell it: with or without brackets, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    bare.parse().ok().or_else(with_port)
}

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 customer is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Block {
    V4(Ipv4Addr),
    V6(u64),
}

impl Block {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(prefix(address)),
        }
    }
}

fn prefix(address: Ipv6Addr) -> u64 {
    (address.to_bits() >> 64) as u64
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::*;

    const PEER: &str = "10.0.0.9";

    fn client(trusted: usize, field: HopField, lines: &[&str]) -> Block {
        let mut headers = HeaderMap::new();
        for line in lines {
            let (name, value) = line.split_once(": ").unwrap();
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_str(value).unwrap());
        }
        let head = Head {
            method: Method::GET,
            path: "/".to_owned(),
            query: None,
            headers,
            version: Version::HTTP_11,
            peer: SocketAddr::new(PEER.parse().unwrap(), 1),
            client: None,
        };
        Hops { trusted, field }.client(&head)
    }

    fn at(text: &str) -> Block {
        Block::of(text.parse().unwrap())
    }

    #[test]
    fn nobodys_word_is_taken_unless_the_operator_says_so() {
        for line in ["x-forwarded-for: 1.1.1.1", "forwarded: for=1.1.1.1"] {
            for field in [HopField::XForwardedFor, HopField::Forwarded] {
                assert_eq!(client(0, field, &[line]), at(PEER));
            }
        }
        assert_eq!(client(1, HopField::Forwarded, &["x-forwarded-for: 1.1.1.1"]), at(PEER));
        assert_eq!(client(1, HopField::XForwardedFor, &["forwarded: for=1.1.1.1"]), at(PEER));
    }

    #[test]
    fn the_client_stands_as_many_places_from_the_end_as_proxies_are_trusted() {
        let lines = ["x-forwarded-for: 6.6.6.6, 1.1.1.1", "x-forwarded-for: 2.2.2.2,3.3.3.3 "];
        for (trusted, seen) in [(1, "3.3.3.3"), (2, "2.2.2.2"), (3, "1.1.1.1"), (4, "6.6.6.6")] {
            assert_eq!(client(trusted, HopField::XForwardedFor, &lines), at(seen), "{trusted}");
        }
        assert_eq!(client(5, HopField::XForwardedFor, &lines), at(PEER), "more than there are");
        let line = "forwarded: for=6.6.6.6;proto=http, For=\"[2001:db8::7]:4711\";by=9.9.9.9";
        assert_eq!(client(1, HopField::Forwarded, &[line]), at("2001:db8::1"), "one /64");
        assert_eq!(client(2, HopField::Forwarded, &[line]), at("6.6.6.6"));
    }

    #[test]
    fn addresses_are_read_in_every_spelling_and_nothing_else_is() {
        for (text, seen) in [
            ("1.1.1.1", "1.1.1.1"),
            ("1.1.1.1:65000", "1.1.1.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:1.1.1.1", "1.1.1.1"),
        ] {
            let line = format!("x-forwarded-for: {text}");
            assert_eq!(client(1, HopField::XForwardedFor, &[&line]), at(seen), "{text}");
        }
        for text in ["unknown", "_hidden", "", "1.1.1", "1.1.1.1, ", "shop.example", "1.1.1.1 x"] {
            let line = format!("x-forwarded-for: {text}");
            assert_eq!(client(1, HopField::XForwardedFor, &[&line]), at(PEER), "{text}");
        }
        for text in ["by=1.1.1.1", "for", "for=\"1.1.1.1", "for=unknown"] {
            let line = format!("forwarded: {text}");
            assert_eq!(client(1, HopField::Forwarded, &[&line]), at(PEER), "{text}");
        }
    }
}
