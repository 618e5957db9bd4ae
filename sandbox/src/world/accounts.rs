//! Who holds what: the real credentials that Portcullis uses, and the virtual ones that two apps
//! hold in their place.

use crate::corefy::faults::Pareq;
use crate::corefy::{Account, Brand};
use crate::random;
use crate::shop::gateway::Credentials;

/// How an account is set up in Portcullis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    /// The profile's own defaults.
    Standard,
    /// TermUrl replaced, relayed by the server, whatever the profile says.
    Relay,
    /// TermUrl replaced, relayed by the browser (307).
    Redirect,
    /// The provider's fields handed to the app, TermUrl replaced.
    Inline,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Standard, Self::Relay, Self::Redirect, Self::Inline];

    fn suffix(self) -> &'static str {
        match self {
            Self::Standard => "",
            Self::Relay => "-relay",
            Self::Redirect => "-redirect",
            Self::Inline => "-inline",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Standard => "",
            Self::Relay => " (3DS return relayed by Portcullis)",
            Self::Redirect => " (3DS return by 307)",
            Self::Inline => " (3DS handed off inline)",
        }
    }

    /// Keys of `[account.three_ds]` beside `hosts`.
    #[must_use]
    pub fn three_ds(self) -> &'static str {
        match self {
            Self::Standard => "",
            Self::Relay => "handoff = \"page\"\nrelay = \"server\"\nreplace_term_url = true\n",
            Self::Redirect => {
                "handoff = \"page\"\nrelay = \"redirect307\"\nreplace_term_url = true\n"
            }
            Self::Inline => "handoff = \"inline\"\nrelay = \"server\"\nreplace_term_url = true\n",
        }
    }
}

/// An account and its credentials.
#[derive(Debug, Clone)]
pub struct Held {
    /// Its name in the configuration: `paymega`, `milkypay-inline` …
    pub name: String,
    /// On the shop's page.
    pub title: String,
    /// Which provider.
    pub brand: Brand,
    /// How it is set up.
    pub variant: Variant,
    /// What the provider knows.
    pub real: Account,
    /// What the app `shop` holds.
    pub shop: Credentials,
    /// What the app `stall` holds; granted the standard accounts only.
    pub stall: Option<Credentials>,
}

/// Every account of a provider.
#[must_use]
pub fn held_at(brand: Brand) -> Vec<Held> {
    Variant::ALL.map(|variant| held(brand, variant)).to_vec()
}

fn held(brand: Brand, variant: Variant) -> Held {
    // An inline hand-off refuses a payload with a card in it, so that account's challenges carry
    // none.
    let pareq = match variant {
        Variant::Inline => Pareq::Harmless,
        _ => Pareq::CarriesPan,
    };
    Held {
        name: format!("{}{}", brand.name, variant.suffix()),
        title: format!("{}{}", brand.title, variant.title()),
        brand,
        variant,
        real: Account::random(pareq),
        shop: virtual_credentials(),
        stall: (variant == Variant::Standard).then(virtual_credentials),
    }
}

fn virtual_credentials() -> Credentials {
    Credentials {
        id: format!("coma_virtual{}", random::letters(9)),
        key: random::letters(40),
        public_key: format!("pk_virtual_{}", random::letters(32)),
    }
}

/// An app that Portcullis knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum App {
    /// The demo shop.
    Shop,
    /// Another tenant, whose tokens are foreign to the shop.
    Stall,
}

impl App {
    /// Its name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Shop => "shop",
            Self::Stall => "stall",
        }
    }
}
