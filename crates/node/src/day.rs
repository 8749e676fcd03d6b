//! What must outlive the process of the router ([`execution::DayState`]), on its way from the router's stage to memory's
//! thread. Both are off the hot path when they touch it, and neither waits for the other.

use std::sync::{Arc, Mutex, PoisonError};

use execution::DayState;

/// The day as it is kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeptDay {
    /// The router's; `None`: nothing was told yet.
    pub state: Option<DayState>,
    /// Id of the newest order to rearm that was carried out, or was of an earlier life.
    pub rearm: String,
    version: u64,
}

impl KeptDay {
    /// Of a state that was read.
    pub fn of(state: Option<DayState>, rearm: String) -> Self {
        Self { state, rearm, version: 0 }
    }

    /// Does it say something that must not wait: an order, a fill, a latch?
    pub fn is_urgent_after(&self, before: &Self) -> bool {
        let said = |kept: &Self| {
            let s = kept.state.as_ref()?;
            Some((s.day.messages, s.day.filled_orders, s.latches.len(), s.kill.is_some(), s.rearmed.clone()))
        };
        self.rearm != before.rearm || said(self) != said(before)
    }
}

/// Shared between the stage, the control thread and memory's thread.
#[derive(Debug, Clone, Default)]
pub struct SharedDay(Arc<Mutex<KeptDay>>);

impl SharedDay {
    /// As an earlier run left it.
    pub fn of(kept: KeptDay) -> Self {
        Self(Arc::new(Mutex::new(kept)))
    }

    /// A new state, written over the last. `false`: somebody reads it just now, offer it again.
    pub fn offer(&self, write: impl FnOnce(&mut DayState)) -> bool {
        let Ok(mut kept) = self.0.try_lock() else { return false };
        write(kept.state.get_or_insert_default());
        kept.version += 1;
        true
    }

    /// An order to rearm was carried out.
    pub fn rearmed(&self, id: &str) {
        self.change(|kept| {
            id.clone_into(&mut kept.rearm);
            kept.version += 1;
        });
    }

    /// As it is now.
    pub fn get(&self) -> KeptDay {
        self.change(|kept| kept.clone())
    }

    /// As it is now, if it has changed since `seen`.
    pub fn news(&self, seen: &KeptDay) -> Option<KeptDay> {
        self.change(|kept| (kept.version != seen.version).then(|| kept.clone()))
    }

    fn change<T>(&self, f: impl FnOnce(&mut KeptDay) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
