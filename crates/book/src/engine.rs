//! The feature engine (SPEC §5): the books of all symbols on one event-time clock, sampled together.
//!
//! The clock is the largest event time `E` over all symbols. Boundaries are multiples of the interval; the first is
//! the first one above the first `E`. An event with `E` at or above the next boundary first causes every due boundary
//! to be sampled, for every symbol, and is then applied; a late event is applied on arrival and counts to the next
//! sample.
//!
//! **Prepared before its boundary** (SPEC §7). What a sample says of a symbol follows from its book, the trades of the
//! interval and its own past, and none of them knows the time of the boundary. So [`FeatureEngine::prepare`] computes it
//! ahead, whenever the caller has nothing else to do; what touches a symbol makes its share stale, and at the boundary
//! only stale shares are computed, by the same code. The past is kept twice: one side is what was, the other what will be
//! once the boundary comes, and then they change places, for all symbols at once.

use market::{
    Bbo, CrossAsset, DepthSnapshot, Instrument, MarkPrice, MarketEvent, Nanos, ObAverages, ObFeatures,
    SymbolId, Trade,
};

use crate::features::{Decay, Past, SymbolFeatures};
use crate::local_book::{BookOutcome, LocalBook};

/// Withdrawal velocity at or below which a symbol cascades.
const CASCADE_VELOCITY: f64 = -0.10;
/// Share of agreement from which the majority is a regime.
const REGIME_AGREEMENT: f64 = 0.60;

/// An `E` farther than this above the clock is not believed at once: one broken time stamp must not throw the clock
/// into the future, where it would wait for the market for ever.
const MAX_CLOCK_STEP: u64 = 3_600 * Nanos::SECOND;
/// So many events in a row above [`MAX_CLOCK_STEP`] are believed: the recording has a hole, the feed was down.
const STEP_CONFIRMATIONS: u32 = 16;

/// One sample: all symbols at one boundary.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// The boundary.
    pub ts: Nanos,
    /// By [`SymbolId`]; `None` = the book is not in sync, one-sided or crossed.
    pub features: &'a [Option<ObFeatures>],
    /// By [`SymbolId`]; NaN = the book is not in sync, one-sided or crossed.
    pub mids: &'a [f64],
    /// What the symbols with features say together.
    pub cross: CrossAsset,
}

/// What the engine met since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EngineCounters {
    /// Samples taken.
    pub samples: u64,
    /// Events below a boundary already sampled.
    pub late: u64,
    /// Events whose time stamp was too far ahead of the clock to be believed.
    pub unbelievable: u64,
    /// Events of a symbol the engine does not know.
    pub unknown_symbol: u64,
    /// Samples of which every symbol's share had been computed before.
    pub prepared: u64,
    /// Symbols' shares that had to be computed at their boundary.
    pub computed_late: u64,
}

/// What is known of one symbol.
#[derive(Debug, Clone)]
struct SymbolState {
    book: LocalBook,
    features: SymbolFeatures,
    /// By the engine's side.
    past: [Past; 2],
    bbo: Option<Bbo>,
    trade: Option<Trade>,
    mark: Option<MarkPrice>,
}

/// A sample as it was taken, or as the next will be.
#[derive(Debug, Clone)]
struct Outputs {
    features: Vec<Option<ObFeatures>>,
    mids: Vec<f64>,
    cross: CrossAsset,
}

/// Which symbols' shares of the next sample are yet to be computed: a bit each, and one for what they say together.
#[derive(Debug, Clone)]
struct Stale {
    words: Vec<u64>,
    symbols: usize,
    cross: bool,
}

impl Stale {
    fn all(symbols: usize) -> Self {
        let mut stale = Self { words: vec![0; symbols.div_ceil(64)], symbols, cross: true };
        stale.set_all();
        stale
    }

    fn set(&mut self, symbol: usize) {
        self.words[symbol / 64] |= 1 << (symbol % 64);
        self.cross = true;
    }

    fn set_all(&mut self) {
        self.words.fill(u64::MAX);
        if let Some(last) = self.words.last_mut() {
            *last >>= (64 - self.symbols % 64) % 64;
        }
        self.cross = true;
    }

    /// Takes one out.
    fn pop(&mut self) -> Option<usize> {
        let (word, bits) = self.words.iter_mut().enumerate().find(|(_, bits)| **bits != 0)?;
        let bit = bits.trailing_zeros() as usize;
        *bits &= *bits - 1;
        Some(word * 64 + bit)
    }
}

/// Books and features of all symbols.
#[derive(Debug, Clone)]
pub struct FeatureEngine {
    interval: u64,
    decay: Decay,
    symbols: Vec<SymbolState>,
    /// The next boundary to sample; zero before the first event.
    next_boundary: u64,
    /// Events in a row beyond [`MAX_CLOCK_STEP`].
    far_ahead: u32,
    /// Which of the two pasts and outputs is what was; the other is what will be.
    side: usize,
    outputs: [Outputs; 2],
    stale: Stale,
    counters: EngineCounters,
}

