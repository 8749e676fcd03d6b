//! Listeners on the ten shard maps: values to [`Update`]s, on memory's thread.
//!
//! The keys are discovered by what appears in the maps. A symbol that is not in the table is counted and left alone;
//! garbage is counted and the last good picture stays until it is stale.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use market::{Instrument, Level, Px, Qty, SymbolId};
use memory::schema::{FromMemory, SHARDS, ShardRecord, shard, shard_map};
use memory::{Change, MemoryError, SystemMemory, Watch};
use runtime::ring::Tx;
use serde::Serialize;
use tokio::sync::Notify;

use super::Update;

/// After a look the next one comes no sooner than this. At 10 Hz values come in bursts, so waking for each would cost more.
const TURN: Duration = Duration::from_millis(1);
/// Names remembered for the log, of symbols not in the table.
const STRANGERS: usize = 1_000;

/// What was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct ReaderCounters {
    /// Updates handed on.
    pub taken: u64,
    /// Values that are no shard record, or stand under a key or in a map they do not belong to.
    pub garbage: u64,
    /// Values of symbols that are not followed.
    pub unlisted: u64,
    /// Updates that found the ring full.
    pub lost: u64,
}

#[derive(Debug, Default)]
struct Shared {
    taken: AtomicU64,
    garbage: AtomicU64,
    unlisted: AtomicU64,
    lost: AtomicU64,
}

/// The reader's counters, from any thread.
#[derive(Debug, Clone, Default)]
pub struct ReaderHandle(Arc<Shared>);

impl ReaderHandle {
    /// So far.
    pub fn counters(&self) -> ReaderCounters {
        let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
        ReaderCounters {
            taken: of(&self.0.taken),
            garbage: of(&self.0.garbage),
            unlisted: of(&self.0.unlisted),
            lost: of(&self.0.lost),
        }
    }
}

/// The reader; [`Self::run`] is a task of memory's thread.
pub struct Reader {
    watches: Vec<(u32, Watch)>,
    columns: HashMap<String, Instrument>,
    updates: Tx<Update>,
    /// Told when updates have been handed on.
    news: Arc<Notify>,
    shared: ReaderHandle,
    strangers: HashSet<String>,
    garbage_told: bool,
}

impl Reader {
    /// Listens to all shards for these instruments.
    pub fn new(
        memory: &SystemMemory,
        instruments: &[Instrument],
        updates: Tx<Update>,
    ) -> Result<Self, MemoryError> {
        let watch = |index| Ok((index, memory.watch(&shard_map(index), None)?));
        Ok(Self {
            watches: (0..SHARDS).map(watch).collect::<Result<_, MemoryError>>()?,
            columns: instruments.iter().map(|i| (i.symbol.clone(), i.clone())).collect(),
            updates,
            news: Arc::default(),
            shared: ReaderHandle::default(),
            strangers: HashSet::new(),
            garbage_told: false,
        })
    }

    /// Told when updates have been handed on; for one who waits for them.
    pub fn news(&self) -> Arc<Notify> {
        Arc::clone(&self.news)
    }

    /// Its counters.
    pub fn handle(&self) -> ReaderHandle {
        self.shared.clone()
    }

    /// Reads until memory's thread ends.
    pub async fn run(mut self) {
        let bell = Arc::<Notify>::default();
        self.watches.iter().for_each(|(_, watch)| watch.ring(&bell));
        loop {
            let mut any = false;
            for at in 0..self.watches.len() {
                while let Some(change) = self.watches[at].1.try_next() {
                    self.change(self.watches[at].0, &change);
                    any = true;
                }
            }
            if any {
                self.news.notify_one();
                tokio::time::sleep(TURN).await;
            }
            bell.notified().await;
        }
    }

    fn change(&mut self, index: u32, change: &Change) {
        // Removed: the symbol goes stale by itself.
        let Some(text) = &change.value else { return };
        let counters = Arc::clone(&self.shared.0);
        let Some(instrument) = self.columns.get(&change.key) else {
            counters.unlisted.fetch_add(1, Ordering::Relaxed);
            if self.strangers.len() < STRANGERS && self.strangers.insert(change.key.clone()) {
                tracing::debug!(symbol = change.key, "features of a symbol that is not followed");
            }
            return;
        };
        match update(index, instrument, text) {
            Ok(update) => {
                let to = if self.updates.push(update).is_ok() { &counters.taken } else { &counters.lost };
                to.fetch_add(1, Ordering::Relaxed);
            }
            Err(reason) => {
                counters.garbage.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut self.garbage_told, true) {
                    let symbol = &change.key;
                    tracing::warn!(symbol, reason, "a shard value is ignored; further ones are counted");
                }
            }
        }
    }
}

fn update(index: u32, instrument: &Instrument, text: &str) -> Result<Update, String> {
    let r = ShardRecord::from_memory(text).map_err(|e| e.to_string())?;
    if r.ob.symbol != instrument.symbol || shard(&r.ob.symbol) != index {
        return Err(format!("it holds {}, whose shard is {}", r.ob.symbol, shard(&r.ob.symbol)));
    }
    let level = |px: f64, qty: f64| {
        let level = Level { px: Px(instrument.tick.nearest(px)?), qty: Qty(instrument.lot.nearest(qty)?) };
        level.is_valid().then_some(level)
    };
    let (Some(bid), Some(ask)) = (level(r.bid, r.bid_qty), level(r.ask, r.ask_qty)) else {
        return Err(format!("the prices {} and {} are none of {}", r.bid, r.ask, instrument.symbol));
    };
    if bid.px >= ask.px {
        return Err(format!("bid {} and ask {} are the same tick", r.bid, r.ask));
    }
    Ok(Update {
        symbol: SymbolId(instrument.id.0),
        ts: r.ob.timestamp,
        mid: r.mid,
        features: r.ob.features,
        bid,
        ask,
        mark: r.mark,
    })
}
