//! Signs of life that the watchdog and the control thread exchange.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A heartbeat of a thread that is no worker.
#[derive(Debug, Clone, Default)]
pub struct Beat(Arc<AtomicU64>);

impl Beat {
    /// It turned.
    pub fn turned(&self) {
        // One writer.
        self.0.store(self.count().wrapping_add(1), Ordering::Relaxed);
    }

    /// How often it has turned.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The watchdog's word: somebody is silent, so that nothing may be opened.
#[derive(Debug, Clone, Default)]
pub struct Silence(Arc<AtomicBool>);

impl Silence {
    /// Is somebody?
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Somebody is, or is no longer.
    pub fn set(&self, silent: bool) {
        self.0.store(silent, Ordering::Release);
    }
}
