//! Which depth snapshot is fetched next, and how deep: a scheduler over the venue's weight limit.
//!
//! The problem: a snapshot of 1000 levels weighs 20 of the 2,400 that an address has a minute, so 400 books would take
//! four minutes, all of the limit, and what reconciliation and exits need of it. The idea: a book is first brought into
//! step, as shallow as it takes, and deepened with what is left over.
//!
//! 1. A book that is out of step goes first ([`Purpose::Resync`], [`Purpose::Book`]), then books that were taken too
//!    shallow ([`Purpose::Deepen`]), then comparisons ([`Purpose::Audit`]). Each by the room of its class
//!    ([`RateLimits::room`]): nothing is returned that the limit would refuse.
//! 2. A book needs the levels within 5 % of its mid (SPEC §5), at most 1000 ([`levels_within`]). It is compared as deep as
//!    it was taken: a comparison does not wait for the deepening.
//! 3. All waiting books are to be in step within [`SnapshotConfig::target`]. Each may weigh its part of half the weight
//!    there is until then: the other half is for another node on the address, which plans by the same rule. The part is
//!    set when the first book begins to wait and only falls after: who is done first leaves the rest to the other. What
//!    neither used is found by the deepening.
//! 4. A book that does not come into step is asked for less and less often, and one that was in step for long has
//!    forgotten its failures.
//!
//! A pure core: times and results in, the next request out.

use std::collections::BTreeSet;

use market::{Nanos, SymbolId};
use serde::{Deserialize, Serialize};

use crate::limits::{RateLimits, Urgency};

/// Depth that the features read, as a part of the mid (SPEC §5: 5 %).
pub const FEATURE_DEPTH: f64 = 0.05;
/// The depths that the venue has, each with its weight; up to 50 levels all weigh the same.
const TIERS: [(u32, u32); 4] = [(50, 2), (100, 5), (500, 10), (1000, 20)];

/// The weight of `GET /fapi/v1/depth` (BINANCE.md §2).
pub const fn depth_weight(limit: u32) -> u32 {
    let mut tier = 0;
    while tier + 1 < TIERS.len() && limit > TIERS[tier].0 {
        tier += 1;
    }
    TIERS[tier].1
}

/// The most levels that a side can have within `part` of `px`; `u32::MAX` where that cannot be told.
pub fn levels_within(px: f64, tick: f64, part: f64) -> u32 {
    let levels = (px * part / tick).floor() + 1.0;
    if levels.is_finite() && levels > 0.0 { levels as u32 } else { u32::MAX }
}

/// Settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Fetched at one time.
    pub at_once: usize,
    /// All waiting books are to be in step within this, ns; the plan leaves a sixth of it for what comes late.
    pub target: u64,
    /// Nodes that may share the address.
    pub nodes: u64,
    /// First pause before another snapshot of a book that did not come into step, ns; it doubles.
    pub first_pause: u64,
    /// Longest such pause, ns.
    pub longest_pause: u64,
    /// A book that was in step for so long has forgotten its failures, ns.
    pub settled: u64,
    /// Are shallow books taken deeper once all are in step? The caller must then do what [`Purpose::Deepen`] says.
    pub deepen: bool,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            at_once: 8,
            target: 60 * Nanos::SECOND,
            nodes: 2,
            first_pause: 250 * Nanos::MS,
            longest_pause: 8 * Nanos::SECOND,
            settled: 10 * Nanos::SECOND,
            deepen: true,
        }
    }
}

/// What a snapshot is for, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// The book was in step and is lost.
    Resync,
    /// The book has not been in step yet.
    Book,
    /// The book is in step, from a snapshot that does not reach as far as the features do. A deeper one is to replace it
    /// without a gap: build a second book beside it from this snapshot and the updates since it was asked for, as an
    /// audit does, and change over when both stand at the same update id.
    Deepen,
    /// To compare the book with.
    Audit,
}

impl Purpose {
    const ALL: [Self; 4] = [Self::Resync, Self::Book, Self::Deepen, Self::Audit];

    /// Its class of the rate limit.
    pub const fn urgency(self) -> Urgency {
        match self {
            Self::Resync => Urgency::Resync,
            Self::Book => Urgency::Snapshot,
            Self::Deepen | Self::Audit => Urgency::Audit,
        }
    }

    /// Is its book out of step?
    const fn is_needed(self) -> bool {
        matches!(self, Self::Resync | Self::Book)
    }
}

