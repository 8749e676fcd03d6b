//! A trade: one entry, the position it made, one exit; and what SmartPlacer wants to have working at each moment.
//!
//! The router does not script sequences of orders. At every event it asks [`Trade::want`] which single order should be
//! working now, compares with what is, and takes one step towards it: cancel what is not wanted, wait until its fate is
//! known, then place. Whatever the venue does in between — fills, refusals, silence — only changes the answer to that
//! one question. (Rejected: modifying orders in place. It saves a message, but an edit may cancel the order, meet a
//! pending edit or a fill, and the exposure in between is the larger of two; cancel-then-new has one race, and it is
//! resolved by the order's own final state.)

use market::{
    AbandonReason, EnterIntent, ExitReason, Instrument, Level, Nanos, OrderType, Px, Qty, Side, TimeInForce,
    TripId,
};
use serde::{Deserialize, Serialize};

use crate::config::RouterConfig;
use crate::fills::FillSum;
use crate::orders::{Purpose, WorkingOrder};

/// How an exit is worked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStyle {
    /// The resting take-profit order has until the time-out.
    RestTp,
    /// Post-only at the touch until the time-out.
    Maker,
    /// Reduce-only market (with a limit where the kill switch closes).
    Market,
}

/// Where a trade stands.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Phase {
    /// The entry rests at the touch.
    EntryMaker,
    /// The entry crosses with IOC.
    EntryCross,
    /// The entry ends as soon as nothing of it works any more.
    EntryEnding(AbandonReason),
    /// The position is held; its take-profit order rests.
    Holding,
    /// The position is being closed.
    Exiting(ExitReason, ExitStyle),
}

/// A trade.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Trade {
    /// Number of the intent that opened it: names it, and its entry and take-profit orders.
    pub intent: u32,
    /// Orders placed for that intent.
    pub attempts: u16,
    /// Number of the exit intent, 0 = none.
    pub exit_intent: u32,
    /// Orders placed for that intent.
    pub exit_attempts: u16,
    /// +1 long, −1 short.
    pub direction: i8,
    /// Wanted lots.
    pub target: Qty,
    /// Lots that its entry orders have got.
    pub got: Qty,
    /// What the engine saw.
    pub decision_px: f64,
    /// Capital that the engine sized with.
    pub capital: f64,
    /// Middle of the book when the exit was decided; NaN: not known.
    pub exit_px: f64,
    /// Distance of the take profit; 0 = none rests.
    pub tp_pct: f64,
    /// Where it stands.
    pub phase: Phase,
    /// The round trip it opened, or took over; none before the first fill.
    pub trip: TripId,
    /// Does the entry's signal still hold?
    pub signal_holds: bool,
    /// The engine holds it: its end is told as an exit. Otherwise it is told as a whole round trip that was not planned.
    pub told: bool,
    /// An exit that came while the entry was still ending.
    pub pending_exit: Option<ExitReason>,
    /// When it must be closed whatever the engine says, by our own clock.
    pub hold_until: Option<Nanos>,
    /// Moves after the touch in this phase.
    pub repegs: u32,
    /// Has the crossing order of this phase been sent?
    pub crossed: bool,
    /// Has it been told that its size was cut?
    pub cut_told: bool,
    /// Take-profit orders placed.
    pub tp_orders: u32,
    /// The take-profit price is already traded through: cross.
    pub tp_through: bool,
    /// Refused exit orders in a row.
    pub exit_fails: u32,
    pub(crate) phase_ends: Option<Nanos>,
    pub(crate) pegged_at: Nanos,
    pub(crate) retry_at: Nanos,
    pub(crate) detail_until: Option<Nanos>,
}

/// An order that should be working.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    pub purpose: Purpose,
    pub side: Side,
    pub order_type: OrderType,
    pub tif: TimeInForce,
    pub px: Px,
    pub qty: Qty,
    /// Do not wait for the fate of other orders (reduce-only, of another intent).
    pub urgent: bool,
}

impl Wanted {
    /// Is `o` this order? Immediate orders in flight are, whatever their quantity: they end by themselves.
    pub fn is(&self, o: &WorkingOrder) -> bool {
        let same = o.purpose == self.purpose
            && o.side == self.side
            && o.order_type == self.order_type
            && (o.order_type == OrderType::Market || o.tif == self.tif);
        same && (!o.rests() || (o.px == self.px && o.open_qty() == self.qty))
    }
}

