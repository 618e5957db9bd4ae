//! The codec from outside: real bytes in, real bytes out, one room that records what reaches it.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that fails may panic")]

mod answers;
mod corpus;
mod http1;
mod http2;
mod service;
pub(crate) mod support;
mod tls;
pub(crate) mod upstream;
