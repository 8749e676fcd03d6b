//! Pre-trade risk: the last check before an order leaves (SPEC §8, FAULTS §3).
//!
//! An order that opens passes every gate ([`crate::gates`]) and every check below. A reduce-only order passes only those
//! without which the venue would refuse it (state HALTED, connection, the instrument's status and filters): **no trip
//! ever blocks an exit**, and cancels are not checked at all. A size beyond the limits of an order's or a position's
//! value is cut to them. A denial names the check, the number, the limit and the key that holds the limit; it allocates
//! nothing, and being repeated changes nothing.

use arrayvec::ArrayVec;
use market::{EnterIntent, InstrumentStatus, Nanos, NewOrder, OrderType, Px, Qty, Side, SymbolId};
use serde::{Deserialize, Serialize};

use crate::check::{Check, Latch, Verdict, at_least, at_most, must};
use crate::gate::TradingState;
use crate::gates::{self, ACCOUNT, Exposure, SYMBOL, SymbolView, free_margin, limit, liquidation};
use crate::limits::RiskConfig;
use crate::rate::{TokenBucket, WindowCount};

/// What the checks of an order look at.
pub(crate) struct Scene<'a> {
    pub view: SymbolView<'a>,
    /// Signed position.
    pub position: Qty,
    /// Lots working on each side.
    pub working: (Qty, Qty),
    /// Best price of our own working orders on the other side.
    pub own_opposite: Option<Px>,
    pub orders_here: u32,
    /// Everything in other instruments.
    pub elsewhere: Exposure,
    pub open_positions: u32,
}

impl Scene<'_> {
    fn working_on(&self, side: Side) -> Qty {
        if side == Side::Buy { self.working.0 } else { self.working.1 }
    }
}

/// How much of an order is allowed, and by what.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Allowed {
    pub lots: i64,
    pub check: Check,
    pub limit: f64,
}

/// The budget and counters behind the checks.
#[derive(Debug, Serialize, Deserialize)]
pub struct Risk {
    limits: RiskConfig,
    orders_10s: TokenBucket,
    orders_1m: TokenBucket,
    weight_1m: TokenBucket,
    entries: WindowCount<{ Risk::MOST_TIMES }>,
    rejects: WindowCount<{ Risk::MOST_TIMES }>,
    recent: ArrayVec<(Nanos, SymbolId, Side, Px, Qty), 8>,
    pub(crate) margin_short_at: Option<Nanos>,
    pub(crate) backoff_until: Nanos,
    overloads: u32,
    latches: ArrayVec<Latch, { Risk::MOST_LATCHES }>,
    /// Capital of the newest intent.
    pub(crate) capital: Option<f64>,
}

impl Risk {
    /// Latches at one time: there are fewer checks that latch.
    pub(crate) const MOST_LATCHES: usize = 16;
    /// Times of one kind that are kept.
    pub(crate) const MOST_TIMES: usize = 64;

    pub(crate) fn new(limits: RiskConfig) -> Self {
        let share = |n: u32| (f64::from(n) * limits.rate_share) as u32;
        let (ten, minute) = (10 * Nanos::SECOND, 60 * Nanos::SECOND);
        Self {
            orders_10s: TokenBucket::new(share(limits.venue_orders_per_10s), ten),
            orders_1m: TokenBucket::new(share(limits.venue_orders_per_min), minute),
            weight_1m: TokenBucket::new(share(limits.venue_weight_per_min), minute),
            entries: WindowCount::new(limits.repeat_window_ms.saturating_mul(Nanos::MS)),
            rejects: WindowCount::new(minute),
            recent: ArrayVec::new(),
            margin_short_at: None,
            backoff_until: Nanos(0),
            overloads: 0,
            latches: ArrayVec::new(),
            capital: None,
            limits,
        }
    }

    /// Limits in force.
    pub fn limits(&self) -> &RiskConfig {
        &self.limits
    }

    /// What waits for a person, oldest first.
    pub fn latches(&self) -> &[Latch] {
        &self.latches
    }

    /// `true` if this is news.
    pub(crate) fn latch(&mut self, latch: Latch) -> bool {
        let news = self.latches.iter().all(|l| l.check != latch.check);
        if news {
            let _ = self.latches.try_push(latch);
        }
        news
    }

    pub(crate) fn rearm(&mut self) {
        self.latches.clear();
        self.entries.clear();
        self.rejects.clear();
    }