/// What should be working now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Nothing, and the trade goes on.
    Idle,
    /// Nothing, and the phase is over.
    End,
    /// This order.
    Order(Wanted),
}

/// What the placer sees.
pub struct View<'a> {
    pub now: Nanos,
    pub cfg: &'a RouterConfig,
    pub instrument: &'a Instrument,
    pub bid: Level,
    pub ask: Level,
    pub book_at: Nanos,
    /// Signed position.
    pub position: Qty,
    /// Entry fills of the trade's round trip.
    pub entry: FillSum,
    /// The trade's own resting order, if it has one.
    pub resting: Option<&'a WorkingOrder>,
    /// May a take-profit order rest (not killed, not halted)?
    pub tp_may_rest: bool,
    /// May one be placed (compared with the venue)? One that rests stays while the connection is repaired.
    pub tp_may_place: bool,
    /// The kill switch closes: limit of its slippage.
    pub slippage_bps: Option<f64>,
}

impl View<'_> {
    /// Is there a two-sided book, fresh enough to place a resting order on?
    pub fn book_is_fresh(&self) -> bool {
        let age = self.now.since(self.book_at).millis();
        self.bid.px.0 > 0 && self.bid.px < self.ask.px && age <= self.cfg.risk.max_book_age_ms
    }

    /// Cost of crossing.
    pub fn spread_bps(&self) -> f64 {
        let (b, a) = (self.instrument.px_f64(self.bid.px), self.instrument.px_f64(self.ask.px));
        (a - b) / ((a + b) * 0.5) * 1e4
    }

    /// Is crossing worth it?
    pub fn crossing_pays(&self) -> bool {
        self.book_is_fresh() && self.spread_bps() < self.cfg.ob_edge_bps
    }

    /// The touch of a side: where an order of that side rests.
    pub fn touch(&self, side: Side) -> Px {
        let px = if side == Side::Buy { self.bid.px } else { self.ask.px };
        self.instrument.passive_px(px, side)
    }

    /// The touch to take with an order of this side.
    pub fn opposite(&self, side: Side) -> Px {
        let px = if side == Side::Buy { self.ask.px } else { self.bid.px };
        self.instrument.aggressive_px(px, side)
    }
}

impl Trade {
    /// A trade that begins with an entry.
    pub fn entry(intent: u32, e: &EnterIntent, target: Qty) -> Self {
        Self {
            decision_px: e.decision_px,
            capital: e.capital,
            ..Self::new(intent, e.direction, target, e.tp_pct)
        }
    }

    /// A trade that begins with a position: that of round trip `trip`.
    pub fn of_position(intent: u32, qty: Qty, tp_pct: f64, trip: TripId) -> Self {
        let direction = if qty.0 < 0 { -1 } else { 1 };
        let lots = qty.abs();
        Self { phase: Phase::Holding, got: lots, trip, ..Self::new(intent, direction, lots, tp_pct) }
    }

    fn new(intent: u32, direction: i8, target: Qty, tp_pct: f64) -> Self {
        Self {
            intent,
            attempts: 0,
            exit_intent: 0,
            exit_attempts: 0,
            direction,
            target,
            got: Qty::ZERO,
            decision_px: f64::NAN,
            capital: f64::NAN,
            exit_px: f64::NAN,
            tp_pct,
            phase: Phase::EntryMaker,
            trip: TripId::NONE,
            signal_holds: true,
            told: false,
            pending_exit: None,
            hold_until: None,
            repegs: 0,
            crossed: false,
            cut_told: false,
            tp_orders: 0,
            tp_through: false,
            exit_fails: 0,
            phase_ends: None,
            pegged_at: Nanos(0),
            retry_at: Nanos(0),
            detail_until: None,
        }
    }

    /// Moves to another phase.
    pub fn go(&mut self, phase: Phase, ends: Option<Nanos>) {
        self.phase = phase;
        self.phase_ends = ends;
        self.repegs = 0;
        self.crossed = false;
        self.retry_at = Nanos(0);
        self.pegged_at = Nanos(0);
        self.detail_until = None;
    }

