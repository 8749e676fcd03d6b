//! One tick: histories, then exits or entry, in the order of SPEC §3.4.

use market::{EnterIntent, ExitIntent, ExitReason, Intent, Nanos, Posture, SymbolId, VenueTime};

use super::{Booking, Day, Engine, Hold, PROXY_BARS, PROXY_MIN};
use crate::forewarner::McStatus;
use crate::params::{BoostMode, FeeModel, VolGate};
use crate::position::{Fill, Position, Trade, When};
use crate::report::{Action, Gate, GateValues, ObView, StepReport, TickInput};
use crate::selection::{features_of, fill_probability};
use crate::signal::{self, Scales};

impl Engine {
    /// One tick. In HIBERNATE and without an open day nothing is stepped: no history, no counter, no exit.
    pub fn step_bar(&mut self, input: &TickInput<'_>) -> StepReport {
        let mut values = GateValues { vel_div: input.vel_div, ..GateValues::NONE };
        let tick = self.state.book.ticks;
        let (gate, action) = match self.state.book.day {
            None => (Gate::NoDay, Action::None),
            Some(_) if self.safety().posture == Posture::Hibernate => (Gate::Posture, Action::None),
            Some(day) => self.step_open_day(day, tick, input, &mut values),
        };
        self.gates[gate as usize] += 1;
        StepReport { tick, gate, action, values }
    }

    fn step_open_day(
        &mut self,
        mut day: Day,
        tick: u64,
        input: &TickInput<'_>,
        values: &mut GateValues,
    ) -> (Gate, Action) {
        day.bars += 1;
        day.bar_idx = input.bar_idx;
        self.state.book.day = Some(day);
        self.state.book.ticks += 1;
        self.take_histories(input);
        let when = When { tick, bar: input.bar_idx, date: day.date };
        match self.state.book.hold {
            Hold::Flat => match self.gates_of_entry(&day, input, values) {
                Ok((symbol, direction)) => self.enter(&day, input, symbol, direction, when),
                Err(gate) => (gate, Action::None),
            },
            Hold::Entering { wanted, vel_div, exit_after } => {
                let vel_div = if input.vel_div.is_nan() { vel_div } else { input.vel_div };
                self.state.book.hold = Hold::Entering { wanted, vel_div, exit_after };
                let threshold = self.params.vel_div_threshold;
                let holds = exit_after.is_none()
                    && self.may_open(&day).is_ok()
                    && signal::fires(vel_div, threshold, wanted.direction) == wanted.direction;
                let signal = Intent::EntrySignal { symbol: wanted.symbol, holds };
                (Gate::EntryWorking, Action::Intent(signal))
            }
            Hold::Open(position) => self.exit_if_due(position, input.ts_event, when, values),
            Hold::Exiting(_) => (Gate::ExitWorking, Action::None),
        }
    }

    fn take_histories(&mut self, input: &TickInput<'_>) {
        self.take_prices(input.prices);
        self.warm_rank(input.instability_50, input.v750_velocity);
        self.state.book.acb.step(input.v750_velocity);
    }

    /// Every gate of an entry in order; the first closed one, or what to enter and which way.
    fn gates_of_entry(
        &mut self,
        day: &Day,
        input: &TickInput<'_>,
        values: &mut GateValues,
    ) -> Result<(SymbolId, i8), Gate> {
        if !input.may_enter {
            return Err(Gate::Caller);
        }
        if !self.volatility_ok(input, values) && !self.rehearsing {
            return Err(Gate::Volatility);
        }
        self.may_open(day)?;
        let direction = signal::fires(input.vel_div, self.params.vel_div_threshold, day.direction);
        if direction == 0 {
            return Err(Gate::Signal);
        }
        values.direction = direction;
        if !self.direction_confirmed(direction, values) && !self.rehearsing {
            return Err(Gate::Direction);
        }
        let selected = self.select(direction, input.ob.as_ref(), values);
        selected.map(|symbol| (symbol, direction)).ok_or(Gate::Asset)
    }

    /// The gates that close for a day or longer.
    fn may_open(&self, day: &Day) -> Result<(), Gate> {
        if day.mc_status == McStatus::Red {
            return Err(Gate::Forewarner);
        }
        if !self.state.book.breaker.can_open() {
            return Err(Gate::Breaker);
        }
        Ok(())
    }

