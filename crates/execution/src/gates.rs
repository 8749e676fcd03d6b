//! The gates: what must be in order for anything to be opened at all, and in one instrument.
//!
//! One table serves both questions, *may this order pass?* and *what is closed, since when, and what reopens it?*, so
//! that no order is ever denied by a gate that the status calls open.

use arrayvec::ArrayVec;
use market::planted::{Bug, planted};
use market::{Amount, Instrument, InstrumentStatus, Level, Nanos, Posture, Px, Qty, VenueTime};
use serde::{Deserialize, Serialize};

use crate::check::{Broken, Check, ClosedGate, Reopens, Verdict, at_least, at_most, must};
use crate::gate::{Gate, TradingState};
use crate::ledger::Ledger;
use crate::limits::RiskConfig;

/// The account's margin as the venue told it at the last comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Margin {
    /// What may be used for new positions (`availableBalance`).
    pub available: Amount,
    /// Maintenance margin of all positions (`totalMaintMargin`).
    pub maintenance: Amount,
}

/// Value of positions with every working and unknown order counted at its worst, quote asset.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Exposure {
    /// Σ of the larger side of each instrument.
    pub gross: f64,
    /// Net, if everything that buys is filled and nothing that sells.
    pub long: f64,
    /// Net the other way, negative for a short.
    pub short: f64,
    /// Is something there that has no price?
    pub unpriced: bool,
}

impl Exposure {
    pub(crate) fn add(&mut self, px: Option<f64>, units: impl Fn(Qty) -> f64, q: Qty, buy: Qty, sell: Qty) {
        let (up, down) = (q + buy, q - sell);
        let Some(px) = px else {
            self.unpriced |= !(up.is_zero() && down.is_zero());
            return;
        };
        self.gross += px * units(Qty(up.abs().0.max(down.abs().0)));
        self.long += px * units(up);
        self.short += px * units(down);
    }
}

/// What the gates of the account look at.
#[derive(Clone, Copy)]
pub(crate) struct AccountView<'a> {
    pub now: Nanos,
    pub limits: &'a RiskConfig,
    pub gate: &'a Gate,
    pub killed: bool,
    pub reconciled: bool,
    pub ledger: &'a Ledger,
    pub min_recv_window_ms: u64,
    /// Capital of the newest intent.
    pub capital: Option<f64>,
    pub unknown: u32,
    pub unlisted: u32,
    pub margin: Option<Margin>,
    /// Nearest liquidation price of a position, as a fraction of its price.
    pub liquidation: Option<f64>,
    pub dead_man_age_ms: u64,
    pub margin_short_at: Option<Nanos>,
    pub backoff_until: Nanos,
    /// Orders left in our budget, above what is kept for exits.
    pub orders_left: f64,
}

/// What the gates of an instrument look at.
#[derive(Clone, Copy)]
pub(crate) struct SymbolView<'a> {
    pub account: AccountView<'a>,
    pub instrument: &'a Instrument,
    pub blocked: bool,
    pub bid: Level,
    pub ask: Level,
    pub book_at: Nanos,
    pub mark: f64,
    pub mark_at: Nanos,
    pub next_funding: VenueTime,
    /// Profit of the day in this instrument; `None`: not known.
    pub day_pnl: Option<Amount>,
}

impl SymbolView<'_> {
    pub(crate) fn mid(&self) -> f64 {
        (self.instrument.px_f64(self.bid.px) + self.instrument.px_f64(self.ask.px)) * 0.5
    }

    /// The mark price, if it is fresh.
    pub(crate) fn mark(&self) -> Option<f64> {
        let fresh = self.account.now.since(self.mark_at).millis() <= self.account.limits.max_mark_age_ms;
        (fresh && self.mark > 0.0).then_some(self.mark)
    }
}

/// A limit that is set absolutely, or follows `base`; `None`: off, or the base is not known.
pub(crate) fn limit(usd: Option<f64>, times: f64, base: Option<f64>) -> Option<f64> {
    usd.or_else(|| base.map(|b| b * times)).filter(|l| *l != 0.0)
}

