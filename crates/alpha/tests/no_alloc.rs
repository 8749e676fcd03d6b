//! After warm-up a tick of the signal allocates nothing: the scanner's four windows, the engine's histories, gates,
//! selection, entries and exits.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use alpha::eigen::Scanner;
use alpha::{Engine, Gate, ObView, Params, TickInput};
use market::{CrossAsset, Nanos, ObFeatures, Posture};
use runtime::counting_alloc::{CountingAllocator, count};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const ASSETS: usize = 16;
const STRIDE: u32 = 5;

/// Prices that wander on their own and together; some are missing now and then.
struct Market {
    state: u64,
    prices: Vec<f64>,
    shown: Vec<f64>,
}

impl Market {
    fn new() -> Self {
        Self { state: 7, prices: vec![100.0; ASSETS], shown: vec![100.0; ASSETS] }
    }

    fn random(&mut self) -> f64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 11) as f64 / (1u64 << 53) as f64 - 0.5
    }

    fn tick(&mut self) {
        let common = self.random();
        for i in 0..ASSETS {
            let own = self.random();
            self.prices[i] *= 1.0 + 1e-3 * (common + own);
            let missing = i > 0 && self.random() > 0.49;
            self.shown[i] = if missing { f64::NAN } else { self.prices[i] };
        }
    }
}

fn features() -> ObFeatures {
    ObFeatures { depth_asymmetry: -0.2, imbalance_persistence: -0.9, ..ObFeatures::plain() }
}

#[test]
fn a_tick_allocates_nothing_after_warm_up() {
    assert!(count(|| vec![0u8; 64]) > 0, "the counting allocator counts");
    let params = Params {
        profile: "test".to_owned(),
        vel_div_threshold: -1e-6,
        vel_div_extreme: -1e-2,
        vol_p60: 0.0,
        warmup_bars: 0,
        max_hold_bars: 6,
        min_irp_alignment: 0.3,
        dc_min_magnitude_bps: 0.0,
        reference_symbol: "A0".to_owned(),
        ..Params::default()
    };
    let assets = (0..ASSETS).map(|i| format!("A{i}")).collect();
    let mut engine = Engine::new(params, assets, STRIDE).unwrap();
    engine.begin_day("2026-02-01".parse().unwrap(), Posture::Apex, 1.0, 0).unwrap();
    let mut scanner = Scanner::new(ASSETS, STRIDE as usize).unwrap();
    let mut market = Market::new();
    let features = vec![Some(features()); ASSETS];
    let mut gates = [0u32; Gate::ALL.len()];
    let mut tick = |bar_idx: u32, market: &mut Market| {
        market.tick();
        let scan = scanner.step(&market.shown);
        let report = engine.step_bar(&TickInput {
            vel_div: scan.vel_div,
            v750_velocity: scan.velocity[3],
            instability_50: scan.instability_50,
            ob: Some(ObView { features: &features, cross: CrossAsset::default() }),
            ..TickInput::quiet(bar_idx, Nanos(u64::from(bar_idx)), &market.shown)
        });
        gates[report.gate as usize] += 1;
    };
    let warm_up = 760 * STRIDE;
    (0..warm_up).for_each(|i| tick(i, &mut market));
    let allocations = count(|| (warm_up..warm_up + 4000).for_each(|i| tick(i, &mut market)));
    assert_eq!(allocations, 0);
    assert!(gates[Gate::Entered as usize] > 5 && gates[Gate::Exited as usize] > 5, "it traded: {gates:?}");
}
