//! The watchdog: a thread of its own that looks whether the workers and the control thread still turn.
//!
//! Whoever hangs cannot say so, and whoever waits for him hangs too. So the watchdog waits for nobody: it has a REST client
//! of its own, and the last word over the process. A worker that is silent for [`SHUT_AFTER`] shuts the gate for entries;
//! after `runtime.watchdog_ms` everything that works at the venue is cancelled over REST, the run is told to end, and where it
//! does not the process ends with exit code 4. While all turn, systemd's own watchdog is told so (`WATCHDOG=1`).
//!
//! Silence is counted in looks, not by the clock: a process that was stopped for a minute (SIGSTOP, a paused machine) finds
//! everybody as late as itself.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use market::Nanos;
use market::text::counted;
use runtime::environment::LocalTask;
use runtime::worker::{StageStats, Worker};

use crate::beat::{Beat, Silence};
use crate::ending::AtVenue;
use crate::environment::Environment;
use crate::error::Failure;
use crate::journal::bundle::PostMortem;

/// A silence that shuts the gate for entries, ns.
pub const SHUT_AFTER: u64 = 500 * Nanos::MS;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// Longest time between two looks that counts as silence, ns.
const COUNTED: u64 = 2 * LOOK.as_nanos() as u64;
/// How often systemd is told that all is well: a fifth of the unit's `WatchdogSec`.
const TOLD_EVERY: u64 = 2 * Nanos::SECOND;
/// How long the run has to end after it was told to.
const END_WITHIN: Duration = Duration::from_secs(10);
/// How long the workers have to end: longer than any poll.
const JOINED_WITHIN: Duration = Duration::from_millis(500);
/// How long the cancelling may take.
const CANCEL_WITHIN: Duration = Duration::from_secs(8);

/// What is watched.
pub struct Watched {
    /// Workers by name, with their stages in polling order.
    pub workers: Vec<(String, Vec<Arc<StageStats>>)>,
    /// The control thread, where there is one.
    pub control: Beat,
    /// Tells the workers to end, and with them the run.
    pub stop: Arc<AtomicBool>,
    /// A silence that ends the run, ns.
    pub silent_after: u64,
    /// What to cancel with, for a node that sends orders: a REST client that nobody else waits for.
    pub venue: Option<AtVenue>,
    /// Leaves what is looked into afterwards, where the run itself cannot any more.
    pub post_mortem: Option<PostMortem>,
}

impl Watched {
    /// A run, which a silence of so many ms ends.
    pub fn of(
        workers: &[Worker],
        control: &Beat,
        stop: &Arc<AtomicBool>,
        venue: Option<AtVenue>,
        silent_after_ms: u64,
    ) -> Self {
        let workers = workers.iter().map(|w| (w.name().to_owned(), w.stats().to_vec())).collect();
        let silent_after = silent_after_ms * Nanos::MS;
        let (control, stop) = (control.clone(), Arc::clone(stop));
        Self { workers, control, stop, silent_after, venue, post_mortem: None }
    }
}

/// Waits for the workers to end, but not for one that hangs: what they died of.
pub async fn join(workers: Vec<Worker>) -> Vec<String> {
    let until = tokio::time::Instant::now() + JOINED_WITHIN;
    let mut panics = Vec::new();
    for worker in workers {
        let hangs = format!("worker {} does not end", worker.name());
        let ended = tokio::time::timeout_at(until, worker.join()).await;
        panics.extend(ended.unwrap_or(Err(hangs)).err());
    }
    panics
}

impl std::fmt::Debug for Watched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Shared {
    watched: Mutex<Option<Arc<Watched>>>,
    silent: Silence,
    fired: Mutex<Option<String>>,
    over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The handle; dropped, the watchdog ends.
#[derive(Debug)]
pub struct Watchdog(Arc<Shared>);

impl Watchdog {
    /// Starts the thread, with nothing to watch yet.
    pub fn start(environment: &Environment) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let (task, world) = (Arc::clone(&shared), environment.clone());
        let make = Box::new(move || -> LocalTask { Box::pin(run(task, world)) });
        let refused = |e: std::io::Error| Failure::unavailable(format!("cannot start the watchdog: {e}"));
        environment.spawner.spawn_thread("watchdog", make).map_err(refused)?;
        environment.surroundings.notify("READY=1");
        Ok(Self(shared))
    }

    /// A run begins.
    pub fn watch(&self, watched: Watched) {
        *lock(&self.0.watched) = Some(Arc::new(watched));
    }

    /// The run is over, and what follows has its own limits.
    pub fn rest(&self) {
        *lock(&self.0.watched) = None;
    }

    /// For the control thread.
    pub fn silence(&self) -> Silence {
        self.0.silent.clone()
    }

