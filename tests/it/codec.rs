//! The codec from outside: real bytes in, real bytes out, one room that records what reaches it.

mod answers;
mod corpus;
mod http1;
mod http2;
mod support;
mod tls;
mod upstream;
