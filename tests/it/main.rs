//! The real process: `portcullis` as it is shipped, started on a configuration, between simulated
//! providers, driven by real HTTP clients. What counts is what the providers and the shop received.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod audit;
mod canary;
mod change;
mod codec;
mod command;
mod crowd;
mod deploy;
mod disguise;
mod drain;
mod egress;
mod explain;
mod failures;
mod faults;
mod gate;
mod half;
mod house;
mod inquiry;
mod intake;
mod keys;
mod limits;
mod line;
mod merchant;
mod once;
mod operation;
mod packages;
mod payments;
mod process;
mod refused;
mod renewal;
mod rotation;
mod shares;
mod short;
mod supervised;
mod tap;
mod telemetry;
mod terms;
mod testing;
mod told;
mod transport;
mod upgrade;
mod upstream;
mod whose;
