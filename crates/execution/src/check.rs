//! The checks by name: what each looks at, what holds its limit, and what reopens it once it is closed.

use std::fmt;

use market::{Nanos, SymbolId};
use serde::{Deserialize, Serialize};

/// What lets a closed gate open again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reopens {
    /// A person: `dolphin rearm --reason`.
    Rearm,
    /// The next day, or a person (`dolphin rearm --reason`, with the day).
    Day,
    /// The next comparison with the venue that finds it in order.
    Comparison,
    /// Time alone.
    Time,
    /// The thing itself, as soon as it is in order again.
    Itself,
    /// Nothing: it is about one order.
    Order,
}

impl Reopens {
    /// In words.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Rearm => "`dolphin rearm --reason`",
            Self::Day => "the next day, or `dolphin rearm --day --reason`",
            Self::Comparison => "the next comparison with the venue that finds it in order",
            Self::Time => "time",
            Self::Itself => "as soon as it is in order again",
            Self::Order => "another order",
        }
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $name:ident = ($id:literal, $text:literal, $key:literal, $reopens:ident),)*) => {
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
            /// What lets it pass again.
            pub const fn reopens(self) -> Reopens {
                match self { $(Self::$name => Reopens::$reopens,)* }
            }
        }
    };
}

checks! {
    /// Trading state.
    State = (1, "trading state is not ACTIVE", "gate.state", Itself),
    /// Kill switch.
    Kill = (2, "the kill switch is latched", "kill", Rearm),
    /// A latched trip.
    Tripped = (3, "a limit has latched, number", "see the latched check", Rearm),
    /// Connection.
    Connected = (4, "order path or user stream is down", "gate.order_path, gate.user_stream, gate.fallback", Itself),
    /// Reconciled.
    Reconciled = (5, "not reconciled with the venue", "reconcile", Comparison),
    /// Instrument.
    Tradable = (6, "the instrument does not trade or is blocked", "exchangeInfo.status", Itself),
    /// Posture.
    Posture = (7, "posture HIBERNATE", "gate.posture", Itself),
    /// Circuit breaker.
    Breaker = (8, "the circuit breaker is open", "gate.breaker_can_open", Day),
    /// Clock.
    Clock = (9, "clock offset, ms (NaN: never measured)", "risk.max_clock_offset_ms", Itself),
    /// Book age.
    BookAge = (10, "age of the book, ms", "risk.max_book_age_ms", Itself),
    /// Book sanity.
    BookSane = (11, "the book is one-sided or crossed", "book", Itself),
    /// Signal age.
    SignalAge = (12, "age of the decision, ms", "risk.max_signal_age_ms", Order),
    /// Drift from the decision.
    DecisionDrift = (13, "mid against decision price, bps", "risk.max_decision_drift_bps", Order),
    /// Mark collar.
    MarkCollar = (14, "mid against mark price, bps", "risk.mark_collar_bps", Itself),
    /// Price collar.
    PriceCollar = (15, "order price against mid, bps", "risk.price_collar_bps", Order),
    /// Price filter.
    PriceFilter = (16, "price outside PRICE_FILTER, ticks", "exchangeInfo.PRICE_FILTER", Order),
    /// PERCENT_PRICE.
    PercentPrice = (17, "price against mark outside PERCENT_PRICE", "exchangeInfo.PERCENT_PRICE", Order),
    /// Smallest quantity.
    MinQty = (18, "quantity below LOT_SIZE, lots", "exchangeInfo.LOT_SIZE.minQty", Order),
    /// Largest quantity.
    MaxQty = (19, "quantity above LOT_SIZE, lots", "exchangeInfo.LOT_SIZE.maxQty", Order),
    /// MIN_NOTIONAL.
    MinNotional = (20, "value below MIN_NOTIONAL", "exchangeInfo.MIN_NOTIONAL", Order),
    /// Orders of the instrument.
    MaxOrders = (21, "working orders of the instrument", "risk.max_orders_per_symbol", Order),
    /// Value of the order: cut to the limit.
    OrderNotional = (22, "order value", "risk.max_order_notional_usd, max_order_notional_x_capital", Order),
    /// Value of the position, worst case: cut to the limit.
    Position = (23, "position value, working and unknown orders included", "risk.max_position_usd, max_position_x_capital", Order),
    /// Value of everything, worst case.
    Gross = (24, "value of all positions and orders", "risk.max_gross_usd, max_gross_x_capital", Order),
    /// Leverage of the intent or of the account.
    Leverage = (25, "leverage", "gate.abs_max_leverage", Order),
    /// Positions at a time.
    OpenPositions = (26, "positions and entries at a time", "risk.max_open_positions", Order),
    /// Same intent again.
    DuplicateIntent = (27, "an intent for this instrument is already being worked", "router", Order),
    /// Same order again.
    DuplicateOrder = (28, "the same order again, ms after the last", "risk.duplicate_window_ms", Order),
    /// Too many entries: latches.
    Repeated = (29, "entries sent within the window", "risk.max_repeated_entries", Rearm),
    /// Orders per 10 s and per minute.
    OrderRate = (30, "order budget left above the reserve", "risk.venue_orders_per_10s, rate_share, rate_reserve", Time),
    /// Too many unknown orders.
    UnknownOrders = (31, "orders in state Unknown", "risk.max_unknown_orders", Itself),
    /// Too many rejects: latches.
    RejectRate = (32, "refusals by the venue within a minute", "risk.max_rejects_per_min", Rearm),
    /// Margin.
    Margin = (33, "ms since the venue found the margin insufficient", "risk.margin_cooldown_ms", Time),
    /// Loss of the day.
    DayLoss = (34, "loss of the day", "risk.max_day_loss_usd, max_day_loss_of_equity", Day),
    /// Drawdown of the day.
    Drawdown = (35, "drawdown of the day", "risk.max_day_drawdown", Day),
    /// An own order on the other side.
    SelfCross = (36, "would trade against our own order at, ticks", "router", Order),
    /// The intent makes no sense.
    Malformed = (37, "the intent is not a possible order", "intent", Order),
    /// Rate limited by the venue.
    Backoff = (38, "ms until the venue takes orders again", "venue rate limit", Time),
    /// The order table.
    TableFull = (39, "orders that must be remembered", "router capacity", Time),
    /// Orders or fills that are not ours: latches.
    Foreign = (40, "orders of another program or a person on the account", "stop_on_foreign_orders", Rearm),
    /// Position mode, margin type or leverage are not what the session began with: latches.
    AccountMode = (41, "position mode, margin type or leverage were changed from outside", "account at start", Rearm),
    /// Error of the clock.
    ClockError = (42, "error bound of the clock offset, ms", "risk.max_clock_error_ms", Itself),
    /// An event ahead of our clock.
    SignalAhead = (43, "the decision lies ahead of the clock, ms", "risk.max_signal_ahead_ms", Order),
    /// Equity.
    EquityUnknown = (44, "equity is not known: no balance, or a position without a price", "market data, reconcile", Itself),
    /// Value of everything, direction considered, worst case.
    Net = (45, "net value of all positions and orders", "risk.max_net_usd, max_net_x_capital", Order),
    /// A position or order in an instrument that is not followed.
    Unlisted = (46, "positions and orders in instruments that are not followed", "account", Comparison),
    /// Margin that is free.
    FreeMargin = (47, "free margin after the order, of the equity (NaN: not known)", "risk.min_free_margin_of_equity", Itself),
    /// Distance of the liquidation.
    LiquidationDistance = (48, "distance of the liquidation price, of the price", "risk.min_liquidation_distance", Itself),
    /// Funding.
    FundingTime = (49, "ms to (negative: since) the funding time", "risk.funding_guard_before_ms, funding_guard_after_ms", Time),
    /// A fill far from its decision: latches.
    Slippage = (50, "fill against decision price, bps", "risk.max_slippage_bps", Rearm),
    /// Dead-man switch.
    DeadMan = (51, "age of the dead-man switch while orders rest, ms", "risk.max_dead_man_age_ms", Itself),
    /// Orders and cancels for each order that was filled.
    OrderToTrade = (52, "orders and cancels of the day for each order filled", "risk.max_order_to_trade, order_to_trade_after", Day),
    /// Value of the day's fills.
    Turnover = (53, "turnover of the day", "risk.max_day_turnover_usd, max_day_turnover_x_capital", Day),
    /// Commissions of the day.
    Fees = (54, "commissions of the day", "risk.max_day_fees_usd, max_day_fees_of_equity", Day),
    /// Loss of the day in one instrument.
    SymbolLoss = (55, "loss of the day in the instrument", "risk.max_symbol_loss_usd, max_symbol_loss_of_equity", Day),
    /// Lease.
    Lease = (56, "ms of the lease left for the order to arrive", "gate.lease_until", Itself),
    /// A position that no intent explains: latches.
    Unexpected = (57, "a position that no intent explains", "unexpected_position", Rearm),
    /// The venue refused our key or account: latches.
    Refused = (58, "the venue refused our key, permission or account mode, code", "venue", Rearm),
}

