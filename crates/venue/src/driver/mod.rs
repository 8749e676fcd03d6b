//! The production driver: one thread, a tokio runtime, axum, the wall clock. It carries bytes and time to the
//! protocol face and decides nothing.

mod cut;
mod listen;
mod server;
mod shared;
mod socket;

pub use server::{Venue, VenueHandle};
