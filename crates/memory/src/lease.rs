//! A lease: one holder at a time of a role, by agreement in memory.
//!
//! The record `{owner, fence, beat}` stands under the lease's key and is only ever changed by compare-and-set. The
//! holder beats (changes the record) every third of the time to live. Whoever else wants it watches the record, and
//! takes it when it has not changed for a whole time to live **by his own monotonic clock**; no two clocks are
//! compared. The holder, for its part, counts its time to live from before the beat that memory confirmed, so it knows
//! it has lost the lease before anybody else may take it, also when it cannot reach memory at all.
//!
//! Memory is not consensus: a split Hazelcast cluster can let two holders exist. Therefore each taking raises the
//! *fence*, and what a holder does carries it: whoever sees a higher fence ignores the lower. It is at least the wall
//! clock in ms, so that it rises even after memory lost the record.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{MemoryError, check_name};
use crate::memory::SystemMemory;
use crate::schema::{FromMemory, LEASES, LeaseRecord, to_text};

/// Shortest time to live.
const MIN_TTL: Duration = Duration::from_millis(100);

/// What a lease is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Its key, for example `alpha_blue`.
    pub key: String,
    /// Who asks: unique per process, for example host and process id.
    pub owner: String,
    /// The standby takes over after so long without a sign of the holder.
    pub ttl: Duration,
}

/// Where a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// It is ours, with this fence.
    Held {
        /// Larger than that of every holder before.
        fence: u64,
    },
    /// It is somebody else's, as far as is known.
    Standby {
        /// Who has it; empty if nobody is known to.
        holder: String,
    },
}

/// A lease we hold or wait for. Call [`Self::tick`] at least every third of the time to live.
#[derive(Debug)]
pub struct Lease {
    memory: SystemMemory,
    config: LeaseConfig,
    /// Our record as memory confirmed it, and when the request for it began.
    held: Option<(LeaseRecord, Instant)>,
    /// The record last seen, as text, and since when.
    seen: Option<(Option<String>, Instant)>,
}

impl Lease {
    /// A lease nobody has asked for yet.
    pub fn new(memory: SystemMemory, config: LeaseConfig) -> Result<Self, MemoryError> {
        check_name("lease", &config.key)?;
        check_name("lease owner", &config.owner)?;
        if config.ttl < MIN_TTL {
            return Err(MemoryError::Config(format!(
                "a lease lives {MIN_TTL:?} at least, not {:?}",
                config.ttl
            )));
        }
        Ok(Self { memory, config, held: None, seen: None })
    }

    /// How often to tick.
    pub fn interval(&self) -> Duration {
        self.config.ttl / 3
    }

    /// The fence, while the lease is certainly ours: whatever memory does, nobody else takes it before then. The
    /// holder asks this before everything that needs the lease; it costs nothing.
    pub fn fence(&self) -> Option<u64> {
        let (record, since) = self.held.as_ref()?;
        (since.elapsed() < self.config.ttl).then_some(record.fence)
    }

    /// How much longer the lease is certainly ours; `None` if it is not.
    pub fn remaining(&self) -> Option<Duration> {
        let (_, since) = self.held.as_ref()?;
        self.config.ttl.checked_sub(since.elapsed())
    }

    /// Renews or tries to take the lease. `wall_ms` is the wall clock, ms since 1970. An error leaves everything as it
    /// was: a holder goes on holding until its time to live is over.
    pub async fn tick(&mut self, wall_ms: u64) -> Result<LeaseState, MemoryError> {
        let begun = Instant::now();
        if let Some(fence) = self.fence()
            && let Some((record, _)) = self.held.clone()
        {
            let next = LeaseRecord { beat: record.beat + 1, ..record.clone() };
            if self.swap(Some(&to_text(&record)), &next).await? {
                self.held = Some((next, begun));
                return Ok(LeaseState::Held { fence });
            }
        }
        let found = self.memory.get(LEASES, &self.config.key).await?;
        let record = found.as_deref().and_then(|text| LeaseRecord::from_memory(text).ok());
        if let Some(state) = self.ours_after_all(record.as_ref()) {
            return Ok(state);
        }
        self.held = None;
        let unchanged_since = match &self.seen {
            Some((seen, since)) if *seen == found => *since,
            _ => Instant::now(),
        };
        self.seen = Some((found.clone(), unchanged_since));
        let free = match &record {
            Some(record) => {
                record.owner.is_empty()
                    || record.owner == self.config.owner
                    || unchanged_since.elapsed() >= self.config.ttl
            }
            // A record that cannot be read may be of a newer version: it is given its time, too.
            None => found.is_none() || unchanged_since.elapsed() >= self.config.ttl,
        };
        let holder = record.as_ref().map_or_else(String::new, |record| record.owner.clone());
        if !free {
            return Ok(LeaseState::Standby { holder });
        }
        let fence = record.map_or(0, |record| record.fence + 1).max(wall_ms);
        let next = LeaseRecord { owner: self.config.owner.clone(), fence, beat: 0 };
        let begun = Instant::now();
        if self.swap(found.as_deref(), &next).await? {
            self.held = Some((next, begun));
            return Ok(LeaseState::Held { fence });
        }
        Ok(LeaseState::Standby { holder })
    }

    /// A beat whose answer was lost may have been carried out: then the record is ours with a later beat.
    fn ours_after_all(&mut self, found: Option<&LeaseRecord>) -> Option<LeaseState> {
        let fence = self.fence()?;
        let (held, _) = self.held.as_mut()?;
        let found = found?;
        if found.owner != held.owner || found.fence != held.fence || found.beat < held.beat {
            return None;
        }
        // Nobody knows when it was carried out, so the time to live still counts from the last confirmed beat. The next
        // tick renews it.
        held.beat = found.beat;
        Some(LeaseState::Held { fence })
    }

    /// Gives the lease up, so that the standby need not wait.
    pub async fn release(&mut self) -> Result<(), MemoryError> {
        let Some((record, _)) = self.held.take() else { return Ok(()) };
        let free = LeaseRecord { owner: String::new(), ..record.clone() };
        self.swap(Some(&to_text(&record)), &free).await.map(|_| ())
    }

    async fn swap(&self, expected: Option<&str>, next: &LeaseRecord) -> Result<bool, MemoryError> {
        self.memory.compare_and_set(LEASES, &self.config.key, expected, &to_text(next)).await
    }
}