    /// SPEC §3.5. Computed anew from the ring of returns, so that no rounding accumulates.
    fn volatility_ok(&self, input: &TickInput<'_>, values: &mut GateValues) -> bool {
        if let Some(ok) = input.vol_regime_ok {
            return ok;
        }
        if (input.bar_idx as usize) < self.params.warmup_bars as usize * self.stride {
            return false;
        }
        if self.params.vol_gate == VolGate::Warmup {
            return true;
        }
        let returns = &self.state.rings.returns;
        let n = f64::from(self.params.vol_window_bars);
        let mean = returns.strided(0, self.stride).sum::<f64>() / n;
        let squares: f64 = returns.strided(0, self.stride).map(|r| (r - mean) * (r - mean)).sum();
        values.vol_std = (squares / n).sqrt();
        // Too short a history is NaN, and so is its deviation: closed.
        values.vol_std > self.params.vol_p60
    }

    fn direction_confirmed(&self, direction: i8, values: &mut GateValues) -> bool {
        let reference = &self.state.rings.reference;
        let before = reference.back(self.params.dc_lookback_bars as usize * self.stride);
        values.dc_move_bps = f64::from(direction) * 1e4 * (reference.back(0) / before - 1.0);
        values.dc_move_bps >= self.params.dc_min_magnitude_bps
    }

    fn select(
        &mut self,
        direction: i8,
        ob: Option<&ObView<'_>>,
        values: &mut GateValues,
    ) -> Option<SymbolId> {
        if self.params.use_alpha_layers {
            let entry = (direction, self.needs_features);
            return self.selector.select(&self.params, &self.state.prices, entry, ob, values);
        }
        let reference = self.reference.filter(|&i| self.state.prices.valid()[i])?;
        values.best = Some(SymbolId(reference as u16));
        values.best
    }

    fn enter(
        &mut self,
        day: &Day,
        input: &TickInput<'_>,
        symbol: SymbolId,
        direction: i8,
        when: When,
    ) -> (Gate, Action) {
        let ob = if self.params.use_alpha_layers { input.ob.as_ref() } else { None };
        let fill_p = features_of(ob, symbol.index()).map(|f| fill_probability(f, direction));
        let mut position = self.decide(day, input.vel_div, symbol, direction, when);
        match self.booking {
            Booking::Model => {
                let fill = self.model_fill(self.entry_rate(fill_p), position.entry_price);
                position.maker_entry = fill.maker;
                position.fee_entry = fill.fee;
                self.state.book.hold = Hold::Open(position);
                (Gate::Entered, Action::Entered(symbol))
            }
            // A model may go on with a lost capital, as the formulas do; a venue may not.
            Booking::Venue if !(position.notional > 0.0 && position.notional.is_finite()) => {
                (Gate::Capital, Action::None)
            }
            Booking::Venue => {
                self.state.book.hold =
                    Hold::Entering { wanted: position, vel_div: input.vel_div, exit_after: None };
                let intent = Intent::Enter(EnterIntent {
                    symbol,
                    direction,
                    notional: position.notional,
                    leverage: position.leverage,
                    capital: self.state.book.capital,
                    decision_px: position.entry_price,
                    tp_pct: self.params.fixed_tp_pct,
                    fill_probability: fill_p.unwrap_or(f64::NAN),
                    ts_event: VenueTime(input.ts_event),
                });
                (Gate::Entered, Action::Intent(intent))
            }
        }
    }

    /// Strength, leverage and size (SPEC §3.8) at the tick's price, before any fee.
    fn decide(&mut self, day: &Day, vel_div: f64, symbol: SymbolId, direction: i8, when: When) -> Position {
        let vd = signal::signed(vel_div, direction);
        let acb = &self.state.book.acb;
        let scales = Scales { boost: self.proxied(acb.boost()), beta: acb.beta(), mc_scale: day.mc_scale };
        let safety = self.safety();
        let abs_max = signal::abs_max_effective(&self.params, safety.posture, safety.rm);
        let (leverage, mult) = signal::leverage(&self.params, vd, scales, abs_max);
        // Kept for display, and in snapshots, where JSON has no infinity.
        if mult.is_finite() {
            self.state.book.regime_size_mult = mult;
        }
        Position {
            symbol,
            direction,
            entry_price: self.state.prices.last()[symbol.index()],
            notional: self.state.book.capital * self.params.fraction * leverage,
            leverage,
            entry_tick: when.tick,
            entry_bar: when.bar,
            entry_date: when.date,
            maker_entry: None,
            fee_entry: 0.0,
            vel_div,
            bucket: signal::bucket(vd),
            boost: scales.boost,
            beta: scales.beta,
            mc_scale: scales.mc_scale,
        }
    }

