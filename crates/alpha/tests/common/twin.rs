//! The engine once more, straight from the text of SPEC §3 and §4.1: whole histories, every statistic computed anew on
//! every tick, no thought of speed. The oracle of the fast one. The generator and the parameters alone are shared.

use std::collections::BTreeMap;

use alpha::rng::RandomState;
use alpha::{BoostMode, FeeModel, ObView, OpenPosition, Params, TickInput, TradeRecord, VolGate};
use market::{Date, ExitReason, Posture};

/// A day's result, as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinDay {
    pub pnl: f64,
    pub trades: u32,
    pub capital: f64,
    pub boost: f64,
    pub beta: f64,
    pub bars: u32,
}

pub struct Twin {
    params: Params,
    assets: Vec<String>,
    stride: usize,
    histories: Vec<Vec<f64>>,
    valid: Vec<bool>,
    xs: Vec<f64>,
    rng: RandomState,
    pub capital: f64,
    ticks: u64,
    pub position: Option<OpenPosition>,
    pub trades: Vec<TradeRecord>,
    factors: BTreeMap<Date, u32>,
    w750_days: Vec<f64>,
    w750_today: Vec<f64>,
    pushed: Option<(f64, f64)>,
    beta: f64,
    date: Date,
    posture: Posture,
    rm: f64,
    direction: i8,
    day_start_trades: usize,
    day_bars: u32,
}

impl Twin {
    pub fn new(params: Params, assets: Vec<String>, stride: usize) -> Self {
        Self {
            histories: vec![Vec::new(); assets.len()],
            valid: vec![false; assets.len()],
            xs: Vec::new(),
            rng: RandomState::new(params.seed),
            capital: params.initial_capital,
            ticks: 0,
            position: None,
            trades: Vec::new(),
            factors: BTreeMap::new(),
            w750_days: Vec::new(),
            w750_today: Vec::new(),
            pushed: None,
            beta: 0.2,
            date: Date::MIN,
            posture: Posture::Apex,
            rm: 1.0,
            direction: -1,
            day_start_trades: 0,
            day_bars: 0,
            params,
            assets,
            stride,
        }
    }

    pub fn set_factors(&mut self, factors: &BTreeMap<Date, u32>) {
        self.factors = factors.clone();
    }

    pub fn push(&mut self, boost: f64, beta: f64) {
        self.pushed = Some((boost, beta));
    }

    pub fn begin_day(&mut self, date: Date, posture: Posture, rm: f64, direction: i8) {
        (self.date, self.posture, self.rm, self.direction) = (date, posture, rm, direction);
        self.day_start_trades = self.trades.len();
        self.day_bars = 0;
        self.beta = 0.2;
    }

    pub fn end_day(&mut self) -> TwinDay {
        let today = &self.trades[self.day_start_trades..];
        let day = TwinDay {
            pnl: today.iter().map(|t| t.pnl).sum(),
            trades: today.len() as u32,
            capital: self.capital,
            boost: self.boost(),
            beta: self.pushed.map_or(self.beta, |p| p.1),
            bars: self.day_bars,
        };
        if !self.w750_today.is_empty() {
            self.w750_days.push(self.w750_today.iter().sum::<f64>() / self.w750_today.len() as f64);
        }
        self.w750_today.clear();
        day
    }

    fn boost(&self) -> f64 {
        let n = f64::from(*self.factors.get(&self.date).unwrap_or(&0));
        let base = (1.0 + 0.5 * (1.0 + n).ln()).clamp(0.5, 2.0);
        self.pushed.map_or(base, |p| p.0)
    }

    fn w750_threshold(&self) -> Option<f64> {
        let last60: Vec<f64> = self.w750_days.iter().rev().take(60).copied().collect();
        if last60.len() < 10 {
            return None;
        }
        let mut v = last60;
        v.sort_by(|a, b| a.partial_cmp(b).unwrap());
        let rank = 0.6 * (v.len() - 1) as f64;
        let (lo, hi) = (rank.floor() as usize, rank.ceil() as usize);
        Some(v[lo] + (v[hi] - v[lo]) * (rank - rank.floor()))
    }

    /// `n + 1` prices, newest first, a bar apart.
    fn strided(&self, asset: usize, n: usize) -> Option<Vec<f64>> {
        let h = &self.histories[asset];
        (0..=n).map(|k| h.len().checked_sub(1 + k * self.stride).map(|i| h[i])).collect()
    }

    fn reference(&self) -> Option<usize> {
        self.assets.iter().position(|a| *a == self.params.reference_symbol)
    }

