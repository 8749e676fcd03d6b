//! A stage: a plain state machine with a duty cycle.

/// Whether a duty cycle found something to do. Idling is the worker's business, not the stage's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Something was done; poll again at once.
    Done,
    /// Nothing was there.
    Idle,
}

impl Work {
    /// `Done` if `did`.
    pub const fn from(did: bool) -> Self {
        if did { Self::Done } else { Self::Idle }
    }
}

/// A duty cycle in phases, all bounded and never blocking.
pub trait Stage: Send {
    /// Its name in logs and metrics.
    fn name(&self) -> &'static str;

    /// What comes from outside and must be seen by the stages before this one in the very same pass: read before any of
    /// them is polled. (The gateway stands behind the router, and reads what the router waits for.)
    fn read(&mut self, _now_ns: u64) -> Work {
        Work::Idle
    }

    /// One bounded piece of the critical path. `now_ns` is monotonic ([`crate::clock::Clock::now_ns`]).
    fn poll(&mut self, now_ns: u64) -> Work;

    /// What is left of the last poll: it must not delay the critical path but should not wait long either. Called while no
    /// stage of the worker found anything to do; `Done`: there may be more.
    fn settle(&mut self, _now_ns: u64) -> Work {
        Work::Idle
    }

    /// A small piece of what the next poll will need, computed ahead: it may be left out, and is then computed when it is
    /// needed, by the same code. Called while nothing is left of the last poll; `Done`: there may be more.
    fn prepare(&mut self, _now_ns: u64) -> Work {
        Work::Idle
    }

    /// Runs what the next decision will run, with no effect whatever, so that its code and data are in the cache when it
    /// comes: at ten decisions a second they have left it every time. Called about every millisecond, only while the worker
    /// has nothing else to do, and only by workers that have a core to themselves.
    fn rehearse(&mut self, _now_ns: u64) {}

    /// What can wait: counters, audits, images of the state. Called about every millisecond while the worker has
    /// nothing else to do, and at least every 20 ms when it has.
    fn housekeep(&mut self, _now_ns: u64) {}
}