    /// Times of the entries sent within the window.
    pub(crate) fn entry_times(&self) -> &[Nanos] {
        self.entries.times()
    }

    /// Times of the refusals within the last minute.
    pub(crate) fn reject_times(&self) -> &[Nanos] {
        self.rejects.times()
    }

    pub(crate) fn restore(&mut self, entries: &[Nanos], rejects: &[Nanos]) {
        entries.iter().for_each(|at| self.entries.add(*at));
        rejects.iter().for_each(|at| self.rejects.add(*at));
    }

    /// Refusals by the venue in the last minute: for the circuit breaker.
    pub fn rejects_last_minute(&self, now: Nanos) -> u32 {
        self.rejects.count(now)
    }

    /// The venue refused an order; the latch, if that was one too many.
    pub(crate) fn rejected(&mut self, now: Nanos) -> Option<Latch> {
        self.rejects.add(now);
        let (count, most) = (self.rejects.count(now), self.limits.max_rejects_per_min);
        let latch =
            Latch { check: Check::RejectRate, at: now, value: f64::from(count), limit: f64::from(most) };
        (count > most).then_some(latch)
    }

    pub(crate) fn margin_short(&mut self, now: Nanos) {
        self.margin_short_at = Some(now);
    }

    pub(crate) fn back_off(&mut self, until: Nanos) {
        self.backoff_until = self.backoff_until.max(until);
    }

    /// The venue is overloaded: entries wait 1 s, then 2, 4 … 32 s, until one is taken again.
    pub(crate) fn overloaded(&mut self, now: Nanos) {
        self.back_off(now.plus(Nanos::SECOND << self.overloads.min(5)));
        self.overloads += 1;
    }

    /// The venue took an order that opens.
    pub(crate) fn accepted(&mut self) {
        self.overloads = 0;
    }

    /// An order goes out.
    pub(crate) fn sent_order(&mut self, now: Nanos, o: &NewOrder) {
        self.orders_10s.debit(now, 1);
        self.orders_1m.debit(now, 1);
        if self.recent.is_full() {
            self.recent.remove(0);
        }
        self.recent.push((now, o.symbol, o.side, o.px, o.qty));
    }

    /// The first order of an entry goes out.
    pub(crate) fn entered(&mut self, now: Nanos) {
        self.entries.add(now);
    }

    /// Any other request goes out.
    pub(crate) fn sent_weight(&mut self, now: Nanos, weight: i64) {
        self.weight_1m.debit(now, weight);
    }

    /// May a question be asked, or must the budget be kept for cancels?
    pub(crate) fn may_query(&self, now: Nanos) -> bool {
        let reserve = (self.weight_1m.capacity() as f64 * self.limits.rate_reserve) as i64;
        self.weight_1m.available(now) > reserve
    }

    /// Orders left in our budget, above what is kept for exits.
    pub(crate) fn orders_left(&self, now: Nanos) -> f64 {
        let left = |b: &TokenBucket| b.available(now) as f64 - b.capacity() as f64 * self.limits.rate_reserve;
        left(&self.orders_10s).min(left(&self.orders_1m))
    }

    /// Share used of the budget above the reserve.
    pub(crate) fn orders_used(&self, now: Nanos) -> f64 {
        let used = |b: &TokenBucket| {
            let (free, all) = (b.available(now) as f64, b.capacity() as f64);
            let kept = all * self.limits.rate_reserve;
            1.0 - ((free - kept) / (all - kept).max(1.0)).clamp(0.0, 1.0)
        };
        used(&self.orders_10s).max(used(&self.orders_1m))
    }

