//! Pre-trade risk: the last look before an order leaves (SPEC §8, FAULTS §3).
//!
//! An order that opens passes every check below. A reduce-only order passes only those without which the venue would
//! refuse it (state HALTED, connection, the instrument's status and filters): **no trip ever blocks an exit**, and cancels are not checked
//! at all. A denial names the check, the number, the limit and the key that holds the limit; it allocates nothing.

use std::fmt;

use arrayvec::ArrayVec;
use market::{
    EnterIntent, Instrument, InstrumentStatus, Level, Nanos, NewOrder, OrderType, Posture, Px, Qty,
};
use market::{Side, SymbolId};
use serde::{Deserialize, Serialize};

use crate::config::RiskConfig;
use crate::position::Account;
use crate::rate::{TokenBucket, WindowCount};

/// What trading is allowed at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TradingState {
    /// Everything.
    #[default]
    Active,
    /// Reduce-only orders and cancels.
    Reducing,
    /// Cancels only (and what the kill switch closes).
    Halted,
}

/// What the surroundings allow; set whole by [`crate::Router::set_gate`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// The operator's word.
    pub state: TradingState,
    /// Requests can be sent.
    pub order_path: bool,
    /// Reports arrive (user stream alive).
    pub user_stream: bool,
    /// Requests go over REST because the WebSocket API is down: cancels, queries and exits go on, nothing is opened.
    pub fallback: bool,
    /// Our clock minus the venue's.
    pub clock_offset_ns: i64,
    /// Posture.
    pub posture: Posture,
    /// `abs_max_eff` of SPEC §3.8: already scaled by Rm and capped by the posture.
    pub abs_max_leverage: f64,
    /// The circuit breaker lets positions be opened.
    pub breaker_can_open: bool,
}

impl Default for Gate {
    /// Shut: nothing is known yet.
    fn default() -> Self {
        Self {
            state: TradingState::Active,
            order_path: false,
            user_stream: false,
            fallback: false,
            clock_offset_ns: 0,
            posture: Posture::Apex,
            abs_max_leverage: 6.0,
            breaker_can_open: true,
        }
    }
}

impl Gate {
    /// Everything in order: connected, APEX, no offset.
    pub fn open() -> Self {
        Self { order_path: true, user_stream: true, ..Self::default() }
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = ($id:literal, $text:literal, $key:literal),)*) => {
        /// A check. Its number is stable: metrics and runbooks refer to it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Check { $($(#[$doc])* $name = $id,)* }

        impl Check {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// What it looks at.
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
            /// The key (config, or setter) that holds its limit.
            pub const fn key(self) -> &'static str {
                match self { $(Self::$name => $key,)* }
            }
        }
    };
}

