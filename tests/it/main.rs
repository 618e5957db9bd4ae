//! The real process.
mod codec;
