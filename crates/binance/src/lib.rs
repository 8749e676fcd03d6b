//! All Binance knowledge, and only that: stream decoding, depth recovery, order encoding, signing, replies, error
//! codes, rate limits, connections. The cores take bytes and time and give events, bytes and deadlines; the
//! drivers in [`net`] own the sockets.

pub mod decode;
pub mod net;