    /// An intent to enter is taken up: checked once, before its first order.
    pub(crate) fn check_intent(&self, s: &Scene<'_>, e: &EnterIntent) -> Verdict {
        let (l, now) = (&self.limits, s.view.account.now);
        let sane = e.notional.is_finite() && e.notional > 0.0 && (e.direction == 1 || e.direction == -1);
        let based = e.capital.is_finite() && e.capital > 0.0;
        must(
            Check::Malformed,
            sane && based && e.decision_px > 0.0 && e.tp_pct.is_finite() && e.tp_pct > 0.0,
        )?;
        must(Check::DuplicateIntent, s.orders_here == 0 && s.position.is_zero())?;
        at_most(Check::OpenPositions, f64::from(s.open_positions + 1), f64::from(l.max_open_positions))?;
        gates::clock(&s.view.account)?;
        gates::clock_error(&s.view.account)?;
        let Some(clock) = s.view.account.gate.clock else { return must(Check::Clock, false) };
        // Venue time against our own, with the offset between them and its error: the oldest it can be, and the newest.
        let (age, error) = (clock.age_ns(now, e.ts_event) as f64, clock.error_at(now) as f64);
        let ms = Nanos::MS as f64;
        at_most(Check::SignalAge, (age + error) / ms, l.max_signal_age_ms as f64)?;
        at_most(Check::SignalAhead, -(age + error) / ms, l.max_signal_ahead_ms as f64)?;
        at_most(Check::Leverage, e.leverage, s.view.account.gate.abs_max_leverage * (1.0 + 1e-9))?;
        let (entries, most) = (self.entries.count(now) + 1, l.max_repeated_entries);
        at_most(Check::Repeated, f64::from(entries), f64::from(most))
    }

    /// May anything be opened here and now?
    pub(crate) fn check_open(&self, s: &Scene<'_>) -> Verdict {
        if let Some(latch) = self.latches.first() {
            return Err((Check::Tripped, f64::from(latch.check.id()), 0.0));
        }
        ACCOUNT.iter().try_for_each(|(_, gate)| gate(&s.view.account))?;
        SYMBOL.iter().try_for_each(|(_, gate)| gate(&s.view))
    }

    /// How many lots an order of this side and price may have by the limits that cut.
    pub(crate) fn allowed(&self, s: &Scene<'_>, side: Side, px: Px, capital: f64) -> Allowed {
        let (l, i) = (&self.limits, s.view.instrument);
        let px = i.px_f64(px);
        let there = (s.position.0 * side.sign()).max(0) + s.working_on(side).0;
        let order = limit(l.max_order_notional_usd, l.max_order_notional_x_capital, Some(capital));
        let order = order.unwrap_or(0.0).min(RiskConfig::HARD_MAX_ORDER_USD);
        let position = limit(l.max_position_usd, l.max_position_x_capital, Some(capital)).unwrap_or(0.0);
        let lots = |usd: f64| i.lot.floor(usd / px).unwrap_or(0).max(0) / i.qty_step * i.qty_step;
        let (by_order, by_position) = (lots(order), lots(position - px * i.qty_f64(Qty(there))));
        if by_order <= by_position {
            Allowed { lots: by_order, check: Check::OrderNotional, limit: order }
        } else {
            Allowed { lots: by_position, check: Check::Position, limit: position }
        }
    }

    /// Every order that opens: the whole list. `decision_px` is the price the engine saw, `capital` what it sized with.
    pub(crate) fn check_entry(
        &self,
        s: &Scene<'_>,
        o: &NewOrder,
        (decision_px, capital): (f64, f64),
    ) -> Verdict {
        self.check_open(s)?;
        let (l, i, mid) = (&self.limits, s.view.instrument, s.view.mid());
        at_most(Check::DecisionDrift, (mid / decision_px - 1.0).abs() * 1e4, l.max_decision_drift_bps)?;
        filters(s, o, l)?;
        let px = i.px_f64(o.px);
        at_most(Check::PriceCollar, (px / mid - 1.0).abs() * 1e4, l.price_collar_bps)?;
        if let Some(own) = s.own_opposite {
            let crosses = if o.side == Side::Buy { o.px >= own } else { o.px <= own };
            if crosses {
                return Err((Check::SelfCross, o.px.0 as f64, own.0 as f64));
            }
        }
        self.check_exposure(s, o, px, capital)?;
        let now = s.view.account.now;
        let last = self.recent.iter().rev().find(|r| (r.1, r.2, r.3, r.4) == (o.symbol, o.side, o.px, o.qty));
        match last {
            Some((at, ..)) => {
                let ago = now.since(*at).millis() as f64;
                at_least(Check::DuplicateOrder, ago, l.duplicate_window_ms as f64)
            }
            None => Ok(()),
        }
    }

