//! The feature engine against SPEC §5 written down plainly: ordered maps, full histories, sums over every level.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use book::naive::NaiveBook;
use book::{FeatureEngine, Sample};
use market::{
    DepthSnapshot, DepthUpdate, Increment, Instrument, Level, MarketEvent, Nanos, ObAverages, ObFeatures, Px,
    Qty, Side, SymbolId, Trade, TradeKind,
};
use proptest::prelude::*;

const TICK: f64 = 0.5;
const LOT: f64 = 0.001;

fn instruments(n: u16) -> Vec<Instrument> {
    let (tick, lot) = (Increment::new(5, 1).unwrap(), Increment::decimals(3));
    (0..n).map(|i| Instrument::plain(SymbolId(i), &format!("S{i}"), tick, lot)).collect()
}

/// One symbol, by definition.
#[derive(Default)]
struct Plain {
    book: NaiveBook,
    live: bool,
    /// (kind, side, lots) of the running interval.
    trades: Vec<(TradeKind, Side, i64)>,
    has_aggregates: bool,
    rates: Vec<(f64, f64)>,
    totals: Vec<f64>,
    asymmetries: Vec<f64>,
    spreads: Vec<f64>,
}

fn ewma(values: impl IntoIterator<Item = f64>, interval_s: f64, half_life_s: f64) -> f64 {
    let k = 2f64.powf(-interval_s / half_life_s);
    values.into_iter().reduce(|v, x| k * v + (1.0 - k) * x).unwrap()
}

impl Plain {
    fn sample(&mut self, interval_s: f64) -> Option<ObFeatures> {
        let kind = if self.has_aggregates { TradeKind::Aggregate } else { TradeKind::Raw };
        let volume = |side: Side| -> f64 {
            let of = |t: &&(TradeKind, Side, i64)| t.0 == kind && t.1 == side;
            self.trades.iter().filter(of).map(|t| t.2 as f64 * LOT).sum::<f64>() / interval_s
        };
        self.rates.push((volume(Side::Buy), volume(Side::Sell)));
        self.trades.clear();
        let (bid, ask) = (self.book.best_bid()?, self.book.best_ask()?);
        if !self.live || bid.px >= ask.px {
            return None;
        }
        let (bid_px, ask_px) = (bid.px.0 as f64 * TICK, ask.px.0 as f64 * TICK);
        let mid = (bid_px + ask_px) / 2.0;
        let mut f = [[0.0; 5]; 4];
        for p in 0..5 {
            let twice_mid = bid.px.0 + ask.px.0;
            let near = |px: &Px| (200 * px.0 - 100 * twice_mid).abs() <= twice_mid * (p as i64 + 1);
            for (px, qty) in self.book.bids.iter().filter(|(px, _)| near(px)) {
                f[0][p] += qty.0 as f64 * LOT;
                f[2][p] += qty.0 as f64 * LOT * px.0 as f64 * TICK;
            }
            for (px, qty) in self.book.asks.iter().filter(|(px, _)| near(px)) {
                f[1][p] += qty.0 as f64 * LOT;
                f[3][p] += qty.0 as f64 * LOT * px.0 as f64 * TICK;
            }
        }
        let total = f[2][0] + f[3][0];
        if total == 0.0 {
            return None;
        }
        self.totals.push(total);
        self.asymmetries.push((f[2][0] - f[3][0]) / total);
        self.spreads.push((ask_px - bid_px) / mid * 1e4);
        let n = self.totals.len();
        let k = 10.min(n - 1);
        let signs: f64 =
            self.asymmetries.iter().rev().take(20).map(|a| if *a == 0.0 { 0.0 } else { a.signum() }).sum();
        let flow = |pick: fn(&(f64, f64)) -> f64| ewma(self.rates.iter().map(pick), interval_s, 10.0);
        let fill = |rate: f64, lots: Qty| 1.0 - (-rate * 5.0 / (lots.0 as f64 * LOT)).exp();
        let (fill_bid, fill_ask) = (fill(flow(|r| r.1), bid.qty), fill(flow(|r| r.0), ask.qty));
        let low = *self.book.bids.keys().next().unwrap();
        let high = *self.book.asks.keys().next_back().unwrap();
        let reach = (mid - low.0 as f64 * TICK).min(high.0 as f64 * TICK - mid);
        Some(ObFeatures {
            bid_depth: f[0],
            ask_depth: f[1],
            bid_notional: f[2],
            ask_notional: f[3],
            coverage_pct: reach / mid * 100.0,
            spread_proxy_bps: self.spreads[n - 1],
            depth_quality: total / (total + ewma(self.totals.iter().copied(), interval_s, 300.0)),
            fill_probability_bid: fill_bid,
            fill_probability_ask: fill_ask,
            fill_probability: (fill_bid + fill_ask) / 2.0,
            depth_asymmetry: self.asymmetries[n - 1],
            imbalance_persistence: signs / 20.0,
            withdrawal_velocity: if k == 0 {
                0.0
            } else {
                (total / self.totals[n - 1 - k] - 1.0) / (k as f64 * interval_s)
            },
            macro_imbalance: ewma(self.asymmetries.iter().copied(), interval_s, 300.0),
            macro_spread_bps: ewma(self.spreads.iter().copied(), interval_s, 300.0),
        })
    }
}