checks! {
    /// Trading state.
    State = (1, "trading state is not ACTIVE", "gate.state"),
    /// Kill switch.
    Kill = (2, "the kill switch is latched", "kill (re-enable with a reason)"),
    /// A latched trip.
    Tripped = (3, "a limit has tripped and waits for a human", "reset_trips (with a reason)"),
    /// Connection.
    Connected = (4, "order path or user stream is down", "gate.order_path, gate.user_stream, gate.fallback"),
    /// Reconciled.
    Reconciled = (5, "not reconciled with the venue", "reconcile"),
    /// Instrument.
    Tradable = (6, "the instrument does not trade or is blocked", "exchangeInfo.status"),
    /// Posture.
    Posture = (7, "posture HIBERNATE", "gate.posture"),
    /// Circuit breaker.
    Breaker = (8, "the circuit breaker is open", "gate.breaker_can_open"),
    /// Clock.
    Clock = (9, "clock offset, ms", "risk.max_clock_offset_ms"),
    /// Book age.
    BookAge = (10, "age of the book, ms", "risk.max_book_age_ms"),
    /// Book sanity.
    BookSane = (11, "the book is one-sided or crossed", "book"),
    /// Signal age.
    SignalAge = (12, "age of the decision, ms", "risk.max_signal_age_ms"),
    /// Drift from the decision.
    DecisionDrift = (13, "mid against decision price, bps", "risk.max_decision_drift_bps"),
    /// Mark collar.
    MarkCollar = (14, "mid against mark price, bps", "risk.mark_collar_bps"),
    /// Price collar.
    PriceCollar = (15, "order price against mid, bps", "risk.price_collar_bps"),
    /// Price filter.
    PriceFilter = (16, "price outside PRICE_FILTER, ticks", "exchangeInfo.PRICE_FILTER"),
    /// PERCENT_PRICE.
    PercentPrice = (17, "price against mark outside PERCENT_PRICE", "exchangeInfo.PERCENT_PRICE"),
    /// Smallest quantity.
    MinQty = (18, "quantity below LOT_SIZE, lots", "exchangeInfo.LOT_SIZE.minQty"),
    /// Largest quantity.
    MaxQty = (19, "quantity above LOT_SIZE, lots", "exchangeInfo.LOT_SIZE.maxQty"),
    /// MIN_NOTIONAL.
    MinNotional = (20, "value below MIN_NOTIONAL", "exchangeInfo.MIN_NOTIONAL"),
    /// Orders of the instrument.
    MaxOrders = (21, "working orders of the instrument", "risk.max_orders_per_symbol"),
    /// Value of the order.
    OrderNotional = (22, "order value", "risk.max_order_notional_usd"),
    /// Value of the position, worst case.
    Position = (23, "position value, working and unknown orders included", "risk.max_position_usd"),
    /// Value of everything, worst case.
    Gross = (24, "value of all positions and orders", "risk.max_gross_usd"),
    /// Leverage of the intent or of the account.
    Leverage = (25, "leverage", "gate.abs_max_leverage"),
    /// Positions at a time.
    OpenPositions = (26, "positions and entries at a time", "risk.max_open_positions"),
    /// Same intent again.
    DuplicateIntent = (27, "an intent for this instrument is already being worked", "router"),
    /// Same order again.
    DuplicateOrder = (28, "the same order again, ms after the last", "risk.duplicate_window_ms"),
    /// Too many entries.
    Repeated = (29, "entries within the window", "risk.max_repeated_entries"),
    /// Orders per 10 s.
    OrderRate = (30, "order budget left above the reserve", "risk.venue_orders_per_10s, rate_share, rate_reserve"),
    /// Too many unknown orders.
    UnknownOrders = (31, "orders in state Unknown", "risk.max_unknown_orders"),
    /// Too many rejects.
    RejectRate = (32, "refusals by the venue within a minute", "risk.max_rejects_per_min"),
    /// Margin.
    Margin = (33, "ms since the venue found the margin insufficient", "risk.margin_cooldown_ms"),
    /// Loss of the day.
    DayLoss = (34, "loss of the day", "risk.max_day_loss_usd"),
    /// Drawdown of the day.
    Drawdown = (35, "drawdown of the day", "risk.max_day_drawdown"),
    /// An own order on the other side.
    SelfCross = (36, "would trade against our own order at, ticks", "router"),
    /// The intent makes no sense.
    Malformed = (37, "the intent is not a possible order", "intent"),
    /// Rate limited by the venue.
    Backoff = (38, "ms until the venue takes orders again", "venue rate limit"),
    /// The order table.
    TableFull = (39, "working orders in all", "router capacity"),
    /// Orders or fills that are not ours.
    Foreign = (40, "orders of another program or a person on the account", "stop_on_foreign_orders"),
    /// Position mode, margin type or leverage are not what the session began with.
    AccountMode = (41, "position mode, margin type or leverage were changed from outside", "account at start"),
}

impl Check {
    /// Its number.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// A refused order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Denial {
    /// When.
    pub at: Nanos,
    /// Which check.
    pub check: Check,
    /// Instrument.
    pub symbol: SymbolId,
    /// The number found.
    pub value: f64,
    /// The limit it broke.
    pub limit: f64,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, symbol, value, limit, .. } = self;
        write!(
            f,
            "risk check {} denied an order in symbol #{}: {}: {value} against {limit} ({})",
            check.id(),
            symbol.0,
            check.text(),
            check.key()
        )
    }
}

/// What a check looks at.
pub(crate) struct Scene<'a> {
    pub now: Nanos,
    pub instrument: &'a Instrument,
    pub blocked: bool,
    pub gate: &'a Gate,
    pub reconciled: bool,
    pub killed: bool,
    pub bid: Level,
    pub ask: Level,
    pub book_at: Nanos,
    pub mark: f64,
    pub mark_at: Nanos,
    pub account: &'a Account,
    /// Signed position.
    pub position: Qty,
    /// Lots working on the order's side.
    pub working: Qty,
    /// Best price of our own working orders on the other side.
    pub own_opposite: Option<Px>,
    pub orders_here: u32,
    pub gross_elsewhere: f64,
    pub open_positions: u32,
    pub unknown: u32,
}

