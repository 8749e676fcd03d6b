//! The local Binance-compatible exchange: a venue of one's own to trade on, to test against, and to break.
//!
//! * [`core`] is the exchange, pure: books, orders, accounts, margin. Time is an argument.
//! * [`sim`] is a seeded market of up to 400 correlated instruments; recordings are played beside it.
//! * the protocol face speaks Binance USDⓈ-M futures: REST, routed WebSocket streams, WebSocket API, user streams,
//!   signatures, limits, error codes.
//! * [`faults`] breaks it on purpose.
//!
//! [`Venue::start`] runs it all on one thread, with sockets and the wall clock; [`PolledVenue`] is the same venue
//! without either: bytes and time in, bytes out, the same from the same every time.

mod config;
pub mod core;
mod driver;
mod face;
pub mod faults;
mod recorded;
pub mod sim;

pub use config::{AccountConfig, Credential, Rules, VenueConfig, VenueError};
pub use driver::{Venue, VenueHandle};
pub use face::{
    Answer, ByteStream, ConnectionId, Counters, HttpReply, HttpRequest, Mirrored, PolledVenue, RequestId,
};
