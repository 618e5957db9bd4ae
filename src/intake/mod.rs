//! A shop's own host behind Portcullis, as data: its names, where it really is, which requests to
//! it carry a card, and in which fields.
//!
//! Must never: let a request that the shop could take for a card path pass as another one. Start
//! reading at [`Intake::judge`].

mod path;

pub use path::PathPattern;

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::vault::Tenant;
use crate::wire::Pointer;

/// Headers with which frameworks replace the method of a request.
const METHOD_OVERRIDES: [&str; 3] =
    ["x-http-method-override", "x-http-method", "x-method-override"];

/// Some servers take an underscore in a name for a hyphen.
fn is_overridden(headers: &HeaderMap) -> bool {
    let names = headers.keys().map(|name| name.as_str().replace('_', "-"));
    names.into_iter().any(|name| METHOD_OVERRIDES.contains(&name.as_str()))
}

/// A shop that Portcullis stands in front of.
#[derive(Debug)]
pub struct Intake {
    /// DNS names under which browsers reach it, lower case.
    pub names: Vec<Arc<str>>,
    /// Where it is.
    pub shop: ShopHost,
    /// The application that its cards belong to.
    pub tenant: Tenant,
    /// Requests that carry a card.
    pub cards: Vec<CardPath>,
}

/// The shop's own host. It comes from the configuration and from nowhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShopHost {
    /// DNS name or address.
    pub host: Arc<str>,
    /// TCP port.
    pub port: u16,
    /// Whether TLS is spoken.
    pub tls: bool,
}

/// A request that carries a card.
#[derive(Debug)]
pub struct CardPath {
    /// Its method.
    pub method: Method,
    /// Its path.
    pub path: PathPattern,
    /// How its body is written.
    pub encoding: Encoding,
    /// Where the card stands in it.
    pub fields: CardFields,
}

/// How the body of a card path is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `multipart/form-data`
    Multipart,
}

impl Encoding {
    /// The one of that name in a configuration.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "json" => Some(Self::Json),
            "form" => Some(Self::Form),
            "multipart" => Some(Self::Multipart),
            _ => None,
        }
    }
}

/// The fields of a card.
#[derive(Debug)]
pub struct CardFields {
    /// The card number: becomes a token.
    pub number: Field,
    /// The security code: becomes a token.
    pub cvv: Option<Field>,
    /// Whether the security code must be there.
    pub cvv_required: bool,
    /// When the card ends; stays as it is.
    pub expiry: ExpiryFields,
    /// The name on the card; stays as it is.
    pub holder: Option<Field>,
}

/// How a form asks when the card ends.
#[derive(Debug)]
pub enum ExpiryFields {
    /// In two fields.
    Parts {
        /// One or two digits.
        month: Field,
        /// Two or four digits.
        year: Field,
    },
    /// In one: `MM/YY`, `MM/YYYY`, `YYYY-MM`.
    Whole(Field),
}

/// A field of the shop's own.
#[derive(Debug, Clone)]
pub struct Field {
    name: Box<str>,
    pointer: Option<Pointer>,
}

impl Field {
    /// A field as the configuration names it: a JSON pointer without a wildcard, or a form's name.
    #[must_use]
    pub fn named(name: &str, encoding: Encoding) -> Option<Self> {
        let pointer = match encoding {
            Encoding::Json => {
                let wild = name.split('/').any(|step| step == "*");
                Some(Pointer::parse(name).ok().filter(|_| !name.is_empty() && !wild)?)
            }
            Encoding::Form | Encoding::Multipart => None,
        };
        (!name.is_empty()).then(|| Self { name: name.into(), pointer })
    }

    /// As the configuration has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it stands in JSON.
    #[must_use]
    pub fn pointer(&self) -> Option<&Pointer> {
        self.pointer.as_ref()
    }
}

/// What a request to a shop is, as far as its head tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// It carries no card.
    Pass,
    /// It carries one.
    Card,
    /// The shop could take it for one that does.
    Refuse,
}

impl Intake {
    /// Whether `Host` names it; the port is the listener's own and says nothing.
    #[must_use]
    pub fn is_called(&self, host: &str) -> bool {
        let name = host.split(':').next().unwrap_or_default();
        self.names.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Judges a request. One that is spelled otherwise than a card path, and comes out as one when
    /// escapes, case, doubled slashes and the like are taken away, is refused: it depends on the
    /// shop's framework which of the two it is.
    #[must_use]
    pub fn judge(&self, method: &Method, path: &str, headers: &HeaderMap) -> Judgement {
        let overridden = is_overridden(headers);
        if self.cards_at(method, path).next().is_some() {
            return if overridden { Judgement::Refuse } else { Judgement::Card };
        }
        let Some(folded) = path::folded(path) else { return Judgement::Refuse };
        let mut alike = self.cards.iter().filter(|card| card.path.resembles(&folded));
        // Frameworks let a POST stand for a method that forms do not have.
        let same = |card: &CardPath| *method == card.method || *method == Method::POST;
        if alike.any(|card| overridden || same(card)) { Judgement::Refuse } else { Judgement::Pass }
    }

    /// What is known about requests with this method and path: one entry for each encoding.
    pub fn cards_at<'i>(
        &'i self,
        method: &'i Method,
        path: &'i str,
    ) -> impl Iterator<Item = &'i CardPath> {
        self.cards.iter().filter(move |card| card.method == *method && card.path.is(path))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn intake(cards: &[(&str, &str)]) -> Intake {
        let field = |name| Field::named(name, Encoding::Form).unwrap();
        let card = |(method, path): &(&str, &str)| CardPath {
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            path: PathPattern::parse(path).unwrap(),
            encoding: Encoding::Form,
            fields: CardFields {
                number: field("number"),
                cvv: None,
                cvv_required: false,
                expiry: ExpiryFields::Whole(field("expiry")),
                holder: None,
            },
        };
        Intake {
            names: vec!["shop.example".into()],
            shop: ShopHost { host: "127.0.0.1".into(), port: 3000, tls: false },
            tenant: Tenant::new("shop"),
            cards: cards.iter().map(card).collect(),
        }
    }

