//! Nanoseconds a tick and bars a second, 48 assets: `cargo bench -p alpha --bench engine`.
//!
//! The market is a random walk. `bars` replays a day of champion bars at S = 1 with live-like signals; the others look at
//! one tick at S = 50: without a new scan, with a scan that stops at the signal, and with a full selection on every
//! tick (the caller's volatility gate is open, the alignment limit is beyond reach, so nothing is ever entered).

use alpha::rng::RandomState;
use alpha::{Engine, Params, TickInput};
use divan::Bencher;
use divan::counter::ItemsCount;
use market::{Date, Nanos, Posture};

const ASSETS: usize = 48;
const BARS: usize = 1440;

fn main() {
    divan::main();
}

fn walk(rows: usize) -> Vec<[f64; ASSETS]> {
    let mut rng = RandomState::new(1);
    let mut prices = [100.0; ASSETS];
    (0..rows)
        .map(|_| {
            let common = rng.random_sample() - 0.5;
            for p in &mut prices {
                *p *= 1.0 + 1e-3 * (common + rng.random_sample() - 0.5);
            }
            prices
        })
        .collect()
}

fn engine(params: Params, stride: u32) -> Engine {
    let mut assets: Vec<String> = (1..ASSETS).map(|i| format!("A{i}USDT")).collect();
    assets.insert(0, "BTCUSDT".to_owned());
    let mut engine = Engine::new(params, assets, stride).expect("champion parameters are valid");
    engine.begin_day(Date::constant(2026, 1, 1), Posture::Apex, 1.0, -1).expect("a first day begins");
    engine
}

fn input(bar: usize, vel_div: f64, prices: &[f64]) -> TickInput<'_> {
    let quiet = TickInput::quiet(bar as u32, Nanos(0), prices);
    TickInput { vel_div, v750_velocity: 1e-3, instability_50: 0.1, ..quiet }
}

#[divan::bench(sample_count = 200)]
fn bars(bencher: Bencher) {
    let rows = walk(BARS);
    let mut rng = RandomState::new(2);
    let vel_div: Vec<f64> = (0..BARS).map(|_| (rng.random_sample() - 0.5) * 0.06).collect();
    let mut engine = engine(Params::default(), 1);
    bencher.counter(ItemsCount::new(BARS)).bench_local(|| {
        for (bar, row) in rows.iter().enumerate() {
            divan::black_box(engine.step_bar(&input(bar, vel_div[bar], row)));
        }
        engine.drain_trades().count()
    });
}

/// One tick at S = 50 on a warm engine.
fn tick(bencher: Bencher, params: Params, vel_div: f64, vol_regime_ok: Option<bool>) {
    let rows = walk(8192);
    let mut engine = engine(params, 50);
    let mut at = 0;
    let mut step = move || {
        let mut input = input(at.max(5000), vel_div, &rows[at & 8191]);
        input.vol_regime_ok = vol_regime_ok;
        at += 1;
        engine.step_bar(&input)
    };
    for _ in 0..12_000 {
        step();
    }
    bencher.bench_local(step);
}

#[divan::bench(sample_count = 2000, sample_size = 200)]
fn tick_between_scans(bencher: Bencher) {
    tick(bencher, Params::default(), f64::NAN, None);
}

#[divan::bench(sample_count = 2000, sample_size = 200)]
fn tick_without_signal(bencher: Bencher) {
    tick(bencher, Params::default(), 0.0, None);
}

#[divan::bench(sample_count = 2000, sample_size = 200)]
fn tick_with_full_selection(bencher: Bencher) {
    let params = Params {
        profile: "bench".to_owned(),
        min_irp_alignment: 1.0,
        dc_min_magnitude_bps: -1e6,
        ..Params::default()
    };
    tick(bencher, params, -0.06, Some(true));
}
