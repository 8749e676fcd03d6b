//! Which symbols have order-book features in memory, whoever writes them (SPEC §9): by the keys of all ten shards.

use market::Nanos;

use crate::error::MemoryError;
use crate::memory::SystemMemory;
use crate::schema::{FromMemory, ObRecord, SHARDS, shard, shard_map};

/// What stands in the shards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Discovered {
    /// Fresh records, sorted by symbol.
    pub records: Vec<ObRecord>,
    /// Records older than asked for: their ingest node is gone.
    pub stale: Vec<String>,
    /// Keys that are ignored, each with the reason: no record, or in the wrong shard.
    pub rejected: Vec<(String, String)>,
}

/// Reads all shards. Records sampled more than `max_age` before `now` are stale.
pub async fn discover(memory: &SystemMemory, now: Nanos, max_age: Nanos) -> Result<Discovered, MemoryError> {
    let mut found = Discovered::default();
    for index in 0..SHARDS {
        for (symbol, text) in memory.entries(&shard_map(index)).await? {
            match ObRecord::from_memory(&text) {
                Err(error) => found.rejected.push((symbol, error.to_string())),
                Ok(record) if record.symbol != symbol || shard(&symbol) != index => {
                    let reason =
                        format!("it holds {}, whose shard is {}", record.symbol, shard(&record.symbol));
                    found.rejected.push((symbol, reason));
                }
                Ok(record) if now.since(record.timestamp) > max_age => found.stale.push(symbol),
                Ok(record) => found.records.push(record),
            }
        }
    }
    found.records.sort_unstable_by(|a, b| a.symbol.cmp(&b.symbol));
    found.stale.sort_unstable();
    Ok(found)
}
