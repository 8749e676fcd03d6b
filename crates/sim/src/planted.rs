//! The proof of the simulation: every bug that can be planted (`market::planted`) must be found by a seed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{MutexGuard, PoisonError};

use market::planted::{Bug, plant};
use serde::Serialize;

use crate::faults::Planned;
use crate::run::{Report, Setup, run};
use crate::shrink::shrink;

/// How it is searched for.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// Seeds, both ends included, in their order.
    pub seeds: (u64, u64),
    /// Simulated time of each, ms.
    pub length_ms: u64,
    /// Symbols.
    pub symbols: usize,
    /// Threads, each with a seed of its own.
    pub threads: u16,
    /// Runs that look for the shortest list of faults.
    pub shrink_runs: u32,
}

/// What came of a bug.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// The bug.
    pub bug: &'static str,
    /// The first seed that found it; `None`: none did.
    pub seed: Option<u64>,
    /// Seeds tried.
    pub tried: u64,
    /// The invariant that was violated, and what was found.
    pub violation: Option<String>,
    /// The shortest list of faults that still finds it.
    pub faults: Vec<Planned>,
}

/// Looks for a bug with one seed after another. The whole process runs with the bug meanwhile.
pub fn find(bug: Bug, search: &Search, stop: &AtomicBool) -> Result<Row, String> {
    plant(&[bug]);
    let found = seek(search, stop);
    let row = found.map(|(tried, found)| {
        let shortest = found.map(|report| {
            let setup = Setup::of(report.seed, search.length_ms, search.symbols);
            shrink(&setup, report, search.shrink_runs, |_| {})
        });
        let violation = shortest.as_ref().and_then(|r| r.violations.first()).map(ToString::to_string);
        let seed = shortest.as_ref().map(|r| r.seed);
        let faults = shortest.map(|r| r.script).unwrap_or_default();
        Row { bug: bug.name(), seed, tried, violation, faults }
    });
    plant(&[]);
    row
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Seeds tried, and the report of the smallest that fails among those begun.
fn seek(search: &Search, stop: &AtomicBool) -> Result<(u64, Option<Report>), String> {
    let next = AtomicU64::new(search.seeds.0);
    let (found, broken) = (Mutex::new(None::<Report>), Mutex::new(None));
    let worker = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            let over = seed > search.seeds.1 || stop.load(Ordering::Relaxed);
            if over || lock(&found).is_some() || lock(&broken).is_some() {
                return;
            }
            match run(&Setup::of(seed, search.length_ms, search.symbols)) {
                Ok(report) if report.violations.is_empty() => {}
                Ok(report) => {
                    let mut found = lock(&found);
                    if found.as_ref().is_none_or(|f| seed < f.seed) {
                        *found = Some(report);
                    }
                }
                Err(why) => *lock(&broken) = Some(why),
            }
        }
    };
    std::thread::scope(|scope| {
        (1..search.threads).for_each(|_| drop(scope.spawn(worker)));
        worker();
    });
    match broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(why) => Err(why),
        None => {
            let tried = next.load(Ordering::Relaxed).min(search.seeds.1 + 1) - search.seeds.0;
            Ok((tried, found.into_inner().unwrap_or_else(PoisonError::into_inner)))
        }
    }
}
