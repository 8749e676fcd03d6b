//! Random markets with random parameters, all from one seed.

use std::collections::BTreeMap;

use alpha::rng::RandomState;
use alpha::{BoostMode, FeeModel, ObView, Params, TickInput, VolGate};
use market::{CrossAsset, Date, Nanos, ObFeatures, Posture};

pub struct Scenario {
    pub params: Params,
    pub assets: Vec<String>,
    pub stride: u32,
    pub factors: BTreeMap<Date, u32>,
    pub days: Vec<ScenarioDay>,
}

pub struct ScenarioDay {
    pub date: Date,
    pub posture: Posture,
    pub rm: f64,
    pub direction: i8,
    pub ticks: Vec<Tick>,
}

pub struct Tick {
    pub push: Option<(f64, f64)>,
    pub vel_div: f64,
    pub prices: Vec<f64>,
    pub vol_regime_ok: Option<bool>,
    pub v750: f64,
    pub instability: f64,
    pub features: Option<Vec<Option<ObFeatures>>>,
    pub cross: CrossAsset,
    pub may_enter: bool,
}

impl Tick {
    pub fn input(&self, bar: usize) -> TickInput<'_> {
        TickInput {
            bar_idx: bar as u32,
            ts_event: Nanos(0),
            vel_div: self.vel_div,
            prices: &self.prices,
            vol_regime_ok: self.vol_regime_ok,
            v50_velocity: f64::NAN,
            v750_velocity: self.v750,
            instability_50: self.instability,
            ob: self.features.as_deref().map(|features| ObView { features, cross: self.cross }),
            may_enter: self.may_enter,
        }
    }
}

pub struct Dice(RandomState);

impl Dice {
    pub fn new(seed: u32) -> Self {
        Self(RandomState::new(seed))
    }
    pub fn unit(&mut self) -> f64 {
        self.0.random_sample()
    }
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }
    pub fn real(&mut self, lo: f64, hi: f64) -> f64 {
        lo + (hi - lo) * self.unit()
    }
    pub fn int(&mut self, lo: u32, hi: u32) -> u32 {
        lo + (self.unit() * f64::from(hi - lo + 1)) as u32
    }
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.int(0, from.len() as u32 - 1) as usize].clone()
    }
    /// Roughly normal, deviation 1.
    pub fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

pub fn params(d: &mut Dice) -> Params {
    let threshold = d.pick(&[-0.02, -0.01, -0.03]);
    let min_leverage = d.pick(&[0.5, 0.1, 2.5, 1.0]);
    Params {
        profile: "random".to_owned(),
        vel_div_threshold: threshold,
        vel_div_extreme: d.pick(&[-0.05, -0.1, -0.015]),
        fixed_tp_pct: d.pick(&[0.0095, 0.004, 0.05]),
        max_hold_bars: d.int(1, 15),
        fraction: d.pick(&[0.2, 0.05, 0.5]),
        min_leverage,
        max_leverage: min_leverage + d.real(0.0, 8.0),
        abs_max_leverage: d.pick(&[6.0, 3.0, 1.5]),
        leverage_convexity: d.pick(&[3.0, 1.0, 0.5, 2.2]),
        dc_lookback_bars: d.int(0, 5),
        dc_min_magnitude_bps: d.pick(&[0.75, -5.0, 3.0, 0.0]),
        min_irp_alignment: d.pick(&[0.45, 0.0, 0.6, 0.3]),
        sp_maker_entry_rate: d.unit(),
        sp_maker_exit_rate: d.unit(),
        seed: d.int(0, u32::MAX - 1),
        vol_window_bars: d.int(1, 9),
        vol_p60: d.pick(&[0.000099, 0.0, 0.003]),
        warmup_bars: d.int(0, 12),
        lookback: d.int(1, 14),
        stop_pct: d.pick(&[1.0, 0.005]),
        maker_fee: d.pick(&[-0.0002, 0.0]),
        fee_model: d.pick(&[FeeModel::Sampled, FeeModel::Sampled, FeeModel::Expected]),
        reference_symbol: if d.chance(0.05) { "NONE" } else { d.pick(&["BTCUSDT", "BTCUSDT", "ETHUSDT"]) }
            .to_owned(),
        excluded_assets: d.pick(&[vec![], vec!["TUSDUSDT".to_owned(), "USDCUSDT".to_owned()]]),
        initial_capital: d.pick(&[25_000.0, 1_000.0]),
        ob_edge_bps: d.pick(&[5.0, 2.0]),
        ob_confirm_rate: d.pick(&[0.4, 0.0]),
        min_fill_probability: d.pick(&[0.6, 0.2]),
        fill_probability_ref: d.pick(&[0.8, 0.5]),
        vol_gate: d.pick(&[VolGate::Detector, VolGate::Detector, VolGate::Warmup]),
        use_alpha_layers: !d.chance(0.15),
        use_dynamic_leverage: !d.chance(0.2),
        boost_mode: d.pick(&[BoostMode::Baseline, BoostMode::ProxyB]),
        ..Params::default()
    }
}

