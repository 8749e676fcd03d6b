//! Roles past one machine (SPEC §9): ingest nodes own a share of the symbols each and write the shards; one alpha node
//! reads them and trades, and another stands by. All of it through system memory.

pub mod ingest;
pub mod lease;
pub mod standby;

use binance::hosts::Hosts;
use binance::rest::{RestClient, RestConfig};
use memory::{EmbeddedConfig, MemoryConfig};

use crate::config::{Backend, MemorySection};
use crate::environment::Environment;
use crate::error::Failure;

/// What a live node does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything, on one machine.
    #[default]
    All,
    /// Feed and books of a share of the symbols; their features go to memory.
    Ingest,
    /// Engine and orders on the features in memory; trades while it holds the lease.
    Alpha,
}

/// The symbols of a node: names, or the i-th of n shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Share {
    /// All that the configuration or the venue names.
    #[default]
    Whole,
    /// These.
    Symbols(Vec<String>),
    /// Every n-th symbol, beginning with the i-th (from 1).
    Part {
        /// Which, 1 … `of`.
        part: usize,
        /// Of how many.
        of: usize,
    },
}

impl Share {
    /// From the texts of the command line: `A,B,C` and `I/N`.
    pub fn parse(symbols: &[String], share: Option<&str>) -> Result<Self, String> {
        match (symbols, share) {
            ([], None) => Ok(Self::Whole),
            (symbols, None) => Ok(Self::Symbols(symbols.iter().map(|s| s.to_uppercase()).collect())),
            (_, Some(text)) => {
                let parsed = text.split_once('/').and_then(|(i, n)| {
                    let (part, of) = (i.trim().parse().ok()?, n.trim().parse().ok()?);
                    (1 <= part && part <= of).then_some(Self::Part { part, of })
                });
                parsed.ok_or_else(|| format!("`{text}` is no share: I/N with 1 ≤ I ≤ N, e.g. 1/2"))
            }
        }
    }

    /// The symbols of this share, of all that there are.
    pub fn of(&self, all: Vec<String>) -> Vec<String> {
        match self {
            Self::Whole => all,
            Self::Symbols(names) => names.clone(),
            Self::Part { part, of } => all.into_iter().skip(part - 1).step_by(*of).collect(),
        }
    }
}

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
    let unavailable = |e| crate::live::unavailable(&e);
    let transport = environment.surroundings.transport(hosts).map_err(unavailable)?;
    let now = std::sync::Arc::new(move || market::Nanos(now.now_ns()));
    RestClient::new(hosts, None, RestConfig::default(), transport, now).map_err(unavailable)
}

/// This process among others: the role, a configured name or the host's, and a number that no other process has.
pub fn process_name(role: &str, configured: Option<&str>, environment: &Environment) -> String {
    let name = configured.map_or_else(|| environment.surroundings.host_name(), str::to_owned);
    format!("{role}_{name}_{:016x}", environment.entropy.next_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_part_all_symbols_between_them() {
        let all: Vec<String> = (0..7).map(|i| format!("S{i}")).collect();
        let part = |part, of| Share::Part { part, of }.of(all.clone());
        assert_eq!(part(1, 2), ["S0", "S2", "S4", "S6"]);
        assert_eq!(part(2, 2), ["S1", "S3", "S5"]);
        assert_eq!(Share::parse(&[], Some("2/3")), Ok(Share::Part { part: 2, of: 3 }));
        assert_eq!(Share::parse(&["btcusdt".into()], None), Ok(Share::Symbols(vec!["BTCUSDT".into()])));
        assert_eq!(Share::Whole.of(all.clone()), all);
        for bad in ["", "0/2", "3/2", "1", "a/b", "1/0"] {
            assert!(Share::parse(&[], Some(bad)).unwrap_err().contains("no share"), "{bad}");
        }
    }
}
