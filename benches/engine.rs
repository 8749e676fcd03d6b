//! Bars a second, 48 assets on a random walk with live-like signals: `cargo bench -p alpha --bench engine`. What a tick at
//! 10 Hz costs is measured by `dolphin bench tick`;
//! here, beside each other in one run, what the pending slots add to it.

use alpha::rng::RandomState;
use alpha::{AcbPush, Engine, Params, Safety, TickInput};
use divan::Bencher;
use divan::counter::ItemsCount;
use market::{Date, Nanos, Posture};
use runtime::pending::{Taker, pending};

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

/// A tick between scans at S = 50 on a warm engine, after what the alpha stage does at the top of it.
fn tick(bencher: Bencher, mut first: impl FnMut(&mut Engine)) {
    let rows = walk(8192);
    let mut engine = engine(Params::default(), 50);
    let mut at = 0;
    let mut step = move || {
        first(&mut engine);
        let input = input(at.max(5000), f64::NAN, &rows[at & 8191]);
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
    tick(bencher, |_| {});
}

/// With both pending slots looked at, and nothing in them: what the slots cost nearly every tick.
#[divan::bench(sample_count = 2000, sample_size = 200)]
fn tick_between_scans_taking_empty_slots(bencher: Bencher) {
    let (_keep_acb, mut acb) = pending::<AcbPush>();
    let (_keep_safety, mut safety) = pending::<Safety>();
    tick(bencher, move |engine| {
        apply(engine, divan::black_box(&mut acb), divan::black_box(&mut safety));
    });
}

/// With news in both on every tick; their publishing is counted too.
#[divan::bench(sample_count = 2000, sample_size = 200)]
fn tick_between_scans_taking_full_slots(bencher: Bencher) {
    let (mut push_acb, mut acb) = pending();
    let (mut push_safety, mut safety) = pending();
    tick(bencher, move |engine| {
        push_acb.publish(divan::black_box(AcbPush { boost: 1.1, beta: 0.2 }));
        push_safety.publish(divan::black_box(Safety { posture: Posture::Apex, rm: 1.0 }));
        apply(engine, &mut acb, &mut safety);
    });
}

fn apply(engine: &mut Engine, acb: &mut Taker<AcbPush>, safety: &mut Taker<Safety>) {
    if let Some(push) = acb.take() {
        engine.update_acb_boost(push.boost, push.beta).expect("it is in range");
    }
    if let Some(told) = safety.take() {
        engine.push_safety(told);
    }
}
