//! Market data through system memory: ingest nodes write the features of their symbols to the shards (SPEC §9), an alpha
//! node reads them back into ticks.
//!
//! ```text
//!  INGEST  socket ─► feed ═► book ═ticks═► writer (memory's thread) ─► DOLPHIN_FEATURES_SHARD_00 … 09
//!  ALPHA   shards ─► reader (memory's thread) ─updates─► shard stage ═ticks═► scanner ═► alpha ─► router ─► gateway
//! ```
//!
//! A value is a picture of a symbol at a boundary, and the next one replaces it: both directions keep the last value per
//! symbol and never queue more.

pub mod assembly;
pub mod reader;
pub mod writer;

use market::{Level, Nanos, ObFeatures, SymbolId};

/// A symbol at a boundary, as read from a shard.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Update {
    /// Whose.
    pub symbol: SymbolId,
    /// The boundary, event time.
    pub ts: Nanos,
    /// Mid price.
    pub mid: f64,
    /// Features.
    pub features: ObFeatures,
    /// Best bid.
    pub bid: Level,
    /// Best ask.
    pub ask: Level,
    /// Mark price; NaN: not known.
    pub mark: f64,
}
