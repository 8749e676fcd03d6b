//! The status of a node of the role alpha, as memory and its summary show it.

use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use super::lease::LeaseView;
use crate::shards::assembly::ShardCounters;
use crate::shards::reader::ReaderCounters;

/// What a node of the role alpha shows of itself, in memory and in its summary.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AlphaStatus {
    /// `standby` or `active`.
    pub state: &'static str,
    /// Where the lease stands.
    pub lease: LeaseView,
    /// How ticks are gathered.
    pub shards: ShardCounters,
    /// What was read from the maps.
    pub reader: ReaderCounters,
}

/// Where it is shown, from any thread.
#[derive(Debug, Clone, Default)]
pub struct SharedAlphaStatus(Arc<Mutex<AlphaStatus>>);

impl SharedAlphaStatus {
    /// How ticks are gathered now.
    pub fn show(&self, shards: ShardCounters) {
        self.change(|shown| shown.shards = shards);
    }

    /// Reads or changes it.
    pub fn change<T>(&self, f: impl FnOnce(&mut AlphaStatus) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
