//! Flat spectra: assets that move by themselves, or by halves. The largest eigenvalues lie close together, change
//! places all the time, and no share of the trace proves which one leads.

use super::market::Random;
use super::{compare, every};
use proptest::prelude::*;

/// Assets without anything in common; some of them move only every so many bars.
#[derive(Debug, Clone)]
struct Independent {
    random: Random,
    prices: Vec<f64>,
    /// Bars between two moves, per asset.
    pace: Vec<usize>,
    heavy: bool,
    /// What all of them have in common.
    common: f64,
    bar: usize,
}

impl Independent {
    fn new(assets: usize, seed: u64) -> Self {
        let (prices, pace) = (vec![10.0; assets], vec![1; assets]);
        Self { random: Random(seed), prices, pace, heavy: false, common: 0.0, bar: 0 }
    }

    /// The first `idle` of the assets move on every `pace`-th bar alone.
    fn idle(mut self, idle: usize, pace: usize) -> Self {
        self.pace[..idle].fill(pace);
        self
    }

    fn tick(&mut self) -> Vec<f64> {
        self.bar += 1;
        let common = self.common * self.random.normal();
        for (price, pace) in self.prices.iter_mut().zip(&self.pace) {
            let own = if self.heavy { self.random.heavy() } else { self.random.normal() };
            if self.bar.is_multiple_of(*pace) {
                *price *= (3e-4 * (common + own)).exp();
            }
        }
        self.prices.clone()
    }
}

#[test]
fn independent_assets_agree_with_a_full_decomposition() {
    for assets in (2..=64).filter(|n| *n < 6 || n % 4 == 0) {
        let mut market = Independent::new(assets, 1000 + assets as u64);
        compare(assets, 1100, every(9), |_| market.tick());
    }
}

#[test]
fn assets_that_move_every_second_bar_agree_with_a_full_decomposition() {
    for (seed, assets, idle, pace) in
        [(1, 48, 20, 2), (2, 48, 20, 2), (3, 48, 40, 2), (4, 24, 12, 3), (5, 48, 48, 2)]
    {
        let mut market = Independent::new(assets, seed).idle(idle, pace);
        compare(assets, 1300, every(5), |_| market.tick());
    }
}

#[test]
fn four_hundred_independent_assets_agree_with_a_full_decomposition() {
    let mut market = Independent::new(400, 77).idle(100, 2);
    compare(400, 900, |t| t > 50 && t % 75 < 2, |_| market.tick());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn any_flat_market_agrees_with_a_full_decomposition(
        seed in any::<u64>(),
        assets in 2usize..65,
        idle in 0.0f64..1.0,
        pace in 2usize..6,
        common in prop_oneof![Just(0.0), 0.0f64..0.4],
        heavy in any::<bool>(),
    ) {
        let mut market = Independent::new(assets, seed).idle((idle * assets as f64) as usize, pace);
        (market.heavy, market.common) = (heavy, common);
        compare(assets, 850, every(20), |_| market.tick());
    }
}