    /// proxy_b (SPEC §3.13): the boost scaled by the rank of this bar's x among those of the last 500 bars. The rank is
    /// only needed when a position is sized, so it is only computed then.
    pub(super) fn proxied(&self, boost: f64) -> f64 {
        if self.params.boost_mode == BoostMode::Baseline {
            return boost;
        }
        let ring = &self.state.rings.proxy;
        let x = ring.back(0);
        if !x.is_finite() {
            return boost;
        }
        let (mut below, mut count) = (0usize, 0usize);
        for earlier in ring.strided(self.stride, self.stride).take(PROXY_BARS).filter(|v| v.is_finite()) {
            count += 1;
            below += usize::from(earlier < x);
        }
        if count < PROXY_MIN { boost } else { boost * (0.5 + below as f64 / count as f64) }
    }

    fn entry_rate(&self, fill_p: Option<f64>) -> f64 {
        let rate = self.params.sp_maker_entry_rate;
        fill_p.map_or(rate, |p| (rate * p / self.params.fill_probability_ref).clamp(0.0, 1.0))
    }

    /// A model fill: maker at `rate`, by a draw or by its expectation (SPEC §3.9).
    fn model_fill(&mut self, rate: f64, price: f64) -> Fill {
        let (maker_fee, taker_fee) = (self.params.maker_fee, self.params.taker_fee);
        if !self.params.use_alpha_layers {
            return Fill { price, maker: Some(false), fee: taker_fee };
        }
        match self.params.fee_model {
            FeeModel::Expected => {
                Fill { price, maker: None, fee: rate * maker_fee + (1.0 - rate) * taker_fee }
            }
            FeeModel::Sampled => {
                let maker = self.state.rng.random_sample() < rate;
                Fill { price, maker: Some(maker), fee: if maker { maker_fee } else { taker_fee } }
            }
        }
    }

    fn exit_if_due(
        &mut self,
        position: Position,
        ts_event: Nanos,
        when: When,
        values: &mut GateValues,
    ) -> (Gate, Action) {
        let asset = position.symbol.index();
        let price = self.state.prices.last()[asset];
        let change = f64::from(position.direction) * (price / position.entry_price - 1.0);
        values.change = change;
        let valid = self.state.prices.valid()[asset];
        let longest = u64::from(self.params.max_hold_bars) * self.stride as u64;
        let reason = if valid && change >= self.params.fixed_tp_pct {
            ExitReason::Tp
        } else if valid && change <= -self.params.stop_pct {
            ExitReason::Stop
        } else if when.tick - position.entry_tick >= longest {
            ExitReason::MaxHold
        } else {
            return (Gate::Holding, Action::None);
        };
        (Gate::Exited, self.exit(position, reason, ts_event, when))
    }

    /// Closes the position by the model, or asks the router to.
    pub(super) fn exit(
        &mut self,
        position: Position,
        reason: ExitReason,
        ts_event: Nanos,
        when: When,
    ) -> Action {
        match self.booking {
            Booking::Model => {
                let price = self.state.prices.last()[position.symbol.index()];
                let fill = self.model_fill(self.params.sp_maker_exit_rate, price);
                self.book_exit(position, fill, reason, when);
                Action::Exited(reason)
            }
            Booking::Venue => {
                self.state.book.hold = Hold::Exiting(position);
                Action::Intent(Intent::Exit(ExitIntent { symbol: position.symbol, reason, ts_event }))
            }
        }
    }

    /// The position is closed: capital, the day's sums, the breaker.
    pub(super) fn book_exit(&mut self, position: Position, fill: Fill, reason: ExitReason, when: When) {
        let book = &mut self.state.book;
        let trade = Trade::close(position, fill, when, reason, book.capital);
        book.capital = trade.capital_after;
        book.breaker.on_trade(trade.pnl);
        if let Some(day) = &mut book.day {
            day.trades += 1;
            day.pnl += trade.pnl;
        }
        book.trades.push(trade);
        book.trades_closed += 1;
        book.hold = Hold::Flat;
    }
}