    /// Why it ended the run, if it did.
    pub fn fired(&self) -> Option<String> {
        lock(&self.0.fired).clone()
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// Who was seen to turn, and how long each has not.
#[derive(Debug, Default)]
struct Looks {
    /// By place: the last heartbeat, and the silence since, ns.
    seen: Vec<(u64, u64)>,
}

impl Looks {
    /// Looks at all; who has been silent for longest, and for how long.
    fn look(&mut self, watched: &Watched, elapsed: u64) -> (usize, u64) {
        let beats = watched.workers.iter().map(|(_, stages)| stages.iter().map(|s| s.polls()).sum::<u64>());
        let beats = beats.chain([watched.control.count()]);
        self.seen.resize(watched.workers.len() + 1, (u64::MAX, 0));
        let mut longest = (0, 0);
        for (place, (beat, (last, silent))) in beats.zip(&mut self.seen).enumerate() {
            *silent = if std::mem::replace(last, beat) == beat { *silent + elapsed.min(COUNTED) } else { 0 };
            if *silent > longest.1 {
                longest = (place, *silent);
            }
        }
        longest
    }
}

/// Who it is, for people: the worker, and the stage that did not come back.
fn name(watched: &Watched, place: usize) -> String {
    let Some((worker, stages)) = watched.workers.get(place) else { return "the control thread".to_owned() };
    // All are polled in turn: the first one that is a poll behind the one before it has not come back.
    let first = stages.first().map_or(0, |s| s.polls());
    let hangs = stages.iter().find(|s| s.polls() < first).or(stages.first()).map_or("?", |s| s.name());
    format!("worker {worker} in stage {hangs}")
}

async fn run(shared: Arc<Shared>, environment: Environment) {
    let clock = environment.clock.clone();
    let mut looks = Looks::default();
    let (mut last, mut told) = (clock.now_ns(), 0);
    while !shared.over.load(Ordering::Acquire) {
        tokio::time::sleep(LOOK).await;
        let now = clock.now_ns();
        let elapsed = now.saturating_sub(std::mem::replace(&mut last, now));
        let watched = lock(&shared.watched).clone();
        let (place, silent) = match &watched {
            Some(watched) => looks.look(watched, elapsed),
            None => {
                looks = Looks::default();
                (0, 0)
            }
        };
        shared.silent.set(silent >= SHUT_AFTER);
        match watched {
            Some(watched) if silent >= watched.silent_after => {
                return fire(&shared, &watched, &name(&watched, place), &environment).await;
            }
            _ if silent < SHUT_AFTER && now >= told + TOLD_EVERY => {
                told = now;
                environment.surroundings.notify("WATCHDOG=1");
            }
            _ => {}
        }
    }
}

/// Somebody hangs.
async fn fire(shared: &Shared, watched: &Watched, who: &str, environment: &Environment) {
    let why = format!("{who} has been silent for {} ms", watched.silent_after / Nanos::MS);
    tracing::error!("watchdog: {why}; what works at the venue is cancelled, and the run ends");
    *lock(&shared.fired) = Some(why.clone());
    if let Some(venue) = watched.venue.as_ref().filter(|venue| venue.may_send()) {
        match tokio::time::timeout(CANCEL_WITHIN, venue.leave_anew()).await {
            Ok(Ok(left)) => tracing::error!(
                "watchdog: left at the venue: {}, {}",
                counted(left.orders.len(), "order"),
                counted(left.positions.len(), "position")
            ),
            Ok(Err(error)) => tracing::error!("watchdog: cannot cancel: {error}; the dead-man switch will"),
            Err(_) => tracing::error!("watchdog: the venue does not answer; the dead-man switch will cancel"),
        }
    }
    watched.stop.store(true, Ordering::Release);
    let over = async {
        while !shared.over.load(Ordering::Acquire) {
            tokio::time::sleep(LOOK).await;
        }
    };
    if tokio::time::timeout(END_WITHIN, over).await.is_err() {
        if let Some(post_mortem) = &watched.post_mortem {
            post_mortem.leave(&why, &());
        }
        environment.surroundings.exit(4, &format!("{why}, and the run does not end"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watched() -> Watched {
        Watched::of(&[], &Beat::default(), &Arc::default(), None, 2_000)
    }

    #[test]
    fn silence_is_what_was_seen_of_it_and_a_pause_of_the_process_is_none() {
        let (mut looks, watched) = (Looks::default(), watched());
        let look = LOOK.as_nanos() as u64;
        assert_eq!(looks.look(&watched, look).1, 0, "seen for the first time");
        assert_eq!(looks.look(&watched, look).1, look);
        assert_eq!(looks.look(&watched, 60 * Nanos::SECOND).1, look + COUNTED);
        watched.control.turned();
        assert_eq!(looks.look(&watched, look).1, 0);
        let silent = (0..20).map(|_| looks.look(&watched, look).1).last();
        assert_eq!(silent, Some(watched.silent_after));
        assert_eq!(name(&watched, 0), "the control thread");
    }
}
