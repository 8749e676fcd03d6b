//! Updates of the shards to ticks and quotes: the source of an alpha node, in the place of feed and books.

use market::{Bbo, ClockOffset, MarkPrice, Nanos, SymbolId};
use runtime::clock::Clock;
use runtime::conveyor::Loader;
use runtime::latency::Probe;
use runtime::pending::Taker;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::router::Quote;
use super::{Hop, Tick};
use crate::shards::Update;
use crate::shards::assembly::{Assembly, ShardCounters};

/// Updates taken in one duty cycle.
const BATCH: usize = 512;
/// Ticks between two words to the control thread.
const TELL_EVERY: u64 = 10;

/// Updates and what they are gathered into: outlives a change of role, so that no tick is lost by it.
pub struct ShardSource {
    /// From the reader. What finds it full is given up there; the next picture brings the state of then.
    pub updates: Rx<Update>,
    /// To ticks.
    pub assembly: Assembly,
}

impl ShardSource {
    /// Takes what has come, handing each accepted update to `each`; says whether there was any.
    pub fn take(&mut self, now: u64, mut each: impl FnMut(&Update)) -> bool {
        let mut did = false;
        for _ in 0..BATCH {
            let Some(update) = self.updates.pop() else { break };
            did = true;
            if self.assembly.take(&update, now) {
                each(&update);
            }
        }
        did
    }
}

/// The ends of the stage's links.
pub struct ShardLinks {
    /// Ticks for the scanner. None left: the tick waits, and updates conflate behind it.
    pub ticks: Loader<Tick>,
    /// Quotes. Full: given up, the next one brings the state of then.
    pub quotes: Tx<Quote>,
    /// How the ticks are made.
    pub news: Tx<ShardCounters>,
    /// The venue's clock, whenever it was measured.
    pub clock: Taker<ClockOffset>,
}

/// The stage.
pub struct ShardStage {
    source: ShardSource,
    links: ShardLinks,
    /// By symbol: the router holds prices of it.
    quoted: Vec<bool>,
    /// Ticks at the last word to the control thread.
    told: u64,
    clock: Clock,
    probe: Probe,
}

impl ShardStage {
    /// Over the shards of `symbols` symbols.
    pub fn new(source: ShardSource, symbols: usize, links: ShardLinks, clock: Clock, probe: Probe) -> Self {
        Self { source, links, quoted: vec![false; symbols], told: 0, clock, probe }
    }
}

/// The update's best prices and mark as quotes.
fn quotes(update: &Update) -> (Bbo, Option<MarkPrice>) {
    let (symbol, ts) = (update.symbol, update.ts);
    let bbo = Bbo { symbol, ts_event: ts, ts_send: ts, update_id: 0, bid: update.bid, ask: update.ask };
    let mark = MarkPrice {
        symbol,
        ts_send: ts,
        mark: update.mark,
        index: f64::NAN,
        funding_rate: f64::NAN,
        next_funding: Nanos(0),
    };
    (bbo, (update.mark > 0.0).then_some(mark))
}

impl Stage for ShardStage {
    fn name(&self) -> &'static str {
        "shards"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        if let Some(measured) = self.links.clock.take() {
            self.source.assembly.clock_measured(measured.offset_ns);
        }
        let Self { source, links: ShardLinks { quotes: router, .. }, quoted, .. } = self;
        let mut did = source.take(now_ns, |update| {
            let (bbo, mark) = quotes(update);
            quoted[update.symbol.index()] |= router.push(Quote::Bbo(bbo)).is_ok();
            if let Some(mark) = mark {
                let _ = router.push(Quote::Mark(mark));
            }
        });
        while self.source.assembly.is_due(now_ns) {
            let Some(mut tick) = self.links.ticks.acquire() else { break };
            let now = self.clock.now_ns();
            self.source.assembly.tell(&mut tick, now);
            // From the boundary, so it holds the difference of the clocks too.
            self.probe.record(Hop::Shards as u8, now.saturating_sub(tick.ts.0));
            // A symbol that has gone stale is a book that is lost, until its next update.
            for ((quoted, mid), i) in self.quoted.iter_mut().zip(&tick.mids).zip(0..) {
                if *quoted && mid.is_nan() {
                    *quoted = self.links.quotes.push(Quote::Lost(SymbolId(i))).is_err();
                }
            }
            self.links.ticks.send(tick);
            did = true;
        }
        Work::from(did)
    }

    fn housekeep(&mut self, _now_ns: u64) {
        let counters = self.source.assembly.counters;
        if counters.ticks >= self.told + TELL_EVERY {
            self.told = counters.ticks;
            let _ = self.links.news.push(self.source.assembly.counters());
        }
    }
}
