//! The Hazelcast backend: a client of the Open Binary Client Protocol 2.x (Hazelcast 4.0 and later), of which it
//! speaks the two dozen messages this system needs.

mod client;
mod cluster;
mod codec;
mod config;
mod connection;
mod data;
mod endpoint;
mod fenced;
mod frame;
mod leader;
mod listener;
mod texts;
mod written;

pub(crate) use client::Hazelcast;
pub use config::{Credentials, HazelcastConfig, TlsConfig};