type AccountGate = (Check, fn(&AccountView<'_>) -> Verdict);
type SymbolGate = (Check, fn(&SymbolView<'_>) -> Verdict);

/// The account's gates, in the order in which they are asked.
pub(crate) const ACCOUNT: [AccountGate; 23] = [
    (Check::State, |v| must(Check::State, v.gate.state == TradingState::Active)),
    (Check::Kill, |v| must(Check::Kill, !v.killed)),
    (Check::Lease, lease),
    (Check::Connected, |v| {
        must(Check::Connected, v.gate.order_path && v.gate.user_stream && !v.gate.fallback)
    }),
    (Check::Reconciled, |v| must(Check::Reconciled, v.reconciled)),
    (Check::Posture, |v| must(Check::Posture, v.gate.posture != Posture::Hibernate)),
    (Check::Breaker, |v| must(Check::Breaker, v.gate.breaker_can_open)),
    (Check::Clock, clock),
    (Check::ClockError, clock_error),
    (Check::UnknownOrders, |v| {
        at_most(Check::UnknownOrders, f64::from(v.unknown), f64::from(v.limits.max_unknown_orders))
    }),
    (Check::Unlisted, |v| at_most(Check::Unlisted, f64::from(v.unlisted), 0.0)),
    (Check::Margin, margin_cooldown),
    (Check::Backoff, |v| at_most(Check::Backoff, v.backoff_until.since(v.now).millis() as f64, 0.0)),
    (Check::OrderRate, |v| at_least(Check::OrderRate, v.orders_left, 1.0)),
    (Check::EquityUnknown, |v| must(Check::EquityUnknown, v.ledger.equity().is_some())),
    (Check::DayLoss, day_loss),
    (Check::Drawdown, drawdown),
    (Check::FreeMargin, |v| free_margin(v, 0.0)),
    (Check::LiquidationDistance, |v| liquidation(v.limits, v.liquidation)),
    (Check::DeadMan, |v| {
        at_most(Check::DeadMan, v.dead_man_age_ms as f64, v.limits.max_dead_man_age_ms as f64)
    }),
    (Check::OrderToTrade, order_to_trade),
    (Check::Turnover, turnover),
    (Check::Fees, fees),
];

/// An instrument's gates.
pub(crate) const SYMBOL: [SymbolGate; 6] = [
    (Check::Tradable, |v| {
        must(Check::Tradable, v.instrument.status == InstrumentStatus::Trading && !v.blocked)
    }),
    (Check::BookSane, |v| must(Check::BookSane, v.bid.px.0 > 0 && v.bid.px < v.ask.px)),
    (Check::BookAge, book_age),
    (Check::MarkCollar, mark_collar),
    (Check::SymbolLoss, symbol_loss),
    (Check::FundingTime, funding),
];

fn lease(v: &AccountView<'_>) -> Verdict {
    let Some(until) = v.gate.lease_until else { return Ok(()) };
    at_least(Check::Lease, until.since(v.now).millis() as f64, v.min_recv_window_ms as f64)
}

pub(crate) fn clock(v: &AccountView<'_>) -> Verdict {
    let offset = v.gate.clock.map_or(f64::NAN, |c| c.offset_ns.unsigned_abs() as f64 / Nanos::MS as f64);
    at_most(Check::Clock, offset, v.limits.max_clock_offset_ms as f64)
}

pub(crate) fn clock_error(v: &AccountView<'_>) -> Verdict {
    let Some(clock) = v.gate.clock else { return Ok(()) };
    let error = clock.error_at(v.now) as f64 / Nanos::MS as f64;
    at_most(Check::ClockError, error, v.limits.max_clock_error_ms as f64)
}

fn margin_cooldown(v: &AccountView<'_>) -> Verdict {
    let Some(at) = v.margin_short_at else { return Ok(()) };
    at_least(Check::Margin, v.now.since(at).millis() as f64, v.limits.margin_cooldown_ms as f64)
}

fn day_start(v: &AccountView<'_>) -> Option<f64> {
    v.ledger.day().start.map(Amount::to_f64)
}

/// Is a loss, or a cost, above its limit?
fn spent(check: Check, value: Option<f64>, usd: Option<f64>, times: f64, base: Option<f64>) -> Verdict {
    let (Some(value), Some(most)) = (value, limit(usd, times, base)) else { return Ok(()) };
    at_most(check, value, most)
}

fn day_loss(v: &AccountView<'_>) -> Verdict {
    let loss = v.ledger.day_pnl().map(|pnl| -pnl.to_f64());
    let l = v.limits;
    spent(Check::DayLoss, loss, l.max_day_loss_usd, l.max_day_loss_of_equity, day_start(v))
}

fn drawdown(v: &AccountView<'_>) -> Verdict {
    spent(Check::Drawdown, v.ledger.drawdown(), Some(v.limits.max_day_drawdown), 0.0, None)
}

fn turnover(v: &AccountView<'_>) -> Verdict {
    let (l, turnover) = (v.limits, v.ledger.day().turnover.to_f64());
    let times = l.max_day_turnover_x_capital;
    spent(Check::Turnover, Some(turnover), l.max_day_turnover_usd, times, v.capital)
}

fn fees(v: &AccountView<'_>) -> Verdict {
    let (l, fees) = (v.limits, v.ledger.day().fees.to_f64());
    spent(Check::Fees, Some(fees), l.max_day_fees_usd, l.max_day_fees_of_equity, day_start(v))
}

fn order_to_trade(v: &AccountView<'_>) -> Verdict {
    let (l, day) = (v.limits, v.ledger.day());
    if l.max_order_to_trade == 0.0 || day.messages <= l.order_to_trade_after {
        return Ok(());
    }
    at_most(Check::OrderToTrade, day.messages as f64 / day.filled_orders.max(1) as f64, l.max_order_to_trade)
}

/// The margin left free after `needed` more is taken up.
pub(crate) fn free_margin(v: &AccountView<'_>, needed: f64) -> Verdict {
    let least = v.limits.min_free_margin_of_equity;
    // Without equity there is nothing to measure by, and its own gate is closed.
    let Some(equity) = v.ledger.equity().filter(|_| least > 0.0) else { return Ok(()) };
    let free = v.margin.map_or(f64::NAN, |m| m.available.to_f64() - needed);
    at_least(Check::FreeMargin, free / equity.to_f64(), least)
}

/// `distance` `None`: nothing that could be liquidated.
pub(crate) fn liquidation(l: &RiskConfig, distance: Option<f64>) -> Verdict {
    match distance.filter(|_| l.min_liquidation_distance > 0.0) {
        Some(distance) => at_least(Check::LiquidationDistance, distance, l.min_liquidation_distance),
        None => Ok(()),
    }
}

fn book_age(v: &SymbolView<'_>) -> Verdict {
    if planted(Bug::StaleQuoteDecidedUpon) {
        return Ok(());
    }
    let age = v.account.now.since(v.book_at).millis();
    at_most(Check::BookAge, age as f64, v.account.limits.max_book_age_ms as f64)
}

fn mark_collar(v: &SymbolView<'_>) -> Verdict {
    let Some(mark) = v.mark() else { return Ok(()) };
    at_most(Check::MarkCollar, (v.mid() / mark - 1.0).abs() * 1e4, v.account.limits.mark_collar_bps)
}

fn symbol_loss(v: &SymbolView<'_>) -> Verdict {
    let l = v.account.limits;
    let loss = v.day_pnl.map(|pnl| -pnl.to_f64());
    let (usd, times) = (l.max_symbol_loss_usd, l.max_symbol_loss_of_equity);
    spent(Check::SymbolLoss, loss, usd, times, day_start(&v.account))
}

fn funding(v: &SymbolView<'_>) -> Verdict {
    let (l, Some(clock)) = (v.account.limits, v.account.gate.clock) else { return Ok(()) };
    if v.next_funding == VenueTime::default() {
        return Ok(());
    }
    let since = clock.age_ns(v.account.now, v.next_funding) / Nanos::MS as i64;
    let (before, after) = (l.funding_guard_before_ms as i64, l.funding_guard_after_ms as i64);
    let near = since > -before && since < after;
    if near { Err((Check::FundingTime, -since as f64, before as f64)) } else { Ok(()) }
}

/// Since when each gate of a table is closed.
pub(crate) type Since<const N: usize> = [Option<Nanos>; N];

fn note(since: &mut Option<Nanos>, now: Nanos, verdict: Verdict) -> Option<(Nanos, Broken)> {
    match verdict {
        Ok(()) => {
            *since = None;
            None
        }
        Err(broken) => Some((*since.get_or_insert(now), broken)),
    }
}

/// Which gates of the account are closed.
pub(crate) fn closed_account(
    since: &mut Since<{ ACCOUNT.len() }>,
    v: &AccountView<'_>,
) -> ArrayVec<ClosedGate, { ACCOUNT.len() }> {
    let gates = ACCOUNT.iter().zip(since);
    let closed = gates.filter_map(|((_, gate), since)| note(since, v.now, gate(v)));
    closed.map(|(since, broken)| closed_gate(None, since, broken)).collect()
}

/// Which gates of an instrument are closed.
pub(crate) fn closed_symbol(
    since: &mut Since<{ SYMBOL.len() }>,
    v: &SymbolView<'_>,
) -> ArrayVec<ClosedGate, { SYMBOL.len() }> {
    let gates = SYMBOL.iter().zip(since);
    let closed = gates.filter_map(|((_, gate), since)| note(since, v.account.now, gate(v)));
    closed.map(|(since, broken)| closed_gate(Some(v.instrument.id), since, broken)).collect()
}

fn closed_gate(symbol: Option<market::SymbolId>, since: Nanos, (which, value, limit): Broken) -> ClosedGate {
    ClosedGate { which, symbol, since, reopens: which.reopens(), value, limit }
}

/// A latch as a closed gate.
pub(crate) fn latched(latch: &crate::check::Latch) -> ClosedGate {
    ClosedGate {
        which: latch.check,
        symbol: None,
        since: latch.at,
        reopens: Reopens::Rearm,
        value: latch.value,
        limit: latch.limit,
    }
}

/// Price of an instrument in ticks: its mark, else the middle of a two-sided book; `None` before either came.
pub(crate) fn price(i: &Instrument, mark: f64, bid: Level, ask: Level) -> Option<Px> {
    let middle = || (bid.px.0 > 0 && ask.px.0 > 0).then_some(Px((bid.px.0 + ask.px.0) / 2));
    i.tick.nearest(mark).filter(|n| *n > 0).map(Px).or_else(middle)
}
