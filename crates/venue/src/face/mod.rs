//! The protocol face: REST, WebSocket streams, WebSocket API, and the operator's route.

mod account;
mod admin;
mod auth;
mod candles;
mod damage;
mod feed;
mod hub;
mod limits;
mod listen;
mod mirror;
mod params;
mod public;
mod rest;
mod server;
mod socket;
mod streams;
mod trade;
mod user;
mod world;
mod wsapi;

pub use mirror::Mirrored;
pub use server::{Venue, VenueHandle};
pub use world::Counters;