/// All numbers of a feature set.
fn numbers(f: &ObFeatures) -> Vec<f64> {
    let mut all = [f.bid_depth, f.ask_depth, f.bid_notional, f.ask_notional].concat();
    all.extend([
        f.coverage_pct,
        f.spread_proxy_bps,
        f.depth_quality,
        f.fill_probability_bid,
        f.fill_probability_ask,
        f.fill_probability,
        f.depth_asymmetry,
        f.imbalance_persistence,
        f.withdrawal_velocity,
        f.macro_imbalance,
        f.macro_spread_bps,
    ]);
    all
}

fn assert_close(found: &Option<ObFeatures>, expected: &Option<ObFeatures>) {
    assert_eq!(found.is_some(), expected.is_some());
    let (Some(found), Some(expected)) = (found, expected) else { return };
    for (i, (a, b)) in numbers(found).into_iter().zip(numbers(expected)).enumerate() {
        // The plain sums round at each level; what cancels (asymmetry, velocity) keeps their absolute error.
        assert!((a - b).abs() <= 1e-9 * a.abs().max(b.abs()) + 1e-12, "number {i}: {a}, expected {b}");
    }
}

#[derive(Debug, Clone)]
enum What {
    /// Side, ticks from the middle (what is beyond it may cross the book), lots.
    Depth(Vec<(bool, i64, i64)>),
    Trade(TradeKind, Side, i64),
    /// An update that does not continue: the book is stale until a snapshot comes.
    Gap,
    Snapshot,
}

fn what() -> impl Strategy<Value = What> {
    let level = (
        any::<bool>(),
        prop_oneof![8 => 1i64..30, 2 => 1i64..400, 1 => -2i64..1],
        prop_oneof![Just(0i64), 1i64..100_000],
    );
    let kind = prop_oneof![12 => Just(TradeKind::Raw), 1 => Just(TradeKind::Aggregate)];
    let side = prop_oneof![Just(Side::Buy), Just(Side::Sell)];
    prop_oneof![
        12 => prop::collection::vec(level, 0..12).prop_map(What::Depth),
        6 => (kind, side, 1i64..50_000).prop_map(|(k, s, q)| What::Trade(k, s, q)),
        1 => Just(What::Gap),
        2 => Just(What::Snapshot),
    ]
}

struct Pair {
    engine: FeatureEngine,
    /// Takes the same, and prepares some of the next sample after each event.
    ahead: FeatureEngine,
    /// How much, changing.
    prepare: usize,
    plain: Vec<Plain>,
    last_id: Vec<u64>,
    interval: u64,
    next: u64,
    samples: usize,
}

impl Pair {
    fn new(n: u16, interval_ms: u64) -> Self {
        let interval = interval_ms * Nanos::MS;
        let engine = FeatureEngine::new(&instruments(n), Nanos(interval));
        let plain = (0..n).map(|_| Plain::default()).collect();
        let ahead = engine.clone();
        Self { engine, ahead, prepare: 0, plain, last_id: vec![0; n as usize], interval, next: 0, samples: 0 }
    }

