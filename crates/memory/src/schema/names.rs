//! The names of the maps and of the keys with a meaning (SPEC §9).

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
/// In [`FEATURES`]: [`crate::schema::AcbBoost`].
pub const ACB_BOOST: &str = "acb_boost";
/// In [`FEATURES`]: [`crate::schema::Scan`].
pub const LATEST_EIGEN_SCAN: &str = "latest_eigen_scan";
/// Heartbeats.
pub const HEARTBEAT: &str = "DOLPHIN_HEARTBEAT";
/// In [`HEARTBEAT`]: [`crate::schema::Heartbeat`].
pub const FLOW_HEARTBEAT: &str = "nautilus_flow_heartbeat";
/// In the state map: the state of the last day.
pub const STATE_LATEST: &str = "latest";
/// In the state map: the same, written by the trading node; preferred on restore.
pub const STATE_LATEST_NAUTILUS: &str = "latest_nautilus";
/// Who holds which role ([`crate::Lease`]).
pub const LEASES: &str = "DOLPHIN_LEASE";
/// What operators order: [`crate::schema::Kill`] of a deployment ([`Deployment::kill_key`]).
pub const CONTROL: &str = "DOLPHIN_CONTROL";
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
    /// The map of [`crate::schema::DayResult`]s, key `YYYY-MM-DD`.
    pub const fn pnl_map(self) -> &'static str {
        match self {
            Self::Blue => "DOLPHIN_PNL_BLUE",
            Self::Green => "DOLPHIN_PNL_GREEN",
        }
    }

    /// The key of its [`crate::schema::Kill`] in [`CONTROL`].
    pub const fn kill_key(self) -> &'static str {
        match self {
            Self::Blue => "kill_blue",
            Self::Green => "kill_green",
        }
    }

    /// The key in [`CONTROL`] of what the newest kill came to, as the node that carried it out tells it.
    pub const fn kill_report_key(self) -> &'static str {
        match self {
            Self::Blue => "kill_report_blue",
            Self::Green => "kill_report_green",
        }
    }

    /// The key in [`CONTROL`] of the newest [`crate::schema::RearmOrder`].
    pub const fn rearm_key(self) -> &'static str {
        match self {
            Self::Blue => "rearm_blue",
            Self::Green => "rearm_green",
        }
    }

    /// The key in [`CONTROL`] of the answer to it.
    pub const fn rearm_report_key(self) -> &'static str {
        match self {
            Self::Blue => "rearm_report_blue",
            Self::Green => "rearm_report_green",
        }
    }

    /// The map of [`crate::schema::EngineState`].
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

/// Is this the map of a shard?
pub(crate) fn is_shard(map: &str) -> bool {
    map.strip_prefix(SHARD_PREFIX)
        .and_then(|index| index.parse::<u32>().ok())
        .is_some_and(|index| index < SHARDS)
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
