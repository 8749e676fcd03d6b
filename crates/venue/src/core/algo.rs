//! Conditional orders of the venue's algo service (BINANCE.md §1, 2025-12-09): they wait outside the book until a price
//! triggers them, and become an order then.

use market::{Amount, Nanos, PositionSide, Px, Qty, Side, SymbolId, TimeInForce};

use super::ids::AccountId;
use super::terms::{AlgoKind, PriceMatch, SelfTrade, WorkingType};

/// Where a conditional order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlgoStatus {
    /// It waits.
    New,
    /// Its condition is met.
    Triggering,
    /// Its order is at work.
    Triggered,
    /// Its order is done.
    Finished,
    /// It was cancelled before it triggered.
    Canceled,
    /// Its order was refused.
    Rejected,
    /// The venue ended it before it triggered.
    Expired,
}

impl AlgoStatus {
    /// Wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::Triggering => "TRIGGERING",
            Self::Triggered => "TRIGGERED",
            Self::Finished => "FINISHED",
            Self::Canceled => "CANCELED",
            Self::Rejected => "REJECTED",
            Self::Expired => "EXPIRED",
        }
    }
}

/// A new conditional order as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceAlgo {
    /// Instrument.
    pub symbol: SymbolId,
    /// Client id; the exchange makes one up where it is `None`.
    pub client_id: Option<String>,
    /// Kind.
    pub kind: AlgoKind,
    /// Side of the order it becomes.
    pub side: Side,
    /// Time in force of that order.
    pub tif: TimeInForce,
    /// Its price (limit kinds, without a price match).
    pub px: Px,
    /// Its price is found in the book when it triggers.
    pub price_match: PriceMatch,
    /// Its quantity; 0 where it closes the position.
    pub qty: Qty,
    /// Trigger price, or the activation price of a trailing stop (0: active at once).
    pub trigger: Px,
    /// Which price triggers.
    pub working: WorkingType,
    /// It closes whatever is held when it triggers, and ends with the position.
    pub close_position: bool,
    /// It does not trigger while last and mark price are further apart than the symbol's `triggerProtect`.
    pub price_protect: bool,
    /// Its order only reduces.
    pub reduce_only: bool,
    /// Position.
    pub position_side: PositionSide,
    /// Self-trade prevention of its order.
    pub self_trade: SelfTrade,
    /// It ends then.
    pub good_till: Option<Nanos>,
    /// Trailing stop: the share it gives back, in 10⁻⁴.
    pub callback: i64,
}

/// A conditional order that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlgoOrder {
    /// Venue id.
    pub id: u64,
    /// Owner.
    pub account: AccountId,
    /// Client id.
    pub client_id: String,
    /// As asked for.
    pub ask: PlaceAlgo,
    /// Where it stands.
    pub status: AlgoStatus,
    /// The best price since it was placed (trailing stop).
    pub best: Amount,
    /// The order it became.
    pub order: Option<u64>,
    /// What that order filled, when it was done.
    pub filled: Qty,
    /// Σ price·quantity of its fills.
    pub quote: Amount,
    /// Why it was refused.
    pub reason: String,
    /// Placed at.
    pub created: Nanos,
    /// Last changed at.
    pub updated: Nanos,
    /// Triggered at (0: not yet).
    pub triggered: Nanos,
}

impl AlgoOrder {
    /// Does it still wait for its trigger?
    pub fn is_open(&self) -> bool {
        self.status == AlgoStatus::New
    }

    /// Notes a price; does it trigger? `trigger` is the trigger or activation price.
    pub(super) fn meets(&mut self, px: Amount, trigger: Amount) -> bool {
        let (rising, falling) = (px >= trigger, px <= trigger);
        let buy = self.ask.side == Side::Buy;
        if self.ask.kind != AlgoKind::TrailingStopMarket {
            return if buy == self.ask.kind.takes_profit() { falling } else { rising };
        }
        // The lowest price since a buy was placed, the highest since a sell was.
        self.best = if buy { self.best.min(px) } else { self.best.max(px) };
        let active = if buy { self.best <= trigger } else { self.best >= trigger };
        let back = 10_000 + if buy { self.ask.callback } else { -self.ask.callback };
        let turn = i128::from(self.best.0) * i128::from(back);
        let now = i128::from(px.0) * 10_000;
        active && if buy { now >= turn } else { now <= turn }
    }
}

/// Which conditional order a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlgoRef {
    /// Venue id.
    Id(u64),
    /// Client id.
    Client(String),
}
