//! The protocol face: REST, WebSocket streams, WebSocket API, and the operator's route.

mod account;
mod admin;
mod auth;
mod candles;
mod feed;
mod hub;
mod limits;
mod params;
mod public;
mod rest;
mod server;
mod streams;
mod trade;
mod user;
mod world;
mod wsapi;

pub use server::{Venue, VenueHandle};
pub use world::Counters;