    pub fn step(&mut self, input: &TickInput<'_>) {
        if self.posture == Posture::Hibernate {
            return;
        }
        let tick = self.ticks;
        self.ticks += 1;
        self.day_bars += 1;
        for (i, &price) in input.prices.iter().enumerate() {
            self.valid[i] = price.is_finite() && price > 0.0;
            let next = if self.valid[i] { Some(price) } else { self.histories[i].last().copied() };
            self.histories[i].extend(next);
        }
        if input.v750_velocity.is_finite() {
            self.w750_today.push(input.v750_velocity);
        }
        self.beta = match self.w750_threshold() {
            Some(t) if input.v750_velocity >= t => 0.8,
            _ => 0.2,
        };
        self.xs.push(input.instability_50 - input.v750_velocity);
        if self.position.is_some() {
            self.exits(tick, input.bar_idx);
        } else if input.may_enter {
            self.entry(tick, input);
        }
    }

    fn exits(&mut self, tick: u64, bar: u32) {
        let p = self.position.clone().unwrap();
        let asset = self.assets.iter().position(|a| *a == p.symbol).unwrap();
        let price = *self.histories[asset].last().unwrap();
        let d = f64::from(p.direction);
        let change = d * (price / p.entry_price - 1.0);
        let reason = if self.valid[asset] && change >= self.params.fixed_tp_pct {
            ExitReason::Tp
        } else if self.valid[asset] && change <= -self.params.stop_pct {
            ExitReason::Stop
        } else if tick - p.entry_tick >= u64::from(self.params.max_hold_bars) * self.stride as u64 {
            ExitReason::MaxHold
        } else {
            return;
        };
        let (maker_exit, fee_exit) = self.fee(self.params.sp_maker_exit_rate);
        let gross = p.notional * d * (price / p.entry_price - 1.0);
        let fees = p.notional * (p.fee_entry + fee_exit);
        self.capital += gross - fees;
        self.trades.push(TradeRecord {
            symbol: p.symbol,
            direction: p.direction,
            entry_date: p.entry_date,
            entry_bar: p.entry_bar,
            exit_date: self.date,
            exit_bar: bar,
            bars_held: tick - p.entry_tick,
            entry_price: p.entry_price,
            exit_price: price,
            notional: p.notional,
            leverage: p.leverage,
            vel_div: p.vel_div,
            bucket: p.bucket,
            boost: p.boost,
            beta: p.beta,
            mc_scale: p.mc_scale,
            maker_entry: p.maker_entry,
            maker_exit,
            fees,
            gross_pnl: gross,
            pnl: gross - fees,
            capital_after: self.capital,
            reason,
        });
        self.position = None;
    }

    fn fee(&mut self, rate: f64) -> (Option<bool>, f64) {
        let (maker_fee, taker_fee) = (self.params.maker_fee, self.params.taker_fee);
        if !self.params.use_alpha_layers {
            (Some(false), taker_fee)
        } else if self.params.fee_model == FeeModel::Expected {
            (None, rate * maker_fee + (1.0 - rate) * taker_fee)
        } else if self.rng.random_sample() < rate {
            (Some(true), maker_fee)
        } else {
            (Some(false), taker_fee)
        }
    }

    fn volatility_ok(&self, input: &TickInput<'_>) -> bool {
        if let Some(ok) = input.vol_regime_ok {
            return ok;
        }
        let p = &self.params;
        if (input.bar_idx as usize) < p.warmup_bars as usize * self.stride {
            return false;
        }
        if p.vol_gate == VolGate::Warmup {
            return true;
        }
        let Some(prices) = self.reference().and_then(|r| self.strided(r, p.vol_window_bars as usize)) else {
            return false;
        };
        let returns: Vec<f64> = prices.windows(2).map(|w| w[0] / w[1] - 1.0).collect();
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        let variance = returns.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / returns.len() as f64;
        variance.sqrt() > p.vol_p60
    }