    /// Is it still getting in?
    pub fn is_entering(&self) -> bool {
        matches!(self.phase, Phase::EntryMaker | Phase::EntryCross | Phase::EntryEnding(_))
    }

    /// Lots still to be got.
    pub fn missing(&self) -> Qty {
        Qty((self.target - self.got).0.max(0))
    }

    /// When it wants to be looked at without news.
    pub fn deadline(&self) -> Option<Nanos> {
        let retry = (self.retry_at.0 > 0).then_some(self.retry_at);
        let hold = self.hold_until.filter(|_| self.phase == Phase::Holding);
        [self.phase_ends, retry, self.detail_until, hold].into_iter().flatten().min()
    }

    /// Has it been held for as long as it may be?
    pub fn is_overdue(&self, now: Nanos) -> bool {
        self.phase == Phase::Holding && self.hold_until.is_some_and(|t| now >= t)
    }

    /// Time has passed: a phase may be over.
    pub fn advance(&mut self, v: &View<'_>) {
        if v.now >= self.retry_at {
            self.retry_at = Nanos(0);
        }
        let over = self.phase_ends.is_some_and(|t| v.now >= t);
        match self.phase {
            Phase::EntryMaker if over => {
                let cross = self.signal_holds && v.crossing_pays();
                let next =
                    if cross { Phase::EntryCross } else { Phase::EntryEnding(AbandonReason::TimedOut) };
                self.go(next, None);
            }
            // Between deciding to cross and crossing (the resting order had to go first) things may have changed.
            Phase::EntryCross if !(self.crossed || self.signal_holds && v.crossing_pays()) => {
                self.go(Phase::EntryEnding(AbandonReason::TimedOut), None);
            }
            Phase::Exiting(reason, ExitStyle::RestTp | ExitStyle::Maker) if over => {
                self.go(Phase::Exiting(reason, ExitStyle::Market), None);
            }
            _ => {}
        }
    }

    /// Which order should be working?
    pub fn want(&self, v: &View<'_>) -> Want {
        match self.phase {
            Phase::EntryMaker => self.want_entry_maker(v),
            Phase::EntryCross => self.want_entry_cross(v),
            Phase::EntryEnding(_) => Want::End,
            Phase::Holding | Phase::Exiting(..) if v.position.is_zero() => Want::End,
            Phase::Holding => self.want_take_profit(v),
            Phase::Exiting(_, ExitStyle::RestTp) => self.want_take_profit(v),
            Phase::Exiting(_, ExitStyle::Maker) => self.want_exit_maker(v),
            Phase::Exiting(_, ExitStyle::Market) => self.want_exit_market(v),
        }
    }

    fn want_entry_maker(&self, v: &View<'_>) -> Want {
        let side = Side::opening(self.direction);
        if self.missing().is_zero() || self.rest_is_dust(v, side) {
            return Want::End;
        }
        let Some(px) = self.peg(v, side, Purpose::Entry) else { return Want::Idle };
        Want::Order(Wanted {
            purpose: Purpose::Entry,
            side,
            order_type: OrderType::Limit,
            tif: TimeInForce::Gtx,
            px,
            qty: self.missing(),
            urgent: false,
        })
    }

    fn want_entry_cross(&self, v: &View<'_>) -> Want {
        let side = Side::opening(self.direction);
        if self.missing().is_zero() || self.rest_is_dust(v, side) {
            return Want::End;
        }
        let order = Wanted {
            purpose: Purpose::Entry,
            side,
            order_type: OrderType::Limit,
            tif: TimeInForce::Ioc,
            px: v.opposite(side),
            qty: self.missing(),
            urgent: false,
        };
        // Once sent, it is wanted for as long as it works; then the phase is over.
        if self.crossed && v.resting.is_none() { Want::End } else { Want::Order(order) }
    }

    /// Is something filled, nothing working, and what is missing too small to be an order? Then it is dropped.
    fn rest_is_dust(&self, v: &View<'_>, side: Side) -> bool {
        let value = v.instrument.notional(v.touch(side), self.missing());
        let small =
            self.missing() < v.instrument.min_qty || value.is_some_and(|n| n < v.instrument.min_notional);
        small && v.resting.is_none() && !self.got.is_zero()
    }

