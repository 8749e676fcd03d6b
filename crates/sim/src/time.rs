//! The true time of a simulated world: tokio's paused clock on a fixed epoch.

use std::cell::Cell;

use tokio::time::Instant;

/// 2026-01-01 00:00 UTC, ns: a simulated run begins then if it says nothing else, so that no result depends on the day.
pub const EPOCH_NS: u64 = 1_767_225_600_000_000_000;

thread_local! {
    /// What the clock of this thread's runtime shows, once somebody has asked; it is asked a dozen times between two moves.
    static SHOWN: Cell<Option<Instant>> = const { Cell::new(None) };
    /// The runtime tells of every move ([`moved`]).
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// The runtime of this thread tells from now on of every move of its clock, or no longer.
pub fn told(by_runtime: bool) {
    TOLD.set(by_runtime);
    moved();
}

/// The clock of this thread's runtime may have moved: it moves only while the runtime waits.
pub fn moved() {
    SHOWN.set(None);
}

fn now() -> Instant {
    if !TOLD.get() {
        return Instant::now();
    }
    SHOWN.get().unwrap_or_else(|| {
        let now = Instant::now();
        SHOWN.set(Some(now));
        now
    })
}

/// True time since the run's beginning.
#[derive(Debug, Clone, Copy)]
pub struct TrueTime {
    origin: Instant,
    epoch_ns: u64,
}

impl TrueTime {
    /// Begins now, at this time since the Unix epoch. Needs a tokio runtime whose clock is paused.
    pub fn begin(epoch_ns: u64) -> Self {
        Self { origin: Instant::now(), epoch_ns }
    }

    /// Now, ns since the Unix epoch.
    pub fn now_ns(&self) -> u64 {
        self.epoch_ns + self.since_begin_ns()
    }

    /// Now, ns since the beginning.
    pub fn since_begin_ns(&self) -> u64 {
        u64::try_from(now().duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX)
    }

    /// The instant of a true time.
    pub fn instant(&self, ns: u64) -> Instant {
        self.origin + std::time::Duration::from_nanos(ns.saturating_sub(self.epoch_ns))
    }
}
