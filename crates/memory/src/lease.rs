//! A lease: one holder at a time of a role, by agreement in memory. docs/lease.md is the protocol, and says why each rule
//! is there; `tests/protocol_model` checks it.
//!
//! The record [`LeaseRecord`] stands under the lease's key and is only ever changed by compare-and-set. The holder beats
//! (changes the record) every third of the time to live. Whoever else wants it watches the record, and takes it when it
//! has not changed for a whole time to live **by his own monotonic clock**; no two clocks are compared. The holder, for
//! its part, counts its time to live from before the beat that memory confirmed, and stops [`MARGIN`] earlier: so it
//! knows that it has lost the lease before anybody else may take it, also when it cannot reach memory at all. A beat
//! counts only when the kill of the deployment has been read after it.

use std::time::Duration;

use market::planted::{Bug, planted};
use tokio::time::Instant;

use crate::environment::LockGuard;
use crate::error::{MemoryError, check_name};
use crate::fence::Fence;
use crate::kill::KillState;
use crate::memory::SystemMemory;
use crate::schema::{CONTROL, FromMemory, LEASES, LeaseRecord, to_text};

/// Shortest time to live.
const MIN_TTL: Duration = Duration::from_millis(100);
/// The part of the time to live by which the holder stops early: 1/8. Two clocks whose rates differ by less keep the
/// order of its end and the next taking.
pub const MARGIN: u32 = 8;

/// What a lease is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseConfig {
    /// Its key, for example `alpha_blue`.
    pub key: String,
    /// Who asks, for people; not empty.
    pub owner: String,
    /// The process that asks: a random number of its own ([`runtime::environment::Entropy`]).
    pub identity: u64,
    /// The standby takes over after so long without a sign of the holder.
    pub ttl: Duration,
    /// Key in [`crate::schema::CONTROL`] of the kill that bars the lease; `None`: there is none.
    pub kill: Option<&'static str>,
}

/// Where a lease stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseState {
    /// It is ours, with this fence.
    Held {
        /// Larger than that of every holder before.
        fence: u64,
    },
    /// It is somebody else's, as far as is known, or killed.
    Standby {
        /// Who has it; empty if nobody is known to.
        holder: String,
    },
}

#[derive(Debug)]
struct Held {
    /// Our record as memory confirmed it.
    record: LeaseRecord,
    /// When the beat was begun that counts.
    since: Instant,
    /// When it was taken.
    taken: Instant,
    /// Taken before the last holder's time to live was over: what it sent may still be under way.
    early: bool,
}

/// A lock of the machine. It is not shown.
struct Lock(LockGuard);

impl std::fmt::Debug for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lock")
    }
}

