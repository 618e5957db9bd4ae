//! The only room that knows Pingora, rustls and the HTTP codecs.
//!
//! Above the accepted TCP stream everything is ours: TLS, a strict HTTP/1.1 codec, HTTP/2 by the h2
//! crate, and the client towards providers. Start reading at `message.rs` (what rooms see), then
//! `accept.rs` and `h1.rs` (towards clients), `exchange.rs` (towards providers). Must never log or
//! put into an error a byte of a request or an answer, and never send a request twice.

pub mod accept;
pub mod address;
pub mod admin;
pub mod certificates;
pub mod desk;
pub mod drain;
pub mod exchange;
mod explain;
pub mod front;
pub mod inquiry;
pub mod message;
mod notes;
pub mod private;
pub mod public;
pub mod tls;

mod answer;
mod buffer;
mod caps;
mod chunked;
mod clock;
mod closing;
mod dial;
mod fields;
mod h1;
mod h2;
mod line;
mod linger;
pub mod listening;
pub mod peer;
mod pool;
mod prefer;
mod read_ahead;
mod reply;
mod shown;
pub mod signing;
mod steps;
mod stream;
mod target;
pub mod tracing;
mod tries;
mod tunnel;
pub mod watch;
pub mod way_out;
mod wiping;
