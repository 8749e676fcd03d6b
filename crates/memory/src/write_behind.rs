//! Writing without waiting: the caller hands over a value and goes on.
//!
//! A task delivers what was handed over, in the order of the writes. While memory is away the last value per key is
//! kept, and delivered when it is back; what was overwritten meanwhile is never sent. One log line tells of an outage
//! and one of its end.
//!
//! What is handed over under a lease is delivered under its fence, and set aside when that is refused: somebody else holds
//! the lease by then, and writes. Only where the lease turns out to be ours all the same ([`WriteBehind::go_on`]: a part of
//! memory that was split off has had another holder) is it delivered after all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};

use crate::error::{MemoryError, check_name, check_value};
use crate::fence::Fence;
use crate::latest::LatestQueue;
use crate::memory::SystemMemory;
use crate::request::Write;

/// Most keys that wait.
const MAX_PENDING_KEYS: usize = 16_384;
/// Most bytes of values that wait.
const MAX_PENDING_BYTES: usize = 128 << 20;
/// Most writes delivered at once.
const BATCH: usize = 256;
/// No batch is begun further beyond this many bytes.
const BATCH_BYTES: usize = 1 << 20;
/// First and longest pause between attempts during an outage.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteBehindCounts {
    /// Values handed over and accepted.
    pub accepted: u64,
    /// Values memory has.
    pub delivered: u64,
    /// Values overwritten by newer ones before they were delivered.
    pub superseded: u64,
    /// Values given up: over a limit, or refused by memory.
    pub rejected: u64,
    /// Values set aside because the lease they were written under has passed on.
    pub fenced: u64,
    /// Times memory went away.
    pub outages: u64,
    /// Keys waiting now.
    pub pending: usize,
}

type Cell = (String, String);

#[derive(Debug, Default)]
struct State {
    queue: LatestQueue<Cell, Waiting>,
    bytes: usize,
    in_flight: usize,
    counts: WriteBehindCounts,
    full_logged: bool,
    /// The largest fence known of each lease under which something was refused.
    passed_on: BTreeMap<String, u64>,
    /// The last value per key of what was refused under it; nothing newer was handed over since.
    set_aside: BTreeMap<Cell, Waiting>,
}

#[derive(Debug, Clone)]
struct Waiting {
    value: String,
    fence: Option<Fence>,
}

impl State {
    fn fits(&self, cell: &Cell, value: &str) -> bool {
        let old = self.queue.get(cell).map(|waiting| waiting.value.len());
        (old.is_some() || self.queue.len() < MAX_PENDING_KEYS)
            && self.bytes - old.unwrap_or(0) + value.len() <= MAX_PENDING_BYTES
    }

    fn set_aside(&mut self, cell: Cell, waiting: Waiting) {
        self.counts.fenced += 1;
        if self.set_aside.len() < MAX_PENDING_KEYS || self.set_aside.contains_key(&cell) {
            self.set_aside.insert(cell, waiting);
        }
    }

