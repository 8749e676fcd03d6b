//! The clocks: a monotonic one for durations and deadlines, and the wall for what others must see.
//!
//! Monotonic time is the TSC through `quanta` (12 ns a read); it is given as nanoseconds since the Unix epoch of
//! the program's start, so that it never steps, whatever happens to the wall clock. In a simulation both are numbers
//! that the simulation sets ([`SimulatedTime`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// A clock; clones agree with each other.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    Tsc { tsc: quanta::Clock, raw_start: u64, wall_start: u64 },
    Simulated(Arc<SimulatedTime>),
}

/// The time of one simulated machine.
#[derive(Debug, Default)]
pub struct SimulatedTime {
    monotonic: AtomicU64,
    wall: AtomicU64,
}

impl SimulatedTime {
    /// Sets both clocks, ns since the Unix epoch. The monotonic one must not go back.
    pub fn set(&self, monotonic: u64, wall: u64) {
        self.monotonic.store(monotonic, Ordering::Relaxed);
        self.wall.store(wall, Ordering::Relaxed);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock {
    /// The machine's clock. Calibrates the TSC (some milliseconds the first time).
    pub fn new() -> Self {
        let tsc = quanta::Clock::new();
        let raw_start = tsc.raw();
        Self(Source::Tsc { tsc, raw_start, wall_start: system_wall_ns() })
    }

    /// A clock that shows what the simulation sets.
    pub const fn simulated(time: Arc<SimulatedTime>) -> Self {
        Self(Source::Simulated(time))
    }

    /// Monotonic nanoseconds, on the epoch of the wall clock at start.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        match &self.0 {
            Source::Tsc { tsc, raw_start, wall_start } => {
                wall_start + tsc.delta_as_nanos(*raw_start, tsc.raw())
            }
            Source::Simulated(time) => time.monotonic.load(Ordering::Relaxed),
        }
    }

    /// The wall clock, nanoseconds since the Unix epoch (0 before it). It may step.
    pub fn wall_ns(&self) -> u64 {
        match &self.0 {
            Source::Tsc { .. } => system_wall_ns(),
            Source::Simulated(time) => time.wall.load(Ordering::Relaxed),
        }
    }
}

fn system_wall_ns() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|d| u64::try_from(d.as_nanos()).ok())
        .unwrap_or(0)
}
