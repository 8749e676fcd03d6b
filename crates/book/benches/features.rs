//! One 100 ms tick of the feature engine: every symbol's depth updates of that tick, then the sample.
//! `cargo bench -p book --bench features`

use book::{FeatureEngine, Sample};
use divan::{Bencher, black_box};
use market::{
    DepthSnapshot, DepthUpdate, Increment, Instrument, Level, MarketEvent, Nanos, Px, Qty, SymbolId,
};

fn main() {
    divan::main();
}

const LEVELS: i64 = 1000;

/// Ticks of the instrument's price: a spread of what the venue lists, from coarse coins to BTC.
fn price(symbol: u16) -> i64 {
    [1_200, 4_500, 9_000, 17_000, 40_000, 95_000, 268_000, 618_000][usize::from(symbol) % 8]
}

struct Market {
    engine: FeatureEngine,
    now: Nanos,
    id: u64,
    seed: u64,
    updates: usize,
}

impl Market {
    fn new(symbols: u16, updates: usize) -> Self {
        let (tick, lot) = (Increment::decimals(2), Increment::decimals(3));
        let instruments: Vec<_> =
            (0..symbols).map(|i| Instrument::plain(SymbolId(i), &format!("S{i}"), tick, lot)).collect();
        let mut engine = FeatureEngine::new(&instruments, Nanos::from_millis(100));
        for symbol in (0..symbols).map(SymbolId) {
            // A thousand levels a side over the 5 % band and beyond.
            let px = price(symbol.0);
            let step = (px / 10 / LEVELS).max(1);
            let side = |sign: i64| {
                let level = |i| Level { px: Px(px + sign * (1 + i * step)), qty: Qty(1 + i % 77) };
                (0..LEVELS.min(px / step - 2)).map(level).collect::<Vec<_>>()
            };
            let (bids, asks) = (side(-1), side(1));
            engine.on_snapshot(&DepthSnapshot {
                symbol,
                ts_send: Nanos(0),
                last_update_id: 10,
                bids: &bids,
                asks: &asks,
            });
        }
        let mut market =
            Self { engine, now: Nanos::from_millis(1_700_000_000_000), id: 10, seed: 1, updates };
        for _ in 0..50 {
            market.tick();
        }
        market
    }

    fn below(&mut self, n: i64) -> i64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.seed >> 33) as i64) % n
    }

    fn tick(&mut self) -> f64 {
        self.now = self.now.plus(100 * Nanos::MS);
        let (id, now) = (self.id, self.now);
        self.id += 10;
        let mut sum = 0.0;
        let mut levels = [Level::default(); 64];
        for symbol in (0..self.engine.symbols() as u16).map(SymbolId) {
            let half = self.updates / 2;
            for (i, level) in levels[..self.updates].iter_mut().enumerate() {
                let distance = 1 + self.below(60);
                let px = price(symbol.0) + if i < half { -distance } else { distance };
                *level = Level { px: Px(px), qty: Qty(if distance == 1 { 5 } else { self.below(3) * 100 }) };
            }
            let (bids, asks) = levels[..self.updates].split_at(half);
            let event = MarketEvent::Depth(DepthUpdate {
                symbol,
                ts_event: now,
                ts_send: now,
                first_update_id: id,
                last_update_id: id + 10,
                prev_last_update_id: id,
                bids,
                asks,
            });
            self.engine.on_event(&event, |s: &Sample<'_>| {
                sum += s.features.iter().flatten().map(|f| f.depth_quality).sum::<f64>();
            });
        }
        sum
    }
}

/// The sample alone: what all symbols cost at a boundary.
#[divan::bench(args = [48, 400])]
fn sample(bencher: Bencher<'_, '_>, symbols: u16) {
    let mut market = Market::new(symbols, 2);
    assert!(market.tick() > 0.0);
    bencher.bench_local(|| {
        market.now = market.now.plus(100 * Nanos::MS);
        let mut with = 0;
        market.engine.advance(market.now, &mut |s: &Sample<'_>| with += s.features.iter().flatten().count());
        assert_eq!(with, usize::from(symbols));
        black_box(with)
    });
}

/// The whole tick: 20 changed levels a symbol, then the sample.
#[divan::bench(args = [48, 400])]
fn tick_with_updates(bencher: Bencher<'_, '_>, symbols: u16) {
    let mut market = Market::new(symbols, 20);
    bencher.bench_local(|| black_box(market.tick()));
}