/// A snapshot to fetch; [`Snapshots::done`] must follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {
    /// Instrument.
    pub symbol: SymbolId,
    /// What for.
    pub purpose: Purpose,
    /// Levels a side: 50, 100, 500 or 1000.
    pub limit: u32,
}

/// How a fetch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetched {
    /// The snapshot is there. If the book does not come into step with it, [`Snapshots::need`] follows.
    Arrived,
    /// No answer, or a refusal.
    Failed,
    /// The rate limit did not let it out: no failure of the book's.
    NotSent,
}

#[derive(Debug, Clone, Copy)]
struct Book {
    /// Levels that it should have.
    needed: u32,
    /// Levels that its last snapshot was asked for with.
    taken: u32,
    /// Snapshots since it was last in step for long.
    attempts: u32,
    /// Since when it is in step.
    synced: Option<Nanos>,
    /// It has been in step before.
    known: bool,
    /// Where it waits.
    waits: Option<(Purpose, Nanos)>,
}

/// See the module's text.
#[derive(Debug)]
pub struct Snapshots {
    config: SnapshotConfig,
    books: Vec<Book>,
    /// By purpose: due time and symbol.
    waiting: [BTreeSet<(Nanos, SymbolId)>; 4],
    running: usize,
    /// Until when the waiting books are to be in step, and what each may weigh.
    plan: Option<(Nanos, u64)>,
}

impl Snapshots {
    /// For `symbols` books, none in step, none wanted yet.
    pub fn new(symbols: usize, config: SnapshotConfig) -> Self {
        let book = Book { needed: u32::MAX, taken: 0, attempts: 0, synced: None, known: false, waits: None };
        Self { config, books: vec![book; symbols], waiting: Default::default(), running: 0, plan: None }
    }

    /// How many levels a side a book should have ([`levels_within`]); 1000 until it is told.
    pub fn set_levels(&mut self, symbol: SymbolId, levels: u32) {
        if let Some(book) = self.books.get_mut(symbol.index()) {
            book.needed = levels;
        }
    }

    /// A book is out of step and needs a snapshot. How many it had since it was last in step for long.
    pub fn need(&mut self, symbol: SymbolId, now: Nanos) -> u32 {
        let config = self.config;
        let Some(book) = self.books.get_mut(symbol.index()) else { return 0 };
        if book.synced.take().is_some_and(|at| now.since(at).0 >= config.settled) {
            book.attempts = 0;
        }
        let pause = match book.attempts {
            0 => 0,
            n => config.first_pause.saturating_mul(1 << (n - 1).min(10)).min(config.longest_pause),
        };
        book.attempts += 1;
        let (had, purpose) = (book.attempts - 1, if book.known { Purpose::Resync } else { Purpose::Book });
        self.wait(symbol, purpose, now.plus(pause));
        had
    }

    /// A book is in step.
    pub fn synced(&mut self, symbol: SymbolId, now: Nanos) {
        let Some(book) = self.books.get_mut(symbol.index()) else { return };
        book.synced = Some(now);
        book.known = true;
        if book.waits.is_none() && self.config.deepen && book.taken < tier(book.needed).0 {
            self.wait(symbol, Purpose::Deepen, now);
        }
    }

    /// What became of a [`Purpose::Deepen`] that arrived: the book holds so many levels now, or (`None`) the deeper one
    /// did not come into step, and is tried again later.
    pub fn deepened(&mut self, symbol: SymbolId, limit: Option<u32>, now: Nanos) {
        let again = now.plus(self.config.longest_pause);
        let Some(book) = self.books.get_mut(symbol.index()) else { return };
        match limit {
            Some(limit) => book.taken = limit,
            None if book.waits.is_none() => self.wait(symbol, Purpose::Deepen, again),
            None => {}
        }
    }

    /// A book is to be compared with the venue's. Not now, if its book waits for a snapshot anyway.
    pub fn audit(&mut self, symbol: SymbolId, now: Nanos) {
        if self.books.get(symbol.index()).is_some_and(|book| book.waits.is_none()) {
            self.wait(symbol, Purpose::Audit, now);
        }
    }

