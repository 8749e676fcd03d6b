//! Ticks of an ingest node to values of the shards, on memory's thread.
//!
//! The values go through [`WriteBehind`]: while the cluster is slow or away the last value per symbol waits, and no
//! more. A stale picture that arrives late is harmless: readers go by its time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use market::{Bbo, Instrument, Nanos};
use memory::WriteBehind;
use memory::schema::{HEARTBEAT, Heartbeat, ObRecord, Phase, ShardRecord, features_map, to_text};
use runtime::clock::Clock;
use runtime::conveyor::Unloader;
use runtime::environment::Turns;
use runtime::ring::Rx;
use serde_json::json;

use crate::stages::Tick;
use crate::stages::router::Quote;

/// How often the thread looks for a tick.
pub const TURN: Duration = Duration::from_millis(1);
/// How often a sign of life is written.
const PULSE: u64 = Nanos::SECOND;

/// What was written, from any thread.
#[derive(Debug, Default)]
pub struct WriterCounters {
    /// Ticks taken.
    pub ticks: AtomicU64,
    /// Values handed to memory.
    pub values: AtomicU64,
    /// Symbols without features at the last tick: their books are not in sync.
    pub dark: AtomicU64,
    /// Ends the writer.
    pub finish: AtomicBool,
}

/// The writer; [`Self::run`] is a task of memory's thread.
pub struct Writer {
    /// This node, e.g. `ingest_host_4711`: the key of its heartbeat.
    pub name: String,
    /// Ticks of the books.
    pub ticks: Unloader<Tick>,
    /// Quotes of the books.
    pub quotes: Rx<Quote>,
    /// Delivers.
    pub writes: WriteBehind,
    /// Told outside.
    pub counters: Arc<WriterCounters>,
    clock: Clock,
    symbols: Vec<Known>,
    pulse_due: u64,
}

/// What is known of a symbol beside its features.
struct Known {
    instrument: Instrument,
    map: String,
    quote: Option<Bbo>,
    mark: f64,
}

impl Writer {
    /// A writer for the symbols of a node, in column order.
    pub fn new(
        name: String,
        instruments: &[Instrument],
        ticks: Unloader<Tick>,
        quotes: Rx<Quote>,
        writes: WriteBehind,
        clock: Clock,
    ) -> Self {
        let known = |i: &Instrument| Known {
            instrument: i.clone(),
            map: features_map(&i.symbol),
            quote: None,
            mark: f64::NAN,
        };
        let symbols = instruments.iter().map(known).collect();
        Self { name, ticks, quotes, writes, counters: Arc::default(), clock, symbols, pulse_due: 0 }
    }

    /// Writes until told to finish.
    pub async fn run(mut self, mut turns: Turns) {
        while !self.counters.finish.load(Ordering::Acquire) {
            turns.next().await;
            self.turn();
        }
        self.heartbeat(Phase::FlowEnd);
    }

    fn turn(&mut self) {
        while let Some(quote) = self.quotes.pop() {
            match quote {
                Quote::Bbo(b) => self.symbols[b.symbol.index()].quote = Some(b),
                Quote::Mark(m) => self.symbols[m.symbol.index()].mark = m.mark,
                // Nothing is written of it until its next prices.
                Quote::Lost(symbol) => self.symbols[symbol.index()].quote = None,
            }
        }
        // Of several ticks the newest alone is worth writing.
        let mut newest: Option<Box<Tick>> = None;
        while let Some(tick) = self.ticks.recv() {
            self.counters.ticks.fetch_add(1, Ordering::Relaxed);
            if let Some(older) = newest.replace(tick) {
                self.ticks.give_back(older);
            }
        }
        if let Some(tick) = newest {
            self.write(&tick);
            self.ticks.give_back(tick);
        }
        let now = self.clock.now_ns();
        if now >= self.pulse_due {
            self.pulse_due = now + PULSE;
            self.heartbeat(Phase::LivePulse);
        }
    }

    fn write(&self, tick: &Tick) {
        let mut written = 0;
        for (known, (features, &mid)) in self.symbols.iter().zip(tick.features.iter().zip(&tick.mids)) {
            let (Some(features), Some(quote)) = (*features, known.quote) else { continue };
            let i = &known.instrument;
            let record = ShardRecord {
                ob: ObRecord {
                    symbol: i.symbol.clone(),
                    timestamp: tick.ts,
                    features,
                    cross_asset: tick.cross,
                },
                mid,
                bid: i.px_f64(quote.bid.px),
                bid_qty: i.qty_f64(quote.bid.qty),
                ask: i.px_f64(quote.ask.px),
                ask_qty: i.qty_f64(quote.ask.qty),
                mark: known.mark,
            };
            // A refusal (too much waits) is counted and logged by the writer behind.
            if self.writes.put(&known.map, &i.symbol, to_text(&record)).is_ok() {
                written += 1;
            }
        }
        self.counters.values.fetch_add(written, Ordering::Relaxed);
        self.counters.dark.store(self.symbols.len() as u64 - written, Ordering::Relaxed);
    }

    fn heartbeat(&self, phase: Phase) {
        let extra = json!({
            "role": "ingest",
            "symbols": self.symbols.len(),
            "dark": self.counters.dark.load(Ordering::Relaxed),
            "ticks": self.counters.ticks.load(Ordering::Relaxed),
        });
        let extra = extra.as_object().cloned().unwrap_or_default();
        let beat = Heartbeat { ts: Nanos(self.clock.now_ns()), phase, extra };
        let _ = self.writes.put(HEARTBEAT, &self.name, to_text(&beat));
    }
}
