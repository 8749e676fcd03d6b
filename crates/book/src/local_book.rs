//! Depth recovery: the book of one symbol kept in step with the venue by update ids.
//!
//! The venue's rule (USDⓈ-M futures, "How to manage a local order book correctly"):
//!
//! 1. buffer the depth updates, 2. take a snapshot with `lastUpdateId`, 3. drop updates with `u < lastUpdateId`,
//! 4. the first one applied must have `U <= lastUpdateId <= u`, 5. from then on each `pu` must equal the `u` before it,
//!    else the book is lost: start again.
//!
//! ```text
//! depthUpdate {"U":157,"u":160,"pu":149,"b":[["0.0024","10"]],"a":[]}     snapshot {"lastUpdateId":158,"bids":…}
//! ```
//!
//! What the rule leaves open, decided here:
//! * A snapshot older than everything buffered (`lastUpdateId < U` of the first update not below it) is of no use, but
//!   the buffer is: it stays, and another snapshot is asked for. Clearing it would never synchronise on a slow link.
//! * While the book is lost, updates keep being buffered, so the next snapshot finds its successor there.
//! * A gap inside the buffer makes everything before it useless: the buffer starts anew behind the gap.
//! * A live book drops an update whose `u` is not above its own (a replayed or late frame) and counts it.
//! * With the snapshot taken but no update behind it yet, nothing proves that none was missed: the book is not live
//!   until an update passes rule 4. One whose `pu` is the `lastUpdateId` itself passes, too: it starts right behind.
//! * Best bid ≥ best ask after an update: the book is masked at once and a snapshot is asked for. It goes on following
//!   the stream, though, and an update that uncrosses it unmasks it (SPEC §5 masks crossed books tick by tick, and a
//!   recording has no other snapshot); what comes meanwhile is buffered too, for the snapshot to start from.

use std::collections::VecDeque;

use market::planted::{Bug, planted};
use market::{DepthSnapshot, DepthUpdate, Level, Nanos, Px};

use crate::order_book::OrderBook;

/// Updates buffered for one symbol (10 s of the fastest stream are about 400); the oldest go first.
pub const MAX_BUFFERED_UPDATES: usize = 1024;
/// Levels buffered for one symbol.
pub const MAX_BUFFERED_LEVELS: usize = 65_536;

/// Is the book to be trusted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookState {
    /// Collecting updates, waiting for a first snapshot that fits.
    Syncing,
    /// In step with the venue.
    Live,
    /// It was live and lost its way: masked until a new snapshot fits.
    Stale,
}

/// What came of an update or a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BookOutcome {
    /// The book moved.
    Applied,
    /// Kept for the snapshot to come.
    Buffered,
    /// Not newer than what the book already holds: nothing changed.
    Old,
    /// A `pu` gap: the book is stale from here on and needs a snapshot.
    Gap,
    /// The book moved, and best bid ≥ best ask: it is masked until that ends, and needs a snapshot.
    Crossed,
    /// A snapshot older than the buffered updates: ask for another one.
    SnapshotTooOld,
    /// A price or quantity beyond what a book holds: nothing changed.
    OutOfRange,
}

/// What happened to a book since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BookCounters {
    /// Updates applied.
    pub applied: u64,
    /// `pu` gaps.
    pub gaps: u64,
    /// Updates dropped as old: replayed or late.
    pub old: u64,
    /// Times the book was found crossed.
    pub crossed: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// Snapshots refused as older than the buffer.
    pub old_snapshots: u64,
    /// Updates dropped from a full buffer.
    pub buffer_dropped: u64,
    /// Updates and snapshots refused for a number beyond the book's range.
    pub out_of_range: u64,
}

/// A buffered update: its ids, and how many levels of the level buffer are its own.
#[derive(Debug, Clone, Copy)]
struct Pending {
    first: u64,
    last: u64,
    prev: u64,
    bids: usize,
    asks: usize,
}

/// Updates waiting for a snapshot; without a gap between them.
#[derive(Debug, Clone, Default)]
struct Buffer {
    updates: VecDeque<Pending>,
    levels: VecDeque<Level>,
}

impl Buffer {
    fn clear(&mut self) {
        self.updates.clear();
        self.levels.clear();
    }

    fn drop_first(&mut self) {
        if let Some(u) = self.updates.pop_front() {
            self.levels.drain(..u.bids + u.asks);
        }
    }

    fn push(&mut self, u: &DepthUpdate<'_>) {
        let (bids, asks) = (u.bids.len(), u.asks.len());
        let (first, last, prev) = (u.first_update_id, u.last_update_id, u.prev_last_update_id);
        self.updates.push_back(Pending { first, last, prev, bids, asks });
        self.levels.extend(u.bids);
        self.levels.extend(u.asks);
    }

