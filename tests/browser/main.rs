//! People with a browser: Chromium between the demo shop, Portcullis, the bank and the providers of
//! the sandbox. What counts is what the providers, the bank and the shop received. A violation of a
//! Content-Security-Policy on the console fails any of these tests.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod checker;
mod driver;
mod form;
mod install;
mod intake;
#[path = "../it/packages.rs"]
#[expect(dead_code, reason = "the other test programs need a debugger")]
mod packages;
mod pay;
mod pictures;
mod stage;
mod threeds;