    /// The next snapshot to fetch. `limits` and `server`: the venue's limits and time now.
    pub fn next(&mut self, limits: &RateLimits, server: Nanos, now: Nanos) -> Option<SnapshotRequest> {
        let needed = self.waiting(Purpose::Resync) + self.waiting(Purpose::Book);
        if needed == 0 {
            self.plan = None;
        }
        if self.running >= self.config.at_once {
            return None;
        }
        let due = |waiting: &BTreeSet<(Nanos, SymbolId)>| {
            waiting.first().filter(|(at, _)| *at <= now).map(|(_, symbol)| *symbol)
        };
        for purpose in Purpose::ALL {
            let Some(symbol) = due(&self.waiting[purpose as usize]) else { continue };
            let (limit, weight) = self.depth(symbol, purpose, limits, server, now);
            if limits.room(purpose.urgency(), server) >= weight {
                self.forget(symbol);
                self.running += 1;
                return Some(SnapshotRequest { symbol, purpose, limit });
            }
            // A deepening that has no room keeps no comparison from being made; a book out of step does.
            if purpose.is_needed() {
                return None;
            }
        }
        None
    }

    /// Rule 3.
    fn depth(
        &mut self,
        symbol: SymbolId,
        purpose: Purpose,
        limits: &RateLimits,
        server: Nanos,
        now: Nanos,
    ) -> (u32, u32) {
        let book = &self.books[symbol.index()];
        let wanted = tier(book.needed);
        match purpose {
            // More would tell of levels that the book was never given.
            Purpose::Audit => return tier(book.taken.min(book.needed)),
            Purpose::Deepen => return wanted,
            Purpose::Resync | Purpose::Book => {}
        }
        let planned = self.config.target - self.config.target / 6;
        let (plan, weighs) = *self.plan.get_or_insert((now.plus(planned), u64::MAX));
        // Late: what is left is spread over a little while all the same.
        let end = plan.max(now.plus(planned / 5));
        let until = server.plus(end.since(now).0);
        let needed = self.waiting(Purpose::Resync) + self.waiting(Purpose::Book);
        let each = limits.room_until(purpose.urgency(), server, until)
            / (self.config.nodes.max(1) * needed.max(1) as u64);
        let each = each.min(weighs);
        self.plan = Some((plan, each));
        let afforded = TIERS.iter().rev().find(|(_, weight)| u64::from(*weight) <= each);
        wanted.min(*afforded.unwrap_or(&TIERS[0]))
    }

    /// A fetch has ended. One that failed is made again, unless it was a comparison: that one is given up.
    pub fn done(&mut self, request: SnapshotRequest, how: Fetched, now: Nanos) {
        self.running = self.running.saturating_sub(1);
        let SnapshotRequest { symbol, purpose, limit } = request;
        let Some(book) = self.books.get_mut(symbol.index()) else { return };
        match (how, purpose) {
            (_, Purpose::Audit) | (Fetched::Arrived, Purpose::Deepen) => {}
            (Fetched::Arrived, _) => book.taken = limit,
            (Fetched::Failed, Purpose::Resync | Purpose::Book) => {
                self.need(symbol, now);
            }
            (_, purpose) if book.waits.is_none() => {
                self.wait(symbol, purpose, now.plus(self.config.first_pause));
            }
            _ => {}
        }
    }

    /// Levels a side that the snapshot behind a book was asked for with; 0: none yet.
    pub fn taken(&self, symbol: SymbolId) -> u32 {
        self.books.get(symbol.index()).map_or(0, |book| book.taken)
    }

    /// How many wait for this.
    pub fn waiting(&self, purpose: Purpose) -> usize {
        self.waiting[purpose as usize].len()
    }

    /// How many are being fetched.
    pub const fn running(&self) -> usize {
        self.running
    }

    /// In one queue at most: the last word counts.
    fn wait(&mut self, symbol: SymbolId, purpose: Purpose, due: Nanos) {
        self.forget(symbol);
        self.books[symbol.index()].waits = Some((purpose, due));
        self.waiting[purpose as usize].insert((due, symbol));
    }

    fn forget(&mut self, symbol: SymbolId) {
        if let Some((purpose, due)) = self.books[symbol.index()].waits.take() {
            self.waiting[purpose as usize].remove(&(due, symbol));
        }
    }
}

/// The shallowest depth that holds so many levels, and its weight.
fn tier(levels: u32) -> (u32, u32) {
    *TIERS.iter().find(|(limit, _)| *limit >= levels).unwrap_or(&TIERS[TIERS.len() - 1])
}
