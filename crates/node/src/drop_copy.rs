//! The drop copy (FAULTS §3, 26): a thread of its own adds the fills that the venue lists up to positions, and compares them
//! with what the router believes. Two sums of the same facts, by two ways: reports over the user stream there, listings
//! over REST here.
//!
//! It begins at a quiet moment in which venue and router agree. A difference counts when it is the same at several looks in
//! a row at which the router says that nothing is open: a lost report is found by the comparison before that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use binance::Symbols;
use binance::limits::Urgency;
use binance::rest::{RestClient, RestError, windows};
use market::{Nanos, Qty, SymbolId};
use runtime::clock::Clock;
use runtime::environment::LocalTask;

use crate::environment::Environment;
use crate::error::Failure;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(30);
/// The same difference at so many looks in a row is one.
const LOOKS: u32 = 4;
/// No fill for so long is a quiet moment, ms.
const QUIET_MS: u64 = 10_000;
/// The venue may list a fill so late, ms.
const MARGIN_MS: u64 = 10_000;

/// What the router believes, as the control thread was told last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Believed {
    /// Positions that are not zero.
    pub positions: BTreeMap<SymbolId, Qty>,
    /// Where orders were sent or positions seen.
    pub traded: BTreeSet<SymbolId>,
    /// Nothing is on its way: reconciled, no order unknown, no fill unpriced.
    pub settled: bool,
}

#[derive(Debug, Default)]
struct Shared {
    believed: Mutex<Believed>,
    differs: Mutex<Option<String>>,
    over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The control thread's handle; dropped, the thread ends.
#[derive(Debug, Default)]
pub struct DropCopy(Arc<Shared>);

impl DropCopy {
    /// Starts the thread. `rest`: a client that nobody else waits for.
    pub fn start(rest: RestClient, symbols: Symbols, environment: &Environment) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let (task, clock) = (Arc::clone(&shared), environment.clock.clone());
        let make = Box::new(move || -> LocalTask { Box::pin(run(task, rest, symbols, clock)) });
        let refused = |e: std::io::Error| Failure::unavailable(format!("cannot start the drop copy: {e}"));
        environment.spawner.spawn_thread("drop-copy", make).map_err(refused)?;
        Ok(Self(shared))
    }

    /// What the router believes now.
    ///
    /// It is said in every turn and is mostly what was said before: nothing is built for that.
    pub fn believe(
        &self,
        positions: impl Iterator<Item = (SymbolId, Qty)> + Clone,
        traded: impl Iterator<Item = SymbolId> + Clone,
        settled: bool,
    ) {
        let mut now = lock(&self.0.believed);
        now.settled = settled;
        let known = |(symbol, qty)| now.positions.get(&symbol) == Some(&qty);
        if positions.clone().count() != now.positions.len() || !positions.clone().all(known) {
            now.positions = positions.collect();
        }
        if !traded.clone().eq(now.traded.iter().copied()) {
            now.traded = traded.collect();
        }
    }

    /// A difference that was found since the last call.
    pub fn differs(&self) -> Option<String> {
        lock(&self.0.differs).take()
    }
}

impl Drop for DropCopy {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// The sum of the venue's fills.
#[derive(Debug, Default)]
struct Sum {
    /// From here on fills are added, venue ms; `None`: it has not begun.
    since_ms: Option<u64>,
    lots: BTreeMap<SymbolId, i64>,
    /// Trades that are in it.
    seen: BTreeSet<(SymbolId, u64)>,
    /// The last difference, and at how many looks in a row.
    last: (String, u32),
}

/// A fill as it is added: instrument, trade, signed lots.
type Fill = (SymbolId, u64, i64);

impl Sum {
    /// A look while the sum has not begun: it does if all agree and nothing was filled lately.
    fn begin(&mut self, now_ms: u64, fills: &[Fill], venue: &BTreeMap<SymbolId, Qty>, believed: &Believed) {
        if believed.settled && fills.is_empty() && *venue == believed.positions {
            self.lots = venue.iter().map(|(symbol, qty)| (*symbol, qty.0)).collect();
            self.since_ms = Some(now_ms);
        }
    }

    fn add(&mut self, fills: &[Fill]) {
        for (symbol, trade, lots) in fills {
            if self.seen.insert((*symbol, *trade)) {
                *self.lots.entry(*symbol).or_default() += lots;
            }
        }
        self.lots.retain(|_, lots| *lots != 0);
    }

