//! The schema of SPEC §9: map names, keys, and what stands behind them.
//!
//! Everybody's Python writes here, so reading is tolerant in form (`NaN`, unknown keys, numbers as text, any time
//! unit) and strict in substance: a value that makes no sense is rejected with the reason, never half taken.

mod features;
mod json;
mod scan;
mod values;

pub use features::{ObRecord, ShardRecord};
pub use json::{FromMemory, SchemaError, parse_time, to_text};
pub use scan::{MAX_SCAN_ASSETS, Scan};
pub use values::{AcbBoost, DayResult, EngineState, Heartbeat, LeaseRecord, Phase, Safety};

/// Posture and Rm.
pub const SAFETY: &str = "DOLPHIN_SAFETY";
/// In [`SAFETY`]: what the survival stack says. Read by the engine, never written by it.
pub const SAFETY_LATEST: &str = "latest";
/// In [`SAFETY`]: the Rm the live program computes itself, with its five sensors. It has its own key: written to
/// [`SAFETY_LATEST`], the smaller of the two would be read back and could never rise again.
pub const SAFETY_LIVE: &str = "live";
/// Name of the CP atomic reference that is preferred to [`SAFETY_LATEST`].
pub const SAFETY_REFERENCE: &str = "DOLPHIN_SAFETY";
/// Features and pushes from the flows.
pub const FEATURES: &str = "DOLPHIN_FEATURES";
/// In [`FEATURES`]: [`AcbBoost`].
pub const ACB_BOOST: &str = "acb_boost";
/// In [`FEATURES`]: [`Scan`].
pub const LATEST_EIGEN_SCAN: &str = "latest_eigen_scan";
/// Heartbeats.
pub const HEARTBEAT: &str = "DOLPHIN_HEARTBEAT";
/// In [`HEARTBEAT`]: [`Heartbeat`].
pub const FLOW_HEARTBEAT: &str = "nautilus_flow_heartbeat";
/// In the state map: the state of the last day.
pub const STATE_LATEST: &str = "latest";
/// In the state map: the same, written by the trading node; preferred on restore.
pub const STATE_LATEST_NAUTILUS: &str = "latest_nautilus";
/// Who holds which role ([`crate::Lease`]).
pub const LEASES: &str = "DOLPHIN_LEASE";
/// Maps of order-book features.
pub const SHARDS: u32 = 10;

const SHARD_PREFIX: &str = "DOLPHIN_FEATURES_SHARD_";

/// Which of the two deployments the result and state maps belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deployment {
    /// The champion.
    Blue,
    /// The bidirectional candidate.
    Green,
}

impl Deployment {
    /// The map of [`DayResult`]s, key `YYYY-MM-DD`.
    pub const fn pnl_map(self) -> &'static str {
        match self {
            Self::Blue => "DOLPHIN_PNL_BLUE",
            Self::Green => "DOLPHIN_PNL_GREEN",
        }
    }

    /// The map of [`EngineState`].
    pub const fn state_map(self) -> &'static str {
        match self {
            Self::Blue => "DOLPHIN_STATE_BLUE",
            Self::Green => "DOLPHIN_STATE_GREEN",
        }
    }
}

/// The shard of a symbol, below [`SHARDS`]: the sum of its code points mod 10.
pub fn shard(symbol: &str) -> u32 {
    symbol.chars().fold(0, |sum, c| (sum + u32::from(c)) % SHARDS)
}

/// The map of a shard.
pub fn shard_map(shard: u32) -> String {
    format!("{SHARD_PREFIX}{shard:02}")
}

/// The map that holds the features of a symbol.
pub fn features_map(symbol: &str) -> String {
    shard_map(shard(symbol))
}

/// Is what stands in this map worth nothing after a power cut? The embedded backend does not wait for the disk then.
pub(crate) fn is_volatile(map: &str) -> bool {
    map.starts_with(SHARD_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_follow_the_code_points() {
        // 66+84+67+85+83+68+84 = 537; 69+84+72+85+83+68+84 = 545.
        assert_eq!(features_map("BTCUSDT"), "DOLPHIN_FEATURES_SHARD_07");
        assert_eq!(features_map("ETHUSDT"), "DOLPHIN_FEATURES_SHARD_05");
        // One code point beyond the BMP: 0x1F42C = 128044, not its UTF-8 bytes nor UTF-16 units.
        assert_eq!(shard("\u{1F42C}"), 4);
        assert_eq!(shard(&"\u{10FFFF}".repeat(100_000)), 0);
    }
}