    /// Feeds both and compares every sample the event makes due.
    fn event(&mut self, event: &MarketEvent<'_>) {
        let at = event.ts_send().0;
        let mut expected = vec![];
        if self.next == 0 {
            self.next = (at / self.interval + 1) * self.interval;
        }
        while self.next <= at {
            let interval_s = self.interval as f64 / 1e9;
            let row: Vec<_> = self.plain.iter_mut().map(|s| s.sample(interval_s)).collect();
            expected.push((self.next, row));
            self.next += self.interval;
        }
        let mut expected = expected.iter();
        self.engine.on_event(event, |sample: &Sample<'_>| {
            let (ts, row) = expected.next().expect("a sample too many");
            assert_eq!(sample.ts.0, *ts);
            for (found, expected) in sample.features.iter().zip(row) {
                assert_close(found, expected);
            }
            assert_cross(sample, row);
        });
        assert!(expected.next().is_none(), "a sample too few");
        self.samples = self.engine.counters().samples as usize;
        self.event_ahead(event);
    }

    /// Prepared or not, the samples are the same, bit by bit.
    fn event_ahead(&mut self, event: &MarketEvent<'_>) {
        let mut samples = [vec![], vec![]];
        let mut plain = self.ahead.clone();
        // Nothing prepared: what is there is thrown away by a word that changes nothing.
        for s in 0..self.plain.len() {
            let book = plain.book(SymbolId(s as u16)).unwrap().clone();
            plain.replace_book(SymbolId(s as u16), book);
        }
        for (engine, samples) in [&mut plain, &mut self.ahead].into_iter().zip(&mut samples) {
            engine.on_event(event, |sample: &Sample<'_>| {
                let features = sample.features.iter().flatten().flat_map(numbers);
                let bits: Vec<u64> = features.chain(sample.mids.iter().copied()).map(f64::to_bits).collect();
                samples.push((sample.ts, bits, sample.cross));
            });
        }
        assert_eq!(samples[0], samples[1]);
        self.prepare = (self.prepare + 1) % 5;
        self.ahead.prepare(self.prepare);
    }

    fn apply(&mut self, s: usize, at: Nanos, what: &What) {
        let symbol = SymbolId(s as u16);
        match what {
            What::Depth(levels) => {
                let side = |bid: bool| -> Vec<Level> {
                    let of = levels.iter().filter(|l| l.0 == bid);
                    of.map(|l| Level { px: Px(if bid { 1000 - l.1 } else { 1000 + l.1 }), qty: Qty(l.2) })
                        .collect()
                };
                let (bids, asks) = (side(true), side(false));
                self.depth(symbol, at, (&bids, &asks), self.last_id[s]);
                if self.plain[s].live {
                    self.plain[s].book.apply(&bids, &asks);
                }
            }
            What::Gap => {
                self.last_id[s] += 7;
                self.depth(symbol, at, (&[], &[]), self.last_id[s] - 3);
                self.plain[s].live = false;
            }
            What::Trade(kind, aggressor, lots) => {
                let (px, qty) = (Px(1000), Qty(*lots));
                self.event(&MarketEvent::Trade(Trade {
                    symbol,
                    kind: *kind,
                    id: 1,
                    ts_event: at,
                    ts_send: at,
                    px,
                    qty,
                    aggressor: *aggressor,
                }));
                self.plain[s].has_aggregates |= *kind == TradeKind::Aggregate;
                self.plain[s].trades.push((*kind, *aggressor, *lots));
            }
            What::Snapshot if !self.plain[s].live => {
                let level = |px: i64| Level { px: Px(px), qty: Qty(700 + s as i64) };
                let (bids, asks) = ([level(999), level(985)], [level(1001), level(1012)]);
                // Newer than everything buffered meanwhile.
                self.last_id[s] += 5;
                let last_update_id = self.last_id[s];
                let snapshot =
                    DepthSnapshot { symbol, ts_send: at, last_update_id, bids: &bids, asks: &asks };
                self.engine.on_snapshot(&snapshot);
                self.ahead.on_snapshot(&snapshot);
                // Not live before an update bridges it.
                self.depth(symbol, at, (&[], &[]), last_update_id);
                self.plain[s].live = true;
                self.plain[s].book.replace(&bids, &asks);
            }
            What::Snapshot => {}
        }
    }

    fn depth(&mut self, symbol: SymbolId, at: Nanos, levels: (&[Level], &[Level]), prev: u64) {
        let id = &mut self.last_id[symbol.index()];
        *id += 10;
        let (first_update_id, last_update_id) = (*id - 9, *id);
        let (bids, asks) = levels;
        self.event(&MarketEvent::Depth(DepthUpdate {
            symbol,
            ts_event: at,
            ts_send: at,
            first_update_id,
            last_update_id,
            prev_last_update_id: prev,
            bids,
            asks,
        }));
    }
}