impl FeatureEngine {
    /// `instruments` in column order: the place is the [`SymbolId`]. `interval` > 0.
    pub fn new(instruments: &[Instrument], interval: Nanos) -> Self {
        let interval = interval.0.max(1);
        let symbol = |i: &Instrument| SymbolState {
            book: LocalBook::new(),
            features: SymbolFeatures::new(i),
            past: [Past::default(); 2],
            bbo: None,
            trade: None,
            mark: None,
        };
        let n = instruments.len();
        let outputs =
            Outputs { features: vec![None; n], mids: vec![f64::NAN; n], cross: CrossAsset::default() };
        Self {
            interval,
            decay: Decay::new(interval as f64 / Nanos::SECOND as f64),
            symbols: instruments.iter().map(symbol).collect(),
            next_boundary: 0,
            far_ahead: 0,
            side: 0,
            outputs: [outputs.clone(), outputs],
            stale: Stale::all(n),
            counters: EngineCounters::default(),
        }
    }

    /// The symbol's averages go on from those of an earlier run: they advance only on ticks with features (SPEC §5), so that the
    /// time in between does not count.
    pub fn go_on(&mut self, symbol: SymbolId, averages: &ObAverages) {
        if let Some(s) = self.symbols.get_mut(symbol.index()) {
            s.past[self.side].go_on(averages);
            self.stale.set(symbol.index());
        }
    }

    /// The symbol is known to have `aggTrade`: its raw trades never count. Without this word they count until the
    /// interval of the first `aggTrade`.
    pub fn expect_aggregates(&mut self, symbol: SymbolId) {
        if let Some(s) = self.symbols.get_mut(symbol.index()) {
            s.features.expect_aggregates();
            self.stale.set(symbol.index());
        }
    }