impl Scene<'_> {
    fn mid(&self) -> f64 {
        (self.instrument.px_f64(self.bid.px) + self.instrument.px_f64(self.ask.px)) * 0.5
    }

    fn mark(&self, limits: &RiskConfig) -> Option<f64> {
        let fresh = self.now.since(self.mark_at).millis() <= limits.max_mark_age_ms;
        (fresh && self.mark > 0.0).then_some(self.mark)
    }
}

/// The budget and counters behind the checks.
#[derive(Debug)]
pub struct Risk {
    limits: RiskConfig,
    orders_10s: TokenBucket,
    orders_1m: TokenBucket,
    weight_1m: TokenBucket,
    entries: WindowCount<64>,
    rejects: WindowCount<64>,
    recent: ArrayVec<(Nanos, SymbolId, Side, Px, Qty), 8>,
    margin_short_at: Option<Nanos>,
    backoff_until: Nanos,
    overloads: u32,
    tripped: Option<Check>,
}

type Verdict = Result<(), (Check, f64, f64)>;

fn at_most(check: Check, value: f64, limit: f64) -> Verdict {
    // A NaN is not at most anything.
    if value <= limit { Ok(()) } else { Err((check, value, limit)) }
}

fn must(check: Check, good: bool) -> Verdict {
    if good { Ok(()) } else { Err((check, 1.0, 0.0)) }
}