impl Check {
    /// Its number.
    pub const fn id(self) -> u8 {
        self as u8
    }
}

/// A check that did not pass: which, the number found, the limit.
pub(crate) type Broken = (Check, f64, f64);
/// The word of a check.
pub(crate) type Verdict = Result<(), Broken>;

pub(crate) fn at_most(check: Check, value: f64, limit: f64) -> Verdict {
    // A NaN is not at most anything.
    if value <= limit { Ok(()) } else { Err((check, value, limit)) }
}

pub(crate) fn at_least(check: Check, value: f64, limit: f64) -> Verdict {
    if value >= limit { Ok(()) } else { Err((check, value, limit)) }
}

pub(crate) fn must(check: Check, good: bool) -> Verdict {
    if good { Ok(()) } else { Err((check, 1.0, 0.0)) }
}

/// A refused order. Told at once, and while the same intent is refused for the same reason again after 1, 2, 4 … 60 s;
/// counted once.
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

/// A gate that is closed: nothing is opened through it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClosedGate {
    /// Which.
    pub which: Check,
    /// Of one instrument, or of the account.
    pub symbol: Option<SymbolId>,
    /// Since when (our clock).
    pub since: Nanos,
    /// What lets it open again.
    pub reopens: Reopens,
    /// The number found.
    pub value: f64,
    /// The limit it broke.
    pub limit: f64,
}

impl fmt::Display for ClosedGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { which, value, limit, .. } = self;
        write!(f, "{}: {value} against {limit} ({})", which.text(), which.key())?;
        if let Some(symbol) = self.symbol {
            write!(f, ", symbol #{}", symbol.0)?;
        }
        write!(f, ", since {}, reopened by {}", self.since, self.reopens.text())
    }
}

/// Something that stays closed until a person opens it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Latch {
    /// Which check.
    pub check: Check,
    /// Since when (our clock).
    pub at: Nanos,
    /// The number found.
    pub value: f64,
    /// The limit it broke.
    pub limit: f64,
}
