//! All Binance knowledge, and only that: stream decoding, depth recovery, order encoding, signing, replies, error
//! codes, rate limits, connections. The cores take bytes and time and give events, bytes and deadlines; the
//! drivers in [`net`] and [`rest`] own the sockets.
//!
//! Times are [`market::Nanos`] of one monotonic clock that began at the wall clock's time: a step of the wall clock
//! moves nothing, and the venue's time is that clock plus an offset that [`clock::ServerClock`] estimates.

pub mod clock;
pub mod decode;
mod encode;
pub mod errors;
pub mod feed;
pub mod gateway;
pub mod hosts;
mod json;
pub mod key;
pub mod limits;
pub mod net;
#[cfg(test)]
mod payloads;
mod reply;
mod report;
pub mod rest;
pub mod sign;
pub mod snapshots;
mod symbols;
pub mod user;
pub mod user_stream;

pub use encode::EncodeError;
pub use json::JsonError;
pub use report::FrameError;
pub use symbols::Symbols;