fn assert_cross(sample: &Sample<'_>, row: &[Option<ObFeatures>]) {
    let with: Vec<_> = row.iter().flatten().collect();
    let share = |test: fn(f64) -> bool| {
        with.iter().filter(|f| test(f.depth_asymmetry)).count() as f64 / with.len().max(1) as f64
    };
    let (up, down) = (share(|a| a > 0.0), share(|a| a < 0.0));
    assert_eq!(sample.cross.agreement_pct, up.max(down));
    let cascading = with.iter().filter(|f| f.withdrawal_velocity <= -0.1).count();
    assert_eq!(sample.cross.cascade_count as usize, cascading);
    let signal = if up.max(down) < 0.6 || up == down { 0 } else { if up > down { 1 } else { -1 } };
    assert_eq!(i32::from(sample.cross.regime_signal), signal);
    for (mid, f) in sample.mids.iter().zip(row) {
        assert!(f.is_none() || mid.is_finite());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn features_are_those_of_the_definition(
        interval_ms in prop::sample::select(vec![100u64, 250, 1000]),
        start_ms in 1_700_000_000_000u64..1_700_000_001_000,
        events in prop::collection::vec((0usize..3, -30i64..90, what()), 1..400),
    ) {
        let mut pair = Pair::new(3, interval_ms);
        let mut ms = start_ms;
        for s in 0..3 {
            pair.apply(s, Nanos::from_millis(ms), &What::Snapshot);
        }
        for (s, step, what) in &events {
            // Late events keep their place in the order of arrival.
            ms = ms.saturating_add_signed(*step);
            pair.apply(*s, Nanos::from_millis(ms), what);
        }
        pair.apply(0, Nanos::from_millis(ms + 5 * interval_ms), &What::Depth(vec![]));
        prop_assert!(pair.samples >= 4);
        prop_assert_eq!(pair.engine.counters().prepared, 0);
    }
}

#[test]
fn a_sample_is_prepared_until_something_touches_a_symbol() {
    let mut engine = FeatureEngine::new(&instruments(70), Nanos::from_millis(100));
    engine.on_event(&trade_at(1_000), |_| {});
    assert!(engine.prepare(69) && engine.mids_ahead().is_none(), "one symbol is left");
    assert!(engine.prepare(2) && engine.mids_ahead().is_none(), "what they say together is left");
    assert!(engine.prepare(2) && !engine.prepare(2));
    assert!(engine.mids_ahead().is_some_and(|mids| mids.len() == 70));
    boundaries(&mut engine, &trade_at(1_100));
    let counted =
        |e: &FeatureEngine| (e.counters().samples, e.counters().prepared, e.counters().computed_late);
    assert_eq!(counted(&engine), (1, 1, 0));
    while engine.prepare(8) {}
    boundaries(&mut engine, &trade_at(1_150));
    assert!(engine.mids_ahead().is_none(), "a trade changes the fill probabilities of its symbol");
    boundaries(&mut engine, &trade_at(1_200));
    assert_eq!(counted(&engine), (2, 1, 1));
}

fn trade_at(ms: u64) -> MarketEvent<'static> {
    let (ts_event, ts_send) = (Nanos::from_millis(ms), Nanos::from_millis(ms));
    let (symbol, kind, aggressor) = (SymbolId(0), TradeKind::Raw, Side::Buy);
    MarketEvent::Trade(Trade { symbol, kind, id: 1, ts_event, ts_send, px: Px(1000), qty: Qty(1), aggressor })
}

fn boundaries(engine: &mut FeatureEngine, event: &MarketEvent<'_>) -> Vec<u64> {
    let mut at = vec![];
    engine.on_event(event, |sample| at.push(sample.ts.millis()));
    at
}

