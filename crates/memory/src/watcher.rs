//! Watching a value of the schema: parsed off the hot path, handed over as the latest value.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::AbortHandle;

use crate::error::MemoryError;
use crate::memory::SystemMemory;
use crate::schema::{FromMemory, SchemaError};

/// What a watcher has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Values handed over.
    pub accepted: u64,
    /// Values that do not fit the schema: logged, and the last good one stays in force.
    pub rejected: u64,
    /// Times the key was removed: the last good value stays in force.
    pub removed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    rejected: AtomicU64,
    removed: AtomicU64,
}

/// Follows one key, until it is dropped.
#[derive(Debug)]
#[must_use = "a watcher that is dropped stops"]
pub struct Watcher {
    counts: Arc<Counts>,
    task: AbortHandle,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Watcher {
    /// Calls `publish` with each good value of `map[key]`: the present one first, then every push. It runs on a tokio
    /// task, so it must not block; storing into a pending slot is what it is made for.
    pub fn start<T: FromMemory + Send + 'static>(
        memory: &SystemMemory,
        map: &str,
        key: &str,
        mut publish: impl FnMut(T) + Send + 'static,
    ) -> Result<Self, MemoryError> {
        let mut watch = memory.watch(map, Some(key))?;
        let counts = Arc::new(Counts::default());
        let (shared, place) = (Arc::clone(&counts), format!("{map}[{key}]"));
        let follow = async move {
            loop {
                let Some(text) = watch.next().await.value else {
                    shared.removed.fetch_add(1, Ordering::Relaxed);
                    continue;
                };
                match T::from_memory(&text) {
                    Ok(value) => {
                        publish(value);
                        shared.accepted.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(SchemaError { kind, reason }) => {
                        tracing::warn!(
                            place,
                            kind,
                            reason,
                            "a push is rejected, the last good value stays in force"
                        );
                        shared.rejected.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        };
        let task = memory.spawner().spawn("memory-watcher", Box::pin(follow)).abort_handle();
        Ok(Self { counts, task })
    }

    /// What it has seen.
    pub fn counts(&self) -> WatchCounts {
        WatchCounts {
            accepted: self.counts.accepted.load(Ordering::Relaxed),
            rejected: self.counts.rejected.load(Ordering::Relaxed),
            removed: self.counts.removed.load(Ordering::Relaxed),
        }
    }
}
