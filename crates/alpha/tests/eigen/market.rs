//! Made-up markets: a drifting common factor, four sectors, heavy-tailed noise of their own. Seeded.

/// A pseudo-random source (SplitMix64): the same market on every machine.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (std::f64::consts::TAU * self.uniform()).cos()
    }

    /// Student's t of five degrees of freedom, scaled to unit variance: the fat tails of real returns.
    pub fn heavy(&mut self) -> f64 {
        let chi: f64 = (0..5).map(|_| self.normal().powi(2)).sum();
        self.normal() / (chi / 5.0).sqrt() * (3.0f64 / 5.0).sqrt()
    }
}

/// Prices that move together.
#[derive(Debug, Clone)]
pub struct Market {
    pub random: Random,
    pub prices: Vec<f64>,
    pub volatility: f64,
    /// Strength of the common factor; drifts.
    pub common: f64,
    /// Strength of the four sectors.
    pub sector: f64,
}

impl Market {
    pub fn new(assets: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let prices = (0..assets).map(|_| (8.0 * random.uniform() - 2.0).exp()).collect();
        Self { random, prices, volatility: 3e-4, common: 0.5, sector: 0.5 }
    }

    /// Moves all prices by one bar.
    pub fn tick(&mut self) -> &[f64] {
        let random = &mut self.random;
        self.common = (self.common + 0.01 * random.normal()).clamp(0.1, 1.5);
        let factor = self.common * random.normal();
        let sectors: [f64; 4] = std::array::from_fn(|_| self.sector * random.normal());
        for (i, price) in self.prices.iter_mut().enumerate() {
            *price *= (self.volatility * (factor + sectors[i % 4] + random.heavy())).exp();
        }
        &self.prices
    }
}