    /// The price to rest at: stay where we are unless the touch has moved away and we may follow.
    fn peg(&self, v: &View<'_>, side: Side, purpose: Purpose) -> Option<Px> {
        let touch = v.touch(side);
        let Some(o) = v.resting.filter(|o| o.purpose == purpose && o.rests()) else {
            // Refused again and again (the touch runs into us): stay out until the time-out decides.
            let may_try = self.pegged_at.0 == 0 || self.repegs < v.cfg.max_repegs;
            return (may_try && v.book_is_fresh() && v.now >= self.retry_at).then_some(touch);
        };
        let moved_away = if side == Side::Buy { touch > o.px } else { touch < o.px };
        let may_follow = self.repegs < v.cfg.max_repegs
            && v.now >= self.pegged_at.plus(RouterConfig::ns(v.cfg.min_repeg_interval_ms))
            && v.book_is_fresh();
        Some(if moved_away && may_follow { touch } else { o.px })
    }

    /// Price of the take-profit order: at `tp_pct` from the average entry, rounded to the side of more profit.
    pub fn tp_px(&self, instrument: &Instrument, entry: &FillSum) -> Option<Px> {
        if self.tp_pct <= 0.0 {
            return None;
        }
        let avg = entry.avg_px(instrument);
        let level = avg * (1.0 + f64::from(self.direction) * self.tp_pct);
        let below = instrument.tick.floor(level)?;
        let exact = instrument.px_f64(Px(below)) >= level * (1.0 - 1e-12);
        let px = Px(if self.direction > 0 && !exact { below + 1 } else { below });
        Some(instrument.passive_px(px, Side::opening(-self.direction)))
    }

    fn want_take_profit(&self, v: &View<'_>) -> Want {
        let sign = v.position.0.signum();
        if !v.tp_may_rest || !v.cfg.smart_placer || sign != i64::from(self.direction) {
            return Want::Idle;
        }
        let Some(px) = self.tp_px(v.instrument, &v.entry) else { return Want::Idle };
        let resting = v.resting.is_some_and(|o| o.purpose == Purpose::TakeProfit);
        if !resting && (!v.tp_may_place || v.now < self.retry_at || self.tp_orders >= v.cfg.max_tp_orders) {
            return Want::Idle;
        }
        let tif = if self.tp_through { TimeInForce::Ioc } else { TimeInForce::Gtx };
        Want::Order(Wanted {
            purpose: Purpose::TakeProfit,
            side: closing_side(v.position),
            order_type: OrderType::Limit,
            tif,
            px,
            qty: Qty(v.position.0.abs().min(v.instrument.max_qty.0)),
            urgent: false,
        })
    }

    fn want_exit_maker(&self, v: &View<'_>) -> Want {
        let side = closing_side(v.position);
        let Some(px) = self.peg(v, side, Purpose::Exit) else { return Want::Idle };
        Want::Order(Wanted {
            purpose: Purpose::Exit,
            side,
            order_type: OrderType::Limit,
            tif: TimeInForce::Gtx,
            px,
            qty: Qty(v.position.0.abs().min(v.instrument.max_qty.0)),
            urgent: false,
        })
    }

    fn want_exit_market(&self, v: &View<'_>) -> Want {
        if v.now < self.retry_at && v.resting.is_none() {
            return Want::Idle;
        }
        let side = closing_side(v.position);
        let i = v.instrument;
        let touch = v.opposite(side);
        let (order_type, px, most) = match v.slippage_bps.filter(|_| touch.0 > 0) {
            None => (OrderType::Market, touch, i.max_market_qty.0.min(i.max_qty.0)),
            Some(bps) => {
                let room = (touch.0 as f64 * bps * 1e-4) as i64;
                let px = i.passive_px(Px(touch.0 + side.sign() * room), side);
                (OrderType::Limit, Px(px.0.max(i.px_step)), i.max_qty.0)
            }
        };
        Want::Order(Wanted {
            purpose: Purpose::Exit,
            side,
            order_type,
            tif: TimeInForce::Ioc,
            px,
            qty: Qty(v.position.0.abs().min(most)),
            urgent: true,
        })
    }
}

/// The side that reduces a position.
pub fn closing_side(position: Qty) -> Side {
    if position.0 > 0 { Side::Sell } else { Side::Buy }
}
