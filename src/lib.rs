//! Portcullis: a self-hosted payment proxy for host-to-host card integrations.
//!
//! The browser hands the card to Portcullis, the merchant's application holds tokens, and
//! Portcullis puts the card back at the last moment, on its way to the payment provider.
//!
//! The rooms, lowest layer first; an arrow never points up:
//!
//! | Layer | Rooms |
//! | --- | --- |
//! | 0 | [`secret`], [`card`], [`process`] |
//! | 1 | [`wire`], [`credential`], [`telemetry`], [`audit`], [`limit`] |
//! | 2 | [`vault`], [`provider`], [`caller`], [`intake`] |
//! | 3 | [`flow`], [`page`] |
//! | 4 | [`proxy`] |
//! | 5 | [`config`] |
//! | 6 | [`pci`], [`app`], [`cli`] |

// Here and not in Cargo.toml, so that tests may panic.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
#![deny(clippy::print_stdout, clippy::print_stderr)]
#![warn(unreachable_pub)]

pub mod app;
pub mod audit;
pub mod caller;
pub mod card;
pub mod cli;
pub mod config;
pub mod credential;
pub mod flow;
pub mod intake;
pub mod limit;
pub mod page;
pub mod pci;
pub mod process;
pub mod provider;
pub mod proxy;
pub mod secret;
pub mod telemetry;
pub mod vault;
pub mod wire;