    fn entry(&mut self, tick: u64, input: &TickInput<'_>) {
        if !self.volatility_ok(input) {
            return;
        }
        let p = self.params.clone();
        let short = self.direction <= 0 && input.vel_div <= p.vel_div_threshold;
        let long = self.direction >= 0 && -input.vel_div <= p.vel_div_threshold;
        let (direction, vd) = match (short, long) {
            (true, _) => (-1i8, input.vel_div),
            (_, true) => (1i8, -input.vel_div),
            _ => return,
        };
        let d = f64::from(direction);
        let Some(reference) = self.reference() else { return };
        let Some(moved) = self.strided(reference, p.dc_lookback_bars as usize) else { return };
        if d * 1e4 * (moved[0] / moved[moved.len() - 1] - 1.0) < p.dc_min_magnitude_bps {
            return;
        }
        let ob = if p.use_alpha_layers { input.ob } else { None };
        let asset = if p.use_alpha_layers {
            let Some(asset) = self.selected(direction, ob.as_ref()) else { return };
            asset
        } else if self.valid[reference] {
            reference
        } else {
            return;
        };
        let strength =
            ((p.vel_div_threshold - vd) / (p.vel_div_threshold - p.vel_div_extreme)).clamp(0.0, 1.0);
        let base = if p.use_dynamic_leverage {
            p.min_leverage + (p.max_leverage - p.min_leverage) * strength.powf(p.leverage_convexity)
        } else {
            1.0
        };
        let boost = self.proxied(self.boost());
        let beta = self.pushed.map_or(self.beta, |x| x.1);
        let cubic = (vd.abs() / p.vel_div_threshold.abs()).powi(3);
        let mut abs_max = f64::max(1.0, p.abs_max_leverage * self.rm);
        if self.posture == Posture::Stalker {
            abs_max = abs_max.min(2.0);
        }
        let leverage = f64::min(f64::max(base * boost * (1.0 + beta * cubic), p.min_leverage), abs_max);
        let fill = ob.and_then(|v| v.features[asset]).map(|f| {
            let side = if direction < 0 { f.fill_probability_ask } else { f.fill_probability_bid };
            let both = f.fill_probability_ask.is_finite() && f.fill_probability_bid.is_finite();
            if both { side } else { f.fill_probability }
        });
        let rate = match fill {
            Some(f) => (p.sp_maker_entry_rate * f / p.fill_probability_ref).clamp(0.0, 1.0),
            None => p.sp_maker_entry_rate,
        };
        let (maker_entry, fee_entry) = self.fee(rate);
        self.position = Some(OpenPosition {
            symbol: self.assets[asset].clone(),
            direction,
            entry_price: *self.histories[asset].last().unwrap(),
            notional: self.capital * p.fraction * leverage,
            leverage,
            entry_tick: tick,
            entry_bar: input.bar_idx,
            entry_date: self.date,
            maker_entry,
            fee_entry,
            vel_div: input.vel_div,
            bucket: [-0.075, -0.05, -0.035].iter().filter(|&&b| vd > b).count() as u8,
            boost,
            beta,
            mc_scale: 1.0,
        });
    }

    fn proxied(&self, boost: f64) -> f64 {
        let now = self.xs.len() - 1;
        let x = self.xs[now];
        if self.params.boost_mode == BoostMode::Baseline || !x.is_finite() {
            return boost;
        }
        let earlier = (1..=500).map_while(|k| now.checked_sub(k * self.stride)).map(|i| self.xs[i]);
        let finite: Vec<f64> = earlier.filter(|v| v.is_finite()).collect();
        if finite.len() < 100 {
            return boost;
        }
        let smaller = finite.iter().filter(|&&v| v < x).count();
        boost * (0.5 + smaller as f64 / finite.len() as f64)
    }

    fn selected(&self, direction: i8, ob: Option<&ObView<'_>>) -> Option<usize> {
        let p = &self.params;
        let d = f64::from(direction);
        let lookback = p.lookback as usize;
        let candidates: Vec<(usize, Vec<f64>)> = (0..self.assets.len())
            .filter(|&i| self.valid[i] && !p.excluded_assets.contains(&self.assets[i]))
            .filter_map(|i| self.strided(i, lookback).map(|prices| (i, prices)))
            .collect();
        let relative: Vec<f64> = candidates.iter().map(|(_, h)| h[0] / h[lookback] - 1.0).collect();
        let mean = relative.iter().sum::<f64>() / relative.len() as f64;
        let mut stay: Vec<(f64, usize)> = Vec::new();
        for ((asset, prices), relative) in candidates.iter().zip(&relative) {
            let aligned = prices.windows(2).filter(|w| d * (w[0] / w[1] - 1.0) > 0.0).count();
            let alignment = aligned as f64 / lookback as f64;
            let mut score = d * (relative - mean);
            if !(alignment >= p.min_irp_alignment && score > 0.0) {
                continue;
            }
            if let Some((view, f)) = ob.and_then(|v| Some((v, v.features[*asset]?))) {
                let side = if direction < 0 { f.fill_probability_ask } else { f.fill_probability_bid };
                let both = f.fill_probability_ask.is_finite() && f.fill_probability_bid.is_finite();
                let fill = if both { side } else { f.fill_probability };
                if !(fill >= p.min_fill_probability
                    && d * f.depth_asymmetry > 0.0
                    && d * f.imbalance_persistence >= p.ob_confirm_rate
                    && f.spread_proxy_bps <= p.ob_edge_bps)
                {
                    continue;
                }
                if view.cross.regime_signal == direction {
                    let lean = f64::max(0.0, d * (f.depth_asymmetry - f.macro_imbalance));
                    score *= 1.0 + view.cross.agreement_pct * lean;
                }
            }
            stay.push((score, *asset));
        }
        // The largest score first; of equal ones the smaller symbol.
        stay.sort_by(|a, b| {
            b.0.partial_cmp(&a.0)
                .unwrap()
                .then_with(|| self.assets[a.1].as_bytes().cmp(self.assets[b.1].as_bytes()))
        });
        stay.first().map(|s| s.1)
    }
}
