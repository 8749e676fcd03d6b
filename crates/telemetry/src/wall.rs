//! The wall clock, for ages of what was published.

use std::time::{SystemTime, UNIX_EPOCH};

/// Now, ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}