    fn is_full(&self, levels: usize) -> bool {
        self.updates.len() == MAX_BUFFERED_UPDATES || self.levels.len() + levels > MAX_BUFFERED_LEVELS
    }
}

/// All prices.
const EVERYTHING: (Px, Px) = (Px(i64::MIN), Px(i64::MAX));

/// Lowest bid and highest ask of a snapshot; a side without levels is known to be empty.
fn range(s: &DepthSnapshot<'_>) -> (Px, Px) {
    let low = s.bids.iter().map(|l| l.px).min();
    let high = s.asks.iter().map(|l| l.px).max();
    (low.unwrap_or(EVERYTHING.0), high.unwrap_or(EVERYTHING.1))
}

/// The order book of one symbol, with its synchronisation.
#[derive(Debug, Clone)]
pub struct LocalBook {
    book: OrderBook,
    state: BookState,
    /// Lowest bid and highest ask that the snapshot told.
    told: (Px, Px),
    /// `u` of the last update the book holds, or `lastUpdateId` of its snapshot.
    last_update_id: u64,
    /// `T` and `E` of the newest update taken.
    times: (Nanos, Nanos),
    /// The book stands at a snapshot, and no update has passed rule 4 yet.
    awaits_bridge: bool,
    /// Best bid ≥ best ask after the last update.
    crossed: bool,
    /// It was crossed since its snapshot: another one is wanted, and `buffer` keeps what it will need.
    doubted: bool,
    buffer: Buffer,
    counters: BookCounters,
}

impl Default for LocalBook {
    fn default() -> Self {
        Self::new()
    }
}

impl LocalBook {
    /// An empty book that waits for updates and a snapshot.
    pub fn new() -> Self {
        Self {
            book: OrderBook::new(),
            state: BookState::Syncing,
            told: EVERYTHING,
            last_update_id: 0,
            times: (Nanos(0), Nanos(0)),
            awaits_bridge: false,
            crossed: false,
            doubted: false,
            buffer: Buffer::default(),
            counters: BookCounters::default(),
        }
    }

    /// State.
    pub fn state(&self) -> BookState {
        self.state
    }

    /// In step with the venue?
    #[inline]
    pub fn is_live(&self) -> bool {
        self.state == BookState::Live
    }

    /// Should a depth snapshot be fetched? (The caller limits how often.)
    pub fn needs_snapshot(&self) -> bool {
        self.doubted || (!self.is_live() && !self.awaits_bridge)
    }

    /// The book. Only to be trusted while [`Self::is_live`].
    #[inline]
    pub fn book(&self) -> &OrderBook {
        &self.book
    }

    /// Lowest and highest price up to which every level of the venue's is known: a snapshot has a limited number of levels,
    /// and of what lies beyond them only the changes since are here.
    pub fn known(&self) -> (Px, Px) {
        let (low, high) = self.told;
        match self.book.reach() {
            // A full side drops its farthest levels.
            Some((bid, ask)) if self.book.trimmed() > 0 => (low.max(bid), high.min(ask)),
            _ => (low, high),
        }
    }

    /// `u` of the last update the book holds.
    pub fn last_update_id(&self) -> u64 {
        self.last_update_id
    }

    /// `T` and `E` of the newest update or snapshot taken or buffered.
    #[inline]
    pub fn times(&self) -> (Nanos, Nanos) {
        self.times
    }

    /// What happened so far.
    pub fn counters(&self) -> &BookCounters {
        &self.counters
    }

    /// The connection was lost or the caller has a reason to doubt the book: it is stale, and what is buffered goes.
    pub fn invalidate(&mut self) {
        self.lose();
    }

    fn lose(&mut self) {
        (self.awaits_bridge, self.crossed, self.doubted) = (false, false, false);
        self.buffer.clear();
        self.mask();
    }

    fn mask(&mut self) {
        if self.state == BookState::Live {
            self.state = BookState::Stale;
        }
    }

    /// Takes a depth update.
    #[inline]
    pub fn on_update(&mut self, u: &DepthUpdate<'_>) -> BookOutcome {
        if !(Level::all_valid(u.bids) & Level::all_valid(u.asks)) {
            self.counters.out_of_range += 1;
            return BookOutcome::OutOfRange;
        }
        if !self.is_live() && !self.awaits_bridge && !self.crossed {
            return self.hold(u);
        }
        if self.is_old(u.last_update_id) {
            self.counters.old += 1;
            return BookOutcome::Old;
        }
        if !self.continues(u.first_update_id, u.prev_last_update_id) {
            return self.restart(u);
        }
        self.times = (u.ts_event, u.ts_send);
        self.book.apply(u.bids, u.asks);
        let outcome = self.advance(u.last_update_id);
        if self.doubted {
            self.hold(u);
        }
        outcome
    }

