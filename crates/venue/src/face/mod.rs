//! The protocol face: REST, WebSocket streams, WebSocket API, and the operator's route. Requests, frames and time in;
//! replies and frames out. It knows no clock, no thread and no socket; [`PolledVenue`] and the production driver carry
//! the bytes.

mod account;
pub(crate) mod admin;
mod algo;
mod auth;
pub(crate) mod call;
mod candles;
pub(crate) mod connection;
mod damage;
mod feed;
pub(crate) mod hub;
mod limits;
mod mirror;
mod params;
mod polled;
mod public;
mod request;
mod rest;
mod rest_connections;
mod session;
mod socket;
mod stream;
mod streams;
mod text;
mod trade;
mod user;
mod world;
mod wsapi;

pub use call::{Answer, HttpReply};
pub use mirror::Mirrored;
pub use polled::{ConnectionId, PolledVenue, RequestId};
pub use request::HttpRequest;
pub use stream::ByteStream;
pub use world::Counters;
pub(crate) use world::World;