fn features(d: &mut Dice) -> ObFeatures {
    let hide = d.chance(0.3);
    let [bid, ask] = [d.unit(), d.unit()].map(|p| if hide { f64::NAN } else { p });
    ObFeatures {
        bid_depth: [1.0; 5],
        ask_depth: [1.0; 5],
        bid_notional: [1.0; 5],
        ask_notional: [1.0; 5],
        coverage_pct: 5.0,
        spread_proxy_bps: d.real(0.0, 6.0),
        depth_quality: 0.5,
        fill_probability_bid: bid,
        fill_probability_ask: ask,
        fill_probability: d.unit(),
        depth_asymmetry: d.real(-1.0, 1.0),
        imbalance_persistence: if d.chance(0.05) { f64::NAN } else { d.real(-1.0, 1.0) },
        withdrawal_velocity: 0.0,
        macro_imbalance: d.real(-1.0, 1.0),
        macro_spread_bps: 1.0,
    }
}

/// The scenario of a seed.
pub fn scenario(seed: u32) -> Scenario {
    let d = &mut Dice::new(seed);
    let params = params(d);
    let names = ["ETHUSDT", "BTCUSDT", "AAUSDT", "TUSDUSDT", "BBUSDT", "ZZUSDT", "BBBUSDT", "1INCHUSDT"];
    let assets: Vec<String> = names[..d.int(3, 8) as usize].iter().map(|&n| n.to_owned()).collect();
    let stride = d.pick(&[1, 1, 2, 3, 7]);
    let day_count = d.int(1, 20);
    let pushes = if d.chance(0.4) { 0.01 } else { 0.0 };
    let bars = d.int(20, 150) * if day_count < 4 { stride } else { 1 };
    let vol = d.pick(&[0.0005, 0.003, 0.01]);
    // A coarse grid makes flat returns and equal scores.
    let coarse = d.chance(0.3);
    let (gap, with_ob) = (d.pick(&[0.0, 0.02, 0.2]), d.chance(0.5));
    let mut prices: Vec<f64> = assets.iter().map(|_| d.real(0.5, 200.0)).collect();
    if coarse {
        prices.fill(100.0);
    }
    let listed: Vec<usize> =
        assets.iter().map(|_| if d.chance(0.7) { 0 } else { d.int(1, 60) as usize }).collect();
    let mut age = 0;
    let mut days = Vec::new();
    let mut date = Date::constant(2026, 1, 1);
    let mut factors = BTreeMap::new();
    for _ in 0..day_count {
        if d.chance(0.3) {
            factors.insert(date, d.int(0, 12));
        }
        let ticks = (0..bars)
            .map(|_| {
                age += 1;
                let common = d.normal() * vol;
                for p in &mut prices {
                    *p *= 1.0 + common + d.normal() * vol;
                    *p = if coarse { p.round().max(1.0) } else { *p };
                }
                Tick {
                    push: d.chance(pushes).then(|| (d.real(0.5, 2.0), d.real(0.0, 2.0))),
                    vel_div: if d.chance(0.1) { f64::NAN } else { d.normal() * 0.04 },
                    prices: prices
                        .iter()
                        .zip(&listed)
                        .map(|(&p, &from)| match (age > from, d.chance(gap)) {
                            (true, false) => p,
                            _ => d.pick(&[f64::NAN, f64::INFINITY, 0.0, -1.0]),
                        })
                        .collect(),
                    vol_regime_ok: d.chance(0.05).then(|| d.chance(0.5)),
                    v750: if d.chance(0.05) { f64::NAN } else { d.normal() * 0.01 },
                    instability: if d.chance(0.05) { f64::NAN } else { d.unit() },
                    features: (with_ob && !d.chance(0.1))
                        .then(|| assets.iter().map(|_| d.chance(0.7).then(|| features(d))).collect()),
                    cross: CrossAsset {
                        agreement_pct: d.real(0.5, 1.0),
                        cascade_count: 0,
                        regime_signal: d.pick(&[-1, 0, 1]),
                    },
                    may_enter: !d.chance(0.03),
                }
            })
            .collect();
        let posture =
            d.pick(&[Posture::Apex, Posture::Apex, Posture::Stalker, Posture::Turtle, Posture::Hibernate]);
        days.push(ScenarioDay { date, posture, rm: d.unit(), direction: d.pick(&[-1, 0, 1]), ticks });
        date = date.tomorrow().unwrap();
    }
    Scenario { params, assets, stride, factors, days }
}