#[test]
fn boundaries_are_multiples_of_the_interval_and_all_due_ones_are_sampled() {
    let mut engine = FeatureEngine::new(&instruments(1), Nanos::from_millis(100));
    assert_eq!(boundaries(&mut engine, &trade_at(1_000)), [] as [u64; 0]);
    assert_eq!(engine.next_boundary(), Nanos::from_millis(1_100));
    assert_eq!(boundaries(&mut engine, &trade_at(1_099)), [] as [u64; 0]);
    assert_eq!(boundaries(&mut engine, &trade_at(1_100)), [1_100]);
    assert_eq!(boundaries(&mut engine, &trade_at(1_050)), [] as [u64; 0]);
    assert_eq!(engine.counters().late, 1);
    assert_eq!(boundaries(&mut engine, &trade_at(1_420)), [1_200, 1_300, 1_400]);
}

#[test]
fn one_broken_time_stamp_does_not_move_the_clock_but_a_hole_does() {
    let mut engine = FeatureEngine::new(&instruments(1), Nanos::from_millis(100));
    boundaries(&mut engine, &trade_at(1_000));
    assert_eq!(boundaries(&mut engine, &trade_at(9_999_999_999_999)), [] as [u64; 0]);
    assert_eq!(boundaries(&mut engine, &trade_at(1_100)), [1_100]);
    let later = 1_100 + 2 * 3_600_000;
    let sampled: Vec<_> = (0..40).flat_map(|i| boundaries(&mut engine, &trade_at(later + i * 10))).collect();
    assert_eq!(sampled, [later + 200, later + 300]);
    assert_eq!(engine.counters().unbelievable, 16);
}

/// A book that changes in each of the samples `from` … `to`, and what was sampled last.
fn run_book(engine: &mut FeatureEngine, from: u64, to: u64) -> Option<ObFeatures> {
    let symbol = SymbolId(0);
    let level = |px: i64, lots: u64| Level { px: Px(px), qty: Qty(lots as i64) };
    let (bids, asks) = ([level(995, 500)], [level(1005, 500)]);
    let (ts_send, last_update_id) = (Nanos::from_millis(from * 100), from * 10);
    engine.on_snapshot(&DepthSnapshot { symbol, ts_send, last_update_id, bids: &bids, asks: &asks });
    let mut last = None;
    for n in from..=to {
        let (bids, asks) = ([level(999, 1_000 + n * n % 7_919)], [level(1001 + n as i64 % 3, 900 + n % 777)]);
        let at = Nanos::from_millis(n * 100 + 50);
        let update = DepthUpdate {
            symbol,
            ts_event: at,
            ts_send: at,
            first_update_id: n * 10 - 9,
            last_update_id: n * 10,
            prev_last_update_id: (n - 1) * 10,
            bids: &bids,
            asks: &asks,
        };
        engine.on_event(&MarketEvent::Depth(update), |sample| last = sample.features[0]);
    }
    last
}

#[test]
fn averages_go_on_from_what_a_record_says() {
    let new = || FeatureEngine::new(&instruments(1), Nanos::from_millis(100));
    let (mut before, mut after, mut anew) = (new(), new(), new());
    let record = run_book(&mut before, 100, 500).unwrap();
    let averages = ObAverages::after(&record).unwrap();
    after.go_on(SymbolId(0), &averages);
    let all = |f: ObFeatures| [f.depth_quality, f.macro_imbalance, f.macro_spread_bps];
    let through = all(run_book(&mut before, 501, 520).unwrap());
    let [went_on, begun] = [&mut after, &mut anew].map(|engine| all(run_book(engine, 501, 520).unwrap()));
    for ((through, went_on), begun) in through.into_iter().zip(went_on).zip(begun) {
        // The first sample falls out: a book is in sync one update after its snapshot.
        assert!((went_on / through - 1.0).abs() < 2e-3, "{went_on} after a restart, {through} without one");
        assert!((begun / through - 1.0).abs() > 1e-2, "{begun} anew, {through} without a restart");
    }
    let unusable = |change: fn(&mut ObFeatures)| {
        let mut sample = record;
        change(&mut sample);
        ObAverages::after(&sample)
    };
    assert_eq!(unusable(|s| s.depth_quality = 0.0), None);
    assert_eq!(unusable(|s| s.depth_quality = 1.5), None);
    assert_eq!(unusable(|s| s.bid_notional[0] = f64::NAN), None);
    assert_eq!(unusable(|s| s.macro_imbalance = 2.0), None);
    assert_eq!(unusable(|s| s.macro_spread_bps = f64::INFINITY), None);
}
