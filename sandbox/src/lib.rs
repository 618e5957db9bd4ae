//! The sandbox of Portcullis: simulators of the providers, an ACS page, a demo shop, and a world
//! that wires them to a running proxy. It talks HTTP only and is never part of the product.
//!
//! Tests take what they need: [`world::World`] for everything at once, [`corefy::Simulator`],
//! [`qostiq::Simulator`], [`highhelp::Simulator`] and [`acs::Acs`] on their own. Every simulator
//! records what it received; assert on that.

pub mod acs;
pub mod browser;
pub mod ca;
pub mod client;
pub mod collector;
pub mod corefy;
pub mod courier;
pub mod highhelp;
pub mod http;
pub mod json;
pub mod keys;
pub mod once;
pub mod qostiq;
pub mod random;
pub mod record;
pub mod shop;
pub mod simulator;
pub mod testcard;
pub mod text;
pub mod visitor;
pub mod world;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock that outlives a panic elsewhere: what it guards is only ever replaced whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