    /// What the order and everything else come to at their worst, working and unknown orders counted as filled.
    fn check_exposure(&self, s: &Scene<'_>, o: &NewOrder, px: f64, capital: f64) -> Verdict {
        let (l, i, account) = (&self.limits, s.view.instrument, &s.view.account);
        let allowed = self.allowed(s, o.side, o.px, capital);
        let order_usd = px * i.qty_f64(o.qty);
        if o.qty.0 > allowed.lots {
            return Err((allowed.check, order_usd, allowed.limit));
        }
        must(Check::EquityUnknown, !s.elsewhere.unpriced)?;
        let (buy, sell) = s.working;
        let (buy, sell) = if o.side == Side::Buy { (buy + o.qty, sell) } else { (buy, sell + o.qty) };
        let mut worst = s.elsewhere;
        worst.add(Some(px), |q| i.qty_f64(q), s.position, buy, sell);
        let capital = Some(capital);
        if let Some(most) = limit(l.max_gross_usd, l.max_gross_x_capital, capital) {
            at_most(Check::Gross, worst.gross, most.min(RiskConfig::HARD_MAX_EXPOSURE_USD))?;
        }
        if let Some(most) = limit(l.max_net_usd, l.max_net_x_capital, capital) {
            let net = worst.long.abs().max(worst.short.abs());
            at_most(Check::Net, net, most.min(RiskConfig::HARD_MAX_EXPOSURE_USD))?;
        }
        let equity = account.ledger.equity().map_or(f64::NAN, market::Amount::to_f64);
        let leverage = worst.gross / equity;
        let leverage = if leverage < 0.0 { f64::INFINITY } else { leverage };
        at_most(Check::Leverage, leverage, account.gate.abs_max_leverage)?;
        // At the highest leverage that is allowed an order takes up at least this much margin.
        free_margin(account, order_usd / account.gate.abs_max_leverage.max(1.0))?;
        // Cross margin: how far the price may go against everything until the equity is the maintenance margin, taken
        // as the venue's own share of what is open now, and at least one percent.
        let held = account.margin.map_or(0.0, |m| m.maintenance.to_f64());
        let maintenance = held.max(0.0) + 0.01 * worst.gross;
        liquidation(l, Some((equity - maintenance) / worst.gross))
    }

    /// A reduce-only order: only what would make it pointless to send.
    pub(crate) fn check_reduce(&self, s: &Scene<'_>, o: &NewOrder, by_kill_switch: bool) -> Verdict {
        let gate = s.view.account.gate;
        must(Check::State, gate.state != TradingState::Halted || by_kill_switch)?;
        must(Check::Connected, gate.order_path)?;
        let trades = s.view.instrument.status == InstrumentStatus::Trading;
        must(Check::Tradable, trades || by_kill_switch)?;
        filters(s, o, &self.limits)
    }
}

/// The venue's filters. Tick and step hold by construction: prices are ticks and quantities are lots.
fn filters(s: &Scene<'_>, o: &NewOrder, l: &RiskConfig) -> Verdict {
    let i = s.view.instrument;
    let market = o.order_type == OrderType::Market;
    let max_qty = if market { i.max_market_qty.0.min(i.max_qty.0) } else { i.max_qty.0 };
    if o.qty.0 <= 0 || (o.qty < i.min_qty && !o.reduce_only) {
        return Err((Check::MinQty, o.qty.0 as f64, i.min_qty.0 as f64));
    }
    at_most(Check::MaxQty, o.qty.0 as f64, max_qty as f64)?;
    let venue_orders = if i.max_orders == 0 { u32::MAX } else { i.max_orders };
    let most = if o.reduce_only { venue_orders } else { venue_orders.min(l.max_orders_per_symbol) };
    at_most(Check::MaxOrders, f64::from(s.orders_here + 1), f64::from(most))?;
    if market {
        return Ok(());
    }
    let (low, high) = (i.min_px.0.max(1), if i.max_px.is_zero() { i64::MAX } else { i.max_px.0 });
    if !(low..=high).contains(&o.px.0) {
        let limit = if o.px.0 < low { low } else { high };
        return Err((Check::PriceFilter, o.px.0 as f64, limit as f64));
    }
    if let Some(mark) = s.view.mark() {
        let ratio = i.px_f64(o.px) / mark;
        match o.side {
            Side::Buy => at_most(Check::PercentPrice, ratio, i.multiplier_up)?,
            Side::Sell => at_least(Check::PercentPrice, ratio, i.multiplier_down)?,
        }
    }
    if !o.reduce_only {
        let value = i.notional(o.px, o.qty).ok_or((Check::OrderNotional, f64::INFINITY, 0.0))?;
        if value < i.min_notional {
            return Err((Check::MinNotional, value.to_f64(), i.min_notional.to_f64()));
        }
    }
    Ok(())
}
