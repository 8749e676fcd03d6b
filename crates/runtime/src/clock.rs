//! The clocks: a monotonic one for durations and deadlines, and the wall for what the venue must see.
//!
//! Monotonic time is the TSC through `quanta` (12 ns a read); it is given as nanoseconds since the Unix epoch of
//! the program's start, so that it never steps, whatever happens to the wall clock.

use std::time::{SystemTime, UNIX_EPOCH};

/// A clock; clones agree with each other.
#[derive(Debug, Clone)]
pub struct Clock {
    tsc: quanta::Clock,
    raw_start: u64,
    wall_start: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// Calibrates the TSC (some milliseconds the first time).
    pub fn new() -> Self {
        let tsc = quanta::Clock::new();
        let raw_start = tsc.raw();
        Self { tsc, raw_start, wall_start: wall_ns() }
    }

    /// Monotonic nanoseconds, on the epoch of the wall clock at start.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.wall_start + self.tsc.delta_as_nanos(self.raw_start, self.tsc.raw())
    }
}

/// The wall clock, nanoseconds since the Unix epoch (0 before it).
pub fn wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|d| u64::try_from(d.as_nanos()).ok())
        .unwrap_or(0)
}
