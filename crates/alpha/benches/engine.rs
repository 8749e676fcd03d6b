//! Bars a second, 48 assets on a random walk with live-like signals: `cargo bench -p alpha --bench engine`. What a tick at
//! 10 Hz costs is measured by `dolphin bench tick`.

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