    fn judge(intake: &Intake, request: &str) -> Judgement {
        let (method, path) = request.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        intake.judge(&method, path, &HeaderMap::new())
    }

    #[test]
    fn names_are_matched_without_case_and_port() {
        let intake = intake(&[]);
        for host in ["shop.example", "SHOP.example:8443"] {
            assert!(intake.is_called(host), "{host}");
        }
        for host in ["pay.example", "shop.example.evil", "xshop.example", "", ":1", "[::1]"] {
            assert!(!intake.is_called(host), "{host}");
        }
    }

    #[test]
    fn a_card_path_is_one_method_and_one_spelling() {
        let intake = intake(&[("POST", "/checkout/*/pay"), ("POST", "/Pay.php"), ("POST", "/")]);
        for request in ["POST /checkout/17/pay", "POST /checkout/a%20b/pay", "POST /Pay.php"] {
            assert_eq!(judge(&intake, request), Judgement::Card, "{request}");
        }
        for request in [
            "GET /checkout/17/pay",
            "PUT /checkout/17/pay",
            "GET /checkout/17/pay/",
            "POST /checkout/17/payment",
            "POST /checkout/17",
            "POST /checkout/17/pay/receipt",
            "POST /a/checkout/17/pay",
            "POST /index",
        ] {
            assert_eq!(judge(&intake, request), Judgement::Pass, "{request}");
        }
    }

    #[test]
    fn a_header_that_replaces_the_method_is_one_in_every_spelling() {
        let intake = intake(&[("POST", "/pay")]);
        for name in ["x-http-method-override", "x_http_method_override", "x-http_method"] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("POST"));
            for method in [Method::PUT, Method::GET, Method::POST] {
                assert_eq!(intake.judge(&method, "/pay", &headers), Judgement::Refuse, "{name}");
            }
            assert_eq!(intake.judge(&Method::PUT, "/other", &headers), Judgement::Pass, "{name}");
        }
    }

    #[test]
    fn no_spelling_of_a_card_path_passes_as_another_path() {
        let intake = intake(&[("POST", "/checkout/*/pay"), ("POST", "/pay.php")]);
        for path in [
            "/checkout/17/pay/",
            "/checkout/17/pay//",
            "/checkout//17/pay",
            "//checkout/17/pay",
            "/checkout/17/./pay",
            "/checkout/17/x/../pay",
            "/checkout/17/%70ay",
            "/checkout/17/%2570ay",
            "/checkout/17/%252570ay",
            "/checkout%2f17%2fpay",
            "/checkout%5c17%5cpay",
            "/checkout\\17\\pay",
            "/Checkout/17/pay",
            "/checkout/17/PAY",
            "/checkout/17/pay;jsessionid=1",
            "/checkout;a=b/17/pay",
            "/checkout/17/pay%3bx",
            "/checkout/17/pay.",
            "/checkout/17/pay%20",
            "/checkout/17/pay%00",
            "/checkout/17/pay.json",
            "/checkout/17/pay.html/",
            "/checkout/17/pa%C5%BF/../pay",
            "/pay.php/",
            "/pay.php/x/y",
            "/PAY.PHP",
            "/pay.php.bak",
            "/pay.php%3fa",
            "/checkout/17/%252525252570ay",
            "/%252525252525252561",
            "/checkout/17/pay%E2%80%8B",
            "/checkout/17/pay%C2%AD",
            "/index.php/checkout/17/pay",
            "/shop/INDEX.php/checkout/17/pay/",
            "/index.php/pay.php/x",
        ] {
            assert_eq!(judge(&intake, &format!("POST {path}")), Judgement::Refuse, "{path}");
        }
    }

    #[test]
    fn a_method_in_disguise_is_refused_at_a_card_path() {
        let shop = intake(&[("PUT", "/card")]);
        assert_eq!(judge(&shop, "PUT /card"), Judgement::Card);
        assert_eq!(judge(&shop, "POST /card"), Judgement::Refuse);
        assert_eq!(judge(&shop, "GET /card"), Judgement::Pass);
        for name in METHOD_OVERRIDES {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static("PUT"));
            for (method, path) in [(Method::PUT, "/card"), (Method::GET, "/card/")] {
                assert_eq!(shop.judge(&method, path, &headers), Judgement::Refuse, "{name}");
            }
            assert_eq!(shop.judge(&Method::POST, "/cart", &headers), Judgement::Pass, "{name}");
        }
    }

    #[test]
    fn a_field_is_a_pointer_without_wildcards_or_a_name() {
        assert!(Field::named("/card/number", Encoding::Json).unwrap().pointer().is_some());
        assert!(Field::named("card[number]", Encoding::Form).unwrap().pointer().is_none());
        for (name, encoding) in [
            ("number", Encoding::Json),
            ("", Encoding::Json),
            ("/cards/*/number", Encoding::Json),
            ("/a~2", Encoding::Json),
            ("", Encoding::Multipart),
        ] {
            assert!(Field::named(name, encoding).is_none(), "{name}");
        }
    }
}