/// A lease we hold or wait for. Call [`Self::tick`] at least every third of the time to live.
#[derive(Debug)]
pub struct Lease {
    memory: SystemMemory,
    config: LeaseConfig,
    identity: String,
    held: Option<Held>,
    /// The record last seen, as text, and since when.
    seen: Option<(Option<String>, Instant)>,
    /// Somebody else has changed the record while we watched.
    rival: bool,
    /// It was ours, and somebody else has had it since.
    lost: bool,
    kill: KillState,
    /// The largest fence that somebody is known to have had.
    floor: u64,
    lock: Option<Lock>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // The process may go on acting until the lease is over: only its end may end the lock then.
        if self.held.is_some()
            && let Some(Lock(guard)) = self.lock.take()
        {
            std::mem::forget(guard);
        }
    }
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
        let identity = format!("{:016x}", config.identity);
        let kill = KillState::Absent;
        Ok(Self {
            memory,
            config,
            identity,
            held: None,
            seen: None,
            rival: false,
            lost: false,
            kill,
            floor: 0,
            lock: None,
        })
    }

    /// Its key.
    pub fn key(&self) -> &str {
        &self.config.key
    }

    /// Was it ours, and has somebody else had it since, even if he has given it up? What its holder knows is not what there is
    /// any more: he must not go on with it.
    pub const fn is_lost(&self) -> bool {
        self.lost
    }

    /// How often to tick.
    pub fn interval(&self) -> Duration {
        self.config.ttl / 3
    }

    /// The number of the lease, while it is certainly ours: whatever memory does, nobody else takes it before then. The
    /// holder asks this, or [`Self::remaining`], before everything that needs the lease; it costs nothing.
    pub fn fence(&self) -> Option<u64> {
        let held = self.held.as_ref()?;
        self.remaining().map(|_| held.record.fence)
    }

    /// What the holder writes with ([`SystemMemory::put_all_fenced`]). Also after the lease is over: then memory refuses
    /// what is written with it as soon as there is another holder.
    pub fn write_fence(&self) -> Option<Fence> {
        let held = self.held.as_ref()?;
        Some(Fence { lease: self.config.key.clone(), number: held.record.fence })
    }

    /// How much longer the lease is certainly ours, the margin taken off; `None` if it is not. No request to the
    /// venue may be valid for longer.
    pub fn remaining(&self) -> Option<Duration> {
        let held = self.held.as_ref()?;
        if planted(Bug::LeaseNeverEnds) {
            return Some(self.config.ttl);
        }
        (self.config.ttl - self.config.ttl / MARGIN)
            .checked_sub(held.since.elapsed())
            .filter(|left| !left.is_zero())
    }

    /// How much longer a new holder has to wait before it may believe that what the venue does not show is not there:
    /// until then requests of the last holder may arrive. `window`: for how long a request is valid at most;
    /// `clock_error`: largest error of the estimate of the venue's time. `None`: the lease is not ours.
    pub fn unsettled(&self, window: Duration, clock_error: Duration) -> Option<Duration> {
        let held = self.held.as_ref().filter(|_| self.fence().is_some())?;
        let wait = if held.early { window + clock_error } else { clock_error };
        Some(wait.saturating_sub(held.taken.elapsed()))
    }

    /// Does the holder live: has the record been changed by somebody else while we watched it? A record that only stands
    /// there may be that of a process that is dead.
    pub const fn rival_lives(&self) -> bool {
        self.rival && self.held.is_none()
    }

    /// The kill, as it was read last.
    pub const fn kill(&self) -> &KillState {
        &self.kill
    }

    /// Somebody is known to have written with this fence ([`MemoryError::Fenced`]): where the record of the lease says
    /// that it is ours all the same, that holder is gone and its record was lost, and the next beat outbids it.
    pub fn outbid(&mut self, newer: u64) {
        self.floor = self.floor.max(newer);
    }

    /// Renews or tries to take the lease. `wall_ms` is the wall clock, ms since 1970. An error leaves everything as it
    /// was: a holder goes on holding until its time to live is over.
    pub async fn tick(&mut self, wall_ms: u64) -> Result<LeaseState, MemoryError> {
        if let Some(state) = self.beat().await? {
            return Ok(state);
        }
        let found = self.memory.get(LEASES, &self.config.key).await?;
        let record = found.as_deref().and_then(|text| LeaseRecord::from_memory(text).ok());
        if let Some(state) = self.ours_after_all(record.as_ref()) {
            return Ok(self.beat().await?.unwrap_or(state));
        }
        if let (Some(_), Some(other)) = (self.held.take(), &record)
            && other.identity != self.identity
        {
            self.lost = true;
            return Ok(LeaseState::Standby { holder: other.owner.clone() });
        }
        self.read_kill().await?;
        let unchanged_since = match &self.seen {
            Some((seen, since)) if *seen == found => *since,
            seen => {
                let theirs =
                    record.as_ref().is_some_and(|r| r.identity != self.identity && !r.owner.is_empty());
                self.rival = seen.is_some() && theirs;
                Instant::now()
            }
        };
        self.seen = Some((found.clone(), unchanged_since));
        let free = self.is_free(found.is_some(), record.as_ref()).await;
        let wait = if planted(Bug::LeaseTakenEarly) { self.config.ttl / 8 } else { self.config.ttl };
        let over = unchanged_since.elapsed() >= wait;
        let holder = record.as_ref().map_or_else(String::new, |record| record.owner.clone());
        if !(free || over) || self.kill.in_force() {
            return Ok(LeaseState::Standby { holder });
        }
        let fence = record.map_or(0, |record| record.fence + 1).max(wall_ms).max(self.floor + 1);
        let next = LeaseRecord {
            owner: self.config.owner.clone(),
            identity: self.identity.clone(),
            fence,
            beat: 0,
            kill: self.kill.number(),
            locked: self.lock.is_some(),
        };
        let since = Instant::now();
        if !self.swap(found.as_deref(), &next).await? {
            return Ok(LeaseState::Standby { holder });
        }
        self.read_kill().await?;
        // From here on, not from before: the last holder's requests are waited for from when it surely sent no more.
        self.held = Some(Held { record: next, since, taken: Instant::now(), early: !over });
        Ok(LeaseState::Held { fence })
    }

    /// Renews the lease, if it is ours. `None`: it is not, or the record is another.
    async fn beat(&mut self) -> Result<Option<LeaseState>, MemoryError> {
        let Some(held) = self.held.as_ref().filter(|_| self.fence().is_some()) else { return Ok(None) };
        let since = Instant::now();
        let record = &held.record;
        let fence = if self.floor >= record.fence { self.floor + 1 } else { record.fence };
        let next = LeaseRecord { fence, beat: record.beat + 1, kill: self.kill.number(), ..record.clone() };
        if !self.swap(Some(&to_text(record)), &next).await? {
            return Ok(None);
        }
        if let Some(held) = &mut self.held {
            held.record = next;
        }
        self.read_kill().await?;
        if let Some(held) = &mut self.held {
            held.since = since;
        }
        Ok(Some(LeaseState::Held { fence }))
    }

    async fn read_kill(&mut self) -> Result<(), MemoryError> {
        if let Some(key) = self.config.kill {
            self.kill = self.memory.read(CONTROL, key).await?;
        }
        Ok(())
    }

    /// May it be taken without a wait? Where the record is not there, or cannot be read, somebody may hold the lease all
    /// the same: memory may have lost it, and a newer version may write it otherwise.
    async fn is_free(&mut self, there: bool, record: Option<&LeaseRecord>) -> bool {
        if self.lock.is_none() {
            self.lock = self.memory.lock(&self.config.key).await.map(Lock);
        }
        match record {
            Some(record) => {
                // Who had the lock that we have now is dead.
                let dead = record.locked && self.lock.is_some();
                record.owner.is_empty() || record.identity == self.identity || dead
            }
            None => !there && self.lock.is_some(),
        }
    }

    /// A beat whose answer was lost may have been carried out: then the record is ours with a later beat.
    fn ours_after_all(&mut self, found: Option<&LeaseRecord>) -> Option<LeaseState> {
        self.fence()?;
        let (held, found) = (self.held.as_mut()?, found?);
        if found.identity != self.identity || found.fence < held.record.fence || found.beat < held.record.beat
        {
            return None;
        }
        // Nobody knows when it was carried out, so the time to live still counts from the last confirmed beat.
        held.record = found.clone();
        Some(LeaseState::Held { fence: found.fence })
    }

    /// Gives the lease up, so that the standby need not wait for its end. Nothing may be done under it any more.
    pub async fn release(&mut self) -> Result<(), MemoryError> {
        let Some(Held { record, .. }) = self.held.take() else { return Ok(()) };
        let free = LeaseRecord { owner: String::new(), ..record.clone() };
        self.swap(Some(&to_text(&record)), &free).await.map(|_| ())
    }

    async fn swap(&self, expected: Option<&str>, next: &LeaseRecord) -> Result<bool, MemoryError> {
        self.memory.compare_and_set(LEASES, &self.config.key, expected, &to_text(next)).await
    }
}
