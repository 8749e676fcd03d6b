//! What we ask of the venue and what it reports back.

use std::fmt;

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

use crate::decimal::{Amount, Px, Qty};
use crate::instrument::SymbolId;
use crate::time::Nanos;

/// Buy or sell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Side {
    /// Buy.
    Buy,
    /// Sell.
    Sell,
}

impl Side {
    /// +1 for a buy, −1 for a sell.
    pub const fn sign(self) -> i64 {
        match self {
            Self::Buy => 1,
            Self::Sell => -1,
        }
    }

    /// The other side.
    #[must_use]
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }

    /// The side that opens a position in `direction` (+1 long, −1 short).
    pub const fn opening(direction: i8) -> Self {
        if direction < 0 { Self::Sell } else { Self::Buy }
    }
}

/// Order type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OrderType {
    /// Limit.
    Limit,
    /// Market.
    Market,
}

/// Time in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum TimeInForce {
    /// Good till cancelled.
    Gtc,
    /// Immediate or cancel.
    Ioc,
    /// Fill or kill.
    Fok,
    /// Good till crossing: post-only.
    Gtx,
}

/// Which position an order belongs to: `Both` in one-way mode, the others in hedge mode.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PositionSide {
    /// One-way mode.
    #[default]
    Both,
    /// The long position of hedge mode.
    Long,
    /// The short position of hedge mode.
    Short,
}

/// Our id of an order: run + intent + attempt, deterministic, never random, never reused.
///
/// `run` is the session's epoch, higher at every start of the program; `intent` counts decisions in the run;
/// `attempt` counts the orders that one intent led to. As text: `dlp-<run>-<intent>-<attempt>`, run in hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClientOrderId {
    /// Of the run: below 2^52, never the same twice ([`Self::run`]).
    pub run: u64,
    /// Number of the intent in the run.
    pub intent: u32,
    /// Number of the order in the intent.
    pub attempt: u16,
}

impl ClientOrderId {
    /// What our ids begin with.
    pub const PREFIX: &'static str = "dlp-";
    /// Numbers of runs are below this: the venue takes 36 characters.
    pub const RUNS: u64 = 1 << 52;

    /// The number of a run: the second of its start, and 20 random bits, so that two starts in one second, on two
    /// machines, or under a clock that was set back, do not meet.
    pub const fn run(wall_ns: u64, random: u64) -> u64 {
        (((wall_ns / Nanos::SECOND) & 0xffff_ffff) << 20) | (random & 0xf_ffff)
    }

    /// The text that the venue sees (≤ 36 characters of its alphabet).
    pub fn text(self) -> ArrayString<36> {
        let mut out = ArrayString::new();
        fmt::Write::write_fmt(&mut out, format_args!("{self}")).expect("34 characters at most");
        out
    }

    /// Reads [`Self::text`] back; `None` for ids that are not ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix(Self::PREFIX)?.split('-');
        let id = Self {
            run: u64::from_str_radix(parts.next()?, 16).ok().filter(|run| *run < Self::RUNS)?,
            intent: parts.next()?.parse().ok()?,
            attempt: parts.next()?.parse().ok()?,
        };
        // `+1` and `01` parse too, but are not what we wrote.
        (id.text().as_str() == text).then_some(id)
    }
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:x}-{}-{}", Self::PREFIX, self.run, self.intent, self.attempt)
    }
}

/// A new order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// Instrument.
    pub symbol: SymbolId,
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Side.
    pub side: Side,
    /// Type.
    pub order_type: OrderType,
    /// Time in force (ignored by market orders).
    pub tif: TimeInForce,
    /// Limit price (ignored by market orders).
    pub px: Px,
    /// Quantity, > 0.
    pub qty: Qty,
    /// May only reduce the position.
    pub reduce_only: bool,
    /// Position, in hedge mode.
    pub position_side: PositionSide,
    /// How long the venue may take it for (`recvWindow`), ms: never longer than the lease that is left.
    pub recv_window_ms: u32,
}

/// Cancel one order by our id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelOrder {
    /// Instrument.
    pub symbol: SymbolId,
    /// Our id.
    pub client_order_id: ClientOrderId,
}

/// Change price and quantity of a resting limit order (it loses its place in the queue).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplaceOrder {
    /// Instrument.
    pub symbol: SymbolId,
    /// Our id.
    pub client_order_id: ClientOrderId,
    /// Side (the venue wants it again).
    pub side: Side,
    /// New price.
    pub px: Px,
    /// New total quantity.
    pub qty: Qty,
}

/// What the router asks the gateway to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderRequest {
    /// Place.
    New(NewOrder),
    /// Cancel.
    Cancel(CancelOrder),
    /// Modify.
    Replace(ReplaceOrder),
    /// Cancel all orders of an instrument.
    CancelAll(SymbolId),
    /// Ask the venue what became of an order.
    Query(CancelOrder),
}

