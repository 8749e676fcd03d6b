//! The schema of SPEC §9: map names, keys, and what stands behind them.
//!
//! Everybody's Python writes here, so reading is tolerant in form (`NaN`, unknown keys, numbers as text, any time
//! unit) and strict in substance: a value that makes no sense is rejected with the reason, never half taken.

mod control;
mod features;
mod json;
mod names;
mod scan;
mod validate;
mod values;

pub use control::{Kill, LeaseRecord, Rearm, RearmOrder};
pub use features::{OB_CACHE, ObRecord, ShardRecord, cache_text};
pub use json::{FromMemory, Reading, SchemaError, parse_time, to_text};
pub(crate) use names::is_volatile;
pub use names::{
    ACB_BOOST, CONTROL, Deployment, FEATURES, FLOW_HEARTBEAT, HEARTBEAT, LATEST_EIGEN_SCAN, LEASES, SAFETY,
    SAFETY_LATEST, SAFETY_LIVE, SAFETY_REFERENCE, SHARDS, STATE_LATEST, STATE_LATEST_NAUTILUS, features_map,
    shard, shard_map,
};
pub use scan::{MAX_SCAN_ASSETS, Scan};
pub use validate::validate;
pub use values::{AcbBoost, DayResult, EngineState, Heartbeat, Phase, Safety};
