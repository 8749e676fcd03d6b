//! Orders, and what the exchange tells about them.

use market::{
    Amount, ExecType, Nanos, OrderStatus, OrderType, PositionSide, Px, Qty, Side, SymbolId, TimeInForce,
};

use super::algo::AlgoOrder;
use super::ids::AccountId;
use super::terms::{AlgoKind, PriceMatch, SelfTrade, WorkingType};

/// The conditional order that an order came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Its id.
    pub algo: u64,
    /// Its kind: the order's original type.
    pub kind: AlgoKind,
    /// Its trigger or activation price.
    pub trigger: Px,
    /// Which price triggered it.
    pub working: WorkingType,
    /// It closed the position.
    pub close_position: bool,
    /// It was protected.
    pub price_protect: bool,
    /// Trailing stop: the share it gave back, in 10⁻⁴.
    pub callback: i64,
}

/// Why an order expired (`er` of ORDER_TRADE_UPDATE).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExpiryReason {
    /// It did not.
    #[default]
    None = 0,
    /// Self-trade prevention: the status is `EXPIRED_IN_MATCH`.
    SelfTrade = 1,
    /// Remainder of an IOC order.
    IocRest = 2,
    /// Remainder of an IOC order after self-trade prevention.
    IocSelfTrade = 3,
    /// Reduce-only with nothing left to reduce.
    ReduceOnly = 4,
    /// The account was liquidated.
    Liquidated = 5,
    /// Good-till-date reached.
    Gtd = 6,
    /// The instrument was delisted.
    Delisted = 7,
    /// Remainder of a market order.
    MarketRest = 9,
}

/// A new order as asked for; symbol and account are already known to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceOrder {
    /// Instrument.
    pub symbol: SymbolId,
    /// Client order id; the exchange makes one up where it is `None`.
    pub client_id: Option<String>,
    /// Side.
    pub side: Side,
    /// Limit or market.
    pub kind: OrderType,
    /// Time in force (limit).
    pub tif: TimeInForce,
    /// Price (limit).
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Only reduces.
    pub reduce_only: bool,
    /// Position.
    pub position_side: PositionSide,
    /// Self-trade prevention.
    pub self_trade: SelfTrade,
    /// Good till date.
    pub good_till: Option<Nanos>,
    /// How the price was found.
    pub price_match: PriceMatch,
    /// Where it came from.
    pub origin: Option<Origin>,
}

impl PlaceOrder {
    /// A limit order, good till cancelled, in one-way mode.
    pub fn limit(symbol: SymbolId, side: Side, px: Px, qty: Qty) -> Self {
        Self {
            symbol,
            client_id: None,
            side,
            kind: OrderType::Limit,
            tif: TimeInForce::Gtc,
            px,
            qty,
            reduce_only: false,
            position_side: PositionSide::Both,
            self_trade: SelfTrade::ExpireMaker,
            good_till: None,
            price_match: PriceMatch::None,
            origin: None,
        }
    }

    /// A market order in one-way mode.
    pub fn market(symbol: SymbolId, side: Side, qty: Qty) -> Self {
        Self { kind: OrderType::Market, ..Self::limit(symbol, side, Px::ZERO, qty) }
    }
}

/// An order the exchange has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Venue id.
    pub id: u64,
    /// Owner.
    pub account: AccountId,
    /// Instrument.
    pub symbol: SymbolId,
    /// Client order id.
    pub client_id: String,
    /// Side.
    pub side: Side,
    /// Limit or market.
    pub kind: OrderType,
    /// Time in force.
    pub tif: TimeInForce,
    /// Price (0 for market).
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Filled.
    pub filled: Qty,
    /// Σ price·quantity of the fills.
    pub quote: Amount,
    /// As the client asked.
    pub reduce_only: bool,
    /// It can only close: reduce-only, or the closing side in hedge mode.
    pub closes: bool,
    /// Position.
    pub position_side: PositionSide,
    /// Self-trade prevention.
    pub self_trade: SelfTrade,
    /// Good till date.
    pub good_till: Option<Nanos>,
    /// How the price was found.
    pub price_match: PriceMatch,
    /// The conditional order it came from.
    pub origin: Option<Origin>,
    /// Status.
    pub status: OrderStatus,
    /// Why it expired.
    pub expiry: ExpiryReason,
    /// Times modified.
    pub edits: u32,
    /// Placed at.
    pub created: Nanos,
    /// Last changed at.
    pub updated: Nanos,
    /// The id that the next order was to get when this one ended; 0: it is open. The venue's clock may step, its ids only rise.
    pub next_at_end: u64,
}

impl Order {
    /// Still open.
    pub fn leaves(&self) -> Qty {
        self.qty - self.filled
    }

    /// Is it in the book?
    pub fn is_open(&self) -> bool {
        !self.status.is_done()
    }
}

/// An edit of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amendment {
    /// Its id.
    pub id: u64,
    /// The order.
    pub order: u64,
    /// Price before and after.
    pub px: (Px, Px),
    /// Quantity before and after.
    pub qty: (Qty, Qty),
    /// When.
    pub at: Nanos,
}