    /// Compares; the difference once it is one.
    fn compare(&mut self, believed: &Believed) -> Option<String> {
        let ours: BTreeMap<SymbolId, i64> = believed.positions.iter().map(|(s, q)| (*s, q.0)).collect();
        if !believed.settled {
            return None;
        }
        if ours == self.lots {
            self.last = (String::new(), 0);
            return None;
        }
        let found = format!("the venue's fills add up to {:?}, the router holds {ours:?} (lots)", self.lots);
        let times = if found == self.last.0 { self.last.1 + 1 } else { 1 };
        self.last = (found, times);
        (times == LOOKS).then(|| self.last.0.clone())
    }
}

async fn run(shared: Arc<Shared>, rest: RestClient, symbols: Symbols, clock: Clock) {
    let mut sum = Sum::default();
    let mut due = clock.now_ns();
    while !shared.over.load(Ordering::Acquire) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = clock.now_ns();
        if now < due {
            continue;
        }
        due = now + LOOK.as_nanos() as u64;
        let believed = lock(&shared.believed).clone();
        match look(&mut sum, &rest, &symbols, &clock, &believed).await {
            // It may have changed while the venue was asked.
            Ok(()) if *lock(&shared.believed) == believed => {
                if let Some(found) = sum.since_ms.and_then(|_| sum.compare(&believed)) {
                    *lock(&shared.differs) = Some(found);
                }
            }
            Ok(()) => {}
            Err(error) => tracing::debug!("drop copy: {error}"),
        }
    }
}

/// Asks the venue, and adds what is new.
async fn look(
    sum: &mut Sum,
    rest: &RestClient,
    symbols: &Symbols,
    clock: &Clock,
    believed: &Believed,
) -> Result<(), RestError> {
    rest.sync_clock(1).await?;
    let now_ms = rest.clock().server_time(Nanos(clock.now_ns())).millis();
    let since_ms = sum.since_ms.unwrap_or_else(|| now_ms.saturating_sub(QUIET_MS));
    let mut fills = Vec::new();
    for symbol in &believed.traded {
        let Some(name) = symbols.get(*symbol).map(|i| i.symbol.clone()) else { continue };
        for window in windows(since_ms, now_ms + MARGIN_MS) {
            let listed = rest.user_trades(symbols, &name, window, Urgency::Audit).await?;
            fills.extend(listed.iter().map(|f| (f.symbol, f.trade_id, f.side.sign() * f.last_qty.0)));
        }
    }
    if sum.since_ms.is_none() {
        let positions = rest.positions(symbols, None, Urgency::Audit).await?;
        let held = positions.iter().filter_map(|p| Some((p.id.filter(|_| !p.qty.is_zero())?, p.qty)));
        sum.begin(now_ms, &fills, &held.collect(), believed);
        return Ok(());
    }
    sum.add(&fills);
    // What was listed by now is in the sum; what may come late is asked for once more.
    sum.since_ms = Some(since_ms.max(now_ms.saturating_sub(MARGIN_MS)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SymbolId = SymbolId(3);

    fn believed(lots: i64, settled: bool) -> Believed {
        let positions = if lots == 0 { BTreeMap::new() } else { BTreeMap::from([(S, Qty(lots))]) };
        Believed { positions, traded: BTreeSet::from([S]), settled }
    }

    #[test]
    fn a_difference_that_stays_is_told_once() {
        let mut sum = Sum::default();
        let venue = BTreeMap::from([(S, Qty(5))]);
        sum.begin(1, &[(S, 1, 5)], &venue, &believed(5, true));
        assert_eq!(sum.since_ms, None, "something was filled just now");
        sum.begin(2, &[], &venue, &believed(4, true));
        assert_eq!(sum.since_ms, None, "they do not agree");
        sum.begin(3, &[], &venue, &believed(5, true));
        assert_eq!(sum.since_ms, Some(3));
        sum.add(&[(S, 2, -3), (S, 2, -3), (S, 3, 1)]);
        assert_eq!(sum.compare(&believed(3, true)), None, "each trade once: 5 - 3 + 1");
        // A report that was lost is found by the comparison with the venue within a minute.
        sum.add(&[(S, 4, -3)]);
        assert_eq!([0, 1, 2].map(|_| sum.compare(&believed(3, true))), [None, None, None]);
        assert_eq!(sum.compare(&believed(0, true)), None);
        // One that is not, is.
        let found: Vec<bool> = (0..6).map(|_| sum.compare(&believed(2, true)).is_some()).collect();
        assert_eq!(found, [false, false, false, true, false, false]);
        assert_eq!(sum.compare(&believed(1, false)), None, "something is on its way");
    }
}
