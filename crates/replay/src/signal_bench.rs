//! What the signal costs per tick: the features of all symbols, and the engine. Used by `dolphin bench features` and
//! `dolphin bench tick`.

use std::time::Instant;

use alpha::rng::RandomState;
use alpha::{Engine, Gate, Params, TickInput};
use book::{FeatureEngine, Sample};
use market::{
    Date, DepthSnapshot, DepthUpdate, Increment, Instrument, Level, MarketEvent, Nanos, Posture, Px, Qty,
    SymbolId,
};

use crate::ReplayError;

/// Levels a side of a made-up book.
const LEVELS: i64 = 1000;
/// Levels that change per symbol and tick, both sides together.
const CHANGES: usize = 20;

/// Times of the feature engine, ns each.
#[derive(Debug, Clone, Default)]
pub struct FeatureTimes {
    /// The sample alone: what all symbols cost at a boundary.
    pub sample: Vec<u64>,
    /// The whole tick: 20 changed levels of every symbol go into its book, then the sample.
    pub tick: Vec<u64>,
}

/// `ticks` ticks of 100 ms of `symbols` books of a thousand levels a side.
pub fn features(symbols: u16, ticks: usize) -> FeatureTimes {
    let mut market = Books::new(symbols);
    for _ in 0..50 {
        market.tick();
    }
    let mut times = FeatureTimes::default();
    for _ in 0..ticks {
        let (tick, sample) = market.tick();
        times.tick.push(tick);
        times.sample.push(sample);
    }
    times
}

/// Ticks of the instrument's price: a spread of what the venue lists, from coarse coins to BTC.
fn price(symbol: u16) -> i64 {
    [1_200, 4_500, 9_000, 17_000, 40_000, 95_000, 268_000, 618_000][usize::from(symbol) % 8]
}

struct Books {
    engine: FeatureEngine,
    now: Nanos,
    id: u64,
    seed: u64,
    changes: Vec<[Level; CHANGES]>,
}

impl Books {
    fn new(symbols: u16) -> Self {
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
            let (ts_send, last_update_id) = (Nanos(0), 10);
            engine.on_snapshot(&DepthSnapshot { symbol, ts_send, last_update_id, bids: &bids, asks: &asks });
        }
        let changes = vec![[Level::default(); CHANGES]; usize::from(symbols)];
        Self { engine, now: Nanos::from_millis(1_700_000_000_000), id: 10, seed: 1, changes }
    }

    fn below(&mut self, n: i64) -> i64 {
        self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.seed >> 33) as i64) % n
    }

    /// Nanoseconds of the tick, and of the sample in it.
    fn tick(&mut self) -> (u64, u64) {
        for s in 0..self.changes.len() {
            for i in 0..CHANGES {
                let distance = 1 + self.below(60);
                let px = price(s as u16) + if i < CHANGES / 2 { -distance } else { distance };
                let qty = if distance == 1 { 5 } else { self.below(3) * 100 };
                self.changes[s][i] = Level { px: Px(px), qty: Qty(qty) };
            }
        }
        let (id, at) = (self.id, self.now);
        self.id += 10;
        let started = Instant::now();
        for (symbol, levels) in (0..).map(SymbolId).zip(&self.changes) {
            let (bids, asks) = levels.split_at(CHANGES / 2);
            let event = MarketEvent::Depth(DepthUpdate {
                symbol,
                ts_event: at,
                ts_send: at,
                first_update_id: id,
                last_update_id: id + 10,
                prev_last_update_id: id,
                bids,
                asks,
            });
            self.engine.on_event(&event, |_| {});
        }
        self.now = self.now.plus(100 * Nanos::MS);
        let applied = Instant::now();
        let mut with = 0;
        self.engine.advance(self.now, &mut |s: &Sample<'_>| with += s.features.iter().flatten().count());
        std::hint::black_box(with);
        (nanos(started), nanos(applied))
    }
}

fn nanos(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Times of an engine tick at S = 50, ns each.
#[derive(Debug, Clone, Default)]
pub struct EngineTimes {
    /// A scan that stops at the signal.
    pub no_signal: Vec<u64>,
    /// Every gate open and every asset looked at; the alignment limit is beyond reach, so nothing is entered.
    pub full_selection: Vec<u64>,
}

/// `ticks` ticks of the engine with `assets` assets on a random walk.
pub fn engine(assets: usize, ticks: usize) -> Result<EngineTimes, ReplayError> {
    let selecting = Params {
        profile: "bench".to_owned(),
        min_irp_alignment: 1.0,
        dc_min_magnitude_bps: -1e6,
        ..Params::default()
    };
    Ok(EngineTimes {
        no_signal: engine_ticks(Params::default(), assets, ticks, 0.0, Gate::Signal)?,
        full_selection: engine_ticks(selecting, assets, ticks, -0.06, Gate::Asset)?,
    })
}

fn engine_ticks(
    params: Params,
    assets: usize,
    ticks: usize,
    vel_div: f64,
    gate: Gate,
) -> Result<Vec<u64>, ReplayError> {
    const STRIDE: u32 = 50;
    /// Ticks until every lookback of the engine is full.
    const WARM: usize = 12_000;
    let mut rng = RandomState::new(1);
    let mut prices = vec![100.0; assets];
    let mut names: Vec<String> = (1..assets).map(|i| format!("A{i}USDT")).collect();
    names.insert(0, params.reference_symbol.clone());
    let mut engine = Engine::new(params, names, STRIDE)?;
    engine.begin_day(Date::constant(2026, 1, 1), Posture::Apex, 1.0, -1)?;
    let mut times = Vec::with_capacity(ticks);
    for at in 0..WARM + ticks {
        let common = rng.random_sample() - 0.5;
        prices.iter_mut().for_each(|p| *p *= 1.0 + 1e-3 * (common + rng.random_sample() - 0.5));
        // Past the warm-up of the day.
        let quiet = TickInput::quiet(at.max(5000) as u32, Nanos(0), &prices);
        let input = TickInput { vel_div, v750_velocity: 1e-3, instability_50: 0.1, ..quiet };
        let started = Instant::now();
        let report = std::hint::black_box(engine.step_bar(&input));
        if at >= WARM {
            times.push(nanos(started));
            assert_eq!(report.gate, gate, "the tick measured is the one that is meant");
        }
    }
    Ok(times)
}
