//! The terms of orders that have wire names.

/// Self-trade prevention: who gives way when an account would trade with itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SelfTrade {
    /// Nobody: the trade happens.
    None,
    /// The incoming order.
    ExpireTaker,
    /// The resting order (the REST default).
    #[default]
    ExpireMaker,
    /// Both.
    ExpireBoth,
}

impl SelfTrade {
    /// Wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "NONE",
            Self::ExpireTaker => "EXPIRE_TAKER",
            Self::ExpireMaker => "EXPIRE_MAKER",
            Self::ExpireBoth => "EXPIRE_BOTH",
        }
    }
}

/// A limit price that the venue finds in the book (`priceMatch`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PriceMatch {
    /// No: the order has a price of its own.
    #[default]
    None,
    /// The `n`-th level (from 1) of the other side.
    Opponent(u8),
    /// The `n`-th level (from 1) of the order's own side.
    Queue(u8),
}

impl PriceMatch {
    /// Its wire names, with what they mean.
    const NAMES: [(&'static str, Self); 9] = [
        ("NONE", Self::None),
        ("OPPONENT", Self::Opponent(1)),
        ("OPPONENT_5", Self::Opponent(5)),
        ("OPPONENT_10", Self::Opponent(10)),
        ("OPPONENT_20", Self::Opponent(20)),
        ("QUEUE", Self::Queue(1)),
        ("QUEUE_5", Self::Queue(5)),
        ("QUEUE_10", Self::Queue(10)),
        ("QUEUE_20", Self::Queue(20)),
    ];

    /// From its wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, m)| *m)
    }

    /// Wire name.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, m)| *m == self).map_or("NONE", |(name, _)| name)
    }

    /// Is there one?
    pub fn is_some(self) -> bool {
        self != Self::None
    }
}

/// What a conditional order waits for, and what it becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlgoKind {
    /// A limit order when the price moves against the position.
    Stop,
    /// A market order then.
    StopMarket,
    /// A limit order when the price moves in favour of the position.
    TakeProfit,
    /// A market order then.
    TakeProfitMarket,
    /// A market order when the price has come back from its best by a share.
    TrailingStopMarket,
}

impl AlgoKind {
    /// From its wire name.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "STOP" => Self::Stop,
            "STOP_MARKET" => Self::StopMarket,
            "TAKE_PROFIT" => Self::TakeProfit,
            "TAKE_PROFIT_MARKET" => Self::TakeProfitMarket,
            "TRAILING_STOP_MARKET" => Self::TrailingStopMarket,
            _ => return None,
        })
    }

    /// Wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "STOP",
            Self::StopMarket => "STOP_MARKET",
            Self::TakeProfit => "TAKE_PROFIT",
            Self::TakeProfitMarket => "TAKE_PROFIT_MARKET",
            Self::TrailingStopMarket => "TRAILING_STOP_MARKET",
        }
    }

    /// Does it become a limit order?
    pub const fn is_limit(self) -> bool {
        matches!(self, Self::Stop | Self::TakeProfit)
    }

    /// Does it take profit (rather than stop a loss)?
    pub const fn takes_profit(self) -> bool {
        matches!(self, Self::TakeProfit | Self::TakeProfitMarket)
    }
}

/// Which price triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WorkingType {
    /// The last trade's.
    #[default]
    Contract,
    /// The mark price.
    Mark,
}

impl WorkingType {
    /// Wire name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contract => "CONTRACT_PRICE",
            Self::Mark => "MARK_PRICE",
        }
    }
}
