//! Does a queue of signatures delay a route that signs nothing?
//!
//! The real process between simulated providers on loopback, TLS on every leg. Corefy sales (card
//! and CVV revealed, bearer swapped, answer scrubbed) come at a constant rate over connections that
//! are kept; the latency of each counts from the moment it was due, whether or not those before it
//! were answered. Three loads in turn: none (the baseline); 32 connections that send HighHelp
//! pay-ins under HMAC as fast as they can; and the same under RSA, where every call costs the proxy
//! a signature of a quarter of a millisecond on its signing threads and a verification. The second
//! is the same work without that queue, so what tells the queue apart from plain competition for
//! the cores is the third against the second.
//!
//! Cards, invoices and signed pay-ins are made before. A pay-in carries a card token but no CVV: the
//! simulator checks its signature and refuses it, so it keeps no payments and sends no alerts.
//! Clients, simulators and proxy share the machine's cores (the figures in `docs/performance.md`: 2
//! cores of an AMD EPYC, Zen 5, KVM), so only the figures of one run compare. Takes about 50 s.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench ends or tells here")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use portcullis::credential::{Prehash, SigningKey};
use portcullis::secret::SecretBytes;
use portcullis_sandbox::client::Call;
use portcullis_sandbox::corefy::cards::{CARDS, Outcome};
use portcullis_sandbox::corefy::invoice::unix_now;
use portcullis_sandbox::highhelp::sign::message;
use portcullis_sandbox::json::Json;
use portcullis_sandbox::shop::gateway::{NewInvoice, bearer_of};
use portcullis_sandbox::visitor::{CVV, Tokens, TypedCard, capture_call, tokens_of};
use portcullis_sandbox::world::accounts::App;
use portcullis_sandbox::world::{Options, Proxy, World};
use reqwest::RequestBuilder;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