impl Risk {
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
            tripped: None,
            limits,
        }
    }

    /// Which limit has tripped, if one has.
    pub fn tripped(&self) -> Option<Check> {
        self.tripped
    }

    /// `true` if this is news.
    pub(crate) fn trip(&mut self, check: Check) -> bool {
        let news = self.tripped.is_none();
        self.tripped.get_or_insert(check);
        news
    }

    pub(crate) fn reset(&mut self) {
        self.tripped = None;
        self.entries.clear();
        self.rejects.clear();
    }

    /// Refusals by the venue in the last minute: for the circuit breaker.
    pub fn rejects_last_minute(&mut self, now: Nanos) -> u32 {
        self.rejects.count(now)
    }

    /// The venue refused an order; `true` if that was one too many.
    pub(crate) fn rejected(&mut self, now: Nanos) -> bool {
        self.rejects.add(now);
        self.rejects.count(now) > self.limits.max_rejects_per_min && self.trip(Check::RejectRate)
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

    /// Any other request goes out.
    pub(crate) fn sent_weight(&mut self, now: Nanos, weight: i64) {
        self.weight_1m.debit(now, weight);
    }

    /// May a question be asked, or must the budget be kept for cancels?
    pub(crate) fn may_query(&mut self, now: Nanos) -> bool {
        let reserve = (self.weight_1m.capacity() as f64 * self.limits.rate_reserve) as i64;
        self.weight_1m.available(now) > reserve
    }

    /// An intent to enter is taken up: checked once, before its first order.
    pub(crate) fn check_intent(&mut self, s: &Scene<'_>, e: &EnterIntent) -> Verdict {
        let l = &self.limits;
        let sane = e.notional.is_finite() && e.notional > 0.0 && (e.direction == 1 || e.direction == -1);
        must(Check::Malformed, sane && e.decision_px > 0.0 && e.tp_pct.is_finite() && e.tp_pct > 0.0)?;
        must(Check::DuplicateIntent, s.orders_here == 0 && s.position.is_zero())?;
        at_most(Check::OpenPositions, f64::from(s.open_positions + 1), f64::from(l.max_open_positions))?;
        at_most(Check::SignalAge, s.now.since(e.ts_event).millis() as f64, l.max_signal_age_ms as f64)?;
        at_most(Check::Leverage, e.leverage, s.gate.abs_max_leverage * (1.0 + 1e-9))?;
        let (entries, most) = (self.entries.count(s.now) + 1, self.limits.max_repeated_entries);
        if entries > most {
            self.trip(Check::Repeated);
        }
        at_most(Check::Repeated, f64::from(entries), f64::from(most))
    }

    /// An entry was taken up.
    pub(crate) fn entered(&mut self, now: Nanos) {
        self.entries.add(now);
    }

    /// May anything be opened here and now?
    pub(crate) fn check_open(&mut self, s: &Scene<'_>) -> Verdict {
        let l = &self.limits;
        must(Check::State, s.gate.state == TradingState::Active)?;
        must(Check::Kill, !s.killed)?;
        if let Some(check) = self.tripped {
            return Err((Check::Tripped, f64::from(check.id()), 0.0));
        }
        must(Check::Connected, s.gate.order_path && s.gate.user_stream && !s.gate.fallback)?;
        must(Check::Reconciled, s.reconciled)?;
        must(Check::Tradable, s.instrument.status == InstrumentStatus::Trading && !s.blocked)?;
        must(Check::Posture, s.gate.posture != Posture::Hibernate)?;
        must(Check::Breaker, s.gate.breaker_can_open)?;
        let offset = s.gate.clock_offset_ns.unsigned_abs() as f64 / Nanos::MS as f64;
        at_most(Check::Clock, offset, l.max_clock_offset_ms as f64)?;
        at_most(Check::UnknownOrders, f64::from(s.unknown), f64::from(l.max_unknown_orders))?;
        must(Check::BookSane, s.bid.px.0 > 0 && s.bid.px < s.ask.px)?;
        at_most(Check::BookAge, s.now.since(s.book_at).millis() as f64, l.max_book_age_ms as f64)?;
        if let Some(mark) = s.mark(l) {
            at_most(Check::MarkCollar, (s.mid() / mark - 1.0).abs() * 1e4, l.mark_collar_bps)?;
        }
        if let Some(at) = self.margin_short_at {
            let since = s.now.since(at).millis();
            if since < l.margin_cooldown_ms {
                return Err((Check::Margin, since as f64, l.margin_cooldown_ms as f64));
            }
        }
        let wait = self.backoff_until.since(s.now);
        at_most(Check::Backoff, wait.millis() as f64, 0.0)?;
        if l.max_day_loss_usd > 0.0 {
            at_most(Check::DayLoss, -s.account.day_pnl().to_f64(), l.max_day_loss_usd)?;
        }
        if l.max_day_drawdown > 0.0 {
            at_most(Check::Drawdown, s.account.drawdown(), l.max_day_drawdown)?;
        }
        Ok(())
    }

    /// Every order that opens: the whole list. `decision_px` is the price the engine saw.
    pub(crate) fn check_entry(&mut self, s: &Scene<'_>, o: &NewOrder, decision_px: f64) -> Verdict {
        self.check_open(s)?;
        let (l, i, mid) = (&self.limits, s.instrument, s.mid());
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
        let order_usd = px * i.qty_f64(o.qty);
        at_most(Check::OrderNotional, order_usd, l.max_order_notional_usd)?;
        let worst = (s.position.0 * o.side.sign()).max(0) + s.working.0 + o.qty.0;
        let worst_usd = px * i.qty_f64(Qty(worst));
        at_most(Check::Position, worst_usd, l.max_position_usd)?;
        at_most(Check::Gross, s.gross_elsewhere + worst_usd, l.max_gross_usd)?;
        if s.account.known {
            let leverage = (s.gross_elsewhere + worst_usd) / s.account.equity.to_f64();
            let leverage = if leverage < 0.0 { f64::INFINITY } else { leverage };
            at_most(Check::Leverage, leverage, s.gate.abs_max_leverage)?;
        }
        let last = self.recent.iter().rev().find(|r| (r.1, r.2, r.3, r.4) == (o.symbol, o.side, o.px, o.qty));
        if let Some((at, ..)) = last {
            let ago = s.now.since(*at).millis();
            if ago < l.duplicate_window_ms {
                return Err((Check::DuplicateOrder, ago as f64, l.duplicate_window_ms as f64));
            }
        }
        let reserve = l.rate_reserve;
        for bucket in [&mut self.orders_10s, &mut self.orders_1m] {
            let keep = bucket.capacity() as f64 * reserve;
            let left = bucket.available(s.now) as f64 - keep;
            if left < 1.0 {
                return Err((Check::OrderRate, left, 1.0));
            }
        }
        Ok(())
    }

    /// A reduce-only order: only what would make it pointless to send.
    pub(crate) fn check_reduce(&self, s: &Scene<'_>, o: &NewOrder, by_kill_switch: bool) -> Verdict {
        must(Check::State, s.gate.state != TradingState::Halted || by_kill_switch)?;
        must(Check::Connected, s.gate.order_path)?;
        must(Check::Tradable, s.instrument.status == InstrumentStatus::Trading || by_kill_switch)?;
        filters(s, o, &self.limits)
    }
}

/// The venue's filters. Tick and step hold by construction: prices are ticks and quantities are lots.
fn filters(s: &Scene<'_>, o: &NewOrder, l: &RiskConfig) -> Verdict {
    let i = s.instrument;
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
    if let Some(mark) = s.mark(l) {
        let ratio = i.px_f64(o.px) / mark;
        if o.side == Side::Buy {
            at_most(Check::PercentPrice, ratio, i.multiplier_up)?;
        } else if ratio < i.multiplier_down {
            return Err((Check::PercentPrice, ratio, i.multiplier_down));
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