    /// Rule 3: an update with `u = lastUpdateId` may still be the bridging one.
    #[inline]
    fn is_old(&self, last: u64) -> bool {
        last < self.last_update_id || (last == self.last_update_id && !self.awaits_bridge)
    }

    /// Rules 4 and 5.
    #[inline]
    fn continues(&self, first: u64, prev: u64) -> bool {
        if self.awaits_bridge {
            // An update that starts right behind the snapshot by `pu` continues it just as well.
            first <= self.last_update_id || prev == self.last_update_id
        } else {
            prev == self.last_update_id || planted(Bug::GapNotSeen)
        }
    }

    /// The update does not continue the book: it becomes the first of a new buffer.
    #[cold]
    fn restart(&mut self, u: &DepthUpdate<'_>) -> BookOutcome {
        let outcome = if self.awaits_bridge {
            self.counters.old_snapshots += 1;
            BookOutcome::SnapshotTooOld
        } else {
            self.counters.gaps += 1;
            BookOutcome::Gap
        };
        self.lose();
        self.hold(u);
        outcome
    }

    /// The book has just taken the update that ends at `last`.
    #[inline]
    fn advance(&mut self, last: u64) -> BookOutcome {
        self.last_update_id = last;
        self.awaits_bridge = false;
        self.counters.applied += 1;
        let crossed = self.book.is_crossed() && !planted(Bug::CrossedBookNotMasked);
        if crossed {
            self.counters.crossed += u64::from(!self.crossed);
            self.doubted = true;
            self.mask();
        } else {
            self.state = BookState::Live;
        }
        self.crossed = crossed;
        if crossed { BookOutcome::Crossed } else { BookOutcome::Applied }
    }

    #[cold]
    fn hold(&mut self, u: &DepthUpdate<'_>) -> BookOutcome {
        if let Some(tail) = self.buffer.updates.back() {
            if u.last_update_id <= tail.last {
                self.counters.old += 1;
                return BookOutcome::Old;
            }
            if u.prev_last_update_id != tail.last {
                self.counters.gaps += 1;
                self.buffer.clear();
            }
        }
        let levels = u.bids.len() + u.asks.len();
        while self.buffer.is_full(levels) && !self.buffer.updates.is_empty() {
            self.buffer.drop_first();
            self.counters.buffer_dropped += 1;
        }
        if levels > MAX_BUFFERED_LEVELS {
            self.counters.out_of_range += 1;
            return BookOutcome::OutOfRange;
        }
        self.times = (u.ts_event, u.ts_send);
        self.buffer.push(u);
        BookOutcome::Buffered
    }

    /// Takes a depth snapshot. A live book ignores it unless it was crossed since its last one.
    pub fn on_snapshot(&mut self, s: &DepthSnapshot<'_>) -> BookOutcome {
        if !(Level::all_valid(s.bids) & Level::all_valid(s.asks)) {
            self.counters.out_of_range += 1;
            return BookOutcome::OutOfRange;
        }
        let trusted = self.is_live() && !self.doubted;
        if trusted || (self.awaits_bridge && s.last_update_id <= self.last_update_id) {
            // Asked for twice, or a check of a live book: what is here is at least as good.
            return BookOutcome::Old;
        }
        let bridge = self.buffer.updates.iter().find(|u| u.last >= s.last_update_id).copied();
        if let Some(u) = bridge
            && u.first > s.last_update_id
            && u.prev != s.last_update_id
        {
            self.counters.old_snapshots += 1;
            return BookOutcome::SnapshotTooOld;
        }
        self.counters.snapshots += 1;
        self.book.replace(s.bids, s.asks);
        self.told = range(s);
        self.last_update_id = s.last_update_id;
        (self.awaits_bridge, self.crossed, self.doubted) = (true, false, false);
        // Nothing proves yet that no update was missed behind it.
        self.mask();
        self.replay()
    }

    /// Applies what is buffered behind the snapshot just taken.
    fn replay(&mut self) -> BookOutcome {
        let mut buffer = std::mem::take(&mut self.buffer);
        let levels = buffer.levels.make_contiguous();
        let mut at = 0;
        let mut outcome = BookOutcome::Applied;
        for u in &buffer.updates {
            let (bids, rest) = levels[at..].split_at(u.bids);
            let asks = &rest[..u.asks];
            at += u.bids + u.asks;
            if self.is_old(u.last) {
                continue;
            }
            self.book.apply(bids, asks);
            outcome = self.advance(u.last);
        }
        buffer.clear();
        self.buffer = buffer;
        outcome
    }
}