    /// Takes an event; before it, `on_sample` gets every boundary that the event's time makes due.
    /// The outcome is that of the book, if the event was a depth update.
    #[inline]
    pub fn on_event(
        &mut self,
        event: &MarketEvent<'_>,
        mut on_sample: impl FnMut(&Sample<'_>),
    ) -> Option<BookOutcome> {
        self.advance(event.ts_send(), &mut on_sample);
        let Some(s) = self.symbols.get_mut(event.symbol().index()) else {
            self.counters.unknown_symbol += 1;
            return None;
        };
        match event {
            MarketEvent::Depth(u) => {
                self.stale.set(u.symbol.index());
                return Some(s.book.on_update(u));
            }
            MarketEvent::Bbo(b) => {
                if s.bbo.is_none_or(|old| old.update_id < b.update_id) {
                    s.bbo = Some(*b);
                }
            }
            MarketEvent::Trade(t) => {
                self.stale.set(t.symbol.index());
                s.features.on_trade(t, self.counters.samples);
                s.trade = Some(*t);
            }
            MarketEvent::Mark(m) => s.mark = Some(*m),
        }
        None
    }

    /// Takes a depth snapshot. It is a reply, not a stream event: the clock does not move.
    pub fn on_snapshot(&mut self, snapshot: &DepthSnapshot<'_>) -> BookOutcome {
        match self.symbols.get_mut(snapshot.symbol.index()) {
            Some(s) => {
                self.stale.set(snapshot.symbol.index());
                s.book.on_snapshot(snapshot)
            }
            None => {
                self.counters.unknown_symbol += 1;
                BookOutcome::Old
            }
        }
    }

    /// Moves the clock to `at`, as an event of that time would: samples every boundary ≤ `at`.
    #[inline]
    pub fn advance(&mut self, at: Nanos, on_sample: &mut impl FnMut(&Sample<'_>)) {
        if at.0 < self.next_boundary {
            self.far_ahead = 0;
            if at.0 + self.interval < self.next_boundary {
                self.counters.late += 1;
            }
            return;
        }
        self.advance_over(at.0, on_sample);
    }

    #[cold]
    fn advance_over(&mut self, at: u64, on_sample: &mut impl FnMut(&Sample<'_>)) {
        if self.next_boundary == 0 {
            self.next_boundary = self.first_above(at);
            return;
        }
        if at - self.next_boundary > MAX_CLOCK_STEP {
            self.far_ahead += 1;
            if self.far_ahead < STEP_CONFIRMATIONS {
                self.counters.unbelievable += 1;
                return;
            }
            // Nothing is known of the hole: the clock starts anew behind it.
            self.next_boundary = self.first_above(at);
        }
        self.far_ahead = 0;
        while self.next_boundary <= at {
            self.sample();
            let (ts, Outputs { features, mids, cross }) =
                (Nanos(self.next_boundary), &self.outputs[self.side]);
            on_sample(&Sample { ts, features, mids, cross: *cross });
            self.next_boundary = self.next_boundary.saturating_add(self.interval);
        }
    }

    /// The first boundary above `at`.
    fn first_above(&self, at: u64) -> u64 {
        (at / self.interval + 1).saturating_mul(self.interval)
    }

    /// Computes ahead what the next sample will say of up to `most` symbols; `false`: nothing was left to do.
    pub fn prepare(&mut self, most: usize) -> bool {
        let did = self.compute_shares(most);
        // Fewer than asked for: no share is left.
        did > 0 || did < most && self.compute_cross()
    }

    /// The mids of the next sample, once everything of it is computed and until something changes.
    pub fn mids_ahead(&self) -> Option<&[f64]> {
        (!self.stale.cross).then(|| self.outputs[1 - self.side].mids.as_slice())
    }

    /// Computes up to `most` stale shares of the next sample; how many there were.
    fn compute_shares(&mut self, most: usize) -> usize {
        let Self { symbols, outputs, stale, side, decay, counters, .. } = self;
        let (was, ahead) = (*side, 1 - *side);
        let Outputs { features, mids, .. } = &mut outputs[ahead];
        for done in 0..most {
            let Some(i) = stale.pop() else { return done };
            let SymbolState { book, features: of, past, .. } = &mut symbols[i];
            past[ahead] = past[was];
            let past = &mut past[ahead];
            of.close_interval(past, decay, counters.samples);
            (mids[i], features[i]) = if book.is_live() {
                (of.mid(book.book()), of.sample(past, book.book(), decay))
            } else {
                (f64::NAN, None)
            };
        }
        most
    }

    /// What the symbols say together, from shares that are all there; `false`: it was known.
    fn compute_cross(&mut self) -> bool {
        if !self.stale.cross {
            return false;
        }
        let ahead = &mut self.outputs[1 - self.side];
        ahead.cross = cross_asset(&ahead.features);
        self.stale.cross = false;
        true
    }

    /// The boundary has come: what will be is what was.
    fn sample(&mut self) {
        let late = self.compute_shares(usize::MAX);
        self.compute_cross();
        self.counters.samples += 1;
        self.counters.prepared += u64::from(late == 0);
        self.counters.computed_late += late as u64;
        self.side = 1 - self.side;
        self.stale.set_all();
    }

    /// The symbol's book and its state; `None` for a symbol the engine does not know.
    #[inline]
    pub fn book(&self, symbol: SymbolId) -> Option<&LocalBook> {
        self.symbols.get(symbol.index()).map(|s| &s.book)
    }

    /// Another book of the symbol takes the place of its own; the histories of its features go on.
    pub fn replace_book(&mut self, symbol: SymbolId, book: LocalBook) {
        if let Some(s) = self.symbols.get_mut(symbol.index()) {
            s.book = book;
            self.stale.set(symbol.index());
        }
    }

    /// The connection behind the symbol's depth was lost: its book is stale until the next snapshot.
    pub fn invalidate(&mut self, symbol: SymbolId) {
        if let Some(s) = self.symbols.get_mut(symbol.index()) {
            s.book.invalidate();
            self.stale.set(symbol.index());
        }
    }

    /// The newest best bid and offer: of the `bookTicker` stream or of the live book, whichever has the larger
    /// update id.
    #[inline]
    pub fn bbo(&self, symbol: SymbolId) -> Option<Bbo> {
        let s = self.symbols.get(symbol.index())?;
        let ticker = s.bbo;
        if s.book.is_live() && ticker.is_none_or(|t| t.update_id < s.book.last_update_id()) {
            let (bid, ask) = (s.book.book().best_bid(), s.book.book().best_ask());
            if let (Some(bid), Some(ask)) = (bid, ask) {
                let (ts_event, ts_send) = s.book.times();
                let update_id = s.book.last_update_id();
                return Some(Bbo { symbol, ts_event, ts_send, update_id, bid, ask });
            }
        }
        ticker
    }

    /// The newest trade.
    pub fn trade(&self, symbol: SymbolId) -> Option<&Trade> {
        self.symbols.get(symbol.index())?.trade.as_ref()
    }

    /// The newest mark price.
    pub fn mark(&self, symbol: SymbolId) -> Option<&MarkPrice> {
        self.symbols.get(symbol.index())?.mark.as_ref()
    }

    /// Symbols the engine was made for.
    pub fn symbols(&self) -> usize {
        self.symbols.len()
    }

    /// What the engine met so far; each book has counters of its own.
    pub fn counters(&self) -> &EngineCounters {
        &self.counters
    }

    /// The next boundary to be sampled; zero before the first event.
    pub fn next_boundary(&self) -> Nanos {
        Nanos(self.next_boundary)
    }
}

/// What the symbols with features say together.
pub fn cross_asset(features: &[Option<ObFeatures>]) -> CrossAsset {
    let (mut n, mut up, mut down, mut cascade_count) = (0u32, 0u32, 0u32, 0u32);
    for f in features.iter().flatten() {
        n += 1;
        up += u32::from(f.depth_asymmetry > 0.0);
        down += u32::from(f.depth_asymmetry < 0.0);
        cascade_count += u32::from(f.withdrawal_velocity <= CASCADE_VELOCITY);
    }
    let agreement_pct = if n == 0 { 0.0 } else { f64::from(up.max(down)) / f64::from(n) };
    let regime_signal =
        if agreement_pct >= REGIME_AGREEMENT { i8::from(up > down) - i8::from(down > up) } else { 0 };
    CrossAsset { agreement_pct, cascade_count, regime_signal }
}