/// Order status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Sent, not yet acknowledged.
    PendingNew,
    /// Live, nothing filled.
    New,
    /// Live, partly filled.
    PartiallyFilled,
    /// Done: all filled.
    Filled,
    /// Cancel sent, not yet acknowledged.
    PendingCancel,
    /// Done: cancelled.
    Canceled,
    /// Done: refused by the venue.
    Rejected,
    /// Done: expired (IOC remainder, GTX that would take, self-trade prevention, venue's own reasons).
    Expired,
    /// Neither success nor failure is known (time-out, −1006, −1007, broken socket).
    Unknown,
}

impl OrderStatus {
    /// Will it never change again?
    pub const fn is_done(self) -> bool {
        matches!(self, Self::Filled | Self::Canceled | Self::Rejected | Self::Expired)
    }
}

/// Why a report came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ExecType {
    /// Accepted.
    New,
    /// A fill.
    Trade,
    /// Cancelled.
    Canceled,
    /// Refused (the venue's error code is in [`ExecutionReport::code`]).
    Rejected,
    /// Expired.
    Expired,
    /// Modified.
    Amendment,
    /// Liquidation or ADL bookkeeping.
    Calculated,
    /// The answer to a query, or to a reconciliation: the state as it is.
    Status,
    /// The request may or may not have been executed.
    Unknown,
    /// A cancel was refused: the order is done or not known (−2011).
    CancelRejected,
    /// A modify was refused: the order stays as it was.
    ReplaceRejected,
    /// The venue knows no such order (−2013).
    NotFound,
}

/// Whose order a report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum OrderOrigin {
    /// Ours.
    Ours(ClientOrderId),
    /// `autoclose-…`.
    Liquidation,
    /// `adl_autoclose`.
    Adl,
    /// `settlement_autoclose-…`.
    Settlement,
    /// Somebody else's on this account: by hand, another program.
    External,
}

impl OrderOrigin {
    /// By the client order id on the wire.
    pub fn from_text(client_order_id: &str) -> Self {
        match ClientOrderId::parse(client_order_id) {
            Some(id) => Self::Ours(id),
            None if client_order_id.starts_with("autoclose-") => Self::Liquidation,
            None if client_order_id.starts_with("adl_autoclose") => Self::Adl,
            None if client_order_id.starts_with("settlement_autoclose-") => Self::Settlement,
            None => Self::External,
        }
    }

    /// Our id, if it is ours.
    pub const fn ours(self) -> Option<ClientOrderId> {
        match self {
            Self::Ours(id) => Some(id),
            _ => None,
        }
    }
}

/// What the venue (or the lack of its answer) says about an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecutionReport {
    /// Instrument.
    pub symbol: SymbolId,
    /// Whose order.
    pub origin: OrderOrigin,
    /// Venue's order id (0 where it gave none).
    pub order_id: u64,
    /// Why the report came.
    pub exec_type: ExecType,
    /// Status after it.
    pub status: OrderStatus,
    /// Side.
    pub side: Side,
    /// Order price.
    pub px: Px,
    /// Order quantity.
    pub qty: Qty,
    /// Price of this fill.
    pub last_px: Px,
    /// Quantity of this fill.
    pub last_qty: Qty,
    /// Filled so far.
    pub cum_qty: Qty,
    /// Still open.
    pub leaves_qty: Qty,
    /// Trade id of this fill (0 = no fill): one symbol and trade id is one fill, however often it is told.
    pub trade_id: u64,
    /// Commission of this fill in the quote asset (negative = rebate).
    pub commission: Amount,
    /// Realised profit of this fill, as the venue books it.
    pub realised: Amount,
    /// Did we rest?
    pub maker: bool,
    /// Reduce-only order.
    pub reduce_only: bool,
    /// Venue's error code (0 = none).
    pub code: i32,
    /// Venue transaction time.
    pub ts_event: Nanos,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn client_order_ids_round_trip_and_fit(run in 0..ClientOrderId::RUNS, intent: u32, attempt: u16) {
            let id = ClientOrderId { run, intent, attempt };
            let text = id.text();
            prop_assert!(text.len() <= 36);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/_-".contains(&b)));
            prop_assert_eq!(ClientOrderId::parse(&text), Some(id));
        }

        #[test]
        fn foreign_ids_are_foreign(text in "[ -~]{0,40}") {
            if let Some(id) = ClientOrderId::parse(&text) {
                let back = id.text();
                prop_assert_eq!(back.as_str(), text.as_str());
            }
        }
    }

    #[test]
    fn the_venues_own_orders_are_known() {
        assert_eq!(OrderOrigin::from_text("autoclose-1596107620040000020"), OrderOrigin::Liquidation);
        assert_eq!(OrderOrigin::from_text("adl_autoclose"), OrderOrigin::Adl);
        assert_eq!(OrderOrigin::from_text("web_x"), OrderOrigin::External);
    }
}