    /// Appends; a value that it displaces was never sent.
    fn push(&mut self, cell: Cell, waiting: Waiting) {
        self.bytes += waiting.value.len();
        if let Some(old) = self.queue.push(cell, waiting) {
            self.bytes -= old.value.len();
            self.counts.superseded += 1;
        }
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Notify,
    /// How many values are neither delivered nor given up.
    undelivered: watch::Sender<usize>,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Hands writes to memory in the background. Cheap to clone; what is pending when the last clone is dropped is lost,
/// so [`Self::flush`] first.
#[derive(Debug, Clone)]
pub struct WriteBehind {
    shared: Arc<Shared>,
    _task: Arc<Task>,
}

impl WriteBehind {
    /// Starts the delivering task, on the present tokio runtime.
    pub fn start(memory: &SystemMemory) -> Self {
        let undelivered = watch::Sender::new(0);
        let shared = Arc::new(Shared { state: Mutex::default(), work: Notify::new(), undelivered });
        let run = Box::pin(deliver(Arc::clone(&shared), memory.clone()));
        let task = memory.spawner().spawn("memory-writer", run).abort_handle();
        Self { shared, _task: Arc::new(Task(task)) }
    }

    /// Takes a value to be written. Never waits for memory. It fails only beyond a limit, and that is counted.
    pub fn put(&self, map: &str, key: &str, value: String) -> Result<(), MemoryError> {
        self.take(map, key, value, None)
    }

    /// The same under a lease, of which this is the fence; the value is a JSON object. It also fails, and that is
    /// counted, when memory has refused this fence already: [`MemoryError::Fenced`]; the value is set aside then.
    pub fn put_fenced(&self, map: &str, key: &str, value: String, fence: &Fence) -> Result<(), MemoryError> {
        self.take(map, key, value, Some(fence.clone()))
    }

    fn take(&self, map: &str, key: &str, value: String, fence: Option<Fence>) -> Result<(), MemoryError> {
        let checked = check_name("map", map)
            .and_then(|()| check_name("key", key))
            .and_then(|()| check_value(map, key, &value));
        let mut state = self.shared.state();
        if let Err(error) = checked {
            state.counts.rejected += 1;
            return Err(error);
        }
        let cell = (map.to_owned(), key.to_owned());
        if let Some(Fence { lease, number }) = &fence
            && let Some(newer) = state.passed_on.get(lease).copied().filter(|newer| newer > number)
        {
            let error = MemoryError::fenced(map, key, lease, *number, newer);
            state.set_aside(cell, Waiting { value, fence });
            return Err(error);
        }
        if !state.fits(&cell, &value) {
            state.counts.rejected += 1;
            if !state.full_logged {
                state.full_logged = true;
                tracing::warn!(
                    map,
                    key,
                    "too much waits for system memory; new keys are dropped until it is back"
                );
            }
            return Err(MemoryError::Invalid(format!(
                "{map}[{key}] is dropped: {MAX_PENDING_KEYS} keys or {MAX_PENDING_BYTES} bytes wait already"
            )));
        }
        state.counts.accepted += 1;
        state.set_aside.remove(&cell);
        state.push(cell, Waiting { value, fence });
        self.tell(&state);
        drop(state);
        self.shared.work.notify_one();
        Ok(())
    }

    /// The fence under which somebody else has written, where one of this lease was refused for it.
    pub fn passed_on(&self, lease: &str) -> Option<u64> {
        self.shared.state().passed_on.get(lease).copied()
    }

    /// The lease is ours, with this number, whoever else has written: what was set aside is delivered under it.
    pub fn go_on(&self, fence: &Fence) {
        let mut state = self.shared.state();
        if state.passed_on.get(&fence.lease).is_none_or(|newer| *newer >= fence.number) {
            return;
        }
        state.passed_on.remove(&fence.lease);
        let ours = |_: &Cell, waiting: &mut Waiting| {
            waiting.fence.as_ref().is_some_and(|refused| refused.lease == fence.lease)
        };
        let set_aside: Vec<_> = state.set_aside.extract_if(.., ours).collect();
        tracing::info!(
            lease = fence.lease,
            values = set_aside.len(),
            "the lease is ours all the same: what was set aside is written"
        );
        for (cell, Waiting { value, .. }) in set_aside {
            state.push(cell, Waiting { value, fence: Some(fence.clone()) });
        }
        self.tell(&state);
        drop(state);
        self.shared.work.notify_one();
    }

    fn tell(&self, state: &State) {
        self.shared.undelivered.send_replace(state.queue.len() + state.in_flight);
    }

    /// What happened so far.
    pub fn counts(&self) -> WriteBehindCounts {
        let state = self.shared.state();
        WriteBehindCounts { pending: state.queue.len() + state.in_flight, ..state.counts }
    }

    /// Waits until everything handed over so far is delivered or given up, or the time is up; says whether it is.
    pub async fn flush(&self, limit: Duration) -> bool {
        let mut undelivered = self.shared.undelivered.subscribe();
        matches!(tokio::time::timeout(limit, undelivered.wait_for(|count| *count == 0)).await, Ok(Ok(_)))
    }
}

async fn deliver(shared: Arc<Shared>, memory: SystemMemory) {
    let mut pause = BACKOFF.0;
    let mut away_since: Option<Instant> = None;
    loop {
        let batch = take_batch(&shared);
        if batch.writes.is_empty() {
            shared.work.notified().await;
            continue;
        }
        match send(&memory, &batch).await {
            Ok(refused) => {
                settle(&shared, batch.writes.len() - refused, refused);
                pause = BACKOFF.0;
                if let Some(since) = away_since.take() {
                    let pending = shared.state().queue.len();
                    tracing::info!(away = ?since.elapsed(), pending, "system memory takes writes again");
                }
            }
            Err((MemoryError::Fenced { lease, ours, newer, .. }, done, refused)) => {
                settle(&shared, done, refused);
                set_aside(&shared, &lease, (ours, newer), batch, done + refused);
            }
            Err((error, done, refused)) => {
                settle(&shared, done, refused);
                put_back(&shared, batch, done + refused);
                if away_since.is_none() {
                    away_since = Some(Instant::now());
                    shared.state().counts.outages += 1;
                    tracing::warn!(%error, "system memory takes no writes; the last value of each key is kept");
                }
                sleep(pause).await;
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Writes of one fence, or of none, with their tickets.
struct Batch {
    tickets: Vec<u64>,
    writes: Vec<Write>,
    fence: Option<Fence>,
}

fn take_batch(shared: &Shared) -> Batch {
    let mut state = shared.state();
    let mut batch = Batch { tickets: Vec::new(), writes: Vec::new(), fence: None };
    let mut bytes = 0;
    while batch.writes.len() < BATCH && bytes < BATCH_BYTES {
        let next = state.queue.first().map(|waiting| waiting.fence.clone());
        if next.as_ref().is_none_or(|fence| !batch.writes.is_empty() && *fence != batch.fence) {
            break;
        }
        let Some((ticket, (map, key), Waiting { value, fence })) = state.queue.pop() else { break };
        bytes += value.len();
        batch.fence = fence;
        batch.tickets.push(ticket);
        batch.writes.push(Write { map, key, value });
    }
    state.bytes -= bytes;
    state.in_flight = batch.writes.len();
    batch
}

async fn put(memory: &SystemMemory, writes: &[Write], fence: Option<&Fence>) -> Result<(), MemoryError> {
    match fence {
        Some(fence) => memory.put_all_fenced(writes, fence).await,
        None => memory.put_all(writes).await,
    }
}

/// How many were refused; on an outage, or once the fence is refused, also how many of the batch are settled,
/// delivered or refused.
async fn send(memory: &SystemMemory, batch: &Batch) -> Result<usize, (MemoryError, usize, usize)> {
    let ends = |error: &MemoryError| error.is_outage() || matches!(error, MemoryError::Fenced { .. });
    match put(memory, &batch.writes, batch.fence.as_ref()).await {
        Ok(()) => return Ok(0),
        Err(error) if ends(&error) => return Err((error, 0, 0)),
        Err(_) => {}
    }
    // One of them is not accepted: find out which, so that it does not hold up the others.
    let (mut done, mut refused) = (0, 0);
    for write in &batch.writes {
        match put(memory, std::slice::from_ref(write), batch.fence.as_ref()).await {
            Ok(()) => done += 1,
            Err(error) if ends(&error) => return Err((error, done, refused)),
            Err(error) => {
                refused += 1;
                tracing::warn!(map = write.map, key = write.key, %error, "a value is not accepted and dropped");
            }
        }
    }
    Ok(refused)
}

/// The lease has passed on: what is still to be written under the old fence is its new holder's to write.
fn set_aside(shared: &Shared, lease: &str, (ours, newer): (u64, u64), batch: Batch, settled: usize) {
    let mut state = shared.state();
    let waiting = state.queue.drain_where(|waiting| {
        waiting.fence.as_ref().is_some_and(|fence| fence.lease == lease && fence.number < newer)
    });
    state.bytes -= waiting.iter().map(|(_, waiting)| waiting.value.len()).sum::<usize>();
    let Batch { writes, fence, .. } = batch;
    let of_batch = writes.into_iter().skip(settled);
    let of_batch = of_batch.map(|w| ((w.map, w.key), Waiting { value: w.value, fence: fence.clone() }));
    // Those of the batch are older.
    for (cell, waiting) in of_batch.collect::<Vec<_>>().into_iter().chain(waiting) {
        state.set_aside(cell, waiting);
    }
    state.in_flight = 0;
    let known = state.passed_on.insert(lease.to_owned(), newer);
    shared.undelivered.send_replace(state.queue.len());
    drop(state);
    if known.is_none() {
        tracing::warn!(
            lease,
            ours,
            newer,
            "the lease has passed on: nothing more is written under our fence"
        );
    }
}

fn settle(shared: &Shared, delivered: usize, refused: usize) {
    let mut state = shared.state();
    state.counts.delivered += delivered as u64;
    state.counts.rejected += refused as u64;
    state.in_flight -= delivered + refused;
    if delivered > 0 {
        state.full_logged = false;
    }
    shared.undelivered.send_replace(state.queue.len() + state.in_flight);
}

fn put_back(shared: &Shared, batch: Batch, settled: usize) {
    let mut state = shared.state();
    let waiting = batch.tickets.into_iter().zip(batch.writes).skip(settled);
    for (ticket, Write { map, key, value }) in waiting {
        let bytes = value.len();
        if state.queue.restore(ticket, (map, key), Waiting { value, fence: batch.fence.clone() }) {
            state.bytes += bytes;
        } else {
            state.counts.superseded += 1;
        }
        state.in_flight -= 1;
    }
    shared.undelivered.send_replace(state.queue.len() + state.in_flight);
}