/// Which order a request names; the venue id wins where both are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderRef {
    /// Venue id.
    Id(u64),
    /// Client order id.
    Client(String),
}

/// One fill of one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fill {
    /// Trade id, unique per symbol.
    pub id: u64,
    /// Instrument.
    pub symbol: SymbolId,
    /// Order.
    pub order: u64,
    /// Side of our order.
    pub side: Side,
    /// Position.
    pub position_side: PositionSide,
    /// Price.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Value.
    pub quote: Amount,
    /// Commission (negative = rebate).
    pub commission: Amount,
    /// Realised profit.
    pub realised: Amount,
    /// Did it rest?
    pub maker: bool,
    /// When.
    pub at: Nanos,
}

/// An entry of an account's income history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Income {
    /// Instrument, if it is about one.
    pub symbol: Option<SymbolId>,
    /// `COMMISSION`, `REALIZED_PNL`, `FUNDING_FEE`, `TRANSFER`, `INSURANCE_CLEAR`.
    pub kind: &'static str,
    /// Amount, signed.
    pub amount: Amount,
    /// Trade id, if it is about one.
    pub trade: u64,
    /// Transaction id.
    pub id: u64,
    /// When.
    pub at: Nanos,
}

/// What happened to an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderReport {
    /// The order after it.
    pub order: Order,
    /// What happened.
    pub exec: ExecType,
    /// The fill, where it is one.
    pub fill: Option<Fill>,
    /// Value of the account's open buys on the symbol.
    pub bid_notional: Amount,
    /// Value of the account's open sells on the symbol.
    pub ask_notional: Amount,
    /// When.
    pub at: Nanos,
}

/// A position as it stood at an event.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PositionRow {
    /// Instrument.
    pub symbol: SymbolId,
    /// Position side.
    pub side: PositionSide,
    /// Signed quantity.
    pub qty: Qty,
    /// Average entry price (0 if flat).
    pub entry: f64,
    /// Price at which all fees are earned back (0 if flat).
    pub break_even: f64,
    /// Realised profit since the account exists, before fees.
    pub realised: Amount,
    /// At the mark price.
    pub unrealised: Amount,
    /// Isolated margin?
    pub isolated: bool,
    /// Its own money, where its margin is isolated.
    pub isolated_wallet: Amount,
}

/// A funding of a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funding {
    /// When.
    pub at: Nanos,
    /// Rate, in 10⁻⁸.
    pub rate: i64,
    /// Mark price.
    pub mark: Amount,
}

/// An isolated position's margin was changed by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarginChange {
    /// Instrument.
    pub symbol: SymbolId,
    /// Position.
    pub position_side: PositionSide,
    /// By this much, signed.
    pub amount: Amount,
    /// When.
    pub at: Nanos,
}

/// What the exchange says after something happened.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// To an account: ORDER_TRADE_UPDATE (and TRADE_LITE for fills).
    Order(Box<OrderReport>),
    /// To an account: ACCOUNT_UPDATE.
    Account {
        /// Whose.
        account: AccountId,
        /// `ORDER`, `FUNDING_FEE`, `DEPOSIT`, ….
        reason: &'static str,
        /// Wallet balance.
        wallet: Amount,
        /// What of it is not set aside for isolated positions.
        cross: Amount,
        /// Change of the balance that is neither profit nor commission.
        change: Amount,
        /// Positions that changed.
        positions: Vec<PositionRow>,
        /// Symbol of a funding fee.
        symbol: Option<SymbolId>,
        /// When.
        at: Nanos,
    },
    /// To an account: MARGIN_CALL.
    MarginCall {
        /// Whose.
        account: AccountId,
        /// Crossed wallet balance; `None` where an isolated position is called.
        cross: Option<Amount>,
        /// The positions that are called, with their maintenance margins.
        positions: Vec<(PositionRow, Amount)>,
        /// When.
        at: Nanos,
    },
    /// To an account: ACCOUNT_CONFIG_UPDATE (multi-assets mode).
    MultiAssets {
        /// Whose.
        account: AccountId,
        /// On or off.
        on: bool,
        /// When.
        at: Nanos,
    },
    /// To an account: ACCOUNT_CONFIG_UPDATE (leverage).
    Leverage {
        /// Whose.
        account: AccountId,
        /// Instrument.
        symbol: SymbolId,
        /// New leverage.
        leverage: u32,
        /// When.
        at: Nanos,
    },
    /// To everybody: a trade.
    Trade {
        /// Instrument.
        symbol: SymbolId,
        /// Trade id.
        id: u64,
        /// Price.
        px: Px,
        /// Quantity.
        qty: Qty,
        /// Who took.
        aggressor: Side,
        /// When.
        at: Nanos,
    },
    /// To an account: ALGO_UPDATE.
    Algo(Box<AlgoOrder>),
    /// To an account: CONDITIONAL_ORDER_TRIGGER_REJECT.
    TriggerReject(Box<AlgoOrder>),
    /// To everybody: a liquidation (`forceOrder`).
    Liquidation(Box<Order>),
}
