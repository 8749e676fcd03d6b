//! NumPy's `RandomState(seed).random_sample()`: MT19937, two words a draw, 53 bits (SPEC §3.9).
//!
//! Fee draws are few (two a trade), so the state is kept as what determines it: the seed and how often it was drawn.
//! Restoring winds a fresh generator forward.

use rand_mt::Mt;
use serde::{Deserialize, Serialize};

/// Draws that a restored state may have behind it: winding on takes some seconds then, never for ever.
pub const MAX_DRAWS: u64 = 1_000_000_000;

/// NumPy's legacy generator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RandomState {
    mt: Mt,
    position: RngPosition,
}

/// All of a generator's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RngPosition {
    /// Seed.
    pub seed: u32,
    /// Numbers drawn so far.
    pub draws: u64,
}

impl RandomState {
    /// `RandomState(seed)`.
    pub fn new(seed: u32) -> Self {
        Self { mt: Mt::new(seed), position: RngPosition { seed, draws: 0 } }
    }

    /// The generator at a position; `None` beyond [`MAX_DRAWS`].
    pub fn at(position: RngPosition) -> Option<Self> {
        if position.draws > MAX_DRAWS {
            return None;
        }
        let mut rng = Self::new(position.seed);
        for _ in 0..position.draws {
            rng.random_sample();
        }
        Some(rng)
    }

    /// Where the generator stands.
    pub const fn position(&self) -> RngPosition {
        self.position
    }

    /// The next draw, uniform in [0, 1).
    pub fn random_sample(&mut self) -> f64 {
        self.position.draws += 1;
        let high = f64::from(self.mt.next_u32() >> 5);
        let low = f64::from(self.mt.next_u32() >> 6);
        (high * 67_108_864.0 + low) / 9_007_199_254_740_992.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_numpys() {
        // numpy 2: RandomState(seed).random_sample(5), as bits of the first five and of the thousandth.
        let first = |seed| {
            let mut rng = RandomState::new(seed);
            let five: [u64; 5] = std::array::from_fn(|_| rng.random_sample().to_bits());
            (five, rng)
        };
        let vectors: [(u32, [u64; 5], u64); 3] = [
            (42, VECTOR_42, 0x3fdc_8b5b_cc2b_9fae),
            (0, VECTOR_0, 0x3fe5_ab23_e797_81c2),
            (u32::MAX, VECTOR_MAX, 0x3fe1_cfe3_21a4_2891),
        ];
        for (seed, five, thousandth) in vectors {
            let (drawn, mut rng) = first(seed);
            assert_eq!(drawn, five, "seed {seed}");
            let last = (5..1000).map(|_| rng.random_sample()).last().unwrap();
            assert_eq!(last.to_bits(), thousandth, "seed {seed}");
        }
        let mut rng = RandomState::new(42);
        assert_eq!(
            [rng.random_sample(), rng.random_sample(), rng.random_sample()],
            [0.3745401188473625, 0.9507143064099162, 0.7319939418114051]
        );
    }

    const VECTOR_42: [u64; 5] = [
        0x3fd7_f877_1e5f_51ec,
        0x3fee_6c40_68bb_d654,
        0x3fe7_6c7e_8f1e_6751,
        0x3fe3_2835_d663_2cb0,
        0x3fc3_f86b_3722_2184,
    ];
    const VECTOR_0: [u64; 5] = [
        0x3fe1_8fe1_565f_12a8,
        0x3fe6_e2d4_cf60_8733,
        0x3fe3_49d6_6b6e_894b,
        0x3fe1_6fae_db63_95f5,
        0x3fdb_1d29_04fd_0ef6,
    ];
    const VECTOR_MAX: [u64; 5] = [
        0x3fb8_fe69_a392_4820,
        0x3fed_323d_8240_32b1,
        0x3fe9_3fc6_f61a_f3f9,
        0x3fe8_f5ca_1b15_1c07,
        0x3f92_5ec7_244b_bf80,
    ];

    #[test]
    fn a_position_continues_exactly() {
        let mut rng = RandomState::new(7);
        for _ in 0..700 {
            rng.random_sample();
        }
        let mut again = RandomState::at(rng.position()).unwrap();
        assert_eq!(again, rng);
        assert_eq!(again.random_sample().to_bits(), rng.random_sample().to_bits());
        assert!(RandomState::at(RngPosition { seed: 7, draws: MAX_DRAWS + 1 }).is_none());
    }
}
