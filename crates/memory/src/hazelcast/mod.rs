//! The Hazelcast backend: a client of the Open Binary Client Protocol 2.x (Hazelcast 4.0 and later), of which it
//! speaks the two dozen messages this system needs.

mod client;
mod cluster;
mod codec;
mod config;
mod connection;
mod data;
mod frame;
mod listener;

pub(crate) use client::Hazelcast;
pub use config::{Credentials, HazelcastConfig, TlsConfig};

use frame::Uuid;
use tokio_rustls::TlsConnector;

/// What every connection needs to know.
struct Endpoint {
    config: HazelcastConfig,
    tls: Option<(TlsConnector, TlsConfig)>,
    client: Uuid,
}
