//! Roles past one machine (SPEC §9): ingest nodes own a share of the symbols each and write the shards; one alpha node
//! reads them and trades, and another stands by. All of it through system memory.

pub mod holder;
pub mod ingest;
pub mod lease;
pub mod standby;
pub mod status;
pub mod waiting;

use binance::hosts::Hosts;
use binance::rest::{RestClient, RestConfig};
use memory::{EmbeddedConfig, MemoryConfig};

use crate::config::{Backend, MemorySection};
use crate::environment::Environment;
use crate::error::Failure;
pub use crate::role::{Role, Share};

/// The memory that the nodes of several roles share: it must be named, because they must find the same one.
pub fn shared_memory(section: &MemorySection) -> Result<MemoryConfig, Failure> {
    match (section.backend, &section.path) {
        (Backend::Hazelcast, _) => Ok(MemoryConfig::Hazelcast(section.hazelcast.clone())),
        (Backend::Embedded, Some(path)) => Ok(MemoryConfig::Embedded(EmbeddedConfig::at(path))),
        (Backend::Embedded, None) => Err(Failure::usage(
            "the roles ingest and alpha meet in one memory: set `memory: backend: hazelcast`, or `memory: path:` for \
             nodes of one machine",
        )),
    }
}

/// A REST client without a key: market data alone.
pub fn public_rest(hosts: &Hosts, environment: &Environment) -> Result<RestClient, Failure> {
    let now = environment.clock.clone();
    let unavailable = |e| crate::preflight::rest_error(&e);
    let transport = environment.surroundings.transport(hosts).map_err(unavailable)?;
    let now = std::sync::Arc::new(move || market::Nanos(now.now_ns()));
    RestClient::new(hosts, None, RestConfig::default(), transport, now).map_err(unavailable)
}

/// This process among others: the role, a configured name or the host's, and a number that no other process has.
pub fn process_name(role: &str, configured: Option<&str>, environment: &Environment) -> String {
    let name = configured.map_or_else(|| environment.surroundings.host_name(), str::to_owned);
    format!("{role}_{name}_{:016x}", environment.entropy.next_u64())
}
